"""Books the requests of the HTTP clients: the hot path of most loads, so it goes by the shortest way to the ring."""

from __future__ import annotations

from typing import Any

from wasp_ray.wire.arena import Header
from wasp_ray.wire.record import MAX_ERROR_BYTES, MAX_NAME_BYTES, Flag, Kind, Outcome, head_bits
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import CallState
from wasp_ray.worker.host import Host

_BITS = (
    head_bits(Kind.RECORD, Outcome.OK, Flag.IN_GROUP),
    head_bits(Kind.RECORD, Outcome.FAILED, Flag.IN_GROUP),
    head_bits(Kind.RECORD, Outcome.OK, Flag.IN_GROUP | Flag.WAITED),
    head_bits(Kind.RECORD, Outcome.FAILED, Flag.IN_GROUP | Flag.WAITED),
)


class HttpRecorder:
    """See wasp_ray.http.recorder.Recorder."""

    def __init__(self, host: Host, writer: RingWriter, booker: Booker) -> None:
        self._booker, self._intern, self._publish = booker, writer.intern, writer.publish
        self._current = booker.current
        self._is_detailed = host.wants_raw or host.verbose
        self._words, self._lost_word = host.arena.words, host.header(Header.LOST_REQUESTS)
        self._nobody = host.first_user
        self._statuses: dict[int, int] = {}

    def request_begins(self, start: int) -> tuple[CallState | None, int]:
        """The first request of a call is due when the call is."""
        call = self._current()
        if call is None or call.opened:
            return call, start
        call.opened = True
        return call, call.due

    def request_ended(
        self, call: Any, due: int, start: int, end: int, group: str, route: str, status: int, error: str, bytes_in: int,
        bytes_out: int,
    ) -> None:  # fmt: skip
        """One record; a failed request makes its call failed. What ends after its call was booked is not its own."""
        user, number, flag = self._nobody, 0, 0
        if call is not None:
            if call.closed:
                return
            if self._is_detailed:
                self._booker.request(
                    call, due, start, end, group, status=status or "", error=error, bytes_in=bytes_in, bytes_out=bytes_out,
                    path=route,
                )  # fmt: skip
                return
            call.requests += 1
            if bytes_in:
                call.yielded = True
            user, number = call.user, call.number & 0xFFFFFFFF
            if call.waited:
                flag = 2
        failure = 0
        if error:
            flag |= 1
            failure = self._intern(error, MAX_ERROR_BYTES)
            if call is not None:
                call.failed = True
        status_id = self._statuses.get(status)
        if status_id is None:
            status_id = self._statuses[status] = self._intern(str(status) if status else "", MAX_NAME_BYTES)
        if not self._publish(
            _BITS[flag], due, start, end, self._intern(group, MAX_NAME_BYTES), self._intern(route, MAX_NAME_BYTES), status_id,
            failure, bytes_in, bytes_out, user, number,
        ):  # fmt: skip
            self._words[self._lost_word] += 1

    def count(self, name: str, number: int) -> None:
        """Adds to a counter of the Generator."""
        self._booker.count(name, number)
