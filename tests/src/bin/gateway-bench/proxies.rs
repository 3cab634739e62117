//! nginx and the gateway as processes, each as people install it, and what they take of the machine.

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde::Serialize;
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use toml::{Table, Value};

/// What Linux counts processor time in, for programs, whatever the kernel's own clock.
const TICKS: f64 = 100.0;

/// nginx's settings, and why each is not its default.
pub(crate) const NGINX: &[(&str, &str)] = &[
    (
        "worker_processes auto; listen … reuseport",
        "a process for each core, with as many connections each",
    ),
    (
        "keepalive 256; proxy_http_version 1.1; proxy_set_header Connection \"\"",
        "connections to the upstream are kept, as the gateway's are",
    ),
    (
        "proxy_buffering off; proxy_request_buffering off",
        "bodies go on as they come, as the gateway's do; on, it would read all of an answer before a slow client, into files",
    ),
    (
        "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k",
        "the piece that it streams by; the default of 4k would cost it two system calls for each",
    ),
    (
        "access_log off",
        "the gateway's is off too (log.filter = warn): both would write the same line",
    ),
    (
        "keepalive_requests 1000000",
        "no connection is made anew within a turn",
    ),
];

/// As many files as connections need, for this process and those that it starts.
pub(crate) fn allow_files(most: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let enough = |n: Option<u64>| n.is_none_or(|n| n >= most);
    ensure!(
        enough(limit.maximum),
        "the limit on open files is {:?}: {most} are needed",
        limit.maximum
    );
    if enough(limit.current) {
        return Ok(());
    }
    let limit = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, limit).context("cannot have more open files")
}

/// A proxy that runs.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
}

/// What a proxy's processes hold of the machine's memory.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Held {
    /// Resident, each process for itself.
    pub(crate) rss_mib: f64,
    /// Resident, with what is shared divided among those who share it.
    pub(crate) pss_mib: f64,
}

impl Proxy {
    fn start(
        name: &'static str,
        address: SocketAddr,
        command: &mut Command,
    ) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self {
            name,
            address,
            child: child.with_context(|| format!("cannot start {name}"))?,
        })
    }

    /// The process and its children: nginx's workers.
    fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let own = self.child.id();
        let path = format!("/proc/{own}/task/{own}/children");
        let children = std::fs::read_to_string(&path).with_context(|| path)?;
        let children = children.split_whitespace().map(str::parse);
        let mut pids = children.collect::<Result<Vec<u32>, _>>()?;
        pids.push(own);
        Ok(pids)
    }

    /// What it has taken of the processors so far.
    pub(crate) fn processor(&self) -> anyhow::Result<Duration> {
        let mut ticks = 0;
        for pid in self.pids()? {
            let path = format!("/proc/{pid}/stat");
            let text = std::fs::read_to_string(&path).with_context(|| path)?;
            // The name stands in brackets, and may have anything in it.
            let (_, fields) = text.rsplit_once(')').context("no process's line")?;
            let mut fields = fields.split_whitespace().skip(11);
            let (user, system) = (fields.next(), fields.next());
            for field in [user, system] {
                ticks += field.context("a shorter line")?.parse::<u32>()?;
            }
        }
        Ok(Duration::from_secs_f64(f64::from(ticks) / TICKS))
    }

    /// What it holds of the memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Held> {
        let mut held = Held::default();
        for pid in self.pids()? {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = std::fs::read_to_string(&path).with_context(|| path)?;
            let mib = |name: &str| -> anyhow::Result<f64> {
                let line = text.lines().find_map(|l| l.strip_prefix(name));
                let words = line.with_context(|| format!("no {name}"))?;
                let kib = words.split_whitespace().next().unwrap_or_default();
                Ok(kib.parse::<f64>()? / 1024.0)
            };
            held.rss_mib += mib("Rss:")?;
            held.pss_mib += mib("Pss:")?;
        }
        Ok(held)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx's workers end with their master's word alone.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// An address that nobody has.
fn free() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?)
}

/// nginx in front of that address.
pub(crate) fn nginx(dir: &Path, upstream: SocketAddr) -> anyhow::Result<Proxy> {
    let address = free()?;
    let dir = dir.join(format!("nginx-{}", address.port()));
    std::fs::create_dir(&dir)?;
    let (file, at) = (dir.join("nginx.conf"), dir.display());
    let conf = format!(
        "daemon off; worker_processes auto; worker_rlimit_nofile 8192; pid {at}/pid; error_log {at}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           access_log off; keepalive_requests 1000000; keepalive_timeout 300s;\n\
           client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
           proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;\n\
           upstream cinder {{ server {upstream}; keepalive 256; keepalive_requests 1000000; }}\n\
           server {{\n\
             listen {address} reuseport;\n\
             location / {{\n\
               proxy_pass http://cinder; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
               proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
               proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;\n\
         }} }} }}\n"
    );
    std::fs::write(&file, conf)?;
    let mut command = Command::new("nginx");
    let command = command.arg("-e").arg(dir.join("error.log"));
    let command = command.arg("-p").arg(&dir).arg("-c").arg(&file);
    Proxy::start("nginx", address, command)
        .context("Debian's nginx is needed: devstack/packages.sh bench")
}

/// What nginx says of itself.
pub(crate) fn nginx_version() -> anyhow::Result<String> {
    let said = Command::new("nginx").arg("-v").output();
    let said = said.context("Debian's nginx is needed: devstack/packages.sh bench")?;
    Ok(String::from_utf8_lossy(&said.stderr).trim().to_owned())
}

/// The gateway's file in front of the stub: all of it is on, actions, status and guards.
pub(crate) fn for_a_stub(
    dir: &Path,
    upstream: SocketAddr,
    sidecar: &Path,
) -> anyhow::Result<Table> {
    let secret = dir.join("secret");
    std::fs::write(&secret, "s3cret\n")?;
    let text = format!(
        "zone = \"zone-a\"\npeer = \"zone-b\"\n\
         [upstream]\nurl = \"http://{upstream}\"\n\
         [actions.sidecar]\nunix = {sidecar:?}\n\
         [actions.cloud]\nauth_url = \"http://{upstream}/v3\"\nusername = \"own\"\npassword_file = {secret:?}\n\
         project = \"service\"\nbackends = {{ volumes = \"h@ceph#ceph\" }}\n"
    );
    Ok(text.parse()?)
}

/// The gateway of that file, at a free address, with the access log off.
pub(crate) fn gateway(dir: &Path, file: &Table) -> anyhow::Result<Proxy> {
    let address = free()?;
    let mut file = file.clone();
    let entry = |key: &str, value: &str| {
        let mut table = Table::new();
        table.insert(key.to_owned(), value.into());
        Value::Table(table)
    };
    file.insert("listen".into(), entry("address", &address.to_string()));
    file.insert("log".into(), entry("filter", "warn"));
    let path = dir.join(format!("gateway-{}.toml", address.port()));
    std::fs::write(&path, toml::to_string_pretty(&file)?)?;
    let program = std::env::current_exe()?.with_file_name("rekindle-gateway");
    if !program.is_file() {
        bail!(
            "{} is not there: `make bench-gateway` builds it",
            program.display()
        );
    }
    let mut command = Command::new(program);
    Proxy::start("gateway", address, command.arg("--config").arg(&path))
}
