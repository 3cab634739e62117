#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{Snapshot, SnapshotKind};
use MirrorSnapshotState as S;
use std::time::Duration;

fn snapshot(id: u64, state: S, peers: &[&str]) -> MirrorSnapshot {
    MirrorSnapshot {
        snapshot: Snapshot {
            id,
            name: format!(".mirror.{id}"),
            size: 1 << 20,
            kind: SnapshotKind::Mirror,
            taken: Duration::ZERO,
        },
        state,
        complete: true,
        peer_uuids: peers.iter().map(|p| (*p).to_owned()).collect(),
        primary_mirror_uuid: String::new(),
        primary_snapshot_id: 0,
        copied_objects: 0,
    }
}

fn at(snapshot: u64, bound: Bound) -> Split {
    Split::At { snapshot, bound }
}

#[test]
fn the_split_is_the_oldest_snapshot_that_the_peer_has_not_let_go_of() {
    let own = |id, peers: &[&str]| snapshot(id, S::Primary, peers);
    let demoted = |id| snapshot(id, S::PrimaryDemoted, &["b"]);
    assert_eq!(split(&[own(7, &["b"]), demoted(9)]), at(7, Bound::Exact));
    // It was let go of.
    assert_eq!(
        split(&[own(5, &[]), own(7, &["b"]), demoted(9)]),
        at(7, Bound::Exact)
    );
    // The newer one may be whole there.
    assert_eq!(
        split(&[own(5, &["b"]), own(7, &["b"]), demoted(9)]),
        at(5, Bound::AtMost)
    );
    // Demoted and promoted again in between: the first demotion may have arrived.
    assert_eq!(
        split(&[own(5, &["b"]), demoted(6), own(7, &[]), demoted(9)]),
        at(5, Bound::AtMost)
    );
}

#[test]
fn its_own_history_ends_with_its_own_newest_snapshot() {
    let own = |id| snapshot(id, S::Primary, &[]);
    let demoted = |id| snapshot(id, S::PrimaryDemoted, &["b"]);
    assert_eq!(newest_own(&[own(7), demoted(9)]), 9);
    assert_eq!(newest_own(&[demoted(9), own(11), demoted(12)]), 12);
    assert_eq!(
        newest_own(&[demoted(9), snapshot(3, S::NonPrimary, &[])]),
        0
    );
    assert_eq!(newest_own(&[]), 0);
}

#[test]
fn what_was_taken_before_it_last_followed_does_not_count() {
    let followed = snapshot(3, S::NonPrimary, &[]);
    let all = [
        snapshot(1, S::Primary, &["b"]),
        followed.clone(),
        snapshot(4, S::Primary, &["b"]),
        snapshot(5, S::PrimaryDemoted, &["b"]),
    ];
    assert_eq!(split(&all), at(4, Bound::Exact));
    assert_eq!(split(&all[..2]), Split::Never);
}

#[test]
fn what_cannot_be_told_is_not_called_nothing() {
    let of = |snapshots: &[MirrorSnapshot]| matches!(split(snapshots), Split::Unknown(_));
    assert!(of(&[]));
    assert!(of(&[
        snapshot(7, S::Primary, &[]),
        snapshot(9, S::PrimaryDemoted, &["b"])
    ]));
    assert!(of(&[snapshot(9, S::PrimaryDemoted, &["b"])]));
    assert!(of(&[
        snapshot(7, S::Primary, &["b"]),
        snapshot(9, S::Unrecognised(8), &["b"])
    ]));
    let copying = MirrorSnapshot {
        complete: false,
        ..snapshot(9, S::NonPrimary, &[])
    };
    assert!(of(&[snapshot(7, S::Primary, &["b"]), copying]));
}

/// As it is stored: a header of 18 bytes, then two bits for each object, the first one highest.
fn map(states: &[u8]) -> Vec<u8> {
    let mut bytes = vec![14, 0, 0, 0, 1, 1, 8, 0, 0, 0];
    bytes.extend((states.len() as u64).to_le_bytes());
    for four in states.chunks(4) {
        let byte = four
            .iter()
            .enumerate()
            .fold(0, |byte, (i, s)| byte | (s << (6 - 2 * i)));
        bytes.push(byte);
    }
    bytes.extend([0, 0, 0, 0]);
    bytes
}

#[test]
fn an_object_was_touched_where_a_map_says_so_or_two_maps_disagree() {
    let base = map(&[EXISTS, EXISTS, EXISTS, NONE, NONE, CLEAN]);
    let between = map(&[CLEAN, EXISTS, CLEAN, NONE, NONE, CLEAN]);
    let head = map(&[CLEAN, CLEAN, NONE, EXISTS, NONE, CLEAN, CLEAN]);
    let maps: Vec<_> = [&base, &between, &head]
        .into_iter()
        .map(|m| ObjectMap::read(m).unwrap())
        .collect();
    let found: Vec<u64> = (0..9).filter(|n| touched(&maps, *n)).collect();
    // 1 in between, 2 removed, 3 made, 6 made in what the image grew by.
    assert_eq!(found, [1, 2, 3, 6]);
    assert!(ObjectMap::read(&base[..19]).is_none());
    assert!(ObjectMap::read(&[]).is_none());
}

/// Two states of an object, compared as if they were read from it.
fn differ(a: &[u8], b: &[u8]) -> (u64, u64) {
    let mut buffers = (vec![9; 3 * BLOCK as usize], vec![9; 3 * BLOCK as usize]);
    let fill = |from: &[u8], offset: u64, into: &mut [u8]| {
        let rest = from.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        n
    };
    differing(8 * BLOCK, &mut buffers, |offset, (x, y)| {
        Ok((fill(a, offset, x), fill(b, offset, y)))
    })
    .unwrap()
}

#[test]
fn blocks_are_compared_with_zeros_where_one_state_is_shorter() {
    let block = BLOCK as usize;
    let zeros = vec![0; 8 * block];
    let mut written = zeros.clone();
    assert_eq!(differ(&zeros, &[]), (0, 0));
    assert_eq!(differ(&[], &[]), (0, 0));
    written[0] = 1;
    // Two blocks on both sides of the end of a chunk: one run.
    written[2 * block + 5] = 1;
    written[3 * block] = 1;
    assert_eq!(differ(&written, &zeros), (3 * BLOCK, 2));
    assert_eq!(differ(&[], &written), (3 * BLOCK, 2));
    assert_eq!(differ(&written[..block], &written), (2 * BLOCK, 1));
    assert_eq!(differ(&written, &written), (0, 0));
    // An odd length.
    assert_eq!(differ(&[1, 2, 3], &zeros), (BLOCK, 1));
}
