//! The primary lease: see it gone, have it given back, have it taken.

use super::{Context, Pass, Result, StepError, proof::Taken};
use rekindle_common::{
    ApiError, ErrorCode, Generation, ZoneName, duration::Span, keys, lease::LeaseRecord,
    policy::GroupSpec,
};
use rekindle_core::{saga::Left, snapshot::LeaseSight};
use rekindle_store::{Compare, Op};
use tokio::time::{Instant, timeout};

/// Sees, now, that the lease is gone and was for the margin, by this leader's own clock.
pub(super) async fn await_end(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
    margin: Span,
) -> Result<Pass> {
    match sight(ctx).await? {
        LeaseSight::Held(l) => Ok(Pass::NotYet {
            note: format!(
                "{} in {} still renews the lease of generation {}",
                l.holder, l.zone, l.generation
            ),
        }),
        LeaseSight::Gone { seen_gone_for } if seen_gone_for >= margin => Ok(Pass::Done {
            note: format!(
                "the lease of generation {generation} in {zone} has been gone for {}",
                rounded(seen_gone_for)
            ),
        }),
        LeaseSight::Gone { seen_gone_for } => Ok(Pass::NotYet {
            note: format!(
                "the lease has been gone for {} of {margin}",
                rounded(seen_gone_for)
            ),
        }),
    }
}

/// The lease now, and for how long this leader has seen it gone.
pub(super) async fn sight(ctx: &Context<'_>) -> Result<LeaseSight> {
    let ttl = spec(ctx).await?.policy.lease.ttl;
    let asked = Instant::now();
    let lease = read(ctx).await?;
    let read = (asked, Instant::now());
    Ok(ctx.leases.see(&ctx.plan.group, lease.as_ref(), ttl, read))
}

/// Has the zone give it back, and looks that it is gone. What a second sidecar of the zone holds goes with the record, where the plan says so.
pub(super) async fn release(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
) -> Result<Pass> {
    give_back(ctx, zone, generation).await?;
    match read(ctx).await? {
        Some(l) if l.zone == *zone && l.generation == generation => {
            if ctx.plan.takes_what_is_left_of(zone, generation) {
                return Ok(Pass::Done {
                    note: format!(
                        "given back; {} stands by in {zone} and holds it now: it goes with the record",
                        l.holder
                    ),
                });
            }
            Ok(Pass::NotYet {
                note: format!("{} still holds the lease", l.holder),
            })
        }
        Some(_) | None => Ok(Pass::Done {
            note: "given back".to_owned(),
        }),
    }
}

/// What is left of the lease of a zone that was demoted in a planned move, to be taken away with the record. No order reaches who holds it; so
/// the sidecar that takes orders is asked once more, right before it, and refuses while an image is primary: between the demotion and the record
/// there may have been an outage, or another leader.
pub(super) async fn left_over(
    ctx: &Context<'_>,
    from: &ZoneName,
    generation: Generation,
) -> Result<Taken> {
    let key = keys::group_lease(&ctx.plan.group);
    if let Some(kv) = ctx.lead.store().get(&key).await? {
        let lease: LeaseRecord = kv.json()?;
        if lease.zone == *from && lease.generation == generation {
            give_back(ctx, from, generation).await?;
            return Ok(Taken {
                compare: Compare::ModRevision(key.clone(), kv.mod_revision),
                delete: Some(Op::Delete { key }),
            });
        }
    }
    // Absent, or somebody's to whom nothing was proven: then the transaction is refused.
    Ok(Taken {
        compare: Compare::Absent(key),
        delete: None,
    })
}

/// Orders the zone's sidecar to give it back. Refused there while an image is primary; whose key it is then, is the caller's to see.
async fn give_back(ctx: &Context<'_>, zone: &ZoneName, generation: Generation) -> Result<()> {
    // Ordered even where the key is gone already: the order also keeps the sidecar from taking it again by itself.
    let sidecar = ctx.zone(zone)?.sidecar();
    ctx.lead.check()?;
    let order = sidecar.release_lease(&ctx.plan.group, generation);
    match timeout(ctx.tools.zone_deadline, order).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) if e.code == ErrorCode::LeaseNotHeld => Ok(()),
        // It may not have looked again since the demotion.
        Ok(Err(e)) if e.code == ErrorCode::IsPrimary => Err(StepError::NotNow(e.message)),
        Ok(Err(e)) => Err(refusal(&e)),
        Err(_) => Err(silent(zone)),
    }
}

/// Has the zone take it, and looks that it is there.
pub(super) async fn take(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
) -> Result<Pass> {
    let held = |l: LeaseRecord| {
        (l.zone == *zone && l.generation == generation).then(|| Pass::Done {
            note: format!("held by {}", l.holder),
        })
    };
    // Ordered even where the key is there: a sidecar that demoted itself, and reached etcd again before its key was gone, holds
    // it and yet may promote nothing until it is ordered to serve.
    let sidecar = ctx.zone(zone)?.sidecar();
    ctx.lead.check()?;
    let order = sidecar.take_lease(&ctx.plan.group, generation);
    match timeout(ctx.tools.zone_deadline, order).await {
        Ok(Ok(_)) => {}
        // It may not have seen the new record yet.
        Ok(Err(e)) if e.code == ErrorCode::LeaseNotHeld => {
            return Err(StepError::NotNow(e.message));
        }
        Ok(Err(e)) => return Err(refusal(&e)),
        Err(_) => return Err(silent(zone)),
    }
    Ok(read(ctx)
        .await?
        .and_then(held)
        .unwrap_or_else(|| Pass::NotYet {
            note: format!("{zone} was told to take the lease"),
        }))
}

async fn read(ctx: &Context<'_>) -> Result<Option<LeaseRecord>> {
    match ctx
        .lead
        .store()
        .get(&keys::group_lease(&ctx.plan.group))
        .await?
    {
        Some(kv) => Ok(Some(kv.json()?)),
        None => Ok(None),
    }
}

/// The group's definition as it stands now.
pub(super) async fn spec(ctx: &Context<'_>) -> Result<GroupSpec> {
    match ctx
        .lead
        .store()
        .get(&keys::group_spec(&ctx.plan.group))
        .await?
    {
        Some(kv) => Ok(kv.json()?),
        None => Err(StepError::refused(format!(
            "group {} is not defined any more",
            ctx.plan.group
        ))),
    }
}

fn refusal(e: &ApiError) -> StepError {
    if e.retryable() {
        StepError::NotNow(e.message.clone())
    } else {
        StepError::Failed {
            why: e.to_string(),
            left: Left::Nothing,
        }
    }
}

fn silent(zone: &ZoneName) -> StepError {
    StepError::NotNow(format!("the sidecar of {zone} does not answer"))
}

/// To whole tenths of a second: for people.
fn rounded(s: Span) -> Span {
    Span::millis(u64::try_from(s.get().as_millis() / 100 * 100).unwrap_or(u64::MAX))
}
