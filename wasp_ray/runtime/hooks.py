"""Runs a Profile's setup or teardown: in a forked child, so that threads and connections it makes do not stay in the
zygote.
"""

from __future__ import annotations

import inspect
import json
import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import WaspError
from wasp_ray.load.locate import trim_traceback
from wasp_ray.worker.forks import end_if_forked

HOOK_TIMEOUT_S = 60.0
MAX_RESULT_BYTES = 1 << 20


class HookFailed(WaspError):
    """The hook raised, hung, died, or returned what is not JSON; the message ends with the user's traceback."""


def run_hook(hook: Callable[[], Any] | None, *, forked: bool, user_dir: str) -> Any:
    """The hook's result; None without a hook. Raises HookFailed."""
    if hook is None:
        return None
    if not forked:
        return _check(_call(hook, user_dir))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(hook, write, user_dir)
    os.close(write)
    try:
        raw = _read_all(read, pid)
    finally:
        os.close(read)
    _, status = os.waitpid(pid, 0)
    if not raw:
        raise HookFailed(f"it died with status {status} before it was done")
    return _check(json.loads(raw))


def _call(hook: Callable[[], Any], user_dir: str) -> dict[str, Any]:
    pid = os.getpid()
    try:
        result = hook()
        if inspect.isawaitable(result):
            import asyncio

            result = asyncio.run(_await(result))
        end_if_forked(pid)
        text = json.dumps({"result": result})
    except BaseException as exc:
        end_if_forked(pid, exc)
        if not isinstance(exc, Exception):
            raise
        return {"error": f"{type(exc).__name__}: {exc}\n{trim_traceback(exc, user_dir)}"}
    if len(text) > MAX_RESULT_BYTES:
        return {"error": f"it returned {len(text):,} bytes of JSON, at most {MAX_RESULT_BYTES:,} are handed on"}
    return {"result": result}


async def _await(result: Any) -> Any:
    return await result


def _check(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise HookFailed(answer["error"])
    return answer["result"]


def _child(hook: Callable[[], Any], write: int, user_dir: str) -> None:
    with suppress(BaseException):
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raw = json.dumps(_call(hook, user_dir)).encode()
        while raw:
            raw = raw[os.write(write, raw) :]
    os._exit(0)


def _read_all(read: int, pid: int) -> bytes:
    parts: list[bytes] = []
    give_up = now_ns() + int(HOOK_TIMEOUT_S * 1e9)
    while (left_s := (give_up - now_ns()) / 1e9) > 0:
        poller = select.poll()
        poller.register(read, select.POLLIN)
        if poller.poll(left_s * 1000):
            chunk = os.read(read, 1 << 16)
            if not chunk:
                return b"".join(parts)
            parts.append(chunk)
    os.kill(pid, signal.SIGKILL)
    return json.dumps({"error": f"it took longer than {HOOK_TIMEOUT_S:g} s"}).encode()
