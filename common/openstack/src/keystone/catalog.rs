//! Keystone's catalogue: where Cinder is, by type, region and interface.
//!
//! An operator's endpoint may end in `/v3/PROJECT`, in `/v3`, or in neither, behind any path. What is kept of it is what stands before
//! that; the version and the project are ours to add: both releases that we support take them.

use crate::{
    config::{CloudConfig, Interface},
    url::Url,
};
use serde::Deserialize;

/// Cinder's types, as clouds have named it over the years, in the order of our liking.
const CINDER: [&str; 4] = ["block-storage", "volumev3", "block-store", "volume"];

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

/// Where a token's Cinder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `…/v3`
    pub(crate) base: Url,
    /// `…/v3/PROJECT`
    pub(crate) project: Url,
}

/// What does not fit in the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) field: &'static str,
    pub(crate) why: String,
}

/// Looks it up.
pub(crate) fn cinder(
    catalog: &[CatalogService],
    project: &str,
    config: &CloudConfig,
) -> Result<Place, Misfit> {
    let misfit = |field, why| Misfit { field, why };
    let interface = config.interface;
    let mut all: Vec<&Endpoint> = Vec::new();
    for kind in CINDER {
        let of_kind = catalog.iter().filter(|s| s.kind == kind);
        all.extend(of_kind.flat_map(|s| &s.endpoints).filter(|e| speaks_v3(e)));
        if !all.is_empty() {
            break;
        }
    }
    if all.is_empty() {
        return Err(misfit(
            "auth_url",
            "its catalogue has no Cinder v3".to_owned(),
        ));
    }
    let here: Vec<&&Endpoint> = all
        .iter()
        .filter(|e| config.region.as_deref().is_none_or(|r| r == e.region()))
        .collect();
    if here.is_empty() {
        let why = format!(
            "Cinder is not there, but in {}",
            list(all.iter().map(|e| e.region()))
        );
        return Err(misfit("region", why));
    }
    let mut fitting = here.iter().filter(|e| is(e, interface));
    let Some(chosen) = fitting.next() else {
        let there = list(here.iter().map(|e| e.interface.as_str()));
        return Err(misfit(
            "interface",
            format!("Cinder has no {interface} endpoint; it has {there}"),
        ));
    };
    if fitting.any(|e| e.region() != chosen.region()) {
        let regions = list(here.iter().map(|e| e.region()));
        return Err(misfit("region", format!("is needed: there are {regions}")));
    }
    let url = Url::parse(&chosen.url)
        .map_err(|why| misfit("auth_url", format!("its catalogue is wrong: {why}")))?;
    let base = base(url, project);
    Ok(Place {
        project: base.join(&format!("/{project}")),
        base,
    })
}

fn is(endpoint: &Endpoint, interface: Interface) -> bool {
    endpoint.interface == interface.to_string()
}

/// A `volume` of old times may be a v2.
fn speaks_v3(endpoint: &Endpoint) -> bool {
    !endpoint.url.split('/').any(|s| s == "v1" || s == "v2")
}

fn base(url: Url, project: &str) -> Url {
    let account = format!("AUTH_{project}");
    let mut root = url;
    if root
        .last_segment()
        .is_some_and(|s| s == project || s == account)
    {
        root = root.parent();
    }
    if root.last_segment() == Some("v3") {
        root = root.parent();
    }
    root.join("/v3")
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

    fn config(more: &str) -> CloudConfig {
        let text = "auth_url = \"http://h/v3\"\nusername = \"u\"\npassword_file = \"/f\"\nproject = \"p\"\n";
        toml::from_str(&format!("{text}{more}")).unwrap()
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
            let place = cinder(&all, "abc", &config("")).unwrap();
            assert_eq!(place.project.to_string(), project, "{url}");
            assert_eq!(place.base, place.project.parent());
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
        let host = |more: &str| cinder(&all, "abc", &config(more)).map(|p| p.base.host);
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
            cinder(&none, "abc", &config("")).unwrap_err().field,
            "auth_url"
        );
    }
}
