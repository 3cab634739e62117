//! A person's word on a group: which trouble it is about, and when it is over.
//!
//! A word stands until a plan uses it up, and for the generation that it was given for. Both may last for months: nothing began on it, and
//! then its trouble passed. So it counts only in the trouble that it was given in ([`Case::of_this_trouble`]), and where all is well again the leader
//! takes it away ([`outlived`]). The first alone would lose nothing but the second's certainty: it rests on what is seen now.

use super::{Case, protect};
use crate::detector::Diagnosis;
use crate::snapshot::{Approval, Approved, LeaseSight, LossAccepted, Snapshot};
use crate::standing::{since, trouble};
use jiff::Timestamp;
use rekindle_common::{GroupName, PlanId, duration::Span, lease::LeaseView};

/// By so much a word may be later than the look that it counts in: it was read after the look began, or another orchestrator took it, by its own clock.
/// A word of more than that is by a clock that was wrong. When it was given is not known, and it would count in each trouble until its time has come.
const AHEAD_AT_MOST: Span = Span::secs(5);

impl Case<'_> {
    /// Whether the word was given in the trouble that the primary's zone is in now, as far back as that can be seen: since a majority sees
    /// something of it down, or since its lease is gone, and a little before. Not later than now either.
    pub(super) fn of_this_trouble(&self, word: &Approval) -> bool {
        let lasted = trouble(self.snapshot, self.view, &self.primary.zone);
        let until = self
            .snapshot
            .reference_time
            .checked_add(AHEAD_AT_MOST.get());
        since(self.snapshot, word.at, lasted) && until.is_ok_and(|until| word.at <= until)
    }

    /// A person's yes to a failover in this trouble, and what loss it accepts.
    pub(super) fn failover_approved(&self) -> Option<LossAccepted> {
        let word = self.view.approval.as_ref()?;
        match self.approved()? {
            Approved::Failover { loss, .. } => self.of_this_trouble(word).then_some(*loss),
            Approved::Reprotect | Approved::Failback => None,
        }
    }

    /// When a yes to a failover was given that is not about this trouble.
    pub(super) fn approved_before(&self) -> Option<Timestamp> {
        let word = self.view.approval.as_ref()?;
        match self.approved()? {
            Approved::Failover { .. } => (!self.of_this_trouble(word)).then_some(word.at),
            Approved::Reprotect | Approved::Failback => None,
        }
    }
}

/// Whether the group's approval was for something that is over: the zone that it would fail over serves as it should, or the copies that
/// it would discard are in step, or the group is at a later generation.
///
/// Whoever asks waits until this has been so for a while: a word may be given in the seconds in which its trouble is not fully seen. One on a way home is
/// never over, for that begins when all is well; nor is one while a plan is at work, which may be what it is about; nor where the zone
/// is back from an isolation, for any yes lets it go on there.
#[must_use]
pub fn outlived(snapshot: &Snapshot, group: &GroupName) -> bool {
    let Some(view) = snapshot.groups.get(group) else {
        return false;
    };
    if view.active_plan.is_some() {
        return false;
    }
    // No plan comes of it.
    let Ok(id) = PlanId::new("none") else {
        return false;
    };
    let Ok(case) = Case::of(snapshot, view, id) else {
        return false;
    };
    let Some(what) = case.approved() else {
        // Given for a generation that the group has left behind, it counts for nothing any more.
        let word = view.approval.as_ref();
        return word.is_some_and(|a| a.generation < case.primary.generation);
    };
    match what {
        Approved::Failover { .. } => serves(&case),
        Approved::Reprotect => serves(&case) && protect::in_step(&case),
        Approved::Failback => false,
    }
}

/// The recorded zone is well, holds the lease by etcd's word and by its own, and its images are primary. Of two sidecars the one that is asked may stand
/// by: it is not its word then that the zone does not hold it.
fn serves(case: &Case<'_>) -> bool {
    let zone = &case.primary.zone;
    let held = match &case.view.lease {
        LeaseSight::Held(l) => l.zone == *zone && l.generation == case.primary.generation,
        LeaseSight::Gone { .. } => false,
    };
    let serves = match case.lease_view(zone) {
        Some(LeaseView::Held { generation, .. }) => generation == case.primary.generation,
        Some(LeaseView::NotHeld) => true,
        Some(LeaseView::KeptByFailsafe { .. } | LeaseView::Isolated { .. }) | None => false,
    };
    held && serves && case.diagnose(zone) == Diagnosis::Healthy && protect::all_primary(case)
}
