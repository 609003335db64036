"""Turns what users wrote into a model's shape, and what pydantic says into sentences. Pure; it knows no particular model.

A sentence says what was expected, what was found, and the cure; the value of a secret is in none.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from wasp_ray.cluster.value_types import OPEN

Tree = dict[str, Any]
Pairs = Iterable[tuple[str, Any]]

_EXPECTED = {
    "bool_parsing": "true or false", "bool_type": "true or false", "dict_type": "a mapping", "float_parsing": "a number",
    "greater_than_equal": "at least {ge}", "int_from_float": "a whole number", "int_parsing": "a whole number",
    "int_type": "a whole number", "less_than_equal": "at most {le}", "list_type": "a list", "literal_error": "{expected}",
    "model_type": "a mapping", "string_type": "a text",
}  # fmt: skip


@dataclass(slots=True)
class Unknown:
    """Keys a model does not have: as a nested tree, and as sentences."""

    tree: Tree = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def nested_values(model: type[BaseModel], raw: Mapping[str, Any]) -> tuple[Tree, Unknown, list[str]]:
    """`raw` with its dotted keys taken apart: the known tree, what is unknown, and keys that were given twice."""
    unknown, problems = Unknown(), list[str]()
    tree = _nest(model, raw.items(), "", unknown, problems)
    names = dict(_short_names(model))
    for path in unknown.problems[:]:
        unknown.problems.remove(path)
        unknown.problems.append(_not_known(path, names))
    return tree, unknown, problems


def _nest(model: type[BaseModel], pairs: Pairs, path: str, unknown: Unknown, problems: list[str]) -> Tree:
    fields = {info.alias or name: info for name, info in model.model_fields.items()}
    parts: dict[str, list[Any]] = {}
    for key, value in pairs:
        name, rest = _split(str(key), fields)
        if name is None:
            unknown.problems.append(path + str(key))
            unknown.tree = merged(unknown.tree, _deep((path + str(key)).split("."), value))
        elif value is not None:  # as in YAML and for helm: the default
            parts.setdefault(name, []).append({rest: value} if rest else value)
    out = {}
    for name, given in parts.items():
        info, values = fields[name], [_decoded(fields[name], value) for value in given]
        inner = [pair for value in values if isinstance(value, Mapping) for pair in value.items()]
        if (part := _part(info)) and all(isinstance(value, Mapping) for value in values):
            out[name] = _nest(part, inner, f"{path}{name}.", unknown, problems)
        elif _is_open(info) and all(isinstance(value, Mapping) for value in values):
            problems += [f"{path}{name}.{key}: given twice: leave one out" for key in _differing(inner)]
            out[name] = dict(inner)
        else:
            if any(value != values[0] for value in values):
                problems.append(f"{path}{name}: given twice: leave one out")
            out[name] = values[0]
    return out


def _split(key: str, fields: Mapping[str, FieldInfo]) -> tuple[str | None, str]:
    """The field a key begins with, and what follows."""
    if key in fields:
        return key, ""
    name, _, rest = key.partition(".")
    if rest and name in fields and (_part(fields[name]) or _is_open(fields[name])):
        return name, rest
    return None, ""


def _part(info: FieldInfo) -> type[BaseModel] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _is_open(info: FieldInfo) -> bool:
    return OPEN in info.metadata


def _decoded(info: FieldInfo, value: Any) -> Any:
    """Mappings and lists may come as JSON texts, as from an environment variable."""
    if not isinstance(value, str) or value[:1] not in ("{", "[") or info.annotation is str:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _differing(pairs: Pairs) -> Iterator[str]:
    seen: Tree = {}
    for key, value in pairs:
        if key in seen and seen[key] != value:
            yield key
        seen[key] = value


def _deep(path: list[str], value: Any) -> Tree:
    return {path[0]: value if len(path) == 1 else _deep(path[1:], value)}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """Both trees; where they meet in a mapping it is merged too, else `over` wins."""
    out = dict(base)
    for key, value in over.items():
        known = out.get(key)
        out[key] = merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return out


def paths(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a model, dotted, with its field."""
    for name, info in model.model_fields.items():
        path = prefix + (info.alias or name)
        part = _part(info)
        if part is None:
            yield path, info
        else:
            yield from paths(part, path + ".")


def _short_names(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Whole paths and their last names, in small letters, to the path."""
    for path, _ in paths(model):
        yield path.rpartition(".")[2].lower(), path
    for path, _ in paths(model):
        yield path.lower(), path


def _not_known(path: str, names: Mapping[str, str]) -> str:
    return f"{path}: no such value{nearest(path, names)}"


def nearest(key: str, names: Mapping[str, str]) -> str:
    """`: did you mean X?`, or the list of names when none is like it. `names`: as it may be written -> as it is meant."""
    found = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.6)
    if not found and "." in key:
        found = difflib.get_close_matches(key.lower().rpartition(".")[2], names, n=1, cutoff=0.75)
    return (
        f": did you mean {names[found[0]]}?" if found else f": expected one of {', '.join(sorted(set(names.values())))}"
    )


def sentences(error: ValidationError, model: type[BaseModel], origin: Mapping[str, str] = {}) -> list[str]:
    """One for each of pydantic's errors. `origin`: where an option came from, shown behind its name."""
    known = dict(paths(model))
    names = {path.lower(): path for path in known}
    out: list[str] = []
    for found in error.errors(include_url=False):
        place = [str(part) for part in found["loc"]]
        path = ".".join(part for part in place if part != "[key]")
        if found["type"] == "problems":
            out += [f"{path}.{text}" if path else text for text in found["ctx"]["problems"]]
        elif found["type"] == "extra_forbidden":
            out.append(f"{path}{_from(place, origin)}: no such option{nearest(path, names)}")
        else:
            name = path if path in known else _field_of(path, known)
            said = _said(found, known.get(name))
            out.append(f"{path}{_from(place, origin)}: {said}{'' if ': ' in said else _cure(name, known.get(name))}")
    return out


def _from(place: list[str], origin: Mapping[str, str]) -> str:
    return f" ({origin[place[0]]})" if place and place[0] in origin else ""


def _field_of(path: str, known: Mapping[str, FieldInfo]) -> str:
    """The field of the model that holds a place within a value."""
    return next((name for name in known if path.startswith(name + ".")), "")


def _said(found: Any, info: FieldInfo | None) -> str:
    if found["type"] == "value_error":
        return str(found["ctx"]["error"])
    context = found.get("ctx", {})
    if found["type"] in _EXPECTED:
        wanted = _EXPECTED[found["type"]].format(**context)
    else:
        wanted = found["msg"].removeprefix("Input should be ")
    hidden = (
        info is None or "SecretStr" in repr(info.annotation) or isinstance(found["input"], SecretStr | Mapping | list)
    )
    return f"expected {wanted}, found {type(found['input']).__name__ if hidden else repr(found['input'])}"


def _cure(path: str, info: FieldInfo | None) -> str:
    if info is None or not info.examples:
        return ""
    shown = info.examples[0]
    return f": write for example {path}={shown if isinstance(shown, str) else json.dumps(shown)}"
