"""The result of a comparison: frozen data for the terminal, JSON, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wasp_ray.stats.compare.series import Errors, Quantile


class Answer(StrEnum):
    """The answer to a judged measure."""

    WORSE = "worse"
    NOT_WORSE = "not worse"
    CANNOT_SAY = "cannot say"


@dataclass(frozen=True, slots=True)
class Margin:
    """A judged quantile is worse only beyond both the share and the time; errors beyond percentage points."""

    share: float = 0.05
    time_s: float = 0.001
    error_points: float = 0.5

    def __post_init__(self) -> None:
        for name in ("share", "time_s", "error_points"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"margin {name} must be >= 0, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class StratumValues:
    """Both sides in one plateau, in the unit of the line; None without calls."""

    name: str
    seconds: int
    base: float | None
    new: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One measure of one subject.

    `base` and `new` are seconds of a quantile, or the share of calls (0 to 1) of errors. `change` is the ratio new / base
    of a quantile and the difference new - base of errors; so are `low` and `high`, its 95 % interval (each end a
    one-sided bound of 97.5 %), and `margin`. All are None where a side has no calls.

    `p` is the probability of so large a change, or a larger one, if the true one were the margin; `adjusted_p` the same
    after Holm's adjustment for all judged measures. Both, and `answer`, are None for a measure that is only shown; both p
    are None, too, where the data do not suffice to judge. `reason` states why it cannot be said, and what would decide:
    `more_s` seconds a run, or `more_runs` runs a side, beside those there are; None where neither is known.
    """

    subject: str
    measure: Quantile | Errors
    base: float | None
    new: float | None
    change: float | None
    low: float | None
    high: float | None
    margin: float | None
    p: float | None
    adjusted_p: float | None
    answer: Answer | None
    reason: str
    more_s: float | None
    more_runs: int | None
    block_s: float | None
    """Length of the longest block, where the interval is one within runs."""
    strata: tuple[StratumValues, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All lines in the order of subjects and measures, and the notes to show above them."""

    notes: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def answer(self) -> Answer:
        """Worse if a judged line is, else "cannot say" if one is or none is judged, else not worse."""
        answers = {line.answer for line in self.lines} - {None}
        if Answer.WORSE in answers:
            return Answer.WORSE
        return Answer.NOT_WORSE if answers == {Answer.NOT_WORSE} else Answer.CANNOT_SAY
