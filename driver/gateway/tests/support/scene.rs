//! A gateway with all that it stands between: Keystone and Cinder, and the zone's sidecar.

use super::{
    Running,
    cloud::{Cloud, PLAIN},
    gateway_of,
    raw::{Answer, ask},
    sidecar::{Alive, Sidecar},
    soon,
};

use tokio::net::UnixStream;

pub struct Scene {
    pub gateway: Running,
    pub cloud: Cloud,
    pub sidecar: Sidecar,
    pub dir: tempfile::TempDir,
    serving: Option<Alive>,
}

/// With more of the gateway's configuration: whole tables.
pub async fn scene(more: &str) -> Scene {
    scene_with("", more).await
}

/// The same, and `[actions]` begins with these lines.
pub async fn scene_with(actions: &str, more: &str) -> Scene {
    scene_of("", actions, more).await
}

/// The same, in front of a Cinder that has its API under that path.
pub async fn scene_under(prefix: &str) -> Scene {
    scene_of(prefix, "", "").await
}

async fn scene_of(prefix: &str, actions: &str, more: &str) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (cloud, address) = Cloud::start(prefix).await;
    let sidecar = Sidecar::default();
    let socket = dir.path().join("driver.sock");
    let serving = sidecar.start(&socket).await;
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let text = format!(
        "zone = \"zone-a\"\npeer = \"zone-b\"\n\
         [listen]\naddress = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n\
         [upstream]\nurl = \"http://{address}\"\nprefix = {prefix:?}\n\
         {actions}[actions.sidecar]\nunix = {socket:?}\n\
         [actions.cloud]\nauth_url = \"http://{address}/v3\"\nusername = \"own\"\npassword_file = {secret:?}\n\
         project = \"service\"\nbackends = {{ volumes = \"h@ceph#ceph\" }}\n{more}"
    );
    Scene {
        gateway: gateway_of(&text).await,
        cloud,
        sidecar,
        dir,
        serving: Some(serving),
    }
}

impl Scene {
    /// A request with a token; none where it is empty.
    pub async fn send(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let token = if token.is_empty() {
            String::new()
        } else {
            format!("X-Auth-Token: {token}\r\n")
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: volumes.example\r\n{token}Content-Type: application/json\r\n\
             Accept-Encoding: gzip, deflate\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        ask(self.gateway.address, &request).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, token, "").await
    }

    pub async fn act(&self, token: &str, volume: &str, body: &str) -> Answer {
        let path = format!("/v3/p/volumes/{volume}/action");
        self.send("POST", &path, token, body).await
    }

    /// The sidecar is gone, with its connections.
    pub async fn sidecar_dies(&mut self) {
        drop(self.serving.take());
        let socket = self.dir.path().join("driver.sock");
        soon(async {
            while UnixStream::connect(&socket).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub async fn sidecar_comes_back(&mut self) {
        let socket = self.dir.path().join("driver.sock");
        self.serving = Some(self.sidecar.start(&socket).await);
    }
}

/// Whether Cinder had it, as it was sent. The stub says 418 to what it does not know.
pub fn is_cinders(answer: &Answer) -> bool {
    answer.status == 418
}

/// What becomes of the plain volume's images by its policy.
pub fn policy(scene: &Scene, policy: &str) {
    scene.sidecar.says(&format!("volumes/volume-{PLAIN}"), |r| {
        r["on_delete"] = serde_json::json!(policy);
    });
}

/// Whether Cinder had a request that changes something.
pub fn was_changed(scene: &Scene) -> bool {
    let asked = scene.cloud.asked();
    asked.iter().any(|(line, _)| !line.starts_with("GET "))
}
