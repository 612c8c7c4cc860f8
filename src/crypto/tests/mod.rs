//! The layer as its users see it: two agents of one swarm, and everything that must be refused.

mod admission;
mod certificate;
mod envelope;
mod handshake;
mod hostile;
mod pairing;
mod session;
mod ticket;

use std::ops::Range;

use super::{envelope::open as open_envelope, *};
use crate::proto::{AgentId, DataFrame, FounderId, Label, Lane, RunId, SessionId};

/// Some time in the life of all certificates here, in Unix milliseconds.
const NOW: u64 = 1_000_000;
const EXPIRY: u64 = 2_000_000;
/// The bytes of a frame that the switchboard writes: no proof of anything, and so not authenticated.
const SOURCE: Range<usize> = 1..17;

/// One agent with all its keys.
struct Agent {
    identity: Identity,
    run: RunId,
    prekey: KeyPair,
    chain: CertificateChain,
    founder: FounderId,
    label: Label,
}

impl Agent {
    fn new(founder: &FounderKey, name: &str, seed: u8) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        let request = certificate_request(&identity, name, Rights::default());
        Self {
            chain: CertificateChain::issue_by_founder(founder, &request).unwrap(),
            label: identity.link_key(&founder.routing().public()).label(),
            identity,
            run: RunId::from_bytes([seed; 16]),
            prekey: KeyPair::from_seed(&[seed; 32]),
            founder: founder.id(),
        }
    }

    fn id(&self) -> AgentId {
        self.identity.id()
    }

    fn hello(&self) -> SessionHello {
        SessionHello { wall: NOW, roster_digest: [0x11; 32], grants: [0x22; 96], card: self.identity.id().as_bytes().to_vec() }
    }

    fn towards<'a>(&'a self, peer: &'a Agent) -> InitiatorParams<'a> {
        InitiatorParams {
            founder: self.founder,
            identity: &self.identity,
            run: self.run,
            chain: &self.chain,
            peer: peer.id(),
            peer_run: peer.run,
            prekey: peer.prekey.public(),
            destination: peer.label,
            session: SessionId::from_bytes([0x55; 16]),
            expiry: EXPIRY,
        }
    }

    fn open_to(&self, peer: &Agent, random: &mut Random) -> (Initiation, DataFrame) {
        let params = InitiatorParams { session: SessionId::from_bytes(random.array()), ..self.towards(peer) };
        Initiation::start(params, &self.hello(), random).unwrap()
    }

    fn receive(&self, opener: &DataFrame) -> Result<Opening, Error> {
        Opening::from_envelope(open_envelope(opener, &self.prekey, self.id())?)
    }

    fn answering(&self, peer: &Agent) -> ResponderParams<'_> {
        ResponderParams {
            founder: self.founder,
            identity: &self.identity,
            run: self.run,
            chain: &self.chain,
            destination: peer.label,
            expiry: EXPIRY,
        }
    }

    fn answer(&self, opening: Opening, peer: &Agent, random: &mut Random) -> (Session, DataFrame) {
        opening.answer(self.answering(peer), &peer.chain, &self.hello(), random).unwrap()
    }
}

fn certificate_request(identity: &Identity, name: &str, rights: Rights) -> CertificateRequest {
    CertificateRequest {
        identity: identity.id(),
        name: name.to_owned(),
        rights,
        long_term_hash: [0x33; 32],
        issued: NOW,
        expiry: EXPIRY,
    }
}

fn founder() -> FounderKey {
    FounderKey::from_seed([0xf0; 32])
}

fn two_agents() -> (Agent, Agent) {
    (Agent::new(&founder(), "alice", 1), Agent::new(&founder(), "bob", 2))
}

/// A session between two agents; the initiator's end first.
fn session() -> (Session, Session) {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([9; 32]);
    let (initiation, opener) = alice.open_to(&bob, &mut random);
    let (responder, answer) = bob.answer(bob.receive(&opener).unwrap(), &alice, &mut random);
    let answered = initiation.receive_answer(&answer).unwrap();
    (initiation.establish(answered, &bob.chain).unwrap(), responder)
}

fn filled(content: &[u8]) -> FrameBuilder {
    let mut frame = FrameBuilder::with_capacity(content.len());
    frame.put(content);
    frame
}

fn seal(session: &mut Session, lane: Lane, content: &[u8]) -> DataFrame {
    session.seal(lane, EXPIRY, filled(content)).unwrap()
}

/// The same frame in a buffer of its own, with the byte at `at` changed.
fn tampered(frame: &DataFrame, at: usize) -> Option<DataFrame> {
    let mut bytes = frame.bytes().to_vec();
    bytes[at] ^= 0x04;
    DataFrame::parse(bytes.into()).ok()
}

/// A copy that shares nothing with the original.
fn copy(frame: &DataFrame) -> DataFrame {
    DataFrame::parse(frame.bytes().to_vec().into()).unwrap()
}
