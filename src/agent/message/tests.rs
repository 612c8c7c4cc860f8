use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

#[test]
fn a_header_without_optional_fields_is_pinned() {
    let mut header = MessageHeader::new(id(0x11), MessageKind::Plain, 0x0102030405060708, 60_000);
    header.content_type = ContentType::Text;
    let expected = concat!(
        "11111111111111111111111111111111", // id
        "01",                               // plain
        "02",                               // text
        "0000",                             // flags
        "0102030405060708",                 // expiry
        "0000ea60",                         // time to live
        "0000",                             // depth
        "00000000",                         // budget
        "00000000",                         // attempt
        "00000000",                         // after
        "6869",                             // body
    );
    assert_eq!(HEX.encode(&encoded(&header, b"hi")), expected);
    assert_eq!(header.encoded_len(), HEADER_LEN);
}

#[test]
fn a_header_with_every_field_is_pinned() {
    let header = full_header();
    let expected = concat!(
        "11111111111111111111111111111111",
        "02",
        "03",
        "072f",
        "0000000000000100",
        "00000200",
        "0003",
        "00000004",
        "00000005",
        "00000006",
        "22222222222222222222222222222222",                                 // reply_to
        "33333333333333333333333333333333",                                 // thread
        "4444444444444444444444444444444444444444444444444444444444444444", // provenance
        "06726576696577",                                                   // skill
        "000180",                                                           // headers
        "ff",
    );
    assert_eq!(HEX.encode(&encoded(&header, &[0xff])), expected);
}

#[test]
fn every_kind_has_its_code() {
    let known = (0..=u8::MAX).filter(|&code| !matches!(code.into(), MessageKind::Unknown(_)));
    assert_eq!(known.collect::<Vec<_>>(), (1..=17).collect::<Vec<_>>());
    for code in 0..=u8::MAX {
        assert_eq!(u8::from(MessageKind::from(code)), code);
        assert_eq!(u8::from(ContentType::from(code)), code);
        assert_eq!(u8::from(RefusalCode::from(code)), code);
    }
}

#[test]
fn plain_messages_requests_and_parts_have_credit_of_their_own() {
    let class_of = |code: u8| MessageKind::from(code).credit_class();
    assert_eq!(class_of(1), CreditClass::Plain);
    assert_eq!(class_of(2), CreditClass::Request);
    assert_eq!(class_of(15), CreditClass::Part);
    assert!((3..=u8::MAX).filter(|code| *code != 15).all(|code| class_of(code) == CreditClass::Other));
    assert!(CreditClass::ALL.iter().enumerate().all(|(index, class)| class.index() == index));
    assert!(CreditClass::try_from(4).is_err());
}

#[test]
fn a_body_stays_in_the_buffer_of_its_frame() {
    let message = encoded(&full_header(), b"body");
    let (_, body) = MessageHeader::decode(message.clone()).unwrap();
    assert_eq!(body.as_ptr(), message[message.len() - 4..].as_ptr());
}

#[test]
fn extensions_and_unknown_flags_are_skipped() {
    let header = full_header();
    let mut message = encoded(&header, b"").to_vec();
    message[18] |= 0xfc;
    message[19] |= EXTENSIONS as u8;
    message.extend([0, 7, 0xab, 0xcd, 0, 3, 1, 2, 3]);
    message.extend(b"body");
    let (decoded, body) = MessageHeader::decode(message.into()).unwrap();
    assert_eq!(decoded, header);
    assert_eq!(body, "body");
}

#[test]
fn extensions_that_run_over_are_refused() {
    let mut message = encoded(&full_header(), b"").to_vec();
    message[19] |= EXTENSIONS as u8;
    message.extend([0, 7, 0xab, 0xcd, 0, 4, 1, 2, 3]);
    assert!(MessageHeader::decode(message.into()).is_err());
}

#[test]
fn a_header_cut_anywhere_is_refused() {
    let message = encoded(&full_header(), b"");
    for len in 0..message.len() {
        assert!(MessageHeader::decode(message.slice(..len)).is_err(), "cut to {len}");
    }
    assert!(MessageHeader::decode(message).is_ok());
}

#[test]
fn a_map_of_headers_beyond_its_limit_is_refused() {
    assert!(Headers::new(vec![0; HEADERS_LIMIT].into()).is_ok());
    let refused = Headers::new(vec![0; HEADERS_LIMIT + 1].into());
    assert!(matches!(refused, Err(Error::TooLarge { limit: HEADERS_LIMIT, .. })));

    let mut header = full_header();
    header.skill = None;
    header.headers = Headers(vec![0; HEADERS_LIMIT + 1].into());
    assert!(MessageHeader::decode(encoded(&header, b"")).is_err());
    header.headers = Headers(vec![0; HEADERS_LIMIT].into());
    assert!(MessageHeader::decode(encoded(&header, b"")).is_ok());
}

#[test]
fn a_skill_name_has_a_limit_and_is_text() {
    assert!(SkillName::new(&"x".repeat(255)).is_ok());
    assert!(SkillName::new(&"x".repeat(256)).is_err());

    let mut message = encoded(&full_header(), b"").to_vec();
    let skill_at = HEADER_LEN + 16 + 16 + 32 + 1;
    assert_eq!(&message[skill_at..skill_at + 6], b"review");
    message[skill_at] = 0xff;
    assert!(MessageHeader::decode(message.into()).is_err());
}

#[test]
fn a_refusal_is_pinned() {
    let refusal =
        Refusal { code: RefusalCode::HandlerError, retry_after_ms: 1500, type_name: "ValueError".into(), text: "no".into() };
    let body = refusal.encode();
    assert_eq!(HEX.encode(&body), "09000005dc0a56616c75654572726f7200026e6f");
    assert_eq!(Refusal::decode(&body).unwrap(), refusal);
}

#[test]
fn a_refusal_with_bytes_left_over_is_refused() {
    let mut body = Refusal::new(RefusalCode::Busy, "later").encode().to_vec();
    body.push(0);
    assert!(Refusal::decode(&body).is_err());
}

#[test]
fn a_refusal_that_says_too_much_is_cut_at_a_character() {
    let mut refusal = Refusal::new(RefusalCode::HandlerError, "ä".repeat(REFUSAL_TEXT_LIMIT));
    refusal.type_name = "€".repeat(SHORT_TEXT_LIMIT);
    let decoded = Refusal::decode(&refusal.encode()).unwrap();
    assert_eq!(decoded.text, "ä".repeat(REFUSAL_TEXT_LIMIT / 2));
    assert_eq!(decoded.type_name, "€".repeat(SHORT_TEXT_LIMIT / 3));
}

proptest! {
    #[test]
    fn a_header_comes_back_as_it_went(header in headers(), body in vec(any::<u8>(), 0..64)) {
        let message = encoded(&header, &body);
        prop_assert_eq!(message.len(), header.encoded_len() + body.len());
        let (decoded, rest) = MessageHeader::decode(message).unwrap();
        prop_assert_eq!(decoded, header);
        prop_assert_eq!(rest, body);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Refusal::decode(&bytes);
        let _ = MessageHeader::decode(bytes.into());
    }

    #[test]
    fn flipped_bytes_never_panic(header in headers(), at in any::<prop::sample::Index>(), to: u8) {
        let mut message = encoded(&header, b"body").to_vec();
        let at = at.index(message.len());
        message[at] = to;
        let _ = MessageHeader::decode(message.into());
    }

    #[test]
    fn a_refusal_comes_back_as_it_went(
        code: u8, retry_after_ms: u32, type_name in ".{0,20}", text in ".{0,200}",
    ) {
        let refusal = Refusal { code: code.into(), retry_after_ms, type_name, text };
        prop_assert_eq!(Refusal::decode(&refusal.encode()).unwrap(), refusal);
    }
}

#[test]
fn a_gap_says_what_it_stands_for() {
    let short = Lost { class: CreditClass::Request, cost: 0x0102, before: 0 };
    let long = Lost { before: 3, ..short };
    assert_eq!((HEX.encode(&short.encode()), HEX.encode(&long.encode())), ("0100000102".into(), "010000010200000003".into()));
    assert_eq!((Lost::decode(&short.encode()).unwrap(), Lost::decode(&long.encode()).unwrap()), (short, long));
    assert!(Lost::decode(&long.encode()[..7]).is_err());
}

fn id(byte: u8) -> MessageId {
    MessageId::from_bytes([byte; 16])
}

fn encoded(header: &MessageHeader, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    header.encode_into(&mut out);
    assert_eq!(out.len(), header.encoded_len());
    out.put_slice(body);
    out.freeze()
}

fn full_header() -> MessageHeader {
    MessageHeader {
        id: id(0x11),
        kind: MessageKind::Request,
        content_type: ContentType::MessagePack,
        wants_done: true,
        maybe_repeated: true,
        free: true,
        expiry: 256,
        ttl_ms: 512,
        depth: 3,
        budget: 4,
        attempt: 5,
        after: 6,
        reply_to: Some(id(0x22)),
        thread: Some(ThreadId::from_bytes([0x33; 16])),
        provenance: Some([0x44; 32]),
        skill: Some(SkillName::new("review").unwrap()),
        headers: Headers::new(Bytes::from_static(&[0x80])).unwrap(),
    }
}

prop_compose! {
    fn headers()(
        id: [u8; 16],
        (kind, content_type) in any::<(u8, u8)>(),
        (wants_done, maybe_repeated, free) in any::<(bool, bool, bool)>(),
        (expiry, ttl_ms) in any::<(u64, u32)>(),
        (depth, budget, attempt, after) in any::<(u16, u32, u32, u32)>(),
        reply_to in option::of(any::<[u8; 16]>()),
        thread in option::of(any::<[u8; 16]>()),
        provenance in option::of(any::<[u8; 32]>()),
        skill in option::of(".{0,60}"),
        headers in vec(any::<u8>(), 0..100),
    ) -> MessageHeader {
        MessageHeader {
            id: MessageId::from_bytes(id),
            kind: kind.into(),
            content_type: content_type.into(),
            wants_done,
            maybe_repeated,
            free,
            expiry,
            ttl_ms,
            depth,
            budget,
            attempt,
            after,
            reply_to: reply_to.map(MessageId::from_bytes),
            thread: thread.map(ThreadId::from_bytes),
            provenance,
            skill: skill.map(|skill| SkillName::new(&skill).unwrap()),
            headers: Headers::new(headers.into()).unwrap(),
        }
    }
}
