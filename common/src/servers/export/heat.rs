//! As a Heat template.

use super::{heading, is_off, only_by_nova, plain_metadata, port_name, variables::Variables};
use crate::servers::{
    quote::yaml,
    record::{PortRecord, PortSecurity, ServerRecord},
};

/// What Heat takes for a function where it is the only key of a map.
const FUNCTIONS: &[&str] = &[
    "and",
    "contains",
    "digest",
    "equals",
    "filter",
    "get_attr",
    "get_file",
    "get_param",
    "get_resource",
    "if",
    "list_concat",
    "list_concat_unique",
    "list_join",
    "make_url",
    "map_merge",
    "map_replace",
    "not",
    "or",
    "repeat",
    "resource_facade",
    "str_replace",
    "str_replace_strict",
    "str_replace_vstrict",
    "str_split",
    "yaql",
];

struct Yaml(String);

impl Yaml {
    fn line(&mut self, indent: usize, line: impl AsRef<str>) {
        self.0.push_str(&" ".repeat(indent));
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }
    /// A parameter. Without a default Heat wants it given.
    fn parameter(&mut self, name: &str, description: &str, default: Option<&str>) {
        self.line(2, format!("{name}:"));
        self.line(4, "type: string");
        self.line(4, format!("description: {}", yaml(description)));
        if let Some(default) = default {
            self.line(4, format!("default: {}", yaml(default)));
        }
    }
}

pub(super) fn write(record: &ServerRecord) -> String {
    let variables = Variables::of(record);
    let metadata = usable_metadata(record);
    let mut left_out = only_by_nova(record, true, true);
    if is_off(record) {
        left_out.push("it is off in its zone: `openstack server stop ID`".to_owned());
    }
    if metadata.is_none() {
        left_out.push("its metadata, whose one key Heat would take for a function".to_owned());
    }
    if record.project.is_some() {
        left_out.push("the choice of its project: the stack's is taken".to_owned());
    }
    let mut out = Yaml(String::new());
    for line in heading(record, &left_out) {
        out.line(0, format!("# {line}"));
    }
    out.line(0, "heat_template_version: 2018-08-31");
    out.line(0, "");
    out.line(0, "parameters:");
    parameters(&mut out, record, &variables);
    out.line(0, "");
    out.line(0, "resources:");
    for (n, port) in record.ports.iter().enumerate() {
        write_port(&mut out, record, &variables, n + 1, port);
    }
    server(&mut out, record, metadata.unwrap_or_default());
    out.line(0, "");
    out.line(0, "outputs:");
    out.line(2, "id:");
    out.line(4, "value: {get_resource: server}");
    out.0
}

/// The metadata, unless Heat would take it for a function.
fn usable_metadata(record: &ServerRecord) -> Option<Vec<(&String, &String)>> {
    let all = plain_metadata(record);
    match all.as_slice() {
        [(key, _)] if FUNCTIONS.contains(&key.as_str()) => None,
        _ => Some(all),
    }
}

fn parameters(out: &mut Yaml, record: &ServerRecord, variables: &Variables) {
    let zone = &record.zone;
    out.parameter("flavor", "The flavor.", Some(&record.flavor.name));
    for (name, what, value) in [
        ("key_name", "The key pair's name.", &record.key_name),
        (
            "availability_zone",
            "The availability zone.",
            &record.availability_zone,
        ),
        ("server_group", "The server group.", &record.server_group),
    ] {
        if let Some(value) = value {
            out.parameter(name, what, Some(value));
        }
    }
    for (kind, what, values) in [
        ("network", "network", &variables.networks),
        ("subnet", "subnet", &variables.subnets),
        ("fixed_ip", "address", &variables.fixed_ips),
        ("mac", "MAC address", &variables.macs),
        (
            "security_group",
            "security group",
            &variables.security_groups,
        ),
    ] {
        for (n, value) in values.all() {
            let what = format!("The {what}; the default is that of {zone}.");
            out.parameter(&format!("{kind}_{n}"), &what, Some(value));
        }
    }
    for (n, disk) in record.disks.iter().enumerate() {
        let what = format!(
            "The id of the copy of {}: openstack volume list --property {}={zone}/{}",
            disk.volume.id,
            super::PEER,
            disk.volume.id
        );
        out.parameter(&format!("volume_{}", n + 1), &what, None);
    }
    if record.user_data.is_some() {
        out.parameter(
            "user_data",
            "Its user data, which is in its record alone; empty builds it without.",
            None,
        );
        out.line(4, "hidden: true");
    }
}

fn write_port(
    out: &mut Yaml,
    record: &ServerRecord,
    variables: &Variables,
    n: usize,
    port: &PortRecord,
) {
    let param = |kind: &str, n: usize| format!("{{get_param: {kind}_{n}}}");
    out.line(2, format!("port_{n}:"));
    out.line(4, "type: OS::Neutron::Port");
    out.line(4, "properties:");
    out.line(6, format!("name: {}", yaml(&port_name(record, n))));
    let network = variables.networks.number(&port.network);
    out.line(6, format!("network: {}", param("network", network)));
    if !port.fixed_ips.is_empty() {
        out.line(6, "fixed_ips:");
    }
    for ip in &port.fixed_ips {
        let subnet = ip.subnet.as_ref().map(|s| {
            let n = variables.subnets.number(s);
            format!("subnet: {}", param("subnet", n))
        });
        let address = ip.address.map(|a| {
            let n = variables.address(a);
            format!("ip_address: {}", param("fixed_ip", n))
        });
        let parts: Vec<String> = subnet.into_iter().chain(address).collect();
        out.line(8, format!("- {{{}}}", parts.join(", ")));
    }
    if let Some(mac) = &port.mac {
        let n = variables.macs.number(mac);
        out.line(6, format!("mac_address: {}", param("mac", n)));
    }
    let groups: Vec<String> = variables
        .groups(record, port)
        .map(|n| param("security_group", n))
        .collect();
    if !groups.is_empty() || port.port_security != PortSecurity::Unknown {
        out.line(6, format!("security_groups: [{}]", groups.join(", ")));
    }
    match port.port_security {
        PortSecurity::Off => out.line(6, "port_security_enabled: false"),
        PortSecurity::Unknown | PortSecurity::On => {}
    }
    if !port.address_pairs.is_empty() {
        out.line(6, "allowed_address_pairs:");
    }
    for pair in &port.address_pairs {
        out.line(8, format!("- ip_address: {}", yaml(&pair.address)));
        if let Some(mac) = &pair.mac {
            out.line(10, format!("mac_address: {}", yaml(mac)));
        }
    }
}

fn server(out: &mut Yaml, record: &ServerRecord, metadata: Vec<(&String, &String)>) {
    out.line(2, "server:");
    out.line(4, "type: OS::Nova::Server");
    out.line(4, "properties:");
    out.line(6, format!("name: {}", yaml(&record.name)));
    out.line(6, "flavor: {get_param: flavor}");
    for (there, line) in [
        (record.key_name.is_some(), "key_name: {get_param: key_name}"),
        (
            record.availability_zone.is_some(),
            "availability_zone: {get_param: availability_zone}",
        ),
        (
            record.server_group.is_some(),
            "scheduler_hints: {group: {get_param: server_group}}",
        ),
        (record.config_drive, "config_drive: true"),
        (record.user_data.is_some(), "user_data_format: RAW"),
        (
            record.user_data.is_some(),
            "user_data: {get_param: user_data}",
        ),
    ] {
        if there {
            out.line(6, line);
        }
    }
    if !metadata.is_empty() {
        out.line(6, "metadata:");
    }
    for (key, value) in metadata {
        out.line(8, format!("{}: {}", yaml(key), yaml(value)));
    }
    if !record.tags.is_empty() {
        let tags: Vec<String> = record.tags.iter().map(|t| yaml(t)).collect();
        out.line(6, format!("tags: [{}]", tags.join(", ")));
    }
    out.line(6, "block_device_mapping_v2:");
    for (n, disk) in record.disks.iter().enumerate() {
        let boot = disk
            .boot_index
            .map_or_else(|| "-1".to_owned(), |i| i.to_string());
        out.line(
            8,
            format!(
                "- {{volume_id: {{get_param: volume_{}}}, boot_index: {boot}, delete_on_termination: false}}",
                n + 1
            ),
        );
    }
    out.line(6, "networks:");
    for n in 1..=record.ports.len() {
        out.line(8, format!("- port: {{get_resource: port_{n}}}"));
    }
    if record.ports.is_empty() {
        out.line(8, "- allocate_network: none");
    }
}
