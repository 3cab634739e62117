//! A state of 10,000 servers is read in bounded memory, and in a time that grows with it and no faster.

#![allow(clippy::unwrap_used, reason = "tests")]

use rekindle_common::{
    ZoneName,
    servers::terraform::{About, read},
};
use std::time::{Duration, Instant};

/// A server with a volume, its attachment and a port, and much besides that nobody needs.
fn resources(n: usize) -> String {
    let junk = "x".repeat(2000);
    let resource = |kind: &str, attributes: &str| {
        format!(
            r#"{{"mode": "managed", "type": "{kind}", "name": "r{n}", "instances": [{{"attributes": {{{attributes}, "junk": "{junk}"}},
            "sensitive_attributes": [[{{"type": "get_attr", "value": "junk"}}]], "private": "{junk}"}}]}}"#
        )
    };
    let server = format!(
        r#""id": "s{n}", "name": "server-{n}", "flavor_name": "m1", "network": [{{"port": "p{n}"}}],
        "block_device": [{{"source_type": "volume", "destination_type": "volume", "uuid": "v{n}", "boot_index": 0}}]"#
    );
    [
        resource("openstack_compute_instance_v2", &server),
        resource(
            "openstack_blockstorage_volume_v3",
            &format!(r#""id": "v{n}", "name": "volume-{n}""#),
        ),
        resource(
            "openstack_compute_volume_attach_v2",
            &format!(r#""instance_id": "s{n}", "volume_id": "v{n}", "device": "/dev/vda""#),
        ),
        resource(
            "openstack_networking_port_v2",
            &format!(r#""id": "p{n}", "network_id": "net""#),
        ),
    ]
    .join(",\n")
}

/// Written at one go: what is freed on the way would hide what is taken later.
fn state(servers: usize) -> String {
    let mut text = String::with_capacity(servers * 18_000);
    text.push_str(r#"{"version": 4, "serial": 1, "lineage": "x", "resources": ["#);
    for n in 0..servers {
        text.push_str(if n == 0 { "" } else { ",\n" });
        text.push_str(&resources(n));
    }
    text.push_str("]}");
    text
}

/// The most memory that this process had since [`forget_peak`].
fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Linux's way to begin anew.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn timed(text: &str, servers: usize) -> Duration {
    let about = About {
        zone: ZoneName::new("zone-a").unwrap(),
        taken_at: "2026-11-26T10:00:00Z".parse().unwrap(),
    };
    let begin = Instant::now();
    let import = read(text.as_bytes(), &about).unwrap();
    let took = begin.elapsed();
    assert_eq!((import.records.len(), import.refused.len()), (servers, 0));
    for record in &import.records {
        assert_eq!(record.disks[0].device.as_deref(), Some("/dev/vda"));
        assert_eq!(record.ports[0].network, "net");
    }
    took
}

#[test]
fn hard_case_53_ten_thousand_resources_are_read_in_bounded_memory_and_time() {
    // 10,000 resources, of 40 MiB.
    let text = state(2500);
    let quarter = timed(&state(625), 625);
    forget_peak();
    let before = peak_kib();
    let took = timed(&text, 2500);
    let grown = peak_kib() - before;
    let size = text.len() / 1024;
    println!(
        "{size} KiB read in {took:?} (a quarter of it in {quarter:?}), {grown} KiB more at the peak"
    );
    assert!(size > 35 * 1024, "{size}");
    // What is kept is what records are made of: far less than the text.
    assert!(grown < size / 2, "{grown} KiB more for {size} KiB");
    // Four times as much: a square would be sixteen times.
    assert!(
        took < quarter * 10 + Duration::from_millis(500),
        "{took:?} and {quarter:?}"
    );
}
