//! Each verb by which a person answers the orchestrator, as a process: where it is done and where it is refused, in text and as
//! JSON, with the exit codes of the table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod zones;

use rekindle_common::{
    keys,
    policy::GroupSpec,
    runbook::{Level, RunbookServer},
};
use rekindle_core::{decision::Ask, plan::PlanKind};
use rekindle_store::{Op, Store, Txn};
use serde_json::{Value, json};
use std::{fs, path::Path};
use zones::{Zones, asks, primary_in, stuck, well, zone_a, zone_b};

// The table of `rekindle --help`.
const DONE: i32 = 0;
const USAGE: i32 = 2;
const HELD: i32 = 4;
const UNREACHABLE: i32 = 5;
const FAILED: i32 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn approve_acknowledge_and_reprotect() {
    let policy = "--failover approved --on-return ask --blocking-period 1h";
    let mut zones = Zones::with(policy).await;
    let z = &zones;

    // Nothing of that is to be done yet, or ever.
    for (line, code, word) in [
        ("acknowledge db --by ann", HELD, "no failover"),
        ("group reprotect db", HELD, "holds no stale copies"),
        ("approve nobody failover --by ann", USAGE, "nobody"),
        ("acknowledge nobody --by ann", USAGE, "nobody"),
        ("group reprotect nobody", USAGE, "no group nobody"),
        (
            "approve db reprotect --accept-loss --by ann",
            USAGE,
            "belong to a failover",
        ),
        ("approve db explosion --by ann", USAGE, "explosion"),
    ] {
        let ended = z.rekindle(line).await.with(code);
        assert!(ended.err.contains(word), "{line}: {}", ended.err);
        assert_eq!(ended.out, "", "{line}");
        let json = z
            .rekindle(&format!("--output json {line}"))
            .await
            .with(code);
        let message = json.json_error()["message"].to_string();
        assert!(message.contains(word), "{line}: {message}");
    }
    let nameless = ["--output", "json", "approve", "db", "failover", "--by", " "];
    let error = z.run(&nameless).await.with(USAGE).json_error();
    assert_eq!(
        (&error["code"], &error["field"]),
        (&"invalid_field".into(), &"by".into())
    );

    let ended = z.rekindle("approve db failback --by ann").await.with(DONE);
    assert!(
        ended
            .out
            .starts_with("approved for db, generation 1, by ann;"),
        "{}",
        ended.out
    );

    zones.world.kill_zone(&zone_a());
    let z = &zones;
    let asked = |kind| move |a: &Ask| matches!(a, Ask::Approve { kind: k, .. } if *k == kind);
    z.until("it asks for a failover", |g| {
        asks(g, asked(PlanKind::Failover))
    })
    .await;
    let yes = z
        .rekindle("approve db failover --by ann --output json")
        .await
        .with(DONE)
        .json();
    assert_eq!((&yes["generation"], &yes["by"]), (&1.into(), &"ann".into()));
    assert_eq!(yes["what"]["what"], "failover");
    z.until("zone-b has taken over", |g| primary_in(g, &zone_b()))
        .await;

    let ended = z.rekindle("acknowledge db --by ann").await.with(DONE);
    assert!(ended.out.contains("of db is acknowledged"), "{}", ended.out);
    let memory = z
        .rekindle("acknowledge db --by ann --output json")
        .await
        .with(DONE)
        .json();
    assert_eq!(memory["acknowledged"], true);
    assert_eq!(memory["from"], "zone-a");

    // With the loser away there is nothing to make a copy of.
    let ended = z.rekindle("group reprotect db").await.with(HELD);
    assert!(ended.err.contains("needs both zones well"), "{}", ended.err);

    zones.world.start_zone(&zone_a());
    let z = &zones;
    z.until("it asks for a reprotection", |g| {
        asks(g, asked(PlanKind::Reprotect))
    })
    .await;
    let shown = z
        .rekindle("group reprotect db --dry-run --output json")
        .await
        .with(DONE)
        .json();
    assert_eq!(
        (&shown["run"], &shown["plan"]["kind"]),
        (&"dry_run".into(), &"reprotect".into())
    );
    let ended = z.rekindle("group reprotect db").await.with(DONE);
    assert!(ended.out.contains("reprotect"), "{}", ended.out);
    assert!(ended.out.contains("succeeded"), "{}", ended.out);
    z.until("it is protected", well).await;
    assert!(primary_in(&z.group().await.unwrap(), &zone_b()));
}

#[tokio::test(flavor = "multi_thread")]
async fn group_resume() {
    let zones = Zones::with("--failover automatic").await;
    let z = &zones;
    // All volumes serve: the application may not.
    let line = "group resume db --dry-run";
    let ended = z.rekindle(line).await.with(DONE);
    assert!(ended.out.contains("start shop in zone-a"), "{}", ended.out);
    let ended = z.rekindle("group resume db").await.with(DONE);
    assert!(ended.out.contains("succeeded"), "{}", ended.out);
    // Where there is none, there is nothing to do.
    let mut spec = z.group().await.unwrap().spec;
    let application = spec.policy.application.take();
    z.world.client().put_group(&spec).await.unwrap();
    let ended = z.rekindle("group resume db").await.with(HELD);
    assert!(
        ended.err.contains("all volumes are primary in zone-a"),
        "{}",
        ended.err
    );
    let error = z.rekindle("group resume db --output json").await.with(HELD);
    assert_eq!(error.json_error()["code"], "held");
    z.rekindle("group resume nobody").await.with(USAGE);
    spec.policy.application = application;
    z.world.client().put_group(&spec).await.unwrap();

    for json in [false, true] {
        z.demote_by_hand().await;
        z.until("it says that no zone is primary", |g| {
            asks(g, |a| matches!(a, Ask::NoPrimaryImages { .. }))
        })
        .await;
        if json {
            let ended = z.rekindle("group resume db --output json").await.with(DONE);
            let page = ended.json();
            assert_eq!(page[0]["plan"]["kind"], "resume");
            assert_eq!(page[0]["state"]["end"], "succeeded", "{page:#}");
            assert_eq!(ended.err, "", "a reader of JSON gets nothing else");
        } else {
            let ended = z.rekindle("group resume db").await.with(DONE);
            assert!(ended.out.contains("succeeded"), "{}", ended.out);
        }
        z.until("all is as it was", well).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_retry_and_give_up() {
    let zones = Zones::with("--failover automatic --on-return stay").await;
    let z = &zones;
    for verb in ["retry", "give-up"] {
        let line = format!("plan {verb} nothing --output json");
        let error = z.rekindle(&line).await.with(USAGE).json_error();
        assert_eq!(error["code"], "unknown_plan");
    }

    // A move that cannot start its application waits for a person, and says how to go on.
    z.application.refuse_starts(2);
    let ended = z.rekindle("move db --to zone-b").await.with(HELD);
    assert!(ended.err.contains("rekindle plan retry"), "{}", ended.err);
    let plan = z.until("it is stuck", stuck).await.active_plan.unwrap().id;
    // Tried again in vain; then in earnest.
    let ended = z
        .rekindle(&format!("plan retry {plan} --output json"))
        .await;
    let page = ended.with(HELD).json();
    assert_eq!(page[0]["state"]["state"], "stuck", "{page:#}");
    let ended = z.rekindle(&format!("plan retry {plan}")).await.with(DONE);
    assert!(ended.out.contains("succeeded"), "{}", ended.out);
    for verb in ["retry", "give-up"] {
        let line = format!("plan {verb} {plan}");
        let ended = z.rekindle(&line).await.with(HELD);
        assert!(
            ended.err.contains("does not wait for a person"),
            "{line}: {}",
            ended.err
        );
        let error = z
            .rekindle(&format!("{line} --output json"))
            .await
            .with(HELD);
        assert_eq!(error.json_error()["code"], "held", "{line}");
    }
    z.until("it is well in zone-b", |g| {
        well(g) && primary_in(g, &zone_b())
    })
    .await;

    // What is given up ends as failed for whoever watches it, and frees the group.
    z.application.refuse_starts(2);
    z.rekindle("failback db").await.with(HELD);
    let plan = z.until("it is stuck", stuck).await.active_plan.unwrap().id;
    let line = format!("plan retry {plan} --no-wait --output json");
    let summary = z.rekindle(&line).await.with(DONE).json();
    assert_eq!(summary[0]["id"], plan.as_str());
    z.until("it is stuck again", stuck).await;
    let summary = z
        .rekindle(&format!("plan give-up {plan} --output json"))
        .await
        .with(DONE)
        .json();
    assert_eq!(summary[0]["state"]["end"], "given_up", "{summary:#}");
    let ended = z.rekindle(&format!("plan show {plan} --watch")).await;
    ended.with(FAILED);
    z.until("its group is free", |g| g.active_plan.is_none())
        .await;

    // The other form of it.
    z.until("it can be moved", well).await;
    z.application.refuse_starts(1);
    z.rekindle("move db --to zone-b").await.with(HELD);
    let plan = z.until("it is stuck", stuck).await.active_plan.unwrap().id;
    let ended = z.rekindle(&format!("plan give-up {plan}")).await.with(DONE);
    assert!(ended.out.contains("given up"), "{}", ended.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_on_and_off() {
    let zones = Zones::with("--failover automatic").await;
    let z = &zones;
    let ended = z
        .run(&["maintenance", "on", "--reason", "new switches"])
        .await
        .with(DONE);
    assert!(
        ended.out.starts_with("maintenance is on: new switches."),
        "{}",
        ended.out
    );
    let status = z.rekindle("status --output json").await.with(DONE).json();
    assert_eq!(status["maintenance"]["reason"], "new switches");
    let decision = &status["groups"][0]["decision"]["decision"];
    assert_eq!(decision["why"]["why"], "maintenance", "{decision}");
    let off = z.rekindle("maintenance off --output json").await.with(DONE);
    assert_eq!(off.json(), serde_json::json!({ "maintenance": null }));
    let on = z.rekindle("maintenance on --reason x --output json").await;
    assert_eq!(on.with(DONE).json()["maintenance"], "x");
    let ended = z.rekindle("maintenance off").await.with(DONE);
    assert_eq!(ended.out, "maintenance is off\n");
    let status = z.rekindle("status --output json").await.with(DONE).json();
    assert!(status["maintenance"].is_null(), "{status:#}");

    // Without a reason, and without anybody who could take it.
    let wordless = ["--output", "json", "maintenance", "on", "--reason", " "];
    let error = z.run(&wordless).await.with(USAGE).json_error();
    assert_eq!(
        (&error["code"], &error["field"]),
        (&"invalid_field".into(), &"reason".into())
    );
    z.rekindle("maintenance on").await.with(USAGE);
    z.world.store("any").lose_majority();
    for line in [
        "maintenance off",
        "maintenance on --reason x",
        "--output json maintenance off",
    ] {
        let ended = z.rekindle(line).await.with(UNREACHABLE);
        assert_eq!(ended.out, "", "{line}");
        assert_ne!(ended.err, "", "{line}");
    }
}

/// What is kept of a server is had out in every form that a file's record has, and compared to a file.
#[tokio::test(flavor = "multi_thread")]
async fn record_export_show_and_diff_of_what_is_kept() {
    let zones = Zones::with("--failover automatic").await;
    let z = &zones;
    let dir = tempfile::tempdir().unwrap();
    let records = dir.path().join("records").display().to_string();
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../common/tests/terraform/example.tfstate");
    let import = format!(
        "record import --from terraform --zone zone-a --server web-0 --out {records} {}",
        example.display()
    );
    z.rekindle(&import).await.with(DONE);
    let mut files = fs::read_dir(&records).unwrap();
    let before = files.next().unwrap().unwrap().path().display().to_string();
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&before).unwrap()).unwrap();
    record["user_data"] = json!("aHVudGVyMi1odW50ZXIy");
    let file = dir.path().join("web-0.json").display().to_string();
    fs::write(&file, record.to_string()).unwrap();
    keep(z, &record).await;

    for form in ["shell", "heat", "terraform", "json"] {
        let of_file = z
            .rekindle(&format!("record export --as {form} {file}"))
            .await;
        let line = format!("record export --as {form} --group db web-0");
        let kept = z.rekindle(&line).await.with(DONE).out;
        assert_eq!(kept, of_file.with(DONE).out, "{form}");
        assert_eq!(kept.contains("aHVudGVy"), form == "json", "{form}: {kept}");
    }
    for line in ["record show", "record show --output json"] {
        let of_file = z.rekindle(&format!("{line} {file}")).await.with(DONE).out;
        let kept = z.rekindle(&format!("{line} --group db web-0")).await;
        let kept = kept.with(DONE).out;
        assert_eq!(kept, of_file, "{line}");
        assert!(
            !kept.contains("aHVudGVy") && !kept.contains("hunter2"),
            "{kept}"
        );
    }
    let line = format!("record diff --group db web-0 {before}");
    let diff = z.rekindle(&line).await.with(DONE).out;
    assert!(
        diff.contains("user_data: added: 15 bytes, not shown"),
        "{diff}"
    );
    let line = format!("record diff --group db web-0 {file} --output json");
    assert_eq!(z.rekindle(&line).await.with(DONE).json()["same"], true);

    for (what, field, word) in [
        ("--group nobody web-0", "group", "no group nobody"),
        ("--group db mail", "server", "no server mail"),
        ("--group db web-1", "record", "no record of web-1 is kept"),
    ] {
        let line = format!("record export --as shell {what} --output json");
        let error = z.rekindle(&line).await.with(USAGE).json_error();
        assert_eq!(error["field"], field, "{error}");
        assert!(error["message"].to_string().contains(word), "{error}");
    }
    // A file where a server's name is meant.
    let ended = z.rekindle(&format!("record show --group db {file}")).await;
    let ended = ended.with(USAGE);
    assert!(
        ended.err.contains("SERVER: ") && ended.err.contains("without --group"),
        "{}",
        ended.err
    );
    put(
        z,
        &keys::kept_server(&"db".parse().unwrap(), &"web-1".parse().unwrap()),
        &json!(1),
    )
    .await;
    let ended = z.rekindle("record show --group db web-1").await.with(HELD);
    assert!(ended.err.contains("rbd image-meta get"), "{}", ended.err);
}

/// The group has two servers, and of web-0 this is kept.
async fn keep(z: &Zones, record: &Value) {
    let spec_key = keys::group_spec(&"db".parse().unwrap());
    let store = Store::from(z.world.store("any"));
    let mut spec: GroupSpec = store.get(&spec_key).await.unwrap().unwrap().json().unwrap();
    let server =
        |key: &str| -> RunbookServer { serde_json::from_value(json!({ "key": key })).unwrap() };
    spec.runbook.levels = vec![Level {
        pause: None,
        servers: vec![server("web-0"), server("web-1")],
    }];
    put(z, &spec_key, &serde_json::to_value(&spec).unwrap()).await;
    let at = keys::kept_server(&"db".parse().unwrap(), &"web-0".parse().unwrap());
    put(z, &at, &json!({ "key": "web-0", "record": record })).await;
}

async fn put(z: &Zones, at: &str, value: &Value) {
    let put = Op::put_json(at, value, None).unwrap();
    let store = Store::from(z.world.store("any"));
    store.txn(Txn::new().then(put)).await.unwrap();
}
