use std::collections::BTreeSet;

use super::*;
use crate::crypto::certificate::validate_name;
use crate::proto::{self, codec::Reader};

const FIVE_MINUTES: u64 = 5 * 60 * 1_000;

#[test]
fn a_chain_proves_what_the_founder_certified() {
    let identity = Identity::from_seed([1; 32]);
    let rights = Rights { skills: some(&["review", "test"]), admit: true, terminals: true, originate: false };
    let chain = by_founder(&identity, rights.clone());
    let read = CertificateChain::decode(&chain.encode()).unwrap();
    assert_eq!(read, chain);
    let member = read.verify(&founder().id(), NOW).unwrap();
    assert_eq!((member.identity, member.name.as_str(), member.expiry), (identity.id(), "member", EXPIRY));
    assert_eq!((member.rights, member.long_term_hash, member.issuer), (rights, [0x33; 32], Issuer::Founder));
}

#[test]
fn a_chain_over_an_admin_proves_membership_until_the_earlier_expiry() {
    let (admin, chain) = admitted(Rights::default());
    let member = CertificateChain::decode(&chain.encode()).unwrap().verify(&founder().id(), NOW).unwrap();
    assert_eq!((member.issuer, member.expiry), (Issuer::Admin(admin.id()), EXPIRY));
    assert!(!member.rights.admit);
}

#[test]
fn a_certificate_with_any_byte_changed_is_refused() {
    let (_, chain) = admitted(Rights { skills: some(&["review"]), ..Rights::default() });
    let encoded = chain.encode();
    for at in 0..encoded.len() {
        let mut changed = encoded.clone();
        changed[at] ^= 0x04;
        let refused = CertificateChain::decode(&changed).map(|chain| chain.verify(&founder().id(), NOW).is_err());
        assert!(refused.unwrap_or(true), "byte {at}");
    }
    chain.verify(&founder().id(), NOW).unwrap();
}

#[test]
fn a_certificate_that_is_cut_or_followed_by_more_is_malformed() {
    let (_, chain) = admitted(Rights::default());
    let mut encoded = chain.encode();
    for len in 0..encoded.len() {
        CertificateChain::decode(&encoded[..len]).unwrap_err();
    }
    encoded.push(0);
    assert!(matches!(CertificateChain::decode(&encoded), Err(proto::Error::LeftOver { .. })));
}

#[test]
fn another_founder_makes_another_swarm() {
    let chain = by_founder(&Identity::from_seed([1; 32]), Rights::default());
    let other = FounderKey::from_seed([0xf1; 32]).id();
    assert_eq!(chain.verify(&other, NOW), Err(CertificateError::OtherSwarm));
}

#[test]
fn expiry_is_tolerant_by_five_minutes_and_the_earliest_counts() {
    let identity = Identity::from_seed([1; 32]);
    let chain = by_founder(&identity, Rights::default());
    chain.verify(&founder().id(), EXPIRY + FIVE_MINUTES).unwrap();
    let late = EXPIRY + FIVE_MINUTES + 1;
    assert_eq!(chain.verify(&founder().id(), late), Err(CertificateError::Expired { expiry: EXPIRY, now: late }));

    let (admin, admin_chain) = admin(Rights::default());
    let request = CertificateRequest { expiry: u64::MAX, ..certificate_request(&identity, "member", Rights::default()) };
    let chain = CertificateChain::issue_by_admin(&admin, &admin_chain, &request).unwrap();
    assert!(matches!(chain.verify(&founder().id(), late), Err(CertificateError::Expired { expiry: EXPIRY, .. })));
}

#[test]
fn an_admin_cannot_give_what_it_lacks_nor_make_admins() {
    let narrow = Rights { skills: some(&["review"]), terminals: false, originate: false, admit: true };
    let asked = [
        ("admit", Rights { admit: true, ..narrow.clone() }),
        ("terminals", Rights { admit: false, terminals: true, ..narrow.clone() }),
        ("originate", Rights { admit: false, originate: true, ..narrow.clone() }),
        ("skills", Rights { admit: false, skills: some(&["review", "shell"]), ..narrow.clone() }),
        ("skills", Rights { admit: false, skills: None, ..narrow.clone() }),
    ];
    let (admin, admin_chain) = admin(narrow.clone());
    let identity = Identity::from_seed([1; 32]);
    for (right, rights) in asked {
        let request = certificate_request(&identity, "member", rights);
        let refused = CertificateChain::issue_by_admin(&admin, &admin_chain, &request);
        assert_eq!(refused, Err(CertificateError::Rights { right }));

        // An admin that signs it all the same convinces nobody.
        let signed_by_force = forced(&admin, &admin_chain, &request);
        assert_eq!(signed_by_force.verify(&founder().id(), NOW), Err(CertificateError::Rights { right }));
    }
    let request = certificate_request(&identity, "member", Rights { admit: false, ..narrow });
    forced(&admin, &admin_chain, &request).verify(&founder().id(), NOW).unwrap();
}

#[test]
fn a_member_without_the_right_cannot_admit() {
    let member = Identity::from_seed([1; 32]);
    let member_chain = by_founder(&member, Rights::default());
    let request = certificate_request(&Identity::from_seed([2; 32]), "friend", Rights::default());
    let refused = CertificateChain::issue_by_admin(&member, &member_chain, &request);
    assert!(matches!(refused, Err(CertificateError::Chain { .. })));
    let by_force = forced(&member, &member_chain, &request);
    assert!(matches!(by_force.verify(&founder().id(), NOW), Err(CertificateError::Chain { .. })));
}

#[test]
fn a_chain_of_three_is_refused() {
    let (_, chain) = admitted(Rights::default());
    let member = Identity::from_seed([2; 32]);
    let request = certificate_request(&Identity::from_seed([3; 32]), "third", Rights::default());
    assert!(CertificateChain::issue_by_admin(&member, &chain, &request).is_err());
    let by_force = forced(&member, &chain, &request);
    assert!(matches!(by_force.verify(&founder().id(), NOW), Err(CertificateError::Chain { .. })));

    let [leaf, admin] = certificates(&chain).try_into().unwrap();
    let three = chain_of(&[forced_leaf(&member, &chain, &request), leaf, admin]);
    assert_eq!(CertificateChain::decode(&three), Err(proto::Error::Malformed { what: "certificate chain" }));
    assert!(CertificateChain::decode(&[0]).is_err());
}

#[test]
fn certificates_that_do_not_belong_together_are_refused() {
    let (_, chain) = admitted(Rights::default());
    let (_, other_admin_chain) = {
        let other = Identity::from_seed([8; 32]);
        let rights = Rights { admit: true, ..Rights::default() };
        (other.id(), by_founder(&other, rights))
    };
    let [leaf, admin] = certificates(&chain).try_into().unwrap();
    let [other_admin] = certificates(&other_admin_chain).try_into().unwrap();
    let verify =
        |certificates: &[Vec<u8>]| CertificateChain::decode(&chain_of(certificates)).unwrap().verify(&founder().id(), NOW);
    verify(&[leaf.clone(), admin.clone()]).unwrap();
    assert!(matches!(verify(&[leaf.clone(), other_admin]), Err(CertificateError::Chain { .. })));
    assert!(matches!(verify(&[leaf]), Err(CertificateError::Chain { .. })), "the admin's certificate is missing");
    assert!(matches!(verify(&[admin.clone(), admin]), Err(CertificateError::Chain { .. })), "nobody issues their own");
}

#[test]
fn names_are_what_can_be_typed_anywhere() {
    for name in ["a", "coder", "gpu-7.lab_2", &"x".repeat(64)] {
        validate_name(name).unwrap();
    }
    for name in ["", "two words", "caf\u{e9}", "a/b", "a\n", &"x".repeat(65)] {
        assert_eq!(validate_name(name), Err(CertificateError::Name), "{name:?}");
        let request = certificate_request(&Identity::from_seed([1; 32]), name, Rights::default());
        assert_eq!(CertificateChain::issue_by_founder(&founder(), &request), Err(CertificateError::Name));
    }
}

#[test]
fn skills_that_have_no_encoding_are_refused_and_too_many_too() {
    let issue = |skills: BTreeSet<String>| {
        let rights = Rights { skills: Some(skills), ..Rights::default() };
        CertificateChain::issue_by_founder(&founder(), &certificate_request(&Identity::from_seed([1; 32]), "m", rights))
    };
    assert_eq!(issue([String::new()].into()), Err(CertificateError::Skills));
    assert_eq!(issue(["x".repeat(256)].into()), Err(CertificateError::Skills));
    assert_eq!(issue((0..256).map(|i| i.to_string()).collect()), Err(CertificateError::Skills));
    assert!(matches!(issue((100..250).map(|i| format!("skill-{i}")).collect()), Err(CertificateError::TooLarge { .. })));
    let none = issue(BTreeSet::new()).unwrap();
    assert!(!CertificateChain::decode(&none.encode()).unwrap().leaf().rights.may_offer("anything"));
}

#[test]
fn rights_compare_by_what_they_allow() {
    let any = Rights::default();
    let some = Rights { skills: some(&["review"]), ..Rights::default() };
    assert!(some.is_within(&any) && !any.is_within(&some) && any.is_within(&any));
    assert!(some.may_offer("review") && !some.may_offer("shell") && any.may_offer("shell"));
}

fn some(skills: &[&str]) -> Option<BTreeSet<String>> {
    Some(skills.iter().map(|&skill| skill.to_owned()).collect())
}

fn by_founder(identity: &Identity, rights: Rights) -> CertificateChain {
    CertificateChain::issue_by_founder(&founder(), &certificate_request(identity, "member", rights)).unwrap()
}

fn admin(rights: Rights) -> (Identity, CertificateChain) {
    let admin = Identity::from_seed([7; 32]);
    let chain = by_founder(&admin, Rights { admit: true, ..rights });
    (admin, chain)
}

/// A member that an admin admitted.
fn admitted(rights: Rights) -> (Identity, CertificateChain) {
    let (admin, admin_chain) = admin(Rights::default());
    let request = certificate_request(&Identity::from_seed([2; 32]), "member", rights);
    let chain = CertificateChain::issue_by_admin(&admin, &admin_chain, &request).unwrap();
    (admin, chain)
}

/// A chain signed by `issuer` whether it may or not.
fn forced(issuer: &Identity, issuer_chain: &CertificateChain, request: &CertificateRequest) -> CertificateChain {
    let leaf = forced_leaf(issuer, issuer_chain, request);
    CertificateChain::decode(&chain_of(&[leaf, issuer_chain.leaf().bytes().to_vec()])).unwrap()
}

fn forced_leaf(issuer: &Identity, issuer_chain: &CertificateChain, request: &CertificateRequest) -> Vec<u8> {
    Certificate::issue(issuer_chain.leaf().founder, issuer.key(), request).unwrap().bytes().to_vec()
}

fn certificates(chain: &CertificateChain) -> Vec<Vec<u8>> {
    let encoded = chain.encode();
    let mut reader = Reader::new(&encoded);
    (0..reader.u8().unwrap()).map(|_| reader.bytes16("certificate", 1_024).unwrap().to_vec()).collect()
}

fn chain_of(certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = proto::codec::Writer::new();
    writer.u8(certificates.len() as u8);
    for certificate in certificates {
        writer.bytes16(certificate);
    }
    writer.into_vec()
}
