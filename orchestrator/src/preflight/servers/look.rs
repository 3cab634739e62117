//! What is asked about servers. An answer that is missing carries why.

use super::{Place, ProjectSeen, Protected, ServersSeen};
use crate::{
    config::Config,
    preflight::{daily::kept, look::Seen},
    servers::{
        control::{Servers, ServersError, Wanted},
        nova::NovaServers,
    },
    world::{self, Records},
};
use futures::{FutureExt, StreamExt, stream};
use rekindle_common::{
    GroupName, ZoneName,
    duration::Span,
    keys,
    runbook::{RunbookServer, StandbyPolicy},
    servers::{KeptServer, ServerRecord},
};
use rekindle_core::catalogue::mapping::{Kind, Mapping};
use rekindle_openstack::{Cloud, Scope, Volume, neutron::ByName};
use rekindle_store::{EtcdStore, Store, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::timeout;

/// For etcd to answer.
const ETCD: Duration = Duration::from_secs(10);
/// For a record to be taken.
const RECORD: Span = Span::secs(30);
/// Calls at once.
const AT_ONCE: usize = 8;

pub(in crate::preflight) async fn look(
    config: &Config,
    clouds: &[Cloud],
    mapping: &Mapping,
    seen: &Seen,
    only: Option<&GroupName>,
) -> ServersSeen {
    let read = async {
        let store: Store = EtcdStore::connect(&config.etcd).await?.into();
        let mut records = world::read(&store).await?;
        if let Some(only) = only {
            records.groups.retain(|name, _| name == only);
        }
        let daily = match only {
            Some(_) => Vec::new(),
            None => kept(&store).await?.into_values().collect(),
        };
        Ok::<_, StoreError>((store, records, daily))
    };
    let (store, records, daily) = match timeout(ETCD, read).await {
        Ok(Ok(both)) => both,
        Ok(Err(e)) => {
            return ServersSeen {
                silent: Some(format!("etcd: {e}")),
                ..ServersSeen::default()
            };
        }
        Err(_) => {
            return ServersSeen {
                silent: Some(format!("etcd did not answer within {ETCD:?}")),
                ..ServersSeen::default()
            };
        }
    };
    let servers = protected(clouds, &store, &records).await;
    let mut wanted: BTreeMap<ZoneName, BTreeSet<String>> = BTreeMap::new();
    for server in &servers {
        if let Some(project) = project(server, seen) {
            wanted.entry(server.to.clone()).or_default().insert(project);
        } else {
            wanted.entry(server.to.clone()).or_default();
        }
    }
    let mut places = BTreeMap::new();
    for (zone, projects) in wanted {
        if let Some(cloud) = clouds.iter().find(|c| *c.zone() == zone) {
            let networks = networks(&servers, mapping, &zone);
            places.insert(zone, place(cloud, projects, &networks).await);
        }
    }
    ServersSeen {
        servers,
        silent: None,
        places,
        daily,
    }
}

async fn protected(clouds: &[Cloud], store: &Store, records: &Records) -> Vec<Protected> {
    // Made one by one and not by a closure over references: the compiler cannot see that such a stream may cross threads.
    let mut all = Vec::new();
    for (name, group) in &records.groups {
        let spec = &group.spec;
        let from = group.primary.as_ref().map_or(&spec.home, |p| &p.value.zone);
        let to = if *from == spec.home {
            &spec.away
        } else {
            &spec.home
        };
        for server in spec.runbook.servers() {
            let standby = spec.runbook.standby_of(server);
            all.push((name, (server, standby), (from, to)));
        }
    }
    let mut seen = Vec::with_capacity(all.len());
    // Some at a time: what asks is much larger than what is asked.
    for some in all.chunks(8 * AT_ONCE) {
        let mut questions = Vec::new();
        for (group, server, way) in some {
            questions.push(one(clouds, store, group, *server, *way).boxed());
        }
        let answers: Vec<Protected> = stream::iter(questions).buffered(AT_ONCE).collect().await;
        seen.extend(answers);
    }
    seen
}

async fn one(
    clouds: &[Cloud],
    store: &Store,
    group: &GroupName,
    (server, standby): (&RunbookServer, StandbyPolicy),
    (from, to): (&ZoneName, &ZoneName),
) -> Protected {
    let kept = store.get(&keys::kept_server(group, &server.key)).await;
    let kept: Result<Option<KeptServer>, StoreError> =
        kept.and_then(|kv| kv.map(|kv| kv.json()).transpose());
    let built = matches!(&kept, Ok(Some(k)) if k.instances.contains_key(to));
    let record = match kept {
        Ok(Some(kept)) if kept.record.zone == *from => Ok(kept.record),
        Ok(_) => {
            let wanted = Wanted {
                group: group.clone(),
                key: server.key.clone(),
                id: server.server.clone(),
                counterpart: None,
                root: None,
            };
            taken(clouds, from, server, &wanted).await
        }
        Err(e) => Err(format!("what is kept of it cannot be read: {e}")),
    };
    Protected {
        group: group.clone(),
        key: server.key.clone(),
        from: from.clone(),
        to: to.clone(),
        standby,
        record,
        built,
    }
}

/// Of a server that is not followed yet.
async fn taken(
    clouds: &[Cloud],
    from: &ZoneName,
    server: &RunbookServer,
    wanted: &Wanted,
) -> Result<ServerRecord, String> {
    if server.server.is_none() {
        return Err("it was never built, and nothing is kept of it".to_owned());
    }
    let Some(cloud) = clouds.iter().find(|c| c.zone() == from) else {
        return Err(format!("[clouds.{from}] is not configured"));
    };
    let servers = NovaServers::new(cloud.clone(), Span::secs(2));
    match servers.record(wanted, RECORD).await {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(format!("{from} has no such server")),
        Err(ServersError::NotNow(why) | ServersError::Refused(why)) => Err(why),
    }
}

/// The project that a server comes back in: its root volume's.
pub(super) fn project(server: &Protected, seen: &Seen) -> Option<String> {
    let root = &server.record.as_ref().ok()?.disks.first()?.volume.id;
    counterpart(seen, &server.from, root, &server.to)
        .ok()?
        .map(|v| v.project_id.clone())
}

/// What a volume is in the other zone, by both Cinders; none: there is none.
///
/// # Errors
/// A Cinder was not seen.
pub(super) fn counterpart<'a>(
    seen: &'a Seen,
    from: &ZoneName,
    volume: &str,
    to: &ZoneName,
) -> Result<Option<&'a Volume>, ()> {
    let volumes = |zone: &ZoneName| {
        let rest = seen.get(zone).and_then(|z| z.rest()).ok_or(())?;
        rest.volumes.as_ref().map_err(|_| ())
    };
    let (here, there) = (volumes(from)?, volumes(to)?);
    let Some(own) = here.iter().find(|v| v.id == volume) else {
        return Ok(None);
    };
    let image = own.image();
    Ok(there.iter().find(|v| v.image() == image))
}

/// What the mapping makes of the networks that addresses are wanted in.
fn networks(servers: &[Protected], mapping: &Mapping, to: &ZoneName) -> BTreeSet<String> {
    let of_zone = servers.iter().filter(|s| s.to == *to && !s.built);
    of_zone
        .filter_map(|s| Some((&s.from, s.record.as_ref().ok()?)))
        .flat_map(|(from, r)| r.ports.iter().map(move |p| (from, &p.network)))
        .filter_map(|(from, n)| mapping.by_text(Kind::Networks, from, n, to).ok())
        .map(str::to_owned)
        .collect()
}

async fn place(cloud: &Cloud, projects: BTreeSet<String>, networks: &BTreeSet<String>) -> Place {
    let nova = cloud.nova(Scope::Home);
    let placement = cloud.placement(Scope::Home);
    let (flavors, keypairs, zones, services, rooms) = tokio::join!(
        nova.flavors(),
        nova.keypairs(),
        nova.availability_zones(),
        nova.services(),
        placement.rooms()
    );
    let mut questions = Vec::new();
    for id in projects {
        let question = async move {
            let seen = of_project(cloud, &id, networks).await;
            (id, seen)
        };
        questions.push(question.boxed());
    }
    let seen = stream::iter(questions).buffered(AT_ONCE).collect().await;
    Place {
        flavors,
        keypairs,
        zones,
        services,
        rooms,
        projects: seen,
    }
}

async fn of_project(cloud: &Cloud, id: &str, names: &BTreeSet<String>) -> ProjectSeen {
    let scope = Scope::Project(id.to_owned());
    let (nova, neutron) = (cloud.nova(scope.clone()), cloud.neutron(scope));
    let (networks, subnets, groups, server_groups, quota) = tokio::join!(
        neutron.networks(),
        neutron.all_subnets(),
        neutron.security_groups(),
        nova.server_groups(),
        nova.quota(id)
    );
    // As a build has it: an administrator sees those of all projects.
    let networks = networks.map(|mut all| {
        all.retain(|n| n.is_usable_by(id));
        all
    });
    let mut ports = BTreeMap::new();
    for name in names {
        if let ByName::One(network) = super::fields::named(networks.iter().flatten(), name) {
            let all = neutron.ports_in(&network.id).await;
            ports.insert(network.id.clone(), all);
        }
    }
    ProjectSeen {
        // An administrator sees those of all projects.
        groups: groups.map(|all| {
            let own = |g: &rekindle_openstack::neutron::SecurityGroup| {
                g.project_id.as_deref() == Some(id)
            };
            all.into_iter().filter(own).collect()
        }),
        networks,
        subnets,
        server_groups,
        quota,
        ports,
    }
}
