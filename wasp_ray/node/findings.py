"""What a node found wrong while it ran."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Findings:
    """Sentences for the user: `errors` make the verdict error, `invalid` invalid, `failed` failed."""

    errors: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    traces: dict[tuple[int, str], str] = field(default_factory=dict)
    """(Generator, error) -> traceback of the first such exception."""
