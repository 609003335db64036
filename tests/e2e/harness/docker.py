"""A docker daemon of the harness' own: socket, control group and data apart from any other on this machine.

Owns starting it and telling clients where it is. It needs no network of containers: builds use the host's. Its data
(layers, build cache) stays beside the state folder for the next time; the daemon ends with the cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from .archives import BASE_IMAGE, base_archive, image_id
from .cgroups import make
from .errors import HarnessError
from .places import State, beside, locked
from .processes import recorded, start, wait_until
from .progress import run_logged, step

START_TIMEOUT_S = 60.0


def docker_host(state: State) -> dict[str, str]:
    """The environment with which any docker client talks to this daemon."""
    return {
        "DOCKER_HOST": f"unix://{state.path('docker.sock')}",
        "DOCKER_CONFIG": str(state.path("docker-client")),
        "DOCKER_BUILDKIT": "0",  # newer clients need a plugin for the other builder
    }


def ensure_docker(state: State) -> dict[str, str]:
    """Starts the daemon unless it runs, sees that it has the base image, and gives the client's environment."""
    with locked(beside(state.docker_data), 300, doing="start docker"):
        environment = docker_host(state)
        if not any(daemon.name == "dockerd" and daemon.is_alive() for daemon in recorded(state)):
            with step("docker"):
                _start(state)
        known = docker(state, "image", "inspect", "--format", "{{.Id}}", BASE_IMAGE, check=False)
        archive = base_archive()
        if known.strip() != image_id(archive):
            with step(f"load {BASE_IMAGE} into docker"):
                run_logged(
                    [docker_program(), "load", "--input", str(archive)],
                    state.log("docker"),
                    300,
                    env=_with(environment),
                )
        return environment


def docker(state: State, *arguments: str, check: bool = True, timeout_s: float = 600.0) -> str:
    """What a docker command printed.

    Raises:
        HarnessError: it failed (and `check` is on); the message has what it printed.
    """
    done = subprocess.run(
        [docker_program(), *arguments], capture_output=True, text=True, timeout=timeout_s, env=_with(docker_host(state))
    )
    if check and done.returncode:
        raise HarnessError(f"docker {' '.join(arguments)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _start(state: State) -> None:
    make(state.cgroup)
    state.path("docker-client").mkdir(parents=True, exist_ok=True)
    settings = state.path("docker.json")  # empty: this machine's own settings are not for us
    settings.write_text("{}")
    pidfile = state.path("docker.pid")
    pidfile.unlink(missing_ok=True)
    program = shutil.which("dockerd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise HarnessError("expected dockerd (Debian's package docker.io), found none")
    flags = [
        "--bridge=none",
        f"--cgroup-parent={state.cgroup}/docker",
        f"--config-file={settings}",
        f"--data-root={state.docker_data}",
        f"--exec-root={state.path('docker')}",
        f"--host=unix://{state.path('docker.sock')}",
        "--ip-forward=false",
        "--ip-masq=false",
        "--ip6tables=false",
        "--iptables=false",
        "--oom-score-adjust=0",  # lowering it takes CAP_SYS_RESOURCE
        f"--pidfile={pidfile}",
        "--storage-driver=overlay2",
    ]
    daemon = start(state, "dockerd", [program, *flags])
    command = [docker_program(), "version"]
    wait_until(
        lambda: subprocess.run(command, capture_output=True, timeout=60, env=_with(docker_host(state))).returncode == 0,
        START_TIMEOUT_S,
        "docker answers",
        state.log("dockerd"),
        daemon,
    )
    docker(state, "image", "prune", "--force")  # what earlier builds of the same tags left


def docker_program() -> str:
    """The docker client."""
    program = shutil.which("docker") or shutil.which("docker", path="/usr/bin:/usr/local/bin")
    if program is None:
        raise HarnessError("expected docker (Debian's package docker.io), found none")
    return program


def _with(environment: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **environment}
