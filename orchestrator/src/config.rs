//! The orchestrator's configuration: one TOML file, the environment over it (`REKINDLE__SECTION__KEY`).
//!
//! ```toml
//! site = "zone-a"
//! [sites]                                  # all that have a vote, this one too
//! zone-a = "https://192.0.2.10:7400"
//! zone-b = "https://192.0.2.20:7400"
//! witness = "https://192.0.2.30:7400"
//! [zones.zone-a]
//! sidecar = "https://192.0.2.10:7300"
//! ceph_mons = ["192.0.2.10:3300"]
//! [zones.zone-b]
//! sidecar = "https://192.0.2.20:7300"
//! ceph_mons = ["192.0.2.20:3300"]
//! [listen]
//! unix = "/run/rekindle-orchestrator/orchestrator.sock"
//! tcp = "192.0.2.10:7400"
//! tls = { ca = "/etc/rekindle/ca.pem", cert = "/etc/rekindle/orchestrator.pem", key = "/etc/rekindle/orchestrator.key" }
//! allowed = ["orchestrator-*", "driver-*", "admin.zone-a"] # by the names in their certificates; all of the authority by default
//! metrics = "127.0.0.1:9465"               # /metrics and the health probes, in the clear
//! [etcd]
//! endpoints = ["https://192.0.2.10:2379", "https://192.0.2.20:2379", "https://192.0.2.30:2379"]
//! tls = { ca = "…", cert = "…", key = "…" }
//! [applications.shop]                      # what a group's policy may name
//! command = ["/usr/local/bin/shop-ctl"]
//! timeout = "2m"
//! [fence_agents.power]
//! command = ["/usr/local/bin/fence-zone"]
//! timeout = "1m"
//! [hooks.open-ticket]                      # what a group's runbook may name: hooks, and waits for a command
//! command = ["/usr/local/bin/ticket", "open"]
//! timeout = "30s"
//! [clouds.zone-a]                          # each zone's OpenStack, where its catalogue is kept and its servers are followed. Instead of all up to
//!                                          # project_domain: clouds_yaml and cloud, or environment (see rekindle_openstack::config)
//! auth_url = "https://192.0.2.10:5000/v3"
//! region = "RegionOne"                     # where Keystone's catalogue has several
//! interface = "internal"                   # public by default
//! ca = "/etc/rekindle/openstack-ca.pem"    # the system's authorities by default
//! username = "rekindle"
//! user_domain = "Default"
//! password_file = "/etc/rekindle/cloud-a.secret"
//! project = "service"                      # for what belongs to no other
//! project_domain = "Default"
//! backends = { volumes = "host@ceph#ceph" } # what Cinder calls the backend of an RBD pool
//! [clouds.zone-b]
//! auth_url = "https://192.0.2.20:5000/v3"
//! application_credential_id = "6c0f…"      # instead of a user
//! application_credential_secret_file = "/etc/rekindle/cloud-b.secret"
//! [catalogue]
//! mapping = "/etc/rekindle/mapping.toml"
//! [preflight]                              # the leader's daily check of the groups' servers
//! hour = 3                                 # UTC
//! spread = "1h"                            # groups come one after the other within that
//! ```

mod clouds;
mod cross;

pub use clouds::{CatalogueConfig, PreflightConfig, read_mapping};
pub use cross::{Disagreement, cross_check};

use rekindle_common::{SiteName, ZoneName, duration::Span, telemetry::Log, tls::TlsFiles};
use rekindle_net::AllowedNames;
use rekindle_openstack::CloudConfig;
use rekindle_store::EtcdConfig;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Everything that the orchestrator needs to know before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This site's name.
    pub site: SiteName,
    /// All sites that have a vote, this one too, and where each one's orchestrator is reached: `https://HOST:PORT`.
    pub sites: BTreeMap<SiteName, String>,
    /// All zones.
    pub zones: BTreeMap<ZoneName, ZoneConfig>,
    /// Where clients connect.
    pub listen: Listen,
    /// etcd.
    pub etcd: EtcdConfig,
    /// How sidecars are reached.
    #[serde(default)]
    pub sidecars: Sidecars,
    /// How often, and for how long.
    #[serde(default)]
    pub times: Times,
    /// What a group's policy may name as `application`.
    #[serde(default)]
    pub applications: BTreeMap<String, CommandConfig>,
    /// What a group's policy may name as `fence_agent`.
    #[serde(default)]
    pub fence_agents: BTreeMap<String, CommandConfig>,
    /// What a group's runbook may name as a hook, or as a command to wait for.
    #[serde(default)]
    pub hooks: BTreeMap<String, CommandConfig>,
    /// The zones' OpenStacks.
    #[serde(default)]
    pub clouds: BTreeMap<ZoneName, CloudConfig>,
    /// The other zone's catalogue; none is kept without it.
    #[serde(default)]
    pub catalogue: Option<CatalogueConfig>,
    /// The daily check of the groups' servers, where there is a catalogue.
    #[serde(default)]
    pub preflight: PreflightConfig,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// One zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneConfig {
    /// Its sidecar: `https://HOST:PORT`.
    pub sidecar: String,
    /// Its Ceph monitors, `HOST:PORT`: the port of either messenger protocol.
    pub ceph_mons: Vec<String>,
}

/// Where clients connect. At least one of `unix` and `tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// The unix socket for the command line.
    #[serde(default)]
    pub unix: Option<PathBuf>,
    /// Its mode, in octal as text: `"0660"`.
    #[serde(default = "default_mode")]
    pub unix_mode: String,
    /// Its group's number; the process's own by default.
    #[serde(default)]
    pub unix_group: Option<u32>,
    /// TCP with mutual TLS, for other sites and for the sidecars' failsafe question.
    #[serde(default)]
    pub tcp: Option<SocketAddr>,
    /// Its certificates.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// The DNS names in certificates whose holders may ask for anything there: the other orchestrators, both zones' sidecars (their
    /// failsafe question) and whoever gives orders; `driver-*` stands for one label. All that the authority has signed, by default.
    #[serde(default)]
    pub allowed: AllowedNames,
    /// TCP in the clear on a loopback address.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
}

fn default_mode() -> String {
    "0660".to_owned()
}

/// How sidecars are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecars {
    /// Certificates; `listen.tls` by default.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
}

/// How often, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Times {
    /// Between two looks at the zones.
    pub observe: Span,
    /// A look that takes longer counts as unanswered.
    pub probe: Span,
    /// Whole seconds after which a silent site's view vanishes.
    pub view_ttl: Span,
    /// Between two decisions of the leader.
    pub decide: Span,
    /// For each of the leader's questions to a sidecar.
    pub zone: Span,
    /// Whole seconds that etcd keeps a leader after its last renewal.
    pub leader_ttl: Span,
    /// Kept back from it: the leader stops acting that long before its lease can end.
    pub leader_safety: Span,
    /// Between two looks at what a step waits for.
    pub poll: Span,
    /// How far a zone's clock may be from this site's before the status names it.
    pub max_skew: Span,
    /// Between two looks at the zones' catalogues.
    pub catalogue: Span,
    /// Between two looks at the groups' servers.
    pub servers: Span,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            observe: Span::secs(1),
            probe: Span::millis(1500),
            view_ttl: Span::secs(6),
            decide: Span::secs(1),
            zone: Span::millis(2500),
            leader_ttl: Span::secs(10),
            leader_safety: Span::secs(2),
            poll: Span::millis(500),
            max_skew: Span::secs(5),
            catalogue: Span::secs(10),
            servers: Span::secs(30),
        }
    }
}

/// A command of the operator's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// The program and its arguments; no shell is between.
    pub command: Vec<String>,
    /// Killed after that long.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

fn default_timeout() -> Span {
    Span::secs(60)
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read, or a field is unknown, missing or of another kind.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why; names the field.
        source: Box<config::ConfigError>,
    },
    /// A field has no such value.
    #[error("{field}: {why}")]
    Field {
        /// The field, as a path.
        field: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The mapping cannot be read, or is no mapping.
    #[error("catalogue.mapping: {} cannot be read", path.display())]
    ReadMapping {
        /// The file.
        path: PathBuf,
        /// Why; names the field.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The mapping says what cannot be.
    #[error("catalogue.mapping: {}: {all}", path.display())]
    Mapping {
        /// The file.
        path: PathBuf,
        /// Every field that is wrong.
        all: String,
    },
}

type Checked = Result<(), ConfigError>;

fn bad(field: impl Into<String>, why: impl Into<String>) -> Checked {
    Err(ConfigError::Field {
        field: field.into(),
        why: why.into(),
    })
}

impl Config {
    /// Reads the file, the environment over it, and checks it.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and the field.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let environment = config::Environment::with_prefix("REKINDLE")
            .prefix_separator("__")
            .separator("__")
            .list_separator(",")
            .with_list_parse_key("etcd.endpoints")
            .with_list_parse_key("listen.allowed")
            .try_parsing(true);
        Self::read(path, Some(environment))
    }

    /// Reads a file alone, without the environment, and checks it: another machine's, for [`cross_check`].
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load_file(path: &Path) -> Result<Self, ConfigError> {
        Self::read(path, None)
    }

    fn read(path: &Path, environment: Option<config::Environment>) -> Result<Self, ConfigError> {
        let file = config::File::from(path)
            .format(config::FileFormat::Toml)
            .required(true);
        let mut builder = config::Config::builder().add_source(file);
        if let Some(environment) = environment {
            builder = builder.add_source(environment);
        }
        let config: Self = builder
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|e| ConfigError::Read {
                path: path.to_owned(),
                source: Box::new(e),
            })?;
        config.check()?;
        Ok(config)
    }

    /// Checks the fields against each other.
    ///
    /// # Errors
    /// [`ConfigError::Field`].
    pub fn check(&self) -> Checked {
        self.check_sites()?;
        self.check_zones()?;
        self.check_listen()?;
        if let Err(e) = self.etcd.check() {
            return bad("etcd", e.to_string());
        }
        self.check_times()?;
        self.check_clouds()?;
        for (kind, commands) in [
            ("applications", &self.applications),
            ("fence_agents", &self.fence_agents),
            ("hooks", &self.hooks),
        ] {
            for (name, c) in commands {
                let field = |f: &str| format!("{kind}.{name}.{f}");
                match c.command.first() {
                    Some(program) if program.starts_with('/') => {}
                    Some(program) => {
                        return bad(field("command"), format!("{program:?} is no absolute path"));
                    }
                    None => return bad(field("command"), "is empty"),
                }
                if c.timeout < Span::secs(1) || c.timeout > Span::secs(3600) {
                    return bad(
                        field("timeout"),
                        format!("{} is outside 1s to 1h", c.timeout),
                    );
                }
            }
        }
        Ok(())
    }

    fn check_sites(&self) -> Checked {
        if !self.sites.contains_key(&self.site) {
            return bad(
                "sites",
                format!("this site, {}, is not among them", self.site),
            );
        }
        // Two sites have no majority without both; an even number has no more than one less.
        if self.sites.len() < 3 || self.sites.len().is_multiple_of(2) {
            return bad(
                "sites",
                format!(
                    "{} have a vote: name an odd number of at least 3, the witness too",
                    self.sites.len()
                ),
            );
        }
        for (site, url) in &self.sites {
            if !url.starts_with("https://") {
                return bad(
                    format!("sites.{site}"),
                    format!("{url:?} is not https://HOST:PORT"),
                );
            }
        }
        Ok(())
    }

    fn check_zones(&self) -> Checked {
        if self.zones.len() < 2 {
            return bad("zones", "name both zones");
        }
        for (name, zone) in &self.zones {
            if !zone.sidecar.starts_with("https://") {
                return bad(
                    format!("zones.{name}.sidecar"),
                    format!("{:?} is not https://HOST:PORT", zone.sidecar),
                );
            }
            let field = format!("zones.{name}.ceph_mons");
            if zone.ceph_mons.is_empty() {
                return bad(
                    field,
                    "name its monitors: a zone is never lost by its sidecar's silence alone",
                );
            }
            let port = |m: &str| {
                m.rsplit_once(':')
                    .is_some_and(|(h, p)| !h.is_empty() && p.parse::<u16>().is_ok())
            };
            if let Some(m) = zone.ceph_mons.iter().find(|m| !port(m)) {
                return bad(field, format!("{m:?} is not HOST:PORT"));
            }
        }
        if self.sidecar_tls().is_none() {
            return bad(
                "sidecars.tls",
                "is needed to ask the sidecars, here or as listen.tls",
            );
        }
        Ok(())
    }

    fn check_listen(&self) -> Checked {
        let listen = &self.listen;
        if listen.unix.is_none() && listen.tcp.is_none() {
            return bad("listen", "name unix, tcp or both");
        }
        if listen.tcp.is_some() && listen.tls.is_none() {
            return bad("listen.tls", "is needed for listen.tcp");
        }
        if listen.tcp.is_none() && !listen.allowed.is_all() {
            return bad(
                "listen.allowed",
                "belongs to tcp: the unix socket has its mode",
            );
        }
        if self.socket_mode().is_none() {
            return bad(
                "listen.unix_mode",
                format!("{:?} is no mode such as \"0660\"", listen.unix_mode),
            );
        }
        if let Some(at) = listen.metrics
            && !at.ip().is_loopback()
        {
            return bad("listen.metrics", format!("{at} is no loopback address"));
        }
        Ok(())
    }

    fn check_times(&self) -> Checked {
        let t = &self.times;
        for (field, span) in [
            ("times.observe", t.observe),
            ("times.probe", t.probe),
            ("times.decide", t.decide),
            ("times.zone", t.zone),
            ("times.poll", t.poll),
            ("times.max_skew", t.max_skew),
        ] {
            if span < Span::millis(50) || span > Span::secs(60) {
                return bad(field, format!("{span} is outside 50ms to 1m"));
            }
        }
        for (field, span) in [
            ("times.view_ttl", t.view_ttl),
            ("times.leader_ttl", t.leader_ttl),
        ] {
            if span.get().subsec_nanos() != 0 || !(2..=120).contains(&span.get().as_secs()) {
                return bad(field, format!("{span} is not whole seconds from 2s to 2m"));
            }
        }
        if t.view_ttl.get() <= t.observe.get() + t.probe.get() {
            return bad(
                "times.view_ttl",
                format!(
                    "{} is not longer than observe {} and probe {} together: the view would vanish between two looks",
                    t.view_ttl, t.observe, t.probe
                ),
            );
        }
        if t.leader_safety.get() * 2 > t.leader_ttl.get() || t.leader_safety.get().is_zero() {
            return bad(
                "times.leader_safety",
                format!(
                    "{} is not from above 0s to half of leader_ttl {}",
                    t.leader_safety, t.leader_ttl
                ),
            );
        }
        Ok(())
    }

    /// The certificates that sidecars are asked with.
    #[must_use]
    pub fn sidecar_tls(&self) -> Option<&TlsFiles> {
        self.sidecars.tls.as_ref().or(self.listen.tls.as_ref())
    }

    /// The unix socket's mode; `None` where the text is none.
    #[must_use]
    pub fn socket_mode(&self) -> Option<u32> {
        u32::from_str_radix(&self.listen.unix_mode, 8)
            .ok()
            .filter(|m| *m <= 0o777)
    }
}

#[cfg(test)]
mod tests;
