//! Keystone's catalogue: where a service is, by type, region and interface.
//!
//! An operator's endpoint may end in the version and the project, in the version, or in neither, behind any path. What is kept of it is
//! what stands before that; the version is ours to add, and the project for Cinder: both releases that we support take it. Nova has
//! needed none since 2016, and Neutron never did. Placement has no version in its path.

use crate::{cloud::To, config::Interface, login::Login, url::Url};
use serde::Deserialize;

/// What of a catalogue is a service.
struct Kind {
    /// Its types, as clouds have named it over the years, in the order of our liking.
    types: &'static [&'static str],
    /// The version that we speak, as the last part of the path before the project; none where the path has no version.
    version: &'static str,
    /// Versions that an endpoint may name and that we do not speak: that endpoint is another service.
    others: &'static [&'static str],
    /// Versions that an endpoint may name and that are the same service.
    same: &'static [&'static str],
    /// Whether a call names the project in its path.
    project: bool,
}

fn kind(to: To) -> Option<Kind> {
    match to {
        // It is where tokens come from, and in no need of being found.
        To::Keystone => None,
        To::Cinder => Some(Kind {
            types: &["block-storage", "volumev3", "block-store", "volume"],
            version: "v3",
            others: &["v1", "v2"],
            same: &["v3"],
            project: true,
        }),
        To::Nova => Some(Kind {
            types: &["compute"],
            version: "v2.1",
            others: &[],
            same: &["v2.1", "v2"],
            project: false,
        }),
        To::Neutron => Some(Kind {
            types: &["network"],
            version: "v2.0",
            others: &[],
            same: &["v2.0"],
            project: false,
        }),
        To::Barbican => Some(Kind {
            types: &["key-manager"],
            version: "v1",
            others: &[],
            same: &["v1"],
            project: false,
        }),
        To::Placement => Some(Kind {
            types: &["placement"],
            version: "",
            others: &[],
            same: &[],
            project: false,
        }),
    }
}

/// One service.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CatalogService {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, Deserialize)]
struct Endpoint {
    interface: String,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    region_id: Option<String>,
    url: String,
}

impl Endpoint {
    fn region(&self) -> &str {
        let region = self.region_id.as_deref().or(self.region.as_deref());
        region.unwrap_or_default()
    }
}

/// Where a token's service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where its version is asked for: `…/v3`.
    pub(crate) base: Url,
    /// What calls begin with: `…/v3/PROJECT`, or the same as `base`.
    pub(crate) calls: Url,
}

/// What does not fit in the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) field: &'static str,
    pub(crate) why: String,
}

/// Looks it up.
pub(crate) fn find(
    catalog: &[CatalogService],
    to: To,
    project: &str,
    login: &Login,
) -> Result<Place, Misfit> {
    let misfit = |field, why| Misfit { field, why };
    let Some(kind) = kind(to) else {
        return Err(misfit("auth_url", format!("{to} is in no catalogue")));
    };
    let interface = login.interface;
    let mut all: Vec<&Endpoint> = Vec::new();
    for name in kind.types {
        let named = catalog.iter().filter(|s| s.kind == *name);
        let endpoints = named.flat_map(|s| &s.endpoints);
        all.extend(endpoints.filter(|e| is_ours(e, &kind)));
        if !all.is_empty() {
            break;
        }
    }
    if all.is_empty() {
        return Err(misfit(
            "auth_url",
            format!("its catalogue has no {to} {}", kind.version),
        ));
    }
    let here: Vec<&&Endpoint> = all
        .iter()
        .filter(|e| login.region.as_deref().is_none_or(|r| r == e.region()))
        .collect();
    if here.is_empty() {
        let why = format!(
            "{to} is not there, but in {}",
            list(all.iter().map(|e| e.region()))
        );
        return Err(misfit("region", why));
    }
    let mut fitting = here.iter().filter(|e| is(e, interface));
    let Some(chosen) = fitting.next() else {
        let there = list(here.iter().map(|e| e.interface.as_str()));
        return Err(misfit(
            "interface",
            format!("{to} has no {interface} endpoint; it has {there}"),
        ));
    };
    if fitting.any(|e| e.region() != chosen.region()) {
        let regions = list(here.iter().map(|e| e.region()));
        return Err(misfit("region", format!("is needed: there are {regions}")));
    }
    let url = Url::parse(&chosen.url)
        .map_err(|why| misfit("auth_url", format!("its catalogue is wrong: {why}")))?;
    let base = base(url, project, &kind);
    let calls = if kind.project {
        base.join(&format!("/{project}"))
    } else {
        base.clone()
    };
    Ok(Place { base, calls })
}

fn is(endpoint: &Endpoint, interface: Interface) -> bool {
    endpoint.interface == interface.to_string()
}

/// A `volume` of old times may be a v2.
fn is_ours(endpoint: &Endpoint, kind: &Kind) -> bool {
    let mut parts = endpoint.url.split('/');
    !parts.any(|s| kind.others.contains(&s))
}

fn base(url: Url, project: &str, kind: &Kind) -> Url {
    let account = format!("AUTH_{project}");
    let mut root = url;
    if root
        .last_segment()
        .is_some_and(|s| s == project || s == account)
    {
        root = root.parent();
    }
    if root.last_segment().is_some_and(|s| kind.same.contains(&s)) {
        root = root.parent();
    }
    match kind.version {
        "" => root,
        version => root.join(&format!("/{version}")),
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = words.collect();
    all.sort_unstable();
    all.dedup();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CloudConfig;

    fn catalog(entries: &[(&str, &str, &str, &str)]) -> Vec<CatalogService> {
        entries
            .iter()
            .map(|(kind, region, interface, url)| CatalogService {
                kind: (*kind).to_owned(),
                endpoints: vec![Endpoint {
                    interface: (*interface).to_owned(),
                    region: Some((*region).to_owned()),
                    region_id: None,
                    url: (*url).to_owned(),
                }],
            })
            .collect()
    }

    fn config(more: &str) -> Login {
        let text = "auth_url = \"http://h/v3\"\nusername = \"u\"\npassword_file = \"/f\"\nproject = \"p\"\n";
        let config: CloudConfig = toml::from_str(&format!("{text}{more}")).unwrap();
        Login::read(&config, &|_| None).unwrap()
    }

    #[test]
    fn endpoints_of_every_form_lead_to_the_same_place() {
        for (url, project) in [
            ("http://h:8776/v3/abc", "http://h:8776/v3/abc"),
            ("http://h:8776/v3/AUTH_abc/", "http://h:8776/v3/abc"),
            ("http://h:8776/v3", "http://h:8776/v3/abc"),
            ("http://h:8776", "http://h:8776/v3/abc"),
            ("https://h/volume/v3", "https://h:443/volume/v3/abc"),
            ("https://h/volume/", "https://h:443/volume/v3/abc"),
        ] {
            let all = catalog(&[("block-storage", "R", "public", url)]);
            let place = find(&all, To::Cinder, "abc", &config("")).unwrap();
            assert_eq!(place.calls.to_string(), project, "{url}");
            assert_eq!(place.base, place.calls.parent());
        }
        for (to, kind, url, calls) in [
            (
                To::Nova,
                "compute",
                "http://h:8774/v2.1",
                "http://h:8774/v2.1",
            ),
            (
                To::Nova,
                "compute",
                "http://h:8774/v2.1/abc",
                "http://h:8774/v2.1",
            ),
            (
                To::Nova,
                "compute",
                "http://h/compute/v2/abc/",
                "http://h:80/compute/v2.1",
            ),
            (To::Nova, "compute", "http://h:8774", "http://h:8774/v2.1"),
            (
                To::Neutron,
                "network",
                "http://h:9696",
                "http://h:9696/v2.0",
            ),
            (
                To::Neutron,
                "network",
                "http://h/networking/v2.0/",
                "http://h:80/networking/v2.0",
            ),
            (
                To::Barbican,
                "key-manager",
                "http://h/key-manager/",
                "http://h:80/key-manager/v1",
            ),
            (
                To::Barbican,
                "key-manager",
                "http://h:9311/v1",
                "http://h:9311/v1",
            ),
            (To::Placement, "placement", "http://h:8778", "http://h:8778"),
            (
                To::Placement,
                "placement",
                "http://h/placement/",
                "http://h:80/placement",
            ),
        ] {
            let all = catalog(&[(kind, "R", "public", url)]);
            let place = find(&all, to, "abc", &config("")).unwrap();
            assert_eq!(place.calls.to_string(), calls, "{url}");
            assert_eq!(place.base, place.calls);
            let e = find(&all, To::Cinder, "abc", &config("")).unwrap_err();
            assert!(e.why.contains("no Cinder v3"), "{e:?}");
        }
    }

    #[test]
    fn type_region_and_interface_choose() {
        let all = catalog(&[
            ("identity", "R1", "public", "http://keystone/v3"),
            ("volume", "R1", "public", "http://old/v1/abc"),
            ("volumev2", "R1", "public", "http://two/v2/abc"),
            ("volumev3", "R1", "public", "http://one/v3/abc"),
            ("volumev3", "R2", "public", "http://two/v3/abc"),
            ("volumev3", "R2", "internal", "http://inner/v3/abc"),
        ]);
        let host = |more: &str| find(&all, To::Cinder, "abc", &config(more)).map(|p| p.base.host);
        assert_eq!(host("region = \"R1\"").unwrap(), "one");
        assert_eq!(host("region = \"R2\"").unwrap(), "two");
        assert_eq!(
            host("region = \"R2\"\ninterface = \"internal\"").unwrap(),
            "inner"
        );
        // One region alone has it: no doubt.
        assert_eq!(host("interface = \"internal\"").unwrap(), "inner");
        for (more, field) in [
            ("", "region"),
            ("region = \"R3\"", "region"),
            ("region = \"R1\"\ninterface = \"admin\"", "interface"),
        ] {
            assert_eq!(host(more).unwrap_err().field, field, "{more}");
        }
        let none = catalog(&[("volume", "R1", "public", "http://old/v2/abc")]);
        assert_eq!(
            find(&none, To::Cinder, "abc", &config(""))
                .unwrap_err()
                .field,
            "auth_url"
        );
    }
}
