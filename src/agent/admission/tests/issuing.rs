use super::*;
use crate::crypto::certificate::Issuer as IssuedBy;
use crate::proto::{RegisterStatus, label_of, limits};

#[test]
fn a_founder_makes_itself_a_member_with_all_rights() {
    let (founder, founding) = Party::founder();
    let member = founding.chain.verify(&founding.founder, START).unwrap();
    assert_eq!(member, founding.member);
    assert_eq!((member.identity, &*member.name), (founder.identity.id(), "agent-1"));
    assert_eq!(*founding.rights(), Rights { skills: None, admit: true, terminals: true, originate: true });
    let link = founding.link_chain.verify(START).unwrap();
    assert_eq!(link.link_key, founder.identity.link_key(&founding.routing).public());
    assert!(link.rights.may_issue && link.rights.may_revoke);
}

#[test]
fn the_holder_of_a_ticket_becomes_a_member() {
    let (mut founder, founding) = Party::founder();
    let rights = Rights { skills: Some(["review".to_owned()].into()), ..Rights::default() };
    let ticket = founder.create(&founding, terms_with(rights.clone()), at(0)).unwrap();
    let mut joiner = Party::new(3);
    let membership = joiner.join(&ticket, &mut founder, &founding, at(5)).unwrap();

    assert_eq!((membership.founder, membership.routing), (founding.founder, founding.routing));
    assert_eq!((membership.member.identity, &*membership.member.name), (joiner.identity.id(), "agent-3"));
    assert_eq!(membership.member.issuer, IssuedBy::Founder);
    assert_eq!(*membership.rights(), rights);
    let link = membership.link_chain.verify(START).unwrap();
    assert_eq!(link.link_key, joiner.identity.link_key(&founding.routing).public());
    assert!(!link.rights.may_issue && !link.rights.may_revoke);
    assert_eq!(membership.cards.len(), 1);
    assert_eq!(membership.cards[0].identity, founder.identity.id());
}

#[test]
fn an_admin_admits_on_its_own_certificates() {
    let (founder, founding, mut admin, membership) = founder_and_admin();
    assert!(membership.link_chain.verify(START).unwrap().rights.may_issue);
    let ticket = admin.create(&membership, terms(Some(1)), at(1)).unwrap();
    let mut joiner = Party::new(3);
    let joined = joiner.join(&ticket, &mut admin, &membership, at(2)).unwrap();
    assert_eq!(joined.member.issuer, IssuedBy::Admin(admin.identity.id()));
    assert_eq!(joined.founder, founding.founder);
    assert_eq!(joined.link_chain.certificates().len(), 2);
    let link = joined.link_chain.verify(START).unwrap();
    assert_eq!(label_of(&link.link_key), joiner.identity.link_key(&founding.routing).label());
    assert_ne!(joined.cards[0].identity, founder.identity.id());
}

#[test]
fn nobody_gives_a_right_that_it_lacks() {
    let (_, _, mut admin, membership) = founder_and_admin();
    let refused = |admin: &mut Party, rights| admin.create(&membership, terms_with(rights), at(1)).unwrap_err();
    let with_terminals = Rights { terminals: true, ..Rights::default() };
    assert_eq!(refused(&mut admin, with_terminals), InviteError::NotPermitted { right: "terminals" });
    assert_eq!(refused(&mut admin, admin_rights()), InviteError::NotPermitted { right: "make admins" });

    let ticket = admin.create(&membership, terms(None), at(1)).unwrap();
    let mut joiner = Party::new(3);
    let joined = joiner.join(&ticket, &mut admin, &membership, at(2)).unwrap();
    let refused = joiner.create(&joined, terms(None), at(3)).unwrap_err();
    assert_eq!(refused, InviteError::NotPermitted { right: "admit" });
}

#[test]
fn a_counted_ticket_admits_so_many_identities() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(2)), at(0)).unwrap();
    for seed in [3, 4] {
        Party::new(seed).join(&ticket, &mut founder, &founding, at(1)).unwrap();
    }
    let refused = Party::new(5).join(&ticket, &mut founder, &founding, at(2)).unwrap_err();
    assert_eq!(refused, AdmissionError::UsedUp);
}

#[test]
fn a_request_that_is_repeated_counts_once_and_gets_the_same_certificates() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(2)), at(0)).unwrap();
    let mut joiner = Party::new(3);
    let first = joiner.join(&ticket, &mut founder, &founding, at(1)).unwrap();
    let again = joiner.join(&ticket, &mut founder, &founding, at(9)).unwrap();
    assert_eq!((again.chain, again.link_chain), (first.chain, first.link_chain.clone()));

    Party::new(4).join(&ticket, &mut founder, &founding, at(10)).unwrap();
    assert_eq!(Party::new(5).join(&ticket, &mut founder, &founding, at(10)).unwrap_err(), AdmissionError::UsedUp);
    let late = joiner.join(&ticket, &mut founder, &founding, at(11)).unwrap();
    assert_eq!(late.link_chain, first.link_chain, "used up means nothing to whom it has admitted");
}

#[test]
fn the_outcome_says_who_came_and_whether_it_is_a_repetition() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(1)), at(0)).unwrap();
    let mut joiner = Party::new(3);
    let mut joining = joiner.joining(&ticket);
    joining.handle_up(at(1));
    let request = joiner.request(&mut joining, at(1)).unwrap();
    for is_repeated in [false, true] {
        let Outcome::Admitted { newcomer, .. } = founder.handle_request(&founding, request.clone(), at(1)) else { panic!() };
        let (mailbox, identity) = (ticket.keys().mailbox(), joiner.identity.id());
        assert_eq!(newcomer, Newcomer { mailbox, identity, name: "agent-3".into(), is_repeated });
    }
}

#[test]
fn a_certificate_lives_30_days_and_a_late_repetition_renews_it() {
    let (mut founder, founding) = Party::founder();
    let month = InviteTerms { ttl: Duration::from_secs(60 * DAY), ..terms(None) };
    let ticket = founder.create(&founding, month, at(0)).unwrap();
    let mut joiner = Party::new(3);
    let expiry_at = |joiner: &mut Party, founder: &mut Party, seconds| {
        joiner.join(&ticket, founder, &founding, at(seconds)).unwrap().member.expiry - START
    };
    assert_eq!(expiry_at(&mut joiner, &mut founder, 0), 30 * DAY * 1000);
    assert_eq!(expiry_at(&mut joiner, &mut founder, 15 * DAY), 30 * DAY * 1000);
    assert_eq!(expiry_at(&mut joiner, &mut founder, 16 * DAY), 46 * DAY * 1000);
}

#[test]
fn an_expired_ticket_is_told_as_such() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(None), at(0)).unwrap();
    let mut early = Party::new(3);
    early.join(&ticket, &mut founder, &founding, at(600)).unwrap();
    let late = Party::new(4).join(&ticket, &mut founder, &founding, at(601));
    assert_eq!(late.unwrap_err(), AdmissionError::Expired);
    assert!(early.join(&ticket, &mut founder, &founding, at(601)).is_ok(), "its reply may have been lost");
}

#[test]
fn a_revoked_ticket_is_told_as_such_even_to_those_it_admitted() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(5)), at(0)).unwrap();
    let mailbox = ticket.keys().mailbox();
    Party::new(3).join(&ticket, &mut founder, &founding, at(1)).unwrap();
    assert!(founder.invites.revoke(&mailbox, at(2)));
    assert!(!founder.invites.revoke(&mailbox, at(2)), "once");
    assert!(!founder.invites.revoke(&STRANGER, at(2)));
    for seed in [3, 4] {
        let refused = Party::new(seed).join(&ticket, &mut founder, &founding, at(3)).unwrap_err();
        assert_eq!(refused, AdmissionError::Revoked);
    }
}

#[test]
fn nobody_joins_as_the_issuer() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(1)), at(0)).unwrap();
    let refused = Party::new(1).join(&ticket, &mut founder, &founding, at(1)).unwrap_err();
    assert!(matches!(refused, AdmissionError::Refused(text) if text.contains("identity of the issuer")));
    assert!(Party::new(3).join(&ticket, &mut founder, &founding, at(1)).is_ok(), "it cost no use");
}

#[test]
fn a_request_that_is_not_of_a_holder_is_not_answered() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(1)), at(0)).unwrap();
    let mut joiner = Party::new(3);
    let mut joining = joiner.joining(&ticket);
    joining.handle_up(at(0));
    let request = joiner.request(&mut joining, at(0)).unwrap();

    let mut tampered = request.to_vec();
    *tampered.last_mut().unwrap() ^= 1;
    let outcome = founder.handle_request(&founding, tampered.into(), at(0));
    assert!(matches!(outcome, Outcome::Ignored(Ignored::NotOpened)));

    let mut elsewhere = request.to_vec();
    elsewhere[17 + 4] ^= 1;
    let outcome = founder.handle_request(&founding, elsewhere.into(), at(0));
    assert!(matches!(outcome, Outcome::Ignored(Ignored::NoMailbox)));

    let empty = request.slice(..DataFrame::HEADER_LEN);
    let outcome = founder.handle_request(&founding, empty, at(0));
    assert!(matches!(outcome, Outcome::Ignored(Ignored::NotOpened)));
    assert_eq!(status(&founder.handle_request(&founding, request, at(0))), AdmissionStatus::Admitted);
}

#[test]
fn requests_beyond_the_rate_wait_for_the_next_second() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(Some(1)), at(0)).unwrap();
    let mut joiner = Party::new(3);
    let mut joining = joiner.joining(&ticket);
    joining.handle_up(at(0));
    let request = joiner.request(&mut joining, at(0)).unwrap();
    let cut = request.slice(..DataFrame::HEADER_LEN);
    for _ in 0..REQUESTS_PER_SECOND {
        founder.handle_request(&founding, cut.clone(), at(0));
    }
    let outcome = founder.handle_request(&founding, request.clone(), at(0));
    assert!(matches!(outcome, Outcome::Ignored(Ignored::TooMany)));
    assert_eq!(status(&founder.handle_request(&founding, request, at(1))), AdmissionStatus::Admitted);
}

#[test]
fn a_count_that_makes_no_sense_is_an_error_of_the_caller() {
    let (mut founder, founding) = Party::founder();
    for uses in [0, ADMITTED_LIMIT as u32 + 1] {
        assert_eq!(founder.create(&founding, terms(Some(uses)), at(0)).unwrap_err(), InviteError::Uses);
    }
    let instantly = InviteTerms { ttl: Duration::ZERO, ..terms(None) };
    assert_eq!(founder.create(&founding, instantly, at(0)).unwrap_err(), InviteError::Expired);
    let nowhere = InviteTerms { addresses: Vec::new(), ..terms(None) };
    assert!(matches!(founder.create(&founding, nowhere, at(0)), Err(InviteError::Ticket(_))));
}

#[test]
fn rights_that_no_certificate_can_hold_fail_when_the_ticket_is_made() {
    let (mut founder, founding) = Party::founder();
    let skills = (0..200).map(|n| format!("skill-{n}")).collect();
    let rights = Rights { skills: Some(skills), ..Rights::default() };
    let refused = founder.create(&founding, terms_with(rights), at(0));
    assert!(matches!(refused, Err(InviteError::Certificate(_))));
    assert_eq!(founder.invites.open_mailboxes(at(0)), []);
}

#[test]
fn the_table_is_bounded_and_closed_invites_make_room() {
    let (mut founder, founding) = Party::founder();
    let tickets: Vec<_> = (0..INVITES_LIMIT).map(|_| founder.create(&founding, terms(Some(1)), at(0)).unwrap()).collect();
    assert_eq!(founder.create(&founding, terms(None), at(0)).unwrap_err(), InviteError::TooMany);
    assert_eq!(founder.invites.poll_closed(), None);

    let revoked = tickets[7].keys().mailbox();
    founder.invites.revoke(&revoked, at(1));
    founder.create(&founding, terms(None), at(1)).unwrap();
    assert_eq!(founder.invites.poll_closed(), Some(revoked));
    assert_eq!(founder.invites.poll_closed(), None);
    assert_eq!(founder.create(&founding, terms(None), at(1)).unwrap_err(), InviteError::TooMany);
    assert_eq!(founder.invites.open_mailboxes(at(1)).len(), INVITES_LIMIT);
}

#[test]
fn a_mailbox_outlives_its_ticket_for_a_while() {
    let (mut founder, founding) = Party::founder();
    let ticket = founder.create(&founding, terms(None), at(0)).unwrap();
    let mailbox = ticket.keys().mailbox();
    let expiry = ticket.expiry + CLOSED_KEPT.as_millis() as u64;
    assert_eq!(founder.invites.open_mailboxes(at(900)), [(mailbox, expiry)]);
    assert_eq!(founder.invites.mailbox_expiry(&mailbox), Some(expiry));
    assert_eq!(founder.invites.open_mailboxes(at(1201)), []);
}

#[test]
fn an_invite_opens_once_and_is_renewed_on_later_links() {
    let (mut founder, founding) = Party::founder();
    let mailbox = founder.create(&founding, terms(None), at(0)).unwrap().keys().mailbox();
    let invites = &mut founder.invites;
    assert_eq!(invites.handle_registered(&mailbox, RegisterStatus::Done), Some(Registration::Opened));
    assert_eq!(invites.handle_registered(&mailbox, RegisterStatus::Done), Some(Registration::Renewed));
    assert_eq!(invites.handle_registered(&mailbox, RegisterStatus::Full), Some(Registration::Refused));
    assert_eq!(invites.handle_registered(&mailbox, RegisterStatus::Done), None);
}

#[test]
fn a_reply_holds_as_many_cards_as_fit_those_of_linked_peers_first() {
    let (mut founder, founding) = Party::founder();
    let own = founder.card(&founding);
    let mut roster = Roster::new(own.clone(), Duration::ZERO, Duration::ZERO);
    let ticket = founder.create(&founding, terms(None), at(0)).unwrap();
    let mut labels = Vec::new();
    for seed in 10..50 {
        let mut party = Party::new(seed);
        let membership = party.join(&ticket, &mut founder, &founding, at(seed.into())).unwrap();
        let card = party.card(&membership);
        if seed >= 45 {
            labels.push(card.label);
        }
        roster.learn(card, Duration::ZERO);
    }
    roster.handle_labels(true, &labels, &[], Duration::ZERO);

    let mut joiner = Party::new(3);
    let mut joining = joiner.joining(&ticket);
    joining.handle_up(at(60));
    let request = joiner.request(&mut joining, at(60)).unwrap();
    let Outcome::Admitted { reply, .. } = founder.handle_request_with(&founding, &roster, request, at(60)) else { panic!() };
    assert!(reply.bytes().len() <= limits::FRAME);
    let membership = joining.handle_data(&reply, &joiner.long_term, at(60)).unwrap().unwrap();
    let cards = &membership.cards;
    assert!(cards.len() > 10 && cards.len() < 41, "{}", cards.len());
    assert_eq!(cards[0].bytes, own.bytes);
    assert!(cards[1..6].iter().all(|card| labels.contains(&card.label)));
}
