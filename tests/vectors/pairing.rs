//! Pairing by code (PROTOCOL.md section 9): pinned from the counting generator, and read back from the page.

use a2alinker::crypto::pairing::{Asking, Message, Offer, PairingStatus, Seen, Telling};
use a2alinker::crypto::{Code, Random};
use a2alinker::proto::{FounderId, Label, RoutingKey, slot_label};
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::by_the_page::{self, Fields};
use super::format::{Section, assert_pinned, read, section};

const FILE: &str = "pairing.txt";
/// One of its words has a hyphen itself.
const CODE: &str = "7-lantern-yo-yo-walrus";
const SOURCE: Label = Label::from_bytes([0xee; 16]);
const EXPIRY: u64 = 1_790_000_600_000;
const ADDRESSES: [&str; 2] = ["wss://relay.example:7447", "ws://localhost:7447"];

#[test]
fn a_pairing_is_pinned() {
    let mut random = Random::counting();
    let code: Code = CODE.parse().unwrap();
    let seen = Seen { vouched: false, pin: random.array() };
    let offer = Offer {
        founder: FounderId::from_bytes(random.array()),
        routing: RoutingKey::from_bytes(random.array()),
        expiry: EXPIRY,
        addresses: ADDRESSES.map(str::to_owned).to_vec(),
    };
    let exchange: [u8; 16] = peek(&mut random, 0);
    let joiner_bytes: [u8; 64] = peek(&mut random, 16);
    let asking = Asking::start(&code, &mut random);
    let ask = asking.frame();
    let Ok(Message::Ask(message_a)) = Message::read(&ask) else { panic!("an Ask") };
    let inviter_bytes: [u8; 64] = peek(&mut random, 0);
    let telling = Telling::answer(&code, asking.exchange(), SOURCE, &message_a, &mut random).unwrap();
    let tell = telling.frame();
    let Ok(Message::Tell(message_b)) = Message::read(&tell) else { panic!("a Tell") };
    let confirming = asking.confirm(&message_b, seen).unwrap();
    let Ok(Message::Confirm { confirmation, .. }) = Message::read(confirming.frame()) else { panic!("a Confirm") };
    let confirmed = telling.check(seen, &confirmation).unwrap();
    let offered = confirmed.offer(&offer).unwrap();
    let refused = confirmed.refuse(PairingStatus::Certificate);
    let ticket = confirming.open(&offered).unwrap().unwrap();
    assert_eq!(ticket.to_bytes(), confirmed.ticket(offer).to_bytes());
    assert!(matches!(confirming.open(&refused), Ok(Err(PairingStatus::Certificate))));
    let (proof, sealed) = offered.sealed()[2..].split_at(32);

    // What stays inside the crate, from the page.
    let (id_a, id_b) = ("a2alinker/1 joiner 7", "a2alinker/1 inviter 7");
    let password = "lantern-yo-yo-walrus";
    let (group, names) = (Password::new(password), [id_a, id_b].map(|id| Identity::new(id.as_bytes())));
    let (side_a, sent_a) = Spake2::<Ed25519Group>::start_a_with_rng(&group, &names[0], &names[1], Bytes(&joiner_bytes));
    let (side_b, sent_b) = Spake2::<Ed25519Group>::start_b_with_rng(&group, &names[0], &names[1], Bytes(&inviter_bytes));
    assert_eq!((&sent_a[..], &sent_b[..]), (&message_a[..], &message_b[..]));
    let shared = side_a.finish(&sent_b).unwrap();
    assert_eq!(shared, side_b.finish(&sent_a).unwrap());
    let keys = Keys::derive(7, &exchange, &sent_a, &sent_b, &shared);
    let opened = by_the_page::open_gcm_siv(&keys.offer_key, [0; 12], offered.header_bytes(), sealed);

    let sections = [
        Section::new("code")
            .words("text", CODE)
            .words("slot", code.slot())
            .bytes("slot label", slot_label(code.slot()).as_bytes())
            .words("password", password)
            .words("idA", id_a)
            .words("idB", id_b)
            .bytes("exchange", exchange),
        Section::new("spake2")
            .bytes("random bytes of A", joiner_bytes)
            .bytes("random bytes of B", inviter_bytes)
            .bytes("message A", message_a)
            .bytes("message B", message_b)
            .bytes("K", &shared),
        Section::new("keys")
            .bytes("transcript", keys.transcript)
            .bytes("prk", &keys.prk)
            .bytes("joiner", &keys.joiner)
            .bytes("inviter", &keys.inviter)
            .bytes("offer", &keys.offer_key)
            .bytes("secret", &keys.secret),
        Section::new("confirm")
            .words("vouched", u8::from(seen.vouched))
            .bytes("pin", seen.pin)
            .bytes("confirmation A", confirmation),
        Section::new("offer")
            .bytes("source", SOURCE.as_bytes())
            .bytes("outer header", offered.header_bytes())
            .bytes("plaintext", &opened)
            .bytes("confirmation B", proof)
            .bytes("sealed", sealed),
        Section::new("ticket").bytes("bytes", ticket.to_bytes()).bytes("mailbox", ticket.keys().mailbox().as_bytes()),
        Section::new("frames")
            .bytes("ask", ask.bytes())
            .bytes("tell", tell.bytes())
            .bytes("confirm", confirming.frame().bytes())
            .bytes("offer", offered.bytes())
            .bytes("refusal for the certificate", refused.bytes()),
    ];
    let story = "A pairing by code (PROTOCOL.md section 9). The counting generator gives in this order: pin, F, V, exchange id, 64 bytes for side A,\n\
                 64 bytes for side B. A scalar is its 64 bytes, read as a little-endian number, modulo the order of the group.";
    assert_pinned(FILE, story, &sections);
}

#[test]
fn the_pinned_pairing_is_as_the_page_says() {
    let sections = read(FILE);
    let field = |name: &str, field: &str| section(&sections, name).hex(field);
    let slot_label = field("code", "slot label");
    assert_eq!(by_the_page::h(&[b"a2alinker/1 slot label\0", &7u32.to_be_bytes()])[..16], slot_label);
    let exchange = field("code", "exchange");

    let frames: Vec<_> = ["ask", "tell", "confirm", "offer"].map(|name| field("frames", name)).into();
    let parts: Vec<_> = frames.iter().map(|frame| by_the_page::parts(frame)).collect();
    let source = field("offer", "source");
    for ((header, _), destination) in parts.iter().zip([&slot_label, &source, &slot_label, &source]) {
        assert_eq!(header[..4], [1, 9, 1, 0]);
        assert_eq!((&header[4..20], &header[20..36], &header[36..]), (&destination[..], &exchange[..], &[0; 20][..]));
    }
    let [ask, tell, confirm, offer] = [parts[0].1, parts[1].1, parts[2].1, parts[3].1];
    assert_eq!((ask[0], tell[0], confirm[0], offer[0]), (1, 2, 3, 4));
    assert_eq!((ask.len(), tell.len(), confirm.len()), (34, 34, 66));

    let keys = Keys::derive(7, &exchange, &ask[1..], &tell[1..], &field("spake2", "K"));
    let confirmation = by_the_page::hmac_sha256(&keys.joiner, &[&confirm[..34]]);
    assert_eq!((&confirm[34..], confirm[1]), (&confirmation[..], 0));
    assert_eq!((confirm[2..34].to_vec(), field("confirm", "confirmation A")), (field("confirm", "pin"), confirmation.clone()));

    let (proof, sealed) = offer[2..].split_at(32);
    assert_eq!(offer[1], 0);
    assert_eq!(proof, by_the_page::hmac_sha256(&keys.inviter, &[&[4, 0], &confirmation, sealed]));
    let body = by_the_page::open_gcm_siv(&keys.offer_key, [0; 12], parts[3].0, sealed);
    let mut fields = Fields(&body);
    let (founder, routing) = (fields.take(32), fields.take(32));
    assert_eq!((fields.take(8), fields.take(1)), (&EXPIRY.to_be_bytes()[..], &[2][..]));
    assert_eq!(ADDRESSES.map(str::as_bytes), [fields.counted(1), fields.counted(1)]);
    assert_eq!((fields.counted(2), fields.0), (&b""[..], &b""[..]));

    let ticket = field("ticket", "bytes");
    assert_eq!(ticket[..2], [1, 1]);
    assert_eq!((&ticket[2..34], &ticket[34..66], &ticket[66..98]), (&keys.secret[..], founder, routing));
    let mailbox = by_the_page::hkdf(b"a2alinker/1 ticket", &keys.secret, b"a2alinker/1 mailbox", 16);
    assert_eq!(mailbox, field("ticket", "mailbox"));

    let refusal = field("frames", "refusal for the certificate");
    let (_, refusal) = by_the_page::parts(&refusal);
    let proof = by_the_page::hmac_sha256(&keys.inviter, &[&[4, 2], &confirmation]);
    assert_eq!(refusal, [&[4, 2], &proof[..]].concat());
}

/// What follows from K.
struct Keys {
    transcript: [u8; 32],
    prk: Vec<u8>,
    joiner: Vec<u8>,
    inviter: Vec<u8>,
    offer_key: Vec<u8>,
    secret: Vec<u8>,
}

impl Keys {
    fn derive(slot: u32, exchange: &[u8], message_a: &[u8], message_b: &[u8], shared: &[u8]) -> Self {
        let transcript = by_the_page::h(&[b"a2alinker/1 code transcript\0", &slot.to_be_bytes(), exchange, message_a, message_b]);
        // HKDF-Extract is HMAC under the salt (RFC 5869 section 2.2).
        let prk = by_the_page::hmac_sha256(&transcript, &[shared]);
        let expand = |info: &str| by_the_page::expand(&prk, info.as_bytes(), 32);
        Self {
            joiner: expand("a2alinker/1 code joiner"),
            inviter: expand("a2alinker/1 code inviter"),
            offer_key: expand("a2alinker/1 code offer"),
            secret: expand("a2alinker/1 code ticket"),
            transcript,
            prk,
        }
    }
}

/// Returns the bytes that a counting generator gives after so many others. It repeats after 256: when all are taken it stands where it stood.
fn peek<const N: usize>(random: &mut Random, skipped: usize) -> [u8; N] {
    let all: [u8; 256] = random.array();
    std::array::from_fn(|at| all[skipped + at])
}

/// A generator that gives these bytes.
struct Bytes<'a>(&'a [u8]);

impl rand_core_06::RngCore for Bytes<'_> {
    fn next_u32(&mut self) -> u32 {
        unreachable!("a scalar is made of bytes")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("a scalar is made of bytes")
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        let (taken, rest) = self.0.split_at(bytes.len());
        bytes.copy_from_slice(taken);
        self.0 = rest;
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core_06::CryptoRng for Bytes<'_> {}
