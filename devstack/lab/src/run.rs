//! Commands with a deadline.
//!
//! Every command that talks to a cluster hangs when the cluster is dead, so there is no way here to run
//! one without a deadline.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{IoContext, LabError, Result};

/// Lines of standard error kept in an error.
const STDERR_LINES: usize = 12;
/// Characters kept of each of them.
const LINE_CHARS: usize = 300;
/// Where programs are looked for besides `PATH`: an ordinary user's `PATH` lacks the `sbin` folders.
const EXTRA_PATH: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A command to be run to its end.
#[derive(Debug, Clone)]
pub(crate) struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Option<String>,
    deadline: Duration,
}

/// What a command that succeeded said.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) stdout: String,
}

impl Cmd {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            deadline: Duration::from_secs(30),
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it. A non-zero exit and a missed deadline are errors; the process is gone in either case.
    pub(crate) fn run(&self) -> Result<Output> {
        let words = self.words();
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(|| format!("starting `{words}`"))?;
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        if let (Some(text), Some(mut pipe)) = (self.stdin.as_ref(), child.stdin.take()) {
            // A program that does not read its input says so by its exit status.
            let _ = pipe.write_all(text.as_bytes());
        }
        let status =
            wait(&mut child, self.deadline).context(|| format!("waiting for `{words}`"))?;
        let Some(status) = status else {
            let _ = child.kill();
            let _ = child.wait();
            // The readers are not joined: a grandchild may hold the pipe open.
            return Err(LabError::CommandTimeout {
                command: words,
                after: self.deadline,
            });
        };
        let (stdout, stderr) = (join(stdout), join(stderr));
        if status.success() {
            Ok(Output { stdout })
        } else {
            Err(LabError::Command {
                command: words,
                status: status.to_string(),
                stderr: last_lines(if stderr.trim().is_empty() {
                    &stdout
                } else {
                    &stderr
                }),
            })
        }
    }

    fn words(&self) -> String {
        let mut words = Path::new(&self.program).file_name().map_or_else(
            || self.program.to_string_lossy().into_owned(),
            |n| n.to_string_lossy().into_owned(),
        );
        for arg in &self.args {
            words.push(' ');
            words.push_str(&arg.to_string_lossy());
        }
        words
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    pipe.map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    })
}

fn join(reader: Option<JoinHandle<String>>) -> String {
    reader.and_then(|r| r.join().ok()).unwrap_or_default()
}

fn wait(child: &mut Child, deadline: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The last lines of a text, for an error message; long ones (C++ backtraces) are cut.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let cut = |line: &&str| line.chars().take(LINE_CHARS).collect::<String>();
    let last = lines[lines.len().saturating_sub(STDERR_LINES)..]
        .iter()
        .map(cut);
    last.collect::<Vec<_>>().join("\n")
}

/// Finds a program in `PATH` and the `sbin` folders.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(EXTRA_PATH.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
}

/// The full path of a program, or an error that names its Debian package.
pub(crate) fn require(program: &str, package: &'static str) -> Result<PathBuf> {
    find_program(program).ok_or_else(|| LabError::MissingPackage {
        program: program.to_owned(),
        package,
    })
}

/// Asks `probe` again and again until it answers `Some`, or the deadline passes.
///
/// An `Err` of the probe ends the wait; a probe that means "not yet" answers `Ok(None)` and leaves
/// what it saw in its argument, which the timeout error repeats.
pub(crate) fn until<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut(&mut String) -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last = String::from("nothing yet");
    let mut pause = Duration::from_millis(10);
    loop {
        if let Some(found) = probe(&mut last)? {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(LabError::Timeout {
                what: what.to_owned(),
                after: deadline,
                last,
            });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_killed_at_its_deadline() {
        let begin = Instant::now();
        let error = Cmd::new("sleep")
            .arg("60")
            .deadline(Duration::from_millis(100))
            .run()
            .unwrap_err();
        assert!(matches!(error, LabError::CommandTimeout { .. }), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failure_carries_the_command_and_its_words() {
        let error = Cmd::new("ls").arg("/no/such/thing").run().unwrap_err();
        assert!(error.to_string().contains("ls /no/such/thing"), "{error}");
        assert!(error.to_string().contains("No such file"), "{error}");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = require("no-such-program-anywhere", "its-package").unwrap_err();
        assert!(error.to_string().contains("`its-package`"), "{error}");
    }

    #[test]
    fn until_reports_what_it_saw_last() {
        let error = until("the moon", Duration::from_millis(20), |last| {
            *last = "clouds".into();
            Ok(None::<()>)
        })
        .unwrap_err();
        assert!(error.to_string().contains("the moon"), "{error}");
        assert!(error.to_string().contains("clouds"), "{error}");
    }
}
