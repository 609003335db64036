"""Where results go beside the bundle's summary: one destination a file."""
