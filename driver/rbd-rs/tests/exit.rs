//! A process that ends while its connections are in use ends as it was to, and does not crash.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rbd_rs::{Ceph, Cluster, ConnectOptions, Timeouts};
use std::{env, net::TcpListener, process, thread, time::Duration};

/// What this process does in place of the test.
const CHILD: &str = "REKINDLE_TEST_ENDS_IN_ITS_CALLS";
/// What it ends with.
const STATUS: i32 = 7;
/// Its end is a race: so often it is run.
const TIMES: usize = 10;

#[test]
fn a_process_ends_with_its_own_status_though_its_connections_are_in_use() {
    if env::var_os(CHILD).is_some() {
        ends_in_its_calls();
    }
    let name = "a_process_ends_with_its_own_status_though_its_connections_are_in_use";
    for time in 0..TIMES {
        let mut child = process::Command::new(env::current_exe().unwrap());
        let child = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1");
        let ended = child.output().unwrap();
        assert_eq!(ended.status.code(), Some(STATUS), "{time}: {ended:?}");
    }
}

/// Some connections hang, and others come and go, when it ends.
fn ends_in_its_calls() -> ! {
    // A monitor at which somebody accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("ceph.conf");
    let text = format!("[global]\nmon host = [v2:{address}]\nauth client required = none\n");
    std::fs::write(&conf, text).unwrap();
    let ceph = Ceph::load().unwrap();
    let waits = [
        None,
        None,
        Some(Duration::from_secs(1)),
        Some(Duration::from_secs(1)),
    ];
    for connect in waits {
        let timeouts = Timeouts {
            connect,
            ..Timeouts::default()
        };
        let options = ConnectOptions::from_conf_file(&conf).timeouts(timeouts);
        let ceph = ceph.clone();
        thread::spawn(move || {
            loop {
                let _ = Cluster::connect(&ceph, &options);
            }
        });
    }
    // All of them are at it, and those that give up are about to.
    let _held: Vec<_> = waits.map(|_| silent.accept().unwrap()).into();
    thread::sleep(Duration::from_millis(990));
    process::exit(STATUS)
}
