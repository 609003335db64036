"""The profile that a load message names, in whatever process runs its users."""

from __future__ import annotations

import base64
from typing import Any

from wasp_ray.load.locate import load_file, loads_profile
from wasp_ray.wire.channel import Message


def find_profile(message: Message) -> Any:
    """Imports the load file, or takes up what was pickled. Raises LoadFileError."""
    if message.get("pickle"):
        return loads_profile(base64.b64decode(message["pickle"]))
    return load_file(message["file"], message.get("params") or {})
