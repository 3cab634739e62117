//! `rekindle record import`: into files, or into a group.

mod group;

use super::files::{self, Stored, StoredRecord};
use crate::{
    args::{RecordImport, RecordOrigin},
    commands::words::plural,
    connect::Peers,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use jiff::Timestamp;
use rekindle_common::{
    GroupName,
    servers::{
        RecordSource, ServerRecord,
        script::{self, Defaults, MAX_SCRIPT},
        terraform::{self, About, MAX_STATE, Note, Refused, StateError},
    },
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// What came of an import.
#[derive(Debug, Default, Serialize)]
struct ImportPage {
    records: Vec<StoredRecord>,
    /// Servers of which there is no record, each with the reason.
    refused: Vec<Refused>,
    notes: Vec<Note>,
    /// Resources of a state that say nothing of servers, by type.
    ignored: BTreeMap<String, usize>,
}

impl Document for ImportPage {
    fn text(&self, page: &mut Page) {
        for r in &self.records {
            let what = match r.stored {
                Stored::New => "new",
                Stored::Changed => "changed",
                Stored::Unchanged => "unchanged",
            };
            page.line(format!("{}: {what}: {}", r.name, r.at));
            for change in &r.changes {
                page.line(format!("  {change}"));
            }
        }
        for note in &self.notes {
            page.line(format!("{}: {}", note.address, note.what));
        }
        for r in &self.refused {
            let name = r
                .name
                .as_deref()
                .map_or_else(String::new, |n| format!(" ({n})"));
            page.loud(format!("NO RECORD of {}{name}: {}", r.address, r.why));
        }
        if !self.ignored.is_empty() {
            let count: usize = self.ignored.values().sum();
            let types: Vec<String> = self
                .ignored
                .iter()
                .map(|(t, n)| format!("{t} {n}"))
                .collect();
            page.line(format!(
                "ignored: {} ({})",
                plural(count, "resource"),
                types.join(", ")
            ));
        }
    }
}

/// What a file says of servers, before anything is written.
#[derive(Default)]
struct Found {
    records: Vec<(String, ServerRecord)>,
    refused: Vec<Refused>,
    notes: Vec<Note>,
    ignored: BTreeMap<String, usize>,
}

/// Imports into files.
///
/// # Errors
/// [`CliError`]: the file cannot be read, or a server that was asked for is not in it. Servers without a record are listed, and end as
/// [`Exit::Partial`], or as [`Exit::Refused`] where there is no record at all.
pub(super) fn run(args: &RecordImport, output: &Output) -> Result<Exit, CliError> {
    let found = read(args)?;
    let default = PathBuf::from("records");
    let out = args.out.as_ref().unwrap_or(&default);
    let (records, page) = found.apart();
    ended(to_files(out, records, page)?, output)
}

/// Imports into a group, and into files too where a folder is named.
///
/// # Errors
/// As [`run`]; [`CliError::Api`] where no orchestrator leads. What it refuses of one server is listed.
pub(super) async fn into_group(
    args: &RecordImport,
    group: &GroupName,
    peers: &Peers,
    output: &Output,
) -> Result<Exit, CliError> {
    let found = read(args)?;
    let client = peers.orchestrator()?;
    let (records, mut page) = found.apart();
    if let Some(out) = &args.out {
        page = to_files(out, records.clone(), page)?;
    }
    let page = group::put(&client, group, args.key.as_ref(), records, page).await?;
    ended(page, output)
}

fn to_files(
    out: &Path,
    records: Vec<(String, ServerRecord)>,
    mut page: ImportPage,
) -> Result<ImportPage, CliError> {
    let at = out.display();
    fs::create_dir_all(out)
        .map_err(|e| CliError::failed(format!("the folder {at} cannot be made")).caused_by(e))?;
    for (address, record) in records {
        match files::store(out, &record) {
            Ok(stored) => page.records.push(stored),
            Err(why) => page.refused.push(Refused {
                address,
                name: Some(record.name),
                why,
            }),
        }
    }
    Ok(page)
}

fn ended(page: ImportPage, output: &Output) -> Result<Exit, CliError> {
    let exit = match (page.records.is_empty(), page.refused.is_empty()) {
        (_, true) => Exit::Ok,
        (false, false) => Exit::Partial,
        (true, false) => Exit::Refused,
    };
    output.document(&page)?;
    Ok(exit)
}

/// What the file says of the servers that were asked for.
fn read(args: &RecordImport) -> Result<Found, CliError> {
    let most = match args.from {
        RecordOrigin::Terraform => MAX_STATE,
        RecordOrigin::Script => MAX_SCRIPT,
    };
    let (bytes, time) = content(&args.file, most)?;
    let taken_at = args.taken_at.unwrap_or(time);
    let mut found = match args.from {
        RecordOrigin::Terraform => of_state(args, &bytes, taken_at)?,
        RecordOrigin::Script => of_script(args, &bytes, taken_at)?,
    };
    if found.records.is_empty() && found.refused.is_empty() {
        let message = format!("{} has no server", args.file.display());
        return Err(CliError::usage(message)
            .advise("a state has those of its own configuration alone: is it the right one?"));
    }
    choose(&mut found, &args.servers)?;
    Ok(found)
}

impl Found {
    /// The records, and the page of all else.
    fn apart(self) -> (Vec<(String, ServerRecord)>, ImportPage) {
        let page = ImportPage {
            records: Vec::new(),
            refused: self.refused,
            notes: self.notes,
            ignored: self.ignored,
        };
        (self.records, page)
    }
}

/// The file's bytes, and when it was written.
fn content(file: &Path, most: usize) -> Result<(Vec<u8>, Timestamp), CliError> {
    let unreadable =
        |e: io::Error| CliError::usage(format!("{} cannot be read", file.display())).caused_by(e);
    let bound = most as u64;
    if file == Path::new("-") {
        let bytes = files::bytes(io::stdin().lock(), bound).map_err(unreadable)?;
        return Ok((bytes, Timestamp::now()));
    }
    let open = File::open(file).map_err(unreadable)?;
    let meta = open.metadata().map_err(unreadable)?;
    let written = meta.modified().map_err(unreadable)?;
    // A clock that was wrong: now is then the best that is known.
    let time = Timestamp::try_from(written).unwrap_or_else(|_| Timestamp::now());
    Ok((files::bytes(open, bound).map_err(unreadable)?, time))
}

fn of_state(args: &RecordImport, bytes: &[u8], taken_at: Timestamp) -> Result<Found, CliError> {
    // clap asks for it already.
    let zone = args
        .zone
        .clone()
        .ok_or_else(|| CliError::usage("--zone ZONE says whose ids are in the state"))?;
    let about = About { zone, taken_at };
    let import = terraform::read(bytes, &about).map_err(|e: StateError| {
        let advice = e.advice();
        CliError::usage(format!("{} cannot be imported", args.file.display()))
            .caused_by(e)
            .advise(advice)
    })?;
    let address = |r: &ServerRecord| match &r.source {
        RecordSource::Terraform { address, .. } => address.clone().unwrap_or_default(),
        RecordSource::Nova | RecordSource::Script => String::new(),
    };
    Ok(Found {
        records: import
            .records
            .into_iter()
            .map(|r| (address(&r), r))
            .collect(),
        refused: import.refused,
        notes: import.notes,
        ignored: import.ignored,
    })
}

fn of_script(args: &RecordImport, bytes: &[u8], taken_at: Timestamp) -> Result<Found, CliError> {
    let file = args.file.display();
    let no_text = |_| CliError::usage(format!("{file} cannot be imported: it is no UTF-8 text"));
    let text = std::str::from_utf8(bytes).map_err(no_text)?;
    let defaults = Defaults {
        zone: args.zone.clone(),
        taken_at,
    };
    let servers = script::read(text, &defaults).map_err(|e| {
        CliError::usage(format!("{file} cannot be imported"))
            .caused_by(e)
            .advise("docs/schemas/server-record.json says what a script's JSON is")
    })?;
    let mut found = Found::default();
    let mut files = BTreeSet::new();
    for (n, server) in servers.into_iter().enumerate() {
        let address = format!("servers[{n}]");
        match server.record {
            Ok(record) if files.insert(record.file_name()) => found.records.push((address, record)),
            Ok(record) => found.refused.push(Refused {
                address,
                name: Some(record.name),
                why: "stands in the file twice".to_owned(),
            }),
            Err(e) => found.refused.push(Refused {
                address,
                name: server.name,
                why: e.to_string(),
            }),
        }
    }
    Ok(found)
}

/// Keeps what was asked for; each name must be somebody's.
fn choose(found: &mut Found, asked: &[String]) -> Result<(), CliError> {
    if asked.is_empty() {
        return Ok(());
    }
    let is = |r: &ServerRecord, name: &String| r.name == *name || r.id.as_ref() == Some(name);
    for name in asked {
        let refused = found.refused.iter().any(|r| r.name.as_ref() == Some(name));
        if !refused && !found.records.iter().any(|(_, r)| is(r, name)) {
            let there: Vec<&str> = found
                .records
                .iter()
                .map(|(_, r)| r.name.as_str())
                .take(10)
                .collect();
            return Err(
                CliError::usage(format!("the file has no server {name:?}")).advise(format!(
                    "there are {} with a record: {}",
                    found.records.len(),
                    there.join(", ")
                )),
            );
        }
    }
    let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(&mut found.records)
        .into_iter()
        .partition(|(_, r)| asked.iter().any(|name| is(r, name)));
    found.records = kept;
    found
        .refused
        .retain(|r| asked.iter().any(|name| r.name.as_ref() == Some(name)));
    // A note on a resource that is no server may be about any of them.
    let dropped: BTreeSet<String> = dropped.into_iter().map(|(address, _)| address).collect();
    found.notes.retain(|n| !dropped.contains(&n.address));
    Ok(())
}
