//! A lab as its users hold it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;

use crate::ceph;
use crate::certs::Certs;
use crate::error::{IoContext, LabError, Result};
use crate::layout::{Layout, write_whole};
use crate::net::Net;
use crate::openstack::OpenStack;
use crate::registry::{Registry, lock_file};
use crate::run::require;
use crate::services::{self, Service, SiteCtx, etcd::etcdctl};
use crate::site::Site;
use crate::state::{Cloud, LabOptions, State};
use crate::supervise::{self, Spawn};

/// Names of those who get a certificate besides the sites.
const OPERATOR: &str = "operator";
const STRANGER: &str = "stranger";

/// A running lab. Cheap verbs; all of them are safe to call from any thread and any process.
#[derive(Debug)]
pub struct Lab {
    pub(crate) layout: Layout,
    pub(crate) state: State,
    /// Set when this value brought the lab up for a test: dropping it takes the lab down.
    pub(crate) owned: Option<TempDir>,
    /// Set when a running lab was lent to a test: no other test has it meanwhile.
    pub(crate) lent: Option<Lent>,
}

/// What a borrowed lab is held by.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) _lock: File,
    /// Lies there while the lab is lent, and afterwards if its test came to no good end.
    pub(crate) mark: PathBuf,
    pub(crate) doubted: AtomicBool,
}

/// What a client of a zone's Ceph needs.
#[derive(Debug, Clone, Serialize)]
pub struct Zone {
    /// `zone-a` or `zone-b`; also the site name in RBD mirroring.
    pub name: &'static str,
    /// Absolute; names the keyring, so nothing else is needed. Good from the host namespace too.
    pub ceph_conf: PathBuf,
    /// The Ceph user with all rights, without `client.`: `admin`.
    pub client_id: &'static str,
    /// The Ceph user with just a sidecar's rights, without `client.`: `rekindle`.
    pub sidecar_id: &'static str,
    /// The mirrored pool: `volumes`.
    pub pool: &'static str,
    /// The cluster's id.
    pub fsid: String,
    /// Addresses of the mons (msgr v2).
    pub mon_addrs: Vec<SocketAddr>,
}

/// Everything that a program needs to know of a lab to use it; see `lab env`.
#[derive(Debug, Serialize)]
pub struct Env {
    /// The lab's folder.
    pub root: PathBuf,
    /// Address of the host on the lab's network.
    pub host_addr: IpAddr,
    /// Certificate of a client that is no site.
    pub operator: Certs,
    /// Certificate made by a CA that nobody here trusts.
    pub stranger: Certs,
    /// Each site, by name.
    pub sites: BTreeMap<Site, SiteEnv>,
}

/// One site's part of [`Env`].
#[derive(Debug, Serialize)]
pub struct SiteEnv {
    /// The site's address.
    pub addr: IpAddr,
    /// Its network namespace, unless the lab is on loopback.
    pub netns: Option<String>,
    /// The client URL of its etcd member.
    pub etcd: String,
    /// Its certificate.
    pub certs: Certs,
    /// Its Ceph, unless it is the witness.
    pub zone: Option<Zone>,
    /// Its Keystone and Cinder, if the lab has them.
    pub openstack: Option<OpenStack>,
    /// Where its logs are.
    pub log: PathBuf,
}

impl Lab {
    /// The lab in that folder, brought up before.
    ///
    /// # Errors
    /// [`LabError::NoLab`] when there is none.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let layout = Layout::open(root.as_ref())?;
        let state = State::load(&layout)?.ok_or_else(|| LabError::NoLab {
            root: layout.root().to_owned(),
        })?;
        Ok(Self {
            layout,
            state,
            owned: None,
            lent: None,
        })
    }

    /// The lab's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.layout.root()
    }

    /// How a client reaches a zone's Ceph.
    ///
    /// # Errors
    /// The witness has none.
    pub fn zone(&self, site: Site) -> Result<Zone> {
        let ctx = self.zone_ctx(site)?;
        Ok(Zone {
            name: site.name(),
            ceph_conf: ctx.dirs.ceph_conf(),
            client_id: "admin",
            sidecar_id: "rekindle",
            pool: ceph::POOL,
            fsid: ctx.fsid.clone().unwrap_or_default(),
            mon_addrs: vec![ctx.mon_addr()],
        })
    }

    /// The site's address; everything of the site listens there.
    #[must_use]
    pub fn addr(&self, site: Site) -> IpAddr {
        self.net().addr(site)
    }

    /// The host namespace's address on the lab's network, for what must be reached from the sites.
    #[must_use]
    pub fn host_addr(&self) -> IpAddr {
        self.net().host_addr()
    }

    /// The client URL of the site's etcd member (`https://…`, mutual TLS).
    #[must_use]
    pub fn etcd_endpoint(&self, site: Site) -> String {
        let net = self.net();
        format!("https://{}", net.socket(site, net.ports(site).etcd_client))
    }

    /// The client URLs of all etcd members, the given site's own first.
    #[must_use]
    pub fn etcd_endpoints(&self, nearest: Site) -> Vec<String> {
        let others = Site::ALL.into_iter().filter(|s| *s != nearest);
        std::iter::once(nearest)
            .chain(others)
            .map(|s| self.etcd_endpoint(s))
            .collect()
    }

    /// The site's certificate: for its servers and for its clients.
    #[must_use]
    pub fn certs(&self, site: Site) -> Certs {
        Certs::in_dir(&self.layout.certs(), site.name())
    }

    /// A certificate of the same CA for a client that is no site: the command line, a test.
    #[must_use]
    pub fn operator_certs(&self) -> Certs {
        Certs::in_dir(&self.layout.certs(), OPERATOR)
    }

    /// A certificate that must be refused: another CA made it. Its `ca` is that CA; a client that is to
    /// trust the server and be refused by it takes this `cert` and `key` with a site's `ca`.
    #[must_use]
    pub fn stranger_certs(&self) -> Certs {
        Certs::in_dir(&self.layout.certs(), STRANGER)
    }

    /// A port of the site that nobody has, and that is given out once.
    ///
    /// # Errors
    /// All of the site's ports were given out.
    pub fn free_port(&self, site: Site) -> Result<u16> {
        let ctx = self.ctx(site);
        let path = ctx.dirs.run().join("next-port");
        let _lock = lock_file(&ctx.dirs.run().join("next-port.lock"))?;
        let (first, last) = ctx.ports().free;
        let start = fs::read_to_string(&path)
            .ok()
            .and_then(|t| t.trim().parse().ok());
        let mut range: RangeInclusive<u16> = start.unwrap_or(first)..=last;
        let port = range
            .find(|port| !is_open(SocketAddr::new(ctx.addr(), *port)))
            .ok_or_else(|| {
                LabError::BadInput(format!("all ports of {site} up to {last} were given out"))
            })?;
        write_whole(&path, &(port + 1).to_string())?;
        Ok(port)
    }

    /// Starts a program inside the site. It belongs to the site: `kill` of the site kills it with all
    /// its children, `start` brings it back if its [`Spawn`] says so, `down` ends it. Returns its pid.
    ///
    /// # Errors
    /// The name is taken or odd, or the program is not there.
    pub fn spawn(&self, site: Site, name: &str, program: &Spawn) -> Result<u32> {
        check_name(site, &self.options().cloud, name)?;
        Ok(supervise::spawn(&self.ctx(site), name, program)?.pid)
    }

    /// The pid of a service or of something spawned, if it runs.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn pid(&self, site: Site, name: &str) -> Result<Option<u32>> {
        Ok(supervise::alive(&self.ctx(site), name)?.map(|id| id.pid))
    }

    /// The log of a service or of something spawned (unless its [`Spawn`] named another file).
    #[must_use]
    pub fn log_path(&self, site: Site, name: &str) -> PathBuf {
        self.layout.site(site).log(name)
    }

    /// Runs `ceph` as administrator inside the zone, so it works while the zone is isolated. Returns its
    /// standard output. It has a deadline of 30 s.
    ///
    /// # Errors
    /// It failed or hung; the witness has no Ceph.
    pub fn ceph(&self, site: Site, args: &[&str]) -> Result<String> {
        Ok(self
            .zone_ctx(site)?
            .ceph_tool("ceph")
            .args(args)
            .run()?
            .stdout)
    }

    /// Runs `rbd` the same way as [`Lab::ceph`].
    ///
    /// # Errors
    /// It failed or hung; the witness has no Ceph.
    pub fn rbd(&self, site: Site, args: &[&str]) -> Result<String> {
        Ok(self
            .zone_ctx(site)?
            .ceph_tool("rbd")
            .args(args)
            .run()?
            .stdout)
    }

    /// Runs `etcdctl` inside the site against the site's own member. It has a deadline of 10 s.
    ///
    /// # Errors
    /// It failed or hung.
    pub fn etcdctl(&self, site: Site, args: &[&str]) -> Result<String> {
        let program = require("etcdctl", "etcd-client")?;
        let ctx = self.ctx(site);
        Ok(etcdctl(&ctx, &program.to_string_lossy())
            .args(args)
            .run()?
            .stdout)
    }

    /// Runs any program inside the site to its end and returns its standard output.
    ///
    /// # Errors
    /// It failed, or did not end before the deadline.
    pub fn run(
        &self,
        site: Site,
        program: &str,
        args: &[&str],
        deadline: Duration,
    ) -> Result<String> {
        Ok(self
            .ctx(site)
            .inside(program)
            .args(args)
            .deadline(deadline)
            .run()?
            .stdout)
    }

    /// A connection from inside the site, within that time. It lives in the site's network.
    ///
    /// # Errors
    /// Nobody answers there.
    pub fn connect(&self, site: Site, to: SocketAddr, within: Duration) -> Result<TcpStream> {
        let connect = || TcpStream::connect_timeout(&to, within);
        self.net()
            .in_site(site, connect)?
            .context(|| format!("connecting to {to} from {site}"))
    }

    /// Everything that another program needs to use this lab.
    #[must_use]
    pub fn env(&self) -> Env {
        let site = |site| {
            let env = SiteEnv {
                addr: self.addr(site),
                netns: self.net().netns(site),
                etcd: self.etcd_endpoint(site),
                certs: self.certs(site),
                zone: self.zone(site).ok(),
                openstack: self.openstack(site).ok(),
                log: self.layout.logs().join(site.name()),
            };
            (site, env)
        };
        Env {
            root: self.root().to_owned(),
            host_addr: self.host_addr(),
            operator: self.operator_certs(),
            stranger: self.stranger_certs(),
            sites: Site::ALL.into_iter().map(site).collect(),
        }
    }

    pub(crate) fn net(&self) -> Net {
        Net::new(self.state.options.net, self.state.number)
    }

    pub(crate) fn options(&self) -> &LabOptions {
        &self.state.options
    }

    /// The site's services in the order in which they start.
    pub(crate) fn services(&self, site: Site) -> Vec<&'static dyn Service> {
        services::of(site, &self.options().cloud)
    }

    /// The site's service of that name.
    pub(crate) fn service(&self, site: Site, name: &str) -> Option<&'static dyn Service> {
        services::find(site, &self.options().cloud, name)
    }

    pub(crate) fn registry(&self) -> Result<Registry> {
        Registry::open()
    }

    pub(crate) fn ctx(&self, site: Site) -> SiteCtx {
        SiteCtx {
            site,
            dirs: self.layout.site(site),
            net: self.net(),
            lab_uuid: self.state.uuid.clone(),
            fsid: self.state.fsids.get(&site).cloned(),
            certs: self.certs(site),
            osd_mib: self.state.options.osd_mib,
            cloud: self.state.options.cloud.clone(),
        }
    }

    pub(crate) fn zone_ctx(&self, site: Site) -> Result<SiteCtx> {
        if site.has_ceph() {
            Ok(self.ctx(site))
        } else {
            Err(LabError::BadInput(format!("{site} has no Ceph cluster")))
        }
    }

    /// Whether the caller of `start` and `kill` is alone with the site.
    pub(crate) fn lock_site(&self, site: Site) -> Result<File> {
        self.layout.site(site).make()?;
        lock_file(&self.layout.site(site).run().join("lock"))
    }

    /// Makes the certificates of all sites, the operator and the stranger.
    pub(crate) fn make_certs(&self) -> Result<()> {
        let dir = self.layout.certs();
        fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))?;
        let localhost = IpAddr::from([127, 0, 0, 1]);
        let subject = |name: &str, addr: IpAddr| crate::certs::Subject {
            name: name.to_owned(),
            addrs: if addr == localhost {
                vec![addr]
            } else {
                vec![addr, localhost]
            },
        };
        let mut known: Vec<_> = Site::ALL
            .into_iter()
            .map(|s| subject(s.name(), self.addr(s)))
            .collect();
        known.push(subject(OPERATOR, self.host_addr()));
        crate::certs::make(&dir, "Rekindle lab CA", &known)?;
        crate::certs::make(
            &dir,
            "Somebody else's CA",
            &[subject(STRANGER, self.host_addr())],
        )
    }
}

fn is_open(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_millis(50)).is_ok()
}

fn check_name(site: Site, cloud: &Cloud, name: &str) -> Result<()> {
    let good = !name.is_empty()
        && name.len() <= 64
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !good {
        return Err(LabError::BadInput(format!(
            "`{name}` is no name for a process: lower case letters, digits and `-`, 64 at most"
        )));
    }
    if services::find(site, cloud, name).is_some() {
        return Err(LabError::BadInput(format!(
            "{site} has a service named {name} already"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spawned_process_may_not_take_a_services_name_or_leave_the_folder() {
        assert!(check_name(Site::ZoneA, &Cloud::None, "sidecar").is_ok());
        for bad in ["osd", "etcd", "../x", "", "Two Words"] {
            assert!(check_name(Site::ZoneA, &Cloud::None, bad).is_err(), "{bad}");
        }
        assert!(
            check_name(Site::Witness, &Cloud::None, "osd").is_ok(),
            "the witness has no OSD of its own"
        );
    }
}
