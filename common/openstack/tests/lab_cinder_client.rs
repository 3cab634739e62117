//! Each call against a real Keystone and Cinder, in both zones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::ZoneName;
use rekindle_lab::{Account, Lab, OpenStack, Site};
use rekindle_openstack::{
    Cinder, Cloud, CloudConfig, CloudError, ManageSnapshot, ManageVolume, Microversion, Scope,
    Texts,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What a slow machine may take for what Cinder does behind a call.
const SOON: Duration = Duration::from_secs(120);

fn cloud(site: Site, os: &OpenStack, who: &Account) -> Cloud {
    let text = format!(
        "auth_url = \"{}\"\nregion = \"{}\"\nusername = \"{}\"\npassword_file = \"{}\"\nproject = \"{}\"\ntimeout = \"60s\"",
        os.auth_url,
        os.region,
        who.username,
        who.password_file.display(),
        who.project
    );
    let config: CloudConfig = toml::from_str(&text).unwrap();
    Cloud::new(ZoneName::new(site.name()).unwrap(), config).unwrap()
}

/// Asks until it is so.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn status(cinder: &Cinder, id: &str, wanted: &str) {
    until(&format!("{id} to be {wanted}"), async || {
        let volume = cinder.volume(id).await.unwrap();
        assert!(
            volume.status == wanted || volume.status != "error",
            "{volume:?}"
        );
        (volume.status == wanted).then_some(())
    })
    .await;
}

fn texts(name: &str, description: Option<&str>) -> Texts {
    Texts {
        name: Some(name.to_owned()),
        description: description.map(str::to_owned),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    pairs.iter().map(own).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keystone_says_who_we_are_and_cinder_what_serves_it() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    for site in Site::ZONES {
        let os = lab.openstack(site).unwrap();
        let admin = cloud(site, &os, &os.admin);
        let me = admin.whoami(&Scope::Home).await.unwrap();
        assert!(me.is_admin() && me.project_name == "admin", "{me:?}");
        // The same machine's clock, in whole seconds.
        let apart = me.clock.theirs.duration_since(me.clock.asked).abs();
        assert!(
            apart < Duration::from_secs(10).try_into().unwrap(),
            "{me:?}"
        );

        let all = admin.projects().await.unwrap();
        let demo = all.iter().find(|p| p.name == "demo").unwrap();
        assert_eq!((demo.domain.as_str(), demo.enabled), ("Default", true));
        let mine = admin.my_projects().await.unwrap();
        assert!(mine.contains(demo), "{mine:?}");
        let service = all.iter().find(|p| p.name == "service").unwrap();
        assert!(!mine.contains(service), "{mine:?}");
        let e = admin.whoami(&Scope::Project(service.id.clone())).await;
        assert!(matches!(e, Err(CloudError::Unauthorized { .. })), "{e:?}");

        let cinder = admin.cinder(Scope::Home);
        assert_eq!(cinder.microversion().await.unwrap(), Microversion(3, 64));
        let services = cinder.services().await.unwrap();
        let backend = format!("{site}@rbd");
        assert!(
            services.iter().any(|s| s.binary == "cinder-volume"
                && s.host == backend
                && (s.state.as_str(), s.status.as_str()) == ("up", "enabled")),
            "{services:?}"
        );
        let pool = format!("{backend}#rbd");
        let pools = until("the scheduler to know the pool", async || {
            let pools = cinder.pools().await.unwrap();
            pools.iter().any(|p| p.name == pool).then_some(pools)
        })
        .await;
        let pool = pools.iter().find(|p| p.name == pool).unwrap();
        assert_eq!(pool.backend_name(), Some("rbd"));
        let quota = cinder.quota(&demo.id).await.unwrap();
        assert_eq!(quota.get("volumes").unwrap().limit, 1000);

        let member = cloud(site, &os, &os.member);
        let me = member.whoami(&Scope::Home).await.unwrap();
        assert!(!me.is_admin(), "{me:?}");
        let e = member.cinder(Scope::Home).services().await;
        assert!(matches!(e, Err(CloudError::Forbidden { .. })), "{e:?}");
        let wrong = Account {
            password_file: os.admin.password_file.clone(),
            ..os.member.clone()
        };
        let e = cloud(site, &os, &wrong).whoami(&Scope::Home).await;
        assert!(matches!(e, Err(CloudError::Unauthorized { .. })), "{e:?}");
    }
}

/// Clouds of a `clouds.yaml`: the lab's own, as all of OpenStack's clients read it, and application credentials that are made here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keystone_takes_what_a_clouds_yaml_says_and_an_application_credential_for_what_it_is() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    let site = Site::ZoneA;
    let os = lab.openstack(site).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let named = |file: &std::path::Path, name: &str| {
        let text = format!("clouds_yaml = {file:?}\ncloud = {name:?}\ntimeout = \"60s\"");
        let config: CloudConfig = toml::from_str(&text).unwrap();
        Cloud::new(ZoneName::new(site.name()).unwrap(), config)
    };
    let by_yaml = named(&os.clouds_yaml, &os.admin.cloud).unwrap();
    let me = by_yaml.whoami(&Scope::Home).await.unwrap();
    let admin = cloud(site, &os, &os.admin);
    assert_eq!(
        me.user_id,
        admin.whoami(&Scope::Home).await.unwrap().user_id
    );
    by_yaml.cinder(Scope::Home).services().await.unwrap();

    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(20);
    let soon = soon.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let run = std::process::id();
    let mut secure = String::from("clouds:\n");
    let mut clouds = String::from("clouds:\n");
    let mut make = |name: &str, args: &[&str]| {
        let title = format!("rekindle-{name}-{run}");
        let mut all = vec!["application", "credential", "create"];
        all.extend(args);
        all.push(&title);
        let made = os.openstack_json(&os.admin, &all).unwrap();
        // `ID` and `Secret` in some releases of the command, `id` and `secret` in others.
        let text = |field: &str| {
            let fields = made.as_object().unwrap();
            let mut found = fields.iter().filter(|(k, _)| k.eq_ignore_ascii_case(field));
            found.next().unwrap().1.as_str().unwrap().to_owned()
        };
        clouds.push_str(&format!(
            "  {name}:\n    auth_type: v3applicationcredential\n    auth: {{auth_url: {:?}, application_credential_id: {:?}}}\n    region_name: {}\n",
            os.auth_url, text("id"), os.region
        ));
        let secret = if name == "wrong" {
            "not-it".to_owned()
        } else {
            text("secret")
        };
        secure.push_str(&format!(
            "  {name}:\n    auth: {{application_credential_secret: {secret:?}}}\n"
        ));
        title
    };
    let mut titles = vec![make("expired", &["--expiration", &soon])];
    titles.push(make("good", &["--role", "admin"]));
    titles.push(make("reader", &["--role", "reader"]));
    titles.push(make("wrong", &[]));
    let file = dir.path().join("clouds.yaml");
    std::fs::write(&file, &clouds).unwrap();
    std::fs::write(dir.path().join("secure.yaml"), &secure).unwrap();

    let good = named(&file, "good").unwrap();
    let me = good.whoami(&Scope::Home).await.unwrap();
    assert!(me.is_admin() && me.project_name == "admin", "{me:?}");
    good.cinder(Scope::Home).services().await.unwrap();
    let demo = good
        .projects()
        .await
        .unwrap()
        .into_iter()
        .find(|p| p.name == "demo")
        .unwrap();
    let e = good.whoami(&Scope::Project(demo.id)).await.unwrap_err();
    assert!(e.to_string().contains("bound to its own project"), "{e}");

    // Restricted to reading, wrong, past its end, and one that nobody made: each is told apart from a cloud that is away.
    let reader = named(&file, "reader").unwrap();
    assert!(!reader.whoami(&Scope::Home).await.unwrap().is_admin());
    let e = reader.cinder(Scope::Home).services().await.unwrap_err();
    assert!(matches!(e, CloudError::Forbidden { .. }), "{e:?}");
    let e = named(&file, "wrong")
        .unwrap()
        .whoami(&Scope::Home)
        .await
        .unwrap_err();
    assert!(matches!(e, CloudError::Unauthorized { .. }), "{e:?}");
    assert!(!e.in_full().contains("not-it"), "{e}");
    until("the credential to end", async || {
        let e = named(&file, "expired")
            .unwrap()
            .whoami(&Scope::Home)
            .await
            .err()?;
        assert!(matches!(e, CloudError::Unauthorized { .. }), "{e:?}");
        Some(())
    })
    .await;
    let e = named(&file, "nobody").unwrap_err();
    assert!(
        e.to_string()
            .contains("there are: expired, good, reader, wrong"),
        "{e}"
    );
    for title in titles {
        os.openstack(&os.admin, &["application", "credential", "delete", &title])
            .unwrap();
    }
    // Keystone says of one that is gone that it cannot find it.
    let e = good.whoami(&Scope::Home).await.unwrap_err();
    assert!(matches!(e, CloudError::NotFound { .. }), "{e:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volume_types_show_their_specs_and_their_encryption() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    let os = lab.openstack(Site::ZoneA).unwrap();
    let cinder = cloud(Site::ZoneA, &os, &os.admin).cinder(Scope::Home);
    let names = ["client-plain", "client-sealed"];
    let remove = || {
        for name in names {
            // From a run that failed, or from this one.
            let _ = os.openstack(&os.admin, &["volume", "type", "delete", name]);
        }
    };
    remove();
    let make = |more: &[&str]| {
        let mut args = vec!["volume", "type", "create", "--private"];
        args.extend(more);
        os.openstack(&os.admin, &args).unwrap();
    };
    make(&[
        "--property",
        "replication_enabled=<is> True",
        "--property",
        "multiattach=<is> True",
        "--property",
        "rekindle:mode=once",
        "client-plain",
    ]);
    make(&[
        "--encryption-provider",
        "luks",
        "--encryption-cipher",
        "aes-xts-plain64",
        "--encryption-key-size",
        "256",
        "--encryption-control-location",
        "front-end",
        "client-sealed",
    ]);
    let types = cinder.volume_types().await.unwrap();
    let of = |name: &str| types.iter().find(|t| t.name == name).unwrap();
    let plain = of("client-plain");
    assert!(plain.is_replicated() && plain.is_multiattach() && !plain.is_public);
    assert_eq!(plain.extra_specs["rekindle:mode"], "once");
    assert_eq!(cinder.encryption(&plain.id).await.unwrap(), None);
    let sealed = cinder
        .encryption(&of("client-sealed").id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(sealed.provider.as_deref(), Some("luks"));
    assert_eq!(sealed.key_size, Some(256));
    remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_becomes_a_record_that_is_mended_and_forgotten() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    for site in Site::ZONES {
        a_record_comes_and_goes(&lab, site).await;
    }
}

async fn a_record_comes_and_goes(lab: &Lab, site: Site) {
    let os = lab.openstack(site).unwrap();
    let admin = cloud(site, &os, &os.admin);
    let projects = admin.projects().await.unwrap();
    let demo = projects.iter().find(|p| p.name == "demo").unwrap();
    // As the administrator, in the project that the record is to belong to.
    let cinder = admin.cinder(Scope::Project(demo.id.clone()));
    // Another run's are not ours.
    let source = format!("volume-of-the-client-{}", std::process::id());
    lab.rbd(
        site,
        &["create", "--size", "1024", &format!("volumes/{source}")],
    )
    .unwrap();

    let mut new = ManageVolume {
        host: format!("{site}@rbd#rbd"),
        source_name: source,
        name: Some("Bücher".to_owned()),
        description: Some("as it came".to_owned()),
        volume_type: None,
        bootable: true,
        metadata: map(&[("rekindle:status", "active - secondary")]),
    };
    new.host = format!("{site}@nobody#rbd");
    let e = cinder.manage_volume(&new).await;
    assert!(matches!(e, Err(CloudError::Invalid { .. })), "{e:?}");
    new.host = format!("{site}@rbd#rbd");
    let id = cinder.manage_volume(&new).await.unwrap().id;
    status(&cinder, &id, "available").await;
    let volume = cinder.volume(&id).await.unwrap();
    assert_eq!(volume.project_id, demo.id);
    assert_eq!(volume.name.as_deref(), Some("Bücher"));
    assert_eq!(volume.description.as_deref(), Some("as it came"));
    assert_eq!(volume.metadata, new.metadata);
    assert_eq!(volume.host.as_deref(), Some(new.host.as_str()));
    assert!(volume.bootable && volume.size_gib == 1 && volume.created_at.is_some());
    assert!(cinder.volumes(10_000).await.unwrap().contains(&volume));

    mended(&cinder, &id).await;
    extended(&os, &cinder, &id).await;
    let snapshot = a_snapshot(lab, site, &cinder, &id).await;

    // The volume's record cannot go before the snapshot's.
    let e = cinder.unmanage_volume(&id).await;
    assert!(matches!(e, Err(CloudError::Invalid { .. })), "{e:?}");
    cinder.unmanage_snapshot(&snapshot).await.unwrap();
    until("the snapshot's record to be gone", async || {
        let gone = cinder.snapshot(&snapshot).await;
        matches!(gone, Err(CloudError::NotFound { .. })).then_some(())
    })
    .await;
    cinder.unmanage_volume(&id).await.unwrap();
    until("the volume's record to be gone", async || {
        let gone = cinder.volume(&id).await;
        matches!(gone, Err(CloudError::NotFound { .. })).then_some(())
    })
    .await;
    // What it stood for is there as it was. Cinder's own driver gives it a name that says so.
    let images = lab.rbd(site, &["ls", "volumes"]).unwrap();
    let image = images.lines().find(|l| l.contains(&id)).unwrap();
    let image = format!("volumes/{image}");
    lab.rbd(site, &["--no-progress", "snap", "purge", &image])
        .unwrap();
    lab.rbd(site, &["--no-progress", "rm", &image]).unwrap();
    let e = cinder.set_bootable(&id, true).await;
    assert!(matches!(e, Err(CloudError::NotFound { .. })), "{e:?}");
    let e = cinder.delete_volume_metadata(&id, "k").await;
    assert!(matches!(e, Err(CloudError::NotFound { .. })), "{e:?}");
}

async fn mended(cinder: &Cinder, id: &str) {
    cinder
        .update_volume(id, &texts("shop", None))
        .await
        .unwrap();
    cinder.set_bootable(id, false).await.unwrap();
    let set = map(&[
        ("rekindle:peer", "zone-b/1"),
        ("rekindle:status", "active - primary"),
    ]);
    cinder.set_volume_metadata(id, &set).await.unwrap();
    for _ in 0..2 {
        cinder
            .delete_volume_metadata(id, "rekindle:peer")
            .await
            .unwrap();
    }
    let image = map(&[("os_distro", "debian"), ("hw_disk_bus", "scsi")]);
    cinder.set_image_metadata(id, &image).await.unwrap();
    for _ in 0..2 {
        cinder
            .unset_image_metadata(id, "hw_disk_bus")
            .await
            .unwrap();
    }
    let volume = cinder.volume(id).await.unwrap();
    assert_eq!(
        (volume.name.as_deref(), volume.description.as_deref()),
        (Some("shop"), None)
    );
    assert!(!volume.bootable);
    assert_eq!(
        volume.metadata,
        map(&[("rekindle:status", "active - primary")])
    );
    assert_eq!(volume.image_metadata, map(&[("os_distro", "debian")]));
    // The list shows it too.
    let all = cinder.volumes(10_000).await.unwrap();
    assert!(all.contains(&volume), "{all:?}");
}

async fn extended(os: &OpenStack, cinder: &Cinder, id: &str) {
    cinder.extend(id, 2).await.unwrap();
    until("it to have grown", async || {
        let volume = cinder.volume(id).await.unwrap();
        (volume.size_gib == 2 && volume.status == "available").then_some(())
    })
    .await;
    let e = cinder.extend(id, 1).await;
    assert!(matches!(e, Err(CloudError::Invalid { .. })), "{e:?}");

    let demo = cinder.volume(id).await.unwrap().project_id;
    let before = cinder.quota(&demo).await.unwrap();
    let before = before.get("gigabytes").unwrap();
    let limit = |gib: i64| {
        let gib = gib.to_string();
        os.openstack(&os.admin, &["quota", "set", "--gigabytes", &gib, &demo])
    };
    limit(before.in_use).unwrap();
    let e = cinder.extend(id, 5).await;
    limit(before.limit).unwrap();
    assert!(matches!(e, Err(CloudError::OverQuota { .. })), "{e:?}");

    cinder
        .reset_volume_status(id, "error_extending")
        .await
        .unwrap();
    assert_eq!(cinder.volume(id).await.unwrap().status, "error_extending");
    cinder.reset_volume_status(id, "available").await.unwrap();
}

async fn a_snapshot(lab: &Lab, site: Site, cinder: &Cinder, volume: &str) -> String {
    let source = "snapshot-of-the-client";
    let spec = format!("volumes/volume-{volume}@{source}");
    lab.rbd(site, &["--no-progress", "snap", "create", &spec])
        .unwrap();
    let new = ManageSnapshot {
        volume_id: volume.to_owned(),
        source_name: source.to_owned(),
        name: Some("before".to_owned()),
        description: None,
        metadata: map(&[("rekindle:snapshot", source)]),
    };
    let id = cinder.manage_snapshot(&new).await.unwrap().id;
    until("the snapshot's record", async || {
        let snapshot = cinder.snapshot(&id).await.unwrap();
        assert_ne!(snapshot.status, "error", "{snapshot:?}");
        (snapshot.status == "available").then_some(())
    })
    .await;
    cinder
        .update_snapshot(&id, &texts("after", Some("x")))
        .await
        .unwrap();
    let set = map(&[("rekindle:status", "active - secondary")]);
    cinder.set_snapshot_metadata(&id, &set).await.unwrap();
    for _ in 0..2 {
        cinder
            .delete_snapshot_metadata(&id, "rekindle:status")
            .await
            .unwrap();
    }
    cinder.reset_snapshot_status(&id, "error").await.unwrap();
    assert_eq!(cinder.snapshot(&id).await.unwrap().status, "error");
    cinder
        .reset_snapshot_status(&id, "available")
        .await
        .unwrap();
    let snapshot = cinder.snapshot(&id).await.unwrap();
    assert_eq!(
        (snapshot.name.as_deref(), snapshot.description.as_deref()),
        (Some("after"), Some("x"))
    );
    assert_eq!(
        (snapshot.volume_id.as_str(), snapshot.size_gib),
        (volume, 2)
    );
    assert_eq!(snapshot.metadata, new.metadata);
    let all = cinder.snapshots(10_000).await.unwrap();
    assert!(all.contains(&snapshot), "{all:?}");
    assert!(snapshot.project_id.is_some());
    id
}
