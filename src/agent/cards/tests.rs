use super::*;
use crate::agent::{Agent, Config, Stage};
use crate::crypto::{Random, Rights};

const NOW: Now = Now { monotonic: Duration::from_secs(1), wall: 1_790_000_000_000 };

#[test]
fn who_admits_tells_a_peer_that_is_linked_again_what_is_known_if_a_card_went_round_meanwhile() {
    let mut bench = Bench::new(true);
    bench.learn(2, false);
    bench.labels(&[2], &[]);
    bench.learn(3, false);
    assert_eq!(bench.waiting_for(2), 1, "the card");
    bench.labels(&[], &[2]);
    bench.labels(&[2], &[]);
    assert_eq!(bench.waiting_for(2), 1, "nothing is new");
    bench.labels(&[], &[2]);
    bench.learn(4, false);
    assert_eq!(bench.waiting_for(2), 1, "it isn't there");
    bench.labels(&[2], &[]);
    assert_eq!(bench.waiting_for(2), 2, "the roster");
    bench.labels(&[], &[2]);
    bench.labels(&[2], &[]);
    assert_eq!(bench.waiting_for(2), 2, "it was told");
}

#[test]
fn two_of_whom_neither_admits_leave_it_to_those_who_do() {
    let mut bench = Bench::new(false);
    bench.learn(2, false);
    bench.labels(&[2], &[]);
    bench.renew();
    bench.labels(&[], &[2]);
    bench.renew();
    bench.labels(&[2], &[]);
    assert_eq!(bench.waiting_for(2), 1, "the card that was sent while it was there");
}

/// An agent that hears what a switchboard and its peers would say, and whose own words wait.
struct Bench {
    agent: Agent,
}

impl Bench {
    fn new(admits: bool) -> Self {
        let random = Random::from_seed([3; 32]);
        let mut agent = Agent::host(Config::new("agent", [1; 32]), [2; 32], random, NOW).unwrap();
        let Stage::Member(member) = &mut agent.stage else { unreachable!() };
        member.membership.member.rights.admit = admits;
        Self { agent }
    }

    fn parts(&mut self) -> (&mut Member, &mut Shared) {
        let Stage::Member(member) = &mut self.agent.stage else { unreachable!() };
        (member, &mut self.agent.shared)
    }

    /// The first card of a peer comes from the peer itself.
    fn learn(&mut self, seed: u8, admits: bool) {
        let (member, shared) = self.parts();
        let mut card = member.roster.own().clone();
        card.identity = id(seed);
        card.label = label(seed);
        card.member.rights = Rights { admit: admits, ..Rights::default() };
        member.learn_card(shared, card, Some(id(seed)), NOW);
    }

    fn renew(&mut self) {
        let (member, shared) = self.parts();
        member.renew_card(shared, NOW);
    }

    fn labels(&mut self, came: &[u8], went: &[u8]) {
        let [came, went] = [came, went].map(|seeds| seeds.iter().map(|&seed| label(seed)).collect::<Vec<_>>());
        let (member, shared) = self.parts();
        member.handle_labels(shared, &came, &went, false, true, NOW);
    }

    fn waiting_for(&mut self, seed: u8) -> usize {
        self.parts().0.peers[&id(seed)].send[Lane::High.index()].waiting()
    }
}

fn id(seed: u8) -> AgentId {
    AgentId::from_bytes([seed; 32])
}

fn label(seed: u8) -> Label {
    Label::from_bytes([seed; 16])
}
