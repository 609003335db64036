"""The common start is written once and never too early, whatever becomes of the answers; the rest goes with its root."""

from __future__ import annotations

from typing import Any

import pytest

from wasp_ray.cluster.blackboard import LEAD_S, Blackboard
from wasp_ray.cluster.kube import KubeError


class Server:
    """One ConfigMap. `fate` of each write in turn: "heard", "lost" (heard, its answer is not), "refused", or "401"."""

    def __init__(self, *fate: str) -> None:
        self.fate, self.now_s, self.version = list(fate), 100.0, 1
        self.data: dict[str, str] = {"start_at": ""}
        self.deleted: list[str] = []

    def server_wall_s(self) -> float:
        """Time passes."""
        self.now_s += 1
        return self.now_s

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """As it is."""
        return {"metadata": {"resourceVersion": str(self.version)}, "data": dict(self.data)}

    def patch(self, kind: str, name: str, change: dict[str, Any], *, once: bool = False) -> dict[str, Any]:
        """Only what was not written since."""
        fate = self.fate.pop(0) if self.fate else "heard"
        if fate == "refused":
            raise KubeError("boom", 500)
        if fate == "401":
            raise KubeError("log in again", 401)
        if change["metadata"].get("resourceVersion", str(self.version)) != str(self.version):
            raise KubeError("conflict", 409)
        self.data.update(change["data"])
        self.version += 1
        if fate == "lost":
            raise KubeError("no answer")
        return {}

    def delete(self, kind: str, name: str, uid: str = "") -> bool:
        """By its fate too."""
        if self.fate and self.fate.pop(0) == "refused":
            raise KubeError("boom", 500)
        self.deleted.append(kind)
        return True


def board(server: Server) -> Blackboard:
    """Of a run with a Job, a ConfigMap and a Secret."""
    objects = [{"kind": kind, "metadata": {"name": "wasp-r"}} for kind in ("Job", "ConfigMap", "Secret")]
    made = Blackboard(server, lambda: objects, "r", adopted=False)  # type: ignore[arg-type]  # the methods that are used
    made.roots = [("Job", "wasp-r", "u")]
    return made


def test_a_write_whose_answer_was_lost_is_not_written_again() -> None:
    """Nodes obey the first word they hear."""
    server = Server("lost")
    assert board(server).fix_start() == float(server.data["start_at"]) == 101 + LEAD_S


def test_a_write_that_comes_late_is_of_a_later_start() -> None:
    """Else nodes would hear of a start that is past."""
    server = Server("refused", "refused")
    assert board(server).fix_start() == float(server.data["start_at"]) == 103 + LEAD_S


def test_credentials_that_are_refused_for_a_moment_cost_no_run() -> None:
    """They may just have been renewed, and not every server of the API know it."""
    server = Server("401", "401")
    assert board(server).fix_start() == float(server.data["start_at"]) == 103 + LEAD_S


def test_what_another_controller_wrote_counts() -> None:
    """Before, and between reading and writing."""
    server = Server()
    server.data["start_at"] = "77.0"
    assert board(server).fix_start() == 77.0


def test_trouble_that_does_not_pass_is_raised() -> None:
    """403 is not waited for."""
    server = Server()

    def refuse(*args: Any, **kwargs: Any) -> dict[str, Any]:
        raise KubeError("no", 403)

    server.patch = refuse  # type: ignore[method-assign]
    with pytest.raises(KubeError, match="no"):
        board(server).fix_start()


def test_deleting_begins_with_the_root_and_names_what_is_left_with_its_cure() -> None:
    """What is owned goes with its owner: it is not waited for twice."""
    server = Server()
    assert board(server).delete() == "" and server.deleted == ["Job", "ConfigMap", "Secret", "Lease"]
    server = Server("refused")
    left = board(server).delete()
    assert "Job wasp-r could not be deleted" in left and "wasp cluster stop r" in left and server.deleted == []
