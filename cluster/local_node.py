"""The process of one local node: reads its order and then its commands from stdin, runs an Agent."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from wasp_ray.cluster.agent import Agent, options_from, take_stdout
from wasp_ray.cluster.child_process import leave


def main() -> int:
    """0 when a result or a refusal was told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller answers the terminal
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ray's workers block some, which users' processes would inherit
    write_line = take_stdout()
    order = json.loads(sys.stdin.buffer.readline() or b"null")
    if order is None:
        return 1
    os.environ.update(order.pop("env", {}))
    uid = str(order.pop("uid", None) or os.getpid())
    agent = Agent(options_from(order), uid, write_line, lambda: None)
    threading.Thread(target=_obey, args=(agent,), name="wasp-orders", daemon=True).start()
    agent.run()
    leave(0)


def _obey(agent: Agent) -> None:
    """Orders until the controller is gone, which is one too."""
    for raw in sys.stdin.buffer:
        order: dict[str, Any] = json.loads(raw)
        match order["op"]:
            case "start":
                agent.open_at(order["at"])
            case "stop":
                agent.stop()
            case "stop at once":
                agent.stop(at_once=True)
            case name:
                agent.command(name)
    agent.stop(at_once=True)
