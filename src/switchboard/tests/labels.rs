//! Who hears of whom in a swarm.

use super::world::*;
use crate::proto::{Label, LabelChanges, ServerFrame, limits};
use crate::switchboard::LinkId;

#[test]
fn labels_that_come_and_go_while_a_link_is_busy_are_told_once() {
    let mut world = World::new();
    let ann = world.member(1);
    world.hear_all();
    for _ in 0..10 {
        let bob = world.member(2);
        world.board.handle_closed(bob, world.now);
    }
    world.member(3);
    let news = LabelChanges { came: vec![label(3)], went: vec![label(2)], ..LabelChanges::default() };
    assert_eq!(world.heard(ann), [ServerFrame::Labels(news)]);
}

#[test]
fn a_link_that_missed_too_much_gets_the_whole_list_again() {
    let mut world = World::new();
    let ann = world.member(1);
    world.hear_all();
    let swarm = world.board.swarms.find(&routing().public()).expect("ann's");
    for n in 0..2_000u32 {
        let mut name = [0xAA; 16];
        name[..4].copy_from_slice(&n.to_be_bytes());
        let gone = LinkId::default();
        world.board.swarms[swarm].join(Label::from_bytes(name), gone);
        world.board.swarms[swarm].leave(Label::from_bytes(name), gone);
    }
    world.member(2);
    assert_eq!(world.heard(ann), [forget_others_and_frame([label(2)])]);
}

#[test]
fn a_list_longer_than_a_frame_comes_in_several() {
    let mut world = World::new();
    let ann = world.member(1);
    world.hear_all();
    let swarm = world.board.swarms.find(&routing().public()).expect("ann's");
    let total = limits::LABELS_PER_FRAME * 2 + 10;
    for n in 0..total as u32 {
        let mut name = [0; 16];
        name[..4].copy_from_slice(&n.to_be_bytes());
        world.board.swarms[swarm].join(Label::from_bytes(name), LinkId::default());
    }
    let frames = world.heard(ann);
    let mut told = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        assert!(frame.encoded_len() <= limits::FRAME);
        let ServerFrame::Labels(labels) = frame else { panic!("{frame:?}") };
        assert_eq!((labels.forget_others, labels.went.len()), (index == 0, 0));
        told.extend_from_slice(&labels.came);
    }
    assert_eq!((frames.len(), told.len()), (3, total));
    assert!(told.is_sorted());
}
