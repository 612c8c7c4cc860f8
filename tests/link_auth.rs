//! The proof of a link key and its chain (PROTOCOL.md sections 3.1 and 3.2): what is accepted, and every way to be refused.
//!
//! The pinned keys, label, certificates and signatures were computed by another Ed25519 implementation from that page.

#[path = "common/hex.rs"]
mod hex;

use a2alinker::proto::{
    AuthError, Binding, BindingKind, Challenge, ClientFrame, Error, Features, Hello, HelloBody, Label, LinkCertificate,
    LinkChain, LinkKey, LinkKeyPair, LinkRights, RejectCode, Role, RoutingKey, RoutingKeyPair, ServerFrame, VerifiedHello,
    limits, sign_hello, slot_label, verify_hello,
};
use bytes::Bytes;
use hex::hex;

const NOW: u64 = 1_700_000_000_000;
const EXPIRY: u64 = NOW + 86_400_000;
const CONNECTION: Binding = Binding::Exporter([0x55; 32]);

// Pinned bytes.

const CHALLENGE: &str = "01 01 01 0000000000000000 000001900000abcd 01
    5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 0000";
const V: &str = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394";
const MEMBER: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
const ADMIN: &str = "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1";
const MEMBER_CERTIFICATE_SIGNATURE: &str = "2f974fbb1e97eab1fc96cc9fe0c87f559ef629254e1823a09401d15a557fe6e2
    29b3e7759e832e65c52a6f6f81a55f83a3482ac55996508807ef68051097dd05";
const ADMIN_CERTIFICATE_SIGNATURE: &str = "6d152a8bdb5a56aeccdb644be9331b7200f61a7834054caa49100148ffc3b1b7
    91e2342722c0ae5553d020a6972e34720b13b0afb2f2fb621ade0b656a44a50f";

#[test]
fn keys_and_label_have_their_pinned_bytes() {
    assert_eq!(founder().public().as_bytes()[..], hex(V));
    assert_eq!(member().public().as_bytes()[..], hex(MEMBER));
    assert_eq!(member().label().as_bytes()[..], hex("4121b9b479a2fca786b078681972411f"));
    assert_eq!(slot_label(7).as_bytes()[..], hex("3f10cd74db0a6243afc7bb13a6b0763b"));
    assert_eq!(slot_label(1_234_567).as_bytes()[..], hex("9ac92d7d43dc4c1069b0c6d7d705ed46"));
}

#[test]
fn certificates_have_their_pinned_bytes() {
    let [of_member, of_admin] = pinned_certificates();
    assert_eq!(
        of_member.to_bytes()[..],
        hex(&format!("01 {V} {MEMBER} {ADMIN} 0000019000000000 00 {MEMBER_CERTIFICATE_SIGNATURE}"))
    );
    assert_eq!(of_admin.to_bytes()[..], hex(&format!("01 {V} {ADMIN} {V} 0000019000000001 03 {ADMIN_CERTIFICATE_SIGNATURE}")));
}

#[test]
fn a_stranger_s_hello_has_its_pinned_bytes() {
    let mailbox = Label::from_bytes([0x77; 16]);
    let hello = sign_hello(&hex(CHALLENGE), &CONNECTION, &member(), body(&member(), Role::Stranger { mailbox }));
    let pinned = hex(&format!(
        "02 01 0000000000000000 01 02 {V} {MEMBER} 0000 77777777777777777777777777777777 0000
         a01ad7af52f6a2e21b96354d83a8d0b604faa95d4696a757ff9f85517b891e40
         086101886bc7d816f547f75ce72cb0ec25d88607234db38d65eecd1835cc700d"
    ));
    assert_eq!(hello.bytes()[..], pinned);
    assert_eq!(ClientFrame::decode(pinned.into()), Ok(ClientFrame::Hello(hello)));
}

#[test]
fn a_guest_s_hello_has_its_pinned_bytes_and_no_v() {
    let hello = sign_hello(&hex(CHALLENGE), &CONNECTION, &member(), guest());
    let zero = "00".repeat(32);
    let pinned = hex(&format!(
        "02 01 0000000000000000 01 03 {zero} {MEMBER} 0000 0012d687 0000
         3a80f9b8679075e5e4632e74acb1feecf3968f9e2177844ff20e8383d7a20d35
         6e3a09f7020953d748c945ecd9077c00add514b813fed1eb4e65c2fa8f0fb10d"
    ));
    assert_eq!(hello.bytes()[..], pinned);
    assert_eq!(ClientFrame::decode(pinned.into()), Ok(ClientFrame::Hello(hello)));
}

#[test]
fn a_member_s_hello_has_its_pinned_bytes() {
    let chain = LinkChain::new(pinned_certificates().to_vec()).expect("two certificates");
    let body = HelloBody {
        features: Features(3),
        resume_token: Bytes::from_static(&[0xab, 0xcd, 0xef]),
        received: 0x0102,
        ..body(&member(), Role::Member(chain.clone()))
    };
    let hello = sign_hello(&hex(CHALLENGE), &CONNECTION, &member(), body);
    let pinned = [
        hex(&format!("02 01 0000000000000003 01 01 {V} {MEMBER} 0003 abcdef 02")),
        chain.encode(),
        hex("000c 0001 0008 0000000000000102 ae9edcd63856d61ce4c2866cbd73cef1ce13c9a54ca9eb2fe613479b310b7c6e
             60393619582c124d3898027d5902a98a576a94e699444b715dd3f1608d9f9601"),
    ]
    .concat();
    assert_eq!(hello.bytes()[..], pinned);
    assert_eq!(ClientFrame::decode(pinned.into()), Ok(ClientFrame::Hello(hello)));
}

// What is accepted.

#[test]
fn a_member_admitted_by_the_founder_is_accepted_with_its_rights() {
    let rights = LinkRights { may_issue: true, may_revoke: false };
    let hello = greet(Role::Member(by_founder(&member(), rights)));
    let expected = VerifiedHello::Member { routing: founder().public(), label: member().label(), rights, expiry: EXPIRY };
    assert_eq!(check(&hello), Ok(expected));
}

#[test]
fn a_member_admitted_by_an_admin_is_accepted_without_rights() {
    let hello = greet(Role::Member(by_admin(&member())));
    let rights = LinkRights::default();
    let expected = VerifiedHello::Member { routing: founder().public(), label: member().label(), rights, expiry: EXPIRY };
    assert_eq!(check(&hello), Ok(expected));
}

#[test]
fn a_stranger_is_accepted_as_the_holder_of_its_key() {
    let mailbox = Label::from_bytes([7; 16]);
    let expected = VerifiedHello::Stranger { routing: founder().public(), label: member().label(), mailbox };
    assert_eq!(check(&greet(Role::Stranger { mailbox })), Ok(expected));
}

#[test]
fn a_guest_is_accepted_as_the_holder_of_its_key() {
    let hello = sign_hello(&challenge(1), &CONNECTION, &member(), guest());
    assert_eq!(check(&hello), Ok(VerifiedHello::Guest { label: member().label(), slot: 1_234_567 }));
}

#[test]
fn a_guest_that_names_a_swarm_is_malformed() {
    let hello = greet(Role::Guest { slot: 7 });
    assert_eq!(Hello::decode(hello.bytes().clone()), Err(Error::Malformed { what: "routing key" }));
}

#[test]
fn without_tls_a_proof_is_bound_to_the_challenge_alone() {
    let role = Role::Stranger { mailbox: Label::ZERO };
    let hello = sign_hello(&challenge(1), &Binding::None, &member(), body(&member(), role));
    assert!(verify_hello(&challenge(1), &Binding::None, &hello, NOW).is_ok());
    assert_eq!(verify_hello(&challenge(2), &Binding::None, &hello, NOW), Err(AuthError::Signature));
}

// Tampering.

#[test]
fn no_byte_of_a_hello_can_be_changed() {
    let bodies =
        [body(&member(), Role::Member(by_admin(&member()))), body(&member(), Role::Stranger { mailbox: Label::ZERO }), guest()];
    for body in bodies {
        let frame = sign_hello(&challenge(1), &CONNECTION, &member(), body).bytes().to_vec();
        for place in 0..frame.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut tampered = frame.clone();
                tampered[place] ^= flip;
                let accepted = Hello::decode(tampered.into()).is_ok_and(|hello| check(&hello).is_ok());
                assert!(!accepted, "byte {place} changed by {flip:#x} was accepted");
            }
        }
    }
}

#[test]
fn no_byte_of_a_chain_can_be_changed() {
    let bytes = by_admin(&member()).encode();
    for place in 0..bytes.len() {
        let mut tampered = bytes.clone();
        tampered[place] ^= 0x01;
        let accepted = LinkChain::decode(&tampered).is_ok_and(|chain| chain.verify(NOW).is_ok());
        assert!(!accepted, "byte {place} changed was accepted");
    }
}

#[test]
fn a_proof_for_another_challenge_is_refused() {
    let hello = greet(Role::Member(by_admin(&member())));
    assert_eq!(verify_hello(&challenge(9), &CONNECTION, &hello, NOW), Err(AuthError::Signature));
}

#[test]
fn a_proof_for_another_connection_is_refused() {
    let hello = greet(Role::Member(by_admin(&member())));
    assert_eq!(verify_hello(&challenge(1), &Binding::Exporter([0x56; 32]), &hello, NOW), Err(AuthError::Signature));
}

#[test]
fn a_proof_bound_to_nothing_is_refused_where_the_exporter_is_asked_for() {
    let role = Role::Member(by_admin(&member()));
    let hello = sign_hello(&challenge(1), &Binding::None, &member(), body(&member(), role));
    assert_eq!(check(&hello), Err(AuthError::Binding));
}

#[test]
fn an_exporter_of_zeros_is_not_the_same_as_none() {
    let role = Role::Stranger { mailbox: Label::ZERO };
    let hello = sign_hello(&challenge(1), &Binding::Exporter([0; 32]), &member(), body(&member(), role));
    assert_eq!(hello.body().binding, BindingKind::Exporter);
    assert_eq!(verify_hello(&challenge(1), &Binding::None, &hello, NOW), Err(AuthError::Binding));
}

#[test]
fn a_link_key_that_one_does_not_hold_is_refused() {
    let thief = LinkKeyPair::from_seed(&[9; 32]);
    let role = Role::Member(by_admin(&member()));
    let hello = sign_hello(&challenge(1), &CONNECTION, &thief, body(&member(), role));
    assert_eq!(check(&hello), Err(AuthError::Signature));
}

#[test]
fn a_chain_of_somebody_else_is_refused() {
    let thief = LinkKeyPair::from_seed(&[9; 32]);
    let hello = sign_hello(&challenge(1), &CONNECTION, &thief, body(&thief, Role::Member(by_admin(&member()))));
    assert_eq!(check(&hello), Err(AuthError::Chain { what: "it is somebody else's" }));
}

#[test]
fn a_chain_of_another_swarm_is_refused() {
    let other = RoutingKeyPair::from_seed(&[8; 32]);
    let certificate = LinkCertificate::issue_by_routing(&other, member().public(), EXPIRY, LinkRights::default());
    let chain = LinkChain::new(vec![certificate]).expect("one certificate");
    assert_eq!(check(&greet(Role::Member(chain))), Err(AuthError::Chain { what: "it is somebody else's" }));
}

// Chains.

#[test]
fn a_certificate_that_v_did_not_sign_needs_its_issuer_s() {
    let [of_member, _] = certificates(&member());
    let chain = LinkChain::new(vec![of_member]).expect("one certificate");
    assert_eq!(chain.verify(NOW), Err(AuthError::Chain { what: "it doesn't end at V" }));
}

#[test]
fn an_issuer_without_the_right_to_issue_is_refused() {
    let of_admin = LinkCertificate::issue_by_routing(
        &founder(),
        admin().public(),
        EXPIRY,
        LinkRights { may_issue: false, may_revoke: true },
    );
    let of_member = LinkCertificate::issue_by_link(&admin(), &of_admin, member().public(), EXPIRY);
    let chain = LinkChain::new(vec![of_member, of_admin]).expect("two certificates");
    assert_eq!(chain.verify(NOW), Err(AuthError::Chain { what: "the issuer may not issue" }));
}

#[test]
fn an_issuer_whom_v_did_not_sign_is_refused() {
    let [of_member, _] = certificates(&member());
    let below = LinkKeyPair::from_seed(&[9; 32]);
    let of_below = LinkCertificate::issue_by_link(&member(), &of_member, below.public(), EXPIRY);
    let chain = LinkChain::new(vec![of_below, of_member]).expect("two certificates");
    assert!(matches!(chain.verify(NOW), Err(AuthError::Chain { .. })));
}

#[test]
fn a_chain_of_three_is_refused() {
    let [of_member, of_admin] = certificates(&member());
    let three = vec![of_member, of_admin, of_admin];
    assert_eq!(LinkChain::new(three.clone()), Err(Error::Malformed { what: "link certificate chain" }));
    let bytes: Vec<u8> = three.iter().flat_map(LinkCertificate::to_bytes).collect();
    assert_eq!(LinkChain::decode(&bytes), Err(Error::Malformed { what: "link certificate chain" }));
    assert_eq!(LinkChain::decode(&[]), Err(Error::Malformed { what: "link certificate chain" }));
}

#[test]
fn a_hello_that_counts_three_certificates_is_malformed() {
    let mut frame = greet(Role::Member(by_admin(&member()))).bytes().to_vec();
    frame[78] = 3;
    assert_eq!(Hello::decode(frame.into()), Err(Error::Malformed { what: "link certificate chain" }));
}

#[test]
fn a_second_certificate_that_is_not_the_issuer_s_is_refused() {
    let [of_member, _] = certificates(&member());
    let rights = LinkRights { may_issue: true, may_revoke: false };
    let of_other = LinkCertificate::issue_by_routing(&founder(), LinkKeyPair::from_seed(&[9; 32]).public(), EXPIRY, rights);
    let chain = LinkChain::new(vec![of_member, of_other]).expect("two certificates");
    assert_eq!(chain.verify(NOW), Err(AuthError::Chain { what: "the second certificate isn't the issuer's" }));
}

#[test]
fn certificates_of_two_swarms_do_not_make_a_chain() {
    let [of_member, _] = certificates(&member());
    let rights = LinkRights { may_issue: true, may_revoke: false };
    let of_admin = LinkCertificate::issue_by_routing(&RoutingKeyPair::from_seed(&[8; 32]), admin().public(), EXPIRY, rights);
    let chain = LinkChain::new(vec![of_member, of_admin]).expect("two certificates");
    assert_eq!(chain.verify(NOW), Err(AuthError::Chain { what: "its certificates belong to different swarms" }));
}

#[test]
fn an_admin_cannot_hand_rights_on() {
    let [of_member, of_admin] = certificates(&member());
    let mut claimed = of_member.to_bytes();
    claimed[105] = 0x03;
    let signature = sign_as_issuer(&claimed[..106]);
    claimed[106..].copy_from_slice(&signature);
    let claimed = LinkCertificate::from_bytes(claimed).expect("well-formed");

    let link = LinkChain::new(vec![claimed, of_admin]).expect("two certificates").verify(NOW).expect("the signatures are good");

    assert_eq!(link.rights, LinkRights::default());
}

#[test]
fn a_certificate_of_another_version_is_refused() {
    let [mut bytes, _] = certificates(&member()).map(|certificate| certificate.to_bytes());
    bytes[0] = 2;
    assert_eq!(LinkCertificate::from_bytes(bytes), Err(Error::Version { what: "link certificate", expected: 1, got: 2 }));
}

// Expiry.

#[test]
fn a_chain_is_good_for_five_minutes_past_its_earliest_expiry() {
    let [of_member, of_admin] = certificates(&member());
    let shorter = LinkCertificate::issue_by_link(&admin(), &of_admin, member().public(), NOW);
    let tolerance = limits::CLOCK_TOLERANCE.as_millis() as u64;
    for chain in [vec![shorter, of_admin], vec![of_member, admin_certificate(NOW)]] {
        let chain = LinkChain::new(chain).expect("two certificates");
        assert_eq!(chain.verify(NOW + tolerance).map(|link| link.expiry), Ok(NOW));
        let late = NOW + tolerance + 1;
        assert_eq!(chain.verify(late), Err(AuthError::Expired { expiry: NOW, now: late }));
    }
}

#[test]
fn a_forged_chain_is_called_forged_even_when_it_is_old() {
    let mut bytes = by_admin(&member()).encode();
    bytes[150] ^= 1;
    let chain = LinkChain::decode(&bytes).expect("well-formed");
    assert_eq!(chain.verify(u64::MAX), Err(AuthError::Chain { what: "a signature is wrong" }));
}

// What the client is told.

#[test]
fn each_refusal_has_its_code() {
    let codes = [
        (AuthError::Version { expected: 1, got: 2 }, RejectCode::Version),
        (AuthError::Binding, RejectCode::Binding),
        (AuthError::Signature, RejectCode::Authentication),
        (AuthError::Chain { what: "" }, RejectCode::CertificateChain),
        (AuthError::Expired { expiry: 0, now: 0 }, RejectCode::CertificateExpired),
    ];
    for (error, code) in codes {
        assert_eq!(error.reject_code(), code);
    }
}

#[test]
fn a_hello_of_another_version_says_so() {
    let mut frame = greet(Role::Stranger { mailbox: Label::ZERO }).bytes().to_vec();
    frame[1] = 2;
    assert_eq!(Hello::decode(frame.into()), Err(Error::Version { what: "Hello", expected: 1, got: 2 }));
}

#[test]
fn a_binding_is_not_shown() {
    assert_eq!(format!("{CONNECTION:?}"), "Exporter");
}

// Helpers.

fn founder() -> RoutingKeyPair {
    RoutingKeyPair::from_seed(&[2; 32])
}

fn admin() -> LinkKeyPair {
    LinkKeyPair::from_seed(&[3; 32])
}

fn member() -> LinkKeyPair {
    LinkKeyPair::from_seed(&[1; 32])
}

fn admin_certificate(expiry: u64) -> LinkCertificate {
    LinkCertificate::issue_by_routing(&founder(), admin().public(), expiry, LinkRights { may_issue: true, may_revoke: true })
}

fn certificates(holder: &LinkKeyPair) -> [LinkCertificate; 2] {
    let of_admin = admin_certificate(EXPIRY + 1);
    [LinkCertificate::issue_by_link(&admin(), &of_admin, holder.public(), EXPIRY), of_admin]
}

fn pinned_certificates() -> [LinkCertificate; 2] {
    let of_admin = admin_certificate(0x0000_0190_0000_0001);
    [LinkCertificate::issue_by_link(&admin(), &of_admin, member().public(), 0x0000_0190_0000_0000), of_admin]
}

fn by_founder(holder: &LinkKeyPair, rights: LinkRights) -> LinkChain {
    let certificate = LinkCertificate::issue_by_routing(&founder(), holder.public(), EXPIRY, rights);
    LinkChain::new(vec![certificate]).expect("one certificate")
}

fn by_admin(holder: &LinkKeyPair) -> LinkChain {
    LinkChain::new(certificates(holder).to_vec()).expect("two certificates")
}

fn body(key: &LinkKeyPair, role: Role) -> HelloBody {
    HelloBody {
        features: Features::NONE,
        binding: BindingKind::None,
        routing: RoutingKey::from_bytes(*founder().public().as_bytes()),
        link_key: LinkKey::from_bytes(*key.public().as_bytes()),
        resume_token: Bytes::new(),
        received: 0,
        role,
    }
}

fn guest() -> HelloBody {
    HelloBody { routing: RoutingKey::ZERO, ..body(&member(), Role::Guest { slot: 1_234_567 }) }
}

fn challenge(nonce: u8) -> Bytes {
    ServerFrame::Challenge(Challenge {
        version_min: 1,
        version_max: 1,
        features: Features::NONE,
        wall: NOW,
        binding: BindingKind::Exporter,
        nonce: [nonce; 32],
    })
    .encode()
}

fn greet(role: Role) -> Hello {
    sign_hello(&challenge(1), &CONNECTION, &member(), body(&member(), role))
}

fn check(hello: &Hello) -> Result<VerifiedHello, AuthError> {
    verify_hello(&challenge(1), &CONNECTION, hello, NOW)
}

fn sign_as_issuer(bytes: &[u8]) -> [u8; 64] {
    a2alinker::proto::signature::SigningKey::from_seed(&[3; 32]).sign("link certificate", &[bytes])
}
