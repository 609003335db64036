"""Users that are Ray actors, on a real Ray: on the host that has what they ask for, in its node's books, gone with the run."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.books import wait_until
from support.ray_cluster import RayCluster, actor_processes, node_processes
from support.ray_runs import WASP, summary_of

pytestmark = [pytest.mark.waits, pytest.mark.xdist_group("ray")]

LOAD = """
import asyncio, os, time
from wasp_ray import *

class Actor(VirtualUser):
    def setup(self):
        import ray
        context = ray.get_runtime_context()
        row = self.context.feed("rows")
        print("I", context.get_actor_id(), context.get_node_id(), os.environ["CUDA_VISIBLE_DEVICES"], row["name"],
              os.environ.get("TARGET"), bytes(self.context.shared_data).decode(), os.getpid(), flush=True)
        self.calls = 0
    def call(self):
        time.sleep(0.01)
        self.calls += 1
        if self.calls == 30:
            print("going", flush=True)

class Packed(VirtualUser):
    async def setup(self):
        print("pack", os.getpid(), flush=True)
    async def call(self):
        await asyncio.sleep(0.02)

class Hangs(VirtualUser):
    def call(self):
        time.sleep(100)

class Quick(Gun):
    async def call(self):
        pass

placed = Placement(cpus=0.25, gpus=0.5, resources={"fast": 1})

def profile(seconds: int = 2) -> Profile:
    return Profile(
        Generator("actor", user=Actor, schedule=plain(3, seconds), placement=placed, shared_data="shared",
                  feeders={"rows": rows([{"name": f"r{i}"} for i in range(50)])}),
        Generator("packed", user=Packed, schedule=plain(4, seconds), users_per_process=2, placement=Placement(cpus=0.1)),
        Generator("quick", gun=Quick, schedule=plain(100, seconds)),
    )

hung = Profile(Generator("hung", user=Hangs, schedule=plain(1, 3), placement=Placement(cpus=0.25), call_timeout=1,
                         graceful_stop=1))
nowhere = Profile(Generator("rare", user=Actor, schedule=plain(2, 1), placement=Placement(resources={"unicorn": 1})))
broken = Profile(Generator("broken", user=Actor, schedule=plain(0, 1), placement=Placement(gpus=1.5)))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the load file."""
    (tmp_path / "load.py").write_text(LOAD)
    return tmp_path


def wasp(cluster: RayCluster, folder: Path, file: str = "load.py", *arguments: str) -> subprocess.Popen[str]:
    """The command in a session of its own."""
    return subprocess.Popen(
        [*WASP, "run", file, "--on", "ray", "--ray-address", cluster.address, "--out", "out", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def said(folder: Path) -> list[list[str]]:
    """What users told of themselves."""
    log = folder / "out/logs/users.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split(": I ")[1].split() for line in lines if ": I " in line]


def wait_for_load(process: subprocess.Popen[str], folder: Path) -> None:
    """Until its three users have made calls."""
    log = folder / "out/logs/users.log"

    def are_going() -> bool:
        assert process.poll() is None, process.communicate()[0]
        return log.exists() and log.read_text().count("going") >= 3

    wait_until(are_going, 60)


def test_users_are_actors_on_the_host_that_has_what_they_ask_for(cluster: RayCluster, folder: Path) -> None:
    """Three actors with half a GPU each, each row once, in the same ledger as packs and a gun of forks beside them."""
    process = wasp(cluster, folder, "load.py", "-e", "TARGET=here")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    summary = summary_of(folder)
    assert summary["generators"]["quick"]["ledger"]["ok"] == 200
    assert 200 < summary["generators"]["actor"]["ledger"]["ok"] <= 600
    assert 100 < summary["generators"]["packed"]["ledger"]["ok"] <= 400
    log = (folder / "out/logs/users.log").read_text()
    packs = [line.split()[-1] for line in log.splitlines() if ": pack " in line]
    assert len(packs) == 4 and len(set(packs)) == 2
    told = said(folder)
    assert len({words[0] for words in told}) == 3
    assert {words[1] for words in told} == {cluster.hosts[1].node_id}
    assert sorted(words[2] for words in told) in (["0", "0", "1"], ["0", "1", "1"])
    assert sorted(words[3] for words in told) == ["r0", "r1", "r2"]
    assert all(words[4:6] == ["here", "shared"] for words in told)


def test_a_killed_user_is_replaced_by_another_actor(cluster: RayCluster, folder: Path) -> None:
    """One call is killed; the run goes on with another actor in its place."""
    process = wasp(cluster, folder, "load.py", "-p", "seconds=60")
    wait_for_load(process, folder)
    os.kill(int(said(folder)[0][6]), signal.SIGKILL)
    wait_until(lambda: len({words[0] for words in said(folder)}) == 4, 60)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    summary = summary_of(folder)
    assert summary["generators"]["actor"]["ledger"]["killed"] == 1, out
    assert summary["generators"]["actor"]["users"]["replaced"] == 1
    assert "its process was killed or crashed" in out


def test_a_hung_user_is_killed_at_its_timeout_and_replaced(cluster: RayCluster, folder: Path) -> None:
    """Its call is a timeout."""
    process = wasp(cluster, folder, "load.py:hung")
    out, _ = process.communicate(timeout=120)
    summary = summary_of(folder)
    assert summary["ledger"]["timeout"] >= 1 and summary["ledger"]["killed"] == 0, out


@pytest.mark.parametrize("kind", ["driver", "NodeActor"])
def test_what_is_killed_takes_the_users_along(cluster: RayCluster, folder: Path, kind: str) -> None:
    """A driver that is killed, and a node's actor: no user goes on for nobody."""
    process = wasp(cluster, folder, "load.py", "-p", "seconds=60")
    wait_for_load(process, folder)
    if kind == "driver":
        process.kill()
    else:
        os.kill(actor_processes()[0], signal.SIGKILL)
    wait_until(lambda: not actor_processes("UserActor") and not node_processes(), 30)
    out, _ = process.communicate(timeout=120)
    assert kind == "driver" or process.returncode == 3, out


def test_ctrl_c_ends_users_with_their_teardown(cluster: RayCluster, folder: Path) -> None:
    """Exit 130, exact books."""
    process = wasp(cluster, folder, "load.py", "-p", "seconds=60")
    wait_for_load(process, folder)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert summary_of(folder)["ledger"]["killed"] == 0


def test_what_no_host_has_is_told(cluster: RayCluster, folder: Path) -> None:
    """What was asked for, with what there is."""
    process = wasp(cluster, folder, "load.py:nowhere")
    assert process.stdout is not None
    told = next(line for line in process.stdout if "Ray has no place" in line)
    assert "1 place with CPU 3, unicorn 2" in told, told
    assert "3 hosts with CPU 2, unicorn 0, of which CPU " in told and "unicorn 0 is free" in told, told
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130


def test_bad_input_is_told_before_anything_is_placed(cluster: RayCluster, folder: Path) -> None:
    """As it is on one machine: exit 2 and every problem."""
    process = wasp(cluster, folder, "load.py:broken")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 2, out
    assert "gpus=1.5: expected a fraction of one GPU, or a whole number" in out
    assert not (folder / "out").exists()
