//! stub
use super::error::SendError;
use super::event::Token;
use super::member::{Member, Shared};
use crate::crypto::Ticket;
use crate::proto::*;
use std::time::Duration;
pub struct InviteOptions {
    pub uses: Option<u32>,
    pub ttl: Duration,
    pub rights: crate::crypto::Rights,
    pub addresses: Vec<String>,
}
impl Member {
    pub(super) fn invite(&mut self, _: &mut Shared, _: InviteOptions, _: Now) -> Result<(Token, Ticket), SendError> {
        todo!()
    }
    pub(super) fn revoke_invite(&mut self, _: &mut Shared, _: Token, _: Now) {}
    pub(super) fn handle_registered(&mut self, _: &mut Shared, _: Label, _: RegisterStatus) {}
    pub(super) fn handle_admission_request(&mut self, _: &mut Shared, _: &DataFrame, _: Now) {}
    pub(super) fn adopt_ticket(&mut self, _: &mut Shared, _: AgentId, _: &[u8], _: Now) {}
}
