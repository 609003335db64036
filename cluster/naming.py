"""What a new run is called. Draws at random; it knows no run that is there already."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from wasp_ray.cluster.value_types import RUN_PATTERN
from wasp_ray.errors import BadInput

MAX_RUN_CHARS = 40
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes draws names: no words, no look-alikes
_SYNC_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class RunNames:
    """What a run is called: its id, of which its objects are named, and the label of its nodes."""

    run: str
    sync: str


def run_names(name: str, run_id: str | None = None) -> RunNames:
    """Names of a new run, `<name>-<4 random>` unless `run_id` is given. Raises BadInput for an id that is no DNS label."""
    if run_id is not None and (problem := problem_of_run_id(run_id)):
        raise BadInput(f"run_id: {problem}")
    sync = "a" + "".join(secrets.choice(_SYNC_LETTERS) for _ in range(7))
    if run_id is not None:
        return RunNames(run_id, sync)
    tail = "-" + "".join(secrets.choice(_LETTERS) for _ in range(4))
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: MAX_RUN_CHARS - len(tail)].strip("-")
    return RunNames((label or "run") + tail, sync)


def object_name(run: str) -> str:
    """Of the Job, the ConfigMap and the Secret of a run."""
    return f"wasp-{run}"


def problem_of_run_id(run_id: str) -> str:
    """What is wrong with a run id; empty when nothing is."""
    if re.fullmatch(RUN_PATTERN, run_id):
        return ""
    return f"expected a DNS label of at most {MAX_RUN_CHARS} characters (a-z, 0-9 and - within), found {run_id!r}"
