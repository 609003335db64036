"""The live view: a table on a terminal, plain lines elsewhere, never a reason for a run to fail."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import deque
from dataclasses import replace

import pytest
from rich.console import Console
from support.histograms import histogram_of

from wasp_ray.report.listener import GeneratorState, Snapshot
from wasp_ray.report.live import HISTORY_S, LiveView, Recent, Shown, live_lines, plain_line, sparkline
from wasp_ray.report.text import columns
from wasp_ray.stats.seconds import Second

SEARCH = GeneratorState(2500, 3, 1, name="search", planned=500.0, in_flight=12, started=2512, dropped=4)
CHECKOUT = GeneratorState(4100, name="checkout", kind="users", planned=50, users_active=49, in_flight=49, started=4100)
NOW = Snapshot(5.0, 130.0, "running", [SEARCH, CHECKOUT])
RECENT = {"search": Recent(499.9, 0.012, 0.096)}


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    tries = 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)


def _seconds(view: LiveView, clock: Clock, seconds: int) -> None:
    """Ten snapshots a second of a run that starts 50 calls between two of them."""
    for _ in range(seconds * 10):
        clock.ns += 100_000_000
        search = replace(SEARCH, started=clock.ns // 2_000_000)
        view.update(replace(NOW, elapsed_s=clock.ns / 1e9, generators=[search, CHECKOUT]))


def test_plain_lines() -> None:
    """Without a terminal, as in CI, there is one line every 10 s and a last one, with no escapes."""
    out, clock = io.StringIO(), Clock()
    view = LiveView(out, "shop", now_ns=clock)
    _seconds(view, clock, 24)
    view.close()
    view.close()
    lines = out.getvalue().splitlines()
    assert [line.split("/")[0] for line in lines] == ["00:10", "00:20", "00:24"]
    assert "\x1b" not in out.getvalue()


def test_last_plain_line_is_not_said_twice() -> None:
    """A run that ends on a line does not repeat it."""
    out, clock = io.StringIO(), Clock()
    view = LiveView(out, "shop", now_ns=clock)
    _seconds(view, clock, 10)
    view.close()
    assert len(out.getvalue().splitlines()) == 1


def test_what_a_plain_line_says() -> None:
    """Rate and users each in their own words; failures only when there are any."""
    assert plain_line(Shown(NOW, RECENT)) == (
        "00:05/02:10 running · search 499.9/s of 500/s, 12 in flight, 2,512 calls, 4 failed, 4 dropped, p99 96 ms"
        " · checkout 49 of 50 users, 49 in flight, 4,100 calls"
    )
    assert plain_line(Shown(replace(NOW, generators=[SEARCH] * 16))).endswith(" · … and 12 more")


def test_live_table_fits() -> None:
    """Long names and many generators stay within 80 columns and a screen."""
    states = [replace(SEARCH, name="n" * 100, started=10**10, planned=123_456.7)] * 30
    shown = Shown(replace(NOW, generators=states), {"n" * 100: Recent(123_456.7, 0.012, 0.096)})
    lines = [text for text, _ in live_lines(shown, "t" * 100)]
    assert max(map(columns, lines)) <= 80 and lines[-1] == " … and 18 more generators"
    assert len(lines) == 15


def test_live_table_of_a_narrow_terminal() -> None:
    """Every column is there at 80, and nothing stands beside them up to 119."""
    shown = Shown(NOW, {"search": Recent(499.9, 0.012, 0.096, rates=deque([1.0]))})
    lines = [text for text, _ in live_lines(shown, "shop", 80)]
    assert lines[1].split() == ["GENERATOR", "asked", "got", "in", "flight", "calls", "failed", "dropped", "p50", "p99"]
    assert lines[2].split()[:4] == ["search", "rate", "500/s", "499.9/s"] and lines[2].endswith("96 ms")
    assert [text for text, _ in live_lines(shown, "shop", 119)] == lines


def test_a_wide_terminal_shows_the_last_seconds() -> None:
    """From 120 columns on: a bar for each second of rate and p99, blank where no call ended, the newest at the right."""
    recent = Recent(8.0, 0.012, 0.096, rates=deque(float(second % 9) for second in range(30)))
    for second in range(40):
        recent.close_second(second, None, None if second == 37 else 0.001 * (second - 31))
    shown = Shown(NOW, {"search": recent})
    head, search, checkout = (text for text, _ in live_lines(shown, "shop", 120)[1:])
    assert head.endswith("rate                 p99") and columns(head) == 120
    assert search.endswith("  ▄▅▅▆▇█▁▂▃▄▅▅▆▇█▁▂▃  ▁▁▁▁▁▁▁▁▁▁▂▃▄▅▅ ▇█") and columns(search) == 120
    assert checkout == checkout[:80].rstrip()


def _closed(at_s: int, p99_s: float) -> Second:
    """A second with one call."""
    made = Second(at_s)
    made.cell(None, warmup=False).service = histogram_of([round(p99_s * 1e9)])
    return made


def test_the_live_view_keeps_the_last_seconds() -> None:
    """Rates by its snapshots, p99 by closed seconds, the longest where a part came late; no more than a sparkline shows."""
    out, clock = Terminal(), Clock()
    view = LiveView(out, "shop", now_ns=clock)
    view._console = Console(file=out, width=130, force_terminal=True)
    for second in range(100):
        _seconds(view, clock, 1)
        for p99 in (0.1, 0.2 if second == 99 else 0.05):
            view.windows({"search": [_closed(second, p99)]})
    _seconds(view, clock, 1)
    recent = view._recent["search"]
    assert list(recent.rates) == pytest.approx([500.0] * HISTORY_S)
    assert recent.last_p99s(3) == [0.1, 0.1, 0.2] and len(recent.p99s) == HISTORY_S
    assert "█" * 23 in out.getvalue() and "▅" * 22 + "█" in out.getvalue()


@pytest.mark.parametrize(
    ("values", "bars"),
    [([], ""), ([0.0, 0.0], "▁▁"), ([None, 1.0, None], " █ "), ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"), ([1e-9], "█")],
)
def test_sparklines(values: list[float | None], bars: str) -> None:
    """From nothing to the largest value; a second without a value is blank."""
    assert sparkline(values) == bars


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_terminal(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool) -> None:
    """A terminal gets the table, redrawn at most 5 times a second, in colours unless NO_COLOR is set."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out, clock = Terminal(), Clock()
    view = LiveView(out, "shop", now_ns=clock)
    _seconds(view, clock, 2)
    text = out.getvalue()
    assert text.count("GENERATOR") == 10 and "500/s" in text
    assert ("\x1b[33m" in text) is coloured
    view.note("[bold]user[/bold] \x1b[2J")
    assert "[bold]user[/bold] \\x1b[2J" in out.getvalue()
    view.close()
    assert "\x1b[?25h" in out.getvalue()[len(text) :], "the cursor is shown again"


def test_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that cannot move its cursor is treated as none."""
    monkeypatch.setenv("TERM", "dumb")
    out, clock = Terminal(), Clock()
    view = LiveView(out, "shop", now_ns=clock)
    _seconds(view, clock, 10)
    view.close()
    assert out.getvalue().startswith("00:10/02:10 running")


def test_user_output_is_limited() -> None:
    """Of what users print 20 lines a second are shown, the rest is counted; the engine's own notes all come."""
    out, clock = io.StringIO(), Clock()
    view = LiveView(out, "shop", now_ns=clock)
    for number in range(50):
        view.output(f"line {number}")
    view.note("first exception")
    clock.ns = 1_000_000_000
    view.output("later")
    lines = out.getvalue().splitlines()
    assert lines[19:] == ["line 19", "first exception", "… 30 more lines", "later"]


def test_quiet() -> None:
    """--quiet leaves the engine's notes only."""
    out, clock = io.StringIO(), Clock()
    view = LiveView(out, "shop", True, now_ns=clock)
    _seconds(view, clock, 24)
    view.output("from a user")
    view.note("from the engine")
    view.close()
    assert out.getvalue() == "from the engine\n"


def test_reader_gone() -> None:
    """A closed pipe ends the view, not the run."""
    out, clock = Broken(), Clock()
    view = LiveView(out, "shop", now_ns=clock)
    _seconds(view, clock, 24)
    view.note("x")
    view.close()
    assert out.tries == 1, "nothing more is written after the first failure"


def test_listener_and_bundle_do_not_load_rich() -> None:
    """Processes that only report or write files stay light."""
    code = "import sys, wasp_ray.report.listener, wasp_ray.report.bundle; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
