//! Each rule by itself, and what holds whatever is seen.

use super::*;
use crate::servers::{
    leave::{Leave, leave},
    samples::{record, zone},
};
use proptest::prelude::*;
use rekindle_common::servers::PowerWish;

mod half;

/// A server that serves in zone-a, with a stand-by of ours in zone-b that is as it should be.
#[derive(Debug)]
struct World {
    key: ServerKey,
    a: ZoneName,
    b: ZoneName,
    policy: StandbyPolicy,
    kept: Option<KeptServer>,
    built: Option<Built>,
    begun: Option<Begun>,
    named: BTreeMap<ZoneName, String>,
    serving: Serving,
    standby: Standby,
    mapped: Mapped,
    copies: Copies,
    outside: Vec<ImageSpec>,
    counterpart: String,
}

fn now() -> Timestamp {
    "2026-11-26T12:00:00Z".parse().unwrap()
}

/// The record in zone-b's names.
fn there() -> ServerRecord {
    let mut there = record();
    there.zone = zone("zone-b");
    there.id = None;
    there.disks[0].volume.id = "root-b".to_owned();
    there.disks[1].volume.id = "data-b".to_owned();
    there
}

fn resting(id: &str) -> Standby {
    Standby::There {
        id: id.to_owned(),
        state: Rests::Resting,
        held: true,
        words: "SHUTOFF".to_owned(),
        disks: None,
    }
}

fn instance(id: &str, build: Build) -> Instance {
    Instance {
        id: id.to_owned(),
        build,
        seen_at: now(),
        unsettled: false,
    }
}

const STANDBY: Build = Build::Standby {
    policy: StandbyPolicy::Shutoff,
};

impl World {
    fn settled() -> Self {
        let (a, b) = (zone("zone-a"), zone("zone-b"));
        let key = ServerKey::new("web-1").unwrap();
        Self {
            kept: Some(KeptServer {
                key: key.clone(),
                record: record(),
                instances: BTreeMap::from([
                    (a.clone(), instance("server-a", Build::Users)),
                    (b.clone(), instance("server-b", STANDBY)),
                ]),
                trouble: None,
            }),
            built: Some(Built {
                zone: b.clone(),
                id: "server-b".to_owned(),
                counterpart: "zone-a/server-a".to_owned(),
                policy: StandbyPolicy::Shutoff,
                record: there(),
                at: now(),
            }),
            begun: None,
            named: BTreeMap::from([(a.clone(), "server-a".to_owned())]),
            key,
            a,
            b,
            policy: StandbyPolicy::Shutoff,
            serving: Serving::There(Box::new(record())),
            standby: resting("server-b"),
            mapped: Mapped::Record(Box::new(there())),
            copies: Copies::All,
            outside: Vec::new(),
            counterpart: "zone-a/server-a".to_owned(),
        }
    }

    fn new() -> Self {
        Self {
            kept: None,
            built: None,
            standby: Standby::Absent,
            ..Self::settled()
        }
    }

    /// After a failover: zone-b's, which we built, serves; its users' own stands by.
    fn turned() -> Self {
        let mut w = Self::settled();
        std::mem::swap(&mut w.a, &mut w.b);
        let mut serving = there();
        serving.id = Some("server-b".to_owned());
        w.serving = Serving::There(Box::new(serving.clone()));
        if let Some(kept) = &mut w.kept {
            kept.record = serving;
        }
        w.standby = resting("server-a");
        w.mapped = Mapped::Record(Box::new(record()));
        w.built = None;
        w.counterpart = "zone-b/server-b".to_owned();
        w
    }

    fn follow(&self) -> Verdict {
        follow(&Sight {
            key: &self.key,
            primary: &self.a,
            other: &self.b,
            policy: self.policy,
            kept: self.kept.as_ref(),
            built: self.built.as_ref(),
            begun: self.begun.as_ref(),
            named: &self.named,
            serving: self.serving.clone(),
            standby: self.standby.clone(),
            mapped: self.mapped.clone(),
            copies: self.copies,
            group: &GroupName::new("shop").unwrap(),
            outside: &self.outside,
            counterpart: &self.counterpart,
            now: now(),
        })
    }

    /// Without what is only written down.
    fn acts(&self) -> Vec<Act> {
        let writes = |a: &Act| matches!(a, Act::Keep(_) | Act::Describe { .. } | Act::Forget);
        self.follow()
            .acts
            .into_iter()
            .filter(|a| !writes(a))
            .collect()
    }

    fn kept(&self) -> Option<KeptServer> {
        self.follow().acts.into_iter().find_map(|a| match a {
            Act::Keep(kept) => Some(*kept),
            _ => None,
        })
    }

    fn trouble(&self) -> String {
        self.follow().trouble.unwrap_or_default()
    }

    fn state(mut self, now: Rests) -> Self {
        if let Standby::There { state, .. } = &mut self.standby {
            *state = now;
        }
        self
    }
}

fn names(acts: &[Act]) -> Vec<&'static str> {
    acts.iter()
        .map(|a| match a {
            Act::Keep(_) => "keep",
            Act::Describe { .. } => "describe",
            Act::Hold { .. } => "hold",
            Act::Remove { .. } => "remove",
            Act::Forget => "forget",
            Act::Build { .. } => "build",
        })
        .collect()
}

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
        *state = Rests::Failed;
    }
    for w in [other, failed] {
        assert_eq!(names(&w.acts()), ["remove"]);
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
    assert_eq!(names(&w.acts()), ["remove", "build"]);
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
        names(&World::settled().state(Rests::Failed).acts()),
        ["remove", "build"]
    );
    let unmapped = World {
        mapped: Mapped::NoRecord,
        ..World::settled()
    }
    .state(Rests::Failed);
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
    assert_eq!(World::turned().state(Rests::Failed).acts(), []);
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
        [Act::Remove { counterpart, .. }, Act::Build { .. }] => {
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
        Rests::Failed,
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

fn any_standby() -> impl Strategy<Value = Standby> {
    let state = prop_oneof![
        Just(Rests::Running),
        Just(Rests::Resting),
        Just(Rests::Changing),
        Just(Rests::Failed),
        Just(Rests::Unknown)
    ];
    prop_oneof![
        1 => Just(Standby::Unknown { why: "silence".to_owned() }),
        1 => Just(Standby::Absent),
        4 => (prop_oneof![Just("server-b"), Just("other"), Just("named-b")], state, any::<bool>()).prop_map(|(id, state, held)| Standby::There {
            id: id.to_owned(), state, held, words: "words".to_owned(), disks: None,
        }),
    ]
}

prop_compose! {
    fn any_world()(
        begun in 0usize..4,
        standby in any_standby(), policy in prop_oneof![Just(StandbyPolicy::Shutoff), Just(StandbyPolicy::Shelved), Just(StandbyPolicy::Record), Just(StandbyPolicy::None)],
        copies in prop_oneof![Just(Copies::All), Just(Copies::Journaled), Just(Copies::Some), Just(Copies::Writable), Just(Copies::Unknown)],
        serving in 0..3, mapped in 0..3, kept in any::<bool>(), built in any::<bool>(), turned in any::<bool>(), flavor in "[ab]", named in any::<bool>(),
    ) -> World {
        let mut w = if turned { World::turned() } else { World::settled() };
        let mut other = there();
        other.flavor.name = flavor;
        w.mapped = match mapped {
            0 => Mapped::NoRecord,
            1 => Mapped::Gaps(Vec::new()),
            _ => Mapped::Record(Box::new(other)),
        };
        w.serving = match serving {
            0 => Serving::Unknown { why: "silence".to_owned() },
            1 => Serving::Absent,
            _ => w.serving,
        };
        if named {
            w.named.insert(w.b.clone(), "named-b".to_owned());
        }
        if !kept { w.kept = None; }
        if !built { w.built = None; }
        w.begun = match begun {
            0 => None,
            1 => Some(half::begun(&w, "zone-a/server-a", 1)),
            2 => Some(half::begun(&w, "zone-a/server-a", 60)),
            _ => Some(half::begun(&w, "zone-a/before", 60)),
        };
        World { standby, policy, copies, ..w }
    }
}

proptest! {
    #[test]
    fn nothing_is_touched_on_an_unknown_or_where_it_may_serve(w in any_world()) {
        let acts = w.acts();
        let unknown = matches!(w.standby, Standby::Unknown { .. } | Standby::There { state: Rests::Unknown | Rests::Changing, .. });
        if unknown || matches!(w.copies, Copies::Unknown | Copies::Writable) {
            prop_assert!(acts.is_empty(), "{acts:?}");
        }
        // What serves nobody is held all the same.
        if matches!(w.serving, Serving::Unknown { .. }) {
            prop_assert!(acts.iter().all(|a| matches!(a, Act::Hold { .. })), "{acts:?}");
        }
        let builds = acts.iter().any(|a| matches!(a, Act::Build { .. }));
        // On a copy that no server can open only what is there already is taken for ours.
        let adopts = w.copies == Copies::Journaled && matches!(w.standby, Standby::There { state: Rests::Resting, .. });
        prop_assert!(!builds || adopts || w.copies == Copies::All, "{acts:?}");
        let removes = acts.iter().any(|a| matches!(a, Act::Remove { .. }));
        let users = match &w.standby {
            Standby::There { id, .. } => w.kept.as_ref().and_then(|k| k.instances.get(&w.b)).is_some_and(|i| i.id == *id && i.build == Build::Users)
                || (w.named.get(&w.b) == Some(id) && w.kept.as_ref().and_then(|k| k.instances.get(&w.b)).is_none_or(|i| i.id != *id)),
            _ => false,
        };
        prop_assert!(!(removes && users), "{acts:?}");
        let at_rest = matches!(w.standby, Standby::There { state: Rests::Resting | Rests::Failed, .. });
        prop_assert!(!removes || at_rest, "{acts:?}");
    }

    /// What was carried out needs nothing more: the rules come to rest.
    #[test]
    fn they_come_to_rest(w in any_world()) {
        let mut w = w;
        for _ in 0..6 {
            let acts = w.follow().acts;
            let mut done = false;
            for act in acts {
                match act {
                    Act::Describe { .. } => {}
                    Act::Keep(kept) => w.kept = Some(*kept),
                    Act::Hold { .. } => {
                        done = true;
                        if let Standby::There { state, held, .. } = &mut w.standby { (*state, *held) = (Rests::Resting, true); }
                    }
                    Act::Remove { .. } => { done = true; w.standby = Standby::Absent; w.begun = None; }
                    Act::Forget => { done = true; w.begun = None; }
                    Act::Build { record, policy } => {
                        done = true;
                        w.begun = None;
                        let id = match &w.standby { Standby::There { id, .. } => id.clone(), _ => "anew".to_owned() };
                        w.standby = resting(&id);
                        w.built = Some(Built { zone: w.b.clone(), id, counterpart: w.counterpart.clone(), policy, record: *record, at: now() });
                    }
                }
            }
            if !done && w.kept().is_none() {
                return Ok(());
            }
        }
        prop_assert!(false, "they do not: {:?}", w.follow());
    }
}
