//! The other zone's catalogue, kept by a real orchestrator with real sidecars on simulated Cephs, and Cinders with faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

#[path = "../common/mod.rs"]
mod common;
mod fake;

use common::{Rig, eventually, witness, zone_a, zone_b};
use fake::{FakeCinder, POOL};
use rekindle_common::{
    ErrorCode, ImageSpec, ZoneName,
    action::{Order, VolumeAction},
    mode::ReplicationMode,
};
use rekindle_core::catalogue::{
    Kind,
    mapping::{self, Mapping},
    words,
};
use rekindle_orchestrator::{
    build,
    catalogue::{CataloguePart, CatalogueTiming, cinder::Cinder, volumes::VolumeFeed},
    client::OrchestratorClient,
    wire::{CatalogueStatus, Sight},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Both zones with their Cinders, and one orchestrator, which leads.
struct Play {
    rig: Rig,
    a: Arc<FakeCinder>,
    b: Arc<FakeCinder>,
    client: OrchestratorClient,
}

fn image(n: u32) -> ImageSpec {
    ImageSpec::new(POOL, format!("volume-00000000-0000-4000-8000-{n:012}")).unwrap()
}

fn same_names() -> Mapping {
    Mapping {
        same_name: [mapping::Kind::Projects, mapping::Kind::Types].into(),
        ..Mapping::default()
    }
}

impl Play {
    async fn with(volumes: u32, mapping: Mapping, timing: CatalogueTiming) -> Self {
        let mut rig = Rig::bare(0);
        for s in rig.world.sites() {
            rig.world.stop_orchestrator(&s).await;
        }
        let a = Arc::new(FakeCinder::new(rig.world.fabric().a()));
        let b = Arc::new(FakeCinder::new(rig.world.fabric().b()));
        let mut parts = rig.world.parts(&witness());
        let clouds: [(ZoneName, Arc<dyn Cinder>); 2] =
            [(zone_a(), a.clone()), (zone_b(), b.clone())];
        parts.catalogue = Some(CataloguePart {
            volumes: VolumeFeed::default(),
            clouds,
            mapping,
            timing,
        });
        let orchestrator = build(parts);
        let client = OrchestratorClient::new(vec![orchestrator.endpoint()]);
        tokio::spawn(orchestrator.run(CancellationToken::new()));
        let play = Self { rig, a, b, client };
        for n in 0..volumes {
            play.make(n).await;
        }
        play
    }
    async fn of(volumes: u32) -> Self {
        Self::with(volumes, same_names(), CatalogueTiming::default()).await
    }

    /// A user of zone-a makes a replicated volume.
    async fn make(&self, n: u32) {
        self.a.create(&image(n), &format!("volume {n}"));
        self.rig.world.fabric().a().create_image(&image(n), 1 << 30);
        self.act(
            &zone_a(),
            n,
            VolumeAction::Replicate {
                mode: ReplicationMode::Instant,
                group: None,
                leave_group: false,
                anew: false,
                cinder: None,
            },
        )
        .await;
    }
    async fn act(&self, zone: &ZoneName, n: u32, action: VolumeAction) {
        let order = Order {
            action,
            generation: None,
        };
        eventually("the sidecar does it", || async {
            let sidecar = self.rig.world.volumes(zone).unwrap();
            sidecar.act(&image(n), order.clone()).await.ok()
        })
        .await;
    }
    async fn until(&self, what: &str, so: impl Fn(&CatalogueStatus) -> bool) -> CatalogueStatus {
        eventually(what, || async {
            let shown = self.client.catalogue().await.ok()?;
            so(&shown).then_some(shown)
        })
        .await
    }
    /// Both records of a volume show these.
    async fn shown(&self, n: u32, in_a: &str, in_b: &str) {
        eventually(&format!("{n}: {in_a} and {in_b}"), || async {
            let is = |c: &FakeCinder| c.shows(&image(n), words::STATUS);
            let both = (is(&self.a)?, is(&self.b)?);
            (both == (in_a.to_owned(), in_b.to_owned())).then_some(())
        })
        .await;
    }
    async fn problems(&self) -> Vec<String> {
        let status = self.client.status().await.unwrap();
        let gaps = status
            .problems
            .iter()
            .filter(|p| p.code == ErrorCode::CatalogueGap);
        gaps.map(ToString::to_string).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_in_both_zones_and_its_status_is_true_through_a_move_and_back() {
    let play = Play::of(2).await;
    for n in 0..2 {
        play.shown(n, "active - primary", "active - secondary")
            .await;
    }
    let theirs = play.b.record(&image(0)).unwrap();
    assert_eq!(theirs.name.as_deref(), Some("volume 0"));
    eventually("zone-a's record names it", || async {
        let peer = play.a.shows(&image(0), words::PEER)?;
        (peer == format!("zone-b/{}", theirs.id)).then_some(())
    })
    .await;

    play.act(&zone_a(), 0, VolumeAction::Demote { token: None })
        .await;
    play.act(
        &zone_b(),
        0,
        VolumeAction::Promote {
            promotion: rekindle_common::action::Promotion::Plain,
        },
    )
    .await;
    play.shown(0, "active - secondary", "active - primary")
        .await;
    play.shown(1, "active - primary", "active - secondary")
        .await;
    // zone-b's Cinder has the say now.
    eventually("zone-b speaks", || async {
        let sidecar = play.rig.world.volumes(&zone_b()).unwrap();
        let told = sidecar.volume(&image(0)).await.ok()?.cinder?;
        (told.zone == zone_b()).then_some(())
    })
    .await;
    play.b
        .change(&image(0), |r| r.name = Some("renamed".to_owned()));
    eventually("zone-a follows", || async {
        let name = play.a.record(&image(0))?.name;
        (name.as_deref() == Some("renamed")).then_some(())
    })
    .await;
    // Nothing swings: once in step nothing is written any more.
    play.until("all is well", |s| s.last_good.is_some() && s.written == 0)
        .await;
    let before = (play.a.state().writes.len(), play.b.state().writes.len());
    sleep(Duration::from_secs(120)).await;
    assert_eq!(
        before,
        (play.a.state().writes.len(), play.b.state().writes.len())
    );
    let shown = play.client.catalogue().await.unwrap();
    assert_eq!(shown.volumes[0].sides[&zone_b()].volume, Some(theirs.id));
    assert!(shown.findings.is_empty(), "{:?}", shown.findings);
}

#[tokio::test(start_paused = true)]
async fn hard_case_53_a_cinder_that_is_dead_stops_nothing_but_its_own_catalogue() {
    let play = Play::of(1).await;
    play.shown(0, "active - primary", "active - secondary")
        .await;
    play.a.state().script.dead = true;
    play.until(
        "it is seen",
        |s| matches!(&s.zones[0].records, Sight::Missing { why, .. } if why.contains("zone-a")),
    )
    .await;
    let problems = play.problems().await;
    assert!(
        problems[0].contains("zone-a: its Cinder cannot be read"),
        "{problems:?}"
    );
    // zone-b's goes on.
    play.b.change(&image(0), |r| {
        r.metadata.remove(words::STATUS);
    });
    eventually("zone-b's record is mended", || async {
        play.b.shows(&image(0), words::STATUS)
    })
    .await;
    // And nothing is gone for being unknown.
    play.rig.world.fabric().a().remove_image(&image(0));
    play.rig.world.fabric().b().remove_image(&image(0));
    sleep(Duration::from_secs(120)).await;
    assert!(play.b.record(&image(0)).is_some());
    play.a.state().records = Default::default();
    play.a.state().script.dead = false;
    eventually("its copy's record goes when that is known", || async {
        play.b.record(&image(0)).is_none().then_some(())
    })
    .await;
}

/// A zone is lost with all that answers for it, without a word: the other's records say soon that it has taken over.
#[tokio::test(start_paused = true)]
async fn hard_case_53_a_zone_that_hangs_holds_nothing_up_and_is_heard_when_it_is_back_and_slow() {
    let play = Play::of(2).await;
    for n in 0..2 {
        play.shown(n, "active - primary", "active - secondary")
            .await;
    }
    play.until("all is well", |s| s.last_good.is_some() && s.written == 0)
        .await;
    play.a.state().script.hangs = true;
    play.rig.world.fabric().a().kill();
    let forced = rekindle_common::action::Promotion::Forced {
        reason: "lost".to_owned(),
        accept_torn: false,
    };
    for n in 0..2 {
        let promote = VolumeAction::Promote {
            promotion: forced.clone(),
        };
        play.act(&zone_b(), n, promote).await;
        let promoted = Instant::now();
        eventually("zone-b's record says so", || async {
            let shown = play.b.shows(&image(n), words::STATUS)?;
            (shown == "active - primary").then_some(())
        })
        .await;
        let took = promoted.elapsed();
        assert!(took < Duration::from_secs(18), "{took:?}");
    }
    // And so it goes on, round after round.
    for _ in 0..5 {
        let changed = Instant::now();
        play.b.change(&image(0), |r| {
            r.metadata.remove(words::STATUS);
        });
        eventually("it is mended", || async {
            play.b.shows(&image(0), words::STATUS)
        })
        .await;
        let took = changed.elapsed();
        assert!(took < Duration::from_secs(18), "{took:?}");
    }
    // It is back, and its list takes longer than a silent zone is waited for.
    play.a.change(&image(0), |r| {
        r.metadata.remove(words::MODE);
    });
    play.a.state().script.slow_list = Duration::from_secs(12);
    play.a.state().script.hangs = false;
    play.rig.world.fabric().a().start();
    eventually("its record is mended", || async {
        play.a.shows(&image(0), words::MODE)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_20_what_cinder_refuses_of_one_volume_holds_no_other_up_and_is_told_once_it_lasts()
 {
    let timing = CatalogueTiming {
        longest: Duration::from_secs(120),
        ..CatalogueTiming::default()
    };
    let play = Play::with(0, same_names(), timing).await;
    play.b.state().script.refuses =
        Some(("import_volume", Some(image(0)), "409: not as things are"));
    for n in 0..3 {
        play.make(n).await;
    }
    for n in [1, 2] {
        play.shown(n, "active - primary", "active - secondary")
            .await;
    }
    let shown = play
        .until("it is told", |s| {
            s.findings.iter().any(|f| f.finding.kind == Kind::Refused)
        })
        .await;
    assert!(
        shown.waiting == 1 && shown.findings[0].finding.text.contains("409"),
        "{shown:?}"
    );
    // Less and less often.
    let before = play.b.written("import_volume");
    sleep(Duration::from_secs(1200)).await;
    let tries = play.b.written("import_volume") - before;
    assert!((8..=12).contains(&tries), "{tries} tries in 20 minutes");
    assert!(play.problems().await.iter().any(|p| p.contains("409")));
    play.b.state().script.refuses = None;
    play.shown(0, "active - primary", "active - secondary")
        .await;
    play.until("it is forgotten", |s| {
        s.findings.is_empty() && s.waiting == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_used_up_shows_only_behind_the_answer_and_is_not_run_against() {
    let play = Play::with(0, same_names(), CatalogueTiming::default()).await;
    play.b.state().script.over_quota = true;
    play.make(0).await;
    play.until("it is told", |s| {
        s.findings
            .iter()
            .any(|f| f.finding.kind == Kind::ImportFailed)
    })
    .await;
    sleep(Duration::from_secs(1800)).await;
    let tries = play.b.written("import_volume");
    assert!((3..=12).contains(&tries), "{tries} tries in half an hour");
    assert!(
        play.b.state().records.volumes.len() <= 1,
        "failed ones do not pile up"
    );
    play.b.state().script.over_quota = false;
    play.shown(0, "active - primary", "active - secondary")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_deleted_meanwhile_comes_back_and_the_image_is_not_touched() {
    let play = Play::of(1).await;
    play.shown(0, "active - primary", "active - secondary")
        .await;
    let first = play.b.record(&image(0)).unwrap().id;
    // Taken away while a write to it is on its way.
    play.b.state().script.slow = Duration::from_secs(5);
    play.b.change(&image(0), |r| {
        r.metadata.remove(words::MODE);
    });
    eventually("a write is on its way", || async {
        (play.b.state().writes.last()?.0 == "show").then_some(())
    })
    .await;
    play.b.state().records.volumes.clear();
    eventually("there is a new one", || async {
        let r = play.b.record(&image(0))?;
        (r.id != first && r.metadata.contains_key(words::STATUS)).then_some(())
    })
    .await;
    assert!(play.rig.world.fabric().b().images().contains(&image(0)));
}

#[tokio::test(start_paused = true)]
async fn a_round_writes_no_more_than_it_may_and_so_much_at_once() {
    let timing = CatalogueTiming {
        most: 5,
        at_once: 3,
        ..CatalogueTiming::default()
    };
    let play = Play::with(0, same_names(), timing).await;
    play.b.state().script.slow = Duration::from_secs(1);
    play.b.state().script.dead = true;
    for n in 0..12 {
        play.make(n).await;
    }
    play.b.state().script.dead = false;
    let shown = play.until("one round wrote", |s| s.written > 0).await;
    assert!(shown.written <= 5, "{}", shown.written);
    for n in 0..12 {
        play.shown(n, "active - primary", "active - secondary")
            .await;
    }
    assert_eq!(play.b.state().most_at_once, 3);
    assert_eq!(play.b.written("import_volume"), 12, "each once");
}

#[tokio::test(start_paused = true)]
async fn hard_case_03_who_leads_no_more_writes_no_more() {
    let play = Play::with(
        0,
        same_names(),
        CatalogueTiming {
            at_once: 1,
            ..CatalogueTiming::default()
        },
    )
    .await;
    play.b.state().script.dead = true;
    for n in 0..30 {
        play.make(n).await;
    }
    play.b.state().script.slow = Duration::from_secs(2);
    play.b.state().script.dead = false;
    eventually("it writes", || async {
        (play.b.written("import_volume") > 0).then_some(())
    })
    .await;
    let cut = Instant::now();
    play.rig.world.store("witness").hang();
    eventually("nobody is shown anything", || async {
        play.client.catalogue().await.is_err().then_some(())
    })
    .await;
    assert!(
        cut.elapsed() < Duration::from_secs(12),
        "{:?}",
        cut.elapsed()
    );
    let written = play.b.state().writes.len();
    assert!(written < 30, "{written}");
    sleep(Duration::from_secs(120)).await;
    assert_eq!(play.b.state().writes.len(), written);
    play.rig.world.store("witness").heal();
    for n in 0..30 {
        play.shown(n, "active - primary", "active - secondary")
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_the_mapping_is_named_with_what_to_do_and_one_line_for_all() {
    let play = Play::with(3, Mapping::default(), CatalogueTiming::default()).await;
    let shown = play.until("it is found", |s| s.findings.len() == 3).await;
    assert_eq!(
        (shown.findings[0].finding.kind, shown.causes().len()),
        (Kind::Project, 1)
    );
    assert!(
        shown.findings[0].finding.text.contains("add one"),
        "{shown:?}"
    );
    let lines = eventually("the status says so", || async {
        let lines = play.problems().await;
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("3 volumes") && lines[0].contains("zone-b"),
        "{lines:?}"
    );
    assert!(play.b.state().writes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_clouds_there_is_no_catalogue_and_it_says_so() {
    let rig = Rig::bare(0);
    let e = eventually("a leader answers", || async {
        match rig.client().catalogue().await {
            Err(e) if e.code == ErrorCode::Unsupported => Some(e),
            Ok(_) | Err(_) => None,
        }
    })
    .await;
    assert!(e.message.contains("clouds"), "{e}");
}
