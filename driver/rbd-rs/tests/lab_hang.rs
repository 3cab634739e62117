//! Clusters that do not answer: every wait has an end, and one call's hang is nobody else's.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rbd_rs::{
    Asks, CallError, CallPool, CallPoolLimits, Ceph, Cluster, ConnectOptions, Error, MOST_ASKS,
    MirrorMode, TimedOutStage, Timeouts,
};
use serde_json::json;
use support::{TestImage, options, pattern, unique, zones};

const LIMITS: CallPoolLimits = CallPoolLimits {
    threads: 2,
    queue: 64,
    lost: 4,
};
const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
}

/// A monitor's address at which somebody accepts and says nothing.
#[test]
fn monitors_that_do_not_answer_are_a_timeout_and_others_are_unharmed() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("ceph.conf");
    let address = silent.local_addr().unwrap();
    std::fs::write(
        &conf,
        format!("[global]\nmon host = [v2:{address}]\nauth client required = none\n"),
    )
    .unwrap();
    let ceph = Ceph::load().unwrap();
    let timeouts = Timeouts {
        connect: Some(2 * SECOND),
        ..Timeouts::default()
    };
    let options = ConnectOptions::from_conf_file(conf).timeouts(timeouts);

    // librados' own timeout.
    let start = Instant::now();
    let error = Cluster::connect(&ceph, &options).unwrap_err();
    assert!(matches!(error, Error::TimedOut(_)), "{error}");
    assert!(error.retryable());
    assert_eq!(error.call().unwrap().operation, "rados_connect");
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());

    // The pool's, shorter; and calls beside it go on meanwhile.
    let pool = CallPool::new(LIMITS);
    runtime().block_on(async {
        let hanging = {
            let (ceph, options) = (ceph.clone(), options.clone());
            pool.call(SECOND / 2, "connect", move || Cluster::connect(&ceph, &options))
        };
        let others = async {
            for number in 0..20 {
                assert_eq!(pool.call(SECOND, "other", move || Ok(number)).await.unwrap(), number);
            }
        };
        let start = Instant::now();
        let (error, ()) = tokio::join!(hanging, others);
        let is_it = matches!(
            &error,
            Err(CallError::TimedOut { label, stage: TimedOutStage::Running, .. }) if label == "connect"
        );
        assert!(is_it, "{error:?}");
        assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
        assert_eq!(pool.counters().lost, 1);
        // librados gives up after its own timeout, and the thread is there again.
        while pool.counters().lost > 0 {
            assert!(start.elapsed() < 20 * SECOND, "{:?}", pool.counters());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_monitor_that_stops_is_a_timeout_for_commands() {
    let zones = zones();
    let timeouts = Timeouts {
        mon_op: Some(2 * SECOND),
        ..Timeouts::default()
    };
    let options = options(&zones.lab, zones.a.site).timeouts(timeouts);
    let cluster = Cluster::connect(&zones.ceph, &options).unwrap();
    cluster.health().unwrap();
    zones.lab.pause_service(zones.a.site, "mon").unwrap();
    let start = Instant::now();
    let answer = cluster.health();
    let took = start.elapsed();
    zones.lab.resume_service(zones.a.site, "mon").unwrap();
    assert!(matches!(answer, Err(Error::TimedOut(_))), "{answer:?}");
    assert!(took < 10 * SECOND, "{took:?}");
    // The other zone has nothing to do with it, and this one comes back by itself.
    zones.b.cluster.health().unwrap();
    support::wait("the zone answers again", 60 * SECOND, || {
        cluster
            .health()
            .map(drop)
            .map_err(|error| error.to_string())
    });
}

/// Goes on when it is dropped: a failed assertion would wait for it for ever, closing its image.
struct Paused<'z>(&'z support::Zones);

impl<'z> Paused<'z> {
    fn osd(zones: &'z support::Zones) -> Self {
        zones.lab.pause_service(zones.a.site, "osd").unwrap();
        Self(zones)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let _ = self.0.lab.resume_service(self.0.a.site, "osd");
    }
}

#[test]
fn hard_case_22_an_osd_that_stops_is_reported_in_time_and_the_other_zone_goes_on() {
    let zones = zones();
    let image = TestImage::new(&zones, "hang");
    let pool = CallPool::new(LIMITS);
    let a = std::sync::Arc::new(image.a());
    a.write(0, &pattern(1)).unwrap();
    a.flush().unwrap();
    let paused = Paused::osd(&zones);
    runtime().block_on(async {
        let start = Instant::now();
        // More calls than threads hang on zone A.
        let hanging = (0..4_u64).map(|number| {
            let (a, pool) = (a.clone(), pool.clone());
            tokio::spawn(async move {
                pool.call(2 * SECOND, format!("write {number}"), move || {
                    a.write(4096 * number, &pattern(2))?;
                    a.flush()
                })
                .await
            })
        });
        for task in hanging.collect::<Vec<_>>() {
            let answer = task.await.unwrap();
            assert!(
                matches!(answer, Err(CallError::TimedOut { .. })),
                "{answer:?}"
            );
        }
        assert!(start.elapsed() < 6 * SECOND, "{:?}", start.elapsed());
        let counters = pool.counters();
        // Two at least: a thread that replaces a lost one may take up a call in the very moment of that one's deadline.
        assert!((2..=4).contains(&counters.lost), "{counters:?}");
        assert_eq!(counters.busy, 0, "{counters:?}");

        // Zone B is served by the same pool.
        let other = zones.b.pool.clone();
        let start = Instant::now();
        pool.call(10 * SECOND, "list", move || other.images())
            .await
            .unwrap();
        assert!(start.elapsed() < 5 * SECOND);
    });
    drop(paused);
    support::wait("the lost threads come back", 60 * SECOND, || {
        let counters = pool.counters();
        if counters.lost == 0 {
            Ok(())
        } else {
            Err(format!("{counters:?}"))
        }
    });
    let counters = pool.counters();
    assert_eq!(counters.returned_total, counters.lost_total, "{counters:?}");
    // What was given up was carried out after all: a timeout says nothing about the effect.
    let mut found = [0];
    a.read(0, &mut found).unwrap();
    assert_eq!(found, [2]);
}

/// What a list's reads meet of an image, and of one that is not there.
fn objects(name: &str, id: &str) -> Vec<String> {
    vec![
        format!("rbd_id.{name}"),
        format!("rbd_header.{id}"),
        format!("journal.{id}"),
        "nothing".to_owned(),
    ]
}

fn silent(asks: &Asks, objects: &[String], patience: Duration) -> Vec<String> {
    let mut silent: Vec<String> = asks
        .without_answer(objects, patience)
        .unwrap()
        .into_iter()
        .collect();
    silent.sort();
    silent
}

fn wait_for_answers(asks: &Asks, objects: &[String]) {
    support::wait("all answer again", 60 * SECOND, || {
        let silent = silent(asks, objects, SECOND);
        if silent.is_empty() {
            Ok(())
        } else {
            Err(format!("{silent:?}"))
        }
    });
}

#[test]
fn objects_that_do_not_answer_are_told_of_in_time_and_asked_once() {
    let zones = zones();
    let image = TestImage::mirrored(&zones, "asked", MirrorMode::Journal);
    let id = image.a().id().unwrap();
    let objects = objects(&image.name, &id);
    let is_there = |o: &String| zones.a.pool.find_object(o).unwrap().is_some();
    let there: Vec<bool> = objects.iter().map(is_there).collect();
    assert_eq!(there, [true, true, true, false]);
    // A part of a page.
    let part = zones.a.pool.mirror_infos_after("", 1).unwrap();
    assert_eq!(part.len(), 1);
    let mut all = objects.clone();
    all.sort();
    let asks = Asks::new(&zones.a.pool, MOST_ASKS);
    let none: Vec<String> = Vec::new();
    let start = Instant::now();
    assert_eq!(silent(&asks, &objects, 10 * SECOND), none);
    // More than may be under way at once.
    let many: Vec<String> = (0..4000).map(|n| format!("nothing.{n}")).collect();
    assert_eq!(silent(&asks, &many, 10 * SECOND), none);
    println!("4000 answered: {:?}", start.elapsed());

    let paused = Paused::osd(&zones);
    let start = Instant::now();
    assert_eq!(silent(&asks, &objects, SECOND), all);
    let took = start.elapsed();
    assert!((SECOND..2 * SECOND).contains(&took), "{took:?}");
    let start = Instant::now();
    assert_eq!(silent(&asks, &objects, SECOND), all);
    assert!(start.elapsed() < SECOND / 2, "{:?}", start.elapsed());
    let start = Instant::now();
    // Those for which there is no room are not told of: they may be well.
    let room = MOST_ASKS - objects.len();
    assert_eq!(silent(&asks, &many, SECOND).len(), room);
    assert_eq!(silent(&asks, &many[room..], SECOND), none);
    assert!(start.elapsed() < 4 * SECOND, "{:?}", start.elapsed());
    // What is under way ends with who asked.
    let start = Instant::now();
    let other = Asks::new(&zones.a.pool, MOST_ASKS);
    assert_eq!(silent(&other, &objects, SECOND), all);
    drop(other);
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    drop(paused);
    wait_for_answers(&asks, &many);
    wait_for_answers(&asks, &objects);
}

#[test]
fn objects_of_placement_groups_that_are_inactive_are_silent_and_the_other_pools_answer() {
    let zones = zones();
    let cluster = &zones.a.cluster;
    let name = unique("asleep");
    cluster.create_pool(&name, 8).unwrap();
    let pool = cluster.pool(&name).unwrap();
    let options = rbd_rs::CreateOptions::default();
    pool.create_image("image", 1 << 20, &options).unwrap();
    let id = pool.open_read_only("image").unwrap().id().unwrap();
    let objects = objects("image", &id);
    let set = |var: &str, value: &str| {
        let command = json!({
            "prefix": "osd pool set", "pool": name, "var": var, "val": value,
            "yes_i_really_mean_it": true,
        });
        cluster.mon_command(&command, &[]).unwrap();
        cluster.wait_for_latest_osdmap().unwrap();
    };
    let asks = Asks::new(&pool, MOST_ASKS);
    wait_for_answers(&asks, &objects);
    // Two OSDs are needed, and there is one.
    set("size", "2");
    set("min_size", "2");
    support::wait("none answers", 60 * SECOND, || {
        let silent = silent(&asks, &objects, SECOND);
        if silent.len() == objects.len() {
            Ok(())
        } else {
            Err(format!("{silent:?}"))
        }
    });
    let others = Asks::new(&zones.a.pool, MOST_ASKS);
    wait_for_answers(&others, &["nothing".to_owned()]);
    set("min_size", "1");
    wait_for_answers(&asks, &objects);
    // A pool cannot be deleted here, and an empty one harms nobody.
    pool.remove_image("image").unwrap();
}
