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

    /// A file that Cinder ships for operators to copy or to name.
    pub(crate) fn cinder_etc(&self, name: &str) -> PathBuf {
        self.prefix.join("etc/cinder").join(name)
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
        let missing = PROGRAMS.into_iter().find(|p| !self.program(p).is_file());
        match missing {
            None => Ok(()),
            Some(program) => Err(LabError::BadInput(format!(
                "there is no {program} in {}: make it with `devstack/venv.sh {}`",
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
    }
}
