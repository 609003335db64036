"""Answers that are wrong, or right but rare, and what the clients make of them: for plain connections and for TLS."""

from __future__ import annotations

from support.http_cases import Case
from support.wrong_steps import Ahead, Drip, Endless, Hang, Keep, Later, Pause, Reset, Taken, good

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH_5 = OK + b"Content-Length: 5\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SHORT = {"timeout": "300ms"}  # where nothing has to arrive in this time
WITH_HEAD = {"timeout": "700ms"}  # where a head has to
FEW_BYTES = {"max_body": 20}

HEADS = [
    Case("greets as another protocol", [b"220 mail.test ESMTP\r\n"], "malformed answer", 0),
    Case("sends bytes of no meaning", [bytes(range(256))], "malformed answer", 0),
    Case("sends NULs", [b"\0" * 100], "malformed answer", 0),
    Case("forgets the version", [b"HTTP 200 OK\r\n\r\n"], "malformed answer", 0),
    Case("has a version of the future", [b"HTTP/9.9 200 OK\r\n\r\n"], "malformed answer", 0),
    Case("forgets the status", [b"HTTP/1.1 OK\r\n\r\n"], "malformed answer", 0),
    Case("has a status of two digits", [b"HTTP/1.1 20 OK\r\n\r\n"], "malformed answer", 0),
    Case("has a status of four digits", [b"HTTP/1.1 2000 OK\r\n\r\n"], "malformed answer", 0),
    Case("has status 000", [b"HTTP/1.1 000 Nothing\r\n\r\n", Hang()], "malformed answer", 0),
    Case("has status 099", [b"HTTP/1.1 099 Little\r\nContent-Length: 0\r\n\r\n", Hang()], "malformed answer", 0),
    Case("has status 999", [b"HTTP/1.1 999 Much\r\nContent-Length: 0\r\n\r\n", Keep()], "HTTP 999", 999, connections=1),
    Case("has no reason phrase", [b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", Keep()], body=b"ok", connections=1),
    Case("puts a space into a header's name", [OK + b"Bad Name: 1\r\nContent-Length: 0\r\n\r\n"], "malformed answer", 0),
    Case("puts a NUL into a header", [OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n"], "malformed answer", 0),
    Case("forgets the colon", [OK + b"Content-Length 5\r\n\r\nhello"], "malformed answer", 0),
    Case("speaks HTTP/1.0 and closes", [b"HTTP/1.0 200 OK\r\n\r\nhello"], body=b"hello"),
    Case("speaks HTTP/1.0 and keeps", [
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", Keep(),
    ], body=b"hello", connections=1),
    Case("says Connection: close but does not", [
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", Hang(),
    ], body=b"hello"),
    Case("sends a head of 70 KB", [OK + b"X: " + b"a" * 70_000 + b"\r\n\r\n", Hang()], "headers too large", 0),
    Case("sends a head of 70 KB and a body at once", [
        OK + b"X: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n\r\nok", Hang(),
    ], "headers too large", 0),
    Case("sends a head of 60 KB", [
        OK + b"X: " + b"a" * 60_000 + b"\r\nContent-Length: 2\r\n\r\nok", Keep(),
    ], body=b"ok", connections=1),
    Case("sends 70 KB of small headers", [OK + b"X: y\r\n" * 12_000 + b"\r\n", Hang()], "headers too large", 0),
    Case("sends headers for ever", [OK, Endless(b"X-More: and more\r\n")], "headers too large", 0),
    Case("sends a status line for ever", [b"HTTP/1.1 200 ", Endless(b"very ")], "headers too large", 0),
    Case("sends a head byte by byte", [Drip(LENGTH_5, 0.001), b"hello", Keep()], body=b"hello", connections=1),
]  # fmt: skip

PROVISIONAL = [
    Case("sends 100 before the answer", [b"HTTP/1.1 100 Continue\r\n\r\n", good("it"), Keep()], connections=1),
    Case("sends 100 long before the answer", [
        b"HTTP/1.1 100 Continue\r\n\r\n", Pause(0.05), good("it"), Keep(),
    ], body=b'{"number": "it"}', connections=1),
    Case("sends 103 with hints before the answer", [
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n" + good("it"), Keep(),
    ], body=b'{"number": "it"}', connections=1),
    Case("sends 102 thrice", [b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + good("it"), Keep()], connections=1),
    Case("sends 100 and closes", [b"HTTP/1.1 100 Continue\r\n\r\n"], "answer cut short", 0),
    Case("sends 100 and nothing more", [b"HTTP/1.1 100 Continue\r\n\r\n", Hang()], "timeout", 0, kept=True, options=SHORT),
    Case("sends 100 for ever", [Endless(b"HTTP/1.1 100 Continue\r\n\r\n")], "headers too large", 0),
    Case("sends 100 with a length and no body", [
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", good("it"), Keep(),
    ], body=b'{"number": "it"}', connections=1),
    Case("switches protocols", [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chess\r\nConnection: upgrade\r\n\r\n\x81\x05hello", Hang(),
    ], "unexpected upgrade", 0),
    Case("switches protocols without a word to which", [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Hang(),
    ], "unexpected upgrade", 0),
]  # fmt: skip

BODIES = [
    Case("tells a length and closes before it", [LENGTH_5 + b"hel"], "answer cut short"),
    Case("tells a length and resets before it", [LENGTH_5 + b"hel", Taken(), Reset()], "answer cut short"),
    Case("tells a length and stops before it", [LENGTH_5 + b"hel", Hang()], "timeout", kept=True, options=WITH_HEAD),
    Case("sends more than it told", [LENGTH_5 + b"hello and more", Hang()], body=b"hello"),
    Case("sends more than it told, later", [LENGTH_5 + b"hello", Later(), b" and more", Hang()], body=b"hello"),
    Case("tells two lengths", [OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"], "malformed answer", 0),
    Case("tells one length twice", [OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"], "malformed answer", 0),
    Case("tells a length and is chunked too", [
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ], "malformed answer", 0),
    Case("tells a length below zero", [OK + b"Content-Length: -5\r\n\r\nhello"], "malformed answer", 0),
    Case("tells a length in hexadecimal", [OK + b"Content-Length: 0x5\r\n\r\nhello"], "malformed answer", 0),
    Case("tells a length of thirty digits", [OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n"], "malformed answer", 0),
    Case("tells no length and closes", [OK + b"\r\nhello"], body=b"hello"),
    Case("tells no length and resets", [OK + b"\r\nhello", Taken(), Reset()], "answer cut short"),
    Case("sends chunks", [CHUNKED + b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n", Keep()], body=b"hello!", connections=1),
    Case("sends chunks and trailers", [
        CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", Keep(),
    ], body=b"hello", connections=1),
    Case("sends chunks byte by byte", [
        CHUNKED, Drip(b"5\r\nhello\r\n0\r\n\r\n", 0.001), Keep(),
    ], body=b"hello", connections=1),
    Case("closes within a chunk", [CHUNKED + b"5\r\nhel"], "answer cut short"),
    Case("closes between chunks", [CHUNKED + b"5\r\nhello\r\n"], "answer cut short"),
    Case("closes behind the last chunk's size", [CHUNKED + b"5\r\nhello\r\n0\r\n"], "answer cut short"),
    Case("has a chunk size that is none", [CHUNKED + b"five\r\nhello\r\n0\r\n\r\n"], "malformed answer"),
    Case("has a chunk size below zero", [CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"], "malformed answer"),
    Case("has a chunk size of twenty digits", [CHUNKED + b"f" * 20 + b"\r\nhello"], "malformed answer"),
    Case("has a chunk that is longer than its size", [CHUNKED + b"2\r\nhello\r\n0\r\n\r\n"], "malformed answer"),
    Case("sends a chunk extension for ever", [CHUNKED + b"5;", Endless(b"a" * 999)], "body too large", options=FEW_BYTES),
    Case("sends trailers for ever", [CHUNKED + b"0\r\n", Endless(b"X: y\r\n" * 99)], "body too large", options=FEW_BYTES),
    Case("sends a body for ever", [OK + b"\r\n", Endless(b"a" * 999)], "body too large", options=FEW_BYTES),
    Case("sends chunks for ever", [CHUNKED, Endless(b"1\r\na\r\n")], "body too large", options=FEW_BYTES),
    Case("sends one byte over max_body", [
        OK + b"Content-Length: 21\r\n\r\n" + b"a" * 21, Hang(),
    ], "body too large", options=FEW_BYTES),
    Case("sends as much as max_body allows", [
        OK + b"Content-Length: 20\r\n\r\n" + b"a" * 20, Keep(),
    ], body=b"a" * 20, connections=1, options=FEW_BYTES),
    Case("drips a body for longer than the timeout", [
        OK + b"Content-Length: 9999\r\n\r\n", Drip(b"a", times=0),
    ], "timeout", kept=True, options=WITH_HEAD),
    Case("drips a head for longer than the timeout", [
        Drip(OK + b"X: y\r\n", times=0),
    ], "timeout", 0, kept=True, options=SHORT),
    Case("drips chunks for longer than the timeout", [
        CHUNKED, Drip(b"1\r\na\r\n", times=0),
    ], "timeout", kept=True, options=WITH_HEAD),
]  # fmt: skip

BODYLESS = [
    Case("answers HEAD with a length", [OK + b"Content-Length: 5\r\n\r\n", Keep()], method="HEAD", body=b"", connections=1),
    Case("answers HEAD without a length", [OK + b"\r\n", Keep()], method="HEAD", body=b"", connections=1),
    Case("answers HEAD as chunked", [CHUNKED, Keep()], method="HEAD", body=b"", connections=1),
    Case("answers HEAD with 100 first", [
        b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH_5, Keep(),
    ], method="HEAD", body=b"", connections=1),
    Case("answers HEAD with a body", [LENGTH_5 + b"hello", Hang()], method="HEAD", body=b""),
    Case("answers HEAD with a chunked body", [CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", Hang()], method="HEAD", body=b""),
    Case("answers HEAD with gzip's name", [
        OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", Keep(),
    ], method="HEAD", body=b"", connections=1),
    Case("answers HEAD with an error", [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", Keep(),
    ], "HTTP 404", 404, method="HEAD", connections=1),
    Case("sends 204", [b"HTTP/1.1 204 No Content\r\n\r\n", Keep()], status=204, body=b"", connections=1),
    Case("sends 204 with a length and a body", [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", Hang(),
    ], status=204, body=b""),
    Case("sends 304 with a length", [
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Keep(),
    ], status=304, body=b"", connections=1),
    Case("sends 304 with a body", [
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", Hang(),
    ], status=304, body=b""),
    Case("sends 204 with a body that looks like an answer", [
        b"HTTP/1.1 204 No Content\r\n\r\n" + good("wrong"), Hang(),
    ], status=204, body=b""),
]  # fmt: skip

ENDS = [
    Case("closes without a word", [], "closed without an answer", 0),
    Case("resets without a word", [Reset()], "connection reset", 0),
    Case("resets in the head", [b"HTTP/1.1 200", Taken(), Reset()], "answer cut short", 0),
    Case("closes in the head", [b"HTTP/1.1 200 OK\r\nContent-"], "answer cut short", 0),
    Case("says nothing", [Hang()], "timeout", 0, options=WITH_HEAD),
    Case("says nothing in time for the first byte", [
        Hang(),
    ], "first byte timeout", 0, options={"first_byte_timeout": "1s"}),
    Case("is slow behind the first byte only", [
        b"H", Taken(), Ahead(20), good("it")[1:], Keep(),
    ], options={"first_byte_timeout": "10s", "timeout": "50s"}, connections=1),
    Case("answers and closes", [LENGTH_5 + b"hello"], body=b"hello"),
    Case("answers and resets", [LENGTH_5 + b"hello", Taken(), Reset()], body=b"hello"),
    Case("answers twice at once", [good("first") + good("second"), Hang()], body=b'{"number": "first"}'),
    Case("answers twice with junk between", [good("first") + b"junk" + good("second"), Hang()], body=b'{"number": "first"}'),
    Case("answers twice, once too late", [
        good("first"), Later(), good("second"), Hang(),
    ], body=b'{"number": "first"}'),
    Case("answers with an error", [good("it", status="500 Oh"), Keep()], "HTTP 500", 500, connections=1),
]  # fmt: skip
