"""What was asked of the API server, read from its audit log: tests compare it with a Role. Only reads."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import NamedTuple


class Request(NamedTuple):
    """One request; `group` is "" for the core API, `resource` is "" for paths that are no resource (see `uri`)."""

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user_agent: str
    code: int
    uri: str


def requests_of(log: Path, user: str, since: float) -> list[Request]:
    """The requests of a user that arrived at `since` (seconds since the epoch) or later, in order of arrival.

    A request shows up a few milliseconds after its answer ended, a watch already when it began.
    """
    found: dict[str, tuple[float, Request]] = {}
    quoted = json.dumps(user).encode()
    with log.open("rb") as lines:
        for line in lines:
            if quoted not in line or not line.endswith(b"\n"):
                continue
            event = json.loads(line)
            arrived = datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
            if event["user"]["username"] == user and arrived >= since:
                # The line of the complete answer replaces that of its start.
                found[event["auditID"]] = (arrived, _request(event))
    return [request for _, request in sorted(found.values(), key=lambda item: item[0])]


def _request(event: dict[str, object]) -> Request:
    reference, status = event.get("objectRef"), event.get("responseStatus")
    about: dict[str, str] = reference if isinstance(reference, dict) else {}
    code = status.get("code", 0) if isinstance(status, dict) else 0
    return Request(
        str(event["verb"]),
        about.get("apiGroup", ""),
        about.get("resource", ""),
        about.get("subresource", ""),
        about.get("namespace", ""),
        about.get("name", ""),
        str(event.get("userAgent", "")),
        int(code),
        str(event["requestURI"]),
    )
