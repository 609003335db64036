"""Runs the kubectl that was built with the cluster. Owns no state."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from . import tools
from .errors import HarnessError


def run(
    kubeconfig: Path, cache: Path, *arguments: str, stdin: object = None, check: bool = True, timeout_s: float = 60.0
) -> str:
    """What kubectl printed; `stdin` may be text or a manifest as data. Nothing is read from or written to the user's home.

    With `check` off, a failed command's error output is part of what comes back.

    Raises:
        HarnessError: it failed, or took longer than `timeout_s`; the message has what it printed.
    """
    text = stdin if isinstance(stdin, str) or stdin is None else json.dumps(stdin)
    command = [str(tools.kubernetes_program("kubectl")), "--kubeconfig", str(kubeconfig), "--cache-dir", str(cache)]
    what = f"kubectl {' '.join(arguments)}"
    try:
        done = subprocess.run(
            [*command, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(cache)},
        )
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"{what} did not end within {timeout_s:.0f} s: {error.stdout!r} {error.stderr!r}") from None
    if check and done.returncode:
        raise HarnessError(f"{what} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr
