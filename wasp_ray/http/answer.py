"""Takes the answers of one connection apart, by llhttp: bytes in, one answer at a time out. It knows no socket.

For one request: `expect`, then `feed` with what comes (or `end` when the server closes), until `complete`.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from wasp_ray.http import failures
from wasp_ray.http.failures import RequestFailed

MAX_HEAD_BYTES = 64 * 1024
USUAL_HEAD_BYTES = 4 * 1024
TELLING = (b"\nset-cookie:", b"\ncontent-encoding:")
"""Headers that ask for work; an answer without them is done when it is complete."""

Raw = list[tuple[bytes, bytes]]


class AnswerReader:
    """What llhttp calls back. `status` 0 until the head of a final answer (no 1xx) is there.

    Headers are not collected, since few calls look at them and that takes longer than all the rest: their bytes are kept.
    """

    __slots__ = (
        "_parser", "_pieces", "_provisional", "chunks", "complete", "head_only", "keep_alive", "max_body", "received", "status",
        "surplus",
    )  # fmt: skip

    def __init__(self, max_body: int) -> None:
        self.max_body, self.head_only = max_body, True
        self.expect()

    def expect(self, head_only: bool = False) -> None:
        """An answer to a new request is to come; `head_only`: it ends with its headers, as one to HEAD does."""
        self.status = self.received = 0
        self._pieces: list[bytes] = []
        self.chunks: list[bytes] = []
        self.complete = self.keep_alive = self.surplus = self._provisional = False
        if self.head_only:  # the old parser waits for a body that does not come
            self._parser = HttpResponseParser(self)
        self.head_only = head_only

    def feed(self, data: bytes) -> None:
        """Raises RequestFailed; what comes after a complete answer only spoils the connection (`surplus`)."""
        self.received += len(data)
        if not self.status:
            self._pieces.append(data)
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
        names = {name.lower() for name, _ in headers_of(self.head)}
        if b"content-length" in names or b"transfer-encoding" in names:
            raise RequestFailed(failures.CUT)
        self.complete = True

    @property
    def body(self) -> bytes:
        """As it came, in one piece."""
        chunks = self.chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @property
    def head(self) -> bytes:
        """What came until the headers were there, and a little more; see headers_of."""
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -- called by llhttp

    def on_message_begin(self) -> None:
        """One more answer than was asked for?"""
        if self.complete:
            self.surplus = True

    def on_headers_complete(self) -> None:
        """Provisional answers (100, 103) are passed over."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._provisional = True
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


class _Headers:
    """Collects those of the final answer."""

    def __init__(self) -> None:
        self.found: Raw = []
        self._is_over = False
        self.parser = HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of them."""
        if not self._is_over:
            self.found.append((name, value))

    def on_headers_complete(self) -> None:
        """Of a provisional answer, or the last."""
        if self.parser.get_status_code() >= 200:
            self._is_over = True
        elif not self._is_over:
            self.found.clear()


def is_telling(head: bytes) -> bool:
    """Whether there may be a header that asks for work: rather too often than not."""
    if len(head) > USUAL_HEAD_BYTES and b"\r\n\r\n" in head[:USUAL_HEAD_BYTES]:
        head = head[:USUAL_HEAD_BYTES]
    head = head.lower()
    return TELLING[0] in head or TELLING[1] in head


def headers_of(head: bytes) -> Raw:
    """The headers in what `AnswerReader.head` kept, in their order and spelling."""
    headers = _Headers()
    try:
        headers.parser.feed_data(head)
    except (HttpParserError, HttpParserUpgrade):  # of what came behind them
        pass
    return headers.found
