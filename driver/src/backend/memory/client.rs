//! A client that writes to an image: QEMU's part in tests and in the demo.

use super::{
    Cluster, Record,
    world::{Change, Health},
};
use crate::backend::error::errno;
use rekindle_common::ImageSpec;
use tokio::time::Instant;

/// Why a client's write failed, as librbd's errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write refused: errno {errno}")]
pub struct ClientError {
    /// EROFS after a demotion, ESHUTDOWN when blocklisted, ENOENT when the image went, ENOSPC when full, ECONNREFUSED.
    pub errno: i32,
}

/// A client with an image open for writing.
#[derive(Debug)]
pub struct Writer {
    cluster: Cluster,
    spec: ImageSpec,
    image_id: String,
    address: String,
}

impl Cluster {
    /// Opens an image for writing.
    ///
    /// # Errors
    /// [`ClientError`]: ENOENT, or EROFS where it is a copy. Waits while the cluster hangs.
    pub async fn open(&self, spec: &ImageSpec) -> Result<Writer, ClientError> {
        self.ready().await?;
        let mut w = self.shared.world();
        let nonce = w.fresh_id();
        let c = &mut w.clusters[self.side];
        let address = format!("192.0.2.{}:0/{nonce}", self.side + 1);
        let image = c.images.get_mut(spec).ok_or(ClientError {
            errno: errno::ENOENT,
        })?;
        if image.mirror.as_ref().is_some_and(|m| !m.primary) {
            return Err(ClientError {
                errno: errno::EROFS,
            });
        }
        image.writers.insert(address.clone());
        Ok(Writer {
            cluster: self.clone(),
            spec: spec.clone(),
            image_id: image.id.clone(),
            address,
        })
    }

    /// Waits until the cluster answers: a real client blocks for as long.
    async fn ready(&self) -> Result<(), ClientError> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.read(|c| c.health) {
                Health::Up => return Ok(()),
                Health::Refusing => {
                    return Err(ClientError {
                        errno: errno::ECONNREFUSED,
                    });
                }
                Health::Hanging => changed.await,
            }
        }
    }
}

impl Writer {
    /// The client's address, as watchers and the blocklist show it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Writes one record; the answer is the acknowledgement, with its time.
    ///
    /// # Errors
    /// [`ClientError`]. Waits while the cluster hangs, as a real write does.
    pub async fn write(&self, seq: u64, payload: Vec<u8>) -> Result<Record, ClientError> {
        self.cluster.ready().await?;
        let refuse = |errno| Err(ClientError { errno });
        let now = Instant::now();
        let mut w = self.cluster.shared.world();
        let record = Record {
            seq,
            at: w.clock.at(now),
            payload,
        };
        let entry = w.entry(now, Change::Write(record.clone()));
        let c = &mut w.clusters[self.cluster.side];
        if c.blocklist.contains(&self.address) {
            return refuse(errno::ESHUTDOWN);
        }
        if c.full {
            return refuse(errno::ENOSPC);
        }
        let Some(image) = c.images.get_mut(&self.spec) else {
            return refuse(errno::ENOENT);
        };
        if image.id != self.image_id {
            return refuse(errno::ENOENT);
        }
        if image.mirror.as_ref().is_some_and(|m| !m.primary) {
            return refuse(errno::EROFS);
        }
        image.append(entry);
        Ok(record)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.cluster.change(|c| {
            if let Some(i) = c.images.get_mut(&self.spec) {
                i.writers.remove(&self.address);
            }
        });
    }
}
