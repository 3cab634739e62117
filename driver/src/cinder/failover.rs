//! `cinder failover-host`: every replicated volume of a backend to the other zone, each for itself.
//!
//! ```text
//!   is the zone that is left alive or dead? (waited for; not known: refused) -> [the way back: is it in step?] -> look at all volumes in both zones
//!     -> rules::way, each -> demote there, one batch -> promote here as they come, again while a demotion is on its way -> ends
//!                         -> of a group: the orchestrator's plan, all groups at once (groups.rs) ---------------------> ends
//! ```
//!
//! It may be called again: it looks before it acts, and takes up where it stopped. What it has begun goes on when its caller
//! goes away. The primary of a protection group's volumes is the orchestrator's to change: it is asked to.

use super::{
    Cinder,
    groups::GroupMove,
    health::Health,
    rules::{Seen, TOKEN, Way, is_left_alone, way},
    sides::{EndOfOrder, Side},
    wire::{CinderVolume, End, FailoverAnswer, FailoverRequest, ReplicationStatus, VolumeEnd},
};
use futures::{StreamExt, stream::FuturesUnordered};
use rekindle_common::{
    ApiError, DemotionToken, ErrorCode, GroupName, ImageSpec,
    action::{BatchItem, Effect, Order, Promotion, VolumeAction},
    plan::Request,
    status::VolumeStatus,
    volume::{Role, VolumeReport},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// Whether the zone that is left is dead shows within this.
const SETTLE: Duration = Duration::from_secs(20);
/// Between two looks at what changes by itself.
const POLL: Duration = Duration::from_millis(200);
/// What is demoted within this is promoted in one batch.
const GATHER: Duration = Duration::from_millis(50);
/// A cluster that counts as dead and is back answers within this.
const BACK: Duration = Duration::from_secs(1);
/// Groups that are moved at once.
const GROUPS_AT_ONCE: usize = 32;
/// Kept of the time for a group, to look at its volumes after its plan.
const LAST_LOOK: Duration = Duration::from_secs(5);
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
    /// back is not in step (`held`, with the figure), or it is not known whether the zone that is left takes writes; the zone that takes
    /// over is frozen, a failover is at work (`busy`).
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
        self.refuse_into_frozen(to).await?;
        let images: Vec<ImageSpec> = request.volumes.iter().map(|v| v.image.clone()).collect();
        let _told = self.inner.own.fails_over(images);
        let health = settled(from, (Instant::now() + SETTLE).min(by)).await;
        self.refuse_a_guess(&request.volumes, (from, to), health, by)
            .await?;
        let home = target == super::DEFAULT;
        let trip = Trip {
            from,
            to,
            health,
            by,
        };
        if home {
            let away = self.is_peer(request.backend.as_deref())?;
            self.way_back(&request.volumes, trip, away).await?;
        }
        let (volumes, left_alone) = self.move_all(&request.volumes, trip).await?;
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
                    // Said on the way out too: it is not served from there by this Cinder.
                    Ok(_) if left_alone.contains(&v.image) => ReplicationStatus::Enabled,
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
    match side.health() {
        // It was looked at all the time. Once more, for it may be back this moment, but not for as long as silence takes.
        Health::Dead { .. } => drop(timeout(BACK, side.look()).await),
        Health::Writes | Health::Unknown => side.look().await,
    }
    loop {
        let health = side.health();
        match health {
            Health::Writes | Health::Dead { .. } => return health,
            Health::Unknown if Instant::now() + POLL >= by => return health,
            Health::Unknown => sleep(POLL).await,
        }
    }
}

pub(super) type Ends = BTreeMap<ImageSpec, (Option<VolumeStatus>, Result<Effect, ApiError>)>;

/// A move: out of which zone, into which, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trip<'a> {
    pub from: &'a Side,
    pub to: &'a Side,
    pub health: Health,
    pub by: Instant,
}

/// Which volume goes which way.
#[derive(Debug, Default)]
struct Ways {
    demote: Vec<BatchItem>,
    promote: BTreeMap<ImageSpec, Order>,
    groups: BTreeMap<GroupName, Vec<ImageSpec>>,
}

impl Cinder {
    /// Every volume, each for itself; and every group of them. And which were left alone, for they are the other zone's.
    async fn move_all(
        &self,
        volumes: &[CinderVolume],
        trip: Trip<'_>,
    ) -> Result<(Ends, BTreeSet<ImageSpec>), ApiError> {
        let specs: Vec<ImageSpec> = volumes.iter().map(|v| v.image.clone()).collect();
        let (left, taken) = both(&specs, trip.from, trip.to, trip.health, trip.by).await?;
        let mut ends = Ends::new();
        let mut left_alone = BTreeSet::new();
        let mut ways = Ways::default();
        let token = super::token(TOKEN)?;
        for volume in volumes {
            let spec = &volume.image;
            let seen = Seen {
                from: (trip.from.zone(), trip.health),
                left: left.get(spec),
                to: trip.to.zone(),
                taken: taken.get(spec),
            };
            let status = taken.get(spec).map(|r| r.status);
            if is_left_alone(volume, &seen, self.inner.own.zone()) {
                tracing::info!(volume.id = %spec, "it is the other zone's own volume, and is left alone by this failover-host");
                left_alone.insert(spec.clone());
                ends.insert(spec.clone(), (status, Ok(Effect::AlreadySo)));
                continue;
            }
            match way(&seen) {
                Way::There => {
                    ends.insert(spec.clone(), (status, Ok(Effect::AlreadySo)));
                }
                Way::Refuse(error) => {
                    ends.insert(spec.clone(), (status, Err(error)));
                }
                Way::Plan(group) => ways.groups.entry(group).or_default().push(spec.clone()),
                Way::Move => ways.demote.push(order(
                    spec,
                    VolumeAction::Demote {
                        token: Some(token.clone()),
                    },
                )),
                Way::GoOn(token) => {
                    ways.promote.insert(spec.clone(), unbound(after(token)));
                }
                Way::Force => {
                    let reason = format!("{REASON}: {} is dead", trip.from.zone());
                    let accept_torn = false;
                    let promotion = Promotion::Forced {
                        reason,
                        accept_torn,
                    };
                    let force = VolumeAction::Promote { promotion };
                    ways.promote.insert(spec.clone(), unbound(force));
                }
            }
        }
        let (groups, ()) = tokio::join!(
            self.move_groups(&ways.groups, trip),
            move_alone(ways.demote, ways.promote, &token, trip, &mut ends),
        );
        ends.extend(groups);
        Ok((ends, left_alone))
    }

    /// All groups at once.
    async fn move_groups(
        &self,
        groups: &BTreeMap<GroupName, Vec<ImageSpec>>,
        trip: Trip<'_>,
    ) -> Ends {
        // No borrow of the stream's items in an async closure: the compiler cannot see that such a future may be sent.
        let moves: Vec<_> = groups
            .iter()
            .map(|(group, specs)| self.move_group(group, specs, trip))
            .collect();
        let mut moving = futures::stream::iter(moves).buffer_unordered(GROUPS_AT_ONCE);
        let mut ends = Ends::new();
        while let Some(some) = moving.next().await {
            ends.extend(some);
        }
        ends
    }

    /// By the orchestrator's plan: a move out of a zone that is well, a failover out of a dead one.
    async fn move_group(&self, group: &GroupName, specs: &[ImageSpec], trip: Trip<'_>) -> Ends {
        let to = trip.to.zone();
        let request = match trip.health {
            Health::Writes => Request::Move { to: to.clone() },
            Health::Dead { .. } | Health::Unknown => Request::Failover,
        };
        let orchestrators = &self.inner.orchestrators;
        let end = if orchestrators.is_empty() {
            Err(by_hand(group, trip))
        } else {
            let ask = GroupMove {
                orchestrators,
                group,
                request,
                to,
            };
            ask.carry_out(trip.by - LAST_LOOK).await
        };
        // Also after a failure: what a plan has promoted stays so.
        let seen = settled_roles(specs, trip, end.is_ok()).await;
        let each = |spec: &ImageSpec| {
            let report = seen.get(spec);
            let status = report.map(|r| r.status);
            let end = match (&end, report.map(|r| r.role)) {
                (_, Some(Role::Primary)) => Ok(Effect::Done),
                (Err(e), _) => Err(e.clone()),
                (Ok(not_helped), _) => {
                    let why = not_helped.get(spec).map_or_else(
                        || format!("`rekindle group show {group}` tells more"),
                        Clone::clone,
                    );
                    let text = format!(
                        "group {group} is in {to}, and this volume is not primary there: {why}"
                    );
                    Err(ApiError::new(ErrorCode::Held, text))
                }
            };
            (spec.clone(), (status, end))
        };
        specs.iter().map(each).collect()
    }
}

/// How the volumes are in the zone that takes over. A list may be a moment older than the plan's end.
async fn settled_roles(specs: &[ImageSpec], trip: Trip<'_>, expected: bool) -> Reports {
    for again in [expected, false] {
        let seen = super::look_at(trip.to, specs, trip.by).await;
        let seen = seen.unwrap_or_default();
        let all = specs
            .iter()
            .all(|s| seen.get(s).is_some_and(|r| r.role == Role::Primary));
        if all || !again {
            return seen;
        }
        sleep(POLL * 5).await;
    }
    Reports::new()
}

/// Where no orchestrator is known.
fn by_hand(group: &GroupName, trip: Trip<'_>) -> ApiError {
    let (from, to) = (trip.from.zone(), trip.to.zone());
    ApiError::new(
        ErrorCode::Held,
        format!(
            "it belongs to group {group}, and this sidecar knows no orchestrator ([failsafe] sites): `rekindle move {group} --to {to}`, or `rekindle failover {group}` where {from} is lost, then call failover-host again"
        ),
    )
}

/// Those without a group: demoted, and promoted once that has arrived. One that is slow to demote keeps no other waiting.
async fn move_alone(
    demote: Vec<BatchItem>,
    promote: BTreeMap<ImageSpec, Order>,
    token: &DemotionToken,
    trip: Trip<'_>,
    ends: &mut Ends,
) {
    // As large as there are ends: none is ever left out.
    let (told, demoted) = mpsc::channel(demote.len().max(1));
    let demoting = async move {
        trip.from
            .each(demote, trip.by, |spec, end| {
                let _ = told.try_send((spec, end));
            })
            .await;
        drop(told);
    };
    tokio::join!(demoting, promote_all(promote, demoted, token, trip, ends));
}

/// Promotes each as soon as it is demoted, in batches beside each other: one waits for its demotion to arrive over there while
/// the next ones are still being demoted here. It asks again for those whose demotion is on its way.
pub(super) async fn promote_all(
    mut ready: BTreeMap<ImageSpec, Order>,
    mut demoted: mpsc::Receiver<(ImageSpec, EndOfOrder)>,
    token: &DemotionToken,
    trip: Trip<'_>,
    ends: &mut Ends,
) {
    let mut batches = FuturesUnordered::new();
    let mut pause = Duration::ZERO;
    let mut all_demoted = false;
    loop {
        if !ready.is_empty() {
            batches.push(promote_some(std::mem::take(&mut ready), pause, trip));
        }
        tokio::select! {
            next = demoted.recv(), if !all_demoted => {
                all_demoted = next.is_none();
                if next.is_some() {
                    sleep(GATHER).await;
                }
                let more = std::iter::from_fn(|| demoted.try_recv().ok());
                for (spec, end) in next.into_iter().chain(more) {
                    match end {
                        Ok(_) => {
                            ready.insert(spec, unbound(after(token.clone())));
                        }
                        Err(e) => {
                            let zone = trip.from.zone();
                            let message = format!("it could not be demoted in {zone}: {}", e.message);
                            ends.insert(spec, (None, Err(ApiError { message, ..e })));
                        }
                    }
                }
                pause = Duration::ZERO;
            }
            Some((orders, ended)) = batches.next() => {
                for (spec, end) in ended {
                    match end {
                        Ok(outcome) => {
                            ends.insert(spec, (Some(outcome.report.status), Ok(outcome.effect)));
                        }
                        Err(e) => {
                            let on_its_way = e.code == ErrorCode::DemotionNotReplayed;
                            if on_its_way
                                && Instant::now() < trip.by
                                && let Some(order) = orders.get(&spec)
                            {
                                ready.insert(spec.clone(), order.clone());
                            }
                            ends.insert(spec, (None, Err(e)));
                        }
                    }
                }
                pause = POLL;
            }
            else => return,
        }
    }
}

/// One batch of them, after a pause. The orders are given back for who has to be asked again.
async fn promote_some(
    orders: BTreeMap<ImageSpec, Order>,
    pause: Duration,
    trip: Trip<'_>,
) -> (BTreeMap<ImageSpec, Order>, super::sides::Ends) {
    sleep(pause).await;
    let items = orders
        .iter()
        .map(|(volume, order)| BatchItem {
            volume: volume.clone(),
            order: order.clone(),
        })
        .collect();
    let ended = trip.to.batch(items, trip.by).await;
    (orders, ended)
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
        order: unbound(action),
    }
}

fn unbound(action: VolumeAction) -> Order {
    Order {
        action,
        generation: None,
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
