"""The structured logger of user code: JSON, or console on a terminal; level by WASP_LOG_LEVEL.

Never used by the engine's hot path.
"""

from __future__ import annotations

import os
import sys
from typing import Any

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def preload() -> None:
    """Imports structlog without the terminal library it would pull in when that is installed (100 ms, 12 MB a process)."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = None  # type: ignore[assignment]  # makes `import rich` fail, which structlog allows for
    try:
        import structlog  # noqa: F401
    finally:
        if hidden:
            del sys.modules["rich"]


def logger(**bound: Any) -> Any:
    """A logger bound to the given fields, writing to stdout, which the node collects."""
    preload()
    import structlog

    level = LEVELS.get(os.environ.get("WASP_LOG_LEVEL", "info").lower(), 20)
    console = os.environ.get("WASP_LOG_FORMAT", "console" if os.environ.get("WASP_TTY") == "1" else "json") == "console"
    renderer = structlog.dev.ConsoleRenderer(colors=False) if console else structlog.processors.JSONRenderer()
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stdout),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    ).bind(**bound)
