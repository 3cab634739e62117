//! Servers come back: both zones' real Novas, guests that write to replicated volumes, and what they find when they start.
//!
//! Minutes of both cores: `make test-all` runs these, `make test` does not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod disks;
mod halfway;
mod home;
mod interrupted;
mod refused;
mod returns;

use anyhow::Context;
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{
    Timestamp, ZoneName,
    duration::Span,
    runbook::{Level, Runbook, RunbookServer, StandbyPolicy, Wait},
};
use rekindle_core::{decision::Request, plan::PlanKind};
use rekindle_lab::{GuestRecord, Site};
use rekindle_orchestrator::wire::{PlanDetail, Run};
use rekindle_tests::scenario::{
    BOOT, CinderZone, Cloud, Group, Guest, Look, NovaZone, Volume, config, until,
};
use std::time::Duration;

/// For a plan that stops and starts guests.
const PLAN: Duration = Duration::from_secs(600);
/// What a guest writes before something happens to it.
const RECORDS: u64 = 20;

fn name_of(site: Site) -> ZoneName {
    ZoneName::new(site.name()).unwrap()
}

/// A level of a runbook with this one server, which counts as serving once it answers.
fn level(guest: &Guest, standby: StandbyPolicy) -> Level {
    let answers = Wait::Command {
        command: config::ANSWERS.to_owned(),
        within: Span(BOOT),
    };
    let server = RunbookServer {
        key: guest.key.clone(),
        server: Some(guest.server.clone()),
        standby: Some(standby),
        after: Vec::new(),
        wait: vec![answers],
        within: Span(BOOT),
    };
    Level {
        pause: None,
        servers: vec![server],
    }
}

/// What a group's servers need, level by level.
fn runbook(levels: Vec<Level>) -> Runbook {
    Runbook {
        levels,
        ..Runbook::default()
    }
}

/// Mirrored by a snapshot every ten seconds. QEMU cannot open a copy that is mirrored through its journal: on these stand-bys are built.
const SNAPSHOTS: [(&str, &str); 2] = [("rekindle:mode", "periodic"), ("rekindle:interval", "10s")];

/// A type of that name in both zones, whose volumes are replicated so in the group.
fn group_type(
    group: &Group<'_>,
    zones: [&CinderZone<'_>; 2],
    name: &str,
    how: &[(&str, &str)],
) -> anyhow::Result<String> {
    let specs = [&[("rekindle:group", group.name.as_str())], how].concat();
    let [a, b] = zones;
    let of_type = a.replicated_type(name, &specs)?;
    b.replicated_type(name, &specs)?;
    Ok(of_type)
}

/// Counts a volume among the group's, once it has a copy.
async fn add_volume(
    group: &mut Group<'_>,
    zone: &CinderZone<'_>,
    cloud: &Cloud,
    (volume, kind): (&str, Kind),
) -> anyhow::Result<()> {
    let spec = zone.image(volume)?;
    group.volumes.push(Volume { spec, kind });
    cloud.wait_copy(Site::ZoneB, zone, volume).await
}

/// Has a plan made on request and carried out, all of it.
async fn carry_out(
    cloud: &Cloud,
    group: &Group<'_>,
    request: Request,
    kind: PlanKind,
) -> anyhow::Result<PlanDetail> {
    let asked = Timestamp::now();
    let client = cloud.orchestrators();
    client.plan_for(&group.name, request, Run::Begin).await?;
    group.wait_plan_within(kind, asked, PLAN).await
}

/// Puts a guest's volume into the group, and says where the guest answers.
async fn join(
    group: &mut Group<'_>,
    zone: &CinderZone<'_>,
    novas: [&NovaZone<'_>; 2],
    cloud: &Cloud,
    (guest, kind): (&Guest, Kind),
) -> anyhow::Result<()> {
    add_volume(group, zone, cloud, (&guest.volume, kind)).await?;
    cloud.tell_addresses(novas, guest)
}

/// Waits until a guest has written so many records.
async fn wait_records(
    zone: &NovaZone<'_>,
    guest: &Guest,
    many: u64,
) -> anyhow::Result<GuestRecord> {
    let what = format!("{} to have written {many} records", guest.key);
    until(&what, BOOT, async || -> Look<GuestRecord> {
        let record = zone.ask(guest).map_err(|e| format!("{e:#}"))?;
        if record.number >= many {
            Ok(record)
        } else {
            Err(record.number.to_string())
        }
    })
    .await
}

/// Makes a flavor of a guest's size.
fn make_flavor(zone: &CinderZone<'_>, name: &str) -> anyhow::Result<()> {
    let sizes = ["--ram", "160", "--disk", "0", "--vcpus", "1"];
    zone.admin(&[&["flavor", "create"], &sizes[..], &[name]].concat())
        .map(drop)
}

/// Gives a guest another flavor.
fn resize(zone: &CinderZone<'_>, guest: &Guest, flavor: &str) -> anyhow::Result<()> {
    let os = zone.clients.clone().deadline(BOOT);
    let admin = |args: &[&str]| os.openstack(&os.admin, args);
    admin(&[
        "server",
        "resize",
        "--wait",
        "--flavor",
        flavor,
        &guest.server,
    ])?;
    admin(&["server", "resize", "confirm", &guest.server])?;
    Ok(())
}

/// The ids of all servers of that name.
fn named(zone: &CinderZone<'_>, name: &str) -> anyhow::Result<Vec<String>> {
    let exactly = format!("^{name}$");
    let args = ["server", "list", "--all-projects", "--name", &exactly];
    let found = zone.clients.openstack_json(&zone.clients.admin, &args)?;
    let ids = found.as_array().context("a list")?.iter();
    ids.map(|s| Ok(s["ID"].as_str().context("it has an id")?.to_owned()))
        .collect()
}

/// Waits until a guest's record is kept.
async fn wait_recorded(group: &Group<'_>, guest: &Guest) -> anyhow::Result<()> {
    let what = format!("the record of {}", guest.key);
    until(&what, BOOT, async || {
        let view = group.server(&guest.key).await?;
        match view.recorded_at {
            Some(_) => Ok(()),
            None => Err(format!("{view:?}")),
        }
    })
    .await
}
