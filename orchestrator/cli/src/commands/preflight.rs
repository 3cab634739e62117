//! `rekindle preflight`: what would keep the other zone from taking what is replicated.

use super::words::{ago, plural};
use crate::{
    args::PreflightArgs,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use jiff::Timestamp;
use rekindle_orchestrator::{
    config::Config,
    preflight::{self, Gap, KeptPreflight, Preflight, PreflightError},
};
use serde::Serialize;

/// So many gaps of a daily check are named; JSON has more.
const MOST_GAPS: usize = 5;

#[derive(Serialize)]
#[serde(transparent)]
struct PreflightPage(Preflight);

impl Document for PreflightPage {
    fn text(&self, page: &mut Page) {
        let p = &self.0;
        let c = p.counts;
        page.line(format!(
            "{} zones, {} replicated volumes, {} projects that they are mapped to, {} replicated types, {} servers",
            c.zones, c.volumes, c.projects, c.types, c.servers
        ));
        if !p.gaps.is_empty() {
            page.heading("Gaps");
        }
        for gap in &p.gaps {
            page.loud(format!("  {} ({}): {}", place(gap), gap.kind, gap.what));
            page.line(format!("    what to do: {}", gap.advice));
        }
        if !p.unchecked.is_empty() {
            page.heading("Not checked");
        }
        for u in &p.unchecked {
            page.line(format!("  {}: {}: {}", u.zone, u.what, u.why));
        }
        if p.is_well() {
            page.line("nothing is missing");
        }
        if !p.daily.is_empty() {
            page.heading("The leader's last daily checks");
        }
        for kept in &p.daily {
            page.line(format!("  {}", kept.group));
            last(page, kept, Timestamp::now());
        }
    }
}

/// A group's last daily check: when it was, and the first of what it found.
pub(super) fn last(page: &mut Page, kept: &KeptPreflight, now: Timestamp) {
    let (gaps, unchecked) = (kept.gap_count(), kept.unchecked_count());
    let found = match (gaps, unchecked) {
        (0, 0) => "nothing is missing".to_owned(),
        (n, 0) => plural(n, "gap"),
        (0, u) => format!("{u} not checked"),
        (n, u) => format!("{}, {u} not checked", plural(n, "gap")),
    };
    let servers = plural(kept.counts.servers, "server");
    page.line(format!(
        "    daily preflight ({}) of {servers}: {found}",
        ago(kept.at, now)
    ));
    for gap in kept.gaps.iter().take(MOST_GAPS) {
        page.line(format!("      {} ({}): {}", place(gap), gap.kind, gap.what));
    }
    let more = gaps.saturating_sub(MOST_GAPS);
    if more > 0 {
        let group = &kept.group;
        page.line(format!("      and {more} more: `rekindle preflight`, or `rekindle group show {group} --output json`"));
    }
    if let Some(why) = &kept.failed {
        page.line(format!("      nothing could be checked: {why}"));
    }
}

fn place(gap: &Gap) -> String {
    gap.zone
        .as_ref()
        .map_or("both".to_owned(), ToString::to_string)
}

/// Checks both zones.
///
/// # Errors
/// [`CliError`]: the configuration cannot be used. Gaps are written, and end as [`Exit::Refused`]; where all that is missing is an answer, as
/// [`Exit::Unreachable`].
pub async fn run(args: &PreflightArgs, output: &Output) -> Result<Exit, CliError> {
    let unusable =
        |e| CliError::usage("the orchestrator's configuration cannot be used").caused_by(e);
    let config = Config::load(&args.file).map_err(unusable)?;
    let mapping = config.mapping().map_err(unusable)?.ok_or_else(|| {
        CliError::usage(format!("{} has no [catalogue]", args.file.display()))
            .advise("set catalogue.mapping: the file that says which project, type and key is which in the other zone")
    })?;
    let found = preflight::run(&config, &mapping)
        .await
        .map_err(|e: PreflightError| {
            CliError::usage("the orchestrator's configuration cannot be used").caused_by(e)
        })?;
    let exit = ended(&found);
    output.document(&PreflightPage(found))?;
    Ok(exit)
}

fn ended(found: &Preflight) -> Exit {
    if found.is_well() {
        Exit::Ok
    } else if found.gaps.iter().all(|g| g.kind.is_silence()) {
        Exit::Unreachable
    } else {
        Exit::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_orchestrator::preflight::{Counts, GapKind, Unchecked};

    fn found(kinds: &[GapKind], unchecked: usize) -> Preflight {
        let zone = rekindle_common::ZoneName::new("zone-b").unwrap();
        Preflight {
            gaps: kinds
                .iter()
                .map(|kind| Gap {
                    kind: *kind,
                    zone: Some(zone.clone()),
                    what: "what is wrong".to_owned(),
                    advice: "mend it".to_owned(),
                })
                .collect(),
            unchecked: vec![
                Unchecked {
                    zone: zone.clone(),
                    what: "its volumes".to_owned(),
                    why: "it is silent".to_owned(),
                };
                unchecked
            ],
            counts: Counts::default(),
            daily: Vec::new(),
        }
    }

    #[test]
    fn the_exit_says_whether_something_is_missing_or_only_silent() {
        let silent = GapKind::CloudUnreachable;
        for (gaps, unchecked, exit) in [
            (&[][..], 0, Exit::Ok),
            (&[silent], 1, Exit::Unreachable),
            (&[], 1, Exit::Unreachable),
            (&[silent, GapKind::Quota], 1, Exit::Refused),
            (&[GapKind::WrongSecret], 0, Exit::Refused),
        ] {
            assert_eq!(ended(&found(gaps, unchecked)), exit, "{gaps:?}");
        }
    }

    #[test]
    fn each_gap_is_said_with_what_to_do() {
        let mut page = Page::new(false);
        PreflightPage(found(&[GapKind::Quota], 1)).text(&mut page);
        let text = page.into_text();
        for words in [
            "zone-b (quota): what is wrong",
            "what to do: mend it",
            "zone-b: its volumes: it is silent",
        ] {
            assert!(text.contains(words), "{text}");
        }
        assert!(!text.contains("nothing is missing"), "{text}");
    }

    #[test]
    fn a_daily_check_says_when_it_was_and_what_it_found() {
        let at: Timestamp = "2026-01-02T03:00:00Z".parse().unwrap();
        let now: Timestamp = "2026-01-02T05:00:00Z".parse().unwrap();
        let shown = |found| {
            let mut page = Page::new(false);
            last(
                &mut page,
                &KeptPreflight::of("db".parse().unwrap(), at, found),
                now,
            );
            page.into_text()
        };
        let text = shown(Ok(found(&[GapKind::Quota; 7], 1)));
        for words in [
            "7 gaps, 1 not checked",
            "2h",
            "zone-b (quota): what is wrong",
            "and 2 more",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(shown(Ok(found(&[], 0))).contains("nothing is missing"));
        assert!(shown(Err("no such file".to_owned())).contains("no such file"));
    }
}
