//! `rekindle volume …`: talks to the zones' sidecars.

mod look;

use super::words::plural;
use crate::{
    args::{Mode, Target, VolumeCommand},
    connect::Peers,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use jiff::Timestamp;
use rekindle_common::{
    ApiError, DemotionToken, ErrorCode, Generation, GroupName, ImageSpec, ResyncToken, ZoneName,
    action::{
        BatchItem, BatchLine, BatchRequest, BatchResult, Effect, Order, Promotion, SafetyCopy,
        VolumeAction,
    },
    duration::Span,
    ids::InvalidName,
    mode::ReplicationMode,
    schedule::Schedule,
    volume::{Role, VolumeReport},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

/// Runs one.
pub(super) async fn run(
    command: VolumeCommand,
    peers: &Peers,
    output: &Output,
) -> Result<Exit, CliError> {
    match command {
        VolumeCommand::List { zone, group } => look::list(zone, group, peers, output).await,
        VolumeCommand::Show { volume, zone } => look::show(&volume, zone, peers, output).await,
        VolumeCommand::Replicate {
            target,
            mode,
            start,
            interval,
            group,
            leave_group,
        } => {
            let mode = replication_mode(mode, start, interval)?;
            let action = VolumeAction::Replicate {
                mode,
                group: group.clone(),
                leave_group,
                anew: false,
                cinder: None,
            };
            let fits = |v: &VolumeReport| matches!(v.role, Role::Primary | Role::NotMirrored);
            Act {
                action,
                fits: &fits,
                joins: group,
            }
            .run(&target, peers, output)
            .await
        }
        VolumeCommand::Undelete { target } => {
            let fits = |v: &VolumeReport| v.role == Role::Primary;
            Act {
                action: VolumeAction::Undelete,
                fits: &fits,
                joins: None,
            }
            .run(&target, peers, output)
            .await
        }
        VolumeCommand::Unreplicate { target } => {
            let fits = |v: &VolumeReport| v.role == Role::Primary;
            Act {
                action: VolumeAction::Unreplicate,
                fits: &fits,
                joins: None,
            }
            .run(&target, peers, output)
            .await
        }
        VolumeCommand::Promote {
            target,
            after,
            force: _,
            reason,
            accept_torn,
        } => {
            let promotion = match (reason, after) {
                (Some(reason), _) => Promotion::Forced {
                    reason,
                    accept_torn,
                },
                (None, Some(token)) => Promotion::After { token },
                (None, None) => Promotion::Plain,
            };
            let fits = |v: &VolumeReport| v.role == Role::Secondary;
            Act {
                action: VolumeAction::Promote { promotion },
                fits: &fits,
                joins: None,
            }
            .run(&target, peers, output)
            .await
        }
        VolumeCommand::Demote { target, token } => {
            let token: DemotionToken = match token {
                Some(token) => token,
                None => new_token(Timestamp::now())?,
            };
            output.note(format!(
                "demotion token: {token} (in the other zone: promote --after {token})"
            ));
            let fits = |v: &VolumeReport| v.role == Role::Primary;
            Act {
                action: VolumeAction::Demote { token: Some(token) },
                fits: &fits,
                joins: None,
            }
            .run(&target, peers, output)
            .await
        }
        VolumeCommand::Resync { target, discard } => {
            let safety = if discard {
                SafetyCopy::Discard
            } else {
                SafetyCopy::Keep
            };
            let token: ResyncToken = new_token(Timestamp::now())?;
            output.note(format!("resync token: {token}"));
            let fits = |v: &VolumeReport| v.role == Role::Secondary;
            Act {
                action: VolumeAction::Resync { token, safety },
                fits: &fits,
                joins: None,
            }
            .run(&target, peers, output)
            .await
        }
    }
}

fn replication_mode(
    mode: Mode,
    start: Option<Timestamp>,
    interval: Option<Span>,
) -> Result<ReplicationMode, CliError> {
    match (mode, start, interval) {
        (Mode::Instant, None, None) => Ok(ReplicationMode::Instant),
        (Mode::Once, None, None) => Ok(ReplicationMode::Once),
        (Mode::Instant | Mode::Once, _, _) => Err(CliError::usage(
            "--start and --interval belong to --mode periodic",
        )),
        (Mode::Periodic, start, Some(interval)) => {
            let start = start.unwrap_or_else(|| next_minute(Timestamp::now()));
            let schedule = Schedule { start, interval };
            schedule
                .check()
                .map_err(|e| CliError::usage(format!("--interval: {e}")))?;
            Ok(ReplicationMode::Periodic(schedule))
        }
        (Mode::Periodic, _, None) => {
            Err(CliError::usage("--mode periodic needs --interval, as 15m"))
        }
    }
}

fn next_minute(now: Timestamp) -> Timestamp {
    let second = now.as_second();
    Timestamp::from_second(second - second.rem_euclid(60) + 60).unwrap_or(now)
}

/// A token that no other resync or demotion has: a person who asks twice means it twice.
fn new_token<T: FromStr<Err = InvalidName>>(now: Timestamp) -> Result<T, CliError> {
    let text = format!("cli-{:x}-{:x}", now.as_microsecond(), std::process::id());
    text.parse()
        .map_err(|e| CliError::failed(format!("no token could be made: {e}")))
}

/// An action on one or more volumes.
struct Act<'a> {
    action: VolumeAction,
    /// In which zone's state it makes sense: chooses the zone where none is named.
    fits: &'a (dyn Fn(&VolumeReport) -> bool + Sync),
    /// The group that the volumes join by it.
    joins: Option<GroupName>,
}

impl Act<'_> {
    async fn run(self, target: &Target, peers: &Peers, output: &Output) -> Result<Exit, CliError> {
        let distinct: BTreeSet<&ImageSpec> = target.volumes.iter().collect();
        if distinct.len() != target.volumes.len() {
            return Err(CliError::usage("a volume is named twice"));
        }
        let mut by_zone: BTreeMap<ZoneName, Vec<BatchItem>> = BTreeMap::new();
        let mut generations: BTreeMap<GroupName, Generation> = BTreeMap::new();
        for volume in &target.volumes {
            let report = self.find(volume, target.zone.as_ref(), peers).await?;
            let group = self.joins.clone().or_else(|| report.group.clone());
            let generation = match group {
                None => None,
                Some(group) => Some(generation(&group, &mut generations, peers).await?),
            };
            let order = Order {
                action: self.action.clone(),
                generation,
            };
            by_zone.entry(report.zone).or_default().push(BatchItem {
                volume: volume.clone(),
                order,
            });
        }
        let mut results = Vec::new();
        for (zone, items) in by_zone {
            results.extend(order(&zone, items, peers).await?);
        }
        let outcome = Outcome {
            action: self.action.name(),
            results,
        };
        outcome.finish(output)
    }

    /// The one zone where the action makes sense, by what the zones say: never a guess.
    async fn find(
        &self,
        volume: &ImageSpec,
        zone: Option<&ZoneName>,
        peers: &Peers,
    ) -> Result<VolumeReport, CliError> {
        if let Some(zone) = zone {
            return peers
                .sidecar(zone)?
                .volume(volume)
                .await
                .map_err(CliError::Api);
        }
        let answers = look::look(&peers.zones()?, volume, peers).await?;
        let mut fitting = Vec::new();
        let mut seen = Vec::new();
        for a in answers {
            match a.error {
                Some(e) if e.code == ErrorCode::UnknownVolume => {
                    seen.push(format!("{} has none", a.zone));
                }
                Some(e) => {
                    let message = format!("{} does not say what {volume} is there: {e}", a.zone);
                    return Err(CliError::ended(e.code.into(), message)
                        .advise("name the zone that is meant with --zone"));
                }
                None => {
                    seen.extend(
                        a.volumes
                            .iter()
                            .map(|v| format!("{} says {}", a.zone, v.status)),
                    );
                    fitting.extend(a.volumes.into_iter().filter(|v| (self.fits)(v)));
                }
            }
        }
        let seen = seen.join(", ");
        let name = self.action.name();
        match <[VolumeReport; 1]>::try_from(fitting) {
            Ok([one]) => Ok(one),
            Err(none) if none.is_empty() => Err(CliError::ended(
                Exit::Refused,
                format!("there is no zone to {name} {volume} in: {seen}"),
            )
            .advise(
                "`rekindle volume show` tells more; --zone names a zone all the same".to_owned(),
            )),
            Err(_) => Err(
                CliError::usage(format!("{name} {volume} in which zone? {seen}"))
                    .advise("name the zone that is meant with --zone"),
            ),
        }
    }
}

async fn generation(
    group: &GroupName,
    known: &mut BTreeMap<GroupName, Generation>,
    peers: &Peers,
) -> Result<Generation, CliError> {
    if let Some(g) = known.get(group) {
        return Ok(*g);
    }
    let status = peers
        .orchestrator()?
        .group(group)
        .await
        .map_err(CliError::Api)?;
    let primary = status.primary.ok_or_else(|| {
        CliError::ended(
            Exit::Refused,
            format!(
                "group {group} has no primary recorded yet, so there is no generation to act under"
            ),
        )
        .advise(format!("look at `rekindle group show {group}`"))
    })?;
    known.insert(group.clone(), primary.generation);
    Ok(primary.generation)
}

/// What became of one volume.
#[derive(Debug, Serialize)]
struct Line {
    zone: ZoneName,
    #[serde(flatten)]
    line: BatchLine,
}

async fn order(
    zone: &ZoneName,
    items: Vec<BatchItem>,
    peers: &Peers,
) -> Result<Vec<Line>, CliError> {
    let mut open: BTreeSet<ImageSpec> = items.iter().map(|i| i.volume.clone()).collect();
    let request = BatchRequest { items };
    let mut stream = peers
        .sidecar(zone)?
        .batch(&request)
        .await
        .map_err(CliError::Api)?;
    let mut lines = Vec::new();
    let broke = loop {
        match stream.next().await {
            Ok(Some(line)) => {
                open.remove(&line.volume);
                lines.push(Line {
                    zone: zone.clone(),
                    line,
                });
            }
            Ok(None) => break None,
            Err(e) => break Some(e),
        }
    };
    // What has no line is not known: it is neither done nor refused.
    let error =
        broke.unwrap_or_else(|| ApiError::new(ErrorCode::Internal, "the answer ended without it"));
    lines.extend(open.into_iter().map(|volume| {
        let error = error.clone();
        Line {
            zone: zone.clone(),
            line: BatchLine {
                volume,
                result: BatchResult::Failed { error },
            },
        }
    }));
    Ok(lines)
}

#[derive(Debug, Serialize)]
struct Outcome {
    action: &'static str,
    results: Vec<Line>,
}

impl Outcome {
    /// One volume's error is the command's; of several, each is shown.
    fn finish(self, output: &Output) -> Result<Exit, CliError> {
        let errors: Vec<&ApiError> = self.results.iter().filter_map(error).collect();
        let exit = match errors.first() {
            None => Exit::Ok,
            Some(first) if self.results.len() == 1 => return Err(CliError::Api((*first).clone())),
            Some(first) if errors.len() == self.results.len() => first.code.into(),
            Some(_) => Exit::Partial,
        };
        output.document(&self)?;
        Ok(exit)
    }
}

fn error(line: &Line) -> Option<&ApiError> {
    match &line.line.result {
        BatchResult::Ok { .. } => None,
        BatchResult::Failed { error } => Some(error),
    }
}

impl Document for Outcome {
    fn text(&self, page: &mut Page) {
        let mut rows = Vec::new();
        for l in &self.results {
            let what = match &l.line.result {
                BatchResult::Ok { outcome } => {
                    let effect = match outcome.effect {
                        Effect::Done => "done",
                        Effect::AlreadySo => "already so",
                        Effect::Started => "begun",
                    };
                    let given_up = match &outcome.given_up {
                        Some(g) => format!("; written here after the split: {g}"),
                        None => String::new(),
                    };
                    format!(
                        "{} {effect} in {} ms: {}{given_up}",
                        self.action, outcome.took_ms, outcome.report.status
                    )
                }
                BatchResult::Failed { error } => format!("FAILED: {error}"),
            };
            rows.push(vec![l.line.volume.to_string(), l.zone.to_string(), what]);
        }
        page.table(0, &rows);
        let failed = self.results.iter().filter(|l| error(l).is_some()).count();
        if failed > 0 {
            page.loud(format!(
                "{failed} of {} failed",
                plural(self.results.len(), "volume")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_checked_before_anything_is_asked() {
        let s = |n| Some(Span::secs(n));
        assert_eq!(
            replication_mode(Mode::Once, None, None).unwrap(),
            ReplicationMode::Once
        );
        for bad in [
            replication_mode(Mode::Once, None, s(60)),
            replication_mode(Mode::Periodic, None, None),
            replication_mode(Mode::Periodic, None, s(0)),
            replication_mode(Mode::Periodic, None, s(365 * 86_400)),
        ] {
            assert_eq!(bad.unwrap_err().exit(), Exit::Usage);
        }
        let start = next_minute("2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(start.to_string(), "2026-01-01T00:01:00Z");
    }

    #[test]
    fn every_resync_has_a_token_of_its_own() {
        let now = Timestamp::now();
        let a: ResyncToken = new_token(now).unwrap();
        let b = new_token(now + jiff::SignedDuration::from_micros(1)).unwrap();
        assert_ne!(a, b);
    }
}
