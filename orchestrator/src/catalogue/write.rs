//! One round's writes: images side by side, one image's in their order. A failure decides nothing for another image.

use super::{
    Keeper,
    cinder::{CinderError, Reach},
};
use crate::coordination::{Lead, LeadError};
use futures::{FutureExt, StreamExt, stream};
use rekindle_common::{
    ApiError, ImageSpec, ZoneName,
    action::{BatchItem, BatchRequest, BatchResult, Order, VolumeAction},
    facts::CinderFacts,
};
use rekindle_core::catalogue::{Change, Mend};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};
use tokio::time::timeout;

/// What became of a mend.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    pub mend: Mend,
    pub end: Result<(), CinderError>,
}

impl Written {
    pub(super) fn is_good(&self) -> bool {
        self.end.is_ok()
    }
}

/// Clouds that do not answer: no call more in this round.
type Away = Mutex<BTreeSet<ZoneName>>;

/// Does them.
///
/// # Errors
/// [`LeadError::Lost`]: the term is over. What was begun may have been done, and the next leader sees it.
pub(super) async fn all(
    keeper: &Keeper,
    lead: &Lead,
    mends: Vec<Mend>,
) -> Result<Vec<Written>, LeadError> {
    let mut of_image: BTreeMap<ImageSpec, Vec<Mend>> = BTreeMap::new();
    let mut order = Vec::new();
    for mend in mends {
        let entry = of_image.entry(mend.image.clone()).or_default();
        if entry.is_empty() {
            order.push(mend.image.clone());
        }
        entry.push(mend);
    }
    let away = Away::default();
    let mut work = Vec::new();
    for image in order {
        let mends = of_image.remove(&image).unwrap_or_default();
        work.push(one_image(keeper, lead, mends, &away).boxed());
    }
    let mut ends = stream::iter(work).buffer_unordered(keeper.timing.at_once);
    let mut written = Vec::new();
    while let Some(of_one) = ends.next().await {
        written.extend(of_one?);
    }
    Ok(written)
}

async fn one_image(
    keeper: &Keeper,
    lead: &Lead,
    mends: Vec<Mend>,
    away: &Away,
) -> Result<Vec<Written>, LeadError> {
    let mut written = Vec::new();
    // One zone's failure stops that zone's writes about the image; the other's go on.
    let mut failed: BTreeSet<ZoneName> = BTreeSet::new();
    for mend in mends {
        let is_away = away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&mend.zone);
        if is_away || failed.contains(&mend.zone) {
            continue;
        }
        lead.check()?;
        let end = write(keeper, &mend).await;
        if let Err(e) = &end {
            failed.insert(mend.zone.clone());
            if e.reach == Reach::Cloud {
                away.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(mend.zone.clone());
            }
        }
        written.push(Written { mend, end });
    }
    Ok(written)
}

async fn write(keeper: &Keeper, mend: &Mend) -> Result<(), CinderError> {
    let call = |why| CinderError {
        why,
        reach: Reach::Call,
    };
    let Some(place) = keeper.places.iter().find(|p| *p.zone.name() == mend.zone) else {
        return Err(call(format!("{} is not among the zones", mend.zone)));
    };
    let deadline = keeper.timing.deadline;
    let done = async {
        match &mend.change {
            Change::Describe { facts } => {
                let end = describe(place.zone.sidecar(), &mend.image, facts).await;
                end.map_err(|e| call(e.to_string()))
            }
            change @ (Change::DropFailedImport { .. }
            | Change::ResetExtending { .. }
            | Change::ImportVolume(_)
            | Change::Grow { .. }
            | Change::Show { .. }
            | Change::Name { .. }
            | Change::Bootable { .. }
            | Change::ImageMetadata { .. }
            | Change::ImportSnapshot(_)
            | Change::NameSnapshot { .. }
            | Change::ForgetSnapshot { .. }
            | Change::ForgetVolume { .. }) => place.cinder.write(mend.image.image(), change).await,
        }
    };
    // It may still take effect: the next look shows.
    match timeout(deadline, done).await {
        Ok(end) => end,
        Err(_) => Err(call(format!("not done within {deadline:?}"))),
    }
}

async fn describe(
    sidecar: &dyn crate::zone::Sidecar,
    image: &ImageSpec,
    facts: &CinderFacts,
) -> Result<(), ApiError> {
    let request = BatchRequest {
        items: vec![BatchItem {
            volume: image.clone(),
            order: Order {
                action: VolumeAction::Describe {
                    facts: Box::new(facts.clone()),
                },
                generation: None,
            },
        }],
    };
    let mut lines = sidecar.batch(request).await?;
    match lines.next().await {
        Some(line) => match line?.result {
            BatchResult::Ok { .. } => Ok(()),
            BatchResult::Failed { error } => Err(error),
        },
        None => Err(ApiError::new(
            rekindle_common::ErrorCode::SidecarUnreachable,
            "the sidecar did not say what became of it",
        )),
    }
}
