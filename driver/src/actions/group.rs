//! What is done to a whole group: demotion when its lease goes, and fencing.

use super::{Inner, Volumes, registry::InFlight};
use crate::{
    backend::{Access, BackendError, Deadlines, ImageView, Op, view::MirrorView},
    replication::{Refusal, ReplicationError, Step},
};
use futures::{StreamExt, TryStreamExt, stream};
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, ImageSpec, metadata,
    volume::{Known, Role},
    zone::GroupReport,
};
use rekindle_net::FencedClients;
use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// More than the deadline, so that a call that ends with it is reported by its own words.
const A_MOMENT: Duration = Duration::from_millis(100);

/// What became of demoting a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DemoteAll {
    /// These are copies now, or were already.
    pub demoted: Vec<ImageSpec>,
    /// Of these it is not known, or known not to be so.
    pub failed: Vec<(ImageSpec, ApiError)>,
    /// The group could not be listed: there may be volumes that were not even tried.
    pub unlisted: Option<ApiError>,
}

impl DemoteAll {
    /// Whether every volume of the group is known to be a copy now.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn complete(&self) -> Result<(), ApiError> {
        match (&self.unlisted, self.failed.first()) {
            (None, None) => Ok(()),
            (Some(e), _) | (None, Some((_, e))) => Err(e.clone()),
        }
    }
}

/// Whether an image is in the group, by its own metadata.
fn is_of(view: &ImageView, group: &GroupName) -> bool {
    let named = view.metadata.get(metadata::GROUP);
    named.is_some_and(|g| g == group.as_str())
}

fn of_group(views: &[ImageView], group: &GroupName) -> Vec<ImageSpec> {
    let ours = views.iter().filter(|v| is_of(v, group));
    ours.map(|v| v.spec.clone()).collect()
}

impl Volumes {
    /// The volumes that are in a group and primary here, or may be: of an image that cannot be read that is not known.
    ///
    /// # Errors
    /// [`ApiError`]: the cluster does not answer, or an image cannot be read that may be any group's.
    pub async fn primaries(&self) -> Result<Vec<(ImageSpec, GroupName)>, ApiError> {
        let views = self.inner.fresh_list().await?;
        if let Some(error) = any_groups(&views) {
            return Err(error);
        }
        Ok(views
            .iter()
            .filter(|v| v.primary() != Known::No)
            // As the keeper does, and not by the policy: of one that cannot be read the image is primary all the same.
            .filter_map(|v| Some((v.spec.clone(), v.group()?)))
            .collect())
    }

    /// Demotes every primary of a group, whatever its generation: for the lease's end, and for fencing. Where an action is in flight
    /// on a volume its writer is shut out at once; the action is waited for, for half of the time, and then the volume is demoted beside
    /// it. Goes on to the deadline, volume by volume.
    ///
    /// One image that cannot be opened may keep the list from its end, and must not keep the others writable: where the list fails,
    /// or has not come in a third of the time, it begins with the volumes that are known, and what the list brings is added.
    pub async fn demote_all(&self, group: &GroupName, deadline: Instant) -> DemoteAll {
        let never = CancellationToken::new();
        self.demote_all_unless(group, deadline, &never).await
    }

    /// The same, and once `void` is cancelled no further volume is demoted.
    pub(crate) async fn demote_all_unless(
        &self,
        group: &GroupName,
        deadline: Instant,
        void: &CancellationToken,
    ) -> DemoteAll {
        let inner = &self.inner;
        let known = || {
            inner
                .known()
                .map(|k| of_group(&k, group))
                .unwrap_or_default()
        };
        let now = Instant::now();
        let patience = now + deadline.saturating_duration_since(now) / 3;
        let mut list = pin!(self.members(group, deadline));
        let early = timeout_at(patience, list.as_mut()).await;
        let (results, unlisted) = match early {
            Ok(Ok((listed, doubt))) => {
                let listed = self.demote_each(group, listed, deadline, void).await;
                (listed, doubt)
            }
            Ok(Err(error)) => {
                let known = self.demote_each(group, known(), deadline, void).await;
                (known, Some(error))
            }
            Err(_) => {
                let known = known();
                tracing::warn!(zone = %inner.zone, %group, known = known.len(), "the list of the zone's images does not come: demoting those that are known");
                let rest = async {
                    match list.await {
                        Ok((mut listed, doubt)) => {
                            listed.retain(|spec| !known.contains(spec));
                            let more = self.demote_each(group, listed, deadline, void);
                            (more.await, doubt)
                        }
                        Err(error) => (Vec::new(), Some(error)),
                    }
                };
                let first = self.demote_each(group, known.clone(), deadline, void);
                let (mut results, (more, unlisted)) = tokio::join!(first, rest);
                results.extend(more);
                (results, unlisted)
            }
        };
        let mut all = DemoteAll {
            unlisted,
            ..DemoteAll::default()
        };
        for (spec, result) in results {
            match result {
                Ok(()) => all.demoted.push(spec),
                Err(e) => all.failed.push((spec, e.into())),
            }
        }
        tracing::info!(zone = %inner.zone, %group, demoted = all.demoted.len(), failed = all.failed.len(), "group demoted");
        all
    }

    async fn demote_each(
        &self,
        group: &GroupName,
        specs: Vec<ImageSpec>,
        deadline: Instant,
        void: &CancellationToken,
    ) -> Vec<(ImageSpec, Result<(), ReplicationError>)> {
        let inner = &self.inner;
        stream::iter(specs)
            .map(|spec| async move {
                let (own, target) = (inner.clone(), spec.clone());
                let (group, void) = (group.clone(), void.clone());
                // A task of its own: what was begun goes on when the caller goes away.
                let demotion =
                    async move { own.demote_one(&group, &target, deadline, &void).await };
                let task = inner.tasks.spawn(rekindle_net::carried(demotion));
                let result = task.await.unwrap_or_else(|e| Err(ended_abnormally(&e)));
                (spec, result)
            })
            .buffer_unordered(inner.limits.parallel.max(1))
            .collect()
            .await
    }

    /// The group's volumes that have to be looked at, as they are now; and an error where an image cannot be read that may be any group's.
    async fn members(
        &self,
        group: &GroupName,
        deadline: Instant,
    ) -> Result<(Vec<ImageSpec>, Option<ApiError>), ApiError> {
        match timeout_at(deadline, self.inner.fresh_list()).await {
            Ok(Ok(views)) => {
                // A copy that cannot be read need not be: the pool itself says that it takes no writes.
                let unread_copy = |v: &ImageView| match &v.mirror {
                    MirrorView::Unread(u) => u.primary == Known::No,
                    MirrorView::On(_) | MirrorView::Off | MirrorView::Disabling => false,
                };
                let ours = views.iter().filter(|v| is_of(v, group) && !unread_copy(v));
                Ok((ours.map(|v| v.spec.clone()).collect(), any_groups(&views)))
            }
            Ok(Err(e)) => Err(e.into()),
            Err(_) => Err(Refusal::Overran {
                action: "list",
                after: self.inner.limits.look,
            }
            .into()),
        }
    }

    /// Takes the group's primary lease under that generation and keeps it renewed.
    ///
    /// # Errors
    /// [`ApiError`] `stale_generation`, `lease_not_held`, `store_unavailable`, `frozen`.
    pub async fn take_lease(
        &self,
        group: &GroupName,
        generation: Generation,
    ) -> Result<GroupReport, ApiError> {
        let inner = &self.inner;
        // Another sidecar of the zone may have been told of a freeze or a thaw. Where that cannot be read, what is known counts: a
        // lease destroys nothing.
        if let Err(e) = inner.look_at_freeze().await {
            tracing::warn!(zone = %inner.zone, error = %e, "whether the zone is frozen could not be read: going by what is known");
        }
        inner.refuse_while_frozen()?;
        let deadline = inner.in_(inner.limits.look);
        inner
            .records
            .check(group, generation, super::records::Seen::Order, deadline)
            .await?;
        inner.takes().note(group);
        inner.leases.take(group, generation).await?;
        Ok(self.group_report(group).await)
    }

    /// Gives the group's lease back.
    ///
    /// # Errors
    /// [`ApiError`] `is_primary` while a volume of it still is: the lease says that this zone may write, so it goes last.
    pub async fn give_up_lease(
        &self,
        group: &GroupName,
        generation: Generation,
    ) -> Result<GroupReport, ApiError> {
        let inner = &self.inner;
        let deadline = inner.in_(inner.limits.look);
        inner
            .records
            .check(group, generation, super::records::Seen::Order, deadline)
            .await?;
        let primaries = self.primaries().await?;
        if let Some((volume, _)) = primaries.iter().find(|(_, g)| g == group) {
            let text = format!(
                "{volume} is primary here, or cannot be read: demote the group before its lease is given back"
            );
            return Err(ApiError::new(ErrorCode::IsPrimary, text));
        }
        inner.leases.give_up(group, generation).await?;
        Ok(self.group_report(group).await)
    }

    /// One group of this zone.
    pub async fn group_report(&self, group: &GroupName) -> GroupReport {
        let deadline = self.inner.in_(self.inner.limits.probe);
        let all = self.groups(deadline).await;
        let lease = self.inner.leases.view(group);
        match all.into_iter().find(|g| g.group == *group) {
            Some(report) => report,
            // A group without volumes here.
            None => GroupReport {
                group: group.clone(),
                generation: self.inner.generation(group, deadline).await,
                lease,
                volumes: std::collections::BTreeMap::new(),
                unread: self.inner.unread(group),
            },
        }
    }

    /// Makes sure that this zone writes to the group's volumes no more: raises the generation so that older orders are
    /// refused, shuts out every client that has one of them open, and demotes them all.
    ///
    /// # Errors
    /// [`ApiError`]: it is **not** proof of anything then; ask again.
    pub async fn fence(
        &self,
        group: &GroupName,
        generation: Generation,
    ) -> Result<FencedClients, ApiError> {
        let inner = &self.inner;
        let deadline = inner.in_(inner.limits.action);
        inner
            .records
            .check(group, generation, super::records::Seen::Order, deadline)
            .await?;
        let (specs, doubt) = self.members(group, deadline).await?;
        if let Some(error) = doubt {
            return Err(error);
        }
        // Before the demotion: a client that holds the lock and does not answer would block it until it times out.
        let shut_out: Vec<Vec<String>> = stream::iter(specs)
            .map(|spec| async move { inner.shut_out_clients(&spec, deadline).await })
            .buffer_unordered(inner.limits.parallel.max(1))
            .try_collect()
            .await?;
        let shut_out: BTreeSet<String> = shut_out.into_iter().flatten().collect();
        self.demote_all(group, deadline).await.complete()?;
        tracing::warn!(zone = %inner.zone, %group, %generation, clients = shut_out.len(), "group fenced");
        Ok(FencedClients {
            clients: shut_out.into_iter().collect(),
        })
    }
}

/// Why what is said of a group may not be all: an image that may be primary here, and whose group nobody here has ever read.
fn any_groups(views: &[ImageView]) -> Option<ApiError> {
    let mut unread = views
        .iter()
        .filter_map(|v| Some((&v.spec, v.may_be_any_groups()?)));
    let (volume, first) = unread.next()?;
    let others = match unread.count() {
        0 => String::new(),
        n => format!(", nor can {n} others"),
    };
    let text = format!(
        "{volume} may be primary here and its image cannot be read ({}){others}, so that which group it is in is not known: see to it in Ceph (`ceph health detail`), then ask again",
        first.why
    );
    Some(ApiError::new(ErrorCode::ClusterUnreachable, text))
}

fn unless_void(group: &GroupName, void: &CancellationToken) -> Result<(), Refusal> {
    if void.is_cancelled() {
        let group = group.to_string();
        return Err(Refusal::Overtaken { group });
    }
    Ok(())
}

fn ended_abnormally(e: &tokio::task::JoinError) -> ReplicationError {
    let what = format!("the demotion's task ended abnormally: {e}");
    Refusal::Internal { what }.into()
}

impl Inner {
    /// How many images may be primary here and of that group, and could not be read by the last list. Where that failed as a whole: all that
    /// may be by the one before, and whatever came since.
    pub(super) fn unread(&self, group: &GroupName) -> u32 {
        let fails = self.list_fails.load(Ordering::Acquire);
        let read = |v: &ImageView| match &v.mirror {
            MirrorView::Unread(_) => false,
            MirrorView::On(_) | MirrorView::Off | MirrorView::Disabling => !fails,
        };
        let of_it = |v: &&ImageView| {
            v.primary() != Known::No
                && !read(v)
                && (is_of(v, group) || v.may_be_any_groups().is_some())
        };
        let known = self.known().unwrap_or_default();
        let unread = known.iter().filter(of_it).count().max(usize::from(fails));
        u32::try_from(unread).unwrap_or(u32::MAX)
    }

    /// Is over by the deadline. A call that is not goes on, and is in flight until it ends: nobody may take the image for a primary that it
    /// stays before that.
    async fn demote_one(
        self: &Arc<Self>,
        group: &GroupName,
        spec: &ImageSpec,
        deadline: Instant,
        void: &CancellationToken,
    ) -> Result<(), ReplicationError> {
        unless_void(group, void)?;
        let guard = match self.registry.begin(spec, "demote") {
            Ok(guard) => guard,
            Err(in_flight) => self.begin_beside(group, spec, &in_flight, deadline).await,
        };
        let id = guard.id();
        let demotion = {
            let (own, group, spec) = (self.clone(), group.clone(), spec.clone());
            let void = void.clone();
            async move {
                let ended = own.demote_held(&group, &spec, deadline, &void).await;
                drop(guard);
                ended
            }
        };
        let task = self.tasks.spawn(rekindle_net::carried(demotion));
        match timeout_at(deadline + A_MOMENT, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(e)) => Err(ended_abnormally(&e)),
            Err(_) => {
                self.registry.overran(spec, id);
                Err(BackendError::deadline(Op::Demote, Some(spec)).into())
            }
        }
    }

    async fn demote_held(
        &self,
        group: &GroupName,
        spec: &ImageSpec,
        deadline: Instant,
        void: &CancellationToken,
    ) -> Result<(), ReplicationError> {
        let d = Deadlines {
            answer: deadline,
            abandon: self.in_(self.limits.abandon),
        };
        let session = self.backend.open(spec, Access::Write, deadline).await?;
        let look = self.understand(session.look(deadline).await?);
        match look.role {
            Role::Primary if is_of(&look.view, group) => {}
            // Not ours to stop: it has left the group since it was listed, and goes by another lease or by none; or nobody mirrors
            // it, and nobody takes over from it.
            Role::Primary | Role::NotMirrored => return Ok(()),
            Role::Secondary | Role::Unknown => {
                return if self.registry.may_be_promoted(spec) {
                    Err(Refusal::Busy {
                        action: "promote",
                        since: self.limits.action,
                    }
                    .into())
                } else {
                    Ok(())
                };
            }
        }
        unless_void(group, void)?;
        let done = self
            .perform_and_confirm(
                &session,
                &look,
                &Step::Demote { token: None },
                "demote",
                None,
                d,
            )
            .await;
        self.action_ended();
        done.map(|_| ())
    }

    /// Begins a demotion though an action is in flight, which may last for longer than the other zone waits.
    ///
    /// By the deadline nobody may write. So the writer goes first, for that harms no action; and what cannot be waited for is gone
    /// beside, as it would be once it had overran: a promotion that lands later finds no lease and is undone.
    async fn begin_beside(
        &self,
        group: &GroupName,
        spec: &ImageSpec,
        in_flight: &Refusal,
        deadline: Instant,
    ) -> InFlight {
        let now = Instant::now();
        let patience = now + deadline.saturating_duration_since(now) / 2;
        tracing::warn!(zone = %self.zone, volume.id = %spec, %in_flight, "its writer is shut out, for it cannot be demoted yet");
        if let Err(error) = self.shut_out_writer(group, spec, patience).await {
            tracing::warn!(zone = %self.zone, volume.id = %spec, %error, "its writer could not be shut out before the demotion");
        }
        let free = self
            .registry
            .begin_when_free(spec, "demote", patience)
            .await;
        free.unwrap_or_else(|| self.registry.begin_beside(spec, "demote"))
    }

    async fn shut_out_writer(
        &self,
        group: &GroupName,
        spec: &ImageSpec,
        deadline: Instant,
    ) -> Result<(), ReplicationError> {
        let session = self.backend.open(spec, Access::Read, deadline).await?;
        let look = self.understand(session.look(deadline).await?);
        match look.role {
            Role::Primary if is_of(&look.view, group) => {
                Ok(session.shut_out_writer(deadline).await?)
            }
            // Who holds a copy is its mirror daemon; and a volume that has left the group is not to be demoted.
            Role::Primary | Role::Secondary | Role::NotMirrored | Role::Unknown => Ok(()),
        }
    }

    async fn shut_out_clients(
        &self,
        spec: &ImageSpec,
        deadline: Instant,
    ) -> Result<Vec<String>, ReplicationError> {
        let session = self.backend.open(spec, Access::Read, deadline).await?;
        let look = self.understand(session.look(deadline).await?);
        let mut out = Vec::new();
        match look.role {
            // What a copy has open is its mirror daemon: it writes what the primary wrote, and must not be shut out.
            Role::Secondary | Role::Unknown => return Ok(out),
            Role::Primary | Role::NotMirrored => {}
        }
        for client in session.watchers(deadline).await? {
            self.backend.blocklist(&client, deadline).await?;
            out.push(client.address);
        }
        Ok(out)
    }
}
