//! Certificates, made on the spot: one CA, one certificate a site that serves and calls, one for an
//! operator, and one made by a stranger's CA for tests of what must be refused.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use serde::Serialize;

use crate::error::{IoContext, LabError, Result};

/// Paths of a certificate, its key, and the CA to trust; all PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certs {
    /// The CA that signed `cert`, and that the others' certificates are checked with.
    pub ca: PathBuf,
    /// The certificate; good for server and for client.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Certs {
    pub(crate) fn in_dir(dir: &Path, who: &str) -> Self {
        let own = dir.join(who);
        Self {
            ca: own.join("ca.pem"),
            cert: own.join("cert.pem"),
            key: own.join("key.pem"),
        }
    }
}

/// Somebody who gets a certificate.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) addrs: Vec<IpAddr>,
}

/// Makes a CA and a certificate for each subject in folders of their names below `dir`.
pub(crate) fn make(dir: &Path, ca_name: &str, subjects: &[Subject]) -> Result<()> {
    let failed = |whom: &str| {
        let whom = whom.to_owned();
        move |source| LabError::Certificate { whom, source }
    };
    let ca_key = KeyPair::generate().map_err(failed(ca_name))?;
    let ca_params = ca_params(ca_name);
    let ca_pem = ca_params
        .self_signed(&ca_key)
        .map_err(failed(ca_name))?
        .pem();
    let issuer = Issuer::new(ca_params, ca_key);
    for subject in subjects {
        let key = KeyPair::generate().map_err(failed(&subject.name))?;
        let cert = subject_params(subject)
            .and_then(|p| p.signed_by(&key, &issuer))
            .map_err(failed(&subject.name))?;
        let paths = Certs::in_dir(dir, &subject.name);
        let own = dir.join(&subject.name);
        fs::create_dir_all(&own).context(|| format!("making {}", own.display()))?;
        write(&paths.ca, &ca_pem)?;
        write(&paths.cert, &cert.pem())?;
        write(&paths.key, &key.serialize_pem())?;
    }
    Ok(())
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn subject_params(subject: &Subject) -> Result<CertificateParams, rcgen::Error> {
    let mut names = vec![subject.name.clone(), "localhost".to_owned()];
    names.extend(subject.addrs.iter().map(ToString::to_string));
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named(&subject.name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, name);
    dn
}

fn write(path: &Path, pem: &str) -> Result<()> {
    let what = || format!("writing {}", path.display());
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .context(what)?;
    std::io::Write::write_all(&mut file, pem.as_bytes()).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_subject_gets_a_certificate_of_the_one_ca_and_a_key_only_it_can_read() {
        let tmp = tempfile::tempdir().unwrap();
        let subject = |name: &str| Subject {
            name: name.into(),
            addrs: vec![IpAddr::from([10, 231, 0, 11])],
        };
        make(
            tmp.path(),
            "Lab CA",
            &[subject("zone-a"), subject("operator")],
        )
        .unwrap();
        let (a, o) = (
            Certs::in_dir(tmp.path(), "zone-a"),
            Certs::in_dir(tmp.path(), "operator"),
        );
        let read = |p: &Path| fs::read_to_string(p).unwrap();
        assert_eq!(read(&a.ca), read(&o.ca));
        assert_ne!(read(&a.cert), read(&o.cert));
        assert!(read(&a.cert).starts_with("-----BEGIN CERTIFICATE-----"));
        assert_eq!(
            fs::metadata(&a.key).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
