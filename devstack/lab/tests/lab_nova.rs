//! The zones' real Nova: guests boot from volumes of their zone's Ceph, and live and die with the zone.
//!
//! Minutes of both cores: `make test-all` runs these, `make test` does not.

// The helpers of a test fail as the test does, and say how long each wait took.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rekindle_lab::{Api, Cloud, GuestConsole, GuestRecord, Lab, LabOptions, Nova, OpenStack, Site};
use serde_json::{Value, json};

/// A guest without KVM is at its first record after half a minute; on a busy machine after some.
const PATIENCE: Duration = Duration::from_secs(200);

/// Waits until it is there; `last` says what was seen instead.
fn wait_for<T>(what: &str, mut look: impl FnMut(&mut String) -> Option<T>) -> T {
    let (begin, mut last) = (Instant::now(), String::new());
    loop {
        if let Some(found) = look(&mut last) {
            eprintln!("{what}: {:.1} s", begin.elapsed().as_secs_f32());
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited for {what}: {last}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// One server and its volume, both of the member's.
struct Guest<'a> {
    cloud: &'a OpenStack,
    volume: String,
    server: String,
}

impl fmt::Display for Guest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest of {}", self.cloud.member.cloud)
    }
}

impl<'a> Guest<'a> {
    /// Without a network.
    fn boot(cloud: &'a OpenStack) -> Self {
        Self::boot_on(cloud, &json!("none"))
    }

    fn boot_on(cloud: &'a OpenStack, networks: &Value) -> Self {
        let images = ["image", "show", Nova::GUEST];
        let image = cloud.openstack_json(&cloud.member, &images).unwrap();
        let volume = json!({ "size": 1, "imageRef": image["id"], "name": "made-by-a-test" });
        let made = call(
            cloud,
            Api::Volumes,
            "POST",
            "/volumes",
            json!({ "volume": volume }),
        );
        let volume = made["volume"]["id"].as_str().unwrap().to_owned();
        let mut guest = Self {
            cloud,
            volume,
            server: String::new(),
        };
        guest.wait_volume("available");
        let flavors = get(cloud, Api::Servers, "/flavors");
        let mut flavors = flavors["flavors"].as_array().unwrap().iter();
        let flavor = flavors.find(|f| f["name"] == Nova::GUEST).unwrap();
        let disk = json!({
            "uuid": guest.volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0,
        });
        let server = json!({
            "name": "made-by-a-test", "flavorRef": flavor["id"], "networks": networks,
            "block_device_mapping_v2": [disk],
        });
        let made = call(
            cloud,
            Api::Servers,
            "POST",
            "/servers",
            json!({ "server": server }),
        );
        guest.server = made["server"]["id"].as_str().unwrap().to_owned();
        guest
    }

    fn page(&self, more: &str) -> String {
        format!("/servers/{}{more}", self.server)
    }

    fn act(&self, action: Value) -> rekindle_lab::Result<Value> {
        let page = self.page("/action");
        let (who, api) = (&self.cloud.member, Api::Servers);
        self.cloud.call(who, api, "POST", &page, Some(action))
    }

    fn stop(&self) {
        self.act(json!({ "os-stop": null })).unwrap();
    }

    fn start(&self) {
        self.act(json!({ "os-start": null })).unwrap();
    }

    fn wait_status(&self, wanted: &str) {
        wait_for(&format!("{self} to be {wanted}"), |last| {
            let shown = get(self.cloud, Api::Servers, &self.page(""))["server"].clone();
            assert_ne!(shown["status"], "ERROR", "{shown}");
            *last = shown["status"].to_string();
            let settled = shown["OS-EXT-STS:task_state"].is_null();
            (shown["status"] == wanted && settled).then_some(())
        });
    }

    fn wait_volume(&self, wanted: &str) {
        wait_for(&format!("the volume of {self} to be {wanted}"), |last| {
            let page = format!("/volumes/{}", self.volume);
            let shown = get(self.cloud, Api::Volumes, &page)["volume"].clone();
            assert_ne!(shown["status"], "error", "{shown}");
            *last = shown["status"].to_string();
            (shown["status"] == wanted).then_some(())
        });
    }

    /// What its console says, once it says so.
    fn console(&self, what: &str, is_so: impl Fn(&GuestConsole) -> bool) -> GuestConsole {
        wait_for(&format!("{self} to be {what}"), |last| {
            match self.act(json!({ "os-getConsoleOutput": {} })) {
                Ok(answer) => {
                    let console = GuestConsole::read(answer["output"].as_str().unwrap_or_default());
                    *last = format!("{console:?}");
                    is_so(&console).then_some(console)
                }
                // There is no console before QEMU runs.
                Err(error) => {
                    *last = error.to_string();
                    None
                }
            }
        })
    }

    fn ready(&self) -> GuestConsole {
        self.console("ready", |console| console.ready.is_some())
    }

    fn delete(self) {
        let (who, page) = (&self.cloud.member, self.page(""));
        let delete = |api, page: &str| self.cloud.call(who, api, "DELETE", page, None).unwrap();
        delete(Api::Servers, &page);
        wait_for(&format!("{self} to be gone"), |last| {
            match self.cloud.call(who, Api::Servers, "GET", &page, None) {
                Ok(shown) => *last = shown["server"]["status"].to_string(),
                Err(error) => {
                    *last = error.to_string();
                    return last.contains("404").then_some(());
                }
            }
            None
        });
        self.wait_volume("available");
        delete(Api::Volumes, &format!("/volumes/{}", self.volume));
        assert!(qemu_of(&self.server).is_empty());
    }
}

fn call(cloud: &OpenStack, api: Api, method: &str, page: &str, body: Value) -> Value {
    let body = Some(body).filter(|body| !body.is_null());
    cloud.call(&cloud.member, api, method, page, body).unwrap()
}

fn get(cloud: &OpenStack, api: Api, page: &str) -> Value {
    call(cloud, api, "GET", page, Value::Null)
}

/// A lab without servers: a test that failed may have left some.
fn empty_lab() -> Lab {
    let lab = Lab::for_tests_with_nova().unwrap();
    for site in Site::ZONES {
        lab.nova(site).unwrap().delete_servers().unwrap();
    }
    lab
}

/// The number of the record that the guest with that address answers with; why there is none, where none is.
fn answers(lab: &Lab, from: Site, address: &str) -> Result<u64, String> {
    let to = (address.parse::<IpAddr>().unwrap(), 80).into();
    let stream = lab.connect(from, to, Duration::from_secs(2));
    let record = GuestRecord::ask(stream.map_err(|error| error.to_string())?);
    record.map(|r| r.number).map_err(|error| error.to_string())
}

/// The processes with that text on their command line or in their environment, each as its id and command line.
fn processes_with(text: &str) -> Vec<String> {
    let dir = std::fs::read_dir("/proc").unwrap();
    let own = std::process::id().to_string();
    let pids = dir.flatten().map(|e| e.file_name());
    let pids = pids.filter_map(|name| Some(name.to_str()?.to_owned()));
    pids.filter(|pid| pid.parse::<u32>().is_ok() && *pid != own)
        .filter_map(|pid| {
            let read = |file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let all = format!("{line}\n{}", String::from_utf8_lossy(&read("environ")));
            all.contains(text).then(|| format!("{pid} {line}"))
        })
        .collect()
}

/// The process of a guest: QEMU names it on its command line by the server's id.
fn qemu_of(server: &str) -> Vec<String> {
    let all = processes_with(server).into_iter();
    all.filter(|line| line.contains("qemu-system"))
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect()
}

#[test]
fn a_guest_of_each_zone_boots_from_its_volume_stops_starts_and_goes_on_where_it_was() {
    let lab = empty_lab();
    for site in Site::ZONES {
        let cloud = lab.openstack(site).unwrap();
        let guest = Guest::boot(&cloud);
        guest.wait_status("ACTIVE");
        let first = guest.ready();
        assert_eq!((first.last, first.ready), (None, Some(0)), "a new disk");
        assert_eq!(qemu_of(&guest.server).len(), 1);

        guest.stop();
        guest.wait_status("SHUTOFF");
        assert!(qemu_of(&guest.server).is_empty());
        let log = lab.nova(site).unwrap().console_log(&guest.server);
        let said = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
        let stopped = GuestConsole::read(&said).stopped;
        assert!(stopped >= Some(0), "it was asked to end: {said}");

        guest.start();
        guest.wait_status("ACTIVE");
        let again = guest.console("ready again", |c| c.last.is_some() && c.ready.is_some());
        assert_eq!(again.last, stopped, "stopped in order: all is there");
        assert_eq!(again.ready, again.last.map(|last| last + 1));
        guest.delete();
    }
}

#[test]
fn a_killed_zones_guests_die_with_it_and_its_nova_comes_back_without_them() {
    let lab = empty_lab();
    let site = Site::ZoneA;
    let (cloud, other) = (
        lab.openstack(site).unwrap(),
        lab.openstack(Site::ZoneB).unwrap(),
    );
    let (guest, survivor) = (Guest::boot(&cloud), Guest::boot(&other));
    let before = guest.ready();
    survivor.ready();

    lab.kill(site).unwrap();
    assert!(
        qemu_of(&guest.server).is_empty(),
        "no guest outlives its zone"
    );
    assert_eq!(qemu_of(&survivor.server).len(), 1, "the other zone's does");
    assert!(guest.act(json!({ "os-start": null })).is_err());

    lab.start(site).unwrap();
    let status = lab.status().unwrap();
    assert!(status.is_healthy(), "{status}");
    // Nova sees by itself that it is gone, and leaves it so.
    guest.wait_status("SHUTOFF");
    assert!(qemu_of(&guest.server).is_empty());
    guest.start();
    let after = guest.console("ready again", |c| c.last.is_some() && c.ready.is_some());
    assert!(after.last >= before.ready, "{after:?} after {before:?}");

    // And told so, it brings it back itself: what makes an old zone dangerous.
    let nova = lab.nova(site).unwrap();
    nova.configure(&[("DEFAULT", "resume_guests_state_on_host_boot", "true")])
        .unwrap();
    guest.wait_status("ACTIVE");
    lab.kill(site).unwrap();
    lab.start(site).unwrap();
    wait_for("Nova to start the guest by itself", |_| {
        (qemu_of(&guest.server).len() == 1).then_some(())
    });
    let resumed = guest.console("ready by itself", |c| {
        c.last > after.last && c.ready.is_some()
    });
    assert!(resumed.last >= after.ready, "{resumed:?} after {after:?}");
    for guest in [guest, survivor] {
        guest.delete();
    }
}

#[test]
fn a_lab_without_nova_gets_one_and_when_it_goes_down_nothing_is_left() {
    let lab = Lab::own(LabOptions::default()).unwrap();
    let root = lab.root().to_owned();
    let options = LabOptions {
        cloud: Cloud::nova().unwrap(),
        ..LabOptions::default()
    };
    let begin = Instant::now();
    let with_nova = Lab::up(&root, options).unwrap();
    eprintln!("Nova is added: {:.1} s", begin.elapsed().as_secs_f32());
    let cloud = with_nova.openstack(Site::ZoneA).unwrap();
    let guest = Guest::boot(&cloud);
    guest.ready();
    let root_text = root.to_str().unwrap();
    for name in ["libvirtd", "virtlogd", "nova-compute"] {
        let running = processes_with(root_text);
        assert!(running.iter().any(|p| p.contains(name)), "{running:?}");
    }
    drop(lab);
    assert_eq!(processes_with(root_text), [""; 0]);
    assert_eq!(processes_with(&guest.server), [""; 0]);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(root_text), "{mounts}");
    assert!(!root.exists());
}

#[test]
fn a_guest_is_paused_with_its_zone_and_goes_on_when_the_next_test_takes_the_lab() {
    let lab = empty_lab();
    let site = Site::ZoneB;
    let cloud = lab.openstack(site).unwrap();
    let guest = Guest::boot(&cloud);
    let before = guest.ready();
    lab.pause(site).unwrap();
    let pid = qemu_of(&guest.server).pop().unwrap();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.chars().next().unwrap()
    };
    // A thread that is at work stops at its next chance, and not with the signal.
    wait_for("it to be stopped", |last| {
        *last = state().to_string();
        (state() == 'T').then_some(())
    });
    lab.repair().unwrap();
    assert_ne!(state(), 'T');
    guest.console("further on", |c| c.at > before.ready);
    guest.delete();
}

#[test]
fn a_guest_has_its_ports_address_and_answers_there_to_every_site_while_its_zone_is_reached() {
    let lab = empty_lab();
    let site = Site::ZoneB;
    let cloud = lab.openstack(site).unwrap();
    let find = |kind: &str| {
        let all = get(
            &cloud,
            Api::Networks,
            &format!("/{kind}?name={}", Nova::GUEST),
        );
        all[kind][0].clone()
    };
    let (network, subnet) = (find("networks"), find("subnets"));
    let pool = &subnet["allocation_pools"][0];
    let address = pool["end"].as_str().unwrap();
    let fixed = json!([{ "subnet_id": subnet["id"], "ip_address": address }]);
    let new = json!({ "port": { "network_id": network["id"], "fixed_ips": fixed } });
    let port = call(&cloud, Api::Networks, "POST", "/ports", new)["port"]["id"].clone();
    let guest = Guest::boot_on(&cloud, &json!([{ "port": port }]));
    guest.wait_status("ACTIVE");
    let addresses = get(&cloud, Api::Servers, &guest.page(""))["server"]["addresses"].clone();
    assert_eq!(addresses[Nova::GUEST][0]["addr"], address, "{addresses}");

    let answer = |from| {
        wait_for(&format!("{guest} to answer {from}"), |last| {
            let answer = answers(&lab, from, address);
            answer.map_err(|words| *last = words).ok()
        })
    };
    let first = answer(site);
    for from in [Site::ZoneA, Site::Witness] {
        assert!(answer(from) >= first);
    }
    guest.stop();
    guest.wait_status("SHUTOFF");
    assert!(answers(&lab, site, address).is_err());
    guest.start();
    assert!(
        answer(Site::Witness) > first,
        "at the same address, and further on"
    );

    lab.isolate(site).unwrap();
    assert!(answers(&lab, Site::Witness, address).is_err());
    answer(site);
    lab.heal(site).unwrap();
    answer(Site::Witness);
    guest.delete();
    let page = format!("/ports/{}", port.as_str().unwrap());
    call(&cloud, Api::Networks, "DELETE", &page, Value::Null);
}
