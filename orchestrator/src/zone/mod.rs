//! A zone as this orchestrator reaches it: its sidecar, and whether asking it is worth the wait.
//!
//! ```text
//!   asked every tick -- two failures --> open: asked once every `RETRY_EVERY`, else "silent" at once -- an answer --> asked every tick
//! ```
//!
//! A dead zone must not slow down the decision about it (hard case 53): what goes through the breaker is the looking. Orders
//! do not: they have their step's deadline, and a plan names them.

mod http;

use futures::{future::BoxFuture, stream::BoxStream};
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, ImageSpec, ZoneName,
    action::{BatchLine, BatchRequest},
    volume::VolumeReport,
    zone::{GroupReport, ZoneReport},
};
use rekindle_net::{GrantRequest, Granted, VolumeList};
use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// So many failures in a row, and a zone is silent.
const FAILURES_TO_OPEN: u32 = 2;
/// A silent zone is asked again this often.
const RETRY_EVERY: Duration = Duration::from_secs(3);

/// What an orchestrator asks of a zone's sidecar. Implemented by `rekindle_net::SidecarClient` over the network, and by a
/// sidecar's own handle where it runs in this process.
pub trait Sidecar: Send + Sync + fmt::Debug {
    /// `GET /v1/zone`.
    fn report(&self) -> BoxFuture<'_, Result<ZoneReport, ApiError>>;
    /// `GET /v1/volumes?group=`: all of a group's volumes in the zone. More than go into one list are an error: what is not seen would not be promoted.
    fn volumes<'a>(
        &'a self,
        group: &'a GroupName,
    ) -> BoxFuture<'a, Result<Vec<VolumeReport>, ApiError>>;
    /// `GET /v1/volumes`: all replicated volumes of the zone, in a group or in none, with what Cinder says of each; `most` at most, and whether there are more.
    fn all(&self, most: usize) -> BoxFuture<'_, Result<VolumeList, ApiError>>;
    /// `GET /v1/volumes/{pool}/{image}`: one image, replicated or not; `unknown_volume` is the zone's word that there is none.
    fn volume<'a>(&'a self, image: &'a ImageSpec) -> BoxFuture<'a, Result<VolumeReport, ApiError>>;
    /// `POST /v1/batch`: orders, and a line for each as it ends. The stream may break off: what has no line is not known.
    fn batch(
        &self,
        request: BatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<BatchLine, ApiError>>, ApiError>>;
    /// `POST /v1/volumes/{pool}/{image}/standby-grant`: for so long Cinder may attach the image also while it is a copy.
    fn grant_standby<'a>(
        &'a self,
        image: &'a ImageSpec,
        request: GrantRequest,
    ) -> BoxFuture<'a, Result<Granted, ApiError>>;
    /// Takes the group's primary lease under that generation; taken already is fine.
    fn take_lease<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<GroupReport, ApiError>>;
    /// Gives it back, and does not take that generation's again unordered. Refused while an image is primary.
    fn release_lease<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<GroupReport, ApiError>>;
}

/// A zone.
#[derive(Debug)]
pub struct Zone {
    name: ZoneName,
    sidecar: Arc<dyn Sidecar>,
    breaker: Mutex<Breaker>,
}

/// Whether a zone is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaker {
    /// Every time; so many failures in a row so far.
    Closed { failures: u32 },
    /// Not before then.
    Open { retry_at: Instant },
}

impl Zone {
    /// A zone by its sidecar.
    #[must_use]
    pub fn new(name: ZoneName, sidecar: Arc<dyn Sidecar>) -> Self {
        Self {
            name,
            sidecar,
            breaker: Mutex::new(Breaker::Closed { failures: 0 }),
        }
    }
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ZoneName {
        &self.name
    }
    /// Its sidecar, for orders.
    #[must_use]
    pub fn sidecar(&self) -> &dyn Sidecar {
        &*self.sidecar
    }

    /// Asks it something within the deadline, unless it is known to be silent.
    ///
    /// # Errors
    /// [`ErrorCode::SidecarUnreachable`] where it did not answer or is not asked now; the sidecar's own refusal.
    pub async fn ask<T>(
        &self,
        deadline: Duration,
        question: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        if !self.may_ask(Instant::now()) {
            return Err(ApiError::new(
                ErrorCode::SidecarUnreachable,
                format!("{} has been silent; it is asked again soon", self.name),
            ));
        }
        let answer = match timeout(deadline, question).await {
            Ok(answer) => answer,
            Err(_) => Err(ApiError::new(
                ErrorCode::SidecarUnreachable,
                format!("{} did not answer within {deadline:?}", self.name),
            )),
        };
        self.note(&answer);
        answer
    }

    fn may_ask(&self, now: Instant) -> bool {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        match *breaker {
            Breaker::Closed { .. } => true,
            Breaker::Open { retry_at } if now < retry_at => false,
            Breaker::Open { .. } => {
                // This one is the trial; the others of the same moment are spared.
                *breaker = Breaker::Open {
                    retry_at: now + RETRY_EVERY,
                };
                true
            }
        }
    }

    fn note<T>(&self, answer: &Result<T, ApiError>) {
        let silent = matches!(answer, Err(e) if is_silence(e));
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        *breaker = match (*breaker, silent) {
            (_, false) => Breaker::Closed { failures: 0 },
            (Breaker::Closed { failures }, true) if failures + 1 < FAILURES_TO_OPEN => {
                Breaker::Closed {
                    failures: failures + 1,
                }
            }
            (Breaker::Closed { .. } | Breaker::Open { .. }, true) => Breaker::Open {
                retry_at: Instant::now() + RETRY_EVERY,
            },
        };
    }
}

/// Whether an error means that the sidecar did not answer, rather than that it refused.
#[must_use]
pub fn is_silence(e: &ApiError) -> bool {
    matches!(
        e.code,
        ErrorCode::SidecarUnreachable | ErrorCode::DeadlineExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[derive(Debug)]
    struct Nobody;
    impl Sidecar for Nobody {
        fn report(&self) -> BoxFuture<'_, Result<ZoneReport, ApiError>> {
            Box::pin(pending())
        }
        fn volumes<'a>(
            &'a self,
            _: &'a GroupName,
        ) -> BoxFuture<'a, Result<Vec<VolumeReport>, ApiError>> {
            Box::pin(pending())
        }
        fn all(&self, _: usize) -> BoxFuture<'_, Result<VolumeList, ApiError>> {
            Box::pin(pending())
        }
        fn volume<'a>(&'a self, _: &'a ImageSpec) -> BoxFuture<'a, Result<VolumeReport, ApiError>> {
            Box::pin(pending())
        }
        fn batch(
            &self,
            _: BatchRequest,
        ) -> BoxFuture<'_, Result<BoxStream<'static, Result<BatchLine, ApiError>>, ApiError>>
        {
            Box::pin(pending())
        }
        fn grant_standby<'a>(
            &'a self,
            _: &'a ImageSpec,
            _: GrantRequest,
        ) -> BoxFuture<'a, Result<Granted, ApiError>> {
            Box::pin(pending())
        }
        fn take_lease<'a>(
            &'a self,
            _: &'a GroupName,
            _: Generation,
        ) -> BoxFuture<'a, Result<GroupReport, ApiError>> {
            Box::pin(pending())
        }
        fn release_lease<'a>(
            &'a self,
            _: &'a GroupName,
            _: Generation,
        ) -> BoxFuture<'a, Result<GroupReport, ApiError>> {
            Box::pin(pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hard_case_53_a_silent_zone_costs_a_tick_nothing() {
        let zone = Zone::new(ZoneName::new("zone-a").unwrap(), Arc::new(Nobody));
        let deadline = Duration::from_secs(1);
        for _ in 0..FAILURES_TO_OPEN {
            let before = Instant::now();
            zone.ask(deadline, zone.sidecar().report())
                .await
                .unwrap_err();
            assert_eq!(before.elapsed(), deadline);
        }
        let before = Instant::now();
        let e = zone
            .ask(deadline, zone.sidecar().report())
            .await
            .unwrap_err();
        assert_eq!(e.code, ErrorCode::SidecarUnreachable);
        assert_eq!(before.elapsed(), Duration::ZERO, "it was asked again");

        tokio::time::advance(RETRY_EVERY).await;
        assert_eq!(zone.ask(deadline, async { Ok(7) }).await, Ok(7));
        // It answered: it is asked every time again.
        assert_eq!(zone.ask(deadline, async { Ok(8) }).await, Ok(8));
    }
}
