//! The zone's cinder-scheduler and cinder-volume.
//!
//! They listen nowhere: that they work is seen by their counts.

use std::time::Duration;

use super::counts::Counts;
use super::mariadb::ask_cinder;
use super::{Lane, Service, SiteCtx, openstack_program};
use crate::error::Result;
use crate::openstack::{cinder_conf, cinder_setup, second_conf, second_host};
use crate::supervise::Spawn;

pub(super) struct CinderScheduler;
pub(super) struct CinderVolume;
/// Another cinder-volume of the zone, where the two are a cluster. It is none of the site's services: a test that configures
/// one starts it, and it goes with the test.
pub(crate) struct SecondVolume;

const VOLUME: &str = "cinder-volume";

impl SecondVolume {
    pub(crate) const NAME: &'static str = "cinder-volume-2";
}

impl Service for CinderScheduler {
    fn name(&self) -> &'static str {
        "cinder-scheduler"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        counts(ctx, self.name(), self.name()).keep()
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        program(ctx, self.name())
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        counts(ctx, self.name(), self.name()).have_grown(&[ctx.site.to_string()])
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    /// After cinder-volume. One that starts before asks nobody for the backends' figures, says for up to a minute nothing
    /// more than that it began, and keeps all volumes waiting meanwhile.
    fn lane(&self) -> Lane {
        Lane::Last
    }
}

impl Service for CinderVolume {
    fn name(&self) -> &'static str {
        VOLUME
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        counts(ctx, self.name(), self.name()).keep()
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        program(ctx, self.name())
    }

    /// A backend whose driver is not set up does not say that it lives.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        counts(ctx, VOLUME, VOLUME).have_grown(&hosts(ctx, ctx.site.name())?)
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    /// After Ceph, see below.
    fn lane(&self) -> Lane {
        Lane::Last
    }

    /// Upstream's driver that finds no Ceph when it starts never looks again.
    fn gives_up(&self) -> bool {
        true
    }
}

impl Service for SecondVolume {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        counts(ctx, self.name(), VOLUME).keep()
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        program(ctx, VOLUME)
            .arg("--config-file")
            .arg(second_conf(ctx).display().to_string())
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        let hosts = hosts(ctx, &second_host(ctx.site))?;
        counts(ctx, self.name(), VOLUME).have_grown(&hosts)
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    fn lane(&self) -> Lane {
        Lane::Last
    }

    fn gives_up(&self) -> bool {
        true
    }
}

/// The services of a cinder-volume on that host: one for each backend.
fn hosts(ctx: &SiteCtx, host: &str) -> std::result::Result<Vec<String>, String> {
    let setup = cinder_setup(ctx).map_err(|e| e.to_string())?;
    let backends = setup.backends().iter();
    Ok(backends.map(|b| format!("{host}@{}", b.name())).collect())
}

fn program(ctx: &SiteCtx, name: &str) -> Spawn {
    Spawn::new(openstack_program(ctx, name))
        .arg("--config-file")
        .arg(cinder_conf(ctx).display().to_string())
}

fn counts<'a>(ctx: &'a SiteCtx, service: &'a str, binary: &'a str) -> Counts<'a> {
    Counts {
        ctx,
        service,
        binary,
        ask: ask_cinder,
    }
}
