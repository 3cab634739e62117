//! From a configuration to an orchestrator on real parts, and its sockets.

use crate::{
    Orchestrator, Parts, SitePart, Timing, ZonePart,
    agent::{Agent, Agents, CommandAgent},
    build,
    catalogue::{CataloguePart, CatalogueTiming, cinder::Cinder, volumes::VolumeFeed},
    clock::Clock,
    config::{CommandConfig, Config, ConfigError},
    decide::DecideTiming,
    executor::Pauses,
    observe::{ObserverTiming, Probe, ceph_mon::CephMonProbe, sidecar::SidecarProbe},
    preflight::daily::{DailyPart, OnClouds},
    servers::{control::Servers, keeper::ServersTiming, nova::NovaServers},
    zone::Sidecar,
};
use rekindle_common::{ApiError, ZoneName, duration::Span};
use rekindle_core::catalogue::mapping::Mapping;
use rekindle_net::{
    Client, ClientLimits, Limits, ListenConfig, ServeError, Server, SidecarClient, SocketOptions,
};
use rekindle_openstack::{Cloud, CloudConfig, CloudError};
use rekindle_store::{ElectionTiming, EtcdStore, StoreError};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Between two looks at a server that is waited for.
const NOVA_POLL: Span = Span::secs(2);
/// Between two looks at whose daily check is due.
const PREFLIGHT_EVERY: Duration = Duration::from_secs(60);
/// For a daily check of one group, of thousands of servers too.
const PREFLIGHT_WITHIN: Duration = Duration::from_secs(900);

/// What of the machine could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// etcd's configuration cannot be used.
    #[error("etcd cannot be used")]
    Store(#[from] StoreError),
    /// A sidecar's address or certificates cannot be used.
    #[error("zone {zone}")]
    Sidecar {
        /// Whose.
        zone: String,
        /// Why.
        source: ApiError,
    },
    /// A listener cannot be bound.
    #[error("cannot listen")]
    Listen(#[from] ServeError),
    /// A zone's OpenStack cannot be reached as it is configured.
    #[error("clouds.{zone}")]
    Cloud {
        /// Whose.
        zone: String,
        /// Why.
        source: CloudError,
    },
    /// The mapping cannot be used.
    #[error("the mapping cannot be used")]
    Mapping(#[from] ConfigError),
    /// A field that [`Config::check`] would have refused.
    #[error("{0} cannot be used")]
    Unchecked(&'static str),
}

/// An orchestrator with its listeners bound, not yet running. Nothing else is contacted before it runs.
///
/// # Errors
/// [`StartError`].
pub async fn start(config: &Config) -> Result<(Orchestrator, Server), StartError> {
    let store = EtcdStore::connect(&config.etcd).await?;
    let tls = config
        .sidecar_tls()
        .ok_or(StartError::Unchecked("sidecars.tls"))?;
    let mut zones = Vec::new();
    let mut probes: Vec<Arc<dyn Probe>> = Vec::new();
    for (name, zone) in &config.zones {
        let limits = ClientLimits {
            // Slower than a probe or a question may be, so that those say themselves that they overran.
            call_time: Duration::from_secs(60),
            ..ClientLimits::default()
        };
        let client =
            Client::mtls(&zone.sidecar, tls, limits).map_err(|source| StartError::Sidecar {
                zone: name.to_string(),
                source,
            })?;
        let sidecar: Arc<dyn Sidecar> = Arc::new(SidecarClient::from(client));
        probes.push(Arc::new(SidecarProbe::new(
            name.clone(),
            Arc::clone(&sidecar),
            Clock::System,
        )));
        // Within the probe's own deadline, so that it can say which monitor was silent.
        let deadline = config.times.probe.get() * 4 / 5;
        probes.push(Arc::new(CephMonProbe::new(
            name.clone(),
            zone.ceph_mons.clone(),
            deadline,
        )));
        zones.push(ZonePart {
            name: name.clone(),
            sidecar,
        });
    }
    let volumes = VolumeFeed::default();
    let mapping = config.mapping()?;
    let clouds = clouds(config)?;
    let servers = servers(&clouds, mapping.as_ref(), &volumes);
    let preflight = mapping.clone().map(|mapping| DailyPart {
        check: Arc::new(OnClouds {
            config: Arc::new(config.clone()),
            mapping,
        }),
        daily: config.preflight.daily(),
        every: PREFLIGHT_EVERY,
        within: PREFLIGHT_WITHIN,
    });
    let catalogue = match mapping {
        None => None,
        Some(mapping) => Some(catalogue(config, clouds, mapping, volumes)?),
    };
    let orchestrator = build(Parts {
        site: config.site.clone(),
        sites: config
            .sites
            .iter()
            .map(|(name, url)| SitePart {
                name: name.clone(),
                url: Some(url.clone()),
            })
            .collect(),
        zones,
        probes,
        store: store.into(),
        clock: Clock::System,
        agents: Agents {
            applications: commands(&config.applications),
            fences: commands(&config.fence_agents),
            hooks: commands(&config.hooks),
        },
        catalogue,
        servers,
        stand_bys: Some(ServersTiming {
            every: config.times.servers.get(),
            ..ServersTiming::default()
        }),
        preflight,
        timing: timing(config)?,
    });
    let server = listen(config, &orchestrator).await?;
    Ok((orchestrator, server))
}

fn commands(configured: &BTreeMap<String, CommandConfig>) -> BTreeMap<String, Agent> {
    let agent = |c: &CommandConfig| {
        Agent::Command(CommandAgent {
            command: c.command.clone(),
            timeout: c.timeout.get(),
        })
    };
    configured
        .iter()
        .map(|(name, c)| (name.clone(), agent(c)))
        .collect()
}

/// The zones' OpenStacks.
fn clouds(config: &Config) -> Result<Vec<(ZoneName, Cloud)>, StartError> {
    let cloud = |(zone, cloud): (&ZoneName, &CloudConfig)| {
        let made = Cloud::new(zone.clone(), cloud.clone());
        let made = made.map_err(|source| StartError::Cloud {
            zone: zone.to_string(),
            source,
        })?;
        Ok((zone.clone(), made))
    };
    config.clouds.iter().map(cloud).collect()
}

/// Their servers.
fn servers(
    clouds: &[(ZoneName, Cloud)],
    mapping: Option<&Mapping>,
    volumes: &VolumeFeed,
) -> BTreeMap<ZoneName, Arc<dyn Servers>> {
    let servers = |(zone, cloud): &(ZoneName, Cloud)| {
        let mut servers = NovaServers::new(cloud.clone(), NOVA_POLL);
        if let Some(mapping) = mapping {
            servers = servers.translating(mapping.clone(), volumes.clone());
        }
        (zone.clone(), Arc::new(servers) as Arc<dyn Servers>)
    };
    clouds.iter().map(servers).collect()
}

/// Both zones' Cinders and the mapping, where a catalogue is kept.
fn catalogue(
    config: &Config,
    clouds: Vec<(ZoneName, Cloud)>,
    mapping: Mapping,
    volumes: VolumeFeed,
) -> Result<CataloguePart, StartError> {
    let cinders: Vec<(ZoneName, Arc<dyn Cinder>)> = clouds
        .into_iter()
        .map(|(zone, cloud)| (zone, Arc::new(cloud) as Arc<dyn Cinder>))
        .collect();
    let clouds = cinders.try_into().map_err(|_| {
        StartError::Unchecked("catalogue: it is kept between two zones, and clouds")
    })?;
    let every = config.times.catalogue.get();
    Ok(CataloguePart {
        clouds,
        mapping,
        volumes,
        timing: CatalogueTiming {
            every,
            again: every,
            ..CatalogueTiming::default()
        },
    })
}

fn timing(config: &Config) -> Result<Timing, StartError> {
    let t = &config.times;
    let seconds = |span: rekindle_common::duration::Span, field| {
        u32::try_from(span.get().as_secs()).map_err(|_| StartError::Unchecked(field))
    };
    let election = ElectionTiming {
        ttl: seconds(t.leader_ttl, "times.leader_ttl")?,
        safety: t.leader_safety.get(),
    };
    Ok(Timing {
        observer: ObserverTiming {
            every: t.observe.get(),
            probe_deadline: t.probe.get(),
            ttl: seconds(t.view_ttl, "times.view_ttl")?,
        },
        decide: DecideTiming {
            every: t.decide.get(),
            pauses: Pauses {
                poll: t.poll.get(),
                ..Pauses::default()
            },
            ..DecideTiming::default()
        },
        election,
        renew_every: (t.leader_ttl.get() - t.leader_safety.get()) / 4,
        zone_deadline: t.zone.get(),
        max_skew: t.max_skew,
        ..Timing::default()
    })
}

async fn listen(config: &Config, orchestrator: &Orchestrator) -> Result<Server, StartError> {
    let mut server = Server::new(Limits::default());
    if let Some(path) = &config.listen.unix {
        let mode = config
            .socket_mode()
            .ok_or(StartError::Unchecked("listen.unix_mode"))?;
        let at = ListenConfig::Unix {
            path: path.clone(),
            options: SocketOptions {
                mode,
                group: config.listen.unix_group,
            },
        };
        server.listen(&at, orchestrator.routes()).await?;
    }
    if let (Some(address), Some(files)) = (config.listen.tcp, &config.listen.tls) {
        let at = ListenConfig::Tls {
            address,
            files: files.clone(),
            allowed: config.listen.allowed.clone(),
        };
        let bound = server.listen(&at, orchestrator.routes()).await?;
        tracing::info!(address = ?bound.address(), "listening");
    }
    if let Some(address) = config.listen.metrics {
        server
            .listen(&ListenConfig::Loopback { address }, orchestrator.probes())
            .await?;
    }
    Ok(server)
}
