"""What may come of a request to a Kubernetes API instead of an answer, whoever makes it."""

from __future__ import annotations

from wasp_ray.errors import WaspError


class KubeError(WaspError):
    """What the API server answered, or that it did not. `status`: the HTTP status, 0 without an answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in (0, 429) or self.status >= 500

    @property
    def is_locked_out(self) -> bool:
        """The API server does not take these credentials."""
        return self.status == 401


class Gone(KubeError):
    """410: what was asked for is older than what the server remembers. List anew."""


def error_of(text: str, status: int) -> KubeError:
    """By its HTTP status; 0 without an answer."""
    if status == 401:
        text += "; the API server does not take these credentials, which may have expired: log in again"
    return Gone(text, status) if status == 410 else KubeError(f"{text} (HTTP {status})", status)
