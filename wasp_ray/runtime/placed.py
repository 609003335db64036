"""Workers as processes that another engine places and starts: this one asks for them, and each comes and asks what to do.

A worker is what connects to the node's socket with the name it was asked for by; it is given the node's memory and pipes along
with its orders. While it lives its connection does, and the reverse: nothing depends on being its parent.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.runtime.fleet import UNKNOWN_END
from wasp_ray.runtime.worker_backend import Exit, Standstill, WorkerKey
from wasp_ray.wire.channel import Channel, ChannelClosed, Message
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.spec import WorkerSpec

ANSWER_S = 5.0
"""A process that does not read its orders for so long is not let hold up the others."""
MAX_UNEXPLAINED = 1000
_END_ALL_NS = 5_000_000_000
_TURN_MS = 10


@dataclass(slots=True)
class _Placed:
    """A worker that was asked for."""

    spec: WorkerSpec
    name: list[int]
    channel: Channel | None = None
    pidfd: int = -1
    wake_fd: int = -1
    pid: int = 0
    status: int = UNKNOWN_END
    cpu_s: float = 0.0
    rss: int = 0


class PlacedBackend:
    """See WorkerBackend. `placer`: starts the processes; it is sent "start" and "end" of each name, and sends "gone" and why.
    `orders`: what else a worker's process needs, with the descriptors.
    """

    def __init__(
        self, placer: Channel, listener: socket.socket, orders: Callable[[WorkerSpec], tuple[Message, list[int]]]
    ) -> None:
        self._placer, self._listener, self._orders = placer, listener, orders
        listener.setblocking(False)
        self._placed: dict[WorkerKey, _Placed] = {}
        self._new: dict[int, Channel] = {}
        self._unexplained: dict[tuple[int, ...], WorkerSpec] = {}
        self._by_fd: dict[int, WorkerKey] = {}
        self._ended: list[Exit] = []
        self._epoll = select.epoll()
        for end in (placer, listener):
            self._epoll.register(end, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when `reap` has something to do."""
        return self._epoll.fileno()

    @property
    def fds(self) -> list[int]:
        """What no fork may hold."""
        mine = [fd for placed in self._placed.values() for fd in (placed.pidfd, placed.wake_fd) if fd >= 0]
        ends = [self._placer.fileno(), self._listener.fileno(), self._epoll.fileno()]
        return [*mine, *ends, *self._new, *self._by_fd]

    def launch(self, specs: Sequence[WorkerSpec]) -> list[str]:
        """Asks for each; they come when there is a place."""
        out = []
        for spec in specs:
            key = (spec.part.index, spec.worker)
            name = [*key, spec.incarnation]
            self._placed[key] = _Placed(spec, name)
            try:
                self._placer.send({"op": "start", "name": name})
                out.append("")
            except ChannelClosed:
                del self._placed[key]
                out.append("lost the connection to the worker launcher")
        return out

    def wake(self, key: WorkerKey) -> None:
        """One byte; a full pipe is awake anyway."""
        placed = self._placed.get(key)
        if placed is not None and placed.wake_fd >= 0:
            with suppress(OSError):
                os.write(placed.wake_fd, b"w")

    def kill(self, key: WorkerKey) -> None:
        """SIGKILL, and its end is seen by its connection; one that has not come yet is not let in any more."""
        placed = self._placed.get(key)
        if placed is None:
            return
        placed.status = signal.SIGKILL
        if placed.channel is None:
            self._over(key)
            return
        placed.cpu_s, placed.rss = _usage_of(placed.pid)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(placed.pidfd, signal.SIGKILL)

    def reap(self) -> list[Exit]:
        """Accept new processes, read the messages of the others."""
        self._turn(0)
        ended, self._ended = self._ended, []
        return ended

    def standstills(self) -> list[Standstill]:
        """None: only the parent of a process learns that it was stopped."""
        return []

    def end_all(self) -> None:
        """Kills what is left and waits for it."""
        for key in list(self._placed):
            self.kill(key)
        give_up = now_ns() + _END_ALL_NS
        while self._placed and now_ns() < give_up:
            self._turn(_TURN_MS / 1000)
        for channel in self._new.values():
            channel.close()
        self._new.clear()
        self._listener.close()
        self._placer.close()
        self._epoll.close()

    # -- what comes in

    def _turn(self, timeout_s: float) -> None:
        for fd, _ in self._epoll.poll(timeout_s):
            if fd == self._listener.fileno():
                self._let_in()
            elif fd == self._placer.fileno():
                self._hear_placer()
            elif fd in self._new:
                self._greet(fd)
            else:
                self._hear(self._by_fd[fd])

    def _let_in(self) -> None:
        """Processes of this user alone: others of the machine find the door shut before they can say a word."""
        with suppress(OSError):
            sock, _ = self._listener.accept()
            if _peer(sock)[1] != os.geteuid():
                sock.close()
                return
            channel = Channel(sock, deadline_s=ANSWER_S)
            self._new[channel.fileno()] = channel
            self._epoll.register(channel, select.EPOLLIN)

    def _greet(self, fd: int) -> None:
        """Send a process that is expected its orders; refuse any other, and one that has died meanwhile."""
        channel = self._new[fd]
        hello = _hello(channel)
        if not hello and not channel.closed:
            return
        del self._new[fd]
        wanted = [key for key, p in self._placed.items() if p.channel is None and hello[:1] == [{"name": p.name}]]
        pid = _peer(channel.sock)[0]
        pidfd = _pidfd(pid) if wanted else -1
        if pidfd < 0:
            self._epoll.unregister(channel)
            channel.close()
            return
        (key,) = wanted
        placed = self._placed[key]
        self._by_fd[fd] = key
        placed.channel, placed.pid, placed.pidfd = channel, pid, pidfd
        read, placed.wake_fd = os.pipe()
        os.set_blocking(placed.wake_fd, False)
        message, fds = self._orders(placed.spec)
        try:
            channel.send(message, [read, *fds])
        except ChannelClosed:
            self.kill(key)
        finally:
            os.close(read)

    def _hear(self, key: WorkerKey) -> None:
        placed = self._placed[key]
        assert placed.channel is not None
        for message in placed.channel.receive():
            if message["op"] == "done":
                placed.status, placed.cpu_s, placed.rss = 0, message["cpu_s"], message["rss"]
        if placed.channel.closed:
            self._over(key)

    def _hear_placer(self) -> None:
        """A process that never came, or why one that did has gone."""
        for message in self._placer.receive():
            name = message["name"]
            placed = self._placed.get((name[0], name[1]))
            if placed is not None and placed.name == name and placed.channel is None:
                self._over((name[0], name[1]))
            spec = self._unexplained.pop(tuple(name), None)
            if spec is not None:
                user = spec.global_user(spec.first_user)
                Notes(spec.notes_fd, name[0], user).send("ended", error=message["why"], text="")
        if self._placer.closed:
            self._epoll.unregister(self._placer)

    def _over(self, key: WorkerKey) -> None:
        placed = self._placed.pop(key)
        if placed.status == UNKNOWN_END and len(self._unexplained) < MAX_UNEXPLAINED:
            self._unexplained[tuple(placed.name)] = placed.spec  # its placer will say why
        else:
            with suppress(ChannelClosed):
                self._placer.send({"op": "end", "name": placed.name})
        if placed.channel is not None:
            del self._by_fd[placed.channel.fileno()]
            self._epoll.unregister(placed.channel)
            placed.channel.close()
            os.close(placed.pidfd)
            os.close(placed.wake_fd)
        self._ended.append(Exit(key, placed.pid, placed.status, placed.cpu_s, 0.0, placed.rss))


def _hello(channel: Channel) -> list[Any]:
    """What it says of itself, if it has spoken."""
    try:
        return list(channel.receive())
    except ValueError:
        return [None]


def _peer(sock: socket.socket) -> tuple[int, int]:
    """pid and user of the process at the other end."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def _pidfd(pid: int) -> int:
    """A hold on a process, by which no other can be meant; -1 when it has gone."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def _usage_of(pid: int) -> tuple[float, int]:
    """CPU seconds (with children that it has waited for) and peak memory of a live process; zeros when it has gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            words = file.read().rpartition(")")[2].split()
        with open(f"/proc/{pid}/status") as file:
            peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, ValueError, StopIteration):
        return 0.0, 0
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK"), peak
