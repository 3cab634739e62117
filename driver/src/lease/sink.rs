//! What the leases do to images, and learn of them.

use super::vouch::{Board, BoardChange};
use crate::{
    actions::Volumes,
    backend::{Access, view::MirrorView},
};
use rekindle_common::{
    ApiError, GroupName, deletion::OnDelete, metadata, policy::IsolationResponse, volume::Known,
};
use std::{collections::BTreeMap, future::Future};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// One image of a group in this zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenImage {
    /// Its group, from its metadata. `None`: it cannot be read and may be any group's.
    pub group: Option<GroupName>,
    /// Whether writes are taken here.
    pub primary: Known,
    /// The isolation response in its metadata; `None` where there is none: that is `demote`.
    pub isolation: Option<IsolationResponse>,
    /// The deletion policy in its metadata; `None` where there is none that can be read: that is `refuse`.
    pub on_delete: Option<OnDelete>,
}

/// The zone's images, as the leases need them.
pub trait LeaseSink: Send + Sync + 'static {
    /// All images that are in a group or may be, read now: no older answer.
    ///
    /// # Errors
    /// [`ApiError`]: the cluster does not answer, and nothing is known.
    fn look(&self) -> impl Future<Output = Result<Vec<SeenImage>, ApiError>> + Send;

    /// Demotes every primary of the group. Asked for again until a look shows that there is none. Once `void` is cancelled the zone
    /// holds the lease again: no further volume is demoted.
    ///
    /// # Errors
    /// [`ApiError`]: some may be primary still.
    fn demote(
        &self,
        group: &GroupName,
        deadline: Instant,
        void: &CancellationToken,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Refuses actions, or takes them again, because of the group's isolation.
    fn set_frozen(&self, group: &GroupName, frozen: bool) -> impl Future<Output = ()> + Send;

    /// Writes the isolation response into the metadata of the group's primaries, for a start without etcd.
    ///
    /// # Errors
    /// [`ApiError`]: some may lack it.
    fn note(
        &self,
        group: &GroupName,
        response: IsolationResponse,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Writes the deletion policy there too: what Cinder asks the sidecar for must not hang on etcd, and outlives a failover.
    ///
    /// # Errors
    /// [`ApiError`]: some may have another one.
    fn note_on_delete(
        &self,
        group: &GroupName,
        on_delete: OnDelete,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Changes what the zone's sidecars tell each other, and gives what stands there then.
    ///
    /// # Errors
    /// [`ApiError`]: the cluster does not answer, or the record cannot be read.
    fn board(&self, change: BoardChange) -> impl Future<Output = Result<Board, ApiError>> + Send;
}

/// Tells a freeze of ours from an operator's.
fn freeze_reason(group: &GroupName) -> String {
    format!("isolated: the primary lease of {group} could not be renewed")
}

impl Volumes {
    /// Writes one key into the metadata of the group's primaries.
    async fn note_key(
        &self,
        group: &GroupName,
        key: &str,
        text: &str,
        deadline: Instant,
    ) -> Result<(), ApiError> {
        let set = BTreeMap::from([(key.to_owned(), text.to_owned())]);
        for view in self.listed(deadline).await?.iter() {
            let noted = view.metadata.get(key).map(String::as_str);
            // What cannot be read cannot be written to either, and is no reason to leave the others out.
            let readable = match &view.mirror {
                MirrorView::On(m) => m.primary,
                MirrorView::Off | MirrorView::Disabling | MirrorView::Unread(_) => false,
            };
            if view.group().as_ref() != Some(group) || !readable || noted == Some(text) {
                continue;
            }
            let session = self
                .backend()
                .open(&view.spec, Access::Write, deadline)
                .await?;
            session.set_metadata(&set, &[], deadline).await?;
        }
        Ok(())
    }
}

impl LeaseSink for Volumes {
    async fn look(&self) -> Result<Vec<SeenImage>, ApiError> {
        let deadline = Instant::now() + self.limits().look.get();
        // With it the volumes that a demotion begins with, where the list fails then, are never older than the last look.
        let views = self.listed(deadline).await?;
        Ok(views
            .iter()
            .filter_map(|v| {
                let group = v.group();
                if group.is_none() && v.may_be_any_groups().is_none() {
                    return None;
                }
                Some(SeenImage {
                    group,
                    primary: v.primary(),
                    isolation: v
                        .metadata
                        .get(metadata::ISOLATION)
                        .and_then(|s| metadata::isolation_from_text(s)),
                    on_delete: v
                        .metadata
                        .get(metadata::ON_DELETE)
                        .and_then(|s| s.parse().ok()),
                })
            })
            .collect())
    }

    async fn demote(
        &self,
        group: &GroupName,
        deadline: Instant,
        void: &CancellationToken,
    ) -> Result<(), ApiError> {
        let all = self.demote_all_unless(group, deadline, void).await;
        all.complete()
    }

    async fn set_frozen(&self, group: &GroupName, frozen: bool) {
        self.set_isolated(group, frozen, freeze_reason(group)).await;
    }

    async fn note(
        &self,
        group: &GroupName,
        response: IsolationResponse,
        deadline: Instant,
    ) -> Result<(), ApiError> {
        let text = metadata::isolation_text(response);
        self.note_key(group, metadata::ISOLATION, text, deadline)
            .await
    }

    async fn note_on_delete(
        &self,
        group: &GroupName,
        on_delete: OnDelete,
        deadline: Instant,
    ) -> Result<(), ApiError> {
        let text = on_delete.to_string();
        self.note_key(group, metadata::ON_DELETE, &text, deadline)
            .await
    }

    async fn board(&self, change: BoardChange) -> Result<Board, ApiError> {
        // Each call that is given up on costs a thread, and this one is made every second: on a dead cluster it waits until that is
        // back. A question that is written late still counts from before.
        let deadline = Instant::now() + self.limits().abandon.get();
        Ok(self.change_board(&change, deadline).await?)
    }
}
