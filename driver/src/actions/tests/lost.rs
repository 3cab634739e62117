//! A zone that was lost, copies that are not whole, and what is no copy at all.

use super::*;
use crate::backend::Op;
use rekindle_common::given_up::{Bound, Written};

/// The main story: a zone is lost, the other takes over by force, the first comes back and is made a copy again.
#[tokio::test(start_paused = true)]
async fn hard_case_16_a_lost_zone_comes_back_and_is_resynced_with_its_state_kept() {
    for mode in [ReplicationMode::Instant, periodic()] {
        let pair = Pair::replicated(1, mode).await;
        let writer = pair.fabric.a().open(&spec(0)).await.unwrap();
        for i in 0..10 {
            writer.write(i, vec![0; 16]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pair.fabric.a().kill();
        pair.b.take_lease(&group(), Generation(2)).await.unwrap();
        let o = pair.b.act(&spec(0), order(forced(), 2)).await.unwrap();
        assert_eq!(o.report.status, VolumeStatus::ActivePrimary);
        let kept = pair.fabric.b().records(&spec(0)).unwrap();
        match mode {
            ReplicationMode::Instant => assert!((5..10).contains(&kept.len()), "{}", kept.len()),
            ReplicationMode::Once | ReplicationMode::Periodic(_) => assert_eq!(kept, []),
        }
        let noted = pair
            .b
            .backend()
            .list(Instant::now() + Duration::from_secs(1))
            .await
            .unwrap();
        let note = &noted[0].metadata[rekindle_common::metadata::FORCED];
        assert!(note.contains("generation 2: zone-a lost"), "{note}");
        // A is back, with its writer's last words: both say primary.
        pair.fabric.a().start();
        wait(&pair.b, &spec(0), VolumeStatus::ErrorSplitBrain).await;
        let guard = pair.a.act(&spec(0), order(resync("t"), 2)).await;
        assert_eq!(code(guard), ErrorCode::IsPrimary);
        pair.a
            .act(&spec(0), order(VolumeAction::Demote { token: None }, 2))
            .await
            .unwrap();
        wait(&pair.a, &spec(0), VolumeStatus::ErrorSplitBrain).await;
        wait(&pair.b, &spec(0), VolumeStatus::ActivePrimary).await;
        // Twice, as a resumed plan does.
        let id = pair.fabric.a().image_id(&spec(0));
        let first = pair.a.act(&spec(0), order(resync("t"), 2)).await.unwrap();
        assert_eq!(first.effect, Effect::Started);
        let given_up = first.given_up.clone().unwrap();
        let lost = 10 - kept.len() as u64;
        assert_eq!(given_up.written, measured(16 * lost, lost), "{mode}");
        wait(&pair.a, &spec(0), VolumeStatus::ActiveSecondary).await;
        assert_ne!(pair.fabric.a().image_id(&spec(0)), id);
        let second = pair.a.act(&spec(0), order(resync("t"), 2)).await.unwrap();
        assert_eq!(second.effect, Effect::AlreadySo);
        assert_eq!(second.given_up, first.given_up);
        // What was discarded is kept beside it, and is no volume.
        let name = format!("volume-0.rekindle-safety-2-{}", id.unwrap());
        let safety = ImageSpec::new("volumes", name).unwrap();
        assert_eq!(pair.fabric.a().records(&safety).unwrap().len(), 10);
        assert_eq!(given_up.kept_as, Some(safety));
        let page = pair.a.volumes(&VolumeQuery::default()).await.unwrap();
        assert_eq!(page.volumes.len(), 1);
        assert_eq!(pair.fabric.a().records(&spec(0)).unwrap(), kept);
    }
}

fn measured(bytes: u64, extents: u64) -> Written {
    Written::Measured {
        bytes,
        extents,
        bound: Bound::Exact,
    }
}

/// A's volume 0 is demoted, and B's was promoted by force meanwhile.
async fn split(write: &[u64]) -> Pair {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let writer = pair.fabric.a().open(&spec(0)).await.unwrap();
    pair.fabric.link().cut();
    for n in write {
        writer.write(*n, vec![0; 100]).await.unwrap();
    }
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    pair.b.act(&spec(0), order(forced(), 2)).await.unwrap();
    pair.fabric.link().mend();
    let demote = VolumeAction::Demote { token: None };
    pair.a.act(&spec(0), order(demote, 2)).await.unwrap();
    wait(&pair.a, &spec(0), VolumeStatus::ErrorSplitBrain).await;
    wait(&pair.b, &spec(0), VolumeStatus::ActivePrimary).await;
    pair
}

fn discard(token: &str) -> Order {
    let token = ResyncToken::new(token).unwrap();
    let safety = SafetyCopy::Discard;
    order(VolumeAction::Resync { token, safety }, 2)
}

#[tokio::test(start_paused = true)]
async fn hard_case_31_what_was_written_after_the_split_is_told_also_where_it_is_discarded() {
    for (writes, figure) in [(&[][..], measured(0, 0)), (&[1, 2, 3], measured(300, 3))] {
        let pair = split(writes).await;
        let o = pair.a.act(&spec(0), discard("t")).await.unwrap();
        let given_up = o.given_up.unwrap();
        assert_eq!((given_up.written, given_up.kept_as), (figure, None));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_measured_is_unknown_and_holds_nothing_up() {
    for (fault, word) in [("hang", "no answer"), ("fail", "errno 5")] {
        let pair = split(&[1]).await;
        match fault {
            "hang" => pair.fabric.a().hang(Op::Measure),
            _ => pair.fabric.a().fail(Op::Measure, None, errno::EIO, 1),
        }
        let begun = Instant::now();
        let o = pair.a.act(&spec(0), discard("t")).await.unwrap();
        assert_eq!(o.effect, Effect::Started, "{fault}");
        assert!(begun.elapsed() < Duration::from_secs(7), "{fault}");
        match o.given_up.unwrap().written {
            Written::Unknown { why } => assert!(why.contains(word), "{why}"),
            known @ Written::Measured { .. } => panic!("{fault}: {known:?}"),
        }
        wait(&pair.a, &spec(0), VolumeStatus::ActiveSecondary).await;
    }
}

/// A try that failed after it was measured: the next one of the same name knows it, and one of another name looks again.
#[tokio::test(start_paused = true)]
async fn hard_case_19_a_resync_that_is_tried_again_is_measured_once() {
    let pair = split(&[1]).await;
    let a = pair.fabric.a();
    let looks = || {
        a.calls()
            .iter()
            .filter(|(op, _)| *op == Op::Measure)
            .count()
    };
    a.fail(Op::Resync, None, errno::EIO, 2);
    for token in ["t", "t", "u"] {
        let failed = pair.a.act(&spec(0), discard(token)).await;
        assert_eq!(failed.is_err(), token == "t");
        assert_eq!(looks(), if token == "t" { 1 } else { 2 });
    }
}

/// It may have taken long to measure, and the guard counts when the image is flagged.
#[tokio::test(start_paused = true)]
async fn hard_case_18_the_peer_is_looked_at_again_after_the_measuring() {
    let pair = split(&[1]).await;
    pair.fabric.a().slow(Op::Measure, Duration::from_secs(4));
    let demoted = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let demote = VolumeAction::Demote { token: None };
        pair.b.act(&spec(0), order(demote, 2)).await.unwrap();
    };
    let volume = spec(0);
    let (refused, ()) = tokio::join!(pair.a.act(&volume, discard("t")), demoted);
    assert_eq!(code(refused), ErrorCode::PeerNotPrimary);
}

#[tokio::test(start_paused = true)]
async fn hard_case_18_a_resync_beside_no_primary_is_refused_and_would_have_been_fatal() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.a
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 1))
        .await
        .unwrap();
    wait(&pair.b, &spec(0), VolumeStatus::PendingPromotion).await;
    let refused = pair.b.act(&spec(0), order(resync("t"), 2)).await;
    assert_eq!(code(refused), ErrorCode::PeerNotPrimary);
    assert!(pair.fabric.b().image_id(&spec(0)).is_some());
    // What the guard is there for (ceph#63270).
    let volume = spec(0);
    let session = pair.b.backend().open(
        &volume,
        crate::backend::Access::Write,
        Instant::now() + Duration::from_secs(5),
    );
    let session = session.await.unwrap();
    session
        .resync(Instant::now() + Duration::from_secs(5))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(pair.fabric.b().image_id(&spec(0)), None);
}

#[tokio::test(start_paused = true)]
async fn hard_case_24_nothing_is_promoted_before_the_first_sync_has_ended() {
    let pair = Pair::new();
    pair.a.take_lease(&group(), Generation(1)).await.unwrap();
    pair.fabric.a().create_image(&spec(0), 1);
    let mode = ReplicationMode::Instant;
    pair.a.act(&spec(0), replicate(mode)).await.unwrap();
    wait(&pair.b, &spec(0), VolumeStatus::PendingFirstSync).await;
    pair.fabric.a().kill();
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    for action in [plain(), forced()] {
        let r = pair.b.act(&spec(0), order(action, 2)).await;
        assert_eq!(code(r), ErrorCode::NoCompleteCopy);
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_23_a_volume_of_two_moments_is_promoted_by_a_persons_word_alone() {
    let pair = Pair::replicated(2, ReplicationMode::Once).await;
    pair.fabric.b().tear(&spec(0));
    pair.fabric.a().kill();
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    let refused = pair.b.act(&spec(0), order(forced(), 2)).await;
    let error = refused.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoCompleteCopy);
    assert!(error.message.contains("--accept-torn"), "{error:?}");
    let seen = pair.b.volume(&spec(0)).await.unwrap();
    assert_eq!(seen.role, Role::Secondary);
    // The other of its group is.
    pair.b.act(&spec(1), order(forced(), 2)).await.unwrap();
    let word = VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "looked at".to_owned(),
            accept_torn: true,
        },
    };
    let o = pair.b.act(&spec(0), order(word, 2)).await.unwrap();
    assert_eq!(o.report.role, Role::Primary);
}

#[tokio::test(start_paused = true)]
async fn hard_case_29_a_dead_daemon_shows_and_its_copy_can_still_be_forced() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.fabric.b().daemon().kill();
    wait(&pair.b, &spec(0), VolumeStatus::ErrorMirrorDown).await;
    let a = pair.a.volume(&spec(0)).await.unwrap();
    assert!(
        a.concerns[0].contains("does not report"),
        "{:?}",
        a.concerns
    );
    assert_eq!(pair.b.zone().await.mirror.daemon_up, Known::No);
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    pair.b.act(&spec(0), order(forced(), 2)).await.unwrap();
}

/// What a zone's metrics say of the one volume; `None`: nothing.
async fn figure(of: &Volumes, name: &str) -> Option<String> {
    of.refresh_metrics().await.unwrap();
    let text = of.metrics().text().unwrap();
    let name = format!("rekindle_driver_{name}{{");
    let found = text.lines().find(|l| l.starts_with(&name));
    found.and_then(|l| l.rsplit(' ').next().map(str::to_owned))
}

/// The journal is kept until it is replayed: what `docs/metrics.md` has an alert on.
#[tokio::test(start_paused = true)]
async fn hard_case_30_a_journals_backlog_is_a_figure_that_falls_as_it_is_replayed() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    assert_eq!(figure(&pair.b, "lag_entries").await.as_deref(), Some("0"));
    let writer = pair.fabric.a().open(&spec(0)).await.unwrap();
    let mut behind = 0;
    for i in 0..500 {
        writer.write(i, vec![0; 16]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = figure(&pair.b, "lag_entries").await.unwrap();
        behind = behind.max(now.parse::<u64>().unwrap());
    }
    // A copy is 200 ms behind here.
    assert!((10..100).contains(&behind), "{behind}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(figure(&pair.b, "lag_entries").await.as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn a_dead_clusters_metrics_tell_nothing_that_is_not_known() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    assert_eq!(figure(&pair.a, "primary").await.as_deref(), Some("1"));
    assert_eq!(figure(&pair.a, "healthy").await.as_deref(), Some("1"));
    pair.fabric.a().kill();
    tokio::time::sleep(Duration::from_secs(10)).await;
    for name in ["primary", "lag_entries", "last_sync_age_seconds"] {
        let left = figure(&pair.a, name).await;
        assert_eq!(left, None, "{name}: an old figure would be a lie");
    }
    assert_eq!(figure(&pair.a, "healthy").await.as_deref(), Some("0"));
    pair.fabric.a().start();
    wait(&pair.a, &spec(0), VolumeStatus::ActivePrimary).await;
    assert_eq!(figure(&pair.a, "primary").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn hard_case_37_clones_and_unmirrored_pools_are_refused_and_leave_no_policy() {
    let pair = Pair::new();
    let a = pair.fabric.a();
    a.create_image(&spec(0), 1);
    a.set_lineage(&spec(0), Some("images/base@snap"), 0);
    let r = pair
        .a
        .act(&spec(0), replicate(ReplicationMode::Instant))
        .await;
    assert_eq!(code(r), ErrorCode::HasClones);
    a.add_pool("scratch", false);
    let scratch = ImageSpec::new("scratch", "volume-9").unwrap();
    a.create_image(&scratch, 1);
    let r = pair
        .a
        .act(&scratch, replicate(ReplicationMode::Instant))
        .await;
    assert_eq!(code(r), ErrorCode::PoolNotMirrored);
    let page = pair.a.volumes(&VolumeQuery::default()).await.unwrap();
    assert_eq!(page.volumes, []);
    let bad = ReplicationMode::Periodic(Schedule {
        start: "2026-01-01T00:00:00Z".parse().unwrap(),
        interval: Span::secs(0),
    });
    let error = pair.a.act(&spec(0), replicate(bad)).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("action.interval"));
}

/// `n` volumes whose copies in A have diverged, and B is primary.
pub(super) async fn diverged(n: u32) -> Pair {
    diverged_with(n, Limits::default()).await
}

pub(super) async fn diverged_with(n: u32, limits: Limits) -> Pair {
    let pair = Pair::with(limits);
    pair.fill(n, ReplicationMode::Instant).await;
    pair.fabric.a().kill();
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    for i in 0..n {
        pair.b.act(&spec(i), order(forced(), 2)).await.unwrap();
    }
    pair.fabric.a().start();
    for i in 0..n {
        let demote = order(VolumeAction::Demote { token: None }, 2);
        pair.a.act(&spec(i), demote).await.unwrap();
    }
    for i in 0..n {
        wait(&pair.a, &spec(i), VolumeStatus::ErrorSplitBrain).await;
        wait(&pair.b, &spec(i), VolumeStatus::ActivePrimary).await;
    }
    pair
}

/// One order for each of `n` volumes, by a batch: how each ended.
async fn resync_all(pair: &Pair, n: u32) -> Vec<BatchResult> {
    let items = (0..n).map(|i| BatchItem {
        volume: spec(i),
        order: order(resync("t"), 2),
    });
    let request = BatchRequest {
        items: items.collect(),
    };
    let mut lines = pair.a.batch(request).unwrap();
    let mut ends = Vec::new();
    while let Some(line) = lines.recv().await {
        ends.push(line.result);
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn hard_case_16_safety_copies_are_few_at_once_and_go_on_until_they_end() {
    const N: u32 = 20;
    let pair = diverged(N).await;
    let copies = || {
        let calls = pair.fabric.a().calls();
        calls.iter().filter(|(op, _)| *op == Op::Copy).count()
    };
    // Longer than any order.
    pair.fabric.a().slow(Op::Copy, Duration::from_secs(120));
    for _ in 0..2 {
        let begun = Instant::now();
        for end in resync_all(&pair, N).await {
            let BatchResult::Failed { error } = end else {
                panic!("{end:?}");
            };
            assert_eq!(error.code, ErrorCode::Busy, "{error}");
            assert_eq!(error.field.as_deref(), Some("action.safety"));
        }
        assert_eq!(copies(), Limits::default().copies);
        // No place of the zone's is held for as long as a copy takes.
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    // The first ones are made, and nothing was resynced by an order whose time was over.
    tokio::time::sleep(Duration::from_secs(100)).await;
    let made = |i| {
        let name = |id| format!("volume-{i}.rekindle-safety-2-{id}");
        let images = pair.fabric.a().images();
        let id = pair.fabric.a().image_id(&spec(i)).unwrap();
        images.iter().any(|s| s.image() == name(id.clone()))
    };
    assert_eq!((0..N).filter(|i| made(*i)).count(), 3);
    pair.fabric.a().release(Op::Copy);
    let mut resynced = 0;
    for _ in 0..10 {
        for end in resync_all(&pair, N).await {
            if let BatchResult::Ok { outcome } = end {
                resynced += u32::from(outcome.effect == Effect::Started);
            }
        }
    }
    // The three that were made were looked for again, and found.
    assert_eq!((resynced, copies()), (N, N as usize + 3));
    for i in 0..N {
        wait(&pair.a, &spec(i), VolumeStatus::ActiveSecondary).await;
    }
}

async fn resync_with_a_copy(pair: &Pair) -> Result<Effect, ErrorCode> {
    let asked = pair.a.act(&spec(0), order(resync("t"), 2)).await;
    asked.map(|o| o.effect).map_err(|e| e.code)
}

/// The cluster refuses everything for a second, and with it the copy that hung. Then all is well again.
async fn the_copy_fails(pair: &Pair) {
    pair.fabric.a().refuse();
    tokio::time::sleep(Duration::from_secs(1)).await;
    pair.fabric.a().start();
    pair.fabric.a().release(Op::Copy);
    wait(&pair.b, &spec(0), VolumeStatus::ActivePrimary).await;
}

#[tokio::test(start_paused = true)]
async fn a_safety_copy_that_hangs_or_fails_is_not_told_as_getting_on() {
    let pair = diverged(1).await;
    pair.fabric.a().hang(Op::Copy);
    let asked = async || resync_with_a_copy(&pair).await;
    assert_eq!(asked().await, Err(ErrorCode::Busy));
    // Ten minutes, and its size at 10 MiB a second.
    tokio::time::sleep(Duration::from_secs(600 + 103)).await;
    assert_eq!(asked().await, Err(ErrorCode::DeadlineExceeded));
    // It fails while nobody waits. The next order is told so, and the one after it begins another.
    the_copy_fails(&pair).await;
    assert_eq!(asked().await, Err(ErrorCode::ClusterUnreachable));
    assert_eq!(asked().await, Ok(Effect::Started));
    wait(&pair.a, &spec(0), VolumeStatus::ActiveSecondary).await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_16_a_safety_copy_that_was_cleared_away_is_made_again() {
    let pair = diverged(1).await;
    pair.fabric.a().slow(Op::Copy, Duration::from_secs(60));
    let asked = async || resync_with_a_copy(&pair).await;
    assert_eq!(asked().await, Err(ErrorCode::Busy));
    tokio::time::sleep(Duration::from_secs(60)).await;
    pair.fabric.a().release(Op::Copy);
    let copies = || {
        let mut all = pair.fabric.a().images();
        all.retain(|s| s.image().contains(".rekindle-safety-"));
        all
    };
    let [copy] = &copies()[..] else {
        panic!("{:?}", copies());
    };
    // It was made while nobody waited, and somebody made room.
    pair.fabric.a().remove_image(copy);
    assert_eq!(asked().await, Ok(Effect::Started));
    assert_eq!(copies().len(), 1, "what was discarded is kept");
}

#[tokio::test(start_paused = true)]
async fn a_safety_copys_old_failure_does_not_stand_in_the_way_of_another() {
    let pair = diverged(1).await;
    pair.fabric.a().hang(Op::Copy);
    let asked = async || resync_with_a_copy(&pair).await;
    assert_eq!(asked().await, Err(ErrorCode::Busy));
    the_copy_fails(&pair).await;
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(asked().await, Ok(Effect::Started));
}

/// In journal mode nothing else tells that a copy was whole once its daemon is dead, and a sidecar that has just started has seen nothing.
#[tokio::test(start_paused = true)]
async fn hard_case_24_a_sidecar_that_starts_forgets_no_complete_copy() {
    let pair = Pair::new();
    pair.a.take_lease(&group(), Generation(1)).await.unwrap();
    for n in 0..2 {
        pair.fabric.a().create_image(&spec(n), 1);
        let mode = ReplicationMode::Instant;
        pair.a.act(&spec(n), replicate(mode)).await.unwrap();
        wait(&pair.b, &spec(n), VolumeStatus::PendingFirstSync).await;
    }
    pair.fabric.a().kill();
    // What a former run, or the zone's other sidecar, saw of the first; of the second it saw an earlier image.
    let id = pair.fabric.b().image_id(&spec(0)).unwrap();
    let seen = [(0, id.as_str()), (1, "earlier"), (2, "gone")];
    let seen = seen.map(|(n, id)| (spec(n).image().to_owned(), id.to_owned()));
    let (records, soon) = (
        &pair.b.inner.records,
        Instant::now() + Duration::from_secs(5),
    );
    let pool = spec(0).pool().to_owned();
    let kept = records.set_copies(&pool, &seen.into(), soon).await;
    kept.unwrap();
    pair.b.keep_copies(&mut Default::default()).await.unwrap();
    let left = records.copies(&pool, soon).await.unwrap();
    assert_eq!(left, [(spec(0).image().to_owned(), id)].into());
}
