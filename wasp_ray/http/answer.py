"""Takes the answers of one connection apart, by llhttp: bytes in, one answer at a time out. It knows no socket.

For one request: `expect`, then `feed` with what comes (or `end` when the server closes), until `complete`.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from wasp_ray.http import failures
from wasp_ray.http.failures import RequestFailed

READ_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
USUAL_HEAD_BYTES = 4 * 1024
SWITCHES = 101  # status of an answer behind which another protocol is spoken
TELLING = (b"\nset-cookie:", b"\ncontent-encoding:")
"""Headers that ask for work; an answer without them is done when it is complete."""

Raw = list[tuple[bytes, bytes]]


class AnswerReader:
    """What llhttp calls back. `status` 0 until the head of a final answer (no 1xx) is there.

    Headers are not collected, since few calls look at them and that takes longer than all the rest: their bytes are kept.
    """

    __slots__ = (
        "_parser", "_pieces", "_provisional", "_sized", "chunks", "complete", "head_only", "keep_alive", "max_body",
        "received", "status", "surplus",
    )  # fmt: skip

    def __init__(self, max_body: int) -> None:
        self.max_body, self.head_only = max_body, True
        self._sized: tuple[list[bytes], int, int] = ([], 0, 0)
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
        """Raises RequestFailed; what comes after a complete answer only spoils the connection (`surplus`).

        What it says does not depend on where the bytes were cut.
        """
        self.received = received = self.received + len(data)
        if not self.status:
            if received > MAX_HEAD_BYTES:
                self._feed_much(data)
                return
            self._pieces.append(data)
        try:  # _parse, spelled out: this is the hot path
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._ended_badly()
        if received > self.max_body:
            self._check_size()

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._ended_badly()

    def _ended_badly(self) -> None:
        """What came behind a complete answer is no fault of it."""
        if not self.complete:
            self._check_size()
            is_upgrade = self._parser.get_status_code() == SWITCHES
            raise RequestFailed(failures.UPGRADE if is_upgrade else failures.MALFORMED) from None
        self.surplus = True

    def _feed_much(self, data: bytes) -> None:
        """A head that is too long, or one with much of its body in the same read: they are taken apart."""
        at, limit = 0, len(data) - (self.received - MAX_HEAD_BYTES)
        while not self.status:
            end = data.find(b"\r\n\r\n", at, limit)
            piece = data[at : limit if end < 0 else end + 4]
            if not piece:
                raise RequestFailed(failures.HEAD_SIZE)
            at += len(piece)
            self._pieces.append(piece)
            self._parse(piece)
        if at < len(data):
            self._parse(memoryview(data)[at:])
        self._check_size()

    def _check_size(self) -> None:
        """Of the body, and of what surrounds its chunks. Chunks that were counted already are not counted again."""
        chunks, known, size = self._sized
        if chunks is not self.chunks:
            chunks, known, size = self.chunks, 0, 0
        size += sum(map(len, chunks[known:] if known else chunks))
        self._sized = (chunks, len(chunks), size)
        if size > self.max_body or (not self.complete and self.received - size > self.max_body + MAX_HEAD_BYTES):
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
            if status < 100 or status == SWITCHES:
                raise ValueError("no answer to this request comes behind it")  # which ends the parser
            self._provisional = True
            return
        self.status = status
        if self.head_only:
            self.complete, self.keep_alive = True, self._parser.should_keep_alive() or self._is_lasting()

    def _is_lasting(self) -> bool:
        """Whether the connection lasts, for an answer without a body: the parser believes that its end ends the body."""
        told = [value.lower() for name, value in headers_of(self.head) if name.lower() == b"connection"]
        return self._parser.get_http_version() == "1.1" and b"close" not in b",".join(told)

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
    if len(head) > USUAL_HEAD_BYTES and b"\r\n\r\n" in head[:USUAL_HEAD_BYTES] and head[9:10] != b"1":  # not of a 1xx
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
