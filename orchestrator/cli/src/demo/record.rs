//! What the demonstration's application writes, and how it is read back.
//!
//! A volume is a row of fixed slots, one record each, written in order and one at a time:
//!
//! ```text
//!   0        8       16           24        32      34                          4092    4096
//!   | magic  | seq   | generation | time us | name  | the volume's name, filler | crc32c |
//! ```
//!
//! The record in slot n has number n, so a lost, torn, misplaced or foreign record cannot pass for a good one: its checksum,
//! its number or its name is wrong. The filler depends on all other fields, so that half a slot of old data shows too.
//! After the last record every slot is blank. A copy is good if it is such a row: anything else is a fault with its slot.

use jiff::Timestamp;
use rekindle_common::ImageSpec;
use std::fmt;

/// Bytes of a slot.
pub const SLOT: usize = 4096;
const MAGIC: [u8; 8] = *b"rekindl1";
const HEAD: usize = 34;
const SUM: usize = SLOT - 4;
/// Slots that are read at once.
const CHUNK: usize = 256;
/// Faults that are kept; more say nothing new.
const MAX_FAULTS: usize = 8;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its number, and its slot.
    pub seq: u64,
    /// The group's generation that its writer wrote under.
    pub generation: u64,
    /// When its writer began to write it, microseconds since the epoch.
    pub at_us: i64,
}

/// What stands in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// Nothing was ever written.
    Blank,
    /// A whole record of this volume.
    Good(Record),
    /// Something else.
    Damaged(Damage),
}

/// What is wrong with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Not one of ours, or its beginning is torn.
    NoRecord,
    /// The checksum does not fit: torn or corrupted.
    Checksum,
    /// A whole record of another volume.
    OtherVolume,
    /// A whole record of another slot.
    OtherSlot {
        /// Of which.
        seq: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecord => f.write_str("is no record"),
            Self::Checksum => f.write_str("has a wrong checksum"),
            Self::OtherVolume => f.write_str("belongs to another volume"),
            Self::OtherSlot { seq } => write!(f, "is record {seq}"),
        }
    }
}

impl Record {
    /// The time as a timestamp.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp::from_microsecond(self.at_us).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The slot's bytes.
    #[must_use]
    pub fn encode(&self, volume: &ImageSpec) -> Vec<u8> {
        let mut slot = Vec::with_capacity(SLOT);
        slot.extend_from_slice(&MAGIC);
        slot.extend_from_slice(&self.seq.to_le_bytes());
        slot.extend_from_slice(&self.generation.to_le_bytes());
        slot.extend_from_slice(&self.at_us.to_le_bytes());
        let name = volume.to_string();
        // An image spec has at most 257 bytes.
        slot.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        slot.extend_from_slice(name.as_bytes());
        let mut state = u64::from(crc32c::crc32c(&slot)) | 1;
        while slot.len() < SUM {
            // A linear congruential step (Knuth's constants): any filler does that never repeats within a volume.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let room = SUM - slot.len();
            slot.extend(state.to_le_bytes().into_iter().take(room));
        }
        slot.extend_from_slice(&crc32c::crc32c(&slot).to_le_bytes());
        slot
    }

    /// Reads slot `seq` of a volume.
    #[must_use]
    pub fn decode(volume: &ImageSpec, seq: u64, slot: &[u8]) -> Slot {
        if is_blank(slot) {
            return Slot::Blank;
        }
        let damaged = Slot::Damaged;
        let Some((body, sum)) = slot.split_at_checked(SUM) else {
            return damaged(Damage::NoRecord);
        };
        if slot.len() != SLOT || !body.starts_with(&MAGIC) {
            return damaged(Damage::NoRecord);
        }
        if crc32c::crc32c(body).to_le_bytes() != *sum {
            return damaged(Damage::Checksum);
        }
        let record = Self {
            seq: u64::from_le_bytes(eight(body, 8)),
            generation: u64::from_le_bytes(eight(body, 16)),
            at_us: i64::from_le_bytes(eight(body, 24)),
        };
        let name = volume.to_string();
        let length = body
            .get(HEAD - 2..HEAD)
            .map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])));
        if length != Some(name.len()) || body.get(HEAD..HEAD + name.len()) != Some(name.as_bytes())
        {
            return damaged(Damage::OtherVolume);
        }
        if record.seq != seq {
            return damaged(Damage::OtherSlot { seq: record.seq });
        }
        Slot::Good(record)
    }
}

/// Whether all of it is zero; in words of 16 bytes, because most of a volume is.
fn is_blank(slot: &[u8]) -> bool {
    let (words, rest) = slot.as_chunks::<16>();
    words.iter().all(|w| u128::from_ne_bytes(*w) == 0) && rest.iter().all(|b| *b == 0)
}

fn eight(bytes: &[u8], from: usize) -> [u8; 8] {
    let mut out = [0; 8];
    if let Some(part) = bytes.get(from..from + 8) {
        out.copy_from_slice(part);
    }
    out
}

/// What a volume holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// The good records from the first slot up to the first that is not one.
    pub records: Vec<Record>,
    /// What is wrong, in words; empty is good.
    pub faults: Vec<String>,
}

impl Contents {
    /// The newest record of a generation.
    #[must_use]
    pub fn newest(&self, generation: u64) -> Option<&Record> {
        self.records
            .iter()
            .rev()
            .find(|r| r.generation == generation)
    }
    /// Whether it holds this very record.
    #[must_use]
    pub fn holds(&self, record: &Record) -> bool {
        usize::try_from(record.seq)
            .ok()
            .and_then(|n| self.records.get(n))
            == Some(record)
    }
    fn fault(&mut self, text: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(text);
        }
    }
}

/// Reads a whole volume of `size` bytes. `read` fills the buffer from an offset.
///
/// A writer may be at work meanwhile: a record behind a blank slot counts as a gap only if the slot is still blank when it is
/// looked at again, for the writer goes slot by slot.
///
/// # Errors
/// Those of `read`. What is wrong with the data is no error but [`Contents::faults`].
pub fn scan<E>(
    volume: &ImageSpec,
    size: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Contents, E> {
    let mut found = Contents::default();
    let mut end: Option<u64> = None;
    let slots = slots(size);
    let mut chunk = vec![0; CHUNK * SLOT];
    let mut seq = 0;
    while seq < slots {
        let count = usize::try_from(slots - seq).unwrap_or(CHUNK).min(CHUNK);
        let buffer = &mut chunk[..count * SLOT];
        read(offset(seq), buffer)?;
        for slot in buffer.chunks_exact(SLOT) {
            match (Record::decode(volume, seq, slot), end) {
                (Slot::Blank, _) => end = end.or(Some(seq)),
                (Slot::Good(record), None) => take(&mut found, record),
                (Slot::Good(_), Some(blank)) => {
                    let mut again = vec![0; SLOT];
                    read(offset(blank), &mut again)?;
                    if Record::decode(volume, blank, &again) == Slot::Blank {
                        found.fault(format!(
                            "record {seq} stands behind slot {blank}, which is blank"
                        ));
                    }
                }
                (Slot::Damaged(damage), _) => {
                    found.fault(format!("slot {seq} {damage}"));
                    end = end.or(Some(seq));
                }
            }
            seq += 1;
        }
    }
    Ok(found)
}

fn take(found: &mut Contents, record: Record) {
    if let Some(last) = found.records.last().copied() {
        if record.generation < last.generation {
            let (seq, g, l) = (record.seq, record.generation, last.generation);
            found.fault(format!(
                "record {seq} of generation {g} stands behind one of generation {l}"
            ));
        }
        if record.at_us < last.at_us {
            found.fault(format!(
                "record {} is older than the one before it",
                record.seq
            ));
        }
    }
    found.records.push(record);
}

/// The first blank slot, by halving: where a writer goes on. It trusts that the row has no gap; [`scan`] is what checks that.
///
/// # Errors
/// Those of `read`.
pub fn first_blank<E>(
    size: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let (mut low, mut high) = (0, slots(size));
    let mut slot = vec![0; SLOT];
    while low < high {
        let middle = low + (high - low) / 2;
        read(offset(middle), &mut slot)?;
        if is_blank(&slot) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// Slots in a volume of that many bytes.
#[must_use]
pub fn slots(size: u64) -> u64 {
    size / SLOT as u64
}

/// Where a slot begins.
#[must_use]
pub fn offset(seq: u64) -> u64 {
    seq * SLOT as u64
}

#[cfg(test)]
mod tests;
