//! The zone's Cinder API, in uwsgi.

use std::fs;
use std::time::Duration;

use super::{Lane, Service, SiteCtx, answers, manage, uwsgi};
use crate::error::{IoContext, Result};
use crate::openstack::{cinder_conf, cinder_setup, write_cinder};
use crate::supervise::Spawn;

pub(super) struct CinderApi;

impl Service for CinderApi {
    fn name(&self) -> &'static str {
        "cinder-api"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        write_cinder(ctx, &cinder_setup(ctx)?)?;
        let done = ctx.dirs.data("cinder").join("tables");
        if done.exists() {
            return Ok(());
        }
        manage(ctx, "cinder-manage", &cinder_conf(ctx), &["db", "sync"])?.run()?;
        fs::write(&done, "").context(|| "marking Cinder's tables as made".into())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        // Two, for some calls wait for cinder-volume, and a dead Ceph makes that long.
        uwsgi(ctx, ctx.ports().cinder, "cinder.wsgi.api:application", 2)
            // Cinder reads its command line as if it were a program of its own.
            .args([
                "--pyargv",
                &format!("--config-file {}", cinder_conf(ctx).display()),
            ])
    }

    /// The list of versions: the one page that needs no token.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        answers(ctx, ctx.ports().cinder, "/", 300)
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}
