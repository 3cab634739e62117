//! Orders to all volumes of a step that have not ended yet, by the sidecar's batch endpoint.

use super::{Context, Pass, Result, StepError, Tally};
use futures::StreamExt;
use rekindle_common::{
    ApiError, ErrorCode, Generation, ImageSpec, ZoneName,
    action::{BatchItem, BatchRequest, BatchResult, MAX_BATCH, Order, VolumeAction},
};

/// What a refusal means to the step at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// Asked again.
    TryAgain,
    /// The volume has failed.
    Failed,
}

/// The general meaning: by the error's own advice.
pub(super) fn by_advice(e: &ApiError) -> Means {
    if e.retryable() {
        Means::TryAgain
    } else {
        Means::Failed
    }
}

/// Gives the order to every open volume and notes what came of it. Results are taken as they come.
pub(super) async fn give(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
    tally: &mut Tally,
    action: impl Fn(&ImageSpec) -> VolumeAction,
    meaning: impl Fn(&ApiError) -> Means,
) -> Result<Pass> {
    let open = tally.open();
    for part in open.chunks(MAX_BATCH) {
        let items = part.iter().map(|volume| BatchItem {
            volume: volume.clone(),
            order: Order {
                action: action(volume),
                generation: Some(generation),
            },
        });
        let request = BatchRequest {
            items: items.collect(),
        };
        batch(ctx, zone, request, tally, &meaning).await?;
    }
    let (done, of) = tally.progress();
    if tally.is_over() {
        Ok(Pass::Done {
            note: format!("{done} of {of} volumes"),
        })
    } else {
        // Each was answered, with an error that may pass: asked again, and less often the longer it lasts.
        Err(StepError::NotNow(tally.waits_for()))
    }
}

async fn batch(
    ctx: &Context<'_>,
    zone: &ZoneName,
    request: BatchRequest,
    tally: &mut Tally,
    meaning: &impl Fn(&ApiError) -> Means,
) -> Result<()> {
    let sidecar = ctx.zone(zone)?.sidecar();
    // The last moment before something leaves this process (hard case 3). What a stale leader sends all the same is
    // refused where the data is, by its generation.
    ctx.lead.check()?;
    let mut lines = match sidecar.batch(request).await {
        Ok(lines) => lines,
        Err(e) => {
            if uncertain(&e) {
                tally.touch();
            }
            return match meaning(&e) {
                Means::TryAgain => Err(StepError::NotNow(e.message)),
                Means::Failed => {
                    for volume in tally.open() {
                        tally.fail(&volume, e.to_string());
                    }
                    Ok(())
                }
            };
        }
    };
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => {
                match line.result {
                    BatchResult::Ok { outcome } => {
                        tally.touch();
                        if let Some(given_up) = outcome.given_up {
                            tally.gives_up(&line.volume, given_up);
                        }
                        tally.done(&line.volume);
                    }
                    BatchResult::Failed { error } => note(tally, &line.volume, &error, meaning),
                }
                ctx.show(tally, "");
            }
            Err(e) => {
                // What has no line yet may have been done: it is asked again, and the sidecar looks first.
                tally.touch();
                return Err(StepError::NotNow(e.message));
            }
        }
    }
    Ok(())
}

fn note(
    tally: &mut Tally,
    volume: &ImageSpec,
    error: &ApiError,
    meaning: &impl Fn(&ApiError) -> Means,
) {
    if uncertain(error) {
        tally.touch();
    }
    match meaning(error) {
        Means::TryAgain => tally.waits(volume, error.to_string()),
        Means::Failed if is_gone(error) => tally.is_gone(volume, error.to_string()),
        Means::Failed => tally.fail(volume, error.to_string()),
    }
}

/// The sidecar looked, and there is no such replicated volume: its users deleted it, or took its replication off.
fn is_gone(e: &ApiError) -> bool {
    matches!(e.code, ErrorCode::UnknownVolume | ErrorCode::NotReplicated)
}

/// Whether the order may have been carried out, or in part, in spite of the error.
fn uncertain(e: &ApiError) -> bool {
    matches!(
        e.code,
        ErrorCode::DeadlineExceeded
            | ErrorCode::SidecarUnreachable
            | ErrorCode::ClusterUnreachable
            | ErrorCode::StorageError
            | ErrorCode::StorageFull
            | ErrorCode::Internal
    )
}
