//! Large bodies: what applications send of them, read of them, and know in the end.
//!
//! Each byte follows from its place and from the body it is of, so a reader notices at once what is missing, doubled or another's.

use std::time::Duration;

use a2alinker::agent::limits::PART_MAX;
use a2alinker::agent::{
    BodyError, BodyForm, BodySource, Content, ContentType, Event, Head, Incoming, Outgoing, ReceiptState, Refusal, RefusalCode,
    SendError, Taken, Token,
};
use a2alinker::proto::{Lane, MessageId};
use bytes::Bytes;

use super::World;
use crate::simulation::application::{headers, read};
use crate::simulation::history::{Uid, Who};

/// Where a body comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is in memory.
    Whole,
    /// A file: it can be read again.
    File,
    /// It can be read once, and nobody knows how long it is.
    Stream,
    /// A file that has fewer bytes than it said.
    Shrunk(usize),
    /// It gives nothing after so many bytes.
    Stuck(usize),
}

/// What the application of a receiver does with bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// It reads what comes.
    Reads,
    /// It keeps them, and does nothing.
    Waits,
    /// It reads so many bytes, and drops the rest.
    Drops(u64),
}

/// A body that was sent.
#[derive(Debug)]
pub struct Sent {
    pub from: Who,
    pub token: Token,
    /// The id of its message.
    head: MessageId,
    pub uid: Uid,
    pub len: usize,
    source: Source,
    pub state: Option<ReceiptState>,
    pub moved: u64,
    /// Its source isn't wanted any more.
    pub is_over: bool,
    /// The most that was asked for at once.
    pub largest_wish: usize,
}

/// A body that came in.
#[derive(Debug)]
pub struct Got {
    pub who: Who,
    pub token: Token,
    pub uid: Uid,
    pub repeated: bool,
    pub taken: u64,
    pub outcome: Option<Result<(), BodyError>>,
    is_dropped: bool,
}

/// The byte of a body at a place.
fn byte(uid: Uid, at: u64) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 11) ^ uid.wrapping_mul(167)) as u8
}

fn bytes_of(uid: Uid, offset: u64, len: usize) -> Bytes {
    (offset..offset + len as u64).map(|at| byte(uid, at)).collect()
}

impl World {
    /// Sends a large body. Returns its place in `sent_bodies`.
    pub fn send_body(&mut self, from: Who, to: Who, lane: Lane, len: usize, source: Source) -> Result<usize, SendError> {
        self.send_body_within(from, to, lane, len, source, Duration::from_secs(3_600), false)
    }

    #[allow(clippy::too_many_arguments, reason = "a test says it all")]
    pub fn send_body_within(
        &mut self,
        from: Who,
        to: Who,
        lane: Lane,
        len: usize,
        source: Source,
        ttl: Duration,
        until_done: bool,
    ) -> Result<usize, SendError> {
        let (uid, now) = (self.next_uid, self.clock(from));
        let outgoing = Outgoing {
            to: self.seats[to].id,
            lane,
            thread: None,
            ttl,
            until_done,
            depth: 0,
            budget: None,
            reply_to: None,
            headers: headers(uid, len),
            content: Content { content_type: ContentType::Large, bytes: Bytes::new() },
        };
        let form = match source {
            Source::Whole => BodyForm::Bytes,
            Source::File | Source::Shrunk(_) => BodyForm::File,
            Source::Stream | Source::Stuck(_) => BodyForm::Stream,
        };
        let length = (form != BodyForm::Stream).then_some(len as u64);
        let head = Head { form, length, name: "planted.bin".to_owned() };
        let body = match source {
            Source::Whole => BodySource::Whole(bytes_of(uid, 0, len)),
            Source::File | Source::Shrunk(_) => BodySource::Fed { repeatable: true },
            Source::Stream | Source::Stuck(_) => BodySource::Fed { repeatable: false },
        };
        let agent = self.seats[from].agent.as_mut().ok_or(SendError::Closed)?;
        let (token, head) = agent.send_body(outgoing, &head, body, now)?;
        self.next_uid += 1;
        self.sent_bodies.push(Sent {
            from,
            head,
            token,
            uid,
            len,
            source,
            state: None,
            moved: 0,
            is_over: false,
            largest_wish: 0,
        });
        self.settle(from);
        Ok(self.sent_bodies.len() - 1)
    }

    /// The bodies that an agent's application got.
    pub fn got_bodies_of(&self, uid: Uid) -> impl Iterator<Item = &Got> {
        self.got_bodies.iter().filter(move |got| got.uid == uid)
    }

    /// Whether a body arrived whole.
    pub fn is_whole(&self, at: usize) -> bool {
        self.got_bodies_of(self.sent_bodies[at].uid).any(|got| got.outcome == Some(Ok(())))
    }

    pub fn head_of(&self, at: usize) -> MessageId {
        self.sent_bodies[at].head
    }

    pub fn body_state(&self, at: usize) -> Option<&ReceiptState> {
        self.sent_bodies[at].state.as_ref()
    }

    /// The application reads, from here on, what it kept.
    pub fn read_bodies(&mut self, who: Who, reader: Reader) {
        self.readers.insert(who, reader);
        for at in 0..self.got_bodies.len() {
            if self.got_bodies[at].who == who {
                self.read_body(at);
            }
        }
    }

    pub(super) fn handle_body_receipt(&mut self, who: Who, token: Token, state: &ReceiptState) {
        if let Some(body) = self.sent_bodies.iter_mut().find(|body| body.from == who && body.token == token) {
            body.state = Some(state.clone());
        }
    }

    pub(super) fn handle_body_event(&mut self, who: Who, event: &Event) {
        match *event {
            Event::BodyWanted { body, offset, room } => self.feed_body(who, body, offset, room),
            Event::BodyOver { body } => {
                if let Some(sent) = self.sent_body(who, body) {
                    sent.is_over = true;
                }
            }
            Event::BodyMoved { body, confirmed } => {
                if let Some(sent) = self.sent_body(who, body) {
                    sent.moved = confirmed;
                }
            }
            Event::BodyArrived { body, .. } => {
                if let Some(at) = self.got_bodies.iter().position(|got| got.who == who && got.token == body) {
                    self.read_body(at);
                }
            }
            _ => {}
        }
    }

    fn sent_body(&mut self, who: Who, token: Token) -> Option<&mut Sent> {
        self.sent_bodies.iter_mut().find(|body| body.from == who && body.token == token)
    }

    fn feed_body(&mut self, who: Who, token: Token, offset: u64, room: usize) {
        let now = self.clock(who);
        let Some(sent) = self.sent_body(who, token) else { panic!("a body is wanted that nobody sent") };
        sent.largest_wish = sent.largest_wish.max(room);
        let (uid, len, source) = (sent.uid, sent.len, sent.source);
        let there = match source {
            Source::Shrunk(len) | Source::Stuck(len) => len,
            Source::Whole | Source::File | Source::Stream => len,
        };
        let left = there.saturating_sub(offset as usize);
        // A source gives what it likes, up to what is wanted.
        let most = room.min(left);
        let give = if self.dice.chance(300) { self.dice.within(0..most as u64 + 1) as usize } else { most };
        let give = if give == 0 { most } else { give };
        let Some(agent) = &mut self.seats[who].agent else { return };
        if give > 0 {
            match agent.feed_body(token, offset, bytes_of(uid, offset, give), now) {
                // It is over since, and the next event says so.
                Ok(()) | Err(SendError::NotOpen { .. }) => {}
                Err(error) => panic!("it was asked for, and {error}"),
            }
        } else if !matches!(source, Source::Stuck(_)) {
            agent.finish_body(token, now);
        }
    }

    pub(super) fn handle_large(&mut self, who: Who, incoming: &Incoming) {
        let head = Head::decode(&incoming.content.bytes).expect("agents hand over what can be read");
        assert_eq!(head.name, "planted.bin");
        let (uid, _) = read(&incoming.headers, &incoming.content).expect("the seal keeps headers whole");
        let repeated = incoming.maybe_repeated;
        let got = Got { who, token: incoming.token, uid, repeated, taken: 0, outcome: None, is_dropped: false };
        self.got_bodies.push(got);
        let now = self.clock(who);
        if let Some(agent) = &mut self.seats[who].agent {
            agent.consumed(incoming.lane, 1, now);
        }
        self.read_body(self.got_bodies.len() - 1);
    }

    fn read_body(&mut self, at: usize) {
        let reader = self.readers.get(&self.got_bodies[at].who).copied().unwrap_or(Reader::Reads);
        let now = self.clock(self.got_bodies[at].who);
        let got = &mut self.got_bodies[at];
        let Some(agent) = &mut self.seats[got.who].agent else { return };
        if got.outcome.is_some() || got.is_dropped || reader == Reader::Waits {
            return;
        }
        loop {
            if let Reader::Drops(after) = reader
                && got.taken >= after
            {
                got.is_dropped = true;
                agent.release_body(got.token, &Refusal::new(RefusalCode::Application, "enough"), now);
                break;
            }
            match agent.take_part(got.token, now) {
                Taken::Part(part) => {
                    assert!(!part.is_empty() && part.len() <= PART_MAX);
                    let wrong = part.iter().zip(got.taken..).position(|(got_byte, at)| *got_byte != byte(got.uid, at));
                    assert_eq!(wrong, None, "a byte of body {} is not its own, from {} on", got.uid, got.taken);
                    got.taken += part.len() as u64;
                }
                Taken::Nothing => break,
                Taken::Whole => {
                    got.outcome = Some(Ok(()));
                    agent.release_body(got.token, &Refusal::new(RefusalCode::Application, ""), now);
                    break;
                }
                Taken::Failed(error) => {
                    got.outcome = Some(Err(error));
                    agent.release_body(got.token, &Refusal::new(RefusalCode::Application, ""), now);
                    break;
                }
            }
        }
    }
}
