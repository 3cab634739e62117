//! A site's etcd member. Mutual TLS for clients and between members.

use std::time::Duration;

use super::{Service, SiteCtx};
use crate::error::Result;
use crate::run::require;
use crate::site::Site;
use crate::supervise::Spawn;

pub(super) struct Etcd;

impl Service for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[("etcd", "etcd-server"), ("etcdctl", "etcd-client")]
    }

    fn prepare(&self, _ctx: &SiteCtx) -> Result<()> {
        Ok(())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let url = |site: Site, port: u16| format!("https://{}", ctx.net.socket(site, port));
        let client = url(ctx.site, ctx.ports().etcd_client);
        let peer = url(ctx.site, ctx.ports().etcd_peer);
        let cluster = Site::ALL.map(|s| format!("{s}={}", url(s, ctx.net.ports(s).etcd_peer)));
        let path = |p: &std::path::Path| p.to_string_lossy().into_owned();
        let (ca, cert, key) = (
            path(&ctx.certs.ca),
            path(&ctx.certs.cert),
            path(&ctx.certs.key),
        );
        Spawn::new("etcd")
            .args(["--name", ctx.site.name(), "--data-dir"])
            .arg(path(&ctx.dirs.data("etcd")))
            .args(["--initial-cluster", &cluster.join(",")])
            .args(["--initial-cluster-token", &ctx.lab_uuid])
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--client-cert-auth", "--trusted-ca-file", &ca])
            .args(["--cert-file", &cert, "--key-file", &key])
            .args(["--peer-client-cert-auth", "--peer-trusted-ca-file", &ca])
            .args(["--peer-cert-file", &cert, "--peer-key-file", &key])
            // Two busy cores and a slow disk must not cost the leader its office.
            .args(["--heartbeat-interval", "200", "--election-timeout", "2000"])
            // A member that comes back from isolation must not unseat the leader: while they elect anew no lease is renewed.
            .arg("--pre-vote=true")
            .args(["--logger", "zap", "--log-outputs", "stderr"])
    }

    /// Ready means that the member answers for itself. Whether there is a majority depends on the
    /// other sites, and a site that starts alone must not wait for them.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        let program = require("etcdctl", "etcd-client").map_err(|e| e.to_string())?;
        etcdctl(ctx, &program.to_string_lossy())
            .args(["endpoint", "status"])
            .run()
            .map(drop)
            .map_err(|e| e.to_string())
    }
}

/// `etcdctl` inside the site, talking to the site's own member.
pub(crate) fn etcdctl(ctx: &SiteCtx, program: &str) -> crate::run::Cmd {
    ctx.inside(program)
        .env("ETCDCTL_API", "3")
        .arg("--endpoints")
        .arg(format!(
            "https://{}",
            ctx.net.socket(ctx.site, ctx.ports().etcd_client)
        ))
        .arg("--cacert")
        .arg(&ctx.certs.ca)
        .arg("--cert")
        .arg(&ctx.certs.cert)
        .arg("--key")
        .arg(&ctx.certs.key)
        .args(["--command-timeout", "5s", "--dial-timeout", "3s"])
        .deadline(Duration::from_secs(10))
}
