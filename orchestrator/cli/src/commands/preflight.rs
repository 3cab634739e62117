//! `rekindle preflight`: what would keep the other zone from taking what is replicated.

use crate::{
    args::PreflightArgs,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use rekindle_orchestrator::{
    config::Config,
    preflight::{self, Gap, Preflight, PreflightError},
};
use serde::Serialize;

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
}
