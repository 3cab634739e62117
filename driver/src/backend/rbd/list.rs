//! All volumes of the zone, in few calls.
//!
//! ```text
//!   names, and both sites' words ── the pool's own objects: whoever answers for those answers for all images
//!   who is silent (silence.rs) ──── asked only where something of the pool hangs
//!   role and mode (roles.rs) ────── a call for each page. It reads an object of each image: where one is silent, the page is
//!   details (details.rs) ────────── the image open: metadata, size, mirror snapshots; and role and mode, where its page was silent
//! ```
//!
//! Details are kept, and read again when the image's status changed in any way, after an action here, and once they are old. What
//! cannot be read is listed with what the rest tells of it ([`unread`]); what hangs is not read again meanwhile (hung.rs).

use super::{
    RbdBackend, Result, convert,
    details::{Details, Listing, Unreadable, Want},
    roles::Roles,
    silence::Silence,
    source::{Bulk, Source},
};
use crate::backend::{
    error::{BackendError, Op},
    view::{ImageView, MirrorView, Mirrored, Unread},
};
use futures::{StreamExt, stream};
use rbd_rs as rbd;
use rekindle_common::{ImageSpec, metadata, volume::Known};
use std::{collections::HashSet, sync::Arc};
use tokio::time::Instant;

/// Images open at once. Two cores open no more of them in a second with eight, and each weighs 0.5 MB beside those that actions
/// have open.
pub(super) const PARALLEL: usize = 4;
/// A list of so many leaves holes in the heap that are worth giving back to the system: some MB, in as many milliseconds.
const MANY: usize = 100;

/// An image, as the pool tells of it.
#[derive(Debug, Clone)]
struct Found {
    name: String,
    id: String,
    mirrored: Option<rbd::MirroredImage>,
    /// It is mirrored, and its role and mode are not known: only it can tell them.
    silent: bool,
}

impl RbdBackend {
    pub(in crate::backend) async fn list(&self, deadline: Instant) -> Result<Vec<ImageView>> {
        let mut all = Vec::new();
        for pool in &self.shared.options.pools {
            let io = self.open_pool(Op::List, pool, deadline).await?;
            all.extend(self.list_pool(&Listing::new(pool, &io, deadline)).await?);
        }
        if all.len() >= MANY {
            tokio::task::spawn_blocking(rbd::return_free_memory);
        }
        Ok(all)
    }

    pub(super) async fn list_pool<S: Source>(
        &self,
        list: &Listing<'_, S>,
    ) -> Result<Vec<ImageView>> {
        let io = list.io.clone();
        let bulk = self
            .shared
            .listing
            .run(&self.shared.calls, Op::List, list.deadline, move || {
                io.bulk()
            })
            .await;
        let bulk = self.drop_if_dead(bulk).await?;
        let mut silence = self.silence(list, &bulk).await?;
        let mut roles = self.roles(list, &bulk, &silence).await?;
        // The first pages that hang are what tells that something does.
        if !silence.troubled && self.shared.reads.is_troubled(list.pool) {
            silence = self.silence(list, &bulk).await?;
            roles = self.roles(list, &bulk, &silence).await?;
        }
        let found = put_together(bulk, roles);
        {
            let ids: HashSet<&String> = found.iter().map(|f| &f.id).collect();
            self.shared.details.retain(list.pool, &ids);
            self.shared.failures.retain(list.pool, &ids);
            self.shared.silent.retain(list.pool, &ids);
        }
        let views: Vec<Result<Option<ImageView>>> = stream::iter(found)
            .map(|found| self.listed(list, found, &silence))
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        self.tell_failures(list.pool);
        views.into_iter().filter_map(Result::transpose).collect()
    }

    /// One image of a list; `None` where it is no volume of ours, or has just gone.
    async fn listed<S: Source>(
        &self,
        list: &Listing<'_, S>,
        found: Found,
        silence: &Silence,
    ) -> Result<Option<ImageView>> {
        // A name that no order could name.
        let Ok(spec) = ImageSpec::new(list.pool, &found.name) else {
            return Ok(None);
        };
        let want = Want {
            mirrored: found.mirrored.is_some(),
            mark: found.mirrored.as_ref().map(mark).unwrap_or_default(),
            words: found.mirrored.as_ref().is_some_and(words_lost),
            role: found.silent,
            silent: silence.of(&found.id).cloned(),
        };
        match self.details(list, &spec, &found.id, want).await {
            Ok(details) => read(spec, found, details),
            Err(Unreadable::Gone) => Ok(None),
            Err(Unreadable::Own(error, kept)) => {
                Ok(unread(spec, found, kept.map(|kept| *kept), &error))
            }
            Err(Unreadable::List(e)) => Err(e),
        }
    }
}

/// Names, words and roles, image by image.
fn put_together(bulk: Bulk, roles: Roles) -> Vec<Found> {
    let Bulk {
        mut names,
        mut statuses,
    } = bulk;
    let Roles { mut told, silent } = roles;
    let ids: HashSet<String> = statuses.keys().chain(told.keys()).cloned().collect();
    let mut all = Vec::new();
    for id in ids {
        // Gone between the calls: it is no volume any more.
        let Some(name) = names.remove(&id) else {
            continue;
        };
        let (info, mode) = told.remove(&id).unzip();
        all.push(Found {
            name,
            silent: info.is_none() && silent.contains(&id),
            mirrored: Some(rbd::MirroredImage {
                image_id: id.clone(),
                info,
                mode,
                status: statuses.remove(&id),
            }),
            id,
        });
    }
    all.extend(names.into_iter().map(|(id, name)| Found {
        name,
        id,
        mirrored: None,
        silent: false,
    }));
    all
}

/// An image with its details.
fn read(spec: ImageSpec, found: Found, details: Details) -> Result<Option<ImageView>> {
    let Some(m) = found.mirrored else {
        return Ok(not_mirrored(spec, found.id, details));
    };
    let (info, mode) = match details.role {
        Some((info, mode)) => (Some(info), mode),
        None => (m.info, m.mode),
    };
    let (mirror, status) = match (info.as_ref().map(|i| &i.state), mode) {
        (Some(rbd::MirrorState::Enabled | rbd::MirrorState::Creating), Some(mode)) => {
            let on = Mirrored {
                mode: convert::mode(Op::List, Some(&spec), mode)?,
                primary: info.is_some_and(|i| i.role == rbd::Role::Primary),
                snapshots: details.snapshots,
            };
            (MirrorView::On(on), details.status.or(m.status))
        }
        (Some(rbd::MirrorState::Disabling), _) => (MirrorView::Disabling, None),
        // It came or went between two calls: the next list shows it whole.
        (Some(rbd::MirrorState::Disabled), _)
        | (None, _)
        | (Some(rbd::MirrorState::Enabled | rbd::MirrorState::Creating), None)
        | (Some(rbd::MirrorState::Unrecognised(_)), _) => return Ok(None),
    };
    let (local, peer) = status.as_ref().map_or((None, None), convert::sites);
    Ok(Some(ImageView {
        spec,
        id: found.id,
        size: details.size,
        metadata: details.metadata,
        mirror,
        lineage: None,
        local,
        peer,
    }))
}

/// A volume only where policy says that it should be mirrored.
fn not_mirrored(spec: ImageSpec, id: String, details: Details) -> Option<ImageView> {
    let replicated = details.metadata.contains_key(metadata::MODE);
    replicated.then_some(ImageView {
        spec,
        id,
        size: details.size,
        metadata: details.metadata,
        mirror: MirrorView::Off,
        lineage: None,
        local: None,
        peer: None,
    })
}

/// An image that could not be read: what the pool tells of it, and what was last read of it. One that is not mirrored and was never read
/// is left out, for most images of a pool are no volumes of ours; whoever asks for it by name is told what is wrong.
fn unread(
    spec: ImageSpec,
    found: Found,
    kept: Option<Details>,
    error: &BackendError,
) -> Option<ImageView> {
    let Some(m) = found.mirrored else {
        return not_mirrored(spec, found.id, kept?);
    };
    let state = match (&m.info, &m.status) {
        (Some(info), _) => Some(&info.state),
        // The words of an image that no page speaks of are those of one that comes or goes.
        (None, Some(status)) if found.silent => Some(&status.state),
        (None, _) => None,
    };
    let mirror = match state {
        Some(rbd::MirrorState::Enabled | rbd::MirrorState::Creating) => {
            MirrorView::Unread(Unread {
                primary: match m.info.as_ref().map(|i| i.role) {
                    Some(rbd::Role::Primary) => Known::Yes,
                    Some(rbd::Role::NonPrimary) => Known::No,
                    None => Known::Unknown,
                },
                known: kept.is_some(),
                why: error.to_string(),
            })
        }
        Some(rbd::MirrorState::Disabling) => MirrorView::Disabling,
        Some(rbd::MirrorState::Disabled | rbd::MirrorState::Unrecognised(_)) | None => return None,
    };
    let (local, peer) = m.status.as_ref().map_or((None, None), convert::sites);
    let (size, metadata) = kept.map_or((0, Arc::default()), |d| (d.size, d.metadata));
    Some(ImageView {
        spec,
        id: found.id,
        size,
        metadata,
        mirror,
        lineage: None,
        local,
        peer,
    })
}

/// `rbd_mirror_image_global_status_list` puts "status not found" in the place of what a daemon says in the state `unknown`, and with
/// a demoted image that is all there is: "remote image is not primary". The image's own status has it.
fn word_lost(s: &rbd::SiteStatus) -> bool {
    s.state == rbd::ReplayState::Unknown && s.updated > 0 && s.description == "status not found"
}

fn words_lost(m: &rbd::MirroredImage) -> bool {
    m.status.iter().flat_map(|s| &s.sites).any(word_lost)
}

/// Whatever of the bulk answer tells that something happened to the image: role, the daemons' states, and in snapshot mode
/// which snapshots there are.
fn mark(m: &rbd::MirroredImage) -> String {
    use std::fmt::Write as _;
    let mut mark = String::new();
    if let Some(i) = &m.info {
        let _ = write!(mark, "{:?} {:?} ", i.role, i.state);
    }
    for s in m.status.iter().flat_map(|s| &s.sites) {
        let _ = write!(mark, "{:?} {:?} ", s.site, s.state);
        if word_lost(s) {
            let _ = write!(mark, "{:?} {} ", s.daemon, s.updated);
        }
        match &s.detail {
            rbd::ReplayDetail::Snapshot(d) => {
                let _ = write!(
                    mark,
                    "{:?} {:?} ",
                    d.local_snapshot_timestamp, d.remote_snapshot_timestamp
                );
            }
            rbd::ReplayDetail::Journal(_)
            | rbd::ReplayDetail::None
            | rbd::ReplayDetail::Unreadable(_) => {}
        }
    }
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(state: rbd::ReplayState, description: &str, updated: i64) -> rbd::SiteStatus {
        rbd::SiteStatus {
            site: rbd::Site::Local,
            daemon: rbd::DaemonPresence::Up,
            state,
            description: description.to_owned(),
            detail: rbd::ReplayDetail::None,
            updated,
        }
    }

    #[test]
    fn hard_case_21_words_that_the_list_lost_are_told_from_words_that_were_never_said() {
        use rbd::ReplayState::{Replaying, Unknown};
        assert!(word_lost(&says(Unknown, "status not found", 1_763_935_457)));
        for (state, description, updated) in [
            (Unknown, "status not found", 0),
            (Unknown, "remote image is not primary", 1_763_935_457),
            (Replaying, "replaying", 1_763_935_457),
        ] {
            assert!(
                !word_lost(&says(state, description, updated)),
                "{description}"
            );
        }
    }

    fn spec() -> ImageSpec {
        ImageSpec::new("volumes", "volume-1").unwrap()
    }

    fn info(role: rbd::Role) -> rbd::MirrorInfo {
        rbd::MirrorInfo {
            global_id: "g".to_owned(),
            state: rbd::MirrorState::Enabled,
            role,
        }
    }

    fn status() -> rbd::ImageStatus {
        rbd::ImageStatus {
            name: "volume-1".to_owned(),
            global_id: "g".to_owned(),
            state: rbd::MirrorState::Enabled,
            sites: Vec::new(),
        }
    }

    /// Two mirrored images and one that is not; the page of the second is silent.
    fn found() -> Vec<Found> {
        let name = |n: u8| (n.to_string(), format!("volume-{n}"));
        let bulk = Bulk {
            names: [name(1), name(2), name(3)].into(),
            statuses: [("1".to_owned(), status()), ("2".to_owned(), status())].into(),
        };
        let told = (info(rbd::Role::Primary), rbd::MirrorMode::Journal);
        let roles = Roles {
            told: [("1".to_owned(), told)].into(),
            silent: ["2".to_owned()].into(),
        };
        let mut found = put_together(bulk, roles);
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    fn kept(group: &str) -> Details {
        Details {
            name: "volume-1".to_owned(),
            read: Instant::now(),
            mark: None,
            size: 7,
            metadata: Arc::new([(metadata::GROUP.to_owned(), group.to_owned())].into()),
            snapshots: convert::snapshots(&[]),
            status: None,
            role: None,
        }
    }

    #[test]
    fn images_are_put_together_and_those_of_a_silent_page_say_so() {
        let all = found();
        let mirrored: Vec<bool> = all.iter().map(|f| f.mirrored.is_some()).collect();
        assert_eq!(mirrored, [true, true, false]);
        let silent: Vec<bool> = all.iter().map(|f| f.silent).collect();
        assert_eq!(silent, [false, true, false]);
    }

    #[tokio::test]
    async fn hard_case_22_an_image_that_cannot_be_read_is_listed_with_what_is_known_of_it() {
        let [primary, silent, plain] = found().try_into().unwrap();
        let error = BackendError::deadline(Op::Open, None);
        let view = |found: &Found, kept| unread(spec(), found.clone(), kept, &error);
        let seen = view(&primary, Some(kept("db"))).unwrap();
        let what = |v: &ImageView| match &v.mirror {
            MirrorView::Unread(u) => (u.primary, u.known),
            read @ (MirrorView::Off | MirrorView::Disabling | MirrorView::On(_)) => {
                panic!("{read:?}")
            }
        };
        assert_eq!(what(&seen), (Known::Yes, true));
        assert_eq!(
            (seen.size, seen.metadata[metadata::GROUP].as_str()),
            (7, "db")
        );
        // Never read: nothing is made up.
        let seen = view(&primary, None).unwrap();
        assert_eq!(what(&seen), (Known::Yes, false));
        assert!(seen.metadata.is_empty());
        assert!(seen.may_be_any_groups().is_some());
        // Nor does the pool say whether it is primary.
        let seen = view(&silent, Some(kept("db"))).unwrap();
        assert_eq!(what(&seen), (Known::Unknown, true));
        assert!(seen.may_be_any_groups().is_none());
        // Most images of a pool are no volumes.
        assert_eq!(view(&plain, None), None);
        assert_eq!(view(&plain, Some(kept("db"))), None);
    }

    #[tokio::test]
    async fn an_image_of_a_silent_page_is_told_by_its_own_word() {
        let [_, silent, _] = found().try_into().unwrap();
        let details = Details {
            role: Some((info(rbd::Role::Primary), Some(rbd::MirrorMode::Snapshot))),
            ..kept("db")
        };
        let seen = read(spec(), silent, details).unwrap().unwrap();
        assert_eq!(seen.primary(), Known::Yes);
        assert!(matches!(seen.mirror, MirrorView::On(_)));
    }
}
