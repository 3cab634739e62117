//! A step, done on a backend.

use super::{
    Inner,
    records::{GroupRecord, Seen},
};
use crate::{
    backend::{BackendError, BackendErrorKind, Deadlines, Force, Session},
    replication::{Look, Promote, Refusal, ReplicationError, Step, ends_keeping, plain_refused},
};
use rekindle_common::{DemotionToken, Generation, deletion::Deletion, metadata, volume::Role};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Between two looks for a demotion's name, and behind the first try of a plain promotion.
const REPLAY_POLL: Duration = Duration::from_millis(50);
/// Behind later tries: each reads the image's journal, on the cluster that is to carry the demotion over.
const LONGEST_POLL: Duration = Duration::from_millis(150);

impl Inner {
    /// Does it. Every branch is idempotent: done again after a crash in its middle, it ends the same.
    pub(super) async fn perform(
        &self,
        session: &Session,
        look: &Look,
        step: &Step,
        generation: Option<Generation>,
        d: Deadlines,
    ) -> Result<(), ReplicationError> {
        match step {
            Step::AlreadySo => Ok(()),
            // The policy first: the first mirror snapshot then carries it, and a crash in between is seen as
            // "error - not mirrored" rather than as a volume without a policy.
            Step::Enable {
                mode,
                set,
                remove,
                anew,
            } => {
                session.set_metadata(set, remove, d).await?;
                if *anew {
                    session.disable(d).await?;
                }
                let enabled = session.enable(*mode, d).await;
                // Who was told before that it is replicated has to see that it is not.
                let is_new = look.policy.is_none() && look.policy_fault.is_none();
                if let Err(e) = &enabled
                    && e.kind != BackendErrorKind::Deadline
                    && is_new
                {
                    let keys: Vec<&str> = set.keys().map(String::as_str).collect();
                    if let Err(undo) = session.set_metadata(&BTreeMap::new(), &keys, d).await {
                        tracing::warn!(volume.id = %session.spec(), error = %undo, "the policy of a volume whose replication failed could not be removed");
                    }
                }
                Ok(enabled?)
            }
            Step::SetPolicy {
                set,
                remove,
                snapshot,
            } => {
                if !set.is_empty() || !remove.is_empty() {
                    session.set_metadata(set, remove, d).await?;
                }
                if *snapshot {
                    session.mirror_snapshot(d).await?;
                }
                Ok(())
            }
            Step::Disable { mirrored } => {
                if *mirrored {
                    session.disable(d).await?;
                }
                let keys = [
                    metadata::MODE,
                    metadata::START,
                    metadata::INTERVAL,
                    metadata::GROUP,
                    metadata::CINDER,
                    metadata::SERVER,
                    metadata::ON_DELETE,
                    metadata::DELETED,
                ];
                Ok(session.set_metadata(&BTreeMap::new(), &keys, d).await?)
            }
            Step::Promote(how) => self.promote(session, look, how, generation, d).await,
            Step::Demote { token } => Ok(session.demote(token.as_ref(), d).await?),
            // Recorded and measured by `about_to_resync`, before anything else.
            Step::Resync { token: _, keep_as } => {
                let spec = session.spec();
                if let Some(to) = keep_as {
                    self.keep_copy(spec, look.view.size, to, d).await?;
                }
                // Measuring and copying may have taken long: the peer must be primary and well *now* (hard case 18).
                let now = self.understand(session.look(d.abandon).await?);
                if !now.peer_is_primary_and_well(self.clock.now()) {
                    return Err(Refusal::PeerNotPrimary {
                        why: "the other zone ceased to be primary while what is given up was measured and kept",
                    }
                    .into());
                }
                // So must the order: the zone may have been given a newer one in that time.
                let group = look.policy.as_ref().and_then(|p| p.group.as_ref());
                if let (Some(group), Some(generation)) = (group, generation) {
                    self.records
                        .check(group, generation, Seen::Order, d.abandon)
                        .await?;
                }
                session.resync(d).await?;
                self.hints().entry(spec.clone()).or_default().resync_id =
                    Some(look.view.id.clone());
                Ok(())
            }
        }
    }

    /// A demotion takes some 0.3 s to arrive: asked for at once, a plain promotion waits for that.
    async fn promote_when_due(&self, session: &Session, d: Deadlines) -> Result<(), BackendError> {
        let give_up = d.answer.min(self.in_(self.limits.replay_wait));
        let mut pause = REPLAY_POLL;
        loop {
            match session.promote(Force::No, d).await {
                Err(e)
                    if e.kind == BackendErrorKind::PeerPrimaryOrDemotionPending
                        && Instant::now() + pause < give_up =>
                {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 3 / 2).min(LONGEST_POLL);
                }
                other => return other,
            }
        }
    }

    /// Until the demotion of that name shows here, for as long as one takes to arrive (hard case 57).
    ///
    /// What shows has been replayed with all that was written before it. A plain promotion that succeeds after that is one of
    /// a copy that has replayed the demotion itself: a copy that follows a primary is refused by librbd.
    async fn arrived(
        &self,
        session: &Session,
        before: &Look,
        token: &DemotionToken,
        d: Deadlines,
    ) -> Result<Look, ReplicationError> {
        let give_up = d.answer.min(self.in_(self.limits.replay_wait));
        let name = token.to_string();
        // A whole look each time, of all that wait, would take the cluster's time from the daemon that is waited for.
        while session
            .metadata(metadata::DEMOTION_TOKEN, d.answer)
            .await?
            .as_ref()
            != Some(&name)
            && Instant::now() + REPLAY_POLL < give_up
        {
            tokio::time::sleep(REPLAY_POLL).await;
        }
        let look = self.understand(session.look_again(&before.view, d.answer).await?);
        match look.role {
            Role::Secondary if look.demotion.as_ref() == Some(token) => Ok(look),
            Role::Secondary | Role::Primary | Role::NotMirrored | Role::Unknown => {
                Err(Refusal::DemotionNotReplayed.into())
            }
        }
    }

    async fn promote(
        &self,
        session: &Session,
        look: &Look,
        how: &Promote,
        generation: Option<Generation>,
        d: Deadlines,
    ) -> Result<(), ReplicationError> {
        let mut metadata = look.view.metadata.clone();
        let refused = |e: &BackendError| e.kind == BackendErrorKind::PeerPrimaryOrDemotionPending;
        let forced = match how {
            Promote::Plain => match self.promote_when_due(session, d).await {
                Ok(()) => None,
                Err(e) if refused(&e) => {
                    let after = self.understand(session.look(d.answer).await?);
                    return Err(plain_refused(&after).into());
                }
                Err(e) => return Err(e.into()),
            },
            Promote::After { token } => {
                if look.demotion.as_ref() != Some(token) {
                    // What came with the demotion is the other zone's last word, on this too.
                    let now = self.arrived(session, look, token, d).await?;
                    metadata = now.view.metadata;
                }
                match self.promote_when_due(session, d).await {
                    Ok(()) => None,
                    Err(e) if refused(&e) => return Err(Refusal::DemotionNotReplayed.into()),
                    Err(e) => return Err(e.into()),
                }
            }
            // Force was ordered for this very volume; the plain try only spares it where it is not needed.
            Promote::PlainElseForce {
                reason,
                accept_torn,
            } => match session.promote(Force::No, d).await {
                Ok(()) => None,
                Err(e) if refused(&e) => {
                    session.promote(by_force(*accept_torn), d).await?;
                    Some(reason)
                }
                Err(e) => return Err(e.into()),
            },
            Promote::Force {
                reason,
                accept_torn,
            } => {
                session.promote(by_force(*accept_torn), d).await?;
                Some(reason)
            }
        };
        let spec = session.spec();
        let now = self.clock.now();
        self.hints().entry(spec.clone()).or_default().promoted_at = Some(now);
        let mut set = BTreeMap::new();
        let mut past = notes_of_the_past(&metadata);
        // The promotion may have taken all of the order's time, and must be noted all the same.
        let d = Deadlines {
            answer: d.answer.max(self.in_(self.limits.look)),
            ..d
        };
        let known = metadata.get(metadata::DELETED).cloned();
        let mark = match how {
            // It was looked at with the demotion's name in it, behind which nothing comes.
            Promote::After { .. } => known,
            // What the other zone said last may have arrived since.
            Promote::Plain | Promote::PlainElseForce { .. } | Promote::Force { .. } => session
                .metadata(metadata::DELETED, d.answer)
                .await
                .unwrap_or(known),
        };
        let mark = mark.and_then(|m| Deletion::from_metadata(&m, spec));
        if let Some(reason) = forced {
            // It may not have arrived either: that its deletion was taken back, too.
            if let Some(mark) = &mark {
                set.insert(metadata::DELETED.to_owned(), mark.in_doubt());
            }
            tracing::warn!(volume.id = %spec, reason, "promoted by force");
            let note = metadata::forced_note(now, generation, reason);
            set.insert(metadata::FORCED.to_owned(), note);
            past.retain(|key| *key != metadata::FORCED);
        } else if let Some(mark) = mark.filter(|m| ends_keeping(m, how, &self.zone)) {
            tracing::warn!(volume.id = %spec, mark = %mark.to_metadata(), "its deletion came to nothing: the mark goes, and where it left a group for it, it is in none");
            // First: where it stays, the demotion's name stays beside it, and tells that it was no keeping's.
            past.insert(0, metadata::DELETED);
        }
        if set.is_empty() && past.is_empty() {
            return Ok(());
        }
        // The promotion stands whether or not its note does; what is left of the past the next look takes away.
        if let Err(e) = session.set_metadata(&set, &past, d).await {
            tracing::warn!(volume.id = %spec, error = %e, "the promotion could not be noted in the metadata");
        }
        Ok(())
    }
}

fn by_force(accept_torn: bool) -> Force {
    if accept_torn {
        Force::EvenTorn
    } else {
        Force::Yes
    }
}

/// What a promotion makes untrue: an earlier force, for the histories are one again; and the last demotion's name. Were it left,
/// a later demotion without a name would pass for that one, and what was written in between for replayed (hard case 57).
fn notes_of_the_past(metadata: &BTreeMap<String, String>) -> Vec<&'static str> {
    [metadata::FORCED, metadata::DEMOTION_TOKEN]
        .into_iter()
        .filter(|key| metadata.contains_key(*key))
        .collect()
}

/// The generation under which this zone last promoted the group, from the record as it was before an order.
pub(super) fn promoted_before(record: Option<&GroupRecord>) -> Option<Generation> {
    record.and_then(|r| r.promoted)
}
