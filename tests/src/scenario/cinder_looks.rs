//! What scenarios with Cinder look at again and again, and the client that will not let go of an image.

use super::{
    CinderZone, Cloud, Service,
    wait::{Look, until},
};
use anyhow::{Context, ensure};
use rekindle_common::{status::VolumeStatus, volume::Role};
use rekindle_lab::{OnStart, Site, Spawn};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What Ceph may take to make a copy.
const COPY: Duration = Duration::from_secs(150);
/// For a way home that is refused until the copies are in step.
const HOME: Duration = Duration::from_secs(300);

/// What Cinder says of a backend whose failover has ended.
///
/// # Panics
/// It says something else.
pub fn expect(service: &Service, replication: &str, active: &str) {
    assert_eq!(
        (service.replication.as_str(), service.active.as_str()),
        (replication, active),
        "{service:?}"
    );
}

impl Cloud {
    /// A Cinder volume's role in a zone, as its sidecar sees it now.
    ///
    /// # Errors
    /// As a look: the sidecar does not answer, or has no such image.
    pub async fn role_of(&self, site: Site, zone: &CinderZone<'_>, id: &str) -> Look<Role> {
        let spec = zone.image(id).map_err(|e| format!("{e:#}"))?;
        let report = self.sidecar_of(site).volume(&spec).await;
        Ok(report.map_err(|e| e.to_string())?.role)
    }

    /// Waits until it is so.
    ///
    /// # Errors
    /// It is not, in two and a half minutes.
    pub async fn wait_role(
        &self,
        site: Site,
        zone: &CinderZone<'_>,
        id: &str,
        wanted: Role,
    ) -> anyhow::Result<()> {
        until(
            &format!("{id} to be {wanted:?} in {site}"),
            COPY,
            async || {
                let role = self.role_of(site, zone, id).await?;
                if role == wanted {
                    Ok(())
                } else {
                    Err(format!("{role:?}"))
                }
            },
        )
        .await
    }

    /// Waits for a copy in step in that zone.
    ///
    /// # Errors
    /// There is none, in two and a half minutes.
    pub async fn wait_copy(
        &self,
        site: Site,
        zone: &CinderZone<'_>,
        id: &str,
    ) -> anyhow::Result<()> {
        let spec = zone.image(id)?;
        let sidecar = self.sidecar_of(site);
        until(
            &format!("a copy of {id} in step in {site}"),
            COPY,
            async || {
                let report = sidecar.volume(&spec).await.map_err(|e| e.to_string())?;
                if report.status == VolumeStatus::ActiveSecondary {
                    Ok(())
                } else {
                    Err(report.status.to_string())
                }
            },
        )
        .await
    }

    /// A client in zone-a that holds an image's lock for itself alone and gives it to nobody, as `rbd map --exclusive` does.
    ///
    /// # Errors
    /// It does not get the lock.
    pub async fn hold(&self, zone: &CinderZone<'_>, id: &str) -> anyhow::Result<Holder<'_>> {
        let spec = zone.image(id)?;
        let lab_zone = self.lab.zone(Site::ZoneA)?;
        let name = format!("holder-{}", self.next());
        let log = self.log(Site::ZoneA, &name);
        let spawn = Spawn::new("/usr/bin/python3")
            .args(["-u", "-c", HOLD])
            .arg(lab_zone.ceph_conf.display().to_string())
            .args([lab_zone.client_id, spec.pool(), spec.image()])
            .log(log.clone())
            .on_start(OnStart::Leave);
        self.lab.spawn(Site::ZoneA, &name, &spawn)?;
        let holder = Holder { cloud: self, name };
        until(
            "the lock of an image",
            Duration::from_secs(30),
            async || {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                if said.contains("holds it") {
                    Ok(())
                } else {
                    Err(said)
                }
            },
        )
        .await?;
        Ok(holder)
    }
}

const HOLD: &str = "
import sys, time, rados, rbd
conf, user, pool, name = sys.argv[1:]
cluster = rados.Rados(conffile=conf, rados_id=user)
cluster.connect()
image = rbd.Image(cluster.open_ioctx(pool), name)
image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE)
image.write(b'mine', 0)
print('holds it')
try:
    while True:
        time.sleep(0.1)
        image.write(b'mine', 0)
        image.flush()
except rbd.Error as error:
    print('refused', error)
";

const SQL: &str = "
import configparser, sys, sqlalchemy
conf = configparser.ConfigParser(interpolation=None, strict=False)
conf.read(sys.argv[1])
with sqlalchemy.create_engine(conf['database']['connection']).begin() as connection:
    assert connection.execute(sqlalchemy.text(sys.argv[2])).rowcount == 1
";

/// A value of the table of properties that `cinder` prints.
pub(super) fn property(table: &str, name: &str) -> anyhow::Result<String> {
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split('|').map(|c| c.trim().to_owned());
        cells.collect()
    };
    let found = table
        .lines()
        .map(cells)
        .find(|c| c.get(1).is_some_and(|k| k == name));
    let value = found.and_then(|c| c.get(2).cloned());
    value.with_context(|| format!("no {name} in {table}"))
}

/// Such a client; it dies with this.
#[derive(Debug)]
pub struct Holder<'c> {
    cloud: &'c Cloud,
    name: String,
}

impl Holder<'_> {
    /// From now on it neither writes nor answers, and has the lock still.
    ///
    /// # Errors
    /// It has died.
    pub fn hang(&self) -> anyhow::Result<()> {
        Ok(self.cloud.lab.pause_service(Site::ZoneA, &self.name)?)
    }

    /// Waits until a write of it was refused.
    ///
    /// # Errors
    /// None was, in half a minute.
    pub async fn wait_refused(&self) -> anyhow::Result<()> {
        let log = self.cloud.log(Site::ZoneA, &self.name);
        until("a refused write", Duration::from_secs(30), async || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if said.contains("refused") {
                Ok(())
            } else {
                Err(said)
            }
        })
        .await
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        let _ = self.cloud.lab.kill_service(Site::ZoneA, &self.name);
    }
}

impl CinderZone<'_> {
    /// Calls `failover-host` home until it is not refused any more: a way back that is not in step yet is.
    ///
    /// # Errors
    /// The API refuses, or it has no end.
    pub async fn fail_back(&self) -> anyhow::Result<Service> {
        let begun = Instant::now();
        loop {
            let service = self.failover_host(Some("default")).await?;
            if service.replication == "enabled" || begun.elapsed() > HOME {
                return Ok(service);
            }
        }
    }

    /// The next call takes along a volume that the last one left behind, and then all of these go home.
    ///
    /// # Errors
    /// A call was refused, or has no end.
    ///
    /// # Panics
    /// One of them is not where it should be then.
    pub async fn follows_and_all_go_home(&self, left: &str, all: &[String]) -> anyhow::Result<()> {
        self.failover_host_to("zone-b", "failed-over").await?;
        self.says(left, "available", "failed-over").await?;
        let role = self.cloud.role_of(Site::ZoneB, self, left).await;
        assert_eq!(role, Ok(Role::Primary), "{left}");
        expect(&self.fail_back().await?, "enabled", "");
        for id in all {
            self.says(id, "available", "enabled").await?;
            let role = self.cloud.role_of(Site::ZoneA, self, id).await;
            assert_eq!(role, Ok(Role::Primary), "{id}");
        }
        Ok(())
    }

    /// A volume's words: its status, and its replication status.
    ///
    /// # Errors
    /// The client failed.
    pub fn words(&self, id: &str) -> anyhow::Result<(String, String)> {
        let shown = self.show(id)?;
        let word = |key: &str| shown[key].as_str().unwrap_or_default().to_owned();
        Ok((word("status"), word("replication_status")))
    }

    /// Asks for a volume of that name, in a generic group where one is named, with a client that knows the one and the other.
    ///
    /// # Errors
    /// The client failed.
    pub async fn ask_for_in(
        &self,
        more: &[&str],
        name: &str,
        group: Option<&str>,
    ) -> anyhow::Result<String> {
        let Some(group) = group else {
            return self.ask_for_named(name, more);
        };
        let version = ["--os-volume-api-version", "3.38"];
        let shown = self.cinder(&[&version[..], &["group-show", group]].concat())?;
        let id = property(&shown, "id")?;
        let kind = more.iter().skip_while(|a| **a != "--type").nth(1);
        let kind = kind.context("the type is named")?;
        let create = [
            "create",
            "1",
            "--volume-type",
            kind,
            "--group-id",
            &id,
            "--name",
            name,
        ];
        let made = self.cinder(&[&version[..], &create].concat())?;
        self.adopt(&made)
    }

    /// Takes the volume that `cinder` printed for one of this scenario's, which goes with it.
    ///
    /// # Errors
    /// It printed none.
    pub fn adopt(&self, shown: &str) -> anyhow::Result<String> {
        self.made(&property(shown, "id")?)
    }

    /// What a server would be given to reach a volume with.
    ///
    /// # Errors
    /// The client failed.
    pub fn attach(&self, id: &str) -> anyhow::Result<String> {
        let version = ["--os-volume-api-version", "3.27", "attachment-create"];
        let connector = [
            "--connect",
            "True",
            "--initiator",
            "iqn.test",
            "--ip",
            "192.0.2.1",
        ];
        let server = ["--host", "test", id, "00000000-0000-4000-8000-000000000001"];
        let shown = self.cinder(&[&version[..], &connector, &server].concat())?;
        // Who ends an attachment asks Nova first, of which there is none.
        self.cinder(&[
            "reset-state",
            "--state",
            "available",
            "--attach-status",
            "detached",
            id,
        ])?;
        Ok(shown)
    }

    /// Runs a statement in Cinder's database, for records that no client makes.
    ///
    /// # Errors
    /// It failed.
    pub fn sql(&self, statement: &str) -> anyhow::Result<()> {
        let bin = self
            .clients
            .cinder
            .parent()
            .context("a program lies in a folder")?;
        let output = std::process::Command::new(bin.join("python3"))
            .args(["-c", SQL])
            .arg(&self.clients.cinder_conf)
            .arg(statement)
            .output()
            .context("running a statement")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{statement}: {said}");
        Ok(())
    }

    /// The refusal of a call that must be refused, as the client printed it.
    ///
    /// # Errors
    /// It was not refused.
    pub fn refused(&self, args: &[&str]) -> anyhow::Result<String> {
        match self.cinder(args) {
            Err(e) => Ok(format!("{e:#}")),
            Ok(done) => anyhow::bail!("{args:?} was not refused: {done}"),
        }
    }

    /// What `rekindle cinder repair` prints as JSON, on this zone's `cinder.conf`.
    ///
    /// # Errors
    /// It failed.
    pub fn repair(&self, more: &[&str]) -> anyhow::Result<Value> {
        let bin = self
            .clients
            .cinder
            .parent()
            .context("a program lies in a folder")?;
        let conf = self.clients.cinder_conf.display().to_string();
        let program = bin.join("rekindle-cinder-repair").display().to_string();
        let output = std::process::Command::new(self.rekindle())
            .args([
                "--output",
                "json",
                "cinder",
                "repair",
                "--program",
                &program,
            ])
            .args(["--config-file", &conf, "--backend", super::BACKEND])
            .args(more)
            .output()
            .context("running rekindle cinder repair")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // 6: something was left.
        ensure!(
            matches!(output.status.code(), Some(0 | 6)),
            "{}: {said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_str(&said)?)
    }
}
