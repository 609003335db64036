"""Kubernetes objects as YAML: written so that Kubernetes' parser reads what was meant, read as that parser reads. Pure.

PyYAML follows YAML 1.1, helm and kubectl nearly 1.2: "1e3" is a text to the one and a number to the others, 2024-01-01 a
date to the one and a text to the others. So texts that look like anything else are quoted, and few plain scalars are
anything but texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from wasp_ray.cluster.masking import MASK

_PLAIN = re.compile(r"[A-Za-z/][\w./-]*(:[\w./-]+)*", re.ASCII)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "nan", "inf"})
_SECRET_KEY = re.compile(r"token|secret|passw|api_?key|credential|auth", re.IGNORECASE)


class _Writer(yaml.SafeDumper):
    """Quotes whatever could be read as something else; repeats instead of aliases."""

    def ignore_aliases(self, data: object) -> bool:
        """Objects that share a part are written in full."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """List items stand under their key, indented."""
        super().increase_indent(flow, False)


def _write_text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Writer.add_representer(str, _write_text)


class _Reader(yaml.SafeLoader):
    """Plain scalars are null, booleans, numbers as Go's parser has them, or texts."""


_Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Reader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*)$|0[0-7]+$|0x[0-9a-fA-F]+$"), list("-+0123456789")
)
_Reader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def to_yaml(objects: Iterable[Mapping[str, Any]]) -> str:
    """The objects as YAML documents with sorted keys: the same text for the same objects."""
    return yaml.dump_all(objects, Dumper=_Writer, sort_keys=True, width=1000, explicit_start=True)


def from_yaml(text: str) -> list[Any]:
    """The documents of a text that are not empty. Raises ValueError, which quotes nothing of the text."""
    try:
        return [found for found in yaml.load_all(text, Loader=_Reader) if found is not None]  # a SafeLoader
    except yaml.MarkedYAMLError as exc:
        where = f" in line {exc.problem_mark.line + 1}" if exc.problem_mark else ""
        raise ValueError(f"{exc.problem or 'no YAML'}{where}") from None
    except yaml.YAMLError:
        raise ValueError("characters that YAML does not allow") from None


def redacted(objects: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The objects with the data of Secrets hidden: what may be printed or stored."""
    return [_without_data(item) if item.get("kind") == "Secret" else dict(item) for item in objects]


def _without_data(secret: Mapping[str, Any]) -> dict[str, Any]:
    hidden = {key: dict.fromkeys(secret[key] or {}, MASK) for key in ("data", "stringData") if key in secret}
    metadata = dict(secret.get("metadata") or {})
    metadata.pop("managedFields", None)
    if notes := metadata.pop("annotations", None):  # kubectl keeps a whole copy of what was applied in one
        metadata["annotations"] = {
            name: text for name, text in notes.items() if not name.endswith("/last-applied-configuration")
        }
    return {**secret, "metadata": metadata, **hidden}


def likely_secrets(tree: object, *, named: bool = False) -> Iterator[str]:
    """Texts in a tree whose keys sound like secrets."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from likely_secrets(value, named=named or bool(_SECRET_KEY.search(str(key))))
    elif isinstance(tree, list):
        for value in tree:
            yield from likely_secrets(value, named=named)
    elif named and tree not in ("", None) and not isinstance(tree, bool):
        yield str(tree)
