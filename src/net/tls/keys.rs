//! The certificate that a switchboard shows.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio_rustls::rustls;
use zeroize::Zeroizing;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{VERSIONS, crypto_provider, pin_of};
use crate::net::address::Pin;
use crate::net::{Error, os};

/// Where the key of a switchboard comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A key made for this process. A restart changes the pin.
    Fresh,
    /// A key file that `NewFile` made. A restart keeps the pin.
    File(PathBuf),
    /// A key made and written to a file, which must not exist yet.
    NewFile(PathBuf),
    /// A PEM certificate chain and its private key, for instance from a public authority.
    Certificate { chain: PathBuf, key: PathBuf },
}

/// The TLS side of a switchboard: what it shows, and the pin of that.
#[derive(Clone)]
pub struct ServerTls {
    pub(in crate::net) config: Arc<ServerConfig>,
    pin: Pin,
}

impl ServerTls {
    /// Reads or makes the key, and a self-signed certificate for `names` if none is given. The only time that files are
    /// touched.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if a file can't be read, written, or exists already; [`Error::Certificate`] if key and
    /// certificate don't fit.
    pub fn new(source: &KeySource, names: &[String]) -> Result<Self, Error> {
        let (chain, key) = match source {
            KeySource::Fresh => self_signed(&new_key()?, names)?,
            KeySource::File(path) => self_signed(&read_key(path)?, names)?,
            KeySource::NewFile(path) => self_signed(&write_new_key(path)?, names)?,
            KeySource::Certificate { chain, key } => (read_chain(chain)?, read_private_key(key)?),
        };
        let refuse = |error: rustls::Error| Error::Certificate { reason: error.to_string() };
        let pin = pin_of(&chain[0]).map_err(refuse)?;
        let mut config = ServerConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(VERSIONS)
            .map_err(refuse)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(refuse)?;
        // Links are long: a resumption ticket would cost memory on both sides and is never used.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), pin })
    }

    /// The pin of the certificate shown.
    pub fn pin(&self) -> Pin {
        self.pin
    }
}

type Credentials = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_signed(key: &KeyPair, names: &[String]) -> Result<Credentials, Error> {
    let refuse = |error: rcgen::Error| Error::Certificate { reason: error.to_string() };
    let mut params = CertificateParams::new(names.to_vec()).map_err(refuse)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "a2alinker switchboard");
    let certificate = params.self_signed(key).map_err(refuse)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((vec![certificate.der().clone()], key.into()))
}

fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate().map_err(|error| Error::Certificate { reason: error.to_string() })
}

fn read_key(path: &Path) -> Result<KeyPair, Error> {
    let refuse = |problem| Error::KeyFile { path: path.to_owned(), problem };
    let pem = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse("no such key file; make it with --new-key".to_owned()),
        _ => refuse(error.to_string()),
    })?;
    let pem = Zeroizing::new(pem);
    KeyPair::from_pem(&pem).map_err(|error| refuse(format!("it holds no usable private key: {error}")))
}

fn write_new_key(path: &Path) -> Result<KeyPair, Error> {
    let refuse = |problem| Error::KeyFile { path: path.to_owned(), problem };
    let key = new_key()?;
    let pem = Zeroizing::new(key.serialize_pem());
    let mut file = os::create_private_file(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => refuse("the file exists already and is left as it is; use it with --key".to_owned()),
        _ => refuse(error.to_string()),
    })?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| refuse(error.to_string()))?;
    Ok(key)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let refuse = |problem| Error::KeyFile { path: path.to_owned(), problem };
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse(error.to_string()))?;
    if chain.is_empty() {
        return Err(refuse("it holds no PEM certificate".to_owned()));
    }
    Ok(chain)
}

fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| Error::KeyFile { path: path.to_owned(), problem: error.to_string() })
}
