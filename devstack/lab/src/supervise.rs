//! Processes that outlive whoever started them, and the record of them.
//!
//! Each runs in a session of its own (so neither a closed terminal nor Ctrl-C reaches it) and inside
//! its site. `SITE/run/NAME.json` says which process it is and how to start it again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::error::{IoContext, LabError, Result};
use crate::layout::write_whole;
use crate::process::{MARK, Membership, ProcId};
use crate::run::{last_lines, require, until};
use crate::services::SiteCtx;

/// Time a process has to leave after SIGKILL.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Whether a process that a caller started comes back with its site.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStart {
    /// `start` of the site starts it again, with the same arguments.
    #[default]
    Restart,
    /// It stays dead until somebody starts it.
    Leave,
}

/// A program to run inside a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// A path, or a name to be found in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment on top of the caller's.
    pub env: BTreeMap<String, String>,
    /// Where its output goes; by default `log/SITE/NAME.log` of the lab.
    pub log: Option<PathBuf>,
    /// What `start` of the site does with it.
    pub on_start: OnStart,
}

impl Spawn {
    /// The program without arguments.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            log: None,
            on_start: OnStart::default(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Sends its output to a file of the caller's.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Says what `start` of the site does with it.
    #[must_use]
    pub fn on_start(mut self, on_start: OnStart) -> Self {
        self.on_start = on_start;
        self
    }
}

/// What is kept about a process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: ProcId,
    pub(crate) spawn: Spawn,
}

/// The record of a service, if it was ever started.
pub(crate) fn record(ctx: &SiteCtx, name: &str) -> Result<Option<Record>> {
    read(&ctx.dirs.pid_file(name))
}

/// Everything ever started in the site that was not stopped for good, by name.
pub(crate) fn records(ctx: &SiteCtx) -> Result<BTreeMap<String, Record>> {
    let run = ctx.dirs.run();
    let dir = match fs::read_dir(&run) {
        Ok(dir) => dir,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(e).context(|| format!("reading {}", run.display())),
    };
    let mut all = BTreeMap::new();
    for path in dir.flatten().map(|e| e.path()) {
        if path.extension().is_some_and(|x| x == "json")
            && let Some(name) = path.file_stem().and_then(|s| s.to_str())
            && let Some(found) = read(&path)?
        {
            all.insert(name.to_owned(), found);
        }
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Option<Record>> {
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|e| LabError::BadState {
                path: path.to_owned(),
                why: e.to_string(),
            }),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).context(|| format!("reading {}", path.display())),
    }
}

/// The process of a service, if it runs now.
pub(crate) fn alive(ctx: &SiteCtx, name: &str) -> Result<Option<ProcId>> {
    Ok(record(ctx, name)?.map(|r| r.id).filter(|id| id.is_alive()))
}

/// Starts it inside the site and records it. A service that runs already is an error of the caller.
pub(crate) fn spawn(ctx: &SiteCtx, name: &str, spawn: &Spawn) -> Result<ProcId> {
    if let Some(id) = alive(ctx, name)? {
        let pid = id.pid;
        return Err(LabError::BadInput(format!(
            "{name} of {} runs already, pid {pid}",
            ctx.site
        )));
    }
    let program = resolve(&spawn.program)?;
    let log = spawn.log.clone().unwrap_or_else(|| ctx.dirs.log(name));
    let open = || {
        File::options()
            .create(true)
            .append(true)
            .open(&log)
            .context(|| format!("opening the log {}", log.display()))
    };
    // `setsid` and `ip netns exec` both replace themselves by what they start, so the pid stays.
    let child = Command::new(require("setsid", "util-linux")?)
        .args(ctx.net.prefix(ctx.site))
        .arg(&program)
        .args(&spawn.args)
        .envs(&spawn.env)
        .env(MARK, ctx.mark(Some(name)))
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        .spawn()
        .context(|| format!("starting {name} of {}", ctx.site))?;
    let pid = child.id();
    let id = ProcId::of(pid).ok_or_else(|| died(name, ctx, &log))?;
    reap(child);
    let record = Record {
        id,
        spawn: spawn.clone(),
    };
    let path = ctx.dirs.pid_file(name);
    let text = serde_json::to_string_pretty(&record).map_err(|e| LabError::BadState {
        path: path.clone(),
        why: e.to_string(),
    })?;
    write_whole(&path, &text)?;
    tracing::info!(zone = ctx.site.name(), service = name, pid, "started");
    Ok(id)
}

/// While this process lives it is the parent, and the dead need somebody to collect them.
fn reap(mut child: std::process::Child) {
    std::thread::spawn(move || child.wait());
}

fn resolve(program: &Path) -> Result<PathBuf> {
    let found = match program.components().count() {
        1 => crate::run::find_program(&program.to_string_lossy()),
        // By the name that it was given: a link may say what it is, as in an environment of Python.
        _ => std::path::absolute(program).ok().filter(|p| p.is_file()),
    };
    found.ok_or_else(|| {
        LabError::BadInput(format!(
            "there is no program {} to start",
            program.display()
        ))
    })
}

/// The error for a service that is not there any more.
pub(crate) fn died(name: &str, ctx: &SiteCtx, log: &Path) -> LabError {
    let text = fs::read_to_string(log).unwrap_or_default();
    LabError::Died {
        site: ctx.site.name(),
        service: name.to_owned(),
        log: log.to_owned(),
        tail: last_lines(&text),
    }
}

/// Ends a service and all its children at once, without a word. Its record stays.
pub(crate) fn kill(ctx: &SiteCtx, name: &str) -> Result<()> {
    if let Some(id) = alive(ctx, name)? {
        // A process may have overwritten its own environment; its pid and start time still tell.
        id.signal(Signal::KILL);
    }
    members(ctx, name).kill_all(KILL_DEADLINE)?;
    wait_gone(ctx, name, KILL_DEADLINE)
}

/// Asks a service to end, and kills it when it does not within `grace`. Its record goes, so that
/// `start` of the site does not bring it back.
pub(crate) fn stop(ctx: &SiteCtx, name: &str, grace: Duration) -> Result<()> {
    if let Some(id) = alive(ctx, name)? {
        id.signal(Signal::TERM);
        // A stopped process takes its SIGTERM only when it goes on.
        id.signal(Signal::CONT);
        match wait_gone(ctx, name, grace) {
            Ok(()) => {}
            Err(LabError::Timeout { .. }) => {
                tracing::warn!(
                    zone = ctx.site.name(),
                    service = name,
                    "did not end; killing it"
                );
            }
            Err(other) => return Err(other),
        }
    }
    kill(ctx, name)?;
    let path = ctx.dirs.pid_file(name);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn wait_gone(ctx: &SiteCtx, name: &str, deadline: Duration) -> Result<()> {
    until(
        &format!("{name} of {} to end", ctx.site),
        deadline,
        |last| {
            let id = alive(ctx, name)?;
            *last = format!("{id:?}");
            Ok(id.is_none().then_some(()))
        },
    )
}

/// Stops a service and its children in their tracks (SIGSTOP).
pub(crate) fn pause(ctx: &SiteCtx, name: &str) -> Result<()> {
    let id = must_run(ctx, name)?;
    let all = members(ctx, name);
    id.signal(Signal::STOP);
    all.signal_all(Signal::STOP);
    until(
        &format!("{name} of {} to stop", ctx.site),
        KILL_DEADLINE,
        |_| Ok((id.is_stopped() && all.are_stopped()).then_some(())),
    )
}

/// Lets a paused service go on (SIGCONT).
pub(crate) fn resume(ctx: &SiteCtx, name: &str) -> Result<()> {
    let id = must_run(ctx, name)?;
    members(ctx, name).signal_all(Signal::CONT);
    id.signal(Signal::CONT);
    Ok(())
}

fn must_run(ctx: &SiteCtx, name: &str) -> Result<ProcId> {
    alive(ctx, name)?
        .ok_or_else(|| LabError::BadInput(format!("{name} of {} does not run", ctx.site)))
}

fn members(ctx: &SiteCtx, name: &str) -> Membership {
    Membership::new(&ctx.mark(Some(name)), None)
}
