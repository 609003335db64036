"""A worker that another engine has started: it comes to its node, reads the load file for itself and does as any worker does."""

from __future__ import annotations

import os
import resource
import select
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from wasp_ray.load.build import apply_options
from wasp_ray.load.locate import find_profile, trim_traceback
from wasp_ray.runtime.parts import PartsFactory
from wasp_ray.wire.arena import Arena, Header, SlabLayout, State
from wasp_ray.wire.channel import Channel, ChannelClosed, Message
from wasp_ray.wire.control import Control
from wasp_ray.worker import forks
from wasp_ray.worker.child import open_streams, reseed
from wasp_ray.worker.cpu import own_cpu_ns
from wasp_ray.worker.main import run_worker
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.spec import WorkerSpec


def live(address: str, name: Sequence[int]) -> None:
    """From its orders to its end, in the main thread of a process that is for this alone. `address`: its node's socket; `name`:
    what it was asked for as. A process that is not wanted any more does nothing.
    """
    os.environ["WASP_ZYGOTE"] = "1"  # what a load file runs at its import is refused here as well
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)
    channel = Channel(sock)
    channel.send({"name": list(name)})
    orders = channel.first()
    if orders is None:
        return
    over = threading.Event()
    threading.Thread(target=_end_with, args=(sock, over), name="wasp-node", daemon=True).start()
    _work(orders, channel.fds)
    over.set()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with suppress(ChannelClosed, OSError):
        channel.send({"op": "done", "cpu_s": own_cpu_ns(is_thread=False) / 1e9, "rss": rss})
        sock.shutdown(socket.SHUT_RDWR)


def _end_with(sock: socket.socket, over: threading.Event) -> None:
    """The node says no more than the orders: what comes is its end, and a worker without a node works for nobody."""
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    poller.poll()
    if not over.is_set():
        os._exit(1)


def _work(orders: Message, fds: Sequence[int]) -> None:
    wake_fd, notes_fd, output_fd, arena_fd, *files = fds
    prepare, gen = orders["prepare"], orders["gen"]
    arena = Arena.attach([SlabLayout(**slab) for slab in prepare["slabs"]], arena_fd)
    try:
        profile = apply_options(find_profile(orders["load"]), orders["load"])
        part = PartsFactory(profile, prepare, inline=False, given=files).part(gen)
    except Exception as exc:
        arena.write(gen, orders["spec"]["ring"], Header.STATE, State.SETUP_FAILED)
        text = trim_traceback(exc, prepare["user_dir"])
        Notes(notes_fd, gen, orders["user"]).send("setup_failed", error=f"{type(exc).__name__}: {exc}", text=text)
        return
    spec = WorkerSpec(
        **orders["spec"], arena=arena, control=Control(arena), part=part, wake_fd=wake_fd, notes_fd=notes_fd, ticks_fd=-1
    )  # fmt: skip
    open_streams(spec, output_fd, output_fd)
    reseed(spec)
    forks.register()
    run_worker(spec)
    sys.stdout.flush()
    sys.stderr.flush()
