"""Books the requests of the HTTP clients: the hot path of most loads, so it goes by the shortest way to the ring."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

from wasp_ray.stats.outcomes import Outcome
from wasp_ray.wire.arena import Entry, Header, Open
from wasp_ray.wire.record import MAX_ERROR_BYTES, MAX_NAME_BYTES, Flag, Kind, head_bits
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import SAMPLED_BIT, Booker, show_open
from wasp_ray.worker.call_state import OpenRequest, OpenSource, current_call
from wasp_ray.worker.host import Host

Begins = Callable[..., OpenRequest]
Ended = Callable[[OpenRequest, int, int, str, int, int], None]
_BITS = (
    head_bits(Kind.RECORD, Outcome.OK, Flag.IN_GROUP),
    head_bits(Kind.RECORD, Outcome.FAILED, Flag.IN_GROUP),
    head_bits(Kind.RECORD, Outcome.OK, Flag.IN_GROUP | Flag.WAITED),
    head_bits(Kind.RECORD, Outcome.FAILED, Flag.IN_GROUP | Flag.WAITED),
)
_OPEN, _OPEN_START, _ROUTE_SHIFT, _HAS_BEGUN = Entry.OPEN, Entry.OPEN_START, Open.ROUTE_SHIFT, Open.HAS_BEGUN
_IS_OPEN = Open.HAS_BEGUN | Open.IS_OPEN
_IS_FIRST = _IS_OPEN | Open.DUE_WITH_CALL


class HttpRecorder:
    """See Recorder and SessionRecorder of wasp_ray.http. Its frequent methods are closures: cells are faster than attributes."""

    def __init__(self, host: Host, writer: RingWriter, booker: Booker, *, sends_together: bool = True) -> None:
        self._booker = booker
        self.count = booker.count
        self.request_begins = _begins(booker)
        self.request_ended = _ended(host, writer, booker, sends_together)
        self.request_dropped = booker.drop_open

    def request_raised(self, opened: OpenRequest, exc: BaseException) -> None:
        """The call that this exception reaches is to have no second error."""
        call = opened[0]
        if call is not None:
            call.seen = exc

    def phase(self, start: int, end: int, group: str, route: str) -> None:
        """Records a phase of a request, which belongs to no call."""
        self._booker.request(None, start, start, end, group, path=route)


def _begins(booker: Booker) -> Begins:
    """Booker.open_request, spelled out: this is the hot path."""
    current, known, words, ids_of = current_call.get, booker.writer.known, booker.words, booker.ids_of

    def request_begins(start: int, group: str, route: str, source: OpenSource | None = None) -> OpenRequest:
        call = booker.sync_call or current()
        group_id, route_id = known(group), known(route)
        if group_id is None or route_id is None:
            group_id, route_id = ids_of(group, route)
        if call is None or call.closed:
            return call, start, start, group, route, group_id, route_id, source
        due, bits = start, _IS_OPEN
        if not call.opened:
            call.opened = True
            due, bits = call.due, _IS_FIRST
        opened = call, due, start, group, route, group_id, route_id, source
        call.open.append(opened)
        entry = call.entry
        words[entry + _OPEN_START] = start
        words[entry + _OPEN] = bits | route_id << _ROUTE_SHIFT | group_id
        return opened

    return request_begins


def _ended(host: Host, writer: RingWriter, booker: Booker, sends_together: bool) -> Ended:
    """`sends_together`: what the users of a loop ask for is sent in one go by the client itself. After a request of any other
    client the loop has a turn before the next call: to wake the server for each write alone costs a fifth of their time.
    """
    intern, publish = writer.intern, writer.publish
    owner, share = writer.owner, writer.share
    is_verbose, wants_raw, sampled, nobody = host.verbose, host.wants_raw, booker.sampled, host.first_user
    words, lost_word = host.arena.words, host.header(Header.LOST_REQUESTS)
    statuses: dict[int, int] = {}

    def request_ended(
        opened: OpenRequest, end: int, status: int, error: str, bytes_in: int, bytes_out: int
    ) -> None:  # fmt: skip
        """One record; a failed request makes its call failed. One whose call has ended was recorded with it."""
        if get_ident() != owner:
            share()
        call, due, start, group, route, group_id, route_id, _ = opened
        user, number, flag, failure = nobody, 0, 0, 0
        if call is not None:
            try:
                call.open.remove(opened)
            except ValueError:
                return
            user, number = call.user, call.number & 0xFFFFFFFF
            if bytes_in and sends_together:
                call.yielded = True
            if call.waited:
                flag = 2
        if is_verbose:
            booker.request(
                call, due, start, end, group, status=status or "", error=error, bytes_in=bytes_in, bytes_out=bytes_out,
                path=route,
            )  # fmt: skip
            return
        if error:
            flag |= 1
            failure = intern(error, MAX_ERROR_BYTES)
            if call is not None:
                call.failed = True
        status_id = statuses.get(status)
        if status_id is None:
            status_id = statuses[status] = intern(str(status) if status else "", MAX_NAME_BYTES)
        bits = _BITS[flag]
        if wants_raw and sampled(flag & 1):
            bits |= SAMPLED_BIT
        if not publish(
            bits, due, start, end, group_id, route_id, status_id, failure, bytes_in, bytes_out, user, number
        ):
            with writer.lock:
                words[lost_word] += 1
        if call is not None:
            if call.open:
                show_open(words, call)
            else:
                words[call.entry + _OPEN] = _HAS_BEGUN

    return request_ended
