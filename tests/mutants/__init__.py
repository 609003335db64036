"""Mutation check of the engine: `make mutants`. It is a development tool, no part of CI."""
