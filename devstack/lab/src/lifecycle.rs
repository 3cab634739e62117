//! Up, down, and a lab for tests.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::ceph;
use crate::error::{IoContext, Result};
use crate::faults::joined;
use crate::lab::Lab;
use crate::layout::Layout;
use crate::openstack::{self, Install};
use crate::process::ProcId;
use crate::registry::{Registry, lock_file};
use crate::run::require;
use crate::services::{self, Lane};
use crate::site::Site;
use crate::state::{Cloud, LabOptions, NetMode, State, new_uuid};

/// Time mirroring has to work in, first or again.
pub(crate) const MIRROR_DEADLINE: Duration = Duration::from_secs(150);

impl Lab {
    /// Brings the lab in that folder up, whatever state it is in, and returns when a test image was
    /// mirrored both ways. A complete lab keeps its data; what was left half made is made anew.
    ///
    /// # Errors
    /// A package is missing, the folder or the options will not do, or something did not get ready in
    /// time; then nothing of it runs on.
    pub fn up(root: impl AsRef<Path>, options: LabOptions) -> Result<Self> {
        Self::up_for(root.as_ref(), options, None)
    }

    pub(crate) fn up_for(root: &Path, options: LabOptions, owner: Option<ProcId>) -> Result<Self> {
        options.check()?;
        check_packages(&options)?;
        let layout = Layout::create(root)?;
        let _lock = lock_file(&layout.root().join("lock"))?;
        match State::load(&layout) {
            Ok(Some(state)) if state.complete => {
                let mut lab = Self {
                    layout,
                    state,
                    owned: None,
                    lent: None,
                };
                lab.adopt(options)?;
                lab.revive()?;
                return Ok(lab);
            }
            Ok(Some(state)) => {
                Self {
                    layout: layout.clone(),
                    state,
                    owned: None,
                    lent: None,
                }
                .clear()?;
            }
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        let lab = Self::claim(layout, options, owner)?;
        match lab.make() {
            Ok(()) => Ok(lab),
            Err(error) => {
                if let Err(second) = lab.clear() {
                    tracing::warn!(error = %second, "clearing away a lab that did not get up");
                }
                Err(error)
            }
        }
    }

    /// Takes over of these options what a lab that is there can still get: a cloud. One that it has is kept, whatever is
    /// asked for now.
    fn adopt(&mut self, mut options: LabOptions) -> Result<()> {
        let kept = self.options().clone();
        if kept.cloud.has_all_of(&options.cloud) {
            options.cloud = kept.cloud.clone();
        } else {
            // Of the options that it was made with, this is the one that others may depend on.
            LabOptions {
                cloud: options.cloud.clone(),
                ..kept
            }
            .check()?;
            self.state.options.cloud = options.cloud.clone();
            self.state.save(&self.layout)?;
        }
        if self.options() != &options {
            tracing::warn!("the lab keeps the options it was made with");
        }
        Ok(())
    }

    fn claim(layout: Layout, options: LabOptions, owner: Option<ProcId>) -> Result<Self> {
        let uuid = new_uuid()?;
        let number = Registry::open()?.claim(layout.root(), &uuid, options.net, owner)?;
        let mut fsids = BTreeMap::new();
        for site in Site::ZONES {
            fsids.insert(site, new_uuid()?);
        }
        let state = State {
            version: State::VERSION,
            uuid,
            number,
            options,
            fsids,
            complete: false,
        };
        state.save(&layout)?;
        // Logs of an earlier lab in this folder would be mistaken for this one's.
        remove(&layout.logs())?;
        Ok(Self {
            layout,
            state,
            owned: None,
            lent: None,
        })
    }

    /// From nothing to a lab that mirrors.
    fn make(&self) -> Result<()> {
        let begin = Instant::now();
        let said = |what: &str| tracing::info!(seconds = begin.elapsed().as_secs_f32(), "{what}");
        self.make_certs()?;
        self.net().up()?;
        for site in Site::ALL {
            self.layout.site(site).make()?;
        }
        said("network and certificates are there");
        thread::scope(|scope| {
            let sites = Site::ALL.map(|site| scope.spawn(move || self.make_site(site)));
            sites.into_iter().try_for_each(|s| joined(s.join()))
        })?;
        said("both clusters and etcd are there");
        ceph::pair(
            &self.ctx(Site::ZoneA),
            &self.ctx(Site::ZoneB),
            &self.layout.certs(),
        )?;
        said("the zones are paired");
        self.start_all()?;
        said("rbd-mirror runs");
        self.write_clouds()?;
        self.wait_mirroring(MIRROR_DEADLINE)?;
        said("images are mirrored both ways");
        let mut state = self.state.clone();
        state.complete = true;
        state.save(&self.layout)
    }

    fn make_site(&self, site: Site) -> Result<()> {
        let ctx = self.ctx(site);
        // rbd-mirror comes when the zones are paired: one that finds no peer looks again only later.
        let early = self.services(site).into_iter().filter(|s| {
            s.name() != "rbd-mirror"
                && match s.lane() {
                    Lane::Storage | Lane::Cloud => true,
                    // These need the pool.
                    Lane::Last => false,
                }
        });
        services::start_all(&early.collect::<Vec<_>>(), &ctx)?;
        if site.has_ceph() {
            ceph::make_pool(&ctx)
        } else {
            Ok(())
        }
    }

    /// Writes what clients of the zones' clouds read, if there are any.
    fn write_clouds(&self) -> Result<()> {
        match self.options().cloud {
            Cloud::None => Ok(()),
            Cloud::Cinder { .. } | Cloud::Nova { .. } => {
                openstack::write_clouds(self.root(), &Site::ZONES.map(|site| self.ctx(site)))
            }
        }
    }

    /// Brings a complete lab back to full health.
    fn revive(&self) -> Result<()> {
        let State { number, uuid, .. } = &self.state;
        self.registry()?
            .keep(*number, self.root(), uuid, self.options().net)?;
        let found = self.repair()?;
        for what in &found {
            tracing::info!("{what}");
        }
        self.write_clouds()?;
        self.wait_mirroring(MIRROR_DEADLINE).map(drop)
    }

    /// Ends every process, takes the network away and deletes all data; logs stay. Does nothing to a
    /// lab that is down.
    ///
    /// # Errors
    /// Something would not go away.
    pub fn down(&self) -> Result<()> {
        Self::down_at(self.root())
    }

    /// [`Lab::down`] for the lab in that folder, even if it never got up.
    ///
    /// # Errors
    /// There is no such folder, or something would not go away.
    pub fn down_at(root: impl AsRef<Path>) -> Result<()> {
        let layout = Layout::open(root.as_ref())?;
        let _lock = lock_file(&layout.root().join("lock"))?;
        match State::load(&layout)? {
            Some(state) => Self {
                layout,
                state,
                owned: None,
                lent: None,
            }
            .clear(),
            None => Ok(()),
        }
    }

    /// Removes everything that [`Lab::up`] made, but the logs.
    pub(crate) fn clear(&self) -> Result<()> {
        self.wipe()?;
        // Last: until then another `down` can finish what this one began.
        let path = self.layout.state();
        fs::remove_file(&path).context(|| format!("removing {}", path.display()))?;
        self.registry()?
            .release(self.state.number, &self.state.uuid)
    }

    /// Ends every process, takes the network away and deletes all data; what the lab is stays written down.
    fn wipe(&self) -> Result<()> {
        for site in Site::ALL {
            self.membership(site).kill_all(Duration::from_secs(10))?;
        }
        self.net().down()?;
        for site in Site::ALL {
            remove(&self.layout.root().join(site.name()))?;
        }
        remove(&self.layout.certs())?;
        openstack::remove_clouds(self.root())
    }

    /// The same lab with nothing of what it held: its folder, number and options stay, so that others may look it up meanwhile.
    pub(crate) fn remake(&mut self) -> Result<()> {
        let logs = self.layout.logs();
        let before = self.layout.root().join("log-before");
        tracing::warn!(logs = %before.display(), "the test before came to no good end: the lab is made anew");
        self.state.complete = false;
        self.state.save(&self.layout)?;
        self.wipe()?;
        remove(&before)?;
        fs::rename(&logs, &before).context(|| format!("keeping {}", logs.display()))?;
        self.make()?;
        self.state.complete = true;
        Ok(())
    }

    /// Does that to the Cinder of each zone, side by side, if there are any.
    pub(crate) fn each_cinder(
        &self,
        what: &(dyn Fn(&openstack::Cinder<'_>) -> Result<()> + Sync),
    ) -> Result<()> {
        match self.options().cloud {
            Cloud::None => Ok(()),
            Cloud::Cinder { .. } | Cloud::Nova { .. } => thread::scope(|scope| {
                let zones = Site::ZONES.map(|site| scope.spawn(move || what(&self.cinder(site)?)));
                zones.into_iter().try_for_each(|zone| joined(zone.join()))
            }),
        }
    }

    /// Does that to the Nova of each zone, side by side, if there are any.
    pub(crate) fn each_nova(
        &self,
        what: &(dyn Fn(&openstack::Nova<'_>) -> Result<()> + Sync),
    ) -> Result<()> {
        if !self.options().cloud.has_nova() {
            return Ok(());
        }
        thread::scope(|scope| {
            let zones = Site::ZONES.map(|site| scope.spawn(move || what(&self.nova(site)?)));
            zones.into_iter().try_for_each(|zone| joined(zone.join()))
        })
    }
}

/// Every program that is needed, or an error that names the package of the first one missing.
fn check_packages(options: &LabOptions) -> Result<()> {
    for site in Site::ALL {
        let services = services::of(site, &options.cloud);
        for (program, package) in services.into_iter().flat_map(|s| s.needs()) {
            require(program, package)?;
        }
    }
    require("setsid", "util-linux")?;
    match &options.cloud {
        Cloud::None => {}
        Cloud::Cinder { prefix } => Install::at(prefix).check()?,
        Cloud::Nova { prefix } => {
            Install::at(prefix).check()?;
            Install::at(prefix).check_nova()?;
        }
    }
    match options.net {
        NetMode::Namespaces => require("ip", "iproute2").map(drop),
        NetMode::Loopback => Ok(()),
    }
}

pub(crate) fn remove(path: &PathBuf) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
