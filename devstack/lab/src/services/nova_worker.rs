//! The zone's nova-conductor and nova-scheduler. They listen nowhere: that they work is seen by their counts.

use std::time::Duration;

use super::counts::Counts;
use super::mariadb::ask_nova;
use super::{Lane, Service, SiteCtx, openstack_program};
use crate::error::Result;
use crate::openstack::nova_conf;
use crate::supervise::Spawn;

/// One of the two, by its program's name.
pub(super) struct NovaWorker(&'static str);

pub(super) const CONDUCTOR: NovaWorker = NovaWorker("nova-conductor");
pub(super) const SCHEDULER: NovaWorker = NovaWorker("nova-scheduler");

impl Service for NovaWorker {
    fn name(&self) -> &'static str {
        self.0
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        counts(ctx, self.name()).keep()
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        program(ctx, self.name())
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        counts(ctx, self.name()).have_grown(&[ctx.site.to_string()])
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    /// It asks Keystone for a token when it starts, and ends where it has no account there yet.
    fn lane(&self) -> Lane {
        Lane::Last
    }
}

fn program(ctx: &SiteCtx, name: &str) -> Spawn {
    Spawn::new(openstack_program(ctx, name))
        .arg("--config-file")
        .arg(nova_conf(ctx).display().to_string())
}

/// Of one of Nova's programs.
pub(super) fn counts<'a>(ctx: &'a SiteCtx, binary: &'a str) -> Counts<'a> {
    Counts {
        ctx,
        service: binary,
        binary,
        ask: ask_nova,
    }
}
