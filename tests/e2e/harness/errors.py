"""The one error of the harness."""

from __future__ import annotations


class HarnessError(Exception):
    """Something could not be built, started or stopped; the message says what and names the log file."""
