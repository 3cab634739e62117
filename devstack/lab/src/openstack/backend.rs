//! The backends of a zone's cinder-volume: the one part of the configuration that changes while a lab is up.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::setup::{BINARY as SERVICE, Setup};
use super::{write_cinder, write_private};
use crate::ceph;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::services::cinder_worker::SecondVolume;
use crate::services::mariadb::ask_cinder;
use crate::services::{self, SiteCtx};
use crate::site::Site;
use crate::supervise;

const UPSTREAM: &str = "cinder.volume.drivers.rbd.RBDDriver";
const REKINDLE: &str = "rekindle_cinder.driver.RekindleRBDDriver";
/// The other sections of `cinder.conf`.
pub(super) const TAKEN: [&str; 11] = [
    "DEFAULT",
    "cinder_sys_admin",
    "coordination",
    "database",
    "key_manager",
    "keystone_authtoken",
    "nova",
    "oslo_concurrency",
    "oslo_messaging_rabbit",
    "oslo_middleware",
    "privsep_osbrick",
];

/// One section of `cinder.conf` that `enabled_backends` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    name: String,
    /// In the order of the file. A key may come twice: `replication_device` does, with several.
    options: Vec<(String, String)>,
}

impl Backend {
    /// Cinder's own RBD driver on the zone's pool, without replication.
    fn plain(ctx: &SiteCtx, name: &str) -> Self {
        let mut backend = Self {
            name: name.to_owned(),
            options: Vec::new(),
        };
        for (key, value) in [
            ("volume_driver", UPSTREAM.to_owned()),
            ("volume_backend_name", name.to_owned()),
            ("rbd_pool", ceph::POOL.to_owned()),
            ("rbd_user", ceph::CINDER_ID.to_owned()),
            ("rbd_ceph_conf", ctx.dirs.ceph_conf().display().to_string()),
            // Names the libvirt secret that a compute node keeps the key under; any UUID that both know.
            ("rbd_secret_uuid", ctx.fsid.clone().unwrap_or_default()),
            // The figures of a pool of thin images; the other way reads every image.
            ("rbd_exclusive_cinder_pool", "true".to_owned()),
        ] {
            backend = backend.set(key, value);
        }
        backend
    }

    /// Its name: the section, and the `volume_backend_name` that volume types ask for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets an option, whatever it was.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        self.options.retain(|(k, _)| k != key);
        self.options.push((key.to_owned(), value.into()));
        self
    }

    #[cfg(test)]
    pub(super) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            options: Vec::new(),
        }
    }

    /// Refuses what would make another file of `cinder.conf` than was meant.
    pub(super) fn check(&self) -> Result<()> {
        if !is_plain(&self.name) || TAKEN.contains(&self.name.as_str()) {
            return Err(LabError::BadInput(format!(
                "`{}` is no name for a backend: letters, digits, `-` and `_`, 64 at most, and no other section's",
                self.name
            )));
        }
        for (key, value) in &self.options {
            if !is_plain(key) || value.contains(['\n', '\r']) {
                return Err(LabError::BadInput(format!(
                    "the option `{key}` of backend {} does not fit on one line of cinder.conf",
                    self.name
                )));
            }
        }
        Ok(())
    }
}

/// A word that stands in `cinder.conf` and in SQL as it is.
pub(super) fn is_plain(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !text.is_empty() && text.len() <= 64 && text.chars().all(good)
}

/// Its section of `cinder.conf`.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[{}]", self.name)?;
        self.options
            .iter()
            .try_for_each(|(key, value)| writeln!(f, "{key} = {value}"))
    }
}

/// A zone's Cinder, to be configured. See [`Lab::cinder`].
#[derive(Debug)]
pub struct Cinder<'a> {
    lab: &'a Lab,
    ctx: SiteCtx,
    peer: SiteCtx,
}

impl Lab {
    /// The zone's Cinder.
    ///
    /// # Errors
    /// The site is no zone, or the lab is up without Cinder.
    pub fn cinder(&self, site: Site) -> Result<Cinder<'_>> {
        let ctx = self.zone_ctx(site)?;
        ctx.install()?;
        let peer = site.peer().unwrap_or(site);
        Ok(Cinder {
            lab: self,
            ctx,
            peer: self.ctx(peer),
        })
    }
}

impl Cinder<'_> {
    /// A backend with Cinder's own driver on the zone's pool, without replication.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Backend {
        Backend::plain(&self.ctx, name)
    }

    /// The same, replicated to the other zone.
    #[must_use]
    pub fn upstream_replicated(&self, name: &str) -> Backend {
        let device = format!(
            "backend_id:{},conf:{},user:{},secret_uuid:{}",
            self.peer.site.name(),
            self.peer.dirs.ceph_conf().display(),
            ceph::CINDER_ID,
            self.peer.fsid.as_deref().unwrap_or_default()
        );
        self.upstream(name).set("replication_device", device)
    }

    /// A backend with Rekindle's driver, whose sidecar listens on this socket.
    #[must_use]
    pub fn rekindle(&self, name: &str, socket: &Path) -> Backend {
        self.upstream_replicated(name)
            .set("volume_driver", REKINDLE)
            .set("rekindle_socket", socket.display().to_string())
    }

    /// What a lab has before anybody configured anything: one backend named `rbd`, Cinder's own driver, no replication.
    #[must_use]
    pub fn usual(&self) -> Vec<Backend> {
        usual(&self.ctx)
    }

    /// The backends that are configured now.
    ///
    /// # Errors
    /// Their record cannot be read.
    pub fn backends(&self) -> Result<Vec<Backend>> {
        Ok(self.setup()?.backends().to_vec())
    }

    /// The cluster that cinder-volume is in now.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn cluster(&self) -> Result<Option<String>> {
        Ok(self.setup()?.cluster().map(str::to_owned))
    }

    pub(crate) fn setup(&self) -> Result<Setup> {
        setup(&self.ctx)
    }

    /// Writes these backends, and no others, into `cinder.conf`, and restarts cinder-volume. Returns when each has said
    /// that it lives. Does nothing where they are so already and cinder-volume runs.
    ///
    /// # Errors
    /// There is none, or two of one name, or cinder-volume does not come up with them: its log says why.
    pub fn configure(&self, backends: &[Backend]) -> Result<()> {
        self.set_up(&Setup::Alone(backends.to_vec()))
    }

    /// The same with two cinder-volumes in one cluster, active/active: the zone's own, and [`Cinder::SECOND`], whose host is
    /// `SITE-2`. What the zone's own has already is taken into the cluster.
    ///
    /// # Errors
    /// As [`Cinder::configure`], or the name is no plain word.
    pub fn configure_cluster(&self, cluster: &str, backends: &[Backend]) -> Result<()> {
        self.set_up(&Setup::Cluster {
            cluster: cluster.to_owned(),
            backends: backends.to_vec(),
        })
    }

    /// The second member of a cluster, to be killed and paused like a service; see [`Cinder::start_second`].
    pub const SECOND: &'static str = SecondVolume::NAME;

    fn set_up(&self, setup: &Setup) -> Result<()> {
        setup.check()?;
        if self.setup()? != *setup {
            let forget = setup.forget_sql(self.ctx.site);
            return self.while_stopped(setup, |ctx| ask_cinder(ctx, &forget).map(drop));
        }
        let _lock = self.lab.lock_site(self.ctx.site)?;
        self.start(setup)
    }

    /// Kills cinder-volume, does that, and starts it again with this setup.
    pub(crate) fn while_stopped(
        &self,
        setup: &Setup,
        what: impl FnOnce(&SiteCtx) -> Result<()>,
    ) -> Result<()> {
        let _lock = self.lab.lock_site(self.ctx.site)?;
        // Asked to end it takes up to ten seconds for it, and there is nothing to lose.
        self.lab.kill_service(self.ctx.site, SERVICE)?;
        supervise::kill(&self.ctx, Self::SECOND)?;
        // Its record goes too: the zone's next start would bring it back.
        supervise::stop(&self.ctx, Self::SECOND, Duration::ZERO)?;
        what(&self.ctx)?;
        let text = serde_json::to_string_pretty(setup).map_err(|e| LabError::BadState {
            path: record(&self.ctx),
            why: e.to_string(),
        })?;
        write_private(&record(&self.ctx), &text)?;
        write_cinder(&self.ctx, setup)?;
        self.start(setup)
    }

    fn start(&self, setup: &Setup) -> Result<()> {
        self.lab.start_service(self.ctx.site, SERVICE)?;
        match setup {
            Setup::Alone(_) => Ok(()),
            Setup::Cluster { .. } => self.start_second(),
        }
    }

    /// Starts the second member of a cluster unless it runs, and returns when it has said that it lives.
    ///
    /// # Errors
    /// It cannot be started, has died, or says nothing in three minutes.
    pub fn start_second(&self) -> Result<()> {
        services::start(&SecondVolume, &self.ctx)?;
        services::wait_ready(&SecondVolume, &self.ctx)
    }

    pub(crate) fn ctx(&self) -> &SiteCtx {
        &self.ctx
    }

    /// Kills cinder-volume and starts it again, without a wait for it: with a dead Ceph it may never be ready.
    ///
    /// # Errors
    /// It would not die, or cannot be started.
    pub fn restart_volume(&self) -> Result<()> {
        self.lab.kill_service(self.ctx.site, SERVICE)?;
        self.lab.launch_service(self.ctx.site, SERVICE)
    }
}

fn record(ctx: &SiteCtx) -> PathBuf {
    super::dir(ctx).join("backends.json")
}

fn usual(ctx: &SiteCtx) -> Vec<Backend> {
    vec![Backend::plain(ctx, "rbd")]
}

/// What the zone's cinder-volume runs as: what was configured last, else alone with the usual backend.
pub(crate) fn setup(ctx: &SiteCtx) -> Result<Setup> {
    let path = record(ctx);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|e| LabError::BadState {
            path,
            why: e.to_string(),
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Setup::Alone(usual(ctx))),
        Err(source) => Err(LabError::Io {
            what: format!("reading {}", path.display()),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_has_each_option_once_with_its_last_value() {
        let backend = Backend::named("rekindle")
            .set("volume_driver", UPSTREAM)
            .set("rbd_pool", "volumes")
            .set("volume_driver", REKINDLE);
        assert_eq!(
            backend.to_string(),
            format!("[rekindle]\nrbd_pool = volumes\nvolume_driver = {REKINDLE}\n")
        );
    }
}
