"""What a controller records is read back as it was, fits into a ConfigMap, and is never dropped without a word."""

from __future__ import annotations

import base64
import gzip
import json
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_nodes import plan_of

from wasp_ray.cluster.lifecycle import Lifecycle, Terms
from wasp_ray.cluster.record import (
    CAUSES,
    MAX_OTHER_CHARS,
    MAX_PLAN_CHARS,
    PLAIN_CHARS,
    PLAN,
    VERDICT,
    VERSION,
    adopted,
    packed,
    texts_of,
    unpacked,
)
from wasp_ray.errors import BadInput
from wasp_ray.plan import Plan, SegmentPlan, SinkPlan
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.thresholds import evaluate
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals

CAUSES_GIVEN = {
    "problems": [], "errors": ["the run was not over within its timeout"], "invalid": [], "interrupted": None,
    "stopped": False, "lost": {"2": "OOMKilled"},
}  # fmt: skip


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_every_object_is_read_back_as_it_was(data: dict[str, Any]) -> None:
    """Short ones are readable JSON, long ones are compressed."""
    text = packed(data)
    assert unpacked(text) == data
    assert text.startswith("gz:") == (len(json.dumps(data, separators=(",", ":"))) > PLAIN_CHARS)


def test_a_run_is_adopted_as_it_was_recorded() -> None:
    """All values by their keys; an empty ConfigMap has none."""
    verdict = {"verdict": "failed", "reasons": ["it fired"]}
    texts = texts_of({PLAN: plan_of(2), VERSION: "1.2.3", CAUSES: CAUSES_GIVEN, VERDICT: verdict})
    found = adopted({**texts, "start_at": "77.5", "abort": "stop"})
    assert (found.plan, found.causes, found.verdict, found.version) == (plan_of(2), CAUSES_GIVEN, verdict, "1.2.3")
    assert found.released and found.aborted and found.problems == ()
    nothing = adopted({"start_at": "", "abort": ""})
    assert not (nothing.released or nothing.aborted or nothing.plan.is_known or nothing.causes or nothing.problems)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (PLAN, "{"),
        (PLAN, "[]"),
        (PLAN, '{"generators": []}'),
        (PLAN, "gz:" + base64.b64encode(b"no gzip").decode()),
        (PLAN, "gz:" + base64.b64encode(gzip.compress(b"[1]", mtime=0)).decode()),
        (CAUSES, '{"errors": "a text"}'),
        (VERDICT, '{"verdict": 3}'),
    ],
)
def test_a_value_that_cannot_be_read_is_a_problem(name: str, text: str) -> None:
    """Named, so that the run is an error: what it held may have been the reason not to pass."""
    (problem,) = adopted({name: text}).problems
    assert repr(name) in problem


def test_the_options_of_sinks_are_not_recorded() -> None:
    """Nodes alone use them, and more people may read a ConfigMap than a log."""
    sink = SinkPlan(kind="loki", name="loki", needs=("samples",), options={"headers": {"X-Key": "tok-8f3a"}})
    text = texts_of({PLAN: replace(plan_of(1), sinks=(sink,))})[PLAN]
    assert unpacked(text)["sinks"] == [{"kind": "loki", "name": "loki"}]
    assert adopted({PLAN: text}).plan.sinks == (SinkPlan(kind="loki", name="loki"),)
    assert "tok-8f3a" not in json.dumps(unpacked(text))


def random_schedule(segments: int) -> Plan:
    """A plan that cannot be compressed well; its first second is a warm-up."""
    plan = plan_of(1, ["failed < 50%", "rate > 5/s"])
    (part,) = plan.generators
    numbers = random.Random(7)
    cuts = [0, 10**9, *sorted(numbers.randrange(10**9, 10**10) for _ in range(segments - 2)), 10**10]
    made = tuple(
        SegmentPlan(
            index=index, name=f"{numbers.getrandbits(128):x}", warmup=index == 0, from_ns=from_ns, to_ns=to_ns,
            planned_calls=numbers.getrandbits(40), planned_peak=numbers.random(),
        )
        for index, (from_ns, to_ns) in enumerate(pairwise(cuts))
    )  # fmt: skip
    return replace(plan, generators=(replace(part, segments=made),))


def test_a_plan_that_is_too_large_is_trimmed_to_what_the_verdict_needs() -> None:
    """Its thresholds come to the same values, warm-ups left out as before."""
    plan = random_schedule(10_000)
    text = texts_of({PLAN: plan})[PLAN]
    assert len(text) <= MAX_PLAN_CHARS < len(packed(plan.to_data()))
    kept = adopted({PLAN: text}).plan
    totals = NodeTotals(node=1, host="h")
    ledger = Ledger(scheduled=100, started=100, ok=40, failed=60)
    item = totals.generators["search"] = GeneratorTotals(kind="rate", ledger=ledger, delivered=100)
    item.segment(0).failed = 50
    for expression in plan.thresholds:
        assert evaluate(expression, totals, 10.0, kept) == evaluate(expression, totals, 10.0, plan)
        assert evaluate(expression, totals, 10.0, kept)["passed"]
    assert replace(kept, generators=plan.generators) == plan


def test_a_plan_that_cannot_be_trimmed_is_refused_with_the_cure() -> None:
    """Its size, what is allowed, what to do."""
    numbers = random.Random(7)
    thresholds = tuple(f"failed of {numbers.getrandbits(200):x} < 1%" for _ in range(20_000))
    plan = replace(plan_of(1), thresholds=thresholds)
    with pytest.raises(BadInput, match=r"takes [\d,]+ bytes .*at most 300,000.*use fewer Generators"):
        texts_of({PLAN: plan})


def test_causes_of_any_size_fit() -> None:
    """The first of each kind are kept, and which nodes were lost."""
    numbers = random.Random(7)
    texts = [f"node {n} was lost: {numbers.getrandbits(900):x}" for n in range(3_000)]
    lost = {str(n): text for n, text in enumerate(texts)}
    text = texts_of({CAUSES: {**CAUSES_GIVEN, "invalid": texts, "lost": lost}})[CAUSES]
    assert len(text) <= MAX_OTHER_CHARS
    found = adopted({CAUSES: text}).causes
    assert found["invalid"] == texts[:20] and found["lost"].keys() == lost.keys()


def test_a_life_cycle_that_adopts_its_causes_has_the_same_causes() -> None:
    """Whatever they are; and a mark tells when they have changed."""
    first = Lifecycle(Terms(2))
    before = first.causes_mark()
    first.errors.append("no login")
    first.invalid.append("node 2 was lost")
    first.lost[2] = "OOMKilled"
    first.interrupted, first.stopped = "SIGINT", True
    assert first.causes_mark() != before
    second = Lifecycle(Terms(2))
    second.adopt(True, True, 0.0, json.loads(json.dumps(first.causes())))
    assert second.causes() == first.causes() and second.causes_mark() == first.causes_mark()
