"""Section 5.2: what an agent tells about itself, signed by it: where it is found, which key to seal to, what it can do."""

from dataclasses import dataclass
from typing import Self

from independent import xwing
from independent.certificate import Certificate, check_chain
from independent.codec import NO_EXTENSIONS, Forged, Malformed, Reader, bytes16, text8, u8, u16, u64
from independent.keys import SigningKey, agent_label, verify

LIMIT = 4_096  # bytes of a card
PASSING = 0x01  # the identity ends with the process


@dataclass(frozen=True)
class Skill:
    name: str
    tags: tuple[str, ...]
    concurrency: int
    definition_hash: bytes


@dataclass(frozen=True)
class Card:
    founder: bytes
    identity: bytes
    run: bytes
    stamp: int
    link_key: bytes
    name: str
    prekey: bytes
    chain: bytes
    skills: tuple[Skill, ...] = ()
    flags: int = PASSING
    encoded: bytes = b""
    certificate: Certificate | None = None

    @property
    def label(self) -> bytes:
        return agent_label(self.link_key)

    def sign(self, identity: SigningKey) -> bytes:
        skills = (
            text8(skill.name) + u8(len(skill.tags)) + b"".join(map(text8, skill.tags)) + u16(skill.concurrency) + skill.definition_hash
            for skill in self.skills
        )
        body = (
            u8(1)
            + self.founder
            + self.identity
            + self.run
            + u64(self.stamp)
            + self.link_key
            + text8(self.name)
            + self.prekey
            + bytes16(self.chain)
            + u8(len(self.skills))
            + b"".join(skills)
            + u8(self.flags)
            + NO_EXTENSIONS
        )
        return body + identity.sign("card", body)

    @classmethod
    def decode(cls, data: bytes, founder: bytes, now: int) -> Self:
        """Reads a card, and leaves out skills that its certificate doesn't allow."""
        fields = Reader(data)
        if len(data) > LIMIT or fields.u8() != 1:
            raise Malformed("too long a card, or one of another version")
        f, identity, run, stamp = fields.take(32), fields.take(32), fields.take(16), fields.u64()
        link_key, name, prekey, chain = fields.take(32), fields.text8(), fields.take(xwing.PUBLIC_KEY), fields.bytes16()
        skills = tuple(_read_skill(fields) for _ in range(fields.u8()))
        flags = fields.u8()
        fields.extensions()
        verify(identity, "card", fields.taken(), fields.take(64))
        fields.end()
        certificate = check_chain(chain, founder, now)
        if (f, identity, name) != (founder, certificate.identity, certificate.name):
            raise Forged("a card with somebody else's certificate")
        skills = tuple(skill for skill in skills if certificate.may_offer(skill.name))
        return cls(f, identity, run, stamp, link_key, name, prekey, chain, skills, flags, data, certificate)


def _read_skill(fields: Reader) -> Skill:
    name = fields.text8()
    tags = tuple(fields.text8() for _ in range(fields.u8()))
    return Skill(name, tags, fields.u16(), fields.take(32))
