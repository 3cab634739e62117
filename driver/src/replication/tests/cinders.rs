//! What stands in metadata beside the policy: what Cinder says, and that a volume was deleted there.

use super::*;
use rekindle_common::servers::ServerRecord;

fn with(mut v: ImageView, pairs: &[(&str, &str)]) -> Look {
    for (k, val) in pairs {
        Arc::make_mut(&mut v.metadata).insert((*k).to_owned(), (*val).to_owned());
    }
    Look::derive(v, &Hints::default(), at(1010))
}

fn primary(mode: MirrorImageMode) -> ImageView {
    ImageView {
        local: Some(primary_says()),
        peer: Some(journal(0)),
        ..view(mode, true)
    }
}

fn from_cinder(facts: Option<CinderFacts>, on_delete: Option<OnDelete>) -> VolumeAction {
    VolumeAction::Replicate {
        mode: ReplicationMode::Instant,
        group: Some("db".parse().unwrap()),
        leave_group: false,
        anew: false,
        cinder: Some(Box::new(FromCinder { facts, on_delete })),
    }
}

/// What is written, what goes, and whether a snapshot follows; nothing where nothing is done.
fn written(look: &Look, action: &VolumeAction) -> (Vec<String>, Vec<&'static str>, bool) {
    match next(look, action, &generation(2)).unwrap() {
        Step::SetPolicy {
            set,
            remove,
            snapshot,
        } => (set.into_keys().collect(), remove, snapshot),
        Step::Enable { set, remove, .. } => (set.into_keys().collect(), remove, false),
        Step::AlreadySo => (Vec::new(), Vec::new(), false),
        other @ (Step::Disable { .. }
        | Step::Promote(_)
        | Step::Demote { .. }
        | Step::Resync { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn facts_are_written_once_and_shown() {
    let plain = with(primary(MirrorImageMode::Journal), &[]);
    assert_eq!(
        written(&plain, &described(3)),
        (vec![metadata::CINDER.to_owned()], vec![], false)
    );
    let text = facts(3).to_metadata().unwrap();
    let told = with(
        primary(MirrorImageMode::Journal),
        &[(metadata::CINDER, &text)],
    );
    assert_eq!(told.cinder, Some(facts(3)));
    assert_eq!(
        next(&told, &described(3), &generation(2)),
        Ok(Step::AlreadySo)
    );
    assert_eq!(written(&told, &described(4)).0, [metadata::CINDER]);
    let report = told.report(&"zone-a".parse().unwrap(), None);
    assert_eq!(
        (report.cinder, report.on_delete),
        (Some(facts(3)), Some(OnDelete::Refuse))
    );
    // In snapshot mode they go with the next snapshot, and none is taken for them: `once` means the volume as it was then.
    let once = with(primary(MirrorImageMode::Snapshot), &[]);
    assert!(!written(&once, &described(3)).2);
}

#[test]
fn a_servers_record_is_written_once_and_taken_away() {
    let record: ServerRecord = serde_json::from_value(serde_json::json!({
        "version": 1, "name": "web-1", "zone": "zone-a", "flavor": { "name": "small" },
        "disks": [{ "volume": { "id": "1" }, "boot_index": 0, "delete_on_termination": false }], "ports": [], "security_groups": [],
        "config_drive": false, "locked": false, "power": "running", "taken_at": "2026-11-26T10:00:00Z", "source": { "type": "nova" },
    }))
    .unwrap();
    let recorded = |record: Option<&ServerRecord>| VolumeAction::RecordServer {
        record: record.cloned().map(Box::new),
    };
    let plain = with(primary(MirrorImageMode::Snapshot), &[]);
    let (set, remove, snapshot) = written(&plain, &recorded(Some(&record)));
    assert_eq!(
        (set, remove, snapshot),
        (vec![metadata::SERVER.to_owned()], vec![], false)
    );
    assert_eq!(
        next(&plain, &recorded(None), &generation(2)),
        Ok(Step::AlreadySo)
    );

    let text = serde_json::to_string(&record).unwrap();
    let told = with(
        primary(MirrorImageMode::Journal),
        &[(metadata::SERVER, &text)],
    );
    assert_eq!(
        next(&told, &recorded(Some(&record)), &generation(2)),
        Ok(Step::AlreadySo)
    );
    assert_eq!(written(&told, &recorded(None)).1, [metadata::SERVER]);
    // It is shown in no report.
    let report = serde_json::to_string(&told.report(&"zone-a".parse().unwrap(), None)).unwrap();
    assert!(!report.contains("web-1"), "{report}");
}

#[test]
fn facts_that_cannot_be_read_are_a_concern_and_no_error() {
    let look = with(
        primary(MirrorImageMode::Journal),
        &[(metadata::CINDER, "{}")],
    );
    assert_eq!(
        (look.status, look.cinder.as_ref()),
        (VolumeStatus::ActivePrimary, None)
    );
    assert!(
        look.concerns.iter().any(|c| c.contains("cannot be read")),
        "{:?}",
        look.concerns
    );
    assert_eq!(written(&look, &described(3)).0, [metadata::CINDER]);
}

#[test]
fn facts_that_no_cinder_says_are_refused_by_their_field() {
    let bad = CinderFacts {
        id: String::new(),
        ..facts(1)
    };
    let look = with(primary(MirrorImageMode::Journal), &[]);
    let refused = next(
        &look,
        &VolumeAction::Describe {
            facts: Box::new(bad),
        },
        &generation(2),
    )
    .unwrap_err();
    let api: rekindle_common::ApiError = refused.into();
    assert_eq!(
        (api.code, api.field.as_deref()),
        (ErrorCode::InvalidField, Some("action.facts"))
    );
    let late = from_cinder(
        None,
        Some(OnDelete::Delete {
            after: Span::secs(400 * 86_400),
        }),
    );
    assert_eq!(
        verdict(&next(&look, &late, &generation(2))),
        "invalid_field"
    );
}

#[test]
fn a_new_volumes_facts_are_there_with_its_policy_and_what_it_brought_along_goes() {
    let clone = with(
        view_of(VolumeStatus::ErrorNotMirrored),
        &[
            (metadata::DELETED, "{}"),
            (metadata::CINDER, "{}"),
            (metadata::FORCED, "x"),
            ("conf_y", "1"),
        ],
    );
    let (set, remove, _) = written(&clone, &from_cinder(Some(facts(1)), Some(OnDelete::Keep)));
    for key in [
        metadata::MODE,
        metadata::GROUP,
        metadata::CINDER,
        metadata::ON_DELETE,
    ] {
        assert!(set.contains(&key.to_owned()), "{key}: {set:?}");
    }
    assert_eq!(remove, [metadata::DELETED, metadata::FORCED]);
    let (_, remove, _) = written(&clone, &replicate(ReplicationMode::Instant));
    assert_eq!(
        remove,
        [metadata::CINDER, metadata::DELETED, metadata::FORCED]
    );
}

#[test]
fn the_deletion_policy_changes_in_place_and_a_volumes_own_ends_with_its_group() {
    let kept = with(
        primary(MirrorImageMode::Journal),
        &[(metadata::ON_DELETE, "keep")],
    );
    assert_eq!(
        next(
            &kept,
            &from_cinder(None, Some(OnDelete::Keep)),
            &generation(2)
        ),
        Ok(Step::AlreadySo)
    );
    assert_eq!(
        written(&kept, &from_cinder(None, Some(OnDelete::Refuse))).0,
        [metadata::ON_DELETE]
    );
    // Nothing is said of it: it stands.
    assert_eq!(
        next(&kept, &replicate(ReplicationMode::Instant), &generation(2)),
        Ok(Step::AlreadySo)
    );
    let mut alone = primary(MirrorImageMode::Journal);
    Arc::make_mut(&mut alone.metadata).remove(metadata::GROUP);
    let alone = with(alone, &[(metadata::ON_DELETE, "delete:0s")]);
    assert_eq!(
        alone.report(&"zone-a".parse().unwrap(), None).on_delete,
        Some(OnDelete::AS_CINDER)
    );
    assert_eq!(
        written(&alone, &replicate(ReplicationMode::Instant)).1,
        [metadata::ON_DELETE]
    );
}

#[test]
fn hard_case_32_a_mark_is_written_with_its_image_and_taken_away() {
    let then = After::Delete {
        after: Span::secs(60),
    };
    let mark = VolumeAction::MarkDeleted { then: then.clone() };
    let plain = with(primary(MirrorImageMode::Snapshot), &[]);
    let Ok(Step::SetPolicy { set, snapshot, .. }) = next(&plain, &mark, &generation(2)) else {
        panic!("no mark")
    };
    assert!(snapshot, "without a snapshot the other zone would not know");
    let text = &set[metadata::DELETED];
    let marked = with(
        primary(MirrorImageMode::Snapshot),
        &[(metadata::DELETED, text)],
    );
    let deletion = marked.deletion.clone().unwrap();
    assert_eq!((deletion.at, &deletion.then), (at(1010), &then));
    assert!(
        marked.concerns.iter().any(|c| c.contains("undelete")),
        "{:?}",
        marked.concerns
    );
    assert_eq!(next(&marked, &mark, &generation(2)), Ok(Step::AlreadySo));
    assert_eq!(
        written(&marked, &VolumeAction::Undelete).1,
        [metadata::DELETED]
    );
    // A clone brought it along, or it cannot be read: it marks nothing, is said, and can be taken away.
    let other = Deletion {
        image: "volumes/volume-2".parse().unwrap(),
        ..deletion
    };
    for text in [other.to_metadata(), "soon".to_owned()] {
        let look = with(
            primary(MirrorImageMode::Journal),
            &[(metadata::DELETED, &text)],
        );
        assert_eq!(look.deletion, None);
        assert!(
            look.concerns.iter().any(|c| c.contains("not acted on")),
            "{:?}",
            look.concerns
        );
        assert_eq!(
            written(&look, &VolumeAction::Undelete).1,
            [metadata::DELETED]
        );
    }
}

#[test]
fn hard_case_32_a_mark_from_before_a_forced_promotion_is_said_and_not_acted_on() {
    let then = After::Delete {
        after: Span::secs(60),
    };
    let mark = Deletion {
        image: "volumes/volume-1".parse().unwrap(),
        at: at(1000),
        then: then.clone(),
    };
    let forced = |when| metadata::forced_note(at(when), Some(Generation(2)), "zone-a lost");
    let look = |text: &str, when| {
        let entries = [(metadata::DELETED, text), (metadata::FORCED, &forced(when))];
        with(primary(MirrorImageMode::Journal), &entries)
    };
    // Noted so by the promotion, or left by an older sidecar's.
    for (text, when) in [(mark.in_doubt(), 900), (mark.to_metadata(), 1001)] {
        let doubted = look(&text, when);
        assert_eq!(doubted.deletion, None);
        assert!(
            doubted.concerns.contains(&mark.doubt_in_words()),
            "{:?}",
            doubted.concerns
        );
        assert_eq!(
            written(&doubted, &VolumeAction::Undelete).1,
            [metadata::DELETED]
        );
        let again = VolumeAction::MarkDeleted { then: then.clone() };
        assert_eq!(written(&doubted, &again).0, [metadata::DELETED]);
    }
    // Deleted after the force: that is a word of now.
    assert_eq!(look(&mark.to_metadata(), 999).deletion, Some(mark));
}

/// The other zone's daemon would try to remove its image for ever, for the clones are there too, and nobody would be told.
#[test]
fn hard_case_34_a_volume_that_was_cloned_is_not_marked_for_its_removal() {
    let marks = [
        After::Delete {
            after: Span::secs(60),
        },
        After::Keep {
            from: "zone-a".parse().unwrap(),
            group: None,
        },
    ];
    for then in marks {
        let mut cloned = primary(MirrorImageMode::Journal);
        let lineage = cloned.lineage.get_or_insert_default();
        lineage.children = 2;
        let refused = next(
            &with(cloned.clone(), &[]),
            &VolumeAction::MarkDeleted { then: then.clone() },
            &generation(2),
        );
        assert!(
            matches!(&refused, Err(Refusal::HasClones { how }) if how.contains('2')),
            "{refused:?}"
        );
        cloned.lineage.get_or_insert_default().children = 0;
        let mark = VolumeAction::MarkDeleted { then };
        assert_eq!(
            written(&with(cloned, &[]), &mark).0,
            [metadata::DELETED],
            "they were flattened"
        );
    }
}

#[test]
fn hard_case_32_a_keepings_mark_goes_with_any_promotion_but_its_own() {
    let here: rekindle_common::ZoneName = "zone-b".parse().unwrap();
    let mark = |then| Deletion {
        image: "volumes/volume-1".parse().unwrap(),
        at: at(1000),
        then,
    };
    let after = |name: &str| Promote::After {
        token: DemotionToken::new(name).unwrap(),
    };
    let reason = || "zone-a lost".to_owned();
    let ways = [
        (after("keeping-1"), false),
        (after("cinder-1"), true),
        (after("20261127t100000-000-0000"), true),
        (Promote::Plain, true),
        (
            Promote::PlainElseForce {
                reason: reason(),
                accept_torn: false,
            },
            true,
        ),
        (
            Promote::Force {
                reason: reason(),
                accept_torn: false,
            },
            true,
        ),
    ];
    for (how, ends) in &ways {
        let keep = |from: &str| {
            mark(After::Keep {
                from: from.parse().unwrap(),
                group: None,
            })
        };
        assert_eq!(ends_keeping(&keep("zone-a"), how, &here), *ends, "{how:?}");
        // Promoted again in the zone that was to give it up.
        assert!(ends_keeping(&keep("zone-b"), how, &here), "{how:?}");
        let delete = mark(After::Delete {
            after: Span::secs(60),
        });
        assert!(!ends_keeping(&delete, how, &here), "{how:?}");
    }
}

#[test]
fn hard_case_32_a_deletion_that_is_taken_back_puts_the_volume_back_into_its_group() {
    let mark = |group: Option<&str>| {
        Deletion {
            image: "volumes/volume-1".parse().unwrap(),
            at: at(1000),
            then: After::Keep {
                from: "zone-a".parse().unwrap(),
                group: group.map(|g| g.parse().unwrap()),
            },
        }
        .to_metadata()
    };
    let back = |group: Option<&str>, left, marked| {
        let mut v = primary(MirrorImageMode::Snapshot);
        let metadata = Arc::make_mut(&mut v.metadata);
        if left {
            metadata.remove(metadata::GROUP);
        }
        metadata.extend(group.map(|g| (metadata::GROUP.to_owned(), g.to_owned())));
        let look = with(v, &[(metadata::DELETED, &mark(marked))]);
        let step = next(&look, &VolumeAction::Undelete, &generation(2));
        let Ok(Step::SetPolicy {
            mut set,
            remove,
            snapshot,
        }) = step
        else {
            panic!("{step:?}")
        };
        assert_eq!((remove, snapshot), (vec![metadata::DELETED], true));
        set.remove(metadata::GROUP)
    };
    assert_eq!(back(None, true, Some("db")), Some("db".to_owned()));
    assert_eq!(back(None, true, None), None);
    // It had not left yet, or was put into another one since.
    assert_eq!(back(None, false, Some("db")), None);
    assert_eq!(back(Some("web"), true, Some("db")), None);
}

#[test]
fn hard_case_32_a_deletion_that_was_taken_back_demotes_nothing() {
    let demote = |name: &str| VolumeAction::Demote {
        token: Some(DemotionToken::new(name).unwrap()),
    };
    let mark = |then| {
        Deletion {
            image: "volumes/volume-1".parse().unwrap(),
            at: at(1000),
            then,
        }
        .to_metadata()
    };
    let keep = mark(After::Keep {
        from: "zone-a".parse().unwrap(),
        group: None,
    });
    let delete = mark(After::Delete {
        after: Span::secs(60),
    });
    let say = |entries: &[(&str, &str)], name| {
        let look = with(primary(MirrorImageMode::Journal), entries);
        verdict(&next(&look, &demote(name), &generation(2)))
    };
    assert_eq!(say(&[(metadata::DELETED, &keep)], "keeping-1"), "demote");
    assert_eq!(say(&[(metadata::DELETED, &delete)], "keeping-1"), "held");
    assert_eq!(say(&[], "keeping-1"), "held");
    assert_eq!(say(&[], "cinder-1"), "demote");
}

#[test]
fn a_deletion_policy_that_cannot_be_read_refuses_and_says_so() {
    let look = with(
        primary(MirrorImageMode::Journal),
        &[(metadata::ON_DELETE, "sometimes")],
    );
    assert_eq!(
        look.report(&"zone-a".parse().unwrap(), None).on_delete,
        Some(OnDelete::Refuse)
    );
    assert!(
        look.concerns.iter().any(|c| c.contains("sometimes")),
        "{:?}",
        look.concerns
    );
    let corrupt = with(
        primary(MirrorImageMode::Journal),
        &[(metadata::MODE, "hourly")],
    );
    assert_eq!(
        corrupt.report(&"zone-a".parse().unwrap(), None).on_delete,
        Some(OnDelete::Refuse)
    );
}
