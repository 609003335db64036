"""Undoes content encodings, never beyond a limit: a small answer may unpack to gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from wasp_ray.http import failures
from wasp_ray.http.failures import RequestFailed

GZIP_OR_ZLIB = 47
PIECE = 64 * 1024


def _optional(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        return None


def accepted() -> str:
    """The Accept-Encoding header of this installation."""
    more = [encoding for encoding, library in (("br", "brotli"), ("zstd", "zstandard")) if _optional(library)]
    return ", ".join(["gzip", "deflate", *more])


def decode(body: bytes, encodings: str, limit: int) -> bytes:
    """`encodings`: value of the Content-Encoding header. Raises RequestFailed, also for unknown ones."""
    for encoding in reversed([name.strip().lower() for name in encodings.split(",") if name.strip()]):
        if encoding == "identity":
            continue
        undo = _DECODERS.get(encoding)
        if undo is None:
            raise RequestFailed(failures.ENCODING)
        if body:
            body = undo(body, limit)
    return body


def _inflate(body: bytes, limit: int) -> bytes:
    for bits in (GZIP_OR_ZLIB, -zlib.MAX_WBITS):  # some servers send deflate without its zlib header
        engine = zlib.decompressobj(bits)
        try:
            found = engine.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(found) > limit:
            raise RequestFailed(failures.BODY_SIZE)
        if engine.eof:
            return found
        break
    raise RequestFailed(failures.ENCODING)


def _unbrotli(body: bytes, limit: int) -> bytes:
    brotli = _optional("brotli")
    if brotli is None:
        raise RequestFailed(failures.ENCODING)
    engine, out, size = brotli.Decompressor(), [], 0
    try:
        for at in range(0, len(body), PIECE):
            out.append(engine.process(body[at : at + PIECE]))
            size += len(out[-1])
            if size > limit:
                raise RequestFailed(failures.BODY_SIZE)
    except brotli.error:
        raise RequestFailed(failures.ENCODING) from None
    if not engine.is_finished():
        raise RequestFailed(failures.ENCODING)
    return b"".join(out)


def _unzstd(body: bytes, limit: int) -> bytes:
    zstandard = _optional("zstandard")
    if zstandard is None:
        raise RequestFailed(failures.ENCODING)
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(body, read_across_frames=True) as reader:
            found: bytes = reader.read(limit + 1)
    except zstandard.ZstdError:
        raise RequestFailed(failures.ENCODING) from None
    if len(found) > limit:
        raise RequestFailed(failures.BODY_SIZE)
    return found


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _inflate,
    "x-gzip": _inflate,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
