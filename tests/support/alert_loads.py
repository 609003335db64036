"""Users that break what they load: importable by fresh processes."""

from __future__ import annotations

import time
import urllib.request

from wasp_ray import VirtualUser


class Breaks(VirtualUser):
    """Posts to params["url"] at its call number params["at"]."""

    calls = 0

    def call(self) -> None:
        """One call each 50 ms."""
        self.calls += 1
        if self.calls == self.context.params["at"]:
            with urllib.request.urlopen(self.context.params["url"], data=b""):
                pass
        time.sleep(0.05)
