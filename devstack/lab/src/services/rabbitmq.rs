//! The zone's RabbitMQ: a broker of its own, with its own epmd (Erlang's name service) and its own cookie.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Lane, Service, SiteCtx};
use crate::error::Result;
use crate::openstack::write_rabbitmq;
use crate::supervise::Spawn;

/// Debian's `rabbitmq-server` in `/usr/sbin` changes to another user first; this is what it starts.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

pub(super) struct RabbitMq;

impl Service for RabbitMq {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("rabbitmq-server", "rabbitmq-server"),
            ("epmd", "erlang-base"),
        ]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        write_rabbitmq(ctx)
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let base = ctx.dirs.data("rabbitmq");
        let path = |name: &str| base.join(name).display().to_string();
        let ports = ctx.ports();
        Spawn::new(PROGRAM)
            // `localhost` needs no name service, and is another one in each namespace.
            .env("RABBITMQ_NODENAME", format!("{}@localhost", ctx.site))
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", ports.epmd.to_string())
            .env("RABBITMQ_DIST_PORT", ports.erlang.to_string())
            // The cookie lies in the home folder.
            .env("HOME", base.display().to_string())
            .env("RABBITMQ_CONF_ENV_FILE", path("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_PID_FILE", path("pid"))
            // One scheduler, and none that spins while it waits: there are two brokers on two cores.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 1:1 +SDcpu 1:1 +SDio 2 +sbwt none +sbwtdcpu none +sbwtdio none",
            )
    }

    /// It answers the protocol's first word with its own.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        let addr = ctx.net.socket(ctx.site, ctx.ports().amqp);
        let answer = ctx.net.in_site(ctx.site, || {
            let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(2))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"AMQP\x00\x00\x09\x01")?;
            let mut frame = [0; 11];
            stream.read_exact(&mut frame).map(|()| frame)
        });
        match answer.map_err(|e| e.to_string())? {
            // A method frame on channel 0 with class 10, method 10: `connection.start`.
            Ok([1, 0, 0, _, _, _, _, 0, 10, 0, 10]) => Ok(()),
            Ok(other) => Err(format!("it answers {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}
