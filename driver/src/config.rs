//! The sidecar's configuration: one TOML file, the environment over it (`REKINDLE__SECTION__KEY`).
//!
//! ```toml
//! zone = "zone-a"
//! [ceph]
//! conf = "/etc/ceph/ceph.conf"
//! client = "client.rekindle"
//! pools = ["volumes"]
//! [listen]
//! unix = "/run/rekindle/driver.sock"
//! tcp = "192.0.2.10:7300"
//! tls = { ca = "/etc/rekindle/ca.pem", cert = "/etc/rekindle/driver.pem", key = "/etc/rekindle/driver.key" }
//! allowed = ["orchestrator-*", "admin.zone-a"]
//! metrics = "127.0.0.1:9464"
//! [etcd]
//! endpoints = ["https://192.0.2.10:2379", "https://192.0.2.20:2379", "https://192.0.2.30:2379"]
//! tls = { ca = "…", cert = "…", key = "…" }
//! [peer]
//! zone = "zone-b"
//! url = "https://192.0.2.20:7300"
//! [failsafe]
//! sites = { zone-b = "https://192.0.2.20:7400", witness = "https://192.0.2.30:7400" }
//! ```

use crate::{actions::Limits, cinder::CinderLimits};
use rekindle_common::{SiteName, ZoneName, duration::Span, telemetry::Log, tls::TlsFiles};
use rekindle_net::AllowedNames;
use rekindle_store::EtcdConfig;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Everything that the sidecar needs to know before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This zone's name. Also the RBD mirroring site name.
    pub zone: ZoneName,
    /// The zone's cluster.
    pub ceph: CephConfig,
    /// Where clients connect.
    pub listen: Listen,
    /// etcd; without it this sidecar takes no lease, and no volume of a group can be promoted here.
    #[serde(default)]
    pub etcd: Option<EtcdConfig>,
    /// Whom to ask when etcd is ill.
    #[serde(default)]
    pub failsafe: Failsafe,
    /// The other zone's sidecar; Cinder's hooks need it.
    #[serde(default)]
    pub peer: Option<PeerConfig>,
    /// How long Cinder's calls may take.
    #[serde(default)]
    pub cinder: CinderLimits,
    /// Deadlines and bounds of the actions.
    #[serde(default)]
    pub limits: Limits,
    /// Limits on clients.
    #[serde(default)]
    pub http: HttpLimits,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// The zone's cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CephConfig {
    /// Its configuration file.
    pub conf: PathBuf,
    /// The client's full name. It needs `profile rbd` on the pools, `profile rbd-read-only` on those that their images are clones from,
    /// and `blocklist` on the mons to fence.
    #[serde(default = "default_client")]
    pub client: String,
    /// Its keyring, where the configuration file does not name it.
    #[serde(default)]
    pub keyring: Option<PathBuf>,
    /// The pools whose volumes this sidecar looks after.
    pub pools: Vec<String>,
    /// The pool that holds the zone's own records; the first of `pools` by default.
    #[serde(default)]
    pub state_pool: Option<String>,
    /// Threads that call librbd.
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// To find a monitor and authenticate.
    #[serde(default = "default_connect")]
    pub connect_timeout: Span,
}

fn default_client() -> String {
    "client.admin".to_owned()
}
/// Those of `limits.parallel`, and some for looks meanwhile.
fn default_threads() -> usize {
    24
}
fn default_connect() -> Span {
    Span::secs(5)
}

/// Where clients connect. At least one of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// The unix socket for the shim and the command line.
    #[serde(default)]
    pub unix: Option<PathBuf>,
    /// Its mode, in octal as text: `"0660"`.
    #[serde(default = "default_mode")]
    pub unix_mode: String,
    /// Its group's number; the process's own by default.
    #[serde(default)]
    pub unix_group: Option<u32>,
    /// TCP with mutual TLS, for the orchestrators.
    #[serde(default)]
    pub tcp: Option<SocketAddr>,
    /// Its certificates. They are read again when the files change.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// The DNS names in certificates whose holders may ask for anything there; `orchestrator-*` stands for one label. All that the
    /// authority has signed, by default.
    #[serde(default)]
    pub allowed: AllowedNames,
    /// TCP in the clear on a loopback address, for `/metrics` and the health probes alone.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
}

fn default_mode() -> String {
    "0660".to_owned()
}

/// The other zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// Its name.
    pub zone: ZoneName,
    /// Its sidecar: `https://HOST:PORT`.
    pub url: String,
    /// What `replication_device = backend_id:…` in cinder.conf calls it; its name by default.
    #[serde(default)]
    pub backend_id: Option<String>,
    /// Certificates to reach it with; `listen.tls` by default.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
}

impl PeerConfig {
    /// Cinder's name for it.
    #[must_use]
    pub fn backend_id(&self) -> &str {
        self.backend_id.as_deref().unwrap_or(self.zone.as_str())
    }
}

/// The other sites' orchestrators. All must answer before an isolated lease is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failsafe {
    /// Every other site's orchestrator: `https://HOST:PORT`.
    #[serde(default)]
    pub sites: BTreeMap<SiteName, String>,
    /// Certificates to ask them with; `listen.tls` by default.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
}

/// Limits on clients; see [`rekindle_net::Limits`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpLimits {
    /// Open connections of those with a certificate, as many again over the unix socket, and again over the loopback address.
    pub connections: usize,
    /// Bytes of a body.
    pub body: usize,
    /// From a connection's start to a complete head.
    pub header_time: Span,
    /// From a request's head to the head of its answer.
    pub request_time: Span,
    /// How long what is in flight may take to finish at the end.
    pub drain_time: Span,
}

impl Default for HttpLimits {
    fn default() -> Self {
        let d = rekindle_net::Limits::default();
        Self {
            connections: d.connections,
            body: d.body,
            header_time: Span(d.header_time),
            request_time: Span(d.request_time),
            drain_time: Span(d.drain_time),
        }
    }
}

impl HttpLimits {
    /// As the server takes them.
    #[must_use]
    pub fn get(&self) -> rekindle_net::Limits {
        rekindle_net::Limits {
            connections: self.connections,
            header_time: self.header_time.get(),
            body: self.body,
            request_time: self.request_time.get(),
            drain_time: self.drain_time.get(),
        }
    }
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
        field: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
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
            .with_list_parse_key("ceph.pools")
            .with_list_parse_key("etcd.endpoints")
            .with_list_parse_key("listen.allowed")
            .try_parsing(true);
        let file = config::File::from(path)
            .format(config::FileFormat::Toml)
            .required(true);
        let config: Self = config::Config::builder()
            .add_source(file)
            .add_source(environment)
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
    pub fn check(&self) -> Result<(), ConfigError> {
        let bad = |field, why: String| Err(ConfigError::Field { field, why });
        if let Some(Err(e)) = self.etcd.as_ref().map(EtcdConfig::check) {
            return bad("etcd", e.to_string());
        }
        let pools = &self.ceph.pools;
        let distinct: BTreeSet<&String> = pools.iter().collect();
        if pools.is_empty() || distinct.len() != pools.len() {
            return bad(
                "ceph.pools",
                "name at least one pool, and none twice".into(),
            );
        }
        if let Some(p) = pools
            .iter()
            .find(|p| rekindle_common::ImageSpec::new(p.as_str(), "x").is_err())
        {
            return bad("ceph.pools", format!("{p:?} is no pool name"));
        }
        if !self.ceph.client.starts_with("client.") {
            let why = format!(
                "{:?} is no full client name, such as client.cinder",
                self.ceph.client
            );
            return bad("ceph.client", why);
        }
        if !(2..=256).contains(&self.ceph.threads) {
            return bad(
                "ceph.threads",
                format!("{} is outside 2 to 256", self.ceph.threads),
            );
        }
        if !(1..=self.ceph.threads).contains(&self.limits.parallel) {
            let why = format!(
                "{} is outside 1 to ceph.threads ({})",
                self.limits.parallel, self.ceph.threads
            );
            return bad("limits.parallel", why);
        }
        if !(1..=8).contains(&self.limits.copies) {
            let why = format!("{} is outside 1 to 8", self.limits.copies);
            return bad("limits.copies", why);
        }
        for (field, span) in [
            ("limits.action", self.limits.action),
            ("limits.look", self.limits.look),
            ("limits.probe", self.limits.probe),
            ("ceph.connect_timeout", self.ceph.connect_timeout),
            ("http.request_time", self.http.request_time),
        ] {
            if span < Span::millis(100) || span > Span::secs(3600) {
                return bad(field, format!("{span} is outside 100ms to 1h"));
            }
        }
        if self.limits.abandon < self.limits.action {
            let why = format!(
                "{} is shorter than limits.action ({})",
                self.limits.abandon, self.limits.action
            );
            return bad("limits.abandon", why);
        }
        if self.http.request_time <= self.limits.action {
            let why = format!(
                "{} is not longer than limits.action ({}): its answer could not be given",
                self.http.request_time, self.limits.action
            );
            return bad("http.request_time", why);
        }
        if self.http.body < 1024 || self.http.connections == 0 {
            return bad(
                "http",
                "body is at least 1024 bytes, connections at least 1".into(),
            );
        }
        self.check_listen()?;
        self.check_cinder()?;
        if let Some((site, url)) = self
            .failsafe
            .sites
            .iter()
            .find(|(site, url)| **site == self.zone || !url.starts_with("https://"))
        {
            let why = format!("{site} = {url:?}: name every other site, and https://HOST:PORT");
            return bad("failsafe.sites", why);
        }
        if !self.failsafe.sites.is_empty() && self.failsafe_tls().is_none() {
            let why = "is needed to ask the sites, here or as listen.tls".to_owned();
            return bad("failsafe.tls", why);
        }
        Ok(())
    }

    fn check_cinder(&self) -> Result<(), ConfigError> {
        let bad = |field, why: String| Err(ConfigError::Field { field, why });
        let c = &self.cinder;
        for (field, span) in [
            ("cinder.failover_time", c.failover_time),
            ("cinder.call_time", c.call_time),
        ] {
            if span < Span::secs(1) || span >= self.http.request_time {
                let why = format!(
                    "{span} is not between 1s and http.request_time ({}): its answer could not be given",
                    self.http.request_time
                );
                return bad(field, why);
            }
        }
        let Some(peer) = &self.peer else {
            return Ok(());
        };
        if peer.zone == self.zone {
            return bad("peer.zone", "is this zone: name the other one".into());
        }
        let id = peer.backend_id();
        if id.is_empty() || id.len() > 255 || id == crate::cinder::DEFAULT {
            let why = format!("{id:?} cannot name the other zone in cinder.conf");
            return bad("peer.backend_id", why);
        }
        if !peer.url.starts_with("https://") {
            return bad("peer.url", "is https://HOST:PORT".into());
        }
        if self.peer_tls().is_none() {
            let why = "is needed to reach the other zone, here or as listen.tls".to_owned();
            return bad("peer.tls", why);
        }
        Ok(())
    }

    /// The certificates to reach the other zone's sidecar with.
    #[must_use]
    pub fn peer_tls(&self) -> Option<&TlsFiles> {
        let own = self.peer.as_ref().and_then(|p| p.tls.as_ref());
        own.or(self.listen.tls.as_ref())
    }

    fn check_listen(&self) -> Result<(), ConfigError> {
        let bad = |field, why: &str| {
            Err(ConfigError::Field {
                field,
                why: why.to_owned(),
            })
        };
        let l = &self.listen;
        if l.unix.is_none() && l.tcp.is_none() {
            return bad("listen", "give unix, tcp, or both");
        }
        if l.tcp.is_some() != l.tls.is_some() {
            return bad("listen.tls", "belongs to tcp: give both or neither");
        }
        if l.tcp.is_none() && !l.allowed.is_all() {
            return bad(
                "listen.allowed",
                "belongs to tcp: the unix socket has its mode",
            );
        }
        if self.socket_mode().is_none() {
            return bad(
                "listen.unix_mode",
                "is octal, such as \"0660\", and lets nobody else in",
            );
        }
        if l.metrics.is_some_and(|a| !a.ip().is_loopback()) {
            return bad("listen.metrics", "is in the clear: a loopback address only");
        }
        Ok(())
    }

    /// The unix socket's mode. Others than owner and group have no business there: who may connect may do everything.
    #[must_use]
    pub fn socket_mode(&self) -> Option<u32> {
        u32::from_str_radix(&self.listen.unix_mode, 8)
            .ok()
            .filter(|m| m & !0o770 == 0 && m & 0o600 == 0o600)
    }

    /// The certificates to ask other sites with.
    #[must_use]
    pub fn failsafe_tls(&self) -> Option<&TlsFiles> {
        self.failsafe.tls.as_ref().or(self.listen.tls.as_ref())
    }

    /// The pool that holds the zone's own records.
    #[must_use]
    pub fn state_pool(&self) -> &str {
        match (&self.ceph.state_pool, self.ceph.pools.first()) {
            (Some(pool), _) => pool,
            (None, Some(first)) => first,
            (None, None) => "",
        }
    }
}

#[cfg(test)]
mod tests;
