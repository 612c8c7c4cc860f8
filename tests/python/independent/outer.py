"""Section 3.4: the Data frame. The outer header travels in the clear and is authenticated by every seal behind it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from independent.codec import Malformed, Reader, u8, u32, u64

DATA = 0x10
PREFIX = 17  # bytes before the outer header: kind and source
HEADER = 56  # bytes of the outer header
FRAME = 65_536  # bytes that a frame has at most

PARKABLE = 0x01
EARLY = 0x02


class Kind(IntEnum):
    SESSION = 1
    ENVELOPE = 2
    OPENER = 3
    ANSWER = 4
    CANNOT_OPEN = 5
    ADMISSION_REQUEST = 6
    ADMISSION_REPLY = 7
    GROUP = 8
    PAIRING = 9


class Lane(IntEnum):
    CONTROL = 0
    URGENT = 1
    HIGH = 2
    NORMAL = 3
    BULK = 4


@dataclass(frozen=True)
class OuterHeader:
    kind: int
    lane: int
    destination: bytes
    session: bytes
    flags: int = 0
    generation: int = 0
    counter: int = 0
    expiry: int = 0

    def encode(self) -> bytes:
        return (
            u8(1)
            + u8(self.kind)
            + u8(self.lane)
            + u8(self.flags)
            + self.destination
            + self.session
            + u32(self.generation)
            + u64(self.counter)
            + u64(self.expiry)
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        fields = Reader(data)
        if fields.u8() != 1:
            raise Malformed("an outer header of another version")
        kind, lane, flags = fields.u8(), fields.u8(), fields.u8()
        if lane > Lane.BULK:
            raise Malformed("an unknown lane")
        destination, session = fields.take(16), fields.take(16)
        header = cls(kind, lane, destination, session, flags, fields.u32(), fields.u64(), fields.u64())
        fields.end()
        return header


@dataclass(frozen=True)
class DataFrame:
    header: OuterHeader
    sealed: bytes
    source: bytes = bytes(16)

    def encode(self) -> bytes:
        return u8(DATA) + self.source + self.header.encode() + self.sealed

    @classmethod
    def decode(cls, frame: bytes) -> Self:
        fields = Reader(frame)
        if len(frame) > FRAME or fields.u8() != DATA:
            raise Malformed("not a Data frame")
        source, header = fields.take(16), OuterHeader.decode(fields.take(HEADER))
        return cls(header, fields.rest(), source)

    @property
    def authenticated(self) -> bytes:
        """The outer header and what is sealed behind it, as transcripts take them in."""
        return self.header.encode() + self.sealed
