"""Where the options of a cluster run come from: environment and wasp.toml, as raw as they are written there.

Owns their shapes: what one must write as text becomes a list, a mapping or a tree. It checks no option's value, but for what a
wasp.toml must not say: the file comes with a folder, perhaps a cloned one, so it names neither a kubeconfig (whose plugins would
be run) nor secret values, nor paths outside of the folder.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wasp_ray.cluster.values import Values
from wasp_ray.cluster.wording import merged, nested_values

Layer = dict[str, Any]

AS_VALUES = {
    "jobs": "jobs", "image": "image", "test": "test.name", "timeout": "test.timeout", "deploy_timeout": "deployTimeout",
    "drain": "drain", "on_lost_node": "onLostNode",
}  # fmt: skip
"""Options that are values of the chart too: whichever the stronger source gives counts, the option before the value."""
LISTS = ("env_from", "thresholds")
MAPPINGS = ("env", "labels", "params", "secrets", "values")
PATHS = ("build_root", "chart", "out", "json_path", "junit_path", "markdown_path")
_SECRET_VALUES = ("env.loki.token", "env.loki.basicAuth", "secretEnv")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """The section [cluster] of a wasp.toml; no `path` and no `options` where there is none."""

    path: Path | None = None
    root: Path | None = None
    """The folder that its paths must not leave."""
    options: Layer = field(default_factory=dict)
    problems: Sequence[str] = ()


def from_toml(folder: Path) -> TomlFile:
    """Read the wasp.toml of `folder`, or of the nearest parent up to the root of the repository that has one.

    The root is the first parent with a .git; without one only `folder` itself is looked at.
    """
    parents = (folder, *folder.parents)
    root = next((at for at in parents if (at / ".git").exists()), folder)
    within = parents[: parents.index(root) + 1]
    file = next((at / "wasp.toml" for at in within if (at / "wasp.toml").is_file()), None)
    if file is None:
        return TomlFile()
    try:
        if file.parent != folder and file.stat().st_uid not in (os.geteuid(), folder.stat().st_uid):
            return TomlFile(file, root, problems=[
                f"{file} belongs to another user, who could choose your cluster by it: expected a file of yours; copy it to"
                f" {folder} if you trust it, or make that the root of a repository of its own"
            ])  # fmt: skip
        section = tomllib.loads(file.read_text(encoding="utf-8")).get("cluster", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        return TomlFile(file, root, problems=[f"{file}: expected a TOML file, found one that cannot be read: {exc}"])
    if not isinstance(section, dict):
        return TomlFile(file, root, problems=[f"{file}: expected a section [cluster], found {section!r}"])
    options = {name: _beside(file, name, value) for name, value in section.items()}
    if options.pop("kubeconfig", None) is None:
        return TomlFile(file, root, options)
    return TomlFile(file, root, options, [
        f"kubeconfig ({file}): expected it outside of wasp.toml, since a kubeconfig names programs that are run here: set"
        " KUBECONFIG, or give --kubeconfig FILE; `context` may stay and names a context of yours"
    ])  # fmt: skip


def refused(toml: TomlFile) -> list[str]:
    """What a wasp.toml must not say of a run, a sentence each; none shows a value that may be secret."""
    out = []
    secrets = toml.options.get("secrets")
    if isinstance(secrets, Mapping) or (isinstance(secrets, str) and secrets.lstrip()[:1] == "{"):
        out.append(
            "secrets (wasp.toml): expected names of variables of your environment, found values: a file of the repository shows"
            ' them to everybody; write secrets = ["API_KEY"] and set API_KEY'
        )
    values = nested_values(Values, _mapping(toml.options.get("values")))[0]
    out += [
        f"values.{path} (wasp.toml): expected no secret value in a file of the repository: give it in WASP_CLUSTER_VALUES, by"
        " --values FILE, or as a variable that `secrets` names"
        for path in _SECRET_VALUES
        if _at(values, path)
    ]
    for name in PATHS:
        value = toml.options.get(name)
        if isinstance(value, str) and "://" not in value and not _is_within(value, toml.root):
            out.append(
                f"{name} (wasp.toml): expected a path within {toml.root}, found {value}: give it as an option of the command or in"
                f" WASP_CLUSTER_{name.upper()}"
            )
    return out


def _mapping(values: Any) -> Mapping[str, Any]:
    try:
        return dict(_mapped("values", values or {}))
    except ValueError:  # reported where the values are read
        return {}


def _is_within(path: str, root: Path | None) -> bool:
    return root is not None and Path(path).resolve().is_relative_to(root.resolve())


def _beside(file: Path, name: str, value: Any) -> Any:
    """Paths in the file begin where the file is, wherever the command is run."""
    if name not in PATHS or not isinstance(value, str) or "://" in value:
        return value
    return str(file.parent / Path(value).expanduser())


def shaped(given: Mapping[str, Any]) -> tuple[Layer, list[str]]:
    """One source's options with texts taken apart, chart values nested, and options and values in step."""
    layer, problems = dict(given), list[str]()
    if isinstance(layer.get("values"), Values):
        layer["values"] = layer["values"].to_chart()
    for name in (*LISTS, *MAPPINGS):
        if name in layer:
            try:
                layer[name] = _listed(layer[name]) if name in LISTS else _mapped(name, layer[name])
            except ValueError as exc:
                problems.append(f"{name}: {exc}")
                del layer[name]
    values, unknown, doubled = nested_values(Values, layer.get("values", {}))
    problems += [f"values.{text}" for text in doubled]
    values = merged(values, unknown.tree)
    for option, path in AS_VALUES.items():
        if option in layer:
            values = merged(values, _deep(path, layer[option]))
        elif (found := _at(values, path)) is not None:
            layer[option] = found
    return {**layer, **({"values": values} if values else {})}, problems


def _listed(value: Any) -> Any:
    """A list; its JSON; or one item a line."""
    if not isinstance(value, str):
        return list(value) if isinstance(value, tuple) else value
    if value.lstrip()[:1] == "[":
        return _json(value)
    return [line.strip() for line in value.splitlines() if line.strip()]


def _mapped(name: str, value: Any) -> Any:
    """A mapping; its JSON; or NAME=VALUE a line. Secrets may be names alone: their values are in the environment."""
    if isinstance(value, str):
        value = (
            _json(value) if value.lstrip()[:1] in ("{", "[") else [line for line in value.splitlines() if line.strip()]
        )
    if isinstance(value, list | tuple):
        pairs = [_pair(name, item) for item in value]
        value = dict(pairs)
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping, or NAME=VALUE a line, found {type(value).__name__}")
    return dict(value)


def _pair(option: str, item: Any) -> tuple[str, Any]:
    name, found, value = item.partition("=") if isinstance(item, str) else ("", "", "")
    name = name.strip()
    if name and found and option != "secrets":
        return name, value
    if name and option in ("secrets", "env") and not found:
        if name in os.environ:
            return name, os.environ[name]
        raise ValueError(f"expected the variable {name} in this environment, found none: set it")
    if option == "secrets":  # not shown: it may be the secret itself
        raise ValueError("expected names of variables of this environment, or a mapping, found something else")
    raise ValueError(f"expected NAME=VALUE, found {item!r}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ValueError(f"expected JSON, found a text that is none: {exc}") from None


def _deep(path: str, value: Any) -> Layer:
    head, _, rest = path.partition(".")
    return {head: _deep(rest, value) if rest else value}


def _at(tree: Any, path: str) -> Any:
    for name in path.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
