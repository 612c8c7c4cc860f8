//! Pairing by code: SPAKE2 turns three words into a strong secret, and that into a ticket (PROTOCOL.md section 9).
//!
//! ```text
//! joiner                                         inviter
//!   Asking::start    -- Ask -->                    Telling::answer
//!   Asking::confirm  <-- Tell --                   Telling::tell
//!                    -- Confirm -->                Telling::check    wrong: the code is burnt
//!   Confirming::open <-- Offer --                  Confirmed::offer, Confirmed::refuse
//!   Ticket                                         Confirmed::ticket
//! ```
//!
//! Each side proves with a confirmation that it came to the same secret, and with it which messages it saw. They stand beside the seal of
//! the offer because AES-GCM-SIV commits to no key. What counts as a guess, and how often one may be made, is decided above this layer.

mod messages;

use aws_lc_rs::hmac;
use spake2::{Ed25519Group, Identity as Side, Password, Spake2};
use zeroize::Zeroizing;

use super::aead::{AeadKey, NONCE_LEN};
use super::kdf::Prk;
use super::seal::key_header;
use super::{Code, Error, Random, Ticket, padding};
use crate::proto::{DataFrame, Label, OuterKind, SessionId, signature, slot_label};

pub use messages::{ELEMENT_LEN, Message, Offer, PairingStatus, Seen};
use messages::{Element, PROOF_LEN, Proof, proven_by_inviter, proven_by_joiner};

const TRANSCRIPT: &[u8] = b"a2alinker/1 code transcript\0";
/// A key seals one offer.
const OFFER_NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];

/// The joiner's side, before it heard anything.
pub struct Asking {
    spake: Spake2<Ed25519Group>,
    slot: u32,
    exchange: SessionId,
    ask: Element,
}

impl Asking {
    /// Begins an exchange under a fresh id.
    pub fn start(code: &Code, random: &mut Random) -> Self {
        let exchange = SessionId::from_bytes(random.array());
        let (joiner, inviter) = sides(code.slot());
        let (spake, ask) = Spake2::start_a_with_rng(&password(code), &joiner, &inviter, random);
        Self { spake, slot: code.slot(), exchange, ask: element(&ask) }
    }

    /// Returns the id of the exchange, which all its frames carry.
    pub fn exchange(&self) -> SessionId {
        self.exchange
    }

    /// Returns the Ask.
    pub fn frame(&self) -> DataFrame {
        Message::Ask(self.ask).frame(slot_label(self.slot), self.exchange)
    }

    /// Takes the Tell, and the joiner's word for the certificate that it saw.
    ///
    /// # Errors
    /// [`Error::Open`] if the Tell isn't what an inviter sends; the exchange is over.
    pub fn confirm(self, tell: &[u8; ELEMENT_LEN], seen: Seen) -> Result<Confirming, Error> {
        let shared = Zeroizing::new(self.spake.finish(tell).map_err(|_| Error::Open)?);
        let keys = Keys::derive(self.slot, self.exchange, &self.ask, tell, &shared);
        let confirmation = keys.prove(Prover::Joiner, &proven_by_joiner(&seen));
        let frame = Message::Confirm { seen, confirmation }.frame(slot_label(self.slot), self.exchange);
        Ok(Confirming { keys, confirmation, frame })
    }
}

/// The joiner's side, after it has shown that it knows the words.
pub struct Confirming {
    keys: Keys,
    confirmation: Proof,
    frame: DataFrame,
}

impl Confirming {
    /// Returns the Confirm.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// Takes the Offer. `Err` holds a status other than [`PairingStatus::Paired`].
    ///
    /// # Errors
    /// [`Error::Open`] if an inviter's proof is needed and missing or wrong; [`Error::Proto`] or [`Error::Padding`] if what it sealed is
    /// malformed.
    pub fn open(&self, frame: &DataFrame) -> Result<Result<Ticket, PairingStatus>, Error> {
        let Message::Offer { status, proof, sealed } = Message::read(frame)? else { return Err(Error::Open) };
        if status.is_proven() {
            let proven = proven_by_inviter(status, &self.confirmation, &sealed);
            self.keys.verify(Prover::Inviter, &proven, proof.as_ref().map_or(&[], |proof| &proof[..]))?;
        }
        if status != PairingStatus::Paired {
            return Ok(Err(status));
        }
        let mut buffer = sealed;
        let padded = self.keys.offer_key().open(OFFER_NONCE, frame.header_bytes(), &mut buffer)?;
        Ok(Ok(self.keys.ticket(Offer::decode(padding::unpad(padded)?)?)))
    }
}

/// The inviter's side of one exchange, which has proven nothing yet.
pub struct Telling {
    keys: Keys,
    tell: Element,
    /// Where the joiner is reached.
    destination: Label,
    exchange: SessionId,
}

impl Telling {
    /// Answers an Ask that came from `source`.
    ///
    /// # Errors
    /// [`Error::Open`] if it isn't what a joiner sends.
    pub fn answer(
        code: &Code,
        exchange: SessionId,
        source: Label,
        ask: &[u8; ELEMENT_LEN],
        random: &mut Random,
    ) -> Result<Self, Error> {
        let (joiner, inviter) = sides(code.slot());
        let (spake, tell) = Spake2::<Ed25519Group>::start_b_with_rng(&password(code), &joiner, &inviter, random);
        let tell = element(&tell);
        let shared = Zeroizing::new(spake.finish(ask).map_err(|_| Error::Open)?);
        let keys = Keys::derive(code.slot(), exchange, ask, &tell, &shared);
        Ok(Self { keys, tell, destination: source, exchange })
    }

    /// Returns the Tell.
    pub fn frame(&self) -> DataFrame {
        Message::Tell(self.tell).frame(self.destination, self.exchange)
    }

    /// Takes the Confirm: this is the guess.
    ///
    /// # Errors
    /// [`Error::Open`] if the joiner hasn't the same words.
    pub fn check(self, seen: Seen, confirmation: &[u8; PROOF_LEN]) -> Result<Confirmed, Error> {
        self.keys.verify(Prover::Joiner, &proven_by_joiner(&seen), confirmation)?;
        Ok(Confirmed { telling: self, seen, confirmation: *confirmation })
    }
}

/// The inviter's side of an exchange with a joiner that knows the words.
pub struct Confirmed {
    telling: Telling,
    seen: Seen,
    confirmation: Proof,
}

impl Confirmed {
    /// Returns what the joiner says of its certificate.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Makes the Offer that pairs.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than fits.
    pub fn offer(&self, offer: &Offer) -> Result<DataFrame, Error> {
        let Telling { keys, destination, exchange, .. } = &self.telling;
        let header = key_header(OuterKind::Pairing, *destination, *exchange, 0);
        let mut sealed = padding::pad(&offer.encode())?;
        let tag = keys.offer_key().seal(OFFER_NONCE, &header.encode(), &mut sealed)?;
        sealed.extend_from_slice(&tag);
        Ok(self.answer(PairingStatus::Paired, sealed))
    }

    /// Makes the Offer that refuses with a reason which the joiner can believe.
    pub fn refuse(&self, status: PairingStatus) -> DataFrame {
        self.answer(status, Vec::new())
    }

    /// Derives the ticket that both sides hold from now on.
    pub fn ticket(&self, offer: Offer) -> Ticket {
        self.telling.keys.ticket(offer)
    }

    fn answer(&self, status: PairingStatus, sealed: Vec<u8>) -> DataFrame {
        let Telling { keys, destination, exchange, .. } = &self.telling;
        let proof = keys.prove(Prover::Inviter, &proven_by_inviter(status, &self.confirmation, &sealed));
        Message::Offer { status, proof: Some(proof), sealed }.frame(*destination, *exchange)
    }
}

/// Makes an Offer that refuses without a proof: to somebody with whom no secret is shared.
pub fn refusal(status: PairingStatus, destination: Label, exchange: SessionId) -> DataFrame {
    Message::Offer { status, proof: None, sealed: Vec::new() }.frame(destination, exchange)
}

/// What follows from the shared secret.
struct Keys(Prk);

#[derive(Clone, Copy)]
enum Prover {
    Joiner,
    Inviter,
}

impl Keys {
    fn derive(slot: u32, exchange: SessionId, ask: &Element, tell: &Element, shared: &[u8]) -> Self {
        let transcript = signature::hash(&[TRANSCRIPT, &slot.to_be_bytes(), exchange.as_bytes(), ask, tell]);
        Self(Prk::extract(&transcript, shared))
    }

    fn proof_key(&self, prover: Prover) -> hmac::Key {
        let label: &[u8] = match prover {
            Prover::Joiner => b"a2alinker/1 code joiner",
            Prover::Inviter => b"a2alinker/1 code inviter",
        };
        hmac::Key::new(hmac::HMAC_SHA256, &*self.0.expand::<32>(&[label]))
    }

    fn prove(&self, prover: Prover, proven: &[u8]) -> Proof {
        let tag = hmac::sign(&self.proof_key(prover), proven);
        tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }

    /// Compares in constant time.
    fn verify(&self, prover: Prover, proven: &[u8], proof: &[u8]) -> Result<(), Error> {
        hmac::verify(&self.proof_key(prover), proven, proof).map_err(|_| Error::Open)
    }

    fn offer_key(&self) -> AeadKey {
        AeadKey::new(&self.0.expand(&[b"a2alinker/1 code offer"]))
    }

    fn ticket(&self, offer: Offer) -> Ticket {
        let Offer { founder, routing, expiry, addresses } = offer;
        Ticket { counted: true, founder, routing, expiry, addresses, secret: self.0.expand(&[b"a2alinker/1 code ticket"]) }
    }
}

fn password(code: &Code) -> Password {
    Password::new(code.password().as_bytes())
}

/// The names under which SPAKE2 knows joiner and inviter.
fn sides(slot: u32) -> (Side, Side) {
    (Side::new(format!("a2alinker/1 joiner {slot}").as_bytes()), Side::new(format!("a2alinker/1 inviter {slot}").as_bytes()))
}

fn element(message: &[u8]) -> Element {
    message.try_into().expect("a message of this group has 33 bytes")
}
