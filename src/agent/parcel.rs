//! Parcels: the messages in an envelope that waits at the switchboard for its receiver.
//!
//! A codec and nothing else. Unlike the content of a session frame a parcel says itself from which run and when it is, because it may be
//! opened when nobody else can tell any more.
//!
//! Specification: PROTOCOL.md section 7.3.

use bytes::Bytes;

use super::card::CARD_LIMIT;
use super::section::CHUNK_LIMIT;
use crate::proto::codec::{Reader, Writer};
use crate::proto::{Error, RunId};

/// Bytes before each message of a parcel.
pub const MESSAGE_OVERHEAD: usize = 28;

/// Messages of one lane, from one run of their sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    pub run: RunId,
    /// When it was made, Unix milliseconds on the sender's clock.
    pub wall: u64,
    /// The same moment on the switchboard's clock, as far as it told the sender.
    pub wall_there: u64,
    /// The sender's card, encoded.
    pub card: Bytes,
    /// Lowest number that the sender still waits for.
    pub floor: u64,
    /// One at least, together at most [`CHUNK_LIMIT`] bytes.
    pub messages: Vec<ParkedMessage>,
}

/// One message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedMessage {
    pub number: u64,
    /// The last message before it in its thread that isn't settled either; its own number if there is none. A run of the receiver that the
    /// envelope doesn't name waits for that one, because it may not get those between, and the named one as the header says.
    pub before: u64,
    /// For so long the receiver waits, Unix milliseconds on the sender's clock: then no message before it in its thread is worth anything
    /// any more. 0 if none can come.
    pub waits_until: u64,
    /// Header and body as in a session frame.
    pub message: Bytes,
}

impl Parcel {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64 + self.card.len() + CHUNK_LIMIT);
        writer.raw(self.run.as_bytes()).u64(self.wall).u64(self.wall_there).bytes16(&self.card).u64(self.floor);
        writer.u16(self.messages.len().min(u16::MAX.into()) as u16);
        for parked in self.messages.iter().take(u16::MAX.into()) {
            writer.u64(parked.number).u64(parked.before).u64(parked.waits_until).bytes32(&parked.message);
        }
        writer.extensions();
        writer.into_vec()
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// `Malformed` or `TooLarge`, by the sender's fault.
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(payload);
        let run = RunId::from_bytes(reader.array()?);
        let (wall, wall_there) = (reader.u64()?, reader.u64()?);
        let card = Bytes::copy_from_slice(reader.bytes16("card", CARD_LIMIT)?);
        let floor = reader.u64()?;
        let count = reader.u16()?;
        let mut messages = Vec::new();
        for _ in 0..count {
            let (number, before, waits_until) = (reader.u64()?, reader.u64()?, reader.u64()?);
            // Alone, and not with all of the payload: it may wait for long.
            let message = Bytes::copy_from_slice(reader.bytes32("parked message", CHUNK_LIMIT)?);
            messages.push(ParkedMessage { number, before, waits_until, message });
        }
        reader.extensions()?;
        reader.finish("parcel")?;
        // Numbers end below 2^64: what lies beyond is nobody's message.
        let is_odd = |parked: &ParkedMessage| parked.number == u64::MAX || parked.before > parked.number;
        if messages.is_empty() || messages.iter().any(is_odd) {
            return Err(Error::Malformed { what: "parcel" });
        }
        Ok(Self { run, wall, wall_there, card, floor, messages })
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE as HEX;
    use proptest::prelude::*;

    use super::*;

    fn parcel(messages: &[&'static [u8]]) -> Parcel {
        let messages = (7..).zip(messages).map(|(number, message)| ParkedMessage {
            number,
            before: number - 1,
            waits_until: number << 8,
            message: Bytes::from_static(message),
        });
        let card = Bytes::from_static(b"card");
        let run = RunId::from_bytes([0x11; 16]);
        Parcel { run, wall: 0x0102, wall_there: 0x0100, card, floor: 5, messages: messages.collect() }
    }

    #[test]
    fn a_parcel_is_pinned() {
        let expected = concat!(
            "11111111111111111111111111111111", // run
            "0000000000000102",                 // wall
            "0000000000000100",                 // on the switchboard's clock
            "000463617264",                     // card
            "0000000000000005",                 // floor
            "0002",                             // two messages
            "0000000000000007",                 // number
            "0000000000000006",                 // before
            "0000000000000700",                 // waits until
            "000000026869",                     // message
            "0000000000000008",
            "0000000000000007",
            "0000000000000800",
            "00000000",
            "0000", // extensions
        );
        assert_eq!(HEX.encode(&parcel(&[b"hi", b""]).encode()), expected);
    }

    #[test]
    fn what_no_honest_sender_makes_is_malformed() {
        assert!(Parcel::decode(&parcel(&[]).encode()).is_err(), "nothing in it");
        let mut last = parcel(&[b"hi"]);
        last.messages[0].number = u64::MAX;
        assert!(Parcel::decode(&last.encode()).is_err(), "no number after it");
        let mut ahead = parcel(&[b"hi"]);
        ahead.messages[0].before = 8;
        assert!(Parcel::decode(&ahead.encode()).is_err(), "it waits for something after it");
        let whole = parcel(&[b"hi", b"ho"]).encode();
        assert!((0..whole.len()).all(|len| Parcel::decode(&whole[..len]).is_err()), "cut");
    }

    proptest! {
        #[test]
        fn a_parcel_survives_its_encoding(numbers in proptest::collection::vec(0..u64::MAX, 1..20), wall: u64, floor: u64) {
            let messages = numbers.into_iter().map(|number| ParkedMessage {
                number,
                before: number / 3,
                waits_until: number / 2,
                message: Bytes::from(vec![number as u8; (number % 300) as usize]),
            });
            let parcel = Parcel { wall, floor, messages: messages.collect(), ..parcel(&[]) };
            prop_assert_eq!(Parcel::decode(&parcel.encode()).unwrap(), parcel);
        }

        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Parcel::decode(&bytes);
        }
    }
}
