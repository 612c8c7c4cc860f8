//! The shell of an agent over real sockets: two agents and a switchboard on one runtime, used from several threads.

mod common {
    pub mod agents;
}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use a2alinker::agent::{Config, Event, Outgoing, PeerChange, ReceiptState};
use common::agents::{World, content, message, request};

#[test]
fn a_message_is_delivered_and_its_receipt_comes_back() {
    let world = World::new();
    let (host, guest) = world.pair();
    let (token, _) = host.send(message(guest.id, 0, "hello"));
    let incoming = guest.message();
    assert_eq!((incoming.sender, &incoming.content.bytes[..]), (host.id, &b"hello"[..]));
    host.until(|event| matches!(event, Event::Receipt { token: of, state: ReceiptState::Delivered } if *of == token));
}

#[test]
fn a_request_is_answered() {
    let world = World::new();
    let (host, guest) = world.pair();
    let call = host.client.with(|core, now| core.agent.call(request(guest.id), now)).unwrap();
    host.client.flush();
    let Event::Request(incoming) = guest.until(|event| matches!(event, Event::Request(_))) else { unreachable!() };
    guest.client.with(|core, now| core.agent.answer(incoming.token, content("answer"), true, 0, None, now)).unwrap();
    guest.client.flush();
    let answered = host.until(|event| matches!(event, Event::Answered { .. }));
    assert!(matches!(answered, Event::Answered { call: of, answer } if of == call && answer.content == content("answer")));
}

#[test]
fn threads_that_send_at_once_lose_and_reorder_nothing() {
    const THREADS: u8 = 4;
    const MESSAGES: usize = 500;
    let world = World::new();
    let (host, guest) = world.pair();
    let to = guest.id;
    let senders: Vec<_> = (1..=THREADS)
        .map(|thread| {
            let client = Arc::clone(&host.client);
            thread::spawn(move || {
                for number in 0..MESSAGES {
                    client.with(|core, now| core.agent.send(message(to, thread, &number.to_string()), now)).unwrap();
                    client.flush();
                }
            })
        })
        .collect();
    let mut next = [0; THREADS as usize + 1];
    for _ in 0..usize::from(THREADS) * MESSAGES {
        let incoming = guest.message();
        let thread = usize::from(incoming.thread.as_bytes()[0]);
        assert_eq!(incoming.content, content(&next[thread].to_string()));
        next[thread] += 1;
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    guest.expect_nothing(|event| matches!(event, Event::Message(_)));
}

#[test]
fn a_message_that_cannot_be_read_is_refused_and_not_counted() {
    let world = World::new();
    let (host, guest) = world.pair();
    let (first, _) = host.send(Outgoing { until_done: true, ..message(guest.id, 0, "unreadable") });
    let (second, _) = host.send(Outgoing { until_done: true, ..message(guest.id, 0, "readable") });
    let Event::Message(unreadable) = guest.until(|event| matches!(event, Event::Message(_))) else { unreachable!() };
    guest.client.with(|core, now| core.agent.discard(unreadable.token, "no MessagePack", now));
    guest.message();
    let mut outcomes = BTreeMap::new();
    while outcomes.len() < 2 {
        let Event::Receipt { token, state } = host.until(|event| matches!(event, Event::Receipt { .. })) else { unreachable!() };
        if state != ReceiptState::Delivered {
            outcomes.insert(token, state);
        }
    }
    assert!(matches!(&outcomes[&first], ReceiptState::Refused { reason, .. } if reason == "no MessagePack"));
    assert_eq!(outcomes[&second], ReceiptState::Done);
}

#[test]
fn a_dropped_client_says_goodbye() {
    let world = World::new();
    let (host, guest) = world.pair();
    host.send(message(guest.id, 0, "hello"));
    guest.message();
    let (id, events) = (guest.id, guest.events);
    let dropped = Instant::now();
    drop(guest.client);
    host.until(|event| matches!(event, Event::Peer { id: of, change: PeerChange::Gone | PeerChange::Left } if *of == id));
    assert!(dropped.elapsed() < Config::new("host", [0; 32]).peer_gone_after, "it was told, and didn't have to find out");
    assert!(events.iter().any(|event| matches!(event, Event::Closed(None))), "the end is the last event");
}
