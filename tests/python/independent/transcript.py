"""Writes what the Rust code reads: a link, an admission, a session and a pairing, made by this implementation.

`python -m independent.transcript` in `tests/python` writes `tests/vectors/independent.txt`; a test compares it.
"""

from independent import admission, handshake, link, message, pairing, parcel
from independent.card import Card, Skill
from independent.handshake import Greeting, Initiation
from independent.keys import SigningKey, h
from independent.members import Member, Swarm
from independent.outer import Lane
from independent.session import FRAMES_PER_KEY
from independent.vectors import EXPIRY, FOLDER, NOW, Counting, write

FILE = "independent.txt"
STORY = """Made by the second implementation in tests/python/independent/, from PROTOCOL.md; the Rust code has to understand it.
The counting generator is 7 bytes ahead; then it draws keys as for certificates.txt, and what each section names `random`.
Written by `cd tests/python && python -m independent.transcript`."""

AHEAD = 7  # bytes by which the generator is ahead, so that nothing is what other files hold
SOURCE = b"\xcc" * 16  # where a joiner is answered

Cases = dict[str, dict[str, bytes | str]]


def make() -> str:
    random = Counting()
    random(AHEAD)
    swarm = Swarm(random)
    cases: Cases = {"swarm": {"founder seed": swarm.founder.seed, "F": swarm.f, "V": swarm.v}}
    for name, member in (("initiator", swarm.initiator), ("responder", swarm.responder)):
        cases[name] = {
            "identity seed": member.identity.seed,
            "run": member.run,
            "long-term private key": member.long_term.seed,
            "prekey private key": member.prekey.seed,
            "certificate chain": member.chain,
        }
    cases["initiator"]["card"] = _card(swarm, swarm.initiator, "planner", Skill("übersetzen", ("text", "de"), 3, h(b"{}")))
    cases["responder"]["card"] = _card(swarm, swarm.responder, "coder.2", Skill("review", (), 1, h(b"[]")))
    _link(cases, swarm, random)
    _session(cases, swarm, random)
    _admission(cases, swarm, random)
    _pairing(cases, swarm, random)
    _parcel(cases, swarm, random)
    return write(STORY, cases)


def _card(swarm: Swarm, member: Member, name: str, *skills: Skill) -> bytes:
    made = Card(swarm.f, member.identity.public, member.run, NOW, member.link_key.public, name, member.prekey.public, member.chain, skills)
    return made.sign(member.identity)


def _bytes(cases: Cases, case: str, name: str) -> bytes:
    value = cases[case][name]
    assert isinstance(value, bytes)
    return value


def _link(cases: Cases, swarm: Swarm, random: Counting) -> None:
    responder, issuer = swarm.responder, swarm.initiator
    issuing = link.link_certificate(swarm.v, issuer.link_key.public, swarm.routing, EXPIRY, link.MAY_ISSUE | link.MAY_REVOKE)
    chain = link.link_certificate(swarm.v, responder.link_key.public, issuer.link_key, EXPIRY) + issuing
    challenge = link.Challenge(NOW, link.BINDING_EXPORTER, random(32)).encode()
    exporter, stranger = random(32), SigningKey(random(32))
    shown = {
        "member": link.Credentials(responder.link_key, swarm.v, chain),
        "stranger": link.Credentials(stranger, swarm.v, mailbox=b"\xab" * 16),
        "guest": link.Credentials(stranger, slot=9_999_999),
    }
    hellos = {role: credentials.hello(challenge, link.BINDING_EXPORTER, exporter) for role, credentials in shown.items()}
    cases["link"] = {"challenge": challenge, "exporter": exporter, "stranger seed": stranger.seed, "link chain": chain, **hellos}


def _session(cases: Cases, swarm: Swarm, random: Counting) -> None:
    initiator, responder = swarm.initiator, swarm.responder
    grants = tuple((100 + number, 1_000 * number) for number in range(handshake.GRANTS))
    greeting = Greeting(NOW, h(b"roster"), grants, _bytes(cases, "initiator", "card"))
    skipped = random.position
    initiation = Initiation.start(
        swarm.f,
        initiator.identity,
        initiator.side,
        responder.identity.public,
        responder.prekey.public,
        responder.label,
        greeting,
        random,
        peer_run=responder.run,
        expiry=EXPIRY,
    )
    cases["opener"] = {"random": f"{skipped}", "frame": initiation.opener.encode()}
    for lane in (Lane.URGENT, Lane.BULK):
        content = f"early in lane {lane}".encode()
        cases[f"early frame, lane {lane}"] = {"content": content, "frame": initiation.early.seal(lane, content, EXPIRY).encode()}

    opened = handshake.open_opener(initiation.opener, responder.prekey, responder.identity.public)
    answering = Greeting(NOW + 1, h(b"other roster"), grants, _bytes(cases, "responder", "card"))
    answer, at_responder = handshake.answer(
        opened, swarm.f, responder.identity, responder.side, initiator.chain, initiator.label, answering, random
    )
    cases["answer"] = {"frame": answer.encode()}
    _, _, export = initiation.read(answer)
    at_initiator = initiation.finish(answer, responder.side, export)
    for name, session in (("from the initiator", at_initiator), ("to the initiator", at_responder)):
        for lane in Lane:
            for generation, skip in ((0, 0), (1, FRAMES_PER_KEY - 1), (3, 2 * FRAMES_PER_KEY)):
                session.sending[lane].skip(skip)
                content = f"{name}, lane {lane}, generation {generation} ".encode() * (3**generation)
                frame = session.seal(lane, content, EXPIRY)
                cases[f"{name}, lane {lane}, generation {generation}"] = {"content": content, "frame": frame.encode()}


def _admission(cases: Cases, swarm: Swarm, random: Counting) -> None:
    issuer, joiner = swarm.initiator, swarm.responder
    ticket = admission.Ticket(random(32), swarm.f, swarm.v, EXPIRY, ("wss://[2001:db8::1]:7447#pin",), flags=0)
    asked = admission.Request(
        joiner.identity.public, joiner.link_key.public, joiner.run, "coder.2", joiner.long_term.public, joiner.prekey.public, NOW
    )
    cases["ticket"] = {"text": str(ticket), "mailbox": ticket.mailbox}
    skipped = random.position
    request = admission.seal_request(ticket, joiner.identity, asked, random, expiry=EXPIRY)
    cases["request"] = {"random": f"{skipped}", "frame": request.encode()}
    reply = admission.Reply(
        issuer.identity.public,
        admission.ADMITTED,
        "willkommen",
        joiner.chain,
        _bytes(cases, "link", "link chain"),
        (_bytes(cases, "initiator", "card"),),
    )
    frame = admission.seal_reply(ticket, request, joiner.long_term.public, issuer.identity, SOURCE, reply, random, expiry=EXPIRY)
    cases["reply"] = {"frame": frame.encode()}


def _pairing(cases: Cases, swarm: Swarm, random: Counting) -> None:
    code = pairing.Code.parse("42-walrus-lantern-aardvark")
    skipped = random.position
    joiner = pairing.Joiner(code, random)
    inviter = pairing.Inviter(code, joiner.ask, random)
    tell = inviter.tell(SOURCE)
    pin = h(b"certificate")
    confirm = joiner.confirm(tell, vouched=1, pin=pin)
    _, _, confirmation = inviter.check(confirm)
    offer = inviter.offer(SOURCE, confirmation, pairing.encode_offer(swarm.f, swarm.v, EXPIRY, ("wss://relay.example:7447",)))
    ticket = joiner.ticket(offer)
    cases["code"] = {"random": f"{skipped}", "text": "42-walrus-lantern-aardvark", "pin": pin}
    cases["ask"] = {"frame": joiner.ask.encode()}
    cases["tell"] = {"frame": tell.encode()}
    cases["confirm"] = {"frame": confirm.encode()}
    cases["offer"] = {"frame": offer.encode(), "ticket": str(ticket)}


def _parcel(cases: Cases, swarm: Swarm, random: Counting) -> None:
    sender, receiver = swarm.initiator, swarm.responder
    skipped = random.position
    numbers = ((40, 40, 0, 0), (43, 40, EXPIRY - 1, 2))
    messages = tuple(
        parcel.Parked(
            number,
            before,
            waits,
            message.Message(
                bytes([number]) * 16, message.Kind.PLAIN, b"parked", message.TEXT, EXPIRY - 1, 1_000, after=after, flags=message.FREE
            ).encode(),
        )
        for number, before, waits, after in numbers
    )
    made = parcel.Parcel(sender.run, NOW, NOW - 7, _bytes(cases, "initiator", "card"), 40, messages)
    frame = parcel.seal(
        sender.identity,
        receiver.identity.public,
        receiver.run,
        receiver.prekey.public,
        receiver.label,
        Lane.NORMAL,
        EXPIRY,
        made,
        random,
    )
    cases["parcel"] = {"random": f"{skipped}", "frame": frame.encode()}


if __name__ == "__main__":
    (FOLDER / FILE).write_text(make(), encoding="utf-8")
