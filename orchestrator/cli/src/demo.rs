//! The demonstration: one story, two worlds.
//!
//! ```text
//!   story ── World ──┬── embedded   simulated clusters, sidecars and orchestrators in this process
//!     │              └── lab        real Ceph, real etcd, our programs, one machine
//!   cinder::Story ────── cinder     the same through Cinder and its clients, on a lab with real ones
//!     ├── show      what a person sees while it runs
//!     ├── record, ledger, verdict   what the application wrote, was told, and finds again
//!     └── report    the one line, and report.json
//! ```

pub mod app;
mod cinder;
mod embedded;
mod lab;
pub mod ledger;
pub mod rbd;
pub mod record;
pub mod report;
pub mod show;
pub mod story;
pub mod verdict;
pub mod volumes;
pub mod world;
pub mod writer;

use crate::{args::DemoArgs, error::CliError, exit::Exit, output::Output};
use report::Report;
use show::Stage;
use tokio::signal::unix::{SignalKind, signal};
use world::{DemoError, World};

/// Runs the demonstration.
///
/// # Errors
/// [`CliError`] where it was not complete, after the report was written and the line shown.
pub async fn run(args: &DemoArgs, output: &Output) -> Result<Exit, CliError> {
    let stage = Stage::new(output);
    let (report, end) = if args.embedded {
        play(embedded::Embedded::new()?, args, &stage).await?
    } else if args.cinder {
        play_through_cinder(args, &stage).await?
    } else {
        play(lab::LabWorld::new(args)?, args, &stage).await?
    };
    drop(stage);
    report.save(&args.report)?;
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
async fn play<W: World>(mut world: W, args: &DemoArgs, stage: &Stage<'_>) -> Played {
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
async fn play_through_cinder(args: &DemoArgs, stage: &Stage<'_>) -> Played {
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

/// The report, and how the story ended.
type Played = Result<(Report, Result<(), DemoError>), CliError>;

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

async fn wind_up(
    mut report: Report,
    mut end: Result<(), DemoError>,
    args: &DemoArgs,
    stage: &Stage<'_>,
    around: String,
    lower: impl AsyncFnOnce() -> Result<(), DemoError>,
) -> Played {
    if let Err(e) = &end {
        report.problems.push(world::chain(e));
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
