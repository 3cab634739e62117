//! The demonstration on simulated zones, and the command's verbs on them.

use super::{embedded::Embedded, show::Stage, volumes::volumes, world::World};
use crate::{
    args::{Cli, DemoArgs},
    commands,
    connect::Peers,
    error::CliError,
    exit::Exit,
    output::{Format, Output},
};
use clap::Parser;
use serde_json::Value;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);
impl Write for Buffer {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(b);
        Ok(b.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_demonstration_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let args = DemoArgs {
        embedded: true,
        cinder: false,
        nova: false,
        volumes: 6,
        keep: false,
        report: dir.path().join("report.json"),
        lab: dir.path().join("lab"),
    };
    let (out, err) = (Buffer::default(), Buffer::default());
    let output = Output::captured(Format::Text, out.clone(), err.clone());
    let ended = super::run(&args, &output).await;
    let told = err.text();
    assert_eq!(ended.unwrap_or(Exit::Failed), Exit::Ok, "{told}");
    let line = out.text();
    assert!(
        line.starts_with(
            "demo: 6 volumes (2 instant, 2 periodic, 2 once); zone-a killed; detected in "
        ),
        "{line}"
    );
    assert!(
        line.ends_with("moved home 6/6, lost 0; data verified 6/6\n"),
        "{line}"
    );
    assert!(told.contains("UNPROTECTED"), "it says so loudly: {told}");
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(&args.report).unwrap()).unwrap();
    for (key, want) in [
        ("volumes", 6),
        ("promoted", 6),
        ("resynced", 6),
        ("moved_home", 6),
        ("verified", 6),
        ("lost_planned", 0),
    ] {
        assert_eq!(report[key], want, "{key}");
    }
    // The lease's time to live and the margin are waited for, and not much more.
    let detected = report["detect_s"].as_f64().unwrap();
    assert!((1.0..20.0).contains(&detected), "{detected}");
}

/// A command line, on simulated zones.
async fn rekindle(peers: &Peers, line: &str) -> (Result<Exit, CliError>, Value) {
    let words = std::iter::once("rekindle").chain(line.split_whitespace());
    let cli = Cli::try_parse_from(words).unwrap();
    let out = Buffer::default();
    let output = Output::captured(Format::Json, out.clone(), io::sink());
    let ended = commands::run(cli.command, peers, &output).await;
    (ended, serde_json::from_str(&out.text()).unwrap_or_default())
}

/// Asks again until the command ends so; what it printed.
async fn until(peers: &Peers, line: &str, good: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let (ended, page) = rekindle(peers, line).await;
        if ended.is_ok() && good(&page) {
            return page;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "{line}: {ended:?} {page:#}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn refused(ended: Result<Exit, CliError>) -> (Exit, String) {
    match ended {
        Ok(exit) => panic!("it was done: {exit:?}"),
        Err(e) => (e.exit(), e.for_a_person()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_on_simulated_zones() {
    let sink = Output::captured(Format::Json, io::sink(), io::sink());
    let mut world = Embedded::new().unwrap();
    world.raise(&Stage::new(&sink)).await.unwrap();
    let peers = world.peers();
    let vols = volumes(world.pool(), 3);
    let home = "zone-a".parse().unwrap();
    world.create(&home, &vols).await.unwrap();

    let create = "group create db --home zone-a --away zone-b --lease-ttl 2s --lease-renew-every 300ms \
                  --lease-demote-budget 400ms --lease-margin 1s --hold-off 1s";
    let page = until(&peers, create, |p| p["effect"] == "created").await;
    assert_eq!(page["primary"]["generation"], 1);
    let (exit, why) = refused(rekindle(&peers, create).await.0);
    assert_eq!(exit, Exit::Refused);
    assert!(why.contains("group set db"), "{why}");

    let (once, instant) = (&vols[2].spec, &vols[0].spec);
    let replicate = format!("volume replicate {instant} --mode instant --group db");
    until(&peers, &replicate, |p| p["results"][0]["result"] == "ok").await;
    let replicate = format!("volume replicate {once} --mode once --group db");
    until(&peers, &replicate, |p| p["results"][0]["result"] == "ok").await;

    let two_copies = |p: &Value| {
        let copies = p["zones"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|z| z["zone"] == "zone-b");
        let copies = copies.flat_map(|z| z["volumes"].as_array().into_iter().flatten());
        copies.filter(|v| v["complete_copy"] == "yes").count() == 2
    };
    until(&peers, "volume list --group db", two_copies).await;
    let (ended, page) = rekindle(&peers, &format!("volume show {instant}")).await;
    assert_eq!(
        (ended.unwrap(), page["zones"].as_array().unwrap().len()),
        (Exit::Ok, 2)
    );

    // Bad orders, and what is said of them.
    let (exit, _) = refused(rekindle(&peers, "volume show volumes/no-such").await.0);
    assert_eq!(exit, Exit::Usage);
    let (exit, why) = refused(
        rekindle(&peers, &format!("volume promote {instant}"))
            .await
            .0,
    );
    assert!(
        exit == Exit::Refused && !why.contains("force ("),
        "{exit:?} {why}"
    );
    let (exit, why) = refused(
        rekindle(&peers, &format!("volume resync {instant} --zone zone-a"))
            .await
            .0,
    );
    assert_eq!(exit, Exit::Refused, "{why}");
    let (exit, _) = refused(rekindle(&peers, "group show nobody").await.0);
    assert_eq!(exit, Exit::Usage);
    let (exit, _) = refused(rekindle(&peers, "plan show nothing").await.0);
    assert_eq!(exit, Exit::Usage);
    let (exit, why) = refused(rekindle(&peers, "failover db").await.0);
    assert!(matches!(exit, Exit::Held | Exit::Refused), "{exit:?} {why}");

    // A frozen zone refuses, says why, and thaws.
    assert_eq!(
        rekindle(&peers, "freeze zone-a --reason disks")
            .await
            .0
            .unwrap(),
        Exit::Ok
    );
    let (exit, why) = refused(
        rekindle(
            &peers,
            &format!("volume replicate {} --mode once", vols[1].spec),
        )
        .await
        .0,
    );
    assert!(
        exit == Exit::Refused && why.contains("disks"),
        "{exit:?} {why}"
    );
    assert_eq!(rekindle(&peers, "thaw zone-a").await.0.unwrap(), Exit::Ok);

    assert_eq!(
        rekindle(&peers, "maintenance on --reason update")
            .await
            .0
            .unwrap(),
        Exit::Ok
    );
    until(&peers, "status", |p| p["maintenance"]["reason"] == "update").await;
    assert_eq!(
        rekindle(&peers, "maintenance off").await.0.unwrap(),
        Exit::Ok
    );

    // There and back, watched to the end.
    let well = |p: &Value| p["decision"]["decision"]["why"]["why"] == "all_well";
    until(&peers, "group show db", well).await;
    let (ended, page) = rekindle(&peers, "move db --to zone-b --dry-run").await;
    assert_eq!(
        (ended.unwrap(), &page["run"]),
        (Exit::Ok, &Value::from("dry_run"))
    );
    let page = until(&peers, "move db --to zone-b", |p| {
        p[0]["plan"]["kind"] == "move"
    })
    .await;
    assert_eq!(page[0]["state"]["end"], "succeeded", "{page:#}");
    assert!(
        page[0]["steps"]
            .as_array()
            .is_some_and(|s| s.iter().all(|s| s["took"].is_string())),
        "{page:#}"
    );
    until(&peers, "group show db", well).await;
    let page = until(&peers, "failback db", |p| {
        p[0]["plan"]["kind"] == "failback"
    })
    .await;
    assert_eq!(page[0]["state"]["end"], "succeeded", "{page:#}");
    let (ended, page) = rekindle(&peers, "history db").await;
    assert_eq!(
        (ended.unwrap(), page.as_array().unwrap().len()),
        (Exit::Ok, 2)
    );
    let (_, page) = rekindle(&peers, "plan list --limit 1").await;
    assert_eq!(
        (page.as_array().unwrap().len(), &page[0]["kind"]),
        (1, &Value::from("failback"))
    );

    // Half of the zones: the rest is shown, and the exit code says that it is not all.
    world.kill(&"zone-b".parse().unwrap()).await.unwrap();
    let peers = world.peers();
    let (ended, page) = rekindle(&peers, "volume list").await;
    assert_eq!(ended.unwrap(), Exit::Partial);
    assert_eq!(page["zones"][1]["error"]["code"], "sidecar_unreachable");
    world.lower().await.unwrap();
    let (exit, why) = refused(rekindle(&world.peers(), "status").await.0);
    assert!(matches!(exit, Exit::Unreachable | Exit::Usage), "{why}");
}
