//! What the switchboard itself has to say on a link, but for labels. Kept as facts, encoded when they are written.

use std::collections::VecDeque;

use crate::proto::{Bounce, Label, RegisterStatus, ServerFrame, SlotStatus};

/// Notices that a link may leave unread before it isn't read from. Chosen: an ordinary burst to an absent receiver.
const MANY_NOTICES: usize = 1_024;

/// Notices that are kept for a link. Other links that end can bounce more to it at once than it has sent lately; beyond
/// this it is cut. Chosen: 64 full lanes of its frames; 1.5 MiB.
const NOTICE_LIMIT: usize = 65_536;

/// What became of a Data frame that cites it by its number, and so can be said twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    Bounce(Bounce),
    /// It waits for its receiver.
    Accepted(u64),
}

impl Hint {
    pub(super) fn into_frame(self) -> ServerFrame {
        match self {
            Self::Bounce(bounce) => ServerFrame::Bounce(bounce),
            Self::Accepted(number) => ServerFrame::Accepted { number },
        }
    }
}

/// What waits to be said.
#[derive(Debug, Default)]
pub(super) struct Notices {
    frames: VecDeque<ServerFrame>,
    answers: VecDeque<Answer>,
    hints: VecDeque<Hint>,
    /// Whether more came than are kept: the link is to be cut, as what it can't be told must not pile up.
    pub(super) overflowed: bool,
}

impl Notices {
    /// Adds what opens or ends a link.
    pub(super) fn push(&mut self, frame: ServerFrame) {
        self.frames.push_back(frame);
    }

    pub(super) fn push_registered(&mut self, mailbox: Label, status: RegisterStatus) {
        self.push_answer(Answer::Registered(mailbox, status));
    }

    pub(super) fn push_slot_opened(&mut self, asked: u32, result: Result<u32, SlotStatus>) {
        self.push_answer(Answer::SlotOpened(asked, result));
    }

    fn push_answer(&mut self, answer: Answer) {
        if self.has_room() {
            self.answers.push_back(answer);
        }
    }

    pub(super) fn push_hint(&mut self, hint: Hint) {
        if self.has_room() {
            self.hints.push_back(hint);
        }
    }

    fn has_room(&mut self) -> bool {
        self.overflowed |= self.answers.len() + self.hints.len() >= NOTICE_LIMIT;
        !self.overflowed
    }

    pub(super) fn are_many(&self) -> bool {
        self.answers.len() + self.hints.len() >= MANY_NOTICES
    }

    /// Forgets everything but the handshake, and adds the last word.
    pub(super) fn end_with(&mut self, farewell: Option<ServerFrame>) {
        self.answers = VecDeque::new();
        self.hints = VecDeque::new();
        self.frames.extend(farewell);
    }

    /// Forgets everything but what the next socket of the link has to hear. What a link asked for it asks for again on its
    /// next socket, so answers are no more use.
    pub(super) fn keep_hints(&mut self) {
        self.answers = VecDeque::new();
        self.frames = VecDeque::new();
    }

    pub(super) fn pop_frame(&mut self) -> Option<ServerFrame> {
        self.frames.pop_front()
    }

    pub(super) fn pop_answer(&mut self) -> Option<ServerFrame> {
        self.answers.pop_front().map(Answer::into_frame)
    }

    pub(super) fn pop_hint(&mut self) -> Option<Hint> {
        let hint = self.hints.pop_front()?;
        if self.hints.is_empty() {
            self.hints = VecDeque::new();
        }
        Some(hint)
    }
}

/// An answer to what a link asked for.
#[derive(Debug)]
enum Answer {
    Registered(Label, RegisterStatus),
    SlotOpened(u32, Result<u32, SlotStatus>),
}

impl Answer {
    fn into_frame(self) -> ServerFrame {
        match self {
            Self::Registered(mailbox, status) => ServerFrame::Registered { mailbox, status },
            Self::SlotOpened(asked, Ok(slot)) => ServerFrame::SlotOpened { asked, slot, status: SlotStatus::Done },
            Self::SlotOpened(asked, Err(status)) => ServerFrame::SlotOpened { asked, slot: 0, status },
        }
    }
}
