//! Where the story plays: what it asks of its two zones. [`super::embedded`] and [`super::lab`] are the two worlds.

use super::{ledger::Ledger, record::Contents, show::Stage, volumes::DemoVolume};
use rekindle_common::{
    ApiError, Generation, GroupName, ImageSpec, Timestamp, ZoneName,
    action::{BatchItem, BatchLine, SafetyCopy},
    duration::Span,
    lease::LeaseTiming,
    policy::{FailoverMode, GroupPolicy, GroupSpec, IsolationResponse, OnReturn},
    runbook::Runbook,
};
use rekindle_orchestrator::client::OrchestratorClient;
use std::{path::Path, time::Duration};

/// Why the story could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// An orchestrator or a sidecar refused.
    #[error("{what}")]
    Api {
        /// What was asked for.
        what: String,
        /// The answer.
        #[source]
        source: ApiError,
    },
    /// Something was waited for, and did not come.
    #[error("{what} did not happen within {} s; last seen: {last}", after.as_secs())]
    TooLate {
        /// What.
        what: String,
        /// How long it was waited for.
        after: Duration,
        /// What was seen last.
        last: String,
    },
    /// The zones, their files or their programs.
    #[error("{what}")]
    World {
        /// What was done.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The plan ended otherwise than well, or waits for a person.
    #[error("{0}")]
    Plan(String),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    /// From any error below, with what was done.
    pub fn world<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let what = what.into();
        move |e| Self::World {
            what,
            source: e.into(),
        }
    }
    /// From an answer of an orchestrator or a sidecar, with what was asked.
    pub fn api(what: impl Into<String>) -> impl FnOnce(ApiError) -> Self {
        let what = what.into();
        move |source| Self::Api { what, source }
    }
}

/// The times of a world. The lab's are those of real clusters, the embedded one's are as short as is sound.
#[derive(Debug, Clone, Copy)]
pub struct Tempo {
    /// The primary lease's times.
    pub lease: LeaseTiming,
    /// How long a majority must have seen the zone lost.
    pub hold_off: Span,
    /// Between two snapshots of a periodic volume.
    pub interval: Span,
    /// How long each thing may take before the story gives up.
    pub patience: Duration,
    /// Between two looks.
    pub look_every: Duration,
    /// How long the application is let write at each stop of the story.
    pub linger: Duration,
}

/// Two zones with an application, three orchestrators, and the power switch of a zone.
///
/// The futures are awaited where they are made and never sent to another thread.
#[allow(
    async_fn_in_trait,
    reason = "two implementations in this crate, awaited in place"
)]
pub trait World {
    /// `embedded` or `lab`.
    fn name(&self) -> &'static str;
    /// Its times.
    fn tempo(&self) -> Tempo;
    /// The pool for the volumes.
    fn pool(&self) -> &str;
    /// The application's name in the orchestrators' configuration.
    fn application(&self) -> &str;
    /// Where acknowledgements are kept.
    fn ledger(&self) -> &Ledger;
    /// What time it is there.
    fn now(&self) -> Timestamp;
    /// The orchestrators.
    fn orchestrator(&self) -> &OrchestratorClient;

    /// Brings up everything but volumes, and returns when it works.
    async fn raise(&mut self, stage: &Stage<'_>) -> Result<(), DemoError>;
    /// Makes the images.
    async fn create(&self, zone: &ZoneName, volumes: &[DemoVolume]) -> Result<(), DemoError>;
    /// Orders to a zone's sidecar.
    async fn order(
        &self,
        zone: &ZoneName,
        items: Vec<BatchItem>,
    ) -> Result<Vec<BatchLine>, DemoError>;
    /// Starts the application by hand, as the orchestrators would.
    async fn start_application(
        &self,
        zone: &ZoneName,
        volumes: &[DemoVolume],
        generation: Generation,
    ) -> Result<(), DemoError>;
    /// Stops it.
    async fn stop_application(&self, zone: &ZoneName) -> Result<(), DemoError>;
    /// Reads a whole volume in a zone.
    async fn read(&self, zone: &ZoneName, volume: &ImageSpec) -> Result<Contents, DemoError>;
    /// Kills every process of a zone at once; says when.
    async fn kill(&mut self, zone: &ZoneName) -> Result<Timestamp, DemoError>;
    /// Brings the zone back as it was: its cluster, its sidecar, its orchestrator; not its application.
    async fn restore(&mut self, zone: &ZoneName) -> Result<(), DemoError>;
    /// How to look around in what is left running.
    fn look_around(&self) -> String;
    /// Ends everything.
    async fn lower(&mut self) -> Result<(), DemoError>;
}

/// The group of a story: it acts by itself, and soon.
pub(super) fn group_spec(
    (name, home, away): (&GroupName, &ZoneName, &ZoneName),
    tempo: &Tempo,
    application: Option<&str>,
    runbook: Runbook,
) -> GroupSpec {
    GroupSpec {
        name: name.clone(),
        home: home.clone(),
        away: away.clone(),
        policy: GroupPolicy {
            failover: FailoverMode::Automatic,
            hold_off: tempo.hold_off,
            lease: tempo.lease,
            isolation_response: IsolationResponse::Demote,
            rpo_limit: None,
            on_return: OnReturn::Stay,
            safety_copy: SafetyCopy::Discard,
            application: application.map(str::to_owned),
            ..GroupPolicy::default()
        },
        runbook,
    }
}

/// How to look around in a lab that was left running.
pub(super) fn look_around_text(root: &Path) -> String {
    let config = root.join("rekindle").join("cli.toml");
    format!(
        "`rekindle --config {} status` looks around; the next run takes it down",
        config.display()
    )
}

/// An error with its causes, in one line.
pub fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(e) = next {
        text.push_str(&format!(": {e}"));
        next = e.source();
    }
    text
}
