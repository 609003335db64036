"""What a worker writes into its ring's header and the control block, and the numbers of its users."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wasp_ray.clock import now_ns
from wasp_ray.wire.arena import Arena, Entry, Header, State, lay_out
from wasp_ray.wire.control import Ask, Control, Word
from wasp_ray.worker.spec import WorkerSpec


def spec_of(**changed: Any) -> WorkerSpec:
    """The second worker of the second Generator on the second of three nodes: a pack of four users."""
    arena = Arena.create(lay_out([(1, 64, 1), (3, 64, 4)]), shared=False)
    control = Control(arena)
    control.initialise(2)
    part: Any = SimpleNamespace(index=1, name="g")
    fields: dict[str, Any] = {
        "arena": arena, "control": control, "part": part, "ring": 2, "worker": 1, "workers": 3, "incarnation": 5, "first_user": 4,
        "users": 4, "node": 1, "nodes": 3, "share": 1, "shares": 3, "seed": 7, "run_id": "r", "user_dir": "", "wake_fd": -1,
        "notes_fd": -1, "ticks_fd": -1, "wants_raw": False, "verbose": False,
    }  # fmt: skip
    return WorkerSpec(**fields | changed)


def test_header_words_and_entries_are_those_of_its_own_ring() -> None:
    """In the slab of its Generator."""
    spec = spec_of()
    spec.arena.words[spec.header(Header.FORKS)] = 9
    assert spec.arena.read(1, 2, Header.FORKS) == 9
    for user in range(4, 8):
        spec.arena.words[spec.entry_word(user) + Entry.NUMBER] = user
    assert [entry.number for entry in spec.arena.entries(1, 2)] == [4, 5, 6, 7]
    assert not spec.arena.entries(1, 1) and not spec.arena.entries(0, 0)


def test_a_state_is_published_with_its_time() -> None:
    """For limits of setup and teardown."""
    spec, before = spec_of(), now_ns()
    spec.enter(State.TEARDOWN)
    assert spec.arena.read(1, 2, Header.STATE) == State.TEARDOWN
    assert before <= spec.arena.read(1, 2, Header.STATE_SINCE) <= now_ns()


def test_users_of_all_nodes_have_ids_of_their_own() -> None:
    """Node j of N has j, j + N and so on."""
    ids = [spec_of(node=node).global_user(local) for node in range(3) for local in range(4)]
    assert ids == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


def test_streams_have_the_seed_of_run_generator_user_and_incarnation() -> None:
    """And of what they are for."""
    assert spec_of().stream_seed("sample") == "7/g/13/5/sample"


def test_dropped_paces_are_added_by_cause_and_taken_from_the_life() -> None:
    """The target's, while the user was busy, and our own."""
    spec = spec_of()
    for busy, late in ((2, 3), (10, 20)):
        life: Any = SimpleNamespace(take_dropped=lambda both=(busy, late): both)
        spec.count_dropped_paces(life)
    assert spec.arena.read(1, 2, Header.DROPPED_BUSY) == 12 and spec.arena.read(1, 2, Header.DROPPED_GENERATOR) == 23


@pytest.mark.parametrize(("is_abandoned", "asked"), [(False, Ask.STOP), (True, 0)])
def test_a_worker_asks_for_the_end_of_its_own_generator(is_abandoned: bool, asked: int) -> None:
    """And closes it for new calls at once; a thread that was given up asks for nothing."""
    spec = spec_of(abandoned=lambda: is_abandoned)
    for gen in range(2):
        spec.control.set(gen, Word.RUN_LIMIT, 8)
    spec.ask_stop(Ask.STOP)
    assert [spec.control.asked(gen) for gen in range(2)] == [0, asked]
    assert [spec.control.get(gen, Word.RUN_LIMIT) for gen in range(2)] == [8, 8 if is_abandoned else 0]
