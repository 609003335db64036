"""What each node of a run asks of its host on Ray, and how to say that there is no such place. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from wasp_ray.node.shape import shape_of
from wasp_ray.plan import Plan
from wasp_ray.report.numbers import amounts_text

Amounts = Mapping[str, float]
MOST_KINDS = 20


def places_of(plan: Plan, nodes: int, load: str, each: Amounts) -> list[dict[str, float]]:
    """Of each node: `each` for itself, and what its placed users ask for at their peak, all on one host."""
    out = []
    for node in range(nodes):
        place = dict(each)
        share, shares = (node, nodes) if load == "total" else (0, 1)
        for part in plan.generators:
            workers = shape_of(part, share, shares, inline=False).workers if part.is_placed else 0
            for name, amount in (part.placement or {}).items():
                place[name] = place.get(name, 0.0) + workers * amount
        out.append(place)
    return out


def user_amounts(plan: Plan) -> dict[str, Amounts]:
    """What a placed user, or a pack, of each Generator asks for, by the Generator's number as JSON has it."""
    parts = enumerate(plan.generators)
    return {str(gen): part.placement for gen, part in parts if part.placement is not None}


def no_place(places: Sequence[Amounts], hosts: Sequence[Amounts], free: Amounts, strict: bool) -> str:
    """What was asked, what there is, and the cure. `hosts`: what each live host has in all."""
    names = list(dict.fromkeys(name for place in places for name in place))
    what = _counted([amounts_text(place) for place in places], "place")
    have = _counted([_of(host, names) for host in hosts], "host")
    left = _of(free, names)
    cure = "ask for fewer nodes or less for each, or add hosts"
    if strict and len(hosts) < len(places):
        cure = 'ask for fewer nodes, add hosts, or let several share one: RayConfig(strategy="SPREAD")'
    apart = ", each on a host of its own" if strict and len(places) > 1 else ""
    there = f"the cluster has {have or 'no host'}, of which {left} is free"
    return f"Ray has no place for it: asked were {what}{apart}; {there}: {cure}"


def _of(amounts: Amounts, names: Sequence[str]) -> str:
    return amounts_text({name: amounts.get(name, 0.0) for name in names})


def _counted(texts: Sequence[str], what: str) -> str:
    """`2 hosts with CPU 4; 1 host with CPU 2`."""
    kinds = Counter(texts).most_common(MOST_KINDS)
    told = [f"{count} {what}{'s' if count > 1 else ''} with {text}" for text, count in kinds]
    rest = len(texts) - sum(count for _, count in kinds)
    return "; ".join([*told, f"{rest} others"] if rest else told)
