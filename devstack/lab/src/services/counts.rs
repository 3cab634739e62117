//! Services that listen nowhere, Cinder's and Nova's, count on in a table of their database that they live, once in two seconds.
//!
//! The rest of Cinder and Nova goes by that, and so does the lab. The time beside the count says less: a service writes its row
//! also when it has only begun.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::SiteCtx;
use crate::error::Result;
use crate::layout::write_whole;
use crate::openstack::DOWN_TIME;

/// The counts of one program, by the hosts that it runs as.
pub(super) struct Counts<'a> {
    pub(super) ctx: &'a SiteCtx,
    /// The service's name in the lab: two of it may run the same program.
    pub(super) service: &'a str,
    pub(super) binary: &'a str,
    /// Asks the database that has its row.
    pub(super) ask: fn(&SiteCtx, &str) -> Result<String>,
}

impl Counts<'_> {
    /// Keeps what the counts are before it starts: what it counts itself comes on top.
    pub(super) fn keep(&self) -> Result<()> {
        write_whole(&self.kept(), &(self.ask)(self.ctx, &self.sql(None))?)
    }

    /// Whether all of these counted since it began, and lately.
    pub(super) fn have_grown(&self, hosts: &[String]) -> std::result::Result<(), String> {
        // None was kept: it was not started by this program.
        let before = fs::read_to_string(self.kept()).unwrap_or_default();
        let now =
            (self.ask)(self.ctx, &self.sql(Some(DOWN_TIME))).map_err(|error| error.to_string())?;
        match silent(hosts, &before, &now).as_slice() {
            [] => Ok(()),
            silent => Err(format!("no word yet from {}", silent.join(", "))),
        }
    }

    fn kept(&self) -> PathBuf {
        self.ctx.dirs.run().join(format!("{}.counts", self.service))
    }

    fn sql(&self, within: Option<u32>) -> String {
        let lately = within.map(|seconds| {
            format!(" AND updated_at > UTC_TIMESTAMP() - INTERVAL {seconds} SECOND")
        });
        format!(
            "SELECT host, report_count FROM services WHERE deleted = 0 AND `binary` = '{}'{}",
            self.binary,
            lately.unwrap_or_default()
        )
    }
}

fn silent<'a>(hosts: &'a [String], before: &str, now: &str) -> Vec<&'a str> {
    let (before, now) = (counts(before), counts(now));
    let counted = |host: &str| {
        let now = now.get(host).copied().unwrap_or_default();
        now > before.get(host).copied().unwrap_or_default()
    };
    let silent = hosts.iter().map(String::as_str);
    silent.filter(|host| !counted(host)).collect()
}

fn counts(rows: &str) -> BTreeMap<&str, u64> {
    rows.lines()
        .filter_map(|row| row.split_once('\t'))
        .filter_map(|(host, count)| Some((host, count.trim().parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_only_began_is_silent_and_one_of_two_is_named() {
        let hosts = ["zone-a@one".to_owned(), "zone-a@two".to_owned()];
        let before = "zone-a@one\t41\n";
        for (now, expected) in [
            ("", vec!["zone-a@one", "zone-a@two"]),
            (
                "zone-a@one\t41\nzone-a@two\t0\n",
                vec!["zone-a@one", "zone-a@two"],
            ),
            ("zone-a@one\t42\nzone-a@two\t0\n", vec!["zone-a@two"]),
            ("zone-a@one\t42\nzone-a@two\t1\n", vec![]),
        ] {
            assert_eq!(silent(&hosts, before, now), expected, "{now}");
        }
    }
}
