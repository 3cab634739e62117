//! The configuration of a zone's Nova, and of the Placement, Neutron and Glance that it needs. Every setting that is not the default
//! says why.

use std::fs;
use std::path::{Path, PathBuf};

use super::conf::{DOWN_TIME, REPORT_INTERVAL, database_url, transport_url};
use super::{Install, REGION, Secret, auth_url, password, write_private};
use crate::ceph;
use crate::error::{IoContext, Result};
use crate::services::SiteCtx;

/// The databases of these four, all of one user; `nova_cell0` is that of the servers that found no host.
pub(crate) const DATABASES: [&str; 6] = [
    "nova",
    "nova_api",
    "nova_cell0",
    "placement",
    "neutron",
    "glance",
];
/// Their user, in the database and in Keystone.
pub(crate) const USER: &str = "nova";

pub(crate) fn nova_conf(ctx: &SiteCtx) -> PathBuf {
    super::dir(ctx).join("nova.conf")
}

/// What tests set on top of `nova.conf`, for nova-compute alone.
pub(crate) fn nova_compute_conf(ctx: &SiteCtx) -> PathBuf {
    super::dir(ctx).join("nova-compute.conf")
}

pub(crate) fn placement_conf(ctx: &SiteCtx) -> PathBuf {
    super::dir(ctx).join("placement.conf")
}

pub(crate) fn neutron_conf(ctx: &SiteCtx) -> PathBuf {
    super::dir(ctx).join("neutron.conf")
}

/// Glance names the file itself, and is told the folder.
pub(crate) fn glance_conf(ctx: &SiteCtx) -> PathBuf {
    super::dir(ctx).join("glance-api.conf")
}

pub(crate) fn write_placement(ctx: &SiteCtx) -> Result<()> {
    let facts = Facts::of(ctx, "placement")?;
    let text = placement(&facts, &database(ctx, "placement")?);
    write_private(&placement_conf(ctx), &text)
}

pub(crate) fn write_neutron(ctx: &SiteCtx) -> Result<()> {
    let facts = Facts::of(ctx, "neutron")?;
    let text = neutron(&facts, &database(ctx, "neutron")?);
    write_private(&neutron_conf(ctx), &text)
}

pub(crate) fn write_glance(ctx: &SiteCtx) -> Result<()> {
    let facts = Facts::of(ctx, "glance")?;
    let text = glance(&facts, &database(ctx, "glance")?);
    write_private(&glance_conf(ctx), &text)
}

/// Writes `nova.conf`, and an empty `nova-compute.conf` unless somebody wrote it.
pub(crate) fn write_nova(ctx: &SiteCtx) -> Result<()> {
    let more = nova_compute_conf(ctx);
    if !more.exists() {
        write_private(&more, "")?;
    }
    let facts = Facts::of(ctx, "nova")?;
    // nova-compute makes it with its first guest, and before that fails to say what disk it has, so there never is one.
    let instances = facts.state.join("instances");
    fs::create_dir_all(&instances).context(|| format!("making {}", instances.display()))?;
    let databases = (database(ctx, "nova_api")?, database(ctx, "nova")?);
    let text = nova(
        &facts,
        &nova_conf(ctx),
        (&databases.0, &databases.1),
        &super::libvirt_uri(ctx),
        ctx.fsid.as_deref().unwrap_or_default(),
        &password(ctx, Secret::VolumeKey)?,
    );
    write_private(&nova_conf(ctx), &text)
}

fn database(ctx: &SiteCtx, name: &str) -> Result<String> {
    Ok(database_url(
        ctx,
        name,
        USER,
        &password(ctx, Secret::NovaDb)?,
    ))
}

/// What all four are told.
struct Facts {
    site: &'static str,
    addr: String,
    transport: String,
    auth_url: String,
    password: String,
    state: PathBuf,
    install: Install,
}

impl Facts {
    /// Makes the program's folder too.
    fn of(ctx: &SiteCtx, name: &str) -> Result<Self> {
        let state = ctx.dirs.data(name);
        fs::create_dir_all(&state).context(|| format!("making {}", state.display()))?;
        Ok(Self {
            site: ctx.site.name(),
            addr: ctx.addr().to_string(),
            transport: transport_url(ctx)?,
            auth_url: auth_url(ctx),
            password: password(ctx, Secret::Nova)?,
            state,
            install: ctx.install()?,
        })
    }

    /// The account, as each section that needs one has it.
    fn account(&self) -> String {
        format!(
            "\
auth_url = {auth_url}
auth_type = password
region_name = {REGION}
project_domain_id = default
user_domain_id = default
project_name = service
username = {USER}
password = {password}
",
            auth_url = self.auth_url,
            password = self.password
        )
    }

    fn authtoken(&self) -> String {
        format!(
            "\
[keystone_authtoken]
www_authenticate_uri = {}
{}",
            self.auth_url,
            self.account()
        )
    }
}

fn placement(facts: &Facts, database: &str) -> String {
    format!(
        "\
[DEFAULT]
use_stderr = true

[api]
auth_strategy = keystone

[placement_database]
connection = {database}
max_pool_size = 4

{authtoken}",
        authtoken = facts.authtoken()
    )
}

fn neutron(facts: &Facts, database: &str) -> String {
    format!(
        "\
[DEFAULT]
use_stderr = true
transport_url = {transport}
core_plugin = ml2
# Without this one it answers 500 where it is asked for ports: they have a relation to the router's tables.
service_plugins = router
auth_strategy = keystone
api_paste_config = {paste}
state_path = {state}
# Nobody is told of a port that got up: none does.
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false

[ml2]
type_drivers = flat,local
tenant_network_types = local
# The lab's own, which needs no agent.
mechanism_drivers = rekindle_lab
extension_drivers = port_security

[ml2_type_flat]
flat_networks = *

[database]
connection = {database}
max_pool_size = 4

[oslo_concurrency]
lock_path = {state}/lock

{authtoken}",
        transport = facts.transport,
        paste = facts.install.etc("neutron", "api-paste.ini").display(),
        state = facts.state.display(),
        authtoken = facts.authtoken()
    )
}

fn glance(facts: &Facts, database: &str) -> String {
    format!(
        "\
[DEFAULT]
use_stderr = true
# Files, not RBD: an image in the pool would be the parent of each volume made from it, and a clone is mirrored only with its parent.
enabled_backends = files:file
node_staging_uri = file://{state}/staging

[glance_store]
default_backend = files

[files]
filesystem_store_datadir = {state}/images

[os_glance_staging_store]
filesystem_store_datadir = {state}/staging

[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks

[database]
connection = {database}
max_pool_size = 4

[paste_deploy]
flavor = keystone
config_file = {paste}

[oslo_concurrency]
lock_path = {state}/lock

{authtoken}",
        paste = facts
            .install
            .etc("glance", "glance-api-paste.ini")
            .display(),
        state = facts.state.display(),
        authtoken = facts.authtoken()
    )
}

fn nova(
    facts: &Facts,
    conf: &Path,
    (api_database, database): (&str, &str),
    libvirt_uri: &str,
    rbd_secret: &str,
    volume_key: &str,
) -> String {
    format!(
        "\
[DEFAULT]
host = {site}
my_ip = {addr}
transport_url = {transport}
state_path = {state}
rootwrap_config = {rootwrap}
use_stderr = true
compute_driver = libvirt.LibvirtDriver
report_interval = {REPORT_INTERVAL}
service_down_time = {DOWN_TIME}
# A guest that is starting does not hear the power button, and is waited for this long; 60 s by default.
shutdown_timeout = 20
# How soon Nova sees that a guest has ended by itself; 600 s by default.
sync_power_state_interval = 10
# There is one hypervisor.
allow_resize_to_same_host = true
# Guests are small, and the machine has others to serve: what counts is its real memory.
cpu_allocation_ratio = 64
ram_allocation_ratio = 4
reserved_host_memory_mb = 0

[api_database]
connection = {api_database}
max_pool_size = 4

[database]
connection = {database}
max_pool_size = 10

{authtoken}
[service_user]
# Without it Cinder refuses to let go of a volume that a server has.
send_service_user_token = true
{account}
[placement]
{account}
[neutron]
{account}
[glance]
region_name = {REGION}

[cinder]
catalog_info = block-storage:cinder:publicURL
os_region_name = {REGION}
# Who it is when it does what no user asked for, as giving a dead host's servers their volumes again.
{account}
[libvirt]
virt_type = qemu
cpu_mode = none
connection_uri = {libvirt_uri}
rbd_user = {rbd_user}
rbd_secret_uuid = {rbd_secret}
# It starts faster than q35.
hw_machine_type = x86_64=pc
# MiB that QEMU keeps translated code in; up to 1 GiB by default.
tb_cache_size = 32

# One for each core by default.
[conductor]
workers = 1

[scheduler]
workers = 1

[vnc]
enabled = false

[quota]
instances = 1000
cores = 1000
ram = -1

[key_manager]
# Cinder's: encrypted volumes have one key for all.
backend = nova.keymgr.conf_key_mgr.ConfKeyManager
fixed_key = {volume_key}

[oslo_concurrency]
lock_path = {state}/lock

[oslo_messaging_rabbit]
# A broker that comes back is found again at once.
rabbit_retry_backoff = 0
kombu_reconnect_delay = 0.5

# It is root: no sudo.
[nova_sys_admin]
helper_command = {privsep} --config-file {conf}

[privsep_osbrick]
helper_command = {privsep} --config-file {conf}
",
        site = facts.site,
        addr = facts.addr,
        transport = facts.transport,
        state = facts.state.display(),
        rootwrap = facts.install.etc("nova", "rootwrap.conf").display(),
        authtoken = facts.authtoken(),
        account = facts.account(),
        rbd_user = ceph::CINDER_ID,
        privsep = facts.install.program("privsep-helper").display(),
        conf = conf.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            site: "zone-b",
            addr: "10.231.3.12".into(),
            transport: "rabbit://cinder:pw@10.231.3.12:5672/openstack".into(),
            auth_url: "http://10.231.3.12:5000/v3".into(),
            password: "service-pw".into(),
            state: PathBuf::from("/lab/zone-b/nova"),
            install: Install::at(Path::new("/opt/openstack")),
        }
    }

    fn section<'a>(conf: &'a str, name: &str) -> &'a str {
        let head = format!("[{name}]\n");
        let (_, rest) = conf.split_once(&head).unwrap_or_default();
        rest.split("\n[").next().unwrap_or_default()
    }

    fn nova_text() -> String {
        nova(
            &facts(),
            Path::new("/lab/zone-b/openstack/nova.conf"),
            ("mysql+pymysql://api", "mysql+pymysql://cell"),
            "qemu+unix:///system?socket=/lab/zone-b/run/libvirt-sock",
            "f-s-i-d",
            "00",
        )
    }

    #[test]
    fn nova_runs_guests_without_kvm_on_the_libvirt_and_the_ceph_of_its_zone() {
        let libvirt = nova_text();
        let libvirt = section(&libvirt, "libvirt");
        for line in [
            "virt_type = qemu\n",
            "cpu_mode = none\n",
            "socket=/lab/zone-b/run/libvirt-sock\n",
            "rbd_user = cinder\n",
            "rbd_secret_uuid = f-s-i-d\n",
        ] {
            assert!(libvirt.contains(line), "{line} in {libvirt}");
        }
    }

    #[test]
    fn nova_says_who_it_is_wherever_it_is_asked() {
        let text = nova_text();
        for name in ["keystone_authtoken", "service_user", "placement", "neutron"] {
            assert!(
                section(&text, name).contains("password = service-pw\n"),
                "{name}"
            );
        }
    }

    #[test]
    fn an_image_is_no_parent_of_volumes() {
        let text = glance(&facts(), "mysql+pymysql://glance");
        assert!(
            section(&text, "DEFAULT").contains("enabled_backends = files:file"),
            "{text}"
        );
    }
}
