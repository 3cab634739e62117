//! `rekindle group …`: definitions.

use super::words::{lease, plural};
use crate::{
    args::PolicyFlags,
    error::CliError,
    output::{Document, Page},
};
use rekindle_common::{
    GroupName, ZoneName,
    policy::{GroupPolicy, GroupSpec},
    runbook::Runbook,
};
use rekindle_orchestrator::wire::{GroupEffect, GroupPut, GroupStatus};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::Path;

/// A group's file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupFile {
    /// Where it belongs.
    pub home: ZoneName,
    /// The other zone.
    pub away: ZoneName,
    /// Its policy.
    #[serde(default)]
    pub policy: GroupPolicy,
    /// Its servers.
    #[serde(default)]
    pub runbook: Runbook,
}

impl GroupFile {
    /// Reads one.
    ///
    /// # Errors
    /// [`CliError::Usage`] names the file, the line and the field.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let bad = |e: Box<dyn std::error::Error + Send + Sync>| CliError::Usage {
            message: format!("{} cannot be used as a group", path.display()),
            advice: Some(
                "a group's file has `home`, `away` and, where wanted, `[policy]` and `[runbook]`"
                    .to_owned(),
            ),
            source: Some(e),
        };
        let text = std::fs::read_to_string(path).map_err(|e| bad(e.into()))?;
        toml::from_str(&text).map_err(|e| bad(e.into()))
    }

    /// What is wrong with it, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.home == self.away {
            return Err(format!("home and away are both {}", self.home));
        }
        self.policy.check().map_err(|e| format!("policy.{e}"))?;
        self.runbook.check().map_err(|e| e.to_string())
    }
}

/// A new group from a file, flags, or both: flags go over the file.
///
/// # Errors
/// [`CliError::Usage`].
pub(super) fn new_spec(
    name: GroupName,
    file: Option<&Path>,
    zones: (Option<ZoneName>, Option<ZoneName>),
    flags: &PolicyFlags,
) -> Result<GroupSpec, CliError> {
    let file = file.map(GroupFile::read).transpose()?;
    let missing = |what: &str| {
        CliError::usage(format!(
            "the group needs --{what} ZONE, or a file that says so"
        ))
    };
    let spec = GroupSpec {
        name,
        home: zones
            .0
            .or(file.as_ref().map(|f| f.home.clone()))
            .ok_or_else(|| missing("home"))?,
        away: zones
            .1
            .or(file.as_ref().map(|f| f.away.clone()))
            .ok_or_else(|| missing("away"))?,
        policy: file.as_ref().map(|f| f.policy.clone()).unwrap_or_default(),
        runbook: file.map(|f| f.runbook).unwrap_or_default(),
    };
    changed(spec, flags)
}

/// A group as it is, changed by a file, flags, or both.
///
/// # Errors
/// [`CliError::Usage`].
pub(super) fn changed_spec(
    now: GroupSpec,
    file: Option<&Path>,
    flags: &PolicyFlags,
) -> Result<GroupSpec, CliError> {
    let spec = match file.map(GroupFile::read).transpose()? {
        None => now,
        Some(f) if f.home == now.home && f.away == now.away => GroupSpec {
            policy: f.policy,
            runbook: f.runbook,
            ..now
        },
        Some(f) => {
            return Err(CliError::usage(format!(
                "group {} is between {} and {}, and the file says {} and {}: a group's zones stay",
                now.name, now.home, now.away, f.home, f.away
            )));
        }
    };
    changed(spec, flags)
}

fn changed(mut spec: GroupSpec, flags: &PolicyFlags) -> Result<GroupSpec, CliError> {
    apply(flags, &mut spec.policy)?;
    if spec.home == spec.away {
        return Err(CliError::usage(format!(
            "home and away are both {}",
            spec.home
        )));
    }
    spec.policy
        .check()
        .map_err(|e| CliError::usage(format!("policy.{e}")))?;
    spec.runbook
        .check()
        .map_err(|e| CliError::usage(e.to_string()))?;
    Ok(spec)
}

fn apply(flags: &PolicyFlags, policy: &mut GroupPolicy) -> Result<(), CliError> {
    let f = flags;
    set(
        &mut policy.failover,
        word("failover", f.failover.as_deref())?,
    );
    set(
        &mut policy.on_return,
        word("on-return", f.on_return.as_deref())?,
    );
    set(
        &mut policy.isolation_response,
        word("isolation-response", f.isolation_response.as_deref())?,
    );
    set(
        &mut policy.safety_copy,
        word("safety-copy", f.safety_copy.as_deref())?,
    );
    set(
        &mut policy.on_delete,
        word("on-delete", f.on_delete.as_deref())?,
    );
    set(&mut policy.hold_off, f.hold_off);
    set(&mut policy.blocking_period, f.blocking_period);
    set(&mut policy.rpo_limit, f.rpo_limit.map(Some));
    set(&mut policy.fence_agent, f.fence_agent.clone().map(Some));
    set(&mut policy.application, f.application.clone().map(Some));
    set(&mut policy.lease.ttl, f.lease_ttl);
    set(&mut policy.lease.renew_every, f.lease_renew_every);
    set(&mut policy.lease.demote_budget, f.lease_demote_budget);
    set(&mut policy.lease.margin, f.lease_margin);
    Ok(())
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A policy's word as the policy itself reads it.
fn word<T: DeserializeOwned>(flag: &str, text: Option<&str>) -> Result<Option<T>, CliError> {
    text.map(|t| serde_json::from_value(t.into()))
        .transpose()
        .map_err(|e| CliError::usage(format!("--{flag}: {e}")))
}

/// All groups, briefly.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct GroupList(pub Vec<GroupStatus>);

impl Document for GroupList {
    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no groups yet; `rekindle group create` defines one");
            return;
        }
        let head = [
            "GROUP",
            "PRIMARY",
            "GENERATION",
            "LEASE",
            "PROTECTED",
            "DECISION",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for g in &self.0 {
            rows.push(vec![
                g.spec.name.to_string(),
                g.primary
                    .as_ref()
                    .map_or("-".to_owned(), |p| p.zone.to_string()),
                g.primary
                    .as_ref()
                    .map_or("-".to_owned(), |p| p.generation.to_string()),
                lease(&g.lease),
                g.unprotected
                    .as_ref()
                    .map_or("yes".to_owned(), |_| "UNPROTECTED".to_owned()),
                g.decision
                    .as_ref()
                    .map_or("-".to_owned(), |d| d.text.clone()),
            ]);
        }
        page.table(0, &rows);
    }
}

/// What a definition did.
#[derive(Debug, Serialize)]
pub(super) struct PutPage {
    pub spec: GroupSpec,
    #[serde(flatten)]
    pub put: GroupPut,
}

impl Document for PutPage {
    fn text(&self, page: &mut Page) {
        let done = match self.put.effect {
            GroupEffect::Created => "created",
            GroupEffect::Changed => "changed",
        };
        let p = &self.put.primary;
        page.line(format!(
            "group {} {done}; primary {}, generation {}",
            self.spec.name, p.zone, p.generation
        ));
    }
}

/// A group in full.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct GroupPage(pub GroupStatus);

impl Document for GroupPage {
    fn text(&self, page: &mut Page) {
        let g = &self.0;
        // The page's own time is the decision's: a group is shown without the rest of the status.
        let now = jiff::Timestamp::now();
        super::status::group(page, g, now);
        let p = &g.spec.policy;
        page.line(format!("    home {}, away {}", g.spec.home, g.spec.away));
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
        row("failover", text(&p.failover));
        row("hold_off", p.hold_off.to_string());
        row("on_return", text(&p.on_return));
        row("isolation_response", text(&p.isolation_response));
        row(
            "rpo_limit",
            p.rpo_limit.map_or("none".to_owned(), |l| l.to_string()),
        );
        row("blocking_period", p.blocking_period.to_string());
        row("safety_copy", text(&p.safety_copy));
        row("on_delete", text(&p.on_delete));
        row(
            "fence_agent",
            p.fence_agent.clone().unwrap_or_else(|| "none".to_owned()),
        );
        row(
            "application",
            p.application.clone().unwrap_or_else(|| "none".to_owned()),
        );
        let l = &p.lease;
        row(
            "lease",
            format!(
                "ttl {}, renewed every {}, demote_budget {}, margin {}",
                l.ttl, l.renew_every, l.demote_budget, l.margin
            ),
        );
        page.heading("  Policy");
        page.table(4, &rows);
        let volumes: usize = g.volumes.iter().map(|z| z.volumes.len()).max().unwrap_or(0);
        page.line(format!(
            "  {}; `rekindle volume list --group {}` shows them",
            plural(volumes, "volume"),
            g.spec.name
        ));
    }
}

/// A policy's word.
fn text<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(s)) => s,
        Ok(other) => other.to_string(),
        Err(_) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::{
        duration::Span,
        policy::{FailoverMode, OnReturn},
    };

    fn zone(n: &str) -> Option<ZoneName> {
        Some(n.parse().unwrap())
    }

    #[test]
    fn flags_go_over_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.toml");
        std::fs::write(&path, "home = \"zone-a\"\naway = \"zone-b\"\n[policy]\nhold_off = \"1m\"\non_return = \"stay\"\n").unwrap();
        let flags = PolicyFlags {
            failover: Some("automatic".into()),
            hold_off: Some(Span::secs(5)),
            ..PolicyFlags::default()
        };
        let spec = new_spec("db".parse().unwrap(), Some(&path), (None, None), &flags).unwrap();
        assert_eq!(spec.policy.hold_off, Span::secs(5));
        assert_eq!(spec.policy.on_return, OnReturn::Stay);
        assert_eq!(spec.policy.failover, FailoverMode::Automatic);
        assert_eq!(
            changed_spec(spec.clone(), Some(&path), &PolicyFlags::default())
                .unwrap()
                .policy
                .hold_off,
            Span::secs(60)
        );
    }

    #[test]
    fn a_policy_that_cannot_be_is_refused_before_it_is_sent() {
        let new = |flags: &PolicyFlags, away: &str| {
            new_spec(
                "db".parse().unwrap(),
                None,
                (zone("zone-a"), zone(away)),
                flags,
            )
        };
        let d = PolicyFlags::default;
        assert!(new(&d(), "zone-b").is_ok());
        for (flags, away, what) in [
            (d(), "zone-a", "both"),
            (
                PolicyFlags {
                    failover: Some("sometimes".into()),
                    ..d()
                },
                "zone-b",
                "--failover",
            ),
            (
                PolicyFlags {
                    lease_ttl: Some(Span::secs(1)),
                    ..d()
                },
                "zone-b",
                "policy.lease.ttl",
            ),
            (
                PolicyFlags {
                    hold_off: Some(Span::secs(0)),
                    ..d()
                },
                "zone-b",
                "policy.hold_off",
            ),
        ] {
            let e = new(&flags, away).unwrap_err().for_a_person();
            assert!(e.contains(what), "{what}: {e}");
        }
    }
}
