"""Where a path below the base URL leads: the target to send and the route to record, with the values of a template. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from wasp_ray.errors import BadInput
from wasp_ray.http.routes import route_of

PATH_SAFE = "/%:@!$&'()*+,;=~-._"
TARGET_SAFE = PATH_SAFE + "?[]"
FIELD = re.compile(r"\{(\w+)\}")


class Place(NamedTuple):
    """`pieces` of the quoted target, with the values of `names` between them."""

    pieces: tuple[str, ...]
    names: tuple[str, ...]
    route: str

    def target(self, values: Mapping[str, Any] | None) -> str:
        """What is asked for. Raises BadInput when a value is missing."""
        found = self.pieces[0]
        if values is not None:
            for name, piece in zip(self.names, self.pieces[1:], strict=True):
                found += quoted_value(values, name) + piece
        return found


def place_of(prefix: str, path: str, is_template: bool) -> Place:
    """Of a path that is empty or begins with /, below the base URL's own."""
    if not is_template:
        target = quote(prefix + path, safe=TARGET_SAFE) or "/"
        return Place((target,), (), route_of(target))
    first, *rest = FIELD.split(prefix + path or "/")  # text, name, text, name, ..., text
    pieces = tuple(quote(piece, safe=TARGET_SAFE) for piece in (first, *rest[1::2]))
    return Place(pieces, tuple(rest[::2]), (prefix + path).split("?", 1)[0] or "/")


def quoted_value(values: Mapping[str, Any], name: str) -> str:
    """The value of a template's name as one piece of a path. Raises BadInput when there is none."""
    if name not in values:
        raise BadInput(f"path={{...}}: the template has {{{name}}}, for which there is no value")
    text = str(values[name])
    return text if text.isalnum() and text.isascii() else quote(text, safe="")
