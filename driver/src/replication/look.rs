//! From what a backend saw to what a user is told. Pure: the same view, hints and time give the same look.

mod signs;

use crate::backend::view::{DaemonState, ImageView, MirrorView, Mirrored, SiteStatus};
use crate::backend::words::Says;
use jiff::Timestamp;
use rekindle_common::{
    DemotionToken, ZoneName,
    deletion::{Deletion, OnDelete},
    facts::CinderFacts,
    metadata::{self, VolumePolicy},
    mode::MirrorImageMode,
    status::VolumeStatus,
    volume::{Known, Lag, LastSync, Role, VolumeReport},
};
use signs::{after, complete_copy, copy_sync, demotion_here, lag, peer_primary, plain_sync};
use std::time::Duration;

/// A peer's claim to be primary that is not newer than our own promotion by this much is its old one (clocks of two
/// clusters are compared here, and both are only as good as NTP).
pub const CLAIM_MARGIN: Duration = Duration::from_secs(5);

/// A live daemon writes its word again every 30 s, whether or not it changed (seen on 16.2.15): one older than this is no
/// word of now.
const FRESH: Duration = Duration::from_secs(120);

/// A daemon that has stopped for longer than this has not stopped in passing. Seen: 5 s.
const STOPPED_IN_PASSING: Duration = Duration::from_secs(60);

/// A daemon that is well says something of a new copy within half a minute: after that silence it is not.
const SILENT: Duration = Duration::from_secs(60);

/// What this sidecar remembers of an image beyond what one look shows. Losing it (a restart) makes the answers more
/// cautious, never wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hints {
    /// When this sidecar promoted it.
    pub promoted_at: Option<Timestamp>,
    /// The image id that was once seen with a complete copy.
    pub complete_id: Option<String>,
    /// The image id that was flagged for a resync.
    pub resync_id: Option<String>,
    /// Journal mode: when it was last seen in step.
    pub in_step_at: Option<Timestamp>,
    /// Since when no word of this zone's daemon on this copy is to be found.
    pub silent_since: Option<Timestamp>,
}

/// One volume, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// What it was derived from.
    pub view: ImageView,
    /// What policy asks for.
    pub policy: Option<VolumePolicy>,
    /// Why its metadata is no policy.
    pub policy_fault: Option<String>,
    /// What a user is shown.
    pub status: VolumeStatus,
    /// librbd's word.
    pub role: Role,
    /// How far behind the copy is.
    pub lag: Lag,
    /// When it was last whole.
    pub last_sync: Option<LastSync>,
    /// Whether it can be promoted at all.
    pub complete_copy: Known,
    /// Whether the other zone is primary.
    pub peer_primary: Known,
    /// The last demotion that has a name and shows here.
    pub demotion: Option<DemotionToken>,
    /// What Cinder says of it.
    pub cinder: Option<CinderFacts>,
    /// That it was deleted in Cinder.
    pub deletion: Option<Deletion>,
    /// What is not as it should be.
    pub concerns: Vec<String>,
}

impl Look {
    /// Derives everything, as of `now`.
    #[must_use]
    pub fn derive(view: ImageView, hints: &Hints, now: Timestamp) -> Self {
        let (policy, policy_fault) = match VolumePolicy::from_metadata(&view.metadata) {
            Ok(Some(p)) => (Some(p), None),
            Ok(None) => (None, no_mode(&view)),
            Err(e) => (None, Some(e.to_string())),
        };
        let mut look = Self {
            policy,
            policy_fault,
            status: VolumeStatus::ErrorNotMirrored,
            role: Role::NotMirrored,
            lag: Lag::Unknown,
            last_sync: None,
            complete_copy: Known::No,
            peer_primary: Known::Unknown,
            // What is no name was not written by us, and equals none.
            demotion: view
                .metadata
                .get(metadata::DEMOTION_TOKEN)
                .and_then(|t| t.parse().ok()),
            cinder: None,
            deletion: None,
            concerns: Vec::new(),
            view,
        };
        if let Some(fault) = &look.policy_fault {
            look.concerns.push(fault.clone());
        }
        look.read_cinders();
        match look.view.mirror.clone() {
            MirrorView::Off => {
                look.concerns.push(match &look.policy {
                    Some(p) => format!("policy asks for {}, and the image is not mirrored", p.mode),
                    None => "the volume is not replicated".to_owned(),
                });
            }
            MirrorView::Disabling => look
                .concerns
                .push("mirroring is being turned off".to_owned()),
            // No look has it, and what a list could not read is told without one.
            MirrorView::Unread(u) => {
                look.role = Role::Unknown;
                look.status = VolumeStatus::ErrorUnknown;
                look.complete_copy = Known::Unknown;
                look.concerns.push(u.why);
            }
            MirrorView::On(m) => {
                look.peer_primary = peer_primary(&look.view, &m, hints);
                look.mirrored(&m, hints, now);
                look.torn(&m.snapshots.torn);
                look.check_policy(&m);
            }
        }
        look
    }

    /// What Cinder has to do with it. Nothing here that cannot be read makes the volume itself unknown.
    fn read_cinders(&mut self) {
        let metadata = &self.view.metadata;
        match metadata
            .get(metadata::CINDER)
            .map(|t| CinderFacts::from_metadata(t))
        {
            None => {}
            Some(Ok(facts)) => {
                self.concerns.extend(facts.concern());
                self.cinder = Some(facts);
            }
            Some(Err(e)) => self
                .concerns
                .push(format!("what Cinder says of it cannot be read: {e}")),
        }
        if let Some(text) = metadata.get(metadata::DELETED) {
            let spec = &self.view.spec;
            let mark = Deletion::from_metadata(text, spec);
            // Noted so at the promotion, or by its own time where an older sidecar promoted.
            let forced = metadata::forced(metadata);
            let doubted = Deletion::doubted(text, spec)
                .or_else(|| mark.clone().filter(|m| forced.is_some_and(|f| m.at < f.at)));
            self.deletion = mark.filter(|_| doubted.is_none());
            self.concerns.push(match (&self.deletion, &doubted) {
                (_, Some(mark)) => mark.doubt_in_words(),
                (Some(mark), None) => mark.in_words(),
                (None, None) => "a deletion mark that is not this volume's stands in its metadata, and is not acted on".to_owned(),
            });
        }
        if let Some(Err(e)) = metadata
            .get(metadata::ON_DELETE)
            .map(|t| t.parse::<OnDelete>())
        {
            self.concerns.push(format!("{e}: its deletion is refused"));
        }
    }

    /// What becomes of it when it is deleted in Cinder; `None`: it is none of ours.
    fn on_delete(&self) -> Option<OnDelete> {
        let text = self
            .view
            .metadata
            .get(metadata::ON_DELETE)
            .map(String::as_str);
        match (&self.policy, &self.policy_fault, self.role) {
            // Which group's it is cannot be told.
            (_, Some(_), _) => Some(OnDelete::Refuse),
            (Some(p), None, _) => Some(OnDelete::in_force(text, p.group.is_some())),
            (None, None, Role::Primary | Role::Secondary) => Some(OnDelete::in_force(text, false)),
            (None, None, Role::NotMirrored | Role::Unknown) => None,
        }
    }

    fn mirrored(&mut self, m: &Mirrored, hints: &Hints, now: Timestamp) {
        if m.primary {
            self.role = Role::Primary;
            self.complete_copy = Known::Yes;
            self.status = if self.peer_primary == Known::Yes {
                self.concerns.push("both zones say primary".to_owned());
                VolumeStatus::ErrorSplitBrain
            } else {
                VolumeStatus::ActivePrimary
            };
            let peer = self.view.peer.clone();
            self.lag = peer.as_ref().map_or(Lag::Unknown, lag);
            self.last_sync = match m.mode {
                MirrorImageMode::Snapshot => m.snapshots.newest.as_ref().map(|s| plain_sync(s.at)),
                MirrorImageMode::Journal => peer
                    .as_ref()
                    .filter(|p| lag(p) == Lag::None)
                    .and_then(|p| p.last_update)
                    .map(plain_sync),
            };
            self.primary_concerns(peer.as_ref());
        } else {
            self.role = Role::Secondary;
            self.complete_copy = complete_copy(&self.view, m, hints);
            let local = self.view.local.clone();
            self.lag = local.as_ref().map_or(Lag::Unknown, lag);
            self.last_sync = copy_sync(m, local.as_ref(), hints);
            self.status = self.copy_status(m, local.as_ref(), hints, now);
        }
    }

    /// A copy's status. What this zone knows of itself goes before the daemon's word, for that may be stale or missing.
    fn copy_status(
        &mut self,
        m: &Mirrored,
        local: Option<&SiteStatus>,
        hints: &Hints,
        now: Timestamp,
    ) -> VolumeStatus {
        let down = local.is_some_and(|l| !l.up);
        if down {
            self.concerns
                .push("this zone's mirror daemon does not report: the copy does not move".into());
        }
        if hints.resync_id.as_ref() == Some(&self.view.id) {
            return VolumeStatus::PendingResync;
        }
        if local.is_some_and(|l| l.says() == Says::SplitBrain) {
            self.concerns
                .push("the copies have diverged: this one must be resynced, or the other".into());
            return VolumeStatus::ErrorSplitBrain;
        }
        if demotion_here(m) && self.peer_primary != Known::Yes {
            return VolumeStatus::PendingPromotion;
        }
        match local {
            // A copy that its daemon has only just made, and not yet said anything of.
            None if hints
                .silent_since
                .is_some_and(|at| now >= after(at, SILENT)) =>
            {
                self.concerns.push(
                    "this zone's mirror daemon says nothing of this copy: it does not move".into(),
                );
                VolumeStatus::ErrorMirrorDown
            }
            None => self.moving(),
            Some(l) if !l.up => VolumeStatus::ErrorMirrorDown,
            Some(l) => self.copy_as_its_daemon_says(m, l, now),
        }
    }

    /// A copy that is getting there.
    fn moving(&self) -> VolumeStatus {
        match self.complete_copy {
            Known::Yes => VolumeStatus::ActiveUpdating,
            Known::No | Known::Unknown => VolumeStatus::PendingFirstSync,
        }
    }

    fn copy_as_its_daemon_says(
        &mut self,
        m: &Mirrored,
        local: &SiteStatus,
        now: Timestamp,
    ) -> VolumeStatus {
        use DaemonState as D;
        let complete = self.complete_copy;
        match local.says() {
            Says::RemoteDemoted | Says::LocalPrimary => return VolumeStatus::PendingPromotion,
            Says::ResyncRequested => return VolumeStatus::PendingResync,
            Says::RemoteNotPrimary => {
                return match (self.peer_primary, complete) {
                    // Its last word is from before the other side was promoted.
                    (Known::Yes, _) => self.moving(),
                    // Both say so: no zone is primary, and librbd itself refuses to promote what is not whole.
                    (Known::No, Known::Yes | Known::Unknown) | (Known::Unknown, Known::Yes) => {
                        VolumeStatus::PendingPromotion
                    }
                    (Known::No, Known::No) | (Known::Unknown, Known::No | Known::Unknown) => {
                        VolumeStatus::ErrorOrphan
                    }
                };
            }
            Says::RemoteGone => {
                self.concerns.push("the primary image is gone".to_owned());
                return VolumeStatus::ErrorOrphan;
            }
            Says::SplitBrain | Says::Other => {}
        }
        match local.state {
            D::Error => {
                self.concerns
                    .push(format!("the mirror daemon says: {}", local.description));
                VolumeStatus::ErrorMirroring
            }
            D::Syncing => VolumeStatus::PendingFirstSync,
            D::StartingReplay | D::StoppingReplay | D::Unknown => self.moving(),
            // So it says for some seconds after a demotion has arrived, before it says that it has.
            D::Stopped
                if complete == Known::Yes
                    && local
                        .last_update
                        .is_some_and(|at| now < after(at, STOPPED_IN_PASSING)) =>
            {
                VolumeStatus::PendingDemotion
            }
            D::Stopped => {
                self.concerns.push(format!(
                    "the mirror daemon has stopped: {}",
                    local.description
                ));
                VolumeStatus::ErrorMirroring
            }
            D::Replaying if complete == Known::No => VolumeStatus::PendingFirstSync,
            D::Replaying if self.peer_primary == Known::No => VolumeStatus::PendingDemotion,
            // As of before the other side's promotion: nothing of that has arrived.
            D::Replaying if demotion_here(m) => VolumeStatus::ActiveUpdating,
            D::Replaying => match self.lag {
                Lag::None => VolumeStatus::ActiveSecondary,
                Lag::Time { .. } | Lag::Entries { .. } | Lag::Unknown => {
                    VolumeStatus::ActiveUpdating
                }
            },
        }
    }

    /// Snapshots that a forced promotion set aside, until a person has taken them away.
    fn torn(&mut self, names: &[String]) {
        if !names.is_empty() {
            self.concerns.push(format!(
                "snapshots of a copy that was interrupted, which do not hold what they were taken of, were set aside at the forced promotion: {}. The volume's own data may be of two moments too: check it. `rbd snap unprotect` and `rbd snap rm` take them away",
                names.join(", ")
            ));
        }
    }

    fn primary_concerns(&mut self, peer: Option<&SiteStatus>) {
        let concern = match peer {
            None => {
                "the other zone's mirror daemon has said nothing of this volume: no copy is known"
            }
            Some(p) if !p.up => {
                "the other zone's mirror daemon does not report: the copy does not move"
            }
            Some(p) if p.says() == Says::SplitBrain => {
                "the other zone's copy has diverged: resync it there"
            }
            Some(p) if p.state == DaemonState::Error => {
                let text = format!("the other zone's mirror daemon says: {}", p.description);
                self.concerns.push(text);
                return;
            }
            Some(_) => return,
        };
        self.concerns.push(concern.to_owned());
    }

    fn check_policy(&mut self, m: &Mirrored) {
        match &self.policy {
            Some(p) if p.mode.mirror_image_mode() != m.mode => self.concerns.push(format!(
                "policy asks for {}, and the image is mirrored by {}",
                p.mode.name(),
                match m.mode {
                    MirrorImageMode::Journal => "journal",
                    MirrorImageMode::Snapshot => "snapshot",
                }
            )),
            Some(_) => {}
            // Metadata travels with the data: a fresh copy may not have it yet.
            None if self.policy_fault.is_none() && self.role == Role::Primary => self
                .concerns
                .push("mirrored, but not by Rekindle: it has no policy".to_owned()),
            None => {}
        }
    }

    /// What a user is shown. A volume of a group whose policy cannot be read may not be promoted, so that nothing may be moved with it as if it
    /// were well; what is wrong with it beside that is said first.
    fn shown(&self) -> VolumeStatus {
        if self.policy_fault.is_none() || self.view.member_of().is_none() {
            return self.status;
        }
        match self.status {
            VolumeStatus::ActivePrimary
            | VolumeStatus::ActiveSecondary
            | VolumeStatus::ActiveUpdating
            | VolumeStatus::PendingFirstSync
            | VolumeStatus::PendingPromotion
            | VolumeStatus::PendingDemotion
            | VolumeStatus::PendingResync => VolumeStatus::ErrorUnknown,
            VolumeStatus::ErrorSplitBrain
            | VolumeStatus::ErrorNotMirrored
            | VolumeStatus::ErrorMirrorDown
            | VolumeStatus::ErrorMirroring
            | VolumeStatus::ErrorOrphan
            | VolumeStatus::ErrorUnknown => self.status,
        }
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn report(&self, zone: &ZoneName, in_flight: Option<String>) -> VolumeReport {
        VolumeReport {
            volume: self.view.spec.clone(),
            zone: zone.clone(),
            group: self.view.member_of(),
            status: self.shown(),
            role: self.role,
            mode: self.policy.as_ref().map(|p| p.mode),
            mirror_mode: self.mirrored_as().map(|m| m.mode),
            size: Some(self.view.size),
            last_sync: self.last_sync,
            lag: self.lag,
            complete_copy: self.complete_copy,
            local: self.view.local.as_ref().map(SiteStatus::to_view),
            peer: self.view.peer.as_ref().map(SiteStatus::to_view),
            peer_primary: self.peer_primary,
            demotion: self.demotion.clone(),
            forced: metadata::forced(&self.view.metadata),
            cinder: self.cinder.clone(),
            on_delete: self.on_delete(),
            deletion: self.deletion.clone(),
            concerns: self.concerns.clone(),
            in_flight,
        }
    }

    /// What is worth remembering beyond this look, which was as of `now`.
    pub fn remember(&self, hints: &mut Hints, now: Timestamp) {
        let id = &self.view.id;
        let silent = self.role == Role::Secondary && self.view.local.is_none();
        hints.silent_since = silent.then(|| hints.silent_since.unwrap_or(now));
        if hints
            .resync_id
            .as_ref()
            .is_some_and(|flagged| flagged != id)
        {
            hints.resync_id = None;
        }
        if self.role == Role::Primary {
            hints.resync_id = None;
        }
        if self.complete_copy == Known::Yes {
            hints.complete_id = Some(id.clone());
        }
        if self.role == Role::Secondary && self.status == VolumeStatus::ActiveSecondary {
            hints.in_step_at = self.last_sync.map(|s| s.at).max(hints.in_step_at);
        }
    }

    /// Its mirroring, if it has any.
    #[must_use]
    pub fn mirrored_as(&self) -> Option<&Mirrored> {
        match &self.view.mirror {
            MirrorView::On(m) => Some(m),
            MirrorView::Off | MirrorView::Disabling | MirrorView::Unread(_) => None,
        }
    }

    /// Whether the peer says **now** that it is primary: what a resync stands on (hard case 18).
    #[must_use]
    pub fn peer_is_primary_and_well(&self, now: Timestamp) -> bool {
        self.view.peer.as_ref().is_some_and(|p| {
            p.up && p.says() == Says::LocalPrimary
                && p.state == DaemonState::Stopped
                && p.last_update.is_some_and(|at| now < after(at, FRESH))
        })
    }
}

/// A mirrored image that names a group and no mode: somebody took that away, for we write and remove them together.
fn no_mode(view: &ImageView) -> Option<String> {
    match &view.mirror {
        MirrorView::On(_) if view.group().is_some() => Some(format!(
            "image metadata {}: is missing, and {} is there",
            metadata::MODE,
            metadata::GROUP
        )),
        MirrorView::On(_) | MirrorView::Off | MirrorView::Disabling | MirrorView::Unread(_) => None,
    }
}
