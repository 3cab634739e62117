//! What is not known of a stand-by: how its build ended, or whether it was off when its volumes went on.

use super::*;
use rekindle_common::servers::{AddressPair, PortSecurity};

pub(super) fn begun(w: &World, counterpart: &str, minutes: i64) -> Begun {
    Begun {
        zone: w.b.clone(),
        counterpart: counterpart.to_owned(),
        record: there(),
        at: now() - jiff::SignedDuration::from_mins(minutes),
    }
}

/// A build that was begun a minute ago, and nothing written down of it.
fn half(policy: StandbyPolicy, standby: Standby) -> World {
    let mut w = World::settled();
    w.kept.as_mut().unwrap().instances.remove(&w.b);
    w.begun = Some(begun(&w, "zone-a/server-a", 1));
    World {
        built: None,
        policy,
        standby,
        ..w
    }
}

#[test]
fn hard_case_51_what_a_cut_off_build_brought_up_is_held_and_goes_whatever_is_wanted() {
    for policy in [
        StandbyPolicy::Shutoff,
        StandbyPolicy::Record,
        StandbyPolicy::None,
    ] {
        let w = half(policy, World::settled().state(Rests::Running).standby);
        assert!(
            matches!(&w.acts()[..], [Act::Hold { id }] if id == "server-b"),
            "{policy:?}: {:?}",
            w.acts()
        );
    }
    // One that never ends is not passed over in silence.
    let builds = half(
        StandbyPolicy::Shutoff,
        World::settled().state(Rests::Changing).standby,
    );
    assert!(builds.acts().is_empty());
    assert!(
        builds.trouble().contains("still being built"),
        "{}",
        builds.trouble()
    );
    let gone = half(StandbyPolicy::Record, resting("server-b")).acts();
    assert!(
        matches!(&gone[..], [Act::Remove { id, counterpart, .. }] if id == "server-b" && counterpart == "zone-a/server-a"),
        "{gone:?}"
    );
    // It bears who served when it was begun.
    let mut w = half(StandbyPolicy::Shutoff, resting("server-b"));
    w.begun = Some(begun(&w, "zone-a/before", 1));
    let anew = w.acts();
    assert!(
        matches!(&anew[..], [Act::Check { .. }, Act::Remove { counterpart, .. }, Act::Build { .. }] if counterpart == "zone-a/before"),
        "{anew:?}"
    );
}

/// What comes of it has what it was begun with.
#[test]
fn hard_case_51_what_a_build_of_an_earlier_day_brought_up_is_not_taken_for_todays() {
    let w = half(StandbyPolicy::Shutoff, resting("server-b"));
    assert_eq!(names(&w.acts()), ["build"], "adopted");
    let mut changed = there();
    changed.flavor.name = "s2".to_owned();
    let anew = |copies| World {
        copies,
        mapped: Mapped::Record(Box::new(changed.clone())),
        ..half(StandbyPolicy::Shutoff, resting("server-b"))
    };
    let acts = anew(Copies::All).acts();
    assert_eq!(names(&acts), ["check", "remove", "build"]);
    assert!(
        matches!(&acts[1], Act::Remove { why, .. } if why.contains("flavor.name: was small, is s2")),
        "{acts:?}"
    );
    // Nothing is built where no server could run.
    assert_eq!(names(&anew(Copies::Journaled).acts()), ["check", "remove"]);
    // An older leader did not write down what it began with.
    let unknown = World {
        begun: None,
        ..anew(Copies::All)
    };
    assert_eq!(names(&unknown.acts()), ["build"]);
}

/// A record of an older release does not say that its ports are filtered by their groups. They are, and nothing is built anew for the word.
#[test]
fn what_an_older_release_built_stays_where_a_record_now_says_what_was_so() {
    let on = |groups: &[&str], pairs: bool| {
        let mut now = there();
        now.ports[0].port_security = PortSecurity::On;
        now.ports[0].security_groups = groups.iter().map(|g| (*g).to_owned()).collect();
        if pairs {
            now.ports[0].address_pairs = vec![AddressPair {
                address: "10.1.0.9".to_owned(),
                mac: None,
            }];
        }
        World {
            mapped: Mapped::Record(Box::new(now)),
            ..World::settled()
        }
    };
    assert_eq!(on(&["web"], false).acts(), []);
    assert_eq!(
        names(&on(&["web"], true).acts()),
        ["check", "remove", "build"]
    );
    // One that named no group came up behind the project's `default`.
    let mut bare = on(&[], false);
    let built = bare.built.as_mut().unwrap();
    built.record.ports[0].security_groups.clear();
    assert_eq!(names(&bare.acts()), ["check", "remove", "build"]);
}

#[test]
fn that_a_build_was_begun_is_forgotten_once_nothing_can_come_of_it() {
    let forgets = |w: &World| w.follow().acts.contains(&Act::Forget);
    let mut w = half(StandbyPolicy::Record, Standby::Absent);
    assert!(!forgets(&w), "an order that was lost may be on its way");
    w.begun = Some(begun(&w, "zone-a/server-a", 31));
    assert!(forgets(&w));
    // Another is built, which looks for it first.
    w.policy = StandbyPolicy::Shutoff;
    assert!(!forgets(&w));
    w.copies = Copies::Journaled;
    assert!(forgets(&w));
    w.standby = resting("server-b");
    assert!(!forgets(&w));
}

/// It is what a plan wrote: the keeper takes it away where it sees the server at rest and locked, or, where it serves, off.
#[test]
fn what_could_not_be_seen_to_be_off_is_unsettled_until_it_is_seen_at_rest() {
    let unsettled = |w: &mut World, zone: &ZoneName| {
        let kept = w.kept.as_mut().unwrap();
        kept.instances.get_mut(zone).unwrap().unsettled = true;
    };
    let kept_so = |w: &World, zone: &ZoneName| {
        let acts = w.follow().acts;
        let kept = acts.iter().find_map(|a| match a {
            Act::Keep(kept) => Some(kept.as_ref()),
            Act::Describe { .. }
            | Act::Hold { .. }
            | Act::Check { .. }
            | Act::Remove { .. }
            | Act::Forget
            | Act::Build { .. } => None,
        });
        kept.or(w.kept.as_ref()).unwrap().instances[zone].unsettled
    };
    for (state, held, so) in [
        (Rests::Running, false, true),
        (Rests::Changing, true, true),
        // What Nova calls failed may run.
        (Rests::Failed { off: false }, true, true),
        (Rests::Failed { off: true }, false, true),
        (Rests::Failed { off: true }, true, false),
        (Rests::Resting, false, true),
        (Rests::Resting, true, false),
    ] {
        let mut w = World::turned();
        let other = w.b.clone();
        unsettled(&mut w, &other);
        w.standby = Standby::There {
            id: "server-a".to_owned(),
            state,
            held,
            words: "as it is".to_owned(),
            disks: None,
        };
        assert_eq!(kept_so(&w, &other), so, "{state:?}, {held}");
    }
    for (power, so) in [(PowerWish::Running, true), (PowerWish::ShutOff, false)] {
        let mut w = World::settled();
        let primary = w.a.clone();
        unsettled(&mut w, &primary);
        let mut serving = record();
        serving.power = power;
        w.serving = Serving::There(Box::new(serving));
        assert_eq!(kept_so(&w, &primary), so, "{power:?}");
    }
}
