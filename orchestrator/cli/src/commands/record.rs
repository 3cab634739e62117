//! `rekindle record …`: servers' records as files, of which nothing is asked of anybody; and those that are kept of a group's servers: their import
//! through the leader, and their reading from any orchestrator.

mod files;
mod import;
mod kept;

use super::words::{moment, plural};
use crate::{
    args::{RecordCommand, RecordForm, RecordOf},
    connect::Peers,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use rekindle_common::servers::{
    PortRecord, PortSecurity, RecordSource, ServerRecord,
    diff::{Change, diff},
    export::export,
    shown::metadata_value,
};
use serde::{Serialize, Serializer};
use std::fmt::Display;

/// Runs it. `peers` is called where a group is named: what is of files alone needs no configuration.
///
/// # Errors
/// [`CliError`], with its exit code; [`CliError::Api`] where there is no such group, server or record.
pub async fn run(
    command: RecordCommand,
    peers: impl FnOnce() -> Result<Peers, CliError>,
    output: &Output,
) -> Result<Exit, CliError> {
    match command {
        RecordCommand::Import(args) => match &args.group {
            None => import::run(&args, output),
            Some(group) => import::into_group(&args, group, &peers()?, output).await,
        },
        RecordCommand::Export { form, of } => {
            let record = record(&of, peers).await?;
            exported(&record, of.what.display(), form, output)
        }
        RecordCommand::Show { of } => {
            output.document(&ShowPage(record(&of, peers).await?))?;
            Ok(Exit::Ok)
        }
        RecordCommand::Diff {
            group,
            first,
            second,
        } => {
            let (before, after) = match &group {
                None => (files::read(&first)?, files::read(&second)?),
                Some(group) => {
                    let peers = peers()?;
                    // The file first: nobody need be asked where it cannot be read.
                    (
                        files::read(&second)?,
                        kept::read(&peers, group, &first).await?,
                    )
                }
            };
            output.document(&DiffPage::of(before, after))?;
            Ok(Exit::Ok)
        }
    }
}

async fn record(
    of: &RecordOf,
    peers: impl FnOnce() -> Result<Peers, CliError>,
) -> Result<ServerRecord, CliError> {
    match &of.group {
        None => files::read(&of.what),
        Some(group) => kept::read(&peers()?, group, &of.what).await,
    }
}

fn exported(
    record: &ServerRecord,
    what: impl Display,
    form: RecordForm,
    output: &Output,
) -> Result<Exit, CliError> {
    let text = export(record, form.into())
        .map_err(|e| CliError::usage(format!("{what} cannot be written so")).caused_by(e))?;
    output.document(&ExportPage { text })?;
    Ok(Exit::Ok)
}

/// A record in another form. For a script: `{"text": …}`.
#[derive(Serialize)]
struct ExportPage {
    text: String,
}

impl Document for ExportPage {
    fn text(&self, page: &mut Page) {
        page.line(self.text.trim_end_matches('\n'));
    }
}

/// A record, as it may be shown.
struct ShowPage(ServerRecord);

impl Serialize for ShowPage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.shown().serialize(serializer)
    }
}

impl Document for ShowPage {
    fn text(&self, page: &mut Page) {
        let r = &self.0;
        let power = r.power.as_str().replace('_', " ");
        let lock = if r.locked { ", locked" } else { "" };
        page.line(format!("{} in {}: {power}{lock}", r.name, r.zone));
        page.line(format!(
            "as of {}, from {}",
            moment(r.taken_at),
            source(&r.source)
        ));
        let mut rows = vec![("flavor", flavor(r))];
        let optional = [
            ("id", &r.id),
            ("project", &r.project),
            ("key pair", &r.key_name),
            ("availability zone", &r.availability_zone),
            ("server group", &r.server_group),
            ("description", &r.description),
        ];
        rows.extend(
            optional
                .into_iter()
                .filter_map(|(k, v)| Some((k, v.clone()?))),
        );
        if !r.security_groups.is_empty() {
            rows.push(("security groups", r.security_groups.join(", ")));
        }
        if !r.tags.is_empty() {
            rows.push((
                "tags",
                r.tags.iter().cloned().collect::<Vec<_>>().join(", "),
            ));
        }
        if r.config_drive {
            rows.push(("config drive", "yes".to_owned()));
        }
        if let Some(data) = &r.user_data {
            rows.push(("user data", format!("{} bytes, not shown", data.bytes())));
        }
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(k, v)| vec![k.to_owned(), v])
            .collect();
        page.table(2, &rows);
        disks(page, r);
        ports(page, r);
        if !r.metadata.is_empty() {
            page.heading("Metadata");
        }
        for (name, value) in &r.metadata {
            page.line(format!(
                "  {name} = {}",
                metadata_value(name, value).escape_debug()
            ));
        }
    }
}

fn flavor(r: &ServerRecord) -> String {
    let f = &r.flavor;
    let parts = [
        f.vcpus
            .map(|n| plural(usize::try_from(n).unwrap_or(usize::MAX), "vCPU")),
        f.ram_mib.map(|n| format!("{n} MiB")),
        f.disk_gib.map(|n| format!("{n} GiB local")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        f.name.clone()
    } else {
        format!("{} ({})", f.name, parts.join(", "))
    }
}

fn source(source: &RecordSource) -> String {
    match source {
        RecordSource::Nova => "Nova".to_owned(),
        RecordSource::Script => "a script".to_owned(),
        RecordSource::Terraform {
            serial, address, ..
        } => {
            let address = address.as_deref().unwrap_or("a Terraform state");
            format!("{address} (serial {serial})")
        }
    }
}

fn dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

fn disks(page: &mut Page, r: &ServerRecord) {
    page.heading("Disks");
    let mut rows = vec![row(["BOOT", "VOLUME", "NAME", "DEVICE"])];
    rows.extend(r.disks.iter().map(|d| {
        vec![
            d.boot_index
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
            d.volume.id.clone(),
            dash(d.volume.name.as_deref()),
            dash(d.device.as_deref()),
        ]
    }));
    page.table(2, &rows);
}

fn ports(page: &mut Page, r: &ServerRecord) {
    page.heading("Ports");
    if r.ports.is_empty() {
        page.line("  none");
        return;
    }
    let mut rows = vec![row(["NETWORK", "ADDRESSES", "MAC", "SECURITY GROUPS"])];
    rows.extend(r.ports.iter().map(|p| {
        let ips: Vec<String> = p
            .fixed_ips
            .iter()
            .map(|ip| match (&ip.address, &ip.subnet) {
                (Some(address), _) => address.to_string(),
                (None, subnet) => format!("any of {}", dash(subnet.as_deref())),
            })
            .collect();
        vec![
            p.network.clone(),
            dash((!ips.is_empty()).then(|| ips.join(", ")).as_deref()),
            dash(p.mac.as_deref()),
            groups(r, p),
        ]
    }));
    page.table(2, &rows);
}

/// What lets anything through it.
fn groups(r: &ServerRecord, p: &PortRecord) -> String {
    let groups = r.groups_of(p);
    match p.port_security {
        PortSecurity::Off => "none: port security is off".to_owned(),
        PortSecurity::On if groups.is_empty() => "none: nothing passes".to_owned(),
        PortSecurity::Unknown | PortSecurity::On => {
            dash((!groups.is_empty()).then(|| groups.join(", ")).as_deref())
        }
    }
}

/// What changed.
#[derive(Serialize)]
struct DiffPage {
    same: bool,
    before: Side,
    after: Side,
    changes: Vec<Change>,
}

/// Which record.
#[derive(Serialize)]
struct Side {
    name: String,
    taken_at: jiff::Timestamp,
    source: RecordSource,
}

impl DiffPage {
    fn of(before: ServerRecord, after: ServerRecord) -> Self {
        let changes = diff(&before, &after);
        let side = |r: ServerRecord| Side {
            name: r.name,
            taken_at: r.taken_at,
            source: r.source,
        };
        Self {
            same: changes.is_empty(),
            before: side(before),
            after: side(after),
            changes,
        }
    }
}

impl Document for DiffPage {
    fn text(&self, page: &mut Page) {
        for (what, side) in [("before", &self.before), ("after", &self.after)] {
            let at = moment(side.taken_at);
            page.line(format!(
                "{what}: {}, as of {at}, from {}",
                side.name,
                source(&side.source)
            ));
        }
        for change in &self.changes {
            page.line(change.to_string());
        }
        if self.same {
            page.line("the server is the same in both");
        }
    }
}
