//! The primary lease: see it gone, have it given back, have it taken.

use super::{Context, Pass, Result, StepError};
use rekindle_common::{
    ApiError, ErrorCode, Generation, ZoneName, duration::Span, keys, lease::LeaseRecord,
    policy::GroupSpec,
};
use rekindle_core::{saga::Left, snapshot::LeaseSight};
use tokio::time::{Instant, timeout};

/// Sees, now, that the lease is gone and was for the margin, by this leader's own clock.
pub(super) async fn await_end(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
    margin: Span,
) -> Result<Pass> {
    let ttl = spec(ctx).await?.policy.lease.ttl;
    let asked = Instant::now();
    let lease = read(ctx).await?;
    let read = (asked, Instant::now());
    let sight = ctx.leases.see(&ctx.plan.group, lease.as_ref(), ttl, read);
    match sight {
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

/// Has the zone give it back, and looks that it is gone.
pub(super) async fn release(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
) -> Result<Pass> {
    // Ordered even where the key is gone already: the order also keeps the sidecar from taking it again by itself.
    let sidecar = ctx.zone(zone)?.sidecar();
    ctx.lead.check()?;
    let order = sidecar.release_lease(&ctx.plan.group, generation);
    match timeout(ctx.tools.zone_deadline, order).await {
        Ok(Ok(_)) => {}
        Ok(Err(e)) if e.code == ErrorCode::LeaseNotHeld => {}
        // It may not have looked again since the demotion.
        Ok(Err(e)) if e.code == ErrorCode::IsPrimary => return Err(StepError::NotNow(e.message)),
        Ok(Err(e)) => return Err(refusal(&e)),
        Err(_) => return Err(silent(zone)),
    }
    match read(ctx).await? {
        Some(l) if l.zone == *zone && l.generation == generation => Ok(Pass::NotYet {
            note: format!("{} still holds the lease", l.holder),
        }),
        Some(_) | None => Ok(Pass::Done {
            note: "given back".to_owned(),
        }),
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
