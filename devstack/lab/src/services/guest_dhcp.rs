//! DHCP for the zone's guests, and the routes to them. See `devstack/lab/guests/guest_dhcp.py`.

use std::fs;

use super::{Lane, Service, SiteCtx, openstack_program};
use crate::error::{IoContext, Result};
use crate::layout::write_whole;
use crate::openstack::neutron_conf;
use crate::supervise::Spawn;

pub(super) struct GuestDhcp;

const PROGRAM: &str = include_str!("../../guests/guest_dhcp.py");

impl Service for GuestDhcp {
    fn name(&self) -> &'static str {
        "guest-dhcp"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The way to the guests too.
    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        ctx.net.guests_up(ctx.site)?;
        let dir = ctx.dirs.data(self.name());
        fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))?;
        write_whole(&dir.join("guest_dhcp.py"), PROGRAM)
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let path = |path: std::path::PathBuf| path.display().to_string();
        Spawn::new(openstack_program(ctx, "python3"))
            .arg(path(ctx.dirs.data(self.name()).join("guest_dhcp.py")))
            .arg(path(neutron_conf(ctx)))
            .arg(ctx.addr().to_string())
    }

    /// It has its port, in hexadecimal digits.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        let read = || fs::read_to_string("/proc/thread-self/net/udp");
        match ctx.net.in_site(ctx.site, read) {
            Ok(Ok(sockets)) if sockets.contains(" 00000000:0043 ") => Ok(()),
            Ok(Ok(_)) => Err("it does not listen yet".into()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}
