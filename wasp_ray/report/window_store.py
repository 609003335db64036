"""The seconds of a run as they close: merged over its nodes, kept in the bundle, and compared with its totals at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from wasp_ray.report import series, window_file
from wasp_ray.report.series import SeriesFile
from wasp_ray.report.window_writer import WindowWriter
from wasp_ray.stats.second_merger import SecondMerger, SecondSums
from wasp_ray.stats.seconds import Second, Seconds, SecondsByOrigin
from wasp_ray.stats.totals import NodeTotals


class WindowStore:
    """`folder`: of the bundle, None without one. `note(file, problem)` is called for what the disk refuses, from any thread."""

    def __init__(self, folder: Path | None, nodes: int, note: Callable[[str, Exception], None]) -> None:
        self._note = note
        self._merger, self._sums = SecondMerger(nodes), SecondSums()
        self._folder = folder
        self._series: SeriesFile | None = None
        self._writer: WindowWriter | None = None
        self._is_open = False

    def add(self, node: int, closed: Seconds, awaited: Collection[int]) -> Seconds:
        """Take what a node reported, counted from 1; return the seconds of all nodes that are complete with it. `awaited`: nodes
        that still report.
        """
        self._merger.add(node, closed)
        return self._keep(self._merger.release(awaited))

    def end(self) -> Seconds:
        """Write what is left, and wait until it is written; return the seconds that were held back."""
        rest = self._keep(self._merger.release(()))
        if self._writer is not None:
            self._writer.close()
        if self._series is not None:
            self._series.close()
        return rest

    def differences(self, totals: NodeTotals) -> list[str]:
        """Return a sentence for each count to which the seconds do not add up."""
        return self._sums.differences(totals)

    def _keep(self, seconds: SecondsByOrigin) -> Seconds:
        merged: dict[str, list[Second]] = {name: [*some] for (node, name), some in seconds.items() if node is None}
        self._sums.add(merged)
        if seconds and self._folder is not None:
            self._open(self._folder)
            if self._writer is not None:
                self._writer.add(seconds)
            lines = [(name, second) for name, some in merged.items() for second in some]
            for name, second in sorted(lines, key=lambda line: line[1].at_s):
                self._write_line(name, second)
        return merged

    def _open(self, folder: Path) -> None:
        """With the first second: a run that never began has no such files."""
        if self._is_open:
            return
        self._is_open = True
        try:
            self._series = SeriesFile(folder / series.FILE)
            self._writer = WindowWriter(
                folder / window_file.FILE, lambda problem: self._note(window_file.FILE, problem)
            )
        except OSError as exc:
            self._note(exc.filename or series.FILE, exc)

    def _write_line(self, name: str, second: Second) -> None:
        if self._series is None:
            return
        try:
            self._series.add(name, second)
        except OSError as exc:
            self._note(series.FILE, exc)
