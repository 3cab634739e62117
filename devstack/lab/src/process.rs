//! Which processes belong to a site, and signals that cannot hit a stranger.
//!
//! A process is the lab's when it carries the site's mark in its environment (inherited by all its
//! children), or lives in the site's network namespace. A pid alone proves nothing: it may have been
//! given to another program since. Every signal goes through a pidfd that was opened *before* the
//! check, so the process that was checked is the one that is hit.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};

/// Name of the environment variable that marks a site's processes; the value is
/// `<lab uuid>/<site>/<service>/`, so that a prefix of it stands for a service, a site or the lab.
pub(crate) const MARK: &str = "REKINDLE_LAB_MEMBER";

/// A process, told apart from a later one with the same pid by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcId {
    /// The process id.
    pub(crate) pid: u32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub(crate) start: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    start: u64,
}

impl ProcId {
    /// The process that has this pid now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|s| Self {
            pid,
            start: s.start,
        })
    }

    /// Whether it runs; one that has ended and waits for its parent does not.
    pub(crate) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|s| s.start == self.start && !matches!(s.state, 'Z' | 'X'))
    }

    /// Whether it was stopped by SIGSTOP.
    pub(crate) fn is_stopped(self) -> bool {
        stat(self.pid).is_some_and(|s| s.start == self.start && s.state == 'T')
    }

    /// Sends a signal to exactly this process; `false` when it is gone.
    pub(crate) fn signal(self, signal: Signal) -> bool {
        signal_if(self.pid, signal, || ProcId::of(self.pid) == Some(self))
    }
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command name, in parentheses, may hold spaces and parentheses itself: count from the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start })
}

fn signal_if(pid: u32, signal: Signal, is_ours: impl FnOnce() -> bool) -> bool {
    signalled(pid, signal, is_ours).is_some()
}

/// The process that got it; `None`: it is gone, or not ours.
fn signalled(pid: u32, signal: Signal, is_ours: impl FnOnce() -> bool) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    (is_ours() && pidfd_send_signal(&fd, signal).is_ok()).then_some(fd)
}

/// Whether all of its threads have ended within that time, and what they had open is closed.
fn ends(process: &OwnedFd, within: Duration) -> bool {
    let within = Timespec::try_from(within).ok();
    let mut of = [PollFd::new(process, PollFlags::IN)];
    poll(&mut of, within.as_ref()).is_ok_and(|ended| ended > 0)
}

/// How a site's processes are recognised.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    mark: Vec<u8>,
    netns: Option<(u64, u64)>,
}

impl Membership {
    /// `mark` is a prefix of the value of [`MARK`], ending in a slash; `netns` the file that names the
    /// network namespace, if all that lives in it belongs too.
    pub(crate) fn new(mark: &str, netns: Option<&Path>) -> Self {
        let netns = netns
            .and_then(|p| fs::metadata(p).ok())
            .map(|m| (m.dev(), m.ino()));
        Self {
            mark: format!("{MARK}={mark}").into_bytes(),
            netns,
        }
    }

    fn has(&self, pid: u32) -> bool {
        self.in_namespace(pid) || self.is_marked(pid)
    }

    fn in_namespace(&self, pid: u32) -> bool {
        let Some(ours) = self.netns else { return false };
        fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| (m.dev(), m.ino()) == ours)
    }

    fn is_marked(&self, pid: u32) -> bool {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| {
            env.split(|b| *b == 0)
                .any(|var| var.starts_with(&self.mark))
        })
    }

    /// The living processes of the site.
    pub(crate) fn members(&self) -> Vec<u32> {
        let Ok(dir) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        dir.flatten()
            .filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| *pid != std::process::id())
            .filter(|pid| self.has(*pid))
            .filter(|pid| stat(*pid).is_some_and(|s| !matches!(s.state, 'Z' | 'X')))
            .collect()
    }

    /// Sends a signal to each of them once; says how many got it.
    pub(crate) fn signal_all(&self, signal: Signal) -> usize {
        self.members()
            .into_iter()
            .filter(|pid| signal_if(*pid, signal, || self.has(*pid)))
            .count()
    }

    /// Whether SIGSTOP has stopped each of them.
    pub(crate) fn are_stopped(&self) -> bool {
        self.members()
            .into_iter()
            .all(|pid| stat(pid).is_none_or(|s| s.state == 'T'))
    }

    /// Kills them all, and those they start meanwhile, until none is left.
    pub(crate) fn kill_all(&self, deadline: Duration) -> Result<usize> {
        let end = Instant::now() + deadline;
        let mut killed = Vec::new();
        loop {
            let members = self.members();
            if members.is_empty() {
                break;
            }
            if Instant::now() >= end {
                return Err(LabError::Timeout {
                    what: "the site's processes to die".into(),
                    after: deadline,
                    last: format!("pids {members:?} are still there"),
                });
            }
            let got = |pid: &u32| signalled(*pid, Signal::KILL, || self.has(*pid));
            killed.extend(members.iter().filter_map(got));
            std::thread::sleep(Duration::from_millis(5));
        }
        // One that dies loses its environment, by which it is known, before its sockets.
        let left = || end.saturating_duration_since(Instant::now());
        if !killed.iter().all(|process| ends(process, left())) {
            return Err(LabError::Timeout {
                what: "the site's processes to die".into(),
                after: deadline,
                last: "they were killed and have not closed what they had open".into(),
            });
        }
        Ok(killed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_command_name_with_parentheses_does_not_confuse_the_parser() {
        let line = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 10 11";
        assert_eq!(
            parse_stat(line),
            Some(Stat {
                state: 'S',
                start: 987_654
            })
        );
        assert_eq!(parse_stat("rubbish"), None);
    }

    #[test]
    fn a_recycled_pid_is_not_signalled() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let real = ProcId::of(child.id()).unwrap();
        let stale = ProcId {
            start: real.start - 1,
            ..real
        };
        assert!(!stale.is_alive());
        assert!(!stale.signal(Signal::KILL));
        assert!(real.is_alive());
        assert!(real.signal(Signal::KILL));
        child.wait().unwrap();
        assert!(!real.is_alive());
    }

    #[test]
    fn grandchildren_carry_the_mark_and_others_do_not() {
        let mark = format!("test-{}/", std::process::id());
        let ours = Membership::new(&mark, None);
        let mut stranger = Command::new("sleep").arg("61").spawn().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "sleep 62 & sleep 63 & wait"])
            .env(MARK, format!("{mark}sleeper/"))
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while ours.members().len() < 3 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(ours.members().len(), 3);
        assert!(ours.kill_all(Duration::from_secs(5)).unwrap() >= 3);
        child.wait().unwrap();
        assert!(ProcId::of(stranger.id()).unwrap().is_alive());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
