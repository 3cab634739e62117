use super::*;
use crate::lease::keeper::Record;

#[test]
fn what_cannot_be_read_lets_no_group_say_that_none_of_its_images_is_primary() {
    let group = |g: &str| GroupName::new(g).unwrap();
    let image = |of: Option<&str>, primary| SeenImage {
        group: of.map(group),
        primary,
        isolation: None,
        on_delete: None,
    };
    let images = |seen: &[SeenImage], of: &str| {
        let (groups, others) = by_group(seen);
        groups.get(&group(of)).map_or(others, |look| look.images)
    };
    let mut seen = vec![
        image(Some("db"), Known::No),
        image(Some("web"), Known::Yes),
        image(Some("web"), Known::No),
    ];
    assert_eq!(images(&seen, "db"), Images::NotPrimary);
    assert_eq!(images(&seen, "web"), Images::Primary);
    assert_eq!(images(&seen, "none"), Images::None);
    // One of its own, whose part is not known.
    seen.push(image(Some("db"), Known::Unknown));
    assert_eq!(images(&seen, "db"), Images::Unknown);
    assert_eq!(images(&seen, "none"), Images::None);
    // One whose group is not known either: each group's doubt, but where one is seen to be primary.
    seen.truncate(3);
    seen.push(image(None, Known::Unknown));
    assert_eq!(images(&seen, "db"), Images::Unknown);
    assert_eq!(images(&seen, "web"), Images::Primary);
    assert_eq!(images(&seen, "none"), Images::Unknown);
}

#[test]
fn what_cannot_be_demoted_is_tried_without_a_pause_at_first_and_then_with_one() {
    let ms = Duration::from_millis;
    let db = GroupName::new("db").unwrap();
    let (timing, demote) = (LeaseTiming::default(), IsolationResponse::Demote);
    let mut slot = Slot::new(Moment::ZERO, timing, demote);
    let theirs = |sent| Event::RecordRead {
        sent,
        record: Record::Theirs {
            generation: Generation(1),
        },
    };
    slot.apply(&db, ms(0), theirs(ms(0)));
    let tries = |slot: &mut Slot, at| {
        slot.apply(&db, at, Event::Tick);
        slot.begin(at).contains(&Begin::Demote)
    };
    for at in (0..5000).step_by(100) {
        assert!(tries(&mut slot, ms(at)), "at {at}");
        assert!(!tries(&mut slot, ms(at + 10)), "it is under way");
        slot.isolation_ended(ms(at + 50));
    }
    assert!(!tries(&mut slot, ms(5940)));
    assert!(tries(&mut slot, ms(5950)));
    // One that was not refused, but ended by its deadline.
    slot.isolation_ended(ms(10_950));
    assert!(tries(&mut slot, ms(10_950)));
    slot.isolation_ended(ms(11_000));
    assert!(!tries(&mut slot, ms(11_100)));
    // And what is primary anew hurries again.
    for images in [Images::NotPrimary, Images::Primary] {
        let sent = ms(11_200);
        slot.apply(&db, sent, Event::Looked { sent, images });
    }
    slot.apply(&db, ms(11_300), theirs(ms(11_300)));
    assert!(tries(&mut slot, ms(11_300)));
    slot.isolation_ended(ms(11_310));
    assert!(tries(&mut slot, ms(11_320)));
}

/// From the moment at which a put on a shorter lease is begun until its end is known the longer one counts for nothing.
#[test]
fn a_key_does_not_stand_on_a_lease_that_it_may_be_leaving_for_a_shorter_one() {
    let timing = LeaseTiming::default();
    let terms = |ttl| Terms {
        timing: LeaseTiming {
            ttl: rekindle_common::duration::Span::secs(ttl),
            ..timing
        },
        response: IsolationResponse::Demote,
    };
    let mut slot = Slot::new(Moment::ZERO, timing, IsolationResponse::Demote);
    assert!(slot.stands_on(120));
    slot.puts(terms(30));
    assert!(slot.stands_on(30) && !slot.stands_on(120));
    // A later put on the longer one says nothing of how that ended.
    slot.puts(terms(120));
    assert!(!slot.stands_on(120));
}
