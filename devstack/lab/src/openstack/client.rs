//! What a client of a zone's OpenStack needs, and the clients themselves with a deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{REGION, Secret, auth_url, password, write_private};
use crate::error::{IoContext, LabError, Result};
use crate::lab::Lab;
use crate::net::Net;
use crate::run::Cmd;
use crate::services::SiteCtx;
use crate::site::Site;

/// A call of a client takes two seconds on a quiet machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Somebody with an account in a zone's Keystone, in the domain `default`.
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    /// The cloud's name in `clouds.yaml`.
    pub cloud: String,
    /// The user's name.
    pub username: &'static str,
    /// The project's name.
    pub project: &'static str,
    /// A file that holds the password and nothing else.
    pub password_file: PathBuf,
}

/// How to reach a zone's Keystone, and by its catalogue all else; the clients run inside the zone.
#[derive(Debug, Clone, Serialize)]
pub struct OpenStack {
    /// Keystone's v3 URL.
    pub auth_url: String,
    /// The region in its catalogue.
    pub region: &'static str,
    /// Cinder's URL without a project: `http://…/v3`.
    pub volume_url: String,
    /// The administrator.
    pub admin: Account,
    /// A member of the project `demo` and of nothing else.
    pub member: Account,
    /// A file for the clients with both accounts of both zones; `OS_CLIENT_CONFIG_FILE` names it to them.
    pub clouds_yaml: PathBuf,
    /// The `openstack` command.
    pub openstack: PathBuf,
    /// The `cinder` command.
    pub cinder: PathBuf,
    /// The zone's `cinder.conf`.
    pub cinder_conf: PathBuf,
    #[serde(skip)]
    pub(super) inside: (Net, Site),
    #[serde(skip)]
    deadline: Duration,
}

impl Lab {
    /// How to reach the zone's Keystone and Cinder.
    ///
    /// # Errors
    /// The site is no zone, or the lab is up without Cinder.
    pub fn openstack(&self, site: Site) -> Result<OpenStack> {
        let ctx = self.zone_ctx(site)?;
        let install = ctx.install()?;
        Ok(OpenStack {
            auth_url: auth_url(&ctx),
            region: REGION,
            volume_url: format!("http://{}/v3", ctx.net.socket(site, ctx.ports().cinder)),
            admin: account(&ctx, Who::Admin),
            member: account(&ctx, Who::Demo),
            clouds_yaml: self.layout.root().join(CLOUDS),
            openstack: install.program("openstack"),
            cinder: install.program("cinder"),
            cinder_conf: super::cinder_conf(&ctx),
            inside: (ctx.net, site),
            deadline: DEADLINE,
        })
    }
}

impl OpenStack {
    /// The same with another deadline for each call; 60 s otherwise.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs `openstack` as that account and returns what it printed.
    ///
    /// # Errors
    /// It failed, or did not end in time.
    pub fn openstack(&self, who: &Account, args: &[&str]) -> Result<String> {
        let cmd = self
            .inside(&self.openstack)
            .env("OS_CLIENT_CONFIG_FILE", &self.clouds_yaml)
            .args(["--os-cloud", &who.cloud])
            .args(args);
        Ok(cmd.run()?.stdout)
    }

    /// The same for a command that takes `-f json` (those that show something): its answer.
    ///
    /// # Errors
    /// As [`OpenStack::openstack`], or what it printed is not JSON.
    pub fn openstack_json(&self, who: &Account, args: &[&str]) -> Result<Value> {
        let mut args = args.to_vec();
        args.extend(["-f", "json"]);
        let text = self.openstack(who, &args)?;
        serde_json::from_str(&text).map_err(|e| LabError::Command {
            command: format!("openstack {}", args.join(" ")),
            status: format!("no JSON: {e}"),
            stderr: text.chars().take(300).collect(),
        })
    }

    /// Runs `cinder` as that account and returns the table that it printed; it has no JSON.
    ///
    /// # Errors
    /// It failed, or did not end in time.
    pub fn cinder(&self, who: &Account, args: &[&str]) -> Result<String> {
        let password = std::fs::read_to_string(&who.password_file)
            .context(|| format!("reading {}", who.password_file.display()))?;
        let cmd = self
            .inside(&self.cinder)
            .env("OS_PASSWORD", password.trim())
            .args(args);
        Ok(account_env(cmd, who, &self.auth_url).run()?.stdout)
    }

    /// Runs a shell script as that account, with `openstack` and these variables, and returns what it printed.
    ///
    /// # Errors
    /// As [`OpenStack::openstack`].
    pub fn script(&self, who: &Account, script: &Path, more: &[(&str, &str)]) -> Result<String> {
        let programs = self.openstack.parent().unwrap_or(Path::new("/"));
        let mut cmd = self
            .inside(Path::new("/bin/sh"))
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .env("OS_CLIENT_CONFIG_FILE", &self.clouds_yaml)
            .env("OS_CLOUD", &who.cloud)
            .arg(script);
        for (name, value) in more {
            cmd = cmd.env(name, value);
        }
        Ok(cmd.run()?.stdout)
    }

    fn inside(&self, program: &Path) -> Cmd {
        let (net, site) = self.inside;
        net.inside(site, &program.to_string_lossy())
            .deadline(self.deadline)
    }
}

/// Who it is, in the variables that clients read, but for the password.
fn account_env(cmd: Cmd, who: &Account, auth_url: &str) -> Cmd {
    cmd.env("OS_AUTH_TYPE", "password")
        .env("OS_AUTH_URL", auth_url)
        .env("OS_REGION_NAME", REGION)
        .env("OS_USERNAME", who.username)
        .env("OS_PROJECT_NAME", who.project)
        .env("OS_USER_DOMAIN_ID", "default")
        .env("OS_PROJECT_DOMAIN_ID", "default")
        .env("OS_IDENTITY_API_VERSION", "3")
}

const CLOUDS: &str = "clouds.yaml";

#[derive(Clone, Copy)]
enum Who {
    Admin,
    Demo,
}

fn account(ctx: &SiteCtx, who: Who) -> Account {
    let (cloud, username, project, secret) = match who {
        Who::Admin => (ctx.site.to_string(), "admin", "admin", Secret::Admin),
        Who::Demo => (format!("{}-demo", ctx.site), "demo", "demo", Secret::Demo),
    };
    Account {
        cloud,
        username,
        project,
        password_file: secret.path(ctx),
    }
}

/// Writes the file that clients read, with both accounts of each of these zones.
pub(crate) fn write_clouds(root: &Path, zones: &[SiteCtx]) -> Result<()> {
    let mut text = String::from("clouds:\n");
    for ctx in zones {
        for (who, secret) in [(Who::Admin, Secret::Admin), (Who::Demo, Secret::Demo)] {
            let password = password(ctx, secret)?;
            text.push_str(&cloud(&account(ctx, who), &auth_url(ctx), &password));
        }
    }
    write_private(&root.join(CLOUDS), &text)
}

/// Removes that file, if there is one.
pub(crate) fn remove_clouds(root: &Path) -> Result<()> {
    let path = root.join(CLOUDS);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn cloud(account: &Account, auth_url: &str, password: &str) -> String {
    let Account {
        cloud,
        username,
        project,
        ..
    } = account;
    format!(
        "  {cloud}:
    region_name: {REGION}
    identity_api_version: 3
    volume_api_version: 3
    auth:
      auth_url: {auth_url}
      username: {username}
      password: \"{password}\"
      project_name: {project}
      user_domain_id: default
      project_domain_id: default
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_digits_alone_stays_a_text_in_clouds_yaml() {
        let account = Account {
            cloud: "zone-a-demo".into(),
            username: "demo",
            project: "demo",
            password_file: PathBuf::new(),
        };
        let text = cloud(&account, "http://10.231.3.11:5000/v3", "12345");
        assert!(text.starts_with("  zone-a-demo:\n"), "{text}");
        assert!(text.contains("      password: \"12345\"\n"), "{text}");
        assert!(
            text.contains("      auth_url: http://10.231.3.11:5000/v3\n"),
            "{text}"
        );
    }
}
