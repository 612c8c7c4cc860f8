use proptest::prelude::*;

use super::*;
use crate::agent::error::ResumeError;
use crate::agent::{Agent, Config, InviteTerms};
use crate::crypto::Rights;

const NOW: Now = Now { monotonic: std::time::Duration::ZERO, wall: 1_790_000_000_000 };

/// Computed from the table at the top of `file` by other means.
const PINNED: &str = "\
a2alinker agent file, version 1. Secret: whoever can read it can act as this agent. Keep it readable by you alone, and run it in one place.
AAEAAAAFY29kZXIAAgAAACAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHwADAAAAICAhIiMkJSYnKCkqKywtLi8wMTIz
NDU2Nzg5Ojs8PT4/AAQAAAAoAAABoMl2yABAQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eXwAIAAAACAAAAAAAAAAA5GNn
Wp0x/R7Kzc3AKVcWOcNXNY78aBBwtJQfOPOVt3w=
";

#[test]
fn the_text_of_a_new_file_is_pinned() {
    let file = AgentFile::new("coder", &mut Random::counting(), NOW).unwrap();
    assert_eq!(*file.encode(), PINNED);
    let read = decode(PINNED.as_bytes()).unwrap();
    assert_eq!((read.name(), read.id(), read.swarm()), ("coder", file.id(), None));
}

#[test]
fn everything_in_a_file_is_there_when_it_is_read() {
    let file = full();
    let read = decode(file.encode().as_bytes()).unwrap();
    assert_eq!(read.encode(), file.encode());
    assert!(read.is_founder());
    assert_eq!(read.swarm(), file.swarm());
    assert_eq!(read.switchboards(), ["wss://relay.example:7447#pin".to_owned()]);
    assert_eq!((read.tickets.len(), read.cards.len(), read.keys.prekeys.len()), (1, 1, 1));
    assert!(read.membership.is_some());
}

#[test]
fn lines_may_be_wrapped_in_another_way() {
    let (title, body) = PINNED.split_once('\n').unwrap();
    let wrapped: String = body.split_whitespace().flat_map(|line| line.chars()).flat_map(|sign| [sign, '\r', '\n']).collect();
    assert!(decode(format!("{title}\r\n{wrapped}").as_bytes()).is_ok());
}

#[test]
fn what_is_no_agent_file_is_told_from_one_that_is_damaged_or_newer() {
    for text in
        ["", "-----BEGIN PRIVATE KEY-----", "a2alinker", "a2alinker agent file, version \n", "a2alinker agent file, version x"]
    {
        assert_eq!(decode(text.as_bytes()).err(), Some(FileError::NotAnAgentFile), "{text:?}");
    }
    let newer = PINNED.replace("version 1", "version 12");
    assert_eq!(decode(newer.as_bytes()).err(), Some(FileError::Version { got: "12".to_owned() }));
    assert!(matches!(decode(b"a2alinker agent file, version 1\n").err(), Some(FileError::Damaged { .. })));
}

#[test]
fn a_file_that_is_cut_or_changed_anywhere_is_damaged() {
    let text = PINNED.as_bytes();
    let body = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for end in body..text.len() - 1 {
        assert!(matches!(decode(&text[..end]).err(), Some(FileError::Damaged { .. })), "cut at {end}");
    }
    for at in (body..text.len()).filter(|at| text[*at] != b'\n') {
        let mut changed = text.to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(matches!(decode(&changed).err(), Some(FileError::Damaged { .. })), "changed at {at}");
    }
}

#[test]
fn an_entry_of_a_later_version_is_skipped_and_one_that_is_missing_or_doubled_is_not() {
    let entries = AgentFile::new("coder", &mut Random::counting(), NOW).unwrap().entries().into_vec();
    let entry = |kind: u16, value: &[u8]| [&kind.to_be_bytes()[..], &(value.len() as u32).to_be_bytes(), value].concat();
    let with = |more: Vec<u8>| decode(text_of(&[entries.clone(), more].concat()).as_bytes());
    assert!(with(Vec::new()).is_ok());
    assert!(with(entry(900, b"to come")).is_ok());
    assert!(with(entry(NAME, b"other")).is_err());
    assert!(with(entry(IDENTITY, &[0; 32])).is_err());
    assert!(with(entry(FOUNDER, &[0; 31])).is_err());
    assert!(with(entry(CHAIN, &[])).is_err());
    assert!(with(entry(CARD, &[0; CARD_LIMIT + 1])).is_err());
    assert!(with(entry(SWITCHBOARD, b"a").repeat(MAX_ADDRESSES + 1)).is_err());
    assert!(decode(text_of(&entries[10..]).as_bytes()).is_err(), "without a name");
    assert!(decode(text_of(&entry(NAME, b"coder")).as_bytes()).is_err());
}

#[test]
fn only_the_cards_that_matter_most_are_kept() {
    let mut file = full();
    let card = file.cards[0].clone();
    file.cards = vec![card; CARDS_KEPT];
    let text = file.encode();
    assert!(text.len() <= FILE_LIMIT);
    assert!(decode(text.as_bytes()).is_ok());
}

#[test]
fn a_file_put_together_of_two_makes_nobody_a_member() {
    let file = full();
    let resume = |file: AgentFile| Agent::resume(Config::new("host", [0; 32]), file, Random::from_seed([9; 32]), NOW).err();
    assert_eq!(resume(file.clone()), None);
    let other = AgentFile::founding("host", &mut Random::from_seed([8; 32]), NOW).unwrap();
    let mixed = AgentFile { founder: other.founder.clone(), ..file.clone() };
    assert_eq!(resume(mixed), Some(ResumeError::Mismatch { what: "founder key" }));
    let mut mixed = file.clone();
    mixed.keys.identity.clone_from(&other.keys.identity);
    assert_eq!(resume(mixed), Some(ResumeError::Mismatch { what: "identity" }));
    let mut mixed = file.clone();
    mixed.keys.long_term.clone_from(&other.keys.long_term);
    assert_eq!(resume(mixed), Some(ResumeError::Mismatch { what: "long-term key" }));
    let member = AgentFile { founder: None, membership: None, ..file.clone() };
    assert_eq!(resume(member), Some(ResumeError::NoMembership));
    let named = Agent::resume(Config::new("other", [0; 32]), file, Random::from_seed([9; 32]), NOW).err();
    assert_eq!(named, Some(ResumeError::Name { file: "host".to_owned(), given: "other".to_owned() }));
}

#[test]
fn a_membership_that_has_expired_says_so_and_a_founder_certifies_itself() {
    let late = Now { wall: NOW.wall + 31 * 24 * 3_600_000, ..NOW };
    let file = full();
    let resume = |file: AgentFile| Agent::resume(Config::new("host", [0; 32]), file, Random::from_seed([9; 32]), late);
    assert!(resume(file.clone()).is_ok_and(|agent| agent.health().certificate_expiry > Some(late.wall)));
    let member = AgentFile { founder: None, ..file };
    assert!(matches!(resume(member).err(), Some(ResumeError::Expired { .. })));
}

proptest! {
    #[test]
    fn decode_never_panics(entries in proptest::collection::vec(any::<u8>(), 0..400), text in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&text);
        let _ = decode(&[TITLE.as_bytes(), b"1\n", &text].concat());
        let _ = decode(text_of(&entries).as_bytes());
    }

    #[test]
    fn changed_entries_never_panic(at in 0usize..2_000, byte in any::<u8>()) {
        let mut entries = full().entries().into_vec();
        let at = at % entries.len();
        entries[at] = byte;
        if let Ok(file) = decode(text_of(&entries).as_bytes()) {
            let _ = Agent::resume(Config::new("host", [0; 32]), file, Random::from_seed([9; 32]), NOW);
        }
    }
}

fn decode(text: &[u8]) -> Result<AgentFile, FileError> {
    AgentFile::decode(text)
}

/// The text of a file with these entries, whatever they say.
fn text_of(entries: &[u8]) -> String {
    let bytes = [entries, &signature::hash(&[entries])].concat();
    format!("{TITLE}{VERSION}\n{}\n", BASE64.encode(&bytes))
}

/// The file of a host with an open ticket that knows somebody.
fn full() -> AgentFile {
    let mut config = Config::new("host", [1; 32]);
    config.switchboards = vec!["wss://relay.example:7447#pin".to_owned()];
    let file = AgentFile::founding("host", &mut Random::from_seed([2; 32]), NOW).unwrap();
    let mut agent = Agent::resume(config, file, Random::from_seed([3; 32]), NOW).unwrap();
    let terms = InviteTerms {
        uses: None,
        ttl: std::time::Duration::from_secs(60),
        rights: Rights::default(),
        addresses: vec!["wss://relay.example:7447#pin".to_owned()],
    };
    agent.invite(terms, NOW).unwrap();
    let mut file = agent.file(NOW).unwrap();
    file.cards = vec![Bytes::from_static(b"a card")];
    file
}
