"""The end of a run in the terminal: summary.json in at most 80 columns, verdict last. It must not judge anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO, TypeVar

from wasp_ray.report import numbers
from wasp_ray.report.text import WIDTH, clean, encodable, fit, flow, grid, path_label, wrap
from wasp_ray.stats.limits import OTHER
from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.thresholds import Parsed, ThresholdError, parse
from wasp_ray.stats.verdict import SIGNAL_EXIT_CODES
from wasp_ray.stats.verdict import exit_code as exit_code_of

T = TypeVar("T")
Data = Mapping[str, Any]
Line = tuple[str, str]
"""Text and its style in a terminal."""

MOST_ROWS = 12
"""Generators, groups and warnings shown; the rest is in summary.json."""
MOST_ERRORS = 6

CAUSES = {
    "in_flight_limit": "in flight full",
    "worker_limit": "workers full",
    "generator": "generator late",
    "worker_lost": "worker lost",
    "stopped": "stopped",
}
_VERDICT_STYLES = {"passed": "bold green", "failed": "bold red", "invalid": "bold magenta", "error": "bold red"}
_GROUP_HEAD = ("p50", "p95", "p99", "max", "p99 from due")
_BAD = ("failed", "timeout", "killed")
"""Outcomes that are trouble: an interrupted call is not, since the run itself ended it."""
_GENERATOR_HEAD = ("GENERATOR", "", "asked", "got", "calls", "ok", *_BAD, "dropped")


def final_table(summary: Data, *, exit_code: int | None = None, path: str | None = None) -> str:
    """The whole table as plain text without a last line end; no line is wider than 80 columns.

    `exit_code`: None derives it from the verdict. `path`: where the bundle is, None when there is none.
    """
    return "\n".join(text for text, _ in final_lines(summary, exit_code=exit_code, path=path))


def print_table(summary: Data, stream: TextIO, *, exit_code: int | None = None, path: str | None = None) -> None:
    """Prints the table; in colours on a terminal (NO_COLOR is honoured), else plain. OSError is the caller's."""
    lines = final_lines(summary, exit_code=exit_code, path=path)
    encoding = getattr(stream, "encoding", None)
    if not stream.isatty():
        stream.write("".join(encodable(text, encoding) + "\n" for text, _ in lines))
        stream.flush()
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, force_terminal=True, force_jupyter=False, highlight=False, markup=False, emoji=False)
    for text, style in lines:
        console.print(Text(encodable(text, encoding), style=style), soft_wrap=True)


def final_lines(summary: Data, *, exit_code: int | None = None, path: str | None = None) -> list[Line]:
    """The table line by line with the style of each."""
    lines = _generator_lines(summary) + _group_lines(summary)
    lines += _error_lines(summary)
    lines += _ledger_lines(summary["ledger"], _dropped_by(summary))
    lines += _node_lines(summary)
    lines += _sink_lines(summary)
    lines += _alert_lines(summary)
    lines += _warning_lines(summary)
    lines += _reason_lines(summary)
    return [*lines, _verdict_line(summary, exit_code, path)]


def _generator_lines(summary: Data) -> list[Line]:
    generators: Mapping[str, Data] = summary["generators"]
    names = list(generators)
    shown = _top(names, [_trouble(generators[name]["ledger"]) for name in names], MOST_ROWS)
    table = grid(_GENERATOR_HEAD, lambda short: [_generator_row(name, generators[name], short) for name in shown])
    ended = [line for name in shown for line in _ended_early(name, generators[name])]
    return _titled(table) + _rest(len(names) - len(shown), "generators") + ended


def _ended_early(name: str, data: Data) -> list[Line]:
    """A Generator whose rows were used up did less than its schedule."""
    if data["ended_by"] != "rows_used_up":
        return []
    planned_s = max((segment["to_s"] for segment in data["segments"]), default=None)
    whole = "" if planned_s is None else f" of {numbers.length(planned_s)}"
    text = f"{name} ended early: its rows were used up after {numbers.length(data['scheduled_s'])}{whole}"
    return [(line, "yellow") for line in wrap(" ", text)]


def _trouble(ledger: Data) -> tuple[int, int]:
    bad = sum(ledger[key] for key in (*_BAD, "dropped", "lost"))
    return bad, ledger["scheduled"]


def _generator_row(name: str, data: Data, short: bool) -> list[str]:
    ledger = data["ledger"]
    if data["kind"] == "rate":
        planned = data["planned_rate"]
        asked, got = (
            numbers.rate(planned, short),
            numbers.rate(None if planned is None else data["delivered_rate"], short),
        )
        dropped = numbers.count(ledger["dropped"], short)
    else:
        users = data.get("users") or {}
        asked, got = numbers.count(users.get("planned_max"), short), numbers.count(users.get("active_max"), short)
        dropped = numbers.count(ledger["dropped"] or None, short)
    ended = [numbers.count(ledger[key], short) for key in ("started", "ok", *_BAD)]
    return [name, data["kind"], asked, got, *ended, dropped]


def _group_lines(summary: Data) -> list[Line]:
    groups = [
        (name if name == generator else path_label(generator, name), data["kind"], group)
        for generator, data in summary["generators"].items()
        for name, group in data["groups"].items()
    ]
    if not groups:
        return []
    shown = _top(groups, [(_bad(group), group["count"]) for _, _, group in groups], MOST_ROWS)
    apart = [name for name in _BAD[1:] if any(group[name] for _, _, group in groups)]
    head = ("GROUP (service)", "count", "failed", *apart, *_GROUP_HEAD)
    table = grid(head, lambda short: [_group_row(*entry, apart, short) for entry in shown])
    return _titled(table) + _rest(len(groups) - len(shown), "groups")


def _bad(group: Data) -> int:
    return sum(group[name] for name in _BAD)


def _group_row(label: str, kind: str, group: Data, apart: Sequence[str], short: bool) -> list[str]:
    """`failed` is the share of requests that failed, timed out or were killed; `apart` are columns for some of these."""
    service, response = group.get("service_s") or {}, group.get("response_s") or {}
    from_due = response.get("p99")
    if kind == "users" and from_due == service.get("p99"):
        from_due = None
    times = [numbers.latency(service.get(key)) for key in ("p50", "p95", "p99", "max")]
    failed = numbers.share(_bad(group), group["count"])
    counts = [numbers.count(group[name], short) for name in apart]
    return [label, numbers.count(group["count"], short), failed, *counts, *times, numbers.latency(from_due)]


def _error_lines(summary: Data) -> list[Line]:
    errors = [(name, entry) for name, data in summary["generators"].items() for entry in data["errors"]]
    errors.sort(key=lambda pair: -pair[1]["count"])
    if not errors:
        return []
    items = [_error_item(name, entry) for name, entry in errors[:MOST_ERRORS]]
    if len(errors) > MOST_ERRORS:
        items.append(f"… and {len(errors) - MOST_ERRORS} more")
    return [(line, "red") for line in flow(" ERRORS  ", items, " · ")]


def _error_item(generator: str, entry: Data) -> str:
    label = generator if entry["group"] in ("", generator) else path_label(generator, entry["group"])
    error = error_name(entry)
    start = f"{entry['count']:,} {fit(label, 28)} "
    end = "" if entry.get("first_at_s") is None else f", first {numbers.moment(entry['first_at_s'])}"
    return start + fit(error, WIDTH - 9 - len(start) - len(end)) + end


def error_name(entry: Data) -> str:
    """Return what an entry of `errors` counts: one error, or all those beyond the limit of different ones."""
    return "other errors" if entry["error"] == OTHER else str(entry["error"])


def _dropped_by(summary: Data) -> dict[str, int]:
    causes: dict[str, int] = {}
    for data in summary["generators"].values():
        for cause, number in data.get("dropped_by", {}).items():
            causes[cause] = causes.get(cause, 0) + number
    return {cause: number for cause, number in causes.items() if number}


def _ledger_lines(ledger: Data, causes: Mapping[str, int]) -> list[Line]:
    why = ", ".join(
        CAUSES.get(cause, cause) + (f" {number:,}" if len(causes) > 1 else "") for cause, number in causes.items()
    )
    ends = [f"{ledger[key]:,} {key}" for key in OUTCOMES]
    scheduled, started, dropped = (f"{key} {ledger[key]:,}" for key in ("scheduled", "started", "dropped"))
    first = [scheduled, f"= {started}", f"+ {dropped}"]
    first += [f"({why})"] if why else []
    first[-1] += ","
    top = flow(" LEDGER  ", [*first, f"lost {ledger['lost']:,}"], " ")
    bottom = flow(" " * 9, [ends[0], *(f"+ {end}" for end in ends[1:])], " ")
    closes = Ledger.from_data(ledger).closes()
    word = "closes" if closes else "DOES NOT CLOSE"
    if len(bottom[-1]) + 2 + len(word) > WIDTH:
        bottom.append("")
    bottom[-1] = bottom[-1] + word.rjust(WIDTH - len(bottom[-1]))
    return [(line, "" if closes else "bold magenta") for line in top + bottom]


def _node_lines(summary: Data) -> list[Line]:
    nodes: Sequence[Data] = summary["nodes"]
    items = [f"{len(nodes)}"]
    if cores := [node["cpu_cores"] for node in nodes if node["cpu_cores"] is not None]:
        items.append(f"cpu {sum(cores) / len(cores):,.2f} cores" + (" each" if len(nodes) > 1 else ""))
    delays = [(data.get("start_delay_s") or {}).get("p99") for data in summary["generators"].values()]
    known = [delay for delay in delays if delay is not None]
    if known:
        items.append(f"calls late p99 {numbers.latency(max(known))}")
    start = summary["start_skew_s"]
    if start["spread"] is not None:
        error = f" ± {numbers.latency(start['spread_error'])}" if start["spread_error"] else ""
        items.append(f"start spread {numbers.latency(start['spread'])}{error}")
    return [(line, "") for line in flow(" NODES   ", items, " · ")]


def _sink_lines(summary: Data) -> list[Line]:
    """Lines delivered of those accepted; nothing without sinks."""
    items, whole = [], True
    for name, books in summary.get("sinks", {}).items():
        lost = sum(books["not_delivered"].values())
        whole = whole and not lost
        items.append(f"{name} {books['delivered']:,} of {books['accepted']:,} lines")
    return [(line, "" if whole else "yellow") for line in flow(" SINKS   ", items, " · ")] if items else []


def _alert_lines(summary: Data) -> list[Line]:
    """How each alert check came out; nothing without."""
    checks: Sequence[Data] = summary.get("alerts", [])
    words = [f"{'none fired' if check['state'] == 'ok' else check['state']}: {check['name']}" for check in checks]
    items = [fit(word, WIDTH - 9) for word in words[:MOST_ROWS]]
    style = "" if all(check["state"] == "ok" for check in checks) else "red"
    lines = [(line, style) for line in flow(" ALERTS  ", items, " · ")] if items else []
    return lines + _rest(len(words) - MOST_ROWS, "alert checks")


def _warning_lines(summary: Data) -> list[Line]:
    warnings = summary["warnings"]
    lines = [(line, "yellow") for text in warnings[:MOST_ROWS] for line in _marked(" ! ", text)]
    return lines + _rest(len(warnings) - MOST_ROWS, "warnings")


def _reason_lines(summary: Data) -> list[Line]:
    """Broken thresholds with what was found, then every reason that is not one of them."""
    broken = [entry for entry in summary["thresholds"] if not entry["passed"]]
    said = [" ".join(entry["expression"].split()) for entry in broken]
    reasons = [text for text in summary["reasons"] if not any(part in " ".join(text.split()) for part in said)]
    lines = [_threshold_line(entry) for entry in broken[:MOST_ROWS]]
    lines += _rest(len(broken) - MOST_ROWS, "broken thresholds")
    lines += [(line, "red") for text in reasons[:MOST_ROWS] for line in _marked(" x ", text)]
    return lines + _rest(len(reasons) - MOST_ROWS, "reasons")


def _threshold_line(entry: Data) -> Line:
    found = threshold_value(entry)
    return f" x {fit(entry['expression'], WIDTH - 6 - len(found))}   {found}", "red"


def threshold_value(entry: Data) -> str:
    """What was measured, in the unit of the expression: `412 ms`, `1.20%`, `499.9/s`, `3`; `no sample` for None."""
    value, parsed = entry["value"], _parsed(entry)
    return "no sample" if value is None else _in_unit(value, "" if parsed is None else parsed.unit)


def threshold_limit(entry: Data) -> str:
    """The operator and the limit in the unit of the expression: `< 300 ms`."""
    parsed = _parsed(entry)
    return _in_unit(entry["limit"], "") if parsed is None else f"{parsed.op} {_in_unit(entry['limit'], parsed.unit)}"


def _parsed(entry: Data) -> Parsed | None:
    """None for an expression that this version cannot read: another one wrote the summary, or a part of it is masked."""
    try:
        return parse(str(entry["expression"])).parse()
    except ThresholdError:
        return None


def _in_unit(value: float, unit: str) -> str:
    match unit:
        case "s":
            return numbers.latency(value)
        case "%":
            return numbers.share(value)
        case "/s":
            return numbers.rate(value)
        case _:
            return f"{value:,.3f}".rstrip("0").rstrip(".")


def _verdict_line(summary: Data, exit_code: int | None, path: str | None) -> Line:
    verdict, thresholds = str(summary["verdict"]), summary["thresholds"]
    broken = sum(not entry["passed"] for entry in thresholds)
    exit_code = ended_with(summary, exit_code)
    if broken and verdict == "failed":
        about = [f"{broken} of {len(thresholds)} threshold{'s' * (len(thresholds) != 1)}"]
    elif verdict != "passed" and summary["reasons"]:
        about = [f"{len(summary['reasons'])} reason{'s' * (len(summary['reasons']) != 1)}"]
    else:
        about = [f"{len(thresholds)} threshold{'s' * (len(thresholds) != 1)}"] if thresholds else []
    parts = [*about, numbers.length(summary["duration_s"]), f"exit {exit_code}"]
    head, style = f" {verdict.upper()}  ", _VERDICT_STYLES.get(verdict, "bold yellow")
    if verdict == "passed" and not thresholds and (unjudged := _failed_calls(summary["ledger"])):
        head, style = f" {verdict.upper()}, no thresholds: {unjudged} · ", "bold yellow"
    start = head + " · ".join(parts)
    return start if path is None else f"{start} · {_tail(path, WIDTH - len(start) - 3)}", style


def ended_with(summary: Data, exit_code: int | None = None) -> int:
    """The exit code of a run: the one given, or the one that its verdict stands for."""
    if exit_code is not None:
        return exit_code
    signals = [name for name in SIGNAL_EXIT_CODES for reason in summary["reasons"] if name in reason]
    return exit_code_of(str(summary["verdict"]), signals[-1] if signals else None)


def _failed_calls(ledger: Mapping[str, int]) -> str:
    """Return how many calls failed, timed out or were killed; "" for none."""
    failed = ledger["failed"] + ledger["timeout"] + ledger["killed"]
    return f"{failed:,} of {ledger['started']:,} calls failed" if failed else ""


def _tail(path: str, width: int) -> str:
    """The end of a path tells more than its beginning."""
    shown = clean(path)
    return shown if len(shown) <= width else "…" + shown[len(shown) - width + 1 :]


def _top(entries: Sequence[T], weights: Sequence[tuple[int, int]], most: int) -> list[T]:
    """The heaviest entries (trouble first, then size) in their own order."""
    heaviest = sorted(range(len(entries)), key=lambda at: weights[at], reverse=True)[:most]
    return [entries[at] for at in sorted(heaviest)]


def _titled(table: Sequence[str]) -> list[Line]:
    return [(line, "bold" if at == 0 else "") for at, line in enumerate(table)]


def _rest(number: int, what: str) -> list[Line]:
    return [(f" … and {number:,} more {what}", "dim")] if number > 0 else []


def _marked(mark: str, text: str) -> list[str]:
    return wrap(mark, text)
