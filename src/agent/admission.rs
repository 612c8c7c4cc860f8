//! stub
use super::card::VerifiedCard;
use super::error::AdmissionError;
use super::member::Shared;
use crate::crypto::*;
use crate::proto::*;
use bytes::Bytes;
use std::time::Duration;
pub struct Membership {
    pub founder: FounderId,
    pub routing: RoutingKey,
    pub chain: CertificateChain,
    pub link_chain: LinkChain,
    pub cards: Vec<VerifiedCard>,
}
impl Membership {
    pub fn found(_: &FounderKey, _: &Identity, _: &str, _: &PublicKey, _: Now) -> Result<Self, CertificateError> {
        todo!()
    }
    pub fn rights(&self) -> &Rights {
        todo!()
    }
}
#[derive(Default)]
pub struct Invites {}
impl Invites {
    pub fn open_mailboxes(&self, _: Now) -> Vec<(Label, u64)> {
        todo!()
    }
}
pub struct Joining {}
impl Joining {
    pub fn new(_: Ticket, _: &mut Random) -> Self {
        todo!()
    }
    pub fn routing(&self) -> RoutingKey {
        todo!()
    }
    pub fn link_key(&self) -> LinkKeyPair {
        todo!()
    }
    pub fn mailbox(&self) -> Label {
        todo!()
    }
    pub fn founder(&self) -> FounderId {
        todo!()
    }
    pub fn handle_timeout(&mut self, _: Now) {
        todo!()
    }
    pub(super) fn poll_transmit(&mut self, _: &Shared, _: Now) -> Option<Bytes> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Duration> {
        todo!()
    }
    pub fn handle_up(&mut self, _: Now) {}
    pub fn handle_data(
        &mut self,
        _: &DataFrame,
        _: &Identity,
        _: &KeyPair,
        _: Now,
    ) -> Option<Result<Membership, AdmissionError>> {
        todo!()
    }
}
