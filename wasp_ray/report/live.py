"""What is seen during a run: a live table on a terminal, plain lines elsewhere. It must never fail a run.

All methods are for one thread. A stream that cannot be written any more ends the view, silently for the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from wasp_ray import clock
from wasp_ray.report import numbers
from wasp_ray.report.listener import GeneratorState, Snapshot
from wasp_ray.report.text import WIDTH, clean, encodable, fit, grid, pad
from wasp_ray.schedule import SECOND_NS
from wasp_ray.stats.seconds import Seconds, short

PLAIN_EVERY_NS = 10_000_000_000
REDRAW_EVERY_NS = 200_000_000
OUTPUT_PER_S = 20
MOST_ROWS = 12
MOST_IN_A_LINE = 4
WIDE = 120
"""From so many columns on, the table has sparklines beside it."""
HISTORY_S = 60
"""Seconds that a sparkline shows at most."""
BARS = "▁▂▃▄▅▆▇█"
_HEAD = ("GENERATOR", "", "asked", "got", "in flight", "calls", "failed", "dropped", "p50", "p99")


@dataclass(slots=True)
class Recent:
    """What the last second of a Generator was like: calls started per second, service times of calls that ended."""

    per_s: float = 0.0
    p50_s: float | None = None
    """None: no call ended in it."""
    p99_s: float | None = None
    at_s: float = 0.0
    started: int = 0
    rates: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY_S))
    """calls started per second in the last seconds"""
    p99s: dict[int, float] = field(default_factory=dict)
    """of the last seconds in which calls ended; of several nodes the longest"""

    def update(self, state: GeneratorState, elapsed_s: float) -> None:
        """Takes the newest counts."""
        if elapsed_s - self.at_s >= 1.0:
            self.per_s = (state.started - self.started) / (elapsed_s - self.at_s)
            self.at_s, self.started = elapsed_s, state.started
            self.rates.append(self.per_s)

    def close_second(self, at_s: int, p50_s: float | None, p99_s: float | None) -> None:
        """Takes the service times of a closed second."""
        self.p50_s, self.p99_s = p50_s, p99_s
        if p99_s is not None:
            self.p99s[at_s] = max(p99_s, self.p99s.get(at_s, 0.0))
        while len(self.p99s) > HISTORY_S:
            del self.p99s[min(self.p99s)]

    def last_p99s(self, seconds: int) -> list[float | None]:
        """Return those of the last seconds, None where no call ended."""
        last = max(self.p99s, default=-1)
        return [self.p99s.get(at_s) for at_s in range(max(0, last - seconds + 1), last + 1)]


@dataclass(slots=True)
class Shown:
    """A snapshot with the last second of each Generator in it."""

    snapshot: Snapshot
    recent: Mapping[str, Recent] = field(default_factory=dict)

    def rows(self, most: int) -> list[tuple[GeneratorState, Recent]]:
        """Return the first Generators, at most so many."""
        return [(state, self.recent.get(state.name, Recent())) for state in self.snapshot.generators[:most]]


class LiveView:
    """Shows snapshots of a run on `stream`: a table redrawn at most 5 times a second, or a line every 10 s.

    `quiet` shows neither those nor what users print; notes still come.
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
        self._recent: dict[str, Recent] = {}
        self._gone = False
        self._console = _console(stream)
        self._live: Live | None = None
        self._redraw_at_ns = 0
        self._line_at_ns = self._now_ns() + PLAIN_EVERY_NS
        self._second_ends_ns = 0
        self._shown = 0
        self._held_back = 0

    def update(self, snapshot: Snapshot) -> None:
        """Takes the newest state; may be called as often as one likes."""
        self._last = snapshot
        for state in snapshot.generators:
            self._recent.setdefault(state.name, Recent()).update(state, snapshot.elapsed_s)
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

    def windows(self, closed: Seconds) -> None:
        """Takes closed seconds, by Generator."""
        for name, windows in closed.items():
            recent = self._recent.setdefault(name, Recent())
            for window in windows:
                service = short(window.calls().service)
                recent.close_second(window.at_s, service["p50"], service["p99"])

    def note(self, text: str) -> None:
        """Lines of the engine above the live view."""
        for line in text.splitlines() or [""]:
            self._guarded(partial(self._print, clean(line)))

    def output(self, text: str) -> None:
        """What users print, above the live view: at most 20 lines a second, the rest is counted."""
        for line in text.splitlines() or [""]:
            if not self._quiet and self._may_show():
                self.note(line)

    def close(self) -> None:
        """Takes the live table away, prints the last plain line; may be called again."""
        self._flush_held_back()
        if self._live is not None:
            live, self._live = self._live, None
            self._guarded(live.stop)
        elif self._console is None and not self._quiet and self._last is not self._printed:
            self._guarded(self._line)

    def _may_show(self) -> bool:
        now = self._now_ns()
        if now >= self._second_ends_ns:
            self._flush_held_back()
            self._second_ends_ns, self._shown = now + SECOND_NS, 0
        self._shown += 1
        if self._shown > OUTPUT_PER_S:
            self._held_back += 1
        return self._shown <= OUTPUT_PER_S

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
            self._print(plain_line(Shown(self._last, self._recent)))

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
        width = self._console.width
        lines = live_lines(Shown(self._last, self._recent), self._title, width)
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


def plain_line(now: Shown) -> str:
    """`00:05/02:10 running · search 499.9/s of 500/s, 12 in flight, 2,512 calls, 3 failed, p99 96 ms · ...`."""
    snapshot, rows = now.snapshot, now.rows(MOST_IN_A_LINE)
    start = f"{numbers.moment(snapshot.elapsed_s)}/{numbers.moment(snapshot.total_s)} {snapshot.phase}"
    parts = [start, *(_phrase(state, recent) for state, recent in rows)]
    if len(snapshot.generators) > len(rows):
        parts.append(f"… and {len(snapshot.generators) - len(rows)} more")
    return " · ".join(parts)


def _phrase(state: GeneratorState, recent: Recent) -> str:
    asked, got = _asked_got(state, recent, False)
    parts = [f"{fit(state.name, 24)} {got} of {asked}{' users' if state.kind == 'users' else ''}"]
    parts += [f"{state.in_flight:,} in flight", f"{state.started:,} calls"]
    parts += [f"{_wrong(state):,} failed"] if _wrong(state) else []
    parts += [f"{state.dropped:,} dropped"] if state.dropped else []
    parts += [f"p99 {numbers.latency(recent.p99_s)}"] if recent.p99_s is not None else []
    return ", ".join(parts)


def _wrong(state: GeneratorState) -> int:
    return state.failed + state.timeout


def _asked_got(state: GeneratorState, recent: Recent, short: bool) -> tuple[str, str]:
    if state.kind == "rate":
        return numbers.rate(state.planned, short), numbers.rate(recent.per_s, short)
    return numbers.count(round(state.planned), short), numbers.count(state.users_active, short)


def live_lines(now: Shown, title: str, width: int = WIDTH) -> list[tuple[str, str]]:
    """The live table with the style of each line; the first says where the run is.

    It is at most 80 columns wide. A terminal of 120 and more has the last seconds of rate and p99 beside it.
    """
    rows, table = now.rows(MOST_ROWS), min(WIDTH, width)
    beside = _sparklines([recent for _, recent in rows], width - WIDTH) if width >= WIDE else []
    lines = [(_progress(now.snapshot, title, table), "bold")]
    for at, line in enumerate(grid(_HEAD, lambda short: [_row(*row, short) for row in rows], table)):
        trouble = at > 0 and (_wrong(rows[at - 1][0]) or rows[at - 1][0].dropped)
        whole = pad(line, WIDTH) + beside[at] if beside else line
        lines.append((whole.rstrip(), "dim" if at == 0 else "yellow" if trouble else ""))
    if len(now.snapshot.generators) > len(rows):
        lines.append((f" … and {len(now.snapshot.generators) - len(rows)} more generators", "dim"))
    return lines


def _sparklines(recents: Sequence[Recent], width: int) -> list[str]:
    """Return the two columns beside the table, in `width` columns, with their head: the newest second is at the right."""
    room = min(HISTORY_S, (width - 4) // 2)
    rows = [("rate", "p99")]
    rows += [(sparkline(list(each.rates)[-room:]), sparkline(each.last_p99s(room))) for each in recents]
    return [f"  {rate.rjust(room)}  {p99.rjust(room)}" for rate, p99 in rows]


def sparkline(values: Sequence[float | None]) -> str:
    """Return a bar for each value, from nothing to the largest one; a blank for None."""
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    return "".join(" " if value is None else BARS[round(value / top * (len(BARS) - 1))] for value in values)


def _row(state: GeneratorState, recent: Recent, short: bool) -> list[str]:
    asked, got = _asked_got(state, recent, short)
    counts = [numbers.count(number, short) for number in (state.in_flight, state.started, _wrong(state))]
    dropped = numbers.count(state.dropped if state.kind == "rate" else state.dropped or None, short)
    times = [numbers.latency(recent.p50_s), numbers.latency(recent.p99_s)]
    return [state.name, state.kind, asked, got, *counts, dropped, *times]


def _progress(snapshot: Snapshot, title: str, width: int) -> str:
    done = min(1.0, snapshot.elapsed_s / snapshot.total_s) if snapshot.total_s > 0 else 0.0
    times = f"{numbers.moment(snapshot.elapsed_s)} / {numbers.moment(snapshot.total_s)}"
    start = f" {fit(title, 24)}  {snapshot.phase}  {times}  "
    end = f"  {100 * done:.0f} %"
    room = max(0, width - len(start) - len(end))
    full = int(room * done)
    return start + "━" * full + "─" * (room - full) + end
