"""The witness: runs whose truth is written down by the calls themselves, outside the engine, and compared with the summary."""
