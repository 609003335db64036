"""Who of a run's nodes is there, with which plan, and whether all may start together. Pure: told, asked, never waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Member:
    """One node of the run: the process or pod (`uid`) that plays it at present."""

    uid: str
    where: str = ""
    version: str = ""
    plan_hash: str = ""
    trouble: str = ""


@dataclass(slots=True)
class Barrier:
    """Counts nodes 1 .. expected. A member is known by (node, uid): what an earlier uid said is not its successor's."""

    expected: int
    members: dict[int, Member] = field(default_factory=dict)
    _ready: set[int] = field(default_factory=set)

    def seen(self, node: int, uid: str, where: str = "") -> bool:
        """A process or pod that is to be `node`; True when it takes the place of another one."""
        known = self.members.get(node)
        if known is not None and known.uid == uid:
            known.where = where or known.where
            return False
        self.members[node] = Member(uid, where)
        self._ready.discard(node)
        return known is not None and known.uid != ""

    def planned(self, node: int, uid: str, version: str, plan_hash: str) -> None:
        """It has read its load."""
        member = self._member(node, uid)
        if member is not None:
            member.version, member.plan_hash = version, plan_hash

    def ready(self, node: int, uid: str) -> None:
        """Its first users are set up."""
        member = self._member(node, uid)
        if member is not None:
            member.trouble = ""
            self._ready.add(node)

    def trouble(self, node: int, why: str) -> None:
        """Why it is not there yet."""
        self.members.setdefault(node, Member("")).trouble = why

    def gone(self, node: int, uid: str) -> None:
        """Its process or pod is no more."""
        if self._member(node, uid) is not None:
            del self.members[node]
            self._ready.discard(node)

    def is_member(self, node: int, uid: str) -> bool:
        """Whether this process or pod plays the node at present."""
        return self._member(node, uid) is not None

    def _member(self, node: int, uid: str) -> Member | None:
        member = self.members.get(node)
        return member if member is not None and member.uid == uid else None

    @property
    def full(self) -> bool:
        """All nodes are ready."""
        return len(self._ready) >= self.expected and self._ready.issuperset(range(1, self.expected + 1))

    def missing(self) -> list[str]:
        """The nodes that are not ready, each with what is known of it."""
        out = []
        for node in range(1, self.expected + 1):
            if node not in self._ready:
                member = self.members.get(node)
                why = (
                    "not there"
                    if member is None
                    else member.trouble or ("setting up" if member.plan_hash else "starting")
                )
                out.append(f"node {node}: {why}")
        return out

    def name_of(self, node: int) -> str:
        """The node with its process or pod: `node 1 (wasp-shop-0-x on host-3)`."""
        member = self.members.get(node)
        return f"node {node} ({member.where})" if member is not None and member.where else f"node {node}"

    def without_plan(self) -> str:
        """Names nodes that are ready though no plan of theirs was received; empty when there is none."""
        nodes = [node for node in sorted(self._ready) if not self.members[node].plan_hash]
        return ", ".join(map(self.name_of, nodes[:5])) + (f" and {len(nodes) - 5} more" if len(nodes) > 5 else "")

    def different_versions(self) -> str:
        """What versions of wasp_ray the nodes run, when it is not one; else nothing."""
        return _groups(self.members.items(), lambda member: member.version)

    def different_plans(self) -> str:
        """Which nodes have which plan, when it is not one; else nothing."""
        return _groups(self.members.items(), lambda member: member.plan_hash[:12])


def _groups(members: Iterable[tuple[int, Member]], key: Callable[[Member], str]) -> str:
    found: dict[str, list[str]] = {}
    for node, member in sorted(members):
        where = f" ({member.where})" if member.where else ""
        found.setdefault(key(member), []).append(f"{node}{where}")
    if len(found) < 2:
        return ""
    return "; ".join(f"{value or 'none'} on node {', '.join(nodes)}" for value, nodes in found.items())
