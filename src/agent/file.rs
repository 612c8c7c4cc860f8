//! The agent file: what an agent needs in order to be the same agent after a restart, as text that stands in a file of its owner's.
//!
//! A codec and nothing else: who reads and writes it, with which rights, is the shell's business ([`crate::net::agent_file`]); what an
//! agent makes of it stands in `resume`. It never holds messages, and it isn't encrypted: it is as secret as the agent itself.
//!
//! ```text
//! a2alinker agent file, version 1. Secret: ...              for whoever opens it; ends with the line
//! base64 in lines, of:  { u16 entry, bytes32 value }*, SHA-256 of all entries
//! ```
//!
//! | entry | value | |
//! | --- | --- | --- |
//! | 1 | name | |
//! | 2, 3 | seeds of the Ed25519 identity and of the long-term X-Wing key | 32 bytes each |
//! | 4 | a prekey: `u64` until, 32 bytes of seed | the first one is current, and replaced at that time; older ones are dropped then |
//! | 5 | seed of the founder key | at a founder's |
//! | 6, 7 | certificate chain, link certificate chain | none before admission |
//! | 8 | stamp of the newest own card, `u64` | |
//! | 9 | address of a switchboard, with its pin | repeated, best first |
//! | 10 | an open uncounted ticket: a ticket record (PROTOCOL.md section 7.1) | repeated |
//! | 11 | card of a peer | repeated |
//!
//! Entries that a version doesn't know are skipped, so that a later one may add some. Times are Unix milliseconds.

use bytes::Bytes;
use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::admission::{INVITES_LIMIT, TicketRecord};
use super::card::CARD_LIMIT;
use super::limits::PREKEY_LIFE;
use crate::crypto::certificate::{Certificate, CertificateChain, CertificateError, MAX_NAME, validate_name};
use crate::crypto::ticket::MAX_ADDRESSES;
use crate::crypto::{FounderKey, Identity, Random};
use crate::proto::codec::{Reader, Writer};
use crate::proto::{self, AgentId, FounderId, LinkChain, Now, signature};

#[cfg(test)]
mod tests;

/// Most bytes of an agent file. Chosen: the largest that an agent writes has 1.8 MB.
pub const FILE_LIMIT: usize = 4 << 20;
/// Cards of peers that are kept. Chosen: half a megabyte of usual cards; through any one of these peers an agent hears of the others.
pub const CARDS_KEPT: usize = 256;

/// Prekeys that are read. An agent has at most three.
const PREKEYS_LIMIT: usize = 8;
const LINE: usize = 100;
const CHECKSUM_LEN: usize = 32;

const TITLE: &str = "a2alinker agent file, version ";
const VERSION: &str = "1";
const WARNING: &str =
    ". Secret: whoever can read it can act as this agent. Keep it readable by you alone, and run it in one place.";

const NAME: u16 = 1;
const IDENTITY: u16 = 2;
const LONG_TERM: u16 = 3;
const PREKEY: u16 = 4;
const FOUNDER: u16 = 5;
const CHAIN: u16 = 6;
const LINK_CHAIN: u16 = 7;
const CARD_STAMP: u16 = 8;
const SWITCHBOARD: u16 = 9;
const TICKET: u16 = 10;
const CARD: u16 = 11;

/// Why a text is no usable agent file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is something else: the caller named the wrong file.
    #[error("this is not an agent file")]
    NotAnAgentFile,
    /// It was written by a later version.
    #[error("this agent file has version {got}, this program reads version {VERSION}: upgrade it")]
    Version { got: String },
    /// Something in it is missing or changed. A copy may help, or joining anew.
    #[error("this agent file is damaged ({what}): restore it from a copy, or move it away and join anew with an invite")]
    Damaged { what: &'static str },
}

/// A prekey as it is kept.
#[derive(Clone)]
pub(super) struct KeptPrekey {
    pub(super) seed: Zeroizing<[u8; 32]>,
    /// When it is to be replaced, or, if it has been, dropped.
    pub(super) until: u64,
}

/// The keys that make an agent the same agent.
#[derive(Clone)]
pub struct KeptKeys {
    pub(super) identity: Zeroizing<[u8; 32]>,
    pub(super) long_term: Zeroizing<[u8; 32]>,
    /// The current one, then those before it. Never empty.
    pub(super) prekeys: Vec<KeptPrekey>,
}

/// What the admission gave.
#[derive(Clone)]
pub(super) struct KeptMembership {
    pub(super) chain: CertificateChain,
    pub(super) link_chain: LinkChain,
}

/// The content of an agent file. Secret: it has no `Debug`.
#[derive(Clone)]
pub struct AgentFile {
    pub(super) name: String,
    pub(super) keys: KeptKeys,
    pub(super) founder: Option<Zeroizing<[u8; 32]>>,
    pub(super) membership: Option<KeptMembership>,
    pub(super) card_stamp: u64,
    pub(super) switchboards: Vec<String>,
    pub(super) tickets: Vec<TicketRecord>,
    /// Those that matter most first.
    pub(super) cards: Vec<Bytes>,
}

impl AgentFile {
    /// Makes the file of an agent that has still to join a swarm.
    ///
    /// # Errors
    /// [`CertificateError::Name`], by the caller's fault.
    pub fn new(name: &str, random: &mut Random, now: Now) -> Result<Self, CertificateError> {
        validate_name(name)?;
        let mut seed = || Zeroizing::new(random.array());
        let until = now.wall.saturating_add(PREKEY_LIFE.as_millis() as u64);
        let keys = KeptKeys { identity: seed(), long_term: seed(), prekeys: vec![KeptPrekey { seed: seed(), until }] };
        Ok(Self {
            name: name.to_owned(),
            keys,
            founder: None,
            membership: None,
            card_stamp: 0,
            switchboards: Vec::new(),
            tickets: Vec::new(),
            cards: Vec::new(),
        })
    }

    /// Makes the file of an agent that founds a swarm when it is resumed.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn founding(name: &str, random: &mut Random, now: Now) -> Result<Self, CertificateError> {
        Ok(Self { founder: Some(Zeroizing::new(random.array())), ..Self::new(name, random, now)? })
    }

    /// Returns the agent's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the agent's id.
    pub fn id(&self) -> AgentId {
        Identity::from_seed(*self.keys.identity).id()
    }

    /// Returns whether the agent founded its swarm.
    pub fn is_founder(&self) -> bool {
        self.founder.is_some()
    }

    /// Returns the certificate of the agent's membership, whether or not it is still good; `None` before its admission.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.membership.as_ref().map(|membership| membership.chain.leaf())
    }

    /// Returns the swarm that the agent is or was a member of; `None` before its admission.
    pub fn swarm(&self) -> Option<FounderId> {
        let founder = self.founder.as_ref().map(|seed| FounderKey::from_seed(**seed).id());
        founder.or_else(|| self.membership.as_ref().map(|membership| membership.chain.leaf().founder))
    }

    /// Returns where the agent's switchboards are, best first.
    pub fn switchboards(&self) -> &[String] {
        &self.switchboards
    }

    /// Returns the keys, for [`super::Config::keys`].
    pub fn keys(&self) -> &KeptKeys {
        &self.keys
    }

    /// Returns the text. Secret.
    pub fn encode(&self) -> Zeroizing<String> {
        let mut entries = self.entries();
        let checksum = signature::hash(&[entries.as_slice()]);
        entries.raw(&checksum);
        let encoded = Zeroizing::new(BASE64.encode(&Zeroizing::new(entries.into_vec())));
        let mut text = Zeroizing::new(String::with_capacity(encoded.len() + encoded.len() / LINE + 256));
        text.push_str(TITLE);
        text.push_str(VERSION);
        text.push_str(WARNING);
        text.push('\n');
        for line in encoded.as_bytes().chunks(LINE) {
            line.iter().for_each(|byte| text.push(char::from(*byte)));
            text.push('\n');
        }
        text
    }

    fn entries(&self) -> Writer {
        let variable = self.cards.iter().map(Bytes::len).sum::<usize>() + self.tickets.len() * CARD_LIMIT;
        // With room for everything, no part of a secret is left behind where the vector had stood before it grew.
        let mut writer = Writer::with_capacity(variable + 16 * 1024);
        let mut put = |entry: u16, value: &[u8]| {
            writer.u16(entry).bytes32(value);
        };
        put(NAME, self.name.as_bytes());
        put(IDENTITY, &*self.keys.identity);
        put(LONG_TERM, &*self.keys.long_term);
        for KeptPrekey { seed, until } in &self.keys.prekeys {
            let value = Zeroizing::new([&until.to_be_bytes()[..], &**seed].concat());
            put(PREKEY, &value);
        }
        if let Some(seed) = &self.founder {
            put(FOUNDER, &**seed);
        }
        if let Some(KeptMembership { chain, link_chain }) = &self.membership {
            put(CHAIN, &chain.encode());
            put(LINK_CHAIN, &link_chain.encode());
        }
        put(CARD_STAMP, &self.card_stamp.to_be_bytes());
        self.switchboards.iter().take(MAX_ADDRESSES).for_each(|address| put(SWITCHBOARD, address.as_bytes()));
        // What fails to encode are rights that no certificate could hold, which no invite has.
        self.tickets.iter().filter_map(|ticket| ticket.encode().ok()).for_each(|ticket| put(TICKET, &ticket));
        self.cards.iter().for_each(|card| put(CARD, card));
        writer
    }

    /// Reads the text of an agent file. Nothing in it is believed yet but that it is whole.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn decode(text: &[u8]) -> Result<Self, FileError> {
        let rest = text.strip_prefix(TITLE.as_bytes()).ok_or(FileError::NotAnAgentFile)?;
        let line_end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (title, body) = rest.split_at(line_end);
        let version: String = title.iter().take(8).map(|byte| char::from(*byte)).take_while(char::is_ascii_digit).collect();
        match version.as_str() {
            VERSION => {}
            "" => return Err(FileError::NotAnAgentFile),
            _ => return Err(FileError::Version { got: version }),
        }
        let damaged = |what| FileError::Damaged { what };
        if text.len() > FILE_LIMIT {
            return Err(damaged("it is too long"));
        }
        let encoded = Zeroizing::new(body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>());
        let bytes = Zeroizing::new(BASE64.decode(&encoded).map_err(|_| damaged("its text is cut or changed"))?);
        let (entries, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(damaged("it is cut"))?;
        if signature::hash(&[entries]) != *checksum {
            return Err(damaged("its checksum is wrong"));
        }
        Parts::read(entries).map_err(|_| damaged("an entry is malformed"))?.whole().map_err(damaged)
    }
}

/// What was found in a file, before it is known whether all of it is there.
#[derive(Default)]
struct Parts {
    name: Option<String>,
    identity: Option<Zeroizing<[u8; 32]>>,
    long_term: Option<Zeroizing<[u8; 32]>>,
    prekeys: Vec<KeptPrekey>,
    founder: Option<Zeroizing<[u8; 32]>>,
    chain: Option<CertificateChain>,
    link_chain: Option<LinkChain>,
    card_stamp: Option<u64>,
    switchboards: Vec<String>,
    tickets: Vec<TicketRecord>,
    cards: Vec<Bytes>,
}

impl Parts {
    fn read(entries: &[u8]) -> Result<Self, proto::Error> {
        let mut parts = Self::default();
        let mut reader = Reader::new(entries);
        while !reader.is_empty() {
            let entry = reader.u16()?;
            parts.take(entry, reader.bytes32("entry", FILE_LIMIT)?)?;
        }
        Ok(parts)
    }

    fn take(&mut self, entry: u16, value: &[u8]) -> Result<(), proto::Error> {
        const MALFORMED: proto::Error = proto::Error::Malformed { what: "entry" };
        let seed = || Ok(Zeroizing::new(<[u8; 32]>::try_from(value).map_err(|_| MALFORMED)?));
        let text = || std::str::from_utf8(value).map(str::to_owned).map_err(|_| MALFORMED);
        let is_too_much = match entry {
            NAME => self.name.replace(text()?).is_some() || value.len() > MAX_NAME,
            IDENTITY => self.identity.replace(seed()?).is_some(),
            LONG_TERM => self.long_term.replace(seed()?).is_some(),
            PREKEY => {
                let mut reader = Reader::new(value);
                let until = reader.u64()?;
                self.prekeys.push(KeptPrekey { until, seed: Zeroizing::new(reader.array()?) });
                reader.finish("prekey")?;
                self.prekeys.len() > PREKEYS_LIMIT
            }
            FOUNDER => self.founder.replace(seed()?).is_some(),
            CHAIN => self.chain.replace(CertificateChain::decode(value)?).is_some(),
            LINK_CHAIN => self.link_chain.replace(LinkChain::decode(value)?).is_some(),
            CARD_STAMP => {
                let stamp = u64::from_be_bytes(value.try_into().map_err(|_| MALFORMED)?);
                self.card_stamp.replace(stamp).is_some()
            }
            SWITCHBOARD => {
                self.switchboards.push(text()?);
                self.switchboards.len() > MAX_ADDRESSES || value.len() > usize::from(u8::MAX)
            }
            TICKET => {
                self.tickets.push(TicketRecord::decode(value).map_err(|_| MALFORMED)?);
                self.tickets.len() > INVITES_LIMIT
            }
            CARD => {
                self.cards.push(Bytes::copy_from_slice(value));
                self.cards.len() > CARDS_KEPT || value.len() > CARD_LIMIT
            }
            _ => false,
        };
        if is_too_much { Err(MALFORMED) } else { Ok(()) }
    }

    fn whole(self) -> Result<AgentFile, &'static str> {
        let missing = "an entry is missing";
        let name = self.name.filter(|name| validate_name(name).is_ok()).ok_or(missing)?;
        let (identity, long_term) = self.identity.zip(self.long_term).ok_or(missing)?;
        if self.prekeys.is_empty() || self.chain.is_some() != self.link_chain.is_some() {
            return Err(missing);
        }
        let membership = self.chain.zip(self.link_chain).map(|(chain, link_chain)| KeptMembership { chain, link_chain });
        Ok(AgentFile {
            name,
            keys: KeptKeys { identity, long_term, prekeys: self.prekeys },
            founder: self.founder,
            membership,
            card_stamp: self.card_stamp.unwrap_or_default(),
            switchboards: self.switchboards,
            tickets: self.tickets,
            cards: self.cards,
        })
    }
}
