"""No form in which a template, an encoder or a person writes a secret value is shown; everything else is."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wasp_ray.cluster.masking import MASK, Masker
from wasp_ray.cluster.values import Values
from wasp_ray.cluster.yaml_text import to_yaml

TOKEN = "glc_8f3a\"'\\<&é😀-end"
PHRASE = "correct horse battery staple"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nq7Yb3mXe9sQz41aabbccdd\n-----END KEY-----\n"


def b64(text: str) -> str:
    """As Kubernetes has it."""
    return base64.b64encode(text.encode()).decode()


def go_json(text: str) -> str:
    """As Go writes a text into JSON."""
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    return quoted.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


LOGIN = json.dumps({"auths": {"r.example": {"username": "robot", "password": TOKEN, "auth": b64(f"robot:{TOKEN}")}}})
WRITTEN = {
    "plain": TOKEN,
    "as a part": f"Bearer {TOKEN}",
    "in a URL": f"https://me:{quote(TOKEN, safe='')}@loki.example/push?x=1",
    "as JSON": json.dumps({"token": TOKEN}),
    "as JSON of Go": f'{{"token":"{go_json(TOKEN)}"}}',
    "as JSON within JSON": json.dumps(json.dumps({"token": TOKEN})),
    "as YAML": yaml.dump({"token": TOKEN}),
    "as YAML in single quotes": yaml.dump({"token": TOKEN}, default_style="'", allow_unicode=True),
    "as YAML in double quotes": yaml.dump({"token": TOKEN}, default_style='"'),
    "in base64": b64(TOKEN),
    "in base64 for URLs": base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("="),
    "within base64": f"Authorization: Basic {b64('me:' + TOKEN)}",
    "within base64 of another length": b64("you:" + TOKEN + ":x"),
    "within base64 in lines": base64.encodebytes(f"a long text {'x' * 90} before {TOKEN}".encode()).decode(),
    "within base64 within base64": b64(LOGIN),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_value_is_masked_however_it_is_written(how: str) -> None:
    """Together with what it is encoded with, and without the texts around it."""
    found = Masker([TOKEN]).text(f"before: {WRITTEN[how]} after")
    assert MASK in found and found.startswith("before: ") and found.endswith(" after")
    for form in (TOKEN, b64(TOKEN)[:-4], go_json(TOKEN), quote(TOKEN, safe=""), "8f3a", b64(f"robot:{TOKEN}")[8:-4]):
        assert form not in found, found


@pytest.mark.parametrize("width", [10, 20, 80])
def test_a_value_that_a_writer_folded_is_masked(width: int) -> None:
    """At any of its blanks, plain and quoted."""
    for style in (None, '"', "'", ">"):
        text = yaml.dump({"data": f"prefix {PHRASE} suffix"}, default_style=style, width=width, indent=4)
        found = Masker([PHRASE]).text(text)
        assert not any(word in found for word in PHRASE.split()), found


def test_each_line_of_a_value_with_several_is_masked() -> None:
    """Indented, as `nindent` writes a key into a text."""
    found = Masker([KEY]).text("tls.key: |\n" + "".join(f"    {line}\n" for line in KEY.splitlines()))
    assert found == "tls.key: |\n" + f"    {MASK}\n" * 4
    assert Masker([KEY]).text(json.dumps({"key": KEY})) == '{"key": "***"}'


def test_texts_keys_and_numbers_of_an_object_are_masked() -> None:
    """Wherever they are; what is no secret keeps its kind."""
    tree = {"a": [f"x{TOKEN}", {TOKEN: 1}], "port": 12345678, "exp": 1000.0, "n": 12, "on": True, "none": None}
    assert Masker([TOKEN, "12345678", "1e3"]).tree(tree) == {
        "a": ["x***", {MASK: 1}], "port": MASK, "exp": MASK, "n": 12, "on": True, "none": None,
    }  # fmt: skip


def test_a_short_value_is_masked_where_it_stands_alone() -> None:
    """Not within other words, or nothing could be read any more."""
    found = Masker(["k", "abc"]).text("kind: Job, key=k, url: http://abc@host, abcd, " + b64("abc"))
    assert found == f"kind: Job, key={MASK}, url: http://{MASK}@host, abcd, {MASK}"


def test_without_secrets_nothing_is_changed() -> None:
    """Empty ones are none, and one of blanks is no reason to hide everything."""
    assert Masker([" " * 8, "\n"]).text("a: b c") == "a: b c"
    text = f"image: registry.example/load@sha256:{'0a1b' * 16}"
    assert Masker([""]).text(text) == Masker([TOKEN]).text(text) == text


@settings(deadline=None)
@given(st.text(min_size=6, max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_no_text_hides_a_value(secret: str, before: str, after: str) -> None:
    """Plain, as JSON, in base64; the YAML of the masked object does not show it either."""
    masker = Masker([secret])
    part = before + secret + after
    tree: dict[str, Any] = {"plain": part, "json": json.dumps([part]), "b64": base64.b64encode(part.encode()).decode()}
    masked = masker.tree(tree)
    assert secret not in masked["plain"] and MASK in masked["plain"]
    assert json.dumps(secret)[1:-1] not in masked["json"]
    if secret.strip():
        assert base64.b64encode(part.encode()).decode() not in masked["b64"]
    assert yaml.safe_load(to_yaml([masked])) == masked


def test_a_password_is_a_secret_without_its_user() -> None:
    """A chart may take them apart."""
    values = Values.of({"env.loki.basicAuth": "me:pass-word-7", "secretEnv": {"A": "one"}})
    assert values.secret_texts() == {"me:pass-word-7", "pass-word-7", "one"}
