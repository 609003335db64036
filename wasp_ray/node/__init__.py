"""One node of a run: its Generators, engines and books, from plan to result."""
