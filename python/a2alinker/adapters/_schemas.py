"""The JSON Schema of a skill as a framework needs it: parameters with names and types of Python.

A schema comes from another agent. What goes on to a model is made anew from the keywords that are known here, with references put in, and with
bounds on depth, size and the length of texts. Whether arguments fit is for the agent that has the skill to say, so a type that can't be told
apart here is open.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, Union

from ..exceptions import BadArguments
from ._words import plain

Schema = dict[str, Any]

DEEPEST: Final = 8  # levels; chosen: models are lost long before
MOST_NODES: Final = 500  # of one schema with its references put in, which could double at each level; chosen
LONGEST: Final = 300  # characters of a description of one parameter; chosen: a few lines

_TEXTS: Final = ("title", "description")
_PLAIN: Final = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)
_UNIONS: Final = ("anyOf", "oneOf")
_TYPES: Final[dict[str, Any]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "null": None,
    "array": list[Any],
    "object": dict[str, Any],
}
_SCALARS: Final = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a skill."""

    wire: str  # its name in the call
    name: str  # the same as an identifier that no framework minds
    schema: Schema
    required: bool
    default: Any  # None if it isn't known or isn't a scalar

    @property
    def annotation(self) -> Any:
        """The type, as a hint: `str`, `list[int]`, `Literal["a", "b"]`; None is allowed if it isn't required."""
        hint = hint_of(self.schema)
        return hint if self.required or hint is Any else hint | None if hint is not None else None

    @property
    def nullable(self) -> bool:
        """Whether None is a value of it, rather than a word for leaving it out."""
        hint = hint_of(self.schema)
        return hint is Any or hint is None or type(None) in getattr(hint, "__args__", ())

    @property
    def kind(self) -> Any:
        """The type as one of str, int, float, bool, list, dict, which is all that some frameworks know."""
        hint = hint_of(self.schema)
        members = [one for one in getattr(hint, "__args__", ()) if one is not type(None)]
        if _is_union(hint) and len(members) == 1:
            hint = members[0]
        origin = getattr(hint, "__origin__", hint)
        if origin is Literal:
            origin = type(hint.__args__[0])
        return origin if origin in (str, int, float, bool, list, dict) else str

    @property
    def description(self) -> str:
        """What the skill says about it: its description, or the values that it takes."""
        text = str(self.schema.get("description", ""))
        if "enum" in self.schema:
            text = f"{text} One of: {', '.join(map(repr, self.schema['enum'][:20]))}.".strip()
        return text

    def to_wire(self, value: Any) -> Any:
        """Returns a value as the call carries it: text for what wants bytes is encoded, as models have no bytes."""
        return value.encode() if isinstance(value, str) and self.schema.get("format") == "binary" else value


ANYTHING: Final = Parameter(
    "arguments", "arguments", {"type": "object", "description": "Arguments by name. The skill doesn't say which it takes."}, False, None
)


def in_words(parameters: tuple[Parameter, ...]) -> str:
    """Says what is taken: names and types."""
    return ", ".join(f"{one.name} ({one.schema.get('type', 'any')}{', required' if one.required else ''})" for one in parameters)


def check(parameters: tuple[Parameter, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Returns what a model gave for what is done here, without what it left out as None, as an agent with a skill would check it.

    Raises:
        BadArguments: something doesn't fit.
    """
    kinds: dict[str, Any] = {one.name: (int, float) if one.kind is float else one.kind for one in parameters}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if name not in kinds:
            raise BadArguments(f"there is no parameter {name!r}")
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise BadArguments(f"{name} isn't of the right type: {value!r}")
    for one in parameters:
        if one.required and one.name not in given:
            raise BadArguments(f"{one.name} is missing")
    return given


def parameters_of(schema: Schema | None) -> tuple[Parameter, ...] | None:
    """Returns the parameters of a skill; None if its schema says nothing about them."""
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        return None
    cleaned = clean(schema)
    required = cleaned.get("required", [])
    taken: set[str] = set()
    found = []
    for wire, shape in cleaned["properties"].items():
        default = shape.get("default")
        name = _identifier(wire, taken)
        found.append(Parameter(wire, name, shape, wire in required, default if isinstance(default, _SCALARS) else None))
    return tuple(sorted(found, key=lambda parameter: not parameter.required))


def clean(schema: Schema) -> Schema:
    """Returns what is known and bounded of a schema of another agent, without references."""
    definitions = schema.get("$defs", schema.get("definitions", {}))
    return _Cleaner(definitions if isinstance(definitions, dict) else {}).clean(schema, 0)


def hint_of(schema: Schema) -> Any:
    """Returns the type hint that comes closest to a cleaned schema."""
    if (values := schema.get("enum")) is not None:
        return Literal[tuple(values)] if values and all(isinstance(value, (str, int, bool)) for value in values) else Any
    for union in _UNIONS:
        if members := schema.get(union):
            hints = [hint_of(member) for member in members]
            return Any if Any in hints else Union[tuple(hints)]  # noqa: UP007  the members are known at run time alone
    kind = schema.get("type")
    if isinstance(kind, list):
        return Union[tuple(_TYPES.get(one, str) for one in kind)] if kind else Any  # noqa: UP007
    if kind == "array" and "items" in schema:
        item = hint_of(schema["items"])
        return list[item]  # type: ignore[valid-type]
    return _TYPES.get(kind, Any) if isinstance(kind, str) else Any


class _Cleaner:
    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions
        self._nodes = 0

    def clean(self, schema: Any, depth: int) -> Schema:
        self._nodes += 1
        if not isinstance(schema, dict) or depth > DEEPEST or self._nodes > MOST_NODES:
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            meant = self._definitions.get(reference.rpartition("/")[2])
            return self.clean(meant, depth + 1) | {text: plain(str(schema[text]), LONGEST) for text in _TEXTS if text in schema}
        kept: Schema = {text: plain(str(schema[text]), LONGEST) for text in _TEXTS if text in schema}
        kept |= {name: schema[name] for name in _PLAIN if isinstance(schema.get(name), (int, float))}
        kind = schema.get("type")
        if isinstance(kind, str) or (isinstance(kind, list) and all(isinstance(one, str) for one in kind)):
            kept["type"] = kind
        if schema.get("format") == "binary":
            kept["format"] = "binary"
        if isinstance(values := schema.get("enum"), list):
            kept["enum"] = [_text_bounded(value) for value in values[:100] if isinstance(value, _SCALARS)]
        if "default" in schema and isinstance(schema["default"], _SCALARS):
            kept["default"] = _text_bounded(schema["default"])
        for union in _UNIONS:
            if isinstance(members := schema.get(union), list):
                kept[union] = [self.clean(member, depth + 1) for member in members[:20]]
        if "items" in schema:
            kept["items"] = self.clean(schema["items"], depth + 1)
        if isinstance(properties := schema.get("properties"), dict):
            kept["properties"] = {name: self.clean(shape, depth + 1) for name, shape in list(properties.items())[:100] if len(name) <= 64}
            required = schema.get("required")
            kept["required"] = [name for name in required if name in kept["properties"]] if isinstance(required, list) else []
        return kept


def _text_bounded(value: Any) -> Any:
    return plain(value, LONGEST) if isinstance(value, str) else value


def _is_union(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is Union or type(hint).__name__ == "UnionType"


# Names that pydantic's models, or the functions of Swarm, have a use of their own for.
_RESERVED: Final = frozenset(
    {"self", "cls", "context_variables", "construct", "copy", "dict", "from_orm", "json", "parse_file", "parse_obj", "parse_raw", "schema"}
    | {"schema_json", "update_forward_refs", "validate"}
)


def _identifier(wire: str, taken: set[str]) -> str:
    name = re.sub(r"\W", "_", wire, flags=re.ASCII).lstrip("_") or "argument"
    if name[0].isdigit() or keyword.iskeyword(name) or name in _RESERVED or name.startswith("model_"):
        name = f"arg_{name}"
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique)
    return unique
