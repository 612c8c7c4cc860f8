"""Computes the vectors that the Rust code wrote, byte by byte, and the published ones."""

import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from independent import admission, handshake, hpke, keys, link, pairing, parcel, session, transcript, xwing
from independent.certificate import check_chain
from independent.codec import Refused, base32, u16
from independent.handshake import Greeting, Initiation
from independent.members import Swarm
from independent.outer import Lane
from independent.vectors import EXPIRY, FOLDER, NOW, Counting, read


def test_ed25519_signs_as_rfc_8032_says() -> None:
    for case in read("ed25519.txt").values():
        key = keys.SigningKey(case.hex("seed"))
        assert key.public == case.hex("public")
        assert key._key.sign(case.hex("message")) == case.hex("signature")


def test_hkdf_derives_as_rfc_5869_says() -> None:
    for case in read("hkdf_sha256.txt").values():
        okm = case.hex("okm")
        assert keys.hkdf(case.hex("salt"), case.hex("ikm"), case.hex("info"), len(okm)) == okm


def test_aes_256_gcm_siv_seals_as_rfc_8452_says() -> None:
    for case in read("aes_256_gcm_siv.txt").values():
        plaintext, aad = case.hex("plaintext"), case.hex("aad")
        if plaintext:  # the library refuses to seal nothing, which a padded plaintext never is
            assert AESGCMSIV(case.hex("key")).encrypt(case.hex("nonce"), plaintext, aad) == case.hex("result")


def test_x_wing_encapsulates_as_its_draft_says() -> None:
    for case in read("xwing.txt").values():
        private = xwing.PrivateKey(case.hex("sk"))
        assert private.public == case.hex("pk")
        assert xwing.encapsulate(private.public, case.hex("eseed")) == (case.hex("ss"), case.hex("ct"))
        assert private.decapsulate(case.hex("ct")) == case.hex("ss")


def test_hpke_opens_and_exports_as_rfc_9180_says() -> None:
    for case in read("hpke.txt").values():
        secret = dhkem(case.hex("skRm"), case.hex("enc"))
        context = hpke.key_schedule(DHKEM, secret, case.hex("info"), (case.hex("psk"), case.hex("psk_id")))
        assert context.open(case.hex("aad"), case.hex("ct")) == case.hex("pt")
        assert context.seal(case.hex("aad"), case.hex("pt")) == case.hex("ct")
        assert context.export(case.hex("exporter_context")) == case.hex("exported_value")


DHKEM = 0x0020


def dhkem(private: bytes, enc: bytes) -> bytes:
    """Decapsulates as section 4.1 of RFC 9180 says, whose vectors have this KEM where the protocol has X-Wing."""
    key = X25519PrivateKey.from_private_bytes(private)
    shared = key.exchange(X25519PublicKey.from_public_bytes(enc))
    suite = b"HPKE-v1KEM" + u16(DHKEM)
    prk = keys.extract(b"", suite + b"eae_prk" + shared)
    return keys.expand(prk, u16(32) + suite + b"shared_secret" + enc + key.public_key().public_bytes_raw(), 32)


def test_keys_and_certificates_are_those_of_the_vectors() -> None:
    swarm, cases = Swarm(Counting()), read("certificates.txt")
    assert cases["swarm"].hex("founder seed") == swarm.founder.seed
    assert (cases["swarm"].hex("F"), cases["swarm"].hex("V")) == (swarm.f, swarm.v)
    for name, member in (("initiator", swarm.initiator), ("responder", swarm.responder)):
        case = cases[name]
        assert case.hex("identity") == member.identity.public
        assert case["identity as text"] == base32(member.identity.public)
        assert (case.hex("link key"), case.hex("label"), case.hex("run")) == (member.link_key.public, member.label, member.run)
        assert case.hex("H(long-term public key)") == keys.h(member.long_term.public)
        assert case.hex("H(prekey)") == keys.h(member.prekey.public)
        assert case.hex("certificate chain") == member.chain
        assert check_chain(member.chain, swarm.f, NOW).identity == member.identity.public


@pytest.fixture
def greeting() -> Greeting:
    grants = struct.unpack(">24I", bytes(range(96)))
    return Greeting(NOW, b"\xdd" * 32, tuple(zip(grants[::2], grants[1::2], strict=True)), b"card of the initiator")


def test_a_handshake_and_its_frames_are_those_of_the_vectors(greeting: Greeting) -> None:
    random = Counting()
    swarm, cases = Swarm(random), read("handshake.txt")
    initiator, responder = swarm.initiator, swarm.responder

    initiation = Initiation.start(
        swarm.f,
        initiator.identity,
        initiator.side,
        responder.identity.public,
        responder.prekey.public,
        responder.label,
        greeting,
        random,
        expiry=EXPIRY,
    )
    assert initiation.opener == cases["opener"].frame()
    assert initiation.early.seal(Lane.NORMAL, b"early", EXPIRY) == cases["early frame"].frame()

    opened = handshake.open_opener(cases["opener"].frame(), responder.prekey, responder.identity.public)
    assert (opened.sender, opened.run, opened.known_run) == (initiator.identity.public, initiator.run, bytes(16))
    assert opened.greeting == greeting
    assert opened.early.open(cases["early frame"].frame()) == b"early"
    answering = Greeting(greeting.wall, greeting.roster_digest, greeting.grants, b"card of the responder")
    answer, at_responder = handshake.answer(
        opened, swarm.f, responder.identity, responder.side, initiator.chain, initiator.label, answering, random, expiry=EXPIRY
    )
    assert answer == cases["answer"].frame()

    run, greeted, export = initiation.read(answer)
    assert (run, greeted) == (responder.run, answering)
    at_initiator = initiation.finish(answer, responder.side, export)
    for lane in Lane:
        for words, sender, receiver in (
            ("from the initiator", at_initiator, at_responder),
            ("to the initiator", at_responder, at_initiator),
        ):
            for number in range(2):
                case = cases[f"{words}, lane {lane}, frame {number}"]
                assert sender.seal(lane, case.hex("content"), EXPIRY) == case.frame()
                assert receiver.open(case.frame()) == case.hex("content")
    at_initiator.sending[Lane.NORMAL].skip(session.FRAMES_PER_KEY - 2)
    assert at_initiator.seal(Lane.NORMAL, b"rekeyed", EXPIRY) == cases["after the rekey"].frame()
    assert at_responder.open(cases["after the rekey"].frame()) == b"rekeyed"


def test_an_admission_by_ticket_is_that_of_the_vectors() -> None:
    random = Counting()
    swarm, cases = Swarm(random), read("admission.txt")
    issuer, joiner = swarm.initiator, swarm.responder
    ticket = admission.Ticket(random(32), swarm.f, swarm.v, EXPIRY, ("wss://relay.example:7447", "ws://localhost:7447"))
    assert (str(ticket), ticket.encode(), ticket.mailbox) == (
        cases["ticket"]["text"],
        cases["ticket"].hex("bytes"),
        cases["ticket"].hex("mailbox"),
    )
    assert admission.Ticket.parse(str(ticket)) == ticket

    asked = admission.Request(
        joiner.identity.public, joiner.link_key.public, joiner.run, "coder.2", joiner.long_term.public, joiner.prekey.public, NOW
    )
    request = admission.seal_request(ticket, joiner.identity, asked, random, expiry=EXPIRY)
    assert request == cases["request"].frame()
    assert admission.open_request(ticket, request) == asked

    issuing = link.link_certificate(swarm.v, issuer.link_key.public, swarm.routing, EXPIRY, link.MAY_ISSUE)
    chain = link.link_certificate(swarm.v, joiner.link_key.public, issuer.link_key, EXPIRY) + issuing
    cards = (b"card of the issuer", b"card of another")
    answered = admission.Reply(issuer.identity.public, admission.ADMITTED, "welcome", joiner.chain, chain, cards)
    reply = admission.seal_reply(ticket, request, joiner.long_term.public, issuer.identity, b"\xee" * 16, answered, random, expiry=EXPIRY)
    assert reply == cases["reply"].frame()
    opened = admission.open_reply(ticket, request, joiner.long_term, reply)
    assert opened == answered
    assert link.check_link_chain(opened.link_chain, swarm.v, NOW) == joiner.link_key.public
    assert check_chain(opened.chain, swarm.f, NOW).name == asked.name


def test_a_pairing_by_code_is_that_of_the_vectors() -> None:
    random, cases = Counting(), read("pairing.txt")
    pin, f, v = random(32), random(32), random(32)
    code, source = pairing.Code.parse(cases["code"]["text"]), cases["offer"].hex("source")
    assert (code.slot, code.words) == (int(cases["code"]["slot"]), cases["code"]["password"])
    assert keys.slot_label(code.slot) == cases["code"].hex("slot label")
    assert code.identities == (cases["code"]["idA"].encode(), cases["code"]["idB"].encode())

    joiner = pairing.Joiner(code, random)
    assert joiner.ask == cases["frames"].frame("ask")
    inviter = pairing.Inviter(code, joiner.ask, random)
    tell = inviter.tell(source)
    assert tell == cases["frames"].frame("tell")
    confirm = joiner.confirm(tell, vouched=0, pin=pin)
    assert confirm == cases["frames"].frame("confirm")
    assert inviter.check(confirm) == (0, pin, cases["confirm"].hex("confirmation A"))

    plaintext = pairing.encode_offer(f, v, 1_790_000_600_000, ("wss://relay.example:7447", "ws://localhost:7447"))
    assert plaintext == cases["offer"].hex("plaintext")
    offer = inviter.offer(source, cases["confirm"].hex("confirmation A"), plaintext)
    assert offer == cases["frames"].frame("offer")
    assert joiner.ticket(offer).encode() == cases["ticket"].hex("bytes")
    assert joiner.ticket(offer).mailbox == cases["ticket"].hex("mailbox")
    assert inviter.secret == joiner.ticket(offer).secret == cases["keys"].hex("secret")
    refusal = inviter.offer(source, cases["confirm"].hex("confirmation A"), b"", pairing.CERTIFICATE)
    assert refusal == cases["frames"].frame("refusal for the certificate")
    with pytest.raises(Refused, match="somebody stands between"):
        joiner.ticket(refusal)


def test_the_vectors_that_the_rust_code_reads_are_what_this_code_writes() -> None:
    assert (FOLDER / transcript.FILE).read_text(encoding="utf-8") == transcript.make()


def test_a_parcel_opens_as_its_receiver_sees_it_and_to_nobody_else() -> None:
    swarm, frame = Swarm(_ahead()), read("independent.txt")["parcel"].frame()
    sender, run, made = parcel.open_parcel(frame, swarm.responder.prekey, swarm.responder.identity.public)
    assert (sender, run, made.run) == (swarm.initiator.identity.public, swarm.responder.run, swarm.initiator.run)
    assert [(one.number, one.before) for one in made.messages] == [(40, 40), (43, 40)]
    assert parcel.Parcel.decode(made.encode()) == made
    with pytest.raises(Refused):
        parcel.open_parcel(frame, swarm.initiator.prekey, swarm.initiator.identity.public)


def _ahead() -> Counting:
    random = Counting()
    random(transcript.AHEAD)
    return random
