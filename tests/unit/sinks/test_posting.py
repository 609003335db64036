"""What a status means for all sinks that post, and how it is told."""

from __future__ import annotations

import pytest

from wasp_ray.sinks.posting import NO_ANSWER, NOT_SENT, Posted, is_final, reason_of, stored_nothing


def test_only_400_and_413_are_final() -> None:
    """They are about the content of the request; every other status may end with a deployment, a URL or a token set right."""
    assert [status for status in (NOT_SENT, NO_ANSWER, *range(100, 600)) if is_final(status)] == [400, 413]
    assert [status for status in range(300, 600) if reason_of(status) == "rejected"] == [400, 413]


def test_a_redirect_is_told_with_its_cure() -> None:
    """Its Location is not: it may have a token in it."""
    told = Posted(302, b"<html>moved</html>", {"Location": "https://sso.test/?token=s3cret"}).said("http://loki.test")
    assert told == "the server redirects (HTTP 302); set the final URL"


@pytest.mark.parametrize(
    ("status", "is_sure"),
    [
        *((status, True) for status in (NOT_SENT, 302, 401, 404, 413, 421, 429)),
        *((status, False) for status in (NO_ANSWER, 204, 400, 408, 500, 503)),
    ],
)
def test_nothing_was_stored_only_where_that_is_sure(status: int, is_sure: bool) -> None:
    """400 stores a part, 408 may come from a proxy whose server has it, 5xx from a server that failed afterwards."""
    assert stored_nothing(status) is is_sure
