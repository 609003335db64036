"""What a Profile says to get raw samples; light, since load files import it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from wasp_ray.sinks.base import Need, OnSinkError, on_sink_error_problems


@dataclass(frozen=True, slots=True)
class RawSamples:
    """`Profile(sinks=[RawSamples()])`: sampled requests and call ends go to samples.jsonl.gz in the bundle.

    Which successes are sampled is each Generator's `sample=`; failures always are. At most 5,000,000 lines.
    """

    on_sink_error: OnSinkError = "warn"

    kind: ClassVar[str] = "samples"
    needs: ClassVar[frozenset[Need]] = frozenset({"samples"})

    def options(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def problems(self) -> list[str]:
        """Of its one option."""
        return on_sink_error_problems(self.on_sink_error)
