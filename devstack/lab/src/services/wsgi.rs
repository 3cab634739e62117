//! What the services that are written in Python have in common.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SiteCtx;
use crate::error::{IoContext, Result};
use crate::openstack::Request;
use crate::run::Cmd;
use crate::supervise::Spawn;

/// A program of the zone's OpenStack. `up` made sure of its being there.
pub(super) fn openstack_program(ctx: &SiteCtx, name: &str) -> PathBuf {
    ctx.install()
        .map_or_else(|_| PathBuf::from(name), |install| install.program(name))
}

/// uwsgi with that application, on the site's own address.
pub(super) fn uwsgi(ctx: &SiteCtx, port: u16, module: &str, processes: u8) -> Spawn {
    Spawn::new(openstack_program(ctx, "uwsgi"))
        .arg("--http-socket")
        .arg(ctx.net.socket(ctx.site, port).to_string())
        .args([
            "--module",
            module,
            "--need-app",
            "--master",
            "--die-on-term",
        ])
        .args(["--processes", &processes.to_string(), "--enable-threads"])
        // An application that was loaded before the fork shares its connections with its siblings.
        .args(["--lazy-apps"])
        // Tokens are long headers.
        .args(["--buffer-size", "32768"])
        // uwsgi answers before it has read a request's body, and keeps no connection open: without these two a client
        // that sends on one gets a reset.
        .args([
            "--post-buffering",
            "65536",
            "--add-header",
            "Connection: close",
        ])
        .args(["--disable-logging", "--log-5xx"])
}

/// A command of `keystone-manage` or `cinder-manage`.
pub(super) fn manage(ctx: &SiteCtx, program: &str, conf: &Path, words: &[&str]) -> Result<Cmd> {
    let program = ctx.install()?.program(program);
    Ok(ctx
        .inside(&program.to_string_lossy())
        .arg("--config-file")
        .arg(conf)
        .args(words)
        .deadline(Duration::from_secs(300)))
}

/// Does that unless it was done before; `mark` is a file in the service's folder.
pub(super) fn once(
    ctx: &SiteCtx,
    service: &str,
    mark: &str,
    what: fn(&SiteCtx) -> Result<()>,
) -> Result<()> {
    let done = ctx.dirs.data(service).join(mark);
    if done.exists() {
        return Ok(());
    }
    what(ctx)?;
    fs::write(&done, "").context(|| format!("marking the {mark} of {service} as made"))
}

/// Whether a server of the site gives that status for that page.
pub(super) fn answers(
    ctx: &SiteCtx,
    port: u16,
    path: &str,
    wanted: u16,
) -> std::result::Result<(), String> {
    match Request::get(port, path).send(ctx.net, ctx.site) {
        Ok(answer) if answer.status == wanted => Ok(()),
        Ok(answer) => Err(format!("it answers {path} with {}", answer.status)),
        Err(error) => Err(error.to_string()),
    }
}
