"""A real HTTP/2 server in a process of its own, without TLS (clients know beforehand): `with http2_server() as base:`."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

SLOW_S = 30.0
Send = Callable[[dict[str, Any]], Awaitable[None]]


@contextmanager
def http2_server() -> Iterator[str]:
    """Its base URL."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


async def application(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
    """Answers by the path; refuses to speak HTTP/1.1."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        event = await receive()
        size, more = size + len(event.get("body", b"")), event.get("more_body", False)
    assert scope["http_version"] == "2"
    first, _, rest = scope["path"].lstrip("/").partition("/")
    if first == "slow":
        await asyncio.sleep(SLOW_S)
    if first == "big":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(30):
            await send({"type": "http.response.body", "body": 10_000 * b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    status, headers = int(rest) if first == "status" else 200, [(b"content-type", b"application/json")]
    if first == "hop" and rest != "0":
        status = 302
        headers.append((b"location", f"/hop/{int(rest) - 1}".encode()))
    body = json.dumps({"id": rest} if first == "items" else {"size": size}).encode()
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def main() -> None:
    """Prints its port and serves until it is ended."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(100)
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.loglevel = "CRITICAL"
    print(listening.getsockname()[1], flush=True)
    await serve(application, config)  # type: ignore[arg-type]


if __name__ == "__main__":
    asyncio.run(main())
