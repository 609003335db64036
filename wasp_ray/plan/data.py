"""JSON data of frozen dataclasses: `read` checks each value against the declared type of its field, `write` is the reverse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Reader = Callable[[Any], Any]
"""Return the value of a field, made from JSON data. Raises ValueError with what was expected."""


class DataError(ValueError):
    """JSON data that is not a plan. The message names the key, the value found and what is expected."""


def _of_type(expected: str, *types: type) -> Reader:
    def reader(value: Any) -> Any:
        if type(value) not in types:  # not isinstance: True is not a number
            raise ValueError(expected)
        return value

    return reader


def _or_null(reader: Reader) -> Reader:
    def optional(value: Any) -> Any:
        return None if value is None else reader(value)

    return optional


def _number(value: Any) -> float:
    return float(_of_type("a number", int, float)(value))


def _mapping_of(reader: Reader) -> Reader:
    def mapping(value: Any) -> dict[str, Any]:
        return {name: reader(one) for name, one in _of_type("an object", dict)(value).items()}

    return mapping


def one_of(*values: str) -> Reader:
    """Return a reader that accepts these texts only."""

    def choice(value: Any) -> Any:
        if value not in values:
            raise ValueError(f"one of {', '.join(map(repr, values))}")
        return value

    return choice


def list_of(reader: Reader) -> Reader:
    """Return a reader of lists, which become tuples."""

    def items(value: Any) -> tuple[Any, ...]:
        return tuple(reader(one) for one in _of_type("a list", list, tuple)(value))

    return items


_text, _integer = _of_type("a string", str), _of_type("an integer", int)
_READERS: Mapping[str, Reader] = {
    "str": _text,
    "int": _integer,
    "int | None": _or_null(_integer),
    "float": _number,
    "bool": _of_type("true or false", bool),
    "tuple[str, ...]": list_of(_text),
    "Mapping[str, str]": _mapping_of(_text),
    "Mapping[str, float] | None": _or_null(_mapping_of(_number)),
    "Mapping[str, Any]": _of_type("an object", dict),
}
"""By the declared type of a field, as its annotation is written."""


@cache
def _fields_of(cls: type[DataclassInstance]) -> tuple[tuple[str, str, Reader, bool], ...]:
    """(attribute, JSON key, reader, is required) of each field."""
    out = []
    for item in fields(cls):
        reader = item.metadata.get("reader") or _READERS[str(item.type)]
        is_required = item.default is MISSING and item.default_factory is MISSING
        out.append((item.name, item.metadata.get("key", item.name), reader, is_required))
    return tuple(out)


def read(cls: type[T], data: Any, where: str) -> T:
    """Return an instance of the dataclass. A field without a default must be there; unknown keys are ignored.

    Raises DataError for what is missing or has the wrong type; `where` names the object in it.
    """
    if not isinstance(data, Mapping):
        raise DataError(f"{where} is {_short(data)}: expected an object")
    values = {}
    for name, key, reader, is_required in _fields_of(cls):
        if key in data:
            try:
                values[name] = reader(data[key])
            except DataError:
                raise
            except ValueError as exc:
                raise DataError(f"{key!r} of {where} is {_short(data[key])}: expected {exc}") from None
        elif is_required:
            raise DataError(f"{key!r} of {where} is missing")
    return cls(**values)


def write(value: DataclassInstance, *left_out: str) -> dict[str, Any]:
    """Return the JSON data of an instance, without the attributes `left_out`."""
    return {key: _plain(getattr(value, name)) for name, key, _, _ in _fields_of(type(value)) if name not in left_out}


def _plain(value: Any) -> Any:
    if hasattr(value, "to_data"):
        return value.to_data()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
