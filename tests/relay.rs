//! The switchboard over real sockets and TLS: links, refusals, and what bad input gets at each layer.

mod common {
    pub mod link;
    pub mod switchboard;
}

use a2alinker::proto::{Lane, ServerFrame};
use common::link::{Link, Swarm};
use common::switchboard::TestSwitchboard;

#[tokio::test]
async fn a_frame_crosses_the_switchboard_over_tls() {
    let switchboard = TestSwitchboard::start();
    let swarm = Swarm::new(1);
    let (ann, bob) = (swarm.member(1), swarm.member(2));
    let (mut from, labels) = Link::member(switchboard.url(), &ann).await;
    assert_eq!((labels.forget_others, labels.came), (true, vec![]));
    let (mut to, labels) = Link::member(switchboard.url(), &bob).await;
    assert_eq!(labels.came, [ann.label()]);
    assert!(matches!(from.next().await, ServerFrame::Labels(labels) if labels.came == [bob.label()]));

    from.send_data(bob.label(), Lane::Normal, b"sealed").await;
    let frame = to.next_data().await;
    assert_eq!((frame.sealed(), frame.source()), (&b"sealed"[..], ann.label()));
}
