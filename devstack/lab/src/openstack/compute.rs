//! A zone's Nova as tests need it: something to boot, and the part of its configuration that they change.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::token;
use super::http::Request;
use super::{Api, nova_compute_conf, write_private};
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::run::until;
use crate::services::SiteCtx;
use crate::site::Site;

/// The service that reads `nova-compute.conf`.
const SERVICE: &str = "nova-compute";
/// Time all servers of a zone have to go in.
const DELETED: Duration = Duration::from_secs(120);

/// Makes the flavor of guests, if it is not there. No disk: they boot from volumes.
pub(crate) fn make_flavor(ctx: &SiteCtx) -> Result<()> {
    let token = token(ctx)?;
    let call = |method, path, body| call(ctx, &token, (method, ctx.ports().nova, path), body);
    let found = call("GET", "/v2.1/flavors", None)?;
    if has(&found["flavors"]) {
        return Ok(());
    }
    let sizes = json!({ "name": Nova::GUEST, "ram": 128, "disk": 0, "vcpus": 1 });
    call("POST", "/v2.1/flavors", Some(json!({ "flavor": sizes }))).map(drop)
}

/// Makes the image of guests, if it is not there whole.
pub(crate) fn make_image(ctx: &SiteCtx) -> Result<()> {
    let token = token(ctx)?;
    let call = |method, path, body| call(ctx, &token, (method, ctx.ports().glance, path), body);
    let found = call("GET", "/v2/images?status=active", None)?;
    if has(&found["images"]) {
        return Ok(());
    }
    let image = json!({
        "name": Nova::GUEST, "visibility": "public", "disk_format": "raw", "container_format": "bare", "min_disk": 1,
    });
    let made = call("POST", "/v2/images", Some(image))?;
    let path = format!(
        "/v2/images/{}/file",
        made["id"].as_str().unwrap_or_default()
    );
    let request = Request {
        method: "PUT",
        token: Some(&token),
        ..Request::get(ctx.ports().glance, &path)
    };
    let answer = request.send_file(ctx.net, ctx.site, &ctx.install()?.guest_image())?;
    answer
        .or_refused(|| format!("the image for guests at Glance of {}", ctx.site))
        .map(drop)
}

/// Has Neutron look into its database once. A question for ports that comes before any other is answered with 500 again and again: SQLAlchemy
/// puts the tables' relations together at the first query, and that question names one of them before it gets so far.
pub(crate) fn wake_neutron(ctx: &SiteCtx) -> Result<()> {
    let page = ("GET", ctx.ports().neutron, "/v2.0/networks");
    call(ctx, &token(ctx)?, page, None).map(drop)
}

/// Makes the network of guests, if it is not there. Its addresses are those that the zone has a route for. It is the member's project's:
/// nobody else but an administrator may choose an address on it.
pub(crate) fn make_network(ctx: &SiteCtx) -> Result<()> {
    let token = token(ctx)?;
    let projects = ("GET", ctx.ports().keystone, "/v3/projects?name=demo");
    let projects = call(ctx, &token, projects, None)?;
    let owner = &projects["projects"][0]["id"];
    let call = |method, path, body| call(ctx, &token, (method, ctx.ports().neutron, path), body);
    let found = call("GET", "/v2.0/networks", None)?;
    let named = |kind: &str, list: Value| {
        let mut all = list[kind]
            .as_array()
            .cloned()
            .unwrap_or_default()
            .into_iter();
        all.find(|one| one["name"] == Nova::GUEST)
    };
    let network = match named("networks", found) {
        Some(network) => network,
        None => {
            let new = json!({ "name": Nova::GUEST, "project_id": owner });
            call("POST", "/v2.0/networks", Some(json!({ "network": new })))?["network"].clone()
        }
    };
    if named("subnets", call("GET", "/v2.0/subnets", None)?).is_some() {
        return Ok(());
    }
    // No gateway: a guest takes all others to be on its own wire.
    let new = json!({
        "name": Nova::GUEST, "network_id": network["id"], "project_id": owner, "ip_version": 4,
        "cidr": ctx.net.guests(ctx.site), "gateway_ip": null,
    });
    call("POST", "/v2.0/subnets", Some(json!({ "subnet": new }))).map(drop)
}

fn has(list: &Value) -> bool {
    let mut all = list.as_array().into_iter().flatten();
    all.any(|one| one["name"] == Nova::GUEST)
}

fn call(
    ctx: &SiteCtx,
    token: &str,
    (method, port, path): (&str, u16, &str),
    body: Option<Value>,
) -> Result<Value> {
    let request = Request {
        method,
        token: Some(token),
        body,
        ..Request::get(port, path)
    };
    let answer = request.send(ctx.net, ctx.site)?;
    Ok(answer
        .or_refused(|| format!("{method} {path} at {}", ctx.site))?
        .body)
}

/// A zone's Nova, to be configured. See [`Lab::nova`].
#[derive(Debug)]
pub struct Nova<'a> {
    lab: &'a Lab,
    ctx: SiteCtx,
}

impl Lab {
    /// The zone's Nova.
    ///
    /// # Errors
    /// The site is no zone, or the lab is up without Nova.
    pub fn nova(&self, site: Site) -> Result<Nova<'_>> {
        let ctx = self.zone_ctx(site)?;
        if !ctx.cloud.has_nova() {
            return Err(LabError::BadInput(
                "this lab has no Nova: add it with `lab up --nova`".into(),
            ));
        }
        Ok(Nova { lab: self, ctx })
    }
}

impl Nova<'_> {
    /// The name of the flavor, the image, the network and its subnet in each zone that make a test guest; `devstack/guest/init` says
    /// what one does.
    pub const GUEST: &'static str = "guest";

    /// Sets these options for nova-compute (section, key, value), and none else on top of `nova.conf`, and restarts it: guests run
    /// on. Returns when it has said that it lives.
    ///
    /// # Errors
    /// A text does not fit on a line of the file, or nova-compute does not come up with it: its log says why.
    pub fn configure(&self, options: &[(&str, &str, &str)]) -> Result<()> {
        let text = render(options)?;
        let _lock = self.lab.lock_site(self.ctx.site)?;
        self.lab.kill_service(self.ctx.site, SERVICE)?;
        write_private(&nova_compute_conf(&self.ctx), &text)?;
        self.lab.start_service(self.ctx.site, SERVICE)
    }

    /// Deletes every server of every project, and returns when they are gone. Their volumes stay.
    ///
    /// # Errors
    /// Nova does not answer, or one of them would not go.
    pub fn delete_servers(&self) -> Result<()> {
        let cloud = self.lab.openstack(self.ctx.site)?;
        let call = |method, page: &str| cloud.call(&cloud.admin, Api::Servers, method, page, None);
        let what = format!("the servers of {} to be gone", self.ctx.site);
        until(&what, DELETED, |last| {
            let list = call("GET", "/servers/detail?all_tenants=true")?;
            let servers = list["servers"].as_array().map_or(&[][..], Vec::as_slice);
            *last = format!("{} are there", servers.len());
            // One that is being deleted is not asked for again: it may go between two calls.
            let left = |s: &&Value| s["OS-EXT-STS:task_state"] != "deleting";
            for server in servers.iter().filter(left) {
                let id = server["id"].as_str().unwrap_or_default();
                match call("DELETE", &format!("/servers/{id}")) {
                    // It went by itself, after the list.
                    Err(error) if error.to_string().contains("(404)") => {}
                    done => drop(done?),
                }
            }
            Ok(servers.is_empty().then_some(()))
        })
    }

    /// The usual options for the next test.
    pub(crate) fn make_usual(&self) -> Result<()> {
        let path = nova_compute_conf(&self.ctx);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.is_empty() => Ok(()),
            Ok(_) => self.configure(&[]),
            Err(source) => Err(LabError::Io {
                what: format!("reading {}", path.display()),
                source,
            }),
        }
    }

    /// What the console of that server said since its last start, also of one that is stopped: Nova's API tells of those that run alone.
    #[must_use]
    pub fn console_log(&self, server: &str) -> PathBuf {
        let instances = self.ctx.dirs.data("nova").join("instances");
        instances.join(server).join("console.log")
    }

    /// The zone's `nova.conf`.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        super::nova_conf(&self.ctx)
    }
}

fn render(options: &[(&str, &str, &str)]) -> Result<String> {
    let plain = |text: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !text.is_empty() && text.chars().all(good)
    };
    let mut text = String::new();
    for (section, key, value) in options {
        if !plain(section) || !plain(key) || value.contains(['\n', '\r']) {
            return Err(LabError::BadInput(format!(
                "the option {section}.{key} does not fit in nova-compute.conf"
            )));
        }
        // A section may come twice in such a file. Writing to a String cannot fail.
        let _ = writeln!(text, "[{section}]\n{key} = {value}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_stands_in_its_section_and_none_makes_two_lines() {
        let text = render(&[("libvirt", "virt_type", "qemu")]).unwrap();
        assert_eq!(text, "[libvirt]\nvirt_type = qemu\n");
        for bad in [
            ("a]\n[b", "k", "v"),
            ("a", "k = 1\nl", "v"),
            ("a", "k", "1\n2"),
        ] {
            assert!(render(&[bad]).is_err(), "{bad:?}");
        }
    }
}
