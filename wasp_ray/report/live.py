"""What is seen while a run goes on: a live table on a terminal, plain lines elsewhere. It must never fail a run.

All methods are for one thread. A stream that cannot be written any more ends the view, silently for the run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from wasp_ray import clock
from wasp_ray.report import numbers
from wasp_ray.report.snapshot import GeneratorView, Snapshot
from wasp_ray.report.text import WIDTH, clean, encodable, fit, grid

PLAIN_EVERY_NS = 5_000_000_000
REDRAW_EVERY_NS = 200_000_000
NOTES_PER_S = 20
MOST_ROWS = 12
MOST_IN_A_LINE = 4
_SECOND_NS = 1_000_000_000
_HEAD = ("GENERATOR", "", "asked", "got", "in flight", "calls", "failed", "dropped", "p50", "p99")


class LiveView:
    """Shows snapshots of a run on `stream`: a table redrawn at most 5 times a second, or a line every 5 s.

    `quiet` shows neither those nor what users print; notes with `limit=False` still come.
    """

    def __init__(
        self,
        stream: TextIO,
        title: str,
        quiet: bool = False,
        *,
        now_ns: Callable[[], int] = clock.now_ns,
    ) -> None:
        self._stream = stream
        self._title = title
        self._quiet = quiet
        self._now_ns = now_ns
        self._last: Snapshot | None = None
        self._printed: Snapshot | None = None
        self._gone = False
        self._console = _console(stream)
        self._live: Live | None = None
        self._redraw_at_ns = 0
        self._line_at_ns = self._now_ns() + PLAIN_EVERY_NS
        self._notes_until_ns = 0
        self._notes = 0
        self._held_back = 0

    def update(self, snapshot: Snapshot) -> None:
        """Takes the newest state; may be called as often as one likes."""
        self._last = snapshot
        if self._quiet or self._gone:
            return
        now = self._now_ns()
        if self._console is not None:
            if now >= self._redraw_at_ns:
                self._redraw_at_ns = now + REDRAW_EVERY_NS
                self._guarded(self._redraw)
        elif now >= self._line_at_ns:
            self._line_at_ns += (1 + (now - self._line_at_ns) // PLAIN_EVERY_NS) * PLAIN_EVERY_NS
            self._guarded(self._line)

    def note(self, text: str, *, limit: bool = True) -> None:
        """Lines above the live view. `limit`: what users print, at most 20 lines a second, the rest is counted."""
        if self._gone or (limit and self._quiet):
            return
        for line in text.splitlines() or [""]:
            if not limit or self._may_note():
                self._guarded(partial(self._print, clean(line)))

    def close(self) -> None:
        """Takes the live table away, prints the last plain line; may be called again."""
        self._flush_held_back()
        if self._live is not None:
            live, self._live = self._live, None
            self._guarded(live.stop)
        elif self._console is None and not self._quiet and self._last is not self._printed:
            self._guarded(self._line)

    def _may_note(self) -> bool:
        now = self._now_ns()
        if now >= self._notes_until_ns:
            self._flush_held_back()
            self._notes_until_ns, self._notes = now + _SECOND_NS, 0
        self._notes += 1
        if self._notes > NOTES_PER_S:
            self._held_back += 1
        return self._notes <= NOTES_PER_S

    def _flush_held_back(self) -> None:
        held, self._held_back = self._held_back, 0
        if held:
            self._guarded(lambda: self._print(f"… {held:,} more lines"))

    def _guarded(self, action: Callable[[], None]) -> None:
        """A closed pipe or terminal ends the view and not the run."""
        if self._gone:
            return
        try:
            action()
        except (OSError, ValueError):
            self._gone = True

    def _print(self, line: str) -> None:
        shown = encodable(line, self._stream.encoding)
        if self._console is not None:
            self._console.print(Text(shown), soft_wrap=True)
        else:
            self._stream.write(shown + "\n")
            self._stream.flush()

    def _line(self) -> None:
        if self._last is not None:
            self._printed = self._last
            self._print(plain_line(self._last))

    def _redraw(self) -> None:
        assert self._console is not None and self._last is not None
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._live.start()
        width = min(WIDTH, self._console.width)
        lines = live_lines(self._last, self._title, width)
        texts = [
            Text(encodable(line, self._stream.encoding), style=style, no_wrap=True, overflow="ellipsis")
            for line, style in lines
        ]
        self._live.update(Group(*texts), refresh=True)


def _console(stream: TextIO) -> Console | None:
    """None when the stream is no terminal, or one that cannot move its cursor."""
    if not stream.isatty():
        return None
    console = Console(file=stream, force_terminal=True, force_jupyter=False, highlight=False, markup=False, emoji=False)
    return None if console.is_dumb_terminal else console


def plain_line(snapshot: Snapshot) -> str:
    """`00:05/02:10 running · search 499.9/s of 500/s, 12 in flight, 2,512 calls, 3 failed, p99 96 ms · ...`."""
    start = f"{numbers.moment(snapshot.elapsed_s)}/{numbers.moment(snapshot.total_s)} {snapshot.phase}"
    shown = snapshot.generators[:MOST_IN_A_LINE]
    parts = [start, *(_phrase(view) for view in shown)]
    if len(snapshot.generators) > len(shown):
        parts.append(f"… and {len(snapshot.generators) - len(shown)} more")
    return " · ".join(parts)


def _phrase(view: GeneratorView) -> str:
    asked, got = _asked_got(view, False)
    parts = [f"{fit(view.name, 24)} {got} of {asked}{' users' if view.kind == 'users' else ''}"]
    parts += [f"{view.in_flight:,} in flight", f"{view.calls:,} calls"]
    failed = view.failed + view.timeout
    parts += [f"{failed:,} failed"] if failed else []
    parts += [f"{view.dropped:,} dropped"] if view.dropped else []
    parts += [f"p99 {numbers.latency(view.p99_s)}"] if view.p99_s is not None else []
    return ", ".join(parts)


def _asked_got(view: GeneratorView, short: bool) -> tuple[str, str]:
    if view.kind == "rate":
        return numbers.rate(view.planned, short), numbers.rate(view.delivered_per_s, short)
    return numbers.count(round(view.planned), short), numbers.count(view.users_active, short)


def live_lines(snapshot: Snapshot, title: str, width: int = WIDTH) -> list[tuple[str, str]]:
    """The live table with the style of each line; the first says where the run is."""
    shown = snapshot.generators[:MOST_ROWS]
    lines = [(_progress(snapshot, title, width), "bold")]
    for at, line in enumerate(grid(_HEAD, lambda short: [_row(view, short) for view in shown], width)):
        trouble = at > 0 and (shown[at - 1].failed or shown[at - 1].timeout or shown[at - 1].dropped)
        lines.append((line, "dim" if at == 0 else "yellow" if trouble else ""))
    if len(snapshot.generators) > len(shown):
        lines.append((f" … and {len(snapshot.generators) - len(shown)} more generators", "dim"))
    return lines


def _row(view: GeneratorView, short: bool) -> list[str]:
    asked, got = _asked_got(view, short)
    counts = [numbers.count(number, short) for number in (view.in_flight, view.calls, view.failed + view.timeout)]
    dropped = numbers.count(view.dropped if view.kind == "rate" else view.dropped or None, short)
    times = [numbers.latency(view.p50_s), numbers.latency(view.p99_s)]
    return [view.name, view.kind, asked, got, *counts, dropped, *times]


def _progress(snapshot: Snapshot, title: str, width: int) -> str:
    done = min(1.0, snapshot.elapsed_s / snapshot.total_s) if snapshot.total_s > 0 else 0.0
    times = f"{numbers.moment(snapshot.elapsed_s)} / {numbers.moment(snapshot.total_s)}"
    start = f" {fit(title, 24)}  {snapshot.phase}  {times}  "
    end = f"  {100 * done:.0f} %"
    room = max(0, width - len(start) - len(end))
    full = int(room * done)
    return start + "━" * full + "─" * (room - full) + end
