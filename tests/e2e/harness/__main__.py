"""`python -m tests.e2e.harness up|down|build|status`: one cluster that is kept over many test runs.

`up` leaves it running and prints the kubeconfig's path last, `down` removes it, `build` only fills the cache, `status` tells
what runs (exit code 1: nothing, or not all of it). Test sessions use a cluster made by `up` when there is one.
"""

from __future__ import annotations

import argparse
import sys
import time

from . import archives, kuberay, modules, tools
from .cluster import Kubernetes
from .errors import HarnessError
from .leftovers import left_behind
from .places import State, locked
from .processes import recorded
from .progress import step

LOCK_WAIT_S = 900.0


def main() -> int:
    """Does one of the four."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.harness", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "build", "status"))
    command = parser.parse_args().command
    try:
        return {"up": up, "down": down, "build": build, "status": status}[command]()
    except HarnessError as error:
        print(f"e2e: {error}", file=sys.stderr)
        return 1


def up() -> int:
    """Starts the cluster, or finds that it runs."""
    began = time.monotonic()
    kubernetes = Kubernetes()
    kubernetes.start(keep=True)
    print(f"e2e: up after {time.monotonic() - began:.1f} s", flush=True)
    print(kubernetes.kubeconfig)
    return 0


def down() -> int:
    """Removes the cluster, whole or not."""
    state = State.default()
    with locked(state.lock, LOCK_WAIT_S, doing="remove the cluster"), step("cluster down"):
        Kubernetes(state).clean_leftovers()
    return 0


def build() -> int:
    """Gets everything tests need, helm and kwok too."""
    with step("everything built"):
        tools.prepare()
        for program in tools.ALL:
            print(tools.built(program), flush=True)
        for version in tools.KUBERAY_VERSIONS:
            for kind in kuberay.DEFINITIONS:
                print(modules.fetched(tools.kuberay_definition(version, kind)), flush=True)
        for archive in (archives.pause_archive(), archives.base_archive()):
            print(archive, flush=True)
    return 0


def status() -> int:
    """Tells what runs."""
    state = State.default()
    for daemon in recorded(state):
        print(
            f"{daemon.name:24} pid {daemon.pid:<8} {'running' if daemon.is_alive() else 'ended'}  {state.log(daemon.name)}"
        )
    kubernetes = Kubernetes.attach(state)
    if kubernetes is not None:
        print(f"server {kubernetes.server}\nkubeconfig {kubernetes.kubeconfig}")
        return 0
    found = left_behind(state)
    print(
        "no kept cluster is running; "
        + (f"left behind, or a test session's: {len(found)} things" if found else "nothing is left")
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
