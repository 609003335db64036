"""`wasp push`: delivers what a run could not. It prints and decides the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wasp_ray.sinks.base import SinkBooks
    from wasp_ray.sinks.loki_replay import Waiting

REJECTED, LEFT = 1, 4


@click.command(epilog="""\b
Examples:
  wasp push wasp-runs/latest
  wasp push wasp-runs/latest --url https://loki.example --timeout 10m

\b
Credentials come from LOKI_TOKEN or LOKI_BASIC_AUTH. Loki takes lines of the last 7 days.
Exit codes: 0 all delivered, 1 some were rejected for good, 2 bad input, 4 some are left, 130 interrupted.
""")  # fmt: skip
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--url", default="", metavar="URL", help="Root of the Loki, when it is not the one of the run.")
@click.option(
    "--timeout",
    default="5m",
    show_default=True,
    metavar="DURATION",
    help="Time limit; the rest can be pushed again later.",
)
def push(bundle: Path, url: str, timeout: str) -> int:
    """Deliver to Loki what a run could not, from its bundle."""
    import asyncio

    from wasp_ray.clock import now_ns
    from wasp_ray.errors import BadInput
    from wasp_ray.schedule.duration import parse_duration

    try:
        timeout_ns = parse_duration(timeout)
    except ValueError as exc:
        raise BadInput(f"--timeout {timeout}: {exc}") from exc
    try:
        from wasp_ray.sinks.loki_replay import push as push_all
        from wasp_ray.sinks.loki_replay import waiting_in
    except ModuleNotFoundError as exc:
        raise BadInput(f"`wasp push` needs {exc.name}, which is not installed: pip install 'wasp-ray[loki]'") from exc
    code, found, give_up = 0, waiting_in(bundle, url), now_ns() + timeout_ns
    if not found:
        click.echo(f"{bundle}: nothing waits to be pushed")
    for waiting in found:
        view = Progress(waiting)
        books = asyncio.run(push_all(waiting, max(0, give_up - now_ns()) / 1e9, view.show))
        view.end(books)
        code = max(code, LEFT if len(waiting.spool) else REJECTED if books.not_delivered else 0)
    return code


class Progress:
    """A line that is written anew on a terminal, and the last one everywhere."""

    def __init__(self, waiting: Waiting) -> None:
        self._lines = waiting.lines
        click.echo(f"{waiting.lines:,} lines in {len(waiting.spool):,} batches, to {waiting.target['url']}")

    def show(self, books: SinkBooks) -> None:
        """How far it is."""
        if sys.stdout.isatty():
            click.echo(f"\r{books.delivered:,} of {self._lines:,} delivered, {books.errors:,} errors", nl=False)

    def end(self, books: SinkBooks) -> None:
        """What became of it."""
        if sys.stdout.isatty():
            click.echo("\r\x1b[K", nl=False)
        lost = "".join(f", {reason} {number:,}" for reason, number in sorted(books.not_delivered.items()))
        double = f", of these {books.maybe_double:,} may be double" if books.maybe_double else ""
        click.echo(f"{books.delivered:,} delivered{double}{lost}")
        for problem in books.problems:
            click.echo(f" ! {problem}")
