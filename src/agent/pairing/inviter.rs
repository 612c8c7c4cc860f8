//! The inviter's side: open codes, the slots that lead to them, and the exchanges of those who try.

use std::collections::VecDeque;
use std::time::Duration;

use crate::agent::admission::Rate;
use crate::agent::event::{Burnt, Token};
use crate::crypto::certificate::Rights;
use crate::crypto::pairing::{Confirmed, Message, Offer, PairingStatus, Seen, Telling, refusal};
use crate::crypto::{Code, Error, Random, Ticket};
use crate::proto::{DataFrame, FounderId, Label, Now, RoutingKey, SessionId, SlotStatus, base32, slot_label};

/// Codes of one agent at a time, those included that keep their slot only to say that they are over. Protocol: slots of a link.
pub const CODES_LIMIT: usize = 16;
/// Longest life of a code. Protocol; 31 bits are few, and people who pair talk to each other.
pub const CODE_TTL_MAX: Duration = Duration::from_secs(600);
/// Exchanges of one code at a time. Protocol; more than people who type the same code.
const EXCHANGES: usize = 8;
/// Life of the ticket that a code becomes. Chosen: a joiner whose link breaks there has the time to come back.
const TICKET_TTL: Duration = Duration::from_secs(600);

/// What a new code is to say.
pub(in crate::agent) struct CodeTerms {
    pub(in crate::agent) invite: Token,
    pub(in crate::agent) ttl: Duration,
    pub(in crate::agent) rights: Rights,
    pub(in crate::agent) addresses: Vec<String>,
}

/// The codes of one agent.
///
/// Slots that [`wanted`](Self::wanted) names are to be opened on each new link, those that [`poll_closed`](Self::poll_closed) returns are to
/// be given back.
#[derive(Default)]
pub(in crate::agent) struct Codes {
    codes: Vec<OpenCode>,
    /// Whose slots the switchboard was asked for, in its order of answering.
    asked: VecDeque<Token>,
    closed: VecDeque<u32>,
}

struct OpenCode {
    terms: CodeTerms,
    /// Slot 0 until the switchboard gave one.
    code: Code,
    expiry: u64,
    until: Duration,
    is_over: bool,
    exchanges: VecDeque<Exchange>,
    rate: Rate,
}

struct Exchange {
    id: SessionId,
    source: Label,
    ask: [u8; 33],
    stage: Stage,
}

enum Stage {
    Told(Box<Telling>),
    /// The last word, said again to whoever asks again.
    Ended(DataFrame),
}

/// What the switchboard's answer to an opening means.
pub(in crate::agent) enum Opened {
    /// The code can be used from now on.
    Code(Token, Code),
    /// It could be used before, and still can, on another link; or nobody wants it any more.
    Known,
    /// The switchboard has no slot for it.
    Refused(Token),
    /// The slot is somebody else's by this time.
    Lost(Token),
}

/// What a frame has decided.
pub(in crate::agent) enum Decision {
    /// The joiner knows the words; `offer` is to be sent once the ticket is open.
    Paired {
        invite: Token,
        ticket: Box<Ticket>,
        rights: Rights,
        offer: DataFrame,
    },
    Burnt {
        invite: Token,
        why: Burnt,
    },
}

/// What is known of the inviter itself.
pub(in crate::agent) struct Inviter {
    pub(in crate::agent) founder: FounderId,
    pub(in crate::agent) routing: RoutingKey,
    /// The certificate that its own link showed.
    pub(in crate::agent) pin: Option<[u8; 32]>,
}

impl Codes {
    /// Draws words for a code, whose slot is then to be opened. `false`: there are too many.
    pub(in crate::agent) fn create(&mut self, terms: CodeTerms, random: &mut Random, now: Now) -> bool {
        if self.codes.len() >= CODES_LIMIT {
            // Those that are over only keep their slot to say so.
            let Some(at) = self.codes.iter().position(|code| code.is_over) else { return false };
            let old = self.codes.remove(at);
            self.closed.extend(old.slot());
        }
        self.codes.push(OpenCode {
            code: Code::new(0, random),
            expiry: now.wall.saturating_add(terms.ttl.as_millis() as u64),
            until: now.monotonic + terms.ttl,
            terms,
            is_over: false,
            exchanges: VecDeque::new(),
            rate: Rate::default(),
        });
        true
    }

    /// Returns the slots to ask for, with their expiry, and takes them for asked: all on a new link, else those of new codes.
    pub(in crate::agent) fn wanted(&mut self, is_new_link: bool) -> Vec<(u32, u64)> {
        if is_new_link {
            self.asked.clear();
        }
        let mut wanted = Vec::new();
        for code in &self.codes {
            let invite = code.terms.invite;
            if is_new_link || code.slot().is_none() && !self.asked.contains(&invite) {
                self.asked.push_back(invite);
                wanted.push((code.code.slot(), code.expiry));
            }
        }
        wanted
    }

    pub(in crate::agent) fn handle_opened(&mut self, slot: u32, status: SlotStatus) -> Opened {
        let Some(invite) = self.asked.pop_front() else { return Opened::Known };
        let Some(at) = self.position(invite) else {
            // It was revoked meanwhile.
            self.closed.extend((status == SlotStatus::Done).then_some(slot));
            return Opened::Known;
        };
        let code = &mut self.codes[at];
        match (status, code.slot()) {
            (SlotStatus::Done, None) => {
                code.code = code.code.clone().with_slot(slot);
                Opened::Code(invite, code.code.clone())
            }
            (SlotStatus::Done, Some(_)) => Opened::Known,
            (_, had) => {
                let is_over = self.codes.remove(at).is_over;
                match had {
                    Some(_) if is_over => Opened::Known,
                    Some(_) => Opened::Lost(invite),
                    None => Opened::Refused(invite),
                }
            }
        }
    }

    /// Takes a code back, or gives its slot back once it is over. Returns what is to be said to those who try it.
    pub(in crate::agent) fn close(&mut self, invite: Token) -> Vec<DataFrame> {
        let Some(at) = self.position(invite) else { return Vec::new() };
        let mut code = self.codes.remove(at);
        self.closed.extend(code.slot());
        code.end_all(PairingStatus::Closed)
    }

    /// Closes the codes whose time is over.
    pub(in crate::agent) fn handle_timeout(&mut self, now: Now) -> Vec<DataFrame> {
        let over: Vec<Token> =
            self.codes.iter().filter(|code| code.until <= now.monotonic).map(|code| code.terms.invite).collect();
        over.into_iter().flat_map(|invite| self.close(invite)).collect()
    }

    pub(in crate::agent) fn poll_timeout(&self) -> Option<Duration> {
        self.codes.iter().map(|code| code.until).min()
    }

    /// Returns the next slot that is to be given back.
    pub(in crate::agent) fn poll_closed(&mut self) -> Option<u32> {
        self.closed.pop_front()
    }

    fn position(&self, invite: Token) -> Option<usize> {
        self.codes.iter().position(|code| code.terms.invite == invite)
    }

    /// Takes a frame that a guest sent. Returns the frames to send, and what it decided; `None` for a frame that means nothing here.
    pub(in crate::agent) fn handle_frame(
        &mut self,
        inviter: &Inviter,
        frame: &DataFrame,
        random: &mut Random,
        now: Now,
    ) -> Option<(Vec<DataFrame>, Option<Decision>)> {
        let destination = frame.header().destination;
        let code = self.codes.iter_mut().find(|code| code.slot().is_some_and(|slot| slot_label(slot) == destination))?;
        match Message::read(frame).ok()? {
            Message::Ask(ask) => Some((code.handle_ask(frame, ask, random, now)?, None)),
            Message::Confirm { seen, confirmation } => code.handle_confirm(inviter, frame, seen, &confirmation, now),
            Message::Tell(_) | Message::Offer { .. } => None,
        }
    }
}

impl OpenCode {
    fn slot(&self) -> Option<u32> {
        Some(self.code.slot()).filter(|slot| *slot != 0)
    }

    fn handle_ask(&mut self, frame: &DataFrame, ask: [u8; 33], random: &mut Random, now: Now) -> Option<Vec<DataFrame>> {
        let (id, source) = (frame.header().session, frame.source());
        if let Some(exchange) = self.exchanges.iter().find(|exchange| exchange.id == id) {
            let is_same = exchange.source == source && exchange.ask == ask;
            return is_same.then(|| vec![exchange.stage.frame()]);
        }
        if self.is_over {
            return Some(vec![refusal(PairingStatus::Closed, source, id)]);
        }
        if !self.rate.allows(now.monotonic) {
            return None;
        }
        let telling = Telling::answer(&self.code, id, source, &ask, random).ok()?;
        let tell = telling.frame();
        let mut frames = Vec::new();
        if self.exchanges.len() == EXCHANGES {
            frames.extend(self.exchanges.pop_front().map(|oldest| refusal(PairingStatus::Closed, oldest.source, oldest.id)));
        }
        self.exchanges.push_back(Exchange { id, source, ask, stage: Stage::Told(Box::new(telling)) });
        frames.push(tell);
        Some(frames)
    }

    fn handle_confirm(
        &mut self,
        inviter: &Inviter,
        frame: &DataFrame,
        seen: Seen,
        confirmation: &[u8; 32],
        now: Now,
    ) -> Option<(Vec<DataFrame>, Option<Decision>)> {
        let (id, source) = (frame.header().session, frame.source());
        let Some(at) = self.exchanges.iter().position(|exchange| exchange.id == id && exchange.source == source) else {
            return Some((vec![refusal(PairingStatus::Closed, source, id)], None));
        };
        let Exchange { ask, stage, .. } = self.exchanges.remove(at)?;
        let telling = match stage {
            Stage::Told(telling) => telling,
            Stage::Ended(last) => {
                self.exchanges.push_back(Exchange { id, source, ask, stage: Stage::Ended(last.clone()) });
                return Some((vec![last], None));
            }
        };
        let invite = self.terms.invite;
        let checked = telling.check(seen, confirmation).and_then(|confirmed| self.judge(inviter, confirmed, now));
        // Whatever comes of it, nobody else's guess counts any more.
        self.is_over = true;
        let (last, others, decision) = match checked {
            Ok((offer, Some(ticket))) => {
                let decision = Decision::Paired {
                    invite,
                    ticket: Box::new(ticket),
                    rights: self.terms.rights.clone(),
                    offer: offer.clone(),
                };
                (offer, PairingStatus::Closed, decision)
            }
            Ok((refused, None)) => (refused, PairingStatus::Closed, Decision::Burnt { invite, why: Burnt::Certificate }),
            Err(_) => {
                let refused = refusal(PairingStatus::WrongCode, source, id);
                (refused, PairingStatus::WrongCode, Decision::Burnt { invite, why: Burnt::WrongWords })
            }
        };
        let mut frames = self.end_all(others);
        if let Decision::Burnt { .. } = decision {
            frames.push(last.clone());
        }
        self.exchanges.push_back(Exchange { id, source, ask, stage: Stage::Ended(last) });
        Some((frames, Some(decision)))
    }

    /// Makes the Offer for a joiner that knows the words, and its ticket unless somebody stands between.
    fn judge(&self, inviter: &Inviter, confirmed: Confirmed, now: Now) -> Result<(DataFrame, Option<Ticket>), Error> {
        if !self.is_trusted(inviter, confirmed.seen()) {
            return Ok((confirmed.refuse(PairingStatus::Certificate), None));
        }
        let offer = Offer {
            founder: inviter.founder,
            routing: inviter.routing,
            expiry: now.wall.saturating_add(TICKET_TTL.as_millis() as u64),
            addresses: self.terms.addresses.clone(),
        };
        Ok((confirmed.offer(&offer)?, Some(confirmed.ticket(offer))))
    }

    /// Says whether the joiner sees the switchboard, and nobody between.
    fn is_trusted(&self, inviter: &Inviter, seen: &Seen) -> bool {
        let of_addresses = self.terms.addresses.iter().filter_map(|address| pin_of(address));
        seen.vouched || seen.pin == [0; 32] || inviter.pin.into_iter().chain(of_addresses).any(|pin| pin == seen.pin)
    }

    /// Ends the exchanges that are still open. Returns what is to be said.
    fn end_all(&mut self, status: PairingStatus) -> Vec<DataFrame> {
        let mut said = Vec::new();
        for exchange in &mut self.exchanges {
            if let Stage::Told(_) = exchange.stage {
                let last = refusal(status, exchange.source, exchange.id);
                said.push(last.clone());
                exchange.stage = Stage::Ended(last);
            }
        }
        said
    }
}

impl Stage {
    fn frame(&self) -> DataFrame {
        match self {
            Self::Told(telling) => telling.frame(),
            Self::Ended(last) => last.clone(),
        }
    }
}

/// The pin in an address, `wss://host:port#pin`.
fn pin_of(address: &str) -> Option<[u8; 32]> {
    base32::decode_array(&address.split_once('#')?.1.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::admission::REQUESTS_PER_SECOND;
    use crate::crypto::pairing::Asking;

    const NOW: Now = Now { monotonic: Duration::ZERO, wall: 1_000 };

    #[test]
    fn a_slot_that_somebody_else_got_meanwhile_ends_its_code() {
        let mut codes = Codes::default();
        assert!(create(&mut codes, 1));
        assert_eq!(codes.wanted(false), [(0, 601_000)]);
        assert!(matches!(codes.handle_opened(7, SlotStatus::Done), Opened::Code(1, code) if code.slot() == 7));
        assert_eq!(codes.wanted(true), [(7, 601_000)]);
        assert!(matches!(codes.handle_opened(0, SlotStatus::Taken), Opened::Lost(1)));
        assert_eq!((codes.poll_closed(), codes.poll_timeout()), (None, None));
    }

    #[test]
    fn answers_belong_to_the_codes_in_the_order_of_asking() {
        let mut codes = Codes::default();
        (1..=3).for_each(|invite| assert!(create(&mut codes, invite)));
        assert_eq!(codes.wanted(false).len(), 3);
        assert!(codes.close(2).is_empty());
        assert!(matches!(codes.handle_opened(5, SlotStatus::Done), Opened::Code(1, _)));
        assert!(matches!(codes.handle_opened(6, SlotStatus::Done), Opened::Known));
        assert_eq!(codes.poll_closed(), Some(6), "nobody wants it any more");
        assert!(matches!(codes.handle_opened(0, SlotStatus::Full), Opened::Refused(3)));
        assert!(matches!(codes.handle_opened(9, SlotStatus::Done), Opened::Known), "nobody asked");
    }

    #[test]
    fn a_code_that_is_over_makes_room_and_an_open_one_does_not() {
        let mut codes = Codes::default();
        (1..=CODES_LIMIT as Token).for_each(|invite| assert!(create(&mut codes, invite)));
        assert!(!create(&mut codes, 99));
        codes.wanted(false);
        codes.handle_opened(4, SlotStatus::Done);
        codes.codes[0].is_over = true;
        assert!(create(&mut codes, 99));
        assert_eq!(codes.poll_closed(), Some(4));
    }

    #[test]
    fn asks_beyond_the_rate_are_left_alone_until_the_next_second() {
        let (mut codes, mut random) = (Codes::default(), Random::from_seed([8; 32]));
        assert!(create(&mut codes, 1));
        codes.wanted(false);
        codes.handle_opened(7, SlotStatus::Done);
        let inviter = Inviter { founder: FounderId::ZERO, routing: RoutingKey::ZERO, pin: None };
        let code = "7-acid-acid-acid".parse().unwrap();
        let mut is_answered = |now| {
            let ask = Asking::start(&code, &mut random).frame();
            codes.handle_frame(&inviter, &ask, &mut random, now).is_some()
        };
        let answered = (0..REQUESTS_PER_SECOND + 10).filter(|_| is_answered(NOW)).count();
        assert_eq!(answered, REQUESTS_PER_SECOND as usize);
        assert!(is_answered(Now { monotonic: Duration::from_secs(1), ..NOW }));
    }

    fn create(codes: &mut Codes, invite: Token) -> bool {
        let terms = CodeTerms { invite, ttl: CODE_TTL_MAX, rights: Rights::default(), addresses: Vec::new() };
        codes.create(terms, &mut Random::from_seed([7; 32]), NOW)
    }
}
