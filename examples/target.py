"""A web server to put load on: realistic latencies, some errors, a slow route. Prints its URL; ends with its stdin.

python examples/target.py
"""

import asyncio
import random
import sys

from aiohttp import web

P50_S, SPREAD = 0.008, 0.5  # log-normal: half of the answers within 8 ms, one in a hundred over 25 ms
ERROR_SHARE = 0.005
SLOW_S = 0.4
random_stream = random.Random(7)


async def search(request: web.Request) -> web.Response:
    """Usually quick, sometimes an error."""
    await asyncio.sleep(min(1.0, P50_S * random_stream.lognormvariate(0, SPREAD)))
    if random_stream.random() < ERROR_SHARE:
        return web.json_response({"error": "try again"}, status=500)
    return web.json_response({"query": request.query.get("q", ""), "hits": list(range(20))})


async def slow(request: web.Request) -> web.Response:
    """A report that takes its time."""
    await asyncio.sleep(SLOW_S)
    return web.json_response({"report": "done"})


async def health(request: web.Request) -> web.Response:
    """Up."""
    return web.Response(text="ok")


async def until_stdin_ends() -> None:
    """Returns when the starter is gone."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def main() -> None:
    """Serves on a free port of the loopback interface."""
    app = web.Application()
    app.add_routes([web.get("/search", search), web.get("/slow", slow), web.get("/health", health)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    port = runner.addresses[0][1]
    print(f"http://127.0.0.1:{port}", flush=True)
    await until_stdin_ends()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
