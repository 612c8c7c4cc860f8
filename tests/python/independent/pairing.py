"""Section 9: a code of a number and three words becomes a ticket that only two sides hold, through one guess of SPAKE2."""

from dataclasses import dataclass, field
from hmac import compare_digest

from spake2 import SPAKE2_A, SPAKE2_B, SPAKEError
from spake2.ed25519_basic import NotOnCurve

from independent.admission import Ticket
from independent.codec import NO_EXTENSIONS, Forged, Malformed, Random, Reader, text8, u8, u32, u64
from independent.keys import authenticate, expand, extract, h, slot_label
from independent.outer import DataFrame, Kind, Lane, OuterHeader
from independent.sealing import aead_open, aead_seal

ASK, TELL, CONFIRM, OFFER = 1, 2, 3, 4
PAIRED, WRONG, CERTIFICATE, CLOSED = 0, 1, 2, 3
SPAKE2_MESSAGE = 33  # bytes: the side, an element


@dataclass(frozen=True)
class Code:
    slot: int
    words: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Code":
        slot, _, words = text.strip().lower().partition("-")
        if not slot.isdecimal() or words.count("-") < 2:
            raise Malformed("not a code")
        return cls(int(slot), words)

    @property
    def identities(self) -> tuple[bytes, bytes]:
        return f"a2alinker/1 joiner {self.slot}".encode(), f"a2alinker/1 inviter {self.slot}".encode()


@dataclass(frozen=True)
class Keys:
    """What follows from SPAKE2's output."""

    prk: bytes = field(repr=False)

    @classmethod
    def derive(cls, slot: int, exchange: bytes, message_a: bytes, message_b: bytes, k: bytes) -> "Keys":
        transcript = h(b"a2alinker/1 code transcript\0", u32(slot), exchange, message_a, message_b)
        return cls(extract(transcript, k))

    def _derived(self, purpose: str) -> bytes:
        return expand(self.prk, f"a2alinker/1 code {purpose}".encode(), 32)

    def confirmation_a(self, vouched: int, pin: bytes) -> bytes:
        return authenticate(self._derived("joiner"), u8(CONFIRM) + u8(vouched) + pin)

    def confirmation_b(self, status: int, confirmation_a: bytes, sealed_offer: bytes) -> bytes:
        return authenticate(self._derived("inviter"), u8(OFFER) + u8(status) + confirmation_a + sealed_offer)

    def seal_offer(self, aad: bytes, offer: bytes) -> bytes:
        return aead_seal(self._derived("offer"), bytes(12), aad, offer)

    def open_offer(self, aad: bytes, sealed: bytes) -> bytes:
        return aead_open(self._derived("offer"), bytes(12), aad, sealed)

    @property
    def secret(self) -> bytes:
        return self._derived("ticket")


def _frame(exchange: bytes, destination: bytes, content: bytes) -> DataFrame:
    return DataFrame(OuterHeader(Kind.PAIRING, Lane.URGENT, destination, exchange), content)


def encode_offer(founder: bytes, v: bytes, expiry: int, addresses: tuple[str, ...]) -> bytes:
    return founder + v + u64(expiry) + u8(len(addresses)) + b"".join(map(text8, addresses)) + NO_EXTENSIONS


class Joiner:
    """The side that was told the code: `ask` goes out, `confirm` answers the Tell, `ticket` takes the Offer."""

    def __init__(self, code: Code, random: Random) -> None:
        self._code = code
        self._exchange = random(16)
        a, b = code.identities
        self._spake2 = SPAKE2_A(code.words.encode(), idA=a, idB=b, entropy_f=little_endian(random))
        self._message: bytes = self._spake2.start()
        self._keys: Keys | None = None
        self._confirmation = b""

    @property
    def ask(self) -> DataFrame:
        return self._send(u8(ASK) + self._message)

    def confirm(self, tell: DataFrame, *, vouched: int, pin: bytes) -> DataFrame:
        fields = self._received(tell, TELL)
        message = fields.take(SPAKE2_MESSAGE)
        fields.end()
        if not self._keys:  # the first Tell and no other: each is a guess of whoever made it
            k = _finish(self._spake2, message)
            self._keys = Keys.derive(self._code.slot, self._exchange, self._message, message, k)
        self._confirmation = self._keys.confirmation_a(vouched, pin)
        return self._send(u8(CONFIRM) + u8(vouched) + pin + self._confirmation)

    def ticket(self, offer: DataFrame) -> Ticket:
        """Gives the ticket that both sides hold from now on, or raises what the inviter said instead."""
        fields = self._received(offer, OFFER)
        status = fields.u8()
        if status not in {PAIRED, CERTIFICATE} or not self._keys:
            raise Forged({WRONG: "the words are wrong, and the code is burnt", CLOSED: "the code is closed"}.get(status, "unknown status"))
        confirmation, sealed = fields.take(32), fields.rest()
        if not compare_digest(confirmation, self._keys.confirmation_b(status, self._confirmation, sealed)):
            raise Forged("the inviter doesn't know the words")
        if status == CERTIFICATE:
            raise Forged("somebody stands between here and the switchboard; the code is burnt")
        inner = Reader(self._keys.open_offer(offer.header.encode(), sealed))
        founder, v, expiry = inner.take(32), inner.take(32), inner.u64()
        addresses = tuple(inner.text8() for _ in range(inner.u8()))
        inner.extensions()
        inner.end()
        return Ticket(self._keys.secret, founder, v, expiry, addresses)

    def _send(self, content: bytes) -> DataFrame:
        return _frame(self._exchange, slot_label(self._code.slot), content)

    def _received(self, frame: DataFrame, kind: int) -> Reader:
        fields = Reader(frame.sealed)
        if frame.header.kind != Kind.PAIRING or frame.header.session != self._exchange or fields.u8() != kind:
            raise Forged("not of this exchange")
        return fields


class Inviter:
    """The side that made the code, in one exchange: `tell` answers the Ask, `offer` the Confirm."""

    def __init__(self, code: Code, ask: DataFrame, random: Random) -> None:
        fields = Reader(ask.sealed)
        if ask.header.kind != Kind.PAIRING or fields.u8() != ASK:
            raise Forged("not an Ask")
        message_a = fields.take(SPAKE2_MESSAGE)
        fields.end()
        self._exchange = ask.header.session
        a, b = code.identities
        spake2 = SPAKE2_B(code.words.encode(), idA=a, idB=b, entropy_f=little_endian(random))
        self._message: bytes = spake2.start()
        self._keys = Keys.derive(code.slot, self._exchange, message_a, self._message, _finish(spake2, message_a))

    @property
    def secret(self) -> bytes:
        """The secret of the ticket, once the Confirm was right."""
        return self._keys.secret

    def tell(self, destination: bytes) -> DataFrame:
        return _frame(self._exchange, destination, u8(TELL) + self._message)

    def check(self, confirm: DataFrame) -> tuple[int, bytes, bytes]:
        """Gives `vouched`, the pin and the confirmation of a Confirm that is right. A wrong one is the one guess: the code is burnt."""
        fields = Reader(confirm.sealed)
        if confirm.header.kind != Kind.PAIRING or confirm.header.session != self._exchange or fields.u8() != CONFIRM:
            raise Forged("not of this exchange")
        vouched, pin, confirmation = fields.u8(), fields.take(32), fields.take(32)
        fields.end()
        if not compare_digest(confirmation, self._keys.confirmation_a(vouched, pin)):
            raise Forged("the words are wrong")
        return vouched, pin, confirmation

    def offer(self, destination: bytes, confirmation: bytes, offer: bytes, status: int = PAIRED) -> DataFrame:
        header = OuterHeader(Kind.PAIRING, Lane.URGENT, destination, self._exchange)
        sealed = self._keys.seal_offer(header.encode(), offer) if status == PAIRED else b""
        proof = self._keys.confirmation_b(status, confirmation, sealed)
        return DataFrame(header, u8(OFFER) + u8(status) + proof + sealed)


def _finish(spake2: SPAKE2_A | SPAKE2_B, message: bytes) -> bytes:
    try:
        k: bytes = spake2.finish(message)
    except (SPAKEError, NotOnCurve, ValueError) as error:
        raise Forged("not a message of SPAKE2's other side") from error
    return k


def little_endian(random: Random) -> Random:
    """Lets `spake2` read its 64 random bytes as a little-endian number, the order of Ed25519."""
    return lambda length: random(length)[::-1]
