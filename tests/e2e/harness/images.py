"""Container images of tests: built by the harness' docker daemon, handed to the node without a registry. Owns no state."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .docker import docker_host, docker_program, ensure_docker
from .errors import HarnessError
from .node import socket_of
from .places import State
from .progress import run_logged, step, tail

BUILD_TIMEOUT_S = 900.0
IMPORT_TIMEOUT_S = 300.0


def build_image(state: State, context: Path, dockerfile: Path, tag: str, build_args: Mapping[str, str]) -> None:
    """Builds an image on the host's network; `FROM python:3.11-slim-bookworm` is the base of `archives`.

    Raises:
        HarnessError: the build failed; the message has the end of its log.
    """
    environment = ensure_docker(state)
    command = [docker_program(), "build", "--network=host", "--file", str(dockerfile), "--tag", tag]
    for name, value in build_args.items():
        command += ["--build-arg", f"{name}={value}"]
    with step(f"docker build {tag}"):
        run_logged([*command, str(context)], state.log("build"), BUILD_TIMEOUT_S, env={**os.environ, **environment})


def import_into_cluster(state: State, tag: str) -> None:
    """Streams an image from the docker daemon into the node's store.

    Raises:
        HarnessError: either side failed.
    """
    log = state.log("import")
    receive = ["ctr", "--address", str(socket_of(state)), "--namespace", "k8s.io", "images", "import", "-"]
    with step(f"import {tag}"), log.open("ab") as errors:
        environment = {**os.environ, **docker_host(state)}
        saving = subprocess.Popen(
            [docker_program(), "save", tag], stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        assert saving.stdout is not None
        try:
            received = subprocess.run(
                receive, stdin=saving.stdout, stdout=errors, stderr=errors, timeout=IMPORT_TIMEOUT_S
            )
            saving.stdout.close()
            saved = saving.wait(30)
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{tag} could not be imported within {IMPORT_TIMEOUT_S:.0f} s: {log}") from None
        finally:
            if saving.poll() is None:
                saving.kill()
                saving.wait()
            saving.stdout.close()
    if saved or received.returncode:
        raise HarnessError(f"{tag} could not be imported; {log} ends with:\n{tail(log)}")
