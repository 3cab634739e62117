//! Forgetting a group, and what is kept of its servers.
//!
//! Where this orchestrator follows servers, the keeper comes after the group: it takes away the stand-bys that we built, the records that stand
//! with volumes, and then what is kept in etcd. Where it follows none nobody comes after: what is kept goes with the group, unless it names a
//! server that we built, for then it is the only word of it.

use super::{Result, Term, lead_error};
use rekindle_common::{
    ApiError, ErrorCode, GroupName, keys,
    servers::{Build, KeptServer},
};
use rekindle_store::{Compare, KeyValue, Op, Txn};

/// Records are long: so many are read at once.
const PAGE: u32 = 20;

/// What is kept of a group's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Nothing that anybody would miss.
    Words,
    /// So many servers of which one was built by us, or which cannot be read.
    Builds(usize),
}

impl Term {
    /// Forgets a group. Its primary record stays, so that its generation only grows should it be defined again.
    ///
    /// # Errors
    /// [`ApiError`]; `plan_active`.
    pub async fn delete_group(&self, group: &GroupName) -> Result<()> {
        let world = self.look().await?;
        let records = self.group_of(&world, group)?;
        if let Some(plan) = &records.active_plan {
            return Err(ApiError::new(
                ErrorCode::PlanActive,
                format!("plan {plan} is at work on it"),
            ));
        }
        let spec = keys::group_spec(group);
        let mut txn = Txn::new()
            .when(Compare::ModRevision(spec.clone(), records.spec_revision))
            .when(Compare::Absent(keys::group_active_plan(group)))
            .then(Op::Delete { key: spec });
        for key in [
            keys::group_state(group),
            keys::group_volumes(group),
            keys::group_approval(group),
            keys::group_hooks(group),
            keys::preflight(group),
        ] {
            txn = txn.then(Op::Delete { key });
        }
        let left = if self.means().follows_servers {
            None
        } else {
            match self.kept_of(group).await? {
                Kept::Words => {
                    for prefix in [keys::group_servers(group), keys::group_standbys(group)] {
                        txn = txn.then(Op::DeletePrefix { prefix });
                    }
                    None
                }
                Kept::Builds(count) => Some(count),
            }
        };
        self.lead.txn(txn).await.map_err(lead_error)?;
        tracing::info!(group = %group, "group deleted");
        if let Some(count) = left {
            let at = keys::group_servers(group);
            tracing::warn!(group = %group, "what is kept of {count} of its servers stays at {at}: Rekindle built a server for each, and this orchestrator follows none. One with [catalogue] and [clouds.ZONE] takes them away");
        }
        self.refresh().await;
        Ok(())
    }

    async fn kept_of(&self, group: &GroupName) -> Result<Kept> {
        let prefix = keys::group_servers(group);
        // What came of a build that has not ended is one, too.
        let begun = keys::group_builds(group);
        let begun = self.lead.store().list(&begun, PAGE).await?;
        let mut builds = begun.items.len();
        let mut after: Option<String> = None;
        loop {
            let store = self.lead.store();
            let page = store.list_after(&prefix, after.as_deref(), PAGE).await?;
            after = page.items.last().map(|kv| kv.key.clone());
            let ours = |kept: &KeptServer| kept.instances.values().any(|i| is_ours(i.build));
            // What cannot be read may name one.
            let named = page.items.iter();
            let counts = |kv: &&KeyValue| match kv.json::<KeptServer>() {
                Ok(kept) => ours(&kept),
                Err(_) => true,
            };
            builds += named.filter(counts).count();
            if !page.more || after.is_none() {
                break;
            }
        }
        Ok(match builds {
            0 => Kept::Words,
            n => Kept::Builds(n),
        })
    }
}

fn is_ours(build: Build) -> bool {
    match build {
        Build::Users => false,
        Build::Standby { .. } => true,
    }
}
