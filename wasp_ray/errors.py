"""The one tree of exceptions. It owns names and messages' shape, and must not import anything else of wasp_ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class WaspError(Exception):
    """Base of everything wasp_ray raises on purpose; the message says what was expected, what was found and the cure."""


class BadInput(WaspError):
    """What the user gave cannot be run; nothing was started. `problems` holds one sentence each."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class LoadFileError(BadInput):
    """The load file is missing, raises on import, or holds no profile under the name asked for."""


class NodeFailed(WaspError):
    """A node could not be started or came to an end that is not of the user's making."""


class SetupFailed(NodeFailed):
    """The setup of a profile, a gun or a user failed for good; the message ends with the user's traceback."""


class CallFailed(WaspError):
    """A call or a request in it is to be booked as failed; `str(exc)` is the error text of the record."""


class StopUser(WaspError):
    """Raised by user code: ends this user, which is not replaced."""


class RestartUser(WaspError):
    """Raised by user code: books a failure, runs teardown and setup again with a backoff of 0.1 to 10 s."""


def causes(exc: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that it wraps, outermost first."""
    seen: set[int] = set()
    todo: list[object] = [exc]
    while todo:
        one = todo.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [getattr(one, "reason", None), one.__cause__, None if one.__cause__ else one.__context__, *one.args]
