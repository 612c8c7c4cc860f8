use proptest::prelude::*;

use super::*;

#[test]
fn a_full_part_is_four_whole_chunks() {
    assert_eq!(PART_HEADER + PART_BYTES, 4 * CHUNK_LIMIT);
    const { assert!(PART_BYTES <= super::super::limits::PART_MAX) };
}

#[test]
fn the_shares_of_all_ranks_fit_into_the_credit_with_room_for_a_part_each() {
    let shares: u64 = (0..RANKS).map(share).sum();
    assert!(shares < u64::from(CREDIT_WINDOW_BYTES));
    assert!(share(RANKS - 1) > (PART_HEADER + PART_BYTES) as u64);
}

#[test]
fn heads_and_ends_are_pinned() {
    let head = Head { form: BodyForm::File, length: Some(0x0102), name: "ab".to_owned() };
    assert_eq!(&head.encode()[..], b"\x02\0\0\0\0\0\0\x01\x02\x02ab");
    let stream = Head { form: BodyForm::Stream, length: None, name: String::new() };
    assert_eq!(&stream.encode()[..], b"\x03\xff\xff\xff\xff\xff\xff\xff\xff\0");
    let end = End::Complete { total: 7, digest: [9; 32] };
    assert_eq!(&end.encode()[..], [&[0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[9; 32], &[0]].concat());
    let given_up = End::GivenUp { total: 7, why: "no".to_owned() };
    assert_eq!(&given_up.encode()[..], [&[1, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 32], b"\x02no"].concat());
}

#[test]
fn a_form_or_status_of_a_later_version_is_refused() {
    assert!(Head::decode(b"\x04\0\0\0\0\0\0\x01\x02\0").is_err());
    let end = End::Complete { total: 7, digest: [9; 32] };
    let mut later = end.encode().to_vec();
    later[0] = 2;
    assert!(End::decode(&later).is_err());
}

proptest! {
    #[test]
    fn heads_and_ends_survive_the_way(form in 1u8..4, length in proptest::option::of(0..u64::MAX), name in "\\PC{0,60}", digest in any::<[u8; 32]>(), given_up in any::<bool>()) {
        let form = [BodyForm::Bytes, BodyForm::File, BodyForm::Stream][form as usize - 1];
        let head = Head { form, length, name: name.clone() };
        prop_assert_eq!(Head::decode(&head.encode()).unwrap(), head);
        let total = length.unwrap_or_default();
        let end = if given_up { End::GivenUp { total, why: name } } else { End::Complete { total, digest } };
        prop_assert_eq!(End::decode(&end.encode()).unwrap(), end);
    }

    #[test]
    fn what_a_stranger_writes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = (Head::decode(&bytes), End::decode(&bytes));
    }
}
