//! TLS as the rest of the world speaks it: the server shows a certificate, and the client none.

use super::{Reloading, TlsError, authorities, certificates, private_key, provider};
use rustls::{ClientConfig, ServerConfig};
use std::{fmt, path::Path, sync::Arc};

/// A server's certificate and key. They are read again when the files change.
pub struct ServerTls(Reloading<ServerConfig>);

impl ServerTls {
    /// Of these PEM files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = vec![cert.to_owned(), key.to_owned()];
        let (cert, key) = (cert.to_owned(), key.to_owned());
        Reloading::new(files, move || server(&cert, &key)).map(Self)
    }

    /// As the files are now, or were when they were usable last.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.current()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// The authorities that a server's certificate must be of. Their file is read again when it changes.
pub struct TrustedServers(Reloading<ClientConfig>);

impl TrustedServers {
    /// Those in this PEM file.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(ca: &Path) -> Result<Self, TlsError> {
        let files = vec![ca.to_owned()];
        let ca = ca.to_owned();
        Reloading::new(files, move || client(&ca)).map(Self)
    }

    /// As the file is now, or was when it was usable last.
    #[must_use]
    pub fn current(&self) -> Arc<ClientConfig> {
        self.0.current()
    }
}

impl fmt::Debug for TrustedServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedServers").finish_non_exhaustive()
    }
}

fn server(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |source| TlsError::Unusable {
        cert: cert.to_owned(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates("cert", cert)?, private_key(key)?)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn client(ca: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = authorities(ca)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Unusable {
            cert: ca.to_owned(),
            source,
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
