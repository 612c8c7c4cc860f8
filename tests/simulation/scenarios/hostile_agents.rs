//! A member that keeps to no rule harms itself: what others say to one another arrives as before, and their memory stays bounded.

use std::time::Duration;

use a2alinker::agent::card::SkillEntry;
use a2alinker::agent::message::{CreditClass, Lost, MessageKind};
use a2alinker::agent::section::{self, Credit, Receipt};
use a2alinker::crypto::certificate::CertificateRequest;
use a2alinker::crypto::{CertificateChain, Identity, Rights};
use a2alinker::proto::{Lane, MessageId};
use bytes::{BufMut, Bytes, BytesMut};

use crate::simulation::application::Manner;
use crate::simulation::history::{State, Who};
use crate::simulation::memory::held;
use crate::simulation::network::Line;
use crate::simulation::villain::{Villain, card_of};
use crate::simulation::world::{CallPlan, SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);
const HOST: Who = 0;
const VICTIM: Who = 1;
const BYSTANDER: Who = 2;

/// A host, a victim, a bystander, and a villain that has a place among them.
fn besieged() -> (World, Villain) {
    let mut world = World::swarm(3);
    let villain = Villain::in_place_of(3, &mut world);
    (world, villain)
}

/// Those who have nothing to do with the villain hear from each other as if it were not there.
fn assert_others_talk(world: &mut World) {
    for (from, to) in [(BYSTANDER, VICTIM), (VICTIM, BYSTANDER), (HOST, VICTIM)] {
        let message = world.send(from, SendPlan { until_done: true, ..SendPlan::to(to) }).expect("there is room");
        let before = world.now;
        world.run_until("the message is handled", SECOND * 2, |world| world.history.state(message) == State::Done);
        assert!(world.now - before < SECOND, "from {from} to {to} it took {:?}", world.now - before);
    }
}

fn refused_cards(world: &World, who: Who) -> u64 {
    world.agent(who).health().counters.refused_cards
}

fn skill(name: &str) -> SkillEntry {
    SkillEntry { name: name.to_owned(), tags: Vec::new(), concurrency: 1, definition_hash: [7; 32] }
}

fn request(identity: &Identity, rights: Rights, expiry: u64) -> CertificateRequest {
    CertificateRequest {
        identity: identity.id(),
        issued: 0,
        expiry,
        rights,
        name: "planted-puppet".to_owned(),
        long_term_hash: [0; 32],
    }
}

#[test]
fn cards_that_claim_too_much_are_refused() {
    let (mut world, mut villain) = besieged();
    let mut session = villain.open(&mut world, VICTIM);
    let genuine = villain.card(&[]);
    let victims = card_of(&world, BYSTANDER, VICTIM);
    let own_chain = villain.chain.clone();
    let mut cards: Vec<(&str, Bytes)> = Vec::new();

    let changed = |at: usize, bytes: &[u8]| {
        let mut card = BytesMut::from(&genuine[..]);
        card[at..at + bytes.len()].copy_from_slice(bytes);
        card.freeze()
    };
    cards.push(("another's identity", changed(33, victims.identity.as_bytes())));
    cards.push(("another swarm", changed(1, &[9; 32])));
    cards.push(("another name than its certificate's", changed(122, b"x")));
    cards.push(("another link key than it signed", changed(89, victims.link_key.as_bytes())));
    cards.push(("a stamp that it didn't sign", changed(81, &[0x7f; 8])));
    villain.chain = victims.chain.clone();
    cards.push(("another's certificate", villain.card(&[])));
    // A member without the right to admit certifies a puppet.
    villain.chain = own_chain.clone();
    let puppet = Identity::from_seed([0x55; 32]);
    let all = Rights { admit: true, terminals: true, ..Rights::default() };
    assert!(
        CertificateChain::issue_by_admin(&villain.identity, &own_chain, &request(&puppet, all, u64::MAX)).is_err(),
        "an honest implementation doesn't even make it; a forged one is in the tests of certificates"
    );
    let before = refused_cards(&world, VICTIM);
    for (number, (_, card)) in cards.iter().enumerate() {
        let content = villain.message(number as u64, MessageKind::Card, |_| {}, card);
        villain.send(&mut world, VICTIM, &mut session, Lane::High, &content);
    }
    world.run_for(SECOND);
    assert_eq!(
        refused_cards(&world, VICTIM) - before,
        cards.len() as u64,
        "{:?}",
        cards.iter().map(|(what, _)| what).collect::<Vec<_>>()
    );
    assert_eq!(card_of(&world, VICTIM, BYSTANDER).bytes, card_of(&world, HOST, BYSTANDER).bytes);
    assert_others_talk(&mut world);
}

#[test]
fn a_skill_that_the_certificate_does_not_allow_is_nobodys() {
    let mut world = World::new(5);
    let host = world.host(Line::NEAR, 0, Manner::PROMPT);
    let rights = Rights { skills: Some(std::iter::once("planted-work".to_owned()).collect()), ..Rights::default() };
    let (token, ticket) = world.ticket_with(host, None, rights, SECOND * 600);
    world.run_until("the ticket can be used", SECOND * 10, |world| world.invites[&(host, token)] == Some(true));
    let member = world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
    world.run_until("it is a member", SECOND * 10, World::is_complete);
    world.run_for(SECOND * 5);
    let mut villain = Villain::in_place_of(member, &mut world);
    let card = villain.card(&[skill("planted-work"), skill("planted-root")]);
    let wall = world.clock(host).wall;
    let (_, opener) = villain.opener(&world, host, card, wall);
    villain.say(&mut world, host, opener);
    world.run_for(SECOND);
    let known = card_of(&world, host, member);
    assert_eq!((known.run, known.skills_dropped), (villain.run, 1));
    assert!(known.skill("planted-root").is_none() && known.skill("planted-work").is_some());
}

#[test]
fn a_flood_of_openers_keeps_nobody_else_from_opening() {
    let (mut world, mut villain) = besieged();
    let wall = world.clock(VICTIM).wall;
    let before = held();
    for _ in 0..300 {
        let card = villain.card(&[]);
        let (_, opener) = villain.opener(&world, VICTIM, card, wall);
        villain.say(&mut world, VICTIM, opener);
    }
    // Neither has a session with the other yet.
    assert_others_talk(&mut world);
    world.run_for(SECOND * 5);
    assert!(held() - before < 2 << 20, "{} bytes", held() - before);
}

#[test]
fn clocks_that_no_machine_has_break_nothing() {
    let (mut world, mut villain) = besieged();
    let now = world.clock(VICTIM).wall;
    for wall in [0, now - 400_000, now + 400_000, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let card = villain.card(&[]);
        let (_, opener) = villain.opener(&world, VICTIM, card, wall);
        let before = world.agent(VICTIM).health().counters;
        villain.say(&mut world, VICTIM, opener);
        world.run_for(SECOND);
        let after = world.agent(VICTIM).health().counters;
        assert_eq!((after.refused_frames, after.sessions), (before.refused_frames + 1, before.sessions), "wall {wall}");
    }
    assert_others_talk(&mut world);
}

#[test]
fn chunks_that_fit_nowhere_take_no_memory() {
    let (mut world, mut villain) = besieged();
    let mut session = villain.open(&mut world, VICTIM);
    let before = held();
    let mut number = 0;
    let whole = [7; section::CHUNK_LIMIT];
    for round in 0..2_000 {
        let mut content = BytesMut::new();
        let (offset, total, bytes): (u64, u64, &[u8]) = match round % 5 {
            0 => (0, 1 << 60, &whole),
            1 => (1 << 59, 1 << 60, &whole),
            // Single bytes, each of which would cost a hundred.
            2 => (round, 1 << 20, &whole[..1]),
            // Over one another.
            3 => (8_192, 1 << 20, &whole),
            // A new message that is never finished.
            _ => {
                number += 1;
                (0, 1 << 20, &whole)
            }
        };
        section::put_chunk(&mut content, 0, number, offset, total, bytes);
        villain.send(&mut world, VICTIM, &mut session, Lane::Normal, &content);
    }
    world.run_for(SECOND * 20);
    assert!(held() - before < 1 << 20, "{} bytes", held() - before);
    assert_others_talk(&mut world);
}

#[test]
fn messages_beyond_all_credit_are_not_kept() {
    let (mut world, mut villain) = besieged();
    world.seats[VICTIM].application.manner.reads = false;
    let mut session = villain.open(&mut world, VICTIM);
    let before = held();
    for number in 0..600 {
        // Each waits for one that never comes.
        let content = villain.message(number * 2 + 1, MessageKind::Plain, |header| header.after = 1, &[9; 16_000]);
        villain.send(&mut world, VICTIM, &mut session, Lane::Normal, &content);
        if number % 100 == 0 {
            world.run_for(SECOND);
        }
    }
    world.run_for(SECOND * 10);
    assert!(world.agent(VICTIM).health().counters.refused_messages > 300);
    assert!(held() - before < 8 << 20, "{} bytes", held() - before);
    world.read_all(VICTIM);
    assert_others_talk(&mut world);
}

#[test]
fn a_little_message_in_a_large_frame_does_not_keep_the_frame() {
    let (mut world, mut villain) = besieged();
    world.seats[VICTIM].application.manner.reads = false;
    let mut session = villain.open(&mut world, VICTIM);
    let before = held();
    for number in 0..1_000 {
        let mut content =
            BytesMut::from(&villain.message(number * 2 + 1, MessageKind::Plain, |header| header.after = 1, b"small")[..]);
        // A section that nobody knows fills the frame.
        content.put_u8(99);
        content.put_u32(30_000);
        content.extend_from_slice(&[0; 30_000]);
        villain.send(&mut world, VICTIM, &mut session, Lane::Bulk, &content);
        world.run_for(SECOND / 100);
    }
    world.run_for(SECOND * 10);
    assert!(held() - before < 4 << 20, "{} bytes", held() - before);
    world.read_all(VICTIM);
    assert_others_talk(&mut world);
}

#[test]
fn numbers_at_the_end_of_all_numbers_break_nothing() {
    let (mut world, mut villain) = besieged();
    let mut session = villain.open(&mut world, VICTIM);
    let mut contents = Vec::new();
    for number in [1 << 20, 1 << 40, u64::MAX - 2, u64::MAX - 1] {
        let gap = Lost { class: CreditClass::Plain, cost: u32::MAX, before: u32::MAX }.encode();
        contents.push(villain.message(number, MessageKind::Gap, |header| header.after = u32::MAX, &gap));
        contents.push(villain.message(number, MessageKind::Plain, |header| header.depth = u16::MAX, b"x"));
    }
    for floor in [u64::MAX, 0] {
        let mut content = BytesMut::new();
        section::MessagesWriter::begin(&mut content, floor, 0).end();
        contents.push(content.freeze());
    }
    for lane in Lane::ALL {
        let mut content = BytesMut::new();
        let mut receipt = Receipt::new(lane, u64::MAX);
        receipt.delivered = std::iter::once(5..u64::MAX).collect();
        receipt.done = std::iter::once(0..u64::MAX).collect();
        section::put_receipt(&mut content, &receipt);
        if lane != Lane::Control {
            section::put_credit(&mut content, &Credit { lane, class: CreditClass::Plain, messages: u64::MAX, bytes: u64::MAX });
        }
        contents.push(content.freeze());
    }
    contents.push(villain.message(0, MessageKind::Roster, |_| {}, &[0xff; 40 * 300]));
    contents.push(villain.message(1, MessageKind::Roster, |_| {}, b"no roster"));
    contents.push(villain.message(2, MessageKind::TicketRecord, |_| {}, &[1; 100]));
    contents.push(villain.message(3, MessageKind::Unknown(200), |_| {}, b"?"));
    for content in contents {
        for lane in [Lane::Control, Lane::High] {
            if lane == Lane::High || content.len() < 900 {
                villain.send(&mut world, VICTIM, &mut session, lane, &content);
            }
        }
    }
    // What is sent to the villain is confirmed by nobody who has it, and costs nobody else anything.
    world.run_for(SECOND * 5);
    assert_others_talk(&mut world);
}

#[test]
fn receipts_whose_ranges_overlap_are_malformed() {
    let (mut world, mut villain) = besieged();
    let mut session = villain.open(&mut world, VICTIM);
    let refused = world.agent(VICTIM).health().counters.refused_frames;
    let mut content = BytesMut::new();
    let mut receipt = Receipt::new(Lane::Normal, 0);
    receipt.delivered = vec![0..u64::MAX; 200];
    section::put_receipt(&mut content, &receipt);
    villain.send(&mut world, VICTIM, &mut session, Lane::Normal, &content);
    world.run_for(SECOND);
    assert_eq!(world.agent(VICTIM).health().counters.refused_frames, refused + 1);
}

#[test]
fn questions_without_end_leave_the_outbox_to_the_application() {
    let (mut world, mut villain) = besieged();
    let mut session = villain.open(&mut world, VICTIM);
    let hash = card_of(&world, HOST, VICTIM).skills[0].definition_hash;
    let before = held();
    for number in 0..18_000 {
        let content = villain.message(number, MessageKind::Describe, |_| {}, &hash);
        villain.send(&mut world, VICTIM, &mut session, Lane::Normal, &content);
        if number % 500 == 0 {
            world.run_for(SECOND);
        }
    }
    world.run_for(SECOND * 10);
    let health = world.agent(VICTIM).health();
    assert!(health.outbox_messages < 10, "{} messages of its own in the application's outbox", health.outbox_messages);
    assert!(health.counters.withheld_messages > 0, "more answers wait for the villain than may");
    assert!(held() - before < 32 << 20, "{} bytes", held() - before);
    assert_others_talk(&mut world);
}

#[test]
fn nobody_answers_cancels_or_keeps_alive_the_call_of_another() {
    let (mut world, mut villain) = besieged();
    world.seats[VICTIM].application.manner.works_for = SECOND * 10;
    let call = world.call(BYSTANDER, CallPlan::to(VICTIM)).expect("there is room");
    world.run_until("the worker has it", SECOND * 5, |world| !world.history.requested(call).is_empty());
    // The worst case: the villain knows the id.
    let id: MessageId = world.request_ids[&call];
    let mut to_caller = villain.open(&mut world, BYSTANDER);
    let mut to_worker = villain.open(&mut world, VICTIM);
    for (number, kind) in [MessageKind::Answer, MessageKind::Progress, MessageKind::Refusal].into_iter().enumerate() {
        let content = villain.message(number as u64, kind, |header| header.reply_to = Some(id), b"mine");
        villain.send(&mut world, BYSTANDER, &mut to_caller, Lane::Normal, &content);
    }
    let mut heartbeat = BytesMut::new();
    section::put_heartbeat(&mut heartbeat, &[id]);
    villain.send(&mut world, BYSTANDER, &mut to_caller, Lane::Control, &heartbeat);
    let cancel = villain.message(0, MessageKind::Cancel, |header| header.reply_to = Some(id), b"");
    villain.send(&mut world, VICTIM, &mut to_worker, Lane::Control, &cancel);
    // Cancels of what doesn't exist: each sender's are its own.
    for number in 1..2_000 {
        let cancel = villain.message(
            number,
            MessageKind::Cancel,
            |header| header.reply_to = Some(MessageId::from_bytes([number as u8; 16])),
            b"",
        );
        villain.send(&mut world, VICTIM, &mut to_worker, Lane::Control, &cancel);
    }
    world.run_until("the call is answered", SECOND * 40, |world| world.history.outcome(call).is_some());
    assert_eq!(world.history.outcome(call).map(|(_, outcome)| outcome), Some(Ok(VICTIM)));
}

#[test]
fn a_card_with_the_link_key_of_another_takes_none_of_its_mail() {
    let (mut world, mut villain) = besieged();
    villain.link_key = card_of(&world, HOST, VICTIM).link_key;
    let (card, wall) = (villain.card(&[]), world.clock(BYSTANDER).wall);
    let (_, opener) = villain.opener(&world, BYSTANDER, card, wall);
    villain.say(&mut world, BYSTANDER, opener);
    world.run_for(SECOND);
    assert_eq!(card_of(&world, BYSTANDER, villain.who).label, world.label(VICTIM), "it is what it says of itself");
    assert_others_talk(&mut world);
}
