"""Undoes content encodings, never much beyond a limit: a small answer may unpack to gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from wasp_ray.http import failures
from wasp_ray.http.failures import RequestFailed

GZIP_OR_ZLIB = zlib.MAX_WBITS + 32
BARE = -zlib.MAX_WBITS
MAX_ENCODINGS = 5
ZSTD_PIECE = 256
"""Each four bytes of zstd may be a block of 128 KB, and its decoder knows no limit of what it gives at a time."""
ZSTD_WINDOW = 8 * 1024 * 1024  # what RFC 9659 allows in HTTP


@lru_cache(maxsize=1)
def _brotli() -> Any:
    """The library, if it can stop at a limit, as it does from 1.2 on; else None."""
    try:
        import brotli
    except ImportError:
        return None
    return brotli if hasattr(brotli.Decompressor, "can_accept_more_data") else None


@lru_cache(maxsize=1)
def _has_zstd() -> bool:
    return find_spec("zstandard") is not None


def accepted() -> str:
    """The Accept-Encoding header of this installation."""
    more = [encoding for encoding, is_there in (("br", _brotli()), ("zstd", _has_zstd())) if is_there]
    return ", ".join(["gzip", "deflate", *more])


def decode(body: bytes, encodings: str, limit: int) -> bytes:
    """`encodings`: value of the Content-Encoding header. Raises RequestFailed, also for unknown ones and too many."""
    names = [name.strip().lower() for name in encodings.split(",")]
    names = [name for name in names if name and name != "identity"]
    if len(names) > MAX_ENCODINGS or any(name not in _DECODERS for name in names):
        raise RequestFailed(failures.ENCODING)
    for name in reversed(names):
        if body:
            body = _DECODERS[name](body, limit)
    return body


def _ungzip(body: bytes, limit: int) -> bytes:
    try:
        return _inflate(body, limit, GZIP_OR_ZLIB)
    except zlib.error:
        raise RequestFailed(failures.ENCODING) from None


def _undeflate(body: bytes, limit: int) -> bytes:
    """Some servers send deflate without its zlib header."""
    try:
        return _inflate(body, limit, GZIP_OR_ZLIB)
    except zlib.error:
        pass
    try:
        return _inflate(body, limit, BARE)
    except zlib.error:
        raise RequestFailed(failures.ENCODING) from None


def _inflate(body: bytes, limit: int, bits: int) -> bytes:
    """One member after another, zeros behind the last: as RFC 1952 and tools have it."""
    out, size = [], 0
    while True:
        engine = zlib.decompressobj(bits)
        out.append(engine.decompress(body, limit - size + 1))
        size += len(out[-1])
        if size > limit:
            raise RequestFailed(failures.BODY_SIZE)
        if not engine.eof:
            raise RequestFailed(failures.ENCODING)
        body = engine.unused_data.lstrip(b"\0")
        if not body:
            return b"".join(out) if len(out) > 1 else out[0]


def _unbrotli(body: bytes, limit: int) -> bytes:
    brotli = _brotli()
    if brotli is None:
        raise RequestFailed(failures.ENCODING)
    engine = brotli.Decompressor()
    out, size = [], 0
    try:
        while True:
            out.append(engine.process(body, output_buffer_limit=limit - size + 1))
            size += len(out[-1])
            if size > limit:
                raise RequestFailed(failures.BODY_SIZE)
            if engine.is_finished():
                return b"".join(out)
            if engine.can_accept_more_data():  # it wants more than there is
                raise RequestFailed(failures.ENCODING)
            body = b""
    except brotli.error:
        raise RequestFailed(failures.ENCODING) from None


def _unzstd(body: bytes, limit: int) -> bytes:
    if not _has_zstd():
        raise RequestFailed(failures.ENCODING)
    import zstandard

    out, size = [], 0
    try:
        engine = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
        for at in range(0, len(body), ZSTD_PIECE):
            rest = body[at : at + ZSTD_PIECE]
            while rest:
                if engine.eof:  # one more frame
                    engine = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
                out.append(engine.decompress(rest))
                size += len(out[-1])
                if size > limit:
                    raise RequestFailed(failures.BODY_SIZE)
                rest = engine.unused_data
    except zstandard.ZstdError:
        raise RequestFailed(failures.ENCODING) from None
    if not engine.eof:
        raise RequestFailed(failures.ENCODING)
    return b"".join(out)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _ungzip,
    "x-gzip": _ungzip,
    "deflate": _undeflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
