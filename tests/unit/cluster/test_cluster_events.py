"""What a cluster's events say of a run."""

from __future__ import annotations

from typing import Any

from wasp_ray.cluster.cluster_events import event_line, is_about, refusal


def event(reason: str, message: str, at: str, name: str = "wasp-r", **more: Any) -> dict[str, Any]:
    """Of a Job."""
    return {
        "involvedObject": {"kind": "Job", "name": name}, "reason": reason, "message": message, "lastTimestamp": at,
        "metadata": {}, "type": "Warning", **more,
    }  # fmt: skip


def test_the_latest_refusal_is_told_whatever_the_order() -> None:
    """A list is sorted by names, not by time; newer events have eventTime alone."""
    events = [
        event("FailedCreate", "exceeded quota: new", "2026-01-01T00:00:09Z"),
        event("FailedCreate", "exceeded quota: old", "2026-01-01T00:00:01Z"),
        event("SuccessfulCreate", "Created pod", "2026-01-01T00:00:10Z"),
    ]
    assert refusal(events) == "exceeded quota: new"
    assert refusal(events[2:]) is None
    later = event("FailedCreate", "latest", "", eventTime="2026-01-01T00:00:30.5Z")
    assert refusal([later, *events]) == "latest"


def test_another_run_whose_name_begins_alike_is_not_meant() -> None:
    """wasp-a and wasp-ab live in one namespace."""
    assert is_about(event("x", "y", ""), "wasp-r") and is_about(event("x", "y", "", name="wasp-r-0-abc"), "wasp-r")
    assert not is_about(event("x", "y", "", name="wasp-rr"), "wasp-r")


def test_a_line_has_time_kind_name_reason_and_how_often() -> None:
    """As in events.log."""
    line = event_line(event("FailedCreate", "no room", "2026-01-01T00:00:09Z", count=3))
    assert line == "2026-01-01T00:00:09Z Warning Job wasp-r FailedCreate: no room (x3)"
