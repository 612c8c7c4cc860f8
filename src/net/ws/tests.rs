//! Framing against the RFC's examples, against itself, and against tungstenite's.

use std::io::IoSlice;

use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::framing::{Decoder, Encoder, Received, Side};
use crate::proto::limits;

// RFC 6455 section 5.7.

#[test]
fn the_examples_of_the_rfc_are_read() {
    let parts = [0x02, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(read(Side::Client, &parts), Ok(vec![binary(b"Hello")]));
    assert_eq!(
        read(Side::Client, &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]),
        Ok(vec![Received::Ping(Bytes::from_static(b"Hello"))])
    );
    let masked_pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(Side::Switchboard, &masked_pong), Ok(vec![Received::Pong]));
    let masked = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(Side::Switchboard, &masked), Ok(vec![binary(b"Hello")]));
    let mut medium = vec![0x82, 0x7E, 0x01, 0x00];
    medium.extend([7; 256]);
    assert_eq!(read(Side::Client, &medium), Ok(vec![binary(&[7; 256])]));
    let mut long = vec![0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0];
    long.extend([7; 65_536]);
    assert_eq!(read(Side::Client, &long), Ok(vec![binary(&[7; 65_536])]));
}

#[test]
fn a_control_frame_may_stand_between_the_parts_of_a_message() {
    let bytes = [0x02, 1, b'a', 0x89, 0, 0x00, 1, b'b', 0x8A, 0, 0x80, 0];
    assert_eq!(read(Side::Client, &bytes), Ok(vec![Received::Ping(Bytes::new()), Received::Pong, binary(b"ab")]));
}

#[test]
fn every_broken_rule_is_an_error() {
    let parts_above_the_limit = [part(0x02, 40_000), part(0x80, 40_000)].concat();
    for (broken, bytes) in [
        ("reserved bits", &[0xC2, 0][..]),
        ("masked frame from a switchboard", &[0x82, 0x80, 0, 0, 0, 0]),
        ("above the limit", &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 1]),
        ("above the limit", &[0x82, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("above the limit", &parts_above_the_limit),
        ("text", &[0x81, 1, b'a']),
        ("out of order", &[0x80, 0]),
        ("out of order", &[0x02, 0, 0x82, 0]),
        ("unknown opcode", &[0x83, 0]),
        ("unknown opcode", &[0x8B, 0]),
        ("control frame", &[0x09, 0]),
        ("control frame", &part(0x89, 126)),
    ] {
        let refused = read(Side::Client, bytes).expect_err(broken);
        assert!(refused.contains(broken), "{refused} instead of {broken}");
    }
    assert!(read(Side::Switchboard, &[0x82, 0]).is_err_and(|refused| refused.contains("unmasked")));
}

#[test]
fn a_frame_holds_little_more_memory_than_its_length() {
    let mut decoder = Decoder::new(Side::Client, BytesMut::new());
    decoder.room().put_slice(&[&part(0x82, 100)[..], &part(0x82, 5_000)].concat());
    let [Ok(Some(Received::Binary(small))), Ok(Some(Received::Binary(large)))] = [decoder.next(), decoder.next()] else {
        panic!("two messages")
    };
    assert!(small.is_unique() && large.is_unique());
    assert_eq!((small.len(), large.len()), (100, 5_000));
    assert!(large.try_into_mut().is_ok_and(|large| large.capacity() < 8 * 5_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_one_side_writes_the_other_reads(messages in messages(), cuts in vec(1usize..5_000, 1..8), to_client: bool) {
        let (from, to) = if to_client { (Side::Switchboard, Side::Client) } else { (Side::Client, Side::Switchboard) };
        let mut encoder = Encoder::new(from);
        for message in &messages {
            encoder.binary(message.clone());
        }
        encoder.ping();
        encoder.close();
        let written = write_in_pieces(&mut encoder, &cuts);
        let expected: Vec<_> = messages.iter().map(|message| Received::Binary(message.clone()))
            .chain([Received::Ping(Bytes::new()), Received::Close]).collect();
        prop_assert_eq!(read_in_pieces(to, &written, &cuts), Ok(expected));
    }

    #[test]
    fn tungstenite_reads_what_we_write(messages in messages(), to_client: bool) {
        let (side, role) = if to_client { (Side::Switchboard, Role::Client) } else { (Side::Client, Role::Server) };
        let mut encoder = Encoder::new(side);
        for message in &messages {
            encoder.binary(message.clone());
        }
        let written = write_in_pieces(&mut encoder, &[usize::MAX]);
        let mut socket = WebSocket::from_raw_socket(std::io::Cursor::new(written), role, None);
        for message in messages {
            prop_assert_eq!(socket.read().expect("a message"), Message::Binary(message));
        }
    }

    #[test]
    fn we_read_what_tungstenite_writes(messages in messages(), cuts in vec(1usize..5_000, 1..8), to_client: bool) {
        let (side, role) = if to_client { (Side::Client, Role::Server) } else { (Side::Switchboard, Role::Client) };
        let mut socket = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), role, None);
        for message in &messages {
            socket.send(Message::Binary(message.clone())).expect("memory takes everything");
        }
        let written = socket.into_inner().into_inner();
        let expected: Vec<_> = messages.into_iter().map(Received::Binary).collect();
        prop_assert_eq!(read_in_pieces(side, &written, &cuts), Ok(expected));
    }

    #[test]
    fn random_bytes_are_read_or_refused_as_tungstenite_does(bytes in vec(any::<u8>(), 0..400), like_a_frame: bool) {
        let mut bytes = bytes;
        if like_a_frame && bytes.len() >= 2 {
            bytes[0] &= 0x8F;
            bytes[1] &= 0x7F;
        }
        let ours = read(Side::Client, &bytes);
        let config = WebSocketConfig::default().max_message_size(Some(limits::FRAME)).max_frame_size(Some(limits::FRAME));
        let mut socket = WebSocket::from_raw_socket(std::io::Cursor::new(bytes), Role::Client, Some(config));
        let mut theirs = Vec::new();
        let end = loop {
            match socket.read() {
                Ok(Message::Binary(message)) => theirs.push(message),
                Ok(Message::Close(_)) => break None,
                Ok(_) => {}
                Err(error) => break Some(error),
            }
        };
        match ours {
            Ok(received) => {
                let ours: Vec<_> = received.into_iter().filter_map(|one| if let Received::Binary(one) = one { Some(one) } else { None }).collect();
                prop_assert_eq!(ours, theirs);
            }
            // Text is an error to us alone; an end of the stream is none to the decoder.
            Err(rule) => prop_assert!(rule.contains("text") || !matches!(end, None | Some(Error::Io(_))), "{} {:?}", rule, end),
        }
    }
}

fn messages() -> impl Strategy<Value = Vec<Bytes>> {
    let size = prop_oneof![0usize..300, 3_900usize..4_200, 16_000usize..17_000, 65_000usize..=limits::FRAME];
    let message =
        (size, any::<u8>()).prop_map(|(size, first)| (0..size).map(|n| first.wrapping_add(n as u8)).collect::<Vec<_>>().into());
    vec(message, 0..6)
}

fn binary(bytes: &[u8]) -> Received {
    Received::Binary(Bytes::copy_from_slice(bytes))
}

/// An unmasked frame of zeros with a length of 16 bits.
fn part(first: u8, length: u16) -> Vec<u8> {
    let mut bytes = vec![first, 126];
    bytes.extend(length.to_be_bytes());
    bytes.resize(bytes.len() + usize::from(length), 0);
    bytes
}

fn read(side: Side, bytes: &[u8]) -> Result<Vec<Received>, &'static str> {
    read_in_pieces(side, bytes, &[usize::MAX])
}

/// Reads as from a socket that gives `cuts` bytes at a time, in turns. Ends at a Close.
fn read_in_pieces(side: Side, mut bytes: &[u8], cuts: &[usize]) -> Result<Vec<Received>, &'static str> {
    let mut decoder = Decoder::new(side, BytesMut::new());
    let mut received = Vec::new();
    for cut in cuts.iter().cycle() {
        while let Some(one) = decoder.next()? {
            let is_close = one == Received::Close;
            received.push(one);
            if is_close {
                return Ok(received);
            }
        }
        if bytes.is_empty() {
            break;
        }
        decoder.rest();
        let mut room = decoder.room();
        let given = bytes.len().min(*cut).min(room.remaining_mut());
        room.put_slice(&bytes[..given]);
        bytes = &bytes[given..];
    }
    Ok(received)
}

/// Writes as to a socket that takes `cuts` bytes at a time, in turns.
fn write_in_pieces(encoder: &mut Encoder, cuts: &[usize]) -> Vec<u8> {
    let mut written = Vec::new();
    for cut in cuts.iter().cycle() {
        if encoder.is_empty() {
            break;
        }
        let take = |slices: &[IoSlice<'_>]| {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let taken = all.len().min(*cut);
            written.extend_from_slice(&all[..taken]);
            Ok::<_, ()>(taken)
        };
        encoder.write_with(take).expect("memory takes everything");
    }
    written
}
