"""The final table: what people and CI logs read of a run."""

from __future__ import annotations

import io
from typing import Any

import pytest

from wasp_ray.report import numbers
from wasp_ray.report.table import final_table, print_table, threshold_value
from wasp_ray.report.text import clean, columns, encodable, fit, wrap

Json = dict[str, Any]


def _times(p50: float, p95: float, p99: float, most: float) -> Json:
    return {"min": p50, "mean": p50, "p50": p50, "p90": p95, "p95": p95, "p99": p99, "p999": most, "max": most}


def _ledger(ok: int, failed: int = 0, timeout: int = 0, killed: int = 0, dropped: int = 0) -> Json:
    started = ok + failed + timeout + killed
    ends = {"ok": ok, "failed": failed, "timeout": timeout, "killed": killed, "interrupted": 0, "lost": 0}
    return {"scheduled": started + dropped, "dropped": dropped, "started": started, **ends}


def _group(count: int, failed: int, service: Json, response: Json) -> Json:
    outcomes = {"ok": count - failed, "failed": failed, "timeout": 0, "killed": 0, "interrupted": 0}
    return {"count": count, **outcomes, "status": {}, "service_s": service, "response_s": response}


def _error(error: str, group: str, count: int, first_at_s: float | None) -> Json:
    return {"error": error, "group": group, "count": count, "first_at_s": first_at_s, "example": ""}


def _generator(kind: str, ledger: Json, groups: Json, errors: list[Json], **more: Any) -> Json:
    users = {"planned_max": 50, "active_max": 50, "setup_failed": 0, "replaced": 0}
    data: Json = {"kind": kind, "ledger": ledger, "planned_rate": 500.0, "delivered_rate": 499.9, "dropped_by": {}}
    data |= {"scheduled_s": 130.0, "ended_by": None, "segments": [{"to_s": 130.0}]}
    return data | {"users": users, "groups": groups, "errors": errors, "start_delay_s": {}} | more


@pytest.fixture
def summary() -> Json:
    """The run of the sample in the interface document."""
    search = _group(60_012, 120, _times(0.012, 0.038, 0.096, 60.0), _times(0.012, 0.04, 0.412, 60.0))
    pay = _times(0.24, 0.31, 0.44, 4.0)
    one = _generator(
        "rate",
        _ledger(59_889, 120, 3, dropped=12),
        {"search": search},
        [_error("HTTP 500", "search", 120, 41.7)],
        dropped_by={"in_flight_limit": 12},
        start_delay_s={"p50": 0.00002, "p99": 0.00011, "max": 0.004},
    )
    two = _generator(
        "users",
        _ledger(12_877, 27, 1, 1),
        {"pay": _group(12_904, 27, pay, pay)},
        [_error("Throttling error", "pay", 27, 3.0)],
    )
    total = {key: one["ledger"][key] + two["ledger"][key] for key in one["ledger"]}
    expression = "p99(response) of search < 300ms"
    broken = {"expression": expression, "generator": "search", "group": None, "value": 0.412, "limit": 0.3}
    node = {"host": "h", "start_skew_s": 0.003, "cpu_s": 114.4, "cpu_cores": 0.88, "peak_rss_bytes": 1, "ledger": {}}
    return {
        "verdict": "failed",
        "reasons": [f"threshold broken: {expression}"],
        "warnings": ["checkout: calls spent 31 % of their time waiting for a core (60 ms CPU/call)"],
        "duration_s": 130.0,
        "ledger": total,
        "thresholds": [{**broken, "passed": False}, {"expression": "failed < 1%", "value": 0.002, "passed": True}],
        "generators": {"search": one, "checkout": two},
        "nodes": [{"node": 0, **node}, {"node": 1, **node}],
        "start_skew_s": {"max": 0.003, "spread": 0.003, "spread_error": 0.0},
    }


def test_alert_checks_have_a_line(summary: Json) -> None:
    """How each came out, within the width whatever its labels are."""
    name = "alerts of grafana (requirement_name=baseline)"
    summary["alerts"] = [{"state": "ok", "name": name}]
    assert f" ALERTS  none fired: {name}" in final_table(summary).splitlines()
    summary["alerts"] = [{"state": "fired", "name": name + 100 * "x"}, *[{"state": "unknown", "name": "\x1b[0m"}] * 20]
    text = final_table(summary)
    assert "fired: " in text and "… and 9 more alert checks" in text and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_sample_table(summary: Json) -> None:
    """The table of a whole run reads as the interface document shows it."""
    expected = """\
 GENERATOR      asked     got  calls     ok failed timeout killed dropped
 search   rate  500/s 499.9/s 60,012 59,889    120       3      0      12
 checkout users    50      50 12,906 12,877     27       1      1       -
 GROUP (service)  count failed    p50    p95    p99    max p99 from due
 search          60,012  0.20%  12 ms  38 ms  96 ms 60.0 s       412 ms
 checkout/pay    12,904  0.21% 240 ms 310 ms 440 ms  4.0 s            -
 ERRORS  120 search HTTP 500, first 00:41
         27 checkout/pay Throttling error, first 00:03
 LEDGER  scheduled 72,930 = started 72,918 + dropped 12 (in flight full), lost 0
         72,766 ok + 147 failed + 4 timeout + 1 killed + 0 interrupted    closes
 NODES   2 · cpu 0.88 cores each · calls late p99 0.11 ms · start spread 3 ms
 ! checkout: calls spent 31 % of their time waiting for a core (60 ms CPU/call)
 x p99(response) of search < 300ms   412 ms
 FAILED  1 of 2 thresholds · 2m10s · exit 1 · wasp-runs/latest"""
    text = final_table(summary, path="wasp-runs/latest")
    assert text.splitlines() == expected.splitlines()


def test_failed_calls_that_nothing_judges_are_named_beside_the_verdict(summary: Json) -> None:
    """A run without thresholds passes whatever its calls did; with thresholds, or without a failed call, nothing is added."""
    summary |= {"verdict": "passed", "reasons": []}
    passed = [{**entry, "passed": True} for entry in summary["thresholds"]]
    assert final_table({**summary, "thresholds": passed}).splitlines()[-1] == " PASSED  2 thresholds · 2m10s · exit 0"
    summary["thresholds"] = []
    last = final_table(summary).splitlines()[-1]
    assert last == " PASSED, no thresholds: 152 of 72,918 calls failed · 2m10s · exit 0"
    summary["ledger"] |= {"failed": 0, "timeout": 0, "killed": 0}
    assert final_table(summary).splitlines()[-1] == " PASSED  2m10s · exit 0"


def test_rows_that_were_used_up_early_are_named_below_the_generators(summary: Json) -> None:
    """A Generator that did less than its schedule for that is no whole measurement; other ends are not named here."""
    summary["generators"]["search"] |= {"ended_by": "rows_used_up", "scheduled_s": 75.5}
    summary["generators"]["checkout"] |= {"ended_by": "max_calls", "scheduled_s": 20.0}
    lines = final_table(summary).splitlines()
    assert lines[3] == " search ended early: its rows were used up after 1m16s of 2m10s"
    assert sum("ended early" in line for line in lines) == 1


def test_a_call_alone_has_no_rate(summary: Json) -> None:
    """With --once the schedule asks for no rate, so there is none to be compared with."""
    summary["generators"]["search"]["planned_rate"] = None
    row = final_table(summary).splitlines()[1].split()
    assert row[:4] == ["search", "rate", "-", "-"]


def test_names_of_any_length_fit(summary: Json) -> None:
    """Long and wide names, errors and expressions are cut with an ellipsis, numbers never."""
    long = summary["generators"].pop("search")
    long["groups"] = {"組" * 60: long["groups"]["search"], "g" * 100: long["groups"]["search"]}
    long["errors"] = [_error("e\n\x1b[31m" * 100, "g" * 100, 10**9, 41.0)]
    long["ledger"] = _ledger(315_000_000, 1_000_000, 3, dropped=12_345_678)
    summary["ledger"] = long["ledger"]
    summary["generators"]["n" * 100] = long
    summary["thresholds"][0]["expression"] = "p99 of " + "n" * 100 + " < 1ms"
    text = final_table(summary, path="/a/very/long/path" * 9)
    assert max(columns(line) for line in text.splitlines()) <= 80, text
    assert "\x1b" not in text
    assert "315,000,000" in text and "328,345,681" in text


def test_sinks_say_what_they_delivered(summary: Json) -> None:
    """A line for all of them; without sinks there is none."""
    assert "SINKS" not in final_table(summary)
    summary["sinks"] = {
        "loki": {"accepted": 12_345, "delivered": 12_000, "not_delivered": {"deadline": 345}},
        "samples": {"accepted": 20, "delivered": 20, "not_delivered": {}},
    }
    line = " SINKS   loki 12,000 of 12,345 lines · samples 20 of 20 lines"
    assert line in final_table(summary).splitlines()


def test_requests_that_timed_out_or_were_killed_count_as_failed(summary: Json) -> None:
    """In the share of the group, and in columns of their own, which no run without them has."""
    group = summary["generators"]["search"]["groups"]["search"]
    group.update(ok=group["ok"] - 480, timeout=471, killed=9)
    lines = final_table(summary).splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith(" GROUP"))
    head, row = lines[at].split(), lines[at + 1].split()
    assert head[2:6] == ["count", "failed", "timeout", "killed"]
    assert row[1:5] == ["60.0k", "1.00%", "471", "9"]


def test_fifty_groups_and_many_errors(summary: Json) -> None:
    """The worst groups and the most frequent errors are shown, and how many more there are."""
    search = summary["generators"]["search"]
    group = search["groups"]["search"]
    search["groups"] = {f"g{at}": {**group, "failed": 120 if at == 40 else 0, "count": 60 - at} for at in range(50)}
    search["errors"] = [_error(f"HTTP {at}", "search", at, 1.0) for at in range(1, 18)]
    lines = final_table(summary).splitlines()
    assert any(line.startswith(" search/g40 ") for line in lines)
    assert " … and 39 more groups" in lines
    assert "… and 12 more" in next(line for line in lines if "… and 12" in line)
    assert len(lines) < 40


def test_nothing_measured() -> None:
    """A run that ended before its first call still has a table."""
    summary: Json = {
        "verdict": "error",
        "reasons": ["setup of the profile failed: ConnectionRefusedError"],
        "warnings": [],
        "duration_s": 0.0,
        "ledger": _ledger(0),
        "thresholds": [{"expression": "p99 < 1s", "value": None, "limit": 1.0, "passed": False}],
        "generators": {"a": _generator("users", _ledger(0), {}, [])},
        "nodes": [],
        "start_skew_s": {"max": None, "spread": None, "spread_error": None},
    }
    lines = final_table(summary).splitlines()
    assert lines[-3:] == [
        " x p99 < 1s   no sample",
        " x setup of the profile failed: ConnectionRefusedError",
        " ERROR  1 reason · 0ms · exit 4",
    ]


def test_open_ledger_is_said(summary: Json) -> None:
    """A ledger that does not add up is never called closed."""
    summary["ledger"]["ok"] -= 1
    assert "DOES NOT CLOSE" in final_table(summary)


def test_plain_stream_has_no_escapes(summary: Json) -> None:
    """Into a file, ASCII too, goes plain text."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_table(summary, stream, path="wasp-runs/latest")
    text = raw.getvalue().decode("ascii")
    assert "\x1b" not in text
    assert text.endswith("FAILED  1 of 2 thresholds | 2m10s | exit 1 | wasp-runs/latest\n")


@pytest.mark.parametrize(
    ("expression", "value", "limit", "shown"),
    [
        ("p99 < 300ms", 0.412, 0.3, "412 ms"),
        ("failed < 1%", 0.012, 0.01, "1.20%"),
        ("failed of shop == 0", 3, 0, "3"),
        ("rate of a/g > 100", 99.94, 100, "99.9/s"),
        ("count(sold) > 4", 3.0, 4, "3"),
        ("p99 < 300ms", None, 0.3, "no sample"),
    ],
)
def test_threshold_values(expression: str, value: float | None, limit: float, shown: str) -> None:
    """A threshold's finding is written in the unit it was asked in."""
    assert threshold_value({"expression": expression, "value": value, "limit": limit}) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (8.3e-6, "8.3 us"),
        (0.00011, "0.11 ms"),
        (0.0012, "1.2 ms"),
        (0.00996, "10 ms"),
        (0.9996, "1.0 s"),
        (60.0, "60.0 s"),
        (1200.4, "1,200 s"),
    ],
)
def test_latencies(seconds: float | None, shown: str) -> None:
    """Latencies have two digits or three and change unit without a jump."""
    assert numbers.latency(seconds) == shown


def test_shares_do_not_flatter() -> None:
    """One failure in a million is not 0 %, and all but one is not 100 %."""
    assert [numbers.share(part, 10**6) for part in (0, 1, 2000, 999_999, 10**6)] == [
        "0%",
        "<0.01%",
        "0.20%",
        ">99.9%",
        "100%",
    ]
    assert numbers.share(0, 0) == "-"


def test_counts_rates_and_clock_times() -> None:
    """Long numbers have commas, or a unit where there is no room."""
    assert [numbers.count(n, True) for n in (9_999, 12_906, 999_960, 315_000_000)] == ["9,999", "12.9k", "1.0M", "315M"]
    assert [numbers.rate(r) for r in (500.0, 499.94, 0.25, 20_000.4)] == ["500/s", "499.9/s", "0.25/s", "20,000/s"]
    assert [numbers.length(s) for s in (0.25, 5.0, 130.0, 660.0, 3720.0)] == ["250ms", "5s", "2m10s", "11m", "1h2m"]
    assert [numbers.moment(s) for s in (41.9, 3723.0)] == ["00:41", "1:02:03"]


def test_text_cells() -> None:
    """Cells are cut by terminal columns, controls are made visible."""
    assert fit("abcdef", 4) == "abc…" and columns("組e\u0301") == 3 and fit("組" * 9, 6) == "組組…"
    assert clean("a\tb\n\x1b[0m") == "a b \\x1b[0m"
    assert encodable("a · b…", "ascii") == "a | b~" and encodable("é", "no-such-codec") == "?"
    assert wrap(" ! ", "word " * 100, 20, 2)[-1].endswith("…")
