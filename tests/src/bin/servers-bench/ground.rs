//! What stands in etcd before a count is measured, who leads, and the real parts.

use crate::sidecar::NoVolumes;
use anyhow::Context;
use jiff::Timestamp;
use rekindle_common::{
    Generation, GroupName, PlanId, ServerKey, SiteName, ZoneName,
    duration::Span,
    keys,
    lease::PrimaryRecord,
    policy::{GroupPolicy, GroupSpec},
    runbook::{Level, Runbook, RunbookServer, StandbyPolicy},
    servers::{Build, Instance, KeptServer, ServerRecord},
};
use rekindle_openstack::{Cloud, CloudConfig};
use rekindle_orchestrator::{
    Parts, SitePart, Timing, ZonePart,
    agent::Agents,
    build,
    clock::Clock,
    coordination::{Coordinator, Lead, Standing},
    decide::Means,
    servers::{control::Servers, nova::NovaServers},
};
use rekindle_store::{Election, EtcdConfig, EtcdStore, LeaderRecord, Op, Store, Txn};
use serde_json::json;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many levels: as a shop's tiers are.
const LEVELS: usize = 4;

pub(crate) fn group() -> anyhow::Result<GroupName> {
    Ok(GroupName::new("shop")?)
}
pub(crate) fn zone(name: &str) -> anyhow::Result<ZoneName> {
    Ok(ZoneName::new(name)?)
}
/// The id of a server in the zone where the plan starts it.
pub(crate) fn id(n: usize) -> String {
    format!("b-{n}")
}
fn key(n: usize) -> anyhow::Result<ServerKey> {
    Ok(ServerKey::new(format!("s{n}"))?)
}

/// Which servers each level has.
pub(crate) fn levels(servers: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let of_level = servers.div_ceil(LEVELS);
    (0..LEVELS)
        .map(move |l| (l * of_level).min(servers)..((l + 1) * of_level).min(servers))
        .filter(|l| !l.is_empty())
}

/// A leader, and what it works with.
pub(crate) struct Ground {
    pub(crate) store: Store,
    pub(crate) lead: Lead,
    pub(crate) means: Arc<Means>,
    pub(crate) servers: BTreeMap<ZoneName, Arc<dyn Servers>>,
    pub(crate) cloud: Cloud,
    coordinator: JoinHandle<()>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.coordinator.abort();
    }
}

/// A cloud's client.
fn cloud(zone: ZoneName, url: &str, folder: &Path) -> anyhow::Result<Cloud> {
    let secret = folder.join("secret");
    std::fs::write(&secret, "none\n")?;
    let text = format!(
        "auth_url = \"{url}/v3\"\nusername = \"u\"\npassword_file = {:?}\nproject = \"p\"\n",
        secret.display().to_string()
    );
    let config: CloudConfig = toml::from_str(&text)?;
    Ok(Cloud::new(zone, config)?)
}

impl Ground {
    /// With so many servers that stand by in zone-b, which is primary.
    pub(crate) async fn new(
        servers: usize,
        url: &str,
        etcd: &str,
        poll: Duration,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let endpoints = etcd.split(',').map(str::to_owned).collect();
        let store: Store = EtcdStore::connect(&EtcdConfig::new(endpoints))
            .await?
            .into();
        populate(&store, servers).await?;
        let (a, b) = (zone("zone-a")?, zone("zone-b")?);
        let shown = cloud(b.clone(), url, folder)?;
        let mut novas: BTreeMap<ZoneName, Arc<dyn Servers>> = BTreeMap::new();
        let mut zones = Vec::new();
        for zone in [a, b] {
            let cloud = cloud(zone.clone(), url, folder)?;
            novas.insert(zone.clone(), Arc::new(NovaServers::new(cloud, Span(poll))));
            zones.push(ZonePart {
                name: zone,
                sidecar: Arc::new(NoVolumes),
            });
        }
        let site = SiteName::new("witness")?;
        let orchestrator = build(Parts {
            site: site.clone(),
            sites: vec![SitePart {
                name: site.clone(),
                url: None,
            }],
            zones,
            probes: Vec::new(),
            store: store.clone(),
            clock: Clock::System,
            agents: Agents::default(),
            catalogue: None,
            servers: novas.clone(),
            stand_bys: None,
            preflight: None,
            timing: Timing::default(),
        });
        let me = LeaderRecord {
            site,
            instance: "bench".to_owned(),
        };
        let every = Duration::from_secs(1);
        let election = Election::new(store.clone(), me, Default::default());
        let coordinator = Coordinator::new(election, store.clone(), every, every);
        let mut standing = coordinator.standing();
        let coordinator = tokio::spawn(coordinator.run(CancellationToken::new()));
        let leads = |s: &Standing| matches!(s, Standing::Leader { .. });
        let lead = match &*standing.wait_for(leads).await? {
            Standing::Leader { lead } => lead.clone(),
            Standing::Unknown | Standing::Follower { .. } => anyhow::bail!("nobody leads"),
        };
        Ok(Self {
            store,
            lead,
            means: Arc::clone(&orchestrator.service().means),
            servers: novas,
            cloud: shown,
            coordinator,
        })
    }
}

async fn populate(store: &Store, servers: usize) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let mut all_levels = Vec::new();
    for level in levels(servers) {
        let mut all = Vec::new();
        for n in level {
            all.push(RunbookServer {
                key: key(n)?,
                server: Some(format!("a-{n}")),
                standby: None,
                after: Vec::new(),
                wait: Vec::new(),
                within: Span::secs(600),
            });
        }
        all_levels.push(Level {
            pause: None,
            servers: all,
        });
    }
    let spec = GroupSpec {
        name: group()?,
        home: zone("zone-a")?,
        away: zone("zone-b")?,
        policy: GroupPolicy::default(),
        runbook: Runbook {
            levels: all_levels,
            ..Runbook::default()
        },
    };
    let primary = PrimaryRecord {
        zone: zone("zone-b")?,
        generation: Generation(2),
        since: now,
        plan: Some(PlanId::new("p-0")?),
    };
    let first = Txn::new()
        .then(Op::put_json(keys::group_spec(&spec.name), &spec, None)?)
        .then(Op::put_json(
            keys::group_primary(&spec.name),
            &primary,
            None,
        )?);
    store.txn(first).await?;
    for n in 0..servers {
        let kept = kept(n, now)?;
        let at = keys::kept_server(&spec.name, &kept.key);
        store
            .txn(Txn::new().then(Op::put_json(at, &kept, None)?))
            .await?;
    }
    Ok(())
}

fn kept(n: usize, now: Timestamp) -> anyhow::Result<KeptServer> {
    let id = |zone: &str| format!("{}-{n}", if zone == "zone-a" { "a" } else { "b" });
    let record = json!({
        "version": 1, "name": format!("shop-{n}"), "zone": "zone-a", "id": id("zone-a"), "flavor": { "name": "small", "vcpus": 1, "ram_mib": 512 },
        "disks": [{ "volume": { "id": format!("vol-a-{n}") }, "boot_index": 0, "delete_on_termination": false }],
        "ports": [{ "network": "front", "fixed_ips": [{ "address": "10.0.0.5", "subnet": "front-4" }], "security_groups": ["default"] }],
        "security_groups": [], "metadata": { "tier": "web" }, "config_drive": false, "locked": false, "power": "running",
        "taken_at": now.to_string(), "source": { "type": "nova" },
    });
    let record: ServerRecord = serde_json::from_value(record).context("a record of ours")?;
    let instance = |zone: &str, build| Instance {
        id: id(zone),
        build,
        seen_at: now,
        unsettled: false,
    };
    let policy = StandbyPolicy::Shutoff;
    let instances = [
        (zone("zone-a")?, instance("zone-a", Build::Users)),
        (
            zone("zone-b")?,
            instance("zone-b", Build::Standby { policy }),
        ),
    ];
    Ok(KeptServer {
        key: key(n)?,
        record,
        instances: instances.into(),
        trouble: None,
    })
}
