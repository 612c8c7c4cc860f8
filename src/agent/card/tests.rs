use proptest::prelude::*;

use super::*;
use crate::crypto::certificate::{CertificateRequest, Rights};
use crate::crypto::{FounderKey, KeyPair};
use crate::proto::signature;

const NOW: u64 = 1_800_000_000_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

/// Where the name begins: version, F, identity, run, stamp and link key come before it.
const NAME_AT: usize = 1 + 32 + 32 + 16 + 8 + 32;

#[test]
fn a_card_is_pinned() {
    let swarm = Swarm::new();
    let identity = Identity::from_seed([2; 32]);
    let chain = swarm.chain(&identity, "coder", Rights::default());
    let bytes = swarm.draft(&identity, &chain, &[skill("review", &["python", "fast"])]).sign().unwrap();

    let mut expected = vec![1];
    expected.extend(swarm.founder.id().as_bytes());
    expected.extend(identity.id().as_bytes());
    expected.extend([0x0a; 16]);
    expected.extend(NOW.to_be_bytes());
    expected.extend(swarm.link_key(&identity).as_bytes());
    expected.extend(b"\x05coder");
    expected.extend(swarm.prekey.as_bytes());
    expected.extend((chain.encode().len() as u16).to_be_bytes());
    expected.extend(chain.encode());
    expected.extend(b"\x01\x06review\x02\x06python\x04fast\x00\x03");
    expected.extend([0xdd; 32]);
    expected.extend([0x01, 0x00, 0x00]);
    expected.extend(identity.sign("card", &expected));
    assert_eq!(bytes, expected);
    let hash = data_encoding::HEXLOWER.encode(&signature::hash(&[&bytes]));
    assert_eq!(hash, "982f57d414fe3d9d070d747ca25a887712838c0c239807df16371ed35e770d49");
}

#[test]
fn a_card_says_what_its_draft_said() {
    let swarm = Swarm::new();
    let identity = Identity::from_seed([2; 32]);
    let chain = swarm.chain(&identity, "coder", Rights::default());
    let skills = [skill("review", &["python"]), skill("test", &[])];
    let bytes = swarm.draft(&identity, &chain, &skills).sign().unwrap();
    let card = Card::parse(bytes.clone()).unwrap();
    assert_eq!((card.identity(), card.stamp()), (identity.id(), NOW));

    let card = card.verify(&swarm.founder.id(), NOW).unwrap();
    assert_eq!(card.identity, identity.id());
    assert_eq!(card.run, RunId::from_bytes([0x0a; 16]));
    assert_eq!(card.name(), "coder");
    assert_eq!(card.label, label_of(&swarm.link_key(&identity)));
    assert_eq!(card.prekey, swarm.prekey);
    assert_eq!(card.chain, chain);
    assert_eq!(card.skills, skills);
    assert_eq!(card.skill("test"), Some(&skills[1]));
    assert_eq!(card.skill("deploy"), None);
    assert!(card.is_ephemeral);
    assert_eq!(card.bytes, bytes);
}

#[test]
fn a_skill_beyond_the_certificate_is_dropped_and_counted() {
    let swarm = Swarm::new();
    let identity = Identity::from_seed([2; 32]);
    let rights = Rights { skills: Some(["review".to_owned()].into()), ..Rights::default() };
    let chain = swarm.chain(&identity, "coder", rights);
    let skills = [skill("deploy", &[]), skill("review", &[])];
    let bytes = swarm.draft(&identity, &chain, &skills).sign().unwrap();
    let card = swarm.verify(bytes).unwrap();
    assert_eq!(card.skills, [skills[1].clone()]);
    assert_eq!(card.skills_dropped, 1);
}

#[test]
fn every_byte_of_a_card_counts() {
    let swarm = Swarm::new();
    let bytes = swarm.card_bytes(2, "coder");
    assert!(swarm.verify(bytes.clone()).is_ok());
    // The prekey is 1,216 bytes of the same; every eleventh of all bytes meets each field.
    for at in (0..bytes.len()).step_by(11).chain(NAME_AT - 8..NAME_AT + 8) {
        let mut tampered = bytes.to_vec();
        tampered[at] ^= 0x01;
        assert!(swarm.verify(tampered.into()).is_err(), "byte {at}");
    }
}

#[test]
fn a_card_cut_or_continued_is_malformed() {
    let bytes = Swarm::new().card_bytes(2, "coder");
    for len in 0..bytes.len() {
        assert!(Card::parse(bytes.slice(..len)).is_err(), "cut to {len}");
    }
    let continued = [&bytes[..], &[0]].concat();
    assert!(Card::parse(continued.into()).is_err());
}

#[test]
fn a_card_of_another_swarm_is_refused() {
    let swarm = Swarm::new();
    let other = FounderKey::from_seed([99; 32]);
    let card = Card::parse(swarm.card_bytes(2, "coder")).unwrap();
    assert_eq!(card.verify(&other.id(), NOW).unwrap_err(), CardError::OtherSwarm);
}

#[test]
fn a_member_cannot_use_the_certificate_of_another() {
    let swarm = Swarm::new();
    let (owner, thief) = (Identity::from_seed([2; 32]), Identity::from_seed([3; 32]));
    let chain = swarm.chain(&owner, "coder", Rights::default());
    let bytes = swarm.draft(&thief, &chain, &[]).sign().unwrap();
    assert_eq!(swarm.verify(bytes).unwrap_err(), CardError::NotOfTheCertificate);
}

#[test]
fn a_member_cannot_take_another_name() {
    let swarm = Swarm::new();
    let identity = Identity::from_seed([2; 32]);
    let chain = swarm.chain(&identity, "coder", Rights::default());
    let mut bytes = swarm.draft(&identity, &chain, &[]).sign().unwrap().to_vec();
    bytes[NAME_AT + 1] = b'C';
    resign(&mut bytes, &identity);
    assert_eq!(swarm.verify(bytes.into()).unwrap_err(), CardError::NotOfTheCertificate);
}

#[test]
fn a_card_with_a_prekey_that_is_none_is_refused() {
    let swarm = Swarm::new();
    let identity = Identity::from_seed([2; 32]);
    let chain = swarm.chain(&identity, "coder", Rights::default());
    let mut bytes = swarm.draft(&identity, &chain, &[]).sign().unwrap().to_vec();
    let prekey_at = NAME_AT + 1 + "coder".len();
    // Coefficients of an ML-KEM key lie below 3,329 (FIPS 203, section 7.2).
    bytes[prekey_at..prekey_at + 32].fill(0xff);
    resign(&mut bytes, &identity);
    assert_eq!(swarm.verify(bytes.into()).unwrap_err(), CardError::Prekey);
}

#[test]
fn a_card_is_good_as_long_as_its_certificate() {
    let swarm = Swarm::new();
    let verify = |now| Card::parse(swarm.card_bytes(2, "coder")).unwrap().verify(&swarm.founder.id(), now);
    assert!(verify(NOW + 30 * DAY).is_ok());
    let expired = verify(NOW + 31 * DAY).unwrap_err();
    assert!(matches!(expired, CardError::Certificate(CertificateError::Expired { .. })));
}

#[test]
fn a_card_that_is_too_large_says_how_many_skills_fit() {
    let swarm = Swarm::new();
    let identity = Identity::from_seed([2; 32]);
    let chain = swarm.chain(&identity, "coder", Rights::default());
    let skills: Vec<_> = (0..100).map(|n| skill(&format!("skill-{n:03}"), &["tag"])).collect();
    let sign = |count: usize| swarm.draft(&identity, &chain, &skills[..count]).sign();
    let Err(CardError::TooLarge { got, skills_that_fit }) = sign(100) else { panic!("100 skills fit") };
    assert!(got > CARD_LIMIT);
    assert!(sign(skills_that_fit).unwrap().len() <= CARD_LIMIT);
    assert!(matches!(sign(skills_that_fit + 1), Err(CardError::TooLarge { .. })));
    swarm.verify(sign(skills_that_fit).unwrap()).unwrap();
}

#[test]
fn a_name_or_tag_that_is_too_long_is_an_error_of_the_caller() {
    let swarm = Swarm::new();
    let identity = Identity::from_seed([2; 32]);
    let chain = swarm.chain(&identity, "coder", Rights::default());
    let long = "x".repeat(256);
    for skills in [[skill(&long, &[])], [skill("review", &[&long])], [skill("review", &["t"; 256])]] {
        let refused = swarm.draft(&identity, &chain, &skills).sign();
        assert!(matches!(refused, Err(CardError::Malformed(proto::Error::TooLarge { limit: 255, .. }))));
    }
}

#[test]
fn a_card_beyond_its_limit_is_not_even_read() {
    let refused = Card::parse(vec![1; CARD_LIMIT + 1].into()).unwrap_err();
    assert!(matches!(refused, CardError::Malformed(proto::Error::TooLarge { limit: CARD_LIMIT, .. })));
}

#[test]
fn a_card_of_a_later_version_is_refused_as_such() {
    let mut bytes = Swarm::new().card_bytes(2, "coder").to_vec();
    bytes[0] = 2;
    let refused = Card::parse(bytes.into()).unwrap_err();
    assert!(matches!(refused, CardError::Malformed(proto::Error::Version { got: 2, .. })));
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = Swarm::new().card_bytes(2, "coder").to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = Card::parse(bytes.into());
    }
}

/// A founder and a prekey that all cards share, because a test seldom needs two.
pub(in crate::agent) struct Swarm {
    pub founder: FounderKey,
    pub prekey: PublicKey,
}

impl Swarm {
    pub fn new() -> Self {
        Self { founder: FounderKey::from_seed([1; 32]), prekey: KeyPair::from_seed(&[7; 32]).public().clone() }
    }

    /// A verified card of the identity with this seed, without skills.
    pub fn card(&self, seed: u8, name: &str) -> VerifiedCard {
        self.verify(self.card_bytes(seed, name)).unwrap()
    }

    fn card_bytes(&self, seed: u8, name: &str) -> Bytes {
        let identity = Identity::from_seed([seed; 32]);
        let chain = self.chain(&identity, name, Rights::default());
        self.draft(&identity, &chain, &[]).sign().unwrap()
    }

    fn chain(&self, identity: &Identity, name: &str, rights: Rights) -> CertificateChain {
        let request = CertificateRequest {
            identity: identity.id(),
            name: name.into(),
            rights,
            long_term_hash: [0; 32],
            issued: NOW,
            expiry: NOW + 30 * DAY,
        };
        CertificateChain::issue_by_founder(&self.founder, &request).unwrap()
    }

    fn link_key(&self, identity: &Identity) -> LinkKey {
        identity.link_key(&self.founder.routing().public()).public()
    }

    fn draft<'a>(&'a self, identity: &'a Identity, chain: &'a CertificateChain, skills: &'a [SkillEntry]) -> CardDraft<'a> {
        CardDraft {
            founder: self.founder.id(),
            identity,
            run: RunId::from_bytes([0x0a; 16]),
            stamp: NOW,
            link_key: self.link_key(identity),
            chain,
            prekey: &self.prekey,
            skills,
            is_ephemeral: true,
        }
    }

    fn verify(&self, bytes: Bytes) -> Result<VerifiedCard, CardError> {
        Card::parse(bytes)?.verify(&self.founder.id(), NOW)
    }
}

pub(in crate::agent) fn skill(name: &str, tags: &[&str]) -> SkillEntry {
    SkillEntry {
        name: name.into(),
        tags: tags.iter().map(|&tag| tag.into()).collect(),
        concurrency: 3,
        definition_hash: [0xdd; 32],
    }
}

fn resign(bytes: &mut [u8], identity: &Identity) {
    let signed = bytes.len() - SIGNATURE_LENGTH;
    let signature = identity.sign(PURPOSE, &bytes[..signed]);
    bytes[signed..].copy_from_slice(&signature);
}
