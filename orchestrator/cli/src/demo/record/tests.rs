use super::*;
use proptest::prelude::*;
use std::convert::Infallible;

fn volume(name: &str) -> ImageSpec {
    ImageSpec::new("volumes", name).unwrap()
}

fn row(v: &ImageSpec, n: u64) -> Vec<u8> {
    (0..n).flat_map(|seq| record(seq).encode(v)).collect()
}

fn record(seq: u64) -> Record {
    Record {
        seq,
        generation: 1 + seq / 10,
        at_us: 1_700_000_000_000_000 + i64::try_from(seq).unwrap() * 1000,
    }
}

fn scanned(v: &ImageSpec, image: &[u8]) -> Contents {
    let read = |at: u64, buffer: &mut [u8]| -> Result<(), Infallible> {
        let at = usize::try_from(at).unwrap();
        buffer.copy_from_slice(&image[at..at + buffer.len()]);
        Ok(())
    };
    scan(v, image.len() as u64, read).unwrap()
}

proptest! {
    #[test]
    fn a_record_reads_back(seq: u64, generation: u64, at_us: i64, name in "[a-z0-9.-]{2,100}x") {
        let v = volume(&name);
        let r = Record { seq, generation, at_us };
        let slot = r.encode(&v);
        prop_assert_eq!(slot.len(), SLOT);
        prop_assert_eq!(Record::decode(&v, seq, &slot), Slot::Good(r));
    }

    #[test]
    fn any_changed_byte_shows(at in 0..SLOT, change in 1u8..=255) {
        let v = volume("v");
        let mut slot = record(7).encode(&v);
        slot[at] ^= change;
        let damaged = matches!(Record::decode(&v, 7, &slot), Slot::Damaged(_));
        prop_assert!(damaged);
    }

    #[test]
    fn a_slot_torn_anywhere_shows(at in 1..SLOT, old in 0u64..100) {
        // The newer record's beginning over an older one's end, as a torn write leaves it.
        let v = volume("v");
        let (new, old) = (record(old + 1), record(old));
        let (new_slot, old_slot) = (new.encode(&v), old.encode(&v));
        let torn = [&new_slot[..at], &old_slot[at..]].concat();
        prop_assert!(!matches!(Record::decode(&v, old.seq, &torn), Slot::Good(_)) || torn == old_slot);
        let over_blank = [&new_slot[..at], &vec![0; SLOT - at][..]].concat();
        prop_assert!(!matches!(Record::decode(&v, new.seq, &over_blank), Slot::Good(_)));
    }

    #[test]
    fn a_row_is_found_whole_and_its_end_by_halving(n in 0u64..40, room in 1u64..40) {
        let v = volume("v");
        let mut image = row(&v, n);
        image.resize(usize::try_from(offset(n + room)).unwrap(), 0);
        let found = scanned(&v, &image);
        prop_assert_eq!(found.records.len() as u64, n);
        prop_assert_eq!(&found.faults, &Vec::<String>::new());
        let end = first_blank(image.len() as u64, |at, b: &mut [u8]| -> Result<(), Infallible> {
            let at = usize::try_from(at).unwrap();
            b.copy_from_slice(&image[at..at + b.len()]);
            Ok(())
        });
        prop_assert_eq!(end, Ok(n));
    }

    #[test]
    fn a_lost_record_in_the_middle_shows(n in 2u64..40, hole in 0u64..39) {
        prop_assume!(hole < n - 1);
        let v = volume("v");
        let mut image = row(&v, n);
        let at = usize::try_from(offset(hole)).unwrap();
        image[at..at + SLOT].fill(0);
        let found = scanned(&v, &image);
        prop_assert_eq!(found.records.len() as u64, hole);
        prop_assert!(!found.faults.is_empty());
    }
}

#[test]
fn foreign_misplaced_and_disordered_records_are_faults() {
    let (v, w) = (volume("v"), volume("w"));
    let mut foreign = row(&v, 3);
    foreign.splice(SLOT..2 * SLOT, record(1).encode(&w));
    assert!(scanned(&v, &foreign).faults[0].contains("another volume"));

    let mut misplaced = row(&v, 3);
    misplaced.splice(SLOT..2 * SLOT, record(2).encode(&v));
    assert!(scanned(&v, &misplaced).faults[0].contains("is record 2"));

    let older = Record {
        generation: 0,
        ..record(1)
    };
    let mut disordered = row(&v, 3);
    disordered.splice(SLOT..2 * SLOT, older.encode(&v));
    assert!(scanned(&v, &disordered).faults[0].contains("generation 0"));
}

#[test]
fn a_writer_at_work_is_no_gap() {
    // Slot 1 is blank when it is read first, and written by the time slot 2 has been seen.
    let v = volume("v");
    let whole = row(&v, 3);
    let mut reads = 0;
    let found = scan(
        &v,
        whole.len() as u64,
        |at, buffer: &mut [u8]| -> Result<(), Infallible> {
            let at = usize::try_from(at).unwrap();
            buffer.copy_from_slice(&whole[at..at + buffer.len()]);
            if reads == 0 {
                buffer[SLOT..2 * SLOT].fill(0);
            }
            reads += 1;
            Ok(())
        },
    );
    let found = found.unwrap();
    assert_eq!((found.records.len(), found.faults.len()), (1, 0));
}
