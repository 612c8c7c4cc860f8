//! Certificates, keys and pins: TLS 1.3 by rustls, with aws-lc-rs as its only provider and no process-wide default.
//!
//! A switchboard shows a certificate that an operator gave it, or signs one itself from a key file. A self-signed
//! certificate proves nothing by its contents, so clients believe its *pin*, which travels in the address and depends on
//! the key alone: a certificate made anew from the same key file keeps it.
//!
//! What a client believes (PROTOCOL.md section 2): the system's roots, or else a matching pin, and on loopback anything.
//! End-to-end encryption doesn't rest on this; it keeps strangers on the path from seeing who talks, and when.

use std::sync::Arc;

use aws_lc_rs::digest;
use tokio_rustls::rustls;

use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::address::Pin;

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod keys;
#[cfg(all(test, feature = "client", feature = "server"))]
mod tests;

#[cfg(feature = "client")]
pub use client::{Acceptance, Certificate, Trust};
#[cfg(feature = "client")]
pub(super) use client::{client_config, connect_error, judge, server_name};
#[cfg(feature = "server")]
pub use keys::{KeySource, ServerTls};

/// Label of the exporter value that a hello signs (PROTOCOL.md section 3.1).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-a2alinker-link-1";

/// The algorithms that both sides offer, the post-quantum hybrid first.
///
/// Classical groups stay for a proxy in front of the switchboard that knows nothing else.
fn crypto_provider() -> Arc<CryptoProvider> {
    use provider::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    Arc::new(CryptoProvider { kx_groups, ..provider::default_provider() })
}

/// The only version spoken: older ones have neither hybrid key exchange nor an exporter bound to the whole handshake.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Returns the pin of a certificate: the SHA-256 of its SubjectPublicKeyInfo.
pub fn pin_of(certificate: &CertificateDer<'_>) -> Result<Pin, rustls::Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let hash = digest::digest(&digest::SHA256, &key);
    let bytes = hash.as_ref().try_into().expect("SHA-256 has 32 bytes");
    Ok(Pin::from_bytes(bytes))
}

/// Returns the value that binds a hello to this connection.
pub(super) fn exporter<Data>(connection: &rustls::ConnectionCommon<Data>) -> Result<[u8; 32], rustls::Error> {
    connection.export_keying_material([0; 32], EXPORTER_LABEL, None)
}
