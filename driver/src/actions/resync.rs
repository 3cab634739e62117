//! Before a resync: what it gives up is measured, and both are recorded.

use super::Inner;
use crate::{
    backend::{BackendError, Deadlines, Session},
    replication::{LastResync, Look, Step},
};
use rekindle_common::{
    ImageSpec, ResyncToken,
    given_up::{GivenUp, Written},
};
use tokio::time::Instant;

impl Inner {
    /// Records the resync that is about to be done, with what it gives up. Where it was done before, that is what was recorded then.
    ///
    /// Recorded before anything else: with the image id in it, a crash anywhere after leaves a record that tells whether the image was
    /// already made anew.
    pub(super) async fn about_to_resync(
        &self,
        session: &Session,
        look: &Look,
        step: &Step,
        token: &ResyncToken,
        last: Option<LastResync>,
        d: Deadlines,
    ) -> Result<Option<GivenUp>, BackendError> {
        let last = last.filter(|l| l.token == *token);
        let keep_as = match step {
            Step::Resync { keep_as, .. } => keep_as,
            Step::AlreadySo
            | Step::Enable { .. }
            | Step::SetPolicy { .. }
            | Step::Disable { .. }
            | Step::Promote(_)
            | Step::Demote { .. } => return Ok(last.and_then(|l| l.given_up)),
        };
        let spec = session.spec();
        let before = last
            .filter(|l| l.image_id == look.view.id)
            .and_then(|l| l.given_up);
        let given_up = GivenUp {
            written: self.measured(session, before, d).await,
            kept_as: keep_as.clone(),
        };
        tell(spec, &given_up);
        let record = LastResync {
            token: token.clone(),
            image_id: look.view.id.clone(),
            given_up: Some(given_up.clone()),
        };
        self.records.record_resync(spec, &record, d.answer).await?;
        Ok(Some(given_up))
    }

    /// What was written here since the split. It is a report: what keeps it from being measured keeps nothing else back.
    async fn measured(&self, session: &Session, before: Option<GivenUp>, d: Deadlines) -> Written {
        match before.map(|b| b.written) {
            // An earlier try of the same resync. Nothing was written since: the image is demoted.
            Some(known @ Written::Measured { .. }) => return known,
            Some(Written::Unknown { .. }) | None => {}
        }
        let now = Instant::now();
        // The order is to be answered in time, and there is more to do than this.
        let half = now + d.answer.saturating_duration_since(now) / 2;
        let by = self.in_(self.limits.measure).min(half);
        match session.written_since_split(by).await {
            Ok(written) => written,
            Err(e) => Written::unknown(e.to_string()),
        }
    }
}

/// Said before it is done: with the image goes what was written into it alone.
fn tell(spec: &ImageSpec, given_up: &GivenUp) {
    let written = &given_up.written;
    match &given_up.kept_as {
        _ if written.is_nothing() => {
            tracing::info!(volume.id = %spec, "nothing was written here after the split");
        }
        Some(copy) => {
            tracing::info!(volume.id = %spec, %copy, "written here after the split, and will be kept: {written}");
        }
        None => {
            tracing::warn!(volume.id = %spec, "written here after the split, and will be discarded, as ordered: {written}");
        }
    }
}
