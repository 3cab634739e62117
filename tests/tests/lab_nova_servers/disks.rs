//! A server with several disks, shelved in the other zone: which disk is which, there and back; and that it follows what is changed, by other
//! names where the zones have them.

use super::{
    RECORDS, SNAPSHOTS, add_volume, carry_out, group_type, join, level, make_flavor, name_of,
    resize, runbook, wait_records,
};
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::runbook::StandbyPolicy;
use rekindle_core::{decision::Request, plan::PlanKind};
use rekindle_lab::Site;
use rekindle_tests::scenario::{BOOT, Cloud, config, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_49_a_shelved_stand_by_has_the_disks_of_its_server_in_their_order()
-> anyhow::Result<()> {
    Cloud::play_with_nova("disks", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let (na, nb) = (cloud.nova(Site::ZoneA)?, cloud.nova(Site::ZoneB)?);
        let mut group = cloud.group(&[]).await?;
        let of_type = group_type(&group, [&a, &b], "root", &SNAPSHOTS)?;

        // Neither by name nor by age: the order is that in which they came to the server.
        let web = na.boot(&a, "web", &of_type, 10).await?;
        let logs = na.add_disk(&a, &web, "z-logs", &of_type).await?;
        let data = na.add_disk(&a, &web, "a-data", &of_type).await?;
        let ours = na.disks(&web.server)?;
        let named = |disks: &[(String, String)]| -> Vec<String> {
            disks.iter().map(|(_, name)| name.clone()).collect()
        };
        assert_eq!(named(&ours), ["web-root", "z-logs", "a-data"], "{ours:?}");
        for volume in [&logs, &data] {
            add_volume(&mut group, &a, cloud, (volume, Kind::Periodic)).await?;
        }
        join(&mut group, &a, [&na, &nb], cloud, (&web, Kind::Periodic)).await?;
        group.wait_protected().await?;
        let levels = vec![level(&web, StandbyPolicy::Shelved)];
        group.set_runbook(&runbook(levels)).await?;
        let stands_by = group.wait_stands_by(&web.key, Site::ZoneA, "SHELVED");
        let standby = stands_by.await?.instances[&name_of(Site::ZoneB)].clone();
        assert_eq!(
            nb.show(&standby)?["OS-EXT-SRV-ATTR:host"],
            serde_json::Value::Null
        );

        // One is taken away and one is given; it has another flavor, another security group, and one more thing is said of it.
        na.take_disk(&a, &web, &logs).await?;
        let more = na.add_disk(&a, &web, "m-more", &of_type).await?;
        add_volume(&mut group, &a, cloud, (&more, Kind::Periodic)).await?;
        let [(_, big, large), (_, front, edge)] = config::RENAMED;
        for (zone, flavor, group) in [(&a, big, front), (&b, large, edge)] {
            // A lab that is kept has them.
            let _ = make_flavor(zone, flavor);
            let os = &zone.clients;
            if os
                .openstack(&os.member, &["security group", "show", group])
                .is_err()
            {
                os.openstack(&os.member, &["security group", "create", group])?;
            }
        }
        resize(&a, &web, big)?;
        a.admin(&["server", "set", "--property", "tier=front", &web.server])?;
        let os = &a.clients;
        os.openstack(
            &os.member,
            &["server", "add", "security", "group", &web.server, front],
        )?;
        let left = na.disks(&web.server)?;
        // The new one has the first device that was free.
        assert_eq!(named(&left), ["web-root", "m-more", "a-data"], "{left:?}");
        let standby = until("a stand-by as it is now", BOOT, async || {
            let view = group.server(&web.key).await?;
            let there = view.instances.get(&name_of(Site::ZoneB)).cloned();
            let there = there.ok_or("there is none")?;
            let rests = view
                .stands_by
                .as_deref()
                .is_some_and(|s| s.contains("SHELVED"));
            let disks = nb.disks(&there).map_err(|e| format!("{e:#}"))?;
            let shown = nb.show(&there).map_err(|e| format!("{e:#}"))?;
            let mut have = named(&disks);
            have.sort();
            let groups = shown["security_groups"].as_array().cloned();
            let names: Vec<&str> = groups
                .iter()
                .flatten()
                .filter_map(|g| g["name"].as_str())
                .collect();
            let follows = have == ["a-data", "m-more", "web-root"]
                && shown["flavor"]["original_name"] == large
                && shown["metadata"]["tier"] == "front"
                && names.contains(&edge);
            if rests && view.trouble.is_none() && there != standby && follows {
                Ok(there)
            } else {
                Err(format!("{view:?} has {disks:?} and {shown}"))
            }
        })
        .await?;

        // Moved: it has a host, and its disks in their order. libvirt names them by that alone.
        wait_records(&na, &web, RECORDS).await?;
        let request = Request::Move {
            to: name_of(Site::ZoneB),
        };
        let moved = carry_out(cloud, &group, request, PlanKind::Move).await?;
        assert_eq!(moved.failed_servers, []);
        nb.wait_answer(&web).await?;
        let there = nb.disks(&standby)?;
        assert_eq!(named(&there), named(&left), "{there:?}");
        let (stopped, found) = (na.console(&web.server)?, nb.console(&standby)?);
        assert!(
            stopped.stopped.is_some(),
            "it was asked to end: {stopped:?}"
        );
        assert_eq!(found.last, stopped.stopped, "nothing is lost");

        // And what stands by at home now has them so too, though it was shelved meanwhile or not.
        group.wait_protected().await?;
        na.wait_held(&web.server).await?;
        assert_eq!(na.disks(&web.server)?, left);
        Ok(())
    })
    .await
}
