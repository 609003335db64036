"""Where results go beside the bundle's summary: one destination a file. base.py has the contract, docs/sinks.md the guide."""
