"""Names the route of a request: what is particular to one call leaves its path. Pure."""

from __future__ import annotations

import re

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ID = re.compile(rf"(?:\d+|{_UUID}|[0-9a-fA-F]{{8,}})\Z", re.ASCII)


def route_of(path: str) -> str:
    """The path without query and fragment, each piece that is an id replaced by `{}`: /items/{}/reviews."""
    path = path.split("#", 1)[0].split("?", 1)[0]
    return "/".join("{}" if _ID.match(piece) else piece for piece in path.split("/")) or "/"
