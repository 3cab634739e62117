//! One action, from order to outcome.

use super::{
    Inner, Volumes,
    batch::{GenerationMemo, goes_with_its_order},
    perform::promoted_before,
    records::{GroupRecord, Seen},
    registry::InFlight,
};
use crate::{
    backend::{Access, BackendErrorKind, Deadlines, Session},
    leases,
    replication::{self, Context, Look, Refusal, ReplicationError, Step},
};
use rekindle_common::{
    ApiError, Generation, GroupName, ImageSpec,
    action::{ActionOutcome, Effect, Order, SafetyCopy, VolumeAction},
    given_up::GivenUp,
    metadata,
    status::VolumeStatus,
    volume::Role,
};
use rekindle_net::carried;
use std::sync::Arc;
use tokio::time::Instant;

impl Volumes {
    /// Carries out one order, to its end or to its deadline.
    ///
    /// # Errors
    /// [`ApiError`]: refused (nothing was done), failed, or `deadline_exceeded` (it may still take effect).
    pub async fn act(&self, volume: &ImageSpec, order: Order) -> Result<ActionOutcome, ApiError> {
        self.act_in(volume, order, Arc::default()).await
    }

    pub(super) async fn act_in(
        &self,
        volume: &ImageSpec,
        order: Order,
        memo: Arc<GenerationMemo>,
    ) -> Result<ActionOutcome, ApiError> {
        let begun = Instant::now();
        let name = order.action.name();
        let result = self.act_inner(volume, order, memo, begun).await;
        let took = begun.elapsed();
        let code = result.as_ref().err().map(|e| e.code);
        self.inner.metrics.action(name, code, took);
        match &result {
            Ok(outcome) => tracing::info!(
                zone = %self.inner.zone, volume.id = %volume, action = name,
                effect = ?outcome.effect, took_ms = outcome.took_ms, "action ended"
            ),
            Err(e) => tracing::info!(
                zone = %self.inner.zone, volume.id = %volume, action = name,
                code = %e.code, error = %e.message, "action refused or failed"
            ),
        }
        result
    }

    async fn act_inner(
        &self,
        volume: &ImageSpec,
        order: Order,
        memo: Arc<GenerationMemo>,
        begun: Instant,
    ) -> Result<ActionOutcome, ApiError> {
        let inner = &self.inner;
        if inner.tasks.is_closed() {
            return Err(Refusal::Draining.into());
        }
        match order.action {
            // Demotion stays possible: it takes a right away, and a frozen zone may still have to be left.
            VolumeAction::Demote { .. } => {}
            VolumeAction::Replicate { .. }
            | VolumeAction::Describe { .. }
            | VolumeAction::RecordServer { .. }
            | VolumeAction::MarkDeleted { .. }
            | VolumeAction::Undelete
            | VolumeAction::Unreplicate
            | VolumeAction::Promote { .. } => inner.refuse_while_frozen()?,
            // It discards what is here.
            VolumeAction::Resync { .. } => inner.refuse_unless_open().await?,
        }
        let name = order.action.name();
        let guard = inner.registry.begin(volume, name)?;
        let id = guard.id();
        let deadlines = Deadlines {
            answer: inner.in_(inner.limits.action),
            abandon: inner.in_(inner.limits.abandon),
        };
        let task = {
            let (inner, volume) = (inner.clone(), volume.clone());
            inner.tasks.clone().spawn(carried(async move {
                let result = inner.run(&volume, &order, &memo, &guard, deadlines).await;
                inner.action_ended();
                drop(guard);
                result
            }))
        };
        // A moment more than the deadline, so that a look that overran is reported by its own name.
        let answer_by = deadlines.answer + std::time::Duration::from_millis(100);
        match tokio::time::timeout_at(answer_by, task).await {
            Ok(Ok(Ok((effect, look, given_up)))) => Ok(ActionOutcome {
                effect,
                report: look.report(&inner.zone, None),
                took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                given_up,
            }),
            Ok(Ok(Err(e))) => Err(e.into()),
            Ok(Err(join)) => Err(Refusal::Internal {
                what: format!("the action's task ended abnormally: {join}"),
            }
            .into()),
            Err(_) => {
                inner.registry.overran(volume, id);
                Err(Refusal::Overran {
                    action: name,
                    after: inner.limits.action,
                }
                .into())
            }
        }
    }
}

impl Inner {
    async fn run(
        &self,
        volume: &ImageSpec,
        order: &Order,
        memo: &GenerationMemo,
        guard: &InFlight,
        d: Deadlines,
    ) -> Result<(Effect, Look, Option<GivenUp>), ReplicationError> {
        let session = self.backend.open(volume, Access::Write, d.answer).await?;
        let mut look = self.understand(session.look(d.answer).await?);
        if replication::needs_lineage(&look, &order.action) {
            look.view.lineage = Some(session.lineage(d.answer).await?);
        }
        let group = group_of(&look, &order.action)?;
        self.refuse_to_join_elsewhere(&look, &order.action)?;
        if let Some(group) = &group
            && goes_with_its_order(&order.action)
            && self.takes().since(group, memo)
        {
            let group = group.to_string();
            return Err(Refusal::Overtaken { group }.into());
        }
        let record = self
            .authorise(group.as_ref(), order, memo, d.answer)
            .await?;
        let mut context = Context {
            generation: order.generation,
            promoted_here: promoted_before(record.as_ref()),
            last_resync: None,
            own_history: None,
            now: self.clock.now(),
        };
        if let VolumeAction::Resync { safety, .. } = &order.action {
            context.last_resync = self.records.last_resync(volume, d.answer).await?;
            // Of one that is being deleted already nothing is kept any more.
            let is_kept = *safety == SafetyCopy::Keep
                && look.role == Role::Secondary
                && look.status != VolumeStatus::PendingResync;
            if is_kept && order.generation.is_none() {
                context.own_history = Some(session.own_history(d.answer).await?);
            }
        }
        let step = replication::next(&look, &order.action, &context)?;
        self.refuse_behind_late_call(volume, &step, guard)?;
        let last = context.last_resync;
        let given_up = match &order.action {
            VolumeAction::Resync { token, .. } => {
                self.about_to_resync(&session, &look, &step, token, last, d)
                    .await?
            }
            VolumeAction::Replicate { .. }
            | VolumeAction::Describe { .. }
            | VolumeAction::RecordServer { .. }
            | VolumeAction::MarkDeleted { .. }
            | VolumeAction::Undelete
            | VolumeAction::Unreplicate
            | VolumeAction::Promote { .. }
            | VolumeAction::Demote { .. } => None,
        };
        let action = order.action.name();
        let done = self
            .perform_and_confirm(&session, &look, &step, action, order.generation, d)
            .await;
        if let VolumeAction::Promote { .. } = order.action
            && may_have_landed(&done)
        {
            let undone = self
                .undo_if_lease_lost(&session, group.as_ref(), order.generation)
                .await;
            match (&done, undone) {
                (_, Ok(())) => {}
                // What failed first tells more. Where the image is primary all the same, the lease's keeper sees that and goes on.
                (Err(_), Err(ReplicationError::Backend(error))) => {
                    tracing::warn!(volume.id = %volume, %error, "the promotion failed and may have landed, the lease is gone, and the demotion failed too");
                }
                (Ok(_), Err(error)) | (Err(_), Err(error @ ReplicationError::Refused(_))) => {
                    return Err(error);
                }
            }
        }
        let (effect, after) = done?;
        Ok((effect, after, given_up))
    }

    /// "Already so" must not be said while an earlier call may yet change it.
    fn refuse_behind_late_call(
        &self,
        volume: &ImageSpec,
        step: &Step,
        guard: &InFlight,
    ) -> Result<(), Refusal> {
        match (step, self.registry.late_call(volume, guard.id())) {
            (Step::AlreadySo, Some(action)) => Err(Refusal::Busy {
                action,
                since: self.limits.action,
            }),
            (
                Step::AlreadySo
                | Step::Enable { .. }
                | Step::SetPolicy { .. }
                | Step::Disable { .. }
                | Step::Promote(_)
                | Step::Demote { .. }
                | Step::Resync { .. },
                _,
            ) => Ok(()),
        }
    }

    /// The generation against the zone's record, and for a promotion the lease. The answer is the record before.
    async fn authorise(
        &self,
        group: Option<&GroupName>,
        order: &Order,
        memo: &GenerationMemo,
        deadline: Instant,
    ) -> Result<Option<GroupRecord>, ReplicationError> {
        let Some(group) = group else { return Ok(None) };
        let (required, seen) = match order.action {
            VolumeAction::Promote { .. } => (true, Seen::Promotion),
            VolumeAction::Demote { .. } | VolumeAction::Resync { .. } => (true, Seen::Order),
            VolumeAction::Replicate { .. }
            | VolumeAction::Describe { .. }
            | VolumeAction::RecordServer { .. }
            | VolumeAction::MarkDeleted { .. }
            | VolumeAction::Undelete
            | VolumeAction::Unreplicate => (false, Seen::Order),
        };
        let Some(generation) = order.generation else {
            return if required {
                Err(Refusal::GenerationRequired {
                    group: group.to_string(),
                }
                .into())
            } else {
                Ok(None)
            };
        };
        if seen == Seen::Promotion {
            self.need_lease(group, generation)?;
        }
        match order.action {
            // What it destroys is worth a read of its own: the zone may have taken a newer order since the batch's first.
            VolumeAction::Resync { .. } => {
                self.records.check(group, generation, seen, deadline).await
            }
            VolumeAction::Promote { .. }
            | VolumeAction::Demote { .. }
            | VolumeAction::Replicate { .. }
            | VolumeAction::Describe { .. }
            | VolumeAction::RecordServer { .. }
            | VolumeAction::MarkDeleted { .. }
            | VolumeAction::Undelete
            | VolumeAction::Unreplicate => {
                memo.check(&self.records, group, generation, seen, deadline)
                    .await
            }
        }
    }

    /// What is put into a group is primary here from then on. Where the keeper knows that the group's primary is another zone, it would demote it
    /// within seconds, under its writer. Where that is not known, whoever asks decides, as ever.
    fn refuse_to_join_elsewhere(&self, look: &Look, action: &VolumeAction) -> Result<(), Refusal> {
        let Some(group) = joins(look, action)? else {
            return Ok(());
        };
        match self.leases.recorded_elsewhere(&group) {
            None => Ok(()),
            Some(zone) => Err(Refusal::GroupElsewhere {
                group: group.to_string(),
                zone,
            }),
        }
    }

    fn need_lease(&self, group: &GroupName, generation: Generation) -> Result<(), Refusal> {
        if leases::holds(&self.leases.view(group), generation) {
            Ok(())
        } else {
            Err(Refusal::LeaseNotHeld {
                group: group.to_string(),
                generation,
            })
        }
    }

    /// Does the step and looks again. A call that failed and yet took effect counts by what is seen.
    pub(super) async fn perform_and_confirm(
        &self,
        session: &Session,
        look: &Look,
        step: &Step,
        action: &'static str,
        generation: Option<Generation>,
        d: Deadlines,
    ) -> Result<(Effect, Look), ReplicationError> {
        if *step == Step::AlreadySo {
            return Ok((Effect::AlreadySo, look.clone()));
        }
        let done = self.perform(session, look, step, generation, d).await;
        let look_by = self.in_(self.limits.look);
        let again = session.look_again(&look.view, look_by).await;
        match (done, again) {
            (Ok(()), Ok(view)) => {
                let after = self.understand(view);
                let effect = replication::confirm(step, action, &after)?;
                Ok((effect, after))
            }
            // Right after a flag for resync the daemon may have deleted the image: that is how it begins.
            (Ok(()), Err(e)) => match step {
                Step::Resync { .. } if e.kind == BackendErrorKind::NotFound => {
                    Ok((Effect::Started, look.clone()))
                }
                Step::AlreadySo
                | Step::Enable { .. }
                | Step::SetPolicy { .. }
                | Step::Disable { .. }
                | Step::Promote(_)
                | Step::Demote { .. }
                | Step::Resync { .. } => Err(e.into()),
            },
            (Err(e @ ReplicationError::Refused(_)), _) => Err(e),
            (Err(e @ ReplicationError::Backend(_)), Ok(view)) => {
                let after = self.understand(view);
                match (step, replication::confirm(step, action, &after)) {
                    (Step::Promote(_) | Step::Demote { .. }, Ok(effect)) => {
                        tracing::warn!(volume.id = %session.spec(), action, error = %e, "the call failed, and the image shows that it took effect");
                        Ok((effect, after))
                    }
                    (
                        Step::AlreadySo
                        | Step::Enable { .. }
                        | Step::SetPolicy { .. }
                        | Step::Disable { .. }
                        | Step::Promote(_)
                        | Step::Demote { .. }
                        | Step::Resync { .. },
                        _,
                    ) => Err(e),
                }
            }
            (Err(e @ ReplicationError::Backend(_)), Err(_)) => Err(e),
        }
    }

    /// A promotion that landed after the lease went must not stand: another zone may be recorded by now. Nor must one of which that is
    /// not known; an image that is a copy refuses the demotion.
    async fn undo_if_lease_lost(
        &self,
        session: &Session,
        group: Option<&GroupName>,
        generation: Option<Generation>,
    ) -> Result<(), ReplicationError> {
        let (Some(group), Some(generation)) = (group, generation) else {
            return Ok(());
        };
        let Err(lost) = self.need_lease(group, generation) else {
            return Ok(());
        };
        tracing::warn!(volume.id = %session.spec(), %group, %generation, "the lease went while the volume was being promoted: demoting it");
        // The promotion may have taken all of the order's time, and more: a call without any is not begun.
        let d = Deadlines {
            answer: self.in_(self.limits.action),
            abandon: self.in_(self.limits.abandon),
        };
        session.demote(None, d).await?;
        Err(lost.into())
    }
}

/// Whether a promotion that ended so may have made the image primary. One that a rule or librbd itself refused has not; after an error
/// of the call, or of the look behind it, nobody knows.
fn may_have_landed<T>(done: &Result<T, ReplicationError>) -> bool {
    match done {
        Ok(_)
        | Err(
            ReplicationError::Backend(_) | ReplicationError::Refused(Refusal::NotConfirmed { .. }),
        ) => true,
        Err(ReplicationError::Refused(_)) => false,
    }
}

/// The group that a volume which is written to here is put into.
fn joins(look: &Look, action: &VolumeAction) -> Result<Option<GroupName>, Refusal> {
    let VolumeAction::Replicate {
        group, leave_group, ..
    } = action
    else {
        return Ok(None);
    };
    let after = replication::group_after(look, group.as_ref(), *leave_group)?;
    // Its keeper goes by this entry.
    let own = look.view.metadata.get(metadata::GROUP);
    Ok(match look.role {
        // It is in it already.
        Role::Primary if after.as_ref().map(GroupName::as_str) == own.map(String::as_str) => None,
        // Of one that is not mirrored what stands in its metadata binds nobody yet.
        Role::Primary | Role::NotMirrored => after,
        // Refused as a copy.
        Role::Secondary | Role::Unknown => None,
    })
}

/// The group whose authority an order needs.
fn group_of(look: &Look, action: &VolumeAction) -> Result<Option<GroupName>, Refusal> {
    let own = look.policy.as_ref().and_then(|p| p.group.clone());
    match (action, &look.policy_fault) {
        // Of the one that it leaves, where it is in none afterwards.
        (
            VolumeAction::Replicate {
                group, leave_group, ..
            },
            _,
        ) => Ok(replication::group_after(look, group.as_ref(), *leave_group)?.or(own)),
        // Whose volume it is cannot be read: only taking a right away is safe.
        (
            VolumeAction::Promote { .. }
            | VolumeAction::Resync { .. }
            | VolumeAction::MarkDeleted { .. }
            | VolumeAction::Unreplicate,
            Some(why),
        ) => Err(Refusal::CorruptPolicy { why: why.clone() }),
        (
            VolumeAction::Demote { .. }
            | VolumeAction::Describe { .. }
            | VolumeAction::RecordServer { .. }
            | VolumeAction::Undelete,
            Some(_),
        ) => Ok(None),
        (
            VolumeAction::Unreplicate
            | VolumeAction::Describe { .. }
            | VolumeAction::RecordServer { .. }
            | VolumeAction::MarkDeleted { .. }
            | VolumeAction::Undelete
            | VolumeAction::Promote { .. }
            | VolumeAction::Demote { .. }
            | VolumeAction::Resync { .. },
            None,
        ) => Ok(own),
    }
}
