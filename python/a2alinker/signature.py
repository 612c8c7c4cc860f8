"""What the signature of a skill's function says: the schemas of arguments and answer, and how the one becomes the other.

Imported with the first skill: an agent that offers none has no need of it.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .context import Context
from .exceptions import BadArguments, ConfigurationError
from .schema import ANYTHING, Mismatch, Schema, Shape, shape_of

if TYPE_CHECKING:
    from .skill import Kind

_STREAMS: Final = ("AsyncIterator", "AsyncIterable", "AsyncGenerator", "Iterator", "Iterable", "Generator")


class Signature:
    """How a call's arguments become those of the function."""

    def __init__(self, name: str, function: Callable[..., Any], kind: Kind) -> None:
        self.context: str | None = None  # the parameter that gets the Context
        self.context_at: int | None = None  # its place among the positional parameters
        self._name = name
        self._positional: list[str] = []
        self._shapes: dict[str, Shape] = {}
        self._required: list[str] = []
        self._keyword_only_from = 0
        self._positional_only: set[str] = set()
        self._more: Shape | None = None  # of *args
        self._more_named: Shape | None = None  # of **kwargs
        hints = _hints(function)
        try:
            parameters = inspect.signature(function).parameters
        except ValueError as problem:  # some functions written in C
            raise ConfigurationError(f"the parameters of {name!r} can't be found out: {problem}; wrap it in a function") from None
        for parameter in parameters.values():
            self._add(parameter, hints.get(parameter.name, Any))
        self.input = self._input()
        self.output = _output(hints.get("return", Any), kind)

    def _add(self, parameter: inspect.Parameter, hint: Any) -> None:
        if hint is Context:
            if parameter.kind is not parameter.KEYWORD_ONLY and parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                raise ConfigurationError(f"the parameter {parameter.name!r} of {self._name!r} can't be positional only and a Context")
            self.context = parameter.name
            self.context_at = len(self._positional) if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else None
            return
        shape = shape_of(hint)
        match parameter.kind:
            case parameter.VAR_POSITIONAL:
                self._more = shape
                return
            case parameter.VAR_KEYWORD:
                self._more_named = shape
                return
            case parameter.POSITIONAL_ONLY:
                self._positional_only.add(parameter.name)
                self._positional.append(parameter.name)
            case parameter.POSITIONAL_OR_KEYWORD:
                self._positional.append(parameter.name)
        if parameter.default is parameter.empty:
            self._required.append(parameter.name)
        elif isinstance(parameter.default, (str, int, float, bool, type(None))):
            shape = shape._replace(schema={**shape.schema, "default": parameter.default})
        self._shapes[parameter.name] = shape

    def _input(self) -> Schema:
        properties = {name: shape.schema for name, shape in self._shapes.items()}
        extra: bool | Schema = False if self._more_named is None else self._more_named.schema
        return {"type": "object", "properties": properties, "required": self._required, "additionalProperties": extra}

    def bind(self, body: Any) -> tuple[list[Any], dict[str, Any]]:
        """Returns positional and keyword arguments for the function, without the Context.

        Raises:
            BadArguments: they don't fit.
        """
        match body:
            case [list(args), dict(kwargs)]:
                pass
            case _:
                raise BadArguments("a call carries a list of arguments and a dict of named ones")
        if len(args) > len(self._positional) and self._more is None:
            raise BadArguments(f"{self._name} takes {len(self._positional)} positional arguments, not {len(args)}")
        try:
            return self._bind(args, kwargs)
        except Mismatch as problem:
            raise BadArguments(f"{self._name}: {problem.at('')}") from None

    def _bind(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        given = dict(zip(self._positional, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise BadArguments(f"{self._name} got {name!r} twice")
            if (name not in self._shapes or name in self._positional_only) and self._more_named is None:
                raise BadArguments(f"{self._name} has no parameter {name!r}")
            given[name] = value
        for name in self._required:
            if name not in given:
                raise BadArguments(f"{self._name} needs {name!r}")
        converted = {name: self._convert(name, value) for name, value in given.items()}
        positional = [converted.pop(name) for name in self._positional[: len(args)]]
        if self._more is not None:
            positional += [_convert(self._more, value, f"*{i}") for i, value in enumerate(args[len(self._positional) :])]
        return positional, converted

    def _convert(self, name: str, value: Any) -> Any:
        shape = self._shapes.get(name) or self._more_named or ANYTHING
        return _convert(shape, value, name)


def _convert(shape: Shape, value: Any, name: str) -> Any:
    try:
        return shape.convert(value)
    except Mismatch as problem:
        raise problem.within(name) from None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function if inspect.isroutine(function) else type(function).__call__, include_extras=True)
    except NameError as problem:
        raise ConfigurationError(
            f"a type hint of {getattr(function, '__qualname__', function)} can't be resolved: {problem}. Names in hints of a skill must be importable "
            "at run time, and defined at module level if the module has `from __future__ import annotations`"
        ) from None


def _output(hint: Any, kind: Kind) -> Schema | None:
    if kind in ("async generator", "generator"):
        args = typing.get_args(hint)
        hint = args[0] if args and getattr(typing.get_origin(hint), "__name__", "") in _STREAMS else Any
    return shape_of(hint).schema or None
