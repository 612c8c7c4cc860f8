"""Skills: what a function becomes, and how arguments reach it."""

import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from a2alinker import BadArguments, ConfigurationError, Context, Skill, skill


@dataclass
class Place:
    x: int
    y: int = 0


def test_a_function_stays_a_function() -> None:
    @skill
    def double(n: int) -> int:
        """Doubles a number."""
        return 2 * n

    assert double(4) == 8
    assert (double.name, double.description, double.kind, double.concurrency) == ("double", "Doubles a number.", "function", 1)
    assert inspect.unwrap(double).__name__ == "double"


def test_the_definition_carries_description_and_schemas() -> None:
    @skill(name="move.to", tags=["fast"], concurrency=3, description="Moves.")
    async def move(place: Place, steps: int = 1, *, quiet: bool = False, context: Context) -> list[Place]:
        return [place] * steps

    assert json.loads(move.definition) == {
        "name": "move.to",
        "description": "Moves.",
        "input": {
            "type": "object",
            "properties": {
                "place": {
                    "type": "object",
                    "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
                    "required": ["x"],
                    "additionalProperties": False,
                },
                "steps": {"type": "integer", "default": 1},
                "quiet": {"type": "boolean", "default": False},
            },
            "required": ["place"],
            "additionalProperties": False,
        },
        "output": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
                "required": ["x"],
                "additionalProperties": False,
            },
        },
    }
    assert move.signature.context == "context"


async def coroutine(a: int) -> str: ...  # type: ignore[empty-body]
async def stream(a: int) -> AsyncIterator[str]:
    yield ""


def generator(a: int) -> Iterator[int]:
    yield a


class Callee:
    __name__ = "callable_object"

    async def __call__(self, a: int) -> bytes:
        return bytes(a)


@pytest.mark.parametrize(
    ("function", "kind", "output"),
    [
        (coroutine, "coroutine", {"type": "string"}),
        (stream, "async generator", {"type": "string"}),
        (generator, "generator", {"type": "integer"}),
        (Callee(), "coroutine", {"type": "string", "format": "binary"}),
    ],
)
def test_each_kind_of_function_is_known(function: Callable[..., Any], kind: str, output: dict[str, Any]) -> None:
    made = Skill(function)
    assert (made.kind, made.signature.output) == (kind, output)


def takes(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    positional, named = Skill(function, name="f").signature.bind([args, kwargs])
    return function(*positional, **named)


def test_arguments_arrive_as_the_signature_says() -> None:
    def f(a: int, b: Place, /, c: float = 1, *rest: str, d: int = 4, **more: bool) -> Any:
        return a, b, c, rest, d, more

    assert takes(f, [1, {"x": 2}], {}) == (1, Place(2), 1, (), 4, {})
    assert takes(f, [1, {"x": 2}, 3, "r", "s"], {"d": 5, "e": True}) == (1, Place(2), 3.0, ("r", "s"), 5, {"e": True})
    assert takes(lambda a, b=2: (a, b), [], {"a": "x"}) == ("x", 2)


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ([], {}, "f needs 'a'"),
        ([1, 2, 3], {}, "f takes 2 positional arguments, not 3"),
        ([1], {"a": 1}, "f got 'a' twice"),
        ([1], {"z": 1}, "f has no parameter 'z'"),
        (["1"], {}, "f: a must be int, not str '1'"),
        ([1], {"b": {"y": 1}}, "f: b must be Place with 'x'"),
    ],
)
def test_arguments_that_do_not_fit_are_named(args: list[Any], kwargs: dict[str, Any], text: str) -> None:
    def f(a: int, b: Place | None = None) -> None: ...

    with pytest.raises(BadArguments) as caught:
        takes(f, args, kwargs)
    if "Place" in text:
        text = "f: b must be Place or None"
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("body", [None, "text", [], [[]], [[], []], [{}, {}], [[], {}, []]])
def test_a_call_that_carries_something_else_is_refused(body: Any) -> None:
    with pytest.raises(BadArguments):
        Skill(lambda: None, name="f").signature.bind(body)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "with space"},
        {"name": ""},
        {"name": "x" * 65},
        {"tags": ["a b"]},
        {"concurrency": 0},
        {"timeout": 0},
        {"description": "x" * 20_000},
    ],
)
def test_what_the_protocol_can_not_carry_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Skill(coroutine, **options)


def test_a_hint_that_can_not_be_resolved_says_so() -> None:
    def f(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match="Nowhere"):
        skill(f)


def test_what_is_no_function_is_refused() -> None:
    from a2alinker.skill import as_skill

    with pytest.raises(ConfigurationError, match="functions"):
        as_skill("review")  # type: ignore[arg-type]
