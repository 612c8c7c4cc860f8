//! Cards: what an agent tells about itself, signed, so that anybody may pass it on.
//!
//! Here a card is made, read and verified. Which of two cards counts, and who is there, is the roster's business; what a
//! skill does stands in its definition, of which a card holds the hash only.
//!
//! ```text
//! CardDraft::sign -> bytes -> Card::parse -> Card::verify -> VerifiedCard
//! ```
//!
//! Everything beyond this file takes a [`VerifiedCard`]. Parsing is cheap and comes first, so that the two to four signatures
//! of a card need to be checked only if it brings news.
//!
//! Specification: PROTOCOL.md section 5.2.

use bytes::Bytes;
use thiserror::Error;

use super::definitions::DefinitionHash;
use super::message::SHORT_TEXT_LIMIT;
use crate::crypto::certificate::{CertificateChain, CertificateError, Member};
use crate::crypto::identity::{self, Identity};
use crate::crypto::xwing::{PUBLIC_KEY_LEN, PublicKey};
use crate::proto::codec::{Reader, Writer};
use crate::proto::signature::SIGNATURE_LENGTH;
use crate::proto::{self, AgentId, FounderId, Label, LinkKey, RunId, VERSION, label_of};

#[cfg(test)]
pub(super) mod tests;

/// Largest card, in bytes (PROTOCOL 5.2).
pub const CARD_LIMIT: usize = 4096;

/// Most skills of a card, and most tags of a skill: what a `u8` count can say.
pub const SKILLS_LIMIT: usize = u8::MAX as usize;

const EPHEMERAL: u8 = 0x01;
const PURPOSE: &str = "card";

/// Why a card was not made or not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CardError {
    /// The caller's fault: the agent has more skills than a card can name.
    #[error("a card with these skills has {got} bytes, {CARD_LIMIT} are allowed: the first {skills_that_fit} skills would fit")]
    TooLarge { got: usize, skills_that_fit: usize },
    /// The peer's fault, or the caller's: something in the card is too long or not well-formed.
    #[error(transparent)]
    Malformed(#[from] proto::Error),
    /// The card belongs to another swarm.
    #[error("the card belongs to another swarm")]
    OtherSwarm,
    /// The certificate doesn't make the sender a member, or not any more.
    #[error("the certificate of the card is not good: {0}")]
    Certificate(#[from] CertificateError),
    /// The peer's fault: certificate and card don't speak of the same agent.
    #[error("the card and its certificate name different agents")]
    NotOfTheCertificate,
    /// The peer's fault, or that of whoever passed the card on.
    #[error("the card is not genuine")]
    Signature,
    /// The peer's fault.
    #[error("the prekey of the card is not an X-Wing key")]
    Prekey,
}

/// A skill as a card names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillEntry {
    /// At most 255 bytes.
    pub name: String,
    /// Words to choose by, at most 255 of at most 255 bytes.
    pub tags: Vec<String>,
    /// How many calls the agent handles at once.
    pub concurrency: u16,
    pub definition_hash: DefinitionHash,
}

impl SkillEntry {
    fn check(&self) -> Result<(), proto::Error> {
        let within = |what, got, limit| if got > limit { Err(proto::Error::TooLarge { what, limit, got }) } else { Ok(()) };
        within("skill name", self.name.len(), SHORT_TEXT_LIMIT)?;
        within("list of tags", self.tags.len(), SKILLS_LIMIT)?;
        self.tags.iter().try_for_each(|tag| within("skill tag", tag.len(), SHORT_TEXT_LIMIT))
    }

    fn encode(&self, writer: &mut Writer) {
        writer.text8(&self.name).u8(self.tags.len() as u8);
        self.tags.iter().for_each(|tag| {
            writer.text8(tag);
        });
        writer.u16(self.concurrency).raw(&self.definition_hash);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, proto::Error> {
        let name = reader.text8("skill name")?.to_owned();
        let tags = (0..reader.u8()?).map(|_| reader.text8("skill tag").map(str::to_owned)).collect::<Result<_, _>>()?;
        Ok(Self { name, tags, concurrency: reader.u16()?, definition_hash: reader.array()? })
    }
}

/// All that a card says, before it is signed.
pub struct CardDraft<'a> {
    pub founder: FounderId,
    pub identity: &'a Identity,
    pub run: RunId,
    /// Unix milliseconds when the card is made; it has to grow from card to card.
    pub stamp: u64,
    pub link_key: LinkKey,
    /// The name of the card is that of the certificate.
    pub chain: &'a CertificateChain,
    pub prekey: &'a PublicKey,
    /// Those that the certificate doesn't allow are dropped by every reader.
    pub skills: &'a [SkillEntry],
    /// The identity ends with the process.
    pub is_ephemeral: bool,
}

impl CardDraft<'_> {
    /// Encodes and signs the card.
    ///
    /// # Errors
    /// `TooLarge` or `Malformed`, by the caller's fault.
    pub fn sign(&self) -> Result<Bytes, CardError> {
        let mut writer = Writer::with_capacity(CARD_LIMIT);
        writer
            .u8(VERSION)
            .raw(self.founder.as_bytes())
            .raw(self.identity.id().as_bytes())
            .raw(self.run.as_bytes())
            .u64(self.stamp)
            .raw(self.link_key.as_bytes())
            .text8(&self.chain.leaf().name)
            .raw(self.prekey.as_bytes())
            .bytes16(&self.chain.encode());
        self.encode_skills(&mut writer)?;
        writer.u8(u8::from(self.is_ephemeral) * EPHEMERAL).extensions();
        let signature = self.identity.sign(PURPOSE, writer.as_slice());
        writer.raw(&signature);
        Ok(writer.into_vec().into())
    }

    /// Appends the skills, if with them and with what follows them the card keeps to its limit.
    fn encode_skills(&self, writer: &mut Writer) -> Result<(), CardError> {
        const REST: usize = 1 + 2 + SIGNATURE_LENGTH;
        writer.u8(self.skills.len().min(SKILLS_LIMIT) as u8);
        let mut skills_that_fit = 0;
        for (index, skill) in self.skills.iter().enumerate() {
            skill.check()?;
            skill.encode(writer);
            if index < SKILLS_LIMIT && writer.as_slice().len() + REST <= CARD_LIMIT {
                skills_that_fit = index + 1;
            }
        }
        let got = writer.as_slice().len() + REST;
        if skills_that_fit < self.skills.len() || got > CARD_LIMIT {
            return Err(CardError::TooLarge { got, skills_that_fit });
        }
        Ok(())
    }
}

/// A card that was read, but is believed in nothing yet.
#[derive(Clone, Debug)]
pub struct Card {
    founder: FounderId,
    identity: AgentId,
    run: RunId,
    stamp: u64,
    link_key: LinkKey,
    name: String,
    prekey: Bytes,
    chain: CertificateChain,
    skills: Vec<SkillEntry>,
    is_ephemeral: bool,
    bytes: Bytes,
}

impl Card {
    /// Reads a card.
    ///
    /// # Errors
    /// `Malformed`, by the peer's fault.
    pub fn parse(bytes: Bytes) -> Result<Self, CardError> {
        if bytes.len() > CARD_LIMIT {
            return Err(proto::Error::TooLarge { what: "card", limit: CARD_LIMIT, got: bytes.len() }.into());
        }
        let mut reader = Reader::new(&bytes);
        match reader.u8()? {
            VERSION => {}
            got => return Err(proto::Error::Version { what: "card", expected: VERSION, got }.into()),
        }
        let card = Self {
            founder: FounderId::from_bytes(reader.array()?),
            identity: AgentId::from_bytes(reader.array()?),
            run: RunId::from_bytes(reader.array()?),
            stamp: reader.u64()?,
            link_key: LinkKey::from_bytes(reader.array()?),
            name: reader.text8("name of a card")?.to_owned(),
            prekey: bytes.slice_ref(reader.take(PUBLIC_KEY_LEN)?),
            chain: CertificateChain::decode(reader.bytes16("certificate chain", CARD_LIMIT)?)?,
            skills: (0..reader.u8()?).map(|_| SkillEntry::decode(&mut reader)).collect::<Result<_, _>>()?,
            is_ephemeral: reader.u8()? & EPHEMERAL != 0,
            bytes: bytes.clone(),
        };
        reader.extensions()?;
        reader.take(SIGNATURE_LENGTH)?;
        reader.finish("card")?;
        Ok(card)
    }

    /// Returns whom the card claims to be of.
    pub fn identity(&self) -> AgentId {
        self.identity
    }

    /// Returns when the card claims to have been made, in Unix milliseconds of its maker's clock.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Believes the card, if it is of a member of the swarm and that member signed it.
    ///
    /// Skills that its certificate doesn't allow are dropped and counted; the card stands without them.
    ///
    /// # Errors
    /// `OtherSwarm`, `Certificate`, `NotOfTheCertificate`, `Signature` or `Prekey`, by the peer's fault. Only an expired
    /// certificate may be cured by a later card.
    pub fn verify(self, founder: &FounderId, now_wall: u64) -> Result<VerifiedCard, CardError> {
        if self.founder != *founder {
            return Err(CardError::OtherSwarm);
        }
        let member = self.chain.verify(founder, now_wall)?;
        if member.identity != self.identity || member.name != self.name {
            return Err(CardError::NotOfTheCertificate);
        }
        let (signed, signature) = self.bytes.split_last_chunk::<SIGNATURE_LENGTH>().ok_or(CardError::Signature)?;
        identity::verify(self.identity.as_bytes(), PURPOSE, signed, signature).map_err(|_| CardError::Signature)?;
        let prekey = PublicKey::from_bytes(&self.prekey).map_err(|_| CardError::Prekey)?;
        let offered = self.skills.len();
        let skills: Vec<_> = self.skills.into_iter().filter(|skill| member.rights.may_offer(&skill.name)).collect();
        Ok(VerifiedCard {
            identity: self.identity,
            run: self.run,
            stamp: self.stamp,
            link_key: self.link_key,
            label: label_of(&self.link_key),
            prekey,
            member,
            chain: self.chain,
            skills_dropped: offered - skills.len(),
            skills,
            is_ephemeral: self.is_ephemeral,
            // A copy of its own: a slice would keep the whole frame alive that it came in.
            bytes: Bytes::copy_from_slice(&self.bytes),
        })
    }
}

/// What a member of the swarm says about itself.
#[derive(Clone, Debug)]
pub struct VerifiedCard {
    pub identity: AgentId,
    pub run: RunId,
    /// Unix milliseconds of the member's clock; of two cards of one identity the later counts.
    pub stamp: u64,
    pub link_key: LinkKey,
    /// Where the member is reached; the hash of its link key.
    pub label: Label,
    pub prekey: PublicKey,
    /// What its certificate says: its name and rights among others.
    pub member: Member,
    pub chain: CertificateChain,
    /// The skills that it offers and may offer.
    pub skills: Vec<SkillEntry>,
    /// How many it named beyond those.
    pub skills_dropped: usize,
    /// The identity ends with the process.
    pub is_ephemeral: bool,
    /// The card as it was signed, to be passed on.
    pub bytes: Bytes,
}

impl VerifiedCard {
    /// Returns the member's name.
    pub fn name(&self) -> &str {
        &self.member.name
    }

    /// Returns the entry of a skill that the member offers and may offer.
    pub fn skill(&self, name: &str) -> Option<&SkillEntry> {
        self.skills.iter().find(|skill| skill.name == name)
    }
}
