"""OpenTelemetry's variables mean here what its specification says."""

from __future__ import annotations

import pytest

from wasp_ray.errors import WaspError
from wasp_ray.sinks.otlp_environment import address, headers, shown

ALL, METRICS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"


@pytest.mark.parametrize(
    ("option", "env", "posted_to"),
    [
        ("http://a:4318", {}, "http://a:4318/v1/metrics"),
        ("http://a:4318/v1/metrics", {}, "http://a:4318/v1/metrics"),
        ("", {ALL: "http://b/api/v1/otlp/"}, "http://b/api/v1/otlp/v1/metrics"),
        ("", {METRICS: "http://c/as/it/is", ALL: "http://b"}, "http://c/as/it/is"),
        ("http://a", {METRICS: "http://c/as/it/is", ALL: "http://b"}, "http://a/v1/metrics"),
        ("", {ALL: "https://b/otlp?key=s3cret"}, "https://b/otlp/v1/metrics?key=s3cret"),
    ],
)
def test_the_endpoint(option: str, env: dict[str, str], posted_to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option wins, then the variable for metrics, which is taken as it is."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert address(option) == posted_to
    assert "s3cret" not in shown(posted_to)


@pytest.mark.parametrize("endpoint", ["", "collector:4318", "http://u:s3cret@b", "ftp://b"])
def test_an_endpoint_that_cannot_be_is_told_without_its_password(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the load."""
    monkeypatch.setenv(ALL, endpoint)
    with pytest.raises(WaspError) as told:
        address("")
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", {}),
        ("authorization=Bearer%20abc", {"authorization": "Bearer abc"}),
        ("a=1, X-Scope-OrgID=team ,", {"a": "1", "X-Scope-OrgID": "team"}),
        ("api-key=a=b", {"api-key": "a=b"}),
    ],
)
def test_headers(value: str, found: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Percent-encoded values, blanks around them left out."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", value)
    assert headers() == found


@pytest.mark.parametrize("value", ["s3cret", "=s3cret", "a=s3cret%0d%0aX: y"])
def test_what_is_no_header_is_told_without_its_value(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a token."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", value)
    with pytest.raises(WaspError) as told:
        headers()
    assert "s3cret" not in str(told.value)
