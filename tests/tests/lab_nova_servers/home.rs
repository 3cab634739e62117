//! A server's whole story: its zone killed, served from the other one, its old self held, and home again with nothing lost.

use super::{
    PLAN, RECORDS, SNAPSHOTS, carry_out, group_type, join, level, name_of, runbook, wait_records,
};
use anyhow::{Context, ensure};
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{
    Generation, GroupName, ServerKey, Timestamp, keys,
    policy::OnReturn,
    runbook::{Runbook, StandbyPolicy},
    servers::{Build, KeptServer, ServerRecord},
};
use rekindle_core::{
    decision::Request,
    plan::{PlanKind, Step},
    saga::Event,
};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::PlanDetail;
use rekindle_tests::scenario::{BOOT, CinderZone, Cloud, Group, Guest, Look, NovaZone, until};
use serde_json::{Value, json};
use std::{process::Command, time::Duration};

/// How old the newest record may be that a server finds after its zone was killed: a snapshot is taken every ten seconds.
const RPO: Duration = Duration::from_secs(30);

/// What is kept of a server in etcd.
fn kept(cloud: &Cloud, group: &GroupName, key: &ServerKey) -> anyhow::Result<KeptServer> {
    let key = keys::kept_server(group, key);
    let text = cloud
        .lab
        .etcdctl(Site::Witness, &["get", "--print-value-only", &key])?;
    serde_json::from_str(text.trim()).with_context(|| format!("what stands at {key}: {text}"))
}

/// What `rekindle preflight` prints, with the file of an orchestrator.
fn preflight(cloud: &Cloud) -> anyhow::Result<Value> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("orchestrator.toml");
    std::fs::write(
        &file,
        toml::to_string(&cloud.orchestrator_config(Site::Witness)?)?,
    )?;
    let ended = Command::new(cloud.rekindle())
        .args(["--output", "json", "preflight"])
        .arg(&file)
        .output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    serde_json::from_slice(&ended.stdout).with_context(|| format!("{}: {said}", ended.status))
}

/// The place of the first step of that sort.
fn place(detail: &PlanDetail, which: fn(&Step) -> bool) -> Option<usize> {
    detail.plan.steps.iter().position(|s| which(&s.step))
}

/// Every server was helped, by every step.
fn all_helped(detail: &PlanDetail) -> anyhow::Result<()> {
    ensure!(
        detail.failed_servers.is_empty(),
        "{:?}",
        detail.failed_servers
    );
    for record in &detail.journal {
        if let Event::StepDone { step, outcome } = &record.event {
            tracing::info!(
                step,
                note = outcome.note,
                "{}",
                detail.plan.steps[*step].step
            );
        }
    }
    Ok(())
}

/// What a person has without us: the volumes are moved, and the record's script builds the server on them, once.
async fn by_hand(
    cloud: &Cloud,
    group: &Group<'_>,
    (a, b): (&CinderZone<'_>, &CinderZone<'_>),
    (na, nb): (&NovaZone<'_>, &NovaZone<'_>),
    (web, record): (&Guest, &ServerRecord),
) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("web.json");
    std::fs::write(&file, serde_json::to_vec(record)?)?;
    let export = |form: &str| -> anyhow::Result<String> {
        let ended = Command::new(cloud.rekindle())
            .args(["record", "export", "--as", form])
            .arg(&file)
            .output()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.success(), "{form}: {said}");
        Ok(String::from_utf8(ended.stdout)?)
    };
    let script = scratch.path().join("web.sh");
    std::fs::write(&script, export("shell")?)?;

    // No policy sends it home again meanwhile.
    group
        .set_policy(|policy| policy.on_return = OnReturn::Stay)
        .await?;
    a.admin(&["server", "stop", &web.server])?;
    until("web to be off", BOOT, async || -> Look<()> {
        let shown = na.show(&web.server).map_err(|e| format!("{e:#}"))?;
        match shown["status"].as_str() {
            Some("SHUTOFF") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let to = name_of(Site::ZoneB);
    carry_out(cloud, group, Request::Move { to }, PlanKind::Move).await?;

    let os = b.clients.clone().deadline(BOOT);
    let address = nb.address(web.host).to_string();
    let run = || os.script(&os.member, &script, &[("FIXED_IP_1", &address)]);
    let built = run()?.trim().to_owned();
    nb.wait_answer(web).await?;
    let (left, found) = (na.console(&web.server)?, nb.console(&built)?);
    assert_eq!(found.last, left.stopped, "nothing is lost");
    let shown = nb.show(&built)?;
    assert_eq!(shown["name"], record.name.as_str());
    assert_eq!(shown["metadata"], json!({}), "nobody's but a person's");
    assert_eq!(run()?.trim(), built, "what is there is left as it is");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_50_a_server_comes_back_in_the_other_zone_its_old_self_is_held_and_it_goes_home()
-> anyhow::Result<()> {
    Cloud::play_with_nova("server", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let (na, nb) = (cloud.nova(Site::ZoneA)?, cloud.nova(Site::ZoneB)?);
        // Nova brings what ran back by itself: the worst that a zone can do that comes back.
        let resumes = ("DEFAULT", "resume_guests_state_on_host_boot", "true");
        cloud.lab.nova(Site::ZoneA)?.configure(&[resumes])?;
        let mut group = cloud.group(&[]).await?;
        let of_type = group_type(&group, [&a, &b], "root", &SNAPSHOTS)?;
        let web = na.boot(&a, "web", &of_type, 10).await?;
        let novas = [&na, &nb];
        join(&mut group, &a, novas, cloud, (&web, Kind::Periodic)).await?;
        group.wait_protected().await?;
        let levels = vec![level(&web, StandbyPolicy::Shutoff)];
        group.set_runbook(&runbook(levels)).await?;
        let volume = group.volumes[0].spec.clone();

        // Its record in etcd and with its volume, its stand-by built and off.
        let view = group.wait_stand_by(&web.key, Site::ZoneA).await?;
        let standby = view.instances[&name_of(Site::ZoneB)].clone();
        let held = nb.wait_held(&standby).await?;
        assert_eq!(
            held["metadata"]["rekindle:standby-of"],
            format!("zone-a/{}", web.server)
        );
        let know = kept(cloud, &group.name, &web.key)?;
        assert_eq!(know.record.id.as_ref(), Some(&web.server));
        assert_eq!(know.instances[&name_of(Site::ZoneA)].build, Build::Users);
        let with_copy = until(
            "its record with the copy",
            BOOT,
            async || -> Look<String> {
                let image = volume.to_string();
                let args = ["image-meta", "get", &image, "rekindle.server"];
                cloud.lab.rbd(Site::ZoneB, &args).map_err(|e| e.to_string())
            },
        )
        .await?;
        let with_copy: ServerRecord = serde_json::from_str(with_copy.trim())?;
        assert_eq!(with_copy, know.record);

        // It grows while it runs, and with its copy the record of that, which the stand-by holds.
        let version = ["--os-volume-api-version", "3.42"];
        let larger = ["volume", "set", "--size", "2", &web.volume];
        a.admin(&[&version[..], &larger].concat())?;
        until("the copy's record to grow", BOOT, async || -> Look<()> {
            let all = b.list().map_err(|e| format!("{e:#}"))?;
            let of = |v: &&Value| v["properties"]["rekindle:image"] == volume.image();
            let record = all.iter().find(of).ok_or("there is none")?;
            if record["size"] == 2 && record["status"] == "in-use" {
                Ok(())
            } else {
                Err(format!("{} GiB, {}", record["size"], record["status"]))
            }
        })
        .await?;

        // The other zone would take it: everything of it was asked for, the hosts' room too, and nothing is missing.
        let found = preflight(cloud)?;
        ensure!(
            found["unchecked"] == json!([]) && found["counts"]["servers"] == 1,
            "{found:#}"
        );
        let gaps: Vec<&str> = found["gaps"]
            .as_array()
            .context("gaps")?
            .iter()
            .filter_map(|g| g["what"].as_str())
            .collect();
        ensure!(!gaps.iter().any(|g| g.contains("server")), "{found:#}");

        // The zone dies.
        let acknowledged = wait_records(&na, &web, RECORDS).await?;
        let killed = Timestamp::now();
        let log = na.log_end()?;
        cloud.zone_a().kill()?;
        let failover = group
            .wait_plan_within(PlanKind::Failover, killed, PLAN)
            .await?;
        all_helped(&failover)?;
        nb.wait_answer(&web).await?;
        let answered = Timestamp::now().duration_since(killed).as_secs_f64();
        let found = nb.console(&standby)?;
        let age = killed.as_microsecond() - found.last_at_us.context("it found a record")?;
        let lost = acknowledged
            .number
            .saturating_sub(found.last.unwrap_or_default());
        tracing::info!(answered, lost, age_s = age / 1000, "it serves in zone-b");
        assert!(
            age <= i64::try_from(RPO.as_micros())?,
            "{age} us old: {found:?}"
        );
        assert!(nb.show(&standby)?["locked"] == false, "our lock came off");
        group.wait_primary(Site::ZoneB, Generation(2)).await?;

        // The zone is back, and its Nova has started the old server on the old volume.
        let back = Timestamp::now();
        cloud.zone_a().start()?;
        let reprotect = group
            .wait_plan_within(PlanKind::Reprotect, back, PLAN)
            .await?;
        na.wait_started_by_its_hypervisor(&web.server, log).await?;
        all_helped(&reprotect)?;
        let hold = place(&reprotect, |s| matches!(s, Step::HoldServers { .. }));
        assert_eq!(
            hold,
            Some(0),
            "before anything else: {:?}",
            reprotect.plan.steps
        );
        na.wait_held(&web.server).await?;
        assert!(na.ask(&web).is_err());
        let serves = nb.ask(&web)?;
        group.wait_protected().await?;
        let view = group.wait_stand_by(&web.key, Site::ZoneB).await?;
        assert_eq!(
            view.instances[&name_of(Site::ZoneA)],
            web.server,
            "the other way round"
        );
        let know = kept(cloud, &group.name, &web.key)?;
        assert_eq!(know.record.id.as_ref(), Some(&standby));
        // What the old self wrote after the split is not in the copy: it is zone-b's, as far as it has come.
        let far = usize::try_from(serves.number)?;
        let copy = until("the copy to have come as far", BOOT, async || {
            let copy = cloud.guest_disk(Site::ZoneA, &volume).await;
            let copy = copy.map_err(|e| format!("{e:#}"))?;
            if copy.len() > far {
                Ok(copy)
            } else {
                Err(format!("{} records of more than {far}", copy.len()))
            }
        })
        .await?;
        let disk = cloud.guest_disk(Site::ZoneB, &volume).await?;
        assert_eq!(disk.get(..copy.len()), Some(copy.as_slice()));

        // And home by itself, once the policy says so.
        let asked = Timestamp::now();
        group
            .set_policy(|policy| policy.on_return = OnReturn::Return)
            .await?;
        let failback = group
            .wait_plan_within(PlanKind::Failback, asked, PLAN)
            .await?;
        all_helped(&failback)?;
        na.wait_answer(&web).await?;
        let (left, found) = (nb.console(&standby)?, na.console(&web.server)?);
        assert!(left.stopped.is_some(), "it was asked to end: {left:?}");
        assert_eq!(found.last, left.stopped, "nothing is lost");
        assert_eq!(found.ready, left.stopped.map(|n| n + 1));
        assert!(
            na.show(&web.server)?["locked"] == false,
            "our lock came off"
        );
        let view = group.wait_stand_by(&web.key, Site::ZoneA).await?;
        assert_eq!(
            view.instances[&name_of(Site::ZoneB)],
            standby,
            "not built anew"
        );
        nb.wait_held(&standby).await?;
        let disk = cloud.guest_disk(Site::ZoneA, &volume).await?;
        let boots: Vec<&str> = disk.iter().map(|r| r.boot.as_str()).collect();
        let starts = 1 + boots.windows(2).filter(|w| w[0] != w[1]).count();
        assert_eq!(
            starts, 3,
            "its first start, zone-b's, and that at home: {boots:?}"
        );

        // Protected no more, its stand-by goes and its volume stays.
        let know = kept(cloud, &group.name, &web.key)?;
        group.set_runbook(&Runbook::default()).await?;
        nb.wait_gone(&standby).await?;
        na.ask(&web)?;
        group.wait_protected().await?;
        by_hand(cloud, &group, (&a, &b), (&na, &nb), (&web, &know.record)).await
    })
    .await
}
