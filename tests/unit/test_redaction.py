"""What looks like a secret is masked in results that travel, and ordinary text is left as it is."""

from __future__ import annotations

import pytest

from wasp_ray.report.redaction import Redactor, is_secret_name, secrets_of


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET https://me:s3cret@shop.example/a: HTTP 401", "GET https://***@shop.example/a: HTTP 401"),
        ("Authorization: Bearer abc.def-123", "Authorization: ***"),
        ("sent bearer eyJhbGciOi.JIUzI1NiJ9x", "sent bearer ***"),
        ("/login?user=me&password=hunter2&next=/", "/login?user=me&password=***&next=/"),
        ('{"user": "me", "api_key": "k-1", "n": 1}', '{"user": "me", "api_key": "***", "n": 1}'),
        ("'x-auth-token': 'abc', 'a': 1", "'x-auth-token': '***', 'a': 1"),
        ("Set-Cookie: sid=77; Path=/", "Set-Cookie: ***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sflKxw", "***"),
        ("push with ghp_abcdefghijklmnopqrstuvwxyz failed", "push with *** failed"),
        ("AKIAIOSFODNN7EXAMPLE is not allowed", "*** is not allowed"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- rest", "*** rest"),
        ("DB_PASSWORD=x1; A=2", "DB_PASSWORD=***; A=2"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_masked(text: str, masked: str) -> None:
    """Its surroundings stay readable."""
    assert Redactor().text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "failed of token == 0", "token: no call succeeded", "p99(response) of search/secret < 300ms", "count(api_key)>=3",
        "Basic authentication failed", "checkout/pay: HTTP 401 Unauthorized", "time 12:30:01, user@shop.example",
        "http://shop.example:8080/a?page=2", "the password is wrong",
    ],
)  # fmt: skip
def test_ordinary_text_stays(text: str) -> None:
    """Words such as token and password alone hide nothing."""
    assert Redactor().text(text) == text


def test_known_values_are_masked() -> None:
    """Long ones everywhere, short ones where they stand alone, the shortest never: they would be found by chance."""
    redactor = Redactor(["hunter22", "hunter", "abcd", "7", ""])
    assert redactor.text("xhunter22x hunter abcd abcde 7") == "x***x *** *** abcde 7"


def test_trees_are_masked_in_keys_and_below_names_of_secrets() -> None:
    """Numbers stay, as does what is no text."""
    tree = {"token": "short", "n": 7, "list": ["hunter22"], "hunter22": {"password": ""}, "none": None}
    assert Redactor(["hunter22"]).tree(tree) == {
        "token": "***", "n": 7, "list": ["***"], "***": {"password": ""}, "none": None,
    }  # fmt: skip


def test_names_of_secrets() -> None:
    """As variables, parameters and labels are called."""
    secret = ["API_KEY", "DB_PASSWORD", "token", "x-api-key", "aws.secret", "SSH_KEY", "auth"]
    plain = ["USERS", "KEYBOARD", "author", "monkey", "passed", "url"]
    assert [name for name in [*secret, *plain] if is_secret_name(name)] == secret
    assert secrets_of({"API_KEY": "k", "USERS": "5"}) == ["k"]


@pytest.mark.parametrize(
    "part", ["w", "token", "token=", "a.b-", "://", "bearer ", "-----BEGIN ", "eyJ", "cookie:", "'"]
)
def test_long_texts_take_linear_time(part: str) -> None:
    """A response body of megabytes in an error does not hold up the end of a run: quadratic time would exceed the test's limit."""
    assert len(Redactor(["hunter22"]).text(part * (2_000_000 // len(part)))) > 0
