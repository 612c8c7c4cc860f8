//! Agents that keep a file, and go on from it. What is on disk is what was last written when the process ended.

use a2alinker::agent::{Agent, AgentFile, Config};
use a2alinker::crypto::{FounderKey, Random, Ticket};
use a2alinker::proto::RoutingKey;

use super::World;
use crate::simulation::application::Manner;
use crate::simulation::history::Who;
use crate::simulation::network::Line;

impl World {
    /// A host that keeps its identity in a file.
    pub fn lasting_host(&mut self, line: Line, skew: i64, manner: Manner) -> Who {
        let mut config = self.config("host", false);
        let (seed, random) = (self.dice.seed(), Random::from_seed(self.dice.seed()));
        let file =
            AgentFile::founding(&config.name, &mut Random::from_seed(seed), self.clock_of(skew)).expect("the name is good");
        // A founding file draws the seed of the founder key first, then that of the identity.
        let mut drawn = Random::from_seed(seed);
        let routing = FounderKey::from_seed(drawn.array()).routing().public();
        config.identity_seed = drawn.array();
        let agent = Agent::resume(config.clone(), file, random, self.clock_of(skew)).expect("the settings are good");
        self.seat(agent, config, routing, (line, skew, manner))
    }

    /// A worker that keeps its identity in a file.
    pub fn join_to_stay(&mut self, ticket: Ticket, line: Line, skew: i64, manner: Manner) -> Who {
        let mut config = self.config("worker", true);
        let seed = self.dice.seed();
        let file = AgentFile::new(&config.name, &mut Random::from_seed(seed), self.clock_of(skew)).expect("the name is good");
        // A file draws the seed of the identity first.
        config.identity_seed = Random::from_seed(seed).array();
        config.keys = Some(file.keys().clone());
        let who = self.join_as(config, ticket.clone(), line, skew, manner);
        let seat = &mut self.seats[who];
        (seat.file, seat.ticket) = (Some(file.encode().to_string()), Some(ticket));
        who
    }

    /// An agent that has ended is started again from its file. If it wasn't admitted before, it asks again.
    pub fn resume(&mut self, who: Who) -> Who {
        let random = Random::from_seed(self.dice.seed());
        let seat = &self.seats[who];
        assert!(seat.agent.is_none(), "agent {who} still runs");
        let (line, skew, manner, ticket) = (seat.line, seat.skew, seat.application.manner, seat.ticket.clone());
        let (text, tag, now) = (seat.file.clone().expect("the agent keeps a file"), seat.tag.clone(), self.clock(who));
        let file = AgentFile::decode(text.as_bytes()).expect("it wrote it itself");
        let routing = self.routing_of(who);
        let config = Config { keys: Some(file.keys().clone()), ..self.seats[who].config.clone() };
        let agent = match ticket.clone().filter(|_| file.needs_invite(now)) {
            Some(ticket) => Agent::join(config.clone(), ticket, random, now).expect("the settings are good"),
            None => Agent::resume(config.clone(), file, random, now).expect("the file is good"),
        };
        assert_eq!(agent.id(), self.seats[who].id);
        let who = self.seat(agent, config, routing, (line, skew, manner));
        let seat = &mut self.seats[who];
        (seat.ticket, seat.tag) = (ticket, String::new());
        // Of a run that ends before it has written anything, the file of the one before is left.
        seat.file.get_or_insert(text);
        if !tag.is_empty() {
            self.retag(who, tag);
        }
        who
    }

    /// Those that were killed, keep a file, and have no later run.
    pub fn resumable(&self) -> Vec<Who> {
        let is_last = |who: &Who| self.who_by_id[&self.seats[*who].id] == *who;
        let ended = |who: &Who| self.seats[*who].agent.is_none() && self.seats[*who].file.is_some();
        (0..self.seats.len()).filter(|who| ended(who) && is_last(who)).collect()
    }

    /// The shell of an agent writes its file.
    pub(super) fn save(&mut self, who: Who) {
        let (now, seat) = (self.clock(who), &mut self.seats[who]);
        if let Some(agent) = &mut seat.agent
            && let Some(file) = agent.file(now)
        {
            seat.file = Some(file.encode().to_string());
            agent.handle_saved(Ok(()), now);
        }
    }

    fn routing_of(&self, who: Who) -> RoutingKey {
        let host = self.seats[who].host;
        *self.hosts.iter().find(|(_, of)| **of == host).expect("each swarm has a host").0
    }
}
