"""The client of sync actors: blocking sockets, the same requests, parser and judgement as the async one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import BadInput
from wasp_ray.http import failures
from wasp_ray.http.failures import RequestFailed, name_of
from wasp_ray.http.methods import Client
from wasp_ray.http.parts import Origin
from wasp_ray.http.recorder import Recorder
from wasp_ray.http.request import Request
from wasp_ray.http.response import Response
from wasp_ray.http.sync_connection import SyncConnection
from wasp_ray.http.sync_dial import SyncDialer
from wasp_ray.http.talk import Talk


class SyncClient(Client[Response]):
    """Keeps one connection for each origin, since a thread has one request at a time. Other threads of the same user open their own
    for what they send meanwhile.
    """

    def __init__(self, base_url: str, recorder: Recorder | None = None, **options: Any) -> None:
        super().__init__(base_url, recorder, **options)
        self._kept: dict[Origin, SyncConnection] = {}
        self.dialer = SyncDialer(self.settings)

    def _run(self, request: Request) -> Response:
        if request.is_chunked and not isinstance(request.body, Iterable):
            raise BadInput("body=: an async iterable cannot be read in an actor with `def call`")
        start = now_ns()
        talk = Talk(request, start, self._recorder.request_begins(start, request.group, request.route))
        judge = self._judge
        connection: SyncConnection | None = None
        try:
            while True:
                origin = talk.request.origin
                connection = None if talk.repeated else self._take(origin)
                is_kept = connection is not None
                if connection is None:
                    connection = self.dialer.dial(origin, talk)
                error = self._exchange(connection, talk)
                reader = connection.reader
                if error:
                    connection.close()
                    if is_kept and judge.may_repeat(talk, reader, error, connection.began_ns != 0):
                        continue
                    return judge.failed(talk, error, reader)
                response = judge.answered(talk, reader, connection.ended_ns)
                self._put_back(origin, connection)
                if response is not None:
                    return response
        except RequestFailed as exc:  # no connection could be had
            return judge.failed(talk, str(exc))
        except BaseException:
            if connection is not None:
                connection.close()
            judge.cancelled(talk)
            raise

    def _exchange(self, connection: SyncConnection, talk: Talk) -> str:
        """What went wrong, empty for nothing."""
        settings, error = self.settings, ""
        try:
            connection.exchange(talk.request, talk.deadline, settings.first_byte_timeout_ns)
        except (RequestFailed, OSError) as exc:
            error = name_of(exc)
        if settings.phases and connection.first_ns > connection.began_ns:
            talk.took("first byte", connection.first_ns - connection.began_ns)
        return failures.CUT if error == failures.RESET and connection.reader.received else error

    def close(self) -> None:
        """Ends all connections; a request after it opens new ones."""
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    # -- connections

    def _take(self, origin: Origin) -> SyncConnection | None:
        """The kept one, if it may still be used: what the server did in the meantime shows only now."""
        connection = self._kept.pop(origin, None)
        if connection is None:
            return None
        if now_ns() - connection.ended_ns > self.settings.idle_ns or not connection.is_quiet:
            connection.close()
            return None
        return connection

    def _put_back(self, origin: Origin, connection: SyncConnection) -> None:
        reader, kept = connection.reader, self._kept
        if not reader.keep_alive or reader.surplus:
            connection.close()
            return
        if origin in kept or len(kept) >= self.settings.connections:
            kept.pop(origin if origin in kept else next(iter(kept))).close()
        kept[origin] = connection
