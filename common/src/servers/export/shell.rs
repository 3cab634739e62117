//! As a script for a POSIX shell that calls the `openstack` command.
//!
//! Every value of the record is one quoted word, set once and then only used as `"$NAME"`; each option is one word with its value
//! (`--flavor=…`), and names come after `--`, so that none can be taken for an option.

use super::{heading, is_off, only_by_nova, peer, plain_metadata, port_name, variables::Variables};
use crate::servers::{
    quote::sh,
    record::{DiskRecord, PortRecord, PortSecurity, ServerRecord},
};

/// What every script begins with.
const FUNCTIONS: &str = r#"set -eu

NL='
'
say() { printf '%s\n' "$*" >&2; }
fail() { say "not done: $*"; exit 1; }

# The volume here that says of itself that $1 is its peer; $2 is the variable that can name it instead.
copy_of() {
    copies=$(openstack volume list --property="rekindle:peer=$1" -f value -c ID) ||
        fail "the volumes here cannot be listed"
    case "$copies" in
        '') fail "no volume here is the copy of $1: set $2 to its id" ;;
        *"$NL"*) fail "several volumes here say that they are the copy of $1: set $2 to the right one's id" ;;
    esac
    printf '%s\n' "$copies"
}

# The port of that name, if there is one.
port_named() {
    ports=$(openstack port list --name="$1" -f value -c ID) || fail "the ports here cannot be listed"
    case "$ports" in
        *"$NL"*) fail "several ports here are called $1: delete those that are too much" ;;
    esac
    printf '%s\n' "$ports"
}

# subnet=…,ip-address=…, of what is not empty.
fixed_ip() { printf '%s\n' "${1:+subnet=$1}${1:+${2:+,}}${2:+ip-address=$2}"; }

# Of `ID NAME` on each line, the ids of those whose name is $1.
ids_of() {
    while IFS= read -r line; do
        if [ "${line#* }" = "$1" ]; then printf '%s\n' "${line%% *}"; fi
    done
}
"#;

const LOOK: &str = r#"
# Nova looks names up as patterns: this one finds too many rather than too few, and they are compared here.
servers=$(openstack server list --name="$PATTERN" -f value -c ID -c Name) ||
    fail "the servers here cannot be listed"
there=$(printf '%s\n' "$servers" | ids_of "$NAME")
case "$there" in
    '') ;;
    *"$NL"*) fail "several servers here are called $NAME" ;;
    *)
        say "a server of this name is there already, and was left as it is"
        printf '%s\n' "$there"
        exit 0
        ;;
esac
"#;

const CREATE: &str = r#"
created=$(openstack --os-compute-api-version=2.60 server create --wait "$@" -f value -c id -- "$NAME") ||
    fail "the server was not built: look at openstack server show, and delete it before this is run again"
# With --wait its progress stands before the id.
ID=${created##*"$NL"}
"#;

struct Script(String);

impl Script {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }
    /// A variable that the environment may set; also to nothing.
    fn variable(&mut self, name: &str, value: &str) {
        self.line(format!(
            "[ -n \"${{{name}+set}}\" ] || {name}={}",
            sh(value)
        ));
    }
    /// One more option, where its variable is not empty.
    fn option(&mut self, option: &str, variable: &str) {
        self.line(format!(
            "[ -z \"${variable}\" ] || set -- \"$@\" {option}=\"${variable}\""
        ));
    }
}

pub(super) fn write(record: &ServerRecord) -> String {
    let variables = Variables::of(record);
    let mut s = Script(String::from("#!/bin/sh\n"));
    let mut left_out = only_by_nova(record, false, false);
    if record.project.is_some() {
        left_out.push("the choice of its project: the one of your credentials is taken".to_owned());
    }
    for line in heading(record, &left_out) {
        s.line(format!("# {line}"));
    }
    s.line("# Run it with credentials of the zone where it is to stand. What is there already is left as it is, so it may be run again.");
    s.line("# Each variable below can be set in the environment; an empty one leaves the choice to that zone.");
    s.line(FUNCTIONS);
    s.line(format!("NAME={}", sh(&record.name)));
    s.line(format!("PATTERN={}", sh(&pattern(&record.name))));
    s.line(LOOK);
    set_variables(&mut s, record, &variables);
    for (n, port) in record.ports.iter().enumerate() {
        write_port(&mut s, record, &variables, n + 1, port);
    }
    server(&mut s, record);
    if is_off(record) {
        s.line("openstack server stop \"$ID\" || fail \"$ID was built and could not be stopped\"");
    }
    if record.locked {
        s.line("openstack server lock \"$ID\" || fail \"$ID was built and could not be locked\"");
    }
    s.line("printf '%s\\n' \"$ID\"");
    s.0
}

fn set_variables(s: &mut Script, record: &ServerRecord, variables: &Variables) {
    s.variable("FLAVOR", &record.flavor.name);
    for (name, value) in [
        ("KEY_NAME", &record.key_name),
        ("AVAILABILITY_ZONE", &record.availability_zone),
        ("SERVER_GROUP", &record.server_group),
    ] {
        if let Some(value) = value {
            s.variable(name, value);
        }
    }
    for (kind, values) in [
        ("NETWORK", &variables.networks),
        ("SUBNET", &variables.subnets),
        ("FIXED_IP", &variables.fixed_ips),
        ("MAC", &variables.macs),
        ("SECURITY_GROUP", &variables.security_groups),
    ] {
        for (n, value) in values.all() {
            s.variable(&format!("{kind}_{n}"), value);
        }
    }
    if let Some(data) = &record.user_data {
        s.line(format!(
            "[ -n \"${{USER_DATA_FILE+set}}\" ] ||\n    fail 'the server has user data ({} bytes), and it is in its record alone: set USER_DATA_FILE, empty to build it without'",
            data.bytes()
        ));
    }
    for (n, disk) in record.disks.iter().enumerate() {
        let name = format!("VOLUME_{}", n + 1);
        let peer = sh(&peer(record, &disk.volume.id));
        s.line(format!(
            "[ -n \"${{{name}+set}}\" ] || {name}=$(copy_of {peer} {name}) || exit 1"
        ));
    }
}

fn write_port(
    s: &mut Script,
    record: &ServerRecord,
    variables: &Variables,
    n: usize,
    port: &PortRecord,
) {
    let name = format!("PORT_{n}_NAME");
    s.line("");
    s.line(format!("{name}={}", sh(&port_name(record, n))));
    s.line(format!("PORT_{n}=$(port_named \"${name}\") || exit 1"));
    s.line(format!("if [ -z \"$PORT_{n}\" ]; then"));
    s.line(format!(
        "set -- --network=\"$NETWORK_{}\"",
        variables.networks.number(&port.network)
    ));
    for ip in &port.fixed_ips {
        let part = |name: &str, number: Option<usize>| {
            number.map_or_else(|| "''".to_owned(), |n| format!("\"${name}_{n}\""))
        };
        let subnet = ip.subnet.as_ref().map(|v| variables.subnets.number(v));
        let address = ip.address.map(|a| variables.address(a));
        s.line(format!(
            "IP=$(fixed_ip {} {})",
            part("SUBNET", subnet),
            part("FIXED_IP", address)
        ));
        s.option("--fixed-ip", "IP");
    }
    if let Some(mac) = &port.mac {
        s.option(
            "--mac-address",
            &format!("MAC_{}", variables.macs.number(mac)),
        );
    }
    for group in variables.groups(record, port) {
        s.option("--security-group", &format!("SECURITY_GROUP_{group}"));
    }
    match port.port_security {
        PortSecurity::Unknown => {}
        PortSecurity::On if !port.security_groups.is_empty() => {}
        PortSecurity::On => s.line("set -- \"$@\" --no-security-group"),
        PortSecurity::Off => {
            s.line("set -- \"$@\" --no-security-group --disable-port-security");
        }
    }
    for pair in &port.address_pairs {
        let mac = pair.mac.as_deref();
        let mac = mac.map_or_else(String::new, |mac| format!(",mac-address={mac}"));
        let allowed = format!("ip-address={}{mac}", pair.address);
        s.line(format!("set -- \"$@\" --allowed-address={}", sh(&allowed)));
    }
    s.line(format!(
        "PORT_{n}=$(openstack port create \"$@\" -f value -c id -- \"${name}\") ||\n    fail \"port {n} was not made\""
    ));
    s.line("fi");
}

fn server(s: &mut Script, record: &ServerRecord) {
    s.line("");
    s.line("set -- --flavor=\"$FLAVOR\"");
    for (n, disk) in record.disks.iter().enumerate() {
        s.line(format!(
            "set -- \"$@\" --block-device={}",
            block_device(n + 1, disk)
        ));
    }
    for n in 1..=record.ports.len() {
        s.line(format!("set -- \"$@\" --port=\"$PORT_{n}\""));
    }
    if record.ports.is_empty() {
        s.line("set -- \"$@\" --nic=none");
    }
    if record.key_name.is_some() {
        s.option("--key-name", "KEY_NAME");
    }
    if record.availability_zone.is_some() {
        s.option("--availability-zone", "AVAILABILITY_ZONE");
    }
    if record.server_group.is_some() {
        s.line("[ -z \"$SERVER_GROUP\" ] || set -- \"$@\" --hint=group=\"$SERVER_GROUP\"");
    }
    for (key, value) in plain_metadata(record) {
        s.line(format!(
            "set -- \"$@\" --property={}",
            sh(&format!("{key}={value}"))
        ));
    }
    for tag in &record.tags {
        s.line(format!("set -- \"$@\" --tag={}", sh(tag)));
    }
    if let Some(text) = &record.description {
        s.line(format!("set -- \"$@\" --description={}", sh(text)));
    }
    if record.config_drive {
        s.line("set -- \"$@\" --use-config-drive");
    }
    if record.user_data.is_some() {
        s.option("--user-data", "USER_DATA_FILE");
    }
    s.line(CREATE.trim_start_matches('\n'));
}

fn block_device(n: usize, disk: &DiskRecord) -> String {
    let boot = disk
        .boot_index
        .map_or_else(|| "-1".to_owned(), |i| i.to_string());
    let tag = disk
        .tag
        .as_deref()
        .map_or_else(String::new, |t| sh(&format!(",tag={t}")));
    format!(
        "\"uuid=$VOLUME_{n},source_type=volume,destination_type=volume,boot_index={boot},delete_on_termination=false\"{tag}"
    )
}

/// A regular expression of any dialect that finds the name among others: what is no letter or digit of ASCII is anything.
fn pattern(name: &str) -> String {
    let mut out = String::from("^");
    let mut open = false;
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c);
            open = false;
        } else if !open {
            out.push_str(".*");
            open = true;
        }
    }
    out.push('$');
    out
}
