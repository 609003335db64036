"""The zygote's first lines: keeps the standard library's fork hooks out of its forks, then starts it.

`threading`, `logging` and `random` have a forked child repair what threads of the parent may have left half done, or share.
The zygote has one thread and gives its children random streams of their own, so there is nothing to repair, and the hooks'
work alone would write 0.6 MB in each child. Workers get the hooks back: users may have threads and fork.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

_NEEDLESS = ("threading", "logging", "random")
_register: Callable[..., None] = os.register_at_fork
_held_back: list[dict[str, Any]] = []


def _register_unless_needless(**hooks: Any) -> None:
    """Takes the place of os.register_at_fork in the zygote."""
    if sys._getframe(1).f_globals.get("__name__") in _NEEDLESS:
        _held_back.append(hooks)
    else:
        _register(**hooks)


def give_back_hooks() -> None:
    """In a worker: what it forks is repaired as usual. One hook for all costs the fewest pages."""
    _register(
        before=partial(_run_all, "before", -1),
        after_in_parent=partial(_run_all, "after_in_parent", 1),
        after_in_child=partial(_run_all, "after_in_child", 1),
    )


def _run_all(when: str, order: int) -> None:
    for hooks in _held_back[::order]:
        if when in hooks:
            hooks[when]()


def main() -> None:
    """The zygote's process."""
    os.register_at_fork = _register_unless_needless
    from wasp_ray.runtime.zygote import main as zygote

    zygote()
