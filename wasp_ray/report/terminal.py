"""What commands that run a load have in common at the terminal: the view, the final table, NAME=VALUE texts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

from wasp_ray.errors import BadInput
from wasp_ray.report.describe import headline
from wasp_ray.report.listener import Listener, Snapshot

if TYPE_CHECKING:
    from wasp_ray.plan import Plan
    from wasp_ray.report.live import LiveView
    from wasp_ray.stats.seconds import Seconds


class TerminalView(Listener):
    """The live view of a terminal, plain lines elsewhere."""

    def __init__(self, quiet: bool, once: bool) -> None:
        self._quiet, self._once = quiet, once
        self._live: LiveView | None = None

    def begin(self, plan: Plan, warnings: Sequence[str]) -> None:
        """Says what is about to start."""
        self.close()
        if not self._quiet:
            say(headline(plan))
        for warning in warnings:
            say(f" ! {warning}")
        self._live = self._view(plan.profile)

    def _view(self, title: str) -> LiveView:
        from wasp_ray.report.live import LiveView

        return LiveView(sys.stdout, title, self._quiet or self._once)

    def update(self, snapshot: Snapshot) -> None:
        """A new state."""
        if self._live is not None:
            self._live.update(snapshot)

    def windows(self, closed: Seconds) -> None:
        """Closed seconds."""
        if self._live is not None:
            self._live.windows(closed)

    def note(self, text: str) -> None:
        """A line above the live view, or of what happens before there is a plan."""
        if self._live is None:
            self._live = self._view("run")
        self._live.note(text)

    def output(self, line: str) -> None:
        """What users print; all of it with --once."""
        if self._live is None:
            self._live = self._view("run")
        if self._once and not self._quiet:
            self._live.note(line)
        else:
            self._live.output(line)

    def close(self) -> None:
        """Takes the live view away."""
        if self._live is not None:
            self._live.close()


def say(text: str, *, err: bool = False) -> None:
    """Print a line. A terminal or pipe that was closed does not fail the run: from then on output is discarded."""
    with _discarded_when_closed(sys.stderr if err else sys.stdout):
        click.echo(text, err=err)


def show_table(summary: dict[str, Any], exit_code: int, path: str | None) -> None:
    """Print the end of a run, if stdout can still be written."""
    from wasp_ray.report.table import print_table

    with _discarded_when_closed(sys.stdout):
        print_table(summary, sys.stdout, exit_code=exit_code, path=path)


def flush_output() -> None:
    """Write what is left, if it still can be written: else the interpreter exits with 120 instead of the verdict's code."""
    with _discarded_when_closed(sys.stdout):
        sys.stdout.flush()


@contextmanager
def _discarded_when_closed(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """NAME=VALUE texts as a dict. Raises BadInput for one without `=`."""
    out = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found or not name:
            raise BadInput(f"{option} {text!r}: expected NAME=VALUE, for example {option} users=50")
        out[name] = value
    return out
