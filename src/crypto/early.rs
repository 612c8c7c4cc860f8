//! What an initiator sends without waiting for the answer: under keys that the opener alone gives.
//!
//! It saves a round trip and isn't forward secret: whoever gets the responder's prekey can read it. The keys never step, and a responder forgets
//! them soon. A relay that shows an old opener again can show its early frames again, too; the transport sequence above takes each message once.

use bytes::Bytes;

use super::{
    Error, FrameBuilder,
    aead::AeadKey,
    kdf::{Prk, Secret},
    lane_keys::FRAMES_PER_KEY,
    replay::ReplayWindow,
    seal::{self, Route},
};
use crate::proto::{DataFrame, Lane};

/// What the early keys of all lanes follow from.
pub(super) struct EarlySecret(Prk);

impl EarlySecret {
    pub(super) fn new(opener_export: &Secret) -> Self {
        Self(Prk::extract(b"a2alinker/1 early", &**opener_export))
    }

    fn key(&self, lane: Lane) -> AeadKey {
        AeadKey::new(&self.0.expand(&[b"a2alinker/1 early key", &[lane as u8]]))
    }
}

/// The initiator's end.
pub(super) struct EarlySender {
    secret: EarlySecret,
    lanes: [SendLane; Lane::COUNT],
}

#[derive(Default)]
struct SendLane {
    /// Expanded at the first frame: few lanes have any.
    key: Option<AeadKey>,
    counter: u64,
}

impl EarlySender {
    pub(super) fn new(secret: EarlySecret) -> Self {
        Self { secret, lanes: Default::default() }
    }

    pub(super) fn seal(&mut self, route: Route, lane: Lane, expiry: u64, frame: FrameBuilder) -> Result<DataFrame, Error> {
        frame.check(lane)?;
        let state = &mut self.lanes[lane.index()];
        let counter = state.counter;
        if counter >= u64::from(FRAMES_PER_KEY) {
            return Err(Error::Exhausted);
        }
        state.counter += 1;
        let key = state.key.get_or_insert_with(|| self.secret.key(lane));
        frame.seal(route.early_header(lane, expiry, counter), key)
    }
}

/// The responder's end.
pub(super) struct EarlyReceiver {
    lanes: [ReceiveLane; Lane::COUNT],
}

struct ReceiveLane {
    key: AeadKey,
    window: ReplayWindow,
}

impl EarlyReceiver {
    pub(super) fn new(secret: &EarlySecret) -> Self {
        Self { lanes: Lane::ALL.map(|lane| ReceiveLane { key: secret.key(lane), window: ReplayWindow::new() }) }
    }

    pub(super) fn open(&mut self, frame: DataFrame) -> Result<Bytes, Error> {
        let header = *frame.header();
        let lane = &mut self.lanes[header.lane.index()];
        lane.window.check(header.counter)?;
        if header.generation != 0 {
            return Err(Error::Open);
        }
        let plaintext = seal::open(frame, &lane.key)?;
        lane.window.commit(header.counter);
        plaintext.into_content()
    }
}
