//! Large bodies, through all that goes wrong with links, switchboards, agents and applications.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use a2alinker::agent::bodies::{End, PART_BYTES};
use a2alinker::agent::limits::{BODIES_FROM_PEER, BODIES_TO_PEER, CREDIT_WINDOW_BYTES, LARGE_BODY_MAX};
use a2alinker::agent::message::{ContentType, MessageHeader, MessageKind};
use a2alinker::agent::section::{self, Receipt};
use a2alinker::agent::{BodyError, BodyForm, Head, ReceiptState, RefusalCode, SendError};
use a2alinker::crypto::Session;
use a2alinker::proto::{Lane, MessageId, ThreadId};
use bytes::{Bytes, BytesMut};

use crate::simulation::application::Manner;
use crate::simulation::dice::Dice;
use crate::simulation::history::{State, Who};
use crate::simulation::memory::held;
use crate::simulation::network::{Fate, Line};
use crate::simulation::villain::Villain;
use crate::simulation::world::{Notice, Reader, SendPlan, Source, World};

const SECOND: Duration = Duration::from_secs(1);
const MIB: usize = 1 << 20;

/// Agents 1 and 2 have a session, over lines of a megabyte a second.
fn acquainted() -> World {
    let mut world = World::swarm(2);
    for who in [1, 2] {
        world.seats[who].line = Line { bandwidth: 1 << 20, ..Line::NEAR };
    }
    let first = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 15);
    assert_eq!(world.history.state(first), State::Delivered);
    world
}

/// Counts the bytes of frames from one agent to another that the relay passes.
fn count(world: &mut World, from: Who, to: Who) -> Rc<Cell<usize>> {
    let passed = Rc::<Cell<usize>>::default();
    let counter = Rc::clone(&passed);
    world.rule = Some(Box::new(move |crossing| {
        if crossing.from == Some(from) && crossing.to == to {
            counter.set(counter.get() + crossing.frame.bytes().len());
        }
        Fate::Pass
    }));
    passed
}

fn is_refused(world: &World, body: usize, with: RefusalCode) -> bool {
    matches!(world.body_state(body), Some(ReceiptState::Refused { code, .. }) if *code == with)
}

#[test]
fn bodies_of_all_sizes_and_sources_arrive_whole() {
    let mut world = acquainted();
    let sizes = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 700_000];
    let mut bodies = Vec::new();
    for source in [Source::Whole, Source::File, Source::Stream] {
        for (len, lane) in sizes.into_iter().zip([Lane::Urgent, Lane::High, Lane::Normal, Lane::Bulk].into_iter().cycle()) {
            bodies.push(world.send_body(1, 2, lane, len, source).expect("there is room"));
        }
    }
    world.run_for(SECOND * 60);
    for body in bodies {
        assert!(world.is_whole(body), "{:?}", world.sent_bodies[body]);
        assert_eq!(world.body_state(body), Some(&ReceiptState::Delivered));
        assert!(world.sent_bodies[body].is_over, "its source is let go");
    }
    world.conclude();
}

#[test]
fn a_body_goes_on_after_cuts_where_it_stopped() {
    let mut world = acquainted();
    let passed = count(&mut world, 1, 2);
    let body = world.send_body(1, 2, Lane::Normal, 8 * MIB, Source::File).expect("there is room");
    for (who, notice) in [(2, Notice::Both), (1, Notice::Both), (2, Notice::Both), (1, Notice::Agent)] {
        world.run_for(SECOND * 2);
        world.cut(who, notice);
    }
    world.run_until("it is whole", SECOND * 120, |world| world.is_whole(body));
    let more = passed.get() - 8 * MIB;
    assert!(more < 3 * MIB, "{more} bytes were sent in vain: more than was under way at four cuts");
    assert_eq!(world.got_bodies.len(), 1, "it never began anew");
    world.run_for(SECOND * 5);
    assert_eq!(world.body_state(body), Some(&ReceiptState::Delivered));
    world.conclude();
}

#[test]
fn a_body_survives_the_switchboard() {
    let mut world = acquainted();
    let bodies =
        [Source::File, Source::Stream].map(|source| world.send_body(1, 2, Lane::High, 3 * MIB, source).expect("there is room"));
    world.run_for(SECOND * 2);
    world.restart_switchboard(SECOND * 3);
    world.run_until("both are whole", SECOND * 60, |world| bodies.iter().all(|body| world.is_whole(*body)));
    assert_eq!(world.got_bodies.len(), 2);
    world.conclude();
}

#[test]
fn a_receiver_that_begins_anew_gets_files_anew_and_streams_fail() {
    let mut world = acquainted();
    let ticket = world.ticket(0, None);
    let [file, bytes, stream] = [Source::File, Source::Whole, Source::Stream]
        .map(|source| world.send_body(1, 2, Lane::Normal, 2 * MIB, source).expect("there is room"));
    world.run_for(SECOND * 2);
    let anew = world.restart(2, ticket);
    world.run_until("both are whole", SECOND * 120, |world| world.is_whole(file) && world.is_whole(bytes));
    for body in [file, bytes] {
        let uid = world.sent_bodies[body].uid;
        let again: Vec<_> = world.got_bodies_of(uid).filter(|got| got.who == anew).collect();
        assert_eq!((again.len(), again[0].repeated), (1, true), "{again:?}");
    }
    assert_eq!(world.body_state(stream), Some(&ReceiptState::Failed));
    assert!(world.sent_bodies[stream].is_over);
    world.conclude();
}

#[test]
fn a_sender_that_dies_in_the_middle_is_an_error_at_the_receiver() {
    let mut world = acquainted();
    let ticket = world.ticket(0, None);
    world.send_body(1, 2, Lane::Normal, 4 * MIB, Source::File).expect("there is room");
    world.run_for(SECOND * 2);
    world.restart(1, ticket);
    world.run_for(SECOND * 30);
    assert_eq!(world.got_bodies[0].outcome, Some(Err(BodyError::SenderRestarted)));

    let mut world = acquainted();
    world.send_body(1, 2, Lane::Normal, 4 * MIB, Source::File).expect("there is room");
    world.run_for(SECOND * 2);
    world.close(1);
    world.run_for(SECOND * 5);
    assert_eq!(world.got_bodies[0].outcome, Some(Err(BodyError::SenderGone)));

    let mut world = acquainted();
    let minute = SECOND * 60;
    world.send_body_within(1, 2, Lane::Normal, 4 * MIB, Source::File, minute, false).expect("there is room");
    world.run_for(SECOND * 2);
    world.kill(1);
    world.run_for(minute * 2);
    assert_eq!(world.got_bodies[0].outcome, Some(Err(BodyError::Stalled(minute))));
}

#[test]
fn a_receiver_that_reads_no_further_refuses_the_rest() {
    let mut world = acquainted();
    let passed = count(&mut world, 1, 2);
    world.readers.insert(2, Reader::Drops(300_000));
    let body = world.send_body(1, 2, Lane::Normal, 64 * MIB, Source::Stream).expect("there is room");
    world.run_for(SECOND * 20);
    assert!(is_refused(&world, body, RefusalCode::Application), "{:?}", world.body_state(body));
    assert!(world.sent_bodies[body].is_over);
    assert!(passed.get() < 4 * MIB, "{} bytes were sent of what nobody wants", passed.get());
    // The way is free for others.
    world.readers.insert(2, Reader::Reads);
    let other = world.send_body(1, 2, Lane::Normal, 6 * MIB, Source::Whole).expect("there is room");
    world.run_until("it is whole", SECOND * 30, |world| world.is_whole(other));
    world.conclude();
}

#[test]
fn bodies_that_nobody_reads_hold_neither_much_memory_nor_the_others() {
    let mut world = acquainted();
    world.readers.insert(2, Reader::Waits);
    let before = held();
    let unread: Vec<usize> =
        (0..4).map(|_| world.send_body(1, 2, Lane::Normal, 16 * MIB, Source::Stream).expect("there is room")).collect();
    world.run_for(SECOND * 30);
    let grown = held() - before;
    assert!(grown < 3 * CREDIT_WINDOW_BYTES as isize, "{grown} bytes");
    // Whoever reads only the newest gets it whole.
    world.readers.insert(2, Reader::Reads);
    let read = world.send_body(1, 2, Lane::Normal, 2 * MIB, Source::Stream).expect("there is room");
    world.run_until("it is whole", SECOND * 120, |world| world.is_whole(read));
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 2);
    assert_eq!(world.history.state(message), State::Delivered);
    assert!(world.sent_bodies.iter().all(|body| body.largest_wish <= 2 * MIB));
    world.read_bodies(2, Reader::Reads);
    world.run_until("all are whole", SECOND * 200, |world| unread.iter().all(|body| world.is_whole(*body)));
    world.conclude();
}

#[test]
fn done_means_that_all_of_it_was_read() {
    let mut world = acquainted();
    world.readers.insert(2, Reader::Waits);
    let hour = SECOND * 3_600;
    let body = world.send_body_within(1, 2, Lane::Normal, MIB, Source::File, hour, true).expect("there is room");
    world.run_for(SECOND * 10);
    assert_eq!(world.body_state(body), Some(&ReceiptState::Delivered), "it is in memory, and its message was handled");
    world.read_bodies(2, Reader::Reads);
    world.run_for(SECOND * 10);
    assert_eq!(world.body_state(body), Some(&ReceiptState::Done));
    let dropped = world.send_body_within(1, 2, Lane::Normal, MIB, Source::File, hour, true).expect("there is room");
    world.readers.insert(2, Reader::Drops(MIB as u64 / 2));
    world.run_for(SECOND * 10);
    assert!(is_refused(&world, dropped, RefusalCode::Application), "{:?}", world.body_state(dropped));
    world.conclude();
}

#[test]
fn a_source_that_ends_early_or_never_is_told_at_both_ends() {
    let mut world = acquainted();
    let shrunk = world.send_body(1, 2, Lane::Normal, MIB, Source::Shrunk(MIB / 2)).expect("there is room");
    let minute = SECOND * 60;
    let stuck = world.send_body_within(1, 2, Lane::Normal, MIB, Source::Stuck(MIB / 2), minute, false).expect("there is room");
    world.run_for(minute * 3);
    assert_eq!(world.body_state(shrunk), Some(&ReceiptState::Failed));
    assert_eq!(world.body_state(stuck), Some(&ReceiptState::Expired));
    let outcomes: Vec<_> = world.got_bodies.iter().map(|got| got.outcome.clone()).collect();
    assert!(matches!(outcomes[0], Some(Err(BodyError::GivenUp(_)))), "{outcomes:?}");
    assert!(matches!(outcomes[1], Some(Err(BodyError::GivenUp(_) | BodyError::Stalled(_)))), "{outcomes:?}");
    world.conclude();
}

#[test]
fn a_body_whose_receiver_never_comes_expires() {
    let mut world = acquainted();
    world.cut_off(2);
    world.run_for(SECOND * 60);
    let body = world.send_body_within(1, 2, Lane::Normal, MIB, Source::File, SECOND * 30, false).expect("there is room");
    world.run_for(SECOND);
    assert_eq!(world.body_state(body), Some(&ReceiptState::Unknown));
    world.run_for(SECOND * 60);
    assert_eq!(world.body_state(body), Some(&ReceiptState::Expired));
    assert!(world.sent_bodies[body].is_over);
    assert_eq!(world.sent_bodies[body].largest_wish, 0, "nothing of it was read for nobody");
}

#[test]
fn bodies_to_one_peer_are_bounded_and_room_is_announced() {
    let mut world = acquainted();
    world.readers.insert(2, Reader::Waits);
    for _ in 0..BODIES_TO_PEER {
        world.send_body(1, 2, Lane::Normal, 2 * PART_BYTES, Source::Whole).expect("there is room");
    }
    let one_more = world.send_body(1, 2, Lane::Normal, 1, Source::Whole);
    assert!(matches!(one_more, Err(SendError::OutboxFull { .. })), "{one_more:?}");
    let too_long = world.send_body(1, 0, Lane::Normal, LARGE_BODY_MAX as usize + 1, Source::File);
    assert!(matches!(too_long, Err(SendError::BodyTooLarge { .. })), "{too_long:?}");
    world.seats[1].is_full = true;
    world.run_for(SECOND * 10);
    world.read_bodies(2, Reader::Reads);
    world.run_for(SECOND * 60);
    assert!(!world.seats[1].is_full, "there is room again, and the application hears of it");
    assert!((0..BODIES_TO_PEER).all(|body| world.is_whole(body)));
    world.conclude();
}

#[test]
fn a_body_to_a_slow_receiver_does_not_fill_the_queue_of_the_switchboard() {
    for (lane, source) in [(Lane::Bulk, Source::Whole), (Lane::Normal, Source::File)] {
        let mut world = acquainted();
        world.seats[1].line = Line::NEAR;
        world.seats[2].line = Line { bandwidth: 300 << 10, ..Line::NEAR };
        let body = world.send_body(1, 2, lane, 6 * MIB, source).expect("there is room");
        let mut most = 0;
        while !world.is_whole(body) {
            world.run_for(SECOND / 10);
            assert!(world.now < SECOND * 120, "it takes too long");
            most = most.max(world.switchboard().stats().queued_bytes);
        }
        assert!(most < 512 << 10, "{most} bytes waited at the switchboard, where they do nothing but fill its memory");
        world.conclude();
    }
}

/// One body after another in all lanes, while links break and the switchboard restarts.
#[test]
fn fifty_networks_keep_every_body_whole() {
    for seed in 0..50 {
        let mut dice = Dice::new(seed);
        let mut world = World::new(seed);
        let host = world.host(Line::random(&mut dice), 0, Manner::PROMPT);
        let ticket = world.ticket(host, None);
        let line = Line::random(&mut dice);
        let other = world.join(ticket, line, dice.within(0..100_000) as i64 - 50_000, Manner::PROMPT);
        world.run_until("they know each other", SECOND * 60, World::is_complete);
        world.relay.loses = dice.within(0..20);
        world.relay.repeats = dice.within(0..20);
        world.relay.delays = dice.within(0..50);
        let mut bodies = Vec::new();
        for _ in 0..dice.within(1..8) {
            let (from, to) = if dice.chance(500) { (host, other) } else { (other, host) };
            let source = *dice.pick(&[Source::Whole, Source::File, Source::Stream]).expect("three");
            let lane = *dice.pick(&Lane::ALL[1..]).expect("four");
            bodies.push(world.send_body(from, to, lane, dice.within(0..600_000) as usize, source).expect("there is room"));
            world.run_for(dice.millis(0..2_000));
            match dice.within(0..6) {
                0 => world.cut(*dice.pick(&[host, other]).expect("two"), Notice::Both),
                1 => world.cut(*dice.pick(&[host, other]).expect("two"), Notice::Nobody),
                2 => world.restart_switchboard(dice.millis(0..5_000)),
                _ => {}
            }
        }
        world.run_for(SECOND * 10);
        world.relay = crate::simulation::network::Relay::HONEST;
        world.run_for(SECOND * 300);
        for body in bodies {
            assert!(world.is_whole(body), "seed {seed}: {:?}\n{:?}\n{}", world.sent_bodies[body], world.got_bodies, world.tell());
            assert_eq!(world.body_state(body), Some(&ReceiptState::Delivered), "seed {seed}");
        }
        assert_eq!(world.got_bodies.len(), world.sent_bodies.len(), "seed {seed}: each came once");
    }
}

#[test]
fn a_receiver_that_says_it_has_taken_what_it_never_confirmed_gets_no_more() {
    let mut world = World::swarm(3);
    let mut villain = Villain::in_place_of(3, &mut world);
    let mut session = villain.open(&mut world, VICTIM);
    let body = world.send_body(VICTIM, 3, Lane::Normal, 64 * MIB, Source::Stream).expect("there is room");
    world.run_for(SECOND);
    // The head, which it has: number 0 of the lane, since nothing else went there.
    let mut receipt = Receipt::new(Lane::Normal, 1);
    receipt.delivered.clear();
    let mut content = BytesMut::new();
    section::put_receipt(&mut content, &receipt);
    villain.send(&mut world, VICTIM, &mut session, Lane::Control, &content);
    world.run_for(SECOND);
    let before = held();
    let head = world.head_of(body);
    for number in 0..200 {
        let set = |header: &mut MessageHeader| header.reply_to = Some(head);
        let taken = villain.message(number, MessageKind::Taken, set, &u64::MAX.to_be_bytes());
        villain.send(&mut world, VICTIM, &mut session, Lane::Normal, &taken);
        world.run_for(SECOND / 100);
    }
    assert!(world.sent_bodies[body].largest_wish > 0, "it was asked for the body");
    let grown = held() - before;
    assert!(grown < 2 * CREDIT_WINDOW_BYTES as isize, "{grown} bytes of a body wait for a receiver that confirms nothing");
}

// A sender that keeps to no rule.

const VICTIM: Who = 1;

struct Attack {
    world: World,
    villain: Villain,
    session: Session,
    next: u64,
}

impl Attack {
    fn begin() -> Self {
        let mut world = World::swarm(3);
        let mut villain = Villain::in_place_of(3, &mut world);
        let session = villain.open(&mut world, VICTIM);
        Self { world, villain, session, next: 0 }
    }

    fn send(&mut self, kind: MessageKind, change: impl FnOnce(&mut MessageHeader), body: &[u8]) {
        let content = self.villain.message(self.next, kind, change, body);
        self.next += 1;
        self.villain.send(&mut self.world, VICTIM, &mut self.session, Lane::Normal, &content);
        self.world.run_for(Duration::from_millis(5));
    }

    fn head(&mut self, id: u8, length: Option<u64>) {
        let head = Head { form: BodyForm::File, length, name: "planted.bin".to_owned() };
        let headers = crate::simulation::application::headers(u64::from(id), 0);
        let set = |header: &mut MessageHeader| {
            header.id = MessageId::from_bytes([id; 16]);
            header.content_type = ContentType::Large;
            header.headers = a2alinker::agent::message::Headers::new(headers).expect("it is short");
        };
        self.send(MessageKind::Plain, set, &head.encode());
    }

    fn part(&mut self, id: u8, bytes: &[u8]) {
        self.send(MessageKind::Part, of(id), bytes);
    }

    fn end(&mut self, id: u8, end: &End) {
        self.send(MessageKind::End, of(id), &end.encode());
    }

    fn outcome(&self, at: usize) -> Option<&Result<(), BodyError>> {
        self.world.got_bodies.get(at).and_then(|got| got.outcome.as_ref())
    }
}

fn of(id: u8) -> impl FnOnce(&mut MessageHeader) {
    move |header| {
        header.reply_to = Some(MessageId::from_bytes([id; 16]));
        header.thread = Some(ThreadId::from_bytes([id; 16]));
        header.ttl_ms = 1_000;
    }
}

#[test]
fn a_body_that_is_not_what_was_announced_is_an_error() {
    let mut attack = Attack::begin();
    attack.world.readers.insert(VICTIM, Reader::Waits);
    attack.head(1, Some(10));
    attack.part(1, b"0123456789");
    attack.end(1, &End::Complete { total: 10, digest: [7; 32] });
    attack.head(2, Some(10));
    attack.part(2, b"01234567890");
    attack.head(3, Some(10));
    attack.part(3, b"0123");
    attack.end(3, &End::Complete { total: 10, digest: [7; 32] });
    attack.head(4, None);
    attack.send(MessageKind::End, of(4), b"nonsense");
    attack.head(5, None);
    attack.part(5, b"");
    attack.world.read_bodies(VICTIM, Reader::Reads);
    let expected = [
        BodyError::WrongDigest,
        BodyError::WrongLength { expected: 10, got: 11 },
        BodyError::WrongLength { expected: 10, got: 4 },
        BodyError::Malformed,
        BodyError::Malformed,
    ];
    for (at, error) in expected.into_iter().enumerate() {
        assert_eq!(attack.outcome(at), Some(&Err(error)));
    }
}

#[test]
fn heads_that_can_not_be_are_not_handed_over() {
    let mut attack = Attack::begin();
    attack.head(1, Some(LARGE_BODY_MAX + 1));
    let large = |header: &mut MessageHeader| header.content_type = ContentType::Large;
    attack.send(MessageKind::Plain, large, b"");
    attack.send(MessageKind::Plain, large, &[9; 100]);
    // One head twice, under two numbers.
    attack.head(2, None);
    attack.head(2, None);
    assert_eq!(attack.world.got_bodies.len(), 1);
}

#[test]
fn parts_without_a_head_and_bodies_without_an_end_stay_within_bounds() {
    let mut attack = Attack::begin();
    attack.world.readers.insert(VICTIM, Reader::Waits);
    let before = held();
    let part = Bytes::from(vec![7; 16_000]);
    for _ in 0..500 {
        attack.part(99, &part);
    }
    for id in 1..=200 {
        attack.head(id, None);
    }
    let open = attack.world.got_bodies.len();
    assert_eq!(open, BODIES_FROM_PEER, "the others were refused");
    for round in 0..2_000u32 {
        attack.part((round % 50) as u8 + 1, &part);
    }
    let grown = held() - before;
    assert!(grown < 3 * CREDIT_WINDOW_BYTES as isize, "{grown} bytes for 40 MB that nobody reads");
    // What was read makes no way either for what comes without end.
    attack.world.read_bodies(VICTIM, Reader::Waits);
    attack.world.run_for(SECOND * 10);
    let message = attack.world.send(2, SendPlan::to(VICTIM)).expect("there is room");
    attack.world.run_for(SECOND * 2);
    assert_eq!(attack.world.history.state(message), State::Delivered, "others are not held up");
}
