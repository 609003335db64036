"""Credentials for servers of results: from the environment and from nowhere else, into headers and into no message."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from wasp_ray.errors import WaspError


def authorization_of(prefix: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The header Authorization from PREFIX_TOKEN (bearer) or PREFIX_BASIC_AUTH (user:password); none when neither is set.

    Raises WaspError when both are, or one cannot stand in a header.
    """
    names = f"{prefix}_TOKEN", f"{prefix}_BASIC_AUTH"
    token, basic = (environment.get(name, "") for name in names)
    if token and basic:
        raise WaspError(f"expected {names[0]} or {names[1]}, found both: leave one out")
    if any(not char.isprintable() for char in token + basic):
        raise WaspError(f"{names[0]} or {names[1]} holds a line end or another control character: remove it")
    if token:
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": f"Basic {b64encode(basic.encode()).decode()}"} if basic else {}
