//! A member of the swarm that keeps to no rule. It has an identity, a certificate and a link like any other, and says what it likes.
//!
//! It sits where an agent of the world was: that one's keys are its own, and what others send there it gets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use a2alinker::agent::card::{CardDraft, SkillEntry, VerifiedCard};
use a2alinker::agent::message::{MessageHeader, MessageKind};
use a2alinker::agent::section::MessagesWriter;
use a2alinker::crypto::{
    CertificateChain, FrameBuilder, Identity, Initiation, InitiatorParams, KeyPair, Random, Session, SessionHello,
};
use a2alinker::proto::{DataFrame, FounderId, Lane, LinkKey, MessageId, OuterKind, RunId, SessionId};
use bytes::{Bytes, BytesMut};

use super::history::Who;
use super::network::Fate;
use super::world::World;

pub struct Villain {
    pub who: Who,
    pub identity: Identity,
    pub founder: FounderId,
    pub chain: CertificateChain,
    pub link_key: LinkKey,
    pub run: RunId,
    pub prekey: KeyPair,
    pub stamp: u64,
    pub random: Random,
    /// What was sent to it.
    mail: Rc<RefCell<VecDeque<DataFrame>>>,
}

impl Villain {
    /// Takes the place of an agent that the host knows.
    pub fn in_place_of(who: Who, world: &mut World) -> Self {
        let host = world.seats[who].host;
        let card = card_of(world, host, who);
        let mut random = Random::from_seed([0x66; 32]);
        let mail = Rc::<RefCell<VecDeque<DataFrame>>>::default();
        let inbox = Rc::clone(&mail);
        world.rule = Some(Box::new(move |crossing| {
            if crossing.to == who {
                inbox.borrow_mut().push_back(crossing.frame.clone());
            }
            if crossing.to == who || crossing.from == Some(who) { Fate::Lose } else { Fate::Pass }
        }));
        Self {
            who,
            identity: Identity::from_seed(world.seats[who].config.identity_seed),
            founder: world.agent(who).swarm().expect("it is a member"),
            chain: card.chain.clone(),
            link_key: card.link_key,
            run: RunId::from_bytes(random.array()),
            prekey: KeyPair::generate(&mut random),
            stamp: card.stamp,
            random,
            mail,
        }
    }

    /// A card that is newer than all before, of its own present run.
    pub fn card(&mut self, skills: &[SkillEntry]) -> Bytes {
        self.stamp += 1;
        let draft = CardDraft {
            founder: self.founder,
            identity: &self.identity,
            run: self.run,
            stamp: self.stamp,
            link_key: self.link_key,
            chain: &self.chain,
            prekey: self.prekey.public(),
            skills,
            is_ephemeral: true,
        };
        draft.sign().expect("it is short")
    }

    /// An opener to an agent, with this card in it, made at `wall`.
    pub fn opener(&mut self, world: &World, to: Who, card: Bytes, wall: u64) -> (Initiation, DataFrame) {
        let theirs = card_of(world, self.who, to);
        let params = InitiatorParams {
            founder: self.founder,
            identity: &self.identity,
            run: self.run,
            chain: &self.chain,
            peer: theirs.identity,
            peer_run: theirs.run,
            prekey: &theirs.prekey,
            destination: theirs.label,
            session: SessionId::from_bytes(self.random.array()),
            expiry: 0,
        };
        let hello = SessionHello { wall, roster_digest: [0; 32], grants: [0xff; 96], card: card.to_vec() };
        Initiation::start(params, &hello, &mut self.random).expect("the chain is its own")
    }

    /// Opens a session as the protocol has it.
    pub fn open(&mut self, world: &mut World, to: Who) -> Session {
        let card = self.card(&[]);
        let wall = world.clock(to).wall;
        let (initiation, opener) = self.opener(world, to, card, wall);
        self.say(world, to, opener);
        world.run_for(Duration::from_secs(1));
        let session = initiation.id();
        let is_answer = |frame: &DataFrame| frame.header().kind == OuterKind::Answer && frame.header().session == session;
        let answer = self.mail.borrow_mut().drain(..).find(is_answer).expect("an honest agent answers");
        let answered = initiation.receive_answer(&answer).expect("it is genuine");
        let chain = card_of(world, self.who, to).chain.clone();
        initiation.establish(answered, &chain).expect("the chain is its peer's")
    }

    /// Sends a frame, as the switchboard passes it on.
    pub fn say(&self, world: &mut World, to: Who, frame: DataFrame) {
        let source = world.label(self.who);
        world.inject(to, frame.with_source(source).into_bytes());
    }

    /// Sends a content of its own making in a session.
    pub fn send(&self, world: &mut World, to: Who, session: &mut Session, lane: Lane, content: &[u8]) {
        let mut builder = FrameBuilder::new();
        builder.put(content);
        let frame = session.seal(lane, 0, builder).expect("there are counters left");
        self.say(world, to, frame);
    }

    /// A messages section with one message.
    pub fn message(&mut self, number: u64, kind: MessageKind, change: impl FnOnce(&mut MessageHeader), body: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        let mut header = MessageHeader::new(MessageId::from_bytes(self.random.array()), kind, u64::MAX / 2, 1_000);
        change(&mut header);
        let mut writer = MessagesWriter::begin(&mut out, 0, number);
        writer.add(&header, body);
        writer.end();
        out.freeze()
    }
}

/// The card that an agent has of another.
pub fn card_of(world: &World, who: Who, of: Who) -> VerifiedCard {
    let view = world.agent(who).peer(&world.seats[of].id).expect("they know each other");
    VerifiedCard::clone(&view.card)
}
