"""What an agent can do for others: a function, its name, and what its signature says about arguments and answer."""

from __future__ import annotations

import functools
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar, overload

from ._html import card
from .context import Context
from .exceptions import BadArguments, ConfigurationError
from .schema import ANYTHING, Mismatch, Schema, Shape, shape_of

P = ParamSpec("P")
R = TypeVar("R")

Kind = Literal["coroutine", "async generator", "function", "generator"]

DEFINITION_BYTES: Final = 16 * 1024  # of a skill's definition; from the protocol
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STREAMS: Final = ("AsyncIterator", "AsyncIterable", "AsyncGenerator", "Iterator", "Iterable", "Generator")


class Skill(Generic[P, R]):
    """A function that other agents can call. Calling it here calls the function."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] = (),
        concurrency: int = 1,
        timeout: float | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name if name is not None else getattr(function, "__name__", "")
        self.description = description if description is not None else inspect.getdoc(function) or ""
        self.tags = tuple(tags) if not isinstance(tags, str) else (tags,)
        self.concurrency = concurrency
        self.timeout = timeout
        self._check()
        self.kind = _kind_of(function)
        self.signature = Signature(self.name, function, self.kind)
        self.definition = self._define()

    def _check(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigurationError(f"a skill's name is 1 to 64 of [A-Za-z0-9._-], not {self.name!r}; give it as name=")
        for tag in self.tags:
            if not NAME.fullmatch(tag):
                raise ConfigurationError(f"a tag is 1 to 64 of [A-Za-z0-9._-], not {tag!r}")
        if not 1 <= self.concurrency <= 65_535:
            raise ConfigurationError(f"concurrency is 1 to 65535, not {self.concurrency!r}")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigurationError(f"timeout is in seconds and above 0, or None, not {self.timeout!r}")

    def _define(self) -> bytes:
        definition = {
            "name": self.name,
            "description": self.description,
            "input": self.signature.input,
            "output": self.signature.output,
        }
        text = json.dumps(definition, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > DEFINITION_BYTES:
            raise ConfigurationError(
                f"the definition of {self.name!r} has {len(text)} bytes, more than {DEFINITION_BYTES}: shorten its docstring, or give description="
            )
        return text

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Skill {self.name}, {self.kind}, {self.concurrency} at a time>"

    def _repr_html_(self) -> str:
        rows = {
            "description": self.description,
            "tags": ", ".join(self.tags),
            "concurrency": self.concurrency,
            "input": json.dumps(self.signature.input),
        }
        return card(f"Skill {self.name}", rows)


@overload
def skill(function: Callable[P, R], /) -> Skill[P, R]: ...
@overload
def skill(
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] = (),
    concurrency: int = 1,
    timeout: float | None = None,
) -> Callable[[Callable[P, R]], Skill[P, R]]: ...
def skill(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a function callable by other agents: `@skill`, or `@skill(concurrency=4)`.

    Coroutines and async generators run on the agent's loop, plain functions and generators in threads. What a generator yields are
    partial answers; what a plain generator returns is the answer, after an async generator it is None. Arguments are checked against the type
    hints, and dataclasses and pydantic models made of what arrives; what doesn't fit never reaches the function.

    name: 1 to 64 of [A-Za-z0-9._-]; the function's name if not given.
    description: for people and models; the docstring if not given.
    tags: words to choose workers by, as in `remote(..., tags=["gpu"])`.
    concurrency: how many calls run at a time. 16 more wait; beyond that callers are told that the agent is busy.
    timeout: seconds after which a call is ended and the caller gets CallLapsed; None for never.

    Raises:
        ConfigurationError: a name or number is out of range, a hint can't be resolved, or the definition is larger than 16 KiB.
    """
    return Skill(function, **options) if function is not None else lambda function: Skill(function, **options)


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


def _kind_of(function: Callable[..., Any]) -> Kind:
    call = function if inspect.isroutine(function) else type(function).__call__  # an object with a __call__ method
    if inspect.isasyncgenfunction(call):
        return "async generator"
    if inspect.iscoroutinefunction(call):
        return "coroutine"
    return "generator" if inspect.isgeneratorfunction(call) else "function"


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


def as_skill(given: Skill[..., Any] | Callable[..., Any]) -> Skill[..., Any]:
    """Returns a Skill; functions that aren't decorated get what `@skill` gives."""
    if isinstance(given, Skill):
        return given
    if not callable(given):
        raise ConfigurationError(f"skills are functions, not {type(given).__qualname__}: {given!r}")
    return Skill(given)
