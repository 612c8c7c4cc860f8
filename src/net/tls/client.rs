//! What a client believes about the certificate of a switchboard.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

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
}

/// Returns the configuration for one connection to `address`.
///
/// Connections are rare and long, so none is resumed from another.
pub(in crate::net) fn client_config(address: &Address, trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
    let provider = crypto_provider();
    let verifier = Verifier {
        pin: address.pin,
        any: address.is_loopback(),
        trust: trust.clone(),
        algorithms: provider.signature_verification_algorithms,
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)
        .map_err(|error| Error::Certificate { reason: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    // A proxy in front of the switchboard must not choose HTTP/2, in which this WebSocket handshake doesn't exist.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Sorts out why a TLS handshake failed.
pub(in crate::net) fn connect_error(address: &Address, error: io::Error) -> Error {
    let shown = address.without_pin();
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            match other.downcast_ref::<Untrusted>() {
                Some(untrusted) => Error::UntrustedSwitchboard { address: shown, seen: untrusted.seen, expected: address.pin },
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
#[error("neither the system's roots nor the pin vouch for the certificate")]
struct Untrusted {
    seen: Pin,
}

/// Accepts a certificate whose pin matches or which the roots vouch for; on loopback any.
///
/// Whatever is accepted still has to sign the handshake with its key.
#[derive(Debug)]
struct Verifier {
    pin: Option<Pin>,
    any: bool,
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
    provider: Arc<CryptoProvider>,
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
        if self.any || self.pin == Some(seen) {
            return Ok(ServerCertVerified::assertion());
        }
        WebPkiServerVerifier::builder_with_provider(self.trust.roots(), self.provider.clone())
            .build()
            .ok()
            .and_then(|roots| roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).ok())
            .ok_or_else(|| CertificateError::Other(OtherError(Arc::new(Untrusted { seen }))).into())
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
