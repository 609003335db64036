"""An OTLP receiver that answers as it is told and adds up what it took: cumulative points by the last, deltas by their sum."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from wasp_ray.sinks.otlp_message import DELTA

CUT_AFTER, CUT_BEFORE, PARTIAL, SLOW = -1, -2, -3, -4
"""Instead of a status: the connection ends after or before the request was taken; a point is left out; it takes a second."""

Series = tuple[tuple[str, str], ...]


class Receiver(ThreadingHTTPServer):
    """Answers by its list, the last one for ever when `forever`, else 200 from then on. With it all points of a request count."""

    daemon_threads = True

    def __init__(self, answers: Sequence[int] = (), *, forever: bool = False, retry_after: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.forever, self.retry_after = list(answers), forever, retry_after
        self.lock = threading.Lock()
        self.seen: set[tuple[str, Series, int]] = set()
        self.numbers: dict[tuple[str, Series], float] = {}
        self.paths: set[str] = set()
        self.headers: dict[str, str] = {}
        self.requests = 0

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.server_port}"

    def next_answer(self) -> int:
        """What the list says."""
        if not self.answers:
            return 200
        return self.answers[0] if self.forever and len(self.answers) == 1 else self.answers.pop(0)

    def take(self, body: bytes) -> None:
        """All points of a request, each once by its instant, as receivers of deltas do."""
        for resource in ExportMetricsServiceRequest.FromString(gzip.decompress(body)).resource_metrics:
            for metric in resource.scope_metrics[0].metrics:
                kept: Any = getattr(metric, metric.WhichOneof("data") or "")
                is_delta = metric.WhichOneof("data") != "gauge" and kept.aggregation_temporality == DELTA
                for point in kept.data_points:
                    series = tuple(sorted((pair.key, pair.value.string_value) for pair in point.attributes))
                    self._add(metric.name, series, point, is_delta)

    def _add(self, name: str, series: Series, point: Any, is_delta: bool) -> None:
        if (name, series, point.time_unix_nano) in self.seen:
            return
        self.seen.add((name, series, point.time_unix_nano))
        is_histogram = hasattr(point, "bucket_counts")
        value = point.count if is_histogram else point.as_int
        assert not is_histogram or sum(point.bucket_counts) == point.count
        assert 0 < point.start_time_unix_nano < point.time_unix_nano
        self.numbers[name, series] = (self.numbers.get((name, series), 0) if is_delta else 0) + value

    def sum(self, name: str, **labels: str) -> float:
        """Of all series of a metric with these labels."""
        return sum(
            value for (found, series), value in self.numbers.items() if found == name and labels.items() <= set(series)
        )

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One export."""

    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """As the list says."""
        server, body = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            answer = server.next_answer()
            server.requests += 1
            server.paths.add(self.path)
            server.headers = dict(self.headers)
            if answer in (200, CUT_AFTER, PARTIAL, SLOW):
                server.take(body)
        if answer in (CUT_AFTER, CUT_BEFORE):
            self.close_connection = True
            return
        if answer == SLOW:
            time.sleep(1.0)
        told = ExportMetricsServiceResponse()
        if answer == PARTIAL:
            told.partial_success.rejected_data_points, told.partial_success.error_message = 1, "one is odd"
        content = told.SerializeToString()
        self.send_response(200 if answer < 0 else answer)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(content)))
        if server.retry_after:
            self.send_header("Retry-After", server.retry_after)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
