//! Mirroring of a pool: its mode, its peers, the site's name, its summary.

use std::collections::BTreeMap;
use std::ffi::c_int;

use crate::buffer::{self, Attempt, c_name, c_text, copied};
use crate::error::At;
use crate::mirror::status::ReplayState;
use crate::sys::types::{
    RBD_MIRROR_MODE_DISABLED, RBD_MIRROR_MODE_IMAGE, RBD_MIRROR_MODE_POOL,
    RBD_MIRROR_PEER_DIRECTION_RX, RBD_MIRROR_PEER_DIRECTION_RX_TX, RBD_MIRROR_PEER_DIRECTION_TX,
    rbd_mirror_peer_site_t,
};
use crate::{Cluster, Error, Pool};

/// Which images of a pool are mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolMirrorMode {
    /// None.
    Disabled,
    /// Those for which it is enabled one by one.
    Image,
    /// All with journaling.
    Pool,
    /// A number that this crate has no name for. It cannot be set.
    Unrecognised(u32),
}

/// Which way a peer's data flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerDirection {
    /// From the peer to here.
    Receive,
    /// From here to the peer.
    Send,
    /// Both.
    Both,
    /// A number that this crate has no name for. It cannot be set.
    Unrecognised(u32),
}

/// A peer of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorPeer {
    /// Its id here, by which it is removed.
    pub uuid: String,
    /// The other site's name.
    pub site_name: String,
    /// The other pool's mirror UUID; empty until the daemons have met. Status reports name the
    /// site by it.
    pub mirror_uuid: String,
    /// The client as which this site's daemon connects there.
    pub client_name: String,
    /// Which way the data flows.
    pub direction: PeerDirection,
    /// When a daemon of that peer was last seen, in seconds since the Unix epoch; 0 for never.
    pub last_seen: i64,
}

impl Cluster {
    /// This site's name; the cluster's id if none was set.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_mirror_site_name_get(rados_t cluster, char *name, size_t *max_len)`
    pub fn mirror_site_name(&self) -> Result<String, Error> {
        buffer::text(self.at("rbd_mirror_site_name_get"), |name, len| {
            // SAFETY: a connected handle, room for `*len` bytes.
            unsafe { (self.rbd().rbd_mirror_site_name_get)(self.handle(), name, len) }
        })
    }

    /// Names this site. Peers know it by this name from the next bootstrap on.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_mirror_site_name_set(rados_t cluster, const char *name)`
    pub fn set_mirror_site_name(&self, name: &str) -> Result<(), Error> {
        let name = c_text("site name", name)?;
        // SAFETY: a connected handle, a text that ends with NUL.
        let code = unsafe { (self.rbd().rbd_mirror_site_name_set)(self.handle(), name.as_ptr()) };
        self.at("rbd_mirror_site_name_set").check(code)?;
        Ok(())
    }
}

impl Pool {
    /// Which images of the pool are mirrored.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_mirror_mode_get(rados_ioctx_t io_ctx, rbd_mirror_mode_t *mirror_mode)`
    pub fn mirror_mode(&self) -> Result<PoolMirrorMode, Error> {
        let mut mode = 0;
        // SAFETY: an open ioctx and a place for the result.
        let code = unsafe { (self.rbd().rbd_mirror_mode_get)(self.handle(), &mut mode) };
        self.at("rbd_mirror_mode_get").check(code)?;
        Ok(match mode {
            RBD_MIRROR_MODE_DISABLED => PoolMirrorMode::Disabled,
            RBD_MIRROR_MODE_IMAGE => PoolMirrorMode::Image,
            RBD_MIRROR_MODE_POOL => PoolMirrorMode::Pool,
            other => PoolMirrorMode::Unrecognised(other),
        })
    }

    /// Chooses which images of the pool are mirrored.
    ///
    /// # Errors
    /// [`Error::Busy`] when it cannot be disabled because of images that are still mirrored.
    ///
    /// # Implements:
    /// `int rbd_mirror_mode_set(rados_ioctx_t io_ctx, rbd_mirror_mode_t mirror_mode)`
    pub fn set_mirror_mode(&self, mode: PoolMirrorMode) -> Result<(), Error> {
        let at = self.at("rbd_mirror_mode_set");
        let mode = match mode {
            PoolMirrorMode::Disabled => RBD_MIRROR_MODE_DISABLED,
            PoolMirrorMode::Image => RBD_MIRROR_MODE_IMAGE,
            PoolMirrorMode::Pool => RBD_MIRROR_MODE_POOL,
            PoolMirrorMode::Unrecognised(_) => return Err(at.error(-libc::EINVAL)),
        };
        // SAFETY: an open ioctx.
        at.check(unsafe { (self.rbd().rbd_mirror_mode_set)(self.handle(), mode) })?;
        Ok(())
    }

    /// This pool's own mirror UUID, as the peers' reports name it.
    ///
    /// # Errors
    /// [`Error::NotMirrored`] if the pool is not.
    ///
    /// # Implements:
    /// `int rbd_mirror_uuid_get(rados_ioctx_t io_ctx, char *uuid, size_t *max_len)`
    pub fn mirror_uuid(&self) -> Result<String, Error> {
        let at = self.at("rbd_mirror_uuid_get");
        let uuid = buffer::text(at, |uuid, len| {
            // SAFETY: an open ioctx, room for `*len` bytes.
            unsafe { (self.rbd().rbd_mirror_uuid_get)(self.handle(), uuid, len) }
        });
        match uuid {
            Err(Error::NotFound(call)) => Err(Error::NotMirrored {
                call,
                scope: crate::MirrorScope::Pool,
            }),
            Ok(_) | Err(_) => uuid,
        }
    }

    /// The pool's peers.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_mirror_peer_site_list(rados_ioctx_t io_ctx, rbd_mirror_peer_site_t *peers, int *max_peers);
    /// void rbd_mirror_peer_site_list_cleanup(rbd_mirror_peer_site_t *peers, int max_peers);
    /// ```
    pub fn mirror_peers(&self) -> Result<Vec<MirrorPeer>, Error> {
        let at = self.at("rbd_mirror_peer_site_list");
        // SAFETY: zeros are a valid peer; librbd heeds the length.
        let mut raw = unsafe {
            buffer::records(at, 4, |list: *mut rbd_mirror_peer_site_t, len| {
                let mut count = c_int::try_from(*len).unwrap_or(c_int::MAX);
                let code = (self.rbd().rbd_mirror_peer_site_list)(self.handle(), list, &mut count);
                *len = usize::try_from(count).unwrap_or(0);
                code
            })
        }?;
        let peers = raw.iter().map(|peer| mirror_peer(at, peer)).collect();
        let count = c_int::try_from(raw.len()).unwrap_or(c_int::MAX);
        // SAFETY: as many as librbd filled in, freed once.
        unsafe { (self.rbd().rbd_mirror_peer_site_list_cleanup)(raw.as_mut_ptr(), count) };
        peers
    }

    /// Removes a peer, by its id here.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    ///
    /// # Implements:
    /// `int rbd_mirror_peer_site_remove(rados_ioctx_t io_ctx, const char *uuid)`
    pub fn remove_mirror_peer(&self, uuid: &str) -> Result<(), Error> {
        let uuid = c_name("peer's uuid", uuid)?;
        // SAFETY: an open ioctx, a text that ends with NUL.
        let code =
            unsafe { (self.rbd().rbd_mirror_peer_site_remove)(self.handle(), uuid.as_ptr()) };
        self.at("rbd_mirror_peer_site_remove").check(code)?;
        Ok(())
    }

    /// A token with which the other site makes itself a peer. **It holds a key**: keep it out of
    /// logs.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the pool is not mirrored.
    ///
    /// # Implements:
    /// `int rbd_mirror_peer_bootstrap_create(rados_ioctx_t io_ctx, char *token, size_t *max_len)`
    pub fn create_mirror_bootstrap(&self) -> Result<String, Error> {
        buffer::text(self.at("rbd_mirror_peer_bootstrap_create"), |token, len| {
            // SAFETY: an open ioctx, room for `*len` bytes.
            unsafe { (self.rbd().rbd_mirror_peer_bootstrap_create)(self.handle(), token, len) }
        })
    }

    /// Makes the site that gave the token a peer; with [`PeerDirection::Both`] each of the other.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a token that is none, or of this very cluster.
    ///
    /// # Implements:
    /// `int rbd_mirror_peer_bootstrap_import(rados_ioctx_t io_ctx, rbd_mirror_peer_direction_t direction, const char *token)`
    pub fn import_mirror_bootstrap(
        &self,
        token: &str,
        direction: PeerDirection,
    ) -> Result<(), Error> {
        let at = self.at("rbd_mirror_peer_bootstrap_import");
        let token = c_name("bootstrap token", token)
            // The token is a secret, and must not come back in an error.
            .map_err(|_| Error::Text {
                what: "bootstrap token",
                text: "(not shown)".to_owned(),
            })?;
        let direction = match direction {
            PeerDirection::Receive => RBD_MIRROR_PEER_DIRECTION_RX,
            PeerDirection::Send => RBD_MIRROR_PEER_DIRECTION_TX,
            PeerDirection::Both => RBD_MIRROR_PEER_DIRECTION_RX_TX,
            PeerDirection::Unrecognised(_) => return Err(at.error(-libc::EINVAL)),
        };
        // SAFETY: an open ioctx, a text that ends with NUL.
        at.check(unsafe {
            (self.rbd().rbd_mirror_peer_bootstrap_import)(self.handle(), direction, token.as_ptr())
        })?;
        Ok(())
    }

    /// How many of the pool's images are in which state, by this cluster's daemon. Images that no
    /// daemon reports count as [`ReplayState::Unknown`].
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_mirror_image_status_summary(rados_ioctx_t io_ctx, rbd_mirror_image_status_state_t *states,
    ///                                     int *counts, size_t *maxlen);
    /// ```
    pub fn mirror_summary(&self) -> Result<BTreeMap<String, u64>, Error> {
        let at = self.at("rbd_mirror_image_status_summary");
        let (states, counts) = buffer::grow(at, [16], |[size]| {
            let (mut states, mut counts, mut len) = (vec![0; size], vec![0; size], size);
            // SAFETY: an open ioctx, and two arrays of `len` values.
            let code = unsafe {
                (self.rbd().rbd_mirror_image_status_summary)(
                    self.handle(),
                    states.as_mut_ptr(),
                    counts.as_mut_ptr(),
                    &mut len,
                )
            };
            Attempt::from_code(code, [len], |_| {
                states.truncate(len);
                counts.truncate(len);
                (states, counts)
            })
        })?;
        states
            .into_iter()
            .zip(counts)
            .map(|(state, count)| {
                let count = u64::try_from(count).map_err(|error| at.unreadable(error))?;
                Ok((ReplayState::from_c(state).to_string(), count))
            })
            .collect()
    }

    /// The namespace of the peer's pool that this namespace is mirrored to, where it can be
    /// another than its own name.
    ///
    /// # Errors
    /// [`Error::MissingFunction`] before Ceph 20.
    ///
    /// # Implements:
    /// `int rbd_mirror_remote_namespace_get(rados_ioctx_t io_ctx, char *remote_namespace, size_t *max_len)`
    pub fn mirror_remote_namespace(&self) -> Result<String, Error> {
        let function = self.rbd().rbd_mirror_remote_namespace_get()?;
        buffer::text(self.at("rbd_mirror_remote_namespace_get"), |name, len| {
            // SAFETY: an open ioctx, room for `*len` bytes.
            unsafe { function(self.handle(), name, len) }
        })
    }
}

fn mirror_peer(at: At<'_>, peer: &rbd_mirror_peer_site_t) -> Result<MirrorPeer, Error> {
    // SAFETY: librbd filled the texts in.
    unsafe {
        Ok(MirrorPeer {
            uuid: copied(at, peer.uuid)?,
            site_name: copied(at, peer.site_name)?,
            mirror_uuid: copied(at, peer.mirror_uuid)?,
            client_name: copied(at, peer.client_name)?,
            direction: match peer.direction {
                RBD_MIRROR_PEER_DIRECTION_RX => PeerDirection::Receive,
                RBD_MIRROR_PEER_DIRECTION_TX => PeerDirection::Send,
                RBD_MIRROR_PEER_DIRECTION_RX_TX => PeerDirection::Both,
                other => PeerDirection::Unrecognised(other),
            },
            last_seen: peer.last_seen,
        })
    }
}
