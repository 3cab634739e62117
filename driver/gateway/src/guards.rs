//! The guards: what of Cinder's own requests would break a replicated pair is refused before Cinder sees it.
//!
//! ```text
//!   a request that changes a volume ── asked: what, to which ── does its user see it? who does not: what Cinder says to that
//!     ── names: its image, asked anew for what ends it ── the sidecar: how is it now ── judge
//!     ── it may        ── Cinder
//!     ── it may not    ── 409, and why
//!     └─ unknown       ── Cinder, but for what ends a volume: 503
//! ```
//!
//! Behind it Cinder's driver has guards of its own, and they hold for who comes by another door. But theirs come when Cinder has
//! taken the request: what a user sees then is a volume in `error`.

mod asked;
mod json;
mod judge;
mod place;

use crate::{
    fault::Fault,
    pause::Pause,
    status::{Members, Names, Under},
};
pub(crate) use asked::{Guarded, Illegible, Operation, Target};
use hyper::StatusCode;
pub(crate) use judge::ends_it;
use judge::{Verdict, judge};
pub(crate) use place::{Place, Unclear, is_cinders, renames_its_method};
use rekindle_common::{ErrorCode, ImageSpec, ZoneName, volume::Outlook};
use rekindle_net::SidecarClient;
use rekindle_openstack::each;
use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// For so long a request waits for the names of images that are not known. Longer than a look at volumes does: a Keystone and a Cinder that
/// are slow are no reason to refuse a deletion.
const NAMES: Duration = Duration::from_secs(10);
/// When a refused request may come again.
const AGAIN: u64 = 5;
/// Looks at once, for one request.
const LOOKS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);
/// A guarded request's body is no larger: Cinder's own limit is just below.
pub(crate) const BODY: usize = 128 * 1024;
/// Volumes of a group that are looked at. A larger one is not deleted with them; for all else each volume has the driver's guard.
pub(crate) const GROUP: usize = 1000;

/// What guards.
#[derive(Debug)]
pub(crate) struct Guards {
    names: Names,
    sidecar: SidecarClient,
    peer: Option<ZoneName>,
    pause: Mutex<Pause>,
}

/// How a volume is.
enum Seen {
    Is(Box<Outlook>),
    /// The zone has no such image, or it is no volume of a backend that is replicated here.
    Not,
    Unknown,
}

/// What ends a volume waits until it is known which, and how it is.
pub(crate) fn unknown(why: &str) -> Fault {
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "guard_unknown", why).retry_after(AGAIN)
}

impl Guards {
    /// A look takes no longer than `wait`.
    pub(crate) fn new(
        names: Names,
        sidecar: &SidecarClient,
        peer: Option<ZoneName>,
        wait: Duration,
    ) -> Self {
        Self {
            names,
            sidecar: sidecar.http().with_call_time(wait).into(),
            peer,
            pause: Mutex::default(),
        }
    }

    /// All volumes of one of Cinder's groups, whosever they are.
    pub(crate) async fn members(&self, group: &str) -> Members {
        self.names.in_group(group, GROUP - 1, NAMES).await
    }

    /// Whether that may be done to all of these volumes. The first that says no is told, but of those that the user does not see.
    pub(crate) async fn allow(
        &self,
        asked: &Guarded,
        seen: &[&str],
        unseen: &[&str],
    ) -> Result<(), Fault> {
        let volumes = &[seen, unseen].concat();
        // What ends a volume is not decided by an image that was under it some minutes ago: where it was moved since, that one is another's
        // or is gone, and says nothing of it.
        let under = if ends_it(asked.operation) {
            self.names.anew(volumes, NAMES).await
        } else {
            self.names.of(volumes, NAMES).await
        };
        let how = each(LOOKS, under, async |under| match under {
            Under::Image(image) => self.look(&image).await,
            Under::Elsewhere | Under::Gone => Seen::Not,
            Under::Unknown => Seen::Unknown,
        })
        .await;
        let verdicts: Vec<Verdict> = how
            .into_iter()
            .map(|how| match how {
                Seen::Not => Verdict::Pass,
                Seen::Unknown => Verdict::Unknown,
                Seen::Is(outlook) => judge(asked.operation, &outlook, self.peer.as_ref()),
            })
            .collect();
        // After a failover by Cinder its volumes are copies here, and served from the other zone all the same: there the driver asks. Where
        // Cinder does not say so, a copy it is.
        let is_copy = |verdict: &Verdict| matches!(verdict, Verdict::Copy(_));
        let copies = volumes.iter().zip(&verdicts);
        let copies = copies.filter(|(_, verdict)| is_copy(verdict));
        let copies: Vec<&str> = copies.map(|(volume, _)| *volume).collect();
        let away = self.names.failed_over(&copies, NAMES).await;
        for (n, (volume, verdict)) in volumes.iter().zip(verdicts).enumerate() {
            if !(is_copy(&verdict) && away.contains(*volume)) {
                decide(asked, volume, n < seen.len(), verdict)?;
            }
        }
        Ok(())
    }

    async fn look(&self, image: &ImageSpec) -> Seen {
        if self.pause().holds() {
            return Seen::Unknown;
        }
        let began = Instant::now();
        match self.sidecar.outlook(image).await {
            Ok(outlook) => {
                self.pause().end();
                Seen::Is(Box::new(outlook))
            }
            Err(e) if e.code == ErrorCode::UnknownVolume => Seen::Not,
            Err(error) => {
                if self.pause().is_news() {
                    tracing::warn!(%error, volume.image = %image, "the sidecar does not say how a volume is");
                }
                let away = matches!(
                    error.code,
                    ErrorCode::SidecarUnreachable | ErrorCode::DeadlineExceeded
                );
                if away {
                    self.pause().begin_unless_quick(began);
                }
                Seen::Unknown
            }
        }
    }

    fn pause(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decide(asked: &Guarded, volume: &str, is_seen: bool, verdict: Verdict) -> Result<(), Fault> {
    let operation = asked.operation;
    // Where the user named no volume, they are told which it is.
    let named = |why: String| {
        // Of one that they do not see they are told nothing; the log says which it is.
        if !is_seen {
            tracing::info!(
                volume.id = volume,
                why,
                "a group is left as it is for a volume that its user does not see"
            );
            return format!(
                "the group has a volume that this token does not see, and that may not be {}",
                operation.done()
            );
        }
        match &asked.target {
            Target::Volume(_) => why,
            Target::Group(_)
            | Target::Attachment(_)
            | Target::Snapshot(_)
            | Target::GroupSnapshot(_)
            | Target::ConsistencySnapshot(_) => format!("volume {volume}: {why}"),
        }
    };
    match verdict {
        Verdict::Pass => Ok(()),
        Verdict::Refuse { name, why } => Err(Fault::new(StatusCode::CONFLICT, name, named(why))),
        Verdict::Copy(refusal) => decide(asked, volume, is_seen, *refusal),
        Verdict::Later { name, why, after } => {
            let fault = Fault::new(StatusCode::CONFLICT, name, named(why));
            Err(fault.retry_after(after))
        }
        // Deleting a primary deletes its copy too, and nothing brings them back. All else can wait for the driver's own guard.
        Verdict::Unknown if ends_it(operation) => Err(unknown(&format!(
            "it is not known now whether the volume is replicated: it is not {} before the zone's sidecar says so",
            operation.done()
        ))),
        Verdict::Unknown => {
            tracing::warn!(
                volume.id = volume,
                operation = operation.done(),
                "not guarded: the sidecar does not say how the volume is"
            );
            Ok(())
        }
    }
}
