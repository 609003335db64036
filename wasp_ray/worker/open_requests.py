"""Requests of calls, from begin to record: the hot path of most loads, so two closures, since cells are faster than attributes.

A request is open from its begin on. Whoever takes it from its call records it: its own end, or that of its call (Booker).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING

from wasp_ray.stats.outcomes import Outcome
from wasp_ray.wire.arena import Entry, Header, Open
from wasp_ray.wire.record import MAX_ERROR_BYTES, MAX_NAME_BYTES, Flag, Kind, head_bits
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.call_state import CallState, OpenRequest, OpenSource, current_call
from wasp_ray.worker.spec import WorkerSpec

if TYPE_CHECKING:
    from wasp_ray.worker.booking import Booker

Begins = Callable[..., OpenRequest]
Ended = Callable[[OpenRequest, int, str | int, str, int, int], None]
SAMPLED_BIT = head_bits(0, 0, Flag.SAMPLED)
MAX_STATUSES = 1000
"""Statuses whose id is kept at hand."""
_BITS = (
    head_bits(Kind.RECORD, Outcome.OK, Flag.IN_GROUP),
    head_bits(Kind.RECORD, Outcome.FAILED, Flag.IN_GROUP),
    head_bits(Kind.RECORD, Outcome.OK, Flag.IN_GROUP | Flag.WAITED),
    head_bits(Kind.RECORD, Outcome.FAILED, Flag.IN_GROUP | Flag.WAITED),
)


def show_open(words: memoryview, call: CallState) -> None:
    """Write the most recently opened request of a call into its in-flight entry."""
    bits, start = Open.HAS_BEGUN if call.opened else 0, call.start
    if call.open:
        _, due, start, _, _, group_id, route_id, _ = call.open[-1]
        bits |= Open.IS_OPEN | route_id << Open.ROUTE_SHIFT | group_id
        if due < start:
            bits |= Open.DUE_WITH_CALL
    words[call.entry + Entry.OPEN_START] = start
    words[call.entry + Entry.OPEN] = bits


def make_begins(spec: WorkerSpec, writer: RingWriter, booker: Booker) -> Begins:
    """Return the function that opens a request of the running call and shows it in the in-flight entry. From any thread."""
    current, known, words, intern = current_call.get, writer.known, spec.arena.words, writer.intern
    open_word, start_word, shift = Entry.OPEN, Entry.OPEN_START, Open.ROUTE_SHIFT
    is_open = Open.HAS_BEGUN | Open.IS_OPEN
    is_first = is_open | Open.DUE_WITH_CALL

    def request_begins(start: int, group: str, route: str, source: OpenSource | None = None) -> OpenRequest:
        call = booker.sync_call or current()
        group_id, route_id = known(group), known(route)
        if group_id is None or route_id is None:
            if get_ident() != writer.owner:
                writer.share()
            group_id, route_id = intern(group, MAX_NAME_BYTES), intern(route, MAX_NAME_BYTES)
        if call is None or call.closed:
            return call, start, start, group, route, group_id, route_id, source
        due, bits = start, is_open
        if not call.opened:
            call.opened = True  # the first request of a call is due when the call is
            due, bits = call.due, is_first
        opened = call, due, start, group, route, group_id, route_id, source
        call.open.append(opened)
        entry = call.entry
        words[entry + start_word] = start
        words[entry + open_word] = bits | route_id << shift | group_id
        return opened

    return request_begins


def make_ended(spec: WorkerSpec, writer: RingWriter, booker: Booker, *, sends_together: bool) -> Ended:
    """Return the function that ends and records a request.

    `sends_together`: what the users of a loop ask for is sent in one go by the client itself. After a request of any other
    client the loop has a turn before the next call: to wake the server for each write alone costs a fifth of their time.
    """
    intern, publish = writer.intern, writer.publish
    owner, share = writer.owner, writer.share
    is_verbose, wants_raw, sampled, nobody = spec.verbose, spec.wants_raw, booker.sampled, spec.first_user
    words, lost_word = spec.arena.words, spec.header(Header.LOST_REQUESTS)
    statuses: dict[str | int, int] = {}
    open_word, has_begun, bits_of = Entry.OPEN, Open.HAS_BEGUN, _BITS

    def request_ended(
        opened: OpenRequest, end: int, status: str | int, error: str, bytes_in: int, bytes_out: int
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
            status_id = intern(str(status) if status else "", MAX_NAME_BYTES)
            if len(statuses) < MAX_STATUSES:
                statuses[status] = status_id
        bits = bits_of[flag]
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
                words[call.entry + open_word] = has_begun

    return request_ended
