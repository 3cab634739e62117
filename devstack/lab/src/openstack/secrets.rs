//! Passwords and keys, made on the spot, each in a file that its owner alone can read.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};
use crate::services::SiteCtx;

/// What has a password of its own in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secret {
    /// Keystone's user `admin`.
    Admin,
    /// Keystone's user `demo`.
    Demo,
    /// Keystone's user `cinder`, as which the services check tokens.
    Cinder,
    /// Keystone's user `nova`, as which Nova, Placement, Neutron and Glance check tokens and call each other.
    Nova,
    /// The database user of Keystone.
    KeystoneDb,
    /// The database user of Cinder.
    CinderDb,
    /// The database user of these four.
    NovaDb,
    /// RabbitMQ's one user.
    Rabbit,
    /// Cinder's fixed key for encrypted volumes.
    VolumeKey,
}

impl Secret {
    pub(crate) const ALL: [Self; 9] = [
        Self::Admin,
        Self::Demo,
        Self::Cinder,
        Self::Nova,
        Self::KeystoneDb,
        Self::CinderDb,
        Self::NovaDb,
        Self::Rabbit,
        Self::VolumeKey,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Demo => "demo",
            Self::Cinder => "cinder",
            Self::Nova => "nova",
            Self::KeystoneDb => "keystone-db",
            Self::CinderDb => "cinder-db",
            Self::NovaDb => "nova-db",
            Self::Rabbit => "rabbit",
            Self::VolumeKey => "volume-key",
        }
    }

    pub(crate) fn path(self, ctx: &SiteCtx) -> PathBuf {
        super::dir(ctx).join("secret").join(self.name())
    }
}

/// The password, made at the first call. Letters and digits only, so it needs no quoting anywhere. Two at once must not
/// make two: the caller holds the site's lock, or nobody asked before the first start made all of them.
pub(crate) fn password(ctx: &SiteCtx, secret: Secret) -> Result<String> {
    let path = secret.path(ctx);
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(text.trim().to_owned());
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let bytes = random()?;
    let text = match secret {
        Secret::VolumeKey => hex(&bytes),
        // Keystone warns of passwords that are longer than its hash looks at.
        Secret::Admin
        | Secret::Demo
        | Secret::Cinder
        | Secret::Nova
        | Secret::KeystoneDb
        | Secret::CinderDb
        | Secret::NovaDb
        | Secret::Rabbit => hex(&bytes[..16]),
    };
    make_private_dir(&super::dir(ctx).join("secret"))?;
    write_private(&path, &text)?;
    Ok(text)
}

/// A fresh key for Fernet tokens: 32 random bytes as URL-safe base64.
pub(crate) fn fernet_key() -> Result<String> {
    Ok(base64_url(&random()?))
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .context(|| "reading /dev/urandom".into())?;
    Ok(bytes)
}

fn base64_url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or_default());
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= three.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

/// Makes a folder for its owner alone.
pub(crate) fn make_private_dir(dir: &Path) -> Result<()> {
    let what = || format!("making {}", dir.display());
    fs::create_dir_all(dir).context(what)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700)).context(what)
}

/// Writes a file that holds secrets: whole or not at all, and for its owner alone from the first byte.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let what = || format!("writing {}", path.display());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).context(what)?;
    }
    let next = path.with_extension(format!("new-{}", std::process::id()));
    // One that a killed process left may have other rights.
    let _ = fs::remove_file(&next);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)
        .context(what)?;
    file.write_all(text.as_bytes()).context(what)?;
    fs::rename(&next, path).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64_url(plain.as_bytes()), coded);
        }
        assert_eq!(base64_url(&[0xfb, 0xff]), "-_8=");
    }

    #[test]
    fn a_fernet_key_is_32_bytes_and_never_the_same() {
        let (one, two) = (fernet_key().unwrap(), fernet_key().unwrap());
        assert_eq!(one.len(), 44);
        assert_ne!(one, two);
    }

    #[test]
    fn a_secret_is_for_its_owner_alone_also_when_written_again() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("secret/x");
        for text in ["one", "two"] {
            write_private(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            make_private_dir(path.parent().unwrap()).unwrap();
            let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o600);
            assert_eq!(mode(path.parent().unwrap()), 0o700);
        }
    }
}
