//! The zone's Placement, in uwsgi. The first of Nova's services: here the databases of all of them come to be.

use std::time::Duration;

use super::mariadb::make_databases;
use super::{Lane, Service, SiteCtx, answers, manage, tables, uwsgi};
use crate::error::Result;
use crate::openstack::{
    NOVA_DATABASES, NOVA_USER, Secret, dir, password, placement_conf, write_placement,
};
use crate::supervise::Spawn;

pub(super) struct Placement;

impl Service for Placement {
    fn name(&self) -> &'static str {
        "placement"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        // Both, before anybody else asks for one of them.
        password(ctx, Secret::Nova)?;
        password(ctx, Secret::NovaDb)?;
        write_placement(ctx)?;
        make_databases(ctx, &NOVA_DATABASES, NOVA_USER, Secret::NovaDb)?;
        tables::make(ctx, self.name(), &["placement"], || {
            let conf = placement_conf(ctx);
            manage(ctx, "placement-manage", &conf, &["db", "sync"])?
                .run()
                .map(drop)
        })
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let port = ctx.ports().placement;
        uwsgi(ctx, port, "placement.wsgi.api:application", 1)
            .env("OS_PLACEMENT_CONFIG_DIR", dir(ctx).display().to_string())
    }

    /// The list of versions: the one page that needs no token.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        answers(ctx, ctx.ports().placement, "/", 200)
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}
