//! Bookkeeping, and input that makes no sense.

use std::time::Duration;

use super::world::*;
use crate::proto::LaneLimits;
use crate::switchboard::{Config, Output};

#[test]
fn nothing_is_left_when_all_links_are_gone() {
    let mut world = World::new();
    let (admin, bob) = (world.admin(1), world.member(2));
    world.register(admin, MAILBOX);
    let stranger = world.stranger(9, MAILBOX);
    world.send(admin, label(2), b"unread");
    for link in [stranger, bob, admin] {
        world.board.handle_closed(link, world.now);
        world.board.handle_closed(link, world.now);
    }
    let stats = world.board.stats();
    assert_eq!((stats.links, stats.swarms, stats.mailboxes, stats.queued_bytes), (0, 0, 0, 0));
    world.pass(Duration::from_secs(1));
    assert_eq!((world.board.poll_timeout(), world.board.poll_output()), (None, None));
}

#[test]
fn a_link_is_woken_once_until_it_has_nothing_left() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    while world.board.poll_output().is_some() {}
    world.send(ann, label(2), b"1");
    world.send(ann, label(2), b"2");
    assert_eq!((world.board.poll_output(), world.board.poll_output()), (Some(Output::Wake(bob)), None));
    assert!(world.board.poll_transmit(bob, world.now).is_some());
    world.send(ann, label(2), b"3");
    assert_eq!(world.board.poll_output(), None);
    assert_eq!(world.sealed(bob).len(), 2);
    world.send(ann, label(2), b"4");
    assert_eq!(world.board.poll_output(), Some(Output::Wake(bob)));
}

#[test]
fn no_input_makes_it_panic_or_lose_count() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut world = World::with(Config {
            lanes: LaneLimits { frames_per_lane: 4, bytes_per_lane: 4_000 },
            memory: [100_000, 400_000, 3_000_000][seed as usize % 3],
            small_backlog: 500,
            retained_frames: 6,
            retained_bytes: 3_000,
            dormant_links: 3,
            parked_per_agent: 3,
            parked_bytes_per_swarm: 4_000,
            known_per_swarm: 3,
            ..Config::default()
        });
        let mut links = Vec::new();
        for _ in 0..300 {
            world.random_step(&mut links, &mut dice);
        }
        for link in links {
            world.board.handle_closed(link, world.now);
        }
        world.assert_nothing_is_left();
        assert!(world.board.deadlines.is_empty(), "seed {seed}");
    }
}
