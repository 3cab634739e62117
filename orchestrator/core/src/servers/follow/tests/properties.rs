//! What holds whatever is seen.

use super::*;
use proptest::prelude::*;

fn any_standby() -> impl Strategy<Value = Standby> {
    let state = prop_oneof![
        Just(Rests::Running),
        Just(Rests::Resting),
        Just(Rests::Changing),
        any::<bool>().prop_map(|off| Rests::Failed { off }),
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
        // One that rests well goes only for one that can be built, or where none is wanted.
        let wanted = matches!(w.policy, StandbyPolicy::Shutoff | StandbyPolicy::Shelved);
        let rests = matches!(w.standby, Standby::There { state: Rests::Resting, .. });
        let checked = matches!(acts.first(), Some(Act::Check { .. }));
        prop_assert!(!(removes && wanted && rests) || checked, "{acts:?}");
        let at_rest = matches!(w.standby, Standby::There { state: Rests::Resting | Rests::Failed { .. }, .. });
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
                    Act::Describe { .. } | Act::Check { .. } => {}
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
