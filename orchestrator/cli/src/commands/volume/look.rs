//! What the zones say of volumes.

use crate::commands::words::{moment, rounded};
use crate::{
    connect::Peers,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use futures::future::join_all;
use rekindle_common::{
    ApiError, ErrorCode, GroupName, ImageSpec, ZoneName,
    deletion::OnDelete,
    volume::{Known, Lag, Role, VolumeReport},
};
use serde::Serialize;

/// More than a zone of this design holds; a list has to end somewhere.
const MOST: usize = 50_000;

/// What one zone says.
#[derive(Debug, Serialize)]
pub(super) struct ZoneAnswer {
    pub(super) zone: ZoneName,
    pub(super) volumes: Vec<VolumeReport>,
    /// Why there are none.
    pub(super) error: Option<ApiError>,
}

#[derive(Debug, Serialize)]
struct VolumeList {
    zones: Vec<ZoneAnswer>,
}

impl VolumeList {
    fn exit(&self) -> Exit {
        let failed: Vec<&ApiError> = self.zones.iter().filter_map(|z| z.error.as_ref()).collect();
        match failed.first() {
            None => Exit::Ok,
            Some(first) if failed.len() == self.zones.len() => first.code.into(),
            Some(_) => Exit::Partial,
        }
    }
}

impl Document for VolumeList {
    fn text(&self, page: &mut Page) {
        let head = [
            "VOLUME",
            "ZONE",
            "STATUS",
            "MODE",
            "GROUP",
            "LAST SYNC",
            "LAG",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let mut all: Vec<&VolumeReport> = self.zones.iter().flat_map(|z| &z.volumes).collect();
        all.sort_by(|a, b| (&a.volume, &a.zone).cmp(&(&b.volume, &b.zone)));
        rows.extend(all.into_iter().map(row));
        page.table(0, &rows);
        for z in &self.zones {
            if let Some(e) = &z.error {
                page.loud(format!("{} is not shown: {e}", z.zone));
            }
        }
    }
}

fn row(v: &VolumeReport) -> Vec<String> {
    let dash = || "-".to_owned();
    vec![
        v.volume.to_string(),
        v.zone.to_string(),
        v.status.to_string(),
        v.mode.map_or_else(dash, |m| m.name().to_owned()),
        v.group.as_ref().map_or_else(dash, ToString::to_string),
        v.last_sync.map_or_else(dash, |s| moment(s.at)),
        lag(v.lag),
    ]
}

fn lag(lag: Lag) -> String {
    match lag {
        Lag::None => "none".to_owned(),
        Lag::Time { behind } => rounded(behind),
        Lag::Entries { behind } => format!("{behind} entries"),
        Lag::Unknown => "unknown".to_owned(),
    }
}

pub(super) async fn list(
    zone: Option<ZoneName>,
    group: Option<GroupName>,
    peers: &Peers,
    output: &Output,
) -> Result<Exit, CliError> {
    let zones = match zone {
        Some(zone) => vec![zone],
        None => peers.zones()?,
    };
    let asked = join_all(zones.iter().map(|zone| async {
        let answer = peers.sidecar(zone)?.all_volumes(group.as_ref(), MOST).await;
        Ok::<_, CliError>(answered(zone, answer))
    }))
    .await;
    let list = VolumeList {
        zones: asked.into_iter().collect::<Result<_, _>>()?,
    };
    output.document(&list)?;
    Ok(list.exit())
}

fn answered(zone: &ZoneName, answer: Result<Vec<VolumeReport>, ApiError>) -> ZoneAnswer {
    let (volumes, error) = match answer {
        Ok(volumes) => (volumes, None),
        Err(e) => (Vec::new(), Some(e)),
    };
    ZoneAnswer {
        zone: zone.clone(),
        volumes,
        error,
    }
}

#[derive(Debug, Serialize)]
struct VolumePage {
    volume: ImageSpec,
    zones: Vec<ZoneAnswer>,
}

impl Document for VolumePage {
    fn text(&self, page: &mut Page) {
        page.line(self.volume.to_string());
        for z in &self.zones {
            if let Some(e) = &z.error {
                page.heading(format!("{}: {}", z.zone, e.message));
            }
            for v in &z.volumes {
                page.heading(format!("{}: {}", z.zone, v.status));
                facts(page, v);
            }
        }
    }
}

fn facts(page: &mut Page, v: &VolumeReport) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            rows.push(vec![name.to_owned(), value]);
        }
    };
    fact("mode", v.mode.map(|m| m.to_string()));
    fact("group", v.group.as_ref().map(ToString::to_string));
    fact("size", v.size.map(|b| format!("{} MiB", b >> 20)));
    fact(
        "complete copy",
        (v.complete_copy != Known::Yes).then(|| match v.complete_copy {
            Known::No => "NO: it must not be promoted".to_owned(),
            Known::Yes | Known::Unknown => "unknown".to_owned(),
        }),
    );
    fact(
        "last sync",
        v.last_sync.map(|s| {
            let took = s
                .took
                .map_or(String::new(), |t| format!(", took {}", rounded(t)));
            let bytes = s
                .bytes
                .map_or(String::new(), |b| format!(", {} KiB", b >> 10));
            format!("{}{took}{bytes}", moment(s.at))
        }),
    );
    fact("lag", (v.role == Role::Secondary).then(|| lag(v.lag)));
    fact(
        "mirror daemon here",
        v.local
            .as_ref()
            .map(|s| format!("{} ({})", s.state, s.description)),
    );
    fact(
        "mirror daemon there",
        v.peer
            .as_ref()
            .map(|s| format!("{} ({})", s.state, s.description)),
    );
    fact(
        "in Cinder",
        v.cinder.as_ref().map(|c| {
            let name = c
                .name
                .as_deref()
                .map_or(String::new(), |n| format!(" {n:?}"));
            format!("{} of {}{name}, {} GiB", c.id, c.zone, c.size_gib)
        }),
    );
    let as_usual = |o: &OnDelete| *o != OnDelete::AS_CINDER;
    fact(
        "when deleted there",
        v.on_delete.filter(as_usual).map(|o| o.to_string()),
    );
    fact("at work on it", v.in_flight.clone());
    page.table(2, &rows);
    for c in &v.concerns {
        page.loud(format!("  {c}"));
    }
}

pub(super) async fn show(
    volume: &ImageSpec,
    zone: Option<ZoneName>,
    peers: &Peers,
    output: &Output,
) -> Result<Exit, CliError> {
    let zones = match zone {
        Some(zone) => vec![zone],
        None => peers.zones()?,
    };
    let zones = look(&zones, volume, peers).await?;
    // Nowhere at all is an answer of its own: most likely a slip of the name.
    let unknown = |z: &ZoneAnswer| {
        z.error
            .as_ref()
            .is_some_and(|e| e.code == ErrorCode::UnknownVolume)
    };
    if let (true, Some(first)) = (
        zones.iter().all(unknown),
        zones.first().and_then(|z| z.error.clone()),
    ) {
        return Err(CliError::Api(first));
    }
    let silent = zones.iter().any(|z| z.error.is_some() && !unknown(z));
    let exit = match (silent, zones.iter().all(|z| z.error.is_some())) {
        (false, _) => Exit::Ok,
        (true, false) => Exit::Partial,
        (true, true) => Exit::Unreachable,
    };
    output.document(&VolumePage {
        volume: volume.clone(),
        zones,
    })?;
    Ok(exit)
}

/// One volume, as each of these zones sees it.
pub(super) async fn look(
    zones: &[ZoneName],
    volume: &ImageSpec,
    peers: &Peers,
) -> Result<Vec<ZoneAnswer>, CliError> {
    let asked = join_all(zones.iter().map(|zone| async {
        let answer = peers.sidecar(zone)?.volume(volume).await;
        Ok::<_, CliError>(answered(zone, answer.map(|v| vec![v])))
    }))
    .await;
    asked.into_iter().collect()
}
