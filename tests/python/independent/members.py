"""The swarm of the vectors: the initiator, whom the founder made an admin, and the responder, whom the initiator admitted."""

from dataclasses import dataclass

from independent import xwing
from independent.certificate import ADMIT, ANY_SKILL, ORIGINATE, Certificate, encode_chain
from independent.codec import Random
from independent.handshake import Side
from independent.keys import SigningKey, agent_label, h, link_key, routing_key
from independent.vectors import EXPIRY, NOW


@dataclass
class Member:
    identity: SigningKey
    long_term: xwing.PrivateKey
    prekey: xwing.PrivateKey
    run: bytes
    link_key: SigningKey
    chain: bytes = b""

    @classmethod
    def draw(cls, random: Random, v: bytes) -> "Member":
        identity, long_term, prekey, run = SigningKey(random(32)), random(32), random(32), random(16)
        return cls(identity, xwing.PrivateKey(long_term), xwing.PrivateKey(prekey), run, link_key(identity, v))

    @property
    def label(self) -> bytes:
        return agent_label(self.link_key.public)

    @property
    def side(self) -> Side:
        return Side(self.identity.public, self.run, self.chain)

    def certificate(self, founder: bytes, issuer: SigningKey, name: str, rights: int, *skills: str) -> bytes:
        long_term = h(self.long_term.public)
        body = Certificate(founder, self.identity.public, issuer.public, NOW, EXPIRY, rights, name, skills, long_term)
        return body.sign(issuer)


class Swarm:
    def __init__(self, random: Random) -> None:
        self.founder = SigningKey(random(32))
        self.routing = routing_key(self.founder)
        self.f, self.v = self.founder.public, self.routing.public
        self.initiator = Member.draw(random, self.v)
        self.responder = Member.draw(random, self.v)
        admin = self.initiator.certificate(self.f, self.founder, "planner", ADMIT | ORIGINATE | ANY_SKILL)
        self.initiator.chain = encode_chain(admin)
        member = self.responder.certificate(self.f, self.initiator.identity, "coder.2", 0, "test", "review")
        self.responder.chain = encode_chain(member, admin)
