//! What an image can do, as a set of bits.

use std::fmt;
use std::ops::BitOr;

/// Features of an image. Bits that this crate has no name for are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(u64);

impl Features {
    /// Clones of its snapshots.
    pub const LAYERING: Self = Self(1);
    /// One writer at a time; journaling needs it.
    pub const EXCLUSIVE_LOCK: Self = Self(1 << 2);
    /// A map of which objects exist.
    pub const OBJECT_MAP: Self = Self(1 << 3);
    /// Quick differences between snapshots.
    pub const FAST_DIFF: Self = Self(1 << 4);
    /// Snapshots of a clone are flattened with it.
    pub const DEEP_FLATTEN: Self = Self(1 << 5);
    /// Every write is journaled first; journal mirroring needs it.
    pub const JOURNALING: Self = Self(1 << 6);
    /// The data is in another pool.
    pub const DATA_POOL: Self = Self(1 << 7);
    /// Set by librbd on the non-primary copy of snapshot mirroring.
    pub const NON_PRIMARY: Self = Self(1 << 10);
    /// None.
    pub const NONE: Self = Self(0);
    /// What an image gets that asks for nothing: what Ceph's own default is.
    pub const DEFAULT: Self = Self(1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5);

    const NAMES: [(Self, &'static str); 12] = [
        (Self::LAYERING, "layering"),
        (Self(1 << 1), "striping"),
        (Self::EXCLUSIVE_LOCK, "exclusive-lock"),
        (Self::OBJECT_MAP, "object-map"),
        (Self::FAST_DIFF, "fast-diff"),
        (Self::DEEP_FLATTEN, "deep-flatten"),
        (Self::JOURNALING, "journaling"),
        (Self::DATA_POOL, "data-pool"),
        (Self(1 << 8), "operations"),
        (Self(1 << 9), "migrating"),
        (Self::NON_PRIMARY, "non-primary"),
        (Self(1 << 11), "dirty-cache"),
    ];

    /// The set of these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits, as in `rbd/features.h`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of the set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        let mut comma = "";
        for (feature, name) in Self::NAMES {
            if rest.contains(feature) {
                write!(out, "{comma}{name}")?;
                comma = ",";
                rest = rest.without(feature);
            }
        }
        if !rest.is_empty() {
            write!(out, "{comma}{:#x}", rest.0)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Features({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_named_and_unknown_bits_are_shown() {
        let set = Features::EXCLUSIVE_LOCK | Features::JOURNALING | Features::from_bits(1 << 40);
        assert_eq!(set.to_string(), "exclusive-lock,journaling,0x10000000000");
        assert!(!Features::DEFAULT.contains(Features::JOURNALING));
        assert!(Features::DEFAULT.contains(Features::EXCLUSIVE_LOCK));
        assert!(Features::NONE.to_string().is_empty());
    }
}
