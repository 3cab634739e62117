//! The zone's Glance, in uwsgi, with images in files.

use std::time::Duration;

use super::{Lane, Service, SiteCtx, answers, manage, once, tables, uwsgi};
use crate::error::Result;
use crate::openstack::{dir, glance_conf, make_image, write_glance};
use crate::supervise::Spawn;

pub(super) struct Glance;

impl Service for Glance {
    fn name(&self) -> &'static str {
        "glance"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[("qemu-img", "qemu-utils")]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        write_glance(ctx)?;
        tables::make(ctx, self.name(), &["glance"], || {
            manage(ctx, "glance-manage", &glance_conf(ctx), &["db_sync"])?
                .run()
                .map(drop)
        })
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let port = ctx.ports().glance;
        uwsgi(ctx, port, "glance.wsgi.api:application", 1)
            .env("OS_GLANCE_CONFIG_DIR", dir(ctx).display().to_string())
    }

    /// The list of versions: the one page that needs no token.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        answers(ctx, ctx.ports().glance, "/", 300)
    }

    fn settle(&self, ctx: &SiteCtx) -> Result<()> {
        once(ctx, self.name(), "image", make_image)
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}
