//! One count of servers.

use crate::ground::{self, Ground};
use anyhow::{Context, ensure};
use futures::{StreamExt, stream};
use rekindle_common::{PlanId, duration::Span};
use rekindle_core::{
    plan::{Disks, ResumeParts, SERVERS_AT_ONCE, start_again},
    saga::End,
    snapshot::{GroupState, GroupView, LeaseSight},
};
use rekindle_openstack::{Scope, nova::Patience};
use rekindle_orchestrator::{
    catalogue::volumes::VolumeFeed,
    decide::{Begun, begin},
    executor::{Executor, Over, Slots},
    metrics::Metrics,
    servers::keeper::{ServersKeeper, ServersPart, ServersTiming},
    world::{self, LeaseClock},
};
use serde::{Deserialize, Serialize};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) servers: usize,
    /// The bare loop: what Nova takes, and nothing of ours but its client.
    pub(crate) nova_s: f64,
    /// The plan, from its first record to its last.
    pub(crate) plan_s: f64,
    /// The keeper's first round, which writes, and its second, which finds all as it was.
    pub(crate) first_round_s: f64,
    pub(crate) round_s: f64,
    /// Before, the peak within the plan, the peak within the rounds.
    pub(crate) before_mib: f64,
    pub(crate) plan_mib: f64,
    pub(crate) rounds_mib: f64,
}

/// Measures.
pub(crate) async fn one(
    servers: usize,
    cloud: &str,
    etcd: &str,
    poll: Duration,
    folder: &Path,
) -> anyhow::Result<Measured> {
    let ground = Ground::new(servers, cloud, etcd, poll, folder).await?;
    // Tokens and versions are asked for once, and are nobody's.
    let nova_s = bare(&ground, 1, poll)
        .await
        .and(bare(&ground, servers, poll).await)?;
    reset(&ground, cloud).await?;
    let before_mib = memory("VmRSS:")?;
    reset_peak()?;
    let plan_s = plan(&ground).await?;
    let plan_mib = memory("VmHWM:")?;
    reset_peak()?;
    let keeper = keeper(&ground)?;
    let first_round_s = round(&ground, &keeper, servers).await?;
    let round_s = round(&ground, &keeper, servers).await?;
    Ok(Measured {
        servers,
        nova_s,
        plan_s,
        first_round_s,
        round_s,
        before_mib,
        plan_mib,
        rounds_mib: memory("VmHWM:")?,
    })
}

/// Each started and waited for, level by level and as many at once as a plan does: the order is what is asked for, and no overhead.
async fn bare(ground: &Ground, servers: usize, poll: Duration) -> anyhow::Result<f64> {
    let nova = ground.cloud.nova(Scope::Home);
    let patience = Patience {
        within: Span::secs(600),
        poll: Span(poll),
    };
    let begun = Instant::now();
    for level in ground::levels(servers) {
        let mut all = stream::iter(level)
            .map(|n| {
                let nova = nova.clone();
                async move { nova.ensure_active(&ground::id(n), patience).await }
            })
            .buffer_unordered(SERVERS_AT_ONCE);
        while let Some(one) = all.next().await {
            one.context("the bare loop")?;
        }
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// All servers are off and held again.
async fn reset(_: &Ground, cloud: &str) -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let at = cloud.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(at).await?;
    let request = format!(
        "POST /reset HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    Ok(())
}

/// The plan that starts what does not serve, by the executor.
async fn plan(ground: &Ground) -> anyhow::Result<f64> {
    let name = ground::group()?;
    let records = world::read(&ground.store).await?;
    let group = records.groups.get(&name).context("the group")?;
    let primary = group.primary.as_ref().context("its primary")?;
    let view = GroupView {
        spec: group.spec.clone(),
        primary: Some(primary.value.clone()),
        lease: LeaseSight::Gone {
            seen_gone_for: Span::secs(0),
        },
        state: GroupState::default(),
        active_plan: None,
        approval: None,
        seen: None,
        volumes: Default::default(),
    };
    let id = PlanId::new("p-1")?;
    let now = jiff::Timestamp::now();
    let parts = ResumeParts {
        volumes: Vec::new(),
        left_out: Vec::new(),
        disks: Disks::Kept,
    };
    let plan = start_again(
        id.clone(),
        &view,
        &primary.value,
        now,
        "measured".to_owned(),
        parts,
    );
    begin(&ground.lead, group, &plan, Begun::ByHand).await?;
    let means = &ground.means;
    let progress = watch::Sender::new(None);
    let executor = Executor {
        lead: &ground.lead,
        site: &means.site,
        leases: &LeaseClock::default(),
        tools: &means.tools,
        assembler: &means.assembler,
        pauses: means.timing.pauses,
        metrics: &means.metrics,
        slots: &Slots::new(means.timing.plans_at_once),
        progress: &progress,
        after_record: None,
    };
    let begun = Instant::now();
    let over = executor.run(&id).await;
    let took = begun.elapsed();
    let well = over
        == Over::Ended {
            end: End::Succeeded,
        };
    ensure!(well, "the plan did not start all of them: {over:?}");
    Ok(took.as_secs_f64())
}

fn keeper(ground: &Ground) -> anyhow::Result<ServersKeeper> {
    let part = ServersPart {
        servers: ground.servers.clone(),
        mapping: Default::default(),
        volumes: VolumeFeed::default(),
        timing: ServersTiming::default(),
    };
    let (site, clock) = (ground.means.site.clone(), ground.means.clock);
    let metrics: Arc<Metrics> = Arc::default();
    Ok(ServersKeeper::new(site, part, Vec::new(), clock, metrics))
}

async fn round(ground: &Ground, keeper: &ServersKeeper, servers: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    keeper.round(&ground.lead).await?;
    let took = begun.elapsed();
    let shown = keeper.shown().context("it shows nothing")?;
    let serve = |s: &str| s == "running";
    let seen = shown
        .servers
        .iter()
        .filter(|s| s.serving.as_deref().is_some_and(serve));
    let seen = seen.count();
    ensure!(seen == servers, "it saw {seen} of {servers} servers run");
    Ok(took.as_secs_f64())
}

/// Of this process, in MiB.
fn memory(field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix(field));
    let kib: f64 = line
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .with_context(|| format!("/proc/self/status has no {field}"))?;
    Ok(kib / 1024.0)
}

/// The peak counts from here.
fn reset_peak() -> anyhow::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5").context("the peak memory cannot be reset")
}
