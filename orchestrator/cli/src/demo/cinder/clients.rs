//! What the story asks of Cinder, by the clients that people use.

use super::{BACKEND, INTERVAL, Made, World};
use crate::demo::{lab::setup, volumes::Kind, world::DemoError};
use rekindle_common::ImageSpec;
use rekindle_lab::{OpenStack, Site};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// A type without replication: a `once` volume is filled before its snapshot is taken.
pub(super) const PLAIN: &str = "plain";
/// So many clients at once; each is a Python program.
const AT_ONCE: usize = 4;

/// How a zone's gateway shows a volume to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) name: String,
    /// As it stands in `replication_status`, or `rekindle:status`.
    pub(super) status: String,
}

/// The volume type that asks for that mode; named as the mode is.
fn specs(kind: Kind) -> Vec<String> {
    let mut specs = vec![
        "replication_enabled=<is> True".to_owned(),
        format!("rekindle:mode={kind}"),
    ];
    match kind {
        Kind::Instant | Kind::Once => {}
        Kind::Periodic => specs.push(format!("rekindle:interval={INTERVAL}")),
    }
    specs
}

impl World {
    /// `openstack volume type create` in a zone: one for each mode, and a plain one.
    pub(super) async fn make_types(&self, site: Site) -> Result<(), DemoError> {
        let cloud = self.cloud(site)?;
        let mut types = vec![(PLAIN.to_owned(), Vec::new())];
        types.extend(
            [Kind::Instant, Kind::Periodic, Kind::Once].map(|kind| (kind.to_string(), specs(kind))),
        );
        setup::blocking("making volume types", move || {
            side_by_side(types, |(name, specs)| {
                let backend = format!("volume_backend_name={BACKEND}");
                let mut args = vec!["volume", "type", "create", "--property", &backend];
                for spec in &specs {
                    args.extend(["--property", spec]);
                }
                args.push(&name);
                admin(&cloud, &args).map(drop)
            })
            .map(drop)
        })
        .await
    }

    /// `openstack volume create`, all of them, and returns when they are available.
    pub(super) async fn make_volumes(
        &self,
        site: Site,
        pool: &str,
        wanted: Vec<(Kind, String)>,
    ) -> Result<Vec<Made>, DemoError> {
        let (cloud, pool) = (self.cloud(site)?, pool.to_owned());
        setup::blocking("making volumes", move || {
            side_by_side(wanted, |(kind, name)| {
                let of_type = match kind {
                    Kind::Instant | Kind::Periodic => kind.to_string(),
                    Kind::Once => PLAIN.to_owned(),
                };
                let args = ["volume", "create", "--size", "1", "--type", &of_type, &name];
                let made = cloud
                    .openstack_json(&cloud.admin, &args)
                    .map_err(DemoError::world(format!("making {name}")))?;
                let id = text(&made, "id")?;
                let image = ImageSpec::new(&pool, format!("volume-{id}"))
                    .map_err(DemoError::world("naming an image"))?;
                Ok(Made {
                    kind,
                    name,
                    id,
                    image,
                })
            })
        })
        .await
    }

    /// The status of each volume of a zone, in Cinder's own word.
    pub(super) async fn states(&self, site: Site) -> Result<BTreeMap<String, String>, DemoError> {
        let cloud = self.cloud(site)?;
        setup::blocking("listing volumes", move || {
            let list = list(&cloud)?;
            list.iter()
                .map(|v| Ok((text(v, "ID")?, text(v, "Status")?)))
                .collect()
        })
        .await
    }

    /// `openstack volume set --type`: a volume changes how it is replicated.
    pub(super) async fn retype(
        &self,
        site: Site,
        ids: Vec<String>,
        to: Kind,
    ) -> Result<(), DemoError> {
        let cloud = self.cloud(site)?;
        setup::blocking("changing the type of volumes", move || {
            side_by_side(ids, |id| {
                let to = to.to_string();
                admin(&cloud, &["volume", "set", "--type", &to, &id]).map(drop)
            })
            .map(drop)
        })
        .await
    }

    /// What `cinder list` shows of the zone's volumes: one call for all of them.
    pub(super) async fn listed(&self, site: Site) -> Result<Vec<Shown>, DemoError> {
        let cloud = self.cloud(site)?;
        setup::blocking("cinder list", move || {
            let args = ["list", "--all-tenants", "--fields", "name,rekindle:status"];
            let table = cloud
                .cinder(&cloud.admin, &args)
                .map_err(DemoError::world("cinder list"))?;
            listed(&table).ok_or_else(|| {
                DemoError::Plan(format!(
                    "{site}'s Cinder answered itself, and no gateway: no rekindle:status in {table}"
                ))
            })
        })
        .await
    }

    /// What `openstack volume show` prints of each of them.
    pub(super) async fn shown(
        &self,
        site: Site,
        ids: Vec<String>,
    ) -> Result<Vec<Shown>, DemoError> {
        let cloud = self.cloud(site)?;
        setup::blocking("openstack volume show", move || {
            side_by_side(ids, |id| {
                let shown = cloud
                    .openstack_json(&cloud.admin, &["volume", "show", &id])
                    .map_err(DemoError::world(format!("openstack volume show {id}")))?;
                Ok(Shown {
                    name: text(&shown, "name")?,
                    status: text(&shown, "replication_status")?,
                    id,
                })
            })
        })
        .await
    }

    /// `cinder failover-host`; it is accepted, and goes on.
    pub(super) async fn failover_host(&self, site: Site, target: &str) -> Result<(), DemoError> {
        let (cloud, target) = (self.cloud(site)?, target.to_owned());
        setup::blocking("cinder failover-host", move || {
            let host = format!("{site}@{BACKEND}");
            let args = ["failover-host", &host, "--backend_id", &target];
            cloud
                .cinder(&cloud.admin, &args)
                .map(drop)
                .map_err(DemoError::world("cinder failover-host"))
        })
        .await
    }

    /// How the service stands, as `cinder service-list --withreplication` prints it: its replication status.
    pub(super) async fn service(&self, site: Site) -> Result<String, DemoError> {
        let cloud = self.cloud(site)?;
        setup::blocking("cinder service-list", move || {
            let args = [
                "service-list",
                "--binary",
                "cinder-volume",
                "--withreplication",
            ];
            let table = cloud
                .cinder(&cloud.admin, &args)
                .map_err(DemoError::world("cinder service-list"))?;
            replication_status(&table, &format!("{site}@{BACKEND}"))
                .ok_or_else(|| DemoError::Plan(format!("no {site}@{BACKEND} in {table}")))
        })
        .await
    }
}

fn admin(cloud: &OpenStack, args: &[&str]) -> Result<String, DemoError> {
    cloud
        .openstack(&cloud.admin, args)
        .map_err(DemoError::world(format!("openstack {}", args.join(" "))))
}

fn list(cloud: &Arc<OpenStack>) -> Result<Vec<Value>, DemoError> {
    let args = ["volume", "list", "--all-projects", "--long"];
    let answer = cloud
        .openstack_json(&cloud.admin, &args)
        .map_err(DemoError::world("openstack volume list"))?;
    Ok(answer.as_array().cloned().unwrap_or_default())
}

fn text(value: &Value, key: &str) -> Result<String, DemoError> {
    value[key]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| DemoError::Plan(format!("the client showed no {key}: {value}")))
}

/// Each of them, a few at once; the first error ends it.
fn side_by_side<T: Send, R: Send>(
    all: Vec<T>,
    what: impl Fn(T) -> Result<R, DemoError> + Sync,
) -> Result<Vec<R>, DemoError> {
    let mut done = Vec::new();
    let mut rest = all.into_iter().peekable();
    while rest.peek().is_some() {
        let some: Vec<T> = rest.by_ref().take(AT_ONCE).collect();
        let ended: Vec<Result<R, DemoError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = some
                .into_iter()
                .map(|one| scope.spawn(|| what(one)))
                .collect();
            let broke = || DemoError::Plan("a thread of the demonstration broke".to_owned());
            threads
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|_| Err(broke())))
                .collect()
        });
        for end in ended {
            done.push(end?);
        }
    }
    Ok(done)
}

/// The rows of the table that `cinder` prints: its head, and the others.
fn rows(table: &str) -> Option<(Vec<String>, impl Iterator<Item = Vec<String>>)> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        inner.split('|').map(|c| c.trim().to_owned()).collect()
    };
    let mut lines = table.lines().filter(|l| l.starts_with('|')).map(cells);
    Some((lines.next()?, lines))
}

fn replication_status(table: &str, host: &str) -> Option<String> {
    let (head, mut rows) = rows(table)?;
    let at = |name: &str| head.iter().position(|h| h == name);
    let (of_host, of_status) = (at("Host")?, at("Replication Status")?);
    rows.find(|row| row.get(of_host).is_some_and(|h| h == host))
        .and_then(|row| row.get(of_status).cloned())
}

/// `None`: a table without a status has no gateway behind it, unless it is empty.
fn listed(table: &str) -> Option<Vec<Shown>> {
    let (head, rows) = rows(table)?;
    let at = |name: &str| head.iter().position(|h| h.eq_ignore_ascii_case(name));
    let places = (at("ID"), at("Name"), at("rekindle:status"));
    let row = |row: Vec<String>| {
        let (id, name, status) = (places.0?, places.1?, places.2?);
        Some(Shown {
            id: row.get(id)?.clone(),
            name: row.get(name)?.clone(),
            status: row.get(status)?.clone(),
        })
    };
    rows.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_word_is_found_in_the_table() {
        let table = "+--+\n| Binary | Host | Replication Status |\n+--+\n| cinder-volume | zone-a@ceph | failed-over |\n+--+\n";
        assert_eq!(
            replication_status(table, "zone-a@ceph").as_deref(),
            Some("failed-over")
        );
        assert_eq!(replication_status(table, "zone-b@ceph"), None);
        assert_eq!(replication_status("", "zone-a@ceph"), None);
    }

    #[test]
    fn the_status_is_found_in_the_list() {
        let table = "+--+\n| ID | Name | Rekindle:Status |\n+--+\n| 1f | instant-01 | active - primary |\n| 2f | x | - |\n+--+\n";
        let shown = |id: &str, name: &str, status: &str| Shown {
            id: id.to_owned(),
            name: name.to_owned(),
            status: status.to_owned(),
        };
        assert_eq!(
            listed(table),
            Some(vec![
                shown("1f", "instant-01", "active - primary"),
                shown("2f", "x", "-")
            ])
        );
        assert_eq!(
            listed("| ID | Name |\n| 1f | x |\n"),
            None,
            "Cinder's own endpoint"
        );
        assert_eq!(listed("| ID |\n"), Some(Vec::new()));
    }

    #[test]
    fn the_first_error_ends_it() {
        let all = side_by_side((0..9).collect(), |n| Ok(n * 2)).unwrap();
        assert_eq!(all, [0, 2, 4, 6, 8, 10, 12, 14, 16]);
        let bad = side_by_side((0..9).collect(), |n: u32| {
            if n == 5 {
                Err(DemoError::Plan("five".into()))
            } else {
                Ok(n)
            }
        });
        assert!(bad.unwrap_err().to_string().contains("five"));
    }
}
