//! A link as a script: what a client says and hears, frame by frame, without an agent behind it.

#![allow(dead_code)] // each test uses its part

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use a2alinker::net::Error;
use a2alinker::net::address::Address;
use a2alinker::net::dial::Outbound;
use a2alinker::net::tls::Acceptance;
use a2alinker::net::ws::{self, Connection};
use a2alinker::proto::{
    Binding, ClientFrame, DataFrame, Features, HelloBody, Label, LabelChanges, Lane, LinkCertificate, LinkChain, LinkKeyPair,
    LinkRights, OuterHeader, OuterKind, Role, RoutingKey, RoutingKeyPair, ServerFrame, SessionId, Welcome, sign_hello,
};
use bytes::Bytes;

/// Longer than anything that isn't broken takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A day in the year 2100: no certificate of a test expires unless it says so.
pub const NEVER: u64 = 4_102_444_800_000;

/// A swarm, made from one byte.
pub struct Swarm {
    pub routing: RoutingKeyPair,
}

impl Swarm {
    pub fn new(seed: u8) -> Self {
        Self { routing: RoutingKeyPair::from_seed(&[seed; 32]) }
    }

    /// An agent that may not issue.
    pub fn member(&self, seed: u8) -> Person {
        self.person(seed, LinkRights::default(), NEVER)
    }

    /// An agent that may issue, and so register mailboxes.
    pub fn admin(&self, seed: u8) -> Person {
        self.person(seed, LinkRights { may_issue: true, may_revoke: false }, NEVER)
    }

    pub fn person(&self, seed: u8, rights: LinkRights, expiry: u64) -> Person {
        let key = LinkKeyPair::from_seed(&[seed; 32]);
        let certificate = LinkCertificate::issue_by_routing(&self.routing, key.public(), expiry, rights);
        let chain = LinkChain::new(vec![certificate]).expect("one certificate");
        Person { key, body: self.body(seed, Role::Member(chain)) }
    }

    /// Somebody with a ticket for `mailbox`.
    pub fn stranger(&self, seed: u8, mailbox: Label) -> Person {
        Person { key: LinkKeyPair::from_seed(&[seed; 32]), body: self.body(seed, Role::Stranger { mailbox }) }
    }

    fn body(&self, seed: u8, role: Role) -> HelloBody {
        HelloBody {
            features: Features::NONE,
            binding: Binding::None.kind(),
            routing: self.routing.public(),
            link_key: LinkKeyPair::from_seed(&[seed; 32]).public(),
            resume_token: Bytes::new(),
            received: 0,
            role,
        }
    }
}

/// Somebody with a code for `slot`, who knows no swarm.
pub fn guest(seed: u8, slot: u32) -> Person {
    let swarm = Swarm::new(seed);
    let body = HelloBody { routing: RoutingKey::ZERO, ..swarm.body(seed, Role::Guest { slot }) };
    Person { key: LinkKeyPair::from_seed(&[seed; 32]), body }
}

/// A link key and what its Hello says.
pub struct Person {
    pub key: LinkKeyPair,
    pub body: HelloBody,
}

impl Person {
    pub fn label(&self) -> Label {
        self.key.label()
    }

    /// The answer to a Challenge frame.
    pub fn hello(&self, challenge: &[u8], binding: &Binding) -> ClientFrame {
        ClientFrame::Hello(sign_hello(challenge, binding, &self.key, self.body.clone()))
    }
}

/// A member that can resume its link and park envelopes.
pub fn able(mut person: Person) -> Person {
    person.body.features = Features(Features::RESUME.0 | Features::PARKING.0);
    person
}

/// An envelope for `destination` that may wait for an hour.
pub fn envelope(destination: Label, lane: Lane, sealed: &[u8]) -> DataFrame {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let expiry = wall.as_millis() as u64 + 3_600_000;
    let header = OuterHeader { kind: OuterKind::Envelope, parkable: true, expiry, ..*data(destination, lane, b"").header() };
    DataFrame::new(header, sealed)
}

/// A Data frame for `destination`.
pub fn data(destination: Label, lane: Lane, sealed: &[u8]) -> DataFrame {
    let header = OuterHeader {
        kind: OuterKind::Session,
        lane,
        parkable: false,
        early: false,
        destination,
        session: SessionId::ZERO,
        generation: 0,
        counter: 0,
        expiry: 0,
    };
    DataFrame::new(header, sealed)
}

/// One link over a real socket.
pub struct Link {
    pub connection: Connection,
    pub binding: Binding,
    /// The bytes of the Challenge.
    pub challenge: Bytes,
}

impl Link {
    /// Connects and takes the Challenge.
    pub async fn open(url: &Address) -> Result<Self, Error> {
        let connection = ws::connect(url, &Outbound::default(), Acceptance::Vouched).await?;
        let binding = connection.binding();
        let mut link = Self { connection, binding, challenge: Bytes::new() };
        link.challenge = link.next_bytes().await?.expect("a switchboard speaks first");
        Ok(link)
    }

    /// Connects as somebody, up to and including the Welcome.
    pub async fn up(url: &Address, person: &Person) -> Self {
        let mut link = Self::open(url).await.expect("the switchboard is there");
        link.say_hello(person).await;
        match link.next().await {
            ServerFrame::Welcome(_) => link,
            other => panic!("instead of a Welcome came {other:?}"),
        }
    }

    /// Connects as a member that may resume, and returns its Welcome.
    pub async fn welcomed(url: &Address, person: &Person) -> (Self, Welcome) {
        let mut link = Self::open(url).await.expect("the switchboard is there");
        link.say_hello(person).await;
        match link.next().await {
            ServerFrame::Welcome(welcome) => (link, welcome),
            other => panic!("instead of a Welcome came {other:?}"),
        }
    }

    /// Connects as a member, up to and including the first Labels.
    pub async fn member(url: &Address, person: &Person) -> (Self, LabelChanges) {
        let mut link = Self::up(url, person).await;
        match link.next().await {
            ServerFrame::Labels(labels) => (link, labels),
            other => panic!("instead of Labels came {other:?}"),
        }
    }

    pub async fn say_hello(&mut self, person: &Person) {
        let hello = person.hello(&self.challenge, &self.binding);
        self.send(hello).await;
    }

    pub async fn send(&mut self, frame: ClientFrame) {
        self.send_bytes(frame.encode()).await.expect("the link is up");
    }

    pub async fn send_data(&mut self, destination: Label, lane: Lane, sealed: &[u8]) {
        self.send(ClientFrame::Data(data(destination, lane, sealed))).await;
    }

    pub async fn send_bytes(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.connection.write(bytes)?;
        poll_fn(|cx| self.connection.poll_flush(cx)).await
    }

    /// The next frame.
    pub async fn next(&mut self) -> ServerFrame {
        let bytes = self.next_bytes().await.expect("the link is up").expect("the link hasn't ended");
        ServerFrame::decode(bytes).expect("a switchboard sends well-formed frames")
    }

    /// The next Data frame; what else comes is passed over.
    pub async fn next_data(&mut self) -> DataFrame {
        loop {
            if let ServerFrame::Data(frame) = self.next().await {
                return frame;
            }
        }
    }

    /// The next frame if it has come already.
    pub async fn next_if_there(&mut self) -> Option<ServerFrame> {
        let next = poll_fn(|cx| match self.connection.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => Poll::Ready(None),
        });
        let bytes = next.await?.expect("the link is up");
        Some(ServerFrame::decode(bytes).expect("a switchboard sends well-formed frames"))
    }

    /// The next frame as it came; none at the end of the link.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, Error> {
        let next = poll_fn(|cx| self.connection.poll_frame(cx));
        tokio::time::timeout(PATIENCE, next).await.expect("a frame comes in time").transpose()
    }

    /// Waits until the other side ends the link; how it does doesn't matter.
    pub async fn ended(&mut self) {
        while let Ok(Some(_)) = self.next_bytes().await {}
    }
}
