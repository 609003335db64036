"""The one module that imports ray: connects, places actors, calls them. No exception of Ray's leaves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from wasp_ray.cluster import ray_actor
from wasp_ray.cluster.ray_head import fault_of
from wasp_ray.errors import BadInput, NodeFailed

MAX_SENTENCE = 600
NO_SENTENCES = ("File ", "Traceback", "class_name", "actor_id", "pid:", "namespace", "ip:", "name:")
_untyped: Any = ray  # for functions whose annotations are missing or wrong
ORDERS, LINES = "orders", "lines"
"""Each a thread of the actor, in which calls keep their order."""


class ActorGone(Exception):
    """An actor that will not answer any more; the text says why."""


class ActorAway(Exception):
    """An actor that does not answer now; it may come back."""


class RayCluster:
    """This process as the driver of a job of its own. From one thread, once."""

    def __init__(self, address: str, runtime_env: Mapping[str, Any]) -> None:
        """Raises BadInput for what cannot be asked for, NodeFailed when there is no such cluster or it will not have us."""
        _check_address(address)
        self.group: Any = None
        self._actors: list[Any] = []
        try:
            ray.init(
                address=address, runtime_env=dict(runtime_env), log_to_driver=False,
                include_dashboard=False if address == "local" else None,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, TypeError, OSError, RayError) as exc:
            ray.shutdown()
            raise _refusal(exc, address) from exc
        self.head = str(ray.get_runtime_context().gcs_address)
        """HOST:PORT of the cluster's head."""

    def place_anywhere(self) -> None:
        """One actor that asks for nothing, as number 0."""
        self._actors = [_node_actor().options(num_cpus=0, max_restarts=0, max_task_retries=0).remote()]

    def place(self, places: Sequence[Mapping[str, float]], each: Mapping[str, float], strategy: str) -> None:
        """Begins to place one actor a place, which takes `each` of it; they start when the whole group has its place. They are
        numbers 0, 1, ... now, and the one that was is ended.
        """
        for actor in self._actors:
            end_actor(actor)
        self.group = placement_group([dict(place) for place in places], strategy=strategy)
        made = _node_actor()
        self._actors = [made.options(**_options(self.group, index, each)).remote() for index in range(len(places))]

    @property
    def waits_for_place(self) -> bool:
        """Whether the group has no place yet."""
        try:
            return str(placement_group_table(self.group).get("state")) in ("PENDING", "PREPARED")
        except RayError:
            return False

    def call(self, index: int, method: str, group: str, *arguments: Any) -> Any:
        """Begins a call of an actor; a reference for `ready` and `answer`."""
        return getattr(self._actors[index], method).options(concurrency_group=group).remote(*arguments)

    def hosts(self) -> tuple[list[dict[str, float]], dict[str, float]]:
        """What each live host has, and what is free in all."""
        try:
            nodes = [dict(node["Resources"]) for node in _untyped.nodes() if node["Alive"]]
            return nodes, dict(_untyped.available_resources())
        except RayError:
            return [], {}

    def leave(self) -> None:
        """Removes actors and group, ends the job. May be called again."""
        for actor in self._actors:
            end_actor(actor)
        if self.group is not None:
            with suppress(RayError, ValueError):
                remove_placement_group(self.group)
        self._actors, self.group = [], None
        ray.shutdown()


def _node_actor() -> Any:
    """The class, carried by value."""
    _untyped.cloudpickle.register_pickle_by_value(ray_actor)
    return _untyped.remote(concurrency_groups={ORDERS: 1, LINES: 1})(ray_actor.NodeActor)


def ready(refs: Iterable[Any], timeout_s: float) -> list[Any]:
    """Those whose answers are there, waiting for the first of them."""
    waiting = list(refs)
    if not waiting:
        return []
    ray.wait(waiting, num_returns=1, timeout=timeout_s, fetch_local=True)
    return list(ray.wait(waiting, num_returns=len(waiting), timeout=0)[0])


def answer(ref: Any) -> Any:
    """Of a call that is ready. Raises ActorGone or ActorAway."""
    try:
        return ray.get(ref)
    except ActorUnavailableError as exc:
        raise ActorAway(_sentence(exc)) from exc
    except RayError as exc:
        raise ActorGone(_sentence(exc)) from exc


def place_user(group: Any, index: int, amounts: Mapping[str, float]) -> Any:
    """An actor for one user in a place of the group, which has these amounts to spare. It ends with who called this.

    Raises ActorGone when Ray does not take it.
    """
    try:
        return _untyped.remote(ray_actor.UserActor).options(**_options(group, index, amounts)).remote()
    except (RayError, RuntimeError, ValueError) as exc:
        raise ActorGone(_sentence(exc)) from exc


def end_actor(actor: Any) -> None:
    """At once; one that has ended is no error."""
    with suppress(RayError, ValueError):
        ray.kill(actor)


def _options(group: Any, index: int, amounts: Mapping[str, float]) -> dict[str, Any]:
    """Of an actor in a place of a group. Never restarted: its node decides what takes its place."""
    return {
        "num_cpus": amounts.get("CPU", 0), "num_gpus": amounts.get("GPU", 0),
        "resources": {name: amount for name, amount in amounts.items() if name not in ("CPU", "GPU")},
        "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index),
        "max_restarts": 0, "max_task_retries": 0,
    }  # fmt: skip


def _check_address(address: str) -> None:
    """Ray itself takes a minute to say that nobody is there."""
    if "://" in address:
        raise BadInput(
            f"--ray-address {address}: expected HOST:PORT of the cluster's head, 'auto' or 'local', found a URL: start the"
            " run inside of the cluster (`ray job submit -- wasp run ... --on ray`)"
        )
    _, found, port = address.rpartition(":")
    if not found:
        if address not in ("auto", "local"):
            raise BadInput(f"--ray-address {address}: expected HOST:PORT of the cluster's head, 'auto' or 'local'")
        return
    if not port.isdigit():
        raise BadInput(f"--ray-address {address}: expected a number as port")
    if why := fault_of(address):
        raise NodeFailed(
            f"no Ray cluster at {address} ({why}): start one with `ray start --head`, or give the address of its head as"
            " --ray-address HOST:PORT (port 6379 unless it was started with another)"
        )


def _refusal(exc: Exception, address: str) -> Exception:
    text = str(exc).strip()
    if "Version mismatch" in text or "version mismatch" in text:
        return NodeFailed(
            f"the Ray cluster at {address} and this machine differ: {' '.join(text.split())}: use the same versions of Ray"
            " and Python here as there, or start the run inside of the cluster"
        )
    if isinstance(exc, (ValueError, TypeError)):
        return BadInput(f"Ray refuses the run's runtime_env or address: {_sentence(exc)}")
    if isinstance(exc, ConnectionError):
        nobody = (
            "no Ray runs on this machine" if address == "auto" else f"no Ray cluster at {address} ({_sentence(exc)})"
        )
        return NodeFailed(
            f"{nobody}: start one with `ray start --head`, or name one that runs by --ray-address HOST:PORT or RAY_ADDRESS"
        )
    return NodeFailed(f"the Ray cluster at {address} could not be used: {_sentence(exc)}")


CAUSES = (
    (
        "running low on memory",
        "Ray's memory monitor killed it, since its host ran low on memory: give the load more hosts or smaller users",
    ),
    (
        "its owner has died",
        "Ray took its driver, this process, for gone, as it does when the raylet of this host is gone",
    ),
    ("its node has died", "its host or the raylet there is gone"),
    (
        "Worker exit type: SYSTEM_ERROR",
        "its process was killed or crashed: by the kernel for want of memory, by a signal, by `ray stop`",
    ),
)
"""What Ray writes at length of an actor's end, and what it means here."""


def _sentence(exc: BaseException) -> str:
    """An error of Ray's without identifiers and traceback."""
    text = str(exc)
    for mark, meaning in CAUSES:
        if mark in text:
            return meaning
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith(NO_SENTENCES)]
    said = " ".join(told)
    if len(said) > MAX_SENTENCE:  # how it begins says what was done, its end what came of it
        said = f"{said[: MAX_SENTENCE // 3]} ... {said[-(MAX_SENTENCE - MAX_SENTENCE // 3) :]}"
    return said or type(exc).__name__
