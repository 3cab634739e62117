//! Certificates made on the spot, for tests.

use rekindle_common::tls::TlsFiles;
use std::{io, path::Path};

/// An authority of its own.
pub struct TestAuthority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

fn failed(e: rcgen::Error) -> io::Error {
    io::Error::other(e)
}

impl TestAuthority {
    /// Makes one.
    ///
    /// # Errors
    /// Where no key can be made.
    pub fn new() -> io::Result<Self> {
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self {
            issuer: rcgen::Issuer::new(params, key),
            pem,
        })
    }

    /// A certificate with those names and addresses, for both ends, as files named `name-*.pem` in `folder`.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn issue(&self, folder: &Path, name: &str, subjects: &[&str]) -> io::Result<TlsFiles> {
        let subjects: Vec<String> = subjects.iter().map(ToString::to_string).collect();
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let mut params = rcgen::CertificateParams::new(subjects).map_err(failed)?;
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let cert = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let file = |kind: &str, pem: &str| {
            let path = folder.join(format!("{name}-{kind}.pem"));
            std::fs::write(&path, pem).map(|()| path)
        };
        Ok(TlsFiles {
            ca: file("ca", &self.pem)?,
            cert: file("cert", &cert.pem())?,
            key: file("key", &key.serialize_pem())?,
        })
    }
}
