//! One look at a zone: its images, then its records, so that an image without a record was without one.

use super::{Place, cinder::CinderError};
use futures::{FutureExt, StreamExt, stream};
use rekindle_common::{
    ApiError, ErrorCode, ImageSpec, ZoneName,
    status::VolumeStatus,
    volume::{Role, VolumeReport},
    zone::ZoneReport,
};
use rekindle_core::catalogue::{Ask, Named, Records, mapping::Project};
use rekindle_net::VolumeList;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// The most images of a zone that are looked at. Where there are more, none that is not listed counts as gone.
pub(super) const MOST: usize = 20_000;
/// The most images that are asked for by name in one round; the others have the next.
const MOST_ASKS: usize = 500;

/// A part of a zone that was not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silent {
    pub zone: ZoneName,
    pub part: Part,
    pub why: String,
}

/// Which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Images,
    Records,
}

/// A zone's replicated images, as they were listed.
#[derive(Debug)]
pub(super) struct Listed {
    pub images: BTreeMap<ImageSpec, VolumeReport>,
    /// Why some may be missing.
    pub lacks: Option<Lack>,
}

/// Why a list may lack some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// The zone's cluster does not answer.
    Cluster,
    /// There are more than are looked at.
    TooMany,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("its cluster does not answer"),
            Self::TooMany => write!(
                f,
                "it has more than {MOST} volumes, which is all that is looked at"
            ),
        }
    }
}

/// What was seen of a zone.
#[derive(Debug)]
pub(super) struct Looked {
    pub images: Result<Listed, String>,
    pub records: Result<Records, CinderError>,
    /// `None`: not asked.
    pub projects: Option<Result<Vec<Project>, CinderError>>,
    /// How long each part took, whatever came of it.
    pub took: Parts,
}

/// A time for each part of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub images: Duration,
    pub records: Duration,
}

impl Looked {
    /// Whether all of the zone was seen.
    pub(super) fn answered(&self) -> bool {
        self.has_images() && self.records.is_ok()
    }
    /// Whether its cluster answered: a sidecar without one lists what it knows, after as long as it may take.
    pub(super) fn has_images(&self) -> bool {
        match &self.images {
            Ok(listed) => listed.lacks != Some(Lack::Cluster),
            Err(_) => false,
        }
    }
    /// What is known of a zone that was not waited for any longer.
    pub(super) fn overdue(after: Duration) -> Self {
        let why = format!("not waited for longer than {after:?}: the other zone has answered");
        Self {
            images: Err(why.clone()),
            records: Err(CinderError {
                why,
                reach: super::cinder::Reach::Cloud,
            }),
            projects: None,
            took: Parts {
                images: Duration::MAX,
                records: Duration::MAX,
            },
        }
    }
}

pub(super) async fn look(place: &Place, deadline: Parts, projects: bool) -> Looked {
    let begun = Instant::now();
    let (images, projects) = tokio::join!(images(place, deadline.images), async {
        if projects {
            Some(within(deadline.images, place.cinder.projects()).await)
        } else {
            None
        }
    });
    let listed = Instant::now();
    let records = within(deadline.records, place.cinder.records()).await;
    Looked {
        images,
        records,
        projects,
        took: Parts {
            images: listed - begun,
            records: listed.elapsed(),
        },
    }
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, CinderError>>,
) -> Result<T, CinderError> {
    match timeout(deadline, call).await {
        Ok(answer) => answer,
        Err(_) => Err(CinderError {
            why: format!("did not answer within {deadline:?}"),
            reach: super::cinder::Reach::Cloud,
        }),
    }
}

/// Not by the zone's breaker: a long list that takes its time must not make decisions take the zone for silent.
async fn images(place: &Place, deadline: Duration) -> Result<Listed, String> {
    let sidecar = place.zone.sidecar();
    let both = async { tokio::join!(sidecar.report(), sidecar.all(MOST)) };
    let (report, all) = match timeout(deadline, both).await {
        Ok((Ok(report), Ok(all))) => (report, all),
        Ok((Err(e), _) | (_, Err(e))) => return Err(e.to_string()),
        Err(_) => return Err(format!("its sidecar did not answer within {deadline:?}")),
    };
    if report.zone != *place.zone.name() {
        return Err(format!("its sidecar says that it is {}'s", report.zone));
    }
    Ok(Listed {
        lacks: lacks(&report, &all),
        images: all
            .volumes
            .into_iter()
            .map(|r| (r.volume.clone(), r))
            .collect(),
    })
}

fn lacks(report: &ZoneReport, all: &VolumeList) -> Option<Lack> {
    if report.ceph.health.is_none() || all.volumes.iter().any(|r| r.role == Role::Unknown) {
        return Some(Lack::Cluster);
    }
    all.more.then_some(Lack::TooMany)
}

/// Asks both zones for images by name.
pub(super) async fn ask(
    places: &[Place; 2],
    asks: &BTreeSet<Ask>,
    deadline: impl Fn(&ZoneName) -> Duration,
    at_once: usize,
) -> Vec<(Ask, Named)> {
    let mut questions = Vec::new();
    for ask in asks.iter().take(MOST_ASKS) {
        let place = places.iter().find(|p| *p.zone.name() == ask.zone);
        questions.push(ask_one(place, ask.clone(), deadline(&ask.zone)).boxed());
    }
    let mut answers: Vec<(Ask, Named)> = stream::iter(questions)
        .buffer_unordered(at_once)
        .collect()
        .await;
    let later = asks.iter().skip(MOST_ASKS);
    answers.extend(later.map(|a| (a.clone(), Named::Unknown)));
    answers
}

async fn ask_one(place: Option<&Place>, ask: Ask, deadline: Duration) -> (Ask, Named) {
    let named = match place {
        None => Named::Unknown,
        Some(place) => {
            let question = place.zone.sidecar().volume(&ask.image);
            match timeout(deadline, question).await {
                Ok(answer) => named(&answer),
                Err(_) => Named::Unknown,
            }
        }
    };
    (ask, named)
}

fn named(answer: &Result<VolumeReport, ApiError>) -> Named {
    match answer {
        Err(e) if e.code == ErrorCode::UnknownVolume => Named::NotThere,
        Err(_) => Named::Unknown,
        Ok(r) => match r.role {
            Role::Primary | Role::Secondary => Named::Replicated,
            // Policy says that it is replicated: the list has it soon.
            Role::NotMirrored if r.mode.is_some() => Named::Replicated,
            Role::NotMirrored if r.status == VolumeStatus::ErrorUnknown => Named::Unknown,
            Role::NotMirrored => Named::Plain,
            Role::Unknown => Named::Unknown,
        },
    }
}
