//! What we build in the other zone: when, on what, and when anew.

use super::*;

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let w = World::settled();
    let v = w.follow();
    assert_eq!((names(&v.acts), v.trouble), (vec!["describe"], None));
    // Read again a moment later: no news. An hour later it is noted that it is still there.
    let mut again = World::settled();
    if let Serving::There(record) = &mut again.serving {
        record.taken_at = now();
    }
    assert_eq!(again.kept(), None);
    let later = again
        .kept
        .as_mut()
        .and_then(|k| k.instances.get_mut(&zone("zone-b")))
        .unwrap();
    later.seen_at = "2026-11-26T10:30:00Z".parse().unwrap();
    let kept = again.kept().unwrap();
    assert_eq!(kept.instances[&zone("zone-b")].seen_at, now());
    assert_eq!(kept.record, record());
}

#[test]
fn a_new_server_is_kept_and_its_stand_by_built() {
    let w = World::new();
    let v = w.follow();
    assert_eq!(names(&v.acts), ["describe", "keep", "build"]);
    let kept = w.kept().unwrap();
    assert_eq!(kept.record, record());
    assert_eq!(
        kept.instances,
        BTreeMap::from([(zone("zone-a"), instance("server-a", Build::Users))])
    );
    assert!(
        matches!(&w.acts()[..], [Act::Build { record, policy: StandbyPolicy::Shutoff }] if **record == there())
    );
    for (policy, acts) in [
        (StandbyPolicy::Shelved, vec!["build"]),
        (StandbyPolicy::Record, vec![]),
        (StandbyPolicy::None, vec![]),
    ] {
        let w = World {
            policy,
            ..World::new()
        };
        assert_eq!(names(&w.acts()), acts, "{policy:?}");
        assert!(
            w.kept().is_some(),
            "{policy:?}: its record is kept whatever stands by"
        );
    }
}

#[test]
fn on_a_copy_that_no_server_can_open_nothing_is_built_anew_and_what_rests_stays() {
    let on_journals = |w: World| World {
        copies: Copies::Journaled,
        ..w
    };
    // Built when it was primary there, by a failover; the word of what it was built from may be lost.
    let settled = on_journals(World::settled());
    assert_eq!((settled.acts(), settled.follow().trouble), (vec![], None));
    let adopted = on_journals(World {
        built: None,
        ..World::settled()
    });
    assert_eq!(names(&adopted.acts()), ["build"]);
    // Another would be built now, or this one is of no use: it makes room for the one that is built when it is needed.
    let mut other = on_journals(World::settled());
    let mut record = there();
    record.flavor.name = "another".to_owned();
    other.mapped = Mapped::Record(Box::new(record));
    let mut failed = on_journals(World::settled());
    if let Standby::There { state, .. } = &mut failed.standby {
        *state = Rests::Failed { off: true };
    }
    for (w, acts) in [(other, &["check", "remove"][..]), (failed, &["remove"][..])] {
        assert_eq!(names(&w.acts()), acts);
        assert!(w.trouble().contains("when it is needed"), "{}", w.trouble());
    }
}

#[test]
fn a_volume_that_does_not_go_with_the_server_is_said() {
    let w = World {
        outside: vec!["volumes/volume-7".parse().unwrap()],
        ..World::settled()
    };
    assert_eq!(w.acts(), [], "nothing else hangs on it");
    let trouble = w.trouble();
    for part in [
        "volumes/volume-7 is not in the group shop",
        "rekindle volume replicate",
    ] {
        assert!(trouble.contains(part), "{trouble}");
    }
}

#[test]
fn a_stand_by_is_built_only_on_copies_and_only_whole() {
    for (copies, word) in [
        (Copies::Journaled, "mirrored through its journal"),
        (Copies::Some, "have a copy"),
        (Copies::Writable, "can be written in zone-b"),
        (Copies::Unknown, "cannot be seen now"),
    ] {
        let w = World {
            copies,
            ..World::new()
        };
        assert_eq!(w.acts(), [], "{copies:?}");
        assert!(w.trouble().contains(word), "{}", w.trouble());
        assert_eq!(w.kept().unwrap().trouble, Some(w.trouble()));
    }
    let gap = |field: &str| Gap {
        field: field.to_owned(),
        why: "is not mapped".to_owned(),
        unknown: false,
    };
    let w = World {
        mapped: Mapped::Gaps(vec![gap("flavor.name"), gap("key_name")]),
        ..World::new()
    };
    assert_eq!(w.acts(), []);
    assert!(
        w.trouble()
            .contains("flavor.name: is not mapped; key_name: is not mapped"),
        "{}",
        w.trouble()
    );
}

#[test]
fn a_change_of_the_server_builds_its_stand_by_anew() {
    type Change = fn(&mut ServerRecord);
    let changes: [(Change, &str); 5] = [
        (|r| r.flavor.name = "s2".to_owned(), "flavor.name: was"),
        (
            |r| {
                r.disks.pop();
            },
            "disks.data-b: gone",
        ),
        (
            |r| {
                r.metadata.insert("role".to_owned(), "db".to_owned());
            },
            "metadata.role: was web, is db",
        ),
        (
            |r| r.ports[0].security_groups.push("ssh".to_owned()),
            "security_groups",
        ),
        (
            |r| {
                r.disks
                    .push(crate::servers::samples::disk("more-b", None, "/dev/vdc"))
            },
            "disks.more-b: added",
        ),
    ];
    for (change, word) in changes {
        let mut now = there();
        change(&mut now);
        let w = World {
            mapped: Mapped::Record(Box::new(now.clone())),
            ..World::settled()
        };
        match &w.acts()[..] {
            [
                Act::Check {
                    record: checked, ..
                },
                Act::Remove {
                    id,
                    counterpart,
                    why,
                },
                Act::Build { record, .. },
            ] => {
                assert_eq!(
                    (id.as_str(), counterpart.as_str()),
                    ("server-b", "zone-a/server-a")
                );
                assert!(why.contains(word), "{why}");
                assert_eq!(**record, now);
                assert_eq!(**checked, now);
            }
            other => panic!("{other:?}"),
        }
        // Not while it runs, or something is at work on it; and not where it could be written.
        assert_eq!(
            names(
                &World {
                    mapped: w.mapped.clone(),
                    ..World::settled()
                }
                .state(Rests::Running)
                .acts()
            ),
            ["hold"]
        );
        assert_eq!(
            World {
                mapped: w.mapped.clone(),
                ..World::settled()
            }
            .state(Rests::Changing)
            .acts(),
            []
        );
        for copies in [Copies::Some, Copies::Writable, Copies::Unknown] {
            let w = World {
                copies,
                mapped: w.mapped.clone(),
                ..World::settled()
            };
            assert_eq!(w.acts(), [], "{copies:?}");
        }
    }
    // Whether it runs, or is locked, is no part of it.
    let mut same = there();
    (same.power, same.locked) = (PowerWish::ShutOff, true);
    let w = World {
        mapped: Mapped::Record(Box::new(same)),
        ..World::settled()
    };
    assert_eq!(w.acts(), []);
}

#[test]
fn a_policys_change_is_followed() {
    for (policy, acts) in [
        (StandbyPolicy::Shelved, vec!["build"]),
        (StandbyPolicy::Record, vec!["remove"]),
        (StandbyPolicy::None, vec!["remove"]),
    ] {
        let w = World {
            policy,
            ..World::settled()
        };
        assert_eq!(names(&w.acts()), acts, "{policy:?}");
    }
    // One that is shelved is given a host only by building it anew.
    let mut w = World::settled();
    w.built.as_mut().unwrap().policy = StandbyPolicy::Shelved;
    assert_eq!(names(&w.acts()), ["check", "remove", "build"]);
}

#[test]
fn one_that_is_not_held_or_failed_is_mended() {
    let mut w = World::settled();
    w.standby = Standby::There {
        id: "server-b".to_owned(),
        state: Rests::Resting,
        held: false,
        words: "SHUTOFF".to_owned(),
        disks: None,
    };
    assert_eq!(names(&w.acts()), ["build"]);
    assert_eq!(
        names(&World::settled().state(Rests::Failed { off: true }).acts()),
        ["remove", "build"]
    );
    let unmapped = World {
        mapped: Mapped::NoRecord,
        ..World::settled()
    }
    .state(Rests::Failed { off: true });
    assert_eq!(
        unmapped.acts(),
        [],
        "one that failed is kept until another can be built"
    );
    // The word of its build was lost, or it is another than was noted.
    for built in [
        None,
        World::settled().built.map(|b| Built {
            id: "before".to_owned(),
            ..b
        }),
    ] {
        assert_eq!(
            names(
                &World {
                    built,
                    ..World::settled()
                }
                .acts()
            ),
            ["build"]
        );
    }
}
