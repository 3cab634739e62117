//! Terraform's language and Heat's: read back, nothing of a record is anything but a text.

use super::*;
use hcl_edit::{
    expr::ObjectKey,
    structure::{Block, Body},
};
use serde_yaml_ng::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Terraform's text without its comments and strings, and the strings.
fn lexed(text: &str) -> (String, Vec<String>) {
    let (mut rest, mut strings) = (String::new(), Vec::new());
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let mut open: Option<String> = None;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match (&mut open, c) {
                (None, '"') => open = Some(String::new()),
                (None, c) => rest.push(c),
                (Some(_), '"') => strings.extend(open.take()),
                (Some(s), '\\') => s.extend(['\\'].into_iter().chain(chars.next())),
                (Some(s), c) => s.push(c),
            }
        }
        assert_eq!(open, None, "a string does not end on its line: {line}");
        rest.push('\n');
    }
    (rest, strings)
}

proptest! {
    #![proptest_config(crate::servers::samples::some())]

    #[test]
    fn terraform_has_every_value_in_quotes_and_nothing_else(r in any_record()) {
        let text = write(&r, Form::Terraform);
        let (rest, strings) = lexed(&text);
        let plain = |c: char| c.is_ascii_alphanumeric() || "_={}[].,?:! \n-".contains(c);
        prop_assert!(rest.chars().all(plain), "{rest}");
        prop_assert_eq!(rest.matches('{').count(), rest.matches('}').count());
        for s in &strings {
            prop_assert!(!s.contains("${") && !s.contains("%{"), "a template: {s}");
        }
        let quoted: BTreeSet<String> = strings.into_iter().map(|s| format!("\"{s}\"")).collect();
        let values = r.metadata.values().chain(&r.tags).chain([&r.name, &r.flavor.name]).chain(&r.key_name);
        for value in values {
            prop_assert!(quoted.contains(&super::super::quote::hcl(value)), "{value}");
        }
        // What is used is declared, once.
        let declared = |name: &str| text.matches(&format!("\nvariable \"{name}\" {{")).count();
        for used in rest.split("var.").skip(1) {
            let name: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            prop_assert_eq!(declared(&name), 1, "{}", name);
        }
    }

    /// By a parser of that language that is not ours.
    #[test]
    fn terraform_reads_back_what_the_record_says(r in any_record()) {
        let text = write(&r, Form::Terraform);
        let body: Body = text.parse().map_err(|e| TestCaseError::fail(format!("{e}: {text}")))?;
        let labels = |b: &Block| -> Vec<String> {
            b.labels.iter().map(|l| l.as_str().to_owned()).collect()
        };
        let block = |kind: &str, wanted: &[&str]| {
            let mut all = body.blocks().filter(|b| b.ident.as_str() == kind && labels(b) == wanted);
            (all.next().cloned(), all.count())
        };
        let (server, more) = block("resource", &["openstack_compute_instance_v2", "server"]);
        let server = server.expect("the server").body;
        prop_assert_eq!(more, 0);
        let text_of = |body: &Body, name: &str| {
            let value = body.get_attribute(name).map(|a| a.value.clone());
            value.and_then(|v| v.as_str().map(str::to_owned))
        };
        prop_assert_eq!(text_of(&server, "name"), Some(r.name.clone()));
        let (flavor, _) = block("variable", &["flavor"]);
        prop_assert_eq!(text_of(&flavor.expect("its flavor").body, "default"), Some(r.flavor.name.clone()));
        let metadata = server.get_attribute("metadata").map(|a| a.value.as_object().expect("a map").clone());
        let metadata: BTreeMap<String, String> = metadata.iter().flatten().map(|(k, v)| {
            let key = match k {
                ObjectKey::Ident(i) => i.as_str().to_owned(),
                ObjectKey::Expression(e) => e.as_str().expect("a text").to_owned(),
            };
            (key, v.expr().as_str().expect("a text").to_owned())
        }).collect();
        prop_assert_eq!(&metadata, &r.metadata);
        prop_assert_eq!(server.get_blocks("block_device").count(), r.disks.len());
        prop_assert_eq!(server.get_blocks("network").count(), r.ports.len());
        for disk in server.get_blocks("block_device") {
            let keep = disk.body.get_attribute("delete_on_termination");
            prop_assert_eq!(keep.and_then(|a| a.value.as_bool()), Some(false));
        }
        for n in 1..=r.ports.len() {
            let (port, more) = block("resource", &["openstack_networking_port_v2", &format!("port_{n}")]);
            prop_assert!(port.is_some() && more == 0);
        }
    }

    #[test]
    fn heat_reads_back_what_the_record_says(r in any_record()) {
        let text = write(&r, Form::Heat);
        let all: Value = serde_yaml_ng::from_str(&text).unwrap();
        let server = &all["resources"]["server"]["properties"];
        prop_assert_eq!(server["name"].as_str(), Some(r.name.as_str()));
        prop_assert_eq!(all["parameters"]["flavor"]["default"].as_str(), Some(r.flavor.name.as_str()));
        let metadata: BTreeMap<String, String> = serde_yaml_ng::from_value(server["metadata"].clone()).unwrap_or_default();
        prop_assert_eq!(&metadata, &r.metadata);
        let tags: BTreeSet<String> = serde_yaml_ng::from_value(server["tags"].clone()).unwrap_or_default();
        prop_assert_eq!(&tags, &r.tags);
        let disks = server["block_device_mapping_v2"].as_sequence().unwrap();
        prop_assert_eq!(disks.len(), r.disks.len());
        for (n, (disk, record)) in disks.iter().zip(&r.disks).enumerate() {
            let index = record.boot_index.map_or(-1, i64::from);
            prop_assert_eq!(disk["boot_index"].as_i64(), Some(index));
            let name = format!("volume_{}", n + 1);
            prop_assert_eq!(disk["volume_id"]["get_param"].as_str(), Some(name.as_str()));
        }
        prop_assert_eq!(server["networks"].as_sequence().unwrap().len(), r.ports.len().max(1));
        // Each port's network is what the record says, by way of its parameter.
        for (n, port) in r.ports.iter().enumerate() {
            let written = &all["resources"][format!("port_{}", n + 1).as_str()]["properties"];
            let default = |p: &Value| all["parameters"][p["get_param"].as_str().unwrap()]["default"].as_str().map(str::to_owned);
            prop_assert_eq!(default(&written["network"]), Some(port.network.clone()));
            prop_assert_eq!(written["mac_address"].is_null(), port.mac.is_none());
            let ips = written["fixed_ips"].as_sequence().cloned().unwrap_or_default();
            prop_assert_eq!(ips.len(), port.fixed_ips.len());
            for (written, ip) in ips.iter().zip(&port.fixed_ips) {
                if let Some(address) = ip.address {
                    prop_assert_eq!(default(&written["ip_address"]), Some(address.to_string()));
                }
                if let Some(subnet) = &ip.subnet {
                    prop_assert_eq!(default(&written["subnet"]), Some(subnet.clone()));
                }
            }
        }
    }
}

#[test]
fn heat_takes_no_metadata_for_a_function() {
    let mut r = record();
    r.metadata = BTreeMap::from([("get_file".to_owned(), "/etc/passwd".to_owned())]);
    let text = write(&r, Form::Heat);
    assert!(!text.contains("get_file"), "{text}");
    assert!(
        text.contains(
            "# Not done here: its metadata, whose one key Heat would take for a function"
        )
    );
    r.metadata.insert("role".to_owned(), "web".to_owned());
    assert!(write(&r, Form::Heat).contains("\"get_file\": \"/etc/passwd\""));
}

#[test]
fn an_address_without_a_subnet_asks_for_one_in_terraform() {
    let mut r = record();
    r.ports[0].fixed_ips[0].subnet = None;
    let text = write(&r, Form::Terraform);
    assert!(text.contains("variable \"subnet_of_fixed_ip_1\""), "{text}");
    assert!(
        text.contains("    subnet_id  = var.subnet_of_fixed_ip_1\n    ip_address = var.fixed_ip_1"),
        "{text}"
    );
}
