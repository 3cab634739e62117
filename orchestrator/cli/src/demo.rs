//! The demonstration: one story, two worlds.
//!
//! ```text
//!   story ── World ──┬── embedded   simulated clusters, sidecars and orchestrators in this process
//!     │              └── lab        real Ceph, real etcd, our programs, one machine
//!   cinder::Story ────── cinder     the same through Cinder and its clients, on a lab with real ones
//!   nova::Story ──────── nova       servers that come back, on a lab with real Novas
//!     ├── watch     the group and its plans, until they are where the story wants them
//!     ├── show      what a person sees while it runs
//!     ├── record, ledger, verdict   what the application wrote, was told, and finds again
//!     └── report    the one line, and report.json
//! ```

pub mod app;
mod cinder;
mod embedded;
mod lab;
pub mod ledger;
mod nova;
pub mod rbd;
pub mod ready;
pub mod record;
pub mod report;
pub mod show;
pub mod story;
pub mod verdict;
pub mod volumes;
mod watch;
pub mod world;
pub mod writer;

use crate::{args::DemoArgs, error::CliError, exit::Exit, output::Output};
use report::{Figures, Report};
use show::Stage;
use tokio::signal::unix::{SignalKind, signal};
use world::{DemoError, World};

/// Runs the demonstration.
///
/// # Errors
/// [`CliError`] where it was not complete, after the report was written and the line shown.
pub async fn run(args: &DemoArgs, output: &Output) -> Result<Exit, CliError> {
    let stage = Stage::new(output);
    if args.nova {
        let played = play_with_servers(args, &stage).await?;
        drop(stage);
        return tell(played, args, output);
    }
    let played = if args.embedded {
        play(embedded::Embedded::new()?, args, &stage).await?
    } else if args.cinder {
        play_through_cinder(args, &stage).await?
    } else {
        play(lab::LabWorld::new(args)?, args, &stage).await?
    };
    drop(stage);
    tell(played, args, output)
}

/// The figures to their file, the line to the reader.
fn tell<R: Figures>(
    (report, end): (R, Result<(), DemoError>),
    args: &DemoArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    report::save(&report, &args.report)?;
    output.document(&report)?;
    match end {
        Err(e) => Err(CliError::failed("the demonstration ended early").caused_by(e)),
        Ok(()) if report.complete() => Ok(Exit::Ok),
        Ok(()) => Err(
            CliError::failed("the demonstration is not what was promised")
                .advise(format!("{} says what is short", args.report.display())),
        ),
    }
}

/// Tells the story in a world, and takes the world down whatever came of it.
async fn play<W: World>(mut world: W, args: &DemoArgs, stage: &Stage<'_>) -> Played<Report> {
    let mut story = story::Story::new(&mut world, stage, args.volumes).map_err(cannot_begin)?;
    let end = unless_interrupted(story.tell()).await;
    let report = story.report;
    let around = world.look_around();
    wind_up(report, end, args, stage, around, async || {
        world.lower().await
    })
    .await
}

/// The same through Cinder.
async fn play_through_cinder(args: &DemoArgs, stage: &Stage<'_>) -> Played<Report> {
    let mut world = cinder::World::new(args)?;
    let mut story = cinder::Story::new(&mut world, stage, args.volumes).map_err(cannot_begin)?;
    let end = unless_interrupted(story.tell()).await;
    let report = story.report;
    let around = world.look_around();
    wind_up(report, end, args, stage, around, async || {
        world.lower().await
    })
    .await
}

/// The one with servers.
async fn play_with_servers(args: &DemoArgs, stage: &Stage<'_>) -> Played<nova::ServersReport> {
    let mut world = nova::World::new(args)?;
    let mut story = nova::Story::new(&mut world, stage).map_err(cannot_begin)?;
    let end = unless_interrupted(story.tell()).await;
    let report = story.into_report();
    let around = world.look_around();
    wind_up(report, end, args, stage, around, async || {
        world.lower().await
    })
    .await
}

/// The report, and how the story ended.
type Played<R> = Result<(R, Result<(), DemoError>), CliError>;

fn cannot_begin(e: DemoError) -> CliError {
    CliError::failed("the story cannot begin").caused_by(e)
}

async fn unless_interrupted(
    story: impl Future<Output = Result<(), DemoError>>,
) -> Result<(), DemoError> {
    tokio::select! {
        end = story => end,
        () = interrupted() => Err(DemoError::Interrupted),
    }
}

async fn wind_up<R: Figures>(
    mut report: R,
    mut end: Result<(), DemoError>,
    args: &DemoArgs,
    stage: &Stage<'_>,
    around: String,
    lower: impl AsyncFnOnce() -> Result<(), DemoError>,
) -> Played<R> {
    if let Err(e) = &end {
        report.problem(world::chain(e));
        stage.say(format!("FAILED: {}", world::chain(e)));
    }
    let interrupted = matches!(end, Err(DemoError::Interrupted));
    if args.keep && !interrupted {
        stage.say(format!("everything runs on, as --keep asked; {around}"));
    } else {
        stage.phase("Take everything down");
        end = end.and(lower().await);
    }
    Ok((report, end))
}

/// Ctrl-C, or SIGTERM: a demonstration that is told to end takes down what it brought up.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler there is Ctrl-C all the same.
        drop(tokio::signal::ctrl_c().await);
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(test)]
mod tests;
