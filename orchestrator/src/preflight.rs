//! `rekindle preflight`: will the other zone take what is replicated? Asked before it matters (hard cases 40 and 52).
//!
//! ```text
//!   look     both sidecars, both Keystones, both Cinders; each answer may be missing
//!   further  what the mapping leads to: roles and quotas of mapped projects, encryption of types
//!   keys     whether encrypted volumes' keys are there; never what is in them
//!   judge    pure: what was seen -> gaps, each with what to do, and what could not be checked
//! ```
//!
//! Nothing is changed. What could not be checked is listed and is never taken for well.

pub mod daily;
mod judge;
mod kept;
mod keys;
mod look;
mod servers;

pub use kept::KeptPreflight;
pub use look::{Seen, ZoneSeen, known};

use crate::config::Config;
use rekindle_common::{ApiError, GroupName, ZoneName};
use rekindle_core::catalogue::mapping::{Kind, Mapping};
use rekindle_openstack::{Cloud, CloudConfig, CloudError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of thing is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// A zone has no `[clouds.ZONE]`.
    CloudNotConfigured,
    /// Its sidecar does not answer.
    SidecarUnreachable,
    /// Its Keystone or Cinder does not answer.
    CloudUnreachable,
    /// The configuration does not fit the cloud.
    CloudConfiguration,
    /// Keystone refuses the secret.
    WrongSecret,
    /// We are no administrator, in the configured project or in a mapped one.
    NotAdministrator,
    /// A clock is off.
    ClockSkew,
    /// An entry of the mapping means no project, or several.
    MappedProject,
    /// A project with replicated volumes has no counterpart.
    UnmappedProject,
    /// A replicated type has no counterpart.
    UnmappedType,
    /// A type that the mapping names is not there.
    MissingType,
    /// Two types that stand for each other differ.
    TypeMismatch,
    /// A pool has no backend, or Cinder does not know it, or it is down.
    Backend,
    /// The counterpart's quota is too small.
    Quota,
    /// An encrypted volume's key has no counterpart.
    UnmappedKey,
    /// The counterpart is not in the zone's key manager, or cannot open anything.
    MissingKey,
    /// The zone has no key manager, or one that shows us no keys.
    KeyManager,
    /// Something of a server has no counterpart.
    UnmappedServer,
    /// A server's flavor is not there, or smaller.
    Flavor,
    /// A network or a subnet of a server is not there.
    Network,
    /// A server's address is taken.
    Address,
    /// A security group of a server is not there.
    SecurityGroup,
    /// A server's key pair is not there.
    KeyPair,
    /// A server's availability zone is not there, or does not work.
    AvailabilityZone,
    /// A server's server group is not there.
    ServerGroup,
    /// No host takes servers.
    Capacity,
}

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// What kind.
    pub kind: GapKind,
    /// In which zone it is to be mended; `None`: in the mapping or the configuration.
    pub zone: Option<ZoneName>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: String,
}

impl GapKind {
    /// Whether somebody only did not answer.
    #[must_use]
    pub fn is_silence(self) -> bool {
        match self {
            Self::SidecarUnreachable | Self::CloudUnreachable => true,
            Self::CloudNotConfigured
            | Self::CloudConfiguration
            | Self::WrongSecret
            | Self::NotAdministrator
            | Self::ClockSkew
            | Self::MappedProject
            | Self::UnmappedProject
            | Self::UnmappedType
            | Self::MissingType
            | Self::TypeMismatch
            | Self::Backend
            | Self::Quota
            | Self::UnmappedKey
            | Self::MissingKey
            | Self::KeyManager
            | Self::UnmappedServer
            | Self::Flavor
            | Self::Network
            | Self::Address
            | Self::SecurityGroup
            | Self::KeyPair
            | Self::AvailabilityZone
            | Self::ServerGroup
            | Self::Capacity => false,
        }
    }

    /// What is missing where something of a server that the mapping names is not there.
    fn of_server(kind: Kind) -> Self {
        match kind {
            Kind::Flavors => Self::Flavor,
            Kind::Networks | Kind::Subnets => Self::Network,
            Kind::Addresses => Self::Address,
            Kind::SecurityGroups => Self::SecurityGroup,
            Kind::KeyPairs => Self::KeyPair,
            Kind::AvailabilityZones => Self::AvailabilityZone,
            Kind::ServerGroups => Self::ServerGroup,
            Kind::Projects | Kind::Types | Kind::Keys => Self::UnmappedServer,
        }
    }
}

impl fmt::Display for GapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CloudNotConfigured | Self::CloudConfiguration => "configuration",
            Self::SidecarUnreachable | Self::CloudUnreachable => "unreachable",
            Self::WrongSecret => "secret",
            Self::NotAdministrator => "role",
            Self::ClockSkew => "clock",
            Self::MappedProject | Self::UnmappedProject => "project",
            Self::UnmappedType | Self::MissingType | Self::TypeMismatch => "volume type",
            Self::Backend => "backend",
            Self::Quota => "quota",
            Self::UnmappedKey | Self::MissingKey => "key",
            Self::KeyManager => "key manager",
            Self::UnmappedServer => "server",
            Self::Flavor => "flavor",
            Self::Network => "network",
            Self::Address => "address",
            Self::SecurityGroup => "security group",
            Self::KeyPair => "key pair",
            Self::AvailabilityZone => "availability zone",
            Self::ServerGroup => "server group",
            Self::Capacity => "capacity",
        })
    }
}

/// What could not be checked, because something did not answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unchecked {
    /// Whose.
    pub zone: ZoneName,
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// How many were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Zones.
    pub zones: usize,
    /// Replicated volumes that some zone's Cinder has.
    pub volumes: usize,
    /// Projects that they are mapped to.
    pub projects: usize,
    /// Replicated volume types.
    pub types: usize,
    /// Protected servers.
    pub servers: usize,
}

/// All that came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// What is missing.
    pub gaps: Vec<Gap>,
    /// What is not known.
    pub unchecked: Vec<Unchecked>,
    /// How many were looked at.
    pub counts: Counts,
    /// What the leader's last daily check of each group found: told beside what is found now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub daily: Vec<KeptPreflight>,
}

impl Preflight {
    /// Everything was checked, and nothing is missing.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.gaps.is_empty() && self.unchecked.is_empty()
    }
}

/// What of our own side cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// A cloud's configuration, or its file of authorities.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// A sidecar's address or certificates.
    #[error("zone {zone}: its sidecar cannot be asked")]
    Sidecar {
        /// Whose.
        zone: ZoneName,
        /// Why.
        source: ApiError,
    },
}

/// Looks at both zones, and judges.
///
/// # Errors
/// [`PreflightError`] where the configuration cannot be used. What does not answer is in the result.
pub async fn run(config: &Config, mapping: &Mapping) -> Result<Preflight, PreflightError> {
    let clouds = clouds(config)?;
    let mut seen = look::look(config, &clouds).await?;
    look::further(&mut seen, mapping, &clouds).await;
    keys::look(&mut seen, mapping, &clouds, None).await;
    let servers = servers::look(config, &clouds, mapping, &seen, None).await;
    Ok(Preflight {
        daily: servers.daily.clone(),
        ..judge::judge(config, mapping, &seen, &servers)
    })
}

/// The same for one group's servers alone: what keeps the other zone from taking them.
///
/// # Errors
/// [`PreflightError`].
pub async fn of_group(
    config: &Config,
    mapping: &Mapping,
    group: &GroupName,
) -> Result<Preflight, PreflightError> {
    let clouds = clouds(config)?;
    let mut seen = look::look(config, &clouds).await?;
    let servers = servers::look(config, &clouds, mapping, &seen, Some(group)).await;
    keys::look(&mut seen, mapping, &clouds, Some(&servers.volumes())).await;
    Ok(judge::judge_servers(config, mapping, &seen, &servers))
}

fn clouds(config: &Config) -> Result<Vec<Cloud>, PreflightError> {
    let cloud =
        |(zone, cloud): (&ZoneName, &_)| Cloud::new(zone.clone(), CloudConfig::clone(cloud));
    let clouds: Result<Vec<Cloud>, CloudError> = config.clouds.iter().map(cloud).collect();
    Ok(clouds?)
}

#[cfg(test)]
mod tests;
