//! PROTOCOL.md sections 5, 6, 8 and 9 once more, from the page and the primitives alone: nothing of the crate is used.
//!
//! It only reads, and panics at what it doesn't expect. What it can open is on the wire as the page says.

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey},
    digest::{SHA256, digest},
    hkdf, hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use hpke::{Deserializable, OpModeR, PskBundle, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::XWing, setup_receiver};

pub const ENC: usize = 1_120;
pub const PUBLIC_KEY: usize = 1_216;
/// Kind and source, before the outer header.
const PREFIX: usize = 17;
const HEADER: usize = 73;

pub fn h(parts: &[&[u8]]) -> [u8; 32] {
    digest(&SHA256, &parts.concat()).as_ref().try_into().unwrap()
}

pub fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    fill(&hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(ikm), info, len)
}

pub fn expand(prk: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    fill(&hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, prk), info, len)
}

fn fill(prk: &hkdf::Prk, info: &[u8], len: usize) -> Vec<u8> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut bytes = vec![0; len];
    prk.expand(&[info], Length(len)).unwrap().fill(&mut bytes).unwrap();
    bytes
}

pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat()).as_ref().to_vec()
}

pub fn public_key(seed: &[u8]) -> Vec<u8> {
    Ed25519KeyPair::from_seed_unchecked(seed).unwrap().public_key().as_ref().to_vec()
}

pub fn verify(key: &[u8], purpose: &str, message: &[u8], signature: &[u8]) {
    let signed = [b"a2alinker/1 ", purpose.as_bytes(), &[0], message].concat();
    UnparsedPublicKey::new(&ED25519, key).verify(&signed, signature).unwrap_or_else(|_| panic!("signature: {purpose}"));
}

/// Outer header and sealed part of a Data frame.
pub fn parts(frame: &[u8]) -> (&[u8], &[u8]) {
    assert_eq!(frame[0], 0x10);
    (&frame[PREFIX..HEADER], &frame[HEADER..])
}

pub fn unpad(plaintext: &[u8]) -> Vec<u8> {
    let len = u32::from_be_bytes(plaintext[..4].try_into().unwrap()) as usize;
    let small = [256, 1_024, 4_096].into_iter().find(|&size| len + 4 <= size);
    let padme = || {
        let e = (len + 4).ilog2();
        let s = e.ilog2() + 1;
        (len + 4).next_multiple_of(1 << (e - s))
    };
    assert_eq!(plaintext.len(), small.unwrap_or_else(padme), "padded length");
    assert!(plaintext[4 + len..].iter().all(|&byte| byte == 0), "padding");
    plaintext[4..4 + len].to_vec()
}

/// What HPKE gives the receiver of a frame: the body without its padding, and an exported secret.
pub fn open_hpke(
    frame: &[u8],
    private: &[u8],
    psk: Option<(&[u8], &[u8])>,
    info: &str,
    exporter_context: &str,
) -> (Vec<u8>, [u8; 32]) {
    let (header, sealed) = parts(frame);
    let mode = psk.map_or(OpModeR::Base, |(psk, id)| OpModeR::Psk(PskBundle::new(psk, id).unwrap()));
    let private = Deserializable::from_bytes(private).unwrap();
    let enc = Deserializable::from_bytes(&sealed[..ENC]).unwrap();
    let mut context = setup_receiver::<ChaCha20Poly1305, HkdfSha256, XWing>(&mode, &private, &enc, info.as_bytes()).unwrap();
    let mut exported = [0; 32];
    context.export(exporter_context.as_bytes(), &mut exported).unwrap();
    (unpad(&context.open(&sealed[ENC..], header).expect(info)), exported)
}

pub fn open_gcm_siv(key: &[u8], nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).unwrap());
    let mut buffer = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    unpad(key.open_in_place(nonce, Aad::from(aad), &mut buffer).expect("a sealed frame"))
}

/// Opens a session frame with the key of its lane.
pub fn open_session(frame: &[u8], key: &[u8]) -> Vec<u8> {
    let (header, sealed) = parts(frame);
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&header[40..48]);
    open_gcm_siv(key, nonce, header, sealed)
}

/// Reads fields one after the other.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    /// Takes a number of `len` bytes and so many bytes.
    pub fn counted(&mut self, len: usize) -> &'a [u8] {
        let count = self.take(len).iter().fold(0, |count, &byte| count << 8 | usize::from(byte));
        self.take(count)
    }

    /// Takes `extensions`, which version 1 leaves empty, and the signature at the end.
    pub fn end_with_signature(&mut self) -> &'a [u8] {
        assert_eq!(self.counted(2), b"", "extensions");
        let signature = self.take(64);
        assert!(self.0.is_empty(), "bytes after the signature");
        signature
    }
}

/// Checks the signatures of a certificate chain from its holder to `founder`; returns the holder's identity.
pub fn check_chain(chain: &[u8], founder: &[u8]) -> Vec<u8> {
    let mut fields = Fields(chain);
    let count = fields.take(1)[0];
    let certificates: Vec<_> = (0..count).map(|_| fields.counted(2)).collect();
    assert!(fields.0.is_empty() && (1..=2).contains(&count));
    for (at, certificate) in certificates.iter().enumerate() {
        let (signed, signature) = certificate.split_at(certificate.len() - 64);
        let issuer = &certificate[65..97];
        verify(issuer, "certificate", signed, signature);
        assert_eq!((certificate[0], &certificate[1..33]), (1, founder));
        assert_eq!(issuer, certificates.get(at + 1).map_or(founder, |next| &next[33..65]));
    }
    certificates[0][33..65].to_vec()
}
