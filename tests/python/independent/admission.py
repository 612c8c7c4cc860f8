"""Section 8: a ticket, the request of who holds it, and the reply that makes a member."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from independent import hpke, xwing
from independent.codec import NO_EXTENSIONS, Forged, Malformed, Random, Reader, base32, bytes32, from_base32, text8, text16, u8, u16, u64
from independent.keys import SigningKey, expand, extract, h, verify
from independent.outer import DataFrame, Kind, Lane, OuterHeader
from independent.sealing import aead_open, aead_seal, pad, unpad

PREFIX = "a2alt_"
COUNTED = 0x01
LIMIT = 4_096  # bytes of a ticket's text

STATUS, CHAIN, LINK_CHAIN, CARD, ISSUER = 1, 2, 3, 4, 5
ADMITTED = 0


@dataclass(frozen=True)
class Ticket:
    secret: bytes = field(repr=False)
    founder: bytes
    v: bytes
    expiry: int
    addresses: tuple[str, ...]
    flags: int = COUNTED

    def encode(self) -> bytes:
        body = u8(1) + u8(self.flags) + self.secret + self.founder + self.v + u64(self.expiry) + u8(len(self.addresses))
        body += b"".join(map(text8, self.addresses)) + NO_EXTENSIONS
        return body + h(body)[:4]

    def __str__(self) -> str:
        return PREFIX + base32(self.encode())

    @classmethod
    def parse(cls, text: str) -> Self:
        text = "".join(text.split())
        if len(text) > LIMIT or not text.startswith(PREFIX):
            raise Malformed("not a ticket")
        fields = Reader(from_base32(text.removeprefix(PREFIX)))
        if fields.u8() != 1:
            raise Malformed("a ticket of another version")
        flags, secret, founder, v, expiry = fields.u8(), fields.take(32), fields.take(32), fields.take(32), fields.u64()
        addresses = tuple(fields.text8() for _ in range(fields.u8()))
        fields.extensions()
        if h(fields.taken())[:4] != fields.take(4):
            raise Malformed("a damaged ticket")
        fields.end()
        if not 1 <= len(addresses) <= 8:
            raise Malformed("a ticket without an address, or with too many")
        return cls(secret, founder, v, expiry, addresses, flags)

    @property
    def mailbox(self) -> bytes:
        return self._derived(b"a2alinker/1 mailbox", 16)

    @property
    def request_key(self) -> bytes:
        return self._derived(b"a2alinker/1 request key", 32)

    @property
    def psk(self) -> hpke.Psk:
        return self._derived(b"a2alinker/1 reply psk", 32), b"a2alinker/1 admission" + self.mailbox

    def _derived(self, info: bytes, length: int) -> bytes:
        return expand(extract(b"a2alinker/1 ticket", self.secret), info, length)


@dataclass(frozen=True)
class Request:
    identity: bytes
    link_key: bytes
    run: bytes
    name: str
    long_term: bytes
    prekey: bytes
    wall: int

    def encode(self) -> bytes:
        keys = self.identity + self.link_key + self.run + text8(self.name) + self.long_term + self.prekey
        return u8(1) + keys + u64(self.wall) + NO_EXTENSIONS


def seal_request(ticket: Ticket, identity: SigningKey, request: Request, random: Random, *, expiry: int = 0) -> DataFrame:
    exchange, nonce = random(16), random(12)
    header = OuterHeader(Kind.ADMISSION_REQUEST, Lane.URGENT, ticket.mailbox, exchange, expiry=expiry)
    body = request.encode()
    body += identity.sign("admission request", ticket.founder + ticket.v + ticket.mailbox + exchange + body)
    return DataFrame(header, nonce + aead_seal(ticket.request_key, nonce, header.encode(), body))


def open_request(ticket: Ticket, frame: DataFrame) -> Request:
    header = frame.header
    if header.kind != Kind.ADMISSION_REQUEST or header.destination != ticket.mailbox:
        raise Forged("not a request to this mailbox")
    body = Reader(aead_open(ticket.request_key, frame.sealed[:12], header.encode(), frame.sealed[12:]))
    if body.u8() != 1:
        raise Malformed("a request of another version")
    identity, link_key, run, name = body.take(32), body.take(32), body.take(16), body.text8()
    long_term, prekey, wall = body.take(xwing.PUBLIC_KEY), body.take(xwing.PUBLIC_KEY), body.u64()
    body.extensions()
    signed = ticket.founder + ticket.v + ticket.mailbox + header.session + body.taken()
    verify(identity, "admission request", signed, body.take(64))
    body.end()
    return Request(identity, link_key, run, name, long_term, prekey, wall)


@dataclass(frozen=True)
class Reply:
    issuer: bytes
    code: int = ADMITTED
    text: str = ""
    chain: bytes = b""
    link_chain: bytes = b""
    cards: Sequence[bytes] = ()

    def encode(self) -> bytes:
        values = [(STATUS, u8(self.code) + text16(self.text)), (ISSUER, self.issuer)]
        values += [(CHAIN, self.chain), (LINK_CHAIN, self.link_chain), *((CARD, card) for card in self.cards)]
        return b"".join(u16(kind) + bytes32(value) for kind, value in values if value)


INFO = b"a2alinker/1 admission reply"


def seal_reply(
    ticket: Ticket,
    request: DataFrame,
    long_term: bytes,
    issuer: SigningKey,
    destination: bytes,
    reply: Reply,
    random: Random,
    *,
    expiry: int = 0,
) -> DataFrame:
    exchange = request.header.session
    header = OuterHeader(Kind.ADMISSION_REPLY, Lane.URGENT, destination, exchange, expiry=expiry)
    aad = header.encode()
    enc, context = hpke.sender(long_term, INFO, random(xwing.ENCAPSULATION_SEED), ticket.psk)
    body = reply.encode()
    body += issuer.sign("admission reply", exchange + h(request.sealed) + enc + body)
    return DataFrame(header, enc + context.seal(aad, pad(body)))


def open_reply(ticket: Ticket, request: DataFrame, long_term: xwing.PrivateKey, frame: DataFrame) -> Reply:
    """Gives what the issuer, whoever it is, signed. Chains and cards in it are for the joiner to check."""
    exchange = request.header.session
    if frame.header.kind != Kind.ADMISSION_REPLY or frame.header.session != exchange:
        raise Forged("not the reply to this request")
    enc, ciphertext = frame.sealed[: xwing.ENCAPSULATION], frame.sealed[xwing.ENCAPSULATION :]
    context = hpke.receiver(long_term, enc, INFO, ticket.psk)
    plaintext = unpad(context.open(frame.header.encode(), ciphertext))
    if len(plaintext) < 64:
        raise Malformed("a reply without a signature")
    body, signature = plaintext[:-64], plaintext[-64:]
    values = _values(body)
    if not {STATUS, ISSUER} <= values.keys() or any(len(found) > 1 for kind, found in values.items() if kind < CARD or kind == ISSUER):
        raise Malformed("a reply without a status or an issuer, or with two")
    issuer = values[ISSUER][0]
    verify(issuer, "admission reply", exchange + h(request.sealed) + enc + body, signature)
    status = Reader(values[STATUS][0])
    code, text = status.u8(), status.text16(512)
    status.end()
    single = {kind: values[kind][0] for kind in (CHAIN, LINK_CHAIN) if kind in values}
    return Reply(issuer, code, text, single.get(CHAIN, b""), single.get(LINK_CHAIN, b""), tuple(values.get(CARD, ())))


def _values(body: bytes) -> dict[int, list[bytes]]:
    fields, values = Reader(body), dict[int, list[bytes]]()
    while fields:
        values.setdefault(fields.u16(), []).append(fields.bytes32())
    return values
