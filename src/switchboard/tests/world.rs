//! A switchboard with its clock, and short names for what is said to it and heard from it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::super::{Config, LinkId, Origin, Output, Switchboard};
use crate::proto::{
    Binding, Bounce, BounceReason, ClientFrame, DataFrame, Features, HelloBody, Label, LabelChanges, Lane, LinkCertificate,
    LinkChain, LinkKeyPair, LinkRights, Now, OuterHeader, OuterKind, RejectCode, Role, RoutingKey, RoutingKeyPair, ServerFrame,
    SessionId, SlotStatus, Welcome, sign_hello,
};

pub(super) const START: u64 = 1_700_000_000_000;
pub(super) const LATER: u64 = START + 30 * 24 * 3600 * 1000;
pub(super) const MAILBOX: Label = Label::from_bytes([0x77; 16]);
pub(super) const ABLE: Features = Features(Features::RESUME.0 | Features::PARKING.0);
pub(super) const ISSUER: LinkRights = LinkRights { may_issue: true, may_revoke: false };

/// A switchboard with its clock.
pub(super) struct World {
    pub(super) board: Switchboard,
    pub(super) now: Now,
    nonce: u64,
    /// The last tokens of some members, for [`random_step`](Self::random_step).
    tokens: BTreeMap<u8, Bytes>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        let now = Now { monotonic: Duration::from_secs(1), wall: START };
        Self { board: Switchboard::new(config, now), now, nonce: 0, tokens: BTreeMap::new() }
    }

    pub(super) fn open(&mut self) -> LinkId {
        self.open_from(None)
    }

    pub(super) fn open_from(&mut self, origin: Option<Origin>) -> LinkId {
        self.nonce += 1;
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&self.nonce.to_be_bytes());
        self.board.handle_open(self.now, origin, Binding::None, nonce)
    }

    /// Takes the Challenge of a link.
    pub(super) fn challenge(&mut self, link: LinkId) -> Bytes {
        self.board.poll_transmit(link, self.now).expect("a challenge")
    }

    /// Answers the Challenge, and returns what comes then.
    pub(super) fn hello(&mut self, link: LinkId, body: &HelloBody) -> Vec<ServerFrame> {
        self.greet(link, body);
        self.heard(link)
    }

    pub(super) fn member(&mut self, seed: u8) -> LinkId {
        let link = self.open();
        self.hello(link, &member(seed));
        link
    }

    /// A member that names features, and its Welcome. The labels are left for it to hear.
    pub(super) fn able(&mut self, seed: u8, features: Features) -> (LinkId, Welcome) {
        self.again(HelloBody { features, ..member(seed) })
    }

    /// The same, with the token of an earlier Welcome and how many Data frames were received on that link.
    pub(super) fn resume(&mut self, seed: u8, token: &Bytes, received: u64) -> (LinkId, Welcome) {
        self.again(HelloBody { features: ABLE, resume_token: token.clone(), received, ..member(seed) })
    }

    pub(super) fn able_admin(&mut self, seed: u8) -> (LinkId, Welcome) {
        self.again(HelloBody { features: ABLE, role: Role::Member(chain(seed, ISSUER, LATER)), ..member(seed) })
    }

    pub(super) fn resume_admin(&mut self, seed: u8, token: &Bytes, received: u64) -> (LinkId, Welcome) {
        let role = Role::Member(chain(seed, ISSUER, LATER));
        self.again(HelloBody { features: ABLE, resume_token: token.clone(), received, role, ..member(seed) })
    }

    fn again(&mut self, body: HelloBody) -> (LinkId, Welcome) {
        let link = self.open();
        self.greet(link, &body);
        let bytes = self.board.poll_transmit(link, self.now).expect("a Welcome");
        match ServerFrame::decode(bytes) {
            Ok(ServerFrame::Welcome(welcome)) => (link, welcome),
            other => panic!("instead of a Welcome came {other:?}"),
        }
    }

    fn greet(&mut self, link: LinkId, body: &HelloBody) {
        let challenge = self.challenge(link);
        let seed = (1..=u8::MAX).find(|seed| key(*seed).public() == body.link_key).expect("a key of these tests");
        self.frame(link, sign_hello(&challenge, &Binding::None, &key(seed), body.clone()).bytes().clone());
    }

    /// The socket of a link is gone.
    pub(super) fn cut(&mut self, link: LinkId) {
        self.board.handle_closed(link, self.now);
    }

    /// All sockets are gone.
    pub(super) fn cut_all(&mut self) {
        let links: Vec<_> = self.board.links.iter().map(|(id, _)| id).collect();
        links.into_iter().for_each(|link| self.cut(link));
    }

    pub(super) fn ack(&mut self, link: LinkId, received: u64) {
        self.frame(link, ClientFrame::LinkAck { received }.encode());
    }

    /// Sends an envelope that may wait for an hour.
    pub(super) fn park(&mut self, from: LinkId, to: Label, lane: Lane, sealed: &[u8]) {
        let expiry = self.now.wall + 3_600_000;
        self.frame(from, envelope(to, lane, expiry, sealed).into_bytes());
    }

    /// Checks that every link is gone, and that nothing is kept once all times are over.
    #[track_caller]
    pub(super) fn assert_nothing_is_left(&mut self) {
        for _ in 0..3 {
            self.pass(Duration::from_secs(13 * 3600));
        }
        let stats = self.board.stats();
        assert_eq!((stats.links, stats.swarms, stats.mailboxes, stats.dormant), (0, 0, 0, 0), "{stats:?}");
        assert_eq!((stats.queued_bytes, stats.retained_bytes, stats.parked_bytes, stats.known), (0, 0, 0, 0), "{stats:?}");
        assert_eq!((stats.memory_bytes, self.board.parking.held_bytes()), (0, 0), "{stats:?}");
        assert!(self.board.lives.is_empty());
        assert_eq!(self.board.poll_timeout(), None);
    }

    pub(super) fn admin(&mut self, seed: u8) -> LinkId {
        let link = self.open();
        self.hello(link, &HelloBody { role: Role::Member(chain(seed, ISSUER, LATER)), ..member(seed) });
        link
    }

    pub(super) fn stranger(&mut self, seed: u8, mailbox: Label) -> LinkId {
        let link = self.open();
        let challenge = self.challenge(link);
        let body = HelloBody { role: Role::Stranger { mailbox }, ..member(seed) };
        self.frame(link, sign_hello(&challenge, &Binding::None, &key(seed), body).bytes().clone());
        link
    }

    /// Somebody with a code for a slot, from an origin if one is named.
    pub(super) fn guest(&mut self, seed: u8, slot: u32, origin: Option<Origin>) -> LinkId {
        let link = self.open_from(origin);
        let challenge = self.challenge(link);
        let body = HelloBody { routing: RoutingKey::ZERO, role: Role::Guest { slot }, ..member(seed) };
        self.frame(link, sign_hello(&challenge, &Binding::None, &key(seed), body).bytes().clone());
        link
    }

    /// Asks for a slot for ten minutes; returns the answer, which is all that is to be heard.
    #[track_caller]
    pub(super) fn open_slot(&mut self, link: LinkId, asked: u32) -> Result<u32, SlotStatus> {
        let expiry = self.now.wall + 600_000;
        self.frame(link, ClientFrame::OpenSlot { slot: asked, expiry }.encode());
        match self.heard(link)[..] {
            [ServerFrame::SlotOpened { asked: of, slot, status: SlotStatus::Done }] if of == asked => Ok(slot),
            [ServerFrame::SlotOpened { asked: of, slot: 0, status }] if of == asked => Err(status),
            ref other => panic!("{other:?}"),
        }
    }

    pub(super) fn register(&mut self, link: LinkId, mailbox: Label) {
        self.frame(link, ClientFrame::Register { mailbox, expiry: LATER }.encode());
    }

    pub(super) fn frame(&mut self, link: LinkId, bytes: Bytes) {
        self.board.handle_frame(link, bytes, self.now);
    }

    pub(super) fn send(&mut self, from: LinkId, to: Label, sealed: &[u8]) {
        self.frame(from, data(to, Lane::Normal, sealed).into_bytes());
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall += time.as_millis() as u64;
        while self.board.poll_timeout().is_some_and(|due| due <= self.now.monotonic) {
            self.board.handle_timeout(self.now);
        }
    }

    /// Everything that is to be written on a link.
    pub(super) fn heard(&mut self, link: LinkId) -> Vec<ServerFrame> {
        let mut frames = Vec::new();
        while let Some(bytes) = self.board.poll_transmit(link, self.now) {
            frames.push(ServerFrame::decode(bytes).expect("the switchboard writes well-formed frames"));
        }
        frames.retain(|frame| !matches!(frame, ServerFrame::Challenge(_)));
        frames
    }

    /// The sealed parts of the Data frames among that.
    pub(super) fn sealed(&mut self, link: LinkId) -> Vec<Vec<u8>> {
        let frames = self.heard(link).into_iter();
        frames
            .filter_map(|frame| if let ServerFrame::Data(frame) = frame { Some(frame.sealed().to_vec()) } else { None })
            .collect()
    }

    /// Lets every link hear what there is but for what waits in its lanes.
    pub(super) fn hear_all_but_data(&mut self) {
        let links: Vec<_> = self.board.links.iter().map(|(id, _)| id).collect();
        for link in links {
            let queue = std::mem::replace(
                &mut self.board.links.get_mut(link).expect("it is there").stream.queue,
                crate::proto::LaneQueue::new(crate::proto::LaneLimits::default()),
            );
            self.heard(link);
            self.board.links.get_mut(link).expect("it is there").stream.queue = queue;
        }
    }

    /// Lets every link hear what there is.
    pub(super) fn hear_all(&mut self) {
        let links: Vec<_> = self.board.links.iter().map(|(id, _)| id).collect();
        for link in links {
            self.heard(link);
        }
    }

    /// The links that the shell is to close, since it was last asked.
    pub(super) fn closed(&mut self) -> Vec<LinkId> {
        let outputs = std::iter::from_fn(|| self.board.poll_output());
        outputs.filter_map(|output| if let Output::Close(id) = output { Some(id) } else { None }).collect()
    }

    #[track_caller]
    pub(super) fn assert_rejected(&mut self, link: LinkId, code: RejectCode) {
        let frames = self.heard(link);
        assert!(
            matches!(frames.last(), Some(ServerFrame::Reject(reject)) if reject.code == code),
            "{frames:?} instead of {code:?}"
        );
        assert!(self.closed().contains(&link));
    }

    /// Does one thing or another, sensible or not.
    pub(super) fn random_step(&mut self, links: &mut Vec<LinkId>, dice: &mut Dice) {
        let link = if links.is_empty() { LinkId::default() } else { links[dice.roll(links.len() as u64) as usize] };
        let seed = dice.roll(6) as u8 + 1;
        match dice.roll(22) {
            0 => links.push(self.member(seed)),
            1 => links.push(self.admin(seed)),
            2 => links.push(self.stranger(seed + 100, MAILBOX)),
            3 => self.board.handle_closed(link, self.now),
            4 => self.register(link, MAILBOX),
            5 => drop(self.heard(link)),
            6 => {
                let step = Duration::from_millis(dice.roll(20_000));
                self.pass(step);
            }
            7 => {
                let length = dice.roll(200) as usize;
                let bytes: Vec<u8> = (0..length).map(|_| dice.roll(256) as u8).collect();
                self.frame(link, bytes.into());
            }
            8 => {
                let mut bytes = data(label(seed), Lane::Normal, b"flipped").into_bytes().to_vec();
                let place = dice.roll(bytes.len() as u64) as usize;
                bytes[place] ^= 1 << dice.roll(8);
                bytes.truncate(bytes.len() - dice.roll(2) as usize * dice.roll(bytes.len() as u64) as usize);
                self.frame(link, bytes.into());
            }
            9 => self.frame(link, data(MAILBOX, Lane::Urgent, b"knock").into_bytes()),
            10 => {
                let (slot, expiry) = (dice.roll(3) as u32, self.now.wall + dice.roll(100_000));
                self.frame(link, ClientFrame::OpenSlot { slot, expiry }.encode());
            }
            11 => self.frame(link, ClientFrame::CloseSlot { slot: dice.roll(3) as u32 }.encode()),
            12 => links.push(self.guest(seed + 100, dice.roll(3) as u32, None)),
            13 | 14 => {
                let link = self.open();
                let resume_token = self.tokens.get(&seed).cloned().unwrap_or_default();
                self.greet(link, &HelloBody { features: ABLE, resume_token, received: dice.roll(4), ..member(seed) });
                links.push(link);
                // A Welcome that is never read gives no token.
                if dice.roll(4) > 0
                    && let Some(ServerFrame::Welcome(welcome)) = self.heard(link).first()
                {
                    self.tokens.insert(seed, welcome.resume_token.clone());
                }
            }
            15 | 16 => {
                let expiry = self.now.wall + dice.roll(40_000_000);
                let sealed = vec![0; dice.roll(900) as usize];
                self.frame(link, envelope(label(seed), Lane::ALL[dice.roll(5) as usize], expiry, &sealed).into_bytes());
            }
            17 => self.ack(link, dice.roll(4)),
            18 | 19 => self.cut(link),
            _ => {
                let sealed = vec![0; dice.roll(900) as usize];
                let lane = Lane::ALL[dice.roll(5) as usize];
                self.frame(link, data(label(seed), lane, &sealed).into_bytes());
            }
        }
        while self.board.poll_output().is_some() {}
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): the same numbers for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

pub(super) fn routing() -> RoutingKeyPair {
    RoutingKeyPair::from_seed(&[0xFF; 32])
}

pub(super) fn key(seed: u8) -> LinkKeyPair {
    LinkKeyPair::from_seed(&[seed; 32])
}

pub(super) fn label(seed: u8) -> Label {
    key(seed).label()
}

pub(super) fn chain(seed: u8, rights: LinkRights, expiry: u64) -> LinkChain {
    let certificate = LinkCertificate::issue_by_routing(&routing(), key(seed).public(), expiry, rights);
    LinkChain::new(vec![certificate]).expect("one certificate")
}

pub(super) fn member(seed: u8) -> HelloBody {
    HelloBody {
        features: Features::NONE,
        binding: Binding::None.kind(),
        routing: routing().public(),
        link_key: key(seed).public(),
        resume_token: Bytes::new(),
        received: 0,
        role: Role::Member(chain(seed, LinkRights::default(), LATER)),
    }
}

/// A member of another swarm, with the same link key.
pub(super) fn foreign(seed: u8) -> HelloBody {
    let routing = RoutingKeyPair::from_seed(&[0xEE; 32]);
    let certificate = LinkCertificate::issue_by_routing(&routing, key(seed).public(), LATER, ISSUER);
    let role = Role::Member(LinkChain::new(vec![certificate]).expect("one certificate"));
    HelloBody { routing: routing.public(), role, ..member(seed) }
}

pub(super) fn data(destination: Label, lane: Lane, sealed: &[u8]) -> DataFrame {
    let header = OuterHeader {
        kind: OuterKind::Session,
        lane,
        parkable: false,
        early: false,
        destination,
        session: SessionId::ZERO,
        generation: 0,
        counter: 0,
        expiry: 0,
    };
    DataFrame::new(header, sealed)
}

/// An envelope that may wait.
pub(super) fn envelope(destination: Label, lane: Lane, expiry: u64, sealed: &[u8]) -> DataFrame {
    let header = OuterHeader { kind: OuterKind::Envelope, parkable: true, expiry, ..*data(destination, lane, b"").header() };
    DataFrame::new(header, sealed)
}

pub(super) fn came<const N: usize>(labels: [Label; N]) -> ServerFrame {
    ServerFrame::Labels(LabelChanges { came: labels.to_vec(), ..LabelChanges::default() })
}

pub(super) fn went<const N: usize>(labels: [Label; N]) -> ServerFrame {
    ServerFrame::Labels(LabelChanges { went: labels.to_vec(), ..LabelChanges::default() })
}

pub(super) fn forget_others_and<const N: usize>(labels: [Label; N]) -> LabelChanges {
    LabelChanges { forget_others: true, came: labels.to_vec(), ..LabelChanges::default() }
}

pub(super) fn forget_others_and_frame<const N: usize>(labels: [Label; N]) -> ServerFrame {
    ServerFrame::Labels(forget_others_and(labels))
}

pub(super) fn bounce(number: u64, reason: BounceReason) -> ServerFrame {
    ServerFrame::Bounce(Bounce { number, reason, retry_after_ms: 0 })
}
