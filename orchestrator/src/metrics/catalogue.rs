//! What the other zone's catalogue counts.

use super::Word;
use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use rekindle_core::catalogue::Kind;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoundLabels {
    end: Word,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MendLabels {
    mend: Word,
    end: Word,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GapLabels {
    kind: Word,
}

/// Rounds, what they wrote, and what they found.
#[derive(Debug)]
pub struct CatalogueMetrics {
    rounds: Family<RoundLabels, Counter>,
    mends: Family<MendLabels, Counter>,
    gaps: Family<GapLabels, Gauge>,
    last_good: Gauge,
}

impl CatalogueMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let rounds = Family::default();
        let mends = Family::default();
        let gaps = Family::default();
        let last_good = Gauge::default();
        registry.register(
            "catalogue_rounds",
            "Rounds of the other zone's catalogue: good, with failures, or without a part of a zone",
            rounds.clone(),
        );
        registry.register(
            "catalogue_mends",
            "What was written to the zones' Cinders and to images' descriptions",
            mends.clone(),
        );
        registry.register(
            "catalogue_gaps",
            "What a person must look at in the other zone's catalogue",
            gaps.clone(),
        );
        registry.register(
            "catalogue_last_good_seconds",
            "When both zones were last seen whole and nothing failed, in Unix time; 0 while this site has not seen it",
            last_good.clone(),
        );
        Self {
            rounds,
            mends,
            gaps,
            last_good,
        }
    }

    /// A round has ended.
    pub fn round(&self, end: &'static str) {
        let end = Word(end);
        self.rounds.get_or_create(&RoundLabels { end }).inc();
    }
    /// Something was written, or was not.
    pub fn mend(&self, mend: &'static str, good: bool) {
        let end = Word(if good { "done" } else { "failed" });
        let mend = Word(mend);
        self.mends.get_or_create(&MendLabels { mend, end }).inc();
    }
    /// What is found now.
    pub fn findings(&self, counts: BTreeMap<Kind, usize>) {
        for (kind, count) in counts {
            let kind = Word(kind.name());
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.gaps.get_or_create(&GapLabels { kind }).set(count);
        }
    }
    /// When all was well.
    pub fn last_good(&self, at: Timestamp) {
        self.last_good.set(at.as_second());
    }
    /// Another site leads.
    pub fn clear(&self) {
        self.gaps.clear();
        self.last_good.set(0);
    }
}
