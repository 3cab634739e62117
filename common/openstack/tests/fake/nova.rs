//! A Nova that keeps servers and moves them on as a real one does, one look at a time: nothing in it depends on a clock. Faults are put in its
//! way as scripts.

use super::{Asked, Say};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// What comes of a call that a fault waits for.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It is answered so, and not carried out.
    Instead(Say),
    /// It is carried out, and answered so.
    After(Say),
    /// It is carried out, but only when that many looks at servers have been answered; and answered so.
    Later(u32, Say),
}

struct Planned {
    part: &'static str,
    times: u32,
    fault: Fault,
}

/// A server of it.
#[derive(Debug, Clone)]
pub(crate) struct Srv {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: &'static str,
    pub(crate) task: Option<&'static str>,
    pub(crate) power: i64,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) launched: bool,
    pub(crate) lock: Option<String>,
    pub(crate) fault: Option<(u16, &'static str)>,
    /// Volumes, and whether each is deleted with it.
    pub(crate) volumes: Vec<(String, bool)>,
    /// Looks until what is going on ends, and as what.
    pub(crate) then: Option<(u32, &'static str)>,
}

impl Srv {
    pub(crate) fn new(id: &str, status: &'static str) -> Self {
        Self {
            id: id.to_owned(),
            name: format!("name-of-{id}"),
            status,
            task: None,
            power: if status == "ACTIVE" { 1 } else { 4 },
            metadata: BTreeMap::new(),
            launched: true,
            lock: None,
            fault: None,
            volumes: vec![("v1".to_owned(), false)],
            then: None,
        }
    }

    pub(crate) fn marked(mut self, mark: &str) -> Self {
        self.metadata
            .insert("rekindle:standby-of".to_owned(), mark.to_owned());
        self
    }

    /// It has this volume alone.
    pub(crate) fn on(mut self, volume: &str) -> Self {
        self.volumes = vec![(volume.to_owned(), false)];
        self
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    fn json(&self) -> Value {
        if self.status == "UNKNOWN" {
            return json!({ "id": self.id, "status": "UNKNOWN", "tenant_id": "p1", "created": "2026-11-25T10:00:00Z" });
        }
        let volumes: Vec<Value> = self
            .volumes
            .iter()
            .map(|(id, doomed)| json!({ "id": id, "delete_on_termination": doomed }))
            .collect();
        let mut all = json!({
            "id": self.id, "name": self.name, "status": self.status, "tenant_id": "p1",
            "OS-EXT-STS:vm_state": self.status.to_lowercase(), "OS-EXT-STS:task_state": self.task, "OS-EXT-STS:power_state": self.power,
            "metadata": self.metadata, "locked": self.lock.is_some(), "locked_reason": self.lock,
            "OS-SRV-USG:launched_at": self.launched.then_some("2026-11-25T10:00:10.000000"),
            "flavor": { "original_name": "small", "vcpus": 1, "ram": 512 }, "os-extended-volumes:volumes_attached": volumes,
        });
        if let Some((code, message)) = self.fault {
            all["fault"] = json!({ "code": code, "message": message });
        }
        all
    }

    /// What was ordered begins: it ends after so many looks.
    fn begin(&mut self, task: &'static str, looks: u32, then: &'static str) -> Say {
        self.task = Some(task);
        self.then = Some((looks, then));
        Say::status(202, "")
    }

    /// A look passes. Whether it is still there.
    fn pass(&mut self) -> bool {
        match self.then {
            None => true,
            Some((0, status)) => {
                (self.then, self.task) = (None, None);
                if status == "gone" {
                    return false;
                }
                self.status = status;
                self.power = if status == "ACTIVE" { 1 } else { 4 };
                self.launched |= status == "ACTIVE";
                true
            }
            Some((n, status)) => {
                self.then = Some((n - 1, status));
                true
            }
        }
    }
}

#[derive(Default)]
struct World {
    servers: Vec<Srv>,
    faults: Vec<Planned>,
    made: u32,
    builds: Option<(&'static str, Option<(u16, &'static str)>)>,
    slow: u32,
    shelves: &'static str,
    member: bool,
    late: Vec<(u32, Asked)>,
    others: BTreeMap<&'static str, Value>,
}

/// It. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Stub(Arc<Mutex<World>>);

impl Stub {
    pub(crate) fn new() -> Self {
        let stub = Self::default();
        {
            let mut world = stub.0.lock().unwrap();
            world.builds = Some(("ACTIVE", None));
            world.shelves = "SHELVED_OFFLOADED";
            world.slow = 1;
            world.others.insert("/flavors/f1", json!({ "flavor": { "id": "f1", "name": "small", "vcpus": 1, "ram": 512, "disk": 0 } }));
            let quota = |limit| json!({ "limit": limit, "in_use": 3, "reserved": 0 });
            world.others.insert("/os-quota-sets/p1/detail", json!({ "quota_set": { "id": "p1", "instances": quota(10), "cores": quota(20), "ram": quota(-1) } }));
            world.others.insert("/os-services", json!({ "services": [{ "id": "x", "binary": "nova-compute", "host": "h1", "status": "enabled", "state": "up" }] }));
        }
        stub
    }

    pub(crate) fn with(self, server: Srv) -> Self {
        self.0.lock().unwrap().servers.push(server);
        self
    }

    /// What a call whose line holds `part` meets with, that many times.
    pub(crate) fn fault(self, part: &'static str, times: u32, fault: Fault) -> Self {
        let planned = Planned { part, times, fault };
        self.0.lock().unwrap().faults.push(planned);
        self
    }

    /// How builds end.
    pub(crate) fn builds(self, status: &'static str, fault: Option<(u16, &'static str)>) -> Self {
        self.0.lock().unwrap().builds = Some((status, fault));
        self
    }

    /// How many looks each thing takes.
    pub(crate) fn slow(self, looks: u32) -> Self {
        self.0.lock().unwrap().slow = looks;
        self
    }

    /// As what shelving ends.
    pub(crate) fn shelves(self, status: &'static str) -> Self {
        self.0.lock().unwrap().shelves = status;
        self
    }

    /// Whoever asks is no administrator.
    pub(crate) fn member(self) -> Self {
        self.0.lock().unwrap().member = true;
        self
    }

    /// What else it says, by path.
    pub(crate) fn says(self, path: &'static str, what: Value) -> Self {
        self.0.lock().unwrap().others.insert(path, what);
        self
    }

    pub(crate) fn servers(&self) -> Vec<Srv> {
        self.0.lock().unwrap().servers.clone()
    }

    /// Changes a server behind everybody's back.
    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut Srv)) {
        let mut world = self.0.lock().unwrap();
        change(world.servers.iter_mut().find(|s| s.id == id).unwrap());
    }

    pub(crate) fn script(&self) -> impl Fn(usize, &Asked) -> Say + Send + Sync + 'static {
        let stub = self.clone();
        move |_, asked| stub.0.lock().unwrap().answer(asked)
    }
}

impl World {
    fn answer(&mut self, asked: &Asked) -> Say {
        if asked.line.starts_with("GET") {
            for (looks, _) in &mut self.late {
                *looks = looks.saturating_sub(1);
            }
            let due: Vec<Asked> = self
                .late
                .extract_if(.., |(looks, _)| *looks == 0)
                .map(|(_, a)| a)
                .collect();
            for asked in due {
                self.carry_out(&asked);
            }
        }
        let planned = self
            .faults
            .iter_mut()
            .find(|p| p.times > 0 && asked.line.contains(p.part));
        let Some(planned) = planned else {
            return self.carry_out(asked);
        };
        planned.times -= 1;
        match planned.fault.clone() {
            Fault::Instead(say) => say,
            Fault::After(say) => {
                self.carry_out(asked);
                say
            }
            Fault::Later(looks, say) => {
                self.late.push((looks, asked.clone()));
                say
            }
        }
    }

    fn carry_out(&mut self, asked: &Asked) -> Say {
        let mut words = asked.line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let Some(path) = path.strip_prefix("/compute/v2.1") else {
            return self.other(path);
        };
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (method, parts.as_slice()) {
            ("GET", ["servers", "detail"]) => self.list(query),
            ("GET", ["servers"]) => {
                let all: Vec<Value> = self.servers.iter().map(Srv::json).collect();
                Say::ok(json!({ "servers": all }).to_string())
            }
            ("POST", ["servers"]) => self.create(&body["server"]),
            (_, ["servers", id, rest @ ..]) => self.one(method, id, rest, &body),
            ("GET", ["os-services"]) if self.member => Say::status(403, "{}"),
            _ => self.other(path),
        }
    }

    fn other(&self, path: &str) -> Say {
        match self.others.get(path) {
            Some(what) => Say::ok(what.to_string()),
            None => Say::status(404, r#"{"itemNotFound":{"message":"no such thing"}}"#),
        }
    }

    fn list(&mut self, query: &str) -> Say {
        self.servers.retain_mut(Srv::pass);
        let of = |key: &str| {
            let mut all = query.split('&').filter_map(|p| p.split_once('='));
            all.find(|(k, _)| *k == key).map(|(_, v)| v.to_owned())
        };
        let limit: usize = of("limit").unwrap().parse().unwrap();
        // As a real one: what its cell does not show is left out of pages.
        let seen: Vec<&Srv> = self
            .servers
            .iter()
            .filter(|s| s.status != "UNKNOWN")
            .collect();
        let begin = match of("marker") {
            None => 0,
            Some(marker) => match seen.iter().position(|s| s.id == marker) {
                Some(at) => at + 1,
                None => return Say::status(400, r#"{"badRequest":{"message":"marker"}}"#),
            },
        };
        let page: Vec<Value> = seen[begin..].iter().take(limit).map(|s| s.json()).collect();
        let mut answer = json!({ "servers": page });
        if begin + page.len() < seen.len() {
            answer["servers_links"] = json!([{ "rel": "next", "href": "http://elsewhere" }]);
        }
        Say::ok(answer.to_string())
    }

    fn create(&mut self, new: &Value) -> Say {
        let volumes: Vec<String> = new["block_device_mapping_v2"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d["uuid"].as_str().unwrap().to_owned())
            .collect();
        let taken = |v: &String| {
            self.servers
                .iter()
                .any(|s| s.volumes.iter().any(|(w, _)| w == v))
        };
        if volumes.iter().any(taken) {
            let message =
                r#"{"badRequest":{"code":400,"message":"Invalid volume: already attached"}}"#;
            return Say::status(400, message);
        }
        self.made += 1;
        let (status, fault) = self.builds.unwrap();
        let mut server = Srv::new(&format!("made-{}", self.made), "BUILD");
        server.name = new["name"].as_str().unwrap().to_owned();
        server.metadata = serde_json::from_value(new["metadata"].clone()).unwrap();
        server.volumes = volumes.into_iter().map(|v| (v, false)).collect();
        (server.launched, server.fault) = (false, fault);
        server.begin("spawning", self.slow, status);
        let id = server.id.clone();
        self.servers.push(server);
        Say::status(
            202,
            json!({ "server": { "id": id, "adminPass": "a-secret-password" } }).to_string(),
        )
    }

    fn one(&mut self, method: &str, id: &str, rest: &[&str], body: &Value) -> Say {
        let (slow, shelves, member) = (self.slow, self.shelves, self.member);
        if method == "GET" && rest.is_empty() {
            self.servers.retain_mut(|s| s.id != id || s.pass());
        }
        let Some(server) = self.servers.iter_mut().find(|s| s.id == id) else {
            return Say::status(
                404,
                r#"{"itemNotFound":{"message":"Instance could not be found"}}"#,
            );
        };
        let conflict = |why: &str| {
            let message = json!({ "conflictingRequest": { "code": 409, "message": why } });
            Say::status(409, message.to_string())
        };
        if method != "GET" && server.lock.is_some() && member {
            return conflict("Instance is locked");
        }
        match (method, rest) {
            ("GET", []) => Say::ok(json!({ "server": server.json() }).to_string()),
            ("DELETE", []) => server.begin("deleting", slow, "gone"),
            ("GET", ["os-volume_attachments"]) => {
                let all: Vec<Value> = server
                    .volumes
                    .iter()
                    .map(|(v, doomed)| json!({ "volumeId": v, "serverId": id, "delete_on_termination": doomed, "tag": null }))
                    .collect();
                Say::ok(json!({ "volumeAttachments": all }).to_string())
            }
            ("POST", ["os-volume_attachments"]) => {
                let volume = body["volumeAttachment"]["volumeId"].as_str().unwrap();
                server.volumes.push((volume.to_owned(), false));
                Say::ok(
                    json!({ "volumeAttachment": { "volumeId": volume, "device": "/dev/vdb" } })
                        .to_string(),
                )
            }
            ("PUT", ["os-volume_attachments", volume]) => {
                for (v, doomed) in &mut server.volumes {
                    if v.as_str() == *volume {
                        *doomed = body["volumeAttachment"]["delete_on_termination"]
                            .as_bool()
                            .unwrap();
                    }
                }
                Say::status(202, "")
            }
            ("DELETE", ["os-volume_attachments", volume]) => {
                server.volumes.retain(|(v, _)| v.as_str() != *volume);
                Say::status(202, "")
            }
            ("POST", ["metadata"]) => {
                let more: BTreeMap<String, String> =
                    serde_json::from_value(body["metadata"].clone()).unwrap();
                server.metadata.extend(more);
                Say::ok("{}")
            }
            ("POST", ["action"]) => {
                let (verb, what) = body.as_object().unwrap().iter().next().unwrap();
                let busy = server.task.is_some();
                match (verb.as_str(), server.status) {
                    ("lock", _) => {
                        server.lock = Some(
                            what["locked_reason"]
                                .as_str()
                                .unwrap_or_default()
                                .to_owned(),
                        );
                        Say::status(202, "")
                    }
                    ("unlock", _) => {
                        server.lock = None;
                        Say::status(202, "")
                    }
                    ("os-getConsoleOutput", _) => {
                        Say::ok(json!({ "output": "LAST 7\n" }).to_string())
                    }
                    ("os-stop", "ACTIVE" | "ERROR") if !busy => {
                        server.begin("powering-off", slow, "SHUTOFF")
                    }
                    ("os-start", "SHUTOFF") if !busy => server.begin("powering-on", slow, "ACTIVE"),
                    ("shelve", "ACTIVE" | "SHUTOFF") if !busy => {
                        server.begin("shelving", slow, shelves)
                    }
                    ("shelveOffload", "SHELVED") if !busy => {
                        server.begin("shelving_offloading", slow, "SHELVED_OFFLOADED")
                    }
                    ("unshelve", "SHELVED" | "SHELVED_OFFLOADED") if !busy => {
                        server.begin("unshelving", slow, "ACTIVE")
                    }
                    ("forceDelete", "SOFT_DELETED") => server.begin("deleting", slow, "gone"),
                    (verb, status) => conflict(&format!(
                        "Cannot '{verb}' instance {id} while it is in vm_state {status}"
                    )),
                }
            }
            _ => Say::status(404, "{}"),
        }
    }
}
