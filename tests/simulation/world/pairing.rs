//! Codes: who makes them, and who tries them.

use std::time::Duration;

use a2alinker::agent::{Agent, InviteTerms, Token};
use a2alinker::crypto::{Code, Random, Rights};

use super::{ADDRESS, World};
use crate::simulation::application::Manner;
use crate::simulation::history::Who;
use crate::simulation::network::Line;

/// Life of the codes here.
pub const CODE_TTL: Duration = Duration::from_secs(600);

impl World {
    /// A code that can be used at once.
    pub fn code(&mut self, inviter: Who) -> (Token, Code) {
        let now = self.clock(inviter);
        let terms = InviteTerms { uses: Some(1), ttl: CODE_TTL, rights: Rights::default(), addresses: vec![ADDRESS.to_owned()] };
        let agent = self.seats[inviter].agent.as_mut().expect("the inviter lives");
        let token = agent.invite_by_code(terms, now).expect("the inviter may admit");
        self.settle(inviter);
        self.run_until("the code can be used", Duration::from_secs(60), |world| world.codes.contains_key(&(inviter, token)));
        (token, self.codes[&(inviter, token)].clone())
    }

    /// Somebody who tries a code, on a near line.
    pub fn pair(&mut self, code: &Code) -> Who {
        self.pair_with(code, None)
    }

    /// The same, where the switchboard shows a certificate.
    pub fn pair_with(&mut self, code: &Code, shown: Option<[u8; 32]>) -> Who {
        let (config, random) = (self.config("joiner", true), Random::from_seed(self.dice.seed()));
        let ((inviter, _), _) = self.codes.iter().rfind(|(_, known)| known.slot() == code.slot()).expect("somebody made it");
        let host = self.seats[*inviter].host;
        let (routing, _) = self.hosts.iter().find(|(_, who)| **who == host).expect("every swarm has one");
        let (routing, now) = (*routing, self.clock_of(0));
        let agent = Agent::pair(config.clone(), code, random, now).expect("the settings are good");
        let who = self.seat(agent, config, routing, (Line::NEAR, 0, Manner::PROMPT));
        self.seats[who].shown = shown;
        who
    }
}
