#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::BLOCK;
use super::*;
use std::time::{Duration, Instant};

fn section(content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap();
    [&[1, 1][..], &len.to_le_bytes(), content].concat()
}

fn text(t: &[u8]) -> Vec<u8> {
    [&u32::try_from(t.len()).unwrap().to_le_bytes()[..], t].concat()
}

/// One client as the object class gives it.
fn encoded(id: &str, positions: &[(u64, u64, u64)], state: u8) -> Vec<u8> {
    let mut list = u32::try_from(positions.len())
        .unwrap()
        .to_le_bytes()
        .to_vec();
    for (object, tag, entry) in positions {
        let position = [*object, *tag, *entry].map(u64::to_le_bytes).concat();
        list.extend(section(&position));
    }
    section(
        &[
            text(id.as_bytes()),
            text(b"whatever"),
            section(&list),
            vec![state],
        ]
        .concat(),
    )
}

fn header(all: &[Vec<u8>]) -> Header {
    let count = u32::try_from(all.len()).unwrap().to_le_bytes();
    let bytes = [&count[..], &all.concat()].concat();
    Header {
        splay_width: 4,
        minimum_set: 2,
        active_set: 5,
        clients: clients(&bytes).unwrap(),
    }
}

#[test]
fn the_peers_commit_position_is_where_it_begins() {
    let own = || encoded("", &[(23, 9, 100)], 0);
    let peer = encoded("b", &[(17, 4, 30), (12, 4, 29), (15, 4, 28)], 0);
    let from = header(&[own(), peer.clone()]).from().unwrap();
    let committed = Position {
        tag: 4,
        entry: 30,
        object: 17,
    };
    assert_eq!((from.committed, from.objects), (committed, 12..24));
    // Of two peers, the one that is behind.
    let behind = encoded("c", &[(8, 3, 77)], 0);
    let from = header(&[own(), peer.clone(), behind]).from().unwrap();
    assert_eq!((from.committed.tag, from.objects), (3, 8..24));
    // Cut in the middle.
    let bytes = [&1_u32.to_le_bytes()[..], &peer].concat();
    assert!(clients(&bytes[..bytes.len() - 1]).is_none());
}

#[test]
fn without_a_peers_commit_position_nothing_is_guessed() {
    let own = || encoded("", &[(23, 9, 100)], 0);
    for (clients, word) in [
        (vec![own()], "no reader"),
        (vec![own(), encoded("b", &[], 0)], "not committed"),
        (vec![own(), encoded("b", &[(17, 4, 30)], 1)], "cut off"),
    ] {
        let why = header(&clients).from().unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}

fn extent(kind: u32, offset: u64, length: u64, data: usize) -> Vec<u8> {
    let head = [
        &kind.to_le_bytes()[..],
        &offset.to_le_bytes(),
        &length.to_le_bytes(),
    ];
    section(&[&head.concat()[..], &vec![7; data]].concat())
}

fn encoded_entry(tag: u64, number: u64, event: &[u8]) -> Vec<u8> {
    let numbers = [&number.to_le_bytes()[..], &tag.to_le_bytes()].concat();
    [
        &PREAMBLE.to_le_bytes()[..],
        &[1],
        &numbers,
        &text(event),
        &[0; 4],
    ]
    .concat()
}

fn later() -> GiveUp {
    GiveUp {
        at: Instant::now() + Duration::from_secs(60),
        threads: 1,
    }
}

/// The entries of an object, or why they were not all seen; and how often it was read.
fn read_all(
    object: &[u8],
    give_up: GiveUp,
) -> (Vec<Entry>, std::result::Result<(), &'static str>, usize) {
    let (mut found, mut reads) = (Vec::new(), 0);
    let read = |offset: u64, into: &mut [u8]| {
        reads += 1;
        let rest = object
            .get(usize::try_from(offset).unwrap()..)
            .unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    };
    let ended = entries(read, give_up, |e| {
        found.push(Entry {
            position: e.position,
            event: Event::read(&extent_of(e)).unwrap(),
        });
        Ok(())
    });
    (found, ended.unwrap(), reads)
}

/// The event anew: it is not for copying.
fn extent_of(e: &Entry) -> Vec<u8> {
    match &e.event {
        Event::Changed { offset, length } => extent(1, *offset, *length, 0),
        Event::RolledBack => section(&9_u32.to_le_bytes()),
        Event::Other => section(&13_u32.to_le_bytes()),
    }
}

#[test]
fn entries_are_passed_over_by_their_lengths_and_their_data_is_not_read() {
    let large = 8 << 20;
    let object = [
        encoded_entry(4, 1, &extent(1, 0, 100, 100)),
        encoded_entry(4, 5, &extent(1, BLOCK, large as u64, large)),
        encoded_entry(4, 9, &extent(0, 7 * BLOCK, 3, 0)),
        // A demotion: the shortest event, at the very end.
        encoded_entry(5, 0, &section(&13_u32.to_le_bytes())),
    ]
    .concat();
    let (found, ended, reads) = read_all(&object, later());
    assert_eq!(ended, Ok(()));
    let positions: Vec<_> = found.iter().map(|e| e.position).collect();
    assert_eq!(positions, [(4, 1), (4, 5), (4, 9), (5, 0)]);
    assert!(reads < 8, "{reads} reads of {} bytes", object.len());

    let mut blocks = Blocks::default();
    for e in found.iter().filter(|e| e.position > (4, 1)) {
        e.event.count(&mut blocks).unwrap();
    }
    // The discard lies within what was written.
    assert_eq!(blocks.total(), (large as u64, 1));
    assert!(Event::RolledBack.count(&mut blocks).is_err());
}

#[test]
fn an_object_that_is_not_there_is_empty_and_one_that_is_broken_is_told_of() {
    assert_eq!(read_all(&[], later()), (vec![], Ok(()), 1));
    let entry = encoded_entry(4, 1, &extent(1, 0, 100, 100));
    let torn = [&entry[..], &entry[..20]].concat();
    let (found, ended, _) = read_all(&torn, later());
    assert_eq!(found.len(), 1);
    assert!(ended.unwrap_err().contains("cannot be read"));
    let over = GiveUp {
        at: Instant::now(),
        threads: 1,
    };
    let (found, ended, reads) = read_all(&entry, over);
    assert_eq!((found.len(), reads), (0, 0));
    assert!(ended.unwrap_err().contains("time was over"));
}
