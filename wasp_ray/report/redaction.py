"""Masks values that look like secrets in results that leave the machine (JUnit XML, Markdown). Pure.

A value is masked when it is known to be a secret, when it has the form of one (a JWT, the token of a forge or cloud), or when a
name such as `password` or `Authorization` stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

MASK: Final = "***"
SHORT: Final = 6
"""A shorter known value is masked only where it stands alone: it would be found in every other word."""
LEAST: Final = 4
"""A shorter known value is not masked at all."""

_WORDS: Final = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|(?:api|access|private)[-_.]?key|credential|authorization|cookie"
)
_NAME: Final = re.compile(rf"(?:{_WORDS}|(?:^|[-_.])(?:key|auth|pass)$)", re.IGNORECASE)
# What stands before a name is never a part of these: a repetition in front of them takes quadratic time in long words.
_FORMS: Final = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, replacement, flags in (
        (r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)", MASK, 0),  # user:password of a URL
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)", MASK, re.DOTALL),
        (r"\b(bearer|basic)\s+(?=[\w.~+/=-]*[0-9=])[\w.~+/=-]{8,}", rf"\1 {MASK}", re.IGNORECASE),
        (r"\b((?:set-)?cookie|(?:proxy-)?authorization)(\s*:\s*)[^\r\n\"']+", rf"\1\2{MASK}", re.IGNORECASE),
        (rf"((?:{_WORDS})[\w.-]{{0,40}}=(?!=)[\"']?)[^\s\"'&,;)]+", rf"\1{MASK}", re.IGNORECASE),
        (rf"((?:{_WORDS})[\w.-]{{0,40}}[\"']\s*:\s*[\"']?)[^\s\"',}}]+", rf"\1{MASK}", re.IGNORECASE),
        (r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", MASK, 0),  # a JWT
        (
            r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|gl(?:pat|sa)[-_][\w-]{16,}|xox[a-z]-[\w-]{10,}"
            r"|(?:AKIA|ASIA)[0-9A-Z]{16}|sk-[\w-]{20,})",
            MASK,
            0,
        ),
    )
)


def is_secret_name(name: str) -> bool:
    """Whether a variable, parameter or label of this name is likely to hold a secret: `API_KEY`, `db.password`."""
    return bool(_NAME.search(name))


def secrets_of(variables: Mapping[str, Any]) -> list[str]:
    """Return the values whose names say that they are secrets."""
    return [str(value) for name, value in variables.items() if is_secret_name(name)]


class Redactor:
    """Masks the given values and everything that looks like a secret."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret.strip() for secret in secrets}, key=lambda secret: (-len(secret), secret))
        patterns = [
            re.escape(secret) if len(secret) >= SHORT else rf"(?<!\w){re.escape(secret)}(?!\w)"
            for secret in known
            if len(secret) >= LEAST
        ]
        self._known = re.compile("|".join(patterns)) if patterns else None

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern, replacement in _FORMS:
            text = pattern.sub(replacement, text)
        return text

    def tree(self, data: Any) -> Any:
        """Return a JSON-able value without secrets: in its texts, in its keys, and below keys that name a secret."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, Mapping):
            return {
                self.text(str(key)): MASK
                if isinstance(value, str) and value and is_secret_name(str(key))
                else self.tree(value)
                for key, value in data.items()
            }
        if isinstance(data, list | tuple):
            return [self.tree(value) for value in data]
        return data
