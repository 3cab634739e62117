//! A zone of the lab as its administrator and its member have it, and what is built there.

use rekindle_common::{ZoneName, duration::Span};
use rekindle_lab::{Account, Lab, Nova as LabNova, OpenStack, Site};
use rekindle_openstack::{
    Cloud, CloudConfig, Neutron, Nova, Scope,
    nova::{Disk, Mark, Network, Patience, ServerRequest, Whose},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// What a slow machine may take to boot a guest.
pub(crate) const PATIENCE: Patience = Patience {
    within: Span::secs(400),
    poll: Span::millis(500),
};
pub(crate) const MOST: usize = 1000;

pub(crate) struct Zone {
    pub(crate) os: OpenStack,
    pub(crate) nova: Nova,
    pub(crate) neutron: Neutron,
    pub(crate) cloud: Cloud,
    pub(crate) project: String,
}

impl Zone {
    pub(crate) async fn new(lab: &Lab, site: Site) -> Self {
        let os = lab.openstack(site).unwrap();
        let cloud = cloud(site, &os, &os.admin);
        let projects = cloud.projects().await.unwrap();
        let demo = projects.iter().find(|p| p.name == "demo").unwrap();
        let scope = Scope::Project(demo.id.clone());
        Self {
            nova: cloud.nova(scope.clone()),
            neutron: cloud.neutron(scope),
            project: demo.id.clone(),
            cloud,
            os,
        }
    }

    pub(crate) fn member(&self, args: &[&str]) -> Value {
        self.os.openstack_json(&self.os.member, args).unwrap()
    }

    pub(crate) fn admin(&self, args: &[&str]) {
        self.os.openstack(&self.os.admin, args).unwrap();
    }

    /// A volume that a guest boots from, or an empty one.
    pub(crate) async fn volume(&self, name: &str, image: Option<&str>) -> String {
        let mut args = vec!["volume", "create", "--size", "1"];
        args.extend(image.into_iter().flat_map(|image| ["--image", image]));
        args.push(name);
        let made = self.member(&args);
        let id = made["id"].as_str().unwrap().to_owned();
        self.volume_is(&id, "available").await;
        id
    }

    pub(crate) async fn volume_is(&self, id: &str, wanted: &str) {
        let cinder = self.cloud.cinder(Scope::Project(self.project.clone()));
        until(&format!("volume {id} to be {wanted}"), async || {
            let volume = cinder.volume(id).await.unwrap();
            assert!(!volume.status.contains("error"), "{volume:?}");
            (volume.status == wanted).then_some(())
        })
        .await;
    }

    /// What a run that failed may have left.
    pub(crate) async fn clean(&self) {
        self.admin(&["quota", "delete", "--compute", "demo"]);
        for server in self.nova.servers(Whose::Project, MOST).await.unwrap() {
            if let Some(mark) = server.mark().filter(|m| m.zone == "client-test") {
                self.nova
                    .ensure_absent(&server.id, &mark, PATIENCE)
                    .await
                    .unwrap();
            } else if server
                .name
                .as_deref()
                .is_some_and(|n| n.starts_with("client-"))
            {
                self.admin(&["server", "delete", "--wait", &server.id]);
            }
        }
    }
}

pub(crate) fn cloud(site: Site, os: &OpenStack, who: &Account) -> Cloud {
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
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE.within.get();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

pub(crate) fn mark(server: &str) -> Mark {
    Mark {
        zone: "client-test".into(),
        server: server.into(),
    }
}

pub(crate) fn disk(volume: &str, boot_index: Option<u32>) -> Disk {
    Disk {
        volume: volume.into(),
        boot_index,
        device: None,
        tag: None,
    }
}

pub(crate) fn request(name: &str, flavor: &str, disks: Vec<Disk>) -> ServerRequest {
    ServerRequest {
        name: name.into(),
        flavor: flavor.into(),
        disks,
        network: Network::None,
        security_groups: Vec::new(),
        key_name: None,
        availability_zone: None,
        metadata: BTreeMap::from([("rekindle:group".to_owned(), "shop".to_owned())]),
        tags: BTreeSet::from(["client".to_owned()]),
        user_data: None,
        config_drive: false,
        server_group: None,
        description: Some("Bücher".into()),
    }
}

pub(crate) async fn flavor(zone: &Zone) -> String {
    let all = zone.nova.flavors().await.unwrap();
    let guest = all.iter().find(|f| f.name == LabNova::GUEST).unwrap();
    assert_eq!((guest.vcpus, guest.ram_mib, guest.disk_gib), (1, 128, 0));
    guest.id.clone()
}
