"""Section 5.1: certificates and their chains. What somebody may do in a swarm, as the founder or an admin signed it."""

import re
from dataclasses import dataclass
from typing import Self

from independent.codec import NO_EXTENSIONS, Forged, Malformed, Reader, bytes16, text8, u8, u64
from independent.keys import SigningKey, verify

LIMIT = 1_024  # bytes of a certificate
TOLERANCE = 300_000  # ms by which clocks may differ
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

ADMIT = 0x01
TERMINALS = 0x02
ORIGINATE = 0x04
ANY_SKILL = 0x08


@dataclass(frozen=True)
class Certificate:
    founder: bytes
    identity: bytes
    issuer: bytes
    issued: int
    expiry: int
    rights: int
    name: str
    skills: tuple[str, ...]
    long_term_hash: bytes
    encoded: bytes = b""

    def sign(self, issuer: SigningKey) -> bytes:
        body = (
            u8(1)
            + self.founder
            + self.identity
            + issuer.public
            + u64(self.issued)
            + u64(self.expiry)
            + u8(self.rights)
            + text8(self.name)
            + u8(len(self.skills))
            + b"".join(text8(skill) for skill in sorted(self.skills, key=str.encode))
            + self.long_term_hash
            + NO_EXTENSIONS
        )
        return body + issuer.sign("certificate", body)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads a certificate whose signature its issuer really made."""
        fields = Reader(data)
        if len(data) > LIMIT or fields.u8() != 1:
            raise Malformed("too long a certificate, or one of another version")
        founder, identity, issuer = fields.take(32), fields.take(32), fields.take(32)
        issued, expiry, rights, name = fields.u64(), fields.u64(), fields.u8(), fields.text8()
        skills = tuple(fields.text8() for _ in range(fields.u8()))
        long_term_hash = fields.take(32)
        fields.extensions()
        verify(issuer, "certificate", fields.taken(), fields.take(64))
        fields.end()
        encoded = [skill.encode() for skill in skills]
        if not NAME.fullmatch(name) or encoded != sorted(set(encoded)) or (skills and rights & ANY_SKILL):
            raise Malformed("a certificate with a name or skills that can't be")
        return cls(founder, identity, issuer, issued, expiry, rights, name, skills, long_term_hash, data)

    def may_offer(self, skill: str) -> bool:
        return bool(self.rights & ANY_SKILL) or skill in self.skills


def encode_chain(*certificates: bytes) -> bytes:
    return u8(len(certificates)) + b"".join(bytes16(certificate) for certificate in certificates)


def check_chain(chain: bytes, founder: bytes, now: int) -> Certificate:
    """Gives the holder's certificate, if all of the chain leads to the founder and is in force."""
    fields = Reader(chain)
    certificates = [Certificate.decode(fields.bytes16(LIMIT)) for _ in range(fields.u8())]
    fields.end()
    match certificates:
        case [holder] if holder.issuer == founder:
            pass
        case [holder, admin] if holder.issuer == admin.identity and admin.issuer == founder:
            _check_grant(admin, holder)
        case _:
            raise Forged("a chain that doesn't lead to the founder")
    if any(certificate.founder != founder for certificate in certificates):
        raise Forged("a certificate of another swarm")
    if any(certificate.expiry + TOLERANCE < now for certificate in certificates):
        raise Forged("an expired certificate")
    return holder


def _check_grant(admin: Certificate, holder: Certificate) -> None:
    if not admin.rights & ADMIT or holder.rights & ADMIT:
        raise Forged("only the founder makes admins")
    if holder.rights & ~admin.rights & (TERMINALS | ORIGINATE | ANY_SKILL) or not all(map(admin.may_offer, holder.skills)):
        raise Forged("an admin gave what it doesn't have")
