"""Takes the answers of one connection apart, by llhttp: bytes in, one answer at a time out. It knows no socket.

For one request: `expect`, then `feed` with what comes (or `end` when the server closes), until `complete`.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from wasp_ray.http import failures
from wasp_ray.http.failures import RequestFailed

MAX_HEAD_BYTES = 64 * 1024
MAX_KNOWN_NAMES = 1024
TELLING = frozenset({b"set-cookie", b"content-encoding"})
"""Headers that ask for work; an answer without them is done when it is complete."""

Raw = list[tuple[bytes, bytes]]


class AnswerReader:
    """What llhttp calls back. `status` 0 until the head of a final answer (no 1xx) is there."""

    __slots__ = (
        "_names", "_parser", "_provisional", "chunks", "complete", "head_only", "keep_alive", "max_body", "raw", "received",
        "status", "surplus", "telling",
    )  # fmt: skip

    def __init__(self, max_body: int) -> None:
        self.max_body = max_body
        self._names: dict[bytes, bool] = {}
        self.expect()

    def expect(self, *, head_only: bool = False) -> None:
        """An answer to a new request is to come; `head_only`: it ends with its headers, as one to HEAD does."""
        self.status = self.received = 0
        self.raw: Raw = []
        self.chunks: list[bytes] = []
        self.complete = self.keep_alive = self.surplus = self.telling = self._provisional = False
        if self.head_only_before():
            self._parser = HttpResponseParser(self)
        self.head_only = head_only

    def head_only_before(self) -> bool:
        """Whether a new parser is needed: the first time, and where the old one waits for the body of a HEAD."""
        return getattr(self, "head_only", True)

    def feed(self, data: bytes) -> None:
        """Raises RequestFailed; what comes after a complete answer only spoils the connection (`surplus`)."""
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            if not self.complete:
                raise RequestFailed(failures.UPGRADE) from None
            self.surplus = True
        except HttpParserError:
            if not self.complete:
                raise RequestFailed(failures.MALFORMED) from None
            self.surplus = True
        if self.received > MAX_HEAD_BYTES and not self.complete:
            if not self.status:
                raise RequestFailed(failures.HEAD_SIZE)
            if self.received > self.max_body + MAX_HEAD_BYTES:
                raise RequestFailed(failures.BODY_SIZE)

    def end(self) -> None:
        """The server closed: the end of an answer that tells no length. Raises RequestFailed in the middle of one."""
        if self.complete:
            return
        if not self.status:
            raise RequestFailed(failures.CUT if self.received else failures.NO_ANSWER)
        names = {name.lower() for name, _ in self.raw}
        if b"content-length" in names or b"transfer-encoding" in names:
            raise RequestFailed(failures.CUT)
        self.complete = True

    @property
    def body(self) -> bytes:
        """As it came, in one piece."""
        chunks = self.chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    # -- called by llhttp

    def on_message_begin(self) -> None:
        """One more answer than was asked for?"""
        if self.complete:
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the head, or of a trailer."""
        self.raw.append((name, value))
        tells = self._names.get(name)
        if tells is None:
            tells = name.lower() in TELLING
            if len(self._names) < MAX_KNOWN_NAMES:
                self._names[name] = tells
        if tells:
            self.telling = True

    def on_headers_complete(self) -> None:
        """Provisional answers (100, 103) are passed over."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._provisional = True
            self.raw.clear()
            self.telling = False
            return
        self.status = status
        if self.head_only:
            self.complete, self.keep_alive = True, self._parser.should_keep_alive()

    def on_body(self, chunk: bytes) -> None:
        """A piece of it, after chunks were joined or whatever came with the read."""
        if self.complete:
            self.surplus = True
        else:
            self.chunks.append(chunk)

    def on_message_complete(self) -> None:
        """The end of an answer."""
        if self._provisional:
            self._provisional = False
        elif not self.complete:
            self.complete, self.keep_alive = True, self._parser.should_keep_alive()
