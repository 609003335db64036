"""A plan that a node reports is read before anything is done by it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.plans import plan_of

from wasp_ray import __version__
from wasp_ray.cluster.agent import plan_hash
from wasp_ray.cluster.backend import Happening, Line
from wasp_ray.cluster.execution import ClusterExecution
from wasp_ray.cluster.lifecycle import Cleaned, Collected, Ended, Seen
from wasp_ray.cluster.snapshot import Encoder
from wasp_ray.errors import BadInput
from wasp_ray.execution import Listener, Reporter, Settings


class OneNode:
    """A backend whose one node reports a plan and exits when it is ordered to stop."""

    lead_s = 0.0

    def __init__(self, lines: Sequence[str]) -> None:
        self._next: list[Happening] = [Seen(1, "u"), *(Line(1, "u", line) for line in lines)]

    def deploy(self) -> None:
        """Nothing to start."""

    def events(self, timeout_s: float) -> Sequence[Happening]:
        """All at once."""
        found, self._next = self._next, []
        return found

    def release(self) -> float:
        """Never called: the node is not ready."""
        raise AssertionError

    def tell(self, order: str) -> None:
        """The node ends."""
        self._next.append(Ended(1, "u", "exit code 0"))

    def collect(self) -> None:
        """There is nothing to fetch."""
        self._next.append(Collected())

    def clean(self) -> None:
        """There is nothing to remove."""
        self._next.append(Cleaned())


def test_a_reported_plan_that_cannot_be_read_is_refused_with_what_is_wrong_in_it() -> None:
    """The run ends with the node, the key, its value and what was expected, not with an exception in the middle of the code."""
    plan = plan_of()
    data = plan.to_data() | {"nodes": "two"}
    message = {"plan": data, "warnings": [], "hash": plan_hash(plan), "version": __version__}
    settings = Settings(source={})

    def backend(settings: Settings, reporter: Reporter) -> OneNode:
        return OneNode(Encoder(settings.run_id, 1, "u").lines("plan", message))

    with pytest.raises(BadInput) as found:
        ClusterExecution(settings, Listener(), backend).run()
    assert found.value.problems == [
        "node 1 reported a plan that cannot be read: 'nodes' of the plan is 'two': expected an integer"
    ]
