"""What a Profile says to get raw samples; light, since load files import it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RawSamples:
    """`Profile(sinks=[RawSamples()])`: sampled requests and call ends go to samples.jsonl.gz in the bundle.

    Which successes are sampled is each Generator's `sample=`; failures always are. At most 5,000,000 lines.
    """

    raw_samples: bool = True
