//! What gives way when memory is short.

use std::time::Duration;

use super::world::*;
use crate::proto::{BounceReason, ClientFrame, DataFrame, GoodbyeReason, Lane, RejectCode, ServerFrame};
use crate::switchboard::{Config, LinkId};

/// Fills the queue of a link that reads nothing until this share of the memory is in use, with large frames in several lanes.
fn fill(world: &mut World, from: LinkId, to: u8, percent: u64) {
    let most = world.board.config.memory as u64 * percent / 100;
    let sealed = vec![0; 40_000];
    for lane in [Lane::Urgent, Lane::High, Lane::Normal].into_iter().cycle() {
        if world.board.stats().memory_bytes >= most {
            break;
        }
        world.frame(from, data(label(to), lane, &sealed).into_bytes());
        world.board.poll_transmit(from, world.now);
    }
}

fn small() -> Config {
    Config { memory: 4_000_000, small_backlog: 2_000, ..Config::default() }
}

fn reasons(frames: &[ServerFrame]) -> Vec<Option<BounceReason>> {
    let reason = |frame: &ServerFrame| match frame {
        ServerFrame::Bounce(bounce) => Some(Some(bounce.reason)),
        ServerFrame::Accepted { .. } => Some(None),
        _ => None,
    };
    frames.iter().filter_map(reason).collect()
}

#[test]
fn bulk_is_shed_first_and_links_that_read_still_get_theirs() {
    let mut world = World::with(small());
    let (ann, _) = world.able(1, ABLE);
    world.able(2, ABLE);
    let (eve, _) = world.able(3, ABLE);
    world.hear_all();
    fill(&mut world, ann, 2, 70);
    world.hear_all_but_data();
    let kilobyte = [0; 1_000 - DataFrame::HEADER_LEN];
    for lane in [Lane::Bulk, Lane::Bulk, Lane::Bulk, Lane::Normal, Lane::Bulk] {
        world.frame(ann, data(label(3), lane, &kilobyte).into_bytes());
    }
    assert_eq!(reasons(&world.heard(ann)), [Some(BounceReason::Full), Some(BounceReason::Full)], "the third and the last");
    assert_eq!(world.sealed(eve).len(), 3);
    world.frame(ann, data(label(3), Lane::Bulk, &kilobyte).into_bytes());
    assert_eq!(world.sealed(eve).len(), 1, "it has read, so it gets more");
}

#[test]
fn while_memory_is_short_what_is_written_is_kept_for_no_resume() {
    let mut world = World::with(small());
    let (ann, _) = world.able(1, ABLE);
    world.able(2, ABLE);
    let (eve, welcome) = world.able(3, ABLE);
    world.hear_all();
    world.send(ann, label(3), b"kept");
    world.heard(eve);
    assert!(world.board.stats().retained_bytes > 0);
    fill(&mut world, ann, 2, 71);
    world.send(ann, label(3), b"not kept, nor what was before it");
    world.heard(eve);
    assert_eq!(world.board.stats().retained_bytes, 0);
    world.cut(eve);
    assert_eq!(world.resume(3, &welcome.resume_token, 1).1.resumed, None);
}

#[test]
fn then_nothing_more_is_parked() {
    let mut world = World::with(small());
    let (ann, _) = world.able(1, ABLE);
    world.able(2, ABLE);
    let (eve, _) = world.able(3, ABLE);
    world.frame(eve, ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
    world.hear_all();
    fill(&mut world, ann, 2, 84);
    world.heard(ann);
    world.park(ann, label(3), Lane::Normal, b"");
    assert_eq!(reasons(&world.heard(ann)), [None]);
    fill(&mut world, ann, 2, 85);
    world.heard(ann);
    world.park(ann, label(3), Lane::Normal, b"");
    assert_eq!(reasons(&world.heard(ann)), [Some(BounceReason::MailboxFull)]);
}

#[test]
fn then_new_links_are_refused_and_told_when_to_come_again() {
    let mut world = World::with(small());
    let (ann, _) = world.able(1, ABLE);
    world.able(2, ABLE);
    world.hear_all();
    fill(&mut world, ann, 2, 95);
    let late = world.open();
    let frames = world.heard(late);
    assert!(
        matches!(frames.last(), Some(ServerFrame::Reject(reject)) if reject.code == RejectCode::Full && reject.retry_after_ms > 0)
    );
    world.heard(ann);
    world.send(ann, label(2), b"those that are there go on");
    assert_eq!(world.heard(ann), []);
}

#[test]
fn when_it_is_full_everything_is_refused_but_to_who_reads() {
    let mut world = World::with(small());
    let (ann, _) = world.able(1, ABLE);
    world.able(2, ABLE);
    let (eve, _) = world.able(3, ABLE);
    world.hear_all();
    fill(&mut world, ann, 2, 99);
    for lane in [Lane::Urgent, Lane::High, Lane::Normal] {
        for _ in 0..30 {
            world.frame(ann, data(label(2), lane, &[0; 2_000]).into_bytes());
        }
    }
    world.heard(ann);
    assert!(world.board.stats().memory_bytes <= 4_000_000);
    let kilobyte = [0; 1_000 - DataFrame::HEADER_LEN];
    for _ in 0..3 {
        world.frame(ann, data(label(3), Lane::Urgent, &kilobyte).into_bytes());
    }
    assert_eq!(reasons(&world.heard(ann)), [Some(BounceReason::Full)]);
    assert_eq!(world.sealed(eve).len(), 2);
}

#[test]
fn what_is_freed_is_free_again() {
    let mut world = World::with(small());
    let (ann, _) = world.able(1, ABLE);
    let (bob, _) = world.able(2, ABLE);
    world.hear_all();
    world.send(ann, label(2), b"so that it is known what he heard");
    world.heard(bob);
    world.ack(bob, 1);
    let idle = world.board.stats().memory_bytes;
    fill(&mut world, ann, 2, 69);
    let written = world.sealed(bob).len() as u64;
    assert!(world.board.stats().memory_bytes > idle + 2_000_000, "it is kept until it is acknowledged");
    world.ack(bob, 1 + written);
    assert_eq!(world.board.stats().memory_bytes, idle);
    world.frame(ann, data(label(2), Lane::Bulk, &[0; 60_000]).into_bytes());
    assert_eq!(world.heard(ann), []);
}

#[test]
fn lost_links_and_labels_that_are_known_count() {
    let mut world = World::new();
    let (ann, _) = world.able(1, ABLE);
    let linked = world.board.stats().memory_bytes;
    assert_eq!(linked, 12 * 1024);
    world.cut(ann);
    assert_eq!(world.board.stats().memory_bytes, 1024);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.board.stats().memory_bytes, 2 * 1024);
    world.pass(Duration::from_secs(118));
    assert_eq!(world.board.stats().memory_bytes, 1024);
    world.assert_nothing_is_left();
}
