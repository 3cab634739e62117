//! The zone's nova-compute, its one hypervisor.

use std::time::Duration;

use super::mariadb::ask_nova;
use super::nova_worker::counts;
use super::{Lane, Service, SiteCtx, openstack_program};
use crate::error::Result;
use crate::openstack::{nova_compute_conf, nova_conf};
use crate::supervise::Spawn;

pub(super) struct NovaCompute;

impl Service for NovaCompute {
    fn name(&self) -> &'static str {
        "nova-compute"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        counts(ctx, self.name()).keep()
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let file = |path: std::path::PathBuf| ["--config-file".into(), path.display().to_string()];
        Spawn::new(openstack_program(ctx, self.name()))
            .args(file(nova_conf(ctx)))
            .args(file(nova_compute_conf(ctx)))
    }

    /// It counts also where it could not tell Placement what it has, and then gets no guest.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        counts(ctx, self.name()).have_grown(&[ctx.site.to_string()])?;
        let known = ask_nova(ctx, "SELECT COUNT(*) FROM placement.inventories");
        match known.map_err(|error| error.to_string())?.trim() {
            "0" => Err("Placement knows of no room for guests".into()),
            _ => Ok(()),
        }
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    /// It wants libvirt and everything else of Nova.
    fn lane(&self) -> Lane {
        Lane::Last
    }
}
