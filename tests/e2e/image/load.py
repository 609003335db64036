"""Loads of end-to-end tests: each is a profile function; users reach TARGET_URL where they need a target."""

import asyncio
import hashlib
import os
import time

import aiohttp

from wasp_ray import AlertCheck, Generator, Gun, Profile, VirtualUser, csv, plain


class Get(Gun):
    """GET /search of the target."""

    async def setup(self):
        self.session = aiohttp.ClientSession(os.environ["TARGET_URL"])

    async def call(self):
        async with self.session.get("/search?q=wasp") as answer:
            await answer.read()

    async def teardown(self):
        await self.session.close()


class Quick(Gun):
    """Waits a little."""

    async def call(self):
        await asyncio.sleep(0.002)


class Slow(Gun):
    """Takes its time to be set up."""

    async def setup(self):
        await asyncio.sleep(20)

    async def call(self):
        return None


class Hasher(VirtualUser):
    """Some CPU a call."""

    def setup(self):
        print("hello from node", self.context.node_id, "of", self.context.nodes, flush=True)

    def call(self):
        with self.group("hash"):
            hashlib.pbkdf2_hmac("sha256", b"s", b"t", 3000)


class Person(VirtualUser):
    """A row of the file in the image a call, each row once over all nodes."""

    def call(self):
        self.count(self.context.feed("people")["name"])
        time.sleep(0.005)


class Hungry(VirtualUser):
    """Takes memory until the kernel objects, on node 1."""

    def call(self):
        if self.context.node_id == 1:
            self.kept = [*getattr(self, "kept", []), b"x" * 50000000]
        time.sleep(0.05)


class Secretive(VirtualUser):
    """Has the secrets of which it knows the hashes, and does not tell them."""

    def call(self):
        assert hashlib.sha256(os.environ["API_KEY"].encode()).hexdigest() == os.environ["API_KEY_SHA256"]
        for name in ("LOKI_TOKEN", "LOKI_BASIC_AUTH"):
            wanted = os.environ.get(f"{name}_SHA256")
            assert wanted in (None, hashlib.sha256(os.environ.get(name, "").encode()).hexdigest())
        time.sleep(0.02)


class Broken(VirtualUser):
    """Cannot be set up."""

    def setup(self):
        raise RuntimeError("no login for you")

    def call(self):
        return None


def quick(rate: float = 100, seconds: float = 3, users: int = 4):
    """A rate for 4 s at most and some users for all the time, no target.

    A busy machine makes a run invalid by five seconds of calls that start late: there are never so many.
    """
    return Profile(
        Generator("quick", gun=Quick, schedule=plain(rate, min(seconds, 4))),
        Generator("hasher", user=Hasher, schedule=plain(users, seconds), think_time="50ms"),
        thresholds=["p99(response) of quick < 5s"],
    )


def light(rate: float = 20, seconds: float = 4):
    """Next to nothing, so that many runs go beside each other."""
    return Profile(Generator("light", gun=Quick, schedule=plain(rate, seconds)))


def watched(rate: float = 20, seconds: float = 4):
    """With a requirement that alert rules of a Grafana watch."""
    check = AlertCheck(labels={"requirement_name": "baseline"})
    return Profile(Generator("light", gun=Quick, schedule=plain(rate, seconds)), thresholds=[check])


def slow():
    """A setup that is long enough to be disturbed."""
    return Profile(Generator("slow", gun=Slow, schedule=plain(20, 4)))


def http(rate: float = 200, seconds: float = 4):
    """A rate against the target."""
    return Profile(Generator("get", gun=Get, schedule=plain(rate, seconds)), thresholds=["failed < 20%"])


def people():
    """Test data from the image."""
    feeders = {"people": csv("people.csv")}
    return Profile(Generator("person", user=Person, schedule=plain(4, "30s"), feeders=feeders))


def hungry(seconds: float = 60):
    """One node runs out of memory."""
    return Profile(Generator("hungry", user=Hungry, schedule=plain(2, seconds)))


def secretive(seconds: float = 2):
    """A secret in the environment."""
    return Profile(Generator("s", user=Secretive, schedule=plain(2, seconds)))


def broken():
    """An error in setup."""
    return Profile(Generator("b", user=Broken, schedule=plain(2, "5s")))


profile = quick()
