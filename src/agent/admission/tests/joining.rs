use super::*;
use crate::crypto::admission::{open_request, seal_reply};
use crate::crypto::{AdmissionReply, CertificateChain};

#[test]
fn a_request_is_repeated_unchanged_until_there_is_a_reply() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(1)), at(0)).unwrap();
    let mut joiner = Party::new(3);
    let mut joining = joiner.joining(&ticket);
    assert_eq!((joiner.request(&mut joining, at(0)), joining.poll_timeout()), (None, None), "no link yet");

    joining.handle_up(at(1));
    assert_eq!(joining.poll_timeout(), Some(at(1).monotonic));
    let first = joiner.request(&mut joining, at(1)).unwrap();
    assert_eq!(joiner.request(&mut joining, at(2)), None);
    assert_eq!(joining.poll_timeout(), Some(at(3).monotonic));
    assert_eq!(joiner.request(&mut joining, at(3)), Some(first.clone()));
    joining.handle_up(at(4));
    assert_eq!(joiner.request(&mut joining, at(4)), Some(first.clone()), "a new link, the same request");

    let Outcome::Admitted { reply, .. } = founder.handle_request(&founding, first, at(4)) else { panic!() };
    assert!(joining.handle_data(&reply, &joiner.long_term, at(5)).unwrap().is_ok());
}

#[test]
fn the_stranger_shows_nothing_that_the_member_will() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(1)), at(0)).unwrap();
    let mut joiner = Party::new(3);
    let joining = joiner.joining(&ticket);
    assert_eq!((joining.founder(), joining.routing()), (founding.founder, founding.routing));
    assert_eq!(joining.mailbox(), ticket.keys().mailbox());
    assert_eq!(joining.link_key().label(), joining.link_key().label());
    assert_ne!(joining.link_key().label(), joiner.identity.link_key(&founding.routing).label());
    assert_ne!(joining.link_key().label(), joiner.joining(&ticket).link_key().label());
}

#[test]
fn what_does_not_open_decides_nothing() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(2)), at(0)).unwrap();
    let (mut joiner, mut other) = (Party::new(3), Party::new(4));
    let (mut joining, mut others) = (joiner.joining(&ticket), other.joining(&ticket));
    let mut exchange = |party: &mut Party, joining: &mut Joining| {
        joining.handle_up(at(0));
        let request = party.request(joining, at(0)).unwrap();
        match founder.handle_request(&founding, request, at(0)) {
            Outcome::Admitted { reply, .. } => reply,
            other => panic!("{other:?}"),
        }
    };
    let reply = exchange(&mut joiner, &mut joining);
    let reply_to_other = exchange(&mut other, &mut others);
    assert!(joining.handle_data(&reply_to_other, &joiner.long_term, at(1)).is_none());
    for at_byte in (17..reply.bytes().len()).step_by(97) {
        let mut tampered = reply.bytes().to_vec();
        tampered[at_byte] ^= 1;
        // A changed version, kind or lane may not even parse.
        let Ok(tampered) = DataFrame::parse(tampered.into()) else { continue };
        assert!(joining.handle_data(&tampered, &joiner.long_term, at(1)).is_none(), "byte {at_byte}");
    }
    assert!(joining.handle_data(&reply, &joiner.long_term, at(1)).is_some());
}

#[test]
fn a_busy_issuer_is_asked_again_later() {
    let mut scene = Scene::new();
    let busy = scene.reply(|reply| reply.status = AdmissionStatus::Busy);
    assert!(scene.handle(&busy).is_none());
    assert_eq!(scene.joining.poll_timeout(), Some(at(10).monotonic + BUSY_PAUSE));
    assert!(scene.joiner.request(&mut scene.joining, at(20)).is_some());
    let good = scene.reply(|_| {});
    assert!(scene.handle(&good).unwrap().is_ok());
}

#[test]
fn a_status_of_a_later_version_is_a_refusal_with_its_text() {
    let mut scene = Scene::new();
    let reply = scene.reply(|reply| {
        reply.status = AdmissionStatus::Unknown(77);
        reply.text = "not on Sundays".into();
    });
    assert_eq!(scene.handle(&reply).unwrap().unwrap_err(), AdmissionError::Refused("not on Sundays".into()));
}

#[test]
fn an_admission_that_proves_nothing_is_taken_for_forged() {
    type Change = fn(&mut AdmissionReply, &Scene);
    let changes: [(&str, Change); 7] = [
        ("no chain", |reply, _| reply.chain = None),
        ("no link chain", |reply, _| reply.link_chain = None),
        ("no card", |reply, _| reply.cards.clear()),
        ("the chain of somebody else", |reply, scene| reply.chain = Some(scene.admin_membership.chain.clone())),
        ("the link chain of somebody else", |reply, scene| {
            reply.link_chain = Some(scene.admin_membership.link_chain.clone());
        }),
        ("the card of somebody else first", |reply, scene| {
            reply.cards[0] = scene.admin.card(&scene.admin_membership).bytes.to_vec();
        }),
        ("a card that is none", |reply, _| reply.cards[0].truncate(99)),
    ];
    for (what, change) in changes {
        let mut scene = Scene::new();
        let reply = scene.reply_with(change);
        assert_eq!(scene.handle(&reply).unwrap().unwrap_err(), AdmissionError::Forged, "{what}");
    }
}

#[test]
fn a_member_that_may_not_admit_admits_nobody() {
    // It knows the ticket, and has seen a genuine admission of the joiner: all that it lacks is the right.
    let mut scene = Scene::new();
    let (mut member, ticket) = (Party::new(5), scene.ticket.clone());
    let membership = member.join(&ticket, &mut scene.founder, &scene.founding, at(10)).unwrap();
    let card = member.card(&membership).bytes.to_vec();
    let reply = scene.reply_as(&member, |reply, _| reply.cards[0] = card);
    assert_eq!(scene.handle(&reply).unwrap().unwrap_err(), AdmissionError::Forged);
}

#[test]
fn an_admin_that_signs_has_to_be_the_one_that_certified() {
    let mut scene = Scene::new();
    let (mut third, ticket) = (Party::new(6), scene.founder_ticket(admin_rights()));
    let third_membership = third.join(&ticket, &mut scene.founder, &scene.founding, at(10)).unwrap();
    let own_ticket = scene.admin.create(&scene.admin_membership, terms(None), at(10)).unwrap();
    let certified = scene.joiner.join(&own_ticket, &mut scene.admin, &scene.admin_membership, at(10)).unwrap();
    let card = third.card(&third_membership).bytes.to_vec();
    let reply = scene.reply_as(&third, |reply, _| {
        reply.cards[0] = card;
        reply.chain = Some(certified.chain);
        reply.link_chain = Some(certified.link_chain);
    });
    assert_eq!(scene.handle(&reply).unwrap().unwrap_err(), AdmissionError::Forged);
}

#[test]
fn other_cards_that_do_not_verify_are_left_out() {
    let mut scene = Scene::new();
    let good = scene.admin.card(&scene.admin_membership);
    let reply = scene.reply(|reply| reply.cards.extend([vec![1, 2, 3], good.bytes.to_vec()]));
    let membership = scene.handle(&reply).unwrap().unwrap();
    assert_eq!(membership.cards.len(), 2);
    assert_eq!(membership.cards[1].identity, good.identity);
}

#[test]
fn a_swarm_that_the_ticket_does_not_name_is_none_to_join() {
    let mut scene = Scene::new();
    let mut impostor = Party::new(9);
    let key = FounderKey::from_seed([66; 32]);
    let founding = Membership::found(&key, &impostor.identity, "impostor", impostor.long_term.public(), at(0)).unwrap();
    impostor.founder = Some(key);
    let ticket = impostor.create(&founding, terms(None), at(0)).unwrap();
    let other = scene.joiner.join(&ticket, &mut impostor, &founding, at(0)).unwrap();
    let card = impostor.card(&founding).bytes.to_vec();
    let reply = scene.reply_as(&impostor, |reply, _| {
        reply.cards[0] = card;
        reply.chain = Some(other.chain);
        reply.link_chain = Some(other.link_chain);
    });
    assert_eq!(scene.handle(&reply).unwrap().unwrap_err(), AdmissionError::Forged);
}

#[test]
fn expiry_is_read_with_the_tolerance_of_certificates() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(None), at(0)).unwrap();
    let joining = Party::new(3).joining(&ticket);
    assert!(!joining.is_expired(at(600 + 300)));
    assert!(joining.is_expired(at(600 + 301)));
}

#[test]
fn a_name_that_can_not_be_certified_fails_before_anything_is_sent() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(None), at(0)).unwrap();
    let mut joiner = Party::new(3);
    let mut joining = joiner.joining(&ticket);
    joining.handle_up(at(0));
    let applicant = Applicant {
        identity: &joiner.identity,
        run: RunId::ZERO,
        name: "no spaces",
        long_term: joiner.long_term.public(),
        prekey: joiner.long_term.public(),
    };
    assert!(joining.poll_transmit(&applicant, &mut joiner.random, at(0)).is_err());
}

/// A joiner whose request has arrived, and everybody who might answer it.
struct Scene {
    founder: Party,
    founding: Membership,
    admin: Party,
    admin_membership: Membership,
    joiner: Party,
    ticket: Ticket,
    joining: Joining,
    request: DataFrame,
}

impl Scene {
    fn new() -> Self {
        let (mut founder, founding, admin, admin_membership) = founder_and_admin();
        let ticket = founder.create(&founding, terms(None), at(0)).unwrap();
        let mut joiner = Party::new(3);
        let mut joining = joiner.joining(&ticket);
        joining.handle_up(at(10));
        let request = DataFrame::parse(joiner.request(&mut joining, at(10)).unwrap()).unwrap();
        Self { founder, founding, admin, admin_membership, joiner, ticket, joining, request }
    }

    fn founder_ticket(&mut self, rights: Rights) -> Ticket {
        self.founder.create(&self.founding, terms_with(rights), at(10)).unwrap()
    }

    fn handle(&mut self, reply: &DataFrame) -> Option<Result<Membership, AdmissionError>> {
        self.joining.handle_data(reply, &self.joiner.long_term, at(10))
    }

    /// A reply of the founder's that differs from a good one.
    fn reply(&mut self, change: impl FnOnce(&mut AdmissionReply)) -> DataFrame {
        self.reply_with(|reply, _| change(reply))
    }

    fn reply_with(&mut self, change: impl FnOnce(&mut AdmissionReply, &Self)) -> DataFrame {
        let founder = Party::new(1);
        self.reply_as(&founder, change)
    }

    /// A reply that `signer` signs, with the founder's certificates for the joiner unless `change` replaces them.
    fn reply_as(&mut self, signer: &Party, change: impl FnOnce(&mut AdmissionReply, &Self)) -> DataFrame {
        let (exchange, request) = open_request(&self.ticket, &self.request).unwrap();
        let issuer =
            Issuer { identity: &self.founder.identity, membership: &self.founding, founder: self.founder.founder.as_ref() };
        let (chain, link_chain) = issuer.certify(&request, &Rights::default(), START).unwrap();
        let chain: CertificateChain = chain;
        let mut reply = AdmissionReply {
            status: AdmissionStatus::Admitted,
            text: String::new(),
            chain: Some(chain),
            link_chain: Some(link_chain),
            cards: vec![self.founder.card(&self.founding).bytes.to_vec()],
            issuer: signer.identity.id(),
        };
        change(&mut reply, self);
        let mut random = Random::from_seed([0xab; 32]);
        seal_reply(&exchange, &signer.identity, &request.long_term, STRANGER, &reply, 0, &mut random).unwrap()
    }
}
