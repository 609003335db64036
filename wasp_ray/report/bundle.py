"""Opens the folder of a run: summary, plan and any window of time, with exact counts and mergeable histograms."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wasp_ray.errors import BadInput
from wasp_ray.report.window_file import FILE, WindowFile
from wasp_ray.stats.histogram import Histogram
from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.stats.seconds import LOAD_COUNTS
from wasp_ray.stats.tallies import LEDGER_COLUMNS, Cell
from wasp_ray.stats.windows.member import Key


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of calls or requests in seconds, of those that ended by themselves or at their deadline; None without any."""

    histogram: Histogram

    @property
    def count(self) -> int:
        """How many there are."""
        return self.histogram.count

    @property
    def min(self) -> float | None:
        """The shortest, exact."""
        return self.percentile(0.0)

    @property
    def max(self) -> float | None:
        """The longest, exact."""
        return self.percentile(1.0)

    @property
    def mean(self) -> float | None:
        """The mean, exact."""
        mean_ns = self.histogram.mean_ns
        return None if mean_ns is None else mean_ns / 1e9

    def percentile(self, q: float) -> float | None:
        """Return the smallest duration that at least a fraction `q` of all do not exceed, within 0.4 %. Raises ValueError if `q` is
        not from 0 to 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q must be from 0 to 1, got {q!r}: for the 99th percentile write percentile(0.99)")
        found_ns = self.histogram.percentile(round(q * 100, 9))
        return None if found_ns is None else found_ns / 1e9


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in the seconds [start_s, end_s) of a run, counted from t = 0. A call belongs to the second of its end."""

    start_s: int
    end_s: int
    counts: dict[str, int]
    """Of calls: the columns of the ledger by what was added to them in the window. Of a group: how its requests ended."""
    service: Times
    response: Times
    bytes_in: int = 0
    bytes_out: int = 0
    late: int = 0
    """Calls that began over 10 ms after they were due. This, drops and start delays are of calls, and empty for a group."""
    dropped_by: dict[str, int] = field(default_factory=dict)
    start_delay: Times = field(default_factory=lambda: Times(Histogram()))
    """start - due of calls that found a free worker."""
    errors: dict[tuple[str, str], int] = field(default_factory=dict)
    """By error text and group, warm-up included."""

    @property
    def rate(self) -> float | None:
        """Calls or requests that ended per second; None for a window without length."""
        seconds = self.end_s - self.start_s
        return sum(self.counts[name] for name in OUTCOMES) / seconds if seconds > 0 else None


class Bundle:
    """The folder of a run, finished or not. `path`: the folder.

    `summary` and `plan` are the data of summary.json and plan.json, None where the file is missing: a run that was killed has no
    summary, one that was refused no plan.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.summary = _read_json(path / "summary.json")
        self.plan = _read_json(path / "plan.json")
        self._windows: WindowFile | None = None

    @property
    def windows(self) -> WindowFile:
        """The window store. Raises BadInput where there is none."""
        if self._windows is None:
            self._windows = WindowFile(self.path / FILE)
        return self._windows

    @property
    def generators(self) -> list[str]:
        """The names of the Generators, in order of the plan."""
        return list(dict.fromkeys(key.generator for key in self.windows.keys))

    def groups(self, generator: str) -> list[str]:
        """Return the names of the groups of a Generator."""
        keys = (key for key in self.windows.keys if key.generator == generator and key.part == "cells")
        return list(dict.fromkeys(key.group for key in keys if key.group is not None))

    def window(
        self, start_s: float, end_s: float, generator: str | None = None, group: str | None = None, node: int | None = None,
        warmup: bool = False,
    ) -> Window:  # fmt: skip
        """Return what happened from `start_s` to `end_s`, in seconds from t = 0. None stands for all Generators, the calls
        themselves and all nodes. Edges are rounded outwards to whole seconds, or to the longer windows of an hour that was merged;
        they end with the run. `warmup`: with the calls that were due in warm-up.

        Raises BadInput for a name that the run does not have, for `group` with `node` (of nodes there are the calls alone), and for
        an end before the start.
        """
        keys = self._keys(generator, group, node)
        if not end_s >= start_s:
            raise BadInput(f"a window ends at or after its start, found {start_s!r} to {end_s!r}")
        file = self.windows
        first, last = max(0, math.floor(start_s)), math.ceil(min(end_s, file.end_s))
        cell, load = Cell(), Counter[str]()
        dropped_by, errors, delays = Counter[str](), Counter[tuple[str, str]](), Histogram()
        for piece in file.pieces(first, last):
            first, last = min(first, piece.from_s), max(last, min(piece.to_s, file.end_s))
            member = file.member(piece.entry)
            for key in keys:
                if key.warmup and not warmup:
                    continue
                if key.part == "cells" and (rows := member.cells(key)):
                    mask = (rows.at_s >= piece.from_s) & (rows.at_s < piece.to_s)
                    cell.add_outcomes(rows.outcomes[mask].sum(axis=0).tolist())
                    cell.bytes_in += int(rows.sent[mask, 0].sum())
                    cell.bytes_out += int(rows.sent[mask, 1].sum())
                    cell.service.merge(rows.service.total(mask))
                    cell.response.merge(rows.response.total(mask))
                elif key.part == "load" and (found := member.load(key)):
                    mask = (found.at_s >= piece.from_s) & (found.at_s < piece.to_s)
                    load.update({name: int(column[mask].sum()) for name, column in found.counts.items()})
                    dropped_by.update({cause: int(column[mask].sum()) for cause, column in found.dropped_by.items()})
                    delays.merge(found.start_delay.total(mask))
                elif key.part == "errors":
                    for error, at_s, numbers in member.errors(key):
                        errors[error] += int(numbers[(at_s >= piece.from_s) & (at_s < piece.to_s)].sum())
        counts = {**dict.fromkeys(LOAD_COUNTS, 0), **load, "dropped": dropped_by.total(), **cell.outcomes()}
        columns = LEDGER_COLUMNS if group is None else OUTCOMES
        return Window(
            first, max(first, last), {name: counts[name] for name in columns}, Times(cell.service), Times(cell.response),
            cell.bytes_in, cell.bytes_out, counts["late"], {cause: n for cause, n in dropped_by.items() if n}, Times(delays),
            {error: number for error, number in errors.items() if number and group in (None, error[1])},
        )  # fmt: skip

    def _keys(self, generator: str | None, group: str | None, node: int | None) -> list[Key]:
        keys = self.windows.keys
        if group is not None and node is not None:
            raise BadInput("a window of a group has no node: of single nodes, a bundle keeps the calls alone")
        _check("Generator", generator, (key.generator for key in keys))
        _check("node", node, (key.node for key in keys if key.node is not None))
        keys = [key for key in keys if key.node == node and generator in (None, key.generator)]
        _check("group", group, (key.group for key in keys if key.group is not None))
        if group is not None:  # what is known of the load is about calls
            return [key for key in keys if key.part == "errors" or (key.part == "cells" and key.group == group)]
        return [key for key in keys if key.part != "cells" or key.group is None]


def open_bundle(path: str | Path) -> Bundle:
    """Return the bundle in the folder `path`. Raises BadInput when it holds neither a summary nor windows."""
    bundle = Bundle(Path(path))
    if bundle.summary is None and not (bundle.path / FILE).exists():
        found = "is no folder" if not bundle.path.is_dir() else f"has neither summary.json nor {FILE}"
        raise BadInput(f"{path} {found}: expected the folder of a run, as wasp-runs/latest")
    return bundle


def _check(what: str, name: object, known: Any) -> None:
    names = sorted(set(known), key=str)
    if name is not None and name not in names:
        raise BadInput(f"{what} {name!r} is not in this run: it has {', '.join(map(repr, names[:20])) or 'none'}")


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise BadInput(f"{path} cannot be read: {exc}") from exc
    if not isinstance(data, dict):
        raise BadInput(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data
