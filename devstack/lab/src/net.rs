//! The network between the sites.
//!
//! ```text
//!   host namespace           10.231.N.1 on bridge rkN
//!                           /          |            \
//!                   veth rkNa      veth rkNb      veth rkNw      <- `isolate` takes one of these down
//!                       |              |              |
//!   rk-N-zone-a: eth0 .11   zone-b: .12     witness: .13         <- `partition` points one neighbour
//!                                                                   entry in each at nobody
//! ```
//!
//! Inside a site everything goes on talking to the site's own address, whatever the links do: that
//! traffic never leaves the namespace.

mod guests;

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{IoContext, LabError, Result};
use crate::faults::joined;
use crate::run::{Cmd, require};
use crate::site::Site;
use crate::state::NetMode;

/// A hardware address that no interface has. Frames to it are lost in silence, as on a cut line; a
/// blackhole route would instead answer the sender at once, which no cut line does.
const NOBODY: &str = "02:00:de:ad:00:00";
/// Numbers a machine can have; each is a /24 or a block of ports.
pub(crate) const NUMBERS: u8 = 60;
/// First port of the first lab on loopback. Clear of Ceph's 6800–7300 and, with 60 blocks of 300, of
/// the kernel's ephemeral range (from 32768).
const LOOPBACK_BASE: u16 = 10_000;
const LOOPBACK_LAB: u16 = 300;
const LOOPBACK_SITE: u16 = 100;
const DEADLINE: Duration = Duration::from_secs(10);

/// The ports of one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SitePorts {
    pub(crate) mon: u16,
    pub(crate) etcd_client: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) database: u16,
    pub(crate) amqp: u16,
    /// Where brokers would talk to each other, if there were two in a zone.
    pub(crate) erlang: u16,
    pub(crate) epmd: u16,
    pub(crate) keystone: u16,
    pub(crate) cinder: u16,
    pub(crate) glance: u16,
    pub(crate) placement: u16,
    pub(crate) neutron: u16,
    pub(crate) nova: u16,
    /// Where OSD and mgr may bind, first and last.
    pub(crate) daemons: (u16, u16),
    /// What `free_port` hands out, first and last.
    pub(crate) free: (u16, u16),
}

/// A lab's network: a pure function of its mode and number, and the commands that make it so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Net {
    mode: NetMode,
    number: u8,
}

impl Net {
    pub(crate) fn new(mode: NetMode, number: u8) -> Self {
        Self { mode, number }
    }

    pub(crate) fn addr(self, site: Site) -> IpAddr {
        match self.mode {
            NetMode::Namespaces => self.host(11 + site.index()),
            NetMode::Loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// The address of the host namespace on the lab's network.
    pub(crate) fn host_addr(self) -> IpAddr {
        match self.mode {
            NetMode::Namespaces => self.host(1),
            NetMode::Loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    fn host(self, last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 231, self.number, last))
    }

    fn subnet(self) -> String {
        format!("10.231.{}.0/24", self.number)
    }

    pub(crate) fn ports(self, site: Site) -> SitePorts {
        match self.mode {
            NetMode::Namespaces => SitePorts {
                mon: 3300,
                etcd_client: 2379,
                etcd_peer: 2380,
                database: 3306,
                amqp: 5672,
                erlang: 25_672,
                epmd: 4369,
                keystone: 5000,
                cinder: 8776,
                glance: 9292,
                placement: 8778,
                neutron: 9696,
                nova: 8774,
                daemons: (6800, 7300),
                free: (20_000, 24_999),
            },
            NetMode::Loopback => {
                let base = LOOPBACK_BASE
                    + LOOPBACK_LAB * u16::from(self.number)
                    + LOOPBACK_SITE * u16::from(site.index());
                SitePorts {
                    mon: base,
                    etcd_client: base + 1,
                    etcd_peer: base + 2,
                    database: base + 3,
                    amqp: base + 4,
                    erlang: base + 5,
                    epmd: base + 6,
                    keystone: base + 7,
                    cinder: base + 8,
                    glance: base + 9,
                    placement: base + 10,
                    neutron: base + 11,
                    nova: base + 12,
                    daemons: (base + 13, base + 39),
                    free: (base + 40, base + LOOPBACK_SITE - 1),
                }
            }
        }
    }

    pub(crate) fn socket(self, site: Site, port: u16) -> SocketAddr {
        SocketAddr::new(self.addr(site), port)
    }

    pub(crate) fn netns(self, site: Site) -> Option<String> {
        match self.mode {
            NetMode::Namespaces => Some(format!("rk-{}-{}", self.number, site.name())),
            NetMode::Loopback => None,
        }
    }

    /// The file that stands for the site's namespace.
    pub(crate) fn netns_file(self, site: Site) -> Option<PathBuf> {
        self.netns(site)
            .map(|name| PathBuf::from("/run/netns").join(name))
    }

    /// The words to put before a program so that it runs inside the site.
    pub(crate) fn prefix(self, site: Site) -> Vec<String> {
        self.netns(site)
            .map(|ns| ["ip", "netns", "exec", &ns].map(str::to_owned).to_vec())
            .unwrap_or_default()
    }

    fn bridge(self) -> String {
        format!("rk{}", self.number)
    }

    fn veth(self, site: Site) -> String {
        let letter = match site {
            Site::ZoneA => 'a',
            Site::ZoneB => 'b',
            Site::Witness => 'w',
        };
        format!("rk{}{letter}", self.number)
    }

    /// Whether nothing on this machine uses the number already.
    pub(crate) fn is_free(self) -> Result<bool> {
        match self.mode {
            NetMode::Namespaces => {
                let bridge = ip(&["-br", "link", "show", "type", "bridge"])?;
                let routes = ip(&["-4", "route", "show", "root", &self.subnet()])?;
                let name = self.bridge();
                let taken = bridge
                    .lines()
                    .any(|l| l.split_whitespace().next() == Some(&name));
                Ok(!taken && routes.trim().is_empty())
            }
            NetMode::Loopback => Ok(Site::ALL.into_iter().all(|site| {
                let p = self.ports(site);
                [p.mon, p.etcd_client, p.etcd_peer, p.daemons.0]
                    .into_iter()
                    .all(|port| std::net::TcpListener::bind(self.socket(site, port)).is_ok())
            })),
        }
    }

    /// Makes the bridge, the namespaces and the links; what is there already is left alone.
    pub(crate) fn up(self) -> Result<()> {
        if self.mode == NetMode::Loopback {
            return Ok(());
        }
        let bridge = self.bridge();
        if ip(&["link", "show", "dev", &bridge]).is_err() {
            // A fixed hardware address: a bridge otherwise changes its own whenever a port comes or goes.
            batch(&format!(
                "link add {bridge} address 02:00:0a:e7:{n:02x}:01 type bridge\n\
                 addr add {host}/24 dev {bridge}\n\
                 link set {bridge} up\n",
                n = self.number,
                host = self.host_addr(),
            ))?;
        }
        for site in Site::ALL {
            self.site_up(site)?;
        }
        Ok(())
    }

    fn site_up(self, site: Site) -> Result<()> {
        let Some(ns) = self.netns(site) else {
            return Ok(());
        };
        let (bridge, veth, addr) = (self.bridge(), self.veth(site), self.addr(site));
        if !self.netns_file(site).is_some_and(|f| f.exists()) {
            ip(&["netns", "add", &ns])?;
        }
        if ip(&["link", "show", "dev", &veth]).is_ok() {
            return Ok(());
        }
        batch(&format!(
            "link add {veth} type veth peer name eth0 netns {ns}\n\
             link set {veth} master {bridge}\n\
             link set {veth} up\n"
        ))?;
        // A connection that was open when the link was cut backs off up to two minutes between its
        // retries, and comes back only then. Fewer retries end it after some 25 s instead, and the
        // daemons connect anew as soon as the link is healed. They are settings of the namespace only.
        let script = format!(
            "ip addr add {addr}/24 dev eth0 && ip link set eth0 up && ip link set lo up && \
             echo 6 > /proc/sys/net/ipv4/tcp_retries2 && echo 3 > /proc/sys/net/ipv4/tcp_syn_retries"
        );
        self.inside(site, "sh")
            .args(["-c", &script])
            .deadline(DEADLINE)
            .run()?;
        Ok(())
    }

    /// Takes it all away. The processes in it must be gone before.
    pub(crate) fn down(self) -> Result<()> {
        if self.mode == NetMode::Loopback {
            return Ok(());
        }
        for site in Site::ALL {
            // Deleting the host's end deletes the other at once; with the namespace alone it would
            // linger until the kernel gets round to it.
            let veth = self.veth(site);
            if ip(&["link", "show", "dev", &veth]).is_ok() {
                ip(&["link", "del", &veth])?;
            }
            if let (Some(ns), Some(file)) = (self.netns(site), self.netns_file(site))
                && file.exists()
            {
                ip(&["netns", "del", &ns])?;
            }
        }
        let bridge = self.bridge();
        if ip(&["link", "show", "dev", &bridge]).is_ok() {
            ip(&["link", "del", &bridge])?;
        }
        Ok(())
    }

    /// Cuts the site off from all others and from the host.
    pub(crate) fn isolate(self, site: Site) -> Result<()> {
        self.must_be_able("isolating a site")?;
        ip(&["link", "set", &self.veth(site), "down"]).map(drop)
    }

    /// Undoes [`Net::isolate`].
    pub(crate) fn heal(self, site: Site) -> Result<()> {
        self.must_be_able("healing a site")?;
        ip(&["link", "set", &self.veth(site), "up"]).map(drop)
    }

    pub(crate) fn is_isolated(self, site: Site) -> Result<bool> {
        match self.mode {
            NetMode::Namespaces => {
                // After a restart of the machine there is no link at all.
                let Ok(line) = ip(&["-o", "link", "show", "dev", &self.veth(site)]) else {
                    return Ok(true);
                };
                // Flags as in `<BROADCAST,MULTICAST,UP,LOWER_UP>`; DOWN shows as the lack of UP.
                let flags = line.split(['<', '>']).nth(1).unwrap_or_default();
                Ok(!flags.split(',').any(|f| f == "UP"))
            }
            NetMode::Loopback => Ok(false),
        }
    }

    /// Cuts the line between two sites; both still reach the third and the host.
    pub(crate) fn partition(self, a: Site, b: Site) -> Result<()> {
        self.must_be_able("a partition")?;
        for (from, to) in [(a, b), (b, a)] {
            let to = self.addr(to).to_string();
            self.neigh(
                from,
                &[
                    "replace",
                    &to,
                    "lladdr",
                    NOBODY,
                    "dev",
                    "eth0",
                    "nud",
                    "permanent",
                ],
            )?;
        }
        Ok(())
    }

    /// Undoes [`Net::partition`]; does nothing when there is none.
    pub(crate) fn heal_partition(self, a: Site, b: Site) -> Result<()> {
        self.must_be_able("healing a partition")?;
        for (from, to) in [(a, b), (b, a)] {
            if self.is_cut(from, to)? {
                self.neigh(from, &["del", &self.addr(to).to_string(), "dev", "eth0"])?;
            }
        }
        Ok(())
    }

    /// Whether `from` was told not to find `to`.
    pub(crate) fn is_cut(self, from: Site, to: Site) -> Result<bool> {
        let is_there = self.netns_file(from).is_some_and(|f| f.exists());
        if !is_there || from == to {
            return Ok(false);
        }
        let text = self.neigh(from, &["show", &self.addr(to).to_string()])?;
        Ok(text.contains(NOBODY))
    }

    fn neigh(self, site: Site, words: &[&str]) -> Result<String> {
        let ns = self.netns(site).unwrap_or_default();
        let mut all = vec!["-n", &ns, "neigh"];
        all.extend(words);
        ip(&all)
    }

    fn must_be_able(self, what: &str) -> Result<()> {
        match self.mode {
            NetMode::Namespaces => Ok(()),
            NetMode::Loopback => Err(LabError::NeedsRoot {
                what: what.to_owned(),
            }),
        }
    }

    /// Does something from inside the site: what it opens there lives in the site's network. On a thread of its own, for
    /// a thread does not come back from a namespace.
    pub(crate) fn in_site<T: Send>(self, site: Site, what: impl FnOnce() -> T + Send) -> Result<T> {
        let Some(file) = self.netns_file(site) else {
            return Ok(what());
        };
        let entered = || -> Result<T> {
            let file = File::open(&file).context(|| format!("opening {}", file.display()))?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .context(|| format!("entering the network of {site}"))?;
            Ok(what())
        };
        std::thread::scope(|scope| joined(scope.spawn(entered).join()))
    }

    /// A command that runs inside the site.
    pub(crate) fn inside(self, site: Site, program: &str) -> Cmd {
        let mut words = self.prefix(site);
        words.push(program.to_owned());
        let first = words.remove(0);
        Cmd::new(first).args(words)
    }
}

fn ip(args: &[&str]) -> Result<String> {
    let program = require("ip", "iproute2")?;
    Ok(Cmd::new(program)
        .args(args)
        .deadline(DEADLINE)
        .run()?
        .stdout)
}

fn batch(lines: &str) -> Result<()> {
    let program = require("ip", "iproute2")?;
    Cmd::new(program)
        .args(["-batch", "-"])
        .stdin(lines)
        .deadline(DEADLINE)
        .run()
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn loopback_ports(number: u8) -> Vec<u16> {
        Site::ALL
            .into_iter()
            .flat_map(|site| {
                let p = Net::new(NetMode::Loopback, number).ports(site);
                [
                    p.mon,
                    p.etcd_client,
                    p.etcd_peer,
                    p.database,
                    p.amqp,
                    p.erlang,
                    p.epmd,
                    p.keystone,
                    p.cinder,
                    p.glance,
                    p.placement,
                    p.neutron,
                    p.nova,
                ]
                .into_iter()
                .chain(p.daemons.0..=p.daemons.1)
                .chain(p.free.0..=p.free.1)
                .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn no_port_is_given_twice_by_any_two_labs_on_loopback() {
        let all: Vec<u16> = (0..NUMBERS).flat_map(loopback_ports).collect();
        let distinct: BTreeSet<u16> = all.iter().copied().collect();
        assert_eq!(all.len(), distinct.len());
    }

    #[test]
    fn loopback_keeps_out_of_the_range_where_ceph_binds_and_of_the_ephemeral_one() {
        for port in (0..NUMBERS).flat_map(loopback_ports) {
            assert!(!(6800..=7300).contains(&port), "{port}");
            assert!(port < 32_768, "{port}");
        }
    }

    #[test]
    fn the_mon_is_never_where_an_osd_may_bind() {
        for mode in [NetMode::Namespaces, NetMode::Loopback] {
            for site in Site::ALL {
                let p = Net::new(mode, 7).ports(site);
                assert!(!(p.daemons.0..=p.daemons.1).contains(&p.mon));
                assert!(!(p.daemons.0..=p.daemons.1).contains(&p.free.0));
            }
        }
    }

    #[test]
    fn sites_have_addresses_of_their_own_in_namespaces() {
        let net = Net::new(NetMode::Namespaces, 7);
        let all: BTreeSet<IpAddr> = Site::ALL
            .into_iter()
            .map(|s| net.addr(s))
            .chain([net.host_addr()])
            .collect();
        assert_eq!(all.len(), 4);
        assert_eq!(net.addr(Site::ZoneB).to_string(), "10.231.7.12");
    }

    #[test]
    fn interface_names_fit_in_fifteen_bytes() {
        let net = Net::new(NetMode::Namespaces, NUMBERS - 1);
        for site in Site::ALL {
            assert!(net.veth(site).len() <= 15);
        }
    }

    #[test]
    fn loopback_refuses_to_isolate_and_says_why() {
        let net = Net::new(NetMode::Loopback, 0);
        let error = net.isolate(Site::ZoneA).unwrap_err();
        assert!(error.to_string().contains("root"), "{error}");
        assert!(net.partition(Site::ZoneA, Site::ZoneB).is_err());
    }
}
