//! `rekindle config check`: each file by itself, and all of them against each other (hard case 13).
//!
//! What a file is, is told by what stands in it. The environment is left out: another machine's is not this one's.

use super::group::GroupFile;
use crate::{
    config::CliConfig,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use rekindle_common::{SiteName, ZoneName};
use rekindle_core::catalogue::mapping::Mapping;
use rekindle_driver::config::Config as Driver;
use rekindle_gateway::config::Config as Gateway;
use rekindle_orchestrator::config::{Config as Orchestrator, cross_check};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What only a mapping has: one of these, at least.
const MAPPINGS: [&str; 14] = [
    "same_name",
    "projects",
    "types",
    "keys",
    "flavors",
    "networks",
    "subnets",
    "addresses",
    "ranges",
    "any_address",
    "security_groups",
    "key_pairs",
    "availability_zones",
    "server_groups",
];

/// What a file configures.
enum Kind {
    Gateway(Box<Gateway>),
    Sidecar(Box<Driver>),
    Orchestrator(Box<Orchestrator>),
    Group(GroupFile),
    CommandLine(CliConfig),
    Mapping(Mapping),
}

/// One file.
#[derive(Debug, Serialize)]
struct Checked {
    file: PathBuf,
    /// What it configures; `None` where that cannot be told.
    kind: Option<&'static str>,
    /// What is wrong with it.
    problems: Vec<String>,
}

/// Two files that do not fit together.
#[derive(Debug, Serialize)]
struct Disagreement {
    files: [PathBuf; 2],
    field: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct CheckPage {
    files: Vec<Checked>,
    disagreements: Vec<Disagreement>,
}

impl Document for CheckPage {
    fn text(&self, page: &mut Page) {
        for f in &self.files {
            let kind = f.kind.unwrap_or("unknown");
            let well = if f.problems.is_empty() {
                "well"
            } else {
                "NOT WELL"
            };
            page.line(format!("{}: {kind}, {well}", f.file.display()));
            for p in &f.problems {
                page.loud(format!("  {}", p.replace('\n', "\n  ")));
            }
        }
        for d in &self.disagreements {
            let [a, b] = &d.files;
            page.loud(format!(
                "{} and {}: {}: {}",
                a.display(),
                b.display(),
                d.field,
                d.why
            ));
        }
        if self.files.len() > 1 && self.disagreements.is_empty() {
            page.line("they fit together");
        }
    }
}

/// Checks files.
///
/// # Errors
/// [`CliError::Output`]. What is wrong with the files is written, and ends as [`Exit::Usage`].
pub fn check(files: &[PathBuf], output: &Output) -> Result<Exit, CliError> {
    let mut checked = Vec::new();
    let mut good: Vec<(&Path, Kind)> = Vec::new();
    for file in files {
        let (kind, problems) = match read(file) {
            Ok(kind) => (Some(kind.name()), kind.problems(file, &mut good)),
            Err((kind, why)) => (kind, vec![why]),
        };
        checked.push(Checked {
            file: file.clone(),
            kind,
            problems,
        });
    }
    let mut disagreements = Vec::new();
    for (n, (file, kind)) in good.iter().enumerate() {
        for (other, with) in good.iter().skip(n + 1) {
            for (field, why) in compare(kind, with).into_iter().chain(compare(with, kind)) {
                let files = [(*file).to_owned(), (*other).to_owned()];
                disagreements.push(Disagreement { files, field, why });
            }
        }
    }
    let well = disagreements.is_empty() && checked.iter().all(|c| c.problems.is_empty());
    output.document(&CheckPage {
        files: checked,
        disagreements,
    })?;
    Ok(if well { Exit::Ok } else { Exit::Usage })
}

/// Reads a file, or says what is wrong and what kind it seemed to be.
fn read(file: &Path) -> Result<Kind, (Option<&'static str>, String)> {
    let text = fs::read_to_string(file).map_err(|e| (None, format!("cannot be read: {e}")))?;
    let table: toml::Table = text
        .parse()
        .map_err(|e| (None, format!("is no TOML: {e}")))?;
    let has = |key: &str| table.contains_key(key);
    if has("site") || has("sites") {
        as_kind("orchestrator", &text, |c| Kind::Orchestrator(Box::new(c)))
    } else if has("upstream") {
        // Before the sidecar's: it names its zone too.
        as_kind("gateway", &text, |c| Kind::Gateway(Box::new(c)))
    } else if has("ceph") || has("zone") {
        as_kind("sidecar", &text, |c| Kind::Sidecar(Box::new(c)))
    } else if has("home") || has("away") {
        as_kind("group", &text, Kind::Group)
    } else if has("orchestrators") || has("zones") {
        as_kind("command line", &text, Kind::CommandLine)
    } else if MAPPINGS.into_iter().any(has) {
        as_kind("mapping", &text, Kind::Mapping)
    } else {
        let keys: Vec<&str> = table.keys().map(String::as_str).collect();
        Err((
            None,
            format!("is of no kind that is known: it has {}", keys.join(", ")),
        ))
    }
}

fn as_kind<T: DeserializeOwned>(
    name: &'static str,
    text: &str,
    kind: impl FnOnce(T) -> Kind,
) -> Result<Kind, (Option<&'static str>, String)> {
    toml::from_str(text)
        .map(kind)
        .map_err(|e| (Some(name), e.to_string().trim_end().to_owned()))
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "gateway",
            Self::Sidecar(_) => "sidecar",
            Self::Orchestrator(_) => "orchestrator",
            Self::Group(_) => "group",
            Self::CommandLine(_) => "command line",
            Self::Mapping(_) => "mapping",
        }
    }

    /// What is wrong with it by itself. A file that is well is kept to be compared with the others.
    fn problems<'f>(self, file: &'f Path, good: &mut Vec<(&'f Path, Self)>) -> Vec<String> {
        let found = match &self {
            Self::Gateway(c) => c.check().err().map(|e| e.to_string()),
            Self::Sidecar(c) => c.check().err().map(|e| e.to_string()),
            Self::Orchestrator(c) => c.check().err().map(|e| e.to_string()),
            Self::Group(g) => g.check().err(),
            Self::CommandLine(c) => c.check().err(),
            // Its zones are the orchestrators': only with one of their files is it told whether it is well.
            Self::Mapping(_) => None,
        };
        match found {
            Some(why) => vec![why],
            None => {
                good.push((file, self));
                Vec::new()
            }
        }
    }
}

type Found = Vec<(String, String)>;

/// What `b` has against `a`; each pair is asked for in both orders, and each rule answers to one of them.
fn compare(a: &Kind, b: &Kind) -> Found {
    match (a, b) {
        (Kind::Orchestrator(a), Kind::Orchestrator(b)) => {
            // Symmetric: said once.
            if a.site <= b.site {
                cross_check(a, b)
                    .into_iter()
                    .map(|d| (d.field, d.why))
                    .collect()
            } else {
                Vec::new()
            }
        }
        (Kind::Sidecar(a), Kind::Sidecar(b)) if a.zone <= b.zone => sidecars(a, b),
        (Kind::Orchestrator(o), Kind::Sidecar(s)) => orchestrator_and_sidecar(o, s),
        (Kind::Orchestrator(o), Kind::Group(g)) => orchestrator_and_group(o, g),
        (Kind::Orchestrator(o), Kind::CommandLine(c)) => orchestrator_and_command(o, c),
        (Kind::Orchestrator(o), Kind::Mapping(m)) => orchestrator_and_mapping(o, m),
        // Its zone's other programs are asked at its own sockets.
        (Kind::Gateway(_), _) | (_, Kind::Gateway(_)) => Vec::new(),
        (
            Kind::Sidecar(_) | Kind::Group(_) | Kind::CommandLine(_) | Kind::Mapping(_),
            Kind::Sidecar(_)
            | Kind::Orchestrator(_)
            | Kind::Group(_)
            | Kind::CommandLine(_)
            | Kind::Mapping(_),
        ) => Vec::new(),
    }
}

fn say(found: &mut Found, field: &str, why: impl Into<String>) {
    found.push((field.to_owned(), why.into()));
}

fn set(names: &[String]) -> BTreeSet<&String> {
    names.iter().collect()
}

fn sidecars(a: &Driver, b: &Driver) -> Found {
    let mut found = Found::new();
    let (here, there) = (&a.zone, &b.zone);
    if here == there && a.listen == b.listen {
        say(
            &mut found,
            "zone",
            format!("both are {here}, and listen at the same place"),
        );
    }
    if here != there && set(&a.ceph.pools) != set(&b.ceph.pools) {
        let (x, y) = (a.ceph.pools.join(", "), b.ceph.pools.join(", "));
        say(
            &mut found,
            "ceph.pools",
            format!("{here} has {x}, {there} has {y}: a pool is mirrored under one name"),
        );
    }
    etcds(
        &mut found,
        a.etcd.as_ref().map(|e| &e.endpoints),
        b.etcd.as_ref().map(|e| &e.endpoints),
    );
    found
}

/// The same members, in whatever order and by whatever addresses: so many of them, at least.
fn etcds(found: &mut Found, a: Option<&Vec<String>>, b: Option<&Vec<String>>) {
    match (a, b) {
        (Some(a), Some(b)) if a.len() != b.len() => {
            say(
                found,
                "etcd.endpoints",
                format!("one names {} members, the other {}", a.len(), b.len()),
            );
        }
        (Some(_), None) | (None, Some(_)) => {
            say(
                found,
                "etcd",
                "one has it, the other has not: they cannot agree on who is primary",
            );
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
}

fn orchestrator_and_sidecar(o: &Orchestrator, s: &Driver) -> Found {
    let mut found = Found::new();
    let zone = &s.zone;
    match o.zones.get(zone) {
        None => say(
            &mut found,
            "zones",
            format!("the orchestrator of {} does not know {zone}", o.site),
        ),
        Some(z) => {
            let port = |url: &str| {
                url.rsplit_once(':')
                    .and_then(|(_, p)| p.trim_end_matches('/').parse().ok())
            };
            let at = s.listen.tcp.map(|a| a.port());
            if at.is_none() {
                say(
                    &mut found,
                    "listen.tcp",
                    format!(
                        "{zone}'s sidecar does not listen on TCP, and is reached at {}",
                        z.sidecar
                    ),
                );
            } else if at != port(&z.sidecar) {
                let why = format!(
                    "the orchestrator asks {}, the sidecar listens on port {}",
                    z.sidecar,
                    at.unwrap_or_default()
                );
                say(&mut found, &format!("zones.{zone}.sidecar"), why);
            }
        }
    }
    let own = SiteName::from(zone.clone());
    let others: BTreeSet<&SiteName> = o.sites.keys().filter(|name| **name != own).collect();
    let asked: BTreeSet<&SiteName> = s.failsafe.sites.keys().collect();
    if !asked.is_empty() && asked != others {
        let list = |names: &BTreeSet<&SiteName>| {
            names
                .iter()
                .map(|n| n.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let why = format!(
            "{zone}'s sidecar asks {}, and the other sites are {}: all of them must confirm",
            list(&asked),
            list(&others)
        );
        say(&mut found, "failsafe.sites", why);
    }
    etcds(
        &mut found,
        Some(&o.etcd.endpoints),
        s.etcd.as_ref().map(|e| &e.endpoints),
    );
    found
}

fn orchestrator_and_group(o: &Orchestrator, g: &GroupFile) -> Found {
    let mut found = Found::new();
    for (field, zone) in [("home", &g.home), ("away", &g.away)] {
        if !o.zones.contains_key(zone) {
            say(
                &mut found,
                field,
                format!("the orchestrator of {} does not know {zone}", o.site),
            );
        }
    }
    let named = [
        (
            "policy.application",
            &g.policy.application,
            o.applications.keys().collect::<Vec<_>>(),
        ),
        (
            "policy.fence_agent",
            &g.policy.fence_agent,
            o.fence_agents.keys().collect::<Vec<_>>(),
        ),
    ];
    for (field, name, known) in named {
        if let Some(name) = name
            && !known.contains(&name)
        {
            say(
                &mut found,
                field,
                format!("the orchestrator of {} has no {name:?}", o.site),
            );
        }
    }
    let unknown = g.runbook.commands().find(|c| !o.hooks.contains_key(*c));
    if let Some(name) = unknown {
        let why = format!("the orchestrator of {} has no hook {name:?}", o.site);
        say(&mut found, "runbook", why);
    }
    if g.runbook.servers().next().is_some() {
        for zone in [&g.home, &g.away] {
            if !o.clouds.contains_key(zone) {
                let why = format!(
                    "the orchestrator of {} has no clouds.{zone}, and could start no server there",
                    o.site
                );
                say(&mut found, "runbook.levels", why);
            }
        }
    }
    let look = o.times.observe.get() + o.times.probe.get();
    if g.policy.hold_off.get() < look * 2 {
        let why = format!(
            "{} is shorter than two looks of the orchestrator (times.observe {} and times.probe {}): one slow answer would count",
            g.policy.hold_off, o.times.observe, o.times.probe
        );
        say(&mut found, "policy.hold_off", why);
    }
    found
}

fn orchestrator_and_command(o: &Orchestrator, c: &CliConfig) -> Found {
    let mut found = Found::new();
    for zone in c.zones.keys().filter(|z| !o.zones.contains_key(*z)) {
        say(
            &mut found,
            "zones",
            format!("the orchestrator of {} does not know {zone}", o.site),
        );
    }
    found
}

fn orchestrator_and_mapping(o: &Orchestrator, m: &Mapping) -> Found {
    let zones: BTreeSet<ZoneName> = o.zones.keys().cloned().collect();
    m.check(&zones)
        .into_iter()
        .map(|e| (e.field, e.why))
        .collect()
}

#[cfg(test)]
mod tests;
