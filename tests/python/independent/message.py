"""Section 7.1: a message: its header, which only the receiver reads, and its body."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from independent.codec import Malformed, Reader, bytes16, text8, text16, u8, u16, u32, u64


class Kind(IntEnum):
    PLAIN = 1
    REQUEST = 2
    ANSWER = 3
    PROGRESS = 4
    REFUSAL = 5
    CANCEL = 6
    GAP = 7
    CARD = 8
    DESCRIBE = 9
    DEFINITION = 10
    TICKET_RECORD = 11
    ROSTER = 12
    PART = 15
    END = 16
    TAKEN = 17


NONE, BYTES, TEXT, MESSAGE_PACK, LARGE = 0, 1, 2, 3, 4
REPLY_TO, THREAD, PROVENANCE, HEADERS, EXTENSIONS, SKILL = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
WANTS_DONE, MAYBE_REPEATED, FREE = 0x100, 0x200, 0x400

PLAIN_CLASS, REQUEST_CLASS, OTHER_CLASS, PART_CLASS = 0, 1, 2, 3
UNSUPPORTED, SKILL_UNKNOWN = 2, 5


@dataclass(frozen=True)
class Message:
    identifier: bytes
    kind: int
    body: bytes = b""
    content_type: int = NONE
    expiry: int = 0
    time_to_live: int = 0
    depth: int = 0
    budget: int = 0
    attempt: int = 0
    after: int = 0
    reply_to: bytes = b""
    thread: bytes = b""
    provenance: bytes = b""
    skill: str = ""
    headers: bytes = b""
    flags: int = 0  # those that don't say which fields are there

    @property
    def credit_class(self) -> int:
        return {1: PLAIN_CLASS, 2: REQUEST_CLASS, 15: PART_CLASS}.get(self.kind, OTHER_CLASS)

    def encode(self) -> bytes:
        optional = (
            (REPLY_TO, self.reply_to, self.reply_to),
            (THREAD, self.thread, self.thread),
            (PROVENANCE, self.provenance, self.provenance),
            (SKILL, self.skill, text8(self.skill)),
            (HEADERS, self.headers, bytes16(self.headers)),
        )
        flags = self.flags | sum(flag for flag, present, _ in optional if present)
        return (
            self.identifier
            + u8(self.kind)
            + u8(self.content_type)
            + u16(flags)
            + u64(self.expiry)
            + u32(self.time_to_live)
            + u16(self.depth)
            + u32(self.budget)
            + u32(self.attempt)
            + u32(self.after)
            + b"".join(encoded for _, present, encoded in optional if present)
            + self.body
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        fields = Reader(data)
        identifier, kind, content_type, flags = fields.take(16), fields.u8(), fields.u8(), fields.u16()
        expiry, time_to_live, depth = fields.u64(), fields.u32(), fields.u16()
        budget, attempt, after = fields.u32(), fields.u32(), fields.u32()
        reply_to = fields.take(16) if flags & REPLY_TO else b""
        thread = fields.take(16) if flags & THREAD else b""
        provenance = fields.take(32) if flags & PROVENANCE else b""
        skill = fields.text8() if flags & SKILL else ""
        headers = fields.bytes16(1_024) if flags & HEADERS else b""
        if flags & EXTENSIONS:
            fields.extensions()
        flags &= WANTS_DONE | MAYBE_REPEATED | FREE
        return cls(
            identifier,
            kind,
            fields.rest(),
            content_type,
            expiry,
            time_to_live,
            depth,
            budget,
            attempt,
            after,
            reply_to,
            thread,
            provenance,
            skill,
            headers,
            flags,
        )


def refusal_body(code: int, kind: str, text: str, retry_after_ms: int = 0) -> bytes:
    return u8(code) + u32(retry_after_ms) + text8(kind) + text16(text)


def roster_body(cards: dict[bytes, int]) -> bytes:
    """Takes the stamp of the card of each identity."""
    return b"".join(identity + u64(stamp) for identity, stamp in sorted(cards.items()))


def read_roster(body: bytes) -> dict[bytes, int]:
    fields, stamps = Reader(body), {}
    while fields:
        identity = fields.take(32)
        stamps[identity] = fields.u64()
    return stamps


# MessagePack, as far as strings, lists and their like need it; a client takes a library for it.
Value = None | bool | int | float | str | bytes | list["Value"] | dict["Value", "Value"]


Packed = str | list["Packed"] | dict[str, "Packed"]


def pack(value: Packed) -> bytes:
    match value:
        case str():
            encoded = value.encode()
            return b"\xdb" + u32(len(encoded)) + encoded
        case list():
            return b"\xdd" + u32(len(value)) + b"".join(map(pack, value))
        case dict():
            return b"\xdf" + u32(len(value)) + b"".join(pack(key) + pack(each) for key, each in value.items())


def unpack_arguments(body: bytes) -> tuple[list[Value], dict[Value, Value]]:
    """Reads the body of a request with a skill."""
    fields = Reader(body)
    value = _unpack(fields)
    fields.end()
    match value:
        case [list() as positional, dict() as keywords]:
            return positional, keywords
    raise Malformed("not the arguments of a skill")


def _unpack(fields: Reader) -> Value:
    match tag := fields.u8():
        case _ if tag < 0x80 or tag >= 0xE0:
            return tag if tag < 0x80 else tag - 0x100
        case _ if tag < 0x90:
            return _unpack_map(fields, tag & 0x0F)
        case _ if tag < 0xA0:
            return [_unpack(fields) for _ in range(tag & 0x0F)]
        case _ if tag < 0xC0:
            return fields.take(tag & 0x1F).decode()
        case 0xC0 | 0xC2 | 0xC3:
            return {0xC0: None, 0xC2: False, 0xC3: True}[tag]
        case 0xC4 | 0xC5 | 0xC6:
            return fields.counted(1 << tag - 0xC4, 0xFFFF)
        case 0xCC | 0xCD | 0xCE | 0xCF:
            return fields.number(1 << tag - 0xCC)
        case 0xD0 | 0xD1 | 0xD2 | 0xD3:
            size = 1 << tag - 0xD0
            return int.from_bytes(fields.take(size), "big", signed=True)
        case 0xD9 | 0xDA | 0xDB:
            return fields.counted(1 << tag - 0xD9, 0xFFFF).decode()
        case 0xDC | 0xDD:
            return [_unpack(fields) for _ in range(fields.number(2 << tag - 0xDC))]
        case 0xDE | 0xDF:
            return _unpack_map(fields, fields.number(2 << tag - 0xDE))
    raise Malformed(f"MessagePack 0x{tag:02x}, which this reader leaves out")


def _unpack_map(fields: Reader, count: int) -> Value:
    return {_hashable(_unpack(fields)): _unpack(fields) for _ in range(count)}


def _hashable(key: Value) -> Value:
    if isinstance(key, list | dict):
        raise Malformed("a list or a map as a key")
    return key
