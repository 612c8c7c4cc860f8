//! A sending and a receiving lane against each other, over a path that drops, repeats and reorders frames.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::agent::event::ReceiptState;
use crate::agent::limits::CREDIT_WINDOW_MESSAGES;
use crate::agent::message::{CreditClass, MessageHeader, MessageKind, RefusalCode};
use crate::agent::section::{CHUNK_LIMIT, Section, sections};
use crate::proto::{Lane, MessageId, ThreadId};

const NOW: Duration = Duration::from_secs(1);
const ROOM: usize = CHUNK_LIMIT;
const PLAIN: Cost = Cost { class: CreditClass::Plain, bytes: 60, free: false };

fn outbound(token: u64, thread: u8, len: usize) -> Outbound {
    let mut header = MessageHeader::new(MessageId::from_bytes([token as u8; 16]), MessageKind::Plain, 1_000, 1_000);
    header.thread = (thread > 0).then(|| ThreadId::from_bytes([thread; 16]));
    Outbound::new(token, header, Bytes::from(vec![token as u8; len]))
}

fn build(lane: &mut SendLane) -> Option<(Bytes, Built)> {
    let mut frame = BytesMut::new();
    let built = lane.build(&mut frame, ROOM, NOW)?;
    Some((frame.freeze(), built))
}

fn receive(lane: &mut ReceiveLane, frame: &Bytes, out: &mut Vec<HandedOver>) {
    for section in sections(frame.clone()) {
        match section.expect("a lane writes whole sections") {
            Section::Messages(messages) => {
                lane.handle_floor(messages.floor, out);
                for (number, message) in (messages.first..).zip(messages.messages) {
                    lane.handle_message(Lane::Normal, number, message, &mut Room::default(), out)
                        .expect("the sender keeps the rules");
                }
            }
            Section::Chunk(chunk) => {
                lane.handle_floor(chunk.floor, out);
                // Under heavy loss more long messages can be half there than the receiver keeps; the sender's next try finishes them.
                let taken = lane.handle_chunk(Lane::Normal, &chunk, &mut Room::default(), out);
                assert!(matches!(taken, Ok(_) | Err(receive::ReceiveError::BadChunk)), "the sender keeps the rules: {taken:?}");
            }
            other => panic!("a lane wrote {other:?}"),
        }
    }
}

/// What the checker holds a run against: each message once, whole, and in the order of its thread.
fn check(sent: &[(u64, u8, usize)], out: &[HandedOver]) {
    let mut by_thread: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    let got = |message: &HandedOver| u64::from(message.header.id.as_bytes()[0]);
    for message in out {
        let (_, thread, len) = sent[got(message) as usize - 1];
        assert_eq!(message.body, vec![got(message) as u8; len], "message {} is not whole", got(message));
        by_thread.entry(thread).or_default().push(got(message));
    }
    for (thread, got) in by_thread {
        let expected: Vec<u64> = sent.iter().filter(|(_, of, _)| *of == thread).map(|(token, ..)| *token).collect();
        assert_eq!(got, expected, "thread {thread} is out of order, or something is missing or doubled");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_lossy_path_delivers_each_message_once_and_in_the_order_of_its_thread(
        messages in proptest::collection::vec((0u8..4, prop_oneof![0usize..300, 15_000usize..40_000]), 1..24),
        fates in proptest::collection::vec(0u8..6, 1..64),
    ) {
        let sent: Vec<(u64, u8, usize)> = (1..).zip(messages).map(|(token, (thread, len))| (token, thread, len)).collect();
        let (mut sender, mut receiver) = (SendLane::default(), ReceiveLane::default());
        let first = Grants::first();
        sender.handle_credit(0, first.of(Lane::Normal, 0).0, first.of(Lane::Normal, 0).1);
        let mut fates = fates.into_iter().cycle();
        let (mut out, mut settled, mut delayed) = (Vec::new(), Vec::new(), Vec::new());
        for (token, thread, len) in &sent {
            sender.push(outbound(*token, *thread, *len));
        }
        // Bounded, because from some round on nothing is lost any more.
        for round in 0.. {
            prop_assert!(round < 200, "it does not come to an end");
            let calm = round >= 100;
            // Bounded, because what a path bounces can be built again at once, and a path may bounce everything.
            for _ in 0..100 {
                let Some((frame, built)) = build(&mut sender) else { break };
                match fates.next().expect("a cycle") {
                    0 if !calm => {}
                    1 if !calm => sender.handle_bounce(built),
                    2 if !calm => delayed.push(frame),
                    3 => { receive(&mut receiver, &frame, &mut out); receive(&mut receiver, &frame, &mut out); }
                    _ => receive(&mut receiver, &frame, &mut out),
                }
                if !calm && delayed.len() > 2 {
                    let late = delayed.swap_remove(0);
                    receive(&mut receiver, &late, &mut out);
                }
            }
            if calm || fates.next().expect("a cycle") > 1 {
                sender.handle_receipt(&receiver.receipt(Lane::Normal).0, &mut settled, NOW);
            }
            if settled.len() == sent.len() && sender.undelivered().count() == 0 {
                break;
            }
            sender.doubt_all();
        }
        check(&sent, &out);
        prop_assert_eq!(out.len(), sent.len());
        prop_assert!(settled.iter().all(|(_, state, _)| *state == ReceiptState::Delivered));
    }
}

#[test]
fn a_message_waits_only_for_its_own_thread() {
    let (mut sender, mut receiver) = (SendLane::default(), ReceiveLane::default());
    let mut frames = Vec::new();
    for (token, thread) in [(1, 1), (2, 2), (3, 1)] {
        sender.push(outbound(token, thread, 10));
        frames.push(build(&mut sender).expect("there is credit").0);
    }
    let mut out = Vec::new();
    receive(&mut receiver, &frames[2], &mut out);
    assert!(out.is_empty(), "the second message of thread 1 must wait for the first");
    receive(&mut receiver, &frames[1], &mut out);
    assert_eq!(out.len(), 1, "thread 2 must not wait for thread 1");
    receive(&mut receiver, &frames[0], &mut out);
    assert_eq!(out.len(), 3);
    assert_eq!(out[2].header.id, MessageId::from_bytes([3; 16]));
}

#[test]
fn an_expired_message_leaves_a_gap_and_its_thread_goes_on() {
    let (mut sender, mut receiver) = (SendLane::default(), ReceiveLane::default());
    sender.push(outbound(1, 1, 10));
    let lost = build(&mut sender).expect("there is credit").0;
    let mut late = outbound(2, 1, 10);
    late.header.expiry = 5_000;
    sender.push(late);
    let second = build(&mut sender).expect("there is credit").0;
    let mut out = Vec::new();
    receive(&mut receiver, &second, &mut out);
    assert!(out.is_empty());
    let mut settled = Vec::new();
    assert_eq!(sender.expire(2_000, &mut settled), Some(5_000));
    assert_eq!(settled.iter().map(|(token, state, _)| (*token, state.clone())).collect::<Vec<_>>(), [(1, ReceiptState::Expired)]);
    receive(&mut receiver, &build(&mut sender).expect("the gap has to be sent").0, &mut out);
    assert_eq!(out.iter().map(|message| message.header.kind).collect::<Vec<_>>(), [MessageKind::Gap, MessageKind::Plain]);
    assert_eq!(out[0].header.reply_to, Some(MessageId::from_bytes([1; 16])), "the gap names what was lost");
    receive(&mut receiver, &lost, &mut out);
    assert_eq!(out.len(), 2, "what was given up is not handed over when it comes after all");
}

#[test]
fn a_chunk_that_bounces_while_others_follow_is_sent_again() {
    let (mut sender, mut receiver) = (SendLane::default(), ReceiveLane::default());
    let mut out = Vec::new();
    sender.push(outbound(1, 0, 3 * CHUNK_LIMIT));
    let (_, bounced) = build(&mut sender).unwrap();
    sender.handle_bounce(bounced);
    let mut frames = 1;
    while let Some((frame, _)) = build(&mut sender) {
        receive(&mut receiver, &frame, &mut out);
        frames += 1;
    }
    assert_eq!(frames, 5, "three chunks and a bit, and the first of them again");
    check(&[(1, 0, 3 * CHUNK_LIMIT)], &out);
    assert_eq!(out.len(), 1);
}

#[test]
fn messages_that_nobody_asks_about_keep_their_places_in_a_thread() {
    let (mut sender, mut receiver) = (SendLane::default(), ReceiveLane::default());
    let mut out = Vec::new();
    for len in [10, 20, 30] {
        sender.push(outbound(0, 1, len));
    }
    while let Some((frame, _)) = build(&mut sender) {
        receive(&mut receiver, &frame, &mut out);
    }
    assert_eq!(out.iter().map(|message| message.body.len()).collect::<Vec<_>>(), [10, 20, 30]);
}

#[test]
fn credit_is_enforced_on_both_sides() {
    let (mut sender, mut receiver) = (SendLane::default(), ReceiveLane::default());
    for token in 1..=40 {
        sender.push(outbound(token, 0, 10));
    }
    let (frame, built) = build(&mut sender).expect("there is credit");
    assert_eq!(u64::from(built.count), credit::INITIAL_MESSAGES, "before the first grant only the initial credit is used");
    assert!(build(&mut sender).is_none());
    assert!(sender.handle_credit(0, 33, 1 << 20));
    assert_eq!(build(&mut sender).expect("credit came").1.count, 1);
    let mut out = Vec::new();
    receive(&mut receiver, &frame, &mut out);
    let plenty: Vec<_> =
        (0..=u64::from(CREDIT_WINDOW_MESSAGES)).map(|number| receive_one(&mut receiver, 1_000 + number)).collect();
    assert_eq!(plenty.last(), Some(&Err(receive::ReceiveError::OverCredit)), "a sender without manners is stopped at the window");
    for _ in 0..CREDIT_WINDOW_MESSAGES / 4 {
        receiver.give_back(PLAIN);
    }
    assert!(receiver.give_back(PLAIN), "a quarter of the window is worth a word");
}

#[test]
fn outcomes_are_repeated_until_the_floor_has_passed() {
    let (mut sender, mut receiver) = (SendLane::default(), ReceiveLane::default());
    for token in 1..=3 {
        let mut message = outbound(token, 0, 10);
        message.header.wants_done = true;
        sender.push(message);
    }
    let mut out = Vec::new();
    receive(&mut receiver, &build(&mut sender).expect("there is credit").0, &mut out);
    receiver.done(1);
    receiver.refuse(2, RefusalCode::Application, "not today");
    let (mut settled, (receipt, said)) = (Vec::new(), receiver.receipt(Lane::Normal));
    receiver.note_said(&said);
    sender.handle_receipt(&receipt, &mut settled, NOW);
    let states: Vec<_> = settled.iter().map(|(token, state, _)| (*token, state.clone())).collect();
    let refused = ReceiptState::Refused { code: RefusalCode::Application, reason: "not today".into() };
    assert_eq!(
        states,
        [
            (1, ReceiptState::Delivered),
            (2, ReceiptState::Delivered),
            (3, ReceiptState::Delivered),
            (2, ReceiptState::Done),
            (3, refused)
        ]
    );
    assert_eq!(receiver.receipt(Lane::Normal).0, receipt, "it says so again, because the receipt may have been lost");
    receiver.done(0);
    sender.handle_receipt(&receiver.receipt(Lane::Normal).0, &mut settled, NOW);
    sender.push(outbound(4, 0, 10));
    receive(&mut receiver, &build(&mut sender).expect("there is credit").0, &mut out);
    assert!(receiver.receipt(Lane::Normal).0.refused.is_empty(), "the floor has passed");
}

#[test]
fn a_new_run_gets_everything_unsettled_again_in_order_and_marked() {
    let mut sender = SendLane::default();
    sender.push(outbound(1, 0, 10));
    build(&mut sender).expect("there is credit");
    sender.push(outbound(2, 0, 10));
    sender.restart();
    let (mut receiver, mut out) = (ReceiveLane::default(), Vec::new());
    receive(&mut receiver, &build(&mut sender).expect("there is credit").0, &mut out);
    let got: Vec<_> =
        out.iter().map(|message| (message.number, message.header.id.as_bytes()[0], message.header.maybe_repeated)).collect();
    assert_eq!(got, [(0, 1, true)]);
    receive(&mut receiver, &build(&mut sender).expect("there is credit").0, &mut out);
    assert_eq!((out[1].number, out[1].header.maybe_repeated, out[1].header.free), (1, false, false));
}

#[test]
fn numbers_go_on_when_the_receiver_is_another_run_and_its_receipts_stay_short() {
    let mut sender = SendLane::new(Lane::Normal, 1_000);
    sender.handle_credit(0, 10_000, 1 << 20);
    for token in 1..=200 {
        let mut message = outbound(token, 0, 10);
        message.header.wants_done = token % 4 == 1;
        sender.push(message);
    }
    let (mut first, mut out, mut settled) = (ReceiveLane::default(), Vec::new(), Vec::new());
    while let Some((frame, _)) = build(&mut sender) {
        receive(&mut first, &frame, &mut out);
    }
    first.done(1_000);
    sender.handle_receipt(&first.receipt(Lane::Normal).0, &mut settled, NOW);

    sender.restart();
    sender.push(outbound(201, 0, 10));
    sender.handle_credit(0, 1, 1 << 20);
    let (mut second, mut out) = (ReceiveLane::default(), Vec::new());
    while let Some((frame, _)) = build(&mut sender) {
        receive(&mut second, &frame, &mut out);
    }
    let plain = out.iter().filter(|message| message.header.kind == MessageKind::Plain);
    let got: Vec<_> = plain.map(|message| (message.number, message.cost.free)).collect();
    let unsettled = (1_004..1_200).step_by(4).map(|number| (number, true));
    assert_eq!(got, unsettled.chain([(1_200, false)]).collect::<Vec<_>>());
    let receipt = second.receipt(Lane::Normal).0;
    assert_eq!((receipt.delivered_below, receipt.delivered), (1_201, vec![]), "one gap stands for each stretch between them");
    sender.handle_receipt(&second.receipt(Lane::Normal).0, &mut settled, NOW);
    assert_eq!(sender.undelivered().count(), 0);
}

#[test]
fn what_waits_for_something_below_the_floor_is_handed_over() {
    let (mut sender, mut receiver, mut out) = (SendLane::default(), ReceiveLane::default(), Vec::new());
    for token in 1..=3 {
        sender.push(outbound(token, 1, 10));
    }
    let (lost, _) = build(&mut sender).expect("there is credit");
    let Section::Messages(messages) = sections(lost).next().unwrap().unwrap() else { panic!("short messages") };
    let third = messages.messages.last().unwrap();
    receiver.handle_message(Lane::Normal, 2, third, &mut Room::default(), &mut out).unwrap();
    assert!(out.is_empty());
    receiver.handle_floor(2, &mut out);
    assert_eq!(out.iter().map(|message| message.number).collect::<Vec<_>>(), [2]);
    assert_eq!(receiver.receipt(Lane::Normal).0.delivered_below, 3);
    receiver.handle_floor(u64::MAX, &mut out);
    assert_eq!(receive_one(&mut receiver, u64::MAX - 1), Ok(false), "a floor that can't be hurts nobody");
}

#[test]
fn the_common_thread_orders_plain_messages_only() {
    let mut sender = SendLane::default();
    let (mut plain, mut card, mut next) = (outbound(1, 0, 10), outbound(2, 0, 10), outbound(3, 0, 10));
    card.header.kind = MessageKind::Card;
    plain.header.thread = None;
    next.header.thread = None;
    [plain, card, next].into_iter().for_each(|message| sender.push(message));
    let mut out = Vec::new();
    receive(&mut ReceiveLane::default(), &build(&mut sender).expect("there is credit").0, &mut out);
    assert_eq!(out.iter().map(|message| message.header.after).collect::<Vec<_>>(), [0, 0, 2]);
}

#[test]
fn what_came_without_credit_is_bounded_by_what_is_unread() {
    let (mut receiver, mut room, mut taken) = (ReceiveLane::default(), Room::default(), Vec::new());
    let mut send = |number, room: &mut Room| {
        let mut message = outbound(1, 0, 10);
        message.header.free = true;
        message.header.after = 0;
        let mut encoded = BytesMut::new();
        message.header.encode_into(&mut encoded);
        receiver.handle_message(Lane::Normal, number, encoded.freeze(), room, &mut taken)
    };
    for number in 0..2 * u64::from(CREDIT_WINDOW_MESSAGES) {
        assert_eq!(send(number, &mut room), Ok(true));
    }
    let over = 2 * u64::from(CREDIT_WINDOW_MESSAGES);
    assert_eq!(send(over, &mut room), Err(receive::ReceiveError::OverCredit));
    room.give_back(Cost { free: true, ..PLAIN });
    assert_eq!(send(over, &mut room), Ok(true), "it is taken when something was read");
    let counted = receiver.credits(Lane::Normal, false).into_iter().filter(|credit| credit.class == CreditClass::Plain);
    assert_eq!(counted.count(), 0, "neither side counts it");
}

fn receive_one(lane: &mut ReceiveLane, number: u64) -> Result<bool, receive::ReceiveError> {
    let message = outbound(1, 0, 10);
    let mut encoded = BytesMut::new();
    message.header.encode_into(&mut encoded);
    encoded.extend_from_slice(&message.body);
    lane.handle_message(Lane::Normal, number, encoded.freeze(), &mut Room::default(), &mut Vec::new())
}

/// What a lane parks, envelope by envelope: numbers, what they wait for in another run, until when, and what for in the present one.
fn park(lane: &mut SendLane) -> Vec<Vec<(u64, u64, u64, u32)>> {
    let mut parked = Vec::new();
    while let Some(draft) = lane.next_draft(NOW, 100, &mut Vec::new()) {
        let messages = draft.messages.iter().map(|parked| {
            let (header, _) = MessageHeader::decode(parked.message.clone()).expect("it was made here");
            (parked.number, parked.before, parked.waits_until, header.after)
        });
        parked.push(messages.collect());
        lane.handle_accepted(draft.serial, &mut Vec::new());
    }
    parked
}

fn until(mut message: Outbound, expiry: u64) -> Outbound {
    message.header.expiry = expiry;
    message
}

#[test]
fn an_envelope_is_filled_in_order_and_what_can_t_wait_keeps_its_thread_back() {
    let mut sender = SendLane::new(Lane::Normal, 50);
    for (token, thread, len) in [(1, 1, 10), (2, 1, 20_000), (3, 1, 10), (4, 2, 10_000), (5, 2, 10_000), (6, 0, 10)] {
        sender.push(outbound(token, thread, len));
    }
    let first = (50, 50, 0, 0);
    assert_eq!(park(&mut sender), [vec![first, (51, 51, 0, 0)], vec![(52, 51, 1_000, 1), (53, 53, 0, 0)]]);
    let left: Vec<_> = sender.undelivered().collect();
    assert_eq!(left, [2, 3], "what is accepted is good");
    assert!(!sender.may_park());
}

#[test]
fn a_parked_message_passes_over_gaps_and_waits_for_the_last_that_lives() {
    let mut sender = SendLane::default();
    for (token, expiry) in [(1, 5_000), (2, 90), (3, 9_000)] {
        sender.push(until(outbound(token, 1, 10), expiry));
    }
    build(&mut sender).expect("there is credit");
    sender.expire(100, &mut Vec::new());
    sender.push(until(outbound(4, 1, 10), 4_000));
    // 0 is before the gap at 1, which the present run may still hear of; 3 waits for as long as 2 may come.
    assert_eq!(park(&mut sender), [[(0, 0, 0, 0), (2, 0, 5_000, 2), (3, 2, 9_000, 1)]]);
}

#[test]
fn what_was_delivered_and_not_done_goes_along_for_another_run() {
    let (mut sender, mut receiver, mut out, mut settled) = (SendLane::default(), ReceiveLane::default(), Vec::new(), Vec::new());
    for (token, len) in [(1, 10), (2, 40_000)] {
        let mut message = outbound(token, 1, len);
        message.header.wants_done = true;
        sender.push(message);
    }
    sender.handle_credit(0, 100, 1 << 20);
    while let Some((frame, _)) = build(&mut sender) {
        receive(&mut receiver, &frame, &mut out);
    }
    sender.handle_receipt(&receiver.receipt(Lane::Normal).0, &mut settled, NOW);
    sender.push(outbound(3, 1, 10));
    assert_eq!(park(&mut sender), [[(0, 0, 0, 0), (2, 1, 1_000, 0)]], "the large one comes in a session, or is too late");
    assert_eq!(settled.len(), 2, "nothing is said of what was delivered");
}

#[test]
fn no_more_is_parked_than_a_window_and_the_rest_follows_when_it_expires() {
    let mut sender = SendLane::default();
    for token in 0..u64::from(CREDIT_WINDOW_MESSAGES) + 10 {
        sender.push(until(outbound(token, 0, 0), if token < 10 { 500 } else { 1_000 }));
    }
    let parked: usize = park(&mut sender).iter().map(Vec::len).sum();
    assert_eq!(parked, CREDIT_WINDOW_MESSAGES as usize);
    sender.expire(600, &mut Vec::new());
    let parked: usize = park(&mut sender).iter().map(Vec::len).sum();
    assert_eq!(parked, 10);
}

#[test]
fn a_late_answer_about_an_envelope_means_nothing() {
    let (mut sender, mut settled) = (SendLane::default(), Vec::new());
    sender.push(outbound(1, 0, 10));
    let first = sender.next_draft(NOW, 100, &mut settled).expect("there is something");
    sender.unpark();
    let second = sender.next_draft(NOW, 100, &mut settled).expect("it isn't accepted");
    sender.handle_accepted(first.serial, &mut settled);
    assert!(settled.iter().all(|(_, state, _)| *state == ReceiptState::Unknown) && sender.undelivered().count() == 1);
    sender.handle_accepted(second.serial, &mut settled);
    assert_eq!(settled.last().map(|(_, state, _)| state.clone()), Some(ReceiptState::Accepted));
    sender.forget_accepted(Hint::Queued, &mut settled);
    assert_eq!(settled.last().map(|(_, state, _)| state.clone()), Some(ReceiptState::Queued));
    assert_eq!(park(&mut sender).len(), 1, "it is parked once more");
}

#[test]
fn of_what_counts_for_the_path_nothing_small_overtakes_what_is_too_large_for_it() {
    let mut lane = SendLane::new(Lane::Bulk, 0);
    lane.handle_credit(CreditClass::Plain.index(), 100, 1 << 20);
    lane.handle_credit(CreditClass::Request.index(), 100, 1 << 20);
    for token in 1..=3 {
        lane.push(outbound(token, 0, 60 << 10));
    }
    let mut small = outbound(4, 0, 10);
    small.header.kind = MessageKind::Request;
    lane.push(small);
    while build(&mut lane).is_some() {}
    assert_eq!((lane.next(), lane.waiting()), (2, 2), "two fit");
    lane.note_beside(1 << 20);
    lane.handle_credit(CreditClass::Plain.index(), 100, 1 << 20);
    while build(&mut lane).is_some() {}
    assert_eq!(lane.waiting(), 0, "others have more under way than that");
}

#[test]
fn under_way_is_what_was_sent_until_it_arrives_or_its_gap_is_forgotten() {
    let mut sender = SendLane::default();
    let (mut receiver, mut out, mut settled) = (ReceiveLane::default(), Vec::new(), Vec::new());
    sender.handle_credit(CreditClass::Plain.index(), 10_000, 1 << 24);
    sender.push(outbound(1, 0, 500));
    sender.push(outbound(2, 0, 30_000));
    let mut sent = 0;
    while let Some((frame, _)) = build(&mut sender) {
        receive(&mut receiver, &frame, &mut out);
        sent += frame.len() as u64;
    }
    assert!((30_500..sent).contains(&sender.bytes_under_way()), "{} of {sent}", sender.bytes_under_way());
    sender.handle_receipt(&receiver.receipt(Lane::Normal).0, &mut settled, NOW);
    assert_eq!(sender.bytes_under_way(), 0);

    for token in 0..2 * u64::from(CREDIT_WINDOW_MESSAGES) {
        sender.push(outbound(token, 0, 10));
    }
    while build(&mut sender).is_some() {}
    let all = sender.bytes_under_way();
    sender.expire(2_000, &mut settled);
    assert_eq!(sender.bytes_under_way(), all, "gaps go where they were");
    sender.expire(2_000, &mut settled);
    assert!(sender.bytes_under_way() <= all / 2, "gaps beyond those that are kept");
    sender.fail_all(&mut settled);
    assert_eq!(sender.bytes_under_way(), 0);

    sender.push(outbound(9, 0, 10));
    let next = sender.next();
    assert_eq!(sender.next_draft(NOW, 0, &mut settled).map(|draft| draft.messages.len()), Some(1));
    assert_eq!((sender.next(), sender.bytes_under_way()), (next + 1, 0), "it waits at the switchboard, and isn't on its way");
}

#[test]
fn what_follows_a_message_that_is_too_late_waits_at_the_switchboard_only_when_that_has_ended() {
    let (mut sender, mut settled) = (SendLane::default(), Vec::new());
    sender.handle_credit(CreditClass::Plain.index(), 10, 1 << 20);
    for (token, thread, expiry) in [(1, 1, 1_000), (2, 1, 5_000), (3, 2, 5_000)] {
        sender.push(until(outbound(token, thread, 10), expiry));
    }
    while build(&mut sender).is_some() {} // and all of it is lost
    let mut numbers = |sender: &mut SendLane| {
        let draft = sender.next_draft(NOW, 2_000, &mut settled)?;
        sender.handle_accepted(draft.serial, &mut settled);
        Some(draft.messages.iter().map(|parked| parked.number).collect::<Vec<_>>())
    };
    assert_eq!(numbers(&mut sender), Some(vec![2]), "the other thread's alone: the first could still go in a session");
    sender.expire(2_000, &mut Vec::new());
    assert_eq!(numbers(&mut sender), Some(vec![1]));
}

#[test]
fn what_an_envelope_waits_for_keeps_its_place_when_it_is_settled_meanwhile() {
    let mut sender = SendLane::default();
    sender.handle_credit(CreditClass::Plain.index(), 10, 1 << 20);
    sender.push(outbound(1, 1, 10));
    let mut long = outbound(2, 1, CHUNK_LIMIT);
    long.header.wants_done = true;
    sender.push(long);
    let (mut earlier, mut out, mut settled) = (ReceiveLane::default(), Vec::new(), Vec::new());
    build(&mut sender).expect("the first one, which is lost");
    while let Some((frame, _)) = build(&mut sender) {
        receive(&mut earlier, &frame, &mut out);
    }
    assert!(out.is_empty(), "it waits for the first");
    sender.handle_receipt(&earlier.receipt(Lane::Normal).0, &mut settled, NOW);
    // The receiver is gone. Each message waits in an envelope of its own.
    let mut envelopes = Vec::new();
    for token in [3, 4] {
        envelopes.extend(sender.next_draft(NOW, 100, &mut settled).map(|draft| draft.messages));
        sender.handle_accepted(sender_serial(&envelopes), &mut settled);
        sender.push(outbound(token, 1, 10));
    }
    envelopes.extend(sender.next_draft(NOW, 100, &mut settled).map(|draft| draft.messages));
    assert_eq!(
        envelopes.iter().map(|messages| (messages[0].number, messages[0].before)).collect::<Vec<_>>(),
        [(0, 0), (2, 1), (3, 2)]
    );
    // Its last word comes late.
    sender.withdraw_all(2);
    sender.restart();

    let (mut receiver, mut room, mut out) = (ReceiveLane::default(), Room::default(), Vec::new());
    let mut open = |receiver: &mut ReceiveLane, out: &mut Vec<HandedOver>, which: usize| {
        for parked in envelopes[which].clone() {
            receiver.handle_parked(parked, false, &mut room, out).expect("the sender keeps the rules");
        }
    };
    open(&mut receiver, &mut out, 2);
    open(&mut receiver, &mut out, 1);
    while let Some((frame, _)) = build(&mut sender) {
        receive(&mut receiver, &frame, &mut out);
    }
    assert!(out.is_empty(), "the first one is still under way: {out:?}");
    open(&mut receiver, &mut out, 0);
    let plain = out.iter().filter(|message| message.header.kind == MessageKind::Plain);
    assert_eq!(plain.map(|message| message.number).collect::<Vec<_>>(), [0, 2, 3]);
}

fn sender_serial(envelopes: &[Vec<crate::agent::parcel::ParkedMessage>]) -> u64 {
    envelopes.len() as u64 - 1
}
