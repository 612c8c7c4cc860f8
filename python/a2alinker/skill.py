"""What an agent can do for others: a function, its name, and what its signature says about arguments and answer."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar, overload

from ._html import card
from .exceptions import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")

Kind = Literal["coroutine", "async generator", "function", "generator"]

DEFINITION_BYTES: Final = 16 * 1024  # of a skill's definition; from the protocol
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


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
        from .signature import Signature  # agents without skills don't need it

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
        import json

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
        import json

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


def _kind_of(function: Callable[..., Any]) -> Kind:
    call = function if inspect.isroutine(function) else type(function).__call__  # an object with a __call__ method
    if inspect.isasyncgenfunction(call):
        return "async generator"
    if inspect.iscoroutinefunction(call):
        return "coroutine"
    return "generator" if inspect.isgeneratorfunction(call) else "function"


def as_skill(given: Skill[..., Any] | Callable[..., Any]) -> Skill[..., Any]:
    """Returns a Skill; functions that aren't decorated get what `@skill` gives."""
    if isinstance(given, Skill):
        return given
    if not callable(given):
        raise ConfigurationError(f"skills are functions, not {type(given).__qualname__}: {given!r}")
    return Skill(given)
