"""Type hints: the JSON Schema that others see, and what becomes of what arrives."""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict

import pydantic
import pytest

from a2alinker.schema import Mismatch, converter_of, shape_of


@dataclasses.dataclass
class Finding:
    line: int
    text: str = ""
    tags: tuple[str, ...] = ()


@dataclasses.dataclass
class Tree:
    name: str
    children: list["Tree"] = dataclasses.field(default_factory=list)


class Options(TypedDict):
    strict: bool
    limit: NotRequired[int]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Report(pydantic.BaseModel):
    title: str
    findings: list[str] = []


UserId = NewType("UserId", int)


@pytest.mark.parametrize(
    ("hint", "value", "converted"),
    [
        (str, "a", "a"),
        (int, 3, 3),
        (float, 3, 3.0),
        (bool, True, True),
        (bytes, b"a", b"a"),
        (None, None, None),
        (Any, {"a": [1]}, {"a": [1]}),
        (object, 1, 1),
        (int | None, None, None),
        (int | str, "a", "a"),
        (list[int], [1, 2], [1, 2]),
        (Sequence[str], ["a"], ["a"]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
        (set[str], ["a", "a"], {"a"}),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Mapping[str, list[float]], {"a": [1]}, {"a": [1.0]}),
        (Literal["a", 1], 1, 1),
        (UserId, 7, 7),
        (Annotated[int, "how many"], 7, 7),
        (Colour, "red", Colour.RED),
        (Finding, {"line": 1, "tags": ["a"]}, Finding(1, "", ("a",))),
        (list[Finding], [{"line": 1}], [Finding(1)]),
        (Tree, {"name": "a", "children": [{"name": "b"}]}, Tree("a", [Tree("b")])),
        (Options, {"strict": True}, {"strict": True}),
        (Report, {"title": "t"}, Report(title="t")),
        (Finding | None, {"line": 2}, Finding(2)),
    ],
)
def test_a_value_that_fits_is_converted(hint: Any, value: Any, converted: Any) -> None:
    result = converter_of(hint if hint is not None else type(None))(value)
    assert result == converted
    assert type(result) is type(converted)


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (str, 1, "x must be str, not int 1"),
        (int, True, "x must be int, not bool True"),
        (int, 1.0, "x must be int"),
        (float, "1", "x must be float"),
        (int | None, "a", "x must be int or None"),
        (list[int], [1, "a"], "x[1] must be int, not str 'a'"),
        (list[int], "ab", "x must be list of int"),
        (tuple[int, str], [1], "x must be list of 2"),
        (dict[str, int], {"a": "b"}, "x['a'] must be int"),
        (Literal["a", 1], True, "x must be 'a' or 1"),
        (Colour, "green", "x must be a Colour: 'red', 'blue'"),
        (Finding, {"text": "a"}, "x must be Finding with 'line'"),
        (Finding, {"line": 1, "other": 2}, "x must be Finding without 'other'"),
        (Finding, {"line": "1"}, "x.line must be int"),
        (Tree, {"name": "a", "children": [{"name": 1}]}, "x.children[0].name must be str"),
        (Options, {"limit": 1}, "x must be Options with 'strict'"),
        (Report, {"title": 1}, "x must be a Report (title: Input should be a valid string)"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(hint: Any, value: Any, text: str) -> None:
    with pytest.raises(Mismatch) as caught:
        converter_of(hint)(value)
    assert caught.value.at("x").startswith(text)


def test_the_schema_says_what_the_hints_say() -> None:
    assert shape_of(Finding).schema == {
        "type": "object",
        "properties": {
            "line": {"type": "integer"},
            "text": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["line"],
        "additionalProperties": False,
    }
    assert shape_of(int | None).schema == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert shape_of(Annotated[int, "how many"]).schema == {"type": "integer", "description": "how many"}
    assert shape_of(Literal["a", "b"]).schema == {"enum": ["a", "b"]}
    assert shape_of(tuple[int, str]).schema["minItems"] == 2
    assert shape_of(Report).schema == Report.model_json_schema()
    assert shape_of(Any).schema == {}


def test_long_values_are_cut_in_errors() -> None:
    with pytest.raises(Mismatch) as caught:
        converter_of(int)("x" * 1000)
    assert len(caught.value.at("x")) < 120
