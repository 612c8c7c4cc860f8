//! Cryptographic vectors: the primitives against their specifications, our seals against pinned bytes, the pinned bytes against what
//! PROTOCOL.md says of them, and what a second implementation made against ours.
//!
//! The data is in `tests/vectors/`. Pinned files are made with `Random::counting()`, so that any implementation can make them.

#![cfg(feature = "client")]

#[path = "vectors/by_the_page.rs"]
mod by_the_page;
#[path = "vectors/format.rs"]
mod format;
#[path = "vectors/independent.rs"]
mod independent;
#[path = "vectors/pairing.rs"]
mod pairing;

use std::convert::Infallible;

use a2alinker::{
    crypto::{
        AdmissionReply, AdmissionRequest, AdmissionStatus, CertificateChain, CertificateRequest, FounderKey, FrameBuilder,
        Identity, Initiation, InitiatorParams, KeyPair, Opening, Random, ResponderParams, Rights, Session, SessionHello, Ticket,
        admission, envelope,
    },
    proto::{DataFrame, Label, Lane, LinkCertificate, LinkChain, LinkRights, RunId, SessionId, base32},
};
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use by_the_page::{ENC, Fields, PUBLIC_KEY};
use format::{Section, assert_pinned, read, section};
use hpke::{
    Deserializable, Kem, OpModeR, PskBundle, Serializable,
    aead::ChaCha20Poly1305,
    kdf::HkdfSha256,
    kem::{X25519HkdfSha256, XWing},
    setup_receiver,
};
use rand_core::{TryCryptoRng, TryRng};

// The primitives, in the libraries and shapes that `crypto` uses.

#[test]
fn ed25519_signs_as_rfc_8032_says() {
    for vector in read("ed25519.txt") {
        let pair = Ed25519KeyPair::from_seed_unchecked(&vector.hex("seed")).unwrap();
        let (message, signature) = (vector.hex("message"), vector.hex("signature"));
        assert_eq!(pair.public_key().as_ref(), vector.hex("public"), "[{}]", vector.name);
        assert_eq!(pair.sign(&message).as_ref(), signature, "[{}]", vector.name);
        UnparsedPublicKey::new(&ED25519, vector.hex("public")).verify(&message, &signature).unwrap();
    }
}

#[test]
fn hkdf_derives_as_rfc_5869_says() {
    for vector in read("hkdf_sha256.txt") {
        let okm = vector.hex("okm");
        let derived = by_the_page::hkdf(&vector.hex("salt"), &vector.hex("ikm"), &vector.hex("info"), okm.len());
        assert_eq!(derived, okm, "[{}]", vector.name);
    }
}

#[test]
fn aes_256_gcm_siv_seals_as_rfc_8452_says() {
    for vector in read("aes_256_gcm_siv.txt") {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &vector.hex("key")).unwrap());
        let nonce = || Nonce::assume_unique_for_key(vector.array("nonce"));
        let mut buffer = vector.hex("plaintext");
        let tag = key.seal_in_place_separate_tag(nonce(), Aad::from(vector.hex("aad")), &mut buffer).unwrap();
        buffer.extend_from_slice(tag.as_ref());
        assert_eq!(buffer, vector.hex("result"), "[{}]", vector.name);
        let opened = key.open_in_place(nonce(), Aad::from(vector.hex("aad")), &mut buffer).unwrap();
        assert_eq!(opened, vector.hex("plaintext"), "[{}]", vector.name);
    }
}

#[test]
fn x_wing_encapsulates_as_its_draft_says() {
    for vector in read("xwing.txt") {
        let private = <XWing as Kem>::PrivateKey::from_bytes(&vector.hex("sk")).unwrap();
        let public = XWing::sk_to_pk(&private);
        assert_eq!(public.to_bytes().as_slice(), vector.hex("pk"), "[{}]", vector.name);
        assert_eq!(KeyPair::from_seed(&vector.array("sk")).public().as_bytes()[..], vector.hex("pk"));

        let (secret, enc) = XWing::encap_with_rng(&public, None, &mut Replay(vector.hex("eseed"))).unwrap();
        assert_eq!(enc.to_bytes().as_slice(), vector.hex("ct"), "[{}]", vector.name);
        assert_eq!(secret.0.as_slice(), vector.hex("ss"), "[{}]", vector.name);
        assert_eq!(XWing::decap(&private, None, &enc).unwrap().0.as_slice(), vector.hex("ss"), "[{}]", vector.name);
    }
}

#[test]
fn hpke_opens_and_exports_as_rfc_9180_says() {
    for vector in read("hpke.txt") {
        let (psk, psk_id) = (vector.hex("psk"), vector.hex("psk_id"));
        let mode = match psk.is_empty() {
            true => OpModeR::Base,
            false => OpModeR::Psk(PskBundle::new(&psk, &psk_id).unwrap()),
        };
        let private = Deserializable::from_bytes(&vector.hex("skRm")).unwrap();
        let enc = Deserializable::from_bytes(&vector.hex("enc")).unwrap();
        let mut context =
            setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(&mode, &private, &enc, &vector.hex("info")).unwrap();
        let opened = context.open(&vector.hex("ct"), &vector.hex("aad")).unwrap();
        assert_eq!(opened, vector.hex("pt"), "[{}]", vector.name);
        let mut exported = [0; 32];
        context.export(&vector.hex("exporter_context"), &mut exported).unwrap();
        assert_eq!(exported[..], vector.hex("exported_value"), "[{}]", vector.name);
    }
}

/// Gives the bytes of a vector where a generator is asked for.
struct Replay(Vec<u8>);

impl TryRng for Replay {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("encapsulation takes bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("encapsulation takes bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(bytes.len());
        bytes.copy_from_slice(&std::mem::replace(&mut self.0, rest));
        Ok(())
    }
}

impl TryCryptoRng for Replay {}

// Our own seals.

const NOW: u64 = 1_800_000_000_000;
const EXPIRY: u64 = NOW + 86_400_000;
const FRAMES_PER_KEY: u64 = 65_536;

/// Two members of a swarm: the initiator certified by the founder with the right to admit, the responder by the initiator.
struct Swarm {
    random: Random,
    founder_seed: [u8; 32],
    initiator: Member,
    responder: Member,
}

struct Member {
    seed: [u8; 32],
    long_term_seed: [u8; 32],
    prekey_seed: [u8; 32],
    run: RunId,
    chain: CertificateChain,
}

impl Member {
    fn identity(&self) -> Identity {
        Identity::from_seed(self.seed)
    }

    fn hello(&self, card: &[u8]) -> SessionHello {
        let grants = std::array::from_fn(|at| at as u8);
        SessionHello { wall: NOW, roster_digest: [0xdd; 32], grants, card: card.to_vec() }
    }
}

impl Swarm {
    fn new() -> Self {
        let mut random = Random::counting();
        let founder_seed = random.array();
        let mut keys = || (random.array::<32>(), random.array::<32>(), random.array::<32>(), random.array::<16>());
        let (first, second) = (keys(), keys());
        let request = |(seed, long_term, ..): ([u8; 32], [u8; 32], [u8; 32], [u8; 16]), name: &str, rights| CertificateRequest {
            identity: Identity::from_seed(seed).id(),
            name: name.to_owned(),
            rights,
            long_term_hash: KeyPair::from_seed(&long_term).public().hash(),
            issued: NOW,
            expiry: EXPIRY,
        };
        let admin = request(first, "planner", Rights { admit: true, ..Rights::default() });
        let admin_chain = CertificateChain::issue_by_founder(&FounderKey::from_seed(founder_seed), &admin).unwrap();
        let skills = ["test", "review"].map(str::to_owned).into();
        let member = request(second, "coder.2", Rights { skills: Some(skills), originate: false, ..Rights::default() });
        let chain = CertificateChain::issue_by_admin(&Identity::from_seed(first.0), &admin_chain, &member).unwrap();
        let member = |(seed, long_term_seed, prekey_seed, run), chain| Member {
            seed,
            long_term_seed,
            prekey_seed,
            run: RunId::from_bytes(run),
            chain,
        };
        Self { founder_seed, initiator: member(first, admin_chain), responder: member(second, chain), random }
    }

    fn founder(&self) -> FounderKey {
        FounderKey::from_seed(self.founder_seed)
    }

    fn label(&self, member: &Member) -> Label {
        member.identity().link_key(&self.founder().routing().public()).label()
    }

    fn keys(&self) -> Section {
        let founder = self.founder();
        Section::new("swarm")
            .bytes("founder seed", self.founder_seed)
            .bytes("F", founder.id().as_bytes())
            .bytes("V", founder.routing().public().as_bytes())
    }

    fn member(&self, name: &str, member: &Member) -> Section {
        let identity = member.identity();
        let link_key = identity.link_key(&self.founder().routing().public());
        Section::new(name)
            .bytes("identity seed", member.seed)
            .bytes("identity", identity.id().as_bytes())
            .words("identity as text", identity.id())
            .bytes("link key", link_key.public().as_bytes())
            .bytes("label", link_key.label().as_bytes())
            .bytes("run", member.run.as_bytes())
            .bytes("long-term private key", member.long_term_seed)
            .bytes("H(long-term public key)", KeyPair::from_seed(&member.long_term_seed).public().hash())
            .bytes("prekey private key", member.prekey_seed)
            .bytes("H(prekey)", KeyPair::from_seed(&member.prekey_seed).public().hash())
            .bytes("certificate chain", member.chain.encode())
    }
}

#[test]
fn keys_and_certificates_are_pinned() {
    let swarm = Swarm::new();
    let sections = [swarm.keys(), swarm.member("initiator", &swarm.initiator), swarm.member("responder", &swarm.responder)];
    let story = "Keys, what follows from them, and certificates (PROTOCOL.md section 5). The seeds are counting bytes.\n\
                 The founder certifies the initiator, with the right to admit; the initiator certifies the responder.";
    assert_pinned("certificates.txt", story, &sections);
}

#[test]
fn pinned_keys_and_certificates_are_as_the_page_says() {
    let sections = read("certificates.txt");
    let swarm = section(&sections, "swarm");
    let (f, v) = (swarm.hex("F"), swarm.hex("V"));
    assert_eq!(by_the_page::public_key(&swarm.hex("founder seed")), f);
    let routing_seed = by_the_page::hkdf(&[], &swarm.hex("founder seed"), b"a2alinker/1 routing key", 32);
    assert_eq!(by_the_page::public_key(&routing_seed), v);
    for name in ["initiator", "responder"] {
        let member = section(&sections, name);
        let identity = member.hex("identity");
        assert_eq!(by_the_page::public_key(&member.hex("identity seed")), identity);
        assert_eq!(member.text("identity as text"), base32::encode(&identity));
        let link_seed = by_the_page::hkdf(&v, &member.hex("identity seed"), b"a2alinker/1 link key", 32);
        assert_eq!(by_the_page::public_key(&link_seed), member.hex("link key"));
        let label = by_the_page::h(&[b"a2alinker/1 agent label\0", &member.hex("link key")]);
        assert_eq!(label[..16], member.hex("label"));
        let chain = member.hex("certificate chain");
        assert_eq!(by_the_page::check_chain(&chain, &f), identity);
        let holds_long_term = chain.windows(32).any(|window| window == member.hex("H(long-term public key)"));
        assert!(holds_long_term, "{name}");
    }
}

#[test]
fn a_handshake_and_its_first_frames_are_pinned() {
    let mut swarm = Swarm::new();
    let session = SessionId::from_bytes(swarm.random.array());
    let founder = swarm.founder().id();
    let (initiator, responder) = (&swarm.initiator, &swarm.responder);
    let (initiator_identity, responder_identity) = (initiator.identity(), responder.identity());
    let prekey = KeyPair::from_seed(&responder.prekey_seed);
    let params = InitiatorParams {
        founder,
        identity: &initiator_identity,
        run: initiator.run,
        chain: &initiator.chain,
        peer: responder_identity.id(),
        peer_run: RunId::ZERO,
        prekey: prekey.public(),
        destination: swarm.label(responder),
        session,
        expiry: EXPIRY,
    };
    let ephemeral = peek(&mut swarm.random);
    let (mut initiation, opener) =
        Initiation::start(params, &initiator.hello(b"card of the initiator"), &mut swarm.random).unwrap();
    let early = initiation.seal_early(Lane::Normal, EXPIRY, content(b"early")).unwrap();

    let opened = envelope::open(&opener, &prekey, responder_identity.id()).unwrap();
    let opening = Opening::from_envelope(opened).unwrap();
    let params = ResponderParams {
        founder,
        identity: &responder_identity,
        run: responder.run,
        chain: &responder.chain,
        destination: swarm.label(initiator),
        expiry: EXPIRY,
    };
    let (mut at_responder, answer) =
        opening.answer(params, &initiator.chain, &responder.hello(b"card of the responder"), &mut swarm.random).unwrap();
    let answered = initiation.receive_answer(&answer).unwrap();
    let mut at_initiator = initiation.establish(answered, &responder.chain).unwrap();
    assert_eq!(at_responder.open(early.clone()).unwrap(), &b"early"[..]);

    let mut sections = vec![
        Section::new("session").bytes("id", session.as_bytes()).bytes("ephemeral private key", ephemeral),
        Section::new("opener").bytes("frame", opener.bytes()),
        Section::new("early frame").bytes("content", b"early").bytes("frame", early.bytes()),
        Section::new("answer").bytes("frame", answer.bytes()),
    ];
    for lane in Lane::ALL {
        for (direction, from_initiator) in [("from the initiator", true), ("to the initiator", false)] {
            let ends = (&mut at_initiator, &mut at_responder);
            let (from, to) = if from_initiator { ends } else { (ends.1, ends.0) };
            for number in 0..2 {
                let text = format!("{direction}, lane {}, frame {number}", lane.index());
                let frame = exchange(from, to, lane, text.as_bytes());
                sections.push(Section::new(&text).bytes("content", text).bytes("frame", frame.bytes()));
            }
        }
    }
    for _ in 2..FRAMES_PER_KEY {
        at_initiator.seal(Lane::Normal, EXPIRY, FrameBuilder::new()).unwrap();
    }
    let frame = exchange(&mut at_initiator, &mut at_responder, Lane::Normal, b"rekeyed");
    sections.push(Section::new("after the rekey").bytes("content", b"rekeyed").bytes("frame", frame.bytes()));
    let story = "A handshake and the first frames of its session (PROTOCOL.md section 6.2), between the members of certificates.txt.\n\
                 The opener doesn't know the responder's run. The counting generator goes on from the keys there: the session id, then the\n\
                 ephemeral key and the encapsulation of the opener, then that of the answer.";
    assert_pinned("handshake.txt", story, &sections);
}

#[test]
fn the_pinned_handshake_opens_as_the_page_says() {
    let members = read("certificates.txt");
    let (f, initiator, responder) =
        (section(&members, "swarm").hex("F"), section(&members, "initiator"), section(&members, "responder"));
    let sections = read("handshake.txt");
    let frame = |name: &str| section(&sections, name).hex("frame");
    let session = section(&sections, "session");

    // The opener.
    let opener = frame("opener");
    let (header, sealed) = by_the_page::parts(&opener);
    assert_eq!(header[..4], [1, 3, 1, 0]);
    assert_eq!((&header[4..20], &header[20..36]), (&responder.hex("label")[..], &session.hex("id")[..]));
    assert_eq!((&header[36..40], &header[40..48]), (&[0; 4][..], &responder.hex("H(prekey)")[..8]));
    assert_eq!(header[48..], EXPIRY.to_be_bytes());
    let prekey = responder.hex("prekey private key");
    let (body, opener_export) =
        by_the_page::open_hpke(&opener, &prekey, None, "a2alinker/1 envelope", "a2alinker/1 opener export");
    let mut fields = Fields(&body);
    let (sender, receiver, prekey_hash, run) = (fields.take(32), fields.take(32), fields.take(32), fields.take(16));
    assert_eq!((sender, receiver), (&initiator.hex("identity")[..], &responder.hex("identity")[..]));
    assert_eq!((prekey_hash, run), (&responder.hex("H(prekey)")[..], &[0; 16][..]));
    let kind = fields.take(1);
    let payload = fields.counted(4);
    let signed = [&[1], sender, receiver, prekey_hash, &sealed[..ENC], header, run, kind, payload].concat();
    by_the_page::verify(sender, "envelope", &signed, fields.take(64));
    assert_eq!((kind, fields.0), (&[1][..], &[][..]));
    let mut fields = Fields(payload);
    let (initiator_run, ephemeral) = (fields.take(16), fields.take(PUBLIC_KEY));
    assert_eq!(initiator_run, initiator.hex("run"));
    let ephemeral_seed = session.hex("ephemeral private key");
    assert_eq!(ephemeral, KeyPair::from_seed(&session.array("ephemeral private key")).public().as_bytes());
    check_hello(&mut fields, b"card of the initiator");
    assert_eq!(fields.counted(2), b"", "extensions");

    // The answer.
    let answer = frame("answer");
    let (answer_header, answer_sealed) = by_the_page::parts(&answer);
    assert_eq!(answer_header[..4], [1, 4, 1, 0]);
    assert_eq!((&answer_header[4..20], &answer_header[20..36]), (&initiator.hex("label")[..], &session.hex("id")[..]));
    assert_eq!(answer_header[36..48], [0; 12]);
    let (body, answer_export) =
        by_the_page::open_hpke(&answer, &ephemeral_seed, None, "a2alinker/1 answer", "a2alinker/1 answer export");
    let mut fields = Fields(&body);
    let responder_run = fields.take(16);
    assert_eq!(responder_run, responder.hex("run"));
    check_hello(&mut fields, b"card of the responder");
    let signature = fields.end_with_signature();
    let opener_hash = by_the_page::h(&[header, sealed]);
    let signed = [&opener_hash, &answer_sealed[..ENC], answer_header, &body[..body.len() - 64]].concat();
    by_the_page::verify(&responder.hex("identity"), "answer", &signed, signature);

    // The keys.
    let transcript = by_the_page::h(&[
        b"a2alinker/1 transcript\0",
        &f,
        sender,
        receiver,
        initiator_run,
        responder_run,
        &by_the_page::h(&[&initiator.hex("certificate chain")]),
        &by_the_page::h(&[&responder.hex("certificate chain")]),
        &opener_hash,
        &by_the_page::h(&[answer_header, answer_sealed]),
    ]);
    let traffic_secret = |direction: u8, lane: Lane| {
        let info = [b"a2alinker/1 traffic", &[direction, lane as u8][..]].concat();
        by_the_page::hkdf(&transcript, &[opener_export, answer_export].concat(), &info, 32)
    };
    let key = |secret: &[u8]| by_the_page::expand(secret, b"a2alinker/1 key", 32);
    let info = [b"a2alinker/1 early key", &[Lane::Normal as u8][..]].concat();
    let early_key = by_the_page::hkdf(b"a2alinker/1 early", &opener_export, &info, 32);
    let early = frame("early frame");
    assert_eq!(by_the_page::parts(&early).0[..4], [1, 1, 3, 2]);
    assert_eq!(by_the_page::open_session(&early, &early_key), b"early");

    // The frames.
    for lane in Lane::ALL {
        for (direction, words) in ["from the initiator", "to the initiator"].into_iter().enumerate() {
            for number in 0..2_u64 {
                let vector = section(&sections, &format!("{words}, lane {}, frame {number}", lane.index())).clone();
                let frame = vector.hex("frame");
                let (header, _) = by_the_page::parts(&frame);
                assert_eq!(header[..4], [1, 1, lane as u8, 0]);
                assert_eq!((&header[36..40], &header[40..48]), (&[0; 4][..], &number.to_be_bytes()[..]));
                let key = key(&traffic_secret(direction as u8, lane));
                assert_eq!(by_the_page::open_session(&frame, &key), vector.hex("content"));
            }
        }
    }

    let rekeyed = frame("after the rekey");
    let (header, _) = by_the_page::parts(&rekeyed);
    assert_eq!((&header[36..40], &header[40..48]), (&[0, 0, 0, 1][..], &FRAMES_PER_KEY.to_be_bytes()[..]));
    let secret = by_the_page::expand(&traffic_secret(0, Lane::Normal), b"a2alinker/1 rekey", 32);
    assert_eq!(by_the_page::open_session(&rekeyed, &key(&secret)), b"rekeyed");
}

#[test]
fn an_admission_is_pinned() {
    let mut swarm = Swarm::new();
    let (founder, joiner, issuer) = (swarm.founder(), &swarm.responder, swarm.initiator.identity());
    let routing = founder.routing();
    let addresses = vec!["wss://relay.example:7447".to_owned(), "ws://localhost:7447".to_owned()];
    let ticket = Ticket::new(true, founder.id(), routing.public(), EXPIRY, addresses, &mut swarm.random).unwrap();
    let (identity, long_term) = (joiner.identity(), KeyPair::from_seed(&joiner.long_term_seed));
    let request = AdmissionRequest {
        identity: identity.id(),
        link_key: identity.link_key(&routing.public()).public(),
        run: joiner.run,
        name: "coder.2".to_owned(),
        long_term: long_term.public().clone(),
        prekey: KeyPair::from_seed(&joiner.prekey_seed).public().clone(),
        wall: NOW,
    };
    let (at_joiner, asked) = admission::seal_request(&ticket, &identity, &request, EXPIRY, &mut swarm.random).unwrap();
    let (at_issuer, received) = admission::open_request(&ticket, &asked).unwrap();
    assert_eq!(received, request);

    let rights = LinkRights { may_issue: true, may_revoke: false };
    let issuer_link_key = issuer.link_key(&routing.public());
    let issuer_link = LinkCertificate::issue_by_routing(&routing, issuer_link_key.public(), EXPIRY, rights);
    let link = LinkCertificate::issue_by_link(&issuer_link_key, &issuer_link, request.link_key, EXPIRY);
    let reply = AdmissionReply {
        status: AdmissionStatus::Admitted,
        text: "welcome".to_owned(),
        chain: Some(joiner.chain.clone()),
        link_chain: Some(LinkChain::new(vec![link, issuer_link]).unwrap()),
        cards: vec![b"card of the issuer".to_vec(), b"card of another".to_vec()],
        issuer: issuer.id(),
    };
    let source = Label::from_bytes([0xee; 16]);
    let answered =
        admission::seal_reply(&at_issuer, &issuer, &received.long_term, source, &reply, EXPIRY, &mut swarm.random).unwrap();
    let opened = admission::open_reply(&at_joiner, &long_term, &answered).unwrap();
    assert_eq!(opened, reply);
    opened.verify(&ticket, &request, NOW).unwrap();

    let sections = [
        Section::new("ticket")
            .words("text", &ticket)
            .bytes("bytes", ticket.to_bytes())
            .bytes("mailbox", ticket.keys().mailbox().as_bytes()),
        Section::new("request").bytes("exchange", at_joiner.id().as_bytes()).bytes("frame", asked.bytes()),
        Section::new("reply").bytes("frame", answered.bytes()),
    ];
    let story = "A ticket, the request of its holder and the reply (PROTOCOL.md section 8), between the members of certificates.txt: the responder\n\
                 there is admitted by the initiator. The counting generator goes on from the keys there: secret, exchange id, nonce, encapsulation.";
    assert_pinned("admission.txt", story, &sections);
}

#[test]
fn the_pinned_admission_opens_as_the_page_says() {
    let members = read("certificates.txt");
    let (swarm, issuer, joiner) = (section(&members, "swarm"), section(&members, "initiator"), section(&members, "responder"));
    let sections = read("admission.txt");

    // The ticket.
    let vector = section(&sections, "ticket");
    let ticket = vector.hex("bytes");
    assert_eq!(vector.text("text"), format!("a2alt_{}", base32::encode(&ticket)));
    let (fields, checksum) = ticket.split_at(ticket.len() - 4);
    assert_eq!(checksum, &by_the_page::h(&[fields])[..4]);
    let mut fields = Fields(fields);
    assert_eq!(fields.take(2), [1, 1]);
    let secret = fields.take(32);
    assert_eq!((fields.take(32), fields.take(32)), (&swarm.hex("F")[..], &swarm.hex("V")[..]));
    assert_eq!((fields.take(8), fields.take(1)), (&EXPIRY.to_be_bytes()[..], &[2][..]));
    assert_eq!((fields.counted(1), fields.counted(1)), (&b"wss://relay.example:7447"[..], &b"ws://localhost:7447"[..]));
    assert_eq!((fields.counted(2), fields.0), (&b""[..], &b""[..]));
    let derived = |info: &[u8], len| by_the_page::hkdf(b"a2alinker/1 ticket", secret, info, len);
    let mailbox = derived(b"a2alinker/1 mailbox", 16);
    assert_eq!(mailbox, vector.hex("mailbox"));

    // The request.
    let vector = section(&sections, "request");
    let (frame, exchange) = (vector.hex("frame"), vector.hex("exchange"));
    let (header, sealed) = by_the_page::parts(&frame);
    assert_eq!(header[..4], [1, 6, 1, 0]);
    assert_eq!((&header[4..20], &header[20..36], &header[36..48]), (&mailbox[..], &exchange[..], &[0; 12][..]));
    let key = derived(b"a2alinker/1 request key", 32);
    let body = by_the_page::open_gcm_siv(&key, sealed[..12].try_into().unwrap(), header, &sealed[12..]);
    let mut fields = Fields(&body);
    assert_eq!(fields.take(1), [1]);
    let identity = fields.take(32);
    assert_eq!((identity, fields.take(32)), (&joiner.hex("identity")[..], &joiner.hex("link key")[..]));
    assert_eq!((fields.take(16), fields.counted(1)), (&joiner.hex("run")[..], &b"coder.2"[..]));
    let (long_term, prekey) = (fields.take(PUBLIC_KEY), fields.take(PUBLIC_KEY));
    assert_eq!(by_the_page::h(&[long_term])[..], joiner.hex("H(long-term public key)"));
    assert_eq!(by_the_page::h(&[prekey])[..], joiner.hex("H(prekey)"));
    assert_eq!(fields.take(8), NOW.to_be_bytes());
    let signature = fields.end_with_signature();
    let signed = [&swarm.hex("F"), &swarm.hex("V"), &mailbox, &exchange, &body[..body.len() - 64]].concat();
    by_the_page::verify(identity, "admission request", &signed, signature);

    // The reply.
    let reply = section(&sections, "reply").hex("frame");
    let (reply_header, reply_sealed) = by_the_page::parts(&reply);
    assert_eq!(reply_header[..4], [1, 7, 1, 0]);
    assert_eq!((&reply_header[20..36], &reply_header[36..48]), (&exchange[..], &[0; 12][..]));
    let (psk, psk_id) = (derived(b"a2alinker/1 reply psk", 32), [&b"a2alinker/1 admission"[..], &mailbox].concat());
    let private = joiner.hex("long-term private key");
    let (body, _) = by_the_page::open_hpke(&reply, &private, Some((&psk, &psk_id)), "a2alinker/1 admission reply", "unused");
    let (body, signature) = body.split_at(body.len() - 64);
    let signed = [&exchange, &by_the_page::h(&[sealed])[..], &reply_sealed[..ENC], body].concat();
    by_the_page::verify(&issuer.hex("identity"), "admission reply", &signed, signature);
    let mut fields = Fields(body);
    let mut values = Vec::new();
    while !fields.0.is_empty() {
        let kind = u16::from_be_bytes(fields.take(2).try_into().unwrap());
        values.push((kind, fields.counted(4).to_vec()));
    }
    let value = |kind| values.iter().find(|(found, _)| *found == kind).map(|(_, value)| &value[..]).unwrap();
    assert_eq!(value(1), b"\x00\x00\x07welcome");
    assert_eq!((value(2), value(5)), (&joiner.hex("certificate chain")[..], &issuer.hex("identity")[..]));
    assert_eq!((value(3).len(), value(4)), (340, &b"card of the issuer"[..]));
    assert_eq!(values.len(), 6);
}

/// Checks wall time, roster digest, grants and card.
fn check_hello(fields: &mut Fields<'_>, card: &[u8]) {
    assert_eq!((fields.take(8), fields.take(32)), (&NOW.to_be_bytes()[..], &[0xdd; 32][..]));
    assert!(fields.take(96).iter().enumerate().all(|(at, &byte)| usize::from(byte) == at));
    assert_eq!(fields.counted(2), card);
}

/// Returns the next bytes of a counting generator. It repeats after 256 bytes: when all are taken it stands where it stood.
fn peek(random: &mut Random) -> [u8; 32] {
    let all: [u8; 256] = random.array();
    std::array::from_fn(|at| all[at])
}

fn content(bytes: &[u8]) -> FrameBuilder {
    let mut frame = FrameBuilder::with_capacity(bytes.len());
    frame.put(bytes);
    frame
}

/// Seals a frame and sees that the other side opens it.
fn exchange(from: &mut Session, to: &mut Session, lane: Lane, bytes: &[u8]) -> DataFrame {
    let frame = from.seal(lane, EXPIRY, content(bytes)).unwrap();
    assert_eq!(to.open(frame.clone()).unwrap(), bytes);
    frame
}
