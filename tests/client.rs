//! The shell of an agent over real sockets: two agents and a switchboard on one runtime, used from several threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use a2alinker::agent::{
    Agent, CallRequest, Config, Content, ContentType, Event, Incoming, InviteTerms, Outgoing, PeerChange, ReceiptState,
};
use a2alinker::crypto::{Random, Rights, Ticket};
use a2alinker::net::client::{Application, Client, Clock, View};
use a2alinker::net::dial::Outbound;
use a2alinker::net::server::{Security, Server, ServerConfig};
use a2alinker::proto::{AgentId, Lane, ThreadId};
use bytes::Bytes;
use tokio::runtime::Runtime;

/// How long a test waits for what has to happen. Reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(20);

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
    guest.client.with(|core, now| core.agent.answer(incoming.token, content("answer"), true, 0, now)).unwrap();
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

struct World {
    runtime: Runtime,
    switchboard: Server,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config =
            ServerConfig { listen: "127.0.0.1:0".parse().unwrap(), security: Security::Plain, ..ServerConfig::default() };
        let switchboard = Server::start(config, runtime.handle()).unwrap();
        Self { runtime, switchboard }
    }

    /// A host and a guest that know each other to be linked.
    fn pair(&self) -> (Node, Node) {
        let clock = Clock::start();
        let host = Agent::host(Config::new("host", [1; 32]), [2; 32], Random::from_seed([3; 32]), clock.now()).unwrap();
        let host = self.start(host, clock);
        host.until(|event| matches!(event, Event::Joined));
        let ticket = self.invite(&host);
        let guest = Agent::join(Config::new("guest", [4; 32]), ticket, Random::from_seed([5; 32]), clock.now()).unwrap();
        let guest = self.start(guest, clock);
        for node in [&host, &guest] {
            node.until(|event| matches!(event, Event::Peer { change: PeerChange::Up, .. }));
        }
        (host, guest)
    }

    fn invite(&self, host: &Node) -> Ticket {
        let addresses = vec![self.switchboard.url().to_string()];
        let terms = InviteTerms { uses: Some(1), ttl: Duration::from_secs(60), rights: Rights::default(), addresses };
        let (_, ticket) = host.client.with(|core, now| core.agent.invite(terms, now)).unwrap();
        host.client.flush();
        host.until(|event| matches!(event, Event::Invite { result: Ok(()), .. }));
        ticket
    }

    fn start(&self, agent: Agent, clock: Clock) -> Node {
        let (sender, events) = channel();
        let id = agent.id();
        let addresses = vec![self.switchboard.url().clone()];
        let client = Client::start(agent, Channel(sender), || (), clock, addresses, Outbound::default(), self.runtime.handle());
        Node { id, client: Arc::new(client), events }
    }
}

struct Channel(Sender<Event>);

impl Application for Channel {
    fn handle_event(&mut self, event: Event, _: View<'_>) {
        // A test that is over hears nothing more.
        let _ = self.0.send(event);
    }
}

struct Node {
    id: AgentId,
    client: Arc<Client<Channel>>,
    events: Receiver<Event>,
}

impl Node {
    fn send(&self, outgoing: Outgoing) -> (u64, a2alinker::proto::MessageId) {
        let sent = self.client.with(|core, now| core.agent.send(outgoing, now)).unwrap();
        self.client.flush();
        sent
    }

    /// The next event of a kind; others before it are forgotten.
    fn until(&self, accept: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("the event comes");
            if accept(&event) {
                return event;
            }
        }
    }

    /// The next message, which counts as consumed.
    fn message(&self) -> Incoming {
        let Event::Message(incoming) = self.until(|event| matches!(event, Event::Message(_))) else { unreachable!() };
        self.client.with(|core, now| core.agent.consumed(1, now));
        self.client.flush();
        incoming
    }

    fn expect_nothing(&self, refuse: impl Fn(&Event) -> bool) {
        assert!(!self.events.try_iter().any(|event| refuse(&event)));
    }
}

fn message(to: AgentId, thread: u8, text: &str) -> Outgoing {
    Outgoing {
        to,
        lane: Lane::Normal,
        thread: (thread > 0).then(|| ThreadId::from_bytes([thread; 16])),
        ttl: Duration::from_secs(60),
        until_done: false,
        depth: 0,
        reply_to: None,
        headers: Bytes::new(),
        content: content(text),
    }
}

fn request(to: AgentId) -> CallRequest {
    CallRequest {
        skill: None,
        to: Some(to),
        among: Vec::new(),
        lane: Lane::Normal,
        thread: None,
        ttl: Duration::from_secs(60),
        timeout: None,
        progress_timeout: None,
        depth: 0,
        headers: Bytes::new(),
        content: content("question"),
    }
}

fn content(text: &str) -> Content {
    Content { content_type: ContentType::Text, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}
