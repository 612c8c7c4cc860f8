"""A small agent without a socket: takes the switchboard's frames in `handle`, leaves its own in `outgoing`.

It knows others by their cards, opens and answers sessions, delivers messages with receipts and credit, and answers calls of its skills.
It does without what only spares work or time: retries by a clock of its own, admission of others, cancels, provenance.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from independent import card, delivery, handshake, link, message, xwing
from independent.card import Card
from independent.certificate import ADMIT
from independent.codec import Random, Reader, Refused
from independent.handshake import Greeting, Initiation, Side
from independent.keys import SigningKey, h
from independent.message import Message
from independent.outer import DATA, EARLY, DataFrame, Kind, Lane, OuterHeader
from independent.section import Chunk, Credit, Goodbye, Messages, Probe, Receipt, decode, encode
from independent.session import EarlyReceiver, Session

OPENER_AGE = 360_000  # ms from the own clock, behind or ahead, after which an opener isn't taken
STRAY_AGE = 2_000  # ms that a frame of an unknown session waits: its opener may have been overtaken
STRAYS = 64  # how many wait at most
TIME_TO_LIVE = 60_000  # ms of each message


@dataclass
class Membership:
    """What an admission leaves: who one is, and where one belongs."""

    identity: SigningKey
    link_key: SigningKey
    prekey: xwing.PrivateKey
    run: bytes
    founder: bytes
    v: bytes
    name: str
    chain: bytes
    link_chain: bytes
    cards: Sequence[bytes] = ()


@dataclass(repr=False)
class Peer:
    """Another agent's run: its card, its sessions, what is under way in both directions."""

    card: Card
    sessions: dict[bytes, Session] = field(default_factory=dict)  # by id; all are received on
    session: Session | None = None  # the one to send on
    initiation: Initiation | None = None
    crossed: bool = False  # the peer's opener came while the answer to ours was awaited
    early: dict[bytes, EarlyReceiver] = field(default_factory=dict)
    sending: dict[Lane, delivery.SendingLane] = field(default_factory=lambda: {lane: delivery.SendingLane() for lane in Lane})
    receiving: dict[Lane, delivery.ReceivingLane] = field(default_factory=lambda: {lane: delivery.ReceivingLane(lane) for lane in Lane})
    owed: set[Lane] = field(default_factory=set)  # lanes whose receipt is due
    clock_offset: int = 0  # ms that the own clock is ahead of the peer's

    def establish(self, session: Session, *, crossed: bool) -> None:
        """Of sessions whose openers crossed, both sides send on that of the smaller identity, otherwise on the newest."""
        self.sessions[session.identifier] = session
        if not (crossed and self.session and self.session.initiator < session.initiator):
            self.session = session

    def __repr__(self) -> str:
        return f"<{self.card.name}>"


class Agent:
    def __init__(self, membership: Membership, random: Random, now: Callable[[], int], skills: dict[str, Callable[..., str]]) -> None:
        self._member = membership
        self._random = random
        self.now = now
        self._skills = skills
        self._definitions = {h(text): text for text in map(_definition, skills)}
        self.card = self._make_card()
        self.peers: dict[bytes, Peer] = {}
        self.inbox: list[tuple[Peer, Message]] = []
        self.answers: dict[bytes, Message] = {}  # by the request's id
        self.refused: list[Refused] = []  # frames that were not taken, and why
        self.outgoing: list[bytes] = []
        self.left: set[bytes] = set()
        self._taken_openers: set[bytes] = set()
        self._strays: list[tuple[int, DataFrame]] = []  # since when they wait
        self.linked_labels: set[bytes] = set()
        for data in membership.cards:
            self._learn(data)

    def peer(self, name: str) -> Peer | None:
        return next((peer for peer in self.peers.values() if peer.card.name == name), None)

    # Commands.

    def send(self, peer: Peer, kind: int, body: bytes, content_type: int, lane: Lane = Lane.NORMAL, **fields: bytes | int | str) -> bytes:
        """Queues a message, and gives its id."""
        identifier = self._random(16)
        expiry = self.now() + TIME_TO_LIVE
        queued = Message(identifier, kind, body, content_type, expiry, TIME_TO_LIVE, **fields)  # type: ignore[arg-type]
        peer.sending[lane].queue(queued)
        return identifier

    def text(self, peer: Peer, text: str, lane: Lane = Lane.NORMAL) -> bytes:
        return self.send(peer, message.Kind.PLAIN, text.encode(), message.TEXT, lane, flags=message.WANTS_DONE)

    def is_done(self, peer: Peer, identifier: bytes, lane: Lane = Lane.NORMAL) -> bool:
        sending = peer.sending[lane]
        return sending.numbers.get(identifier) in sending.done

    def linked(self) -> None:
        """Says that the link is up, or up again: those that may admit get a roster."""
        self.doubt()
        for peer in self.peers.values():
            if peer.card.certificate and peer.card.certificate.rights & ADMIT:
                self.send(peer, message.Kind.ROSTER, self._roster(), message.NONE)

    def doubt(self) -> None:
        """Takes what isn't confirmed for lost: it is sealed anew, and an opener that wasn't answered is followed by another."""
        for peer in self.peers.values():
            peer.initiation, peer.crossed = None, False
            for sending in peer.sending.values():
                sending.doubt_all()

    def goodbye(self) -> None:
        for peer in self.peers.values():
            if peer.session:
                self._transmit(peer, peer.session.seal(Lane.CONTROL, encode([Goodbye(final=True)])))
        self.outgoing.append(link.goodbye())

    def flush(self) -> None:
        """Seals what is due. Without a session, that begins with an opener."""
        self._handle_strays()
        for peer in self.peers.values():
            due = [(lane, sections) for lane, sending in peer.sending.items() for sections in sending.sections()]
            if due and not peer.session and not peer.initiation:
                self._open(peer)
            sealer = peer.session or (peer.initiation and peer.initiation.early)
            if not sealer:
                continue
            due += [(Lane.CONTROL, peer.receiving[lane].sections()) for lane in sorted(peer.owed)]
            peer.owed.clear()
            for lane, sections in due:
                self._transmit(peer, sealer.seal(lane, encode(sections)))

    def _transmit(self, peer: Peer, frame: DataFrame) -> None:
        self.outgoing.append(frame.encode())

    # Frames.

    def handle(self, frame: bytes) -> None:
        """Takes one frame of the link. What can't be taken changes nothing, and is noted in `refused`."""
        try:
            match frame[0]:
                case link.LABELS:
                    self._handle_labels(link.Labels.decode(frame))
                case _ if frame[0] == DATA:
                    self._handle_data(DataFrame.decode(frame))
        except Refused as refused:
            self.refused.append(refused)

    def _handle_labels(self, labels: link.Labels) -> None:
        known = set() if labels.whole else self.linked_labels
        self.linked_labels = (known | set(labels.came)) - set(labels.went)

    def _handle_data(self, frame: DataFrame) -> None:
        match frame.header.kind:
            case Kind.OPENER:
                self._handle_opener(frame)
            case Kind.ANSWER:
                self._handle_answer(frame)
            case Kind.SESSION:
                self._handle_session(frame)
            case Kind.CANNOT_OPEN:
                self._handle_cannot_open(frame.header.session)

    def _handle_session(self, frame: DataFrame) -> None:
        identifier, is_early = frame.header.session, bool(frame.header.flags & EARLY)
        for peer in self.peers.values():
            receiver = peer.early.get(identifier) if is_early else peer.sessions.get(identifier)
            if receiver:
                self._handle_content(peer, Lane(frame.header.lane), receiver.open(frame))
                return
        self._strays = [*self._strays[1 - STRAYS :], (self.now(), frame)]

    def _handle_strays(self) -> None:
        """Tries again what waits for its session."""
        strays, self._strays = self._strays, []
        for since, frame in strays:
            if any(frame.header.session in (peer.sessions.keys() | peer.early.keys()) for peer in self.peers.values()):
                self.handle(frame.encode())
            elif self.now() - since > STRAY_AGE:
                header = OuterHeader(Kind.CANNOT_OPEN, Lane.CONTROL, frame.source, frame.header.session)
                self.outgoing.append(DataFrame(header, b"").encode())
            else:
                self._strays.append((since, frame))

    def _handle_cannot_open(self, identifier: bytes) -> None:
        """Opens anew. Nobody signed this, so it costs nothing but that."""
        for peer in self.peers.values():
            if peer.session and peer.session.identifier == identifier:
                peer.session = None
                for sending in peer.sending.values():
                    sending.doubt_all()

    # Sessions.

    def _greeting(self, peer: Peer | None) -> Greeting:
        known = {identity: peer.card.stamp for identity, peer in self.peers.items()}
        known[self.card.identity] = self.card.stamp
        digest = h(message.roster_body(known))
        lanes = [peer.receiving[lane] if peer else delivery.ReceivingLane(lane) for lane in Lane if lane]
        grants = [
            (grant.messages, grant.size) for lane in lanes for grant in lane.credits()[: delivery.GRANTED] if isinstance(grant, Credit)
        ]
        return Greeting(self.now(), digest, tuple(grants), self.card.encoded)

    @property
    def _side(self) -> Side:
        return Side(self.card.identity, self.card.run, self._member.chain)

    def _open(self, peer: Peer) -> None:
        peer.initiation = Initiation.start(
            self._member.founder,
            self._member.identity,
            self._side,
            peer.card.identity,
            peer.card.prekey,
            peer.card.label,
            self._greeting(peer),
            self._random,
            peer_run=peer.card.run,
        )
        self.outgoing.append(peer.initiation.opener.encode())

    def _handle_opener(self, frame: DataFrame) -> None:
        if frame.header.session in self._taken_openers:
            raise Refused("an opener that was taken before")
        opened = handshake.open_opener(frame, self._member.prekey, self.card.identity)
        if abs(opened.greeting.wall - self.now()) > OPENER_AGE:
            raise Refused("an opener of another time")
        peer = self._met(opened.greeting, opened.sender, opened.run)
        self._taken_openers.add(frame.header.session)
        answer, session = handshake.answer(
            opened,
            self._member.founder,
            self._member.identity,
            self._side,
            peer.card.chain,
            peer.card.label,
            self._greeting(peer),
            self._random,
        )
        if opened.known_run == self.card.run:
            peer.early[frame.header.session] = opened.early
        peer.crossed = peer.initiation is not None
        peer.establish(session, crossed=peer.crossed)
        self.outgoing.append(answer.encode())

    def _handle_answer(self, frame: DataFrame) -> None:
        for peer in self.peers.values():
            initiation = peer.initiation
            if initiation and initiation.opener.header.session == frame.header.session:
                run, greeting, export = initiation.read(frame)
                met = self._met(greeting, peer.card.identity, run)
                session = initiation.finish(frame, Side(met.card.identity, run, met.card.chain), export)
                met.establish(session, crossed=peer.crossed)
                met.initiation, met.crossed = None, False
                return

    def _met(self, greeting: Greeting, identity: bytes, run: bytes) -> Peer:
        """Gives the peer that opener or answer are from, once its card is good."""
        known = Card.decode(greeting.card, self._member.founder, self.now())
        if (known.identity, known.run) != (identity, run):
            raise Refused("somebody else's card")
        self._learn(greeting.card)
        peer = self.peers[identity]
        if peer.card.run != run:
            raise Refused("an opener of an earlier run")
        peer.clock_offset = self.now() - greeting.wall
        grants = iter(greeting.grants)
        for lane in list(Lane)[1:]:
            for accounts in range(delivery.GRANTED):
                peer.sending[lane].handle_credit(Credit(lane, accounts, *next(grants)))
        return peer

    # What comes inside.

    def _handle_content(self, peer: Peer, lane: Lane, content: bytes) -> None:
        for section in decode(content):
            match section:
                case Messages() | Chunk():
                    peer.owed.add(lane)
                    for number, received in peer.receiving[lane].handle(section):
                        self._handle_message(peer, lane, received)
                        cost = _gap_cost(received) if received.kind == message.Kind.GAP else None
                        peer.receiving[lane].consumed(number, received, cost)
                case Receipt():
                    peer.sending[Lane(section.lane)].handle_receipt(section)
                case Credit():
                    peer.sending[Lane(section.lane)].handle_credit(section)
                case Probe():
                    peer.owed.update(Lane)
                case Goodbye():
                    self.left.add(peer.card.identity)

    def _handle_message(self, peer: Peer, lane: Lane, received: Message) -> None:
        if received.kind != message.Kind.GAP and received.expiry + peer.clock_offset <= self.now():
            return  # its sender knows by its own clock
        match received.kind:
            case message.Kind.PLAIN:
                self.inbox.append((peer, received))
            case message.Kind.REQUEST:
                self._handle_request(peer, lane, received)
            case message.Kind.ANSWER | message.Kind.REFUSAL:
                self.answers[received.reply_to] = received
            case message.Kind.CARD:
                self._learn(received.body)
            case message.Kind.ROSTER:
                self._handle_roster(peer, received)
            case message.Kind.DESCRIBE:
                definition = self._definitions.get(received.body, b"")
                self.send(peer, message.Kind.DEFINITION, definition, message.BYTES, lane, reply_to=received.identifier)
            case message.Kind.PROGRESS | message.Kind.CANCEL | message.Kind.GAP | message.Kind.DEFINITION | message.Kind.TICKET_RECORD:
                pass
            case _:
                self._refuse(peer, lane, received, message.UNSUPPORTED, "an unknown kind of message")

    def _handle_request(self, peer: Peer, lane: Lane, request: Message) -> None:
        skill = self._skills.get(request.skill)
        if not skill:
            self._refuse(peer, lane, request, message.SKILL_UNKNOWN, f"no skill {request.skill}")
            return
        positional, keywords = message.unpack_arguments(request.body)
        result = skill(*positional, **{str(name): value for name, value in keywords.items()})
        self.send(peer, message.Kind.ANSWER, result.encode(), message.TEXT, lane, reply_to=request.identifier)

    def _refuse(self, peer: Peer, lane: Lane, received: Message, code: int, text: str) -> None:
        body = message.refusal_body(code, "", text)
        self.send(peer, message.Kind.REFUSAL, body, message.NONE, lane, reply_to=received.identifier)

    # Cards.

    def _learn(self, data: bytes) -> None:
        learned = Card.decode(data, self._member.founder, self.now())
        peer = self.peers.get(learned.identity)
        if learned.identity == self._member.identity.public or (peer and peer.card.stamp >= learned.stamp):
            return
        if peer and peer.card.run == learned.run:
            peer.card = learned
        else:
            self.peers[learned.identity] = Peer(learned)

    def _roster(self) -> bytes:
        known = {identity: peer.card.stamp for identity, peer in self.peers.items()}
        return message.roster_body(known | {self.card.identity: self.card.stamp})

    def _handle_roster(self, peer: Peer, received: Message) -> None:
        theirs = message.read_roster(received.body)
        mine = {identity: known.card for identity, known in self.peers.items()} | {self.card.identity: self.card}
        for identity, known in mine.items():
            if theirs.get(identity, -1) < known.stamp:
                self.send(peer, message.Kind.CARD, known.encoded, message.NONE)
        lacking = any(identity not in mine or mine[identity].stamp < stamp for identity, stamp in theirs.items())
        if lacking and not received.reply_to:
            self.send(peer, message.Kind.ROSTER, self._roster(), message.NONE, reply_to=received.identifier)

    def _make_card(self) -> Card:
        member = self._member
        skills = tuple(card.Skill(name, (), 1, h(_definition(name))) for name in sorted(self._skills))
        body = Card(
            member.founder,
            member.identity.public,
            member.run,
            self.now(),
            member.link_key.public,
            member.name,
            member.prekey.public,
            member.chain,
            skills,
        )
        return Card.decode(body.sign(member.identity), member.founder, self.now())


def _definition(name: str) -> bytes:
    return json.dumps({"name": name, "description": "", "input": None, "output": None}).encode()


def _gap_cost(gap: Message) -> tuple[int, int]:
    fields = Reader(gap.body)
    return fields.u8(), fields.u32()
