//! What a client believes about the certificate of a switchboard.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_rustls::rustls;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::{VERSIONS, crypto_provider, pin_of};
use crate::net::Error;
use crate::net::address::{Address, Pin};

/// The certificate authorities that a client believes.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// None: the system's, read when a certificate has to be judged by them and not before, as reading them takes tens of
    /// milliseconds.
    given: Option<Arc<RootCertStore>>,
}

impl Trust {
    /// Trusts the authorities that the system trusts.
    pub fn system() -> Self {
        Self::default()
    }

    /// Trusts the authorities in a PEM file, and not the system's.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if the file can't be read or holds no certificate.
    pub fn from_pem_file(path: &Path) -> Result<Self, Error> {
        let refuse = |problem: String| Error::KeyFile { path: path.to_owned(), problem };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
            roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refuse("it holds no PEM certificate".to_owned()));
        }
        Ok(Self { given: Some(Arc::new(roots)) })
    }

    fn roots(&self) -> Arc<RootCertStore> {
        static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
        let load = || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        };
        self.given.clone().unwrap_or_else(|| SYSTEM.get_or_init(load).clone())
    }

    fn vouches_for(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), rustls::Error> {
        WebPkiServerVerifier::builder_with_provider(self.roots(), provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            .map(|_| ())
    }
}

/// What the authorities say of a certificate, whether or not anybody has to ask them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::net) struct Judgement {
    /// Why they don't vouch for it; none if they do.
    pub(in crate::net) refusal: Option<String>,
    /// When it ends, in Unix seconds, if it can be read.
    pub(in crate::net) expiry: Option<u64>,
}

/// Asks the authorities about a chain, the certificate of `address` first.
pub(in crate::net) fn judge(address: &Address, trust: &Trust, chain: &[CertificateDer<'_>]) -> Result<Judgement, Error> {
    let (name, provider) = (server_name(address)?, crypto_provider());
    let Some((end_entity, intermediates)) = chain.split_first() else {
        return Ok(Judgement { refusal: Some("it showed none".to_owned()), expiry: None });
    };
    let at = |now| trust.vouches_for(end_entity, intermediates, &name, &[], now, &provider);
    // Its own time is looked at before anything else, so one that is over tells when that was.
    let expiry = match at(UnixTime::since_unix_epoch(FAR_FUTURE)) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => Some(not_after.as_secs()),
        _ => None,
    };
    Ok(Judgement { refusal: at(UnixTime::now()).err().map(|error| error.to_string()), expiry })
}

/// The name that the certificate of `address` has to be for.
pub(in crate::net) fn server_name(address: &Address) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(address.host.clone())
        .map_err(|_| Error::Address { text: address.to_string(), problem: "the host is no name that a certificate can have" })
}

/// When every certificate is over that says when: the year 9999, which RFC 5280 has certificates say that don't, less a day.
const FAR_FUTURE: Duration = Duration::from_secs(253_402_214_400);

/// Which certificates are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// One that the pin or the roots vouch for; on loopback any.
    Vouched,
    /// Any. Only for pairing by code, which finds out by itself whether it was the right one.
    Any,
}

/// The certificate that a switchboard showed, and that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// The pin of its key.
    pub pin: Pin,
    /// Whether the pin in the address or the roots vouch for it. On loopback the roots aren't asked.
    pub vouched: bool,
}

/// Returns the configuration for one connection to `address`, and what will tell which certificate was shown.
///
/// Connections are rare and long, so none is resumed from another.
pub(in crate::net) fn client_config(
    address: &Address,
    trust: &Trust,
    acceptance: Acceptance,
) -> Result<(Arc<ClientConfig>, Arc<Verifier>), Error> {
    let provider = crypto_provider();
    let verifier = Arc::new(Verifier {
        pin: address.pin,
        on_loopback: address.is_loopback(),
        acceptance,
        trust: trust.clone(),
        algorithms: provider.signature_verification_algorithms,
        provider: provider.clone(),
        seen: OnceLock::new(),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)
        .map_err(|error| Error::Certificate { reason: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    // A proxy in front of the switchboard must not choose HTTP/2, in which this WebSocket handshake doesn't exist.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), verifier))
}

/// Sorts out why a TLS handshake failed.
pub(in crate::net) fn connect_error(address: &Address, error: io::Error) -> Error {
    let shown = address.without_pin();
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            match other.downcast_ref::<Untrusted>() {
                Some(Untrusted { seen, reason }) => {
                    Error::UntrustedSwitchboard { address: shown, seen: *seen, expected: address.pin, reason: reason.clone() }
                }
                None => Error::Tls { address: shown, reason: other.to_string() },
            }
        }
        Some(rustls::Error::InvalidMessage(_)) => Error::Tls {
            address: shown,
            reason: "what answers there doesn't speak TLS; a plain switchboard has a ws:// address".to_owned(),
        },
        Some(other) => Error::Tls { address: shown, reason: other.to_string() },
        None if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => Error::Tls {
            address: shown,
            reason:
                "the other side closed the connection during the handshake, as a plain switchboard does; that has a ws:// address"
                    .to_owned(),
        },
        None => Error::Unreachable { address: shown, source: error },
    }
}

/// Carries the pin of a refused certificate through rustls.
#[derive(Debug, thiserror::Error)]
#[error("neither the authorities nor the pin vouch for the certificate: {reason}")]
struct Untrusted {
    seen: Pin,
    reason: String,
}

/// Judges the certificate of one connection.
///
/// Whatever is accepted still has to sign the handshake with its key.
#[derive(Debug)]
pub(in crate::net) struct Verifier {
    pin: Option<Pin>,
    on_loopback: bool,
    acceptance: Acceptance,
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
    provider: Arc<CryptoProvider>,
    /// What was accepted.
    seen: OnceLock<Certificate>,
}

impl Verifier {
    /// The certificate that was accepted; there is one after each handshake that succeeded.
    pub(in crate::net) fn seen(&self) -> Option<Certificate> {
        self.seen.get().copied()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = pin_of(end_entity)?;
        let vouched = if self.pin == Some(seen) {
            true
        } else if self.on_loopback {
            false
        } else {
            let judged = self.trust.vouches_for(end_entity, intermediates, server_name, ocsp_response, now, &self.provider);
            match (judged, self.acceptance) {
                (Ok(()), _) => true,
                (Err(_), Acceptance::Any) => false,
                (Err(reason), Acceptance::Vouched) => {
                    return Err(
                        CertificateError::Other(OtherError(Arc::new(Untrusted { seen, reason: reason.to_string() }))).into()
                    );
                }
            }
        };
        self.seen.get_or_init(|| Certificate { pin: seen, vouched });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
