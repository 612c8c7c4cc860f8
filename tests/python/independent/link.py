"""Sections 3.1 to 3.3: how a link proves its key, link certificates, and what the switchboard tells."""

from dataclasses import dataclass
from typing import Self

from independent.certificate import TOLERANCE
from independent.codec import NO_EXTENSIONS, Forged, Malformed, Reader, bytes16, u8, u32, u64
from independent.keys import SigningKey, h, verify

CHALLENGE, HELLO, WELCOME, REJECT = 0x01, 0x02, 0x03, 0x04
GOODBYE, LABELS = 0x13, 0x20

BINDING_NONE, BINDING_EXPORTER = 0, 1
MEMBER, STRANGER, GUEST = 1, 2, 3
EXPORTER_LABEL = b"EXPORTER-a2alinker-link-1"

MAY_ISSUE = 0x01
MAY_REVOKE = 0x02
LINK_CERTIFICATE = 170  # bytes


def _only(frame: bytes, kind: int) -> Reader:
    fields = Reader(frame)
    if fields.u8() != kind:
        raise Malformed("a frame of another kind")
    return fields


@dataclass(frozen=True)
class Challenge:
    wall: int
    binding: int
    nonce: bytes
    features: int = 0
    version_min: int = 1
    version_max: int = 1

    def encode(self) -> bytes:
        return (
            u8(CHALLENGE)
            + u8(self.version_min)
            + u8(self.version_max)
            + u64(self.features)
            + u64(self.wall)
            + u8(self.binding)
            + self.nonce
            + NO_EXTENSIONS
        )

    @classmethod
    def decode(cls, frame: bytes) -> Self:
        fields = _only(frame, CHALLENGE)
        low, high, features, wall, binding = fields.u8(), fields.u8(), fields.u64(), fields.u64(), fields.u8()
        challenge = cls(wall, binding, fields.take(32), features, low, high)
        fields.extensions()
        fields.end()
        if not low <= 1 <= high:
            raise Malformed("a switchboard that doesn't speak version 1")
        return challenge


@dataclass(frozen=True)
class Credentials:
    """What a link shows: a link chain as a member, else a mailbox as a stranger, else a slot as a guest."""

    key: SigningKey
    v: bytes = bytes(32)
    link_chain: bytes = b""
    mailbox: bytes = b""
    slot: int = 0

    def hello(self, challenge: bytes, binding: int, exporter: bytes) -> bytes:
        if self.link_chain:
            role, shown = MEMBER, u8(len(self.link_chain) // LINK_CERTIFICATE) + self.link_chain
        elif self.mailbox:
            role, shown = STRANGER, self.mailbox
        else:
            role, shown = GUEST, u32(self.slot)
        body = u8(HELLO) + u8(1) + u64(0) + u8(binding) + u8(role) + self.v + self.key.public + bytes16(b"") + shown + NO_EXTENSIONS
        return body + self.key.sign("link hello", h(challenge) + exporter + body)


def check_hello(frame: bytes, challenge: bytes, exporter: bytes, now: int) -> tuple[int, bytes]:
    """Does what a switchboard does: gives role and link key if the proof is good."""
    fields = _only(frame, HELLO)
    if fields.u8() != 1:
        raise Malformed("another version")
    fields.u64()
    binding, role, v, key = fields.u8(), fields.u8(), fields.take(32), fields.take(32)
    fields.bytes16(64)
    match role:
        case 1:
            chain = fields.take(fields.u8() * LINK_CERTIFICATE)
        case 2:
            chain = b""
            fields.take(16)
        case 3:
            chain = b""
            if fields.u32() == 0 or any(v):
                raise Malformed("a guest without a slot, or with a swarm")
        case _:
            raise Malformed("an unknown role")
    fields.extensions()
    if binding != Challenge.decode(challenge).binding:
        raise Forged("another binding than the switchboard asked for")
    verify(key, "link hello", h(challenge) + exporter + fields.taken(), fields.take(64))
    fields.end()
    if role == MEMBER and check_link_chain(chain, v, now) != key:
        raise Forged("a link chain of another key")
    return role, key


@dataclass(frozen=True)
class Welcome:
    wall: int
    ping_seconds: int

    @classmethod
    def decode(cls, frame: bytes) -> Self:
        if frame[:1] == u8(REJECT):
            fields = _only(frame, REJECT)
            code = fields.u8()
            fields.u32()
            raise Forged(f"the switchboard refuses the link, code {code}: {fields.text16(512)}")
        fields = _only(frame, WELCOME)
        if fields.u8() != 1:
            raise Malformed("another version")
        fields.u64()
        wall = fields.u64()
        fields.u8()
        ping_seconds = fields.u16()
        fields.u16()
        fields.bytes16(64)
        fields.extensions()
        fields.end()
        return cls(wall, ping_seconds)


def link_certificate(v: bytes, holder: bytes, issuer: SigningKey, expiry: int, rights: int = 0) -> bytes:
    body = u8(1) + v + holder + issuer.public + u64(expiry) + u8(rights)
    return body + issuer.sign("link certificate", body)


def check_link_chain(chain: bytes, v: bytes, now: int) -> bytes:
    """Gives the link key that one or two link certificates, the holder's first, belong to."""
    fields, certificates = Reader(chain), []
    while fields:
        if fields.u8() != 1 or fields.take(32) != v:
            raise Forged("a link certificate of another swarm")
        holder, issuer, expiry, rights = fields.take(32), fields.take(32), fields.u64(), fields.u8()
        signed = fields.taken()[-106:]
        verify(issuer, "link certificate", signed, fields.take(64))
        if expiry + TOLERANCE < now:
            raise Forged("an expired link certificate")
        certificates.append((holder, issuer, rights))
    match certificates:
        case [(holder, issuer, _)] if issuer == v:
            return holder
        case [(holder, issuer, _), (issuing, signer, rights)] if issuer == issuing and signer == v and rights & MAY_ISSUE:
            return holder
    raise Forged("a chain that doesn't lead to V")


@dataclass(frozen=True)
class Labels:
    """Which labels are linked: `came` and `went`, and with `whole` nobody else is."""

    whole: bool
    came: tuple[bytes, ...]
    went: tuple[bytes, ...]

    @classmethod
    def decode(cls, frame: bytes) -> Self:
        fields = _only(frame, LABELS)
        flags = fields.u8()
        came = tuple(fields.take(16) for _ in range(fields.u16()))
        went = tuple(fields.take(16) for _ in range(fields.u16()))
        fields.end()
        return cls(bool(flags & 0x01), came, went)


def goodbye() -> bytes:
    return u8(GOODBYE) + u8(0)
