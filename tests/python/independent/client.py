"""Joins a swarm, by ticket or by code, and runs an agent on a link: all of PROTOCOL.md in one client.

client = join_by_ticket("a2alt_...", "independent", {"reverse": lambda text: text[::-1]})
client.run_until(lambda: client.agent.inbox)
client.close()
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing

from independent import admission, pairing, xwing
from independent.admission import Request, Ticket
from independent.agent import Agent, Membership
from independent.card import Card
from independent.certificate import ADMIT, check_chain
from independent.codec import Forged
from independent.keys import SigningKey, link_key
from independent.link import Credentials, check_link_chain
from independent.outer import DATA, DataFrame
from independent.transport import Closed, Link

PATIENCE = 10.0  # seconds for an answer of the inviter
AGAIN = 0.5  # seconds after which what isn't confirmed is sent again

Skills = Mapping[str, Callable[..., str]]


def wall() -> int:
    return time.time_ns() // 1_000_000


def join_by_ticket(text: str, name: str, skills: Skills) -> "Client":
    ticket = Ticket.parse(text)
    address = ticket.addresses[0]
    with closing(Link(address, Credentials(SigningKey(os.urandom(32)), v=ticket.v, mailbox=ticket.mailbox))) as stranger:
        membership = _admit(stranger, ticket, name)
    return Client(membership, address, skills)


def join_by_code(text: str, address: str, name: str, skills: Skills) -> "Client":
    code = pairing.Code.parse(text)
    with closing(Link(address, Credentials(SigningKey(os.urandom(32)), slot=code.slot))) as guest:
        joiner = pairing.Joiner(code, os.urandom)
        guest.send(joiner.ask.encode())
        guest.send(joiner.confirm(_next_data(guest), vouched=0, pin=guest.pin).encode())
        ticket = joiner.ticket(_next_data(guest))
        membership = _admit(guest, ticket, name)
    return Client(membership, address, skills)


def _admit(link: Link, ticket: Ticket, name: str) -> Membership:
    """Asks for admission and checks what comes, as section 8.2 says."""
    identity, long_term, prekey = SigningKey(os.urandom(32)), xwing.PrivateKey(os.urandom(32)), xwing.PrivateKey(os.urandom(32))
    key, run = link_key(identity, ticket.v), os.urandom(16)
    asked = Request(identity.public, key.public, run, name, long_term.public, prekey.public, wall())
    request = admission.seal_request(ticket, identity, asked, os.urandom)
    link.send(request.encode())
    reply = admission.open_reply(ticket, request, long_term, _next_data(link))
    if reply.code != admission.ADMITTED:
        raise Forged(f"not admitted, code {reply.code}: {reply.text}")
    certificate = check_chain(reply.chain, ticket.founder, wall())
    issuer = Card.decode(reply.cards[0], ticket.founder, wall())
    assert issuer.certificate
    if issuer.identity != reply.issuer or not issuer.certificate.rights & ADMIT:
        raise Forged("a reply of somebody who may not admit")
    if certificate.identity != identity.public or check_link_chain(reply.link_chain, ticket.v, wall()) != key.public:
        raise Forged("certificates for somebody else")
    return Membership(identity, key, prekey, run, ticket.founder, ticket.v, certificate.name, reply.chain, reply.link_chain, reply.cards)


def _next_data(link: Link) -> DataFrame:
    """Waits for the next end-to-end frame, past notices of the switchboard."""
    while True:
        frame = link.expect()
        if frame[0] == DATA:
            return DataFrame.decode(frame)


class Client:
    """An agent and its link."""

    def __init__(self, membership: Membership, address: str, skills: Skills) -> None:
        self._credentials = Credentials(membership.link_key, membership.v, membership.link_chain)
        self._address = address
        self.agent = Agent(membership, os.urandom, wall, dict(skills))
        self.observe: Callable[[DataFrame], None] | None = None  # sees each end-to-end frame that comes
        self.link = Link(address, self._credentials)
        self.agent.linked()

    def relink(self) -> None:
        """Links again after the link was lost; sessions and what is under way go on."""
        self.link = Link(self._address, self._credentials)
        self.agent.linked()

    def run_until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Sends, receives and answers until `condition` holds."""
        deadline = time.monotonic() + seconds
        again = time.monotonic() + AGAIN
        while not condition():
            self._send()
            frame = self.link.receive(0.02)
            if frame:
                if self.observe and frame[0] == DATA:
                    self.observe(DataFrame.decode(frame))
                self.agent.handle(frame)
            if time.monotonic() > deadline:
                raise Closed("what was waited for didn't come")
            if time.monotonic() > again:
                self.agent.doubt()
                again = time.monotonic() + AGAIN
        self._send()

    def close(self) -> None:
        self._send()
        self.agent.goodbye()
        self._send()
        self.link.close()

    def _send(self) -> None:
        self.agent.flush()
        for frame in self.agent.outgoing:
            self.link.send(frame)
        self.agent.outgoing.clear()
