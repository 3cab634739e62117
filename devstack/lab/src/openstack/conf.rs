//! The configuration of a zone's Keystone, Cinder and RabbitMQ. Every setting that is not the default says why.

use std::fs;
use std::path::Path;

use super::{
    Backend, Install, REGION, Secret, Setup, auth_url, password, second_host, write_private,
};
use crate::error::{IoContext, Result};
use crate::services::SiteCtx;

/// How often Cinder's services say that they live, and after what silence they count as dead, in seconds. By default 10
/// and 60, which is time that every test of a dead service would wait.
pub(super) const REPORT_INTERVAL: u32 = 2;
pub(crate) const DOWN_TIME: u32 = 20;

/// Writes `keystone.conf`.
pub(crate) fn write_keystone(ctx: &SiteCtx) -> Result<()> {
    let text = keystone(
        &database_url(
            ctx,
            "keystone",
            "keystone",
            &password(ctx, Secret::KeystoneDb)?,
        ),
        &ctx.dirs.data("keystone"),
    );
    write_private(&super::keystone_conf(ctx), &text)
}

fn keystone(database: &str, data: &Path) -> String {
    format!(
        "\
[DEFAULT]
use_stderr = true

[database]
connection = {database}
max_pool_size = 4

[identity]
# The default costs 0.3 s of a core for each password that is checked; nobody attacks a lab's.
password_hash_rounds = 4

[token]
provider = fernet
# A client that outlives a lab's longest test needs no second token.
expiration = 86400

[fernet_tokens]
key_repository = {data}/fernet-keys

[fernet_receipts]
key_repository = {data}/fernet-keys

[credential]
key_repository = {data}/credential-keys
",
        data = data.display()
    )
}

/// Writes `cinder.conf`, and what the second member of a cluster reads on top of it.
pub(crate) fn write_cinder(ctx: &SiteCtx, setup: &Setup) -> Result<()> {
    let backends = setup.backends();
    let state = ctx.dirs.data("cinder");
    fs::create_dir_all(&state).context(|| format!("making {}", state.display()))?;
    let mut text = cinder(&Facts {
        site: ctx.site.name(),
        addr: ctx.addr().to_string(),
        database: database_url(ctx, "cinder", "cinder", &password(ctx, Secret::CinderDb)?),
        transport: transport_url(ctx)?,
        auth_url: auth_url(ctx),
        password: password(ctx, Secret::Cinder)?,
        volume_key: password(ctx, Secret::VolumeKey)?,
        state: &state,
        conf: &super::cinder_conf(ctx),
        install: ctx.install()?,
        enabled: backends
            .iter()
            .map(Backend::name)
            .collect::<Vec<_>>()
            .join(","),
        cluster: setup.cluster(),
    });
    for backend in backends {
        text.push_str(&format!("\n{backend}"));
    }
    write_private(&super::cinder_conf(ctx), &text)?;
    write_private(&super::second_conf(ctx), &second(&second_host(ctx.site)))
}

fn second(host: &str) -> String {
    format!("[DEFAULT]\nhost = {host}\n")
}

struct Facts<'a> {
    site: &'a str,
    addr: String,
    database: String,
    transport: String,
    auth_url: String,
    password: String,
    volume_key: String,
    state: &'a Path,
    conf: &'a Path,
    install: Install,
    enabled: String,
    cluster: Option<&'a str>,
}

fn cinder(facts: &Facts<'_>) -> String {
    let Facts {
        site,
        addr,
        database,
        transport,
        auth_url,
        password,
        volume_key,
        state,
        conf,
        install,
        enabled,
        cluster,
    } = facts;
    let cluster = cluster.map_or_else(String::new, |name| format!("\ncluster = {name}"));
    format!(
        "\
[DEFAULT]
# The service of a backend is SITE@BACKEND.
host = {site}
my_ip = {addr}
transport_url = {transport}
enabled_backends = {enabled}{cluster}
auth_strategy = keystone
api_paste_config = {paste}
resource_query_filters_file = {filters}
rootwrap_config = {rootwrap}
state_path = {state}
use_stderr = true
report_interval = {REPORT_INTERVAL}
service_down_time = {DOWN_TIME}
# A backend's figures reach the scheduler this often; 60 s by default.
backend_stats_polling_interval = 10
# The defaults stop a test at ten volumes.
quota_volumes = 1000
quota_snapshots = 2000
quota_gigabytes = 100000
quota_groups = 200
quota_backups = 100

[database]
connection = {database}
max_pool_size = 10

[keystone_authtoken]
www_authenticate_uri = {auth_url}
auth_url = {auth_url}
auth_type = password
region_name = {REGION}
project_domain_id = default
user_domain_id = default
project_name = service
username = cinder
password = {password}

[oslo_middleware]
# A gateway in front of it says where its clients came in.
enable_proxy_headers_parsing = true

[nova]
# Nova hears of a volume that grows while a server has it; nobody asks where there is no Nova.
auth_url = {auth_url}
auth_type = password
region_name = {REGION}
project_domain_id = default
user_domain_id = default
project_name = service
username = cinder
password = {password}

# What looks into an image's file is a process of its own. As root it needs no sudo, and others could not do without.
[cinder_sys_admin]
helper_command = {privsep} --config-file {conf}

[privsep_osbrick]
helper_command = {privsep} --config-file {conf}

[oslo_concurrency]
lock_path = {state}/lock

[coordination]
backend_url = file://{state}/coordination

[oslo_messaging_rabbit]
# A broker that comes back is found again at once.
rabbit_retry_backoff = 0
kombu_reconnect_delay = 0.5

[key_manager]
# There is no Barbican here; encrypted volumes have one key for all.
backend = cinder.keymgr.conf_key_mgr.ConfKeyManager
fixed_key = {volume_key}
",
        paste = install.etc("cinder", "api-paste.ini").display(),
        filters = install.etc("cinder", "resource_filters.json").display(),
        rootwrap = install.etc("cinder", "rootwrap.conf").display(),
        privsep = install.program("privsep-helper").display(),
        conf = conf.display(),
        state = state.display(),
    )
}

/// Name of RabbitMQ's one virtual host. It is a broker for each zone, so the name need not tell them apart.
const VHOST: &str = "openstack";

/// Writes RabbitMQ's configuration.
pub(crate) fn write_rabbitmq(ctx: &SiteCtx) -> Result<()> {
    let base = ctx.dirs.data("rabbitmq");
    let text = rabbitmq(
        &ctx.net.socket(ctx.site, ctx.ports().amqp).to_string(),
        &password(ctx, Secret::Rabbit)?,
    );
    write_private(&base.join("rabbitmq.conf"), &text)?;
    // Found empty, Debian's own files of these names are not read.
    write_private(&base.join("rabbitmq-env.conf"), "")?;
    write_private(&base.join("enabled_plugins"), "[].\n")
}

fn rabbitmq(listener: &str, password: &str) -> String {
    format!(
        "\
listeners.tcp.1 = {listener}
default_vhost = {VHOST}
default_user = cinder
default_pass = {password}
loopback_users = none
# A share of the machine's memory by default, of which there are several brokers here.
vm_memory_high_watermark.absolute = 256MB
disk_free_limit.absolute = 100MB
log.console = true
log.console.level = warning
log.file = false
"
    )
}

/// RabbitMQ's address, user and password.
pub(super) fn transport_url(ctx: &SiteCtx) -> Result<String> {
    Ok(format!(
        "rabbit://cinder:{}@{}/{VHOST}",
        password(ctx, Secret::Rabbit)?,
        ctx.net.socket(ctx.site, ctx.ports().amqp)
    ))
}

pub(super) fn database_url(ctx: &SiteCtx, name: &str, user: &str, password: &str) -> String {
    let addr = ctx.net.socket(ctx.site, ctx.ports().database);
    format!("mysql+pymysql://{user}:{password}@{addr}/{name}?charset=utf8mb4")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(state: &Path) -> Facts<'_> {
        Facts {
            site: "zone-b",
            addr: "10.231.3.12".into(),
            database: "mysql+pymysql://cinder:pw@10.231.3.12:3306/cinder".into(),
            transport: "rabbit://cinder:pw@10.231.3.12:5672/openstack".into(),
            auth_url: "http://10.231.3.12:5000/v3".into(),
            password: "service-pw".into(),
            volume_key: "00".into(),
            state,
            conf: Path::new("/lab/zone-b/openstack/cinder.conf"),
            install: Install::at(Path::new("/opt/openstack")),
            enabled: "rekindle,upstream".into(),
            cluster: None,
        }
    }

    fn value<'a>(conf: &'a str, section: &str, key: &str) -> Option<&'a str> {
        let mut now = "";
        conf.lines().find_map(|line| {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                now = name;
            }
            let (k, v) = line.split_once('=')?;
            (now == section && k.trim() == key).then(|| v.trim())
        })
    }

    #[test]
    fn cinder_finds_its_files_in_the_installation_and_keeps_its_own_in_the_lab() {
        let conf = cinder(&facts(Path::new("/lab/zone-b/cinder")));
        let is = |section, key| value(&conf, section, key).unwrap_or_default();
        assert_eq!(
            is("DEFAULT", "api_paste_config"),
            "/opt/openstack/etc/cinder/api-paste.ini"
        );
        assert_eq!(is("DEFAULT", "state_path"), "/lab/zone-b/cinder");
        assert_eq!(
            is("oslo_concurrency", "lock_path"),
            "/lab/zone-b/cinder/lock"
        );
        assert_eq!(is("DEFAULT", "enabled_backends"), "rekindle,upstream");
        assert_eq!(is("DEFAULT", "host"), "zone-b");
        // Two slashes would make the virtual host "/openstack", which is another.
        assert!(is("DEFAULT", "transport_url").ends_with(":5672/openstack"));
        assert_eq!(is("keystone_authtoken", "password"), "service-pw");
    }

    #[test]
    fn members_of_a_cluster_differ_in_their_host_alone() {
        let alone = cinder(&facts(Path::new("/x")));
        assert_eq!(value(&alone, "DEFAULT", "cluster"), None);
        let member = cinder(&Facts {
            cluster: Some("both"),
            ..facts(Path::new("/x"))
        });
        assert_eq!(value(&member, "DEFAULT", "cluster"), Some("both"));
        // Their lock on a volume, wherever they run.
        assert_eq!(
            value(&member, "coordination", "backend_url"),
            Some("file:///x/coordination")
        );
        let second = second("zone-b-2");
        assert_eq!(value(&second, "DEFAULT", "host"), Some("zone-b-2"));
    }

    #[test]
    fn no_backend_may_be_named_as_another_section_is() {
        let conf = cinder(&facts(Path::new("/x")));
        let sections = conf
            .lines()
            .filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
        for section in sections {
            assert!(super::super::backend::TAKEN.contains(&section), "{section}");
        }
    }

    #[test]
    fn a_service_is_not_called_dead_between_two_of_its_reports() {
        let conf = cinder(&facts(Path::new("/x")));
        let seconds = |key| {
            value(&conf, "DEFAULT", key)
                .unwrap()
                .parse::<u32>()
                .unwrap()
        };
        assert!(seconds("service_down_time") >= 5 * seconds("report_interval"));
    }

    #[test]
    fn a_test_may_make_more_than_ten_volumes() {
        let conf = cinder(&facts(Path::new("/x")));
        assert_eq!(value(&conf, "DEFAULT", "quota_volumes"), Some("1000"));
    }

    #[test]
    fn keystones_keys_lie_in_its_own_folder() {
        let conf = keystone("mysql+pymysql://k", Path::new("/lab/zone-a/keystone"));
        assert_eq!(
            value(&conf, "fernet_tokens", "key_repository"),
            Some("/lab/zone-a/keystone/fernet-keys")
        );
        assert_eq!(
            value(&conf, "database", "connection"),
            Some("mysql+pymysql://k")
        );
    }

    #[test]
    fn rabbitmq_listens_on_its_site_alone_and_lets_its_user_in_from_there() {
        let conf = rabbitmq("10.231.3.12:5672", "pw");
        assert!(
            conf.contains("listeners.tcp.1 = 10.231.3.12:5672\n"),
            "{conf}"
        );
        assert!(conf.contains("loopback_users = none\n"), "{conf}");
    }
}
