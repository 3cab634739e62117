//! The services of a site: one file each.
//!
//! A new one is a new file with a [`Service`] and a line in [`of`].

mod ceph_mgr;
mod ceph_mon;
mod ceph_osd;
mod cinder_api;
pub(crate) mod cinder_worker;
mod counts;
pub(crate) mod etcd;
mod glance;
mod guest_dhcp;
mod keystone;
mod libvirt;
pub(crate) mod mariadb;
mod neutron;
mod nova_api;
mod nova_compute;
mod nova_worker;
mod placement;
mod rabbitmq;
mod rbd_mirror;
mod tables;
mod wsgi;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use wsgi::{answers, manage, once, openstack_program, uwsgi};

use crate::certs::Certs;
use crate::error::{LabError, Result};
use crate::faults::joined;
use crate::layout::SiteDirs;
use crate::net::{Net, SitePorts};
use crate::openstack::Install;
use crate::run::{Cmd, until};
use crate::site::Site;
use crate::state::Cloud;
use crate::supervise::{self, Spawn};

/// Time for what is written in Python to get ready: several start at once, and on a busy machine each takes 30 s of it.
const PYTHON_PATIENCE: Duration = Duration::from_secs(180);

/// Lanes start side by side; within one, the order of [`of`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// etcd and Ceph.
    Storage,
    /// What an OpenStack has that does not touch Ceph when it starts.
    Cloud,
    /// After both.
    Last,
}

/// A program of a site.
pub(crate) trait Service: Sync {
    /// Its name in commands, logs and pid files.
    fn name(&self) -> &'static str;

    /// Programs it needs, each with the Debian package that has it.
    fn needs(&self) -> &'static [(&'static str, &'static str)];

    /// Makes what its first start needs. Called before every start; does nothing when it is there.
    fn prepare(&self, ctx: &SiteCtx) -> Result<()>;

    /// How to run it.
    fn command(&self, ctx: &SiteCtx) -> Spawn;

    /// Whether it does its work now; `Err(why)` in words when not yet.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String>;

    /// Makes what can only be made while it runs. Called each time it got ready; does nothing when it is there.
    fn settle(&self, _ctx: &SiteCtx) -> Result<()> {
        Ok(())
    }

    /// The lane it starts in.
    fn lane(&self) -> Lane {
        Lane::Storage
    }

    /// Whether those after it in its lane must wait until it is ready.
    fn is_waited_for(&self) -> bool {
        false
    }

    /// Whether it may run on for ever without its work, once something that it needs was missing: then only another start
    /// helps.
    fn gives_up(&self) -> bool {
        false
    }

    /// Time it may take to get ready.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// The services of a site in the order in which they start.
pub(crate) fn of(site: Site, cloud: &Cloud) -> Vec<&'static dyn Service> {
    let mut all: Vec<&'static dyn Service> = vec![&etcd::Etcd];
    if !site.has_ceph() {
        return all;
    }
    all.extend([
        &ceph_mon::Mon as &dyn Service,
        &ceph_osd::Osd,
        &ceph_mgr::Mgr,
        &rbd_mirror::RbdMirror,
    ]);
    if cloud.prefix().is_some() {
        all.extend([
            &rabbitmq::RabbitMq as &dyn Service,
            &mariadb::MariaDb,
            &keystone::Keystone,
            &cinder_api::CinderApi,
            &cinder_worker::CinderVolume,
            &cinder_worker::CinderScheduler,
        ]);
    }
    if cloud.has_nova() {
        all.extend([
            &libvirt::VirtLogd as &dyn Service,
            &libvirt::LibVirtd,
            &placement::Placement,
            &glance::Glance,
            &neutron::Neutron,
            &guest_dhcp::GuestDhcp,
            &nova_api::NovaApi,
            &nova_worker::CONDUCTOR,
            &nova_worker::SCHEDULER,
            &nova_compute::NovaCompute,
        ]);
    }
    all
}

/// The service of that name, if the site has one.
pub(crate) fn find(site: Site, cloud: &Cloud, name: &str) -> Option<&'static dyn Service> {
    of(site, cloud).into_iter().find(|s| s.name() == name)
}

/// Starts it unless it runs already.
pub(crate) fn start(service: &dyn Service, ctx: &SiteCtx) -> Result<()> {
    if supervise::alive(ctx, service.name())?.is_none() {
        service.prepare(ctx)?;
        supervise::spawn(ctx, service.name(), &service.command(ctx))?;
    }
    Ok(())
}

/// Starts them, lane beside lane, and returns when all are ready.
pub(crate) fn start_all(all: &[&'static dyn Service], ctx: &SiteCtx) -> Result<()> {
    let lane = |lane| {
        all.iter()
            .copied()
            .filter(|s| s.lane() == lane)
            .collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let cloud = scope.spawn(|| start_lane(&lane(Lane::Cloud), ctx));
        let storage = start_lane(&lane(Lane::Storage), ctx);
        joined(cloud.join())?;
        storage
    })?;
    start_lane(&lane(Lane::Last), ctx)
}

fn start_lane(lane: &[&dyn Service], ctx: &SiteCtx) -> Result<()> {
    for service in lane {
        start(*service, ctx)?;
        if service.is_waited_for() {
            wait_ready(*service, ctx)?;
        }
    }
    lane.iter().try_for_each(|s| wait_ready(*s, ctx))
}

/// Waits until it does its work; its death meanwhile is an error at once.
pub(crate) fn wait_ready(service: &dyn Service, ctx: &SiteCtx) -> Result<()> {
    let name = service.name();
    until(
        &format!("{name} of {}", ctx.site),
        service.patience(),
        |last| {
            if supervise::alive(ctx, name)?.is_none() {
                return Err(supervise::died(name, ctx, &ctx.dirs.log(name)));
            }
            match service.ready(ctx) {
                Ok(()) => Ok(Some(())),
                Err(why) => {
                    *last = why;
                    Ok(None)
                }
            }
        },
    )?;
    service.settle(ctx)
}

/// What a service may know of its site and of the lab.
#[derive(Debug, Clone)]
pub(crate) struct SiteCtx {
    pub(crate) site: Site,
    pub(crate) dirs: SiteDirs,
    pub(crate) net: Net,
    pub(crate) lab_uuid: String,
    /// Ceph's fsid; `None` at the witness.
    pub(crate) fsid: Option<String>,
    pub(crate) certs: Certs,
    pub(crate) osd_mib: u64,
    pub(crate) cloud: Cloud,
}

impl SiteCtx {
    pub(crate) fn addr(&self) -> IpAddr {
        self.net.addr(self.site)
    }

    pub(crate) fn ports(&self) -> SitePorts {
        self.net.ports(self.site)
    }

    pub(crate) fn mon_addr(&self) -> SocketAddr {
        self.net.socket(self.site, self.ports().mon)
    }

    /// The mark of a service's processes, or, without a name, what the marks of the whole site begin with.
    pub(crate) fn mark(&self, service: Option<&str>) -> String {
        match service {
            Some(name) => format!("{}/{}/{name}/", self.lab_uuid, self.site),
            None => format!("{}/{}/", self.lab_uuid, self.site),
        }
    }

    /// Where the zone's OpenStack is run from.
    pub(crate) fn install(&self) -> Result<Install> {
        self.cloud.prefix().map(Install::at).ok_or_else(|| {
            LabError::BadInput("this lab has no Cinder: add it with `lab up --cinder`".into())
        })
    }

    /// A command that runs inside the site, so that it works while the site is isolated.
    pub(crate) fn inside(&self, program: &str) -> Cmd {
        self.net.inside(self.site, program)
    }

    /// A command of Ceph's as the administrator of this zone.
    pub(crate) fn ceph_tool(&self, program: &str) -> Cmd {
        self.inside(program).arg("-c").arg(self.dirs.ceph_conf())
    }

    pub(crate) fn asok(&self, service: &str) -> PathBuf {
        self.dirs.asok(service)
    }
}

/// Asks a daemon's admin socket and judges the answer.
fn asok_says(
    ctx: &SiteCtx,
    service: &str,
    command: &str,
    good: impl FnOnce(&serde_json::Value) -> bool,
) -> std::result::Result<(), String> {
    match crate::asok::ask(&ctx.asok(service), command) {
        Ok(answer) if good(&answer) => Ok(()),
        Ok(answer) => Err(answer.to_string().chars().take(300).collect()),
        Err(error) => Err(error.to_string()),
    }
}
