"""Masks secret values in texts and objects that are printed, in whatever form a template or an encoder wrote them. Pure.

Objects are masked before they are written as YAML, so quoting and folding of the writer cannot hide a value. Within a text a
value is found plain, as a part ("Bearer TOKEN", user and password of a URL), line by line when it has several, quoted as JSON,
Go or YAML do, folded, percent-encoded, and in base64, alone or within a larger text that was encoded.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

import yaml

MASK: Final = "***"
SHORT: Final = 6
"""A shorter value is masked only where it stands alone: it would be found in every other word."""
LEAST: Final = 4
"""Shorter lines of a value with several, and shorter values within base64, are found by chance."""
LONG: Final = 10_000
"""Longer values are not looked for folded."""
DEPTH: Final = 3
"""Of base64 within base64, as in a login of a registry."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}(?:\r?\n[ \t]*[A-Za-z0-9+/_-]+)*={0,2}")
_GO_ESCAPED: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class Masker:
    """Masks the given values; empty ones are ignored."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = {secret for secret in secrets if secret}
        forms = {form for secret in self._secrets for form in _forms(secret)} - {""}
        by_length = sorted(forms, key=lambda form: (-len(form), form))
        self._plain = [form for form in by_length if len(form) >= SHORT]
        self._folded = [_folded(form) for form in self._plain if len(form) <= LONG and len(form.split()) > 1]
        self._alone = {form: _alone(form) for form in by_length if len(form) < SHORT}

    def tree(self, data: Any) -> Any:
        """Return an object without the values: in texts, in keys, and as numbers."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, Mapping):
            return {self.tree(key): self.tree(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.tree(value) for value in data]
        if isinstance(data, int | float) and not isinstance(data, bool) and self._is_secret_number(data):
            return MASK
        return data

    def text(self, text: str) -> str:
        """Return a text without the values."""
        return self._masked(text, 0)

    def _masked(self, text: str, depth: int) -> str:
        if not self._secrets:
            return text
        for form in self._plain:
            text = text.replace(form, MASK)
        for pattern in self._folded:
            text = pattern.sub(MASK, text)
        for form, pattern in self._alone.items():
            if not depth or len(form) >= LEAST:
                text = pattern.sub(MASK, text)
        return _BASE64.sub(lambda found: self._without_base64(found[0], depth), text) if depth < DEPTH else text

    def _without_base64(self, found: str, depth: int) -> str:
        """The whole of it, or line by line where lines were encoded one by one."""
        if self._encodes(found, depth):
            return MASK
        lines = found.split("\n")
        if len(lines) == 1:
            return found
        return "\n".join(MASK if self._encodes(line, depth) else line for line in lines)

    def _encodes(self, text: str, depth: int) -> bool:
        raw = "".join(text.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
        try:
            decoded = base64.b64decode(raw + "=" * (-len(raw) % 4)).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return False
        return self._masked(decoded, depth + 1) != decoded

    def _is_secret_number(self, number: float) -> bool:
        """A template that does not quote makes a number of "12345678" and of "1e3"."""
        return any(_number(secret) == number for secret in self._secrets)


def _forms(secret: str) -> Iterable[str]:
    """As encoders write it."""
    for text in (secret, secret.strip()):
        yield text
        plain_json, ascii_json = json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1]
        yield from (plain_json, ascii_json, _go_json(plain_json), _go_json(ascii_json))
        yield json.dumps(ascii_json)[1:-1]  # JSON within JSON
        yield from (text.replace("'", "''"), quote(text, safe="", errors="replace"))
        yield from (quote(text, errors="replace"), quote_plus(text, errors="replace"))
        if len(text) <= LONG:
            yield yaml.dump(text, default_style='"', width=float("inf")).strip()[1:-1]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(text.encode("utf-8", "surrogatepass")).decode()
            yield from (encoded, encoded.rstrip("="))
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= LEAST)


def _go_json(text: str) -> str:
    for char, escaped in _GO_ESCAPED.items():
        text = text.replace(char, escaped)
    return text


def _alone(form: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])")


def _folded(form: str) -> re.Pattern[str]:
    """With any whitespace, and the backslashes of a quoted YAML text, where it has some."""
    return re.compile(r"(?:\\?\s)+".join(re.escape(part) for part in form.split()))


def _number(text: str) -> float | None:
    for read in (lambda: int(text, 0), lambda: float(text)):
        try:
            return read()
        except ValueError:
            continue
    return None
