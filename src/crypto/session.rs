//! A session between two runs of agents: ten lanes of keys, five in each direction.
//!
//! It seals and opens; when to open a session, which of two crossing ones to send on and when to replace it is the agent's to decide.

use bytes::Bytes;

use super::{
    Error, FrameBuilder,
    early::{EarlyReceiver, EarlySecret},
    kdf::{Prk, Secret},
    lane_keys::{ReceiveLane, SendLane},
    seal::{Route, Slot},
};
use crate::proto::{AgentId, DataFrame, FounderId, Lane, OuterKind, RunId, SessionId, signature::hash};

/// Which way a frame goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    FromInitiator = 0,
    ToInitiator = 1,
}

/// Everything that both sides of a session must agree on.
pub(super) struct Transcript {
    pub(super) founder: FounderId,
    pub(super) initiator: AgentId,
    pub(super) responder: AgentId,
    pub(super) initiator_run: RunId,
    pub(super) responder_run: RunId,
    pub(super) initiator_chain: [u8; 32],
    pub(super) responder_chain: [u8; 32],
    /// Hash of the opener's outer header and sealed part.
    pub(super) opener: [u8; 32],
    /// The same of the answer.
    pub(super) answer: [u8; 32],
}

impl Transcript {
    fn hash(&self) -> [u8; 32] {
        hash(&[
            b"a2alinker/1 transcript\0",
            self.founder.as_bytes(),
            self.initiator.as_bytes(),
            self.responder.as_bytes(),
            self.initiator_run.as_bytes(),
            self.responder_run.as_bytes(),
            &self.initiator_chain,
            &self.responder_chain,
            &self.opener,
            &self.answer,
        ])
    }
}

/// An established session: seals what goes to the peer and opens what comes from it.
///
/// Frames of one lane may overtake one another by up to 1,024; each is opened at most once. Whatever fails changes nothing.
pub struct Session {
    initiator: AgentId,
    route: Route,
    send: [SendLane; Lane::COUNT],
    receive: [ReceiveLane; Lane::COUNT],
    /// What the initiator sends before it has the answer. Held by the responder, until it forgets.
    early: Option<Box<EarlyReceiver>>,
}

/// What the two handshake roles know when the exports are there.
pub(super) struct Agreement<'a> {
    pub(super) route: Route,
    /// The direction in which this side sends.
    pub(super) sends: Direction,
    pub(super) transcript: Transcript,
    pub(super) opener_export: &'a Secret,
    pub(super) answer_export: &'a Secret,
    /// What the responder needs for frames that didn't wait for its answer.
    pub(super) early: Option<EarlySecret>,
}

impl Session {
    pub(super) fn agree(agreement: Agreement<'_>) -> Self {
        let Agreement { route, sends, transcript, opener_export, answer_export, early } = agreement;
        let mut exports = zeroize::Zeroizing::new([0; 64]);
        exports[..32].copy_from_slice(&**opener_export);
        exports[32..].copy_from_slice(&**answer_export);
        let prk = Prk::extract(&transcript.hash(), &*exports);
        let secret = |direction: Direction, lane: Lane| prk.expand(&[b"a2alinker/1 traffic", &[direction as u8], &[lane as u8]]);
        let receives = match sends {
            Direction::FromInitiator => Direction::ToInitiator,
            Direction::ToInitiator => Direction::FromInitiator,
        };
        Self {
            initiator: transcript.initiator,
            route,
            send: Lane::ALL.map(|lane| SendLane::new(secret(sends, lane))),
            receive: Lane::ALL.map(|lane| ReceiveLane::new(secret(receives, lane))),
            early: early.map(|secret| Box::new(EarlyReceiver::new(&secret))),
        }
    }

    /// Returns the id that the initiator chose.
    pub fn id(&self) -> SessionId {
        self.route.session
    }

    /// Returns who opened the session: of two that crossed, the one opened by the smaller id carries what is sent.
    pub fn initiator(&self) -> AgentId {
        self.initiator
    }

    /// Seals the content of `frame` for the peer, in place. `expiry` is Unix milliseconds, 0 for none.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the content is longer than the lane takes, [`Error::Exhausted`] if the lane's counters are used up.
    pub fn seal(&mut self, lane: Lane, expiry: u64, frame: FrameBuilder) -> Result<DataFrame, Error> {
        frame.check(lane)?;
        let Slot { generation, counter, key } = self.send[lane.index()].next()?;
        frame.seal(self.route.header(lane, expiry, generation, counter), key)
    }

    /// Opens a frame of this session, in place where the buffer is the frame's alone, and returns its content.
    ///
    /// # Errors
    /// [`Error::Replayed`] if the counter was seen or is too far behind, [`Error::Padding`] if the peer padded wrongly, else [`Error::Open`].
    pub fn open(&mut self, frame: DataFrame) -> Result<Bytes, Error> {
        let header = frame.header();
        if header.kind != OuterKind::Session || header.session != self.route.session {
            return Err(Error::Open);
        }
        if header.early {
            return self.early.as_mut().ok_or(Error::Open)?.open(frame);
        }
        self.receive[header.lane.index()].open(frame)
    }

    /// Forgets the keys of frames that the initiator sent before it had the answer. To be called 60 s after the opener.
    pub fn forget_early(&mut self) {
        self.early = None;
    }
}
