"""Real servers for tests, each in a process of its own on a loopback port that it chose."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

STALL_FROM_S, STALL_S = 4.0, 1.0


@contextmanager
def serving(kind: str) -> Iterator[int]:
    """The port of a server: "stalling" (HTTP, stands still for a second) or "grpc" (echoes bytes)."""
    process = subprocess.Popen([sys.executable, __file__, kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


async def stalling() -> None:
    """Answers at once, but stands still from 4 s to 5 s after the first request."""
    from aiohttp import web

    first: list[float] = []

    async def answer(_request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        first.append(now) if not first else None
        into = now - first[0] - STALL_FROM_S
        if 0 <= into < STALL_S:
            await asyncio.sleep(STALL_S - into)
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    server: Any = site._server
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def grpc_echo() -> None:
    """One method, /test.Echo/Say, bytes in and out."""
    import grpc

    def say(request: bytes, _context: Any) -> bytes:
        return request

    handlers = {"Say": grpc.unary_unary_rpc_method_handler(say)}
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    if sys.argv[1] == "grpc":
        grpc_echo()
    else:
        asyncio.run(stalling())
