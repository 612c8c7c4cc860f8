"""Section 7.3: messages in an envelope that waits at the switchboard for its receiver."""

from dataclasses import dataclass

from independent.codec import NO_EXTENSIONS, Malformed, Random, Reader, bytes16, bytes32, u16, u64
from independent.keys import SigningKey
from independent.outer import PARKABLE, DataFrame, Kind, Lane, OuterHeader
from independent.sealing import open_envelope, prekey_id, seal_envelope
from independent.xwing import PrivateKey

PARKED = 2  # the payload kind


@dataclass(frozen=True)
class Parked:
    number: int
    before: int
    waits_until: int
    message: bytes


@dataclass(frozen=True)
class Parcel:
    run: bytes
    wall: int
    wall_there: int
    card: bytes
    floor: int
    messages: tuple[Parked, ...]

    def encode(self) -> bytes:
        head = self.run + u64(self.wall) + u64(self.wall_there) + bytes16(self.card) + u64(self.floor) + u16(len(self.messages))
        each = (u64(one.number) + u64(one.before) + u64(one.waits_until) + bytes32(one.message) for one in self.messages)
        return head + b"".join(each) + NO_EXTENSIONS

    @classmethod
    def decode(cls, payload: bytes) -> "Parcel":
        fields = Reader(payload)
        run, wall, there, card, floor = fields.take(16), fields.u64(), fields.u64(), fields.bytes16(), fields.u64()
        messages = tuple(Parked(fields.u64(), fields.u64(), fields.u64(), fields.bytes32()) for _ in range(fields.u16()))
        fields.extensions()
        fields.end()
        if not messages:
            raise Malformed("nothing in it")
        return cls(run, wall, there, card, floor, messages)


def seal(
    sender: SigningKey,
    receiver: bytes,
    run: bytes,
    prekey: bytes,
    destination: bytes,
    lane: Lane,
    expiry: int,
    parcel: Parcel,
    random: Random,
) -> DataFrame:
    header = OuterHeader(Kind.ENVELOPE, lane, destination, random(16), flags=PARKABLE, counter=prekey_id(prekey), expiry=expiry)
    frame, _ = seal_envelope(sender, receiver, prekey, header, random, payload_kind=PARKED, payload=parcel.encode(), receiver_run=run)
    return frame


def open_parcel(frame: DataFrame, prekey: PrivateKey, receiver: bytes) -> tuple[bytes, bytes, Parcel]:
    """Gives who sent it, which run of the receiver it names, and what is in it. The card has still to be checked."""
    envelope = open_envelope(frame, prekey, receiver)
    if envelope.payload_kind != PARKED or frame.header.lane == Lane.CONTROL:
        raise Malformed("no parked messages")
    return envelope.sender, envelope.receiver_run, Parcel.decode(envelope.payload)
