//! HPKE (RFC 9180) in the one suite of the protocol: KEM X-Wing, KDF HKDF-SHA256, AEAD ChaCha20Poly1305; one message per context.
//!
//! Setting up and sealing are two steps, because the signature inside an envelope covers `enc`.

use hpke::{
    Deserializable, OpModeR, OpModeS, PskBundle, Serializable,
    aead::{AeadCtxR, AeadCtxS, ChaCha20Poly1305},
    kdf::HkdfSha256,
    kem::XWing,
    setup_receiver, setup_sender_with_rng,
};
use zeroize::Zeroizing;

use super::{Error, KeyPair, PublicKey, Random, kdf::Secret, padding, xwing::ENC_LEN};

/// A pre-shared key and its name, for the PSK mode.
#[derive(Clone, Copy)]
pub(super) struct Psk<'a> {
    pub(super) key: &'a [u8; 32],
    pub(super) id: &'a [u8],
}

impl<'a> Psk<'a> {
    fn bundle(self) -> Result<PskBundle<'a>, Error> {
        PskBundle::new(self.key, self.id).map_err(|_| Error::Seal)
    }
}

type SenderContext = AeadCtxS<ChaCha20Poly1305, HkdfSha256, XWing>;
type ReceiverContext = AeadCtxR<ChaCha20Poly1305, HkdfSha256, XWing>;

/// The sending side of one message.
pub(super) struct Sender {
    enc: [u8; ENC_LEN],
    context: SenderContext,
}

impl Sender {
    pub(super) fn setup(to: &PublicKey, psk: Option<Psk<'_>>, info: &[u8], random: &mut Random) -> Result<Self, Error> {
        let mode = match psk {
            None => OpModeS::Base,
            Some(psk) => OpModeS::Psk(psk.bundle()?),
        };
        let (encapped, context): (_, SenderContext) =
            setup_sender_with_rng(&mode, &to.decode()?, info, random).map_err(|_| Error::Seal)?;
        let mut enc = [0; ENC_LEN];
        encapped.write_exact(&mut enc);
        Ok(Self { enc, context })
    }

    pub(super) fn enc(&self) -> &[u8; ENC_LEN] {
        &self.enc
    }

    pub(super) fn export(&self, label: &str) -> Secret {
        let mut secret = Zeroizing::new([0; 32]);
        self.context.export(label.as_bytes(), &mut *secret).expect("32 bytes are within what HKDF-SHA256 can give");
        secret
    }

    /// Pads and seals `body`; returns `enc` and the ciphertext behind it.
    pub(super) fn seal(mut self, aad: &[u8], body: &[u8]) -> Result<Vec<u8>, Error> {
        let padded = Zeroizing::new(padding::pad(body)?);
        let ciphertext = self.context.seal(&padded, aad).map_err(|_| Error::Seal)?;
        Ok([&self.enc[..], &ciphertext].concat())
    }
}

/// The receiving side of one message.
pub(super) struct Receiver<'a> {
    enc: &'a [u8; ENC_LEN],
    ciphertext: &'a [u8],
    context: ReceiverContext,
}

impl<'a> Receiver<'a> {
    /// Takes apart what [`Sender::seal`] gave.
    pub(super) fn setup(key: &KeyPair, psk: Option<Psk<'_>>, info: &[u8], sealed: &'a [u8]) -> Result<Self, Error> {
        let (enc, ciphertext) = sealed.split_first_chunk().ok_or(Error::Open)?;
        let mode = match psk {
            None => OpModeR::Base,
            Some(psk) => OpModeR::Psk(psk.bundle()?),
        };
        let encapped = Deserializable::from_bytes(enc).map_err(|_| Error::Open)?;
        let context = setup_receiver(&mode, key.private(), &encapped, info).map_err(|_| Error::Open)?;
        Ok(Self { enc, ciphertext, context })
    }

    pub(super) fn enc(&self) -> &'a [u8; ENC_LEN] {
        self.enc
    }

    pub(super) fn export(&self, label: &str) -> Secret {
        let mut secret = Zeroizing::new([0; 32]);
        self.context.export(label.as_bytes(), &mut *secret).expect("32 bytes are within what HKDF-SHA256 can give");
        secret
    }

    /// Opens the message and returns its padded body.
    pub(super) fn open(&mut self, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let padded = self.context.open(self.ciphertext, aad).map_err(|_| Error::Open)?;
        Ok(Zeroizing::new(padded))
    }
}
