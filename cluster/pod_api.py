"""A pod's one question to the Kubernetes API: what its run's ConfigMap says now, and what it says next.

Standard library only, since it travels in every image of a test. Each connection starts with the present state, so a lost
one costs freshness and nothing else; the token is read anew for each, since it is replaced while pods live.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wasp_ray.clock import now_ns, sleep_s, wall_s
from wasp_ray.errors import NodeFailed

SECRETS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECT_S = 5.0
FIRST_ANSWER_S = 30.0
WATCH_S = 30
"""A watch is asked for so long: a connection that is dead without saying so costs no more."""
QUIET_S = 10.0
"""Beyond that a connection that should have ended is given up."""
PROBES = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
"""A peer that is gone without a word, as behind a NAT that forgot, is found after 11 s without any request."""
RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0


class PodApi:
    """The API server as this pod's service account sees it. One object for one thread."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        self._port = int(os.environ.get("KUBERNETES_SERVICE_PORT") or 443)
        self.clock_offset_s: float | None = None
        """This machine's clock minus the API server's at the last connection, good to about a second."""

    def follow(self, name: str, over: Callable[[], bool]) -> Iterator[dict[str, str]]:
        """The data of a ConfigMap, now and after each change, until `over()`. Raises NodeFailed when nothing answers
        within 30 s at the beginning; later troubles are waited out.
        """
        give_up: int | None = now_ns() + int(FIRST_ANSWER_S * 1e9)
        pause_s, trouble = RETRY_MIN_S, ""
        while not over():
            try:
                for data in self._watch(name):
                    give_up, pause_s = None, RETRY_MIN_S
                    yield data
                    if over():
                        return
                continue
            except (OSError, http.client.HTTPException, ValueError, _Refused) as exc:
                trouble = str(exc) or type(exc).__name__
            if give_up is not None and now_ns() > give_up:
                raise NodeFailed(
                    f"the Kubernetes API at {self._host or '(no KUBERNETES_SERVICE_HOST)'}:{self._port} gave this pod no answer"
                    f" within {FIRST_ANSWER_S:g} s: {trouble}; is there an egress NetworkPolicy, is"
                    " automountServiceAccountToken off, may the pod's service account get and watch configmaps"
                    " (wasp cluster rbac)?"
                )
            sleep_s(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _watch(self, name: str) -> Iterator[dict[str, str]]:
        """One connection's states."""
        connection = self._connect()
        try:
            selector = quote(f"metadata.name={name}")
            path = f"/api/v1/namespaces/{quote(self._namespace)}/configmaps?watch=true&fieldSelector={selector}"
            token = (SECRETS / "token").read_text().strip()
            connection.request(
                "GET",
                f"{path}&timeoutSeconds={WATCH_S}",
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            )
            answer = connection.getresponse()
            self._note_clock(answer.headers.get("Date"))
            if answer.status != 200:
                raise _Refused(f"HTTP {answer.status} {answer.reason}: {answer.read(500).decode('utf-8', 'replace')}")
            while line := answer.readline():
                event: dict[str, Any] = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield dict(event["object"].get("data") or {})
                elif event["type"] == "ERROR":
                    raise _Refused(str(event["object"].get("message", "the watch was ended")))
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(SECRETS / "ca.crt"))
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=CONNECT_S, context=context)
        connection.connect()
        connection.sock.settimeout(WATCH_S + QUIET_S)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in PROBES:
            if hasattr(socket, name):
                connection.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
        return connection

    def _note_clock(self, date: str | None) -> None:
        if date:
            # the header is cut to the second: its middle is the best guess
            self.clock_offset_s = wall_s() - parsedate_to_datetime(date).timestamp() - 0.5


class _Refused(Exception):
    """An answer that is none."""
