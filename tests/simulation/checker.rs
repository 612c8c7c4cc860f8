//! Holds a history against the guarantee of ARCHITECTURE.md: what an application may see, must see, and must never see.
//!
//! It knows nothing of frames, sessions or links. Each rule is a function with the words that a violation is reported by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::history::{History, Path, Record, State, Uid, What, Who};

#[cfg(test)]
mod tests;

/// How much later than its expiry a message may be handed over, apart from the time that the sender's opener or answer was under
/// way: by that the receiver takes its clock to be behind.
pub const TOLERANCE: Duration = Duration::from_secs(2);
/// How long after its expiry a message may be without a final receipt.
pub const SLACK: Duration = Duration::from_secs(2);
/// How long a network has to be at rest until everything must have arrived: the longest pauses before linking, opening and
/// sending again, one after another.
pub const REST: Duration = Duration::from_secs(150);

/// What was promised and not kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static str,
    pub uid: Option<Uid>,
    pub about: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.about)
    }
}

/// When the network came to rest, and when the history ends.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub calm: Duration,
    pub end: Duration,
}

/// Checks a whole history.
pub fn check(history: &History, span: Span) -> Result<(), Violation> {
    let messages = Messages::read(history)?;
    messages.check(history, span)?;
    check_calls(history, &messages.ended)
}

struct Message {
    path: Path,
    sent: Duration,
    expires: Duration,
    until_done: bool,
    handed: Option<Duration>,
    /// The receiver's runs that it was handed to.
    runs: BTreeSet<Who>,
    /// Its sender knew of that before the run ended: no other one may get it.
    confirmed: bool,
    handled: bool,
    declined: bool,
    state: State,
}

#[derive(Default)]
struct Messages {
    by_uid: BTreeMap<Uid, Message>,
    ended: BTreeMap<Who, Duration>,
    /// Of each identity the last run that anything was heard of.
    newest_run: BTreeMap<Who, Who>,
    /// By path and the run that receives.
    last_on_path: BTreeMap<(Path, Who), Uid>,
    /// By how much the clock of the second may seem to the first to be behind.
    clock_errors: BTreeMap<(Who, Who), Duration>,
    /// When somebody last sent an envelope that may wait to somebody, whichever run of that one gets it.
    enveloped: BTreeMap<(Who, Who), Duration>,
    /// By how much the clocks of a person were set in all. Whatever it says of expiries may be wrong by that.
    clocks_set: BTreeMap<Who, Duration>,
    /// When an agent was last told that an envelope is kept, and that there is no room for one.
    kept: BTreeMap<Who, Duration>,
    no_room: BTreeMap<Who, Duration>,
}

fn violated<T>(rule: &'static str, uid: Uid, about: String) -> Result<T, Violation> {
    Err(Violation { rule, uid: Some(uid), about })
}

impl Messages {
    /// Goes through the history once, and finds what is wrong at the moment when it happens.
    fn read(history: &History) -> Result<Self, Violation> {
        let mut messages = Self::default();
        for record in &history.records {
            let newest = messages.newest_run.entry(history.person(record.who)).or_default();
            *newest = record.who.max(*newest);
            match record.what {
                What::Sent { message, path, expires, until_done } => {
                    messages.by_uid.insert(message, Message::new(path, record.at, expires, until_done));
                }
                What::Handed { message, path, intact, repeated } => {
                    messages.find_foul_play(history, message, path, intact)?;
                    messages.hand_over(history, message, record, repeated)?;
                }
                What::Handled { message } => messages.get(message)?.handled = true,
                What::Declined { message } => messages.get(message)?.declined = true,
                What::Receipt { message, state } => messages.receive_receipt(history, message, state, record.at)?,
                What::Greeted { from, took } => {
                    let error = messages.clock_errors.entry((record.who, from)).or_default();
                    *error = took.max(*error);
                }
                What::Enveloped { to } => {
                    messages.enveloped.insert((record.who, history.person(to)), record.at);
                }
                What::ClockSet { by } => *messages.clocks_set.entry(history.person(record.who)).or_default() += by,
                What::Kept => drop(messages.kept.insert(record.who, record.at)),
                What::NoRoom => drop(messages.no_room.insert(record.who, record.at)),
                What::Ended => {
                    messages.ended.insert(record.who, record.at);
                    for message in messages.by_uid.values_mut().filter(|message| message.runs.contains(&record.who)) {
                        // One that its sender gave up may still be on its way.
                        message.confirmed |= message.is_final() && !matches!(message.state, State::Expired | State::Failed);
                    }
                }
                _ => {}
            }
        }
        Ok(messages)
    }

    fn get(&mut self, uid: Uid) -> Result<&mut Message, Violation> {
        let unknown = Violation { rule: "made up", uid: Some(uid), about: format!("message {uid} was never sent") };
        self.by_uid.get_mut(&uid).ok_or(unknown)
    }

    /// From whom it says, to whom it was sent, and with its own body.
    fn find_foul_play(&mut self, history: &History, uid: Uid, path: Path, intact: bool) -> Result<(), Violation> {
        let sent = self.get(uid)?.path;
        let of_persons = |path: Path| Path { from: history.person(path.from), to: history.person(path.to), ..path };
        if of_persons(sent) != of_persons(path) {
            return violated("redirected", uid, format!("message {uid} was sent on {sent:?} and handed over on {path:?}"));
        }
        if !intact {
            return violated("changed", uid, format!("message {uid} has another body than was sent"));
        }
        Ok(())
    }

    /// At most once to a run; to another run marked so, and only if the first may have lost it, or it was sealed so that it may wait for any run;
    /// in time, and in the order of its path.
    fn hand_over(&mut self, history: &History, uid: Uid, record: &Record, repeated: bool) -> Result<(), Violation> {
        let (run, at) = (record.who, record.at);
        let enveloped = |from: Who| self.enveloped.get(&(from, history.person(run))).copied();
        let message = self.by_uid.get(&uid);
        let may_wait = message.is_some_and(|message| enveloped(message.path.from).is_some_and(|last| last >= message.sent));
        let message = self.get(uid)?;
        let before = message.handed.replace(at);
        let is_fresh = message.runs.insert(run);
        if let Some(before) = before
            && (!is_fresh || !repeated || (message.confirmed && !may_wait))
        {
            let how = if repeated { "marked" } else { "unmarked" };
            let about =
                format!("message {uid} was handed over at {before:?} and, {how}, at {at:?}, when it was {:?}", message.state);
            return violated("delivered twice", uid, about);
        }
        let (expires, path) = (message.expires, message.path);
        if at > expires + self.tolerance(history, Path { to: run, ..path }) {
            return violated("delivered too late", uid, format!("message {uid} expired at {expires:?}, handed over at {at:?}"));
        }
        match self.last_on_path.insert((path, run), uid) {
            Some(last) if last > uid => {
                violated("out of order", uid, format!("message {uid} was handed over after {last} on {path:?}"))
            }
            _ => Ok(()),
        }
    }

    fn tolerance(&self, history: &History, path: Path) -> Duration {
        TOLERANCE + self.clock_errors.get(&(path.to, path.from)).copied().unwrap_or_default() + self.clocks_of(history, path)
    }

    /// By how much sender and receiver may be mistaken about a time, because their clocks were set.
    fn clocks_of(&self, history: &History, path: Path) -> Duration {
        let of = |who: Who| self.clocks_set.get(&history.person(who)).copied().unwrap_or_default();
        of(path.from) + of(path.to)
    }

    /// Each receipt says more than the one before, and only what is true.
    fn receive_receipt(&mut self, history: &History, uid: Uid, state: State, at: Duration) -> Result<(), Violation> {
        let sender = self.get(uid)?.path.from;
        let waits = self.waits_for_earlier(history, uid);
        let path = self.get(uid)?.path;
        let clocks = self.clocks_of(history, path);
        let (is_kept, has_no_room) = (self.kept.get(&sender) == Some(&at), self.no_room.get(&sender) == Some(&at));
        let message = self.get(uid)?;
        let is_final = message.is_final();
        // What was to be done and was only delivered goes to the receiver's next run, which has it once more.
        let once_more = history.runs(message.path.to) > 1 && state <= State::Delivered;
        let takes_back = state < State::Delivered && message.state >= State::Delivered;
        let says_again = state >= State::Delivered && state == message.state;
        if is_final || ((takes_back || says_again) && !once_more) {
            return violated(
                "receipt went backwards",
                uid,
                format!("message {uid} was {:?}, then {state:?} at {at:?}", message.state),
            );
        }
        message.state = state;
        match state {
            State::Accepted if !is_kept => {
                violated("claimed accepted", uid, format!("no switchboard said at {at:?} that it keeps message {uid}"))
            }
            State::Full if !has_no_room => {
                violated("claimed full", uid, format!("no switchboard said at {at:?} that there is no room for message {uid}"))
            }
            // What is there and not handed over has to wait for something, or is too late.
            State::Delivered if message.handed.is_none() && !waits && at + TOLERANCE + clocks < message.expires => {
                violated("claimed delivered", uid, format!("message {uid} was said to be there at {at:?}, and was not"))
            }
            State::Done if !message.handled => {
                violated("claimed done", uid, format!("nobody has handled message {uid} by {at:?}"))
            }
            State::Refused if !message.declined && at + clocks < message.expires => {
                violated("claimed refused", uid, format!("nobody has refused message {uid} by {at:?}"))
            }
            State::Expired if at + TOLERANCE + clocks < message.expires => {
                violated("expired early", uid, format!("message {uid} expires at {:?}, given up at {at:?}", message.expires))
            }
            State::Sent
            | State::Unknown
            | State::Full
            | State::Accepted
            | State::Delivered
            | State::Done
            | State::Refused
            | State::Expired
            | State::Failed => Ok(()),
        }
    }

    /// Whether something that was sent before it on its path was not handed over, or to an earlier run of the receiver.
    fn waits_for_earlier(&self, history: &History, uid: Uid) -> bool {
        let Some(message) = self.by_uid.get(&uid) else { return false };
        let path = |path: Path| (path.from, history.person(path.to), path.lane, path.thread);
        let is_missing = |earlier: &Message| match self.newest_run.get(&history.person(message.path.to)) {
            Some(run) => !earlier.runs.contains(run),
            None => true,
        };
        self.by_uid.range(..uid).any(|(_, earlier)| path(earlier.path) == path(message.path) && is_missing(earlier))
    }

    /// What has to be true of every message in the end.
    fn check(&self, history: &History, span: Span) -> Result<(), Violation> {
        for (&uid, message) in &self.by_uid {
            let path = message.path;
            let was_restarted = history.runs(path.to) > 1;
            let last_run = history.persons.iter().rposition(|person| *person == history.person(path.to)).unwrap_or(path.to);
            let receiver_lives = !self.ended.contains_key(&last_run);
            if self.ended.contains_key(&path.from) {
                continue;
            }
            let clocks = self.clocks_of(history, path);
            if !message.is_final() && message.expires + SLACK + clocks < span.end {
                return violated(
                    "never settled",
                    uid,
                    format!("message {uid} expired at {:?} and is {:?}", message.expires, message.state),
                );
            }
            // What one run took with it when it died is done by nobody.
            let died_undone = was_restarted && message.state == State::Delivered;
            if !message.is_final() && receiver_lives && !died_undone {
                return violated(
                    "never arrived",
                    uid,
                    format!("message {uid} is {:?} although the network is at rest", message.state),
                );
            }
            let had_time = message.expires > span.calm + REST + clocks;
            if had_time && receiver_lives && matches!(message.state, State::Expired | State::Failed) {
                return violated("given up", uid, format!("message {uid} is {:?} although there was time", message.state));
            }
            let has_arrived = matches!(message.state, State::Delivered | State::Done);
            // Its receiver may have taken it for too late.
            let was_doubtful = !clocks.is_zero() && message.expires < span.calm + REST + clocks;
            let is_excused = was_restarted || was_doubtful || self.waited_in_vain(uid, message);
            if has_arrived && message.handed.is_none() && receiver_lives && !is_excused {
                return violated(
                    "claimed delivered",
                    uid,
                    format!("message {uid} is {:?} and was never handed over", message.state),
                );
            }
        }
        Ok(())
    }

    /// A message may arrive, wait for an earlier one of its path, and be too late when its turn comes.
    fn waited_in_vain(&self, uid: Uid, message: &Message) -> bool {
        let earlier = self.by_uid.range(..uid).filter(|(_, earlier)| earlier.path == message.path);
        earlier.into_iter().any(|(_, earlier)| earlier.handed.is_none_or(|at| at + TOLERANCE > message.expires))
    }
}

impl Message {
    fn new(path: Path, sent: Duration, expires: Duration, until_done: bool) -> Self {
        let (handed, runs, state) = (None, BTreeSet::new(), State::Sent);
        Self { path, sent, expires, until_done, handed, runs, confirmed: false, handled: false, declined: false, state }
    }

    fn is_final(&self) -> bool {
        match self.state {
            State::Sent | State::Unknown | State::Full | State::Accepted => false,
            State::Delivered => !self.until_done,
            State::Done | State::Refused | State::Expired | State::Failed => true,
        }
    }
}

#[derive(Default)]
struct Call {
    caller: Who,
    asked: BTreeSet<(Who, u32)>,
    newest: Option<(Who, u32)>,
    requested: BTreeSet<(Who, u32)>,
    /// The same by runs.
    reached: BTreeSet<(Who, u32)>,
    outcomes: usize,
    withdrawn: bool,
}

/// Exactly one outcome, from the peer that was asked last; each attempt reaches its worker once.
fn check_calls(history: &History, ended: &BTreeMap<Who, Duration>) -> Result<(), Violation> {
    let mut calls: BTreeMap<Uid, Call> = BTreeMap::new();
    for record in &history.records {
        let who = record.who;
        match record.what {
            What::Called { call } => {
                calls.insert(call, Call { caller: who, ..Call::default() });
            }
            What::Moved { call: uid, to, attempt } => {
                let to = history.person(to);
                let call = calls.entry(uid).or_default();
                if call.newest.is_some_and(|(_, newest)| newest >= attempt) {
                    return violated("attempt not raised", uid, format!("call {uid} moved to agent {to} as attempt {attempt}"));
                }
                call.newest = Some((to, attempt));
                call.asked.insert((to, attempt));
            }
            What::Requested { call: uid, from, attempt, intact } => {
                let call = calls.entry(uid).or_default();
                let worker = history.person(who);
                if history.person(from) != history.person(call.caller) || !call.asked.contains(&(worker, attempt)) {
                    return violated(
                        "redirected",
                        uid,
                        format!("call {uid}, attempt {attempt}, came to agent {who} from {from}"),
                    );
                }
                if !intact {
                    return violated("changed", uid, format!("call {uid} has another body than was sent"));
                }
                if !call.reached.insert((who, attempt)) {
                    return violated("delivered twice", uid, format!("call {uid}, attempt {attempt}, came twice to agent {who}"));
                }
                call.requested.insert((worker, attempt));
            }
            What::Progress { call: uid, from, worker, attempt } => {
                check_answer(&mut calls, uid, (history.person(from), history.person(worker), attempt), true)?;
            }
            What::Answered { call: uid, from, worker, attempt, intact } => {
                check_answer(&mut calls, uid, (history.person(from), history.person(worker), attempt), intact)?;
                end_call(&mut calls, uid)?;
            }
            What::CallFailed { call: uid, .. } => end_call(&mut calls, uid)?,
            What::Withdrawn { call: uid } => calls.entry(uid).or_default().withdrawn = true,
            _ => {}
        }
    }
    for (uid, call) in calls {
        let is_open = call.outcomes == 0 && !call.withdrawn;
        if is_open && !ended.contains_key(&call.caller) {
            return violated("no outcome", uid, format!("call {uid} of agent {} never ended", call.caller));
        }
    }
    Ok(())
}

fn check_answer(calls: &mut BTreeMap<Uid, Call>, uid: Uid, says: (Who, Who, u32), intact: bool) -> Result<(), Violation> {
    let (from, worker, attempt) = says;
    let call = calls.entry(uid).or_default();
    if call.outcomes > 0 || call.withdrawn {
        return violated("two outcomes", uid, format!("call {uid} was over when agent {from} answered"));
    }
    if !intact {
        return violated("changed", uid, format!("the answer to call {uid} has another body than was sent"));
    }
    if from != worker || call.newest != Some((from, attempt)) || !call.requested.contains(&(from, attempt)) {
        let about = format!(
            "agent {from} gave the answer of agent {worker}, attempt {attempt}, to call {uid}, which is with {:?}",
            call.newest
        );
        return violated("answer of another", uid, about);
    }
    Ok(())
}

fn end_call(calls: &mut BTreeMap<Uid, Call>, uid: Uid) -> Result<(), Violation> {
    let call = calls.entry(uid).or_default();
    call.outcomes += 1;
    if call.outcomes > 1 || call.withdrawn {
        return violated("two outcomes", uid, format!("call {uid} ended more than once"));
    }
    Ok(())
}
