//! One image that does not answer, in a cluster that does; and one that does, whose policy cannot be read.

use super::*;
use crate::{backend::Access, lease::LeaseSink, schedule::SnapshotSource};
use rekindle_common::metadata;

fn other() -> GroupName {
    GroupName::new("web").unwrap()
}

fn periodic() -> ReplicationMode {
    ReplicationMode::Periodic(Schedule {
        start: "2026-01-01T00:00:00Z".parse().unwrap(),
        interval: rekindle_common::duration::Span::secs(3600),
    })
}

/// What is older than this is not given out again.
async fn later() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

async fn all(zone: &Volumes) -> Vec<VolumeReport> {
    later().await;
    let page = zone.volumes(&VolumeQuery::default()).await.unwrap();
    page.volumes
}

#[tokio::test(start_paused = true)]
async fn hard_case_20_one_volume_that_does_not_answer_is_unknown_and_the_others_are_told() {
    for mode in [ReplicationMode::Instant, periodic()] {
        let pair = Pair::replicated(3, mode).await;
        pair.fabric.a().silence(&spec(1), true);
        let seen = all(&pair.a).await;
        let roles: Vec<Role> = seen.iter().map(|v| v.role).collect();
        assert_eq!(roles, [Role::Primary, Role::Unknown, Role::Primary]);
        assert_eq!(seen[1].status, VolumeStatus::ErrorUnknown);
        assert_eq!(seen[1].group, Some(group()));
        assert!(seen[1].concerns[0].contains("cannot be read"), "{seen:?}");
        let zone = pair.a.zone().await;
        let counts = &zone.groups[0].volumes;
        assert_eq!(counts[&VolumeStatus::ActivePrimary], 2);
        assert_eq!(counts[&VolumeStatus::ErrorUnknown], 1);
        assert_eq!(zone.groups[0].unread, 1);
        assert_eq!(pair.a.group_report(&other()).await.unread, 0);
        assert_eq!(pair.b.group_report(&group()).await.unread, 0);
        // Schedules go on for those that can be snapshotted, and what was planned for the other stands.
        let soon = Instant::now() + Duration::from_secs(10);
        let listed = SnapshotSource::list(&pair.a, soon).await.unwrap();
        let expected = match mode {
            ReplicationMode::Periodic(_) => vec![spec(0), spec(2)],
            ReplicationMode::Instant | ReplicationMode::Once => vec![],
        };
        assert_eq!(listed.periodic.into_keys().collect::<Vec<_>>(), expected);
        assert_eq!(listed.unread, [spec(1)].into());
        pair.fabric.a().unsilence(&spec(1));
        assert_eq!(all(&pair.a).await[1].role, Role::Primary);
        assert_eq!(pair.a.group_report(&group()).await.unread, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_31_a_group_is_demoted_but_for_the_volume_that_does_not_answer() {
    let pair = Pair::replicated(3, ReplicationMode::Instant).await;
    pair.fabric.a().silence(&spec(1), true);
    let soon = Instant::now() + Duration::from_secs(10);
    let done = pair.a.demote_all(&group(), soon).await;
    let failed: Vec<&ImageSpec> = done.failed.iter().map(|(s, _)| s).collect();
    assert_eq!((done.demoted.len(), failed), (2, vec![&spec(1)]));
    assert!(done.complete().is_err());
    let refused = pair.a.give_up_lease(&group(), Generation(1)).await;
    assert_eq!(code(refused), ErrorCode::IsPrimary);
    // It is no other group's.
    pair.a.take_lease(&other(), Generation(1)).await.unwrap();
    pair.a.give_up_lease(&other(), Generation(1)).await.unwrap();
    // Nor does a copy that does not answer keep its zone from being fenced.
    pair.fabric.b().silence(&spec(0), true);
    pair.b.fence(&group(), Generation(2)).await.unwrap();
}

/// After a restart nothing is known of it, and it may be any group's.
#[tokio::test(start_paused = true)]
async fn hard_case_31_what_was_never_read_lets_no_group_pass_for_demoted() {
    for mode in [ReplicationMode::Instant, periodic()] {
        let pair = Pair::replicated(3, mode).await;
        pair.fabric.a().silence(&spec(1), false);
        let seen = all(&pair.a).await;
        assert_eq!((seen[1].role, &seen[1].group), (Role::Unknown, &None));
        for may_be_of in [group(), other()] {
            assert_eq!(pair.a.group_report(&may_be_of).await.unread, 1);
        }
        let of_group = VolumeQuery {
            group: Some(group()),
            ..VolumeQuery::default()
        };
        let page = pair.a.volumes(&of_group).await.unwrap();
        assert_eq!(page.volumes.len(), 2);
        let look = LeaseSink::look(&pair.a).await.unwrap();
        let whose: Vec<Option<GroupName>> = look.iter().map(|i| i.group.clone()).collect();
        assert_eq!(whose, [Some(group()), None, Some(group())]);
        assert_ne!(look[1].primary, Known::No);
        // A policy is written to those that can be read.
        let soon = Instant::now() + Duration::from_secs(10);
        let keep = rekindle_common::policy::IsolationResponse::Keep;
        LeaseSink::note(&pair.a, &group(), keep, soon)
            .await
            .unwrap();
        let look = LeaseSink::look(&pair.a).await.unwrap();
        let noted: Vec<bool> = look.iter().map(|i| i.isolation == Some(keep)).collect();
        assert_eq!(noted, [true, false, true]);
        // Those that are known are demoted all the same.
        let done = pair.a.demote_all(&group(), soon).await;
        assert_eq!((done.demoted.len(), done.failed.len()), (2, 0));
        let why = done.complete().unwrap_err();
        assert!(why.message.contains("volumes/volume-1"), "{why}");
        for refused in [
            pair.a.fence(&group(), Generation(1)).await.map(drop),
            pair.a
                .give_up_lease(&group(), Generation(1))
                .await
                .map(drop),
        ] {
            assert_eq!(code(refused), ErrorCode::ClusterUnreachable);
        }
        pair.fabric.a().unsilence(&spec(1));
        let done = pair
            .a
            .demote_all(&group(), soon + Duration::from_secs(60))
            .await;
        assert_eq!((done.demoted.len(), done.complete()), (3, Ok(())));
    }
}

/// What the leader reads is the zone's report. One that says nothing of a group would say that all of it can be demoted.
#[tokio::test(start_paused = true)]
async fn hard_case_60_a_group_of_which_nothing_can_be_read_is_reported_as_such() {
    let unread = async |pair: &Pair| {
        later().await;
        let zone = pair.a.zone().await;
        let of_it = zone.groups.iter().find(|g| g.group == group());
        of_it.map(|g| g.unread)
    };
    // Its only volume has not been readable since the start.
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.a.take_lease(&group(), Generation(1)).await.unwrap();
    assert_eq!(unread(&pair).await, Some(0));
    pair.fabric.a().silence(&spec(0), false);
    assert_eq!(unread(&pair).await, Some(1));
    pair.fabric.a().unsilence(&spec(0));
    assert_eq!(unread(&pair).await, Some(0));
    // No list comes, of a cluster that takes writes.
    let pair = Pair::replicated(3, ReplicationMode::Instant).await;
    pair.a.take_lease(&group(), Generation(1)).await.unwrap();
    assert_eq!(unread(&pair).await, Some(0));
    pair.fabric.a().fail(Op::List, None, errno::EIO, 2);
    assert_eq!(unread(&pair).await, Some(3));
    later().await;
    LeaseSink::look(&pair.a).await.unwrap_err();
    assert_eq!(unread(&pair).await, Some(0));
}

async fn spoil(zone: &Volumes, spec: &ImageSpec, key: &str, value: Option<&str>) {
    let soon = Instant::now() + Duration::from_secs(10);
    let session = zone
        .backend()
        .open(spec, Access::Write, soon)
        .await
        .unwrap();
    let set = value.map(|v| (key.to_owned(), v.to_owned())).into_iter();
    let remove: Vec<&str> = value.is_none().then_some(key).into_iter().collect();
    session
        .set_metadata(&set.collect(), &remove, soon)
        .await
        .unwrap();
}

/// Its keeper goes by the group's name alone, and so must whoever asks what there is to move and whether all is demoted.
#[tokio::test(start_paused = true)]
async fn hard_case_36_a_volume_whose_policy_cannot_be_read_is_of_its_group_and_not_well() {
    for (key, value) in [
        (metadata::MODE, Some("hourly")),
        (metadata::MODE, None),
        (metadata::INTERVAL, Some("soon")),
        (metadata::START, None),
    ] {
        let pair = Pair::replicated(3, periodic()).await;
        spoil(&pair.a, &spec(1), key, value).await;
        later().await;
        let of_group = VolumeQuery {
            group: Some(group()),
            ..VolumeQuery::default()
        };
        let page = pair.a.volumes(&of_group).await.unwrap();
        let told: Vec<_> = page.volumes.iter().map(|v| (v.role, v.status)).collect();
        let well = (Role::Primary, VolumeStatus::ActivePrimary);
        let not_well = (Role::Primary, VolumeStatus::ErrorUnknown);
        assert_eq!(told, [well, not_well, well], "{key} {value:?}");
        assert!(page.volumes[1].concerns[0].contains("rekindle."));
        // It can be read, and is demoted with the others: that is no reason to mistrust the lease.
        assert_eq!(pair.a.group_report(&group()).await.unread, 0);
        // The others demoted, it keeps the lease, for it is primary.
        for n in [0, 2] {
            let demote = order(VolumeAction::Demote { token: None }, 1);
            pair.a.act(&spec(n), demote).await.unwrap();
        }
        let refused = pair.a.give_up_lease(&group(), Generation(1)).await;
        assert_eq!(code(refused), ErrorCode::IsPrimary, "{key} {value:?}");
        // A cluster that is silent then says no less of it.
        pair.fabric.a().silence(&spec(1), true);
        assert_eq!(all(&pair.a).await[1].group, Some(group()));
        pair.fabric.a().unsilence(&spec(1));
        // Said again, it is well.
        let again = pair.a.act(&spec(1), replicate(periodic())).await.unwrap();
        assert_eq!(again.report.status, VolumeStatus::ActivePrimary);
    }
}

/// What is left of a policy on an image that nobody mirrors makes it no member: nobody demotes it, and nobody takes over from it.
#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_mirrored_is_no_member_by_its_name_alone() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.a
        .act(&spec(0), order(VolumeAction::Unreplicate, 1))
        .await
        .unwrap();
    spoil(&pair.a, &spec(0), metadata::GROUP, Some(group().as_str())).await;
    let report = pair.a.volume(&spec(0)).await.unwrap();
    assert_eq!((report.role, report.group), (Role::NotMirrored, None));
}
