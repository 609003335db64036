"""A real web server in a process of its own, with routes that are good, slow or wrong: `with web_server() as base:`.

`GET /counts` tells how often each path was asked for.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

BIG = 300_000
SLOW_S = 30.0
WRONG = {
    "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789",
    "/malformed": b"HTTP/1.1 twohundred\r\n\r\n",
    "/huge-head": b"HTTP/1.1 200 OK\r\nX-Long: " + 100_000 * b"x" + b"\r\nContent-Length: 0\r\n\r\n",
    "/bad-gzip": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!",
    "/closed": b"",
}
counts: Counter[str] = Counter()


@contextmanager
def web_server(tls: Path | None = None) -> Iterator[str]:
    """Its base URL. `tls`: folder with server.pem and server.key."""
    command = [sys.executable, __file__, *([str(tls)] if tls else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def counted(base: str) -> dict[str, int]:
    """By path, so far."""
    with urllib.request.urlopen(f"{base}/counts") as answer:
        found: dict[str, int] = json.load(answer)
    return found


@web.middleware
async def _count(request: web.Request, handler: Callable[..., Any]) -> Any:
    if request.path != "/counts":
        counts[request.path] += 1
    return await handler(request)


async def _counts(_request: web.Request) -> web.Response:
    return web.json_response(counts)


async def _status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["code"]), text="as asked")


async def _item(request: web.Request) -> web.Response:
    return web.json_response({"id": request.match_info["id"]})


async def _hop(request: web.Request) -> web.Response:
    left = int(request.match_info["left"])
    return web.json_response({"left": 0}) if left == 0 else web.HTTPFound(f"/hop/{left - 1}")


async def _to(request: web.Request) -> web.Response:
    return web.HTTPFound(request.query["url"])


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    return web.json_response({"headers": dict(request.headers), "cookies": dict(request.cookies), "size": len(body)})


async def _cookie(_request: web.Request) -> web.Response:
    answer = web.Response(text="ok")
    answer.set_cookie("basket", "17")
    return answer


async def _big(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(30):
        await answer.write(BIG // 30 * b"x")
        await asyncio.sleep(0.001)
    return answer


async def _drip(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(int(SLOW_S / 0.02)):
        await answer.write(b"x")
        await asyncio.sleep(0.02)
    return answer


async def _slow(_request: web.Request) -> web.Response:
    await asyncio.sleep(SLOW_S)
    return web.Response(text="late")


async def _wrong(request: web.Request) -> web.StreamResponse:
    assert isinstance(request.transport, asyncio.Transport)
    request.transport.write(WRONG[request.path])
    request.transport.close()
    return web.Response()


async def _reset(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()


async def _upload(request: web.Request) -> web.Response:
    sizes: dict[str, int] = {}
    reader = await request.multipart()
    async for part in reader:
        assert isinstance(part, BodyPartReader) and part.name is not None
        sizes[part.name] = len(await part.read())
    return web.json_response(sizes)


async def _talk(request: web.Request) -> web.WebSocketResponse:
    socket_ = web.WebSocketResponse()
    await socket_.prepare(request)
    async for message in socket_:
        await socket_.send_str(message.data)
    return socket_


async def main() -> None:
    """Prints its port and serves until it is ended."""
    import ssl

    app = web.Application(middlewares=[_count])
    app.router.add_get("/counts", _counts)
    app.router.add_get("/status/{code}", _status)
    app.router.add_get("/items/{id}", _item)
    app.router.add_get("/hop/{left}", _hop)
    app.router.add_get("/ws", _talk)
    for path, handler in {"/to": _to, "/echo": _echo, "/cookie": _cookie, "/big": _big, "/drip": _drip}.items():
        app.router.add_route("*", path, handler)
    for path in WRONG:
        app.router.add_get(path, _wrong)
    app.router.add_get("/slow", _slow)
    app.router.add_get("/reset", _reset)
    app.router.add_post("/upload", _upload)
    context = None
    if len(sys.argv) > 1:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(Path(sys.argv[1], "server.pem"), Path(sys.argv[1], "server.key"))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=1024)
    await site.start()
    server: Any = site._server
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
