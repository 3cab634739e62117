//! Whose each server is: its users' own is held at most, and what we built goes only with its protection.

use super::*;
use crate::servers::leave::{Leave, leave};

#[test]
fn a_server_that_its_user_deleted_takes_nothing_with_it() {
    let w = World {
        serving: Serving::Absent,
        ..World::settled()
    };
    let v = w.follow();
    assert_eq!(v.acts, []);
    assert!(v.trouble.unwrap().contains("take it out of the runbook"));
    let w = World { kept: None, ..w };
    assert!(w.trouble().contains("import its record"), "{}", w.trouble());
    // One that never was has its stand-by from its record.
    let mut imported = World {
        serving: Serving::Absent,
        standby: Standby::Absent,
        ..World::settled()
    };
    imported.kept.as_mut().unwrap().record.id = None;
    assert_eq!(names(&imported.follow().acts), ["describe", "build"]);
}

#[test]
fn after_a_failover_the_users_own_stands_by_and_is_never_taken_away() {
    let w = World::turned();
    let v = w.follow();
    assert_eq!((names(&v.acts), v.trouble), (vec!["describe"], None));
    // It was started by its hypervisor, or nobody has locked it.
    assert_eq!(
        w.state(Rests::Running).acts(),
        [Act::Hold {
            id: "server-a".to_owned()
        }]
    );
    let mut free = World::turned();
    free.standby = Standby::There {
        id: "server-a".to_owned(),
        state: Rests::Resting,
        held: false,
        words: String::new(),
        disks: None,
    };
    assert_eq!(names(&free.acts()), ["hold"]);
    // While its volumes may be primary there nothing is stopped.
    free.copies = Copies::Writable;
    assert_eq!(free.acts(), []);
    for policy in [StandbyPolicy::Record, StandbyPolicy::None] {
        assert_eq!(
            World {
                policy,
                ..World::turned()
            }
            .acts(),
            []
        );
    }
    let failed = |off| World::turned().state(Rests::Failed { off });
    assert_eq!(failed(true).acts(), []);
    // Nova says that it failed, and it runs on what is a copy there.
    assert_eq!(names(&failed(false).acts()), ["hold"]);
    let disks = |volumes: &[&str]| {
        let mut w = World::turned();
        let volumes = volumes.iter().map(|v| (*v).to_owned()).collect();
        w.standby = Standby::There {
            id: "server-a".to_owned(),
            state: Rests::Resting,
            held: true,
            words: String::new(),
            disks: Some(volumes),
        };
        w
    };
    assert_eq!(disks(&["root-a", "data-a"]).trouble(), "");
    for other in [
        &["root-a"][..],
        &["data-a", "root-a"],
        &["root-a", "data-a", "new-a"],
    ] {
        let w = disks(other);
        assert_eq!(w.acts(), []);
        assert!(
            w.trouble().contains("attach and detach them there"),
            "{}",
            w.trouble()
        );
    }
}

#[test]
fn hard_case_50_what_runs_in_the_other_zone_is_held_whatever_is_seen_where_it_serves() {
    let unknown = Serving::Unknown {
        why: "silence".to_owned(),
    };
    let hold = |id: &str| vec![Act::Hold { id: id.to_owned() }];
    for serving in [unknown, Serving::Absent] {
        for policy in [StandbyPolicy::Record, StandbyPolicy::None] {
            let turned = || World {
                policy,
                serving: serving.clone(),
                ..World::turned()
            };
            assert_eq!(turned().acts(), [], "it is at rest");
            assert_eq!(turned().state(Rests::Running).acts(), hold("server-a"));
            let nothing_kept = World {
                kept: None,
                ..turned()
            };
            let acts = nothing_kept.state(Rests::Running).acts();
            assert_eq!(acts, hold("server-a"));
            for copies in [Copies::Writable, Copies::Unknown] {
                let w = World { copies, ..turned() };
                assert_eq!(w.state(Rests::Running).acts(), [], "{copies:?}");
            }
        }
        let ours = World {
            serving,
            ..World::settled()
        };
        assert_eq!(ours.state(Rests::Running).acts(), hold("server-b"));
    }
}

#[test]
fn another_server_in_the_runbook_is_another_one() {
    let mut w = World::settled();
    let mut other = record();
    other.id = Some("server-c".to_owned());
    w.named.insert(zone("zone-a"), "server-c".to_owned());
    w.serving = Serving::There(Box::new(other));
    w.counterpart = "zone-a/server-c".to_owned();
    let kept = w.kept().unwrap();
    assert_eq!(
        kept.instances[&zone("zone-a")],
        instance("server-c", Build::Users)
    );
    // Its stand-by is marked as another's: that one is removed under its own mark.
    match &w.acts()[..] {
        [
            Act::Check { .. },
            Act::Remove { counterpart, .. },
            Act::Build { .. },
        ] => {
            assert_eq!(counterpart, "zone-a/server-a")
        }
        other => panic!("{other:?}"),
    }
}

/// Another one than was written down was found by its mark: one whose build was cut off.
#[test]
fn hard_case_51_a_stand_by_of_ours_is_written_down_once_it_is_at_rest() {
    let written = |w: World| {
        let kept = w.kept().or(w.kept).unwrap();
        kept.instances[&zone("zone-b")].id.clone()
    };
    let half = || World {
        standby: resting("half"),
        ..World::settled()
    };
    for state in [
        Rests::Running,
        Rests::Changing,
        Rests::Failed { off: true },
        Rests::Unknown,
    ] {
        assert_eq!(written(half().state(state)), "server-b", "{state:?}");
        // Its users' own was never built on copies.
        let mut users = half().state(state);
        users.named.insert(zone("zone-b"), "half".to_owned());
        assert_eq!(written(users), "half", "{state:?}");
    }
    assert_eq!(written(half()), "half");
}

/// Its group went to zone-b, and nothing stood by for it there: that is no trouble, and no more is one that is home and serves.
#[test]
fn one_that_nothing_stands_by_for_is_no_trouble_in_the_other_zone() {
    let mut w = World {
        policy: StandbyPolicy::None,
        serving: Serving::Absent,
        standby: resting("server-a"),
        ..World::settled()
    };
    std::mem::swap(&mut w.a, &mut w.b);
    assert_eq!(w.follow(), Verdict::default());
    // Whereas one with another policy should be there; and at home it is missed whatever stands by.
    w.policy = StandbyPolicy::Record;
    assert!(w.trouble().contains("zone-b: it is not there any more"));
    let home = World {
        policy: StandbyPolicy::None,
        serving: Serving::Absent,
        ..World::settled()
    };
    assert!(home.trouble().contains("zone-a: it is not there any more"));
}

#[test]
fn what_is_protected_no_more_loses_what_we_built_and_nothing_else() {
    let w = World::settled();
    let (kept, built) = (w.kept.unwrap(), w.built.unwrap());
    let a = zone("zone-a");
    let left = |standby: &Standby, copies| leave(&kept, Some(&built), standby, copies, Some(&a));
    let gone = Leave::Remove {
        id: "server-b".to_owned(),
        counterpart: "zone-a/server-a".to_owned(),
    };
    assert_eq!(left(&resting("server-b"), Copies::All), gone);
    assert_eq!(left(&resting("server-b"), Copies::Some), gone);
    assert_eq!(
        leave(&kept, None, &resting("server-b"), Copies::All, None),
        gone
    );
    // That of what serves, where we built that too, or of one that stood by before, is not its own.
    let of = |zone_of: &str, id: &str| Built {
        zone: zone(zone_of),
        id: id.to_owned(),
        counterpart: "zone-b/other".to_owned(),
        ..built.clone()
    };
    for other in [of("zone-a", "server-b"), of("zone-b", "before")] {
        let all = Copies::All;
        let left = leave(&kept, Some(&other), &resting("server-b"), all, Some(&a));
        assert_eq!(left, gone);
        let unseen = Copies::Unknown;
        match leave(&kept, Some(&other), &resting("server-b"), unseen, Some(&a)) {
            Leave::Wait { why } => assert!(why.contains("delete it by hand"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(left(&Standby::Absent, Copies::Unknown), Leave::Forget);
    let waits = |l: Leave| matches!(l, Leave::Wait { .. });
    assert!(waits(left(&resting("server-b"), Copies::Writable)));
    assert!(waits(left(&resting("server-b"), Copies::Unknown)));
    assert!(waits(left(
        &Standby::Unknown {
            why: "silence".to_owned()
        },
        Copies::All
    )));
    for state in [Rests::Running, Rests::Changing, Rests::Unknown] {
        let w = World::settled().state(state);
        assert!(waits(left(&w.standby, Copies::All)), "{state:?}");
    }
    // It serves where we built it: what was last written down is older than the failover.
    assert!(waits(leave(
        &kept,
        Some(&built),
        &resting("server-b"),
        Copies::All,
        Some(&zone("zone-b"))
    )));
    let turned = World::turned();
    let kept = turned.kept.unwrap();
    assert_eq!(
        leave(
            &kept,
            None,
            &resting("server-a"),
            Copies::All,
            Some(&zone("zone-b"))
        ),
        Leave::Forget
    );
}
