//! A server's ports, of its `network` blocks and of what was attached later.

use super::{
    attributes::{Attributes, Block},
    build::Index,
};
use crate::servers::record::{FixedIp, PortRecord, PortSecurity};
use std::{collections::BTreeSet, net::IpAddr};

/// The ports, in the order of the state.
pub(super) fn of(
    server: &Attributes,
    id: &str,
    index: &Index<'_>,
    notes: &mut Vec<String>,
) -> Vec<PortRecord> {
    let mut ports: Vec<PortRecord> = Vec::new();
    for block in server.blocks("network") {
        let known = block.text("port").and_then(|p| index.ports.get(p));
        let port = known.and_then(|found| of_resource(&found.attributes));
        match port.or_else(|| of_block(block)) {
            Some(port) => ports.push(port),
            None => notes.push(
                "has a port of which the state names no network; it is not in its record"
                    .to_owned(),
            ),
        }
    }
    let mut later = 0;
    for attach in index.interfaces.get(id).into_iter().flatten() {
        let a = &attach.attributes;
        let port_id = a.text("port_id");
        let there = |p: &PortRecord| p.port_id.is_some() && p.port_id.as_deref() == port_id;
        if ports.iter().any(there) {
            continue;
        }
        let known = port_id.and_then(|p| index.ports.get(p));
        let port = known.and_then(|found| of_resource(&found.attributes));
        let plain = || {
            Some(PortRecord {
                network: a.owned("network_id")?,
                fixed_ips: addresses([a.text("fixed_ip")]),
                mac: None,
                security_groups: Vec::new(),
                port_security: PortSecurity::Unknown,
                address_pairs: Vec::new(),
                port_id: a.owned("port_id"),
                tag: None,
            })
        };
        match port.or_else(plain) {
            Some(port) => ports.push(port),
            None => notes.push(
                "has a port of which the state names no network; it is not in its record"
                    .to_owned(),
            ),
        }
        later += 1;
    }
    if later > 1 {
        notes.push(format!(
            "has {later} ports that were attached later: the state does not say in which order"
        ));
    }
    if ports.is_empty() && server.text("network_mode") == Some("auto") {
        notes.push(
            "has its network made by itself (`network_mode = auto`), and no port in its record"
                .to_owned(),
        );
    }
    let on = ports
        .iter()
        .filter_map(|p| p.port_id.as_deref())
        .chain([id]);
    let floating: BTreeSet<&str> = on
        .filter_map(|p| index.floating.get(p))
        .flatten()
        .copied()
        .collect();
    for address in floating {
        // It may stand in a report: only what is an address does.
        if address.parse::<IpAddr>().is_ok() {
            notes.push(format!(
                "has the floating address {address}, which is its zone's and not in its record"
            ));
        }
    }
    ports
}

fn of_resource(a: &Attributes) -> Option<PortRecord> {
    let blocks: Vec<FixedIp> = a
        .blocks("fixed_ip")
        .map(|b| FixedIp {
            address: b.text("ip_address").and_then(address),
            subnet: b.text("subnet_id").map(str::to_owned),
        })
        .collect();
    let mut groups = a.texts("all_security_group_ids");
    if groups.is_empty() {
        groups = a.texts("security_group_ids");
    }
    groups.sort_unstable();
    groups.dedup();
    Some(PortRecord {
        network: a.owned("network_id")?,
        fixed_ips: matched(blocks, &a.texts("all_fixed_ips")),
        mac: a.text("mac_address").map(str::to_ascii_lowercase),
        security_groups: groups,
        port_security: PortSecurity::Unknown,
        address_pairs: Vec::new(),
        port_id: a.owned("id"),
        tag: None,
    })
}

/// Blocks name subnets, and addresses where they were asked for; `all` are the addresses that there are. Which address is of which
/// subnet is told where only one can be; else Neutron finds the subnet by the address.
fn matched(blocks: Vec<FixedIp>, all: &[String]) -> Vec<FixedIp> {
    let asked: BTreeSet<IpAddr> = blocks.iter().filter_map(|b| b.address).collect();
    let others: Vec<IpAddr> = all
        .iter()
        .filter_map(|a| address(a))
        .filter(|a| !asked.contains(a))
        .collect();
    let (mut known, open): (Vec<FixedIp>, Vec<FixedIp>) =
        blocks.into_iter().partition(|b| b.address.is_some());
    match (open.as_slice(), others.as_slice()) {
        ([block], [address]) => known.push(FixedIp {
            address: Some(*address),
            subnet: block.subnet.clone(),
        }),
        (_, []) => known.extend(open.into_iter().filter(|b| b.subnet.is_some())),
        (_, others) => known.extend(others.iter().map(|a| FixedIp {
            address: Some(*a),
            subnet: None,
        })),
    }
    known
}

fn of_block(block: Block<'_>) -> Option<PortRecord> {
    Some(PortRecord {
        network: block
            .text("uuid")
            .or_else(|| block.text("name"))?
            .to_owned(),
        fixed_ips: addresses([block.text("fixed_ip_v4"), block.text("fixed_ip_v6")]),
        mac: block.text("mac").map(str::to_ascii_lowercase),
        security_groups: Vec::new(),
        port_security: PortSecurity::Unknown,
        address_pairs: Vec::new(),
        port_id: block.text("port").map(str::to_owned),
        tag: None,
    })
}

fn addresses<const N: usize>(texts: [Option<&str>; N]) -> Vec<FixedIp> {
    texts
        .into_iter()
        .flatten()
        .filter_map(address)
        .map(|a| FixedIp {
            address: Some(a),
            subnet: None,
        })
        .collect()
}

/// The provider writes IPv6 addresses in brackets at some places.
fn address(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}
