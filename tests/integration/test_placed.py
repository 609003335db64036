"""Users whose processes somebody else starts: what comes, what dies, what is never let in. Who starts them is played here."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support import loads, picky_load
from support.books import check_books, is_over, pid_of, wait_for_start, wait_until
from support.processes import is_alive
from support.runtimes import Placer, Runtime

from wasp_ray import BadInput, Generator, Placement, Profile, plain, ramp
from wasp_ray.runtime.placed import PlacedBackend
from wasp_ray.wire.channel import Channel, channel_pair

pytestmark = pytest.mark.waits


@pytest.fixture
def home() -> Iterator[Runtime]:
    """Users are placed."""
    with Runtime("placed") as made:
        yield made


def started(home: Runtime, *generators: Generator) -> tuple[Any, Placer]:
    """A run that has begun."""
    going = home.start(Profile(*generators))
    wait_for_start(going)
    return going, home.placers[-1]


def test_processes_killed_at_random_leave_the_ledger_exact(home: Runtime) -> None:
    """Each is replaced by another that somebody starts; every call is in one column, with forked ones beside them."""
    going, placer = started(
        home,
        Generator("users", user=loads.Looper, schedule=plain(3, "8s"), params={"s": 0.002}),
        Generator("packs", user=loads.AsyncLooper, schedule=plain(4, "8s"), users_per_process=2),
        Generator("gun", gun=loads.Quick, schedule=plain(100, "8s")),
    )

    def wait_for_successor(name: tuple[int, ...]) -> None:
        wait_until(lambda: (*name[:2], name[2] + 1) in placer.processes or is_over(going))

    rng, killed = random.Random(5), 0
    give_up = time.monotonic() + 5
    while time.monotonic() < give_up and placer.processes:
        name = rng.choice(list(placer.processes))
        placer.processes[name].kill()
        killed += 1
        wait_for_successor(name)
        time.sleep(rng.uniform(0.2, 0.5))
    result = going.wait(60)
    check_books(result)
    assert result.ledger.killed > 0 and result.ledger.lost == 0
    assert result.generators["gun"].ledger.ok == 800
    assert sum(g["users"]["replaced"] for g in result.summary["generators"].values()) == killed


def test_users_come_and_go_with_the_schedule(home: Runtime) -> None:
    """Started before they are wanted, each torn down when it is not any more."""
    result = home.run(Profile(Generator("u", user=loads.Looper, schedule=ramp(1, 4, "2s") + ramp(4, 1, "2s"))))
    assert result.verdict == "passed", result.reasons
    assert result.summary["generators"]["u"]["users"]["active_max"] == 4
    assert result.ledger.interrupted == result.ledger.killed == 0


def test_what_has_no_place_ends_its_generator_as_invalid(home: Runtime) -> None:
    """With what is said of it."""
    going = home.start(Profile(Generator("u", user=loads.Looper, schedule=plain(1, "30s"))))
    home.placers[-1].refuses = lambda name: True
    result = going.wait(60)
    check_books(result)
    assert result.verdict == "invalid" and "there is no place for it" in result.reasons[0], result.reasons


@pytest.mark.usefixtures("short_setup_backoff")
def test_a_process_that_never_comes_is_a_setup_failure(home: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times, then the run is an error that says so; who comes too late is not let in."""
    monkeypatch.setattr("wasp_ray.node.hang_detector.PLACED_START_NS", 1_000_000)
    result = home.run(Profile(Generator("u", user=loads.Looper, schedule=plain(1, "30s"), setup_timeout="1ms")))
    assert result.verdict == "error" and "did not start" in result.reasons[0], result.reasons
    assert result.ledger.started == 0


@pytest.mark.usefixtures("short_setup_backoff")
def test_a_load_that_cannot_be_read_where_its_users_live_says_why(home: Runtime) -> None:
    """With the user's traceback."""
    result = home.run(Profile(Generator("u", user=picky_load.Picky, schedule=plain(1, "30s"))))
    assert result.verdict == "error" and "no GPU on this host" in result.reasons[0], result.reasons


def test_a_dead_zygote_takes_placed_users_along(home: Runtime) -> None:
    """Their connection ends, and they with it."""
    going, placer = started(home, Generator("u", user=loads.Looper, schedule=plain(2, "30s")))
    pids = [process.pid for process in placer.processes.values()]
    os.kill(pid_of(going, "zygote"), signal.SIGKILL)
    result = going.wait(30)
    check_books(result)
    assert result.verdict == "error" and len(pids) == 2
    wait_until(lambda: not [pid for pid in pids if is_alive(pid)])


@pytest.mark.parametrize(
    "hello", [b'{"name": [0, 0, 7]}', b'{"name": [0, 0, 0]}', b'{"name": "me"}', b"[]", b"no JSON"]
)
def test_a_stranger_is_shown_the_door(home: Runtime, hello: bytes) -> None:
    """No memory, no orders: neither for a wrong name nor for that of one who is there already. The run does not notice."""
    going, placer = started(home, Generator("u", user=loads.Looper, schedule=plain(1, "2s")))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(placer.path)
        sock.sendall(hello + b"\n")
        channel = Channel(sock)
        assert channel.first() is None and not channel.fds
    result = going.wait(30)
    check_books(result)
    assert result.verdict == "passed", result.reasons


def test_other_places_than_ray_refuse_a_placement() -> None:
    """Before anything is started, with the cure."""
    generator = Generator("u", user=loads.Looper, schedule=plain(1, "1s"), placement=Placement(gpus=1))
    for options in ({}, {"nodes": 2}, {"runtime": "inline"}):
        with pytest.raises(BadInput, match=r"'u': placement= is for runs on Ray.*--on ray"):
            Profile(generator).run(**options)


class Door:
    """A backend that has asked for one process, and where that is to come; nothing else of a run."""

    def __init__(self) -> None:
        self.address = f"\0wasp-test-{os.getpid()}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address)
        listener.listen()
        self.placer, theirs = channel_pair()
        part = SimpleNamespace(index=0)
        host: Any = SimpleNamespace(part=part, worker=0, incarnation=0)
        self.backend = PlacedBackend(Channel(theirs), listener, lambda host: ({"op": "begin"}, []))
        assert self.backend.launch([host]) == [""]

    def close(self) -> None:
        """Nobody is waited for."""
        self.backend.end_all()
        self.placer.close()


@pytest.fixture
def door() -> Iterator[Door]:
    """It closes."""
    made = Door()
    yield made
    made.close()


VISITOR = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
sock = socket.socket(socket.AF_UNIX)
sock.connect(chr(0) + sys.argv[1])
try:
    sock.sendall(b'{"name": [0, 0, 0]}' + bytes([10]))
except BrokenPipeError:
    pass
print("said", flush=True)
input()
print(sock.recv(99))
"""


def visitor(door: Door, user: int) -> subprocess.Popen[str]:
    """A process that says the name that is asked for, then what it is told: nothing when it is sent away."""
    made = subprocess.Popen(
        [sys.executable, "-c", VISITOR, door.address[1:], str(user)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert made.stdout is not None and made.stdout.readline() == "said\n"
    return made


def test_who_is_wanted_is_let_in(door: Door) -> None:
    """With its orders; its end is seen."""
    process = visitor(door, os.getuid())
    door.backend.reap()
    door.backend.reap()
    assert "begin" in process.communicate("\n", timeout=10)[0]
    assert [exit_.pid for exit_ in door.backend.reap()] == [process.pid]


def test_a_process_that_dies_at_the_door_is_no_more_than_that(door: Door) -> None:
    """It had said its name and is gone when it is to be let in: whoever comes next by that name is."""
    process = visitor(door, os.getuid())
    process.kill()
    process.communicate()
    door.backend.reap()
    assert door.backend.reap() == []
    test_who_is_wanted_is_let_in(door)


def test_other_users_of_the_machine_are_turned_away(door: Door) -> None:
    """Though they know the name."""
    if os.geteuid() != 0:
        pytest.skip("to be another user takes root")
    process = visitor(door, 65534)
    door.backend.reap()
    door.backend.reap()
    assert "begin" not in process.communicate("\n", timeout=10)[0]
    test_who_is_wanted_is_let_in(door)
