//! The zone's cinder-scheduler and cinder-volume.
//!
//! They listen nowhere. What they do once in two seconds is to count on in Cinder's database that they live, and the rest
//! of Cinder goes by that; so does this. The time beside the count says less: a service writes its row also when it has
//! only begun.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::mariadb::ask_cinder;
use super::{Lane, Service, SiteCtx, openstack_program};
use crate::error::Result;
use crate::layout::write_whole;
use crate::openstack::{DOWN_TIME, cinder_conf, cinder_setup, second_conf, second_host};
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
        keep_counts(ctx, self.name(), self.name())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        program(ctx, self.name())
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        report(ctx, self.name(), self.name(), &[ctx.site.to_string()])
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
        keep_counts(ctx, self.name(), self.name())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        program(ctx, self.name())
    }

    /// A backend whose driver is not set up does not say that it lives.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        report(ctx, VOLUME, VOLUME, &hosts(ctx, ctx.site.name())?)
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
        keep_counts(ctx, self.name(), VOLUME)
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        program(ctx, VOLUME)
            .arg("--config-file")
            .arg(second_conf(ctx).display().to_string())
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        let hosts = hosts(ctx, &second_host(ctx.site))?;
        report(ctx, self.name(), VOLUME, &hosts)
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

/// Keeps what the counts are before it starts: what it counts itself comes on top.
fn keep_counts(ctx: &SiteCtx, name: &str, binary: &str) -> Result<()> {
    write_whole(
        &kept(ctx, name),
        &ask_cinder(ctx, &counts_sql(binary, None))?,
    )
}

fn kept(ctx: &SiteCtx, name: &str) -> PathBuf {
    ctx.dirs.run().join(format!("{name}.counts"))
}

fn counts_sql(binary: &str, within: Option<u32>) -> String {
    let lately = within
        .map(|seconds| format!(" AND updated_at > UTC_TIMESTAMP() - INTERVAL {seconds} SECOND"));
    format!(
        "SELECT host, report_count FROM services WHERE deleted = 0 AND `binary` = '{binary}'{}",
        lately.unwrap_or_default()
    )
}

/// Whether all of these counted since it began, and lately.
fn report(
    ctx: &SiteCtx,
    name: &str,
    binary: &str,
    hosts: &[String],
) -> std::result::Result<(), String> {
    // None was kept: it was not started by this program.
    let before = fs::read_to_string(kept(ctx, name)).unwrap_or_default();
    let now = ask_cinder(ctx, &counts_sql(binary, Some(DOWN_TIME))).map_err(|e| e.to_string())?;
    match silent(hosts, &before, &now).as_slice() {
        [] => Ok(()),
        silent => Err(format!("no word yet from {}", silent.join(", "))),
    }
}

fn silent<'a>(hosts: &'a [String], before: &str, now: &str) -> Vec<&'a str> {
    let (before, now) = (counts(before), counts(now));
    let counted = |host: &str| {
        let now = now.get(host).copied().unwrap_or_default();
        now > before.get(host).copied().unwrap_or_default()
    };
    let silent = hosts.iter().map(String::as_str);
    silent.filter(|host| !counted(host)).collect()
}

fn counts(rows: &str) -> BTreeMap<&str, u64> {
    rows.lines()
        .filter_map(|row| row.split_once('\t'))
        .filter_map(|(host, count)| Some((host, count.trim().parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_only_began_is_silent_and_one_of_two_is_named() {
        let hosts = ["zone-a@one".to_owned(), "zone-a@two".to_owned()];
        let before = "zone-a@one\t41\n";
        for (now, expected) in [
            ("", vec!["zone-a@one", "zone-a@two"]),
            (
                "zone-a@one\t41\nzone-a@two\t0\n",
                vec!["zone-a@one", "zone-a@two"],
            ),
            ("zone-a@one\t42\nzone-a@two\t0\n", vec!["zone-a@two"]),
            ("zone-a@one\t42\nzone-a@two\t1\n", vec![]),
        ] {
            assert_eq!(silent(&hosts, before, now), expected, "{now}");
        }
    }
}
