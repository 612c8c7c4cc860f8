"""Section 7: what a session frame holds: messages, and what two runs tell each other about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from independent.codec import Malformed, Reader, bytes32, text8, u8, u16, u64

CHUNK = 16_384  # bytes: a longer message is cut

Range = tuple[int, int]  # first, and the end that doesn't belong to it


@dataclass(frozen=True)
class Messages:
    floor: int
    first: int
    messages: tuple[bytes, ...]


@dataclass(frozen=True)
class Chunk:
    floor: int
    number: int
    offset: int
    total: int
    data: bytes


@dataclass(frozen=True)
class Receipt:
    lane: int
    delivered_below: int
    delivered: tuple[Range, ...] = ()
    done: tuple[Range, ...] = ()
    refused: tuple[tuple[int, int, str], ...] = ()  # number, code, reason


@dataclass(frozen=True)
class Credit:
    lane: int
    credit_class: int
    messages: int
    size: int


@dataclass(frozen=True)
class Heartbeat:
    requests: tuple[bytes, ...]


@dataclass(frozen=True)
class Probe:
    pass


@dataclass(frozen=True)
class Goodbye:
    final: bool = field(default=True)


Section = Messages | Chunk | Receipt | Credit | Heartbeat | Probe | Goodbye


def encode(sections: Sequence[Section]) -> bytes:
    return b"".join(u8(kind) + bytes32(body) for kind, body in map(_encode, sections))


def _encode(section: Section) -> tuple[int, bytes]:
    match section:
        case Messages(floor, first, messages):
            return 1, u64(floor) + u64(first) + u16(len(messages)) + b"".join(map(bytes32, messages))
        case Chunk(floor, number, offset, total, data):
            return 2, u64(floor) + u64(number) + u64(offset) + u64(total) + data
        case Receipt(lane, below, delivered, done, refused):
            outcomes = b"".join(u64(number) + u8(code) + text8(reason) for number, code, reason in refused)
            return 3, u8(lane) + u64(below) + _ranges(delivered) + _ranges(done) + u8(len(refused)) + outcomes
        case Credit(lane, credit_class, messages, size):
            return 4, u8(lane) + u8(credit_class) + u64(messages) + u64(size)
        case Heartbeat(requests):
            return 5, u8(len(requests)) + b"".join(requests)
        case Probe():
            return 6, b""
        case Goodbye(final):
            return 7, u8(final)


def decode(content: bytes) -> list[Section]:
    fields, sections = Reader(content), []
    while fields:
        kind, body = fields.u8(), Reader(fields.bytes32())
        section = _decode(kind, body)
        if section:
            body.end()
            sections.append(section)
    return sections


def _decode(kind: int, body: Reader) -> Section | None:
    match kind:
        case 1:
            floor, first = body.u64(), body.u64()
            return Messages(floor, first, tuple(body.bytes32() for _ in range(body.u16())))
        case 2:
            chunk = Chunk(body.u64(), body.u64(), body.u64(), body.u64(), body.rest())
            if len(chunk.data) > CHUNK or chunk.offset + len(chunk.data) > chunk.total:
                raise Malformed("a chunk that doesn't fit its message")
            return chunk
        case 3:
            lane, below, delivered, done = body.u8(), body.u64(), _read_ranges(body), _read_ranges(body)
            return Receipt(lane, below, delivered, done, tuple((body.u64(), body.u8(), body.text8()) for _ in range(body.u8())))
        case 4:
            return Credit(body.u8(), body.u8(), body.u64(), body.u64())
        case 5:
            return Heartbeat(tuple(body.take(16) for _ in range(body.u8())))
        case 6:
            return Probe()
        case 7:
            return Goodbye(body.u8() == 1)
    return None


def _ranges(ranges: Sequence[Range]) -> bytes:
    return u8(len(ranges)) + b"".join(u64(first) + u64(end) for first, end in ranges)


def _read_ranges(body: Reader) -> tuple[Range, ...]:
    return tuple((body.u64(), body.u64()) for _ in range(body.u8()))
