"""Users that talk over websockets: connected in setup, each message and its answer timed as a group.

TARGET_URL=https://your.server wasp run examples/websocket.py; without it each user talks to a server of its own.
"""

import os

from aiohttp import web

from wasp_ray import Generator, Profile, VirtualUser, plain


class Chatter(VirtualUser):
    server = None

    async def setup(self):
        base = os.environ.get("TARGET_URL") or await self.own_server()
        session = self.context.aiohttp(base, timeout="5s")
        self.talk = await session.ws_connect("/chat")  # recorded as `GET /chat`
        self.sent = 0

    async def call(self):
        self.sent += 1
        with self.group("message") as message:
            await self.talk.send_json({"number": self.sent})
            answer = await self.talk.receive_json(timeout=5)
            if answer["number"] != self.sent:
                message.fail("another answer")

    async def teardown(self):
        await self.talk.close()
        if self.server is not None:
            await self.server.cleanup()

    async def own_server(self):
        app = web.Application()
        app.router.add_get("/chat", echo)
        self.server = web.AppRunner(app, access_log=None)
        await self.server.setup()
        await web.TCPSite(self.server, "127.0.0.1", 0).start()
        host, port = self.server.addresses[0]
        return f"http://{host}:{port}"


async def echo(request):
    talk = web.WebSocketResponse()
    await talk.prepare(request)
    async for message in talk:
        await talk.send_str(message.data)
    return talk


profile = Profile(
    Generator("chat", user=Chatter, schedule=plain(20, "3s"), users_per_process=10, think_time="20ms"),
    thresholds=["failed of chat/message == 0", "failed of chat/GET /chat == 0", "p99 of chat/message < 1s"],
)
