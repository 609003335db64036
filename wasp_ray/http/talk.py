"""From a request to its Response: what an answer means, whether one more request follows, what is recorded. No I/O.

Both clients ask: they send `talk.request`, read into an AnswerReader, and tell `Judge.answered` or `Judge.failed`.
"""

from __future__ import annotations

from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import BadInput
from wasp_ray.http import failures
from wasp_ray.http.answer import AnswerReader, Raw, headers_of, is_telling
from wasp_ray.http.cookies import Jar
from wasp_ray.http.decode import decode
from wasp_ray.http.failures import RequestFailed
from wasp_ray.http.judgement import judged, record_phases
from wasp_ray.http.options import Options
from wasp_ray.http.recorder import Recorder
from wasp_ray.http.request import Request, RequestMaker
from wasp_ray.http.response import Response

REDIRECTS = frozenset({301, 302, 303, 307, 308})
RETRIES = "http retries"


class Talk:
    """One request under way: first sent as `request`, which changes when it is redirected. Instants in ns."""

    __slots__ = (
        "bytes_in", "bytes_out", "deadline", "followed", "opened", "phases", "repeated", "request", "start",
    )  # fmt: skip

    def __init__(self, request: Request, start: int, opened: Any) -> None:
        self.start, self.opened = start, opened
        self.request = request
        self.deadline = start + request.timeout_ns
        self.bytes_in = self.bytes_out = self.followed = 0
        self.repeated = False
        self.phases: dict[str, int] | None = None

    def took(self, phase: str, ns: int) -> None:
        """Adds to the time of a phase."""
        if self.phases is None:
            self.phases = {}
        self.phases[phase] = self.phases.get(phase, 0) + ns


class Judge:
    """Of one client."""

    def __init__(self, options: Options, maker: RequestMaker, jar: Jar, recorder: Recorder) -> None:
        self._options, self._maker, self._jar, self._recorder = options, maker, jar, recorder

    def answered(self, talk: Talk, reader: AnswerReader, end: int) -> Response | None:
        """A complete answer; None when `talk.request` is to be sent now, since it was redirected."""
        request, status, head, body, error = talk.request, reader.status, reader.head, reader.body, ""
        talk.bytes_in += reader.received
        talk.bytes_out += len(request.data)
        if is_telling(head):
            try:
                body = self._told(request, headers_of(head), body)
            except RequestFailed as exc:
                error = str(exc)
        if not error and request.redirects and status in REDIRECTS:
            error = self._follow(talk, headers_of(head), status)
            if not error:
                return None
        response = Response(status, head, body, request, error, (end - talk.start) / 1e9, talk.phases)
        if not error:
            response.error = judged(request.expect, status, response)
        return self._recorded(talk, response, end)

    def failed(self, talk: Talk, error: str, reader: AnswerReader | None = None) -> Response:
        """There is no complete answer; `error` is one of failures.ALL."""
        status, head = (0, b"") if reader is None else (reader.status, reader.head)
        talk.bytes_in += 0 if reader is None else reader.received
        return self._without_answer(talk, error, status, head)

    def may_repeat(self, talk: Talk, reader: AnswerReader, error: str, was_sent: bool) -> bool:
        """After a failure on a kept connection: whether to send once more on a new one, which is counted."""
        if (
            talk.repeated
            or not self._options.retries
            or reader.received
            or error not in (failures.NO_ANSWER, failures.RESET)
            or not talk.request.may_repeat(was_sent)
        ):
            return False
        talk.repeated = True
        self._recorder.count(RETRIES, 1)
        return True

    def cancelled(self, talk: Talk) -> None:
        """Its task was; booked unless its call is over."""
        self._without_answer(talk, failures.CANCELLED)

    def _told(self, request: Request, raw: Raw, body: bytes) -> bytes:
        """Cookies and encodings."""
        cookies, encodings = [], []
        for name, value in raw:
            low = name.lower()
            if low == b"set-cookie":
                cookies.append(value.decode("latin-1"))
            elif low == b"content-encoding":
                encodings.append(value.decode("latin-1"))
        if cookies:
            self._jar.take(request.url, cookies)
        if encodings and self._options.decompress and not request.head_only:
            return decode(body, ",".join(encodings), self._options.max_body)
        return body

    def _follow(self, talk: Talk, raw: Raw, status: int) -> str:
        location = next((value for name, value in raw if name.lower() == b"location"), None)
        if location is None:
            return failures.NO_LOCATION
        if talk.followed >= talk.request.redirects:
            return failures.REDIRECTS
        try:
            following = self._maker.redirected(talk.request, status, location.decode("latin-1"))
        except BadInput:
            return failures.NO_LOCATION
        if following is None:
            return failures.BODY_GONE
        talk.request = following
        talk.followed += 1
        return ""

    def _without_answer(self, talk: Talk, error: str, status: int = 0, head: bytes = b"") -> Response:
        end = now_ns()
        return self._recorded(
            talk, Response(status, head, b"", talk.request, error, (end - talk.start) / 1e9, talk.phases), end
        )

    def _recorded(self, talk: Talk, response: Response, end: int) -> Response:
        self._recorder.request_ended(talk.opened, end, response.status, response.error, talk.bytes_in, talk.bytes_out)
        if talk.phases is not None and self._options.phases:
            record_phases(self._recorder, talk.phases, end, talk.request.group, talk.request.route)
        return response
