//! What the demonstration found: one line, and the same as JSON.

use super::volumes::{DemoVolume, Kind, count};
use crate::{
    error::CliError,
    output::{Document, Page},
};
use serde::Serialize;
use std::path::Path;

/// What a story found.
pub trait Figures: Document {
    /// Whether everything that was to happen did.
    fn complete(&self) -> bool;
    /// Notes what went wrong.
    fn problem(&mut self, text: String);
}

/// The figures. Times are seconds; `None` is not known, because the story ended before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How many volumes.
    pub volumes: usize,
    /// Promoted in zone-b.
    pub promoted: usize,
    /// In step in zone-a after it came back.
    pub resynced: usize,
    /// Primary in zone-a, and written to, in the end.
    pub moved_home: usize,
    /// Whose records were all as they must be, each time they were read.
    pub verified: usize,
    /// From the kill to the failover plan's begin.
    pub detect_s: Option<f64>,
    /// How long the plan's promote step took.
    pub promote_s: Option<f64>,
    /// From the kill to the first acknowledged write in zone-b on the last of the volumes.
    pub serving_s: Option<f64>,
    /// The most that a volume of mode `instant` lost: newest surviving record to kill.
    pub lost_s_instant: Option<f64>,
    /// The same for `periodic`.
    pub lost_s_periodic: Option<f64>,
    /// Acknowledged records that the planned move lost. Must be 0.
    pub lost_planned: Option<usize>,
    /// On what: `embedded` or `lab`.
    pub world: &'static str,
    /// Further figures, for whoever compares runs.
    pub details: Details,
    /// Why the story ended early, and each volume's faults.
    pub problems: Vec<String>,
    #[serde(skip)]
    shape: [usize; 3],
}

/// Figures that are not in the line.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Details {
    /// Records acknowledged in all.
    pub records_acknowledged: usize,
    /// Of those, lost by the failover, all modes together (a `once` volume loses all since its snapshot, by design).
    pub records_lost_by_failover: usize,
    /// From the order to replicate until the group was protected.
    pub protect_s: Option<f64>,
    /// From zone-a's start until the group was protected again.
    pub reprotect_s: Option<f64>,
    /// From the order to move home until the application wrote there again.
    pub move_s: Option<f64>,
    /// For how long the application could not write during the planned move, on the volume where that was longest.
    pub move_pause_s: Option<f64>,
    /// The whole story.
    pub total_s: Option<f64>,
}

impl Report {
    /// Nothing found yet.
    #[must_use]
    pub fn new(world: &'static str, volumes: &[DemoVolume]) -> Self {
        Self {
            volumes: volumes.len(),
            promoted: 0,
            resynced: 0,
            moved_home: 0,
            verified: 0,
            detect_s: None,
            promote_s: None,
            serving_s: None,
            lost_s_instant: None,
            lost_s_periodic: None,
            lost_planned: None,
            world,
            details: Details::default(),
            problems: Vec::new(),
            shape: [Kind::Instant, Kind::Periodic, Kind::Once].map(|k| count(volumes, k)),
        }
    }

    /// The one line.
    #[must_use]
    pub fn line(&self) -> String {
        let s = |v: Option<f64>| v.map_or("?".to_owned(), figure);
        let lost = self.lost_planned.map_or("?".to_owned(), |n| n.to_string());
        let [instant, periodic, once] = self.shape;
        let n = self.volumes;
        format!(
            "demo: {n} volumes ({instant} instant, {periodic} periodic, {once} once); zone-a killed; \
             detected in {} s, promoted {}/{n} in {} s, serving after {} s; \
             newest write lost: instant {} s, periodic {} s; \
             zone-a back, resynced {}/{n}; moved home {}/{n}, lost {lost}; data verified {}/{n}",
            s(self.detect_s),
            self.promoted,
            s(self.promote_s),
            s(self.serving_s),
            s(self.lost_s_instant),
            s(self.lost_s_periodic),
            self.resynced,
            self.moved_home,
            self.verified,
        )
    }
}

/// Writes figures as JSON; makes the folder.
///
/// # Errors
/// [`CliError::Usage`] where the file cannot be written.
pub fn save(figures: &impl Serialize, path: &Path) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(figures).map_err(CliError::Json)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    parent
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, text + "\n"))
        .map_err(|e| CliError::Usage {
            message: format!("the report cannot be written to {}", path.display()),
            advice: Some("name another file with --report".to_owned()),
            source: Some(Box::new(e)),
        })
}

/// Seconds, to a tenth; below one to a hundredth.
pub(super) fn figure(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{seconds:.2}")
    } else {
        format!("{seconds:.1}")
    }
}

impl Figures for Report {
    fn complete(&self) -> bool {
        let n = self.volumes;
        [self.promoted, self.resynced, self.moved_home, self.verified] == [n; 4]
            && self.lost_planned == Some(0)
            && self.problems.is_empty()
            && [
                self.detect_s,
                self.promote_s,
                self.serving_s,
                self.lost_s_instant,
                self.lost_s_periodic,
            ]
            .iter()
            .all(Option::is_some)
    }
    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }
}

impl Document for Report {
    fn text(&self, page: &mut Page) {
        page.line(self.line());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::volumes::volumes;

    fn full() -> Report {
        let mut r = Report::new("embedded", &volumes("volumes", 12));
        r.promoted = 12;
        r.resynced = 12;
        r.moved_home = 12;
        r.verified = 12;
        r.detect_s = Some(7.04);
        r.promote_s = Some(0.5);
        r.serving_s = Some(9.25);
        r.lost_s_instant = Some(0.31);
        r.lost_s_periodic = Some(6.0);
        r.lost_planned = Some(0);
        r
    }

    #[test]
    fn the_line_is_the_one_that_was_promised() {
        assert_eq!(
            full().line(),
            "demo: 12 volumes (4 instant, 4 periodic, 4 once); zone-a killed; detected in 7.0 s, promoted 12/12 in 0.50 s, \
             serving after 9.2 s; newest write lost: instant 0.31 s, periodic 6.0 s; zone-a back, resynced 12/12; \
             moved home 12/12, lost 0; data verified 12/12"
        );
        assert!(full().complete());
    }

    #[test]
    fn anything_short_is_not_complete() {
        let short: [fn(&mut Report); 7] = [
            |r| r.promoted = 11,
            |r| r.resynced = 11,
            |r| r.moved_home = 11,
            |r| r.verified = 11,
            |r| r.lost_planned = Some(1),
            |r| r.serving_s = None,
            |r| r.problems.push("x".into()),
        ];
        for change in short {
            let mut r = full();
            change(&mut r);
            assert!(!r.complete(), "{r:?}");
        }
    }

    #[test]
    fn the_report_has_the_promised_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.json");
        save(&full(), &path).unwrap();
        let v: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for key in [
            "volumes",
            "promoted",
            "resynced",
            "moved_home",
            "verified",
            "detect_s",
            "promote_s",
            "serving_s",
            "lost_s_instant",
            "lost_s_periodic",
            "lost_planned",
        ] {
            assert!(v[key].is_number(), "{key}");
        }
    }
}
