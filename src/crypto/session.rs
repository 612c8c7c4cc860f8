//! A session between two runs of agents: ten lanes of keys, five in each direction.
//!
//! It seals and opens; when to open a session, which of two crossing ones to send on and when to replace it is the agent's to decide.

use bytes::Bytes;

use super::{
    Error, FrameBuilder,
    aead::AeadKey,
    kdf::{Prk, Secret},
    lane_keys::{EarlyLane, FRAMES_PER_KEY, ReceiveLane, SendLane, Slot},
    padding,
};
use crate::proto::{AgentId, DataFrame, FounderId, Label, Lane, OuterHeader, OuterKind, RunId, SessionId, signature::hash};

/// Largest padded plaintext on the control lane, in bytes: the switchboard refuses larger frames there (PROTOCOL.md section 3.4).
const MAX_CONTROL_PADDED: usize = 1_024;

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
    id: SessionId,
    initiator: AgentId,
    destination: Label,
    send: [SendLane; Lane::COUNT],
    receive: [ReceiveLane; Lane::COUNT],
    /// What the initiator sends before it has the answer. Held by the responder, until it forgets.
    early: Option<Box<[EarlyLane; Lane::COUNT]>>,
}

/// What the two handshake roles know when the exports are there.
pub(super) struct Agreement<'a> {
    pub(super) id: SessionId,
    /// The direction in which this side sends.
    pub(super) sends: Direction,
    /// The label of the peer.
    pub(super) destination: Label,
    pub(super) transcript: Transcript,
    pub(super) opener_export: &'a Secret,
    pub(super) answer_export: &'a Secret,
    /// What the responder needs for frames that didn't wait for its answer.
    pub(super) early: Option<EarlyKeys>,
}

impl Session {
    pub(super) fn agree(agreement: Agreement<'_>) -> Self {
        let Agreement { id, sends, destination, transcript, opener_export, answer_export, early } = agreement;
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
            id,
            initiator: transcript.initiator,
            destination,
            send: Lane::ALL.map(|lane| SendLane::new(secret(sends, lane))),
            receive: Lane::ALL.map(|lane| ReceiveLane::new(secret(receives, lane))),
            early: early.map(|keys| Box::new(Lane::ALL.map(|lane| EarlyLane::new(keys.key(lane))))),
        }
    }

    /// Returns the id that the initiator chose.
    pub fn id(&self) -> SessionId {
        self.id
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
        check_content(lane, &frame)?;
        let Slot { generation, counter, key } = self.send[lane.index()].next()?;
        let header = OuterHeader {
            kind: OuterKind::Session,
            lane,
            parkable: false,
            early: false,
            destination: self.destination,
            session: self.id,
            generation,
            counter,
            expiry,
        };
        frame.seal(header, key)
    }

    /// Opens a frame of this session, in place where the buffer is the frame's alone, and returns its content.
    ///
    /// # Errors
    /// [`Error::Replayed`] if the counter was seen or is too far behind, [`Error::Padding`] if the peer padded wrongly, else [`Error::Open`].
    pub fn open(&mut self, frame: DataFrame) -> Result<Bytes, Error> {
        let header = frame.header();
        if header.kind != OuterKind::Session || header.session != self.id {
            return Err(Error::Open);
        }
        let lane = header.lane.index();
        if header.early {
            let early = self.early.as_mut().ok_or(Error::Open)?;
            return early[lane].open(frame);
        }
        self.receive[lane].open(frame)
    }

    /// Forgets the keys of frames that the initiator sent before it had the answer. To be called 60 s after the opener.
    pub fn forget_early(&mut self) {
        self.early = None;
    }
}

/// The keys that the opener alone gives, for what the initiator sends before it has the answer. Not forward secret.
pub(super) struct EarlyKeys(Prk);

impl EarlyKeys {
    pub(super) fn new(opener_export: &Secret) -> Self {
        Self(Prk::extract(b"a2alinker/1 early", &**opener_export))
    }

    pub(super) fn key(&self, lane: Lane) -> AeadKey {
        AeadKey::new(&self.0.expand(&[b"a2alinker/1 early key", &[lane as u8]]))
    }
}

/// The sending end of the lanes before the answer. The keys never step, so they end after [`FRAMES_PER_KEY`] frames.
pub(super) struct EarlySender {
    keys: EarlyKeys,
    lanes: [EarlySendLane; Lane::COUNT],
}

#[derive(Default)]
struct EarlySendLane {
    key: Option<AeadKey>,
    counter: u64,
}

impl EarlySender {
    pub(super) fn new(keys: EarlyKeys) -> Self {
        Self { keys, lanes: Default::default() }
    }

    pub(super) fn seal(
        &mut self,
        lane: Lane,
        (session, destination, expiry): (SessionId, Label, u64),
        frame: FrameBuilder,
    ) -> Result<DataFrame, Error> {
        check_content(lane, &frame)?;
        let state = &mut self.lanes[lane.index()];
        let counter = state.counter;
        if counter >= u64::from(FRAMES_PER_KEY) {
            return Err(Error::Exhausted);
        }
        state.counter += 1;
        let key = state.key.get_or_insert_with(|| self.keys.key(lane));
        let header = OuterHeader {
            kind: OuterKind::Session,
            lane,
            parkable: false,
            early: true,
            destination,
            session,
            generation: 0,
            counter,
            expiry,
        };
        frame.seal(header, key)
    }
}

fn check_content(lane: Lane, frame: &FrameBuilder) -> Result<(), Error> {
    if lane == Lane::Control && padding::padded_len(frame.content_len()) > MAX_CONTROL_PADDED {
        let limit = MAX_CONTROL_PADDED - padding::PREFIX_LEN;
        return Err(Error::TooLarge { what: "control content", limit, got: frame.content_len() });
    }
    padding::check(frame.content_len())
}
