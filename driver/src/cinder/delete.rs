//! A volume is deleted in Cinder: what becomes of its two images is its policy's to say (hard case 32).
//!
//! ```text
//!   refuse       -> no, and why
//!   delete:0s    -> once the other zone's daemon follows it, proceed: Cinder's own driver removes the image, and that daemon its copy
//!   delete:SPAN  -> marked; the loop below removes it when its time has come
//!   keep         -> mark (with its group) -> leave that -> demote -> promote in the other zone -> Cinder is answered
//!                     -> (loop) once this zone's daemon follows the other: mirroring off there -> the daemon removes this image
//!   a copy       -> its record alone goes
//! ```
//!
//! With `--purge` Cinder deletes the snapshots first, each by itself, and is told before the first whether the volume would follow.
//!
//! Everything looks before it acts, so a call that died in its middle goes on where it stopped: when it is made again, and past
//! the promotion by the loop alone. A keeping that fails before the demotion is taken back: Cinder has the volume again, and a mark
//! that stayed would speak of one that is in use. Mirroring is not taken off before this zone follows: a daemon that has never seen the
//! other zone as primary takes its image for an orphan and leaves it for ever (seen in both modes).

mod rules;

use super::{
    Cinder,
    failover::order,
    health::Health,
    rules::is_theirs,
    sides::Side,
    wire::{DeleteAnswer, DeleteRequest, DeleteStep, Deleted},
};
use crate::replication::KEEPING;
use rekindle_common::{
    ApiError, DemotionToken, ErrorCode, GroupName, ImageSpec,
    action::{ActionOutcome, Promotion, VolumeAction},
    deletion::After,
    volume::{Role, VolumeReport},
};
use rules::{Keep, Verdict};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Between two looks at what changes by itself.
const POLL: Duration = Duration::from_millis(200);
/// How long Cinder's own deletion waits for the other zone's daemon. Seen: 3 to 6 s behind a promotion, some 30 under load.
const FOLLOWED: Duration = Duration::from_secs(20);
/// How long a keeping that failed is tried to be taken back for.
const TAKE_BACK: Duration = Duration::from_secs(5);
/// Between two rounds of the loop.
const ROUND: Duration = Duration::from_secs(5);

impl Cinder {
    /// Carries it out, or says what Cinder is to do.
    ///
    /// # Errors
    /// [`ApiError`]: refused, and the volume stays: `held` (the policy, or the other zone is not ready to take over), `frozen`,
    /// `busy`, `has_clones`. Or it has no end yet, and is to be asked for again.
    pub async fn delete(&self, request: DeleteRequest) -> Result<DeleteAnswer, ApiError> {
        let this = self.clone();
        self.in_background(async move {
            let side = this.side(request.backend.as_deref())?;
            let by = Instant::now() + this.inner.limits.call_time.get();
            let image = &request.volume.image;
            this.may_change(side, by).await?;
            let here = match side.volume(image, by).await {
                Ok(report) => report,
                // Gone already, or handed over by a former call.
                Err(e) if e.code == ErrorCode::UnknownVolume => {
                    return Ok(answer(Deleted::Proceed, "there is no such image"));
                }
                Err(e) => return Err(e),
            };
            let home = this.inner.own.zone();
            if side.zone() != home && is_theirs(&request.volume, here.cinder.as_ref(), home) {
                // Cinder's service is failed over to where it is in use: by this record it is not to go there.
                let text = format!(
                    "it is {}'s own volume, and goes when that Cinder deletes it",
                    side.zone()
                );
                return Ok(answer(Deleted::RecordAlone, &text));
            }
            let verdict = rules::verdict(&here, side.zone())?;
            match request.step {
                DeleteStep::SnapshotsFirst => {
                    return this.would_delete(side, image, verdict, by).await;
                }
                DeleteStep::Volume => {}
            }
            match verdict {
                Verdict::Proceed => {
                    followed(side, here, by).await;
                    Ok(answer(Deleted::Proceed, "both zones' images go now"))
                }
                Verdict::RecordAlone => Ok(a_copys_record(side)),
                Verdict::Schedule { after } => {
                    let then = After::Delete { after };
                    let marked = one(side, image, VolumeAction::MarkDeleted { then }, by).await?;
                    let due = marked.report.deletion.as_ref().and_then(|d| d.due());
                    let words = marked.report.deletion.map(|d| d.in_words());
                    Ok(DeleteAnswer {
                        due,
                        ..answer(Deleted::Scheduled, &words.unwrap_or_default())
                    })
                }
                Verdict::Keep => this.keep(side, image, by).await,
            }
        })
        .await
    }

    /// Whether the volume's deletion would end in this call, for its snapshots go before it and do not come back. Changes nothing.
    async fn would_delete(
        &self,
        from: &Side,
        image: &ImageSpec,
        verdict: Verdict,
        by: Instant,
    ) -> Result<DeleteAnswer, ApiError> {
        match verdict {
            Verdict::Proceed => Ok(answer(Deleted::Proceed, "both zones' images would go")),
            Verdict::RecordAlone => Ok(a_copys_record(from)),
            Verdict::Schedule { after } => Err(ApiError::new(
                ErrorCode::Held,
                format!(
                    "by its policy it goes after {after}, and can be undeleted until then, which its snapshots cannot: delete them first, by themselves"
                ),
            )),
            Verdict::Keep => {
                let to = self.ready_to_keep(from, by).await?;
                self.keep_step(from, to, image, by).await?;
                let text = format!("{} would keep it", to.zone());
                Ok(answer(Deleted::RemovedByUs, &text))
            }
        }
    }

    /// Hands the volume over to the other zone. Where that fails before the demotion, it is a volume as before.
    async fn keep(
        &self,
        from: &Side,
        image: &ImageSpec,
        by: Instant,
    ) -> Result<DeleteAnswer, ApiError> {
        match self.hand_over(from, image, by).await {
            Ok(answer) => Ok(answer),
            Err(failed) => Err(take_back(from, image, failed).await),
        }
    }

    /// Up to where nothing can be lost any more.
    async fn hand_over(
        &self,
        from: &Side,
        image: &ImageSpec,
        by: Instant,
    ) -> Result<DeleteAnswer, ApiError> {
        let to = self.ready_to_keep(from, by).await?;
        let done = || {
            let text = format!(
                "{} has all of it as a plain volume; {}'s image goes",
                to.zone(),
                from.zone()
            );
            answer(Deleted::RemovedByUs, &text)
        };
        loop {
            let Some(step) = self.keep_step(from, to, image, by).await? else {
                return Ok(done());
            };
            match step {
                Keep::Gone | Keep::Wait | Keep::Unmirror => return Ok(done()),
                Keep::Over => return Ok(a_copys_record(from)),
                Keep::LeaveGroup { mode } => {
                    let action = VolumeAction::Replicate {
                        mode,
                        group: None,
                        leave_group: true,
                        anew: false,
                        cinder: None,
                    };
                    one(from, image, action, by).await?;
                }
                Keep::Mark { group } => {
                    let then = After::Keep {
                        from: from.zone().clone(),
                        group,
                    };
                    one(from, image, VolumeAction::MarkDeleted { then }, by).await?;
                }
                Keep::Demote => {
                    let token = Some(super::token(KEEPING)?);
                    one(from, image, VolumeAction::Demote { token }, by).await?;
                }
                Keep::Promote { token } => promote(to, image, token, by).await?,
            }
        }
    }

    /// The other zone, where it can take a volume over now. Asked before anything is changed.
    async fn ready_to_keep(&self, from: &Side, by: Instant) -> Result<&Side, ApiError> {
        let held = |text: String| Err(ApiError::new(ErrorCode::Held, text));
        let Some(to) = self.inner.other_than(from) else {
            return held(
                "it is to be kept in the other zone, and this sidecar knows none: give it a [peer]"
                    .into(),
            );
        };
        match to.health() {
            Health::Writes => {}
            Health::Dead { .. } | Health::Unknown => {
                return held(format!(
                    "it is to be kept in {}, whose cluster takes no writes now: delete it when that is back",
                    to.zone()
                ));
            }
        }
        if let Some(reason) = to.frozen(by).await? {
            return Err(ApiError::new(
                ErrorCode::Frozen,
                format!(
                    "it is to be kept in {}, which is frozen: {reason}",
                    to.zone()
                ),
            ));
        }
        Ok(to)
    }

    /// What is to be done next; `None`: all is done, and both images were looked at.
    async fn keep_step(
        &self,
        from: &Side,
        to: &Side,
        image: &ImageSpec,
        by: Instant,
    ) -> Result<Option<Keep>, ApiError> {
        let (left, kept) = tokio::join!(look(from, image, by), look(to, image, by));
        match rules::keep(left?.as_ref(), kept?.as_ref(), from.zone(), to.zone())? {
            Keep::Gone => Ok(None),
            step @ (Keep::LeaveGroup { .. }
            | Keep::Mark { .. }
            | Keep::Demote
            | Keep::Promote { .. }
            | Keep::Wait
            | Keep::Unmirror
            | Keep::Over) => Ok(Some(step)),
        }
    }

    /// Whether anything in a zone may change now.
    pub(super) async fn may_change(&self, side: &Side, by: Instant) -> Result<(), ApiError> {
        if let Some(reason) = side.frozen(by).await? {
            return Err(ApiError::new(
                ErrorCode::Frozen,
                format!("{} is frozen: {reason}", side.zone()),
            ));
        }
        if self.inner.is_moving() {
            return Err(ApiError::new(
                ErrorCode::Busy,
                "a failover is at work: try again when it has ended",
            ));
        }
        Ok(())
    }

    /// Until `stop`: ends what deletions in this zone have begun.
    pub(super) async fn end_deletions(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = async {
                    sleep(ROUND).await;
                    self.inner.own.calm().await;
                } => {}
            }
            if self.inner.own.health() == Health::Writes
                && let Err(e) = self.end_deletions_once().await
            {
                tracing::debug!(zone = %self.inner.own.zone(), error = %e, "deletions could not be looked for");
            }
        }
    }

    pub(super) async fn end_deletions_once(&self) -> Result<(), ApiError> {
        let own = &self.inner.own;
        let by = Instant::now() + self.inner.limits.call_time.get();
        if self.may_change(own, by).await.is_err() {
            return Ok(());
        }
        let listed = own.list(by).await?;
        for report in listed.values().filter(|r| r.deletion.is_some()) {
            if let Err(e) = self.end_deletion(report, by).await {
                tracing::warn!(volume.id = %report.volume, zone = %own.zone(), code = %e.code, error = %e.message, "the volume's deletion has not ended; going on");
            }
        }
        Ok(())
    }

    /// One volume's, as far as it gets.
    async fn end_deletion(&self, report: &VolumeReport, by: Instant) -> Result<(), ApiError> {
        let own = &self.inner.own;
        let image = &report.volume;
        let Some(mark) = &report.deletion else {
            return Ok(());
        };
        match (&mark.then, report.role) {
            (After::Delete { .. }, Role::Primary) => own.remove_due(image, by).await,
            (After::Keep { from, .. }, Role::Secondary) if from == own.zone() => {
                let to = self.ready_to_keep(own, by).await?;
                match self.keep_step(own, to, image, by).await? {
                    Some(Keep::Promote { token }) => promote(to, image, token, by).await,
                    Some(Keep::Unmirror) => {
                        one(to, image, VolumeAction::Unreplicate, by).await?;
                        tracing::info!(volume.id = %image, zone = %to.zone(), "kept as a plain volume; its image in the zone that deleted it goes");
                        Ok(())
                    }
                    // Before the demotion it is Cinder's call, made again, that goes on; and a volume that was moved is none of ours.
                    Some(
                        Keep::LeaveGroup { .. }
                        | Keep::Mark { .. }
                        | Keep::Demote
                        | Keep::Wait
                        | Keep::Over
                        | Keep::Gone,
                    )
                    | None => Ok(()),
                }
            }
            (
                After::Delete { .. } | After::Keep { .. },
                Role::Primary | Role::Secondary | Role::NotMirrored | Role::Unknown,
            ) => Ok(()),
        }
    }
}

fn a_copys_record(side: &Side) -> DeleteAnswer {
    answer(
        Deleted::RecordAlone,
        &format!(
            "it is a copy in {}: its image goes when its primary goes",
            side.zone()
        ),
    )
}

fn answer(outcome: Deleted, message: &str) -> DeleteAnswer {
    DeleteAnswer {
        outcome,
        message: message.to_owned(),
        due: None,
    }
}

/// Until the other zone's daemon follows this primary, or shows that it does not. Behind a promotion it is about to, and where the primary goes in
/// that moment it leaves its copy there for ever (seen on 16.2.15: `failed to retrieve remote tags`, and no second try). That it would be left is
/// no reason to refuse: the catalogue lists it as an orphan.
async fn followed(side: &Side, mut here: VolumeReport, by: Instant) {
    let until = by.min(Instant::now() + FOLLOWED);
    while rules::is_about_to_follow(&here) {
        if Instant::now() + POLL >= until {
            tracing::warn!(volume.id = %here.volume, zone = %side.zone(), "deleted before the other zone's mirror daemon follows it: its copy may stay there");
            return;
        }
        sleep(POLL).await;
        match side.volume(&here.volume, until).await {
            Ok(report) => here = report,
            Err(_) => return,
        }
    }
}

/// What a zone says of it; `None`: it has no such image.
async fn look(
    side: &Side,
    image: &ImageSpec,
    by: Instant,
) -> Result<Option<VolumeReport>, ApiError> {
    match side.volume(image, by).await {
        Ok(report) => Ok(Some(report)),
        Err(e) if e.code == ErrorCode::UnknownVolume => Ok(None),
        Err(e) => Err(ApiError {
            message: format!(
                "{} does not say how the volume is: {}",
                side.zone(),
                e.message
            ),
            ..e
        }),
    }
}

/// Takes the mark of a keeping away that failed while the volume is still primary here, and puts it back into its group. Once it is
/// demoted there is nothing to take back: the keeping goes on. The answer is why it failed, and what is left of it.
async fn take_back(from: &Side, image: &ImageSpec, failed: ApiError) -> ApiError {
    let by = Instant::now() + TAKE_BACK;
    let stays = |group: Option<&GroupName>, why: &str| ApiError {
        message: format!(
            "{}. It may still be marked as deleted{} ({why}): if it is still primary in {}, `rekindle volume undelete {image}` takes that back",
            failed.message,
            group.map_or_else(String::new, |g| format!(", and out of its group {g}")),
            from.zone()
        ),
        ..failed.clone()
    };
    let here = match look(from, image, by).await {
        Ok(Some(here)) => here,
        Ok(None) => return failed,
        Err(e) => return stays(None, &e.message),
    };
    let group = rules::group_left(&here);
    match here.role {
        Role::Primary if rules::is_kept_from(&here, from.zone()) => {}
        Role::Primary | Role::Secondary | Role::NotMirrored => return failed,
        Role::Unknown => return stays(group, "its cluster does not answer"),
    }
    loop {
        match one(from, image, VolumeAction::Undelete, by).await {
            Ok(_) => {
                tracing::warn!(volume.id = %image, zone = %from.zone(), code = %failed.code, error = %failed.message, "it could not be handed over to the other zone: its deletion is taken back");
                return failed;
            }
            // The demotion took effect after all.
            Err(e) if e.code == ErrorCode::NotPrimary => return failed,
            // What kept it from being handed over may be in flight still.
            Err(e) if e.code == ErrorCode::Busy && Instant::now() + POLL < by => sleep(POLL).await,
            Err(e) => return stays(group, &e.message),
        }
    }
}

/// One order, and its end.
async fn one(
    side: &Side,
    image: &ImageSpec,
    action: VolumeAction,
    by: Instant,
) -> Result<ActionOutcome, ApiError> {
    let mut ends = side.batch(vec![order(image, action)], by).await;
    ends.remove(image).unwrap_or_else(|| {
        Err(ApiError::new(
            ErrorCode::Internal,
            format!("{image} was ordered and has no end"),
        ))
    })
}

/// Promotes once the demotion of that name has arrived with all that was written before it. Never otherwise.
async fn promote(
    to: &Side,
    image: &ImageSpec,
    token: DemotionToken,
    by: Instant,
) -> Result<(), ApiError> {
    loop {
        let action = VolumeAction::Promote {
            promotion: Promotion::After {
                token: token.clone(),
            },
        };
        match one(to, image, action, by).await {
            Ok(_) => return Ok(()),
            // That it left its group arrives with the demotion too. And whoever ends deletions may be promoting it at this moment.
            Err(e)
                if matches!(
                    e.code,
                    ErrorCode::DemotionNotReplayed
                        | ErrorCode::GenerationRequired
                        | ErrorCode::Busy
                ) && Instant::now() + POLL < by =>
            {
                sleep(POLL).await;
            }
            Err(e) => {
                return Err(ApiError {
                    message: format!(
                        "it was demoted and {} does not have all of it yet: delete it again to go on ({})",
                        to.zone(),
                        e.message
                    ),
                    ..e
                });
            }
        }
    }
}
