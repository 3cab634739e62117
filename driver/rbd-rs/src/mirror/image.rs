//! Mirroring of one image: on and off, and who is primary.

use std::mem::MaybeUninit;

use crate::buffer::copied;
use crate::error::{At, BusyReason, MirrorScope, Role};
use crate::mirror::status::{
    DaemonPresence, ImageStatus, MirrorState, ReplayDetail, ReplayState, Site, SiteStatus,
};
use crate::sys::types::{
    RBD_MIRROR_IMAGE_MODE_JOURNAL, RBD_MIRROR_IMAGE_MODE_SNAPSHOT,
    rbd_mirror_image_global_status_t, rbd_mirror_image_info_t, rbd_mirror_image_site_status_t,
};
use crate::{Error, Features, Image, PoolMirrorMode};

/// How an image is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MirrorMode {
    /// Every write, by its journal.
    Journal,
    /// By mirror snapshots.
    Snapshot,
    /// A number that this crate has no name for. It cannot be enabled.
    Unrecognised(u32),
}

impl MirrorMode {
    pub(crate) fn from_c(mode: u32) -> Self {
        match mode {
            RBD_MIRROR_IMAGE_MODE_JOURNAL => Self::Journal,
            RBD_MIRROR_IMAGE_MODE_SNAPSHOT => Self::Snapshot,
            other => Self::Unrecognised(other),
        }
    }
}

/// How to promote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Promote {
    /// Only if no other site is primary as far as **this copy** knows.
    ///
    /// After the first demotion of the peer that is proof enough: the demotion was replayed here,
    /// and with it all before it. But a copy that was primary itself and demoted knows nothing of
    /// what the peer wrote since, until its daemon has looked, and it is promoted all the same:
    /// A demotes, B promotes, writes and demotes, and A's plain promotion succeeds with B's
    /// writes missing (hard case 57; measured in both modes). So the one who demotes must leave a
    /// mark in the image's metadata first, and the one who promotes must see that very mark in
    /// the copy: metadata arrives after all that was written before it.
    ///
    /// And nobody may demote before the other side replays what he writes: where no site is
    /// primary a daemon does not begin to replay, so that the demotion would never arrive.
    Plain,
    /// Whatever the peer is. What it has not sent is lost, and if it still is primary there are
    /// two. A decision made for this very image, never an answer to an error (hard case 20).
    ///
    /// In snapshot mode librbd 16.2.15 **aborts the process** (`PromoteRequest::rollback`, a failed
    /// assertion) if this site's daemon removes the snapshot to roll back to at that moment. Seen
    /// with a daemon that was copying from a living peer.
    Force,
}

/// How to take mirroring off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disable {
    /// Only where the image is primary.
    Plain,
    /// A non-primary too. In snapshot mode it is a forced promotion first, with all that
    /// [`Promote::Force`] says.
    Force,
}

/// An image's part in mirroring, as its cluster keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorInfo {
    /// Its id in all clusters. Empty if it is not mirrored.
    pub global_id: String,
    /// Whether it is mirrored.
    pub state: MirrorState,
    /// The part it plays.
    pub role: Role,
}

impl Image {
    /// Turns mirroring on, making this copy the primary one.
    ///
    /// Journal mode needs the features exclusive-lock and journaling: those that are missing are
    /// turned on first. Snapshot mode takes a first mirror snapshot.
    ///
    /// # Errors
    /// [`Error::NotMirrored`] with [`MirrorScope::Pool`] if the pool is not mirrored,
    /// [`Error::Invalid`] if it is mirrored in the other mode or a parent is not mirrored.
    ///
    /// # Implements:
    /// `int rbd_mirror_image_enable2(rbd_image_t image, rbd_mirror_image_mode_t mode)`
    pub fn mirror_enable(&self, mode: MirrorMode) -> Result<(), Error> {
        let at = self.at("rbd_mirror_image_enable2");
        let number = match mode {
            MirrorMode::Journal => RBD_MIRROR_IMAGE_MODE_JOURNAL,
            MirrorMode::Snapshot => RBD_MIRROR_IMAGE_MODE_SNAPSHOT,
            MirrorMode::Unrecognised(_) => return Err(at.error(-libc::EINVAL)),
        };
        if self.pool().mirror_mode()? == PoolMirrorMode::Disabled {
            let call = at.call(-libc::EINVAL, None);
            return Err(Error::NotMirrored {
                call,
                scope: MirrorScope::Pool,
            });
        }
        if mode == MirrorMode::Journal {
            let needed = Features::EXCLUSIVE_LOCK | Features::JOURNALING;
            let missing = needed.without(self.features()?);
            if !missing.is_empty() {
                self.enable_features(missing)?;
            }
        }
        // SAFETY: an open image.
        at.check(unsafe { (self.rbd().rbd_mirror_image_enable2)(self.handle(), number) })?;
        Ok(())
    }

    /// Turns mirroring off. The peer's copy is **deleted** when a primary's mirroring is.
    ///
    /// # Errors
    /// [`Error::NotMirrored`], [`Error::WrongRole`] for a non-primary image without
    /// [`Disable::Force`].
    ///
    /// # Implements:
    /// `int rbd_mirror_image_disable(rbd_image_t image, bool force)`
    pub fn mirror_disable(&self, how: Disable) -> Result<(), Error> {
        let force = matches!(how, Disable::Force);
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_mirror_image_disable)(self.handle(), force) };
        self.settle("rbd_mirror_image_disable", code)
    }

    /// Makes this copy primary. With [`Promote::Force`] in snapshot mode a half-copied snapshot
    /// is rolled back first, which takes long on a large image (hard case 23).
    ///
    /// # Errors
    /// [`Error::Busy`] with [`BusyReason::PeerPrimaryOrDemotionPending`] for a plain promotion
    /// that is not due (yet), and with [`BusyReason::DaemonHoldsImage`] for some milliseconds
    /// after the demotion has been replayed, [`Error::WrongRole`] if it is primary already,
    /// [`Error::NotMirrored`]. After a timeout it may still happen.
    ///
    /// # Implements:
    /// `int rbd_mirror_image_promote(rbd_image_t image, bool force)`
    pub fn mirror_promote(&self, how: Promote) -> Result<(), Error> {
        let force = matches!(how, Promote::Force);
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_mirror_image_promote)(self.handle(), force) };
        if code >= 0 {
            self.set_demoted(false);
        }
        let reason = match code.saturating_neg() {
            libc::EBUSY => BusyReason::PeerPrimaryOrDemotionPending,
            libc::EROFS => BusyReason::DaemonHoldsImage,
            _ => return self.settle("rbd_mirror_image_promote", code),
        };
        let call = self.at("rbd_mirror_image_promote").call(code, None);
        Err(Error::Busy { call, reason })
    }

    /// Makes this copy non-primary. A writer that has it open is refused from then on.
    ///
    /// Two things were measured with 16.2.15 that one would not expect in **snapshot** mode:
    ///
    /// * A write that another client had under way may still be carried out after the demotion's
    ///   snapshot was taken: acknowledged here, and never sent to the peer. Who wants every
    ///   acknowledged write on the other side must stop or blocklist the writers first.
    /// * The handle that demoted goes on taking writes, and they reach the disk. This type refuses
    ///   them with [`Error::ReadOnly`]; open the image anew after promoting it again.
    ///
    /// # Errors
    /// [`Error::WrongRole`] if it is not primary, [`Error::NotMirrored`].
    ///
    /// # Implements:
    /// `int rbd_mirror_image_demote(rbd_image_t image)`
    pub fn mirror_demote(&self) -> Result<(), Error> {
        self.set_demoted(true);
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_mirror_image_demote)(self.handle()) };
        let result = self.settle("rbd_mirror_image_demote", code);
        if matches!(result, Err(Error::NotMirrored { .. })) {
            self.set_demoted(false);
        }
        result
    }

    /// Asks the daemon to **delete this copy** and fetch it anew. It only sets a mark: the daemon
    /// acts on it later, whether or not there is a primary to fetch from then (hard case 18). The
    /// image's id changes.
    ///
    /// # Errors
    /// [`Error::WrongRole`] for a primary, [`Error::NotMirrored`].
    ///
    /// # Implements:
    /// `int rbd_mirror_image_resync(rbd_image_t image)`
    pub fn mirror_resync(&self) -> Result<(), Error> {
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_mirror_image_resync)(self.handle()) };
        self.settle("rbd_mirror_image_resync", code)
    }

    /// The part the image plays. One that is not mirrored has the state
    /// [`MirrorState::Disabled`].
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_mirror_image_get_info(rbd_image_t image, rbd_mirror_image_info_t *mirror_image_info, size_t info_size);
    /// void rbd_mirror_image_get_info_cleanup(rbd_mirror_image_info_t *mirror_image_info);
    /// ```
    pub fn mirror_info(&self) -> Result<MirrorInfo, Error> {
        let at = self.at("rbd_mirror_image_get_info");
        // SAFETY: zeros are a valid info.
        let mut raw: rbd_mirror_image_info_t = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: an open image, and a place for the result of the size given.
        at.check(unsafe {
            (self.rbd().rbd_mirror_image_get_info)(self.handle(), &mut raw, size_of_val(&raw))
        })?;
        // SAFETY: librbd filled it in.
        let info = unsafe { mirror_info(at, &raw) };
        // SAFETY: as above, and it is freed once.
        unsafe { (self.rbd().rbd_mirror_image_get_info_cleanup)(&mut raw) };
        info
    }

    /// How the image is mirrored.
    ///
    /// Releases differ for an image that is not: some answer `EINVAL`, 16.2.15 answers "journal".
    /// So its state is looked at first.
    ///
    /// # Errors
    /// [`Error::NotMirrored`] if it is not.
    ///
    /// # Implements:
    /// `int rbd_mirror_image_get_mode(rbd_image_t image, rbd_mirror_image_mode_t *mode)`
    pub fn mirror_mode(&self) -> Result<MirrorMode, Error> {
        self.mirror_mode_of(&self.mirror_info()?)
    }

    /// [`Image::mirror_mode`] of one whose part is known: that takes some three requests to the cluster, in journal mode five.
    ///
    /// # Errors
    /// As [`Image::mirror_mode`].
    pub fn mirror_mode_of(&self, info: &MirrorInfo) -> Result<MirrorMode, Error> {
        if info.state == MirrorState::Disabled {
            let at = self.at("rbd_mirror_image_get_mode");
            return Err(not_mirrored(at.call(-libc::EINVAL, None)));
        }
        self.mirror_mode_alone()
    }

    /// [`Image::mirror_mode`] of one whose part is not asked for, as where its journal does not answer: some releases say "journal" of
    /// an image that is not mirrored.
    ///
    /// # Errors
    /// As [`Image::mirror_mode`].
    pub fn mirror_mode_alone(&self) -> Result<MirrorMode, Error> {
        let at = self.at("rbd_mirror_image_get_mode");
        let mut mode = 0;
        // SAFETY: an open image and a place for the result.
        let code = unsafe { (self.rbd().rbd_mirror_image_get_mode)(self.handle(), &mut mode) };
        match at.check(code) {
            Ok(_) => Ok(MirrorMode::from_c(mode)),
            Err(Error::Invalid(call) | Error::NotFound(call)) => Err(not_mirrored(call)),
            Err(error) => Err(error),
        }
    }

    /// What every site reports of the image.
    ///
    /// # Errors
    /// [`Error::NotMirrored`] if it is not mirrored.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_mirror_image_get_global_status(rbd_image_t image,
    ///     rbd_mirror_image_global_status_t *mirror_image_global_status, size_t status_size);
    /// void rbd_mirror_image_global_status_cleanup(rbd_mirror_image_global_status_t *mirror_image_global_status);
    /// ```
    pub fn mirror_status(&self) -> Result<ImageStatus, Error> {
        let at = self.at("rbd_mirror_image_get_global_status");
        // SAFETY: zeros are a valid status.
        let mut raw: rbd_mirror_image_global_status_t =
            unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: an open image, and a place for the result of the size given.
        let code = unsafe {
            (self.rbd().rbd_mirror_image_get_global_status)(
                self.handle(),
                &mut raw,
                size_of_val(&raw),
            )
        };
        match at.check(code) {
            Ok(_) => {}
            Err(Error::Invalid(call) | Error::NotFound(call)) => return Err(not_mirrored(call)),
            Err(error) => return Err(error),
        }
        // SAFETY: librbd filled it in.
        let status = unsafe { image_status(at, &raw) };
        // SAFETY: as above, and it is freed once.
        unsafe { (self.rbd().rbd_mirror_image_global_status_cleanup)(&mut raw) };
        let status = status?;
        if status.state == MirrorState::Disabled && status.global_id.is_empty() {
            return Err(not_mirrored(at.call(-libc::EINVAL, None)));
        }
        Ok(status)
    }

    /// Tells what `EINVAL` and `ENOENT` of a mirror call meant: not mirrored, or in the wrong
    /// role. (16.2.15 gives `ENOENT` for promoting and resyncing an image that is not mirrored,
    /// and `EINVAL` for the rest.)
    pub(crate) fn settle(&self, operation: &'static str, code: i32) -> Result<(), Error> {
        let (call, invalid) = match self.at(operation).check(code) {
            Ok(_) => return Ok(()),
            Err(Error::Invalid(call)) => (call, true),
            Err(Error::NotFound(call)) => (call, false),
            Err(error) => return Err(error),
        };
        let wanted = match operation {
            "rbd_mirror_image_promote" | "rbd_mirror_image_resync" => Role::NonPrimary,
            _ => Role::Primary,
        };
        Err(match self.mirror_info() {
            Ok(info) if info.state == MirrorState::Disabled => not_mirrored(call),
            Ok(info) if invalid && info.role != wanted => Error::WrongRole {
                call,
                role: info.role,
            },
            // A look that fails must not hide the first error.
            Ok(_) | Err(_) if invalid => Error::Invalid(call),
            Ok(_) | Err(_) => Error::NotFound(call),
        })
    }
}

fn not_mirrored(call: crate::Call) -> Error {
    Error::NotMirrored {
        call,
        scope: MirrorScope::Image,
    }
}

/// # Safety
/// librbd filled `raw` in.
pub(super) unsafe fn mirror_info(
    at: At<'_>,
    raw: &rbd_mirror_image_info_t,
) -> Result<MirrorInfo, Error> {
    Ok(MirrorInfo {
        // SAFETY: the caller vouches.
        global_id: unsafe { copied(at, raw.global_id) }?,
        state: MirrorState::from_c(raw.state),
        role: if raw.primary {
            Role::Primary
        } else {
            Role::NonPrimary
        },
    })
}

/// # Safety
/// librbd filled `raw` in.
pub(super) unsafe fn image_status(
    at: At<'_>,
    raw: &rbd_mirror_image_global_status_t,
) -> Result<ImageStatus, Error> {
    let count = usize::try_from(raw.site_statuses_count).map_err(|error| at.unreadable(error))?;
    let sites = if raw.site_statuses.is_null() {
        &[]
    } else {
        // SAFETY: librbd says that so many are there.
        unsafe { std::slice::from_raw_parts(raw.site_statuses, count) }
    };
    // SAFETY: librbd filled the texts in.
    unsafe {
        Ok(ImageStatus {
            name: copied(at, raw.name)?,
            global_id: copied(at, raw.info.global_id)?,
            state: MirrorState::from_c(raw.info.state),
            sites: sites
                .iter()
                .map(|site| site_status(at, site))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// # Safety
/// librbd filled `raw` in.
unsafe fn site_status(
    at: At<'_>,
    raw: &rbd_mirror_image_site_status_t,
) -> Result<SiteStatus, Error> {
    // SAFETY: the caller vouches.
    let (uuid, description) =
        unsafe { (copied(at, raw.mirror_uuid)?, copied(at, raw.description)?) };
    Ok(SiteStatus {
        // RBD_MIRROR_IMAGE_STATUS_LOCAL_MIRROR_UUID is the empty text.
        site: if uuid.is_empty() {
            Site::Local
        } else {
            Site::Remote(uuid)
        },
        daemon: if raw.up {
            DaemonPresence::Up
        } else {
            DaemonPresence::Down
        },
        state: ReplayState::from_c(raw.state),
        detail: ReplayDetail::parse(&description),
        description,
        updated: raw.last_update,
    })
}
