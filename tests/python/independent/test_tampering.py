"""Whatever is changed on the way is refused: each byte of each structure is flipped, and where opening is slow, a sample of them."""

from collections.abc import Callable, Iterator

import pytest

from independent import admission, handshake, link, pairing
from independent.card import Card
from independent.certificate import check_chain
from independent.codec import Refused
from independent.handshake import Greeting, Initiation
from independent.keys import SigningKey
from independent.members import Swarm
from independent.outer import DataFrame, Lane
from independent.sealing import pad, padded_length, unpad
from independent.session import LAST_COUNTER, WINDOW, Session, Window
from independent.vectors import EXPIRY, NOW, Counting, read

SLOW = 149  # of an envelope every so many bytes: each costs a decapsulation
VECTORS = read("independent.txt")


def flipped(data: bytes, every: int = 1) -> Iterator[bytes]:
    for at in range(0, len(data), every):
        yield data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]


def cut(data: bytes, every: int = 1) -> Iterator[bytes]:
    yield from (data[:length] for length in range(0, len(data), every))
    yield data + b"\0"


def assert_refused(data: bytes, accept: Callable[[bytes], object], every: int = 1) -> None:
    """Sees that `accept` takes `data`, and nothing that differs from it by a bit or in length."""
    accept(data)
    for changed in (*flipped(data, every), *cut(data, every)):
        with pytest.raises(Refused):
            accept(changed)


def frame_of(authenticated: bytes) -> DataFrame:
    """Makes a frame of an outer header and what follows: the prefix before it isn't authenticated, nor believed."""
    return DataFrame.decode(b"\x10" + bytes(16) + authenticated)


@pytest.fixture
def swarm() -> Swarm:
    random = Counting()
    random(7)
    return Swarm(random)


def test_a_certificate_chain(swarm: Swarm) -> None:
    assert_refused(swarm.responder.chain, lambda chain: check_chain(chain, swarm.f, NOW))


def test_a_card(swarm: Swarm) -> None:
    assert_refused(VECTORS["responder"].hex("card"), lambda card: Card.decode(card, swarm.f, NOW))


def test_a_link_proof_and_what_it_answers(swarm: Swarm) -> None:
    case = VECTORS["link"]
    challenge, exporter = case.hex("challenge"), case.hex("exporter")
    for role in ("member", "stranger", "guest"):
        hello = case.hex(role)
        assert_refused(hello, lambda hello: link.check_hello(hello, challenge, exporter, NOW))
        assert_refused(challenge, lambda challenge, hello=hello: link.check_hello(hello, challenge, exporter, NOW))  # type: ignore[misc]
        for other in flipped(exporter):
            with pytest.raises(Refused):
                link.check_hello(hello, challenge, other, NOW)
    assert_refused(case.hex("link chain"), lambda chain: link.check_link_chain(chain, swarm.v, NOW))


def test_a_ticket() -> None:
    text = VECTORS["ticket"]["text"]
    admission.Ticket.parse(text)
    for at in range(len(text)):
        with pytest.raises(Refused):
            admission.Ticket.parse(text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :])
        with pytest.raises(Refused):
            admission.Ticket.parse(text[:at])


def test_an_admission(swarm: Swarm) -> None:
    ticket, request = admission.Ticket.parse(VECTORS["ticket"]["text"]), VECTORS["request"].frame()
    assert_refused(request.authenticated, lambda data: admission.open_request(ticket, frame_of(data)))
    reply = VECTORS["reply"].frame().authenticated
    assert_refused(reply, lambda data: admission.open_reply(ticket, request, swarm.responder.long_term, frame_of(data)), SLOW)


def test_an_opener_and_its_answer(swarm: Swarm) -> None:
    responder = swarm.responder
    opener = VECTORS["opener"].frame().authenticated
    assert_refused(opener, lambda data: handshake.open_opener(frame_of(data), responder.prekey, responder.identity.public), SLOW)
    initiation = start(swarm)
    answer, _ = respond(swarm, initiation)
    assert_refused(answer.authenticated, lambda data: initiation.read(frame_of(data)), SLOW)


def test_early_frames(swarm: Swarm) -> None:
    responder = swarm.responder
    opened = handshake.open_opener(VECTORS["opener"].frame(), responder.prekey, responder.identity.public)
    frame = VECTORS["early frame, lane 4"].frame().authenticated
    assert_refused(frame, lambda data: opened.early.open(frame_of(data)))


def test_session_frames(swarm: Swarm) -> None:
    at_initiator, at_responder = establish(swarm)
    for lane in Lane:
        frame = at_initiator.seal(lane, b"content").authenticated
        for changed in (*flipped(frame), *cut(frame)):
            with pytest.raises(Refused):
                at_responder.open(frame_of(changed))
        assert at_responder.open(frame_of(frame)) == b"content"
        with pytest.raises(Refused):
            at_responder.open(frame_of(frame))
        with pytest.raises(Refused):
            at_initiator.open(frame_of(frame))


def test_what_is_forged_moves_no_counter_and_no_key(swarm: Swarm) -> None:
    at_initiator, at_responder = establish(swarm)
    for generation, counter in ((0, 1 << 40), (16, 0), (17, 0), (0, LAST_COUNTER)):
        frame = bytearray(at_initiator.seal(Lane.HIGH, b"").authenticated)
        frame[36:48] = generation.to_bytes(4, "big") + counter.to_bytes(8, "big")
        with pytest.raises(Refused):
            at_responder.open(frame_of(bytes(frame)))
    assert at_responder.open(at_initiator.seal(Lane.HIGH, b"good")) == b"good"


def test_a_window_takes_each_counter_once() -> None:
    window = Window()
    for counter in (3, 0, WINDOW, WINDOW + 3, 1 << 40, (1 << 40) - WINDOW):
        window.check(counter)
        window.mark(counter)
    for counter in (3, WINDOW + 3, 1 << 40, (1 << 40) - WINDOW, (1 << 40) - WINDOW - 1, LAST_COUNTER):
        with pytest.raises(Refused):
            window.check(counter)


def test_a_pairing(swarm: Swarm) -> None:
    code = pairing.Code.parse("42-walrus-lantern-aardvark")
    joiner = pairing.Joiner(code, Counting())
    inviter = pairing.Inviter(code, joiner.ask, Counting())
    confirm = joiner.confirm(inviter.tell(bytes(16)), vouched=0, pin=bytes(32))
    assert_refused(confirm.sealed, lambda data: inviter.check(DataFrame(confirm.header, data)))
    _, _, confirmation = inviter.check(confirm)
    for status in (pairing.PAIRED, pairing.CERTIFICATE):
        offer = inviter.offer(bytes(16), confirmation, pairing.encode_offer(swarm.f, swarm.v, EXPIRY, ()), status)
        if status == pairing.PAIRED:
            assert_refused(offer.authenticated, lambda data: joiner.ticket(frame_of(data)))
        with pytest.raises(Refused):
            pairing.Joiner(code, Counting()).ticket(offer)


@pytest.mark.parametrize("words", ["walrus-lantern-abandoned", "lantern-walrus-aardvark"])
def test_wrong_words_pair_nobody(words: str) -> None:
    joiner = pairing.Joiner(pairing.Code(42, words), Counting())
    inviter = pairing.Inviter(pairing.Code(42, "walrus-lantern-aardvark"), joiner.ask, Counting())
    with pytest.raises(Refused, match="wrong"):
        inviter.check(joiner.confirm(inviter.tell(bytes(16)), vouched=0, pin=bytes(32)))


def test_a_message_of_spake2_that_was_changed_pairs_nobody() -> None:
    code = pairing.Code.parse("42-walrus-lantern-aardvark")
    ask = pairing.Joiner(code, Counting()).ask

    def pair(ask: DataFrame) -> None:
        inviter = pairing.Inviter(code, ask, Counting())
        inviter.check(pairing.Joiner(code, Counting()).confirm(inviter.tell(bytes(16)), vouched=0, pin=bytes(32)))

    assert_refused(ask.sealed, lambda data: pair(DataFrame(ask.header, data)))


def test_certificates_that_claim_too_much_are_refused(swarm: Swarm) -> None:
    admin = swarm.initiator.certificate(swarm.f, swarm.founder, "admin", 0x01, "review")
    good = swarm.responder.certificate(swarm.f, swarm.initiator.identity, "member", 0, "review")
    assert check_chain(chain(good, admin), swarm.f, NOW).skills == ("review",)
    for rights, skills in ((0x01, ()), (0x02, ()), (0x04, ()), (0x08, ()), (0, ("test",))):
        claimed = swarm.responder.certificate(swarm.f, swarm.initiator.identity, "member", rights, *skills)
        with pytest.raises(Refused):
            check_chain(chain(claimed, admin), swarm.f, NOW)
    nobody = swarm.initiator.certificate(swarm.f, SigningKey(bytes(32)), "admin", 0x0F)
    for refused in (chain(good), chain(good, nobody), chain(admin, admin), chain(good, good), b"\0"):
        with pytest.raises(Refused):
            check_chain(refused, swarm.f, NOW)
    with pytest.raises(Refused):
        check_chain(swarm.responder.chain, swarm.f, EXPIRY + 300_001)


def chain(*certificates: bytes) -> bytes:
    return bytes([len(certificates)]) + b"".join(len(each).to_bytes(2, "big") + each for each in certificates)


def test_padding_shows_sizes_in_steps_and_is_nothing_but_zeros() -> None:
    for length, padded in ((0, 256), (252, 256), (253, 1_024), (1_021, 4_096), (4_093, 4_352), (16_384, 17_408), (32_764, 32_768)):
        assert len(pad(bytes(length))) == padded == padded_length(length + 4)
        assert unpad(pad(bytes(length))) == bytes(length)
    with pytest.raises(Refused):
        pad(bytes(32_765))
    with pytest.raises(Refused):
        unpad(pad(b"content")[:-1] + b"\1")


def start(swarm: Swarm) -> Initiation:
    initiator, responder = swarm.initiator, swarm.responder
    return Initiation.start(
        swarm.f,
        initiator.identity,
        initiator.side,
        responder.identity.public,
        responder.prekey.public,
        responder.label,
        GREETING,
        Counting(),
    )


GREETING = Greeting(NOW, bytes(32), ((1, 1),) * handshake.GRANTS, b"")


def respond(swarm: Swarm, initiation: Initiation) -> tuple[DataFrame, Session]:
    initiator, responder = swarm.initiator, swarm.responder
    opened = handshake.open_opener(initiation.opener, responder.prekey, responder.identity.public)
    return handshake.answer(opened, swarm.f, responder.identity, responder.side, initiator.chain, initiator.label, GREETING, Counting())


def establish(swarm: Swarm) -> tuple[Session, Session]:
    initiation = start(swarm)
    answer, at_responder = respond(swarm, initiation)
    _, _, export = initiation.read(answer)
    return initiation.finish(answer, swarm.responder.side, export), at_responder
