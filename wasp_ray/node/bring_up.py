"""Brings a node up to its load: the plan from the load file, then memory, engines, rows and the profile's setup."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.node.generator import GeneratorRun
from wasp_ray.node.intake import Intake
from wasp_ray.node.shape import estimate, shape_of, shortages
from wasp_ray.plan import Plan
from wasp_ray.wire.arena import Arena, lay_out
from wasp_ray.wire.channel import Message
from wasp_ray.wire.control import Control

if TYPE_CHECKING:
    from wasp_ray.node.run import Node

LOAD_TIMEOUT_S = 300.0


def load(node: Node) -> None:
    """The plan, as the zygote reads it. Raises BadInput."""
    options = node.options
    node.links.start_zygote(options.profile)
    message: Message = {
        "op": "load", "path": [], "seed": options.seed, "nodes": options.nodes, "load": options.load,
        "thresholds": options.thresholds, "only": options.only, "once": options.once,
        "places": options.places, **options.source,
    }  # fmt: skip
    answer = node.ask(message, LOAD_TIMEOUT_S, "reading the load file")
    if "problems" in answer:
        raise BadInput(answer["problems"])
    node.plan = Plan.from_data(answer["plan"]).seeded(options.node if options.load == "per-node" else 0)
    node.warnings += answer["warnings"]


def prepare(node: Node) -> None:
    """Memory, engines, rows, the profile's setup. Raises BadInput and NodeFailed."""
    options, parts = node.options, node.plan.generators
    shapes = [shape_of(part, *options.share, node.inline) for part in parts]
    slabs = lay_out([(s.rings, s.slots, s.entries) for s in shapes])
    if not node.inline and (lacking := shortages(estimate(shapes, slabs[-1].end))):
        raise BadInput(lacking)
    node.listener.plan_ready(node.plan, node.warnings)
    arena = node.arena = Arena.create(slabs, shared=not node.inline)
    node.control = Control(arena)
    node.control.initialise(len(parts))
    node.crew.generators = [
        GeneratorRun(gen, part, shape, arena, node.control, *options.share, node.inline)
        for gen, (part, shape) in enumerate(zip(parts, shapes, strict=True))
    ]
    node.intake = Intake(node)
    _start_aggregator(node, arena)
    node.exports.wait_ready(lambda: node.orders.stop.asked)
    _prepare_zygote(node, arena)


def _start_aggregator(node: Node, arena: Arena) -> None:
    options = node.options
    folder = str(options.bundle_dir) if options.bundle_dir is not None else None
    of_run = {"run_id": options.run_id, "node": options.node + 1, "nodes": options.nodes, "folder": folder}
    node.exports.start(node.plan, of_run)
    slabs = [slab.to_data() for slab in arena.slabs]
    node.links.start_aggregator(arena, {"op": "plan", "plan": node.plan.to_data(), "slabs": slabs}, node.exports.feed)
    node.exports.feed_given()


def _prepare_zygote(node: Node, arena: Arena) -> None:
    options, zygote = node.options, node.links.zygote
    assert zygote is not None
    tick_fds = [g.ticks.read_fd if g.ticks is not None else node.intake.notes_write for g in node.generators]
    fds = [node.intake.notes_write, node.intake.output_write, *tick_fds, *(options.placer or ())]
    message: Message = {
        "op": "prepare", "slabs": [slab.to_data() for slab in arena.slabs], "run_id": options.run_id,
        "seed": node.plan.seed, "node": options.node, "nodes": options.nodes, "share": options.share[0],
        "shares": options.share[1], "user_dir": options.user_dir,
        "wants_raw": node.exports.wants_samples, "verbose": options.once, "plan": node.plan.to_data(),
        "placed": options.placer is not None,
    }  # fmt: skip
    if node.inline:
        zygote.hand_over(arena)
        message["fds"], fds = fds, []
    else:
        assert arena.fd is not None
        fds = [arena.fd, *fds]
    answer = node.ask(message, LOAD_TIMEOUT_S, "preparing the load", fds)
    for fd in options.placer or ():
        os.close(fd)
    if "problems" in answer:
        raise BadInput(answer["problems"])
    if "failed" in answer:
        raise NodeFailed(answer["failed"])
    node.intake.close_write_ends(keep=node.inline)
