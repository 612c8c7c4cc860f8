use super::*;
use crate::crypto::admission::{open_reply, open_request, seal_reply, seal_request};
use crate::proto::{LinkCertificate, LinkChain, LinkRights, OuterHeader, OuterKind, codec::Writer, signature::hash};

/// A founder's agent with a ticket of its own, and somebody who holds that ticket.
struct Scene {
    issuer: Agent,
    ticket: Ticket,
    joiner: Identity,
    long_term: KeyPair,
    request: AdmissionRequest,
}

impl Scene {
    fn new() -> Self {
        let founder = founder();
        let routing = founder.routing().public();
        let addresses = vec!["wss://relay.example:7447".to_owned()];
        let ticket = Ticket::new(true, founder.id(), routing, EXPIRY, addresses, &mut Random::from_seed([4; 32])).unwrap();
        let joiner = Identity::from_seed([20; 32]);
        let long_term = KeyPair::from_seed(&[21; 32]);
        let request = AdmissionRequest {
            identity: joiner.id(),
            link_key: joiner.link_key(&routing).public(),
            run: RunId::from_bytes([22; 16]),
            name: "coder".to_owned(),
            long_term: long_term.public().clone(),
            prekey: KeyPair::from_seed(&[23; 32]).public().clone(),
            wall: NOW,
        };
        Self { issuer: Agent::new(&founder, "planner", 1), ticket, joiner, long_term, request }
    }

    fn ask(&self) -> (Exchange, DataFrame) {
        seal_request(&self.ticket, &self.joiner, &self.request, EXPIRY, &mut Random::from_seed([5; 32])).unwrap()
    }

    fn admission(&self) -> AdmissionReply {
        let request = CertificateRequest {
            long_term_hash: self.long_term.public().hash(),
            ..certificate_request(&self.joiner, "coder", Rights::default())
        };
        let link = LinkCertificate::issue_by_routing(&founder().routing(), self.request.link_key, EXPIRY, LinkRights::default());
        AdmissionReply {
            status: AdmissionStatus::Admitted,
            text: String::new(),
            chain: Some(CertificateChain::issue_by_founder(&founder(), &request).unwrap()),
            link_chain: Some(LinkChain::new(vec![link]).unwrap()),
            cards: vec![b"the issuer's card".to_vec(), b"another card".to_vec()],
            issuer: self.issuer.id(),
        }
    }

    fn reply(&self, exchange: &Exchange, reply: &AdmissionReply) -> DataFrame {
        let source = Label::from_bytes([9; 16]);
        let mut random = Random::from_seed([6; 32]);
        seal_reply(exchange, &self.issuer.identity, &self.request.long_term, source, reply, EXPIRY, &mut random).unwrap()
    }
}

#[test]
fn a_request_reaches_the_holder_of_the_ticket_and_the_reply_its_sender() {
    let scene = Scene::new();
    let (at_joiner, frame) = scene.ask();
    assert_eq!(frame.header().destination, scene.ticket.keys().mailbox());

    let (at_issuer, request) = open_request(&scene.ticket, &frame).unwrap();
    assert_eq!((&request, at_issuer.id()), (&scene.request, at_joiner.id()));

    let sent = scene.admission();
    let reply = open_reply(&at_joiner, &scene.long_term, &scene.reply(&at_issuer, &sent)).unwrap();
    assert_eq!(reply, sent);
    let membership = reply.verify(&scene.ticket, &scene.request, NOW).unwrap();
    assert_eq!((membership.member.identity, membership.member.name.as_str()), (scene.joiner.id(), "coder"));
    assert_eq!(membership.link.link_key, scene.request.link_key);
}

#[test]
fn a_request_with_any_byte_changed_is_refused() {
    let scene = Scene::new();
    let (_, frame) = scene.ask();
    for at in 0..frame.bytes().len() {
        let Some(changed) = tampered(&frame, at) else { continue };
        match open_request(&scene.ticket, &changed) {
            Err(Error::Open) => assert!(!SOURCE.contains(&at)),
            opened => assert!(SOURCE.contains(&at) && opened.is_ok(), "byte {at}"),
        }
    }
}

#[test]
fn a_reply_with_any_byte_changed_is_refused() {
    let scene = Scene::new();
    let (at_joiner, frame) = scene.ask();
    let (at_issuer, _) = open_request(&scene.ticket, &frame).unwrap();
    let reply = scene.reply(&at_issuer, &scene.admission());
    for at in 0..reply.bytes().len() {
        let Some(changed) = tampered(&reply, at) else { continue };
        match open_reply(&at_joiner, &scene.long_term, &changed) {
            Err(Error::Open) => assert!(!SOURCE.contains(&at)),
            opened => assert!(SOURCE.contains(&at) && opened.is_ok(), "byte {at}"),
        }
    }
}

#[test]
fn another_ticket_does_not_open_the_request() {
    let scene = Scene::new();
    let (_, frame) = scene.ask();
    let other = Ticket::new(
        true,
        scene.ticket.founder,
        scene.ticket.routing,
        EXPIRY,
        scene.ticket.addresses.clone(),
        &mut Random::from_seed([40; 32]),
    )
    .unwrap();
    assert!(matches!(open_request(&other, &frame), Err(Error::Open)));
}

#[test]
fn a_ticket_that_names_another_swarm_convinces_nobody_there() {
    let scene = Scene::new();
    let mut relabelled = scene.ticket.clone();
    relabelled.founder = FounderKey::from_seed([0xf1; 32]).id();
    let (_, frame) = seal_request(&relabelled, &scene.joiner, &scene.request, EXPIRY, &mut Random::from_seed([5; 32])).unwrap();
    assert!(matches!(open_request(&scene.ticket, &frame), Err(Error::Open)), "the signature names the swarm");
}

#[test]
fn a_request_for_somebody_else_or_under_an_impossible_name_is_not_sealed() {
    let scene = Scene::new();
    let seal = |request: &AdmissionRequest| {
        seal_request(&scene.ticket, &scene.joiner, request, EXPIRY, &mut Random::from_seed([5; 32])).map(|_| ())
    };
    let other = AdmissionRequest { identity: scene.issuer.id(), ..scene.request.clone() };
    assert!(matches!(seal(&other), Err(Error::Certificate(CertificateError::Mismatch { what: "identity" }))));
    let unnamed = AdmissionRequest { name: "no name".to_owned(), ..scene.request.clone() };
    assert!(matches!(seal(&unnamed), Err(Error::Certificate(CertificateError::Name))));
}

#[test]
fn a_reply_is_good_for_one_request_and_one_key_only() {
    let scene = Scene::new();
    let (at_joiner, frame) = scene.ask();
    let (at_issuer, _) = open_request(&scene.ticket, &frame).unwrap();
    let reply = scene.reply(&at_issuer, &scene.admission());
    assert!(matches!(open_reply(&at_joiner, &KeyPair::from_seed(&[99; 32]), &reply), Err(Error::Open)));

    let mut random = Random::from_seed([50; 32]);
    let (later, _) = seal_request(&scene.ticket, &scene.joiner, &scene.request, EXPIRY, &mut random).unwrap();
    assert!(matches!(open_reply(&later, &scene.long_term, &reply), Err(Error::Open)));
    open_reply(&at_joiner, &scene.long_term, &reply).unwrap();
}

#[test]
fn only_a_holder_of_the_ticket_can_reply() {
    let scene = Scene::new();
    let (at_joiner, frame) = scene.ask();
    // Whoever sees the request on its way knows the exchange and perhaps the key, but not the secret.
    let stranger = Ticket::new(
        true,
        scene.ticket.founder,
        scene.ticket.routing,
        EXPIRY,
        scene.ticket.addresses.clone(),
        &mut Random::from_seed([41; 32]),
    )
    .unwrap();
    let guessed = Exchange::new(stranger.keys(), &frame);
    let forged = scene.reply(&guessed, &scene.admission());
    assert!(matches!(open_reply(&at_joiner, &scene.long_term, &forged), Err(Error::Open)));
}

#[test]
fn another_holder_of_the_ticket_cannot_reply_in_the_name_of_the_issuer() {
    let scene = Scene::new();
    let (at_joiner, frame) = scene.ask();
    let keys = scene.ticket.keys();
    let psk_id = [b"a2alinker/1 admission", &keys.mailbox.as_bytes()[..]].concat();
    let header = OuterHeader { kind: OuterKind::AdmissionReply, destination: Label::from_bytes([9; 16]), ..*frame.header() };
    let mut fields = Writer::new();
    fields.u16(1).bytes32(&[0, 0, 0]).u16(5).bytes32(scene.issuer.id().as_bytes());
    let open_signed_by = |signer: &Identity| {
        let psk = hpke::Psk { key: &keys.psk, id: &psk_id };
        let random = &mut Random::from_seed([6; 32]);
        let context = hpke::Sender::setup(&scene.request.long_term, Some(psk), b"a2alinker/1 admission reply", random).unwrap();
        let request_hash = hash(&[frame.sealed()]);
        let signed = [at_joiner.id().as_bytes(), &request_hash[..], context.enc(), fields.as_slice()].concat();
        let body = [fields.as_slice(), &signer.sign("admission reply", &signed)].concat();
        let reply = DataFrame::new(header, &context.seal(&header.encode(), &body).unwrap());
        open_reply(&at_joiner, &scene.long_term, &reply)
    };
    assert!(matches!(open_signed_by(&Identity::from_seed([66; 32])), Err(Error::Open)));
    assert_eq!(open_signed_by(&scene.issuer.identity).unwrap().issuer, scene.issuer.id());
}

#[test]
fn a_refusal_says_why() {
    let scene = Scene::new();
    let (at_joiner, frame) = scene.ask();
    let (at_issuer, _) = open_request(&scene.ticket, &frame).unwrap();
    let refusal = AdmissionReply {
        status: AdmissionStatus::UsedUp,
        text: "used by coder-2 ".repeat(100),
        chain: None,
        link_chain: None,
        cards: vec![],
        issuer: scene.issuer.id(),
    };
    let reply = open_reply(&at_joiner, &scene.long_term, &scene.reply(&at_issuer, &refusal)).unwrap();
    assert_eq!((reply.status, reply.text.as_str()), (AdmissionStatus::UsedUp, &refusal.text[..512]));
    assert!(matches!(reply.verify(&scene.ticket, &scene.request, NOW), Err(Error::Certificate(CertificateError::Chain { .. }))));
}

#[test]
fn cards_that_do_not_fit_are_left_out_from_the_end() {
    let scene = Scene::new();
    let (at_joiner, frame) = scene.ask();
    let (at_issuer, _) = open_request(&scene.ticket, &frame).unwrap();
    let sent = AdmissionReply { cards: (0..20).map(|i| vec![i; 4_096]).collect(), ..scene.admission() };
    let reply = open_reply(&at_joiner, &scene.long_term, &scene.reply(&at_issuer, &sent)).unwrap();
    assert_eq!(reply.cards, sent.cards[..7]);
}

#[test]
fn an_admission_under_other_names_or_keys_than_asked_for_is_refused() {
    let scene = Scene::new();
    let mismatch = |reply: &AdmissionReply| match reply.verify(&scene.ticket, &scene.request, NOW) {
        Err(Error::Certificate(CertificateError::Mismatch { what })) => what,
        other => panic!("{other:?}"),
    };
    let certified = |request: &CertificateRequest| AdmissionReply {
        chain: Some(CertificateChain::issue_by_founder(&founder(), request).unwrap()),
        ..scene.admission()
    };
    let linked = |founder: &FounderKey, key| AdmissionReply {
        link_chain: LinkChain::new(vec![LinkCertificate::issue_by_routing(
            &founder.routing(),
            key,
            EXPIRY,
            LinkRights::default(),
        )])
        .ok(),
        ..scene.admission()
    };
    let honest = CertificateRequest {
        long_term_hash: scene.long_term.public().hash(),
        ..certificate_request(&scene.joiner, "coder", Rights::default())
    };
    assert_eq!(certified(&honest), scene.admission());
    let renamed = CertificateRequest { name: "codex".to_owned(), ..honest.clone() };
    assert_eq!(mismatch(&certified(&renamed)), "name");
    let other = CertificateRequest { identity: scene.issuer.id(), ..honest.clone() };
    assert_eq!(mismatch(&certified(&other)), "identity");
    let other_key = CertificateRequest { long_term_hash: [0; 32], ..honest };
    assert_eq!(mismatch(&certified(&other_key)), "long-term key");
    let routing = founder().routing().public();
    assert_eq!(mismatch(&linked(&founder(), scene.issuer.identity.link_key(&routing).public())), "link key");
    let elsewhere = FounderKey::from_seed([0xf1; 32]);
    assert_eq!(mismatch(&linked(&elsewhere, scene.request.link_key)), "routing key");
}

#[test]
fn an_admission_that_leads_elsewhere_or_has_expired_is_refused() {
    let scene = Scene::new();
    let elsewhere = FounderKey::from_seed([0xf1; 32]);
    let request = certificate_request(&scene.joiner, "coder", Rights::default());
    let foreign =
        AdmissionReply { chain: Some(CertificateChain::issue_by_founder(&elsewhere, &request).unwrap()), ..scene.admission() };
    let refused = foreign.verify(&scene.ticket, &scene.request, NOW);
    assert!(matches!(refused, Err(Error::Certificate(CertificateError::OtherSwarm))));
    let late = scene.admission().verify(&scene.ticket, &scene.request, EXPIRY + 300_001);
    assert!(matches!(late, Err(Error::Certificate(CertificateError::Expired { .. }))));
}
