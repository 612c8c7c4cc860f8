//! A message on its way out, and a gap in the place of one that will not come.

use std::time::Duration;

use bytes::Bytes;

use crate::agent::event::Token;
use crate::agent::message::{Lost, MessageHeader, MessageKind};
use crate::proto::{MessageId, ThreadId};

/// A message on its way out: its plaintext stays here until the receiver has it.
#[derive(Clone, Debug)]
pub struct Outbound {
    pub token: Token,
    pub header: MessageHeader,
    pub body: Bytes,
    /// What its sender was told of it, as far as that is a hint; `None` once more than that is known.
    pub hint: Option<Hint>,
    /// Its place in the order of pushing. Tokens don't say that: all messages that nobody asks about share one.
    pub(super) place: u64,
}

impl Outbound {
    pub fn new(token: Token, header: MessageHeader, body: Bytes) -> Self {
        Self { token, header, body, hint: Some(Hint::Queued), place: 0 }
    }

    /// Bytes of the encoded message: what it costs in credit and in the outbox.
    pub fn cost(&self) -> usize {
        self.header.encoded_len() + self.body.len()
    }

    pub(super) fn wants_done(&self) -> bool {
        self.header.wants_done
    }

    /// It needs no credit, as it is all that the control lane carries.
    pub(super) fn is_cancel(&self) -> bool {
        self.header.kind == MessageKind::Cancel
    }

    /// Where its order is promised. The common thread is for plain messages.
    pub(super) fn order(&self) -> Option<ThreadId> {
        self.header.thread.or((self.header.kind == MessageKind::Plain).then_some(ThreadId::ZERO))
    }

    /// A gap in the place of what will not be sent, which stands for so many numbers before it as well.
    pub(super) fn gap(lost: &MessageHeader, reply_to: Option<MessageId>, credit: Lost) -> Self {
        let mut header = MessageHeader::new(lost.id, MessageKind::Gap, 0, 0);
        header.after = lost.after;
        header.thread = lost.thread;
        header.free = lost.free;
        header.reply_to = reply_to;
        Self::new(0, header, credit.encode())
    }

    pub(super) fn is_gap(&self) -> bool {
        self.header.kind == MessageKind::Gap
    }
}

/// What a switchboard may say of a message: never final, and told only if it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    Queued,
    Unknown,
    Full { retry_after: Duration },
    Accepted,
}
