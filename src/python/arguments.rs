//! From Python's numbers and bytes to the types of the core.

use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::body;
use super::errors::Error;
use crate::agent::{Config, Content, SkillOffer};
use crate::net::address::Address;
use crate::net::os;
use crate::proto::{AgentId, Lane, MessageId, ThreadId};

/// Name, tags, concurrency and definition of a skill.
pub(super) type Skill = (String, Vec<String>, u64, Vec<u8>);

/// Collects the settings of an agent with a fresh identity.
pub(super) fn config(
    name: &str,
    skills: Vec<Skill>,
    peer_gone_after: f64,
    outbox_bytes: Option<usize>,
    outbox_messages: Option<usize>,
    depth_max: Option<u16>,
) -> Result<Config, Error> {
    let mut config = Config::new(name, seed()?);
    config.skills = skills.into_iter().map(offer_of).collect();
    config.peer_gone_after = seconds("peer_gone_after", peer_gone_after)?;
    config.outbox_bytes = outbox_bytes.unwrap_or(config.outbox_bytes);
    config.outbox_messages = outbox_messages.unwrap_or(config.outbox_messages);
    config.depth_max = depth_max.unwrap_or(config.depth_max);
    Ok(config)
}

/// Takes a skill; more than 65,535 at a time is as good as any number.
pub(super) fn offer_of((name, tags, concurrency, definition): Skill) -> SkillOffer {
    SkillOffer { name, tags, concurrency: u16::try_from(concurrency).unwrap_or(u16::MAX), definition }
}

/// Returns a fresh seed from the operating system.
pub(super) fn seed() -> Result<[u8; 32], Error> {
    os::random_seed().map_err(Error::System)
}

/// Encodes a body.
pub(super) fn content(body: &Bound<'_, PyAny>) -> Result<Content, Error> {
    let (content_type, bytes) = body::encode(body)?;
    Ok(Content { content_type, bytes })
}

/// Encodes headers; none are no bytes.
pub(super) fn encode_headers(headers: Option<&Bound<'_, PyDict>>) -> Result<Bytes, Error> {
    Ok(headers.map(body::encode_headers).transpose()?.unwrap_or_default())
}

/// Takes the addresses of switchboards.
pub(super) fn addresses(texts: &[String]) -> Result<Vec<Address>, Error> {
    texts.iter().map(|text| text.parse().map_err(Error::Net)).collect()
}

/// Takes a duration.
pub(super) fn seconds(what: &str, seconds: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::Argument(format!("{what} must be a number of seconds, not {seconds}")))
}

/// Takes a lane that messages may have.
pub(super) fn lane_of(lane: u8) -> Result<Lane, Error> {
    match Lane::try_from(lane) {
        Ok(Lane::Control) | Err(_) => Err(Error::Argument(format!("lane must be 1 (urgent) to 4 (bulk), not {lane}"))),
        Ok(lane) => Ok(lane),
    }
}

/// Takes the id of a peer.
pub(super) fn peer_id(bytes: &[u8]) -> Result<AgentId, Error> {
    fixed("the id of a peer", bytes).map(AgentId::from_bytes)
}

/// Takes a thread.
pub(super) fn thread_id(bytes: &[u8]) -> Result<ThreadId, Error> {
    fixed("thread", bytes).map(ThreadId::from_bytes)
}

/// Takes the id of a message.
pub(super) fn message_id(bytes: &[u8]) -> Result<MessageId, Error> {
    fixed("the id of a message", bytes).map(MessageId::from_bytes)
}

/// Takes bytes of a fixed number.
pub(super) fn fixed<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error::Argument(format!("{what} must have {N} bytes, not {}", bytes.len())))
}
