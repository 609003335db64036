"""Whether the head of a Ray cluster answers, asked without Ray, whose own answer takes a minute and may end the process."""

from __future__ import annotations

import os
import socket
import threading

from wasp_ray.clock import now_ns

ANSWER_S = 5.0
WATCH_EVERY_S = 2.0
SILENT_S = 30.0
"""A head that does not answer for so long is gone: half of what raylets wait for it before they end, with their nodes."""
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""HTTP/2's preface and empty settings: a gRPC server, which the head is, answers with its own settings."""
_FRAME_BYTES, _KIND_AT, _SETTINGS = 9, 3, 4


def fault_of(address: str, timeout_s: float = ANSWER_S) -> str:
    """What is wrong with the head at HOST:PORT; empty when it answers."""
    host, _, port = address.rpartition(":")
    found = b""
    accepted = False
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as link:
            accepted = True
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return ""
            link.sendall(_HELLO)
            while len(found) < _FRAME_BYTES and (more := link.recv(_FRAME_BYTES - len(found))):
                found += more
    except TimeoutError:
        done = "accepts connections but does not answer" if accepted else "does not accept a connection"
        return f"what is there {done} within {timeout_s:g} s"
    except OSError as exc:
        return exc.strerror or str(exc)
    if len(found) < _FRAME_BYTES or found[_KIND_AT] != _SETTINGS:
        return "what answers there is no head of a Ray cluster"
    return ""


class HeadWatch:
    """Asks again and again, from a thread of its own."""

    def __init__(self, address: str) -> None:
        self._address, self._why = address, ""
        self._answered_ns = now_ns()
        threading.Thread(target=self._watch, name="wasp-head", daemon=True).start()

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(WATCH_EVERY_S):
            why = fault_of(self._address)
            if not why:
                self._answered_ns = now_ns()
            self._why = why

    @property
    def gone(self) -> str:
        """A sentence once it was silent for too long."""
        if not self._why or now_ns() < self._answered_ns + SILENT_S * 1e9:
            return ""
        return (
            f"the head of the Ray cluster, {self._address}, did not answer for {SILENT_S:g} s ({self._why}): its host or its"
            " GCS is gone, or the way there; what nodes could still tell is kept"
        )
