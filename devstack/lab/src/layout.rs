//! Where everything lies in the lab's one folder.
//!
//! ```text
//! ROOT/lab.json        what this lab is (see `state`)
//! ROOT/lock            held while the lab goes up or down
//! ROOT/certs/          the CA; a folder for each site, `operator`, `stranger`
//! ROOT/log/SITE/       logs; they outlive `down`, for whoever asks why
//! ROOT/SITE/           ceph.conf, keyring, mon/, mgr/, osd/, etcd/
//! ROOT/SITE/run/       pid files and admin sockets
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, LabError, Result};
use crate::site::Site;

/// Longest root folder: a Unix socket's path holds 107 bytes and `/zone-a/run/rbd-mirror.asok` follows.
const MAX_ROOT: usize = 107 - 28;

/// The lab's folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Takes the folder as given, makes it if need be, and resolves it to an absolute path.
    pub(crate) fn create(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).context(|| format!("making {}", root.display()))?;
        Self::open(root)
    }

    /// The folder must exist.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let root = root.canonicalize().map_err(|_| LabError::NoLab {
            root: root.to_owned(),
        })?;
        let text = root.to_string_lossy();
        if root.as_os_str().len() > MAX_ROOT {
            return Err(LabError::BadInput(format!(
                "the folder {text} is too long a path ({} bytes): Unix sockets in it allow {MAX_ROOT}",
                root.as_os_str().len()
            )));
        }
        // ceph.conf has no quoting for these, and `$` starts a metavariable there.
        if text.contains(|c: char| c.is_whitespace() || "$;#\"'\\,".contains(c)) {
            return Err(LabError::BadInput(format!(
                "the folder {text} has a character that ceph.conf cannot hold; choose another"
            )));
        }
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("lab.json")
    }

    pub(crate) fn certs(&self) -> PathBuf {
        self.root.join("certs")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn site(&self, site: Site) -> SiteDirs {
        SiteDirs {
            base: self.root.join(site.name()),
            log: self.logs().join(site.name()),
        }
    }
}

/// The folders of one site.
#[derive(Debug, Clone)]
pub(crate) struct SiteDirs {
    base: PathBuf,
    log: PathBuf,
}

impl SiteDirs {
    pub(crate) fn make(&self) -> Result<()> {
        for dir in [&self.base, &self.run(), &self.log] {
            fs::create_dir_all(dir).context(|| format!("making {}", dir.display()))?;
        }
        Ok(())
    }

    pub(crate) fn data(&self, service: &str) -> PathBuf {
        self.base.join(service)
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.base.join("run")
    }

    pub(crate) fn pid_file(&self, service: &str) -> PathBuf {
        self.run().join(format!("{service}.json"))
    }

    pub(crate) fn asok(&self, service: &str) -> PathBuf {
        self.run().join(format!("{service}.asok"))
    }

    pub(crate) fn log(&self, service: &str) -> PathBuf {
        self.log.join(format!("{service}.log"))
    }

    pub(crate) fn ceph_conf(&self) -> PathBuf {
        self.base.join("ceph.conf")
    }

    pub(crate) fn keyring(&self) -> PathBuf {
        self.base.join("keyring")
    }
}

/// Writes a file so that a reader sees the old text or the new, never half of it.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let next = path.with_extension(format!("new-{}", std::process::id()));
    fs::write(&next, text).context(|| format!("writing {}", next.display()))?;
    fs::rename(&next, path).context(|| format!("renaming to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_too_long_for_sockets_is_refused_in_words() {
        let tmp = tempfile::tempdir().unwrap();
        let error = Layout::create(&tmp.path().join("x".repeat(100))).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }

    #[test]
    fn a_root_that_ceph_conf_cannot_hold_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let error = Layout::create(&tmp.path().join("my lab")).unwrap_err();
        assert!(error.to_string().contains("ceph.conf"), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_lab() {
        let tmp = tempfile::tempdir().unwrap();
        let error = Layout::open(&tmp.path().join("none")).unwrap_err();
        assert!(matches!(error, LabError::NoLab { .. }), "{error}");
    }
}
