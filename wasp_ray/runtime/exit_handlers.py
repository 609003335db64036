"""Exit handlers of a forked worker: those that its own code registered run, those it inherited do not.

A fork inherits the atexit handlers, weakref finalizers and multiprocessing children of the load file's import. If each worker
ran and ended them, the first user to leave would delete the temporary directory that all of them share. multiprocessing keeps
them out of its forks in the same way.
"""

from __future__ import annotations

import atexit
import signal
import sys
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


def forget_inherited_handlers() -> None:
    """Drop the atexit handlers of the parent; call it in the child, first of all."""
    atexit._clear()


@dataclass(frozen=True, slots=True)
class Inherited:
    """What belongs to the parent: weakref finalizers and processes of multiprocessing."""

    finalizers: frozenset[Any]
    processes: frozenset[Any]

    @classmethod
    def now(cls) -> Inherited:
        """Return those that exist now; call it in the parent, before the forks."""
        return cls(frozenset(weakref.finalize._registry), frozenset(_multiprocessing_children()))  # type: ignore[attr-defined]


def _multiprocessing_children() -> set[Any]:
    process: Any = sys.modules.get("multiprocessing.process")
    children: set[Any] = process._children if process is not None else set()
    return children


def run_exit_handlers(inherited: Inherited, timeout_s: float) -> None:
    """Run the handlers and finalizers of this process as the interpreter would; SIGALRM ends it when they take too long."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    for finalizer in inherited.finalizers:
        finalizer.atexit = False
    _multiprocessing_children().difference_update(inherited.processes)
    if (util := sys.modules.get("multiprocessing.util")) is not None:  # its handler may have been among the parent's
        with suppress(Exception):
            util._exit_function()
    atexit._run_exitfuncs()
    weakref.finalize._exitfunc()  # type: ignore[attr-defined]
