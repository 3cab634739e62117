//! What an operator changes of a group: its definition, approvals, acknowledgements. All in fenced transactions of the leader.

use super::{Begun, Term, apply::records_primary, begin};
use crate::{
    coordination::LeadError,
    journal, plan_id,
    wire::{ApproveRequest, GroupEffect, GroupPut, Maintenance, PlanAnswer, PlanRequest, Run},
    world::{GroupRecords, World},
};
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, PlanId, keys, lease::PrimaryRecord,
    policy::GroupSpec, volume::Role,
};
use rekindle_core::{
    decision::{Hold, Refusal, plan_for},
    plan::Plan,
    saga::{End, Event, Left, Next, Record, Saga, State},
    snapshot::{Approval, FailoverMemory},
};
use rekindle_store::{Compare, Op, Txn};

mod delete;

type Result<T> = std::result::Result<T, ApiError>;

fn held(why: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Held, why)
}

pub(crate) fn lead_error(e: LeadError) -> ApiError {
    match e {
        LeadError::Lost => ApiError::new(ErrorCode::NotLeader, e.to_string()),
        LeadError::Refused { .. } => ApiError::new(ErrorCode::Busy, e.to_string()),
        LeadError::Store(e) => ApiError::from(e),
    }
}

fn refusal(e: &Refusal) -> ApiError {
    let code = match e {
        Refusal::UnknownGroup => ErrorCode::UnknownGroup,
        Refusal::ForeignZone(_) => ErrorCode::InvalidField,
        Refusal::Hold(Hold::PlanActive { .. }) => ErrorCode::PlanActive,
        Refusal::NoLease { .. } => ErrorCode::LeaseNotHeld,
        Refusal::AlreadyThere(_)
        | Refusal::ZoneNotWell { .. }
        | Refusal::NotInStep(_)
        | Refusal::NothingToDo(_)
        | Refusal::Hold(_)
        | Refusal::Ask(_) => ErrorCode::Held,
    };
    ApiError::new(code, e.to_string())
}

impl Term {
    pub(super) fn group_of<'a>(
        &self,
        world: &'a World,
        group: &GroupName,
    ) -> Result<&'a GroupRecords> {
        if let Some(g) = world.groups.get(group) {
            return Ok(g);
        }
        // A group that is there and cannot be read is not unknown.
        let prefix = format!("{}{group}/", keys::GROUPS);
        match world.problems.iter().find(|p| p.about.starts_with(&prefix)) {
            Some(p) => Err(ApiError::new(p.code, p.to_string())),
            None => Err(ApiError::new(
                ErrorCode::UnknownGroup,
                format!("there is no group {group}"),
            )),
        }
    }

    /// Makes a plan for an operator's request, and begins it where it is meant in earnest.
    ///
    /// # Errors
    /// [`ApiError`]: in an operator's words, why there is none.
    pub async fn request(&self, group: &GroupName, request: &PlanRequest) -> Result<PlanAnswer> {
        let world = self.look().await?;
        let records = self.group_of(&world, group)?;
        let id = plan_id::new(world.snapshot.reference_time);
        let plan =
            plan_for(&world.snapshot, group, &request.request, id).map_err(|e| refusal(&e))?;
        if let Some(left) = world.snapshot.promised_for
            && records_primary(&plan)
        {
            return Err(held(Hold::Promised { left }.to_string()));
        }
        match request.run {
            Run::Begin => {
                begin(&self.lead, records, &plan, Begun::ByHand).await?;
                self.refresh().await;
            }
            // What is shown can be begun.
            Run::DryRun => journal::put_plan(&plan).map(drop)?,
        }
        Ok(PlanAnswer {
            run: request.run,
            plan,
        })
    }

    /// Defines a group or changes its policy.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn put_group(&self, spec: &GroupSpec) -> Result<GroupPut> {
        self.check_spec(spec)?;
        let world = self.look().await?;
        match self.group_of(&world, &spec.name) {
            Ok(records) => self.change_group(spec, records).await,
            Err(e) if e.code == ErrorCode::UnknownGroup => self.create_group(spec).await,
            Err(e) => Err(e),
        }
    }

    fn check_spec(&self, spec: &GroupSpec) -> Result<()> {
        let bad =
            |field: &str, why: String| Err(ApiError::new(ErrorCode::InvalidField, why).at(field));
        if let Err(e) = spec.policy.check() {
            return bad(&format!("policy.{}", e.field), e.why);
        }
        if let Err(e) = spec.runbook.check() {
            return bad(e.field, e.why);
        }
        if spec.home == spec.away {
            return bad("away", format!("{} is home already", spec.away));
        }
        for (field, zone) in [("home", &spec.home), ("away", &spec.away)] {
            if !self.means.tools.zones.contains_key(zone) {
                return bad(field, format!("{zone} is not a configured zone"));
            }
        }
        let agents = &self.means.tools.agents;
        if let Some(a) = &spec.policy.application
            && !agents.applications.contains_key(a)
        {
            return bad(
                "policy.application",
                format!("no application {a:?} is configured here"),
            );
        }
        if let Some(f) = &spec.policy.fence_agent
            && !agents.fences.contains_key(f)
        {
            return bad(
                "policy.fence_agent",
                format!("no fence agent {f:?} is configured here"),
            );
        }
        let has_servers = spec.runbook.servers().next().is_some();
        let zones = [&spec.home, &spec.away];
        if let Some(zone) = zones
            .into_iter()
            .find(|z| has_servers && !self.means.tools.servers.contains_key(*z))
        {
            return bad(
                "runbook.levels",
                format!("no OpenStack is configured here for {zone}: name it as [clouds.{zone}]"),
            );
        }
        match spec
            .runbook
            .commands()
            .find(|c| !agents.hooks.contains_key(*c))
        {
            None => Ok(()),
            Some(c) => bad(
                "runbook",
                format!("no hook {c:?} is configured here: name it as [hooks.{c}] at every site"),
            ),
        }
    }

    async fn change_group(&self, spec: &GroupSpec, records: &GroupRecords) -> Result<GroupPut> {
        let old = &records.spec;
        let same_zones = [&old.home, &old.away]
            .iter()
            .all(|z| **z == spec.home || **z == spec.away);
        if !same_zones {
            return Err(ApiError::new(
                ErrorCode::InvalidField,
                format!(
                    "the group's zones are {} and {}, and stay so; delete it first",
                    old.home, old.away
                ),
            )
            .at("home"));
        }
        let Some(primary) = &records.primary else {
            return Err(ApiError::new(
                ErrorCode::CorruptRecord,
                format!("group {} has no primary record", spec.name),
            ));
        };
        if let Some(plan) = &records.active_plan {
            return Err(ApiError::new(
                ErrorCode::PlanActive,
                format!("plan {plan} is at work on it"),
            ));
        }
        let key = keys::group_spec(&spec.name);
        let txn = Txn::new()
            .when(Compare::ModRevision(key.clone(), records.spec_revision))
            .when(Compare::Absent(keys::group_active_plan(&spec.name)))
            .then(Op::put_json(&key, spec, None)?);
        self.lead.txn(txn).await.map_err(lead_error)?;
        self.refresh().await;
        Ok(GroupPut {
            effect: GroupEffect::Changed,
            primary: primary.value.clone(),
        })
    }

    /// A new group is primary at home under generation 1; one that was deleted, or that its zones remember, goes on from there,
    /// for the zones refuse an older generation than they have seen (hard case 11). Where the record of the deleted one names the
    /// zone that is to be away, nothing is taken: who defines a group to say which side is kept would have it the other way round.
    async fn create_group(&self, spec: &GroupSpec) -> Result<GroupPut> {
        let (spec_key, primary_key) = (
            keys::group_spec(&spec.name),
            keys::group_primary(&spec.name),
        );
        let found = self.lead.store().get(&primary_key).await?;
        let remembered = self.remembered(spec).await?;
        let mut txn = Txn::new()
            .when(Compare::Absent(spec_key.clone()))
            .then(Op::put_json(&spec_key, spec, None)?);
        let kept = match &found {
            Some(kv) => {
                let old: PrimaryRecord = kv.json()?;
                txn = txn.when(Compare::ModRevision(primary_key.clone(), kv.mod_revision));
                let current = old.generation >= remembered;
                if current && old.zone == spec.away {
                    return Err(held(format!(
                        "the record that is kept of it says that {} is primary, at generation {}: name {} as home. If its volumes in {} \
                         are to be kept instead, see \"Both zones say primary\" in docs/operations.md",
                        old.zone, old.generation, old.zone, spec.home
                    )));
                }
                if current && old.zone == spec.home {
                    Ok(old)
                } else {
                    Err(old.generation)
                }
            }
            None => {
                txn = txn.when(Compare::Absent(primary_key.clone()));
                Err(Generation::ZERO)
            }
        };
        let primary = match kept {
            Ok(old) => old,
            Err(before) => {
                let first = self.first(spec, before.max(remembered).next());
                // Nobody may serve under another record.
                txn = txn
                    .when(Compare::Absent(keys::group_lease(&spec.name)))
                    .then(Op::put_json(&primary_key, &first, None)?);
                first
            }
        };
        self.lead.txn(txn).await.map_err(lead_error)?;
        tracing::info!(group = %spec.name, zone = %primary.zone, generation = %primary.generation, "group defined");
        self.refresh().await;
        Ok(GroupPut {
            effect: GroupEffect::Created,
            primary,
        })
    }

    fn first(&self, spec: &GroupSpec, generation: Generation) -> PrimaryRecord {
        PrimaryRecord {
            zone: spec.home.clone(),
            generation,
            since: self.means.clock.now(),
            plan: None,
        }
    }

    /// The highest generation that the zones have seen of this group. Refused where its volumes are primary away and not at home.
    async fn remembered(&self, spec: &GroupSpec) -> Result<Generation> {
        let mut highest = Generation::ZERO;
        let mut primaries = [0usize; 2];
        for (n, name) in [&spec.home, &spec.away].into_iter().enumerate() {
            let Some(zone) = self.means.tools.zones.get(name) else {
                continue;
            };
            let deadline = self.means.tools.zone_deadline;
            // A zone that does not answer does not keep a group from being defined: it refuses orders by itself.
            let (Ok(report), Ok(volumes)) = (
                zone.ask(deadline, zone.sidecar().report()).await,
                zone.ask(deadline, zone.sidecar().volumes(&spec.name)).await,
            ) else {
                continue;
            };
            let seen = report.groups.iter().filter(|g| g.group == spec.name);
            highest = seen
                .filter_map(|g| g.generation)
                .max()
                .unwrap_or_default()
                .max(highest);
            if let Some(count) = primaries.get_mut(n) {
                *count = volumes.iter().filter(|v| v.role == Role::Primary).count();
            }
        }
        match primaries {
            [0, away] if away > 0 => Err(held(format!(
                "{away} of its volumes are primary in {} and none in {}: name {} as home",
                spec.away, spec.home, spec.away
            ))),
            _ => Ok(highest),
        }
    }

    /// Takes a person's yes, for the generation that is now.
    ///
    /// # Errors
    /// [`ApiError`]; `stale_generation` where it was meant for another.
    pub async fn approve(&self, group: &GroupName, request: &ApproveRequest) -> Result<Approval> {
        let by = request.by.trim();
        if by.is_empty() || by.len() > 200 {
            return Err(ApiError::new(
                ErrorCode::InvalidField,
                "say who approves, in 1 to 200 characters",
            )
            .at("by"));
        }
        let world = self.look().await?;
        let records = self.group_of(&world, group)?;
        let Some(primary) = &records.primary else {
            return Err(held(Hold::NoPrimary.to_string()));
        };
        let generation = primary.value.generation;
        if let Some(meant) = request.generation
            && meant != generation
        {
            return Err(ApiError::new(
                ErrorCode::StaleGeneration,
                format!("the group is at generation {generation}, the approval is for {meant}"),
            ));
        }
        let approval = Approval {
            what: request.what,
            generation,
            by: by.to_owned(),
            at: self.means.clock.now(),
        };
        let txn = Txn::new()
            .when(Compare::ModRevision(
                keys::group_primary(group),
                primary.revision,
            ))
            .then(Op::put_json(keys::group_approval(group), &approval, None)?);
        self.lead.txn(txn).await.map_err(lead_error)?;
        tracing::info!(group = %group, by, what = ?approval.what, generation = %generation, "approved");
        self.refresh().await;
        Ok(approval)
    }

    /// Takes note that a person has seen the last failover: ends the blocking period.
    ///
    /// # Errors
    /// [`ApiError`]; `held` where there was none.
    pub async fn acknowledge(&self, group: &GroupName, by: &str) -> Result<FailoverMemory> {
        let world = self.look().await?;
        let records = self.group_of(&world, group)?;
        let state = records.state.as_ref();
        let Some((state, mut failover)) = state.and_then(|s| {
            let failover = s.value.last_failover.clone()?;
            Some((s, failover))
        }) else {
            return Err(held("there was no failover to acknowledge"));
        };
        failover.acknowledged = true;
        let mut value = state.value.clone();
        value.last_failover = Some(failover.clone());
        let key = keys::group_state(group);
        // Whoever has seen the failover has seen which hooks failed at its end.
        let txn = Txn::new()
            .when(Compare::ModRevision(key.clone(), state.revision))
            .then(Op::put_json(&key, &value, None)?)
            .then(Op::Delete {
                key: keys::group_hooks(group),
            });
        self.lead.txn(txn).await.map_err(lead_error)?;
        tracing::info!(group = %group, by, plan.id = %failover.plan, "failover acknowledged");
        self.refresh().await;
        Ok(failover)
    }

    /// Sets or ends maintenance.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn maintain(&self, maintenance: Option<&Maintenance>) -> Result<()> {
        let key = keys::MAINTENANCE.to_owned();
        let op = match maintenance {
            Some(m) if m.reason.trim().is_empty() || m.reason.len() > 500 => {
                return Err(ApiError::new(
                    ErrorCode::InvalidField,
                    "say why, in 1 to 500 characters",
                )
                .at("reason"));
            }
            Some(m) => Op::put_json(&key, m, None)?,
            None => Op::Delete { key },
        };
        self.lead
            .txn(Txn::new().then(op))
            .await
            .map_err(lead_error)?;
        match maintenance {
            Some(m) => tracing::info!(reason = m.reason, "maintenance begins"),
            None => tracing::info!("maintenance ends"),
        }
        self.refresh().await;
        Ok(())
    }

    /// Has a plan that waits for a person tried again.
    ///
    /// # Errors
    /// [`ApiError`]; `held` where it does not wait, `corrupt_record` where its journal cannot be read.
    pub async fn retry(&self, id: &PlanId) -> Result<(Plan, State)> {
        let answered = self.answer_stuck(id, Event::Retried, |_| vec![]).await?;
        self.take_up_again(id);
        Ok(answered)
    }

    /// Ends a plan that waits: for a person, or behind its promotion for copies, for a pause to be over, or for servers. What it did stands; its group
    /// is free for the next decision.
    ///
    /// # Errors
    /// As [`Self::retry`].
    pub async fn give_up(&self, id: &PlanId) -> Result<(Plan, State)> {
        let answered = match self.break_off(id).await? {
            Some(ended) => ended,
            None => {
                let end = End::GivenUp;
                self.answer_stuck(id, Event::Ended { end }, free).await?
            }
        };
        tracing::warn!(plan.id = %id, group = %answered.0.group, "the plan was given up by an operator");
        self.refresh().await;
        Ok(answered)
    }

    /// Journals that a step which waits has failed, by a person's word, and ends the executor that waits in it. The plan is stuck then; or it has ended,
    /// where it had changed nothing. Any other plan is left as it is.
    async fn break_off(&self, id: &PlanId) -> Result<Option<(Plan, State)>> {
        let store = self.lead.store();
        let plan = journal::read_plan(store, id).await.map_err(api)?;
        let records = journal::read_records(store, id).await.map_err(api)?;
        let mut saga: Saga<'_> = journal::replay(&plan, &records).map_err(api)?;
        let Some(step) = saga.state().waits_in(&plan) else {
            return Ok(None);
        };
        let broken_off = Event::StepFailed {
            step,
            error: "given up by an operator while it waited".to_owned(),
            left: Left::MaybeSomething,
        };
        // Its executor may have done the step in this moment: then this is refused, and there is nothing to break off.
        self.journal(&mut saga, id, broken_off, vec![]).await?;
        self.stop_work(id);
        let Next::Finish { end } = saga.next() else {
            return Ok(None);
        };
        let ended = Event::Ended { end };
        self.journal(&mut saga, id, ended, free(&plan)).await?;
        let state = saga.state().clone();
        Ok(Some((plan, state)))
    }

    async fn journal(
        &self,
        saga: &mut Saga<'_>,
        id: &PlanId,
        event: Event,
        with: Vec<Op>,
    ) -> Result<()> {
        let seq = saga.records();
        let record = Record {
            at: self.means.clock.now(),
            by: self.means.site.to_string(),
            event,
        };
        saga.apply(&record.event)
            .map_err(|e| ApiError::new(ErrorCode::CorruptRecord, e.to_string()))?;
        journal::append(&self.lead, id, seq, &record, with)
            .await
            .map_err(api)
    }

    /// Journals a person's word on a stuck plan, in one transaction with `with`.
    async fn answer_stuck(
        &self,
        id: &PlanId,
        event: Event,
        with: impl FnOnce(&Plan) -> Vec<Op>,
    ) -> Result<(Plan, State)> {
        let store = self.lead.store();
        let plan = journal::read_plan(store, id).await.map_err(api)?;
        let records = journal::read_records(store, id).await.map_err(api)?;
        let mut saga: Saga<'_> = journal::replay(&plan, &records).map_err(api)?;
        if !matches!(saga.state(), State::Stuck { .. }) {
            return Err(held(format!("plan {id} does not wait for a person")));
        }
        self.journal(&mut saga, id, event, with(&plan)).await?;
        let state = saga.state().clone();
        Ok((plan, state))
    }
}

/// With the plan's end its claim on the group goes.
fn free(plan: &Plan) -> Vec<Op> {
    vec![Op::Delete {
        key: keys::group_active_plan(&plan.group),
    }]
}

/// A journal's error for a client.
pub(crate) fn api(e: journal::JournalError) -> ApiError {
    match e {
        journal::JournalError::Lost => ApiError::new(ErrorCode::NotLeader, e.to_string()),
        journal::JournalError::Unknown(_) => ApiError::new(ErrorCode::UnknownPlan, e.to_string()),
        journal::JournalError::Corrupted { .. } => {
            ApiError::new(ErrorCode::CorruptRecord, e.to_string())
        }
        journal::JournalError::Overtaken { .. } => ApiError::new(ErrorCode::Busy, e.to_string()),
        journal::JournalError::Store(e) => ApiError::from(e),
    }
}
