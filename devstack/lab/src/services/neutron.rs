//! The zone's Neutron, in uwsgi: its API without an agent. Nova's API asks it for the security groups of every server that is
//! shown, also of one without a NIC, and answers 500 where there is none.

use std::time::Duration;

use super::{Lane, Service, SiteCtx, answers, manage, tables, uwsgi};
use crate::error::Result;
use crate::openstack::{neutron_conf, wake_neutron, write_neutron};
use crate::supervise::Spawn;

pub(super) struct Neutron;

impl Service for Neutron {
    fn name(&self) -> &'static str {
        "neutron"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        write_neutron(ctx)?;
        tables::make(ctx, self.name(), &["neutron"], || {
            let (conf, words) = (neutron_conf(ctx), ["upgrade", "heads"]);
            manage(ctx, "neutron-db-manage", &conf, &words)?
                .run()
                .map(drop)
        })
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let port = ctx.ports().neutron;
        uwsgi(ctx, port, "neutron.wsgi.api:application", 1).env(
            "OS_NEUTRON_CONFIG_FILES",
            neutron_conf(ctx).display().to_string(),
        )
    }

    /// The list of versions: the one page that needs no token.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        answers(ctx, ctx.ports().neutron, "/", 200)
    }

    fn settle(&self, ctx: &SiteCtx) -> Result<()> {
        wake_neutron(ctx)
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}
