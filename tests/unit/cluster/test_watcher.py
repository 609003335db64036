"""The watcher of pods: whatever the watch does, the list is the truth and nothing goes back in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wasp_ray.cluster.kube import Gone, KubeError
from wasp_ray.cluster.watcher import PodWatcher


def pod(name: str, version: int) -> dict[str, Any]:
    """A pod whose uid is its name."""
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


class Script:
    """An API server that plays a script: lists and watches in turn; the end of the script stops the watcher."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.asked: list[tuple[str, str]] = []
        self.watcher: PodWatcher | None = None

    def _next(self, what: str, since: str) -> Any:
        self.asked.append((what, since))
        if not self.steps:
            assert self.watcher is not None
            self.watcher.close()
            return [] if what == "watch" else ([], since or "1")
        kind, answer = self.steps.pop(0)
        assert kind == what, (kind, what)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def list(self, kind: str, selector: str = "", since: str = "", fields: str = "") -> Any:
        """The next step must be a list."""
        return self._next("list", since)

    def watch(self, kind: str, selector: str, since: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The next step must be a watch; an exception in it is raised in mid-stream."""
        for event in self._next("watch", since):
            if isinstance(event, Exception):
                raise event
            yield event


def played(*steps: Any) -> tuple[list[tuple[str, int, bool]], Script]:
    """(name, version, gone) as said, and what was asked."""
    said: list[tuple[str, int, bool]] = []
    script = Script(*steps)
    watcher = PodWatcher(
        script,  # type: ignore[arg-type]  # the two methods that are used
        "sync=x",
        lambda p, gone: said.append((p["metadata"]["name"], int(p["metadata"]["resourceVersion"]), gone)),
        lambda error: said.append((f"gave up: {error}", 0, False)),
    )
    script.watcher = watcher
    watcher._live()
    return said, script


def test_a_watch_that_ends_goes_on_where_it_ended() -> None:
    """Without a new list."""
    said, script = played(
        ("list", ([pod("a", 5)], "10")),
        ("watch", [("ADDED", pod("b", 11))]),
        ("watch", [("MODIFIED", pod("a", 12)), ("BOOKMARK", pod("", 20))]),
    )
    assert said == [("a", 5, False), ("b", 11, False), ("a", 12, False)]
    assert script.asked == [("list", ""), ("watch", "10"), ("watch", "11"), ("watch", "20")]


def test_repeated_and_old_events_say_nothing() -> None:
    """A relay may say things twice; a cache may be behind."""
    said, _ = played(
        ("list", ([pod("a", 5)], "10")), ("watch", [("MODIFIED", pod("a", 9))] * 2 + [("MODIFIED", pod("a", 7))])
    )
    assert said == [("a", 5, False), ("a", 9, False)]


def test_too_old_begins_with_a_list_that_tells_what_is_gone() -> None:
    """410 on opening and in mid-stream."""
    for trouble in (Gone("old", 410), [("ADDED", pod("b", 11)), Gone("old", 410)]):
        said, script = played(("list", ([pod("a", 5)], "10")), ("watch", trouble), ("list", ([pod("c", 30)], "31")))
        assert ("a", 5, True) in said and ("c", 30, False) in said
        assert script.asked[-1] == ("watch", "31")


def test_a_deleted_pod_is_told_once() -> None:
    """By the watch or by the next list, not by both."""
    said, _ = played(("list", ([pod("a", 5)], "10")), ("watch", [("DELETED", pod("a", 12)), ("DELETED", pod("a", 12))]))
    assert said == [("a", 5, False), ("a", 12, True)]


def test_trouble_that_passes_is_waited_out_and_other_trouble_is_told() -> None:
    """500 and no answer pass, 403 does not."""
    said, script = played(
        ("list", ([], "10")),
        ("watch", KubeError("boom", 500)),
        ("watch", KubeError("nothing")),
        ("watch", KubeError("no", 403)),
    )
    assert [what for what, _ in script.asked].count("watch") == 3
    assert said == [("gave up: no", 0, False)]


def test_a_stale_list_is_not_believed() -> None:
    """It would take pods for gone that are there: it is asked for again."""
    said, _ = played(
        ("list", ([pod("a", 5)], "10")),
        ("watch", [("ADDED", pod("b", 11)), Gone("old", 410)]),
        ("list", ([], "9")),
        ("list", ([pod("a", 5), pod("b", 11)], "12")),
    )
    assert said == [("a", 5, False), ("b", 11, False)]


class Clock:
    """Four seconds pass with each look."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 4_000_000_000
        return self.now_ns


def watched(*steps: Any) -> tuple[list[str], list[str]]:
    """Notes, and why it gave up."""
    notes: list[str] = []
    gave_up: list[str] = []
    script = Script(*steps)
    script.watcher = PodWatcher(
        script,  # type: ignore[arg-type]  # the two methods that are used
        "sync=x", lambda pod, gone: None, lambda error: gave_up.append(str(error)), notes.append, now=Clock(),
    )  # fmt: skip
    script.watcher._stop.wait = lambda timeout=None: script.watcher._stop.is_set()  # type: ignore[union-attr, method-assign]
    script.watcher._live()
    return notes, gave_up


def test_one_who_is_blind_for_long_tells_it_once_and_that_he_sees_again() -> None:
    """A run goes on without an API server; a person wants to know."""
    trouble = [("watch", KubeError("boom", 500))] * 5
    notes, gave_up = watched(("list", ([], "10")), *trouble, ("watch", [("ADDED", pod("a", 11))]))
    assert len(notes) == 2 and "boom" in notes[0] and "again" in notes[1] and gave_up == []


def test_refused_credentials_are_waited_for_a_little() -> None:
    """Somebody may be renewing them; nobody is for ever."""
    refused = ("watch", KubeError("expired", 401))
    assert watched(("list", ([], "10")), refused, ("watch", [("ADDED", pod("a", 11))]), refused)[1] == []
    assert watched(("list", ([], "10")), *[refused] * 4)[1] == ["expired"]
