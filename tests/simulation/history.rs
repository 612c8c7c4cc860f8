//! What happened in a simulated world, as applications and their users see it. It is all that the checker knows.

use std::fmt;
use std::time::Duration;

use a2alinker::proto::Lane;

/// An agent's place in the world. An agent that is started anew has another one: it is another run.
pub type Who = usize;

/// Names a message or call in the whole world; rises in the order of sending.
pub type Uid = u64;

/// Where an order is promised: from one agent to another, in one lane and thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    pub from: Who,
    pub to: Who,
    pub lane: Lane,
    /// 0: the common thread.
    pub thread: u8,
}

/// How far a message is, as its sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Sent,
    Unknown,
    Full,
    Accepted,
    Delivered,
    Done,
    Refused,
    Expired,
    Failed,
}

#[derive(Clone, Debug)]
pub struct Record {
    pub at: Duration,
    pub who: Who,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `expires` is on the world's clock: the sender's, corrected.
    Sent {
        message: Uid,
        path: Path,
        expires: Duration,
        until_done: bool,
    },
    Receipt {
        message: Uid,
        state: State,
    },
    /// The receiver's application got the message; `intact`: with the bytes that were sent; `repeated`: marked as perhaps repeated.
    Handed {
        message: Uid,
        path: Path,
        intact: bool,
        repeated: bool,
    },
    /// The receiver's application said that it has handled it, or that it will not.
    Handled {
        message: Uid,
    },
    Declined {
        message: Uid,
    },
    Called {
        call: Uid,
    },
    /// The caller was told that this worker has the call.
    Moved {
        call: Uid,
        to: Who,
        attempt: u32,
    },
    Requested {
        call: Uid,
        from: Who,
        attempt: u32,
        intact: bool,
    },
    /// The worker's application gave a part of an answer, or the whole.
    Worked {
        call: Uid,
        attempt: u32,
    },
    Progress {
        call: Uid,
        from: Who,
        worker: Who,
        attempt: u32,
    },
    /// `from` is the authenticated sender, `worker` and `attempt` are what the answer itself says.
    Answered {
        call: Uid,
        from: Who,
        worker: Who,
        attempt: u32,
        intact: bool,
    },
    CallFailed {
        call: Uid,
        error: String,
    },
    /// The caller's application cancelled it.
    Withdrawn {
        call: Uid,
    },
    /// A frame arrived that tells the clock of its sender, so long after it was sent.
    Greeted {
        from: Who,
        took: Duration,
    },
    /// An envelope that may wait at the switchboard was written for this agent.
    Enveloped {
        to: Who,
    },
    /// The agent was told that an envelope of its own is kept, or that there is no room for it.
    Kept,
    NoRoom,
    /// The link came up; `resumed`: it went on from the one before.
    Linked {
        resumed: bool,
    },
    LinkLost,
    /// Somebody set its clock, by so much forwards or back.
    ClockSet {
        by: Duration,
    },
    /// The agent's process ended.
    Ended,
}

#[derive(Debug, Default)]
pub struct History {
    pub records: Vec<Record>,
    /// The first run of each run's identity.
    pub persons: Vec<Who>,
}

impl History {
    /// Whose run this is.
    pub fn person(&self, run: Who) -> Who {
        self.persons.get(run).copied().unwrap_or(run)
    }

    /// How many runs there were of this run's identity.
    pub fn runs(&self, run: Who) -> usize {
        self.persons.iter().filter(|person| **person == self.person(run)).count()
    }

    pub fn add(&mut self, at: Duration, who: Who, what: What) {
        self.records.push(Record { at, who, what });
    }

    /// When a message was sent.
    pub fn sent(&self, uid: Uid) -> Option<Duration> {
        let sent = |record: &&Record| matches!(record.what, What::Sent { message, .. } if message == uid);
        self.records.iter().find(sent).map(|record| record.at)
    }

    /// When a message was handed over.
    pub fn handed(&self, uid: Uid) -> Option<Duration> {
        let handed = |record: &&Record| matches!(record.what, What::Handed { message, .. } if message == uid);
        self.records.iter().find(handed).map(|record| record.at)
    }

    /// What a sender last heard of a message.
    pub fn state(&self, uid: Uid) -> State {
        let said = self.records.iter().rev().find_map(|record| match record.what {
            What::Receipt { message, state } if message == uid => Some(state),
            _ => None,
        });
        said.unwrap_or(State::Sent)
    }

    /// How a call ended: who answered, or why nobody did.
    pub fn outcome(&self, uid: Uid) -> Option<(Duration, Result<Who, &str>)> {
        self.records.iter().find_map(|record| match &record.what {
            What::Answered { call, from, .. } if *call == uid => Some((record.at, Ok(*from))),
            What::CallFailed { call, error } if *call == uid => Some((record.at, Err(error.as_str()))),
            _ => None,
        })
    }

    /// Who got the request of a call, in the order of attempts.
    pub fn requested(&self, uid: Uid) -> Vec<Who> {
        let requested = |record: &&Record| matches!(record.what, What::Requested { call, .. } if call == uid);
        self.records.iter().filter(requested).map(|record| record.who).collect()
    }

    /// How many messages and calls there were, parts of answers included.
    pub fn messages(&self) -> u64 {
        let counts = |record: &&Record| matches!(record.what, What::Sent { .. } | What::Moved { .. } | What::Worked { .. });
        self.records.iter().filter(counts).count() as u64
    }

    /// Everything that concerns one message or call, and the fates of agents and links around it.
    pub fn about(&self, uid: Option<Uid>) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| uid.is_none() || record.what.uid().is_none() || record.what.uid() == uid)
    }
}

impl What {
    pub fn uid(&self) -> Option<Uid> {
        match *self {
            Self::Sent { message, .. }
            | Self::Receipt { message, .. }
            | Self::Handed { message, .. }
            | Self::Handled { message }
            | Self::Declined { message } => Some(message),
            Self::Called { call }
            | Self::Moved { call, .. }
            | Self::Requested { call, .. }
            | Self::Worked { call, .. }
            | Self::Progress { call, .. }
            | Self::Answered { call, .. }
            | Self::CallFailed { call, .. }
            | Self::Withdrawn { call } => Some(call),
            Self::ClockSet { .. }
            | Self::Greeted { .. }
            | Self::Enveloped { .. }
            | Self::Kept
            | Self::NoRoom
            | Self::Linked { .. }
            | Self::LinkLost
            | Self::Ended => None,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.3}  agent {}  {:?}", self.at.as_secs_f64(), self.who, self.what)
    }
}
