//! Agents with their shells on one runtime, and a switchboard, over real sockets.

#![allow(dead_code)] // each test uses its part

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use a2alinker::agent::{Agent, CallRequest, Config, Content, ContentType, Event, Incoming, InviteTerms, Outgoing, PeerChange};
use a2alinker::crypto::{Random, Rights, Ticket};
use a2alinker::net::address::Address;
use a2alinker::net::client::{Application, Client, Clock, View};
use a2alinker::net::dial::Outbound;
use a2alinker::net::server::{Security, Server, ServerConfig};
use a2alinker::proto::{AgentId, Lane, ThreadId};
use bytes::Bytes;
use tokio::runtime::Runtime;

/// How long a test waits for what has to happen. Reached only by a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub runtime: Runtime,
    pub switchboard: Server,
}

impl World {
    pub fn new() -> Self {
        Self::with(ServerConfig::default())
    }

    /// With a plain switchboard on any free port, and the rest of `config`.
    pub fn with(config: ServerConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = ServerConfig { listen: "127.0.0.1:0".parse().unwrap(), security: Security::Plain, ..config };
        let switchboard = Server::start(config, runtime.handle()).unwrap();
        Self { runtime, switchboard }
    }

    /// A host and a guest that know each other to be linked.
    pub fn pair(&self) -> (Node, Node) {
        self.pair_at(vec![self.switchboard.url().clone()])
    }

    /// The same, the guest linked by these addresses.
    pub fn pair_at(&self, addresses: Vec<Address>) -> (Node, Node) {
        let clock = Clock::start();
        let host = Agent::host(Config::new("host", [1; 32]), [2; 32], Random::from_seed([3; 32]), clock.now()).unwrap();
        let host = self.start(host, clock, vec![self.switchboard.url().clone()]);
        host.until(|event| matches!(event, Event::Joined));
        let ticket = self.invite(&host);
        let guest = Agent::join(Config::new("guest", [4; 32]), ticket, Random::from_seed([5; 32]), clock.now()).unwrap();
        let guest = self.start(guest, clock, addresses);
        for node in [&host, &guest] {
            node.until(|event| matches!(event, Event::Peer { change: PeerChange::Up, .. }));
        }
        (host, guest)
    }

    pub fn invite(&self, host: &Node) -> Ticket {
        let addresses = vec![self.switchboard.url().to_string()];
        let terms = InviteTerms { uses: Some(1), ttl: Duration::from_secs(60), rights: Rights::default(), addresses };
        let (_, ticket) = host.client.with(|core, now| core.agent.invite(terms, now)).unwrap();
        host.client.flush();
        host.until(|event| matches!(event, Event::Invite { result: Ok(_), .. }));
        ticket
    }

    pub fn start(&self, agent: Agent, clock: Clock, addresses: Vec<Address>) -> Node {
        let (sender, events) = channel();
        let id = agent.id();
        let client = Client::start(agent, Channel(sender), || (), clock, addresses, Outbound::default(), self.runtime.handle());
        Node { id, client: Arc::new(client), events }
    }
}

pub struct Channel(Sender<Event>);

impl Application for Channel {
    fn handle_event(&mut self, event: Event, _: View<'_>) {
        // A test that is over hears nothing more.
        let _ = self.0.send(event);
    }
}

pub struct Node {
    pub id: AgentId,
    pub client: Arc<Client<Channel>>,
    pub events: Receiver<Event>,
}

impl Node {
    pub fn send(&self, outgoing: Outgoing) -> (u64, a2alinker::proto::MessageId) {
        let sent = self.client.with(|core, now| core.agent.send(outgoing, now)).unwrap();
        self.client.flush();
        sent
    }

    /// The next event of a kind; others before it are forgotten.
    pub fn until(&self, accept: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("the event comes");
            if accept(&event) {
                return event;
            }
        }
    }

    /// The next message, which counts as consumed.
    pub fn message(&self) -> Incoming {
        let Event::Message(incoming) = self.until(|event| matches!(event, Event::Message(_))) else { unreachable!() };
        self.client.with(|core, now| core.agent.consumed(incoming.lane, 1, now));
        self.client.flush();
        incoming
    }

    pub fn expect_nothing(&self, refuse: impl Fn(&Event) -> bool) {
        assert!(!self.events.try_iter().any(|event| refuse(&event)));
    }
}

pub fn message(to: AgentId, thread: u8, text: &str) -> Outgoing {
    Outgoing {
        to,
        lane: Lane::Normal,
        thread: (thread > 0).then(|| ThreadId::from_bytes([thread; 16])),
        ttl: Duration::from_secs(60),
        until_done: false,
        depth: 0,
        budget: None,
        reply_to: None,
        headers: Bytes::new(),
        content: content(text),
    }
}

pub fn request(to: AgentId) -> CallRequest {
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
        budget: None,
        headers: Bytes::new(),
        content: content("question"),
    }
}

pub fn content(text: &str) -> Content {
    Content { content_type: ContentType::Text, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}
