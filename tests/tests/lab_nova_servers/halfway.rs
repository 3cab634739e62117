//! What is caught halfway: the builder of stand-bys dies while Nova builds them, a hook does not end, and a server is deleted by its users
//! in the middle of its move.

use super::{
    PLAN, RECORDS, SNAPSHOTS, group_type, join, level, name_of, named, runbook, wait_records,
};
use anyhow::{Context, ensure};
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{
    Generation, Timestamp,
    duration::Span,
    runbook::{Hook, Runbook, StandbyPolicy},
};
use rekindle_core::{
    decision::Request,
    plan::{PlanKind, Step},
    saga::End,
};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::Run;
use rekindle_tests::scenario::{BOOT, CinderZone, Cloud, Guest, Look, config, until};

/// That runbook, behind a hook that waits for the gate.
fn behind_the_gate(runbook: &Runbook, within: Span) -> Runbook {
    let hook = Hook {
        agent: config::GATE.to_owned(),
        within,
    };
    Runbook {
        before: vec![hook],
        ..runbook.clone()
    }
}

/// Waits until Nova is building a server of a guest's name, the only one. Gives its id.
async fn building(zone: &CinderZone<'_>, guest: &Guest) -> anyhow::Result<String> {
    let name = guest.key.as_str();
    let args = ["server", "list", "--all-projects", "--name", name];
    until(
        &format!("{name} to be built"),
        BOOT,
        async || -> Look<String> {
            let found = zone.clients.openstack_json(&zone.clients.admin, &args);
            let found = found.map_err(|e| format!("{e:#}"))?;
            match found.as_array().map(Vec::as_slice) {
                Some([one]) if one["Status"] == "BUILD" => {
                    Ok(one["ID"].as_str().unwrap_or_default().to_owned())
                }
                Some(_) | None => Err(found.to_string()),
            }
        },
    )
    .await
}

/// How many ports a server has.
fn ports(zone: &CinderZone<'_>, server: &str) -> anyhow::Result<usize> {
    let args = ["port", "list", "--server", server];
    let found = zone.clients.openstack_json(&zone.clients.admin, &args)?;
    Ok(found.as_array().context("a list")?.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_51_and_55_what_is_half_built_is_built_once_and_what_is_deleted_in_its_move_stays_away()
-> anyhow::Result<()> {
    Cloud::play_with_nova("halfway", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let (na, nb) = (cloud.nova(Site::ZoneA)?, cloud.nova(Site::ZoneB)?);
        let novas = [&na, &nb];
        let mut group = cloud.group(&[]).await?;
        let of_type = group_type(&group, [&a, &b], "root", &SNAPSHOTS)?;
        let web = na.boot(&a, "web", &of_type, 10).await?;
        let db = na.boot(&a, "db", &of_type, 11).await?;
        for guest in [&web, &db] {
            join(&mut group, &a, novas, cloud, (guest, Kind::Periodic)).await?;
        }
        group.wait_protected().await?;

        // Nova is at work on web's stand-by, and stays so, when who has it built dies.
        let levels = [&web, &db].map(|g| level(g, StandbyPolicy::Shutoff));
        let servers = runbook(levels.to_vec());
        group.set_runbook(&servers).await?;
        let half = building(&b, &web).await?;
        let compute = cloud.member(Site::ZoneB, "nova-compute");
        compute.pause()?;
        let builder = cloud.leader().await?;
        cloud.orchestrator(builder).kill()?;
        let next = until("another leader", BOOT, async || {
            let leader = cloud.leader().await.map_err(|e| format!("{e:#}"))?;
            if leader == builder {
                Err(format!("{leader} leads"))
            } else {
                Ok(leader)
            }
        })
        .await?;
        compute.resume()?;
        cloud.orchestrator(builder).start()?;
        tracing::info!(%builder, %next, half, "its builder was killed");
        let mut stand_bys = Vec::new();
        for guest in [&web, &db] {
            group.wait_stand_by(&guest.key, Site::ZoneA).await?;
            // One that was found half built is written down in the round that finds it, and seen in the next.
            let known = format!("the stand-by of {} to be written down", guest.key);
            let standby = until(&known, BOOT, async || -> Look<String> {
                let view = group.server(&guest.key).await?;
                let found = view.instances.get(&name_of(Site::ZoneB)).cloned();
                found.ok_or_else(|| format!("{view:?}"))
            })
            .await?;
            nb.wait_held(&standby).await?;
            assert_eq!(
                named(&b, guest.key.as_str())?,
                std::slice::from_ref(&standby)
            );
            assert_eq!(ports(&b, &standby)?, 1);
            stand_bys.push(standby);
        }
        assert_eq!(stand_bys[0], half, "what was half built is what stands by");

        // A hook that does not end: nothing is touched.
        let before = wait_records(&na, &web, RECORDS).await?;
        let soon = behind_the_gate(&servers, Span::secs(5));
        group.set_runbook(&soon).await?;
        let to = Request::Move {
            to: name_of(Site::ZoneB),
        };
        let client = cloud.orchestrators();
        let asked = Timestamp::now();
        client.plan_for(&group.name, to.clone(), Run::Begin).await?;
        let (end, hung) = group.wait_end(PlanKind::Move, asked, PLAN).await?;
        assert_eq!(end, Some(End::Abandoned), "{:#?}", hung.journal);
        group.wait_primary(Site::ZoneA, Generation(1)).await?;
        let after = na.ask(&web)?;
        assert_eq!(after.boot, before.boot, "web was not stopped");
        ensure!(after.number > before.number, "{after:?}");

        // The users of db delete it while its move is under way.
        let patient = behind_the_gate(&servers, Span::secs(120));
        group.set_runbook(&patient).await?;
        let asked = Timestamp::now();
        client.plan_for(&group.name, to, Run::Begin).await?;
        let hook = |s: &Step| matches!(s, Step::RunHook { .. });
        group.wait_step(PlanKind::Move, asked, hook).await?;
        let os = a.clients.clone().deadline(BOOT);
        os.openstack(&os.admin, &["server", "delete", "--wait", &db.server])?;
        cloud.open_gate()?;
        let (end, moved) = group.wait_end(PlanKind::Move, asked, PLAN).await?;
        assert_eq!(end, Some(End::Partial), "{:#?}", moved.journal);
        let [failed] = &moved.failed_servers[..] else {
            panic!("{:?}", moved.failed_servers)
        };
        assert_eq!(failed.server, db.key);
        assert!(
            failed.why.contains("deleted by its users"),
            "{}",
            failed.why
        );

        // The other one went, and lost nothing; of db there is its stand-by, as it stood.
        group.wait_primary(Site::ZoneB, Generation(2)).await?;
        nb.wait_answer(&web).await?;
        let (left, found) = (na.console(&web.server)?, nb.console(&stand_bys[0])?);
        assert_eq!(found.last, left.stopped, "nothing is lost");
        nb.wait_held(&stand_bys[1]).await?;
        assert_eq!(named(&b, "db")?, std::slice::from_ref(&stand_bys[1]));
        assert_eq!(named(&a, "db")?, Vec::<String>::new());
        assert!(nb.ask(&db).is_err(), "nobody serves in db's place");
        Ok(())
    })
    .await
}
