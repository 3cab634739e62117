//! What the lab looks like now.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::error::Result;
use crate::lab::Lab;
use crate::site::Site;
use crate::supervise;

/// A process of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum ServiceState {
    /// It runs and does its work.
    Ready {
        /// Its process.
        pid: u32,
    },
    /// It runs, but does not (yet) do its work.
    NotReady {
        /// Its process.
        pid: u32,
        /// Why not.
        why: String,
    },
    /// Stopped by SIGSTOP.
    Paused {
        /// Its process.
        pid: u32,
    },
    /// It does not run.
    Dead,
}

/// A site.
#[derive(Debug, Clone, Serialize)]
pub struct SiteStatus {
    /// Cut off from everybody.
    pub isolated: bool,
    /// Sites it cannot reach although neither of the two is isolated.
    pub cut_off_from: Vec<Site>,
    /// Its services and what was spawned in it.
    pub services: BTreeMap<String, ServiceState>,
}

/// The whole lab.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Each site.
    pub sites: BTreeMap<Site, SiteStatus>,
}

impl Status {
    /// Whether every service is ready and no link is cut. It says nothing of mirroring: for that, see
    /// [`Lab::wait_mirroring`].
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.sites.values().all(|s| {
            !s.isolated
                && s.cut_off_from.is_empty()
                && s.services
                    .values()
                    .all(|v| matches!(v, ServiceState::Ready { .. }))
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (site, status) in &self.sites {
            write!(f, "{site}")?;
            if status.isolated {
                write!(f, " (isolated)")?;
            }
            for other in &status.cut_off_from {
                write!(f, " (cut off from {other})")?;
            }
            writeln!(f)?;
            for (name, state) in &status.services {
                match state {
                    ServiceState::Ready { pid } => writeln!(f, "  {name:<16} ready, pid {pid}")?,
                    ServiceState::NotReady { pid, why } => {
                        writeln!(f, "  {name:<16} not ready, pid {pid}: {why}")?;
                    }
                    ServiceState::Paused { pid } => writeln!(f, "  {name:<16} paused, pid {pid}")?,
                    ServiceState::Dead => writeln!(f, "  {name:<16} dead")?,
                }
            }
        }
        Ok(())
    }
}

impl Lab {
    /// Looks at every link and every process. Works whatever is broken.
    ///
    /// # Errors
    /// The lab's own records or the network cannot be read.
    pub fn status(&self) -> Result<Status> {
        let mut sites = BTreeMap::new();
        for site in Site::ALL {
            sites.insert(site, self.site_status(site)?);
        }
        Ok(Status { sites })
    }

    fn site_status(&self, site: Site) -> Result<SiteStatus> {
        let (ctx, net) = (self.ctx(site), self.net());
        let mut cut_off_from = Vec::new();
        for other in Site::ALL {
            if net.is_cut(site, other)? {
                cut_off_from.push(other);
            }
        }
        let mut all = BTreeMap::new();
        for service in self.services(site) {
            let state = match supervise::alive(&ctx, service.name())? {
                None => ServiceState::Dead,
                Some(id) if id.is_stopped() => ServiceState::Paused { pid: id.pid },
                Some(id) => match service.ready(&ctx) {
                    Ok(()) => ServiceState::Ready { pid: id.pid },
                    Err(why) => ServiceState::NotReady { pid: id.pid, why },
                },
            };
            all.insert(service.name().to_owned(), state);
        }
        for (name, record) in supervise::records(&ctx)? {
            let pid = record.id.pid;
            let state = match (record.id.is_alive(), record.id.is_stopped()) {
                (true, false) => ServiceState::Ready { pid },
                (true, true) => ServiceState::Paused { pid },
                (false, _) => ServiceState::Dead,
            };
            all.entry(name).or_insert(state);
        }
        Ok(SiteStatus {
            isolated: net.is_isolated(site)?,
            cut_off_from,
            services: all,
        })
    }
}
