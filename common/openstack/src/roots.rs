//! The authorities that a server's certificate must be signed by: a file, read again when it changes.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Where distributions keep theirs: Debian's, Red Hat's.
const SYSTEM: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// Which file it is, its size, and when it was written.
type Mark = Option<(u64, u64, i64, i64)>;

/// TLS towards servers, by a file of authorities.
pub(crate) struct Roots {
    file: PathBuf,
    state: Mutex<(Mark, Arc<ClientConfig>)>,
}

impl Roots {
    /// By that file, or the system's.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, String> {
        let file = match file {
            Some(file) => file.to_owned(),
            None => SYSTEM
                .iter()
                .map(PathBuf::from)
                .find(|f| f.is_file())
                .ok_or_else(|| format!("none of {} is there: name a file", SYSTEM.join(", ")))?,
        };
        let mark = mark(&file);
        let config = read(&file)?;
        Ok(Self {
            file,
            state: Mutex::new((mark, config)),
        })
    }

    /// As the file is now, or was when it was usable last.
    pub(crate) fn current(&self) -> Arc<ClientConfig> {
        let now = mark(&self.file);
        // What a panic could have left half done in here is a look that was not made.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 != now {
            state.0 = now;
            match read(&self.file) {
                Ok(config) => state.1 = config,
                Err(error) => {
                    tracing::warn!(
                        error,
                        "the authorities' file has changed and cannot be used: going on with what it held before"
                    );
                }
            }
        }
        Arc::clone(&state.1)
    }
}

fn mark(path: &Path) -> Mark {
    let m = fs::metadata(path).ok()?;
    Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec()))
}

fn read(file: &Path) -> Result<Arc<ClientConfig>, String> {
    let unusable =
        |why: &dyn std::fmt::Display| format!("{} cannot be used: {why}", file.display());
    let mut roots = RootCertStore::empty();
    let all = CertificateDer::pem_file_iter(file).map_err(|e| unusable(&e))?;
    for certificate in all {
        let certificate = certificate.map_err(|e| unusable(&e))?;
        // A system's file may hold some that rustls does not take; the others count.
        if let Err(error) = roots.add(certificate) {
            tracing::debug!(%error, file = %file.display(), "an authority is left out");
        }
    }
    if roots.is_empty() {
        return Err(unusable(&"it holds no certificate"));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
