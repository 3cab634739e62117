//! Taking the lease from a zone whose Ceph is lost: what has to be so for it, and what of it belongs into the record's transaction.
//!
//! It is no step of its own. Between a lease that is taken away and another zone's record, the zone's sidecar would find its key gone
//! and put it back, as it does after an outage of etcd; and a leader that found the key gone under the old record would count the
//! margin from there, and take the end of that lease for a demotion. In one transaction with the record there is no between.

use super::{Context, Result, StepError, fence};
use rekindle_common::{Generation, ZoneName, keys, lease::LeaseRecord};
use rekindle_core::{
    plan::Proof,
    revoke::{Revocation, revocation},
    saga::Left,
};
use rekindle_store::{Compare, Op};

/// What the transaction compares of the lease, and what it does with it.
pub(super) struct Taken {
    pub(super) compare: Compare,
    pub(super) delete: Option<Op>,
}

/// Looks at the lease, at the proof and at the zone, in this order: what can change soonest is looked at last.
pub(super) async fn prepare(
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
    proven_now(ctx, from).await?;
    seen_now(ctx, from).await?;
    Ok(taken)
}

/// The plan's proof, as of now.
async fn proven_now(ctx: &Context<'_>, from: &ZoneName) -> Result<()> {
    match &ctx.plan.proof {
        Some(Proof::FenceAgent { agent }) => match fence::confirmed(ctx, agent, from).await {
            // A fence is nothing that has to be put back.
            Err(StepError::Failed { why, left: _ }) => Err(StepError::Failed {
                why,
                left: Left::Nothing,
            }),
            end => end,
        },
        Some(Proof::Vouched { .. }) => Ok(()),
        Some(Proof::LeaseExpired { .. }) | None => Err(StepError::refused(
            "nothing proves that the zone's clients cannot write: its lease is not taken from it",
        )),
    }
}

async fn seen_now(ctx: &Context<'_>, from: &ZoneName) -> Result<()> {
    let outlook = ctx.assembler.outlook(&ctx.plan.group).await?;
    match revocation(&outlook, &ctx.plan.group, from) {
        Revocation::Stands => Ok(()),
        Revocation::NotNow(why) => Err(StepError::NotNow(why)),
        Revocation::Over(why) => Err(StepError::refused(why)),
    }
}
