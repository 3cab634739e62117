//! The zone's MariaDB, with a database for Keystone and one for Cinder; those of Nova and its kin are added when it is.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use super::{Lane, Service, SiteCtx};
use crate::error::{IoContext, LabError, Result};
use crate::openstack::{Secret, password, write_private};
use crate::run::{Cmd, require};
use crate::supervise::Spawn;

/// Name of each database and of its user, and the secret that is the user's password.
const DATABASES: [(&str, Secret); 2] = [
    ("keystone", Secret::KeystoneDb),
    ("cinder", Secret::CinderDb),
];

pub(super) struct MariaDb;

impl Service for MariaDb {
    fn name(&self) -> &'static str {
        "mariadb"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("mariadbd", "mariadb-server-core"),
            ("mariadb-install-db", "mariadb-server-core"),
            ("mariadb", "mariadb-client-core"),
        ]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        let data = ctx.dirs.data("mariadb");
        if data.join("done").exists() {
            return Ok(());
        }
        // The first service of the cloud: here all of its secrets come to be.
        let mut sql = String::new();
        for secret in Secret::ALL {
            password(ctx, secret)?;
        }
        for (name, secret) in DATABASES {
            create(&mut sql, name, &password(ctx, secret)?);
        }
        write_private(&ctx.dirs.data("mariadb.sql"), &sql)?;
        // Half a database from an earlier try is none.
        if data.exists() {
            fs::remove_dir_all(&data).context(|| format!("removing {}", data.display()))?;
        }
        make_tmp(ctx)?;
        Cmd::new(require("mariadb-install-db", "mariadb-server-core")?)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", tmp(ctx).display()))
            .args(["--auth-root-authentication-method=socket", "--skip-test-db"])
            .args(["--skip-name-resolve", "--skip-log-bin"])
            .args(user_option())
            .deadline(Duration::from_secs(120))
            .run()?;
        fs::write(data.join("done"), "").context(|| "marking the database as made".into())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let path = |p: std::path::PathBuf| p.display().to_string();
        Spawn::new("mariadbd")
            .arg("--no-defaults")
            .args(user_option())
            .arg(format!("--datadir={}", path(ctx.dirs.data("mariadb"))))
            .arg(format!("--socket={}", path(ctx.dirs.asok("mariadb"))))
            .arg(format!(
                "--pid-file={}",
                path(ctx.dirs.run().join("mariadb.pid"))
            ))
            // Read at every start; all of it is "if not exists".
            .arg(format!(
                "--init-file={}",
                path(ctx.dirs.data("mariadb.sql"))
            ))
            .arg(format!("--bind-address={}", ctx.addr()))
            .arg(format!("--port={}", ctx.ports().database))
            .args(["--skip-name-resolve", "--character-set-server=utf8mb4"])
            // Small: a zone's tables fit in a few MiB. Cinder and Keystone hold twenty connections each at most.
            .args([
                "--innodb-buffer-pool-size=64M",
                "--innodb-log-file-size=16M",
            ])
            // Each of Cinder's processes opens up to 60 when many volumes are made at once; one costs memory while it is open.
            .args(["--max-connections=400", "--performance-schema=OFF"])
            // Written at each commit and flushed once a second: a killed process loses nothing, a machine may.
            .args(["--innodb-flush-log-at-trx-commit=2", "--skip-log-bin"])
    }

    /// Keystone's and Cinder's tables are made before they start.
    fn is_waited_for(&self) -> bool {
        true
    }

    /// It greets: that comes after its init file was read.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        let addr = ctx.net.socket(ctx.site, ctx.ports().database);
        let greeting = ctx.net.in_site(ctx.site, || {
            let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(2))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            let mut first = [0; 5];
            stream.read_exact(&mut first).map(|()| first)
        });
        match greeting.map_err(|e| e.to_string())? {
            // A packet's header of four bytes, then the protocol's version.
            Ok([_, _, _, _, 10]) => Ok(()),
            Ok(other) => Err(format!("its greeting begins with {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}

/// A folder of its own: a server that starts removes the temporary tables of all others that have the same.
fn tmp(ctx: &SiteCtx) -> PathBuf {
    ctx.dirs.data("mariadb-tmp")
}

fn make_tmp(ctx: &SiteCtx) -> Result<()> {
    let dir = tmp(ctx);
    fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))
}

fn create(sql: &mut String, name: &str, password: &str) {
    create_for(sql, name, name, password);
}

fn create_for(sql: &mut String, name: &str, user: &str, password: &str) {
    // One statement a line: the init file's rule. Writing to a String cannot fail.
    let _ = writeln!(
        sql,
        "CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4;\n\
         CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}';\n\
         GRANT ALL ON {name}.* TO '{user}'@'%';"
    );
}

/// Makes these databases for that user in the server that runs, if they are not there. Root alone may: the server knows it by
/// its socket.
pub(super) fn make_databases(
    ctx: &SiteCtx,
    names: &[&str],
    user: &str,
    secret: Secret,
) -> Result<()> {
    let password = password(ctx, secret)?;
    let mut sql = String::new();
    for name in names {
        create_for(&mut sql, name, user, &password);
    }
    tell_root(ctx, sql)
}

/// Has the server do these as root, who is known to it by its socket. They are its input: a command line can be read by all.
pub(super) fn tell_root(ctx: &SiteCtx, sql: String) -> Result<()> {
    as_root(ctx)?.stdin(sql).run().map(drop)
}

/// The same for questions; the answers come one after the other.
pub(super) fn ask_root(ctx: &SiteCtx, sql: &str) -> Result<String> {
    Ok(as_root(ctx)?.stdin(sql).run()?.stdout)
}

/// For hundreds of tables at once.
fn as_root(ctx: &SiteCtx) -> Result<Cmd> {
    Ok(client(ctx)?
        .arg("--user=root")
        .deadline(Duration::from_secs(120)))
}

/// As root it wants to be told that this is meant.
fn user_option() -> Option<&'static str> {
    rustix::process::geteuid()
        .is_root()
        .then_some("--user=root")
}

/// The client; each row that it prints is a line, its columns are parted by tabs.
fn client(ctx: &SiteCtx) -> Result<Cmd> {
    let program = require("mariadb", "mariadb-client-core")?;
    Ok(ctx
        .inside(&program.to_string_lossy())
        .args([
            "--no-defaults",
            "--batch",
            "--skip-column-names",
            "--connect-timeout=3",
        ])
        .arg(format!("--socket={}", ctx.dirs.asok("mariadb").display()))
        .deadline(Duration::from_secs(10)))
}

/// Asks the zone's Cinder database.
pub(crate) fn ask_cinder(ctx: &SiteCtx, sql: &str) -> Result<String> {
    ask(ctx, "cinder", Secret::CinderDb, sql)
}

/// Asks the database of Nova's one cell. The user may look into its other ones too.
pub(crate) fn ask_nova(ctx: &SiteCtx, sql: &str) -> Result<String> {
    ask(ctx, "nova", Secret::NovaDb, sql)
}

fn ask(ctx: &SiteCtx, name: &str, secret: Secret, sql: &str) -> Result<String> {
    let asked = client(ctx)?
        .env("MYSQL_PWD", password(ctx, secret)?)
        .arg(format!("--user={name}"))
        .arg(format!("--database={name}"))
        .args(["--execute", sql])
        .run();
    match asked {
        Ok(output) => Ok(output.stdout),
        // The statement is long and says nothing to a reader.
        Err(LabError::Command { status, stderr, .. }) => Err(LabError::Command {
            command: format!("a question to the database {name} of {}", ctx.site),
            status,
            stderr,
        }),
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_init_file_has_one_statement_a_line_and_can_be_read_again() {
        let mut sql = String::new();
        create(&mut sql, "cinder", "pw");
        assert_eq!(sql.lines().count(), 3);
        assert!(sql.lines().all(|l| l.ends_with(';')), "{sql}");
        assert_eq!(sql.matches("IF NOT EXISTS").count(), 2);
        assert!(sql.contains("IDENTIFIED BY 'pw'"), "{sql}");
    }
}
