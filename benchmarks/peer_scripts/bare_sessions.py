"""What a library does with nothing around it: USERS loops that ask for URL for SECONDS; neither timed nor recorded.

KIND `requests`: a process each, as users have; `http2`: tasks on uvloop, with a client each.
"""

from __future__ import annotations

import asyncio
import os
import time


def requests_loop(url: str, until: float) -> None:
    """One process."""
    import requests

    session = requests.Session()
    while time.monotonic() < until:
        session.get(url)


def requests_processes(users: int, url: str, until: float) -> None:
    """Forked, so that the import is paid once."""
    import requests  # noqa: F401

    children = []
    for _ in range(users):
        child = os.fork()
        if child == 0:
            requests_loop(url, until)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


async def http2_loop(url: str, until: float) -> None:
    """One task."""
    import httpx2

    async with httpx2.AsyncClient(http1=False, http2=True) as client:
        while time.monotonic() < until:
            await client.get(url)


async def http2_tasks(users: int, url: str, until: float) -> None:
    """On one loop."""
    await asyncio.gather(*(http2_loop(url, until) for _ in range(users)))


def main() -> None:
    """By the environment."""
    users, url, until = int(os.environ["USERS"]), os.environ["URL"], time.monotonic() + float(os.environ["SECONDS"])
    if os.environ["KIND"] == "requests":
        requests_processes(users, url, until)
    else:
        import uvloop

        uvloop.run(http2_tasks(users, url, until))


if __name__ == "__main__":
    main()
