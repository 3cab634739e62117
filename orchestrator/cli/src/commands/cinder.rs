//! `rekindle cinder repair`: runs the program that knows Cinder's database, and shows what it says.
//!
//! The program comes with the Cinder driver, for it needs the Python and the `cinder.conf` of cinder-volume. Its contract is its JSON.

use crate::{
    args::CinderRepair,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

/// Some hundred bytes a volume, and a backend of a hundred thousand of them.
const MAX_DOCUMENT: u64 = 64 << 20;
/// Its words of complaint are kept up to here.
const MAX_WORDS: u64 = 64 << 10;
const ADVICE: &str = "it comes with the Cinder driver (driver/shim/README.md): run this on cinder-volume's host, or name it with --program";

/// What the program prints.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    host: String,
    active_backend: String,
    applied: bool,
    refused: Option<String>,
    changes: Vec<Change>,
    left: Vec<Left>,
}

#[derive(Debug, Deserialize)]
struct Change {
    kind: String,
    id: String,
    from: BTreeMap<String, Value>,
    to: BTreeMap<String, Value>,
    why: String,
    done: Option<bool>,
    problem: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Left {
    kind: String,
    id: String,
    why: String,
}

/// For a script the program's own document, whatever a later version puts into it; for a person what this one knows.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct RepairPage {
    document: Value,
    #[serde(skip)]
    report: Report,
}

impl RepairPage {
    /// Reads it.
    pub(super) fn parse(document: &[u8]) -> serde_json::Result<Self> {
        let document: Value = serde_json::from_slice(document)?;
        let report = Report::deserialize(&document)?;
        Ok(Self { document, report })
    }
}

impl Document for RepairPage {
    fn text(&self, page: &mut Page) {
        let r = &self.report;
        if let Some(why) = &r.refused {
            page.loud(format!("refused: {why}"));
            return;
        }
        page.heading(format!("{}, served from '{}'", r.host, r.active_backend));
        if r.changes.is_empty() && r.left.is_empty() {
            page.line("nothing to put right");
            return;
        }
        if !r.changes.is_empty() {
            let head = ["", "KIND", "ID", "CHANGE"].map(String::from).to_vec();
            let rows = r.changes.iter().map(Change::row);
            page.table(2, &std::iter::once(head).chain(rows).collect::<Vec<_>>());
            for (why, count) in counted(r.changes.iter().map(Change::word)) {
                page.line(format!("  {count} of them: {why}"));
            }
        }
        if !r.left.is_empty() {
            page.heading("Left as it is");
            let rows = r
                .left
                .iter()
                .map(|l| vec![l.kind.clone(), l.id.clone(), l.why.clone()]);
            let head = ["KIND", "ID", "WHY"].map(String::from).to_vec();
            page.table(2, &std::iter::once(head).chain(rows).collect::<Vec<_>>());
        }
        if !r.applied && !r.changes.is_empty() {
            page.line("nothing was changed; --apply carries it out");
        }
    }
}

impl Change {
    fn row(&self) -> Vec<String> {
        let mark = match self.done {
            None => "would change",
            Some(true) => "changed",
            Some(false) => "NOT changed",
        };
        let steps: Vec<String> = self
            .to
            .iter()
            .map(|(key, to)| format!("{key}: {} -> {}", word(self.from.get(key)), word(Some(to))))
            .collect();
        vec![
            mark.to_owned(),
            self.kind.clone(),
            self.id.clone(),
            steps.join(", "),
        ]
    }
    fn word(&self) -> &str {
        self.problem.as_deref().unwrap_or(&self.why)
    }
}

fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(s)) => s.clone(),
        Some(v @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            v.to_string()
        }
    }
}

/// Each once, in the order of their first appearance.
fn counted<'a>(words: impl Iterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut found: Vec<(&str, usize)> = Vec::new();
    for word in words {
        match found.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => found.push((word, 1)),
        }
    }
    found
}

/// Runs the program to its end, at most for as long as was given.
///
/// # Errors
/// [`CliError`]: it is not there, it failed, or what it printed is no report.
pub async fn repair(args: &CinderRepair, output: &Output) -> Result<Exit, CliError> {
    let name = args.program.display();
    let mut child = Command::new(&args.program)
        .args(arguments(args))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| {
            CliError::usage(format!("{name} cannot be started"))
                .advise(ADVICE)
                .caused_by(e)
        })?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let whole =
        async { tokio::try_join!(child.wait(), keep(out, MAX_DOCUMENT), keep(err, MAX_WORDS)) };
    let Ok(ended) = timeout(args.timeout.get(), whole).await else {
        return Err(CliError::ended(
            Exit::Unreachable,
            format!("{name} did not end within {} and was stopped", args.timeout),
        )
        .advise("each change is whole by itself: call it again, or give it more with --timeout"));
    };
    let (status, out, err) = ended
        .map_err(|e| CliError::failed(format!("{name} cannot be listened to")).caused_by(e))?;
    judge(&name.to_string(), status, &out, &err, output)
}

fn judge(
    name: &str,
    status: ExitStatus,
    out: &[u8],
    err: &[u8],
    output: &Output,
) -> Result<Exit, CliError> {
    let said = String::from_utf8_lossy(err);
    let said = said.trim().lines().last().unwrap_or("it said nothing");
    let exit = match status.code() {
        Some(0) => Exit::Ok,
        Some(3) => Exit::Refused,
        Some(6) => Exit::Partial,
        Some(2) => return Err(CliError::usage(said)),
        Some(5) => return Err(CliError::ended(Exit::Unreachable, said)),
        Some(_) | None => {
            return Err(CliError::failed(format!(
                "{name} failed ({status}): {said}"
            )));
        }
    };
    let page = RepairPage::parse(out).map_err(|e| {
        CliError::failed(format!("{name} printed no report that this version reads"))
            .advise("install the driver and this command from one version")
            .caused_by(e)
    })?;
    output.document(&page)?;
    Ok(exit)
}

fn arguments(args: &CinderRepair) -> Vec<OsString> {
    let mut line: Vec<OsString> = vec!["--json".into()];
    if args.apply {
        line.push("--apply".into());
    }
    if args.away_too {
        line.push("--away-too".into());
    }
    for file in &args.config_file {
        line.extend(["--config-file".into(), file.into()]);
    }
    if let Some(backend) = &args.backend {
        line.push(format!("--backend={backend}").into());
    }
    if let Some(span) = args.older_than {
        line.push(format!("--older-than={}s", span.get().as_secs()).into());
    }
    line
}

/// Reads to the end, so that it is never held up, and keeps the first bytes.
async fn keep(from: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(most).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}
