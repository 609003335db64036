"""The load of the life cycle's contract suite: its users ask a gate of the test before each step, and wait for its answer."""

import asyncio
import os
import socket
import time

from wasp_ray import Generator, Gun, Profile, VirtualUser, plain

GOING = 20
"""The call before which a user says that it is in the middle of its work."""


class Quick(Gun):
    """Waits a little."""

    async def call(self):
        await asyncio.sleep(0.002)


class Asking(VirtualUser):
    """One line a step: its name, node, user, pid; one byte back."""

    def setup(self):
        self.calls = 0
        self.gate = socket.create_connection(("127.0.0.1", self.context.params["gate"]))
        self.ask("setup")

    def call(self):
        self.calls += 1
        if self.calls == GOING:
            self.ask("going")
        time.sleep(0.005)

    def teardown(self):
        self.ask("teardown")
        self.gate.close()

    def ask(self, step):
        context = self.context
        self.gate.sendall(f"{step} {context.node_id} {context.user_id} {os.getpid()}\n".encode())
        if not self.gate.recv(1):
            raise ConnectionError("the test is over")


def load(gate: int, users: int = 2, seconds: float = 60):
    """A rate of 50 calls a second, and users that ask."""
    return Profile(
        Generator("quick", gun=Quick, schedule=plain(50, seconds)),
        Generator("asking", user=Asking, schedule=plain(users, seconds), params={"gate": gate}, teardown_timeout="60s"),
    )


def wrong(gate: int):
    """Two problems."""
    return Profile(
        Generator("asking", user=Asking, schedule=plain(2, 1), params={"gate": gate}, call_timeout="soon"),
        Generator("quick", gun=Quick, schedule=plain(-1, 1)),
    )


def refuse():
    """A setup that no node can do."""
    raise RuntimeError("no login for you")


def broken(gate: int):
    """Its nodes cannot be set up."""
    return Profile(Generator("asking", user=Asking, schedule=plain(2, 1), params={"gate": gate}), setup=refuse)
