//! Two orchestrators' files against each other: what must be the same, and is not (hard case 13).

use super::Config;
use rekindle_openstack::CloudConfig;
use std::{collections::BTreeSet, fmt};

/// A field on which two files disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The field, as a path.
    pub field: String,
    /// What is wrong.
    pub why: String,
}
impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// All that two orchestrators' files disagree on. Empty: they fit together.
#[must_use]
pub fn cross_check(a: &Config, b: &Config) -> Vec<Disagreement> {
    let mut found = Vec::new();
    let mut say = |field: String, why: String| found.push(Disagreement { field, why });
    let (here, there) = (&a.site, &b.site);
    if here == there {
        say(
            "site".to_owned(),
            format!("both say {here}: two programs would campaign under one name"),
        );
    }
    let names: BTreeSet<_> = a.sites.keys().chain(b.sites.keys()).collect();
    for site in names {
        let field = format!("sites.{site}");
        match (a.sites.get(site), b.sites.get(site)) {
            (Some(x), Some(y)) if x != y => say(field, format!("{here} has {x}, {there} has {y}")),
            (Some(_), None) => say(
                field,
                format!("{there} does not have it: they would count different majorities"),
            ),
            (None, Some(_)) => say(
                field,
                format!("{here} does not have it: they would count different majorities"),
            ),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    let names: BTreeSet<_> = a.zones.keys().chain(b.zones.keys()).collect();
    for zone in names {
        let field = format!("zones.{zone}");
        match (a.zones.get(zone), b.zones.get(zone)) {
            (Some(_), None) => say(field, format!("{there} does not have it")),
            (None, Some(_)) => say(field, format!("{here} does not have it")),
            // Sites may reach a zone by different addresses, but not count different monitors.
            (Some(x), Some(y)) if x.ceph_mons.len() != y.ceph_mons.len() => say(
                format!("{field}.ceph_mons"),
                format!(
                    "{here} has {} monitors, {there} has {}",
                    x.ceph_mons.len(),
                    y.ceph_mons.len()
                ),
            ),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    let endpoints = |c: &Config| c.etcd.endpoints.iter().cloned().collect::<BTreeSet<_>>();
    if endpoints(a) != endpoints(b) {
        say(
            "etcd.endpoints".to_owned(),
            format!("{here} and {there} name different members"),
        );
    }
    if a.times.leader_ttl != b.times.leader_ttl {
        say(
            "times.leader_ttl".to_owned(),
            format!(
                "{here} has {}, {there} has {}",
                a.times.leader_ttl, b.times.leader_ttl
            ),
        );
    }
    clouds(a, b, &mut say);
    // A plan may be carried out by any site's leader: each needs every command.
    for (kind, x, y) in [
        ("applications", &a.applications, &b.applications),
        ("fence_agents", &a.fence_agents, &b.fence_agents),
        ("hooks", &a.hooks, &b.hooks),
    ] {
        let names: BTreeSet<_> = x.keys().chain(y.keys()).collect();
        for name in names {
            match (x.contains_key(name), y.contains_key(name)) {
                (true, false) => say(
                    format!("{kind}.{name}"),
                    format!(
                        "{there} does not have it, and could not carry out a plan that names it"
                    ),
                ),
                (false, true) => say(
                    format!("{kind}.{name}"),
                    format!(
                        "{here} does not have it, and could not carry out a plan that names it"
                    ),
                ),
                (true, true) | (false, false) => {}
            }
        }
    }
    found
}

/// Whichever site leads keeps the same catalogues. Clouds may be reached by different addresses and with different secrets.
fn clouds(a: &Config, b: &Config, say: &mut impl FnMut(String, String)) {
    let (here, there) = (&a.site, &b.site);
    let lacks = |who| format!("{who} does not have it, and could keep no catalogue when it leads");
    match (&a.catalogue, &b.catalogue) {
        (Some(_), None) => say("catalogue".to_owned(), lacks(there)),
        (None, Some(_)) => say("catalogue".to_owned(), lacks(here)),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let names: BTreeSet<_> = a.clouds.keys().chain(b.clouds.keys()).collect();
    for zone in names {
        let field = format!("clouds.{zone}");
        match (a.clouds.get(zone), b.clouds.get(zone)) {
            (Some(_), None) => say(field, lacks(there)),
            (None, Some(_)) => say(field, lacks(here)),
            (Some(x), Some(y)) => {
                if x.backends != y.backends {
                    let why = format!("{here} and {there} name different hosts");
                    say(format!("{field}.backends"), why);
                }
                // What a clouds.yaml or a variable says is that machine's, and not in this file.
                let whole = |c: &CloudConfig| c.clouds_yaml.is_none() && c.environment.is_none();
                if whole(x) && whole(y) && x.region != y.region {
                    let word = |r: &Option<String>| r.clone().unwrap_or("none".to_owned());
                    let (x, y) = (word(&x.region), word(&y.region));
                    say(
                        format!("{field}.region"),
                        format!("{here} has {x}, {there} has {y}"),
                    );
                }
            }
            (None, None) => {}
        }
    }
}
