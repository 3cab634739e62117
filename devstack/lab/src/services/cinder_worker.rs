//! The zone's cinder-scheduler and cinder-volume.
//!
//! They listen nowhere. What they do about once in two seconds is to say in Cinder's database that they live, and the
//! rest of Cinder goes by that; so does this.

use std::time::Duration;

use super::mariadb::ask_cinder;
use super::{Lane, Service, SiteCtx, openstack_program};
use crate::error::Result;
use crate::openstack::{DOWN_TIME, cinder_conf, enabled_backends};
use crate::supervise::{self, Spawn};

pub(super) struct CinderScheduler;
pub(super) struct CinderVolume;

impl Service for CinderScheduler {
    fn name(&self) -> &'static str {
        "cinder-scheduler"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, _ctx: &SiteCtx) -> Result<()> {
        Ok(())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        program(ctx, self.name())
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        report(ctx, self.name(), &[ctx.site.to_string()])
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
        "cinder-volume"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, _ctx: &SiteCtx) -> Result<()> {
        Ok(())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        program(ctx, self.name())
    }

    /// A backend whose driver is not set up does not say that it lives.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        let backends = enabled_backends(ctx).map_err(|e| e.to_string())?;
        let hosts: Vec<String> = backends
            .iter()
            .map(|b| format!("{}@{}", ctx.site, b.name()))
            .collect();
        report(ctx, self.name(), &hosts)
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    /// Upstream's driver that finds no Ceph when it starts never looks again.
    fn lane(&self) -> Lane {
        Lane::Last
    }
}

fn program(ctx: &SiteCtx, name: &str) -> Spawn {
    Spawn::new(openstack_program(ctx, name))
        .arg("--config-file")
        .arg(cinder_conf(ctx).display().to_string())
}

/// Whether all of these said that they live since their process began, and lately.
fn report(ctx: &SiteCtx, binary: &str, hosts: &[String]) -> std::result::Result<(), String> {
    let age = supervise::alive(ctx, binary)
        .map_err(|e| e.to_string())?
        .and_then(crate::process::ProcId::age)
        .ok_or("it does not run")?;
    let seconds = age.as_secs().min(DOWN_TIME.into());
    let sql = format!(
        "SELECT host FROM services WHERE deleted = 0 AND `binary` = '{binary}' \
         AND updated_at > UTC_TIMESTAMP() - INTERVAL {seconds} SECOND"
    );
    let seen = ask_cinder(ctx, &sql).map_err(|e| e.to_string())?;
    match silent(hosts, &seen).as_slice() {
        [] => Ok(()),
        silent => Err(format!("no word yet from {}", silent.join(", "))),
    }
}

fn silent<'a>(hosts: &'a [String], seen: &str) -> Vec<&'a str> {
    hosts
        .iter()
        .map(String::as_str)
        .filter(|host| !seen.lines().any(|line| line == *host))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_silent_backend_of_two_is_named() {
        let hosts = ["zone-a@rekindle".to_owned(), "zone-a@rekindle2".to_owned()];
        assert_eq!(silent(&hosts, "zone-a@rekindle2\n"), ["zone-a@rekindle"]);
        assert!(silent(&hosts, "zone-a@rekindle2\nzone-a@rekindle\n").is_empty());
    }
}
