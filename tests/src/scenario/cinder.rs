//! A zone's real Cinder with Rekindle's driver in it, driven by the clients that people use.

use super::{
    Cloud,
    cinder_api::CinderApi,
    config,
    wait::{Look, until},
};
use anyhow::{Context, ensure};
use rekindle_common::ImageSpec;
use rekindle_lab::{Account, OpenStack, Site};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

/// The backend that a scenario configures, and its service.
pub const BACKEND: &str = "rekindle";
/// What a slow machine may take for what Cinder does behind a call.
const SOON: Duration = Duration::from_secs(120);

/// And for its volumes to go in the end.
const GONE: Duration = Duration::from_secs(30);

/// One zone's.
#[derive(Debug)]
pub struct CinderZone<'a> {
    pub(super) cloud: &'a Cloud,
    /// Which.
    pub site: Site,
    /// Its clients.
    pub clients: OpenStack,
    made: Mutex<Vec<String>>,
    pub(super) api: CinderApi,
}

impl Cloud {
    /// A zone's Cinder, with one backend on this scenario's sidecar.
    ///
    /// # Errors
    /// The lab has no Cinder there, or cinder-volume does not come up with the driver.
    pub fn cinder(&self, site: Site) -> anyhow::Result<CinderZone<'_>> {
        let cinder = self.lab.cinder(site)?;
        let socket = config::socket(&self.lab, site, "driver");
        cinder.configure(&[cinder.rekindle(BACKEND, &socket)])?;
        Ok(CinderZone {
            cloud: self,
            site,
            clients: self.lab.openstack(site)?,
            made: Mutex::default(),
            api: CinderApi::of(&self.lab, site)?,
        })
    }
}

/// Whatever state they are in: with the scenario's sidecars gone nobody could delete them any more.
impl Drop for CinderZone<'_> {
    fn drop(&mut self) {
        // Nobody may make a record again of what is about to go.
        self.cloud.end_catalogue();
        let made = self.made.lock().map(|m| m.clone()).unwrap_or_default();
        for id in made.into_iter().chain(self.made_by_the_catalogue()) {
            // What a failed scenario left may not go away; the next one has a lab made anew.
            let _ = self.api.remove(&id, self.cloud.keeps_catalogue());
        }
        // cinder-volume needs the sidecars for it, which end next. One that is to be kept stays.
        let going = |v: &Value| v["status"] == "deleting";
        let begun = Instant::now();
        while begun.elapsed() < GONE && self.list().is_ok_and(|all| all.iter().any(going)) {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl CinderZone<'_> {
    /// The records of the other zone's volumes.
    fn made_by_the_catalogue(&self) -> Vec<String> {
        if !self.cloud.keeps_catalogue() {
            return Vec::new();
        }
        let all = self.list().unwrap_or_default();
        all.iter()
            .filter(|v| !v["properties"]["rekindle:image"].is_null())
            .filter_map(|v| v["id"].as_str().map(str::to_owned))
            .collect()
    }

    /// Runs `openstack` as the administrator.
    ///
    /// # Errors
    /// It failed.
    pub fn admin(&self, args: &[&str]) -> anyhow::Result<String> {
        Ok(self.clients.openstack(&self.clients.admin, args)?)
    }

    /// Runs `cinder` as the administrator.
    ///
    /// # Errors
    /// It failed.
    pub fn cinder(&self, args: &[&str]) -> anyhow::Result<String> {
        Ok(self.clients.cinder(&self.clients.admin, args)?)
    }

    /// A volume type with these extra specs on the backend; named after the scenario.
    ///
    /// # Errors
    /// The client failed.
    pub fn volume_type(&self, name: &str, specs: &[(&str, &str)]) -> anyhow::Result<String> {
        let name = format!("{}-{name}", self.cloud.name());
        let mut args = vec!["volume", "type", "create", &name];
        let pairs: Vec<String> = [("volume_backend_name", BACKEND)]
            .iter()
            .chain(specs)
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        for pair in &pairs {
            args.extend(["--property", pair]);
        }
        self.admin(&args)?;
        Ok(name)
    }

    /// A replicated one.
    ///
    /// # Errors
    /// The client failed.
    pub fn replicated_type(&self, name: &str, specs: &[(&str, &str)]) -> anyhow::Result<String> {
        let on = ("replication_enabled", "<is> True");
        let all: Vec<_> = std::iter::once(on).chain(specs.iter().copied()).collect();
        self.volume_type(name, &all)
    }

    /// Asks for a volume; it may not be there yet.
    ///
    /// # Errors
    /// The client failed.
    pub fn ask_for(&self, more: &[&str]) -> anyhow::Result<String> {
        self.ask_for_named("made-by-a-scenario", more)
    }

    /// The same under a name of the scenario's choice.
    ///
    /// # Errors
    /// The client failed.
    pub fn ask_for_named(&self, name: &str, more: &[&str]) -> anyhow::Result<String> {
        self.ask_for_as(&self.clients.admin, name, more)
    }

    /// The same by somebody else, for their project.
    ///
    /// # Errors
    /// The client failed.
    pub fn ask_for_as(&self, who: &Account, name: &str, more: &[&str]) -> anyhow::Result<String> {
        let mut args = vec!["volume", "create"];
        args.extend(more);
        args.push(name);
        let made = self.clients.openstack_json(who, &args)?;
        self.made(made["id"].as_str().context("a volume has an id")?)
    }

    /// Remembers a volume, to delete it with the scenario.
    pub(super) fn made(&self, id: &str) -> anyhow::Result<String> {
        if let Ok(mut all) = self.made.lock() {
            all.push(id.to_owned());
        }
        Ok(id.to_owned())
    }

    /// Makes a volume of 1 GiB of that type.
    ///
    /// # Errors
    /// It did not become available.
    pub async fn volume(&self, of_type: &str) -> anyhow::Result<String> {
        let id = self.ask_for(&["--size", "1", "--type", of_type])?;
        self.wait(&id, &[("status", "available")]).await?;
        Ok(id)
    }

    /// A volume, with its fields named as `openstack volume show` prints them.
    ///
    /// # Errors
    /// Cinder does not answer, or has no such volume.
    pub fn show(&self, id: &str) -> anyhow::Result<Value> {
        self.api.show(id)
    }

    /// All volumes of all projects, each as [`Self::show`] has it.
    ///
    /// # Errors
    /// Cinder does not answer.
    pub fn list(&self) -> anyhow::Result<Vec<Value>> {
        self.api.list()
    }

    /// Waits until the volume shows these.
    ///
    /// # Errors
    /// It never does.
    pub async fn wait(&self, id: &str, fields: &[(&str, &str)]) -> anyhow::Result<Value> {
        let what = format!("{id} with {fields:?}");
        until(&what, SOON, async || -> Look<Value> {
            let shown = self.show(id).map_err(|e| format!("{e:#}"))?;
            let met = fields.iter().all(|(k, v)| shown[*k] == *v);
            let status = format!("{} {}", shown["status"], shown["replication_status"]);
            if met { Ok(shown) } else { Err(status) }
        })
        .await
    }

    /// Waits for the status and the replication status of a volume. Cinder's manager writes them down after it has said, of its service, that
    /// a failover is over.
    ///
    /// # Errors
    /// They do not come.
    pub async fn says(&self, id: &str, status: &str, replication: &str) -> anyhow::Result<()> {
        let words = [("status", status), ("replication_status", replication)];
        self.wait(id, &words).await.map(drop)
    }

    /// `cinder failover-host`, and its end: the service's words as `cinder service-list` prints them.
    ///
    /// # Errors
    /// It was refused by the API, or has no end.
    pub async fn failover_host(&self, target: Option<&str>) -> anyhow::Result<Service> {
        let host = self.host();
        let mut args = vec!["failover-host", &host];
        if let Some(target) = target {
            args.extend(["--backend_id", target]);
        }
        self.cinder(&args)?;
        until("the failover's end", SOON, async || -> Look<Service> {
            let service = self.service().map_err(|e| format!("{e:#}"))?;
            if service.replication == "failing-over" {
                return Err(format!("{service:?}"));
            }
            Ok(service)
        })
        .await
    }

    /// The same, where it is known how it is to end. A cinder-volume that is starting says `enabled` before it takes up what
    /// waits for it, so that word alone is no end.
    ///
    /// # Errors
    /// It was refused by the API, or did not end so.
    pub async fn failover_host_to(&self, target: &str, word: &str) -> anyhow::Result<Service> {
        self.cinder(&["failover-host", &self.host(), "--backend_id", target])?;
        until("the failover's end", SOON, async || -> Look<Service> {
            let service = self.service().map_err(|e| format!("{e:#}"))?;
            if service.replication == word {
                Ok(service)
            } else {
                Err(format!("{service:?}"))
            }
        })
        .await
    }

    pub(super) fn rekindle(&self) -> PathBuf {
        self.cloud.programs().rekindle()
    }

    /// The backend's host, as Cinder names it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}@{BACKEND}", self.site)
    }

    /// The backend's service.
    ///
    /// # Errors
    /// The client failed, or there is none.
    pub fn service(&self) -> anyhow::Result<Service> {
        self.service_of(&self.host())
    }

    /// The service of any host.
    ///
    /// # Errors
    /// The client failed, or there is none.
    pub fn service_of(&self, host: &str) -> anyhow::Result<Service> {
        let path = "os-services?binary=cinder-volume";
        let said = self.api.ask("GET", path, "3.7", None)?;
        let all = said["services"].as_array().context("services")?;
        let row = all.iter().find(|row| row["host"] == host);
        Ok(Service::of(
            row.with_context(|| format!("no {host} in {said}"))?,
        ))
    }

    /// The image under a volume.
    ///
    /// # Errors
    /// The id makes no name.
    pub fn image(&self, id: &str) -> anyhow::Result<ImageSpec> {
        let pool = self.cloud.lab.zone(self.site)?.pool;
        Ok(ImageSpec::new(pool, format!("volume-{id}"))?)
    }

    /// What a user is told of a volume that went wrong.
    ///
    /// # Errors
    /// The client failed.
    pub fn messages(&self, id: &str) -> anyhow::Result<String> {
        let table = self.cinder(&["--os-volume-api-version", "3.70", "message-list"])?;
        let told: Vec<_> = rows(&table)
            .into_iter()
            .filter(|r| r.get("Resource UUID").is_some_and(|u| u == id))
            .filter_map(|r| r.get("Event ID").cloned())
            .collect();
        ensure!(!told.is_empty(), "nothing of {id} in {table}");
        Ok(told.join("\n"))
    }
}

/// A backend's service, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `up` or `down`.
    pub state: String,
    /// `enabled` or `disabled`.
    pub status: String,
    /// `enabled`, `failed-over`, `failover-error`, ...
    pub replication: String,
    /// Where it is served from; empty is home.
    pub active: String,
    /// `True` or `False`.
    pub frozen: String,
}

impl Service {
    /// As the API shows it.
    pub(super) fn of(row: &Value) -> Self {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        Self {
            state: text("state"),
            status: text("status"),
            replication: text("replication_status"),
            active: text("active_backend_id"),
            frozen: if row["frozen"] == true {
                "True"
            } else {
                "False"
            }
            .to_owned(),
        }
    }
}

/// The rows of a table that a client printed, by column.
fn rows(table: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = table.lines().filter(|l| l.starts_with('|')).map(|l| {
        let inner = l.trim_matches('|');
        inner
            .split('|')
            .map(|c| c.trim().to_owned())
            .collect::<Vec<_>>()
    });
    let Some(head) = lines.next() else {
        return Vec::new();
    };
    lines
        .map(|cells| head.iter().cloned().zip(cells).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_its_columns() {
        let table = "+---+----+\n| Host | State |\n+---+---+\n| zone-a@rekindle | up |\n| b | down |\n+--+--+\n";
        let rows = rows(table);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0]["Host"], "zone-a@rekindle");
        assert_eq!(rows[1]["State"], "down");
    }
}
