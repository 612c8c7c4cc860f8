"""Type hints as JSON Schema, and values from the wire as what the hints say.

A *shape* is both for one annotation: the schema that others see, and the function that checks a value and makes a dataclass, a tuple or a
pydantic model of it. What can't be said in JSON Schema is left open; an annotation that isn't known accepts anything.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from enum import Enum
from typing import Annotated, Any, Final, Literal, NamedTuple, NotRequired, Required, TypeVar, Union, get_args, get_origin

Convert = Callable[[Any], Any]
Schema = dict[str, Any]


class Mismatch(Exception):
    """A value isn't what a hint says."""

    def __init__(self, expected: str, got: Any, path: str = "") -> None:
        self.expected = expected
        self.got = got
        self.path = path

    def within(self, step: str) -> Mismatch:
        """Returns the same one step further out."""
        return Mismatch(self.expected, self.got, step + self.path)

    def at(self, root: str) -> str:
        """Says in words what doesn't fit, and where."""
        text = repr(self.got)
        shown = text if len(text) <= 60 else text[:59] + "…"
        return f"{root}{self.path} must be {self.expected}, not {type(self.got).__name__} {shown}"


class Shape(NamedTuple):
    """Both sides of an annotation."""

    schema: Schema
    convert: Convert
    name: str  # for error texts


def shape_of(annotation: Any) -> Shape:
    """Returns the shape of one annotation, as `typing.get_type_hints(..., include_extras=True)` gives it."""
    return _Builder().shape(annotation)


def converter_of(annotation: Any) -> Convert:
    """Returns the function that checks and converts a value, and raises Mismatch."""
    return shape_of(annotation).convert


def accept(value: Any) -> Any:
    """The converter of an annotation that says nothing."""
    return value


def _simple(kind: type, name: str) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise Mismatch(name, value)

    return convert


def _number(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    raise Mismatch("float", value)


ANYTHING: Final = Shape({}, accept, "anything")
_SIMPLE: Final[dict[Any, Shape]] = {
    Any: ANYTHING,
    object: ANYTHING,
    str: Shape({"type": "string"}, _simple(str, "str"), "str"),
    int: Shape({"type": "integer"}, _simple(int, "int"), "int"),
    bool: Shape({"type": "boolean"}, _simple(bool, "bool"), "bool"),
    float: Shape({"type": "number"}, _number, "float"),
    bytes: Shape({"type": "string", "format": "binary"}, _simple(bytes, "bytes"), "bytes"),
    type(None): Shape({"type": "null"}, _simple(type(None), "None"), "None"),
    list: Shape({"type": "array"}, _simple(list, "list"), "list"),
    dict: Shape({"type": "object"}, _simple(dict, "dict"), "dict"),
}
_ARRAYS: Final[dict[Any, Convert]] = {
    list: accept,
    Sequence: accept,
    MutableSequence: accept,
    Iterable: accept,
    Collection: accept,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
}
_MAPS: Final = (dict, Mapping, MutableMapping)


class _Builder:
    """Builds shapes; remembers what it is building, so that a type may contain itself."""

    def __init__(self) -> None:
        self._building: dict[Any, list[Shape]] = {}

    def shape(self, annotation: Any) -> Shape:
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return self._annotated(args)
        if (simple := _SIMPLE.get(annotation)) is not None:
            return simple
        if origin in (Required, NotRequired):
            return self.shape(args[0])
        if origin is Literal:
            return _literal(args)
        if origin in (Union, types.UnionType):
            return self._union([self.shape(arg) for arg in args])
        if origin is tuple and args and args[-1] is not Ellipsis:
            return self._fixed_tuple([] if args == ((),) else [self.shape(arg) for arg in args])
        container = origin or annotation
        if container in _ARRAYS:
            return self._array(_ARRAYS[container], args[0] if args else Any)
        if container in _MAPS:
            return self._map(args[1] if len(args) == 2 else Any)
        if isinstance(annotation, TypeVar):
            return self.shape(annotation.__bound__ or Any)
        for meant in ("__supertype__", "__value__"):  # NewType; the `type` statement of Python 3.12
            if (hint := getattr(annotation, meant, None)) is not None and not isinstance(annotation, type):
                return self.shape(hint)
        if isinstance(annotation, type):
            return self._class(annotation)
        return ANYTHING

    def _class(self, kind: type) -> Shape:
        if callable(getattr(kind, "model_validate", None)) and callable(getattr(kind, "model_json_schema", None)):
            return _pydantic(kind)
        if issubclass(kind, Enum):
            return _enum(kind)
        if not dataclasses.is_dataclass(kind) and not typing.is_typeddict(kind):
            return ANYTHING
        if kind in self._building:
            known = self._building[kind]
            return Shape({"type": "object"}, _Later(known), kind.__name__)
        known = self._building[kind] = []
        shape = self._typed_dict(kind) if typing.is_typeddict(kind) else self._dataclass(kind)
        known.append(shape)
        return shape

    def _dataclass(self, kind: Any) -> Shape:
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
        shapes = {name: self.shape(hints[name]) for name in fields}
        required = [
            name for name, field in fields.items() if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ]
        check = _object_converter(kind.__name__, shapes, required)
        return Shape(_object_schema(shapes, required), lambda value: kind(**check(value)), kind.__name__)

    def _typed_dict(self, kind: Any) -> Shape:
        hints = typing.get_type_hints(kind, include_extras=True)
        shapes = {name: self.shape(hint) for name, hint in hints.items()}
        required = [name for name in hints if name in kind.__required_keys__]
        return Shape(_object_schema(shapes, required), _object_converter(kind.__name__, shapes, required), kind.__name__)

    def _annotated(self, args: tuple[Any, ...]) -> Shape:
        shape = self.shape(args[0])
        texts = [text for text in args[1:] if isinstance(text, str)]
        return shape._replace(schema={**shape.schema, "description": texts[0]}) if texts else shape

    def _union(self, members: list[Shape]) -> Shape:
        name = " or ".join(member.name for member in members)

        def convert(value: Any) -> Any:
            for member in members:
                try:
                    return member.convert(value)
                except Mismatch:
                    continue
            raise Mismatch(name, value)

        return Shape({"anyOf": [member.schema for member in members]}, convert, name)

    def _array(self, make: Convert, annotation: Any) -> Shape:
        item = self.shape(annotation)
        name = f"list of {item.name}"

        def convert(value: Any) -> Any:
            if type(value) is not list:
                raise Mismatch(name, value)
            return make(value if item.convert is accept else [_step(item.convert, one, f"[{i}]") for i, one in enumerate(value)])

        return Shape({"type": "array", "items": item.schema}, convert, name)

    def _fixed_tuple(self, items: list[Shape]) -> Shape:
        name = f"list of {len(items)}: {', '.join(item.name for item in items)}"

        def convert(value: Any) -> Any:
            if type(value) is not list or len(value) != len(items):
                raise Mismatch(name, value)
            return tuple(_step(item.convert, one, f"[{i}]") for i, (item, one) in enumerate(zip(items, value, strict=True)))

        schema = {"type": "array", "prefixItems": [item.schema for item in items], "minItems": len(items), "maxItems": len(items)}
        return Shape(schema, convert, name)

    def _map(self, annotation: Any) -> Shape:
        item = self.shape(annotation)
        name = f"dict of {item.name}"

        def convert(value: Any) -> Any:
            if type(value) is not dict:
                raise Mismatch(name, value)
            return value if item.convert is accept else {key: _step(item.convert, one, f"[{key!r}]") for key, one in value.items()}

        return Shape({"type": "object", "additionalProperties": item.schema}, convert, name)


class _Later:
    """The converter of a type that is still being built."""

    def __init__(self, known: list[Shape]) -> None:
        self._known = known

    def __call__(self, value: Any) -> Any:
        return self._known[0].convert(value)


def _step(convert: Convert, value: Any, step: str) -> Any:
    try:
        return convert(value)
    except Mismatch as problem:
        raise problem.within(step) from None


def _object_schema(shapes: dict[str, Shape], required: list[str]) -> Schema:
    properties = {name: shape.schema for name, shape in shapes.items()}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _object_converter(name: str, shapes: dict[str, Shape], required: list[str]) -> Callable[[Any], dict[str, Any]]:
    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Mismatch(name, value)
        for key in required:
            if key not in value:
                raise Mismatch(f"{name} with {key!r}", value)
        if unknown := value.keys() - shapes.keys():
            raise Mismatch(f"{name} without {', '.join(sorted(map(repr, unknown)))}", value)
        return {key: _step(shapes[key].convert, one, f".{key}") for key, one in value.items()}

    return convert


def _literal(values: tuple[Any, ...]) -> Shape:
    name = " or ".join(map(repr, values))

    def convert(value: Any) -> Any:
        for known in values:
            if type(known) is type(value) and known == value:
                return value
        raise Mismatch(name, value)

    return Shape({"enum": list(values)}, convert, name)


def _enum(kind: type[Enum]) -> Shape:
    def convert(value: Any) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise Mismatch(f"a {kind.__name__}: {', '.join(repr(member.value) for member in kind)}", value) from None

    return Shape({"enum": [member.value for member in kind]}, convert, kind.__name__)


def _pydantic(kind: Any) -> Shape:
    def convert(value: Any) -> Any:
        try:
            return kind.model_validate(value)
        except ValueError as problem:  # pydantic.ValidationError is one
            raise Mismatch(f"a {kind.__name__} ({_first_line(problem)})", value) from None

    return Shape(kind.model_json_schema(), convert, kind.__name__)


def _first_line(problem: ValueError) -> str:
    errors = getattr(problem, "errors", None)
    if not callable(errors):
        return str(problem)
    return "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors())
