//! What is called otherwise in the other zone.

use crate::servers::record::{PortRecord, ServerRecord};
use std::net::IpAddr;

/// The names of a kind, each once, in the order of the record.
#[derive(Debug, Default)]
pub(super) struct Distinct(Vec<String>);

impl Distinct {
    fn add(&mut self, value: &str) {
        if !self.0.iter().any(|v| v == value) {
            self.0.push(value.to_owned());
        }
    }
    /// The number of one; they count from 1.
    pub(super) fn number(&self, value: &str) -> usize {
        self.0.iter().position(|v| v == value).map_or(0, |n| n + 1)
    }
    /// All of them with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().enumerate().map(|(n, v)| (n + 1, v.as_str()))
    }
}

/// All variables that are numbered.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) networks: Distinct,
    pub(super) subnets: Distinct,
    pub(super) fixed_ips: Distinct,
    pub(super) macs: Distinct,
    pub(super) security_groups: Distinct,
}

impl Variables {
    pub(super) fn of(record: &ServerRecord) -> Self {
        let mut v = Self::default();
        for port in &record.ports {
            v.networks.add(&port.network);
            for ip in &port.fixed_ips {
                if let Some(subnet) = &ip.subnet {
                    v.subnets.add(subnet);
                }
                if let Some(address) = &ip.address {
                    v.fixed_ips.add(&address.to_string());
                }
            }
            if let Some(mac) = &port.mac {
                v.macs.add(mac);
            }
            for group in record.groups_of(port) {
                v.security_groups.add(group);
            }
        }
        v
    }

    /// The numbers of a port's security groups.
    pub(super) fn groups<'a>(
        &'a self,
        record: &'a ServerRecord,
        port: &'a PortRecord,
    ) -> impl Iterator<Item = usize> + 'a {
        record
            .groups_of(port)
            .iter()
            .map(|g| self.security_groups.number(g))
    }

    /// The number of an address.
    pub(super) fn address(&self, address: IpAddr) -> usize {
        self.fixed_ips.number(&address.to_string())
    }
}
