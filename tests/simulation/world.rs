//! A whole network in memory: agents, a switchboard, the wires between them, and virtual time.
//!
//! One queue of happenings, ordered by time and then by the order in which they were put there, is all that moves it. The same
//! seed plays the same world. What applications see goes into the [`History`]; what a test does is either called at once or put
//! into the queue with [`World::at`].

mod applications;
mod bodies;
mod files;
mod hostile;
mod pairing;
mod wires;

use std::collections::BTreeMap;
use std::time::Duration;

use a2alinker::agent::{Agent, Burnt, Config, InviteTerms, PeerChange, PeerView, SkillOffer, Token};
use a2alinker::crypto::{Code, FounderKey, Identity, Random, Rights, Ticket};
use a2alinker::proto::{AgentId, Label, MessageId, Now, RoutingKey, SessionId};
use a2alinker::switchboard::{self, LinkId, Switchboard};
use bytes::Bytes;

use super::application::{Application, Manner};
use super::checker::{self, REST, Span};
use super::dice::Dice;
use super::history::{History, Uid, What, Who};
use super::network::{Crossing, Fate, Line, Relay, Wire};

pub use applications::{CallPlan, SendPlan};
pub use bodies::{Got, Reader, Sent, Source};
pub use hostile::Hostile;
pub use pairing::CODE_TTL;
pub use wires::Notice;

/// Unix milliseconds at the beginning of the world: a day in 2026.
const EPOCH: u64 = 1_790_000_000_000;
/// Where the switchboard is said to be.
const ADDRESS: &str = "ws://127.0.0.1:1";
/// The skill that workers offer.
pub const SKILL: &str = "planted-work";
/// Stands in all names, skills, tags and bodies: no switchboard may ever hold it.
pub const PLANTED: &[u8] = b"planted";
/// An agent that asks to be called again at the same moment so often does nothing but that.
const TIMER_STORM: u32 = 100;

type Act = Box<dyn FnOnce(&mut World)>;
type Rule = Box<dyn FnMut(&Crossing<'_>) -> Fate>;

enum Happening {
    Timer(Who),
    SwitchboardTimer,
    /// An attempt to connect is over.
    Connect(Who),
    ToSwitchboard(usize, Bytes),
    ToAgent(usize, Bytes),
    /// A frame that the relay held back, or had kept.
    Again(Who, Bytes),
    AgentLearns(usize),
    SwitchboardLearns(usize),
    Ping(usize),
    Pong(usize),
    Read(Who),
    Turn(Who),
    Work(Who, Token),
    Act(Act),
}

/// An agent and what is around it.
pub struct Seat {
    pub id: AgentId,
    /// The first seat of the same identity: this one, unless the agent was started anew.
    pub person: Who,
    pub label: Label,
    /// The one that founded its swarm.
    pub host: Who,
    pub config: Config,
    /// The text of its agent file, if it has one, as it was last written.
    pub file: Option<String>,
    /// With which it asks again, should it end before it is admitted.
    ticket: Option<Ticket>,
    /// It came with a ticket that only its issuer knows.
    pub has_counted_ticket: bool,
    /// None once its process has ended.
    pub agent: Option<Agent>,
    pub application: Application,
    pub line: Line,
    /// Its clock is so many milliseconds ahead of the world's.
    pub skew: i64,
    /// Nothing gets through to the switchboard, and nothing back.
    pub cut_off: bool,
    /// It takes bytes from its socket.
    pub reads_socket: bool,
    pub joined: bool,
    /// Why it ended by itself.
    pub closed: Option<String>,
    /// What it was told about peers, and gaps.
    pub changes: Vec<(Who, PeerChange)>,
    pub gaps: usize,
    /// The word that its card shows beside its skill.
    pub tag: String,
    /// It was told that the outbox is full, and not yet that there is room again.
    pub is_full: bool,
    /// The certificate that it is shown, whether its roots vouch for it, and the addresses that it was told to believe.
    pub shown: Option<[u8; 32]>,
    pub vouched: bool,
    pub believed: Vec<String>,
    takes_any_certificate: bool,
    wire: Option<usize>,
    timer: Option<Duration>,
    restless: u32,
}

pub struct World {
    pub now: Duration,
    pub dice: Dice,
    pub history: History,
    pub seats: Vec<Seat>,
    pub relay: Relay,
    /// The switchboard attacks.
    pub hostile: Option<Hostile>,
    /// What a switchboard could read of what it should not, and how many bytes of frames were searched.
    pub overheard: Option<String>,
    pub heard_bytes: u64,
    /// The switchboard has said what isn't so: what agents believe is put right only by links that are new.
    pub lied: bool,
    /// Decides before the relay what becomes of a frame, for scripts.
    pub rule: Option<Rule>,
    /// What happened on the wires, if asked for.
    pub trace: Option<Vec<(Duration, String)>>,
    pub invites: BTreeMap<(Who, Token), Option<bool>>,
    /// What a request is called in its message.
    pub request_ids: BTreeMap<Uid, MessageId>,
    /// The text of codes that can be used, and why codes ended before their time.
    pub codes: BTreeMap<(Who, Token), Code>,
    pub burnt: BTreeMap<(Who, Token), Burnt>,
    /// How the switchboard is set up the next time that it starts.
    pub board: switchboard::Config,
    /// Large bodies that were sent and that came in, and what applications do with them.
    pub sent_bodies: Vec<Sent>,
    pub got_bodies: Vec<Got>,
    pub readers: BTreeMap<Who, Reader>,
    switchboard: Switchboard,
    /// While it is down, nobody can connect.
    switchboard_up: bool,
    switchboard_timer: Option<Duration>,
    wires: Vec<Wire>,
    wires_by_link: BTreeMap<LinkId, usize>,
    who_by_id: BTreeMap<AgentId, Who>,
    who_by_label: BTreeMap<Label, Who>,
    hosts: BTreeMap<RoutingKey, Who>,
    /// Frames that the relay kept to play them again.
    kept: BTreeMap<Who, Vec<Bytes>>,
    /// Who sent the opener (true) or answer of a session, and when.
    greetings: BTreeMap<(bool, SessionId), (Who, Duration)>,
    queue: BTreeMap<(Duration, u64), Happening>,
    next_happening: u64,
    next_uid: Uid,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let start = Now { monotonic: Duration::ZERO, wall: EPOCH };
        Self {
            now: Duration::ZERO,
            dice: Dice::new(seed),
            history: History::default(),
            seats: Vec::new(),
            relay: Relay::HONEST,
            hostile: None,
            overheard: None,
            heard_bytes: 0,
            lied: false,
            rule: None,
            trace: None,
            invites: BTreeMap::new(),
            request_ids: BTreeMap::new(),
            codes: BTreeMap::new(),
            burnt: BTreeMap::new(),
            board: switchboard::Config::default(),
            sent_bodies: Vec::new(),
            got_bodies: Vec::new(),
            readers: BTreeMap::new(),
            switchboard: Switchboard::new(switchboard::Config::default(), start),
            switchboard_up: true,
            switchboard_timer: None,
            wires: Vec::new(),
            wires_by_link: BTreeMap::new(),
            who_by_id: BTreeMap::new(),
            who_by_label: BTreeMap::new(),
            hosts: BTreeMap::new(),
            kept: BTreeMap::new(),
            greetings: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_happening: 0,
            next_uid: 1,
        }
    }

    /// A host and so many workers that joined it, all of whom know each other, on near lines.
    pub fn swarm(workers: usize) -> Self {
        let mut world = Self::new(1);
        let host = world.host(Line::NEAR, 0, Manner::PROMPT);
        let ticket = world.ticket(host, None);
        for _ in 0..workers {
            world.join(ticket.clone(), Line::NEAR, 0, Manner::PROMPT);
        }
        world.run_until("everybody knows everybody", Duration::from_secs(20), |world| world.is_complete());
        // What was said on the way is confirmed.
        world.run_for(Duration::from_secs(20));
        world
    }

    /// Every living agent knows every other of its swarm, and sees it linked.
    pub fn is_complete(&self) -> bool {
        self.living().all(|who| {
            let peers = self.agent(who).peers();
            let linked = |peer: &PeerView| peer.linked && self.seats[self.who_by_id[&peer.card.identity]].agent.is_some();
            self.seats[who].joined && peers.iter().filter(|peer| linked(peer)).count() == self.mates(who).count()
        })
    }

    /// The other living agents of an agent's swarm.
    pub fn mates(&self, who: Who) -> impl Iterator<Item = Who> + '_ {
        self.living().filter(move |other| *other != who && self.seats[*other].host == self.seats[who].host)
    }

    /// Every living agent knows the newest card of every other.
    pub fn is_up_to_date(&self) -> bool {
        self.living().all(|who| {
            self.mates(who).all(|other| {
                let view = self.agent(who).peer(&self.seats[other].id);
                view.is_some_and(|view| view.card.skill(SKILL).is_none_or(|skill| skill.tags.concat() == self.seats[other].tag))
            })
        })
    }

    pub fn living(&self) -> impl Iterator<Item = Who> + '_ {
        (0..self.seats.len()).filter(|who| self.seats[*who].agent.is_some())
    }

    pub fn agent(&self, who: Who) -> &Agent {
        self.seats[who].agent.as_ref().expect("the agent lives")
    }

    pub fn switchboard(&self) -> &Switchboard {
        &self.switchboard
    }

    pub fn who(&self, id: &AgentId) -> Option<Who> {
        self.who_by_id.get(id).copied()
    }

    pub fn label(&self, who: Who) -> Label {
        self.seats[who].label
    }

    /// Somebody sets an agent's clock to be so many milliseconds ahead of the world's.
    pub fn set_clock(&mut self, who: Who, skew: i64) {
        let before = std::mem::replace(&mut self.seats[who].skew, skew);
        let by = Duration::from_millis(before.abs_diff(skew));
        self.history.add(self.now, who, What::ClockSet { by });
        self.settle(who);
    }

    /// The agent's own clocks.
    pub fn clock(&self, who: Who) -> Now {
        self.clock_of(self.seats[who].skew)
    }

    fn clock_of(&self, skew: i64) -> Now {
        Now { monotonic: self.now, wall: EPOCH.saturating_add_signed(skew) + self.now.as_millis() as u64 }
    }

    fn switchboard_clock(&self) -> Now {
        self.clock_of(0)
    }

    pub fn host(&mut self, line: Line, skew: i64, manner: Manner) -> Who {
        let (founder, random, config) = (self.dice.seed(), Random::from_seed(self.dice.seed()), self.config("host", false));
        let routing = FounderKey::from_seed(founder).routing().public();
        let agent = Agent::host(config.clone(), founder, random, self.clock_of(skew)).expect("the settings are good");
        self.seat(agent, config, routing, (line, skew, manner))
    }

    pub fn join(&mut self, ticket: Ticket, line: Line, skew: i64, manner: Manner) -> Who {
        let config = self.config("worker", true);
        self.join_as(config, ticket, line, skew, manner)
    }

    pub fn join_as(&mut self, config: Config, ticket: Ticket, line: Line, skew: i64, manner: Manner) -> Who {
        let (random, routing, is_counted) = (Random::from_seed(self.dice.seed()), ticket.routing, ticket.counted);
        let agent = Agent::join(config.clone(), ticket, random, self.clock_of(skew)).expect("the settings are good");
        let who = self.seat(agent, config, routing, (line, skew, manner));
        self.seats[who].has_counted_ticket = is_counted;
        who
    }

    /// The process of an agent dies, and another begins with the same identity and a ticket.
    pub fn restart(&mut self, who: Who, ticket: Ticket) -> Who {
        self.kill(who);
        let Seat { ref config, line, skew, .. } = self.seats[who];
        let manner = self.seats[who].application.manner;
        self.join_as(config.clone(), ticket, line, skew, manner)
    }

    pub fn config(&mut self, name: &str, works: bool) -> Config {
        let mut config = Config::new(&format!("planted-{name}-{}", self.seats.len()), self.dice.seed());
        if works {
            config.skills = vec![skill("")];
        }
        config
    }

    fn seat(&mut self, agent: Agent, config: Config, routing: RoutingKey, (line, skew, manner): (Line, i64, Manner)) -> Who {
        let (who, id) = (self.seats.len(), agent.id());
        let label = Identity::from_seed(config.identity_seed).link_key(&routing).label();
        let host = *self.hosts.entry(routing).or_insert(who);
        let person = self.who_by_id.insert(id, who).map_or(who, |before| self.seats[before].person);
        // The relay sees labels; a script wants to know whose they are.
        self.who_by_label.insert(label, who);
        self.history.persons.push(person);
        self.seats.push(Seat {
            id,
            person,
            label,
            host,
            config,
            file: None,
            ticket: None,
            has_counted_ticket: false,
            agent: Some(agent),
            application: Application::new(manner),
            line,
            skew,
            cut_off: false,
            reads_socket: true,
            joined: false,
            closed: None,
            changes: Vec::new(),
            gaps: 0,
            tag: String::new(),
            is_full: false,
            shown: None,
            vouched: false,
            believed: Vec::new(),
            takes_any_certificate: false,
            wire: None,
            timer: None,
            restless: 0,
        });
        self.put(self.now, Happening::Turn(who));
        self.settle(who);
        who
    }

    /// A ticket for so many uses, or any number, that can be used at once.
    pub fn ticket(&mut self, issuer: Who, uses: Option<u32>) -> Ticket {
        let (token, ticket) = self.ticket_with(issuer, uses, Rights::default(), Duration::from_secs(3_600));
        self.run_until("the ticket can be used", Duration::from_secs(60), |world| world.invites[&(issuer, token)] == Some(true));
        ticket
    }

    pub fn ticket_with(&mut self, issuer: Who, uses: Option<u32>, rights: Rights, ttl: Duration) -> (Token, Ticket) {
        let now = self.clock(issuer);
        let terms = InviteTerms { uses, ttl, rights, addresses: vec![ADDRESS.to_owned()] };
        let agent = self.seats[issuer].agent.as_mut().expect("the issuer lives");
        let (token, ticket) = agent.invite(terms, now).expect("the issuer may admit");
        self.invites.insert((issuer, token), None);
        self.settle(issuer);
        (token, ticket)
    }

    pub fn revoke(&mut self, issuer: Who, invite: Token) {
        let now = self.clock(issuer);
        if let Some(agent) = &mut self.seats[issuer].agent {
            agent.revoke_invite(invite, now);
        }
        self.settle(issuer);
    }

    /// The process ends without a word.
    pub fn kill(&mut self, who: Who) {
        if self.seats[who].agent.take().is_some() {
            self.history.add(self.now, who, What::Ended);
            self.hang_up(who);
        }
    }

    /// The agent says goodbye and ends.
    pub fn close(&mut self, who: Who) {
        let now = self.clock(who);
        let Some(mut agent) = self.seats[who].agent.take() else { return };
        agent.close(now);
        self.history.add(self.now, who, What::Ended);
        while let Some(frame) = agent.poll_transmit(now) {
            self.write_up(who, frame);
        }
        self.hang_up(who);
    }

    pub fn at(&mut self, when: Duration, act: impl FnOnce(&mut World) + 'static) {
        self.put(when, Happening::Act(Box::new(act)));
    }

    /// Gives an agent a frame that the switchboard has made up.
    pub fn inject(&mut self, to: Who, frame: Bytes) {
        self.put(self.now, Happening::Again(to, frame));
    }

    fn put(&mut self, when: Duration, happening: Happening) {
        self.queue.insert((when.max(self.now), self.next_happening), happening);
        self.next_happening += 1;
    }

    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.now = until;
    }

    /// Lets everything come to an end, and holds the whole history against the guarantee.
    pub fn conclude(&mut self) {
        self.rule = None;
        let span = Span { calm: self.now, end: self.now + REST };
        self.run_for(REST);
        if let Err(violation) = checker::check(&self.history, span) {
            panic!("{violation}\n{}", self.tell());
        }
    }

    pub fn run_until_time(&mut self, until: Duration) {
        self.run_for(until.saturating_sub(self.now));
    }

    /// Runs until something is so, and fails if it isn't in time.
    pub fn run_until(&mut self, what: &str, limit: Duration, mut is_so: impl FnMut(&World) -> bool) {
        let until = self.now + limit;
        while !is_so(self) {
            if !self.step(until) {
                panic!("{what}: not within {limit:?}\n{}", self.tell());
            }
        }
    }

    fn step(&mut self, until: Duration) -> bool {
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) else { return false };
        let ((when, _), happening) = entry.remove_entry();
        self.now = when;
        self.happen(happening);
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Timer(who) => self.handle_timer(who),
            Happening::SwitchboardTimer => {
                if self.switchboard_timer.take_if(|at| *at == self.now).is_some() {
                    self.switchboard.handle_timeout(self.switchboard_clock());
                    self.settle_switchboard();
                }
            }
            Happening::Connect(who) => self.connect(who),
            Happening::ToSwitchboard(wire, frame) => self.arrive_at_switchboard(wire, frame),
            Happening::ToAgent(wire, frame) => self.arrive_at_agent(wire, frame),
            Happening::Again(who, frame) => self.write_again(who, frame),
            Happening::AgentLearns(wire) => self.agent_learns(wire),
            Happening::SwitchboardLearns(wire) => self.switchboard_learns(wire),
            Happening::Ping(wire) => self.ping(wire),
            Happening::Pong(wire) => self.pong(wire),
            Happening::Read(who) => self.read(who),
            Happening::Turn(who) => self.turn(who),
            Happening::Work(who, job) => self.work(who, job),
            Happening::Act(act) => act(self),
        }
    }

    fn handle_timer(&mut self, who: Who) {
        let (now, seat) = (self.clock(who), &mut self.seats[who]);
        if seat.timer.take_if(|at| *at <= now.monotonic).is_none() {
            return;
        }
        if let Some(agent) = &mut seat.agent {
            agent.handle_timeout(now);
        }
        self.settle(who);
        let seat = &mut self.seats[who];
        seat.restless = if seat.timer == Some(self.now) { seat.restless + 1 } else { 0 };
        assert!(
            seat.restless < TIMER_STORM,
            "timer storm: agent {who} asks again and again to be called at {:?}\n{}",
            self.now,
            self.tell()
        );
    }

    /// Takes everything that an agent has to say, as its shell does.
    fn settle(&mut self, who: Who) {
        let now = self.clock(who);
        loop {
            let Some(agent) = &mut self.seats[who].agent else { return };
            if let Some(command) = agent.poll_command() {
                self.obey(who, command);
            } else if let Some(event) = agent.poll_event() {
                self.tell_application(who, event);
            } else if !self.pump(who, now) {
                break;
            }
        }
        let seat = &mut self.seats[who];
        let Some(at) = seat.agent.as_ref().and_then(Agent::poll_timeout) else { return };
        let at = at.max(self.now);
        if seat.timer.is_none_or(|timer| at < timer) {
            seat.timer = Some(at);
            self.put(at, Happening::Timer(who));
        }
    }

    fn settle_switchboard(&mut self) {
        while let Some(output) = self.switchboard.poll_output() {
            self.obey_switchboard(output);
        }
        if let Some(at) = self.switchboard.poll_timeout().map(|at| at.max(self.now))
            && self.switchboard_timer.is_none_or(|timer| at < timer)
        {
            self.switchboard_timer = Some(at);
            self.put(at, Happening::SwitchboardTimer);
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push((self.now, format!("{:>10.3}  {}", self.now.as_secs_f64(), line())));
        }
    }

    /// The state of the world in words, for a failure.
    pub fn tell(&self) -> String {
        let mut text = String::new();
        for who in self.living() {
            text += &format!("agent {who}: {:?}\n", self.agent(who).health());
        }
        let seats = self.seats.iter().enumerate().filter_map(|(who, seat)| Some((who, seat.closed.as_ref()?)));
        seats.for_each(|(who, closed)| text += &format!("agent {who} ended: {closed}\n"));
        text + &format!("switchboard: {:?}\n", self.switchboard.stats())
    }
}

/// The one skill that there is.
pub fn skill(tag: &str) -> SkillOffer {
    let definition = br#"{"name":"planted-work","description":"Works.","input":null,"output":null}"#.to_vec();
    let tags = if tag.is_empty() { Vec::new() } else { vec![tag.to_owned()] };
    SkillOffer { name: SKILL.to_owned(), tags, concurrency: 4, definition }
}
