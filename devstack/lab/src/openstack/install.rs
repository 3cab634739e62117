//! Where the programs of an OpenStack are: `devstack/venv.sh` makes such a folder.

use std::path::{Path, PathBuf};

use crate::error::{LabError, Result};

/// An installation under one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Install {
    prefix: PathBuf,
}

impl Install {
    pub(crate) fn at(prefix: &Path) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.prefix.join("bin").join(name)
    }

    /// A file that this part of it ships for operators to copy or to name.
    pub(crate) fn etc(&self, part: &str, name: &str) -> PathBuf {
        self.prefix.join("etc").join(part).join(name)
    }

    /// The disk image that test guests boot from; `devstack/guest/build.sh` makes it.
    pub(crate) fn guest_image(&self) -> PathBuf {
        self.prefix.join("guest.img")
    }

    /// Where empty tables are kept that its programs made.
    pub(crate) fn tables(&self) -> PathBuf {
        self.prefix.join("tables")
    }

    /// Refuses a folder in which something is missing.
    pub(crate) fn check(&self) -> Result<()> {
        const PROGRAMS: [&str; 8] = [
            "keystone-manage",
            "cinder-manage",
            "cinder-scheduler",
            "cinder-volume",
            "uwsgi",
            "openstack",
            "cinder",
            "python3",
        ];
        self.has(&PROGRAMS, "")
    }

    /// Refuses a folder in which something is missing that Nova needs.
    pub(crate) fn check_nova(&self) -> Result<()> {
        const PROGRAMS: [&str; 8] = [
            "nova-manage",
            "nova-conductor",
            "nova-scheduler",
            "nova-compute",
            "placement-manage",
            "neutron-db-manage",
            "glance-manage",
            "privsep-helper",
        ];
        self.has(&PROGRAMS, " nova34")?;
        let image = self.guest_image();
        if image.is_file() {
            return Ok(());
        }
        Err(LabError::BadInput(format!(
            "there is no image for guests: make it with `devstack/guest/build.sh {}`",
            image.display()
        )))
    }

    fn has(&self, programs: &[&str], release: &str) -> Result<()> {
        match programs.iter().find(|p| !self.program(p).is_file()) {
            None => Ok(()),
            Some(program) => Err(LabError::BadInput(format!(
                "there is no {program} in {}: make it with `devstack/venv.sh {}{release}`",
                self.prefix.join("bin").display(),
                self.prefix.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_is_no_installation_and_the_error_says_how_to_make_one() {
        let tmp = tempfile::tempdir().unwrap();
        let error = Install::at(tmp.path()).check().unwrap_err().to_string();
        assert!(error.contains("devstack/venv.sh"), "{error}");
        let error = Install::at(tmp.path())
            .check_nova()
            .unwrap_err()
            .to_string();
        assert!(error.ends_with(" nova34`"), "{error}");
    }
}
