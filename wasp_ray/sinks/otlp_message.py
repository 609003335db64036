"""Metrics as OTLP's protobuf messages, and what its answers say. The only module that imports opentelemetry; it must not do I/O."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from wasp_ray._version import __version__
from wasp_ray.sinks.base import SinkRun
from wasp_ray.sinks.metrics import BOUNDS_S, Buckets, Measured, Metric, RunLabels, Value

CONTENT_TYPE = "application/x-protobuf"
DELTA, CUMULATIVE = pb.AGGREGATION_TEMPORALITY_DELTA, pb.AGGREGATION_TEMPORALITY_CUMULATIVE


class Messages:
    """Writes the messages of one node; without `delta` points hold all since the start."""

    def __init__(self, run: SinkRun, delta: bool) -> None:
        self._labels = RunLabels(run)
        self._temporality = DELTA if delta else CUMULATIVE
        attributes = {"service.name": "wasp_ray", "service.instance.id": f"{run.run_id}-{run.node}"}
        self._resource = Resource(attributes=_attributes(attributes))
        self._scope = InstrumentationScope(name="wasp_ray", version=__version__)

    def write(self, found: Measured, from_ns: int, at_ns: int) -> bytes:
        """A compressed request. `from_ns` to `at_ns`: what counters and histograms are of, since 1970."""
        metrics = [self._metric(metric, points, from_ns, at_ns) for metric, points in found.items()]
        scoped = pb.ScopeMetrics(scope=self._scope, metrics=metrics)
        request = ExportMetricsServiceRequest(
            resource_metrics=[pb.ResourceMetrics(resource=self._resource, scope_metrics=[scoped])]
        )
        return gzip.compress(request.SerializeToString(), 1)

    def _metric(self, metric: Metric, points: Mapping[tuple[str, ...], Value], from_ns: int, at_ns: int) -> pb.Metric:
        told = pb.Metric(name=metric.name, unit=metric.unit, description=metric.text)
        if metric.kind == "histogram":
            told.histogram.aggregation_temporality = self._temporality
        elif metric.kind == "counter":
            told.sum.aggregation_temporality = self._temporality
            told.sum.is_monotonic = True
        for values, value in points.items():
            attributes = _attributes(self._labels.of(metric, values))
            if isinstance(value, Buckets):
                told.histogram.data_points.append(_histogram_point(value, attributes, from_ns, at_ns))
            else:
                kept = told.sum if metric.kind == "counter" else told.gauge
                kept.data_points.append(_number_point(value, attributes, from_ns, at_ns))
        return told


def _number_point(value: float, attributes: list[KeyValue], from_ns: int, at_ns: int) -> pb.NumberDataPoint:
    point = pb.NumberDataPoint(attributes=attributes, start_time_unix_nano=from_ns, time_unix_nano=at_ns)
    if isinstance(value, int):
        point.as_int = value
    else:
        point.as_double = value
    return point


def _histogram_point(value: Buckets, attributes: list[KeyValue], from_ns: int, at_ns: int) -> pb.HistogramDataPoint:
    point = pb.HistogramDataPoint(
        attributes=attributes, start_time_unix_nano=from_ns, time_unix_nano=at_ns, count=value.count,
        sum=value.sum_ns / 1e9, bucket_counts=value.counts, explicit_bounds=BOUNDS_S,
    )  # fmt: skip
    if value.min_ns is not None and value.max_ns is not None:
        point.min, point.max = value.min_ns / 1e9, value.max_ns / 1e9
    return point


def _attributes(texts: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in texts.items()]


def rejected_points(body: bytes) -> tuple[int, str]:
    """How many points an answer of success left out, and why."""
    try:
        told = ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError:  # it is a success all the same
        return 0, ""
    return told.rejected_data_points, told.error_message
