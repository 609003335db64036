"""What a person or a later program reads of a run: live view, final table, bundle. It must not judge or measure."""
