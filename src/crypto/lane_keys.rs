//! The keys of one lane in one direction: a counter that never restarts, and a one-way chain of keys that steps on.
//!
//! ```text
//! secret_0 --rekey--> secret_1 --rekey--> secret_2 ...      one way: what was sealed before stays sealed
//!    |                   |                   |
//!  key_0               key_1               key_2            65,536 frames each
//! ```

use std::cmp::Ordering;

use bytes::Bytes;

use super::{
    Error,
    aead::AeadKey,
    kdf::{Prk, Secret},
    replay::ReplayWindow,
    seal,
};
use crate::proto::DataFrame;

/// Frames that one key seals before the sender steps on (PROTOCOL.md section 6.2). A stolen key opens no more than these; AES-256-GCM-SIV
/// itself would bear far more (RFC 8452 section 9).
pub(super) const FRAMES_PER_KEY: u32 = 65_536;
/// How many generations ahead a receiver follows: a frame that isn't authentic costs at most so many steps of hashing.
pub(super) const MAX_AHEAD: u32 = 16;

/// A secret of the chain.
#[derive(Clone)]
struct Chain {
    secret: Secret,
    generation: u32,
}

impl Chain {
    fn key(&self) -> AeadKey {
        AeadKey::new(&Prk::from_secret(&self.secret).expand(&[b"a2alinker/1 key"]))
    }

    /// Steps to the next generation; the secret before it is wiped.
    fn step(&mut self) -> Result<(), Error> {
        self.generation = self.generation.checked_add(1).ok_or(Error::Exhausted)?;
        self.secret = Prk::from_secret(&self.secret).expand(&[b"a2alinker/1 rekey"]);
        Ok(())
    }
}

/// What names the key and nonce of one frame.
pub(super) struct Slot<'a> {
    pub(super) generation: u32,
    pub(super) counter: u64,
    pub(super) key: &'a AeadKey,
}

/// The sending end of a lane.
pub(super) struct SendLane {
    chain: Chain,
    /// Expanded at the first frame: most sessions use few of their lanes.
    key: Option<AeadKey>,
    counter: u64,
    frames_left: u32,
}

impl SendLane {
    pub(super) fn new(secret: Secret) -> Self {
        Self { chain: Chain { secret, generation: 0 }, key: None, counter: 0, frames_left: FRAMES_PER_KEY }
    }

    /// Takes the next counter. It is used up whether a frame is sealed with it or not.
    pub(super) fn next(&mut self) -> Result<Slot<'_>, Error> {
        let counter = self.counter;
        let following = counter.checked_add(1).ok_or(Error::Exhausted)?;
        if self.frames_left == 0 {
            self.chain.step()?;
            self.key = None;
            self.frames_left = FRAMES_PER_KEY;
        }
        self.counter = following;
        self.frames_left -= 1;
        let key = self.key.get_or_insert_with(|| self.chain.key());
        Ok(Slot { generation: self.chain.generation, counter, key })
    }
}

/// The receiving end of a lane. Its state changes only when a frame has proved authentic.
pub(super) struct ReceiveLane {
    chain: Chain,
    key: Option<AeadKey>,
    /// The key of the generation before, for frames that were overtaken by the step.
    previous: Option<AeadKey>,
    window: ReplayWindow,
}

impl ReceiveLane {
    pub(super) fn new(secret: Secret) -> Self {
        Self { chain: Chain { secret, generation: 0 }, key: None, previous: None, window: ReplayWindow::new() }
    }

    /// Opens a frame with the one key that its header names.
    pub(super) fn open(&mut self, frame: DataFrame) -> Result<Bytes, Error> {
        let (generation, counter) = (frame.header().generation, frame.header().counter);
        self.window.check(counter)?;
        let plaintext = match generation.cmp(&self.chain.generation) {
            Ordering::Equal => {
                let key = self.key.get_or_insert_with(|| self.chain.key());
                seal::open(frame, counter, key)?
            }
            Ordering::Less if generation + 1 == self.chain.generation => {
                seal::open(frame, counter, self.previous.as_ref().ok_or(Error::Open)?)?
            }
            Ordering::Less => return Err(Error::Open),
            Ordering::Greater => self.open_ahead(frame, generation, counter)?,
        };
        self.window.commit(counter);
        plaintext.into_content()
    }

    fn open_ahead(&mut self, frame: DataFrame, generation: u32, counter: u64) -> Result<seal::Plaintext, Error> {
        if generation - self.chain.generation > MAX_AHEAD {
            return Err(Error::Open);
        }
        let mut chain = self.chain.clone();
        while chain.generation + 1 < generation {
            chain.step()?;
        }
        let before = chain.clone();
        chain.step()?;
        let key = chain.key();
        let plaintext = seal::open(frame, counter, &key)?;
        self.previous = Some(before.key());
        self.key = Some(key);
        self.chain = chain;
        Ok(plaintext)
    }
}

/// The receiving end of a lane before the answer: one key, which never steps.
pub(super) struct EarlyLane {
    key: AeadKey,
    window: ReplayWindow,
}

impl EarlyLane {
    pub(super) fn new(key: AeadKey) -> Self {
        Self { key, window: ReplayWindow::new() }
    }

    pub(super) fn open(&mut self, frame: DataFrame) -> Result<Bytes, Error> {
        let (generation, counter) = (frame.header().generation, frame.header().counter);
        self.window.check(counter)?;
        if generation != 0 {
            return Err(Error::Open);
        }
        let plaintext = seal::open(frame, counter, &self.key)?;
        self.window.commit(counter);
        plaintext.into_content()
    }
}
