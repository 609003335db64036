"""What one value may be: types that check and normalise, each with the JSON schema the chart states for it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainValidator, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from wasp_ray.schedule import format_duration, parse_duration

RESERVED_ENV: Final = (
    "HOME", "PYTHONUNBUFFERED", "WASP_JOBS", "WASP_LOG_LEVEL", "WASP_NAMESPACE", "WASP_NODE_ID", "WASP_NODE_INDEX",
    "WASP_POD_NAME", "WASP_POD_UID", "WASP_RUN", "WASP_SYNC",
)  # fmt: skip
RESERVED_LABELS: Final = (
    "app.kubernetes.io/component", "app.kubernetes.io/managed-by", "app.kubernetes.io/name", "sync", "wasp.dev/run",
)  # fmt: skip
MAX_JOBS: Final = 100_000
"""More indexes than Kubernetes grants a Job with a limit per index."""
MAX_ORDER_BYTES: Final = 512 * 1024
"""Half of what a ConfigMap holds."""

RUN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"
_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_SYNC = r"^[a-z][a-z0-9]{0,62}$"
_ENV_NAME = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
_LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][-+]?[0-9]+)?$"
_RESOURCE = r"^(cpu|memory|ephemeral-storage|hugepages-.+|.+/.+)$"
_URL = r"^https?://[^/@\s]+(/\S*)?$"
_LOAD_FILE = r"^[^-/\s:][^:\n]*(:[A-Za-z_]\w*)?$"
_DURATION = r"^([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$"
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
LOG_LEVELS: Final = ("trace", "debug", "info", "warn", "warning", "error", "critical")


class _Open:
    """Marks a mapping whose keys are the user's: what follows its name in a dotted key is one key, dots and all."""


OPEN: Final = _Open()


class Problems(PydanticCustomError):
    """Several sentences as one error of a validator."""

    def __new__(cls, problems: Sequence[str]) -> Problems:
        return super().__new__(cls, "problems", "problems", {"problems": list(problems)})


def text(value: object) -> object:
    """Numbers and truth values as the texts YAML writes for them; anything else stays."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return value


def _matching(pattern: str, wanted: str, *, empty: bool = False) -> BeforeValidator:
    """A text that matches; `wanted` says it in words."""
    compiled = re.compile(pattern)

    def check(value: object) -> object:
        found = text(value)
        if empty and found == "":
            return found
        if not isinstance(found, str) or not compiled.match(found) or found.endswith("\n"):
            raise ValueError(f"expected {wanted}, found {value!r}")
        return found

    return BeforeValidator(check)


def _schema(pattern: str = "", *, empty: bool = False, kinds: object = "string") -> WithJsonSchema:
    either = f"^$|{pattern}" if empty else pattern
    return WithJsonSchema({"type": kinds, **({"pattern": either} if pattern else {})})


def seconds(value: str) -> float:
    """A duration's seconds."""
    return parse_duration(value) / 1e9


def whole_seconds(value: str) -> int:
    """A duration's seconds, rounded up."""
    return -(-parse_duration(value) // 10**9)


def duration(value: object) -> str:
    """The shortest text of a duration; digits alone are seconds. Raises ValueError."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    ns = parse_duration(value)
    if ns == 0:
        raise ValueError(f"expected a duration above zero, found {value!r}")
    return format_duration(ns)


def _order(value: object) -> object:
    """A mapping, or the JSON text of one."""
    if isinstance(value, dict):
        value = json.dumps(value, sort_keys=True, separators=(",", ":"))
    try:
        found = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object, found something else")
    if isinstance(value, str) and len(value.encode()) > MAX_ORDER_BYTES:
        raise ValueError(
            f"expected at most {MAX_ORDER_BYTES:,} bytes, found {len(value.encode()):,}: put data into the image"
        )
    return value


def _secret(value: object) -> object:
    """Never named in its error."""
    found = text(value) if not isinstance(value, bool) else value
    if not isinstance(found, str | SecretStr):
        raise ValueError("expected a string, found something else (a secret is not shown)")
    return found


def _url(value: object) -> object:
    if isinstance(value, str) and "@" in value.partition("://")[2].partition("/")[0]:
        raise ValueError(
            "expected an address without user and password, found one with: give them as env.loki.basicAuth"
        )
    if value != "" and (not isinstance(value, str) or not re.match(_URL, value)):
        raise ValueError(f"expected an http or https address, found {value!r}")
    return value


def _load_file(value: object) -> object:
    if value == "":
        return value
    if not isinstance(value, str) or not re.match(_LOAD_FILE, value) or ".." in value.partition(":")[0].split("/"):
        raise ValueError(
            f"expected FILE[:NAME], the file's path inside the image relative to its BUILD_ROOT, found {value!r}"
        )
    return value


def _own_label(value: object) -> object:
    if value in RESERVED_LABELS:
        raise ValueError(f"expected a label of your own, found {value!r}, which wasp_ray sets: choose another name")
    return value


def _level(value: object) -> object:
    if not isinstance(value, str) or value.lower() not in LOG_LEVELS:
        raise ValueError(f"expected one of {', '.join(LOG_LEVELS)}, found {value!r}")
    return value.lower()


def _objects(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"expected a list of mappings as Kubernetes has them, found {value!r}")
    return value


def _pull_secrets(value: object) -> list[dict[str, str]]:
    """Names become references."""
    given = value if isinstance(value, list) else [value]
    out = []
    for item in given:
        name = item["name"] if isinstance(item, dict) and list(item) == ["name"] else item
        if not isinstance(name, str) or not re.match(_NAME, name):
            raise ValueError(f"expected names of Secrets, found {name!r}")
        out.append({"name": name})
    return out


def _extra_env(value: object) -> dict[str, str] | list[dict[str, Any]]:
    if isinstance(value, dict):
        return {_env_name(name): _env_text(name, item) for name, item in value.items()}
    if not isinstance(value, list):
        raise ValueError(f"expected NAME: value, or a list of Kubernetes EnvVars, found {value!r}")
    out = []
    for item in value:
        if not isinstance(item, dict) or not {"name"} <= set(item) or set(item) - {"name", "value", "valueFrom"}:
            raise ValueError(f"expected EnvVars {{name, value}} or {{name, valueFrom}}, found {item!r}")
        name = _env_name(item["name"])
        out.append({**item, "value": _env_text(name, item["value"])} if "value" in item else item)
    return out


def _env_name(name: object) -> str:
    if not isinstance(name, str) or not re.match(_ENV_NAME, name):
        raise ValueError(f"expected names of variables, found {name!r}")
    return name


def _env_text(name: object, value: object) -> str:
    found = text(value)
    if not isinstance(found, str):
        raise ValueError(f"expected a string for {name}, found {type(value).__name__}")
    return found


def env_names(env: dict[str, str] | list[dict[str, Any]]) -> list[str]:
    """The names in a value of `extraEnv`."""
    return list(env) if isinstance(env, dict) else [item["name"] for item in env]


_TEXT_OR_NUMBER = ["string", "number"]
_FREE_NAME = {"propertyNames": {"pattern": _ENV_NAME, "not": {"enum": list(RESERVED_ENV)}}}
_SCALAR = {"type": ["string", "number", "boolean"]}
_ENV_VAR = {
    "type": "object", "required": ["name"], "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": _ENV_NAME, "not": {"enum": list(RESERVED_ENV)}},
        "value": {"type": "string"}, "valueFrom": {"type": "object"},
    },
}  # fmt: skip
_MAPPINGS = {"type": "array", "items": {"type": "object"}}
_SHORT_NAME = {"type": "string", "pattern": _NAME}
_REFERENCE = {
    "type": "object", "required": ["name"], "additionalProperties": False, "properties": {"name": _SHORT_NAME},
}  # fmt: skip
_WHOLE = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+$"}]}
_COUNT = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": MAX_JOBS},
        {"type": "string", "pattern": "^[1-9][0-9]{0,5}$"},
    ]
}

Text = Annotated[str, BeforeValidator(text), _schema(kinds=["string", "number", "boolean"])]
Name = Annotated[str, _matching(_NAME, "the name of a Kubernetes object", empty=True), _schema(_NAME, empty=True)]
RunId = Annotated[
    str,
    _matching(RUN_PATTERN, "a DNS label of at most 40 characters: a-z, 0-9 and - within", empty=True),
    _schema(RUN_PATTERN, empty=True),
]
SyncId = Annotated[
    str, _matching(_SYNC, "lowercase letters and digits, a letter first", empty=True), _schema(_SYNC, empty=True)
]
Image = Annotated[str, _matching(r"^\S+$", "an image without spaces", empty=True), _schema(r"^\S+$", empty=True)]
LoadFile = Annotated[str, BeforeValidator(_load_file), _schema(r"^[^-/\s:]", empty=True)]
Url = Annotated[str, BeforeValidator(_url), _schema(_URL, empty=True)]
Duration = Annotated[
    str,
    BeforeValidator(duration),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": _DURATION}, {"type": "number", "exclusiveMinimum": 0}]}),
]
Secret = Annotated[SecretStr, BeforeValidator(_secret), _schema(kinds=_TEXT_OR_NUMBER)]
Quantity = Annotated[
    str, _matching(_QUANTITY, 'a quantity such as "2000m" or "512Mi"'), _schema(_QUANTITY, kinds=_TEXT_OR_NUMBER)
]
ResourceName = Annotated[
    str,
    _matching(_RESOURCE, "cpu, memory, ephemeral-storage, hugepages-SIZE or VENDOR/NAME"),
    WithJsonSchema({"type": "string", "allOf": [{"pattern": _RESOURCE}]}),
]
EnvName = Annotated[
    str,
    _matching(_ENV_NAME, "the name of a variable"),
    # As allOf: pydantic would make a pattern of keys one of patternProperties, which lets other keys pass.
    WithJsonSchema({"type": "string", "allOf": [{"pattern": _ENV_NAME}], "not": {"enum": list(RESERVED_ENV)}}),
]
LabelName = Annotated[
    str, BeforeValidator(_own_label), WithJsonSchema({"type": "string", "not": {"enum": list(RESERVED_LABELS)}})
]
LabelValue = Annotated[
    str, _matching(_LABEL_VALUE, "a Kubernetes label: letters, digits, - _ . and at most 63"), _schema(_LABEL_VALUE)
]
LogLevel = Annotated[str, BeforeValidator(_level), WithJsonSchema({"type": "string", "enum": list(LOG_LEVELS)})]
Order = Annotated[str, BeforeValidator(_order), _schema(r"^\s*\{")]
Jobs = Annotated[int, Field(ge=1, le=MAX_JOBS), WithJsonSchema(_COUNT)]
Seconds = Annotated[int, Field(ge=0), WithJsonSchema(_WHOLE)]
Switch = Annotated[bool, WithJsonSchema({"enum": [True, False, "true", "false"]})]
Objects = Annotated[list[dict[str, Any]], PlainValidator(_objects), WithJsonSchema(_MAPPINGS)]
EnvFrom = Objects
PullSecrets = Annotated[
    list[dict[str, str]],
    PlainValidator(_pull_secrets),
    WithJsonSchema({"type": "array", "items": {"anyOf": [_SHORT_NAME, _REFERENCE]}}),
]
ExtraEnv = Annotated[
    dict[str, str] | list[dict[str, Any]],
    PlainValidator(_extra_env),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": _SCALAR, **_FREE_NAME},
                {"type": "array", "items": _ENV_VAR},
            ]
        }
    ),
]
