//! Connections: how they come to be, what passes on them, how they end and who learns of it when.

use std::time::Duration;

use a2alinker::agent::{Command, ConnectFailure, Connected, LinkError, PathChange};
use a2alinker::proto::limits::{LINK_SILENCE, PING_INTERVAL};
use a2alinker::proto::{
    Binding, Bounce, BounceReason, ClientFrame, DataFrame, LabelChanges, Lane, Now, OuterHeader, OuterKind, ServerFrame,
    SessionId, base32,
};
use a2alinker::switchboard::{self, Output, Switchboard};
use bytes::Bytes;

use super::{ADDRESS, Happening, World};
use crate::simulation::history::{What, Who};
use crate::simulation::network::{Crossing, Fate, Pipe, Tally, Wire};

/// How long an attempt to connect takes to fail where nobody answers.
const NO_ANSWER: Duration = Duration::from_secs(3);
/// Old frames that the relay keeps for each agent.
const KEPT: usize = 64;

/// Who learns that a connection broke, other than by silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    Both,
    Agent,
    Switchboard,
    Nobody,
}

/// Faults.
impl World {
    /// Breaks the connection of an agent: what is under way on it is lost.
    pub fn cut(&mut self, who: Who, notice: Notice) {
        let Some(at) = self.seats[who].wire else { return };
        self.note(|| format!("the wire of agent {who} is cut, told: {notice:?}"));
        self.wires[at].dead = true;
        let (first, second) = (self.dice.millis(0..500), self.dice.millis(0..500));
        if matches!(notice, Notice::Both | Notice::Agent) {
            self.put(self.now + first, Happening::AgentLearns(at));
        }
        if matches!(notice, Notice::Both | Notice::Switchboard) {
            self.put(self.now + second, Happening::SwitchboardLearns(at));
        }
    }

    /// The system tells an agent that its network changed.
    pub fn change_path(&mut self, who: Who, change: PathChange) {
        let now = self.clock(who);
        self.seats[who].agent.as_mut().expect("it lives").handle_path_change(change, now);
        self.settle(who);
    }

    /// Nothing passes between an agent and the switchboard until [`World::rejoin`].
    pub fn cut_off(&mut self, who: Who) {
        self.seats[who].cut_off = true;
        self.cut(who, Notice::Nobody);
    }

    pub fn rejoin(&mut self, who: Who) {
        self.seats[who].cut_off = false;
    }

    /// The agent's process takes bytes from its socket, or stops to.
    pub fn set_reading(&mut self, who: Who, reads: bool) {
        self.seats[who].reads_socket = reads;
        if let Some(at) = self.seats[who].wire.filter(|_| reads) {
            while let Some(frame) = self.wires[at].down.unread.pop_front() {
                self.take_at_agent(at, frame);
            }
        }
    }

    /// A switchboard that is set up otherwise, from the beginning.
    pub fn set_up(&mut self, board: switchboard::Config) {
        self.board = board;
        self.switchboard = Switchboard::new(self.board.clone(), self.switchboard_clock());
    }

    /// The switchboard's process ends. It knows nothing when it comes back after `pause`.
    pub fn restart_switchboard(&mut self, pause: Duration) {
        self.note(|| "the switchboard ends".to_owned());
        for at in 0..self.wires.len() {
            let wire = &mut self.wires[at];
            wire.open_at_switchboard = false;
            if wire.open_at_agent && !wire.dead {
                wire.dead = true;
                let when = self.now + self.dice.millis(0..300);
                self.put(when, Happening::AgentLearns(at));
            }
        }
        self.wires_by_link.clear();
        self.switchboard = Switchboard::new(self.board.clone(), self.switchboard_clock());
        self.switchboard_up = false;
        self.at(self.now + pause, |world| world.switchboard_up = true);
    }
}

/// The agent's end.
impl World {
    pub(super) fn obey(&mut self, who: Who, command: Command) {
        match command {
            Command::Connect { any_certificate } => {
                self.seats[who].takes_any_certificate = any_certificate;
                let line = self.seats[who].line;
                let wait = if self.seats[who].cut_off { NO_ANSWER } else { line.delay * 3 };
                self.put(self.now + wait, Happening::Connect(who));
            }
            Command::Switchboards(addresses) => self.seats[who].believed = addresses,
            Command::PreferOthers => {}
            Command::Ping => {
                if let Some(at) = self.seats[who].wire {
                    let wait = self.seats[who].line.delay * 2;
                    self.put(self.now + wait, Happening::Pong(at));
                }
            }
            Command::Disconnect => self.hang_up(who),
            Command::Save => self.save(who),
        }
    }

    pub(super) fn connect(&mut self, who: Who) {
        if self.seats[who].cut_off || !self.switchboard_up {
            let now = self.clock(who);
            let text = "nobody answers".to_owned();
            if let Some(agent) = &mut self.seats[who].agent {
                agent.handle_disconnected(LinkError::Connect { kind: ConnectFailure::Unreachable, text }, now);
            }
            return self.settle(who);
        }
        let now = self.clock(who);
        let seat = &mut self.seats[who];
        let Some(agent) = &mut seat.agent else { return };
        if let (Some(pin), false) = (seat.shown, seat.takes_any_certificate)
            && !seat.believed.iter().any(|address| address.ends_with(&base32::encode(&pin)))
        {
            let text = "nobody vouches for the certificate".to_owned();
            agent.handle_disconnected(LinkError::Connect { kind: ConnectFailure::Untrusted, text }, now);
            return self.settle(who);
        }
        let address = ADDRESS.to_owned();
        let (pin, vouched) = (seat.shown, seat.vouched);
        agent.handle_connected(Connected { binding: Binding::None, address, pin, vouched, others: 0 }, now);
        let nonce = self.dice.seed();
        let link = self.switchboard.handle_open(self.switchboard_clock(), None, Binding::None, nonce);
        let at = self.wires.len();
        self.wires.push(Wire {
            who,
            link,
            up: Pipe::default(),
            down: Pipe::default(),
            open_at_agent: true,
            open_at_switchboard: true,
            dead: false,
            heard: self.now,
            frames: 0,
            tally: Tally::default(),
        });
        self.wires_by_link.insert(link, at);
        self.seats[who].wire = Some(at);
        self.put(self.now + PING_INTERVAL, Happening::Ping(at));
        self.settle_switchboard();
        self.settle(who);
    }

    /// The agent's shell closes the connection; the switchboard hears of it after what was written before.
    pub(super) fn hang_up(&mut self, who: Who) {
        let Some(at) = self.seats[who].wire.take() else { return };
        let wire = &mut self.wires[at];
        wire.open_at_agent = false;
        wire.down.unread.clear();
        if !wire.dead {
            let when = wire.up.empty_at().max(self.now + self.seats[who].line.delay);
            self.put(when, Happening::SwitchboardLearns(at));
        }
    }

    pub(super) fn agent_learns(&mut self, at: usize) {
        let wire = &mut self.wires[at];
        let who = wire.who;
        if std::mem::take(&mut wire.open_at_agent) {
            self.seats[who].wire = None;
            let now = self.clock(who);
            if let Some(agent) = &mut self.seats[who].agent {
                agent.handle_disconnected(LinkError::Lost("cut".to_owned()), now);
            }
            self.settle(who);
        }
    }

    /// Writes the next frame of an agent, if its socket has room. False if there is nothing to write.
    pub(super) fn pump(&mut self, who: Who, now: Now) -> bool {
        let Some(at) = self.seats[who].wire else { return false };
        if !self.wires[at].up.has_room() {
            return false;
        }
        let Some(frame) = self.seats[who].agent.as_mut().and_then(|agent| agent.poll_transmit(now)) else { return false };
        self.write_up(who, frame);
        true
    }

    pub(super) fn write_up(&mut self, who: Who, frame: Bytes) {
        let Some(at) = self.seats[who].wire else { return };
        self.eavesdrop(&frame);
        if let Ok(data) = DataFrame::parse(frame.clone())
            && matches!(data.header().kind, OuterKind::Opener | OuterKind::Answer)
        {
            let is_opener = data.header().kind == OuterKind::Opener;
            self.greetings.insert((is_opener, data.header().session), (who, self.now));
        }
        if let Ok(data) = DataFrame::parse(frame.clone())
            && data.header().kind == OuterKind::Envelope
            && let Some(&to) = self.who_by_label.get(&data.header().destination)
        {
            self.history.add(self.now, who, What::Enveloped { to });
        }
        self.note(|| match DataFrame::parse(frame.clone()) {
            Ok(data) => {
                format!("agent {who} sends {:?} {:?} {}", data.header().kind, data.header().lane, data.header().session.short())
            }
            Err(_) => format!("agent {who} sends a frame of kind {:?}", frame.first()),
        });
        self.wires[at].frames += u64::from(frame.first() == Some(&DataFrame::KIND));
        let line = self.seats[who].line;
        let when = self.wires[at].up.write(frame.len(), line, self.now, &mut self.dice);
        self.put(when, Happening::ToSwitchboard(at, frame));
    }

    pub(super) fn arrive_at_agent(&mut self, at: usize, frame: Bytes) {
        let wire = &mut self.wires[at];
        if wire.dead || !wire.open_at_agent {
            return;
        }
        if self.seats[wire.who].reads_socket {
            self.take_at_agent(at, frame);
        } else {
            wire.down.unread.push_back(frame);
        }
    }

    fn take_at_agent(&mut self, at: usize, frame: Bytes) {
        let wire = &mut self.wires[at];
        let who = wire.who;
        wire.down.read(frame.len());
        if let Ok(data) = DataFrame::parse(frame.clone())
            && matches!(data.header().kind, OuterKind::Opener | OuterKind::Answer)
            // Whatever source the switchboard claims.
            && let Some((from, sent)) = self.greetings.remove(&(data.header().kind == OuterKind::Opener, data.header().session))
        {
            self.history.add(self.now, who, What::Greeted { from, took: self.now - sent });
        }
        match ServerFrame::decode(frame.clone()) {
            Ok(ServerFrame::Accepted { .. }) => self.history.add(self.now, who, What::Kept),
            Ok(ServerFrame::Bounce(Bounce { reason: BounceReason::MailboxFull, .. })) => {
                self.history.add(self.now, who, What::NoRoom);
            }
            _ => {}
        }
        let now = self.clock(who);
        if let Some(agent) = &mut self.seats[who].agent {
            agent.handle_frame(frame, now);
        }
        self.settle(who);
        self.pump_switchboard(at);
    }

    /// The switchboard's answer to the agent's ping.
    pub(super) fn pong(&mut self, at: usize) {
        let wire = &self.wires[at];
        let who = wire.who;
        if wire.dead || !wire.open_at_agent || !wire.open_at_switchboard || !self.seats[who].reads_socket {
            return;
        }
        let now = self.clock(who);
        if let Some(agent) = &mut self.seats[who].agent {
            agent.handle_pong(now);
        }
        self.settle(who);
    }

    /// The WebSocket's ping, and the agent's pong.
    pub(super) fn ping(&mut self, at: usize) {
        let wire = &mut self.wires[at];
        let who = wire.who;
        if wire.open_at_switchboard && self.now - wire.heard >= LINK_SILENCE {
            return self.switchboard_learns(at);
        }
        if !wire.open_at_switchboard && (wire.dead || !wire.open_at_agent) {
            return;
        }
        if !wire.dead && wire.open_at_agent && self.seats[who].reads_socket {
            wire.heard = self.now;
            let now = self.clock(who);
            if let Some(agent) = &mut self.seats[who].agent {
                agent.handle_heard(now);
            }
            self.settle(who);
        }
        self.put(self.now + PING_INTERVAL, Happening::Ping(at));
    }
}

/// The switchboard's end.
impl World {
    pub(super) fn arrive_at_switchboard(&mut self, at: usize, frame: Bytes) {
        let wire = &mut self.wires[at];
        if wire.dead || !wire.open_at_switchboard {
            return;
        }
        wire.heard = self.now;
        wire.up.read(frame.len());
        let (link, who) = (wire.link, wire.who);
        for frame in self.hostile_up(at, frame) {
            let frame = self.tallied_up(at, frame);
            self.switchboard.handle_frame(link, frame, self.switchboard_clock());
        }
        self.settle_switchboard();
        self.settle(who);
    }

    /// What the agent says of frames that it received, in the switchboard's count.
    fn tallied_up(&mut self, at: usize, frame: Bytes) -> Bytes {
        match ClientFrame::decode(frame.clone()) {
            Ok(ClientFrame::Hello(hello)) => self.wires[at].tally.claim(hello.body().received),
            Ok(ClientFrame::LinkAck { received }) => {
                return ClientFrame::LinkAck { received: self.wires[at].tally.translate(received) }.encode();
            }
            _ => {}
        }
        frame
    }

    pub(super) fn switchboard_learns(&mut self, at: usize) {
        let wire = &mut self.wires[at];
        if std::mem::take(&mut wire.open_at_switchboard) {
            self.wires_by_link.remove(&wire.link);
            self.switchboard.handle_closed(wire.link, self.switchboard_clock());
            self.settle_switchboard();
        }
    }

    pub(super) fn obey_switchboard(&mut self, output: Output) {
        match output {
            Output::Wake(link) => {
                if let Some(&at) = self.wires_by_link.get(&link) {
                    self.pump_switchboard(at);
                }
            }
            Output::Close(link) => {
                let Some(&at) = self.wires_by_link.get(&link) else { return };
                while let Some(frame) = self.switchboard.poll_transmit(link, self.switchboard_clock()) {
                    self.write_down(at, frame);
                }
                let wire = &mut self.wires[at];
                wire.open_at_switchboard = false;
                self.wires_by_link.remove(&link);
                self.switchboard.handle_closed(link, self.switchboard_clock());
                let wire = &self.wires[at];
                if !wire.dead {
                    let when = wire.down.empty_at().max(self.now + self.seats[wire.who].line.delay);
                    self.put(when, Happening::AgentLearns(at));
                }
            }
        }
    }

    /// Writes what waits for a link, as far as its socket takes it.
    fn pump_switchboard(&mut self, at: usize) {
        while self.wires[at].open_at_switchboard && self.wires[at].down.has_room() {
            let link = self.wires[at].link;
            let Some(frame) = self.switchboard.poll_transmit(link, self.switchboard_clock()) else { return };
            match ServerFrame::decode(frame.clone()) {
                Ok(ServerFrame::Welcome(welcome)) => self.wires[at].tally.begin(welcome.resumed.is_some()),
                Ok(ServerFrame::Data(_)) => self.wires[at].tally.written(),
                _ => {}
            }
            self.pass_on(at, frame);
        }
    }

    /// What the relay makes of a frame.
    fn pass_on(&mut self, at: usize, frame: Bytes) {
        if let Some(relay) = self.hostile.take() {
            return self.hostile_down(relay, at, frame);
        }
        let to = self.wires[at].who;
        let Some(data) = DataFrame::parse(frame.clone()).ok() else { return self.write_down(at, frame) };
        let from = self.who_by_label.get(&data.source()).copied();
        let crossing = Crossing { from, to, frame: &data };
        let ruled = self.rule.as_mut().map(|rule| rule(&crossing)).filter(|fate| *fate != Fate::Pass);
        let fate = ruled.unwrap_or_else(|| self.relay.decide(&mut self.dice));
        let header = *data.header();
        drop(data);
        self.note(|| {
            format!(
                "the relay gives agent {to} {:?} {:?} {} of {from:?}: {fate:?}",
                header.kind,
                header.lane,
                header.session.short()
            )
        });
        if self.relay.replays > 0 {
            self.replay(to, &frame);
        }
        if self.dice.chance(self.relay.lies) {
            self.lie(at, header.session);
        }
        match fate {
            Fate::Pass => self.write_down(at, frame),
            Fate::Lose => {}
            Fate::Twice(later) => {
                self.put(self.now + later, Happening::Again(to, frame.clone()));
                self.write_down(at, frame);
            }
            Fate::Late(later) => self.put(self.now + later, Happening::Again(to, frame)),
            Fate::Changed(byte) => {
                let mut changed = frame.to_vec();
                changed[DataFrame::HEADER_LEN + byte] ^= 1;
                self.write_down(at, changed.into());
            }
        }
    }

    fn replay(&mut self, to: Who, frame: &Bytes) {
        let old = self.dice.chance(self.relay.replays);
        let kept = self.kept.entry(to).or_default();
        if kept.len() < KEPT {
            kept.push(frame.clone());
        } else {
            let place = self.dice.within(0..KEPT as u64) as usize;
            kept[place] = frame.clone();
        }
        if old && let Some(frame) = self.dice.pick(&self.kept[&to]).cloned() {
            self.put(self.now, Happening::Again(to, frame));
        }
    }

    /// The switchboard says something that isn't so.
    fn lie(&mut self, at: usize, session: SessionId) {
        let to = self.wires[at].who;
        let frame = match self.dice.within(0..4) {
            3 => ServerFrame::Accepted { number: self.dice.within(0..self.wires[at].frames + 1) },
            0 => {
                let reasons = [
                    BounceReason::Absent,
                    BounceReason::Full,
                    BounceReason::Expired,
                    BounceReason::Malformed,
                    BounceReason::MailboxFull,
                ];
                let number = self.dice.within(0..self.wires[at].frames + 1);
                let reason = *self.dice.pick(&reasons).unwrap_or(&BounceReason::Absent);
                ServerFrame::Bounce(Bounce { number, reason, retry_after_ms: self.dice.within(0..500) as u32 })
            }
            1 => ServerFrame::Data(self.complaint(session, to)),
            _ => {
                let who = self.dice.within(0..self.seats.len() as u64) as usize;
                let label = self.label(who);
                let (came, went) = if self.dice.chance(500) { (vec![label], vec![]) } else { (vec![], vec![label]) };
                ServerFrame::Labels(LabelChanges { came, went, ..LabelChanges::default() })
            }
        };
        self.lied = true;
        self.put(self.now, Happening::Again(to, frame.encode()));
    }

    /// Somebody's word that it can't open a session, for an agent; nothing proves who says so.
    pub fn complaint(&self, about: SessionId, to: Who) -> DataFrame {
        let header = OuterHeader {
            kind: OuterKind::CannotOpen,
            lane: Lane::Control,
            parkable: false,
            early: false,
            destination: self.label(to),
            session: about,
            generation: 0,
            counter: 0,
            expiry: 0,
        };
        DataFrame::new(header, &[])
    }

    /// The relay writes a frame outside its turn, on whatever link the agent has by then.
    pub(super) fn write_again(&mut self, to: Who, frame: Bytes) {
        if let Some(at) = self.seats[to].wire.filter(|at| self.wires[*at].open_at_switchboard) {
            self.note(|| format!("the relay gives agent {to} an old frame"));
            self.write_down(at, frame);
        }
    }

    pub(super) fn write_down(&mut self, at: usize, frame: Bytes) {
        if frame.first() == Some(&DataFrame::KIND) {
            self.wires[at].tally.given();
        }
        let line = self.seats[self.wires[at].who].line;
        let when = self.wires[at].down.write(frame.len(), line, self.now, &mut self.dice);
        self.put(when, Happening::ToAgent(at, frame));
    }
}
