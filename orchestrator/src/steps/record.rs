//! What is written to etcd in a plan's course: the primary record, and what is remembered of the group.

use super::{
    Context, Pass, Result, StepError,
    lease::{self, spec},
    proof,
};
use crate::coordination::LeadError;
use rekindle_common::{Generation, ZoneName, keys, lease::PrimaryRecord};
use rekindle_core::{
    plan::OldLease,
    saga::Left,
    snapshot::{FailoverMemory, GroupState, Unprotected},
};
use rekindle_store::{Compare, KeyValue, Op, Txn};

/// Names the primary, while what the plan was decided on is so still. The transaction compares this leader's key, the record that was read, and that the lease is absent, or is still
/// the one that it takes away; and no promise to an isolated zone may stand against it.
pub(super) async fn primary(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
    replaces: Generation,
    lease: &OldLease,
) -> Result<Pass> {
    let group = &ctx.plan.group;
    let key = keys::group_primary(group);
    let promise = spec(ctx).await?.policy.lease.promise();
    let Some(kv) = ctx.lead.store().get(&key).await? else {
        return Err(StepError::refused(format!("{key} is not there")));
    };
    let now: PrimaryRecord = kv.json()?;
    let done = |taken: &str| Pass::Done {
        note: format!("{zone} is primary under generation {generation}{taken}"),
    };
    if now.zone == *zone && now.generation == generation {
        return Ok(done(""));
    }
    if now.generation != replaces {
        return Err(StepError::refused(format!(
            "{} is primary under generation {}, this plan was made for {replaces}",
            now.zone, now.generation
        )));
    }
    let record = PrimaryRecord {
        zone: zone.clone(),
        generation,
        since: ctx.tools.clock.now(),
        plan: Some(ctx.plan.id.clone()),
    };
    let old = match lease {
        OldLease::Gone => proof::gone(ctx).await?,
        OldLease::Revoked { from } => proof::revoked(ctx, from, replaces).await?,
        OldLease::Demoted { from } => lease::left_over(ctx, from, replaces).await?,
    };
    let taken = match &old.delete {
        None => "",
        Some(_) => ", the lease of the old one is taken away",
    };
    let mut txn = Txn::new()
        .when(Compare::ModRevision(key.clone(), kv.mod_revision))
        .when(old.compare)
        .then(Op::put_json(&key, &record, None)?);
    if let Some(delete) = old.delete {
        txn = txn.then(delete);
    }
    // Asked last, and no promise is given from here until the outcome is known.
    let recording = match ctx.tools.failsafe.begin_recording(group, promise) {
        Ok(recording) => recording,
        Err(left) => return Ok(Pass::Bound { left }),
    };
    match ctx.lead.txn(txn).await {
        Ok(_) => {
            recording.settled(&record);
            Ok(done(taken))
        }
        Err(LeadError::Refused { found }) => {
            recording.settled(&now);
            Err(StepError::NotNow(against(
                &found,
                &keys::group_lease(group),
            )))
        }
        Err(e) => Err(e.into()),
    }
}

fn against(found: &[KeyValue], lease: &str) -> String {
    if found.iter().any(|kv| kv.key == *lease) {
        "the primary lease is held".to_owned()
    } else {
        "the primary record was changed meanwhile".to_owned()
    }
}

/// Says loudly that nothing protects the group, and remembers the failover: the only ground on which a loser's data is discarded.
pub(super) async fn unprotected(
    ctx: &Context<'_>,
    from: &ZoneName,
    generation: Generation,
    why: &str,
) -> Result<Pass> {
    let at = ctx.tools.clock.now();
    change(ctx, |mut state| {
        let remembered = state
            .last_failover
            .as_ref()
            .is_some_and(|f| f.plan == ctx.plan.id && f.generation == generation);
        if remembered && state.unprotected.is_some() {
            return None;
        }
        state.last_failover = Some(FailoverMemory {
            plan: ctx.plan.id.clone(),
            from: from.clone(),
            generation,
            at,
            acknowledged: false,
        });
        state.unprotected = Some(Unprotected {
            since: at,
            why: why.to_owned(),
        });
        Some(state)
    })
    .await
}

/// Says that the group is protected again; where volumes were left out or failed, that it is not, and why.
pub(super) async fn protected(ctx: &Context<'_>) -> Result<Pass> {
    let at = ctx.tools.clock.now();
    let without: Vec<String> = ctx
        .failed_before
        .iter()
        .chain(ctx.plan.left_out.iter().map(|l| &l.volume))
        .map(ToString::to_string)
        .collect();
    let why = match without.as_slice() {
        [] => None,
        [one] => Some(format!("{one} has no copy in step")),
        [first, ..] => Some(format!(
            "{} volumes have no copy in step, {first} among them",
            without.len()
        )),
    };
    change(ctx, |mut state| {
        if state.unprotected.as_ref().map(|u| &u.why) == why.as_ref() {
            return None;
        }
        let since = state.unprotected.take().map_or(at, |u| u.since);
        state.unprotected = why.clone().map(|why| Unprotected { since, why });
        Some(state)
    })
    .await
}

/// Reads, changes and writes what is remembered of the group; `None` from `to` means that it is so already.
async fn change(
    ctx: &Context<'_>,
    to: impl FnOnce(GroupState) -> Option<GroupState>,
) -> Result<Pass> {
    let key = keys::group_state(&ctx.plan.group);
    let found = ctx.lead.store().get(&key).await?;
    let (state, compare) = match &found {
        // Without a record there is nothing to remember: the one default that is written down (`GroupState`'s own).
        None => (GroupState::default(), Compare::Absent(key.clone())),
        Some(kv) => (
            kv.json::<GroupState>().map_err(|e| StepError::Failed {
                why: rekindle_common::ApiError::from(&e).message,
                left: Left::Nothing,
            })?,
            Compare::ModRevision(key.clone(), kv.mod_revision),
        ),
    };
    let Some(state) = to(state) else {
        return Ok(Pass::Done {
            note: "so already".to_owned(),
        });
    };
    let txn = Txn::new()
        .when(compare)
        .then(Op::put_json(&key, &state, None)?);
    ctx.lead.txn(txn).await?;
    Ok(Pass::Done {
        note: match &state.unprotected {
            None => "protected".to_owned(),
            Some(u) => format!("UNPROTECTED: {}", u.why),
        },
    })
}
