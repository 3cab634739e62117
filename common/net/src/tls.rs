//! Certificates: read from PEM files, checked on both sides, with ring; read again when the files change.

mod one_sided;
mod reload;

pub use one_sided::{ServerTls, TrustedServers};
pub(crate) use reload::Reloading;

use rekindle_common::tls::TlsFiles;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of that kind.
    #[error("tls.{field}: {} holds no usable PEM", path.display())]
    Pem {
        /// `ca`, `cert` or `key`.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The files are PEM and do not fit each other.
    #[error("the certificate and key of {} cannot be used", cert.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The authority cannot be used to check the other side.
    #[error("tls.ca: {} is no usable authority: {why}", ca.display())]
    Authority {
        /// The file.
        ca: PathBuf,
        /// Why.
        why: String,
    },
}

struct Loaded {
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn certificates(
    field: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |source| TlsError::Pem {
        field,
        path: path.to_owned(),
        source,
    };
    let all = CertificateDer::pem_file_iter(path)
        .map_err(bad)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(bad)?;
    if all.is_empty() {
        return Err(bad(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(all)
}

fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for ca in certificates("ca", file)? {
        roots.add(ca).map_err(|e| TlsError::Authority {
            ca: file.to_owned(),
            why: e.to_string(),
        })?;
    }
    Ok(roots)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|source| TlsError::Pem {
        field: "key",
        path: file.to_owned(),
        source,
    })
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    Ok(Loaded {
        roots: authorities(&files.ca)?,
        key: private_key(&files.key)?,
        chain: certificates("cert", &files.cert)?,
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A server that takes no client without a certificate of the authority.
fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let loaded = load(files)?;
    let unusable = |source| TlsError::Unusable {
        cert: files.cert.clone(),
        source,
    };
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(loaded.roots), provider())
        .build()
        .map_err(|e| TlsError::Authority {
            ca: files.ca.clone(),
            why: e.to_string(),
        })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(loaded.chain, loaded.key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client that takes no server but of the authority, and shows its own certificate.
fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let loaded = load(files)?;
    let unusable = |source| TlsError::Unusable {
        cert: files.cert.clone(),
        source,
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(loaded.roots)
        .with_client_auth_cert(loaded.chain, loaded.key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn watched(files: &TlsFiles) -> Vec<PathBuf> {
    vec![files.cert.clone(), files.key.clone(), files.ca.clone()]
}

pub(crate) type ServerFiles = Reloading<ServerConfig>;
pub(crate) type ClientFiles = Reloading<ClientConfig>;

impl ServerFiles {
    pub(crate) fn server(files: &TlsFiles) -> Result<Box<Self>, TlsError> {
        let own = files.clone();
        Self::new(watched(files), move || server_config(&own)).map(Box::new)
    }
}

impl ClientFiles {
    pub(crate) fn client(files: &TlsFiles) -> Result<Box<Self>, TlsError> {
        let own = files.clone();
        Self::new(watched(files), move || client_config(&own)).map(Box::new)
    }
}

/// The DNS names of a certificate that the handshake has checked.
pub(crate) fn names(chain: Option<&[CertificateDer<'_>]>) -> Vec<String> {
    chain
        .and_then(<[_]>::first)
        .and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok())
        .map(|leaf| leaf.valid_dns_names().map(str::to_owned).collect())
        .unwrap_or_default()
}
