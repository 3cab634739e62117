//! Whether a group's servers may be worked on: as the round read it, and again before and during each act.

use super::ServersKeeper;
use crate::{
    coordination::{Lead, LeadError},
    world::{GroupRecords, Stored},
};
use rekindle_common::{Generation, GroupName, PlanId, ZoneName, keys, lease::PrimaryRecord};
use rekindle_core::plan::{Plan, PlanKind};
use rekindle_store::{Compare, Revision, StoreError, Txn};
use tokio::time::sleep;

/// A group that may be worked on, and by what that is known.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub group: GroupName,
    /// Where its servers serve.
    pub primary: ZoneName,
    /// Where they stand by.
    pub other: ZoneName,
    /// Its home.
    pub home: ZoneName,
    /// What orders are given under.
    pub generation: Generation,
    /// The primary's record as it was read.
    revision: Revision,
    /// The plan at work, that starts nothing in the other zone: a failover that has recorded this primary, or the reprotect after it. The other zone is
    /// the one that was lost. What its hypervisors start there is held, and nothing else is done: a failover does not, and may wait for a person;
    /// a reprotect holds what it can see at its beginning, and waits for copies for a day (hard case 50).
    pub only_holds: Option<PlanId>,
}

impl Ground {
    /// # Errors
    /// Why it may not be worked on, in words.
    pub(super) fn of(
        name: &GroupName,
        group: &GroupRecords,
        plan: Option<&Plan>,
        maintenance: bool,
    ) -> Result<Self, String> {
        if maintenance {
            return Err("maintenance: nothing is followed".to_owned());
        }
        let Some(primary) = &group.primary else {
            return Err("the group's primary is not recorded yet".to_owned());
        };
        let spec = &group.spec;
        let zone = &primary.value.zone;
        let only_holds = match &group.active_plan {
            None => None,
            Some(id) if plan.is_some_and(|p| p.id == *id && starts_nothing(p, primary)) => {
                Some(id.clone())
            }
            Some(id) => return Err(format!("plan {id} is at work on the group")),
        };
        let other = if *zone == spec.home {
            &spec.away
        } else {
            &spec.home
        };
        Ok(Self {
            group: name.clone(),
            primary: zone.clone(),
            other: other.clone(),
            home: spec.home.clone(),
            generation: primary.value.generation,
            revision: primary.revision,
            only_holds,
        })
    }

    /// A transaction that holds only while all of it is still so, and no plan is at work.
    pub(super) fn txn(&self) -> Txn {
        Txn::new()
            .when(Compare::ModRevision(
                keys::group_primary(&self.group),
                self.revision,
            ))
            .when(Compare::Absent(keys::group_active_plan(&self.group)))
            .when(Compare::Absent(keys::MAINTENANCE.to_owned()))
    }

    /// Whether it may still be worked on.
    ///
    /// # Errors
    /// [`LeadError::Lost`]; [`LeadError::Store`] where etcd does not say.
    pub(super) async fn holds(&self, lead: &Lead) -> Result<bool, LeadError> {
        lead.check()?;
        let store = lead.store();
        let (group_primary, active) = (
            keys::group_primary(&self.group),
            keys::group_active_plan(&self.group),
        );
        let read = async {
            let (primary, plan, maintenance) = tokio::try_join!(
                store.get(&group_primary),
                store.get(&active),
                store.get(keys::MAINTENANCE)
            )?;
            let same = primary.is_some_and(|kv| kv.mod_revision == self.revision);
            let plan: Option<PlanId> = plan.map(|kv| kv.json()).transpose()?;
            Ok::<_, StoreError>(same && plan == self.only_holds && maintenance.is_none())
        };
        let holds = read.await.map_err(LeadError::Store)?;
        lead.check()?;
        Ok(holds)
    }

    /// Returns once it may not be worked on any more: somebody else has begun to.
    pub(super) async fn lost(&self, keeper: &ServersKeeper, lead: &Lead) -> Option<LeadError> {
        loop {
            sleep(keeper.timing.watch).await;
            match self.holds(lead).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => return Some(e),
            }
        }
    }
}

/// Whether it starts nothing in the zone that is not primary: a failover that has recorded its own as that, and a reprotect.
fn starts_nothing(plan: &Plan, primary: &Stored<PrimaryRecord>) -> bool {
    match plan.kind {
        PlanKind::Failover | PlanKind::Reprotect => plan.to == primary.value.zone,
        PlanKind::Move | PlanKind::Failback | PlanKind::Resume => false,
    }
}
