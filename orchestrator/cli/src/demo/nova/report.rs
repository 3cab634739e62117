//! What the demonstration with servers found: one line, and the same as JSON.

use crate::{
    demo::report::{Details, Figures, figure},
    output::{Document, Page},
};
use rekindle_common::ServerKey;
use serde::Serialize;

/// The figures. Times are seconds; `None` is not known, because the story ended before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::demo) struct ServersReport {
    /// Always `nova`.
    pub world: &'static str,
    /// So many levels of priority.
    pub levels: usize,
    /// Each server, in the order in which they start.
    pub servers: Vec<ServerFigures>,
    /// From the kill to the failover plan's begin.
    pub detect_s: Option<f64>,
    /// How long the plan's promote step took.
    pub promote_s: Option<f64>,
    /// Volumes promoted in zone-b.
    pub promoted: usize,
    /// Volumes in step in zone-a after it came back.
    pub resynced: usize,
    /// Servers that answer from zone-a in the end.
    pub moved_home: usize,
    /// Records that the planned move lost. Must be 0.
    pub lost_planned: Option<u64>,
    /// Further figures, for whoever compares runs.
    pub details: Details,
    /// Why the story ended early, and each server's faults.
    pub problems: Vec<String>,
}

/// One server's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::demo) struct ServerFigures {
    /// Its name in the runbook.
    pub name: ServerKey,
    /// Its level, from 1.
    pub level: usize,
    /// From the kill until the failover began.
    pub detected_s: Option<f64>,
    /// From the kill until its volume was promoted, with the others'.
    pub promoted_s: Option<f64>,
    /// From the kill until it answered from zone-b.
    pub first_answer_s: Option<f64>,
    /// From its newest record that survived to the kill.
    pub lost_s: Option<f64>,
    /// Records that it had shown and that are gone.
    pub lost_records: Option<u64>,
    /// Whether all that its disk held was as it must be, read from the copy in zone-a after the resync.
    pub verified_after_resync: bool,
    /// Records that the move home lost.
    pub lost_planned: Option<u64>,
    /// From the order to move home until it answered there.
    pub home_answer_s: Option<f64>,
    /// The same as after the resync, read from the primary in zone-a in the end.
    pub verified_at_home: bool,
    /// Records on its disk in the end.
    pub records: usize,
}

impl ServerFigures {
    /// Nothing found yet.
    #[must_use]
    pub(in crate::demo) fn new(name: ServerKey, level: usize) -> Self {
        Self {
            name,
            level,
            detected_s: None,
            promoted_s: None,
            first_answer_s: None,
            lost_s: None,
            lost_records: None,
            verified_after_resync: false,
            lost_planned: None,
            home_answer_s: None,
            verified_at_home: false,
            records: 0,
        }
    }

    fn complete(&self) -> bool {
        let times = [
            self.detected_s,
            self.promoted_s,
            self.first_answer_s,
            self.lost_s,
            self.home_answer_s,
        ];
        times.iter().all(Option::is_some)
            && self.lost_records.is_some()
            && self.lost_planned == Some(0)
            && self.verified_after_resync
            && self.verified_at_home
            && self.records > 0
    }
}

impl ServersReport {
    /// Nothing found yet.
    #[must_use]
    pub(in crate::demo) fn new(servers: Vec<ServerFigures>) -> Self {
        Self {
            world: "nova",
            levels: servers.iter().map(|s| s.level).max().unwrap_or_default(),
            servers,
            detect_s: None,
            promote_s: None,
            promoted: 0,
            resynced: 0,
            moved_home: 0,
            lost_planned: None,
            details: Details::default(),
            problems: Vec::new(),
        }
    }

    /// The one line.
    #[must_use]
    pub(in crate::demo) fn line(&self) -> String {
        let s = |v: Option<f64>| v.map_or("?".to_owned(), figure);
        let count = |v: Option<u64>| v.map_or("?".to_owned(), |n| n.to_string());
        let n = self.servers.len();
        let answers: Vec<String> = self
            .servers
            .iter()
            .map(|f| format!("{} after {} s", f.name, s(f.first_answer_s)))
            .collect();
        let lost_s = self.servers.iter().filter_map(|f| f.lost_s);
        let lost: Option<u64> = self.servers.iter().map(|f| f.lost_records).sum();
        let verified = |which: fn(&ServerFigures) -> bool| {
            let good = self.servers.iter().filter(|f| which(f)).count();
            format!("{good}/{n}")
        };
        format!(
            "demo: {n} servers in {} levels; zone-a killed; detected in {} s, promoted {}/{n} in {} s, answered: {}; \
             {} records lost, the newest write {} s; zone-a back, resynced {}/{n}, data verified {}; \
             moved home {}/{n}, lost {}; data verified {}",
            self.levels,
            s(self.detect_s),
            self.promoted,
            s(self.promote_s),
            answers.join(", "),
            count(lost),
            s(lost_s.max_by(f64::total_cmp)),
            self.resynced,
            verified(|f| f.verified_after_resync),
            self.moved_home,
            count(self.lost_planned),
            verified(|f| f.verified_at_home),
        )
    }
}

impl Figures for ServersReport {
    fn complete(&self) -> bool {
        let n = self.servers.len();
        n > 0
            && [self.promoted, self.resynced, self.moved_home] == [n; 3]
            && self.servers.iter().all(ServerFigures::complete)
            && self.lost_planned == Some(0)
            && self.problems.is_empty()
            && self.detect_s.is_some()
            && self.promote_s.is_some()
    }
    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }
}

impl Document for ServersReport {
    fn text(&self, page: &mut Page) {
        page.line(self.line());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> ServersReport {
        let one = |(name, level): (&str, usize)| ServerFigures {
            detected_s: Some(9.0),
            promoted_s: Some(11.5),
            first_answer_s: Some(30.0 + f64::from(u8::try_from(level).unwrap())),
            lost_s: Some(0.75),
            lost_records: Some(2),
            verified_after_resync: true,
            lost_planned: Some(0),
            home_answer_s: Some(50.0),
            verified_at_home: true,
            records: 500,
            ..ServerFigures::new(name.parse().unwrap(), level)
        };
        ServersReport {
            detect_s: Some(9.04),
            promote_s: Some(0.5),
            promoted: 3,
            resynced: 3,
            moved_home: 3,
            lost_planned: Some(0),
            ..ServersReport::new([("db", 1), ("web-1", 2), ("web-2", 2)].map(one).to_vec())
        }
    }

    #[test]
    fn the_line_has_each_servers_first_answer() {
        assert_eq!(
            full().line(),
            "demo: 3 servers in 2 levels; zone-a killed; detected in 9.0 s, promoted 3/3 in 0.50 s, \
             answered: db after 31.0 s, web-1 after 32.0 s, web-2 after 32.0 s; 6 records lost, the newest write 0.75 s; \
             zone-a back, resynced 3/3, data verified 3/3; moved home 3/3, lost 0; data verified 3/3"
        );
        assert!(full().complete());
        let new = ServersReport::new(
            full()
                .servers
                .iter()
                .map(|s| ServerFigures::new(s.name.clone(), s.level))
                .collect(),
        );
        assert!(new.line().contains("db after ? s"), "{}", new.line());
        assert!(!new.complete());
    }

    #[test]
    fn anything_short_is_not_complete() {
        let short: [fn(&mut ServersReport); 8] = [
            |r| r.promoted = 2,
            |r| r.resynced = 2,
            |r| r.moved_home = 2,
            |r| r.lost_planned = Some(1),
            |r| r.servers[1].first_answer_s = None,
            |r| r.servers[2].verified_after_resync = false,
            |r| r.servers[0].lost_planned = Some(1),
            |r| r.problem("x".into()),
        ];
        for change in short {
            let mut r = full();
            change(&mut r);
            assert!(!r.complete(), "{r:?}");
        }
    }
}
