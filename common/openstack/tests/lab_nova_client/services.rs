//! What a Nova says of itself, to its administrator and to a member.

use crate::zone::{MOST, Zone, cloud, flavor};
use rekindle_lab::{Lab, Nova as LabNova, Site};
use rekindle_openstack::{
    CloudError, Microversion, Scope,
    nova::{ServiceState, ServiceStatus, Whose},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nova_says_what_it_is_and_what_serves_it() {
    let lab = Lab::for_tests_with_nova().unwrap();
    for site in Site::ZONES {
        let zone = Zone::new(&lab, site).await;
        let nova = &zone.nova;
        assert_eq!(nova.microversion().await.unwrap(), Microversion(2, 96));
        let id = flavor(&zone).await;
        assert_eq!(
            nova.flavor(&id).await.unwrap().unwrap().name,
            LabNova::GUEST
        );
        assert_eq!(nova.flavor("none-such").await.unwrap(), None);
        let zones = nova.availability_zones().await.unwrap();
        assert!(
            zones.iter().any(|z| z.name == "nova" && z.state.available),
            "{zones:?}"
        );
        let services = nova.services().await.unwrap();
        for binary in ["nova-compute", "nova-conductor", "nova-scheduler"] {
            let up = |s: &&rekindle_openstack::nova::ComputeService| {
                s.binary == binary
                    && s.status == ServiceStatus::Enabled
                    && s.state == Some(ServiceState::Up)
            };
            assert!(services.iter().any(|s| up(&s)), "{services:?}");
        }
        let hypervisors = nova.hypervisors().await.unwrap();
        assert_eq!(
            hypervisors[0].kind.as_deref(),
            Some("QEMU"),
            "{hypervisors:?}"
        );
        let rooms = cloud(site, &zone.os, &zone.os.admin)
            .placement(Scope::Home)
            .rooms()
            .await
            .unwrap();
        assert!(
            rooms.len() == 1 && rooms[0].vcpus > 0 && rooms[0].ram_mib > 0,
            "{rooms:?}"
        );
        let quota = nova.quota(&zone.project).await.unwrap();
        assert!(
            quota.get("instances").is_some() && quota.get("ram").is_some(),
            "{quota:?}"
        );

        // Key pairs are the user's: the administrator's here, not the member's.
        let _ = zone
            .os
            .openstack(&zone.os.admin, &["keypair", "delete", "client-key"]);
        let key = tempfile::NamedTempFile::new().unwrap();
        let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFvfp8rLgqqCnPIRsFFhzKzZ2OzKXKL2n1yW7i0zqhT3 client";
        std::fs::write(key.path(), public).unwrap();
        let path = key.path().display().to_string();
        zone.admin(&["keypair", "create", "--public-key", &path, "client-key"]);
        let keys = nova.keypairs().await.unwrap();
        assert!(
            keys.iter()
                .any(|k| k.name == "client-key" && k.public_key.as_deref() == Some(public)),
            "{keys:?}"
        );
        zone.admin(&["keypair", "delete", "client-key"]);

        let group = zone.member(&[
            "server",
            "group",
            "create",
            "--policy",
            "anti-affinity",
            "client-group",
        ]);
        let group = group["id"].as_str().unwrap();
        let groups = nova.server_groups().await.unwrap();
        let ours = groups.iter().find(|g| g.id == group).unwrap();
        assert_eq!(ours.policy.as_deref(), Some("anti-affinity"));
        zone.os
            .openstack(&zone.os.member, &["server", "group", "delete", group])
            .unwrap();

        // A member may not see what administrators may, and still knows whether its list is whole.
        let member = cloud(site, &zone.os, &zone.os.member).nova(Scope::Home);
        let e = member.services().await;
        assert!(matches!(e, Err(CloudError::Forbidden { .. })), "{e:?}");
        member.servers(Whose::Project, MOST).await.unwrap();
    }
}
