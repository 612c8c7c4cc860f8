use super::*;
use crate::agent::card::tests::{Swarm, skill};

const DELAY: Duration = Duration::from_secs(10);

#[test]
fn the_own_card_is_known_but_is_no_peer() {
    let roster = roster();
    assert_eq!(roster.cards().count(), 1);
    assert_eq!(roster.peers().count(), 0);
    assert_eq!(roster.named("me").count(), 0);
    assert!(roster.is_empty());
}

#[test]
fn a_new_card_is_found_by_everything_it_says() {
    let mut roster = roster();
    let mut card = peer(2);
    card.skills = vec![skill("review", &["python"])];
    let label = card.label;
    assert_eq!(roster.learn(card, at(0)), Learned::New { forgotten: None });
    assert_eq!(ids(roster.named("peer-2")), [id(2)]);
    assert_eq!(ids(roster.holders("review")), [id(2)]);
    assert_eq!(ids(roster.at_label(&label)), [id(2)]);
    assert_eq!(roster.get(&id(2)).unwrap().card.name(), "peer-2");
    assert_eq!(roster.named("peer").count() + roster.holders("test").count(), 0);
    assert_eq!(roster.at_label(&Label::ZERO).count(), 0);
}

#[test]
fn holders_of_a_skill_come_in_the_order_of_their_ids() {
    let mut roster = roster();
    for seed in [9, 3, 7, 5] {
        let mut card = peer(seed);
        card.skills = vec![skill("review", &[])];
        roster.learn(card, at(0));
    }
    assert_eq!(ids(roster.holders("review")), [id(3), id(5), id(7), id(9)]);
    assert_eq!(ids(roster.peers()), [id(3), id(5), id(7), id(9)]);
}

#[test]
fn two_peers_may_share_a_name() {
    let mut roster = roster();
    let mut twin = peer(3);
    twin.member.name = "peer-2".into();
    roster.learn(peer(2), at(0));
    roster.learn(twin, at(0));
    assert_eq!(ids(roster.named("peer-2")), [id(2), id(3)]);
}

#[test]
fn a_newer_card_replaces_all_that_the_older_said() {
    let mut roster = roster();
    let mut old = peer(2);
    old.skills = vec![skill("review", &[])];
    roster.learn(old.clone(), at(0));
    let mut new = peer(2);
    new.stamp += 1;
    new.label = Label::from_bytes([0xee; 16]);
    new.member.name = "renamed".into();
    new.skills = vec![skill("test", &[])];
    assert_eq!(roster.learn(new.clone(), at(1)), Learned::Newer { restarted_from: None, presence: None });
    assert_eq!(roster.named("peer-2").count() + roster.holders("review").count() + roster.at_label(&old.label).count(), 0);
    assert_eq!(ids(roster.named("renamed")), [id(2)]);
    assert_eq!(ids(roster.holders("test")), [id(2)]);
    assert_eq!(ids(roster.at_label(&new.label)), [id(2)]);
}

#[test]
fn an_older_or_equal_card_changes_nothing() {
    let mut roster = roster();
    roster.learn(peer(2), at(0));
    let mut older = peer(2);
    older.stamp -= 1;
    older.member.name = "older".into();
    assert!(!roster.is_news(&id(2), older.stamp) && !roster.is_news(&id(2), peer(2).stamp));
    assert!(roster.is_news(&id(2), peer(2).stamp + 1) && roster.is_news(&id(3), 0));
    assert_eq!(roster.learn(older, at(0)), Learned::Stale);
    assert_eq!(roster.learn(peer(2), at(0)), Learned::Known);
    assert_eq!(roster.named("older").count(), 0);
}

#[test]
fn a_newer_card_with_another_run_says_that_the_peer_restarted() {
    let mut roster = roster();
    roster.learn(peer(2), at(0));
    let restarted = restarted(2);
    let known_run = peer(2).run;
    assert_eq!(roster.learn(restarted, at(0)), Learned::Newer { restarted_from: Some(known_run), presence: None });
}

#[test]
fn nobody_else_replaces_the_own_card() {
    let mut roster = roster();
    let mut from_another_run = restarted(1);
    from_another_run.stamp += 7;
    let stamp = from_another_run.stamp;
    assert_eq!(roster.learn(from_another_run, at(0)), Learned::OutranksOwn { stamp });
    let mut renewed = own();
    renewed.stamp = stamp + 1;
    roster.set_own(renewed.clone(), at(0));
    assert_eq!(roster.own().stamp, stamp + 1);
    assert_eq!(roster.learn(own(), at(0)), Learned::Stale);
    assert_eq!(roster.len(), 1);
}

#[test]
fn a_peer_whose_label_is_linked_is_there() {
    let mut roster = roster();
    roster.learn(peer(2), at(0));
    assert_eq!(presence(&roster, 2), Presence::Gone { since: at(0) });
    let changes = roster.handle_labels(true, &[label(2), label(3)], &[], at(1));
    assert_eq!(changes, [PresenceChange::Linked(id(2))]);
    assert_eq!(presence(&roster, 2), Presence::Linked { since: at(1) });
    roster.learn(peer(3), at(2));
    assert_eq!(presence(&roster, 3), Presence::Linked { since: at(2) }, "its label came before its card");
}

#[test]
fn a_peer_whose_label_comes_again_has_another_link() {
    let mut roster = linked_roster(&[2]);
    assert_eq!(roster.handle_labels(false, &[label(2), label(1)], &[], at(5)), [PresenceChange::Relinked(id(2))]);
    assert_eq!(roster.handle_labels(true, &[label(2)], &[], at(6)), [], "after the own reconnect everything is in doubt anyhow");
}

#[test]
fn a_peer_whose_label_went_is_gone_after_the_delay() {
    let mut roster = linked_roster(&[2]);
    assert_eq!(roster.handle_labels(false, &[], &[label(2)], at(5)), [PresenceChange::Away(id(2))]);
    assert_eq!(presence(&roster, 2), Presence::Away { since: at(5) });
    assert_eq!(roster.poll_timeout(), Some(at(15)));
    assert_eq!(roster.handle_timeout(at(14)), []);
    assert_eq!(roster.handle_timeout(at(15)), [PresenceChange::Gone(id(2))]);
    assert_eq!(presence(&roster, 2), Presence::Gone { since: at(5) });
    assert_eq!(roster.poll_timeout(), None);
}

#[test]
fn a_peer_that_is_back_in_time_is_not_gone() {
    let mut roster = linked_roster(&[2]);
    roster.handle_labels(false, &[], &[label(2)], at(5));
    assert_eq!(roster.handle_labels(false, &[label(2)], &[], at(6)), [PresenceChange::Linked(id(2))]);
    assert_eq!(roster.poll_timeout(), None);
    assert_eq!(roster.handle_timeout(at(60)), []);
}

#[test]
fn all_labels_told_anew_replace_those_known() {
    let mut roster = linked_roster(&[2, 3]);
    assert_eq!(roster.handle_labels(true, &[label(3)], &[], at(5)), [PresenceChange::Away(id(2))]);
    assert!(presence(&roster, 3).is_linked());
}

#[test]
fn while_the_own_link_is_down_nobody_is_declared_gone() {
    let mut roster = linked_roster(&[2, 3]);
    roster.handle_labels(false, &[], &[label(2)], at(5));
    roster.handle_link_lost();
    assert_eq!(roster.poll_timeout(), None);
    assert_eq!(roster.handle_timeout(at(100)), []);
    roster.handle_labels(true, &[label(3)], &[], at(100));
    assert_eq!(roster.poll_timeout(), Some(at(110)), "the delay begins anew");
    assert_eq!(roster.handle_timeout(at(110)), [PresenceChange::Gone(id(2))]);
}

#[test]
fn a_goodbye_counts_at_once_and_whatever_the_label_does() {
    let mut roster = linked_roster(&[2]);
    assert!(roster.handle_goodbye(&id(2), &peer(2).run, true, at(5)));
    let left = Presence::Left { since: at(5), is_final: true };
    assert_eq!(presence(&roster, 2), left);
    assert!(left.is_gone());
    assert_eq!(roster.handle_labels(false, &[], &[label(2)], at(6)), []);
    assert_eq!(roster.handle_labels(false, &[label(2)], &[], at(7)), []);
    assert_eq!(presence(&roster, 2), left);
}

#[test]
fn a_goodbye_of_an_earlier_run_says_nothing() {
    let mut roster = linked_roster(&[2]);
    roster.learn(restarted(2), at(1));
    assert!(!roster.handle_goodbye(&id(2), &peer(2).run, false, at(5)));
    assert!(presence(&roster, 2).is_linked());
    assert!(!roster.handle_goodbye(&id(9), &peer(9).run, false, at(5)));
}

#[test]
fn a_peer_that_left_comes_back_as_another_run_only() {
    let mut roster = linked_roster(&[2]);
    roster.handle_goodbye(&id(2), &peer(2).run, false, at(5));
    let mut same_run = peer(2);
    same_run.stamp += 1;
    roster.learn(same_run, at(6));
    assert_eq!(presence(&roster, 2), Presence::Left { since: at(5), is_final: false });
    let back = Learned::Newer { restarted_from: Some(peer(2).run), presence: Some(PresenceChange::Linked(id(2))) };
    assert_eq!(roster.learn(restarted(2), at(7)), back);
    assert_eq!(presence(&roster, 2), Presence::Linked { since: at(7) });
}

#[test]
fn a_peer_that_left_is_back_when_its_link_has_ended_and_another_has_begun() {
    let mut roster = linked_roster(&[2, 3, 4]);
    roster.handle_goodbye(&id(2), &peer(2).run, false, at(5));
    assert_eq!(roster.handle_labels(false, &[label(2)], &[], at(5)), [], "the link of the run that said goodbye");
    assert_eq!(roster.handle_labels(false, &[], &[label(2)], at(5)), [], "the goodbye has told it");
    assert_eq!(presence(&roster, 2), Presence::Gone { since: at(5) });
    assert_eq!(roster.handle_labels(false, &[label(2)], &[], at(9)), [PresenceChange::Linked(id(2))]);
    // The link may be seen to end before the goodbye is read.
    roster.handle_labels(false, &[], &[label(3)], at(5));
    roster.handle_goodbye(&id(3), &peer(3).run, false, at(6));
    assert_eq!(roster.handle_labels(false, &[label(3)], &[], at(9)), [PresenceChange::Linked(id(3))]);
    roster.handle_goodbye(&id(4), &peer(4).run, true, at(5));
    roster.handle_labels(false, &[], &[label(4)], at(5));
    assert_eq!(roster.handle_labels(false, &[label(4)], &[], at(9)), [], "its identity has ended");
}

#[test]
fn a_peer_that_left_and_is_not_linked_comes_back_as_gone() {
    let mut roster = linked_roster(&[2]);
    roster.handle_goodbye(&id(2), &peer(2).run, false, at(5));
    roster.handle_labels(false, &[], &[label(2)], at(5));
    roster.learn(restarted(2), at(7));
    assert_eq!(presence(&roster, 2), Presence::Gone { since: at(5) });
    assert_eq!(roster.handle_labels(false, &[label(2)], &[], at(8)), [PresenceChange::Linked(id(2))]);
}

#[test]
fn a_member_that_claims_the_label_of_another_takes_nothing_from_it() {
    let mut roster = linked_roster(&[2]);
    let mut liar = peer(3);
    liar.label = label(2);
    roster.learn(liar, at(0));
    assert_eq!(ids(roster.at_label(&label(2))), [id(2), id(3)]);
    let mut honest = peer(3);
    honest.stamp += 1;
    let elsewhere = Learned::Newer { restarted_from: None, presence: Some(PresenceChange::Away(id(3))) };
    assert_eq!(roster.learn(honest, at(1)), elsewhere);
    assert_eq!(ids(roster.at_label(&label(2))), [id(2)]);
    assert!(presence(&roster, 2).is_linked());
    assert_eq!(presence(&roster, 3), Presence::Away { since: at(1) });
}

#[test]
fn equal_cards_give_equal_digests() {
    let (mut one, mut other) = (roster(), roster());
    for seed in 2..6 {
        one.learn(peer(seed), at(0));
        other.learn(peer(7 - seed), at(9));
    }
    assert_eq!(one.digest(), other.digest());
    other.learn(restarted(3), at(9));
    assert_ne!(one.digest(), other.digest());
}

#[test]
fn a_summary_is_identities_and_stamps_in_order() {
    let mut roster = roster();
    roster.learn(peer(2), at(0));
    let expected: Vec<u8> =
        roster.cards().flat_map(|card| [&card.identity.as_bytes()[..], &card.stamp.to_be_bytes()].concat()).collect();
    assert_eq!(roster.summary(), expected);
    assert_eq!(roster.digest(), signature::hash(&[&expected]));
    assert_eq!(roster.summary().len(), 80);
}

#[test]
fn cards_that_are_missing_or_older_in_a_summary_are_to_be_sent() {
    let (mut mine, mut theirs) = (roster(), roster());
    for seed in 2..6 {
        mine.learn(peer(seed), at(0));
    }
    theirs.learn(peer(2), at(0));
    theirs.learn(restarted(3), at(0));
    mine.learn(restarted(4), at(0));
    theirs.learn(peer(4), at(0));
    theirs.learn(peer(6), at(0));
    assert_eq!(mine.missing_in(&theirs.summary()).unwrap(), [id(4), id(5)]);
    assert_eq!(theirs.missing_in(&mine.summary()).unwrap(), [id(3), id(6)]);
    assert_eq!(mine.missing_in(&[]).unwrap().len(), 5);
}

#[test]
fn a_summary_that_is_cut_is_refused() {
    let roster = roster();
    let summary = roster.summary();
    assert_eq!(roster.missing_in(&summary).unwrap(), []);
    for len in 1..summary.len() {
        assert!(roster.missing_in(&summary[..len]).is_err(), "cut to {len}");
    }
}

#[test]
fn a_full_roster_forgets_the_longest_gone() {
    let mut roster = full_roster();
    let gone = |roster: &mut Roster, n, since| {
        roster.handle_labels(false, &[], &[Label::from_bytes(numbered(n))], since);
        roster.handle_timeout(since + DELAY);
    };
    gone(&mut roster, 500, at(30));
    gone(&mut roster, 400, at(50));
    assert_eq!(roster.learn(peer(2), at(70)), Learned::New { forgotten: Some(AgentId::from_bytes(numbered(500))) });
    assert_eq!(roster.learn(peer(3), at(70)), Learned::New { forgotten: Some(AgentId::from_bytes(numbered(400))) });
    assert_eq!(roster.learn(peer(4), at(71)), Learned::New { forgotten: Some(id(2)) }, "it was never seen linked");
    assert_eq!(roster.len(), CARDS_LIMIT);
    assert_eq!(roster.named("500").count(), 0);
}

#[test]
fn a_full_roster_forgets_those_first_that_left_for_good() {
    let mut roster = full_roster();
    roster.handle_labels(false, &[], &[Label::from_bytes(numbered(500))], at(30));
    roster.handle_timeout(at(40));
    let left = AgentId::from_bytes(numbered(600));
    assert!(roster.handle_goodbye(&left, &peer(2).run, true, at(50)));
    assert_eq!(roster.learn(peer(2), at(70)), Learned::New { forgotten: Some(left) });
}

#[test]
fn a_full_roster_of_peers_that_are_there_takes_nobody() {
    let mut roster = full_roster();
    assert_eq!(roster.learn(peer(2), at(0)), Learned::Full);
    roster.handle_labels(false, &[], &[Label::from_bytes(numbered(500))], at(30));
    assert_eq!(roster.learn(peer(2), at(31)), Learned::Full, "away is not gone");
    assert_eq!(roster.len(), CARDS_LIMIT);
    assert_eq!(roster.get(&id(2)).map(|entry| entry.presence), None);
}

#[test]
fn labels_without_cards_are_remembered_up_to_a_bound() {
    let mut roster = roster();
    let labels: Vec<_> = (0..CARDS_LIMIT + UNKNOWN_LABELS_LIMIT + 10).map(|n| Label::from_bytes(numbered(n))).collect();
    roster.handle_labels(true, &labels, &[], at(0));
    assert_eq!(roster.linked.len(), CARDS_LIMIT + UNKNOWN_LABELS_LIMIT);
    roster.learn(peer(2), at(0));
    roster.handle_labels(false, &[label(2)], &[], at(1));
    assert!(presence(&roster, 2).is_linked(), "a label with a card always has room");
}

thread_local! {
    static CARD: VerifiedCard = Swarm::new().card(2, "peer");
}

/// A card as if verified, of an identity that sorts by `seed`.
fn peer(seed: u8) -> VerifiedCard {
    let mut card = CARD.with(Clone::clone);
    card.identity = id(seed);
    card.label = label(seed);
    card.member.name = format!("peer-{seed}");
    card
}

fn restarted(seed: u8) -> VerifiedCard {
    let mut card = peer(seed);
    card.run = RunId::from_bytes([0xbb; 16]);
    card.stamp += 2;
    card
}

fn own() -> VerifiedCard {
    let mut card = peer(1);
    card.member.name = "me".into();
    card
}

fn roster() -> Roster {
    Roster::new(own(), DELAY, at(0))
}

fn linked_roster(seeds: &[u8]) -> Roster {
    let mut roster = roster();
    let labels: Vec<_> = seeds.iter().map(|&seed| label(seed)).collect();
    roster.handle_labels(true, &labels, &[], at(0));
    for &seed in seeds {
        roster.learn(peer(seed), at(0));
    }
    roster
}

/// As many peers as there is room for, all linked; their names are their numbers.
fn full_roster() -> Roster {
    let mut roster = roster();
    let labels: Vec<_> = (0..CARDS_LIMIT - 1).map(|n| Label::from_bytes(numbered(n))).collect();
    roster.handle_labels(true, &labels, &[], at(0));
    for n in 0..CARDS_LIMIT - 1 {
        let mut card = peer(0);
        card.identity = AgentId::from_bytes(numbered(n));
        card.label = Label::from_bytes(numbered(n));
        card.member.name = n.to_string();
        assert_eq!(roster.learn(card, at(0)), Learned::New { forgotten: None });
    }
    roster
}

fn numbered<const N: usize>(n: usize) -> [u8; N] {
    let mut bytes = [0xaa; N];
    bytes[1..9].copy_from_slice(&(n as u64).to_be_bytes());
    bytes
}

fn id(seed: u8) -> AgentId {
    AgentId::from_bytes([seed; 32])
}

fn label(seed: u8) -> Label {
    Label::from_bytes([seed; 16])
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ids<'a>(entries: impl Iterator<Item = &'a RosterEntry>) -> Vec<AgentId> {
    entries.map(|entry| entry.card.identity).collect()
}

fn presence(roster: &Roster, seed: u8) -> Presence {
    roster.get(&id(seed)).unwrap().presence
}
