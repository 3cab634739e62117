//! `rekindle catalogue`: each zone's volumes as volumes of the other zone's Cinder, and what a person must see to.

use super::words::{moment, plural};
use crate::{
    connect::Peers,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use rekindle_orchestrator::wire::{CatalogueStatus, CatalogueZone, Sight};
use serde::Serialize;

/// The whole of it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct CataloguePage(pub(super) CatalogueStatus);

/// Shows it.
///
/// # Errors
/// [`CliError`].
pub(super) async fn show(peers: &Peers, output: &Output) -> Result<Exit, CliError> {
    let status = peers.orchestrator()?.catalogue().await;
    output.document(&CataloguePage(status.map_err(CliError::Api)?))?;
    Ok(Exit::Ok)
}

impl Document for CataloguePage {
    fn text(&self, page: &mut Page) {
        let s = &self.0;
        let good = match s.last_good {
            Some(at) => format!("all was well at {}", moment(at)),
            None => "not once well since this site leads".to_owned(),
        };
        page.line(format!("as {} saw it at {}; {good}", s.site, moment(s.at)));
        for z in &s.zones {
            zone(page, z);
        }
        if s.waiting > 0 {
            page.line(format!(
                "{} for which something failed that is tried again",
                plural(s.waiting, "volume")
            ));
        }
        volumes(page, s);
        findings(page, s);
    }
}

fn zone(page: &mut Page, z: &CatalogueZone) {
    let part = |what: &str, sight: &Sight| match sight {
        Sight::Seen { .. } => None,
        Sight::Missing { count, why } => Some(format!(
            "{}: not all of its {what} are known, {count} are: {why}",
            z.zone
        )),
    };
    let missing = [
        part("images", &z.images),
        part("volumes in Cinder", &z.records),
    ];
    for text in missing.into_iter().flatten() {
        page.loud(text);
    }
}

fn volumes(page: &mut Page, s: &CatalogueStatus) {
    if s.volumes.is_empty() {
        page.line("no volume is replicated");
        return;
    }
    page.heading("Volumes");
    let head = ["IMAGE", "ZONE", "VOLUME", "NAME", "STATUS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for v in &s.volumes {
        let mut image = v.image.to_string();
        for (zone, side) in &v.sides {
            let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            rows.push(vec![
                // Once for both.
                std::mem::take(&mut image),
                zone.to_string(),
                or(side.volume.clone()),
                or(side.name.as_deref().map(printable)),
                or(side.status.map(|s| s.to_string())),
            ]);
        }
    }
    page.table(2, &rows);
    if s.more_volumes > 0 {
        page.line(format!("  and {}", plural(s.more_volumes, "more volume")));
    }
}

/// Users choose names: none moves the cursor, and none fills the screen.
fn printable(name: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    name.chars().take(40).map(clean).collect()
}

fn findings(page: &mut Page, s: &CatalogueStatus) {
    let causes = s.causes();
    if causes.is_empty() {
        return;
    }
    page.heading("To be seen to");
    for (first, count) in causes {
        let f = &first.finding;
        let record = f
            .record
            .as_ref()
            .map_or_else(String::new, |r| format!(" (volume {r})"));
        let more = match count {
            1 => String::new(),
            n => format!(" and {}", plural(n - 1, "more volume")),
        };
        let what = f.kind.name().replace('_', " ");
        page.loud(format!(
            "  {}: {what}, since {}: {}{record}{more}",
            f.zone,
            moment(first.since),
            f.image
        ));
        page.line(format!("    {}", f.text));
    }
    if s.more_findings > 0 {
        page.line(format!("  and {} more", s.more_findings));
    }
}
