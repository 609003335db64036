"""Turns what calls do into records: exactly one that ends the call, one for each request. It must not decide when
calls run.

Rules (docs/meaning.md): raised = failed; a returned Response decides; None = ok; a request that failed makes its call
failed. A hand-made Response, or a call without any request, is booked under its group as well.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Coroutine
from contextvars import Token
from threading import get_ident
from types import TracebackType
from typing import NoReturn

from wasp_ray.clock import now_ns
from wasp_ray.errors import CallFailed, StopUser
from wasp_ray.load.actors import Response
from wasp_ray.load.locate import trim_traceback
from wasp_ray.stats.outcomes import Outcome
from wasp_ray.wire.arena import ENTRY_WORDS, Entry, Header, Open
from wasp_ray.wire.control import Ask
from wasp_ray.wire.record import MAX_DATA_BYTES, MAX_ERROR_BYTES, MAX_NAME_BYTES, SETUP_GROUP, Flag, Kind, head_bits
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.call_state import CallState, OpenRequest, RowsUsedUp, current_call, describe
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.open_requests import SAMPLED_BIT, make_begins, make_ended, show_open
from wasp_ray.worker.spec import WorkerSpec
from wasp_ray.worker.unawaited import describe as describe_unawaited

_END_BITS = tuple(
    head_bits(
        Kind.RECORD, outcome, Flag.ENDS_CALL | (Flag.IN_GROUP if in_group else 0) | (Flag.WAITED if waited else 0)
    )
    for outcome in (Outcome.OK, Outcome.FAILED)
    for in_group in (False, True)
    for waited in (False, True)
)
"""Heads of records that end a call and say no more: outcome << 2 | in group << 1 | waited."""


class TimedGroup:
    """The `with self.group(name)` block."""

    __slots__ = ("_booker", "_name", "_opened", "error", "status")
    bytes_in = bytes_out = 0

    def __init__(self, booker: Booker, name: str) -> None:
        self._booker = booker
        self._name = name
        self.error = ""
        self.status: str | int = ""

    def fail(self, why: str) -> None:
        """Books the request as failed."""
        self.error = str(why) or "failed"

    def __enter__(self) -> TimedGroup:
        self._opened = self._booker.request_begins(now_ns(), self._name, "", self)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        end = now_ns()
        if exc is not None and not isinstance(exc, StopUser):
            call = self._opened[0]
            if call is not None and self._opened not in call.open:  # it has ended, and this request with it
                return
            if call is None or call.seen is not exc:
                self.error = self.error or describe(exc)
                self._booker.report(self.error, self._name, exc)
            self.error = self.error or describe(exc)
            if call is not None:
                call.seen = exc
        status = self.status if self.status == "" else str(self.status)
        self._booker.request_ended(self._opened, end, status, self.error, 0, 0)

    def __aenter__(self) -> NoReturn:
        raise TypeError("self.group() is entered without async: write `with self.group(...):`")

    def __aexit__(self, *_: object) -> NoReturn:
        raise AssertionError("it was never entered")


class RequestsOutside:
    """Around a setup or teardown: its requests belong to no call, but have an in-flight entry as long as it lasts, so that they are
    counted if its process dies. A setup is a request of its own; in a teardown `is_setup` is False. `entry`: the first word of that
    entry; None takes a free one.
    """

    __slots__ = ("_booker", "_entry", "_is_setup", "_start", "_state", "_takes_entry", "_token")

    def __init__(self, booker: Booker, user: int, *, is_setup: bool, entry: int | None = None) -> None:
        self._booker, self._is_setup, self._takes_entry = booker, is_setup, entry is None
        self._entry = booker.nowhere if entry is None else entry
        self._state = state = CallState(user)
        state.opened = True  # each request is due when it starts
        self._token: Token[CallState | None] | None = None

    def __enter__(self) -> None:
        booker, state = self._booker, self._state
        if self._takes_entry:
            self._entry = booker.take_entry()
        state.entry = self._entry
        self._start = now_ns()
        words = booker.words
        words[state.entry + Entry.OPEN] = 0
        if self._is_setup:
            words[state.entry + Entry.SETUP] = self._start
        if booker.is_async:
            self._token = current_call.set(state)
        else:
            booker.sync_call = state

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        booker, state = self._booker, self._state
        if self._token is not None:
            current_call.reset(self._token)
        else:
            booker.sync_call = None
        if self._is_setup:
            error = "" if exc is None else describe(exc)
            booker.request(None, self._start, self._start, now_ns(), SETUP_GROUP, error=error)
        state.entry = booker.nowhere  # what is still open, as a stream that lasts, ends by itself
        if self._takes_entry:
            booker.give_entry(self._entry)
        else:
            booker.words[self._entry + Entry.OPEN] = booker.words[self._entry + Entry.SETUP] = 0


class Booker:
    """Books the calls of one worker, in its own thread; requests and counters in threads of user code as well."""

    def __init__(self, spec: WorkerSpec, writer: RingWriter, notes: Notes) -> None:
        part = spec.part
        self._spec, self._part, self.writer, self._notes = spec, part, writer, notes
        self._known, self._publish_bits, self._owner = writer.known, writer.publish, writer.owner
        self.request_begins = make_begins(spec, writer, self)
        self.request_ended = make_ended(spec, writer, self, sends_together=False)
        self.words = self._words = spec.arena.words
        self.is_async = spec.part.is_async
        slab = spec.arena.slabs[spec.part.index]
        first = slab.entry_word(spec.ring, 0)
        self._free_entries = [first + i * ENTRY_WORDS for i in range(slab.entries)][::-1]
        self.nowhere = spec.header(Header.NOWHERE)
        self._begun_word = spec.header(Header.BEGUN)
        self._lost_word = spec.header(Header.LOST)
        self._lost_requests_word = spec.header(Header.LOST_REQUESTS)
        self._sampler = random.Random(spec.stream_seed("sample"))
        self.begun = 0
        self.sync_call: CallState | None = None
        self.default_group = part.name

    # -- calls

    def begin(self, call: CallState, due: int, start: int) -> None:
        """Counts a call begun, before user code runs. `call.entry` must be a free in-flight entry."""
        words, entry = self._words, call.entry
        self.begun = number = self.begun + 1
        call.number, call.due, call.start = number, due, start
        words[entry + 1] = due
        words[entry + 2] = start
        words[entry + 3] = call.user
        words[entry] = number
        words[self._begun_word] = number

    def free_entry(self, call: CallState) -> None:
        """The call's entry may be used again."""
        self._words[call.entry] = 0

    def take_entry(self) -> int:
        """Return the first word of a free in-flight entry, for calls, or for a setup or teardown; `nowhere`, which nobody
        reads, if there is none.
        """
        return self._free_entries.pop() if self._free_entries else self.nowhere

    def give_entry(self, entry: int) -> None:
        """The entry is free again."""
        words = self._words
        words[entry] = words[entry + Entry.OPEN] = words[entry + Entry.SETUP] = 0
        if entry != self.nowhere:
            self._free_entries.append(entry)

    def returned(self, call: CallState, result: object, end: int, group: str) -> bool:
        """Record a call that returned; False when it counts as failed."""
        if call.open:
            self._end_open(call, end, self._outcome_of(call, result))
        if result is None:
            failed, in_group = call.failed, not call.opened
            if self._spec.verbose or (failed and call.unawaited):
                self._end_call(call, end, Outcome(failed), group, in_group=in_group)
                return not failed
            bits = _END_BITS[failed << 2 | in_group << 1 | call.waited]  # as most calls end
            if self._spec.wants_raw and self.sampled(failed):
                bits |= SAMPLED_BIT
            group_id = self._known(group) or self.writer.intern(group, MAX_NAME_BYTES)
            if not self._publish_bits(
                bits, call.due, call.start, end, group_id, 0, 0, 0, 0, 0, call.user, call.number & 0xFFFFFFFF
            ):
                self._words[self._lost_word] += 1
            return not failed
        if not isinstance(result, Response):
            found = f"{type(result).__module__}.{type(result).__qualname__}".removeprefix("builtins.")
            error = f"call() returned {found}: expected a wasp_ray.Response or None; return nothing, requests record themselves"
            if isinstance(result, Coroutine):
                error = describe_unawaited(result)
            self._end_call(call, end, Outcome.FAILED, group, in_group=not call.opened, error=error)
            return False
        return self._returned_response(call, result, end, group)

    def _returned_response(self, call: CallState, result: Response, end: int, group: str) -> bool:
        own, outcome = _own_outcome(result), self._outcome_of(call, result)
        if result.recorded:
            self._end_call(call, end, outcome, group, in_group=False)
            return outcome == Outcome.OK
        name = result.group or group
        if outcome != own:  # the Response is fine, a request before it was not: two facts, two records
            self._publish(call.due, call.start, end, own, Flag.IN_GROUP, name, call, result)
            self._end_call(call, end, outcome, group, in_group=False)
            return False
        self._publish(call.due, call.start, end, own, Flag.ENDS_CALL | Flag.IN_GROUP, name, call, result)
        return outcome == Outcome.OK

    def raised(self, call: CallState, exc: BaseException, end: int, group: str) -> bool:
        """Books a call that raised; False when it counts as failed (StopUser does not)."""
        if call.open:
            self._note_failed(call)
        if isinstance(exc, RowsUsedUp):  # no row, no work: the call was cut short, it is neither ok nor failed
            self.interrupted(call, end, group)
            return True
        if isinstance(exc, StopUser):
            self._end_call(call, end, Outcome.FAILED if call.failed else Outcome.OK, group, in_group=not call.opened)
            return not call.failed
        error = ""
        if isinstance(exc, CallFailed):  # a failed request is booked already: its call has no second error
            error = "" if call.failed else str(exc) or "failed"
        elif call.seen is not exc:
            error = describe(exc)
            self.report(error, group, exc)
        self._end_call(call, end, Outcome.FAILED, group, in_group=not call.opened, error=error)
        return False

    def timed_out(self, call: CallState, deadline: int, group: str) -> None:
        """Books a call at its deadline; what it does later is not counted."""
        self._cut(call, deadline, Outcome.TIMEOUT, group)

    def interrupted(self, call: CallState, end: int, group: str) -> None:
        """Books a call that graceful_stop ended, or that got no row."""
        self._cut(call, end, Outcome.INTERRUPTED, group)

    def _cut(self, call: CallState, end: int, outcome: Outcome, group: str) -> None:
        self._end_call(call, end, outcome, group, in_group=not call.opened)
        call.closed = True
        self._words[call.entry + Entry.OPEN_START] = call.start
        self._words[call.entry + Entry.OPEN] = Open.IS_BOOKED  # its task may go on, and its process die meanwhile

    def failed_call(self) -> None:
        """After a call that failed: ends the Generator when it asked for that."""
        if self._part.fail_on_error:
            self._spec.ask_stop(Ask.FAIL)

    def _end_call(
        self, call: CallState, end: int, outcome: Outcome, group: str, *, in_group: bool, error: str = ""
    ) -> None:
        flags = Flag.ENDS_CALL | Flag.IN_GROUP if in_group else Flag.ENDS_CALL
        if outcome == Outcome.FAILED and call.unawaited:
            error = f"{error}; {call.unawaited}" if error else call.unawaited
        if call.open:
            self._end_open(call, end, outcome)
        self._publish(call.due, call.start, end, outcome, flags, group, call, None, error)

    def _outcome_of(self, call: CallState, result: object) -> Outcome:
        """The outcome of a call that returned; a request that has failed but not ended makes it failed as well."""
        self._note_failed(call)
        if result is not None and not isinstance(result, Response):
            return Outcome.FAILED
        own = Outcome.OK if result is None else _own_outcome(result)
        return Outcome.FAILED if own == Outcome.OK and call.failed else own

    def _note_failed(self, call: CallState) -> None:
        """A request that has failed but not ended makes its call failed."""
        if any(source is not None and source.error for *_, source in call.open):
            call.failed = True

    def _end_open(self, call: CallState, end: int, outcome: Outcome) -> None:
        """Requests that are open when their call ends take its outcome."""
        still_open, call.open = call.open, []
        for _, due, start, group, route, _, _, source in still_open:
            result, own = Response(group, route), outcome
            if source is not None:
                result.status, result.bytes_in, result.bytes_out = (
                    source.status or "",
                    source.bytes_in,
                    source.bytes_out,
                )
                if source.error:
                    result.error = source.error
                    own = Outcome.FAILED if outcome == Outcome.OK else outcome
            self._publish(due, start, end, own, Flag.IN_GROUP, group, call, result)
        show_open(self._words, call)

    # -- requests

    def current(self) -> CallState | None:
        """The call that user code is in: of this task, or the only one of a sync worker."""
        return self.sync_call or current_call.get()

    def group(self, name: str) -> TimedGroup:
        """A timed block of the running call."""
        return TimedGroup(self, str(name))

    def drop_open(self, opened: OpenRequest) -> None:
        """Forgets a request that was never sent."""
        call = opened[0]
        if call is not None and opened in call.open:
            call.open.remove(opened)
            if opened[1] < opened[2]:  # the call's first one, which is still to come
                call.opened = False
            show_open(self._words, call)

    def share_ring(self) -> None:
        """Before another thread than the worker's writes."""
        if get_ident() != self._owner:
            self.writer.share()

    def record(self, group: str, service_s: float, status: object, error: str, bytes_in: int, bytes_out: int) -> None:
        """A request that user code timed: it ended now."""
        end = now_ns()
        start = end - max(0, int(service_s * 1e9))
        call, due = self.current(), start
        if call is not None and call.closed:
            return
        if call is not None and not call.opened:
            call.opened = True
            due = min(call.due, start)
        self.request(call, due, start, end, group, status=status, error=error, bytes_in=bytes_in, bytes_out=bytes_out)

    def request(
        self, call: CallState | None, due: int, start: int, end: int, group: str, *,
        status: object = "", error: str = "", bytes_in: int = 0, bytes_out: int = 0, path: str = "",
    ) -> None:  # fmt: skip
        """Books one request that has ended; a failed one makes its call failed. From any thread."""
        self.share_ring()
        if call is not None and error:
            call.failed = True
        outcome = Outcome.FAILED if error else Outcome.OK
        result = Response(group, path, str(status), error, False, False, bytes_in, bytes_out)
        self._publish(due, start, end, outcome, Flag.IN_GROUP, group, call, result)
        if call is not None and not call.closed:
            show_open(self._words, call)

    def count(self, name: str, number: int) -> None:
        """Adds to a counter. From any thread."""
        self.share_ring()
        group = self.writer.intern(str(name), MAX_NAME_BYTES)
        self.writer.publish(head_bits(Kind.COUNT), int(number), 0, now_ns(), group, 0, 0, 0, 0, 0, 0, 0)

    def report(self, error: str, group: str, exc: BaseException) -> None:
        """The first exception of each kind goes to the terminal, trimmed to the user's frames."""
        if self._notes.first_of(f"{group}\0{type(exc).__name__}"):
            self._notes.send("trace", error=error, group=group, text=trim_traceback(exc, self._spec.user_dir))

    def _publish(
        self, due: int, start: int, end: int, outcome: int, flags: int, group: str, call: CallState | None,
        result: Response | None, error: str = "",
    ) -> None:  # fmt: skip
        """One record; a loss is counted where the ledger sees it."""
        writer = self.writer
        path = status = failure = bytes_in = bytes_out = 0
        raw = b""
        group_id = writer.intern(group, MAX_NAME_BYTES)
        if result is not None:
            error = result.error
            path = writer.intern(str(result.path), MAX_NAME_BYTES)
            status = writer.intern(str(result.status), MAX_NAME_BYTES)
            bytes_in, bytes_out = _size(result.bytes_in), _size(result.bytes_out)
        if error:
            failure = writer.intern(str(error), MAX_ERROR_BYTES)
        if call is not None and call.waited:
            flags |= Flag.WAITED
        if self._spec.verbose:
            self._print(group, outcome, flags, start, end, result, error)
        if self._spec.wants_raw and self.sampled(outcome):
            flags |= Flag.SAMPLED
            if result is not None and result.data is not None:
                raw = _json_data(result.data)
        user, number = (call.user, call.number) if call is not None else (self._spec.first_user, 0)
        bits = head_bits(Kind.RECORD, outcome, flags)
        number &= 0xFFFFFFFF
        if not raw:
            found_room = writer.publish(
                bits, due, start, end, group_id, path, status, failure, bytes_in, bytes_out, user, number
            )
        else:
            with writer.lock:  # side by side, whatever other threads publish
                writer.publish_data(raw)
                found_room = writer.publish(
                    bits, due, start, end, group_id, path, status, failure, bytes_in, bytes_out, user, number
                )
        if not found_room:
            with writer.lock:
                self._words[self._lost_word if flags & Flag.ENDS_CALL else self._lost_requests_word] += 1

    def _print(
        self, group: str, outcome: int, flags: int, start: int, end: int, result: Response | None, error: str
    ) -> None:
        """`wasp run --once`: a line a request or call, on stdout; none of a process that user code forked."""
        if os.getpid() != self._spec.pid:
            return
        what = "call" if flags & Flag.ENDS_CALL else "request"
        status = f" {result.status}" if result is not None and result.status != "" else ""
        more = f" {result.path}" if result is not None and result.path else ""
        why = f": {error}" if error else ""
        where = group if group == self._part.name else f"{self._part.name}/{group}"
        print(
            f"{what} {where}{more}{status} {Outcome(outcome).name.lower()} {(end - start) / 1e6:.2f} ms{why}",
            flush=True,
        )

    def sampled(self, outcome: int) -> bool:
        """Failures always, successes by the ratio asked for."""
        return outcome != Outcome.OK or self._part.sample >= 1.0 or self._sampler.random() < self._part.sample


def _own_outcome(result: Response) -> Outcome:
    if result.timeout:
        return Outcome.TIMEOUT
    return Outcome.FAILED if result.failed or result.error else Outcome.OK


def _size(value: object) -> int:
    return min(value, 2**63) if isinstance(value, int) and value > 0 else 0


def _json_data(data: object) -> bytes:
    try:
        raw = json.dumps(data, default=str, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        raw = b'"(not JSON)"'
    return (
        raw if len(raw) <= MAX_DATA_BYTES else json.dumps(f"({len(raw)} bytes, the limit is {MAX_DATA_BYTES})").encode()
    )
