"""Content encodings: what servers send, what is broken, and what would fill the memory."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wasp_ray.http.decode import MAX_ENCODINGS, accepted, decode
from wasp_ray.http.failures import BODY_SIZE, ENCODING, RequestFailed

LIMIT = 1_000_000


def bare_deflate(body: bytes) -> bytes:
    """Without the zlib header, as some servers send it."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(body) + engine.flush()


def zstd(body: bytes) -> bytes:
    """As a stream: the frame does not tell its size."""
    engine = zstandard.ZstdCompressor().compressobj()
    return engine.compress(body) + engine.flush()


def peak_kb() -> int:
    """The most memory that this process has had."""
    with open("/proc/self/status") as file:
        found = re.search(r"VmHWM:\s+(\d+)", file.read())
    assert found is not None
    return int(found[1])


def fast_brotli(body: bytes) -> bytes:
    """At its default it takes seconds for megabytes."""
    return bytes(brotli.compress(body, quality=3))


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare_deflate),
    "brotli": ("br", fast_brotli),
    "zstd": ("zstd", zstandard.compress),
    "zstd stream": ("zstd", zstd),
}


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> tuple[str, Callable[[bytes], bytes]]:
    """The name on the wire and what makes it."""
    return ENCODERS[request.param]


def failure(body: bytes, encodings: str, limit: int = LIMIT) -> str:
    """The name of what is wrong with it."""
    with pytest.raises(RequestFailed) as caught:
        decode(body, encodings, limit)
    return str(caught.value)


def test_all_that_is_installed_is_asked_for() -> None:
    """br and zstd are there with their libraries."""
    assert accepted() == "gzip, deflate, br, zstd"


@given(body=st.binary(max_size=5000) | st.integers(0, 200_000).map(lambda size: b"ab" * size))
@pytest.mark.parametrize("name", ENCODERS)
def test_what_was_encoded_comes_back(name: str, body: bytes) -> None:
    """Any bytes, in each encoding."""
    wire, encode = ENCODERS[name]
    assert decode(encode(body), wire, LIMIT) == body
    assert decode(encode(body), f" {wire.upper()} ,", LIMIT) == body


def test_encodings_are_undone_from_the_last_to_the_first() -> None:
    """Content-Encoding: gzip, br was gzip first; identity is none."""
    body = brotli.compress(gzip.compress(b"hello"))
    assert decode(body, "gzip, identity, br", LIMIT) == b"hello"


def test_an_empty_body_is_empty_in_any_encoding(encoder: tuple[str, Callable[[bytes], bytes]]) -> None:
    """Servers name an encoding for 204 and the like."""
    assert decode(b"", encoder[0], LIMIT) == b""


@pytest.mark.parametrize("encodings", ["compress", "gzip, lzma", "aes128gcm", "g zip"])
def test_an_encoding_that_nobody_asked_for_fails(encodings: str) -> None:
    """Its body would be taken for text."""
    assert failure(b"hello", encodings) == ENCODING


def test_more_encodings_than_anybody_needs_fail() -> None:
    """Each of them may cost as much as a body is allowed to have."""
    body = b"hello"
    for _ in range(MAX_ENCODINGS + 1):
        body = gzip.compress(body)
    assert failure(body, ", ".join(["gzip"] * (MAX_ENCODINGS + 1))) == ENCODING


def test_a_body_that_is_cut_fails_at_each_place(encoder: tuple[str, Callable[[bytes], bytes]]) -> None:
    """Half a body must not look like a short one."""
    whole = encoder[1](bytes(range(256)) * 3)
    for end in range(1, len(whole)):
        assert failure(whole[:end], encoder[0]) == ENCODING, end


def test_a_body_with_junk_behind_it_fails(encoder: tuple[str, Callable[[bytes], bytes]]) -> None:
    """Whatever it is, the server did not mean it."""
    if encoder[0] != "br":  # its library does not tell what it left over
        assert failure(encoder[1](b"hello") + b"junk", encoder[0]) == ENCODING


@given(junk=st.binary(min_size=1, max_size=200))
@pytest.mark.parametrize("wire", ["gzip", "deflate", "br", "zstd"])
def test_junk_never_raises_anything_else(wire: str, junk: bytes) -> None:
    """Either it decodes, by chance, or it cannot be decoded, or it is too large."""
    try:
        assert len(decode(junk, wire, LIMIT)) <= LIMIT
    except RequestFailed as exc:
        assert str(exc) in (ENCODING, BODY_SIZE)


def test_a_gzip_of_several_members_and_zeros_is_one_body() -> None:
    """RFC 1952 allows them; tar and dd leave the zeros."""
    assert decode(gzip.compress(b"one") + gzip.compress(b"two") + b"\0" * 10, "gzip", LIMIT) == b"onetwo"


def test_a_zstd_of_several_frames_is_one_body() -> None:
    """RFC 8878 allows them."""
    assert decode(zstandard.compress(b"one") + zstd(b"two"), "zstd", LIMIT) == b"onetwo"


def test_a_zstd_that_needs_a_large_window_fails() -> None:
    """RFC 9659 allows 8 MB: a hundred connections with more would fill the memory."""
    parameters = zstandard.ZstdCompressionParameters(window_log=26)
    engine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert failure(engine.compress(b"a" * 1000) + engine.flush(), "zstd") == ENCODING


def test_the_limit_is_exact(encoder: tuple[str, Callable[[bytes], bytes]]) -> None:
    """As many bytes as allowed are fine, one more is too large."""
    wire, encode = encoder
    assert decode(encode(b"a" * 1000), wire, 1000) == b"a" * 1000
    assert failure(encode(b"a" * 1001), wire, 1000) == BODY_SIZE


@pytest.mark.parametrize("name", ENCODERS)
def test_a_bomb_takes_no_more_memory_than_the_limit_allows(name: str) -> None:
    """A hundred megabytes in a few kilobytes: decoding stops soon."""
    wire, encode = ENCODERS[name]
    bomb = encode(b"\0" * 100_000_000)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forgets the peak of making it
    before = peak_kb()
    assert failure(bomb, wire) == BODY_SIZE
    assert peak_kb() - before < 40_000


def test_a_gzip_bomb_within_a_gzip_stops_too() -> None:
    """The limit holds at each layer."""
    assert failure(gzip.compress(gzip.compress(b"\0" * 50_000_000)), "gzip, gzip") == BODY_SIZE
