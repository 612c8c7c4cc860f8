//! The frames of a link, held against PROTOCOL.md section 3 in three rings: pinned bytes, round trips, hostile input.
//!
//! The pinned bytes are written by hand from that page, never copied from the encoder's output. A change to one of them is a
//! change of the protocol.

#[path = "common/hex.rs"]
mod hex;

use a2alinker::proto::{
    Binding, BindingKind, Bounce, BounceReason, Challenge, ClientFrame, DataFrame, Error, Features, GoodbyeReason, Hello,
    HelloBody, Label, LabelChanges, Lane, LinkCertificate, LinkChain, LinkKey, LinkKeyPair, LinkRights, OuterHeader, OuterKind,
    RegisterStatus, Reject, RejectCode, Role, RoutingKey, RoutingKeyPair, ServerFrame, SessionId, SlotStatus, Welcome, limits,
    sign_hello,
};
use bytes::{Bytes, BytesMut};
use hex::hex;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

// Ring 1: pinned bytes.

#[test]
fn challenge_has_its_pinned_bytes() {
    assert_server_frame(
        ServerFrame::Challenge(Challenge {
            version_min: 1,
            version_max: 2,
            features: Features(0x0102),
            wall: 0x0000_0190_0000_abcd,
            binding: BindingKind::Exporter,
            nonce: [0x5a; 32],
        }),
        "01 01 02 0000000000000102 000001900000abcd 01
         5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 0000",
    );
}

#[test]
fn welcome_has_its_pinned_bytes() {
    assert_server_frame(
        ServerFrame::Welcome(Welcome {
            version: 1,
            features: Features::RESUME,
            wall: 0x0000_0190_0000_abcd,
            binding: BindingKind::None,
            ping_seconds: 20,
            grace_seconds: 120,
            resume_token: Bytes::from_static(&[0xaa, 0xbb]),
            resumed: None,
            boot: None,
        }),
        "03 01 0000000000000001 000001900000abcd 00 0014 0078 0002 aabb 0000",
    );
}

#[test]
fn the_welcome_of_a_resumed_link_has_its_pinned_bytes() {
    assert_server_frame(
        ServerFrame::Welcome(Welcome {
            version: 1,
            features: Features(3),
            wall: 0x0000_0190_0000_abcd,
            binding: BindingKind::None,
            ping_seconds: 20,
            grace_seconds: 120,
            resume_token: Bytes::from_static(&[0xaa, 0xbb]),
            resumed: Some(0x0102),
            boot: Some([0x66; 16]),
        }),
        "03 01 0000000000000003 000001900000abcd 00 0014 0078 0002 aabb
         0020 0001 0008 0000000000000102 0002 0010 66666666666666666666666666666666",
    );
}

#[test]
fn the_frames_of_resume_and_parking_have_their_pinned_bytes() {
    assert_client_frame(ClientFrame::LinkAck { received: 0x0102 }, "14 0000000000000102");
    assert_server_frame(ServerFrame::Accepted { number: 0x0304 }, "22 0000000000000304");
    assert_server_frame(
        ServerFrame::Bounce(Bounce { number: 5, reason: BounceReason::MailboxFull, retry_after_ms: 1_000 }),
        "21 0000000000000005 07 000003e8",
    );
    let resumed = LabelChanges { resumed: true, came: vec![label(0x11)], ..LabelChanges::default() };
    assert_server_frame(ServerFrame::Labels(resumed), "20 02 0001 11111111111111111111111111111111 0000");
}

#[test]
fn reject_has_its_pinned_bytes() {
    assert_server_frame(
        ServerFrame::Reject(Reject { code: RejectCode::CertificateExpired, retry_after_ms: 1_000, text: "old".into() }),
        "04 03 000003e8 0003 6f6c64",
    );
}

#[test]
fn labels_has_its_pinned_bytes() {
    assert_server_frame(
        ServerFrame::Labels(LabelChanges {
            forget_others: true,
            resumed: false,
            came: vec![label(0x11), label(0x22)],
            went: vec![label(0x33)],
        }),
        "20 01 0002 11111111111111111111111111111111 22222222222222222222222222222222 0001 33333333333333333333333333333333",
    );
}

#[test]
fn bounce_has_its_pinned_bytes() {
    assert_server_frame(
        ServerFrame::Bounce(Bounce { number: 0x0102_0304, reason: BounceReason::Full, retry_after_ms: 250 }),
        "21 0000000001020304 02 000000fa",
    );
}

#[test]
fn replaced_registered_and_goodbye_have_their_pinned_bytes() {
    assert_server_frame(ServerFrame::Replaced, "23");
    assert_server_frame(
        ServerFrame::Registered { mailbox: label(0x44), status: RegisterStatus::NotAllowed },
        "24 44444444444444444444444444444444 02",
    );
    assert_server_frame(ServerFrame::Goodbye(GoodbyeReason::ShuttingDown), "13 01");
    assert_client_frame(ClientFrame::Goodbye(GoodbyeReason::Closing), "13 00");
}

#[test]
fn register_and_unregister_have_their_pinned_bytes() {
    assert_client_frame(
        ClientFrame::Register { mailbox: label(0x44), expiry: 0x0000_0190_0000_0001 },
        "11 44444444444444444444444444444444 0000019000000001",
    );
    assert_client_frame(ClientFrame::Unregister { mailbox: label(0x44) }, "12 44444444444444444444444444444444");
}

#[test]
fn the_frames_of_slots_have_their_pinned_bytes() {
    assert_client_frame(ClientFrame::OpenSlot { slot: 1_234_567, expiry: 0x0000_0190_0000_0001 }, "16 0012d687 0000019000000001");
    assert_client_frame(ClientFrame::CloseSlot { slot: 7 }, "17 00000007");
    assert_server_frame(ServerFrame::SlotOpened { asked: 0, slot: 7, status: SlotStatus::Done }, "25 00000000 00000007 00");
    assert_server_frame(ServerFrame::SlotOpened { asked: 7, slot: 0, status: SlotStatus::Taken }, "25 00000007 00000000 03");
}

const DATA: &str = "10 99999999999999999999999999999999
    01 03 01 03 11111111111111111111111111111111 22222222222222222222222222222222 00000005 0000000000000006 0000000000000007
    deadbeef";

#[test]
fn data_has_its_pinned_bytes() {
    let header = OuterHeader {
        kind: OuterKind::Opener,
        lane: Lane::Urgent,
        parkable: true,
        early: true,
        destination: label(0x11),
        session: SessionId::from_bytes([0x22; 16]),
        generation: 5,
        counter: 6,
        expiry: 7,
    };
    let frame = DataFrame::new(header, &[0xde, 0xad, 0xbe, 0xef]).with_source(label(0x99));
    assert_eq!((frame.header_bytes().len(), DataFrame::HEADER_LEN), (56, 73));
    assert_client_frame(ClientFrame::Data(frame.clone()), DATA);
    assert_server_frame(ServerFrame::Data(frame), DATA);
}

#[test]
fn a_frame_of_a_pairing_has_kind_nine_and_eight_stays_reserved() {
    let mut bytes = hex(DATA);
    for (byte, kind) in [(8, OuterKind::Unknown(8)), (9, OuterKind::Pairing)] {
        bytes[17 + 1] = byte;
        let header = *DataFrame::parse(bytes.clone().into()).expect("well-formed").header();
        assert_eq!((header.kind, header.encode()[1]), (kind, byte));
    }
}

#[test]
fn the_reserved_kinds_of_a_later_version_are_skipped_not_refused() {
    for kind in [0x15, 0x18, 0x26, 0x30, 0x40, 0xff] {
        let frame = Bytes::from(vec![kind, 1, 2, 3]);
        assert_eq!(ClientFrame::decode(frame.clone()), Ok(ClientFrame::Unknown { kind }));
        assert_eq!(ServerFrame::decode(frame), Ok(ServerFrame::Unknown { kind }));
    }
}

#[test]
fn a_kind_of_the_other_direction_is_unknown() {
    assert_eq!(ClientFrame::decode(Bytes::from_static(&[0x23])), Ok(ClientFrame::Unknown { kind: 0x23 }));
    assert_eq!(ServerFrame::decode(Bytes::from_static(&[0x12])), Ok(ServerFrame::Unknown { kind: 0x12 }));
}

#[test]
fn unknown_codes_are_kept() {
    assert_server_frame(
        ServerFrame::Bounce(Bounce { number: 0, reason: BounceReason::Unknown(77), retry_after_ms: 0 }),
        "21 0000000000000000 4d 00000000",
    );
    assert_server_frame(ServerFrame::SlotOpened { asked: 0, slot: 0, status: SlotStatus::Unknown(9) }, "25 00000000 00000000 09");
    assert_server_frame(
        ServerFrame::Reject(Reject { code: RejectCode::Unknown(200), retry_after_ms: 0, text: String::new() }),
        "04 c8 00000000 0000",
    );
}

#[test]
fn unknown_extensions_are_skipped() {
    let plain = hex("03 01 0000000000000000 0000000000000000 00 0014 0000 0000 0000");
    let extended = hex("03 01 0000000000000000 0000000000000000 00 0014 0000 0000 0007 00ff 0003 010203");
    assert_eq!(ServerFrame::decode(extended.into()), ServerFrame::decode(plain.into()));
}

#[test]
fn extensions_that_do_not_add_up_are_refused() {
    let cut = hex("03 01 0000000000000000 0000000000000000 00 0014 0000 0000 0006 00ff 0003 0102");
    assert_eq!(ServerFrame::decode(cut.into()), Err(Error::CutShort { needed: 3, left: 2 }));
}

// What a Data frame promises beyond its bytes.

#[test]
fn a_source_is_written_in_place_when_nobody_else_holds_the_buffer() {
    let frame = DataFrame::parse(BytesMut::from(&hex(DATA)[..]).freeze()).expect("a good frame");
    let buffer = frame.bytes().as_ptr();

    let stamped = frame.with_source(label(0xab));

    assert_eq!(stamped.bytes().as_ptr(), buffer);
    assert_eq!(stamped.source(), label(0xab));
}

#[test]
fn a_source_is_written_into_a_copy_when_the_buffer_is_shared() {
    let frame = DataFrame::parse(hex(DATA).into()).expect("a good frame");
    let shared = frame.clone();

    let stamped = frame.with_source(label(0xab));

    assert_eq!((stamped.source(), shared.source()), (label(0xab), label(0x99)));
    assert_eq!((stamped.header_bytes(), stamped.sealed()), (shared.header_bytes(), shared.sealed()));
}

#[test]
fn the_sealed_part_stays_in_its_buffer() {
    let frame = DataFrame::parse(hex(DATA).into()).expect("a good frame");
    let start = frame.sealed().as_ptr();
    let sealed = frame.into_sealed();
    assert_eq!((&sealed[..], sealed.as_ptr()), (&[0xde, 0xad, 0xbe, 0xef][..], start));
}

#[test]
fn flags_of_a_later_version_reach_the_seal_unchanged() {
    let mut bytes = hex(DATA);
    bytes[17 + 3] = 0xff;
    let frame = DataFrame::parse(bytes.into()).expect("unknown flags are allowed");
    assert!(frame.header().parkable && frame.header().early);
    assert_eq!(frame.header_bytes()[3], 0xff);
}

// Ring 2: round trips.

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_client_frame_survives_the_wire(frame in client_frame()) {
        let bytes = frame.encode();
        prop_assert_eq!(bytes.len(), frame.encoded_len());
        prop_assert_eq!(ClientFrame::decode(bytes), Ok(frame));
    }

    #[test]
    fn every_server_frame_survives_the_wire(frame in server_frame()) {
        let bytes = frame.encode();
        prop_assert_eq!(bytes.len(), frame.encoded_len());
        prop_assert_eq!(ServerFrame::decode(bytes), Ok(frame));
    }
}

#[test]
fn the_largest_labels_frame_fits() {
    let changes = LabelChanges { forget_others: true, came: vec![label(1); limits::LABELS_PER_FRAME], ..LabelChanges::default() };
    let frame = ServerFrame::Labels(changes);
    assert!(frame.encoded_len() <= limits::FRAME);
    assert_eq!(ServerFrame::decode(frame.encode()), Ok(frame));
}

#[test]
fn a_long_reject_text_is_cut_between_characters() {
    let text = "é".repeat(400);
    let frame = ServerFrame::Reject(Reject { code: RejectCode::Full, retry_after_ms: 0, text: format!("x{text}") });
    let bytes = frame.encode();
    assert_eq!(bytes.len(), frame.encoded_len());
    let Ok(ServerFrame::Reject(reject)) = ServerFrame::decode(bytes) else { panic!("a Reject comes back") };
    assert_eq!(reject.text, format!("x{}", "é".repeat(255)));
}

// Ring 3: hostile input.

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..600)) {
        decode_both_ways(bytes);
    }

    #[test]
    fn a_known_kind_with_random_fields_never_panics(kind in 0u8..0x28, bytes in vec(any::<u8>(), 0..600)) {
        decode_both_ways([vec![kind], bytes].concat());
    }

    #[test]
    fn a_flipped_bit_never_panics(frame in server_frame(), place in any::<prop::sample::Index>(), bit in 0u32..8) {
        let mut bytes = frame.encode().to_vec();
        *place.get_mut(&mut bytes) ^= 1 << bit;
        decode_both_ways(bytes);
    }

    #[test]
    fn a_cut_frame_is_refused(frame in server_frame(), place in any::<prop::sample::Index>()) {
        let bytes = frame.encode();
        let cut = bytes.slice(..place.index(bytes.len()));
        let without_its_end = matches!(frame, ServerFrame::Data(_)) && cut.len() >= DataFrame::HEADER_LEN;
        prop_assert_eq!(ServerFrame::decode(cut).is_ok(), without_its_end);
    }

    #[test]
    fn a_cut_client_frame_is_refused(frame in client_frame(), place in any::<prop::sample::Index>()) {
        let bytes = frame.encode();
        let cut = bytes.slice(..place.index(bytes.len()));
        let without_its_end = matches!(frame, ClientFrame::Data(_)) && cut.len() >= DataFrame::HEADER_LEN;
        prop_assert_eq!(ClientFrame::decode(cut).is_ok(), without_its_end);
    }

    #[test]
    fn bytes_left_over_are_refused(frame in server_frame(), more in vec(any::<u8>(), 1..9)) {
        let bytes = [&frame.encode()[..], &more].concat();
        let refused = matches!(ServerFrame::decode(bytes.into()), Err(Error::LeftOver { .. }));
        // What follows the header of a Data frame is its content, however long.
        prop_assert_eq!(refused, !matches!(frame, ServerFrame::Data(_)));
    }
}

#[test]
fn an_empty_frame_is_refused() {
    assert_eq!(ClientFrame::decode(Bytes::new()), Err(Error::CutShort { needed: 1, left: 0 }));
}

#[test]
fn a_frame_beyond_the_limit_is_refused_whatever_its_kind() {
    for kind in [0x02, 0x10, 0x20, 0x99] {
        let frame = Bytes::from(vec![kind; limits::FRAME + 1]);
        let expected = Error::TooLarge { what: "frame", limit: limits::FRAME, got: limits::FRAME + 1 };
        assert_eq!(ClientFrame::decode(frame.clone()), Err(expected));
        assert_eq!(ServerFrame::decode(frame), Err(expected));
    }
}

#[test]
fn a_lane_above_bulk_is_refused() {
    let mut bytes = hex(DATA);
    bytes[17 + 2] = 5;
    assert_eq!(DataFrame::parse(bytes.into()), Err(Error::Malformed { what: "lane" }));
}

#[test]
fn a_header_of_another_version_is_refused() {
    let mut bytes = hex(DATA);
    bytes[17] = 2;
    assert_eq!(DataFrame::parse(bytes.into()), Err(Error::Version { what: "outer header", expected: 1, got: 2 }));
}

#[test]
fn lengths_beyond_a_field_s_limit_are_refused() {
    let token = hex("03 01 0000000000000000 0000000000000000 00 0014 0000 0041");
    assert_eq!(ServerFrame::decode(token.into()), Err(Error::TooLarge { what: "resume token", limit: 64, got: 65 }));
    let text = hex("04 01 00000000 0201");
    assert_eq!(ServerFrame::decode(text.into()), Err(Error::TooLarge { what: "text", limit: 512, got: 513 }));
}

#[test]
fn a_text_that_is_not_utf_8_is_refused() {
    assert_eq!(ServerFrame::decode(hex("04 01 00000000 0001 ff").into()), Err(Error::Malformed { what: "text" }));
}

// Ids and their text.

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn an_id_survives_its_text(bytes in any::<[u8; 16]>(), key in any::<[u8; 32]>()) {
        let (label, routing) = (Label::from_bytes(bytes), RoutingKey::from_bytes(key));
        prop_assert_eq!(label.to_string().parse(), Ok(label));
        prop_assert_eq!(routing.to_string().parse(), Ok(routing));
        prop_assert_eq!((label.to_string().len(), routing.to_string().len()), (26, 52));
    }
}

#[test]
fn an_id_has_one_text_only() {
    let label = label(0xff);
    assert_eq!(label.to_string(), "77777777777777777777777774");
    for text in ["77777777777777777777777774=", "77777777777777777777777775", "7777777777777777777777777", ""] {
        assert_eq!(text.parse::<Label>(), Err(Error::Malformed { what: "label" }), "{text}");
    }
    let upper = Label::from_bytes([0; 16]).to_string().to_uppercase();
    assert_eq!(upper.parse::<Label>(), Err(Error::Malformed { what: "label" }));
}

#[test]
fn a_debug_text_shows_no_more_than_the_beginning() {
    assert_eq!(format!("{:?}", label(0)), "Label(aaaaaaaa)");
}

// Helpers.

/// A failure prints its input, which then becomes a named test. `make soak` asks for more cases, by PROPTEST_CASES.
fn cases() -> Config {
    Config { cases: Config::default().cases.max(512), failure_persistence: None, ..Config::default() }
}

fn label(byte: u8) -> Label {
    Label::from_bytes([byte; 16])
}

#[track_caller]
fn assert_server_frame(frame: ServerFrame, pinned: &str) {
    let pinned = hex(pinned);
    assert_eq!(frame.encode(), pinned);
    assert_eq!(frame.encoded_len(), pinned.len());
    assert_eq!(ServerFrame::decode(pinned.into()), Ok(frame));
}

#[track_caller]
fn assert_client_frame(frame: ClientFrame, pinned: &str) {
    let pinned = hex(pinned);
    assert_eq!(frame.encode(), pinned);
    assert_eq!(frame.encoded_len(), pinned.len());
    assert_eq!(ClientFrame::decode(pinned.into()), Ok(frame));
}

fn decode_both_ways(bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    let _ = ClientFrame::decode(bytes.clone());
    let _ = ServerFrame::decode(bytes.clone());
    let _ = Hello::decode(bytes.clone());
    let _ = LinkChain::decode(&bytes);
    let _ = OuterHeader::decode(&bytes);
}

fn any_label() -> impl Strategy<Value = Label> {
    any::<[u8; 16]>().prop_map(Label::from_bytes)
}

fn binding_kind() -> impl Strategy<Value = BindingKind> {
    prop_oneof![Just(BindingKind::None), Just(BindingKind::Exporter), (2u8..).prop_map(BindingKind::Unknown)]
}

fn data_frame() -> impl Strategy<Value = DataFrame> {
    let kind = prop_oneof![
        Just(OuterKind::Session),
        Just(OuterKind::Answer),
        Just(OuterKind::CannotOpen),
        Just(OuterKind::Pairing),
        (10u8..).prop_map(OuterKind::Unknown)
    ];
    let ids = (any_label(), any_label(), any::<[u8; 16]>());
    let fields = (kind, prop::sample::select(Lane::ALL.to_vec()), any::<(bool, bool, u32, u64, u64)>());
    (ids, fields, vec(any::<u8>(), 0..200)).prop_map(|((source, destination, session), (kind, lane, rest), sealed)| {
        let (parkable, early, generation, counter, expiry) = rest;
        let session = SessionId::from_bytes(session);
        let header = OuterHeader { kind, lane, parkable, early, destination, session, generation, counter, expiry };
        DataFrame::new(header, &sealed).with_source(source)
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let role = prop_oneof![
        any_label().prop_map(|mailbox| Role::Stranger { mailbox }),
        any::<u32>().prop_map(|slot| Role::Guest { slot }),
        (any::<u64>(), 1usize..=2).prop_map(|(expiry, count)| Role::Member(chain(expiry, count))),
    ];
    (any::<(u64, u64)>(), any::<[u8; 32]>(), vec(any::<u8>(), 0..=64), role).prop_map(
        |((features, received), key, token, role)| {
            let body = HelloBody {
                features: Features(features),
                binding: BindingKind::None,
                routing: if matches!(role, Role::Guest { .. }) { RoutingKey::ZERO } else { RoutingKey::from_bytes(key) },
                link_key: LinkKey::from_bytes(key),
                received: if token.is_empty() { 0 } else { received },
                resume_token: token.into(),
                role,
            };
            sign_hello(&key, &Binding::Exporter(key), &LinkKeyPair::from_seed(&key), body)
        },
    )
}

fn chain(expiry: u64, count: usize) -> LinkChain {
    let certificate =
        LinkCertificate::issue_by_routing(&RoutingKeyPair::from_seed(&[1; 32]), LinkKey::ZERO, expiry, LinkRights::default());
    LinkChain::new(vec![certificate; count]).expect("one or two certificates")
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        hello().prop_map(ClientFrame::Hello),
        data_frame().prop_map(ClientFrame::Data),
        (any_label(), any::<u64>()).prop_map(|(mailbox, expiry)| ClientFrame::Register { mailbox, expiry }),
        any_label().prop_map(|mailbox| ClientFrame::Unregister { mailbox }),
        any::<u8>().prop_map(|reason| ClientFrame::Goodbye(GoodbyeReason::from_byte(reason))),
        any::<(u32, u64)>().prop_map(|(slot, expiry)| ClientFrame::OpenSlot { slot, expiry }),
        any::<u32>().prop_map(|slot| ClientFrame::CloseSlot { slot }),
        any::<u64>().prop_map(|received| ClientFrame::LinkAck { received }),
    ]
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let challenge = (any::<(u8, u8, u64, u64)>(), binding_kind(), any::<[u8; 32]>()).prop_map(|(numbers, binding, nonce)| {
        let (version_min, version_max, features, wall) = numbers;
        ServerFrame::Challenge(Challenge { version_min, version_max, features: Features(features), wall, binding, nonce })
    });
    let extensions = any::<(Option<u64>, Option<[u8; 16]>)>();
    let welcome = (any::<(u8, u64, u64, u16, u16)>(), binding_kind(), vec(any::<u8>(), 0..=64), extensions).prop_map(
        |(numbers, binding, token, (resumed, boot))| {
            let (version, features, wall, ping_seconds, grace_seconds) = numbers;
            let (features, resume_token) = (Features(features), token.into());
            ServerFrame::Welcome(Welcome {
                version,
                features,
                wall,
                binding,
                ping_seconds,
                grace_seconds,
                resume_token,
                resumed,
                boot,
            })
        },
    );
    let labels = || vec(any_label(), 0..40);
    prop_oneof![
        challenge,
        welcome,
        (any::<(u8, u32)>(), ".{0,100}").prop_map(|((code, retry_after_ms), text)| {
            ServerFrame::Reject(Reject { code: RejectCode::from_byte(code), retry_after_ms, text })
        }),
        data_frame().prop_map(ServerFrame::Data),
        (any::<(bool, bool)>(), labels(), labels()).prop_map(|((forget_others, resumed), came, went)| {
            ServerFrame::Labels(LabelChanges { forget_others, resumed, came, went })
        }),
        any::<u64>().prop_map(|number| ServerFrame::Accepted { number }),
        any::<(u64, u8, u32)>().prop_map(|(number, reason, retry_after_ms)| {
            ServerFrame::Bounce(Bounce { number, reason: BounceReason::from_byte(reason), retry_after_ms })
        }),
        Just(ServerFrame::Replaced),
        (any_label(), any::<u8>())
            .prop_map(|(mailbox, status)| ServerFrame::Registered { mailbox, status: RegisterStatus::from_byte(status) }),
        any::<(u32, u32, u8)>()
            .prop_map(|(asked, slot, status)| { ServerFrame::SlotOpened { asked, slot, status: SlotStatus::from_byte(status) } }),
        any::<u8>().prop_map(|reason| ServerFrame::Goodbye(GoodbyeReason::from_byte(reason))),
    ]
}
