"""Bodies between Python objects and bytes: what crosses unchanged, what is refused, and what hostile bytes get."""

import dataclasses
import datetime
import decimal
import enum
import math
import random
import struct
from typing import Any

import pytest

from a2alinker import _core
from a2alinker.exceptions import BodyError, ProtocolError

NONE, BYTES, TEXT, MESSAGE_PACK = range(4)
LIMIT = 1024 * 1024


def crossed(body: object) -> Any:
    content_type, data = _core.encode_body(body)
    return _core.decode_body(content_type, data)


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "text",
        "gr\u00fc\u00dfe \U0001f44b \0",
        b"",
        b"\x00\xff",
        True,
        False,
        0,
        -1,
        127,
        128,
        -32,
        -33,
        2**63 - 1,
        -(2**63),
        2**64 - 1,
        0.0,
        -0.5,
        1e300,
        math.inf,
        [],
        {},
        [None, [True, [b"x", {"": ""}]]],
        {"a": 1, "b": {"c": [1, 2, 3]}},
        list(range(70_000)),
        {str(n): n for n in range(70_000)},
        ["x" * n for n in (31, 32, 255, 256, 65_535, 65_536)],
        [b"x" * n for n in (255, 256, 65_535, 65_536)],
    ],
)
def test_a_plain_value_crosses_unchanged(body: object) -> None:
    received = crossed(body)
    assert received == body
    assert type(received) is type(body)


def test_text_and_bytes_go_as_they_are() -> None:
    assert _core.encode_body(None) == (NONE, b"")
    assert _core.encode_body("hi") == (TEXT, b"hi")
    assert _core.encode_body(b"hi") == (BYTES, b"hi")
    assert _core.encode_body(bytearray(b"hi")) == (BYTES, b"hi")
    assert _core.encode_body(memoryview(b"-hi-")[1:3]) == (BYTES, b"hi")
    assert _core.encode_body(["hi"])[0] == MESSAGE_PACK


def test_tuples_arrive_as_lists() -> None:
    assert crossed((1, (2, 3))) == [1, [2, 3]]


def test_dataclasses_and_pydantic_models_arrive_as_dictionaries() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Point:
        x: int
        y: float = 0.5

    assert crossed({"points": [Point(1), Point(2)]}) == {"points": [{"x": 1, "y": 0.5}, {"x": 2, "y": 0.5}]}
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", name=(str, ...), tags=(list[str], ["a"]))
    assert crossed(model(name="n")) == {"name": "n", "tags": ["a"]}


def test_derived_types_arrive_as_their_base() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        LOW = 1

    class Named(dict[str, int]):
        pass

    assert crossed([Colour.RED, Named(a=1), Level.LOW]) == ["red", {"a": 1}, 1]


class Plain(enum.Enum):
    ONE = 1


@dataclasses.dataclass
class Event:
    when: object


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (datetime.datetime(2026, 1, 1), "body: datetime can't be sent; send its isoformat()"),
        ({"items": [1, 2, 3, Event(datetime.date(2026, 1, 1))]}, "body.items[3].when: date can't be sent; send its isoformat()"),
        ({"a b": [{1, 2}]}, 'body["a b"][0]: set can\'t be sent; send a list of it'),
        ([decimal.Decimal(1)], "body[0]: Decimal can't be sent; send its str()"),
        ([Plain.ONE], "body[0]: Plain can't be sent; send its value"),
        ([object()], "body[0]: object can't be sent; send str, bytes, numbers, lists, dicts, dataclasses or pydantic models"),
        ([Event], "body[0]: type can't be sent; send str, bytes, numbers, lists, dicts, dataclasses or pydantic models"),
        ({1: 2}, "body: dict keys must be str, not int"),
        ({"a": {None: 2}}, "body.a: dict keys must be str, not NoneType"),
        ([2**64], "body[0]: int beyond 64 bits can't be sent; send it as str"),
        ([-(2**63) - 1], "body[0]: int beyond 64 bits can't be sent; send it as str"),
        (["\ud800"], "body[0]: str with lone surrogates can't be sent; encode it to bytes"),
        ("\ud800", "body: str with lone surrogates can't be sent; encode it to bytes"),
    ],
)
def test_a_value_without_an_exact_form_is_refused_by_its_path(body: object, problem: str) -> None:
    with pytest.raises(BodyError) as raised:
        _core.encode_body(body)
    assert str(raised.value) == problem


@pytest.mark.parametrize("body", ["x" * (LIMIT + 1), b"x" * (LIMIT + 1), [b"x" * LIMIT], ["x"] * LIMIT, [None] * (LIMIT + 1)])
def test_a_body_over_a_mebibyte_is_refused(body: object) -> None:
    with pytest.raises(BodyError, match="larger than 1048576 bytes"):
        _core.encode_body(body)


def test_a_body_of_a_mebibyte_is_not_refused() -> None:
    assert len(_core.encode_body("x" * LIMIT)[1]) == LIMIT


def test_a_list_that_contains_itself_is_refused() -> None:
    body: list[object] = []
    body.append({"again": body})
    with pytest.raises(BodyError, match="deeper than 64 levels") as raised:
        _core.encode_body(body)
    assert isinstance(raised.value.__cause__, RecursionError)


def test_sixty_four_levels_cross_and_one_more_does_not() -> None:
    def nested(levels: int) -> object:
        body: object = 1
        for _ in range(levels):
            body = [body]
        return body

    assert crossed(nested(64)) == nested(64)
    with pytest.raises(BodyError):
        _core.encode_body(nested(65))
    with pytest.raises(ProtocolError, match="nested too deep"):
        _core.decode_body(MESSAGE_PACK, b"\x91" * 65 + b"\x01")


def test_a_container_that_changes_under_way_is_refused_not_a_crash() -> None:
    shared: dict[str, object] = {}

    class Meddler(Event):
        def __getattribute__(self, name: str) -> object:
            if name == "when":
                shared[str(len(shared))] = 0
            return super().__getattribute__(name)

    dataclasses.dataclass(Meddler)
    shared["first"] = Meddler(1)
    shared["second"] = 2
    with pytest.raises(BodyError, match="changed while it was being sent"):
        _core.encode_body(shared)

    class Swapper(Meddler):
        def __getattribute__(self, name: str) -> object:
            if name == "when":
                del shared["second"]
                shared["other"] = 0
            return super(Meddler, self).__getattribute__(name)

    shared.clear()
    shared.update(first=dataclasses.dataclass(Swapper)(1), second=2)
    _core.encode_body(shared)


def test_an_exception_of_the_applications_own_code_is_the_cause() -> None:
    @dataclasses.dataclass
    class Broken:
        field: int

        def __getattribute__(self, name: str) -> object:
            if name == "field":
                raise OSError("disk")
            return super().__getattribute__(name)

    broken = object.__new__(Broken)
    with pytest.raises(BodyError) as raised:
        _core.encode_body([broken])
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("content_type", "data", "problem"),
    [
        (MESSAGE_PACK, b"", "cut short"),
        (MESSAGE_PACK, b"\x01\x01", "bytes after the end"),
        (MESSAGE_PACK, b"\xdd\xff\xff\xff\xff", "cut short"),
        (MESSAGE_PACK, b"\xdf\xff\xff\xff\xff", "cut short"),
        (MESSAGE_PACK, b"\xdb\xff\xff\xff\xffx", "cut short"),
        (MESSAGE_PACK, b"\xc6\xff\xff\xff\xffx", "cut short"),
        (MESSAGE_PACK, b"\xc1", "reserved"),
        (MESSAGE_PACK, b"\xd4\x00\x00", "extension"),
        (MESSAGE_PACK, b"\x81\x01\x01", "key that isn't text"),
        (MESSAGE_PACK, b"\xa1\xff", "isn't UTF-8"),
        (TEXT, b"a\xff", "isn't UTF-8"),
        (NONE, b"x", "should be none"),
        (4, b"", "large body where"),
        (5, b"", "unknown content type"),
    ],
)
def test_bytes_that_are_no_body_are_a_protocol_error(content_type: int, data: bytes, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        _core.decode_body(content_type, data)


def test_promised_lengths_reserve_no_memory() -> None:
    # Sixty-three lists, each of which claims as many elements as there are bytes: believed, they would reserve 0.5 GB.
    data = (b"\xdd" + struct.pack(">I", LIMIT - 400)) * 63 + b"\x01" * (LIMIT - 315)
    with pytest.raises(ProtocolError, match="cut short") as raised:
        _core.decode_body(MESSAGE_PACK, data)
    assert "at byte 10)" in str(raised.value)


def test_random_and_flipped_bytes_never_do_more_than_raise() -> None:
    source = random.Random(7)
    valid = _core.encode_body({"list": [1, -1, 2.5, None, True, "text", b"bytes", {"k": [2**40]}]})[1]
    for _ in range(20_000):
        data = bytearray(valid)
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(len(data))] = source.randrange(256)
        if source.random() < 0.3:
            data = data[: source.randrange(len(data))]
        if source.random() < 0.1:
            data = bytearray(source.randbytes(source.randrange(40)))
        try:
            received = _core.decode_body(MESSAGE_PACK, bytes(data))
        except ProtocolError:
            continue
        assert _core.encode_body(received) is not None
