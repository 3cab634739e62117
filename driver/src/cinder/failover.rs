//! `cinder failover-host`: every replicated volume of a backend to the other zone, each for itself.
//!
//! ```text
//!   is the zone that is left alive or dead? (waited for) -> [the way back: is it in step?] -> look at all volumes in both zones
//!     -> rules::way, each -> demote there, one batch -> promote here, one batch, again while a demotion is on its way -> ends
//! ```
//!
//! It may be called again: it looks before it acts, and takes up where it stopped. What it has begun goes on when its caller
//! goes away. Volumes of a protection group are not moved here: their primary is the orchestrator's to change.

use super::{
    Cinder,
    health::Health,
    rules::{Seen, Way, way},
    sides::Side,
    wire::{CinderVolume, End, FailoverAnswer, FailoverRequest, ReplicationStatus, VolumeEnd},
};
use rekindle_common::{
    ApiError, DemotionToken, ErrorCode, ImageSpec,
    action::{BatchItem, Effect, Order, Promotion, VolumeAction},
    status::VolumeStatus,
    volume::VolumeReport,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep};

/// Whether the zone that is left is dead shows within this.
const SETTLE: Duration = Duration::from_secs(20);
/// Between two looks at what changes by itself.
const POLL: Duration = Duration::from_millis(200);
/// The start of the reason of every forced promotion of ours. It stands in the volume's metadata, and shows later that the
/// other zone's copy is the loser of a failover that was ordered, and of no accident (hard case 17).
pub(super) const REASON: &str = "cinder failover-host";

/// How one volume stands.
pub(super) type Ended = (
    ReplicationStatus,
    Option<VolumeStatus>,
    Result<Effect, ApiError>,
);

impl Cinder {
    /// Carries it out.
    ///
    /// # Errors
    /// [`ApiError`]: the call as a whole is refused, and nothing was changed: no such target, nothing to fail back, the way
    /// back is not in step (`held`, with the figure), a failover is at work (`busy`).
    pub async fn failover(&self, request: FailoverRequest) -> Result<FailoverAnswer, ApiError> {
        let this = self.clone();
        // A task of its own: a shim that stops waiting must not leave volumes demoted and not promoted.
        self.in_background(async move {
            let Some(_moving) = this.inner.begin_moving() else {
                return Err(ApiError::new(
                    ErrorCode::Busy,
                    "a failover of this backend is at work: wait for its end",
                ));
            };
            let by = Instant::now() + this.inner.limits.failover_time.get();
            this.fail_over(&request, by).await
        })
        .await
    }

    async fn fail_over(
        &self,
        request: &FailoverRequest,
        by: Instant,
    ) -> Result<FailoverAnswer, ApiError> {
        super::bounded(&request.volumes)?;
        let (target, from, to) = self.route(request)?;
        let health = settled(from, (Instant::now() + SETTLE).min(by)).await;
        let home = target == super::DEFAULT;
        if home {
            self.way_back(&request.volumes, from, to, health, by)
                .await?;
        }
        let volumes = move_all(&request.volumes, from, to, health, by).await?;
        let good = if home {
            ReplicationStatus::Enabled
        } else {
            ReplicationStatus::FailedOver
        };
        let volumes = request
            .volumes
            .iter()
            .map(|v| {
                let (status, end) = match volumes.get(&v.image) {
                    Some((status, Ok(effect))) => (*status, Ok(*effect)),
                    Some((status, Err(e))) => (*status, Err(e.clone())),
                    None => (None, Err(lost(v))),
                };
                let replication_status = match end {
                    Ok(_) => good,
                    Err(_) => ReplicationStatus::FailoverError,
                };
                end_of(v, (replication_status, status, end))
            })
            .collect();
        Ok(FailoverAnswer { target, volumes })
    }

    /// Which backend is active after it, the zone that is left, and the zone that takes over.
    fn route(&self, request: &FailoverRequest) -> Result<(String, &Side, &Side), ApiError> {
        let bad = |text: String| ApiError::new(ErrorCode::InvalidField, text).at("target");
        let inner = &self.inner;
        let Some((id, peer)) = &inner.peer else {
            return Err(bad(
                "this sidecar knows no other zone: give it a [peer]".into()
            ));
        };
        let away = self.is_peer(request.backend.as_deref())?;
        match request.target.as_deref() {
            Some(super::DEFAULT) => Ok((super::DEFAULT.to_owned(), peer, &inner.own)),
            // Asked to choose: never home, and never where it is.
            None | Some("") if away => Err(bad(format!(
                "{id} is active and there is no other; for the way back say default"
            ))),
            None | Some("") => Ok((id.clone(), &inner.own, peer)),
            Some(t) if t == id => Ok((id.clone(), &inner.own, peer)),
            Some(t) => Err(bad(format!(
                "no backend {:?}: there are {id} and default",
                t.chars().take(64).collect::<String>()
            ))),
        }
    }
}

/// Waits until it is known whether a zone's cluster is alive or dead, for it may have died a moment ago.
async fn settled(side: &Side, by: Instant) -> Health {
    side.look().await;
    loop {
        let health = side.health();
        match health {
            Health::Writes | Health::Dead { .. } => return health,
            Health::Unknown if Instant::now() + POLL >= by => return health,
            Health::Unknown => sleep(POLL).await,
        }
    }
}

type Ends = BTreeMap<ImageSpec, (Option<VolumeStatus>, Result<Effect, ApiError>)>;

/// Every volume, each for itself.
async fn move_all(
    volumes: &[CinderVolume],
    from: &Side,
    to: &Side,
    health: Health,
    by: Instant,
) -> Result<Ends, ApiError> {
    let specs: Vec<ImageSpec> = volumes.iter().map(|v| v.image.clone()).collect();
    let (left, taken) = both(&specs, from, to, health, by).await?;
    let mut ends = Ends::new();
    let (mut demote, mut promote) = (Vec::new(), Vec::new());
    let token = super::token()?;
    for spec in &specs {
        let seen = Seen {
            from: (from.zone(), health),
            left: left.get(spec),
            to: to.zone(),
            taken: taken.get(spec),
        };
        match way(&seen) {
            Way::There => {
                let status = taken.get(spec).map(|r| r.status);
                ends.insert(spec.clone(), (status, Ok(Effect::AlreadySo)));
            }
            Way::Refuse(error) => {
                let status = taken.get(spec).map(|r| r.status);
                ends.insert(spec.clone(), (status, Err(error)));
            }
            Way::Move => demote.push(order(
                spec,
                VolumeAction::Demote {
                    token: Some(token.clone()),
                },
            )),
            Way::GoOn(token) => promote.push(order(spec, after(token))),
            Way::Force => promote.push(order(
                spec,
                VolumeAction::Promote {
                    promotion: Promotion::Forced {
                        reason: format!("{REASON}: {} is dead", from.zone()),
                    },
                },
            )),
        }
    }
    if !demote.is_empty() {
        for (spec, end) in from.batch(demote, by).await {
            match end {
                Ok(_) => promote.push(order(&spec, after(token.clone()))),
                Err(e) => {
                    let error = ApiError {
                        message: format!(
                            "it could not be demoted in {}: {}",
                            from.zone(),
                            e.message
                        ),
                        ..e
                    };
                    ends.insert(spec, (None, Err(error)));
                }
            }
        }
    }
    promote_all(promote, to, by, &mut ends).await;
    Ok(ends)
}

/// Promotes, and asks again for those whose demotion is on its way.
async fn promote_all(orders: Vec<BatchItem>, to: &Side, by: Instant, ends: &mut Ends) {
    let mut waiting: BTreeMap<ImageSpec, Order> =
        orders.into_iter().map(|i| (i.volume, i.order)).collect();
    while !waiting.is_empty() {
        let items = waiting
            .iter()
            .map(|(volume, order)| BatchItem {
                volume: volume.clone(),
                order: order.clone(),
            })
            .collect();
        for (spec, end) in to.batch(items, by).await {
            match end {
                Ok(outcome) => {
                    waiting.remove(&spec);
                    ends.insert(spec, (Some(outcome.report.status), Ok(outcome.effect)));
                }
                Err(e) => {
                    let again = e.code == ErrorCode::DemotionNotReplayed && Instant::now() < by;
                    if !again {
                        waiting.remove(&spec);
                    }
                    ends.insert(spec, (None, Err(e)));
                }
            }
        }
        if !waiting.is_empty() {
            sleep(POLL).await;
        }
    }
}

pub(super) type Reports = BTreeMap<ImageSpec, VolumeReport>;

/// What both zones say of these volumes. A dead zone is not asked (hard case 53).
pub(super) async fn both(
    specs: &[ImageSpec],
    from: &Side,
    to: &Side,
    health: Health,
    by: Instant,
) -> Result<(Reports, Reports), ApiError> {
    let leaving = async {
        match health {
            Health::Writes => super::look_at(from, specs, by).await,
            Health::Dead { .. } | Health::Unknown => Ok(Reports::new()),
        }
    };
    let (left, taken) = tokio::join!(leaving, super::look_at(to, specs, by));
    let zone = |side: &Side, e: ApiError| ApiError {
        message: format!(
            "{} does not say how its volumes are: {}",
            side.zone(),
            e.message
        ),
        ..e
    };
    Ok((
        left.map_err(|e| zone(from, e))?,
        taken.map_err(|e| zone(to, e))?,
    ))
}

pub(super) fn order(volume: &ImageSpec, action: VolumeAction) -> BatchItem {
    BatchItem {
        volume: volume.clone(),
        order: Order {
            action,
            generation: None,
        },
    }
}

fn after(token: DemotionToken) -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::After { token },
    }
}

fn lost(v: &CinderVolume) -> ApiError {
    ApiError::new(
        ErrorCode::Internal,
        format!("{} was asked for and has no end", v.image),
    )
}

pub(super) fn end_of(v: &CinderVolume, (replication_status, status, end): Ended) -> VolumeEnd {
    VolumeEnd {
        id: v.id.clone(),
        image: v.image.clone(),
        replication_status,
        status,
        end: match end {
            Ok(effect) => End::Ok { effect },
            Err(error) => End::Failed { error },
        },
    }
}
