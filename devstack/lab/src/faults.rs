//! Faults as verbs, and their undoing.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::ceph;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::process::Membership;
use crate::services;
use crate::site::Site;
use crate::supervise::{self, OnStart};

/// Time all processes of a site have to die in.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
/// Time a service has to end by itself when asked to.
const GRACE: Duration = Duration::from_secs(10);
/// The mirror daemon's service.
const MIRROR: &str = "rbd-mirror";

impl Lab {
    /// The site loses power: SIGKILL to all of its processes at once, those spawned and their children
    /// too. Its network stays, so others see connections refused, not silence.
    ///
    /// # Errors
    /// A process would not die.
    pub fn kill(&self, site: Site) -> Result<()> {
        let _lock = self.lock_site(site)?;
        let killed = self.membership(site).kill_all(KILL_DEADLINE)?;
        tracing::info!(zone = site.name(), processes = killed, "killed");
        Ok(())
    }

    /// Power is back: starts the site's services, and what was spawned with [`OnStart::Restart`].
    /// Returns when Ceph serves and the etcd member answers; mirroring takes longer, see
    /// [`Lab::wait_mirroring`]. Does nothing to what runs.
    ///
    /// # Errors
    /// A service ended by itself or did not get ready in time.
    pub fn start(&self, site: Site) -> Result<()> {
        let _lock = self.lock_site(site)?;
        self.start_services(site)?;
        let ctx = self.ctx(site);
        if Site::ZONES.contains(&site) {
            ceph::give_up_lost(&ctx)?;
        }
        for (name, record) in supervise::records(&ctx)? {
            let spawned = self.service(site, &name).is_none();
            let wanted = match record.spawn.on_start {
                OnStart::Restart => true,
                OnStart::Leave => false,
            };
            if spawned && wanted && !record.id.is_alive() {
                supervise::spawn(&ctx, &name, &record.spawn)?;
            }
        }
        Ok(())
    }

    pub(crate) fn start_services(&self, site: Site) -> Result<()> {
        services::start_all(&self.services(site), &self.ctx(site))
    }

    /// Cuts the site off from all other sites and from the host. Its processes go on talking to each
    /// other.
    ///
    /// # Errors
    /// [`LabError::NeedsRoot`] on loopback.
    pub fn isolate(&self, site: Site) -> Result<()> {
        self.net().isolate(site)
    }

    /// Undoes [`Lab::isolate`]. Connections that were open come back by themselves within some seconds.
    ///
    /// # Errors
    /// [`LabError::NeedsRoot`] on loopback.
    pub fn heal(&self, site: Site) -> Result<()> {
        self.net().heal(site)
    }

    /// Cuts the line between two sites only; both still reach the third and the host.
    ///
    /// # Errors
    /// [`LabError::NeedsRoot`] on loopback.
    pub fn partition(&self, a: Site, b: Site) -> Result<()> {
        if a == b {
            return Err(LabError::BadInput(format!(
                "{a} cannot be cut off from itself"
            )));
        }
        self.net().partition(a, b)
    }

    /// Undoes [`Lab::partition`]; does nothing when there is none.
    ///
    /// # Errors
    /// [`LabError::NeedsRoot`] on loopback.
    pub fn heal_partition(&self, a: Site, b: Site) -> Result<()> {
        self.net().heal_partition(a, b)
    }

    /// Kills one service, or one spawned process with its children, with SIGKILL.
    ///
    /// # Errors
    /// There is nothing of that name, or it would not die.
    pub fn kill_service(&self, site: Site, name: &str) -> Result<()> {
        self.must_exist(site, name)?;
        supervise::kill(&self.ctx(site), name)
    }

    /// Asks it to end (SIGTERM), and kills it when it does not within 10 s. Unlike a killed one, a
    /// stopped spawned process is forgotten: `start` of the site does not bring it back.
    ///
    /// # Errors
    /// There is nothing of that name, or it would not die.
    pub fn stop_service(&self, site: Site, name: &str) -> Result<()> {
        self.must_exist(site, name)?;
        supervise::stop(&self.ctx(site), name, GRACE)
    }

    /// Starts a service, or starts a spawned process again as it was. Returns when a service is ready.
    /// Does nothing to what runs.
    ///
    /// # Errors
    /// There is nothing of that name, or it does not get ready.
    pub fn start_service(&self, site: Site, name: &str) -> Result<()> {
        let ctx = self.ctx(site);
        if let Some(service) = self.service(site, name) {
            services::start(service, &ctx)?;
            return services::wait_ready(service, &ctx);
        }
        let record = supervise::record(&ctx, name)?.ok_or_else(|| self.unknown(site, name))?;
        if !record.id.is_alive() {
            supervise::spawn(&ctx, name, &record.spawn)?;
        }
        Ok(())
    }

    /// Starts a service without a wait for it: for one that is not to get ready, since something that it needs is broken.
    /// Does nothing to what runs.
    ///
    /// # Errors
    /// There is no service of that name, or it cannot be started.
    pub fn launch_service(&self, site: Site, name: &str) -> Result<()> {
        let service = self
            .service(site, name)
            .ok_or_else(|| self.unknown(site, name))?;
        services::start(service, &self.ctx(site))
    }

    /// Stops it in its tracks (SIGSTOP): its connections stay open and nothing answers on them.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause_service(&self, site: Site, name: &str) -> Result<()> {
        supervise::pause(&self.ctx(site), name)
    }

    /// Lets a paused one go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume_service(&self, site: Site, name: &str) -> Result<()> {
        supervise::resume(&self.ctx(site), name)
    }

    /// Freezes the whole site (SIGSTOP to every process), as a paused virtual machine: connections stay
    /// open, nothing answers, and on [`Lab::resume`] all of it goes on as if no time had passed.
    ///
    /// # Errors
    /// The site's processes cannot be found.
    pub fn pause(&self, site: Site) -> Result<()> {
        let stopped = self.membership(site).signal_all(Signal::STOP);
        tracing::info!(zone = site.name(), processes = stopped, "paused");
        Ok(())
    }

    /// Undoes [`Lab::pause`].
    ///
    /// # Errors
    /// The site's processes cannot be found.
    pub fn resume(&self, site: Site) -> Result<()> {
        let resumed = self.membership(site).signal_all(Signal::CONT);
        tracing::info!(zone = site.name(), processes = resumed, "resumed");
        Ok(())
    }

    /// Throws all volumes of both zones away, whatever state they are in, and pairs the empty pools anew.
    /// Takes about ten seconds. Each Cinder forgets them too, and its volume types; that is ten seconds more. Servers are
    /// deleted before.
    ///
    /// # Errors
    /// A zone does not serve, or mirroring does not work afterwards.
    pub fn reset_volumes(&self, deadline: Duration) -> Result<()> {
        let both = |what: &(dyn Fn(Site) -> Result<()> + Sync)| {
            thread::scope(|scope| {
                let zones = Site::ZONES.map(|site| scope.spawn(move || what(site)));
                zones.into_iter().try_for_each(|z| joined(z.join()))
            })
        };
        self.each_nova(&|nova| nova.delete_servers())?;
        both(&|site| {
            self.kill_service(site, MIRROR)?;
            let sure = [
                "osd",
                "pool",
                "rm",
                ceph::POOL,
                ceph::POOL,
                "--yes-i-really-really-mean-it",
            ];
            self.ceph(site, &sure)?;
            ceph::make_pool(&self.zone_ctx(site)?)
        })?;
        let (a, b) = (self.ctx(Site::ZoneA), self.ctx(Site::ZoneB));
        ceph::pair(&a, &b, &self.layout.certs())?;
        both(&|site| self.start_service(site, MIRROR))?;
        self.each_cinder(&|cinder| cinder.reset())?;
        self.wait_mirroring(deadline).map(drop)
    }

    /// Gives up the objects that the zone's OSD does not find again after it was killed, with a warning for each: whoever asks for
    /// one waits for ever otherwise. [`Lab::start`] does it; asked again, it finds what came to light later.
    ///
    /// # Errors
    /// Ceph refuses it. A zone that does not say in time how it stands is none.
    pub fn give_up_lost(&self, site: Site) -> Result<()> {
        ceph::give_up_lost(&self.ctx(site))
    }

    /// Waits until new images are mirrored both ways, and returns how long that took. The proof is a
    /// test image in each zone, which is removed again.
    ///
    /// # Errors
    /// [`LabError::Timeout`] when the deadline passes for one of the directions.
    pub fn wait_mirroring(&self, deadline: Duration) -> Result<Duration> {
        let begin = Instant::now();
        let (a, b) = (self.ctx(Site::ZoneA), self.ctx(Site::ZoneB));
        thread::scope(|scope| {
            let other = scope.spawn(|| ceph::probe(&b, &a, deadline));
            let one = ceph::probe(&a, &b, deadline);
            joined(other.join()).and(one)
        })?;
        Ok(begin.elapsed())
    }

    /// Undoes every fault: links, partitions, paused and dead services. Returns what it found.
    ///
    /// # Errors
    /// Something would not come back.
    pub fn repair(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let net = self.net();
        net.up()?;
        for site in Site::ALL {
            if net.is_isolated(site)? {
                net.heal(site)?;
                found.push(format!("{site} was isolated"));
            }
            for other in Site::ALL {
                if net.is_cut(site, other)? {
                    net.heal_partition(site, other)?;
                    found.push(format!("{site} was cut off from {other}"));
                }
            }
            let ctx = self.ctx(site);
            let mut is_paused = false;
            for (name, record) in supervise::records(&ctx)? {
                if record.id.is_stopped() {
                    supervise::resume(&ctx, &name)?;
                    found.push(format!("{name} of {site} was paused"));
                    is_paused = true;
                }
            }
            if is_paused {
                // Guests too, which have no record.
                self.resume(site)?;
            }
            for service in self.services(site) {
                let name = service.name();
                if supervise::alive(&ctx, name)?.is_none() {
                    found.push(format!("{name} of {site} was dead"));
                } else if service.gives_up() && service.ready(&ctx).is_err() {
                    supervise::kill(&ctx, name)?;
                    found.push(format!("{name} of {site} did not do its work"));
                }
            }
        }
        self.start_all()?;
        Ok(found)
    }

    /// Starts the services of all sites, side by side.
    pub(crate) fn start_all(&self) -> Result<()> {
        thread::scope(|scope| {
            let sites = Site::ALL.map(|site| scope.spawn(move || self.start_services(site)));
            sites.into_iter().try_for_each(|s| joined(s.join()))
        })
    }

    pub(crate) fn membership(&self, site: Site) -> Membership {
        let netns = self.net().netns_file(site);
        Membership::new(&self.ctx(site).mark(None), netns.as_deref())
    }

    fn must_exist(&self, site: Site, name: &str) -> Result<()> {
        let known = self.service(site, name).is_some()
            || supervise::record(&self.ctx(site), name)?.is_some();
        if known {
            Ok(())
        } else {
            Err(self.unknown(site, name))
        }
    }

    fn unknown(&self, site: Site, name: &str) -> LabError {
        let names: Vec<&str> = self.services(site).iter().map(|s| s.name()).collect();
        LabError::BadInput(format!(
            "{site} has no service `{name}`: it has {} and what was spawned there",
            names.join(", ")
        ))
    }
}

/// A thread's result; its panic goes on as a panic of the caller.
pub(crate) fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
