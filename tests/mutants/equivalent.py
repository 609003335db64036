"""Mutants that change nothing a test could see, by `Mutant.key`, each with the reason."""

EQUIVALENT: dict[str, str] = {}
