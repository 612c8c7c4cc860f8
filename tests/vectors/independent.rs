//! What the second implementation made (`tests/python/independent/`, in another language, from PROTOCOL.md alone): it is made here
//! once more, byte for byte, and opened.

use a2alinker::{
    agent::{
        message::{MessageHeader, MessageKind},
        parcel::Parcel,
    },
    crypto::{
        AdmissionReply, AdmissionRequest, AdmissionStatus, CertificateChain, Code, Identity, Initiation, InitiatorParams,
        KeyPair, Opening, PayloadKind, Random, ResponderParams, SessionHello, Ticket, admission, envelope,
        pairing::{Asking, Message, Offer, Seen, Telling},
    },
    proto::{
        Binding, ClientFrame, DataFrame, FounderId, Label, Lane, LinkChain, RoutingKey, RunId, ServerFrame, SessionId,
        VerifiedHello, label_of, verify_hello,
    },
};

use super::{
    EXPIRY, NOW, content,
    format::{Section, read, section},
};

struct Vectors {
    sections: Vec<Section>,
    founder: FounderId,
    routing: RoutingKey,
}

struct Member {
    identity: Identity,
    run: RunId,
    long_term: KeyPair,
    prekey: KeyPair,
    chain: CertificateChain,
    card: Vec<u8>,
}

impl Vectors {
    fn read() -> Self {
        let sections = read("independent.txt");
        let swarm = section(&sections, "swarm");
        let (founder, routing) = (FounderId::from_bytes(swarm.array("F")), RoutingKey::from_bytes(swarm.array("V")));
        Self { founder, routing, sections }
    }

    fn section(&self, name: &str) -> &Section {
        section(&self.sections, name)
    }

    fn frame(&self, name: &str) -> DataFrame {
        DataFrame::parse(self.section(name).hex("frame").into()).unwrap()
    }

    /// The counting generator, where it stood when the section was made.
    fn random(&self, name: &str) -> Random {
        let position: usize = self.section(name).text("random").parse().unwrap();
        let mut random = Random::counting();
        random.fill(&mut vec![0; position]);
        random
    }

    fn member(&self, name: &str) -> Member {
        let section = self.section(name);
        let chain = CertificateChain::decode(&section.hex("certificate chain")).unwrap();
        let identity = Identity::from_seed(section.array("identity seed"));
        assert_eq!(chain.verify(&self.founder, NOW).unwrap().identity, identity.id());
        Member {
            identity,
            run: RunId::from_bytes(section.array("run")),
            long_term: KeyPair::from_seed(&section.array("long-term private key")),
            prekey: KeyPair::from_seed(&section.array("prekey private key")),
            chain,
            card: section.hex("card"),
        }
    }

    fn label(&self, member: &Member) -> Label {
        member.identity.link_key(&self.routing).label()
    }
}

#[test]
fn links_of_the_second_implementation_are_authentic() {
    let vectors = Vectors::read();
    let link = vectors.section("link");
    let challenge = link.hex("challenge");
    assert!(
        matches!(ServerFrame::decode(challenge.clone().into()), Ok(ServerFrame::Challenge(challenge)) if challenge.wall == NOW)
    );
    let binding = Binding::Exporter(link.array("exporter"));
    let verified = |role: &str| {
        let ClientFrame::Hello(hello) = ClientFrame::decode(link.hex(role).into()).unwrap() else { panic!("{role} is no Hello") };
        verify_hello(&challenge, &binding, &hello, NOW).unwrap()
    };

    let responder = vectors.member("responder");
    let VerifiedHello::Member { routing, label, rights, expiry } = verified("member") else { panic!("not a member") };
    assert_eq!((routing, label, expiry), (vectors.routing, vectors.label(&responder), EXPIRY));
    assert!(!rights.may_issue && !rights.may_revoke);
    let VerifiedHello::Stranger { routing, label, mailbox } = verified("stranger") else { panic!("not a stranger") };
    assert_eq!((routing, mailbox), (vectors.routing, Label::from_bytes([0xab; 16])));
    let VerifiedHello::Guest { label: guest, slot } = verified("guest") else { panic!("not a guest") };
    assert_eq!((guest, slot), (label, 9_999_999));
}

#[test]
fn a_session_with_the_second_implementation_is_the_same_on_both_sides() {
    let vectors = Vectors::read();
    let (initiator, responder) = (vectors.member("initiator"), vectors.member("responder"));
    let opener = vectors.frame("opener");

    let opened = envelope::open(&opener, &responder.prekey, responder.identity.id()).unwrap();
    assert_eq!((opened.sender, opened.receiver_run), (initiator.identity.id(), responder.run));
    let opening = Opening::from_envelope(opened).unwrap();
    let theirs = opening.hello().clone();
    assert_eq!((opening.run(), theirs.wall, &theirs.card), (initiator.run, NOW, &initiator.card));
    let mut random = vectors.random("opener");
    let session = SessionId::from_bytes(random.array());
    let params = InitiatorParams {
        founder: vectors.founder,
        identity: &initiator.identity,
        run: initiator.run,
        chain: &initiator.chain,
        peer: responder.identity.id(),
        peer_run: responder.run,
        prekey: responder.prekey.public(),
        destination: vectors.label(&responder),
        session,
        expiry: EXPIRY,
    };
    let (mut initiation, made) = Initiation::start(params, &theirs, &mut random).unwrap();
    assert_eq!(made, opener);

    let answer = vectors.frame("answer");
    let answered = initiation.receive_answer(&answer).unwrap();
    let ours: SessionHello = answered.hello().clone();
    assert_eq!((answered.run(), ours.wall, &ours.card), (responder.run, NOW + 1, &responder.card));
    let params = ResponderParams {
        founder: vectors.founder,
        identity: &responder.identity,
        run: responder.run,
        chain: &responder.chain,
        destination: vectors.label(&initiator),
        expiry: 0,
    };
    let (mut at_responder, made) = opening.answer(params, &initiator.chain, &ours, &mut random).unwrap();
    assert_eq!(made, answer);

    for lane in [Lane::Urgent, Lane::Bulk] {
        let name = format!("early frame, lane {}", lane.index());
        let (early, text) = (vectors.frame(&name), vectors.section(&name).hex("content"));
        assert_eq!(initiation.seal_early(lane, EXPIRY, content(&text)).unwrap(), early);
        assert_eq!(at_responder.open(early).unwrap(), text);
    }
    let mut at_initiator = initiation.establish(answered, &responder.chain).unwrap();
    for (words, from, to) in [("from the initiator", 0, 1), ("to the initiator", 1, 0)] {
        for lane in Lane::ALL {
            for generation in [0, 1, 3] {
                let name = format!("{words}, lane {}, generation {generation}", lane.index());
                let (frame, text) = (vectors.frame(&name), vectors.section(&name).hex("content"));
                assert_eq!(frame.header().generation, generation);
                let ends = [&mut at_initiator, &mut at_responder];
                if generation == 0 {
                    assert_eq!(ends[from].seal(lane, EXPIRY, content(&text)).unwrap(), frame);
                }
                assert_eq!(ends[to].open(frame.clone()).unwrap(), text, "{name}");
                assert!(ends[to].open(frame).is_err(), "{name}, once more");
            }
        }
    }
}

#[test]
fn messages_that_the_second_implementation_parked_are_read_and_made_the_same() {
    let vectors = Vectors::read();
    let (sender, receiver) = (vectors.member("initiator"), vectors.member("responder"));
    let frame = vectors.frame("parcel");

    let opened = envelope::open(&frame, &receiver.prekey, receiver.identity.id()).unwrap();
    assert_eq!((opened.sender, opened.receiver_run, opened.kind), (sender.identity.id(), receiver.run, PayloadKind::Parked));
    let parcel = Parcel::decode(&opened.payload).unwrap();
    assert_eq!((parcel.run, parcel.wall, parcel.wall_there, parcel.floor), (sender.run, NOW, NOW - 7, 40));
    assert_eq!(parcel.card, sender.card);
    let parked: Vec<_> = parcel.messages.iter().map(|parked| (parked.number, parked.before, parked.waits_until)).collect();
    assert_eq!(parked, [(40, 40, 0), (43, 40, EXPIRY - 1)]);
    for (parked, after) in parcel.messages.iter().zip([0, 2]) {
        let (header, body) = MessageHeader::decode(parked.message.clone()).unwrap();
        assert_eq!((header.kind, header.after, header.free, &body[..]), (MessageKind::Plain, after, true, &b"parked"[..]));
    }

    let to = envelope::Addressee {
        receiver: receiver.identity.id(),
        run: receiver.run,
        prekey: receiver.prekey.public(),
        destination: vectors.label(&receiver),
        lane: Lane::Normal,
        expiry: EXPIRY,
    };
    let made = envelope::seal_parked(&sender.identity, &to, &parcel.encode(), &mut vectors.random("parcel")).unwrap();
    assert_eq!(made.bytes(), frame.bytes());
}

#[test]
fn an_admission_by_the_second_implementation_is_the_same_on_both_sides() {
    let vectors = Vectors::read();
    let (issuer, joiner) = (vectors.member("initiator"), vectors.member("responder"));
    let ticket: Ticket = vectors.section("ticket").text("text").parse().unwrap();
    assert_eq!(ticket.keys().mailbox().as_bytes()[..], vectors.section("ticket").hex("mailbox"));

    let asked = vectors.frame("request");
    let (at_issuer, request) = admission::open_request(&ticket, &asked).unwrap();
    let link_key = joiner.identity.link_key(&vectors.routing).public();
    let expected = AdmissionRequest {
        identity: joiner.identity.id(),
        link_key,
        run: joiner.run,
        name: "coder.2".to_owned(),
        long_term: joiner.long_term.public().clone(),
        prekey: joiner.prekey.public().clone(),
        wall: NOW,
    };
    assert_eq!(request, expected);
    let mut random = vectors.random("request");
    let (at_joiner, made) = admission::seal_request(&ticket, &joiner.identity, &request, EXPIRY, &mut random).unwrap();
    assert_eq!(made, asked);

    let answered = vectors.frame("reply");
    let reply = admission::open_reply(&at_joiner, &joiner.long_term, &answered).unwrap();
    let expected = AdmissionReply {
        status: AdmissionStatus::Admitted,
        text: "willkommen".to_owned(),
        chain: Some(joiner.chain.clone()),
        link_chain: Some(LinkChain::decode(&vectors.section("link").hex("link chain")).unwrap()),
        cards: vec![issuer.card.clone()],
        issuer: issuer.identity.id(),
    };
    assert_eq!(reply, expected);
    reply.verify(&ticket, &request, NOW).unwrap();
    assert_eq!(reply.link_chain.as_ref().unwrap().verify(NOW).unwrap().link_key, link_key);
    assert_eq!(label_of(&link_key), vectors.label(&joiner));
    let source = answered.header().destination;
    let made = admission::seal_reply(&at_issuer, &issuer.identity, &request.long_term, source, &reply, EXPIRY, &mut random);
    assert_eq!(made.unwrap(), answered);
}

#[test]
fn a_pairing_with_the_second_implementation_is_the_same_on_both_sides() {
    let vectors = Vectors::read();
    let section = vectors.section("code");
    let code: Code = section.text("text").parse().unwrap();
    let (ask, tell, confirm, offered) =
        (vectors.frame("ask"), vectors.frame("tell"), vectors.frame("confirm"), vectors.frame("offer"));
    let mut random = vectors.random("code");
    let asking = Asking::start(&code, &mut random);
    assert_eq!(asking.frame(), ask);
    let Ok(Message::Ask(message_a)) = Message::read(&ask) else { panic!("an Ask") };
    let telling = Telling::answer(&code, ask.header().session, tell.header().destination, &message_a, &mut random).unwrap();
    assert_eq!(telling.frame(), tell);
    let Ok(Message::Tell(message_b)) = Message::read(&tell) else { panic!("a Tell") };
    let confirming = asking.confirm(&message_b, Seen { vouched: true, pin: section.array("pin") }).unwrap();
    assert_eq!(*confirming.frame(), confirm);
    let Ok(Message::Confirm { seen, confirmation }) = Message::read(&confirm) else { panic!("a Confirm") };
    let confirmed = telling.check(seen, &confirmation).unwrap();
    let offer = Offer {
        founder: vectors.founder,
        routing: vectors.routing,
        expiry: EXPIRY,
        addresses: vec!["wss://relay.example:7447".to_owned()],
    };
    assert_eq!(confirmed.offer(&offer).unwrap(), offered);
    let ticket = confirming.open(&offered).unwrap().unwrap();
    assert_eq!(ticket.to_string(), vectors.section("offer").text("ticket"));
    assert_eq!(ticket.to_bytes(), confirmed.ticket(offer).to_bytes());
}
