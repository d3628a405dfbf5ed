"""Records whose fields are declared once, with their range, help and key in a recipe.

The command line, the recipe in a picture, HTTP and the reference page are made from these
declarations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Self

from sfumato.request.kinds import Kind


class RequestError(ValueError):
    """A request asks for something that cannot be.

    Attributes:
        name: the field.
        must: what was expected, such as "be a whole number from 1".
        received: what came, as text.
    """

    def __init__(self, name: str, must: str, received: str) -> None:
        super().__init__(name, must, received)
        self.name, self.must, self.received = name, must, received

    def __str__(self) -> str:
        return f"`{self.name}` must {self.must}. Received: {self.received}"

    @classmethod
    def of(cls, name: str, must: str, value: Any) -> RequestError:
        """The error for one value of a field."""
        return cls(name, must, f"{name}={value!r}")


class Spec(NamedTuple):
    """The declaration of a field, besides its name and type."""

    kind: Kind
    key: str
    """Of its item in a picture's recipe; empty: none."""
    help: str
    """For the command line and the reference page; "[...]" at its end says what None means."""
    group: str
    flags: tuple[str, ...]
    """Further names on the command line."""
    default: Any
    """`...`: the field must be given."""


def declared(
    default: Any,
    kind: Kind,
    key: str,
    help: str,  # noqa: A002  argparse's word
    *flags: str,
    group: str,
) -> Any:
    """A field with its `Spec`; `...` as the default: it must be given."""
    spec = Spec(kind, key, help, group, flags, default)
    metadata: dict[Any, Any] = {"spec": spec}
    if default is ...:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Record:
    """A frozen dataclass of declared fields: checked, compared, in JSON and in a recipe's items."""

    def __post_init__(self) -> None:
        for name, spec in specs(type(self)).items():
            value = getattr(self, name)
            if value is not None or spec.default is not None:
                object.__setattr__(self, name, checked(name, spec, value))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        """The values that are not the defaults; of pictures the shape."""
        values = {name: getattr(v, "shape", v) for name, v in self.given().items()}
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in values.items())})"

    def key(self, *without: str) -> tuple[Any, ...]:
        """The values of all fields but these, to compare and to hash."""
        names = (name for name in specs(type(self)) if name not in without)
        return tuple(_frozen(getattr(self, name)) for name in names)

    def given(self) -> dict[str, Any]:
        """The values that are not the defaults, by name."""
        values = {name: (getattr(self, name), spec) for name, spec in specs(type(self)).items()}
        return {name: value for name, (value, spec) in values.items() if not _is(value, spec)}

    def to_json(self) -> dict[str, Any]:
        """The values that are not the defaults, in JSON's types; pictures are PNG data URLs."""
        known = specs(type(self))
        values = {name: known[name].kind.to_json(value) for name, value in self.given().items()}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record of `to_json`; RequestError for a name that is no field."""
        known = specs(cls, values)
        for name in known.keys() - values.keys():
            if known[name].default is ...:
                raise RequestError(name, "be given", ", ".join(values) or "nothing")
        return cls(**{name: _taken(name, known[name], value) for name, value in values.items()})

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON schema of what `from_json` takes; "x-group" has the group of a field."""
        known = specs(cls)
        return {
            "title": cls.__name__,
            "type": "object",
            "properties": {name: _schema(spec) for name, spec in known.items()},
            "required": [name for name, spec in known.items() if spec.default is ...],
            "additionalProperties": False,
        }

    def items(self) -> dict[str, str]:
        """The values that are not the defaults, as the items of a picture's recipe."""
        known = specs(type(self))
        given = ((known[name], value) for name, value in self.given().items())
        return {spec.key: spec.kind.write(value) for spec, value in given if spec.key}


@lru_cache
def _specs(cls: Any) -> dict[str, Spec]:
    return {field.name: field.metadata["spec"] for field in dataclasses.fields(cls)}


def specs(cls: Any, names: Mapping[str, Any] | None = None) -> dict[str, Spec]:
    """The declarations of a class; RequestError if one of ``names`` is none of its fields."""
    known = _specs(cls)
    if unknown := [name for name in names or {} if name not in known]:
        raise RequestError(cls.__name__, f"have fields among {', '.join(known)}", repr(unknown))
    return known


def checked(name: str, spec: Spec, value: Any) -> Any:
    """The value of a field in its own type; RequestError if it cannot be."""
    try:
        return spec.kind.check(value)
    except (ValueError, OverflowError) as error:
        received = spec.kind.received(name, value, error)
        raise RequestError(name, spec.kind.must, received) from error


def read(name: str, spec: Spec, text: str, how: str = "read") -> Any:
    """The value of a field that a text states; RequestError if it cannot be.

    ``how`` is "read" for the user's own words and "recall" for a recipe's.
    """
    try:
        return getattr(spec.kind, how)(text)
    except ValueError as error:
        raise RequestError(name, spec.kind.must_read, text) from error


def _taken(name: str, spec: Spec, value: Any) -> Any:
    try:
        return None if value is None else spec.kind.from_json(value)
    except (ValueError, OverflowError) as error:
        raise RequestError.of(name, spec.kind.must, value) from error


def _schema(spec: Spec) -> dict[str, Any]:
    """The JSON schema of a field."""
    about = {"description": spec.help, "x-group": spec.group}
    if spec.default is ...:
        return spec.kind.schema() | about
    if spec.default is None:
        return {"anyOf": [spec.kind.schema(), {"type": "null"}], "default": None} | about
    return spec.kind.schema() | {"default": spec.kind.to_json(spec.default)} | about


def _is(value: Any, spec: Spec) -> bool:
    """Whether this is the field's default."""
    return value is None or (type(value) is type(spec.default) and value == spec.default)


def _frozen(value: Any) -> Any:
    """A value that can be compared and hashed."""
    if isinstance(value, Mapping):
        return tuple(value.items())
    return (value.shape, value.tobytes()) if hasattr(value, "tobytes") else value
