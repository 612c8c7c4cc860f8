//! What a link asks of the switchboard itself: mailboxes and slots. Each opening is answered.

use std::time::Duration;

use bytes::Bytes;

use super::Switchboard;
use super::link::{LinkId, Member, Phase};
use super::slots::Holder;
use crate::proto::{ClientFrame, Label, Now, RegisterStatus, RejectCode, SlotStatus, limits};

impl Switchboard {
    /// Takes what a link asks for. One that breaks the format is refused further service, as its sender and this build don't
    /// understand one another.
    pub(super) fn handle_request(&mut self, id: LinkId, frame: Bytes, now: Now) {
        match ClientFrame::decode(frame) {
            Ok(ClientFrame::Register { mailbox, expiry }) => self.handle_register(id, mailbox, expiry, now),
            Ok(ClientFrame::Unregister { mailbox }) => self.handle_unregister(id, mailbox),
            Ok(ClientFrame::OpenSlot { slot, expiry }) => self.handle_open_slot(id, slot, expiry, now),
            Ok(ClientFrame::CloseSlot { slot }) => self.handle_close_slot(id, slot),
            Ok(ClientFrame::LinkAck { received }) => self.handle_link_ack(id, received, now),
            Ok(ClientFrame::Goodbye(_)) => self.end(id, None, now),
            Ok(ClientFrame::Unknown { .. }) => self.stats.unknown_kinds += 1,
            Ok(ClientFrame::Data(_)) => {}
            Ok(ClientFrame::Hello(_)) => self.reject(id, RejectCode::Malformed, Duration::ZERO, "a second Hello", now),
            Err(error) => self.reject(id, RejectCode::Malformed, Duration::ZERO, &error.to_string(), now),
        }
    }

    /// Opens a mailbox. Only who may issue certificates can answer a stranger, so only they may.
    fn handle_register(&mut self, id: LinkId, mailbox: Label, expiry: u64, now: Now) {
        let Some(link) = self.links.get_mut(id) else { return };
        let status = match &mut link.phase {
            Phase::Member(member) if member.rights.may_issue => {
                let swarm = &mut self.swarms[member.swarm];
                // Those that have expired make room.
                member.mailboxes.retain(|held| {
                    let stands = *held == mailbox || swarm.is_registered(held, id, now.wall);
                    if !stands {
                        swarm.unregister(*held, id);
                    }
                    stands
                });
                let is_new = !member.mailboxes.contains(&mailbox);
                if is_new && member.mailboxes.len() >= limits::MAILBOXES_PER_LINK {
                    RegisterStatus::Full
                } else {
                    if is_new {
                        member.mailboxes.push(mailbox);
                    }
                    swarm.register(mailbox, id, expiry);
                    RegisterStatus::Done
                }
            }
            Phase::Member(_) | Phase::Stranger(_) | Phase::Greeting(_) | Phase::Ended => RegisterStatus::NotAllowed,
        };
        link.stream.notices.push_registered(mailbox, status);
        self.notify(id);
    }

    /// Closes a mailbox. Strangers that were bound to this link stay bound: an answer may be on its way.
    fn handle_unregister(&mut self, id: LinkId, mailbox: Label) {
        if let Some(Phase::Member(member)) = self.links.get_mut(id).map(|link| &mut link.phase) {
            member.mailboxes.retain(|held| *held != mailbox);
            self.swarms[member.swarm].unregister(mailbox, id);
        }
    }

    /// Opens a slot, which only who could admit the guest may.
    fn handle_open_slot(&mut self, id: LinkId, asked: u32, expiry: u64, now: Now) {
        self.slots.expire(now.monotonic);
        let Some(link) = self.links.get_mut(id) else { return };
        let left = Duration::from_millis(expiry.saturating_sub(now.wall)).min(limits::SLOT_TIME);
        let result = match &link.phase {
            Phase::Member(member) if member.rights.may_issue && !left.is_zero() => {
                let holder = self.swarms.holder(member);
                self.slots.open(asked, holder, link.origin, now.monotonic + left)
            }
            Phase::Member(_) | Phase::Stranger(_) | Phase::Greeting(_) | Phase::Ended => Err(SlotStatus::NotAllowed),
        };
        link.stream.notices.push_slot_opened(asked, result);
        self.notify(id);
    }

    /// Closes a slot. Guests that came through it stay bound to this member: it may be admitting one of them.
    fn handle_close_slot(&mut self, id: LinkId, slot: u32) {
        if let Some(Phase::Member(member)) = self.links.get(id).map(|link| &link.phase) {
            self.slots.close(slot, self.swarms.holder(member));
        }
    }
}

impl super::swarm::Swarms {
    fn holder(&self, member: &Member) -> Holder {
        Holder { routing: self[member.swarm].key, label: member.label }
    }
}
