"""What aiohttp can do with nothing around it: USERS tasks on uvloop that ask for URL for SECONDS; neither timed nor recorded."""

from __future__ import annotations

import asyncio
import json
import os
import time

import aiohttp
import uvloop


async def user(session: aiohttp.ClientSession, url: str, until: float) -> int:
    """Calls of one task."""
    made = 0
    while time.monotonic() < until:
        async with session.get(url) as answer:
            assert answer.status == 200
            await answer.read()
        made += 1
    return made


async def main() -> None:
    """Prints the calls as JSON."""
    users, until = int(os.environ["USERS"]), time.monotonic() + float(os.environ["SECONDS"])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=users)) as session:
        made = await asyncio.gather(*(user(session, os.environ["URL"], until) for _ in range(users)))
    print(json.dumps({"calls": sum(made)}))


if __name__ == "__main__":
    uvloop.run(main())
