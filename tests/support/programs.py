"""Loki and Prometheus as programs: built through the Go module proxy, cached by version as the end-to-end tests' tools are.

`make servers` builds them; tests never do, since that takes minutes of every core. Where they are not built, tests that need
them are skipped with the cure, which CI (WASP_REQUIRE_ALL=1) takes for a failure.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from e2e.harness.errors import HarnessError
from e2e.harness.tools import GoProgram, built

LOKI = GoProgram("loki", "github.com/grafana/loki/v3", "v3.7.8", "github.com/grafana/loki/v3/cmd/loki")
PROMETHEUS = GoProgram(
    "prometheus",
    "github.com/prometheus/prometheus",
    "v0.316.0",  # of Prometheus 3.16.0: Go's tools know its major versions 2 and 3 as 0.X and 0.3XX
    "github.com/prometheus/prometheus/cmd/prometheus",
    ("github.com/prometheus/common/version.Version=3.16.0",),
    tags=("netgo", "remove_all_sd"),  # without the clients of some 25 clouds; static targets stay
)
ALL = (LOKI, PROMETHEUS)


def program(wanted: GoProgram) -> Path:
    """The path of a program that was built; skips the test when it was not."""
    if not wanted.binary.exists():
        pytest.skip(
            f"{wanted.name} {wanted.version} is not built on this machine: `make servers` builds it, given Go 1.26 or later "
            "and a Go module proxy, in some minutes"
        )
    return wanted.binary


def build() -> int:
    """Builds what is missing. Exit code 1 under WASP_REQUIRE_ALL=1 when something cannot be built."""
    missing = [wanted for wanted in ALL if not wanted.binary.exists()]
    for wanted in missing:
        print(f"{wanted.name} {wanted.version} is built from source, once: 2 to 5 minutes on two cores", flush=True)
        try:
            built(wanted)
        except HarnessError as error:
            print(
                f"{wanted.name} {wanted.version} cannot be built here, tests that need it are skipped: {error}",
                flush=True,
            )
    return int(os.environ.get("WASP_REQUIRE_ALL") == "1" and not all(wanted.binary.exists() for wanted in ALL))


if __name__ == "__main__":
    sys.exit(build())
