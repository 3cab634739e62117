//! Snapshot mode: the image beside the last mirror snapshot that the other site has for certain.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::decode::Reader;
use super::{BLOCK, Bound, GiveUp, Written};
use crate::mirror::interrupted::{HEAD, Layout};
use crate::mirror::snapshot::{MirrorSnapshot, MirrorSnapshotState};
use crate::object_view::ObjectView;
use crate::{Error, Features, Image};

/// How much of an object is read at a time, in bytes; two such buffers for each thread.
const CHUNK: usize = 512 << 10;
/// `RBD_FLAG_OBJECT_MAP_INVALID` and `RBD_FLAG_FAST_DIFF_INVALID` of `rbd/features.h`.
const MAP_INVALID: u64 = 1 | 2;

/// From where on this image is one of its own.
#[derive(Debug, PartialEq, Eq)]
enum Split {
    /// It was never primary since it last followed: a copy takes no writes.
    Never,
    /// From this snapshot on.
    At {
        snapshot: u64,
        /// Whether the other site may have a newer one.
        bound: Bound,
    },
    /// It cannot be told.
    Unknown(&'static str),
}

/// Reads it off the mirror snapshots, oldest first.
///
/// Those that were taken here since the image last followed are its own. The other site's daemon takes its name off each once it
/// has the whole of the next one, and so the oldest that still bears it is the newest that is whole there, or the one before.
fn split(snapshots: &[MirrorSnapshot]) -> Split {
    use MirrorSnapshotState as S;
    if snapshots
        .iter()
        .any(|s| matches!(s.state, S::Unrecognised(_)))
    {
        return Split::Unknown(
            "it has a mirror snapshot of a kind that this version does not know",
        );
    }
    let taken_here = |s: &&MirrorSnapshot| match s.state {
        S::Primary | S::PrimaryDemoted => true,
        S::NonPrimary | S::NonPrimaryDemoted | S::Unrecognised(_) => false,
    };
    let own = snapshots.iter().rev().take_while(taken_here).count();
    let (copied, own) = snapshots.split_at(snapshots.len().saturating_sub(own));
    let Some((_, before_last)) = own.split_last() else {
        return match copied.last() {
            Some(s) if s.complete => Split::Never,
            Some(_) => Split::Unknown("a copy from the other zone is on its way"),
            None => Split::Unknown("it has no mirror snapshot"),
        };
    };
    let wanted = |s: &&MirrorSnapshot| !s.peer_uuids.is_empty();
    let Some(first) = own
        .iter()
        .filter(wanted)
        .find(|s| s.state == MirrorSnapshotState::Primary)
    else {
        return Split::Unknown("no mirror snapshot is left that the other zone is known to have");
    };
    // The last one is the demotion's own, as a rule: had that arrived there would be no split.
    let newer = |s: &&MirrorSnapshot| s.snapshot.id > first.snapshot.id;
    let bound = match before_last.iter().filter(wanted).find(newer) {
        Some(_) => Bound::AtMost,
        None => Bound::Exact,
    };
    Split::At {
        snapshot: first.snapshot.id,
        bound,
    }
}

/// The number of the newest one, where that was taken here; 0 where the image has followed since.
pub(super) fn newest_own(snapshots: &[MirrorSnapshot]) -> u64 {
    use MirrorSnapshotState as S;
    snapshots.last().map_or(0, |s| match s.state {
        S::Primary | S::PrimaryDemoted | S::Unrecognised(_) => s.snapshot.id,
        S::NonPrimary | S::NonPrimaryDemoted => 0,
    })
}

impl Image {
    pub(super) fn written_since_snapshot(&self, give_up: GiveUp) -> Result<Written, Error> {
        let (base, bound) = match split(&self.mirror_snapshots()?) {
            Split::At { snapshot, bound } => (snapshot, bound),
            Split::Never => {
                return Ok(Written::Measured {
                    bytes: 0,
                    extents: 0,
                    bound: Bound::Exact,
                });
            }
            Split::Unknown(why) => return Ok(Written::unknown(why)),
        };
        let layout = self.layout()?;
        let (_, size_then) = self.size_at(base)?;
        let count = layout.count.max(layout.count_at(size_then));
        let touched = self.objects_touched_since(base, count)?;
        let found = compare(&layout, base, touched.as_deref(), count, give_up)?;
        Ok(match (found.complete, found.bytes) {
            (true, bytes) => Written::Measured {
                bytes,
                extents: found.extents,
                bound,
            },
            (false, 0) => Written::unknown("the time was over before any of it was found"),
            (false, bytes) if bound == Bound::Exact => Written::Measured {
                bytes,
                extents: found.extents,
                bound: Bound::AtLeast,
            },
            // Neither a lower bound nor an upper one.
            (false, bytes) => Written::unknown(format!(
                "the time was over after {bytes} bytes, of which the other zone may have some"
            )),
        })
    }

    /// The objects that may differ from that snapshot, by the object maps of all snapshots since; `None` where those cannot be relied on.
    fn objects_touched_since(&self, base: u64, count: u64) -> Result<Option<Vec<u64>>, Error> {
        if !self
            .features()?
            .contains(Features::OBJECT_MAP | Features::FAST_DIFF)
        {
            return Ok(None);
        }
        let snapshots = self.snapshots()?.into_iter().map(|s| s.id);
        let since = snapshots.filter(|id| *id >= base).chain([HEAD]);
        let (id, mut maps) = (self.id()?, Vec::new());
        for at in since {
            if self.flags_at(at)? & MAP_INVALID != 0 {
                return Ok(None);
            }
            let name = if at == HEAD {
                format!("rbd_object_map.{id}")
            } else {
                format!("rbd_object_map.{id}.{at:016x}")
            };
            match self.pool().read_object(&name) {
                Ok(map) => maps.push(map),
                // Larger than what is read at once, or not there.
                Err(Error::Range(_) | Error::NotFound(_)) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        let maps: Option<Vec<ObjectMap<'_>>> = maps.iter().map(|m| ObjectMap::read(m)).collect();
        Ok(maps.map(|maps| (0..count).filter(|n| touched(&maps, *n)).collect()))
    }

    /// `get_flags` of the object class `rbd`, as of a snapshot or [`HEAD`].
    fn flags_at(&self, snapshot: u64) -> Result<u64, Error> {
        let answer =
            self.pool()
                .execute(&self.header()?, "rbd", "get_flags", &snapshot.to_le_bytes())?;
        let at = self.at("rados_exec(get_flags)");
        Reader::new(&answer)
            .u64()
            .ok_or_else(|| at.error(-libc::EBADMSG))
    }
}

/// An object map as it is stored: `BitVector<2>`, a header with the number of objects, then two bits for each.
#[derive(Debug)]
struct ObjectMap<'a> {
    count: u64,
    states: &'a [u8],
}

/// What an object map says of an object (`rbd/object_map_types.h`).
const NONE: u8 = 0;
/// Written since the snapshot before.
const EXISTS: u8 = 1;
/// Not written since.
const CLEAN: u8 = 3;

impl<'a> ObjectMap<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let count = Reader::new(r.bytes()?).section()?.u64()?;
        let states = r.take(usize::try_from(count.div_ceil(4)).ok()?)?;
        Some(Self { count, states })
    }

    fn state(&self, n: u64) -> u8 {
        let byte = usize::try_from(n / 4).ok().and_then(|i| self.states.get(i));
        match byte {
            Some(byte) if n < self.count => (byte >> (6 - 2 * (n % 4))) & 3,
            Some(_) | None => NONE,
        }
    }
}

/// Whether an object was written, removed or made between the first of these maps and the last.
fn touched(maps: &[ObjectMap<'_>], n: u64) -> bool {
    maps.windows(2).any(|pair| match pair {
        [before, after] => {
            let (before, after) = (before.state(n), after.state(n));
            after == EXISTS || (before != after && !(before == EXISTS && after == CLEAN))
        }
        _ => false,
    })
}

/// What a comparison found.
struct Found {
    bytes: u64,
    extents: u64,
    /// Whether it came to its end before the time was over.
    complete: bool,
}

/// Compares the objects as they are with what they were at the snapshot.
fn compare(
    layout: &Layout,
    base: u64,
    objects: Option<&[u64]>,
    count: u64,
    give_up: GiveUp,
) -> Result<Found, Error> {
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (bytes, extents) = (AtomicU64::new(0), AtomicU64::new(0));
    let of = objects.map_or(usize::try_from(count).unwrap_or(usize::MAX), <[u64]>::len);
    let failed = Mutex::new(None);
    let work = || -> Result<(), Error> {
        let now = ObjectView::of(&layout.pool, None)?;
        let then = ObjectView::of(&layout.pool, Some(base))?;
        let mut buffers = (vec![0; CHUNK], vec![0; CHUNK]);
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= of || over.load(Ordering::Relaxed) {
                return Ok(());
            }
            if give_up.is_due() {
                over.store(true, Ordering::Relaxed);
                return Ok(());
            }
            let n = match objects {
                Some(list) => list.get(i).copied().unwrap_or(u64::MAX),
                None => i as u64,
            };
            let name = layout.name(n);
            let same = now.look(&name)?.map(|o| o.version) == then.look(&name)?.map(|o| o.version);
            if !same {
                let (b, e) = differing(layout.object, &mut buffers, |offset, (a, b)| {
                    Ok((now.read(&name, offset, a)?, then.read(&name, offset, b)?))
                })?;
                bytes.fetch_add(b, Ordering::Relaxed);
                extents.fetch_add(e, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = give_up.threads.clamp(1, of.max(1));
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let ended = worker
                .join()
                .unwrap_or_else(|_| Err(layout.pool.at("compare").error(-libc::EIO)));
            if let Err(error) = ended {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(Found {
            bytes: bytes.into_inner(),
            extents: extents.into_inner(),
            complete: !over.into_inner(),
        }),
    }
}

/// The bytes in blocks that differ between two states of an object, and in how many runs. `read` fills both buffers from an offset on.
fn differing(
    size: u64,
    buffers: &mut (Vec<u8>, Vec<u8>),
    mut read: impl FnMut(u64, (&mut [u8], &mut [u8])) -> Result<(usize, usize), Error>,
) -> Result<(u64, u64), Error> {
    let (mut bytes, mut extents, mut in_run) = (0, 0, false);
    let (a, b) = (&mut buffers.0, &mut buffers.1);
    let mut offset = 0;
    while offset < size {
        let (read_a, read_b) = read(offset, (a, b))?;
        // What an object does not have reads as zeros.
        a.iter_mut().skip(read_a).for_each(|x| *x = 0);
        b.iter_mut().skip(read_b).for_each(|x| *x = 0);
        let blocks = a
            .chunks(BLOCK as usize)
            .zip(b.chunks(BLOCK as usize))
            .take(read_a.max(read_b).div_ceil(BLOCK as usize));
        for (x, y) in blocks {
            if x == y {
                in_run = false;
            } else {
                bytes += BLOCK;
                extents += u64::from(!in_run);
                in_run = true;
            }
        }
        if read_a.max(read_b) < a.len() {
            break;
        }
        offset += a.len() as u64;
    }
    Ok((bytes, extents))
}

#[cfg(test)]
mod tests;
