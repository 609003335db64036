"""Files that `wasp init` writes."""
