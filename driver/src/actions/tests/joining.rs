//! A volume is put into a group, or into none.

use super::*;

/// Whose record names the other zone, as its lease keeper has read.
async fn served_by_b() -> (Pair, Arc<FixedLeases>) {
    let pair = Pair::new();
    let leases = Arc::new(FixedLeases::default());
    let a = pair.fabric.a();
    let a = Volumes::new(Parts {
        zone: a.zone(),
        backend: Backend::Memory(a.clone()),
        state_pool: "volumes".to_owned(),
        leases: leases.clone(),
        clock: a.clock(),
        limits: Limits::default(),
    });
    (Pair { a, ..pair }, leases)
}
fn order_of(group: Option<GroupName>, leave_group: bool) -> Order {
    let mut order = replicate(ReplicationMode::Instant);
    if let VolumeAction::Replicate {
        group: g,
        leave_group: l,
        ..
    } = &mut order.action
    {
        (*g, *l) = (group, leave_group);
    }
    order
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_written_here_joins_no_group_that_another_zone_serves() {
    let (pair, leases) = served_by_b().await;
    for n in 0..3 {
        pair.fabric.a().create_image(&spec(n), 1 << 30);
    }
    // In the group from before: what its keeper does with it is no news.
    let into = order_of(Some(group()), false);
    pair.a.act(&spec(0), into.clone()).await.unwrap();
    pair.a.act(&spec(1), order_of(None, false)).await.unwrap();
    leases.set_elsewhere(&group(), ZoneName::new("zone-b").unwrap());
    pair.a.act(&spec(0), into.clone()).await.unwrap();
    // One that is replicated in no group, and one that is not replicated.
    for n in [1, 2] {
        let refused = pair.a.act(&spec(n), into.clone()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::LeaseNotHeld, "{refused}");
        assert!(refused.message.contains("primary in zone-b"), "{refused}");
        let is = pair.a.volume(&spec(n)).await.unwrap();
        assert_eq!(is.group, None);
        // Without the group it is replicated as ever.
        pair.a.act(&spec(n), order_of(None, false)).await.unwrap();
    }
    // To leave it is no way into it.
    pair.a.act(&spec(0), order_of(None, true)).await.unwrap();
    let refused = pair.a.act(&spec(0), into.clone()).await;
    assert_eq!(code(refused), ErrorCode::LeaseNotHeld);
    // Another group's place is another matter.
    let another = order_of(Some(GroupName::new("web").unwrap()), false);
    pair.a.act(&spec(0), another).await.unwrap();
}
