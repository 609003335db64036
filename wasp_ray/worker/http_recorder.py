"""Books the requests of the HTTP clients: the hot path of most loads, so it goes by the shortest way to the ring."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

from wasp_ray.stats.outcomes import Outcome
from wasp_ray.wire.arena import Header
from wasp_ray.wire.record import MAX_ERROR_BYTES, MAX_NAME_BYTES, Flag, Kind, head_bits
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import SAMPLED_BIT, Booker
from wasp_ray.worker.call_state import CallState, current_call
from wasp_ray.worker.host import Host

Begins = Callable[[int], "tuple[CallState | None, int]"]
Ended = Callable[[Any, int, int, int, str, str, int, str, int, int], None]
_BITS = (
    head_bits(Kind.RECORD, Outcome.OK, Flag.IN_GROUP),
    head_bits(Kind.RECORD, Outcome.FAILED, Flag.IN_GROUP),
    head_bits(Kind.RECORD, Outcome.OK, Flag.IN_GROUP | Flag.WAITED),
    head_bits(Kind.RECORD, Outcome.FAILED, Flag.IN_GROUP | Flag.WAITED),
)


class HttpRecorder:
    """See Recorder and SessionRecorder of wasp_ray.http. Its frequent methods are closures: cells are faster than attributes."""

    def __init__(self, host: Host, writer: RingWriter, booker: Booker, *, sends_together: bool = True) -> None:
        self.count = booker.count
        self.request_begins = _begins(booker)
        self.request_ended = _ended(host, writer, booker, sends_together)

    def request_raised(self, call: CallState | None, exc: BaseException) -> None:
        """The call that this exception reaches is to have no second error."""
        if call is not None:
            call.seen = exc


def _begins(booker: Booker) -> Begins:
    current = current_call.get

    def request_begins(start: int) -> tuple[CallState | None, int]:
        call = booker.sync_call or current()
        if call is None or call.opened:
            return call, start
        call.opened = True  # the first request of a call is due when the call is
        return call, call.due

    return request_begins


def _ended(host: Host, writer: RingWriter, booker: Booker, sends_together: bool) -> Ended:
    """`sends_together`: what the users of a loop ask for is sent in one go by the client itself. After a request of any other
    client the loop has a turn before the next call: to wake the server for each write alone costs a fifth of their time.
    """
    intern, publish, known = writer.intern, writer.publish, writer.known
    owner, share = writer.owner, writer.share
    is_verbose, wants_raw, sampled, nobody = host.verbose, host.wants_raw, booker.sampled, host.first_user
    words, lost_word = host.arena.words, host.header(Header.LOST_REQUESTS)
    statuses: dict[int, int] = {}

    def request_ended(
        call: Any, due: int, start: int, end: int, group: str, route: str, status: int, error: str, bytes_in: int,
        bytes_out: int,
    ) -> None:  # fmt: skip
        """One record; a failed request makes its call failed. What ends after its call was booked is not its own."""
        if get_ident() != owner:
            share()
        user, number, flag, failure = nobody, 0, 0, 0
        if call is not None and call.closed:
            return
        if is_verbose:
            booker.request(
                call, due, start, end, group, status=status or "", error=error, bytes_in=bytes_in, bytes_out=bytes_out,
                path=route,
            )  # fmt: skip
            return
        if call is not None:
            call.requests += 1
            user, number = call.user, call.number & 0xFFFFFFFF
            if bytes_in and sends_together:
                call.yielded = True
            if call.waited:
                flag = 2
        if error:
            flag |= 1
            failure = intern(error, MAX_ERROR_BYTES)
            if call is not None:
                call.failed = True
        status_id = statuses.get(status)
        if status_id is None:
            status_id = statuses[status] = intern(str(status) if status else "", MAX_NAME_BYTES)
        group_id, route_id = known(group), known(route)
        if group_id is None or route_id is None:
            group_id, route_id = intern(group, MAX_NAME_BYTES), intern(route, MAX_NAME_BYTES)
        bits = _BITS[flag]
        if wants_raw and sampled(flag & 1):
            bits |= SAMPLED_BIT
        if not publish(
            bits, due, start, end, group_id, route_id, status_id, failure, bytes_in, bytes_out, user, number
        ):
            with writer.lock:
                words[lost_word] += 1

    return request_ended
