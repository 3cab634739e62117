//! `lab.json`: what this lab is. What its processes and links do now is looked up, never remembered.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{IoContext, LabError, Result};
use crate::layout::{Layout, write_whole};
use crate::openstack::Install;
use crate::site::Site;

/// How the sites are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetMode {
    /// Each site in a network namespace of its own, on a bridge that the host can reach. Needs root.
    Namespaces,
    /// Everything on 127.0.0.1 with ports of its own. Nothing can be isolated.
    Loopback,
}

/// What the zones have of OpenStack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    /// Nothing: Ceph alone.
    #[default]
    None,
    /// Keystone and Cinder with a MariaDB and a RabbitMQ in each zone.
    Cinder {
        /// The environment that they are run from; `devstack/venv.sh` makes one.
        prefix: PathBuf,
    },
    /// These, and a Nova that runs servers in a QEMU without KVM, with the Placement, Neutron and Glance that it needs. In
    /// network namespaces alone: QEMU carries no mark of its zone but the namespace that it lives in.
    Nova {
        /// The environment that they are run from, with the guest's image in it.
        prefix: PathBuf,
    },
}

/// Names the environment that the zones' OpenStack is run from.
pub const OPENSTACK_VARIABLE: &str = "REKINDLE_OPENSTACK";
/// Where `devstack/venv.sh` makes them, in the repository.
const CINDER_FOLDER: &str = "target/openstack-venv";
const NOVA_FOLDER: &str = "target/openstack-nova";

impl Cloud {
    /// Cinder from the environment that `REKINDLE_OPENSTACK` names, else from the one in the repository that the current
    /// folder is part of.
    ///
    /// # Errors
    /// There is none; the error says how to make one.
    pub fn cinder() -> Result<Self> {
        Self::cinder_in(find(CINDER_FOLDER)?)
    }

    /// The same from that environment.
    ///
    /// # Errors
    /// As [`Cloud::cinder`].
    pub fn cinder_in(prefix: PathBuf) -> Result<Self> {
        Install::at(&prefix).check()?;
        Ok(Self::Cinder { prefix })
    }

    /// Nova and Cinder, found as [`Cloud::cinder`] finds its environment.
    ///
    /// # Errors
    /// There is none; the error says how to make one.
    pub fn nova() -> Result<Self> {
        Self::nova_in(find(NOVA_FOLDER)?)
    }

    /// The same from that environment.
    ///
    /// # Errors
    /// As [`Cloud::nova`].
    pub fn nova_in(prefix: PathBuf) -> Result<Self> {
        let install = Install::at(&prefix);
        install.check()?;
        install.check_nova()?;
        Ok(Self::Nova { prefix })
    }

    /// The environment that it is run from.
    pub(crate) fn prefix(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::Cinder { prefix } | Self::Nova { prefix } => Some(prefix),
        }
    }

    pub(crate) fn has_nova(&self) -> bool {
        match self {
            Self::None | Self::Cinder { .. } => false,
            Self::Nova { .. } => true,
        }
    }

    /// Whether all that the other has is here too.
    pub(crate) fn has_all_of(&self, other: &Self) -> bool {
        match other {
            Self::None => true,
            Self::Cinder { .. } => self.prefix().is_some(),
            Self::Nova { .. } => self.has_nova(),
        }
    }
}

fn find(folder: &str) -> Result<PathBuf> {
    let here = std::env::current_dir().context(|| "asking for the current folder".into())?;
    Ok(match std::env::var_os(OPENSTACK_VARIABLE) {
        Some(named) => here.join(named),
        None => here
            .ancestors()
            .map(|dir| dir.join(folder))
            .find(|dir| dir.is_dir())
            .unwrap_or_else(|| here.join(folder)),
    })
}

/// What a lab is to be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabOptions {
    /// How the sites are kept apart; by default namespaces for root, loopback for others.
    pub net: NetMode,
    /// Size of each zone's OSD in MiB. The file is sparse: only what is written takes room.
    pub osd_mib: u64,
    /// What the zones have of OpenStack. `up` adds it to a lab that was made without, and takes it from none.
    #[serde(default)]
    pub cloud: Cloud,
}

impl Default for LabOptions {
    fn default() -> Self {
        let net = if rustix::process::geteuid().is_root() {
            NetMode::Namespaces
        } else {
            NetMode::Loopback
        };
        Self {
            net,
            osd_mib: 20 * 1024,
            cloud: Cloud::None,
        }
    }
}

impl LabOptions {
    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        if self.net == NetMode::Namespaces && !rustix::process::geteuid().is_root() {
            return Err(LabError::BadInput(
                "network namespaces need root: run as root, or choose --net loopback".into(),
            ));
        }
        if self.net == NetMode::Loopback && self.cloud.has_nova() {
            return Err(LabError::BadInput(
                "a lab with Nova needs network namespaces: run as root, and without --net loopback"
                    .into(),
            ));
        }
        // BlueStore wants a few GiB for its own database and for the full ratios to mean anything.
        if !(4096..=1024 * 1024).contains(&self.osd_mib) {
            return Err(LabError::BadInput(format!(
                "an OSD of {} MiB is not between 4096 and 1048576",
                self.osd_mib
            )));
        }
        Ok(())
    }
}

/// The record itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Form of this file.
    pub(crate) version: u32,
    /// Tells this lab from an earlier one in the same folder.
    pub(crate) uuid: String,
    /// The lab's number on this machine: its subnet, or its block of ports.
    pub(crate) number: u8,
    /// What was asked for.
    pub(crate) options: LabOptions,
    /// Ceph's fsid of each zone.
    pub(crate) fsids: BTreeMap<Site, String>,
    /// Whether mirroring was seen to work both ways after the first start. A lab that never got there
    /// is made anew by `up`.
    pub(crate) complete: bool,
}

impl State {
    pub(crate) const VERSION: u32 = 1;

    /// `None` when there is no lab in the folder.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.state();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).context(|| format!("reading {}", path.display())),
        };
        let state: Self = serde_json::from_str(&text).map_err(|e| LabError::BadState {
            path: path.clone(),
            why: e.to_string(),
        })?;
        if state.version != Self::VERSION {
            return Err(LabError::BadState {
                path,
                why: format!(
                    "its version is {}, this program's {}",
                    state.version,
                    Self::VERSION
                ),
            });
        }
        Ok(Some(state))
    }

    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        let path = layout.state();
        let text = serde_json::to_string_pretty(self).map_err(|e| LabError::BadState {
            path: path.clone(),
            why: e.to_string(),
        })?;
        write_whole(&path, &text)
    }
}

/// A fresh random UUID, from the kernel.
pub(crate) fn new_uuid() -> Result<String> {
    let path = "/proc/sys/kernel/random/uuid";
    Ok(fs::read_to_string(path)
        .context(|| format!("reading {path}"))?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_record_is_an_error_and_a_missing_one_is_none() {
        let tmp = tempfile::tempdir().unwrap();
        let layout = Layout::create(tmp.path()).unwrap();
        assert!(State::load(&layout).unwrap().is_none());
        fs::write(layout.state(), "{\"version\": 1, \"uu").unwrap();
        let error = State::load(&layout).unwrap_err();
        assert!(matches!(error, LabError::BadState { .. }), "{error}");
    }

    #[test]
    fn an_osd_too_small_is_refused() {
        let options = LabOptions {
            net: NetMode::Loopback,
            osd_mib: 100,
            cloud: Cloud::None,
        };
        assert!(options.check().unwrap_err().to_string().contains("100 MiB"));
    }

    #[test]
    fn a_lab_with_nova_on_loopback_is_refused_since_its_guests_could_not_be_killed() {
        let options = LabOptions {
            net: NetMode::Loopback,
            cloud: Cloud::Nova {
                prefix: PathBuf::new(),
            },
            ..LabOptions::default()
        };
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains("namespaces"), "{error}");
    }

    #[test]
    fn a_cloud_has_what_the_smaller_ones_have() {
        let prefix = PathBuf::new;
        let (cinder, nova) = (
            Cloud::Cinder { prefix: prefix() },
            Cloud::Nova { prefix: prefix() },
        );
        assert!(nova.has_all_of(&cinder) && cinder.has_all_of(&Cloud::None));
        assert!(nova.has_all_of(&nova) && Cloud::None.has_all_of(&Cloud::None));
        assert!(!cinder.has_all_of(&nova) && !Cloud::None.has_all_of(&cinder));
    }
}
