"""Users that are Ray actors, beside the node whose they are: starts an actor for each process that the node asks for."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from wasp_ray.cluster.ray_api import ActorAway, ActorGone, answer, end_actor, place_user, ready
from wasp_ray.wire.channel import ChannelClosed, Message, channel_pair

TURN_S = 0.1
WAITING = 1024


class RayUsers:
    """In a node's actor. `fds` are for the node, `begin` once it has them. `amounts`: by Generator, what each user asks for in
    place `index` of the `group`; `env`: variables of the run.
    """

    def __init__(
        self, group: Any, index: int, amounts: Mapping[str, Mapping[str, float]], env: Mapping[str, str]
    ) -> None:
        self._group, self._index, self._amounts, self._env = group, index, amounts, dict(env)
        self._address = f"\0wasp-{secrets.token_hex(16)}"  # no file of it is left behind; the node looks who comes
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._address)
        listener.listen(WAITING)
        self._channel, theirs = channel_pair()
        self.fds = [theirs.detach(), listener.detach()]
        self._actors: dict[tuple[int, ...], Any] = {}
        self._refs: dict[Any, tuple[int, ...]] = {}
        self._thread = threading.Thread(target=self._serve, name="wasp-users", daemon=True)

    def begin(self) -> None:
        """The node has the descriptors."""
        for fd in self.fds:
            os.close(fd)
        self._thread.start()

    def close(self) -> None:
        """After the node's end: no user is left."""
        self._channel.closed = True
        self._thread.join(10 * TURN_S)
        for actor in self._actors.values():
            end_actor(actor)

    def _serve(self) -> None:
        while not self._channel.closed:
            for message in self._channel.wait(TURN_S):
                self._obey(message)
            for ref in ready(self._refs, 0):
                self._hear(ref)

    def _obey(self, message: Message) -> None:
        name = tuple(message["name"])
        if message["op"] == "start":
            try:
                actor = self._actors[name] = place_user(self._group, self._index, self._amounts[str(name[0])])
                self._refs[actor.live.remote(self._address, list(name), self._env)] = name
            except ActorGone as exc:
                self._gone(name, exc)
        elif name in self._actors:
            end_actor(self._actors.pop(name))

    def _hear(self, ref: Any) -> None:
        """Why an actor will not come, or went without being told to; one that is done is told to go by its node."""
        name = self._refs.pop(ref)
        try:
            answer(ref)
        except (ActorAway, ActorGone) as exc:
            if name in self._actors:
                end_actor(self._actors.pop(name))
            self._gone(name, exc)

    def _gone(self, name: tuple[int, ...], why: Exception) -> None:
        with suppress(ChannelClosed):
            self._channel.send({"op": "gone", "name": list(name), "why": str(why)})
