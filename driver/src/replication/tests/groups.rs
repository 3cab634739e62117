//! A volume's group changes where that is said, and nowhere else.

use super::*;
use rekindle_common::GroupName;

fn periodic(minutes: u64) -> ReplicationMode {
    ReplicationMode::Periodic(Schedule {
        start: at(0),
        interval: Span::secs(minutes * 60),
    })
}

fn order(mode: ReplicationMode, group: Option<&str>, leave_group: bool) -> VolumeAction {
    VolumeAction::Replicate {
        mode,
        group: group.map(|g| g.parse().unwrap()),
        leave_group,
        anew: false,
        cinder: None,
    }
}

/// A volume of group db, with these entries besides; an empty one is taken away.
fn grouped(mirror: MirrorView, entries: &[(&str, &str)]) -> Look {
    let mut v = view(MirrorImageMode::Snapshot, true);
    v.mirror = mirror;
    let metadata = Arc::make_mut(&mut v.metadata);
    for (key, value) in entries {
        if value.is_empty() {
            metadata.remove(*key);
        } else {
            metadata.insert((*key).to_owned(), (*value).to_owned());
        }
    }
    Look::derive(v, &Hints::default(), at(1010))
}

fn mirrored() -> MirrorView {
    view(MirrorImageMode::Snapshot, true).mirror
}

/// The group that is in the image's metadata once the order was carried out.
fn group_then(look: &Look, action: &VolumeAction) -> Result<Option<String>, Refusal> {
    let mut metadata = (*look.view.metadata).clone();
    match next(look, action, &generation(2))? {
        Step::SetPolicy { set, remove, .. } | Step::Enable { set, remove, .. } => {
            metadata.extend(set);
            for key in remove {
                metadata.remove(key);
            }
        }
        Step::AlreadySo => {}
        other @ (Step::Disable { .. }
        | Step::Promote(_)
        | Step::Demote { .. }
        | Step::Resync { .. }) => panic!("{other:?}"),
    }
    Ok(metadata.remove(metadata::GROUP))
}

#[test]
fn a_changed_interval_leaves_a_volume_in_its_group_and_leaving_is_said() {
    let look = grouped(mirrored(), &[]);
    let db = || Ok(Some("db".to_owned()));
    for mode in [ReplicationMode::Once, periodic(15)] {
        assert_eq!(group_then(&look, &order(mode, None, false)), db(), "{mode}");
        assert_eq!(group_then(&look, &order(mode, None, true)), Ok(None));
        let web = order(mode, Some("web"), false);
        assert_eq!(group_then(&look, &web), Ok(Some("web".to_owned())));
    }
    // Said again, nothing is left to be written: the policy is the one that it has.
    let again = grouped(
        mirrored(),
        &[
            (metadata::MODE, "periodic"),
            (metadata::START, &at(0).to_string()),
            (metadata::INTERVAL, "15m"),
        ],
    );
    assert_eq!(
        next(&again, &order(periodic(15), None, false), &generation(2)),
        Ok(Step::AlreadySo)
    );
    let alone = grouped(mirrored(), &[(metadata::GROUP, "")]);
    for leave in [false, true] {
        let action = order(periodic(15), None, leave);
        assert_eq!(group_then(&alone, &action), Ok(None));
    }
}

/// Somebody took its mirroring off: it is put back, and with it what the next failover promotes.
#[test]
fn what_is_replicated_again_is_in_the_group_that_it_was_in() {
    let look = grouped(MirrorView::Off, &[]);
    let again = order(ReplicationMode::Once, None, false);
    assert_eq!(group_then(&look, &again), Ok(Some("db".to_owned())));
    let leaves = order(ReplicationMode::Once, None, true);
    assert_eq!(group_then(&look, &leaves), Ok(None));
}

#[test]
fn a_policy_that_cannot_be_read_is_made_good_within_its_group() {
    for broken in [(metadata::MODE, "hourly"), (metadata::MODE, "")] {
        let look = grouped(mirrored(), &[broken]);
        assert_eq!(look.policy, None);
        let order = order(periodic(15), None, false);
        assert_eq!(group_then(&look, &order), Ok(Some("db".to_owned())));
    }
    // Which group it is cannot be read: that is said, and how to go on.
    let look = grouped(mirrored(), &[(metadata::GROUP, "No Group")]);
    let e: rekindle_common::ApiError = group_then(&look, &order(periodic(15), None, false))
        .unwrap_err()
        .into();
    assert_eq!(e.code, ErrorCode::CorruptRecord);
    assert!(e.message.contains("leave_group"), "{e}");
    for (group, leave) in [(Some("web"), false), (None, true)] {
        let then = group_then(&look, &order(periodic(15), group, leave));
        assert_eq!(then, Ok(group.map(str::to_owned)));
    }
}

#[test]
fn to_join_one_and_to_leave_is_two_things() {
    let look = grouped(mirrored(), &[]);
    let both = order(ReplicationMode::Once, Some("web"), true);
    let e: rekindle_common::ApiError = group_then(&look, &both).unwrap_err().into();
    assert_eq!(e.code, ErrorCode::InvalidField);
    assert_eq!(e.field.as_deref(), Some("action.leave_group"));
    let db = GroupName::new("db").unwrap();
    assert_eq!(group_after(&look, None, false), Ok(Some(db)));
}
