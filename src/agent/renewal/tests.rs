use super::*;
use crate::agent::file::{AgentFile, KeptMembership};
use crate::agent::{Agent, Command, Config, Stage};
use crate::crypto::certificate::{Issuer as IssuedBy, Member as Certified, Rights};
use crate::crypto::{Identity, KeyPair, Random};

const DAY: u64 = 24 * 60 * 60 * 1_000;
const START: u64 = 1_790_000_000_000;
const REQUEST: MessageId = MessageId::from_bytes([7; 16]);

#[test]
fn a_renewal_that_was_asked_for_and_says_the_same_is_taken_up_and_saved() {
    let (founder, mut member) = (founder(), member(&founder(), Rights::default()));
    let now = day(16);
    ask(&mut member, founder.id());
    let body = renewal(&founder, &certified(&member), now);
    give(&mut member, founder.id(), REQUEST, &body, now);
    assert_eq!(member.health().certificate_expiry, Some(now.wall + 30 * DAY));
    assert!(std::iter::from_fn(|| member.poll_command()).any(|command| command == Command::Save));
    // Played again, it is nobody's answer.
    give(&mut member, founder.id(), REQUEST, &body, now);
    assert_eq!(member.health().counters.refused_messages, 1);
}

#[test]
fn what_nobody_asked_for_or_what_says_less_is_left_alone() {
    let (founder, mut member) = (founder(), member(&founder(), Rights::default()));
    let (own, now, other) = (certified(&member), day(16), Identity::from_seed([9; 32]).id());
    let good = renewal(&founder, &own, now);
    give(&mut member, founder.id(), REQUEST, &good, now);
    let bad = [
        (other, REQUEST, good.clone()),
        (founder.id(), MessageId::from_bytes([8; 16]), good.clone()),
        (founder.id(), REQUEST, renewal(&founder, &Certified { rights: less(), ..own.clone() }, now)),
        (founder.id(), REQUEST, renewal(&founder, &Certified { name: "other".to_owned(), ..own.clone() }, now)),
        (founder.id(), REQUEST, renewal(&founder, &Certified { identity: other, ..own.clone() }, now)),
        (founder.id(), REQUEST, renewal(&founder, &Certified { long_term_hash: [1; 32], ..own.clone() }, now)),
        (founder.id(), REQUEST, renewal(&founder, &own, day(0))),
        (founder.id(), REQUEST, good.slice(..good.len() - 1)),
        (founder.id(), REQUEST, Bytes::new()),
    ];
    let refused = 1 + bad.len() as u64;
    for (sender, request, body) in bad {
        ask(&mut member, founder.id());
        give(&mut member, sender, request, &body, now);
    }
    assert_eq!(member.health().certificate_expiry, Some(own.expiry));
    assert_eq!(member.health().counters.refused_messages, refused);
}

#[test]
fn only_an_admin_renews_only_from_half_life_and_only_what_is_still_good() {
    let mut founder = founder();
    let admin = |founder: &Agent, seed| member_of(seed, founder, Rights { admit: true, ..Rights::default() });
    let (plain, mut second, third) = (member(&founder, Rights::default()), admin(&founder, 5), admin(&founder, 6));
    learn(&mut founder, &plain);
    learn(&mut second, &plain);
    let asked = |agent: &Agent, of: &Agent, now| {
        let Stage::Member(member) = &agent.stage else { unreachable!() };
        member.renew(&agent.shared, &of.id(), now)
    };
    assert!(asked(&founder, &plain, day(14)).is_err_and(|why| why.contains("too early")));
    assert!(asked(&founder, &plain, day(16)).is_ok());
    assert!(asked(&second, &plain, day(16)).is_ok());
    assert!(asked(&founder, &plain, day(31)).is_err_and(|why| why.contains("expired")));
    assert!(asked(&plain, &plain, day(16)).is_err_and(|why| why.contains("admit")));
    // An admin makes no admins, nor keeps them.
    learn(&mut second, &third);
    assert!(asked(&second, &third, day(16)).is_err_and(|why| why.contains("admins")));
    assert!(asked(&founder, &second, day(16)).is_err_and(|why| why.contains("not known")));
}

fn day(day: u64) -> Now {
    Now { monotonic: Duration::from_millis(day * DAY), wall: START + day * DAY }
}

fn less() -> Rights {
    Rights { originate: false, ..Rights::default() }
}

fn founder() -> Agent {
    Agent::host(Config::new("host", [1; 32]), [2; 32], Random::from_seed([3; 32]), day(0)).unwrap()
}

fn member(founder: &Agent, rights: Rights) -> Agent {
    member_of(4, founder, rights)
}

/// A member that the founder certified on day 0, with a file.
fn member_of(seed: u8, founder: &Agent, rights: Rights) -> Agent {
    let mut file = file(seed);
    let long_term = KeyPair::from_seed(&file.keys.long_term);
    let member = Certified {
        identity: file.id(),
        name: "member".to_owned(),
        rights,
        expiry: 0,
        long_term_hash: long_term.public().hash(),
        issuer: IssuedBy::Founder,
    };
    let (chain, link_chain) = decode(&renewal_of(seed, founder, &member, day(0))).unwrap();
    file.membership = Some(KeptMembership { chain, link_chain });
    Agent::resume(Config::new("member", [0; 32]), file, Random::from_seed([5; 32]), day(0)).unwrap()
}

fn certified(agent: &Agent) -> Certified {
    let Stage::Member(member) = &agent.stage else { unreachable!() };
    member.membership.member.clone()
}

fn file(seed: u8) -> AgentFile {
    AgentFile::new("member", &mut Random::from_seed([seed; 32]), day(0)).unwrap()
}

fn renewal(founder: &Agent, of: &Certified, now: Now) -> Bytes {
    renewal_of(4, founder, of, now)
}

/// What the founder would answer, to whatever is asked for, and with the link key of this file.
fn renewal_of(seed: u8, founder: &Agent, of: &Certified, now: Now) -> Bytes {
    let Stage::Member(member) = &founder.stage else { unreachable!() };
    let issuer =
        Issuer { identity: &founder.shared.identity, membership: &member.membership, founder: member.founder_key.as_ref() };
    let link_key = Identity::from_seed(*file(seed).keys.identity).link_key(&member.membership.routing).public();
    let (chain, link_chain) = issuer.renew(of, link_key, now.wall).unwrap();
    encode(&chain, &link_chain)
}

fn learn(agent: &mut Agent, of: &Agent) {
    let Stage::Member(other) = &of.stage else { unreachable!() };
    let card = other.roster.own().clone();
    let Stage::Member(member) = &mut agent.stage else { unreachable!() };
    member.learn_card(&mut agent.shared, card, None, day(0));
}

fn ask(agent: &mut Agent, admin: AgentId) {
    let Stage::Member(member) = &mut agent.stage else { unreachable!() };
    member.renewal.asked = Some((REQUEST, admin));
}

fn give(agent: &mut Agent, sender: AgentId, request: MessageId, body: &[u8], now: Now) {
    let mut header = MessageHeader::new(MessageId::from_bytes([6; 16]), MessageKind::Renewal, now.wall + 1, 1);
    header.reply_to = Some(request);
    let Stage::Member(member) = &mut agent.stage else { unreachable!() };
    member.handle_renewal(&mut agent.shared, sender, &header, body, now);
}
