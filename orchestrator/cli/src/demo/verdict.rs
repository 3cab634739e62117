//! What a volume's contents say beside its ledger. Pure: the figures of the report are made here.

use super::{
    ledger::Ack,
    record::{Contents, Record},
    volumes::Kind,
};
use rekindle_common::Timestamp;

/// A volume after the failover.
#[derive(Debug, Clone, PartialEq)]
pub struct AfterFailover {
    /// From the newest record that survived to the kill, in seconds: the newest writes that are gone. `None` for a volume of
    /// mode `once`, which promises its snapshot and no more, and where nothing survived.
    pub lost_s: Option<f64>,
    /// Acknowledged records that are gone.
    pub lost_records: usize,
    /// What is wrong; empty is verified.
    pub faults: Vec<String>,
}

/// What is known of the time before the failover.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    /// The generation that was written under.
    pub generation: u64,
    /// When the zone was killed.
    pub killed_at: Timestamp,
    /// Records acknowledged before the volume's first replication was ordered: what a `once` volume must hold.
    pub before_snapshot: usize,
}

/// Judges a promoted volume by what was acknowledged before the kill.
///
/// A lost tail is what asynchronous replication costs and is measured. Anything else that is missing is a fault.
#[must_use]
pub fn after_failover(kind: Kind, found: &Contents, acks: &[Ack], before: Before) -> AfterFailover {
    let mut faults = found.faults.clone();
    let old: Vec<&Ack> = acks
        .iter()
        .filter(|a| a.record.generation == before.generation)
        .collect();
    let Some(newest) = found.newest(before.generation) else {
        faults.push("holds nothing of what was written before".to_owned());
        return AfterFailover {
            lost_s: None,
            lost_records: old.len(),
            faults,
        };
    };
    let (kept, gone): (Vec<&Ack>, Vec<&Ack>) = old
        .iter()
        .copied()
        .partition(|a| a.record.seq <= newest.seq);
    let torn = kept.iter().filter(|a| !found.holds(&a.record)).count();
    if torn > 0 {
        faults.push(format!(
            "{torn} acknowledged records are missing from its middle"
        ));
    }
    let survived = usize::try_from(newest.seq)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    if survived < before.before_snapshot {
        let want = before.before_snapshot;
        faults.push(format!(
            "holds {survived} records, and {want} were there before its snapshot"
        ));
    }
    let lost_s = match kind {
        Kind::Instant | Kind::Periodic => Some(seconds(newest.at(), before.killed_at).max(0.0)),
        Kind::Once => None,
    };
    AfterFailover {
        lost_s,
        lost_records: gone.len(),
        faults,
    }
}

/// Acknowledged records of a generation that a volume does not hold. After a planned move there must be none.
#[must_use]
pub fn missing(found: &Contents, acks: &[Ack], generation: u64) -> Vec<Record> {
    acks.iter()
        .map(|a| a.record)
        .filter(|r| r.generation == generation && !found.holds(r))
        .collect()
}

/// When the first record of a generation was acknowledged.
#[must_use]
pub fn first_ack(acks: &[Ack], generation: u64) -> Option<Timestamp> {
    acks.iter()
        .filter(|a| a.record.generation == generation)
        .map(|a| a.acked_us)
        .min()
        .and_then(|us| Timestamp::from_microsecond(us).ok())
}

/// From one time to a later one, in seconds.
#[must_use]
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(seq: u64, generation: u64) -> Ack {
        let at_us = i64::try_from(seq).unwrap() * 100_000;
        Ack {
            record: Record {
                seq,
                generation,
                at_us,
            },
            acked_us: at_us + 10,
        }
    }
    fn contents(acks: &[Ack]) -> Contents {
        Contents {
            records: acks.iter().map(|a| a.record).collect(),
            faults: Vec::new(),
        }
    }
    fn before(before_snapshot: usize) -> Before {
        Before {
            generation: 1,
            killed_at: Timestamp::from_microsecond(1_000_000).unwrap(),
            before_snapshot,
        }
    }

    #[test]
    fn a_lost_tail_is_measured_and_is_no_fault() {
        let acks: Vec<Ack> = (0..10).map(|n| ack(n, 1)).collect();
        let j = after_failover(Kind::Instant, &contents(&acks[..7]), &acks, before(3));
        assert_eq!((j.lost_records, j.faults.len()), (3, 0));
        assert!((j.lost_s.unwrap() - 0.4).abs() < 1e-9, "{j:?}");
        let once = after_failover(Kind::Once, &contents(&acks[..3]), &acks, before(3));
        assert_eq!((once.lost_s, once.faults.len()), (None, 0));
    }

    #[test]
    fn anything_else_that_is_missing_is_a_fault() {
        let acks: Vec<Ack> = (0..10).map(|n| ack(n, 1)).collect();
        let mut wrong = contents(&acks[..7]);
        wrong.records[3].at_us += 1;
        assert!(
            after_failover(Kind::Instant, &wrong, &acks, before(0)).faults[0].contains("middle")
        );
        let short = after_failover(Kind::Once, &contents(&acks[..2]), &acks, before(3));
        assert!(short.faults[0].contains("before its snapshot"));
        let empty = after_failover(Kind::Instant, &Contents::default(), &acks, before(0));
        assert_eq!((empty.lost_records, empty.faults.len()), (10, 1));
    }

    #[test]
    fn a_planned_move_is_measured_by_the_generation_that_was_moved() {
        let mut acks: Vec<Ack> = (0..5).map(|n| ack(n, 1)).collect();
        // Record 4 of generation 1 was lost in the failover; generation 2 wrote its slot anew.
        acks.extend((4..8).map(|n| ack(n, 2)));
        let held: Vec<Ack> = acks[..4].iter().chain(&acks[5..]).copied().collect();
        assert_eq!(missing(&contents(&held), &acks, 2), []);
        assert_eq!(missing(&contents(&held[..6]), &acks, 2).len(), 2);
        assert_eq!(first_ack(&acks, 2).unwrap().as_microsecond(), 400_010);
        assert_eq!(first_ack(&acks, 3), None);
    }
}
