//! The joiner's side: one exchange, until it has a ticket or an error.

use std::time::Duration;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::agent::admission::RETRY_INTERVAL;
use crate::agent::error::AdmissionError;
use crate::crypto::pairing::{Asking, Confirming, Message, PairingStatus, Seen};
use crate::crypto::{Code, Random, Ticket};
use crate::proto::{DataFrame, LinkKeyPair, Now, Role};

/// The way from a code to a ticket.
///
/// Link as a guest with [`link_key`](Self::link_key) and [`role`](Self::role), then call [`handle_up`](Self::handle_up), send what
/// [`poll_transmit`](Self::poll_transmit) gives, hand Data frames to [`handle_data`](Self::handle_data), and come back at
/// [`poll_timeout`](Self::poll_timeout). The exchange goes on over another link of the same key.
pub(in crate::agent) struct Pairing {
    slot: u32,
    link_seed: Zeroizing<[u8; 32]>,
    stage: Stage,
    /// When the last frame goes out again; `None` before the link is up.
    send_at: Option<Duration>,
}

enum Stage {
    Asking(Box<Asking>),
    Confirming(Box<Confirming>),
    Ended,
}

/// What a frame has brought about.
pub(in crate::agent) enum Step {
    Nothing,
    /// The certificate that was seen is in the Confirm: no other will do from now on.
    Confirmed,
    Ended(Result<Ticket, AdmissionError>),
}

impl Pairing {
    /// Takes a code, and makes a link key that serves for this alone.
    pub(in crate::agent) fn new(code: &Code, random: &mut Random) -> Self {
        let link_seed = Zeroizing::new(random.array());
        Self { slot: code.slot(), link_seed, stage: Stage::Asking(Box::new(Asking::start(code, random))), send_at: None }
    }

    pub(in crate::agent) fn link_key(&self) -> LinkKeyPair {
        LinkKeyPair::from_seed(&self.link_seed)
    }

    pub(in crate::agent) fn role(&self) -> Role {
        Role::Guest { slot: self.slot }
    }

    /// Notes that the guest's link is up: the frame whose turn it is goes out at once.
    pub(in crate::agent) fn handle_up(&mut self, now: Now) {
        self.send_at = Some(now.monotonic);
    }

    pub(in crate::agent) fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
        self.send_at.filter(|at| *at <= now.monotonic)?;
        self.send_at = Some(now.monotonic + RETRY_INTERVAL);
        match &self.stage {
            Stage::Asking(asking) => Some(asking.frame().into_bytes()),
            Stage::Confirming(confirming) => Some(confirming.frame().bytes().clone()),
            Stage::Ended => None,
        }
    }

    pub(in crate::agent) fn poll_timeout(&self) -> Option<Duration> {
        self.send_at
    }

    /// Takes a frame that came over the guest's link, which showed the certificate that `seen` describes.
    pub(in crate::agent) fn handle_data(&mut self, frame: &DataFrame, seen: Seen, now: Now) -> Step {
        let Ok(message) = Message::read(frame) else { return Step::Nothing };
        match (std::mem::replace(&mut self.stage, Stage::Ended), message) {
            (Stage::Asking(asking), Message::Tell(tell)) if asking.exchange() == frame.header().session => {
                match asking.confirm(&tell, seen) {
                    Ok(confirming) => {
                        self.stage = Stage::Confirming(Box::new(confirming));
                        self.send_at = Some(now.monotonic);
                        Step::Confirmed
                    }
                    Err(_) => Step::Ended(Err(AdmissionError::Forged)),
                }
            }
            // Who isn't asked for a proof yet has none to give.
            (Stage::Asking(asking), Message::Offer { status, .. })
                if asking.exchange() == frame.header().session && !status.is_proven() =>
            {
                Step::Ended(Err(error_of(status)))
            }
            (Stage::Confirming(confirming), Message::Offer { .. })
                if confirming.frame().header().session == frame.header().session =>
            {
                Step::Ended(match confirming.open(frame) {
                    Ok(outcome) => outcome.map_err(error_of),
                    Err(_) => Err(AdmissionError::Forged),
                })
            }
            (stage, _) => {
                self.stage = stage;
                Step::Nothing
            }
        }
    }
}

fn error_of(status: PairingStatus) -> AdmissionError {
    match status {
        PairingStatus::WrongCode => AdmissionError::WrongCode,
        PairingStatus::Certificate => AdmissionError::Untrusted,
        PairingStatus::Closed => AdmissionError::Closed,
        PairingStatus::Paired | PairingStatus::Unknown(_) => {
            AdmissionError::Refused("it answers with a status that this version doesn't know".to_owned())
        }
    }
}
