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
    seal::{self, Slot},
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
                seal::open(frame, key)?
            }
            Ordering::Less if generation + 1 == self.chain.generation => {
                seal::open(frame, self.previous.as_ref().ok_or(Error::Open)?)?
            }
            Ordering::Less => return Err(Error::Open),
            Ordering::Greater => self.open_ahead(frame, generation)?,
        };
        self.window.commit(counter);
        plaintext.into_content()
    }

    fn open_ahead(&mut self, frame: DataFrame, generation: u32) -> Result<seal::Plaintext, Error> {
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
        let plaintext = seal::open(frame, &key)?;
        self.previous = Some(before.key());
        self.key = Some(key);
        self.chain = chain;
        Ok(plaintext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::{FrameBuilder, aead::counter_nonce, seal::Route},
        proto::{Label, Lane, SessionId},
    };

    const ROUTE: Route = Route { session: SessionId::ZERO, destination: Label::ZERO };

    #[test]
    fn the_sender_steps_after_its_frames_and_the_receiver_follows() {
        let (mut sender, mut receiver) = lanes();
        for counter in 0..u64::from(FRAMES_PER_KEY) + 2 {
            let frame = sealed(&mut sender);
            let expected = u32::from(counter >= u64::from(FRAMES_PER_KEY));
            assert_eq!((frame.header().counter, frame.header().generation), (counter, expected));
            receiver.open(frame).unwrap();
        }
        assert_eq!(receiver.chain.generation, 1);
    }

    #[test]
    fn a_frame_of_the_generation_before_opens_after_the_step_and_one_older_does_not() {
        let (mut sender, mut receiver) = lanes();
        let oldest = sealed(&mut sender);
        step(&mut sender);
        let older = sealed(&mut sender);
        step(&mut sender);
        receiver.open(sealed(&mut sender)).unwrap();
        receiver.open(older).unwrap();
        assert!(matches!(receiver.open(oldest), Err(Error::Open)));
    }

    #[test]
    fn the_generation_before_opens_when_the_receiver_met_nothing_of_it() {
        let (mut sender, mut receiver) = lanes();
        let before = sealed(&mut sender);
        step(&mut sender);
        receiver.open(sealed(&mut sender)).unwrap();
        receiver.open(before).unwrap();
    }

    #[test]
    fn a_receiver_follows_sixteen_generations_ahead_and_not_seventeen() {
        let (mut sender, mut receiver) = lanes();
        for _ in 0..MAX_AHEAD {
            step(&mut sender);
        }
        receiver.open(sealed(&mut sender)).unwrap();
        assert_eq!(receiver.chain.generation, MAX_AHEAD);

        for _ in 0..=MAX_AHEAD {
            step(&mut sender);
        }
        assert!(matches!(receiver.open(sealed(&mut sender)), Err(Error::Open)));
        assert_eq!(receiver.chain.generation, MAX_AHEAD);
    }

    #[test]
    fn a_forged_generation_moves_neither_keys_nor_window() {
        let (mut sender, mut receiver) = lanes();
        let mut stranger = SendLane::new(Secret::new([0xee; 32]));
        receiver.open(sealed(&mut sender)).unwrap();
        for _ in 0..3 {
            step(&mut stranger);
        }
        stranger.counter = 1 << 40;
        assert!(matches!(receiver.open(sealed(&mut stranger)), Err(Error::Open)));
        assert_eq!(receiver.chain.generation, 0);
        receiver.open(sealed(&mut sender)).unwrap();
    }

    #[test]
    fn a_frame_whose_filling_is_not_zero_is_refused_and_its_counter_is_taken() {
        let (mut sender, mut receiver) = lanes();
        let Slot { counter, key, .. } = sender.next().unwrap();
        let header = ROUTE.header(Lane::Normal, 0, 0, counter);
        let mut padded = [0; 256];
        padded[3] = 7;
        padded[255] = 1;
        let tag = key.seal(counter_nonce(counter), &header.encode(), &mut padded).unwrap();
        let frame = DataFrame::new(header, &[&padded[..], &tag].concat());
        assert!(matches!(receiver.open(frame.clone()), Err(Error::Padding)));
        assert!(matches!(receiver.open(frame), Err(Error::Replayed)));
        receiver.open(sealed(&mut sender)).unwrap();
    }

    #[test]
    fn used_up_counters_and_generations_are_errors() {
        let (mut sender, _) = lanes();
        sender.counter = u64::MAX;
        assert!(matches!(sender.next(), Err(Error::Exhausted)));

        let (mut sender, _) = lanes();
        sender.chain.generation = u32::MAX;
        sender.frames_left = 1;
        sender.next().unwrap();
        assert!(matches!(sender.next(), Err(Error::Exhausted)));
        assert!(matches!(sender.next(), Err(Error::Exhausted)));
    }

    fn lanes() -> (SendLane, ReceiveLane) {
        let secret = Secret::new([7; 32]);
        (SendLane::new(secret.clone()), ReceiveLane::new(secret))
    }

    /// Has the sender step as if it had sealed all the frames that a key may.
    fn step(sender: &mut SendLane) {
        sender.frames_left = 0;
        sender.next().unwrap();
    }

    fn sealed(sender: &mut SendLane) -> DataFrame {
        let Slot { generation, counter, key } = sender.next().unwrap();
        FrameBuilder::new().seal(ROUTE.header(Lane::Normal, 0, generation, counter), key).unwrap()
    }
}
