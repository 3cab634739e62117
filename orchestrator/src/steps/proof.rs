//! What a failover was decided on, right before it records the other zone: it has to be so still, and a lease that is taken away has to be the one that
//! was read.
//!
//! Neither is a step of its own, for between such a step and the record there would be a time again. Between a lease that is taken away and another zone's record,
//! the zone's sidecar would find its key gone and put it back, as it does after an outage of etcd; and a leader that found the key gone under the
//! old record would count the margin from there, and take the end of that lease for a demotion. In one transaction with the record there is no between.

use super::{Context, Result, StepError, fence, lease};
use rekindle_common::{Generation, ZoneName, keys, lease::LeaseRecord};
use rekindle_core::{
    plan::{OldLease, Proof},
    saga::Left,
    standing::{Standing, standing},
};
use rekindle_store::{Compare, Op};

/// What the transaction compares of the lease, and what it does with it.
pub(super) struct Taken {
    pub(super) compare: Compare,
    pub(super) delete: Option<Op>,
}

/// The lease is gone, and so it has to be in the transaction.
pub(super) async fn gone(ctx: &Context<'_>) -> Result<Taken> {
    // A planned move's way back was decided on nothing that is seen: the zone that was to take over gave its lease back.
    if let Some(proof) = &ctx.plan.proof {
        if let Proof::FenceAgent { agent } = proof {
            fenced(ctx, agent, &ctx.plan.from).await?;
        }
        stands(ctx, &OldLease::Gone).await?;
    }
    Ok(Taken {
        compare: Compare::Absent(keys::group_lease(&ctx.plan.group)),
        delete: None,
    })
}

/// Looks at the lease, at the proof and at the zone, in this order: what can change soonest is looked at last.
pub(super) async fn revoked(
    ctx: &Context<'_>,
    from: &ZoneName,
    generation: Generation,
) -> Result<Taken> {
    let key = keys::group_lease(&ctx.plan.group);
    let taken = match ctx.lead.store().get(&key).await? {
        // It ended by itself meanwhile.
        None => Taken {
            compare: Compare::Absent(key),
            delete: None,
        },
        Some(kv) => {
            let lease: LeaseRecord = kv.json()?;
            if lease.zone != *from || lease.generation != generation {
                return Err(StepError::refused(format!(
                    "{} holds the lease of generation {}, and this plan takes that of generation {generation} from {from}",
                    lease.zone, lease.generation
                )));
            }
            Taken {
                compare: Compare::ModRevision(key.clone(), kv.mod_revision),
                delete: Some(Op::Delete { key }),
            }
        }
    };
    match &ctx.plan.proof {
        Some(Proof::FenceAgent { agent }) => fenced(ctx, agent, from).await?,
        Some(Proof::Vouched { .. }) => {}
        Some(Proof::LeaseExpired { .. }) | None => {
            return Err(StepError::refused(
                "nothing proves that the zone's clients cannot write: its lease is not taken from it",
            ));
        }
    }
    let lease = OldLease::Revoked { from: from.clone() };
    stands(ctx, &lease).await?;
    Ok(taken)
}

/// The agent confirms it, now.
async fn fenced(ctx: &Context<'_>, agent: &str, from: &ZoneName) -> Result<()> {
    match fence::confirmed(ctx, agent, from).await {
        // A fence is nothing that has to be put back.
        Err(StepError::Failed { why, left: _ }) => Err(StepError::Failed {
            why,
            left: Left::Nothing,
        }),
        end => end,
    }
}

/// The rest of it, as it is seen now.
async fn stands(ctx: &Context<'_>, lease: &OldLease) -> Result<()> {
    let group = &ctx.plan.group;
    let mut outlook = ctx.assembler.outlook(group).await?;
    let sight = lease::sight(ctx).await?;
    if let Some(view) = outlook.groups.get_mut(group) {
        view.lease = sight;
    }
    match standing(&outlook, ctx.plan, lease) {
        Standing::Stands => Ok(()),
        Standing::NotNow(why) => Err(StepError::NotNow(why)),
        Standing::Over(why) => Err(StepError::refused(why)),
    }
}
