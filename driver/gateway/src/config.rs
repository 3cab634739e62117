//! The configuration: a TOML file, and the environment over it (`REKINDLE__SECTION__KEY`).

use crate::{
    client_io::ClientTimes,
    framing::HeadLimits,
    prefix::Prefix,
    server::ServerLimits,
    status::Settings,
    trust::Networks,
    upstream::{UpstreamTimes, UpstreamUrl},
};
use rekindle_common::{ZoneName, duration::Span, telemetry::Log, tls::TlsFiles};
use rekindle_openstack::CloudConfig;
use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The zone whose Cinder stands behind it.
    pub zone: ZoneName,
    /// Where clients connect.
    pub listen: Listen,
    /// Cinder.
    pub upstream: UpstreamConfig,
    /// What Cinder is told of its clients.
    #[serde(default)]
    pub forwarded: Forwarded,
    /// The other zone, where the peers of this zone's volumes are.
    #[serde(default)]
    pub peer: Option<ZoneName>,
    /// What carries out the volume actions; without it there are none but Cinder's, no status and no guards.
    #[serde(default)]
    pub actions: Option<ActionsConfig>,
    /// How the replication status is shown.
    #[serde(default)]
    pub status: StatusConfig,
    /// What of Cinder's own requests is refused where it would break a replicated pair.
    #[serde(default)]
    pub guards: GuardsConfig,
    /// Limits on clients.
    #[serde(default)]
    pub limits: Limits,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// The address that stands in Keystone's catalogue, or that a load balancer in front of it knows.
    pub address: SocketAddr,
    /// Its certificate; without one it is spoken in the clear.
    #[serde(default)]
    pub tls: Option<ServerCert>,
    /// TCP in the clear on a loopback address, for `/metrics` and the health probes.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
}

/// A server's certificate, in PEM. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerCert {
    /// The certificate, with those between it and its authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Cinder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub url: UpstreamUrl,
    /// The path under which it offers its API there: `/volume`, as in a `DevStack`. Requests have it too, for paths go on as they are.
    #[serde(default)]
    pub prefix: String,
    /// The authorities that its certificate is of, in PEM. The file is read again when it changes.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Connections to it, all together: as many requests are answered at once. Half of them wait for clients' bodies at most.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// For one of them to be free.
    #[serde(default = "default_wait")]
    pub wait_time: Span,
    /// To connect, with the TLS handshake.
    #[serde(default = "default_connect")]
    pub connect_time: Span,
    /// From the end of a request to the head of its answer. Longer than what Cinder waits for its own services (`rpc_response_timeout`).
    #[serde(default = "default_first_byte")]
    pub first_byte_time: Span,
    /// Between two pieces of an answer.
    #[serde(default = "default_idle")]
    pub idle_time: Span,
    /// For so long a connection is kept for the next request. Shorter than Cinder's server keeps it.
    #[serde(default = "default_keep")]
    pub keep_alive: Span,
}

fn default_connections() -> usize {
    256
}
fn default_wait() -> Span {
    Span::secs(10)
}
fn default_connect() -> Span {
    Span::secs(3)
}
fn default_first_byte() -> Span {
    Span::secs(120)
}
fn default_idle() -> Span {
    Span::secs(60)
}
/// Apache's own is 5 s.
fn default_keep() -> Span {
    Span::secs(4)
}

impl UpstreamConfig {
    /// As the client of it takes them.
    pub(crate) fn times(&self) -> UpstreamTimes {
        UpstreamTimes {
            wait: self.wait_time.get(),
            connect: self.connect_time.get(),
            first_byte: self.first_byte_time.get(),
            idle: self.idle_time.get(),
            keep_alive: self.keep_alive.get(),
        }
    }
}

/// What Cinder is told of its clients, in `X-Forwarded-*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Forwarded {
    /// The networks of proxies in front of the gateway: what they say of their clients is passed on. All others are not believed.
    pub trusted: Networks,
    /// The path under which a proxy in front offers the gateway, where it takes that off: `/volume`.
    pub prefix: Option<String>,
}

/// What carries out the volume actions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionsConfig {
    /// The gateway's own account, an administrator's: it looks at tokens, and asks Cinder which image is under a volume. `backends`
    /// names the host that Cinder knows each RBD pool by.
    pub cloud: CloudConfig,
    /// The zone's sidecar.
    pub sidecar: SidecarConfig,
    /// Who may ask for what, where it is not as by default; read at the start.
    #[serde(default)]
    pub rules: Option<PathBuf>,
}

/// The zone's sidecar: a unix socket, or an address with certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SidecarConfig {
    /// Its socket.
    #[serde(default)]
    pub unix: Option<PathBuf>,
    /// `https://HOST:PORT`.
    #[serde(default)]
    pub url: Option<String>,
    /// Certificates to reach it there with.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// An action may take so long. Longer than the sidecar's own `limits.action`.
    #[serde(default = "default_action")]
    pub call_time: Span,
}

fn default_action() -> Span {
    Span::secs(60)
}

/// How the replication status is shown in Cinder's bodies. It comes from the sidecar of `[actions]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusConfig {
    /// Whether it is.
    pub shown: bool,
    /// Whether it stands in Cinder's own `replication_status` too, for clients that show no other field.
    pub replication_status: bool,
    /// What the sidecar said is good for so long.
    pub age: Span,
    /// A look at volumes waits so long for the sidecar; then their status is unknown.
    pub wait_time: Span,
    /// Bytes of a body. A larger one goes through without the status.
    pub body: usize,
    /// Volumes that are collected to be ordered or filtered by status.
    pub collected: usize,
}

impl Default for StatusConfig {
    fn default() -> Self {
        Self {
            shown: true,
            replication_status: false,
            age: Span::secs(1),
            wait_time: Span::millis(300),
            body: 16 * 1024 * 1024,
            collected: 5000,
        }
    }
}

impl StatusConfig {
    /// As what shows it takes them.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            age: self.age.get(),
            wait: self.wait_time.get(),
            body: self.body,
            collected: self.collected,
            replication_status: self.replication_status,
        }
    }
}

/// What of Cinder's own requests is refused where it would break a replicated pair. The sidecar of `[actions]` says which volumes are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardsConfig {
    /// Whether anything is.
    pub enforced: bool,
    /// A request waits so long for the sidecar.
    pub wait_time: Span,
}

impl Default for GuardsConfig {
    fn default() -> Self {
        Self {
            enforced: true,
            wait_time: Span::secs(2),
        }
    }
}

/// Limits on clients.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Requests in flight. The bodies of half of them are waited for at most.
    pub requests: usize,
    /// Volume actions of one project in flight, as Keystone names the project of their tokens.
    pub project_actions: usize,
    /// Bytes of a request's body. Cinder's own limit (112 KiB by default) is to be met first.
    pub body: u64,
    /// Bytes of a request's head. Tokens are long.
    pub head: usize,
    /// Fields of it.
    pub fields: usize,
    /// Bytes of its path and query.
    pub target: usize,
    /// From a head's first byte to its last.
    pub head_time: Span,
    /// Between two requests of a connection.
    pub keep_alive: Span,
    /// Without a byte of a body, or without reading a byte of an answer.
    pub idle_time: Span,
    /// A client's body is waited for so long in all, and a second longer for each `body_rate` bytes of it that came.
    pub body_time: Span,
    /// Bytes in a second: the least rate at which a large body comes.
    pub body_rate: u64,
    /// How long what is in flight may take to finish at the end.
    pub drain_time: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            requests: 1024,
            project_actions: 8,
            body: 4 * 1024 * 1024,
            head: 48 * 1024,
            fields: 100,
            target: 16 * 1024,
            head_time: Span::secs(10),
            keep_alive: Span::secs(75),
            idle_time: Span::secs(30),
            body_time: Span::secs(60),
            body_rate: 1024,
            drain_time: Span::secs(60),
        }
    }
}

impl Limits {
    /// As the server takes them.
    pub(crate) fn server(&self) -> ServerLimits {
        ServerLimits {
            connections: self.connections,
            head: HeadLimits {
                bytes: self.head,
                fields: self.fields,
                target: self.target,
            },
            times: ClientTimes {
                head: self.head_time.get(),
                keep_alive: self.keep_alive.get(),
                idle: self.idle_time.get(),
                body: self.body_time.get(),
                body_rate: self.body_rate,
            },
            drain: self.drain_time.get(),
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

fn bad(field: &'static str, why: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::Field {
        field,
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
            .with_list_parse_key("forwarded.trusted")
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

    /// Checks the fields, and against each other.
    ///
    /// # Errors
    /// [`ConfigError::Field`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.listen.metrics.is_some_and(|a| !a.ip().is_loopback()) {
            return bad("listen.metrics", "is in the clear: a loopback address only");
        }
        if self.upstream.url.is_secure() != self.upstream.ca.is_some() {
            return bad(
                "upstream.ca",
                "belongs to an https:// upstream.url: give both or neither",
            );
        }
        let prefix = &self.upstream.prefix;
        if Prefix::read(prefix).is_none() {
            let why = format!("{prefix:?} is no path such as /volume, without the version");
            return bad("upstream.prefix", why);
        }
        if let Some(prefix) = &self.forwarded.prefix {
            let is_path = prefix.starts_with('/')
                && !prefix.ends_with('/')
                && prefix.bytes().all(|b| b.is_ascii_graphic());
            if !is_path {
                return bad(
                    "forwarded.prefix",
                    format!("{prefix:?} is no path such as /volume"),
                );
            }
        }
        self.check_actions()?;
        self.check_numbers()?;
        self.check_times()
    }

    fn check_actions(&self) -> Result<(), ConfigError> {
        if self.peer.as_ref() == Some(&self.zone) {
            return bad("peer", "is the other zone, and not this one");
        }
        let Some(actions) = &self.actions else {
            return Ok(());
        };
        if let Err(e) = actions.cloud.check() {
            return bad("actions.cloud", e.to_string());
        }
        if actions.cloud.backends.is_empty() {
            return bad(
                "actions.cloud.backends",
                "name the host that Cinder knows each RBD pool by: volumes = \"HOST@BACKEND#POOL\"",
            );
        }
        let s = &actions.sidecar;
        if s.unix.is_some() == s.url.is_some() || s.url.is_some() != s.tls.is_some() {
            return bad("actions.sidecar", "give unix, or url with tls");
        }
        if s.call_time < Span::secs(1) || s.call_time > Span::secs(600) {
            let why = format!("{} is outside 1s to 10m", s.call_time);
            return bad("actions.sidecar.call_time", why);
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let l = &self.limits;
        for (field, given, least, most) in [
            ("limits.connections", l.connections, 1, 100_000),
            ("limits.requests", l.requests, 1, 100_000),
            ("limits.project_actions", l.project_actions, 1, 10_000),
            ("limits.head", l.head, 4096, 1024 * 1024),
            ("limits.fields", l.fields, 16, 1000),
            ("limits.target", l.target, 1024, 60 * 1024),
            ("upstream.connections", self.upstream.connections, 1, 10_000),
            ("status.body", self.status.body, 64 * 1024, 32 * 1024 * 1024),
            ("status.collected", self.status.collected, 1, 20_000),
        ] {
            if !(least..=most).contains(&given) {
                return bad(field, format!("{given} is outside {least} to {most}"));
            }
        }
        if l.body < 128 * 1024 {
            let why = format!("{} is less than 131072: Cinder takes more", l.body);
            return bad("limits.body", why);
        }
        if !(1..=1_000_000_000).contains(&l.body_rate) {
            let why = format!("{} is outside 1 to 1000000000", l.body_rate);
            return bad("limits.body_rate", why);
        }
        if l.target >= l.head {
            let why = format!("{} does not fit into limits.head ({})", l.target, l.head);
            return bad("limits.target", why);
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        let (l, up) = (&self.limits, &self.upstream);
        for (field, span) in [
            ("status.age", self.status.age),
            ("status.wait_time", self.status.wait_time),
            ("guards.wait_time", self.guards.wait_time),
        ] {
            if span < Span::millis(10) || span > Span::secs(10) {
                return bad(field, format!("{span} is outside 10ms to 10s"));
            }
        }
        for (field, span) in [
            ("limits.head_time", l.head_time),
            ("limits.keep_alive", l.keep_alive),
            ("limits.idle_time", l.idle_time),
            ("limits.body_time", l.body_time),
            ("limits.drain_time", l.drain_time),
            ("upstream.wait_time", up.wait_time),
            ("upstream.connect_time", up.connect_time),
            ("upstream.first_byte_time", up.first_byte_time),
            ("upstream.idle_time", up.idle_time),
            ("upstream.keep_alive", up.keep_alive),
        ] {
            if span < Span::millis(50) || span > Span::secs(3600) {
                return bad(field, format!("{span} is outside 50ms to 1h"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
