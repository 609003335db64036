"""A load that can be read where it is planned, and not where its users live."""

from __future__ import annotations

import sys

from wasp_ray import VirtualUser

if "wasp_ray.runtime.placed_user" in sys.modules:
    raise OSError("no GPU on this host")


class Picky(VirtualUser):
    """Never gets so far."""

    def call(self) -> None:
        """Nothing."""
