//! Which blocks were written, each counted once.

use super::BLOCK;
use std::collections::BTreeMap;

/// So many runs are told apart. What comes after is counted each time it is written: too much rather than too little.
const MAX_RUNS: usize = 1 << 16;

/// A set of blocks, as runs.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// From each run's first block to the one behind its last. No two touch.
    runs: BTreeMap<u64, u64>,
    /// Blocks and runs that were counted without being told apart.
    beyond: (u64, u64),
}

impl Blocks {
    /// Adds every block that these bytes touch.
    pub(super) fn add(&mut self, offset: u64, length: u64) {
        if length == 0 {
            return;
        }
        let mut start = offset / BLOCK;
        let mut end = offset.saturating_add(length).div_ceil(BLOCK);
        if self.runs.len() >= MAX_RUNS {
            self.beyond.0 = self.beyond.0.saturating_add(end - start);
            self.beyond.1 += 1;
            return;
        }
        // Those that overlap with it or touch it are taken into it.
        while let Some((s, e)) = self
            .runs
            .range(..=end)
            .next_back()
            .map(|(s, e)| (*s, *e))
            .filter(|(_, e)| *e >= start)
        {
            self.runs.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        self.runs.insert(start, end);
    }

    /// Bytes, and in how many runs.
    pub(super) fn total(&self) -> (u64, u64) {
        let blocks: u64 = self.runs.iter().map(|(s, e)| e - s).sum();
        let runs = u64::try_from(self.runs.len()).unwrap_or(u64::MAX);
        (
            blocks.saturating_add(self.beyond.0).saturating_mul(BLOCK),
            runs.saturating_add(self.beyond.1),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_written_again_is_counted_once() {
        let mut b = Blocks::default();
        b.add(0, 0);
        assert_eq!(b.total(), (0, 0));
        b.add(10, 4);
        b.add(4000, 200);
        assert_eq!(b.total(), (2 * BLOCK, 1));
        b.add(10 * BLOCK, BLOCK);
        b.add(12 * BLOCK, BLOCK);
        assert_eq!(b.total(), (4 * BLOCK, 3));
        // What lies between joins them.
        b.add(11 * BLOCK + 1, 1);
        assert_eq!(b.total(), (5 * BLOCK, 2));
        b.add(0, 100 * BLOCK);
        assert_eq!(b.total(), (100 * BLOCK, 1));
    }

    #[test]
    fn against_a_plain_set_of_blocks() {
        let (mut b, mut plain) = (Blocks::default(), std::collections::BTreeSet::new());
        let mut x: u64 = 7;
        for _ in 0..500 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (offset, length) = ((x >> 33) % (200 * BLOCK), (x >> 20) % (3 * BLOCK));
            b.add(offset, length);
            if length > 0 {
                plain.extend(offset / BLOCK..(offset + length).div_ceil(BLOCK));
            }
            assert_eq!(b.total().0, plain.len() as u64 * BLOCK);
        }
    }

    #[test]
    fn beyond_the_bound_it_counts_too_much_rather_than_too_little() {
        let mut b = Blocks::default();
        for n in 0..=MAX_RUNS as u64 {
            b.add(2 * n * BLOCK, 1);
        }
        b.add(0, 1);
        let runs = MAX_RUNS as u64 + 2;
        assert_eq!(b.total(), (runs * BLOCK, runs));
    }
}
