use data_encoding::HEXLOWER as HEX;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::agent::message::MessageKind;

#[test]
fn a_messages_section_is_pinned() {
    let mut out = BytesMut::new();
    let mut writer = MessagesWriter::begin(&mut out, 5, 7);
    writer.add_encoded(b"one");
    writer.add_encoded(b"three");
    assert_eq!(writer.end(), 2);
    let expected = concat!(
        "01",
        "00000022",         // length
        "0000000000000005", // floor
        "0000000000000007", // first
        "0002",             // count
        "000000036f6e65",
        "000000057468726565",
    );
    assert_eq!(HEX.encode(&out), expected);
}

#[test]
fn a_chunk_section_is_pinned() {
    let mut out = BytesMut::new();
    put_chunk(&mut out, 1, 2, 3, 6, b"abc");
    let expected = concat!(
        "02",
        "00000023",
        "0000000000000001", // floor
        "0000000000000002", // number
        "0000000000000003", // offset
        "0000000000000006", // total
        "616263",
    );
    assert_eq!(HEX.encode(&out), expected);
}

#[test]
fn a_receipt_section_is_pinned() {
    let receipt = full_receipt();
    let mut out = BytesMut::new();
    put_receipt(&mut out, &receipt);
    let expected = concat!(
        "03",
        "0000004a",
        "02",               // lane high
        "0000000000000009", // delivered below
        "01",
        "000000000000000b000000000000000d", // delivered
        "02",
        "00000000000000010000000000000002", // done
        "00000000000000040000000000000006",
        "01",
        "0000000000000003", // refused
        "04",
        "0466756c6c",
    );
    assert_eq!(HEX.encode(&out), expected);
    assert_eq!(receipt.encoded_len(), out.len());
}

#[test]
fn the_small_sections_are_pinned() {
    let mut out = BytesMut::new();
    put_credit(&mut out, &credit());
    put_heartbeat(&mut out, &[MessageId::from_bytes([0xaa; 16])]);
    put_probe(&mut out);
    put_goodbye(&mut out, true);
    put_goodbye(&mut out, false);
    let expected = concat!(
        "04",
        "00000012",
        "04", // lane bulk
        "01", // requests
        "0000000000000020",
        "0000000000010000",
        "05",
        "00000011",
        "01",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "06",
        "00000000",
        "07",
        "00000001",
        "01",
        "07",
        "00000001",
        "00",
    );
    assert_eq!(HEX.encode(&out), expected);
}

#[test]
fn sections_come_back_in_order() {
    let frame = frame_of_everything();
    let read: Vec<_> = sections(frame).map(Result::unwrap).collect();
    let [messages, chunk, receipt, credited, heartbeat, probe, goodbye] = &read[..] else {
        panic!("{} sections", read.len());
    };
    let Section::Messages(messages) = messages else { panic!("{messages:?}") };
    assert_eq!((messages.floor, messages.first, messages.messages.len()), (3, 4, 2));
    assert_eq!(messages.messages.clone().collect::<Vec<_>>(), ["one", "two"]);
    let bytes = Bytes::from_static(b"chunk");
    assert_eq!(*chunk, Section::Chunk(Chunk { floor: 3, number: 6, offset: 0, total: 5, bytes }));
    assert_eq!(*receipt, Section::Receipt(full_receipt()));
    assert_eq!(*credited, Section::Credit(credit()));
    assert_eq!(*heartbeat, Section::Heartbeat(vec![MessageId::from_bytes([7; 16]); 2]));
    assert_eq!(*probe, Section::Probe);
    assert_eq!(*goodbye, Section::Goodbye { is_final: true });
}

#[test]
fn a_message_can_be_encoded_straight_into_the_frame() {
    let header = MessageHeader::new(MessageId::from_bytes([1; 16]), MessageKind::Plain, 2, 3);
    let mut out = BytesMut::new();
    let mut writer = MessagesWriter::begin(&mut out, 0, 0);
    writer.add(&header, b"body");
    assert_eq!(writer.count(), 1);
    let len = MESSAGES_OVERHEAD + MESSAGE_OVERHEAD + header.encoded_len() + 4;
    assert_eq!(writer.buffer_len(), len);
    writer.end();
    let message = first_messages(out.freeze()).next().unwrap();
    let (decoded, body) = MessageHeader::decode(message).unwrap();
    assert_eq!(decoded, header);
    assert_eq!(body, "body");
}

#[test]
fn messages_are_slices_of_their_frame() {
    let frame = frame_of_everything();
    let within = frame.as_ptr_range();
    assert!(first_messages(frame.clone()).all(|message| within.contains(&message.as_ptr())));
}

#[test]
fn a_section_without_a_message_leaves_nothing_behind() {
    let mut out = BytesMut::new();
    put_probe(&mut out);
    let before = out.clone();
    assert_eq!(MessagesWriter::begin(&mut out, 1, 2).end(), 0);
    assert_eq!(out, before);
}

#[test]
fn sections_of_a_later_version_are_skipped() {
    let mut out = BytesMut::from(&[0x63, 0, 0, 0, 2, 1, 2][..]);
    put_probe(&mut out);
    let read: Vec<_> = sections(out.freeze()).map(Result::unwrap).collect();
    assert_eq!(read, [Section::Unknown(0x63), Section::Probe]);
}

#[test]
fn nothing_is_read_after_a_malformed_section() {
    let mut out = BytesMut::new();
    put_probe(&mut out);
    out.put_slice(&[PROBE, 0, 0, 0, 1, 0]);
    put_probe(&mut out);
    let read: Vec<_> = sections(out.freeze()).collect();
    assert!(matches!(&read[..], [Ok(Section::Probe), Err(_)]));
}

#[test]
fn a_frame_cut_within_a_section_ends_in_an_error() {
    let frame = frame_of_everything();
    let whole = sections(frame.clone()).count();
    let mut clean_cuts = 0;
    for len in 0..frame.len() {
        match sections(frame.slice(..len)).last() {
            Some(Err(_)) => {}
            None | Some(Ok(_)) => clean_cuts += 1,
        }
    }
    assert_eq!(clean_cuts, whole, "only a cut between sections goes unnoticed");
}

#[test]
fn a_count_that_the_section_does_not_hold_is_refused() {
    let mut out = BytesMut::new();
    let mut writer = MessagesWriter::begin(&mut out, 0, 0);
    writer.add_encoded(b"one");
    writer.add_encoded(b"two");
    writer.end();
    let count_at = MESSAGES_OVERHEAD - 2;
    for count in [0u16, 1, 3, u16::MAX] {
        let mut frame = out.clone();
        frame[count_at..count_at + 2].copy_from_slice(&count.to_be_bytes());
        assert!(only_error(frame), "{count}");
    }
    assert!(!only_error(out));
}

#[test]
fn a_message_longer_than_its_section_is_refused() {
    for len in [4u32, 1 << 31, u32::MAX] {
        let mut out = BytesMut::new();
        let mut writer = MessagesWriter::begin(&mut out, 0, 0);
        writer.add_encoded(b"one");
        writer.end();
        out[MESSAGES_OVERHEAD..MESSAGES_OVERHEAD + 4].copy_from_slice(&len.to_be_bytes());
        put_probe(&mut out);
        assert!(only_error(out), "{len}");
    }
}

#[test]
fn a_transport_number_never_overflows() {
    let mut out = BytesMut::new();
    let mut writer = MessagesWriter::begin(&mut out, 0, u64::MAX);
    writer.add_encoded(b"one");
    writer.end();
    assert!(only_error(out));

    let mut out = BytesMut::new();
    put_chunk(&mut out, 0, u64::MAX, 0, 3, b"abc");
    assert!(only_error(out));
}

#[test]
fn a_chunk_outside_its_message_is_refused() {
    let is_refused = |offset, total, len| {
        let mut out = BytesMut::new();
        let body = 32 + len;
        put_section_header(&mut out, CHUNK, body);
        for field in [0, 0, offset, total] {
            out.put_u64(field);
        }
        out.put_bytes(0, len);
        only_error(out)
    };
    let chunk = CHUNK_LIMIT as u64;
    assert!(!is_refused(0, 1 << 20, CHUNK_LIMIT));
    assert!(!is_refused(chunk, chunk + 3, 3));
    assert!(is_refused(chunk, chunk + 2, 3));
    assert!(is_refused(chunk, chunk + 4, 3), "less than is left");
    assert!(is_refused(10, 13, 3), "between two chunks");
    assert!(is_refused(u64::MAX, u64::MAX, 1));
    assert!(is_refused(0, 0, 0));
    assert!(is_refused(0, 1 << 20, CHUNK_LIMIT + 1));
}

#[test]
fn an_empty_or_backward_range_is_refused() {
    for (first, end) in [(5, 5), (6, 5), (u64::MAX, 0)] {
        let mut receipt = full_receipt();
        receipt.delivered = vec![Range { start: first, end }];
        let mut out = BytesMut::new();
        put_receipt(&mut out, &receipt);
        assert!(only_error(out), "{first}..{end}");
    }
}

#[test]
fn ranges_that_do_not_rise_are_refused() {
    let is_refused = |ranges: &[Range<u64>]| {
        let mut out = BytesMut::new();
        put_receipt(&mut out, &Receipt { done: ranges.to_vec(), ..full_receipt() });
        sections(out.freeze()).any(|section| section.is_err())
    };
    assert!(is_refused(&[3..5, 1..2]));
    assert!(is_refused(&[1..5, 4..6]));
    assert!(!is_refused(&[1..5, 5..6]));
}

#[test]
fn a_lane_or_class_that_does_not_exist_is_refused() {
    let with_byte = |at: usize, byte: u8, put: &dyn Fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        put(&mut out);
        out[at] = byte;
        only_error(out)
    };
    let put_receipt: &dyn Fn(&mut BytesMut) = &|out| put_receipt(out, &full_receipt());
    let put_credit: &dyn Fn(&mut BytesMut) = &|out| put_credit(out, &credit());
    assert!(with_byte(5, 5, put_receipt));
    assert!(!with_byte(5, 0, put_receipt));
    assert!(with_byte(5, 5, put_credit));
    assert!(with_byte(5, 0, put_credit), "control needs no credit");
    assert!(with_byte(6, 4, put_credit));
    assert!(!with_byte(6, 2, put_credit));
}

#[test]
fn lists_longer_than_a_count_can_say_are_written_in_part() {
    let mut receipt = Receipt::new(Lane::Normal, 0);
    receipt.done = (0..300).map(|n| 2 * n..2 * n + 1).collect();
    receipt.refused =
        (0..300).map(|number| RefusedNumber { number, code: RefusalCode::Application, reason: "é".repeat(200) }).collect();
    let mut out = BytesMut::new();
    put_receipt(&mut out, &receipt);
    assert_eq!(out.len(), receipt.encoded_len());
    let Some(Ok(Section::Receipt(read))) = sections(out.freeze()).next() else { panic!() };
    assert_eq!(read.done, receipt.done[..LIST_LIMIT]);
    assert_eq!(read.refused.len(), LIST_LIMIT);
    assert_eq!(read.refused[0].reason, "é".repeat(127));

    let mut out = BytesMut::new();
    put_heartbeat(&mut out, &[MessageId::ZERO; 300]);
    let Some(Ok(Section::Heartbeat(ids))) = sections(out.freeze()).next() else { panic!() };
    assert_eq!(ids.len(), LIST_LIMIT);
}

proptest! {
    #[test]
    fn messages_come_back_as_they_went(
        floor: u64,
        first in 0..u64::MAX - 100,
        messages in vec(vec(any::<u8>(), 0..80), 1..40),
    ) {
        let mut out = BytesMut::new();
        put_probe(&mut out);
        let mut writer = MessagesWriter::begin(&mut out, floor, first);
        messages.iter().for_each(|message| writer.add_encoded(message));
        writer.end();
        put_probe(&mut out);
        let read: Vec<_> = sections(out.freeze()).map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), 3);
        let Section::Messages(section) = &read[1] else { panic!() };
        prop_assert_eq!((section.floor, section.first), (floor, first));
        prop_assert_eq!(section.messages.len(), messages.len());
        prop_assert_eq!(section.messages.clone().collect::<Vec<_>>(), messages);
    }

    #[test]
    fn a_receipt_comes_back_as_it_went(receipt in receipts()) {
        let mut out = BytesMut::new();
        put_receipt(&mut out, &receipt);
        prop_assert_eq!(out.len(), receipt.encoded_len());
        let read = sections(out.freeze()).next().unwrap().unwrap();
        prop_assert_eq!(read, Section::Receipt(receipt));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), section_type in 0..9u8) {
        let mut frame = BytesMut::new();
        put_section_header(&mut frame, section_type, bytes.len());
        frame.put_slice(&bytes);
        read_out(bytes.into());
        read_out(frame.freeze());
    }

    #[test]
    fn flipped_bytes_never_panic(at in any::<prop::sample::Index>(), to: u8) {
        let mut frame = frame_of_everything().to_vec();
        let at = at.index(frame.len());
        frame[at] = to;
        read_out(frame.into());
    }
}

fn read_out(frame: Bytes) {
    for section in sections(frame).flatten() {
        if let Section::Messages(section) = section {
            let count = section.messages.len();
            assert_eq!(section.messages.count(), count);
        }
    }
}

fn only_error(frame: BytesMut) -> bool {
    let read: Vec<_> = sections(frame.freeze()).collect();
    assert!(!read.is_empty());
    matches!(read[..], [Err(_)])
}

fn first_messages(frame: Bytes) -> EncodedMessages {
    match sections(frame).next() {
        Some(Ok(Section::Messages(section))) => section.messages,
        other => panic!("{other:?}"),
    }
}

fn credit() -> Credit {
    Credit { lane: Lane::Bulk, class: CreditClass::Request, messages: 32, bytes: 65_536 }
}

fn full_receipt() -> Receipt {
    Receipt {
        lane: Lane::High,
        delivered_below: 9,
        delivered: vec![Range { start: 11, end: 13 }],
        done: vec![1..2, 4..6],
        refused: vec![RefusedNumber { number: 3, code: RefusalCode::Busy, reason: "full".into() }],
    }
}

fn frame_of_everything() -> Bytes {
    let mut out = BytesMut::new();
    let mut writer = MessagesWriter::begin(&mut out, 3, 4);
    writer.add_encoded(b"one");
    writer.add_encoded(b"two");
    writer.end();
    put_chunk(&mut out, 3, 6, 0, 5, b"chunk");
    put_receipt(&mut out, &full_receipt());
    put_credit(&mut out, &credit());
    put_heartbeat(&mut out, &[MessageId::from_bytes([7; 16]); 2]);
    put_probe(&mut out);
    put_goodbye(&mut out, true);
    out.freeze()
}

fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
    vec((0..1_000_000u64, 1..1000u64), 0..6).prop_map(|steps| {
        let mut end = 0;
        steps
            .into_iter()
            .map(|(gap, len)| {
                let first = end + gap;
                end = first + len;
                first..end
            })
            .collect()
    })
}

prop_compose! {
    fn receipts()(
        lane in 0..5u8,
        delivered_below: u64,
        delivered in ranges(),
        done in ranges(),
        refused in vec((any::<u64>(), any::<u8>(), ".{0,30}"), 0..4),
    ) -> Receipt {
        let refused = refused.into_iter().map(|(number, code, reason)| {
            RefusedNumber { number, code: code.into(), reason }
        });
        Receipt {
            lane: Lane::try_from(lane).unwrap(),
            delivered_below,
            delivered,
            done,
            refused: refused.collect(),
        }
    }
}
