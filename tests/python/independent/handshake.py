"""Section 6.2: an opener and its answer make a session between two runs.

The initiator: `Initiation` (its `opener` goes out, `early` seals meanwhile), then `finish` with the answer.
The responder: `open_opener`, the card inside is checked, then `answer`.
"""

from dataclasses import dataclass, field

from independent import hpke, xwing
from independent.codec import NO_EXTENSIONS, Forged, Random, Reader, bytes16, u32, u64
from independent.keys import SigningKey, extract, h, verify
from independent.outer import DataFrame, Kind, Lane, OuterHeader
from independent.sealing import OPENER, open_envelope, pad, seal_envelope, unpad
from independent.session import FROM_INITIATOR, TO_INITIATOR, EarlyReceiver, EarlySender, Session

INFO = b"a2alinker/1 answer"
GRANTS = 12  # four lanes, three classes


@dataclass(frozen=True)
class Greeting:
    """What both sides tell each other in opener and answer. `grants` are pairs of messages and bytes."""

    wall: int
    roster_digest: bytes
    grants: tuple[tuple[int, int], ...]
    card: bytes

    def encode(self) -> bytes:
        grants = b"".join(u32(messages) + u32(size) for messages, size in self.grants)
        return u64(self.wall) + self.roster_digest + grants + bytes16(self.card) + NO_EXTENSIONS


def _read_greeting(fields: Reader) -> Greeting:
    wall, digest = fields.u64(), fields.take(32)
    grants = tuple((fields.u32(), fields.u32()) for _ in range(GRANTS))
    card = fields.bytes16()
    fields.extensions()
    return Greeting(wall, digest, grants, card)


@dataclass(frozen=True)
class Side:
    """What the transcript says of one side."""

    identity: bytes
    run: bytes
    chain: bytes


def session_prk(
    founder: bytes, initiator: Side, responder: Side, opener: DataFrame, answer: DataFrame, exports: tuple[bytes, bytes]
) -> bytes:
    transcript = h(
        b"a2alinker/1 transcript\0",
        founder,
        initiator.identity,
        responder.identity,
        initiator.run,
        responder.run,
        h(initiator.chain),
        h(responder.chain),
        h(opener.authenticated),
        h(answer.authenticated),
    )
    return extract(transcript, b"".join(exports))


@dataclass
class Initiation:
    """The initiator's end until the answer is there."""

    founder: bytes
    identity: SigningKey
    side: Side
    peer: bytes
    opener: DataFrame
    early: EarlySender
    _ephemeral: xwing.PrivateKey = field(repr=False)
    _export: bytes = field(repr=False)

    @classmethod
    def start(
        cls,
        founder: bytes,
        identity: SigningKey,
        side: Side,
        peer: bytes,
        prekey: bytes,
        destination: bytes,
        greeting: Greeting,
        random: Random,
        *,
        session: bytes = b"",
        peer_run: bytes = bytes(16),
        expiry: int = 0,
    ) -> "Initiation":
        session = session or random(16)
        ephemeral = xwing.PrivateKey(random(32))
        header = OuterHeader(Kind.OPENER, Lane.URGENT, destination, session, counter=int.from_bytes(h(prekey)[:8], "big"), expiry=expiry)
        opener, context = seal_envelope(
            identity,
            peer,
            prekey,
            header,
            random,
            payload_kind=OPENER,
            payload=side.run + ephemeral.public + greeting.encode(),
            receiver_run=peer_run,
        )
        export = context.export(b"a2alinker/1 opener export")
        return cls(founder, identity, side, peer, opener, EarlySender(export, session, destination), ephemeral, export)

    def read(self, answer: DataFrame) -> tuple[bytes, Greeting, bytes]:
        """Gives the responder's run, what it says, and the export. Its card has to be checked before `finish`."""
        enc, ciphertext = answer.sealed[: xwing.ENCAPSULATION], answer.sealed[xwing.ENCAPSULATION :]
        if answer.header.kind != Kind.ANSWER or answer.header.session != self.opener.header.session:
            raise Forged("not the answer to this opener")
        context = hpke.receiver(self._ephemeral, enc, INFO)
        aad = answer.header.encode()
        body = Reader(unpad(context.open(aad, ciphertext)))
        run, greeting = body.take(16), _read_greeting(body)
        verify(self.peer, "answer", h(self.opener.authenticated) + enc + aad + body.taken(), body.take(64))
        body.end()
        return run, greeting, context.export(b"a2alinker/1 answer export")

    def finish(self, answer: DataFrame, responder: Side, answer_export: bytes) -> Session:
        prk = session_prk(self.founder, self.side, responder, self.opener, answer, (self._export, answer_export))
        header = self.opener.header
        return Session(prk, header.session, self.side.identity, header.destination, FROM_INITIATOR)


@dataclass(frozen=True)
class Opened:
    """An opener at the responder. The card in the greeting says whether its sender may be here at all."""

    opener: DataFrame
    sender: bytes
    run: bytes
    known_run: bytes
    ephemeral: bytes
    greeting: Greeting
    export: bytes = field(repr=False)

    @property
    def early(self) -> EarlyReceiver:
        return EarlyReceiver(self.export, self.opener.header.session)


def open_opener(opener: DataFrame, prekey: xwing.PrivateKey, receiver: bytes) -> Opened:
    envelope = open_envelope(opener, prekey, receiver)
    if envelope.payload_kind != OPENER:
        raise Forged("not an opener")
    payload = Reader(envelope.payload)
    run, ephemeral, greeting = payload.take(16), payload.take(xwing.PUBLIC_KEY), _read_greeting(payload)
    payload.end()
    export = envelope.context.export(b"a2alinker/1 opener export")
    return Opened(opener, envelope.sender, run, envelope.receiver_run, ephemeral, greeting, export)


def answer(
    opened: Opened,
    founder: bytes,
    identity: SigningKey,
    side: Side,
    initiator_chain: bytes,
    destination: bytes,
    greeting: Greeting,
    random: Random,
    *,
    expiry: int = 0,
) -> tuple[DataFrame, Session]:
    session = opened.opener.header.session
    header = OuterHeader(Kind.ANSWER, Lane.URGENT, destination, session, expiry=expiry)
    aad = header.encode()
    enc, context = hpke.sender(opened.ephemeral, INFO, random(xwing.ENCAPSULATION_SEED))
    body = side.run + greeting.encode()
    body += identity.sign("answer", h(opened.opener.authenticated) + enc + aad + body)
    frame = DataFrame(header, enc + context.seal(aad, pad(body)))
    exports = (opened.export, context.export(b"a2alinker/1 answer export"))
    initiator = Side(opened.sender, opened.run, initiator_chain)
    prk = session_prk(founder, initiator, side, opened.opener, frame, exports)
    return frame, Session(prk, session, opened.sender, destination, TO_INITIATOR)
