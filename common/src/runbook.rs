//! A group's servers: in which order they start, what is waited for, and what is asked of people and commands on the way.
//!
//! ```toml
//! [runbook]
//! standby = "shutoff"
//! before = [{ agent = "open-ticket", within = "30s" }]      # before the first promotion; may stop the plan
//! [[runbook.levels]]                                        # started in this order, stopped in the other
//! servers = [{ key = "db", server = "5e0c…", wait = [{ tcp = "10.0.0.5:5432", within = "2m" }] }]
//! [[runbook.levels]]
//! pause = "look at the database before the shop opens"      # waits for `rekindle approve`
//! servers = [{ key = "web-1", server = "77a1…" }, { key = "web-2", server = "90fe…", after = ["web-1"] }]
//! ```

use crate::{duration::Span, ids::ServerKey, policy::InvalidPolicy};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// The most servers of a group.
pub const MAX_SERVERS: usize = 5000;
/// The most levels.
pub const MAX_LEVELS: usize = 64;
/// The most hooks before, and after.
pub const MAX_HOOKS: usize = 16;
/// The most waits of one server.
pub const MAX_WAITS: usize = 8;
/// The most characters of a name: of a command, of a server's id, of an address.
pub const MAX_NAME: usize = 255;
/// The most characters of what a person is asked to look at.
pub const MAX_PAUSE: usize = 500;
/// The longest that a server, a hook or a wait may take.
pub const LONGEST: Span = Span::secs(6 * 3600);

/// What stands by in the other zone for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandbyPolicy {
    /// A server built on the copies, and shut off: the quickest to start, and its place on a host is taken.
    #[default]
    Shutoff,
    /// The same, shelved: no host is taken until it is needed, and none is promised.
    Shelved,
    /// Its record alone: it is built when it is needed.
    Record,
    /// Nothing: it is stopped where it must not run, and a person starts it elsewhere. That is no failure of a plan's.
    None,
}

/// What a group's servers need.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runbook {
    /// For servers that say nothing else.
    pub standby: StandbyPolicy,
    /// Run in this order before anything is promoted. One that fails ends the plan while that is still possible.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Hook>,
    /// Run in this order after the last server. One that fails is told, and changes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Hook>,
    /// Started in this order, stopped in the other.
    pub levels: Vec<Level>,
}

/// A command of the operator's, by its name in the orchestrators' configuration (`[hooks.NAME]`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Its name.
    pub agent: String,
    /// It counts as failed after that long.
    pub within: Span,
}

/// Servers that start together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Level {
    /// What a person is to look at before this level starts; it then waits for `rekindle approve`. A planned stop does not pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<String>,
    /// Which.
    pub servers: Vec<RunbookServer>,
}

/// A server of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunbookServer {
    /// What it is called here, in both zones.
    pub key: ServerKey,
    /// Its id in the home zone's Nova. None: it was never built there, and its record was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What stands by for it; none: what the runbook says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<StandbyPolicy>,
    /// Servers of its own level that have to serve before it starts. One that people start ([`StandbyPolicy::None`]) is not waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ServerKey>,
    /// What must be so, beside Nova's `ACTIVE`, for it to count as serving.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wait: Vec<Wait>,
    /// For all of it: start and waits, or stop.
    #[serde(default = "ten_minutes")]
    pub within: Span,
}

fn ten_minutes() -> Span {
    Span::secs(600)
}

/// In a [`Wait`]: the server's fixed address in the zone where it starts, as that zone's Nova shows it. A server seldom keeps its
/// address over a failover, and one that is written down is the lost zone's.
pub const ADDRESS: &str = "{address}";

/// What is waited for, from the leading orchestrator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Wait {
    /// A connection is taken.
    Tcp {
        /// `HOST:PORT`, an IPv6 address in brackets. [`ADDRESS`] stands for the server's own.
        tcp: String,
        /// It counts as failed after that long.
        within: Span,
    },
    /// An answer with a status of 200 to 399.
    Http {
        /// `http://…` or `https://…`. [`ADDRESS`] stands for the server's own.
        http: String,
        /// It counts as failed after that long.
        within: Span,
    },
    /// A command of the operator's (`[hooks.NAME]`) ends with 0.
    Command {
        /// Its name.
        command: String,
        /// It counts as failed after that long.
        within: Span,
    },
}

impl Wait {
    /// How long it may take to become so.
    #[must_use]
    pub fn within(&self) -> Span {
        match self {
            Self::Tcp { within, .. } | Self::Http { within, .. } | Self::Command { within, .. } => {
                *within
            }
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { tcp, .. } => write!(f, "tcp {tcp}"),
            Self::Http { http, .. } => f.write_str(http),
            Self::Command { command, .. } => write!(f, "command {command}"),
        }
    }
}

impl Runbook {
    /// Whether it says nothing: a group of volumes alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All servers, in the order in which they start.
    pub fn servers(&self) -> impl Iterator<Item = &RunbookServer> {
        self.levels.iter().flat_map(|l| l.servers.iter())
    }

    /// The commands that it names, of `[hooks.NAME]`.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        let hooks = self.before.iter().chain(&self.after);
        let waits = self.servers().flat_map(|s| &s.wait);
        hooks
            .map(|h| h.agent.as_str())
            .chain(waits.filter_map(|w| match w {
                Wait::Command { command, .. } => Some(command.as_str()),
                Wait::Tcp { .. } | Wait::Http { .. } => None,
            }))
    }

    /// What stands by for a server.
    #[must_use]
    pub fn standby_of(&self, server: &RunbookServer) -> StandbyPolicy {
        server.standby.unwrap_or(self.standby)
    }

    /// Checks it by itself: bounds, keys that stand twice, dependencies that go nowhere, forwards, or round.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the field and what would be right.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        if self.levels.len() > MAX_LEVELS {
            return bad("runbook.levels", format!("more than {MAX_LEVELS}"));
        }
        if self.servers().nth(MAX_SERVERS).is_some() {
            return bad("runbook.levels", format!("more than {MAX_SERVERS} servers"));
        }
        check_hooks("runbook.before", &self.before)?;
        check_hooks("runbook.after", &self.after)?;
        let mut keys = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for level in &self.levels {
            if let Some(text) = &level.pause {
                check_text("runbook.levels.pause", text, MAX_PAUSE)?;
            }
            let mut earlier = BTreeSet::new();
            for s in &level.servers {
                if !keys.insert(&s.key) {
                    return bad(
                        "runbook.levels.servers.key",
                        format!("{} stands twice", s.key),
                    );
                }
                if let Some(id) = &s.server
                    && !ids.insert(id)
                {
                    return bad(
                        "runbook.levels.servers.server",
                        format!("{id:?} stands twice, the second time as {}", s.key),
                    );
                }
                if let Some(id) = &s.server {
                    check_text("runbook.levels.servers.server", id, MAX_NAME)?;
                }
                if let Some(missing) = s.after.iter().find(|a| !earlier.contains(a)) {
                    return bad(
                        "runbook.levels.servers.after",
                        format!(
                            "{} is after {missing}, which does not stand before it in its level",
                            s.key
                        ),
                    );
                }
                earlier.insert(&s.key);
                check_within("runbook.levels.servers.within", s.within)?;
                check_waits(&s.wait)?;
            }
        }
        Ok(())
    }
}

fn check_hooks(field: &'static str, hooks: &[Hook]) -> Result<(), InvalidPolicy> {
    if hooks.len() > MAX_HOOKS {
        return bad(field, format!("more than {MAX_HOOKS}"));
    }
    hooks.iter().try_for_each(|h| {
        check_text(field, &h.agent, MAX_NAME)?;
        check_within(field, h.within)
    })
}

fn check_waits(waits: &[Wait]) -> Result<(), InvalidPolicy> {
    let field = "runbook.levels.servers.wait";
    if waits.len() > MAX_WAITS {
        return bad(field, format!("more than {MAX_WAITS}"));
    }
    for w in waits {
        match w {
            Wait::Tcp { tcp, .. } => {
                check_text(field, tcp, MAX_NAME)?;
                check_placeholder(field, tcp)?;
                let port = tcp.rsplit_once(':').and_then(|(host, port)| {
                    let named = !host.is_empty();
                    port.parse::<u16>().ok().filter(|p| named && *p != 0)
                });
                if port.is_none() {
                    return bad(field, format!("{tcp:?} is not HOST:PORT"));
                }
            }
            Wait::Http { http, .. } => {
                check_text(field, http, 4 * MAX_NAME)?;
                check_placeholder(field, http)?;
                if !http.starts_with("http://") && !http.starts_with("https://") {
                    return bad(
                        field,
                        format!("{http:?} does not begin with http:// or https://"),
                    );
                }
            }
            Wait::Command { command, .. } => check_text(field, command, MAX_NAME)?,
        }
        check_within(field, w.within())?;
    }
    Ok(())
}

/// Braces are of no address or URL: one that is not ours is a mistake that would show in the worst hour only.
fn check_placeholder(field: &'static str, text: &str) -> Result<(), InvalidPolicy> {
    if text.replace(ADDRESS, "").contains(['{', '}']) {
        return bad(
            field,
            format!("{text:?}: {ADDRESS} is all that may stand in braces"),
        );
    }
    Ok(())
}

fn check_text(field: &'static str, text: &str, most: usize) -> Result<(), InvalidPolicy> {
    let length = text.chars().count();
    if length == 0 || length > most || text.chars().any(char::is_control) {
        return bad(
            field,
            format!("write it in 1 to {most} characters, on one line"),
        );
    }
    Ok(())
}

fn check_within(field: &'static str, within: Span) -> Result<(), InvalidPolicy> {
    if within < Span::secs(1) || within > LONGEST {
        return bad(field, format!("{within} is outside 1s to {LONGEST}"));
    }
    Ok(())
}

fn bad<T>(field: &'static str, why: String) -> Result<T, InvalidPolicy> {
    Err(InvalidPolicy { field, why })
}

#[cfg(test)]
mod tests;
