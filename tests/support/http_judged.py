"""A client's judgement without a network: requests that were made, answers as bytes, and what was recorded."""

from __future__ import annotations

from typing import Any

from support.http_drivers import CountingRecorder
from wasp_ray.clock import now_ns
from wasp_ray.http import Response, SyncClient
from wasp_ray.http.answer import AnswerReader
from wasp_ray.http.talk import Talk


class Judged:
    """One request of a client, and one answer after the other."""

    def __init__(
        self,
        method: str = "GET",
        path: str = "/",
        *,
        base_url: str = "http://shop.test",
        asks: Any = None,
        **options: Any,
    ):
        self.recorder = CountingRecorder()
        self.client = SyncClient("http://shop.test", self.recorder, **options)
        self.ask(method, path, **(asks or {}))

    def ask(self, method: str, path: str, **asks: Any) -> None:
        """One more request of the same client."""
        request = self.client._maker.make(method, path, asks)
        now = now_ns()
        self.talk = Talk(request, now, self.recorder.request_begins(now, request.group, request.route))

    def answer(self, status: int = 200, *headers: str, body: bytes = b"") -> Response | None:
        """None when it was redirected: `talk.request` is what follows."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
        reader = AnswerReader(self.client.settings.max_body)
        reader.expect(self.talk.request.head_only)
        reader.feed("\r\n".join(lines).encode("latin-1") + (b"" if self.talk.request.head_only else body))
        return self.client._judge.answered(self.talk, reader, now_ns())

    def final(self, status: int = 200, *headers: str, body: bytes = b"") -> Response:
        """The last answer."""
        response = self.answer(status, *headers, body=body)
        assert response is not None
        return response
