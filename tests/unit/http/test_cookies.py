"""The cookies of one client: as a browser keeps and sends them, and never too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.http_judged import Judged
from support.http_requests import sent

from wasp_ray.http.cookies import MAX_COOKIES, Jar

URL = "http://shop.test/"


def names(jar: Jar, url: str = URL) -> list[str]:
    """What would be sent, by name."""
    return sorted(pair.partition("=")[0] for pair in jar.header(url).split("; ") if pair)


def test_cookies_are_sent_where_they_belong() -> None:
    """By domain, path and Secure."""
    jar = Jar({}, "shop.test")
    jar.take("http://www.shop.test/", ["host=1", "wide=1; Domain=shop.test", "deep=1; Path=/deep", "safe=1; Secure"])
    assert names(jar, "http://www.shop.test/") == ["host", "wide"]
    assert names(jar, "http://www.shop.test/deep/er") == ["deep", "host", "wide"]
    assert names(jar, "https://www.shop.test/") == ["host", "safe", "wide"]
    assert names(jar, "http://api.shop.test/") == ["wide"]
    assert names(jar, "http://other.test/") == []


def test_cookies_of_strangers_are_not_kept() -> None:
    """A server speaks for its own domain only."""
    jar = Jar({}, "shop.test")
    jar.take(URL, ["a=1; Domain=other.test", "b=1; Domain=.test", "c=1; Domain=evilshop.test"])
    assert not any(names(jar, url) for url in (URL, "http://other.test/", "http://evilshop.test/", "http://any.test/"))


def test_cookies_end() -> None:
    """By Max-Age or a date in the past, or another value."""
    jar = Jar({}, "shop.test")
    jar.take(URL, ["a=1", "b=1; Max-Age=1000", "c=1"])
    assert not jar.is_lasting
    jar.take(URL, ["a=2", "b=; Max-Age=0", "c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"])
    assert jar.header(URL) == "a=2" and jar.is_lasting


def test_first_cookies_are_sent_to_each_kind_of_host() -> None:
    """Names with and without a dot, addresses of both families."""
    for host, url in [
        ("shop.test", "http://shop.test:8080/x"),
        ("localhost", "http://localhost:8080/x"),
        ("127.0.0.1", "http://127.0.0.1:8080/x"),
        ("::1", "http://[::1]:8080/x"),
        ("::1", "http://[::1]/x"),
        ("::ffff:127.0.0.1", "http://[::ffff:127.0.0.1]:8080/"),
    ]:
        jar = Jar({"a": "1"}, host)
        assert jar.header(url) == "a=1", host
        jar.take(url, ["b=2"])
        assert names(jar, url) == ["a", "b"], host
        assert jar.header("http://other.test/") == ""


def test_so_many_cookies_are_kept_only() -> None:
    """A server that sets a new one each time does not fill the memory; the newest stay."""
    jar = Jar({}, "shop.test")
    for number in range(MAX_COOKIES + 50):
        jar.take(URL, [f"c{number}=1"])
    kept = names(jar)
    assert len(kept) == MAX_COOKIES and f"c{MAX_COOKIES + 49}" in kept and "c0" not in kept


def test_each_client_has_its_own() -> None:
    """Users are not each other."""
    one, other = Judged(), Judged()
    one.final(200, "Set-Cookie: s=1")
    one.ask("GET", "/")
    other.ask("GET", "/")
    assert sent(one.talk.request).one("cookie") == "s=1" and sent(other.talk.request).all("cookie") == []


def test_cookies_of_failed_answers_and_redirects_are_kept_too() -> None:
    """As browsers do."""
    judged = Judged(redirects=2)
    assert judged.answer(302, "Location: /x", "Set-Cookie: a=1") is None
    judged.final(401, "Set-Cookie: b=2")
    judged.ask("GET", "/")
    assert sorted(sent(judged.talk.request).one("cookie").split("; ")) == ["a=1", "b=2"]


@given(
    values=st.lists(
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60), max_size=5
    )
)
def test_any_set_cookie_leaves_the_client_able_to_send(values: list[str]) -> None:
    """Whatever a server sets, the next request is one request."""
    judged = Judged()
    judged.client._jar.take(URL, values)
    judged.ask("GET", "/")
    assert len(sent(judged.talk.request).all("cookie")) <= 1
