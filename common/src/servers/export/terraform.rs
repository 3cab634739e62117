//! As Terraform's language, for the other zone.

use super::{
    PEER, heading, is_off, only_by_nova, peer, plain_metadata, port_name, variables::Variables,
};
use crate::servers::{
    quote::hcl,
    record::{FixedIp, PortRecord, PortSecurity, ServerRecord},
};

const PROVIDER: &str = r#"
terraform {
  required_providers {
    openstack = {
      source = "terraform-provider-openstack/openstack"
    }
  }
}
"#;

const USER_DATA: &str = r#"
variable "user_data" {
  description = "Its user data, which is in its record alone; null builds it without."
  type        = string
  sensitive   = true
}
"#;

/// Lines, with what can be said of a variable.
struct Hcl(String);

impl Hcl {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }
    /// A variable. Without a default Terraform asks for it.
    fn variable(&mut self, name: &str, description: &str, default: Option<&str>) {
        self.line(format!("\nvariable \"{name}\" {{"));
        self.line(format!("  description = {}", hcl(description)));
        self.line("  type        = string");
        if let Some(default) = default {
            self.line(format!("  default     = {default}"));
        }
        self.line("}");
    }
}

pub(super) fn write(record: &ServerRecord) -> String {
    let variables = Variables::of(record);
    let mut out = Hcl(String::new());
    let mut left_out = only_by_nova(record, true, true);
    if record.project.is_some() {
        left_out.push("the choice of its project: the provider's is taken".to_owned());
    }
    for line in heading(record, &left_out) {
        out.line(format!("# {line}"));
    }
    out.line("# A stand-by that Rekindle built already is taken in before the first apply, and so is each of its ports:");
    out.line("#   terraform import openstack_compute_instance_v2.server ID");
    if !record.ports.is_empty() {
        out.line("#   terraform import openstack_networking_port_v2.port_1 ID");
    }
    out.0.push_str(PROVIDER);
    declare(&mut out, record, &variables);
    for (n, port) in record.ports.iter().enumerate() {
        write_port(&mut out, record, &variables, n + 1, port);
    }
    server(&mut out, record);
    out.line("\noutput \"id\" {\n  value = openstack_compute_instance_v2.server.id\n}");
    out.0
}

fn declare(out: &mut Hcl, record: &ServerRecord, variables: &Variables) {
    let zone = &record.zone;
    let flavor = hcl(&record.flavor.name);
    out.variable("flavor", "The flavor's name.", Some(&flavor));
    for (name, what, value) in [
        ("key_name", "The key pair's name.", &record.key_name),
        (
            "availability_zone",
            "The availability zone; null leaves it to Nova.",
            &record.availability_zone,
        ),
    ] {
        if let Some(value) = value {
            out.variable(name, what, Some(&hcl(value)));
        }
    }
    if let Some(group) = &record.server_group {
        let what = format!("The id of the server group that is {group} in {zone}; null: none.");
        out.variable("server_group", &what, Some("null"));
    }
    for (kind, what, values) in [
        ("network", "network", &variables.networks),
        ("subnet", "subnet", &variables.subnets),
        (
            "security_group",
            "security group",
            &variables.security_groups,
        ),
    ] {
        for (n, value) in values.all() {
            let what = format!("The id of the {what} that is {value} in {zone}.");
            out.variable(&format!("{kind}_{n}"), &what, None);
        }
    }
    for (n, value) in variables.fixed_ips.all() {
        let what = format!("The address that is {value} in {zone}; null: any of its subnet.");
        out.variable(&format!("fixed_ip_{n}"), &what, Some(&hcl(value)));
    }
    for n in without_subnet(record, variables) {
        let what = format!("The id of the subnet of fixed_ip_{n}: the record does not say it.");
        out.variable(&format!("subnet_of_fixed_ip_{n}"), &what, None);
    }
    for (n, value) in variables.macs.all() {
        let what = "The MAC address; null leaves it to Neutron.";
        out.variable(&format!("mac_{n}"), what, Some(&hcl(value)));
    }
    if record.user_data.is_some() {
        out.0.push_str(USER_DATA);
    }
    for (n, disk) in record.disks.iter().enumerate() {
        let name = format!("volume_{}", n + 1);
        let what = "The volume's id; null: the one that names the record's volume as its peer.";
        out.variable(&name, what, Some("null"));
        out.line(format!(
            "\ndata \"openstack_blockstorage_volume_v3\" \"{name}\" {{"
        ));
        out.line(format!("  count = var.{name} == null ? 1 : 0"));
        out.line("  metadata = {");
        out.line(format!(
            "    {} = {}",
            hcl(PEER),
            hcl(&peer(record, &disk.volume.id))
        ));
        out.line("  }\n}");
    }
}

/// The numbers of addresses that stand without a subnet; the provider wants one for each.
fn without_subnet(record: &ServerRecord, variables: &Variables) -> Vec<usize> {
    let ips = record.ports.iter().flat_map(|p| &p.fixed_ips);
    let mut numbers: Vec<usize> = ips
        .filter(|ip| ip.subnet.is_none())
        .filter_map(|ip| ip.address.map(|a| variables.address(a)))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn write_port(
    out: &mut Hcl,
    record: &ServerRecord,
    variables: &Variables,
    n: usize,
    port: &PortRecord,
) {
    out.line(format!(
        "\nresource \"openstack_networking_port_v2\" \"port_{n}\" {{"
    ));
    out.line(format!("  name       = {}", hcl(&port_name(record, n))));
    out.line(format!(
        "  network_id = var.network_{}",
        variables.networks.number(&port.network)
    ));
    out.line("  admin_state_up = true");
    if let Some(mac) = &port.mac {
        out.line(format!(
            "  mac_address = var.mac_{}",
            variables.macs.number(mac)
        ));
    }
    let groups: Vec<String> = variables
        .groups(record, port)
        .map(|n| format!("var.security_group_{n}"))
        .collect();
    if !groups.is_empty() {
        out.line(format!("  security_group_ids = [{}]", groups.join(", ")));
    } else if port.port_security != PortSecurity::Unknown {
        out.line("  no_security_groups = true");
    }
    match port.port_security {
        PortSecurity::Off => out.line("  port_security_enabled = false"),
        PortSecurity::Unknown | PortSecurity::On => {}
    }
    for pair in &port.address_pairs {
        out.line("  allowed_address_pairs {");
        out.line(format!("    ip_address = {}", hcl(&pair.address)));
        if let Some(mac) = &pair.mac {
            out.line(format!("    mac_address = {}", hcl(mac)));
        }
        out.line("  }");
    }
    for FixedIp { address, subnet } in &port.fixed_ips {
        out.line("  fixed_ip {");
        let number = address.map(|a| variables.address(a));
        match (subnet, number) {
            (Some(subnet), _) => out.line(format!(
                "    subnet_id  = var.subnet_{}",
                variables.subnets.number(subnet)
            )),
            (None, Some(n)) => out.line(format!("    subnet_id  = var.subnet_of_fixed_ip_{n}")),
            (None, None) => {}
        }
        if let Some(n) = number {
            out.line(format!("    ip_address = var.fixed_ip_{n}"));
        }
        out.line("  }");
    }
    out.line("}");
}

fn server(out: &mut Hcl, record: &ServerRecord) {
    out.line("\nresource \"openstack_compute_instance_v2\" \"server\" {");
    out.line(format!("  name        = {}", hcl(&record.name)));
    out.line("  flavor_name = var.flavor");
    if record.key_name.is_some() {
        out.line("  key_pair = var.key_name");
    }
    if record.availability_zone.is_some() {
        out.line("  availability_zone = var.availability_zone");
    }
    out.line(format!("  config_drive = {}", record.config_drive));
    let power = if is_off(record) { "shutoff" } else { "active" };
    out.line(format!("  power_state = {}", hcl(power)));
    if record.user_data.is_some() {
        out.line("  user_data = var.user_data");
    }
    let metadata = plain_metadata(record);
    if !metadata.is_empty() {
        out.line("  metadata = {");
        for (key, value) in metadata {
            out.line(format!("    {} = {}", hcl(key), hcl(value)));
        }
        out.line("  }");
    }
    if !record.tags.is_empty() {
        let tags: Vec<String> = record.tags.iter().map(|t| hcl(t)).collect();
        out.line(format!("  tags = [{}]", tags.join(", ")));
    }
    for (n, disk) in record.disks.iter().enumerate() {
        let volume = format!("volume_{}", n + 1);
        let boot = disk
            .boot_index
            .map_or_else(|| "-1".to_owned(), |i| i.to_string());
        out.line("  block_device {");
        out.line(format!("    uuid = var.{volume} != null ? var.{volume} : data.openstack_blockstorage_volume_v3.{volume}[0].id"));
        out.line("    source_type           = \"volume\"");
        out.line("    destination_type      = \"volume\"");
        out.line(format!("    boot_index            = {boot}"));
        out.line("    delete_on_termination = false\n  }");
    }
    for n in 1..=record.ports.len() {
        out.line(format!(
            "  network {{\n    port = openstack_networking_port_v2.port_{n}.id\n  }}"
        ));
    }
    if record.ports.is_empty() {
        out.line("  network_mode = \"none\"");
    }
    if record.server_group.is_some() {
        out.line("  dynamic \"scheduler_hints\" {");
        out.line("    for_each = var.server_group == null ? [] : [var.server_group]");
        out.line("    content {\n      group = scheduler_hints.value\n    }\n  }");
    }
    out.line("}");
}
