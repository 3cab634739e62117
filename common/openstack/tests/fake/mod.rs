//! A server that answers as it is told, byte by byte: also what no HTTP library would send.

pub(crate) mod nova;

use rekindle_common::ZoneName;
use rekindle_net::TlsFiles;
use rekindle_openstack::{Cloud, CloudConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What a call is answered with.
#[derive(Clone)]
pub(crate) enum Say {
    /// A status, more headers, and a body.
    Json(u16, Vec<(&'static str, String)>, String),
    /// A head that promises more than comes.
    Truncated,
    /// Nothing at all, and the connection stays open.
    Silence,
    /// That many bytes of a good body.
    Huge(usize),
}

impl Say {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Json(200, Vec::new(), body.into())
    }
    pub(crate) fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Json(status, Vec::new(), body.into())
    }
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

type Script = dyn Fn(usize, &Asked) -> Say + Send + Sync;

/// How its Keystone is.
#[derive(Clone, Default)]
pub(crate) struct Keystone {
    /// Its tokens are past their end when they are given.
    pub(crate) stale: Arc<AtomicBool>,
    /// It gives none.
    pub(crate) refuses: Arc<AtomicBool>,
    /// Its catalogue has no Barbican.
    pub(crate) without_barbican: Arc<AtomicBool>,
    /// The newest minor version that its Nova speaks; 0 is 96.
    pub(crate) nova: Arc<AtomicU32>,
}

/// Keystone, Cinder, Nova and Neutron behind one port.
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) keystone: Keystone,
    asked: Arc<Mutex<Vec<Asked>>>,
    scratch: TempDir,
}

impl Fake {
    /// Answers calls of the services by `script`, which gets how many came before. Keystone and the versions answer well.
    pub(crate) async fn cinder(
        script: impl Fn(usize, &Asked) -> Say + Send + Sync + 'static,
    ) -> Self {
        Self::serve(None, script).await
    }

    /// The same over TLS.
    pub(crate) async fn serve(
        tls: Option<&TlsFiles>,
        script: impl Fn(usize, &Asked) -> Say + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{port}");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (all, here) = (Arc::clone(&asked), url.clone());
        let keystone = Keystone::default();
        let shared = keystone.clone();
        let acceptor = tls.map(acceptor);
        let script: Arc<Script> = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, here, script) = (Arc::clone(&all), here.clone(), Arc::clone(&script));
                let (acceptor, keystone) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => talk(stream, &all, &here, &keystone, &script).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                talk(stream, &all, &here, &keystone, &script).await;
                            }
                        }
                    }
                });
            }
        });
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("secret"), "pw-of-a-test\n").unwrap();
        Self {
            url,
            keystone,
            asked,
            scratch,
        }
    }

    /// A client of it.
    pub(crate) fn cloud(&self, more: &str) -> Cloud {
        let file = self.scratch.path().join("secret");
        let text = format!(
            "auth_url = \"{}/v3\"\nusername = \"u\"\npassword_file = \"{}\"\nproject = \"p\"\n{more}",
            self.url,
            file.display()
        );
        let config: CloudConfig = toml::from_str(&text).unwrap();
        Cloud::new(ZoneName::new("zone-a").unwrap(), config).unwrap()
    }

    /// The calls so far whose first line holds this.
    pub(crate) fn asked(&self, part: &str) -> Vec<Asked> {
        let all = self.asked.lock().unwrap();
        all.iter()
            .filter(|a| a.line.contains(part))
            .cloned()
            .collect()
    }
}

fn acceptor(files: &TlsFiles) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    all: &Mutex<Vec<Asked>>,
    url: &str,
    keystone: &Keystone,
    script: &Arc<Script>,
) {
    let Some(asked) = read(&mut stream).await else {
        return;
    };
    let say = if asked.line.starts_with("POST /v3/auth/tokens") {
        if keystone.refuses.load(Ordering::SeqCst) {
            Say::status(401, r#"{"error":{"message":"no such user"}}"#)
        } else {
            token(
                url,
                keystone.stale.load(Ordering::SeqCst),
                keystone.without_barbican.load(Ordering::SeqCst),
            )
        }
    } else if asked.line.starts_with("GET /volume/v3/ ") {
        Say::status(300, r#"{"versions":[{"id":"v3.0","version":"3.70"}]}"#)
    } else if asked.line.starts_with("GET /placement/ ") {
        Say::ok(r#"{"versions":[{"id":"v1.0","min_version":"1.0","max_version":"1.39"}]}"#)
    } else if asked.line.starts_with("GET /compute/v2.1/ ") {
        let minor = match keystone.nova.load(Ordering::SeqCst) {
            0 => 96,
            minor => minor,
        };
        Say::ok(format!(
            r#"{{"version":{{"id":"v2.1","min_version":"2.1","version":"2.{minor}"}}}}"#
        ))
    } else {
        let before = all.lock().unwrap();
        let n = before.iter().filter(|a| !plumbing(a)).count();
        drop(before);
        script(n, &asked)
    };
    all.lock().unwrap().push(asked);
    answer(&mut stream, say).await;
}

fn plumbing(asked: &Asked) -> bool {
    let versions = [
        "GET /volume/v3/ ",
        "GET /compute/v2.1/ ",
        "GET /placement/ ",
    ];
    asked.line.contains("/auth/tokens") || versions.iter().any(|v| asked.line.starts_with(v))
}

/// A token that names this server as its Cinder, Nova and Neutron.
fn token(url: &str, stale: bool, without_barbican: bool) -> Say {
    let keys = if without_barbican {
        "no-key-manager"
    } else {
        "key-manager"
    };
    let end = if stale { "10:00" } else { "11:00" };
    let body = format!(
        r#"{{"token":{{"issued_at":"2026-11-25T10:00:00.000000Z","expires_at":"2026-11-25T{end}:00.000000Z",
        "user":{{"id":"u1","name":"u"}},"project":{{"id":"p1","name":"p"}},"roles":[{{"id":"r1","name":"admin"}}],
        "catalog":[{{"type":"block-storage","endpoints":[{{"interface":"public","region":"R","url":"{url}/volume/v3/p1"}}]}},
        {{"type":"compute","endpoints":[{{"interface":"public","region":"R","url":"{url}/compute/v2.1"}}]}},
        {{"type":"network","endpoints":[{{"interface":"public","region":"R","url":"{url}/network"}}]}},
        {{"type":"{keys}","endpoints":[{{"interface":"public","region":"R","url":"{url}/keys"}}]}},
        {{"type":"placement","endpoints":[{{"interface":"public","region":"R","url":"{url}/placement"}}]}}]}}}}"#
    );
    Say::Json(
        201,
        vec![("X-Subject-Token", "a-secret-token".to_owned())],
        body,
    )
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut part = [0_u8; 4096];
    loop {
        let n = stream.read(&mut part).await.ok()?;
        if n == 0 {
            return None;
        }
        bytes.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|l| {
            let (name, value) = l.split_once(':')?;
            (name.eq_ignore_ascii_case("content-length")).then(|| value.trim().parse::<usize>())
        });
        if body.len() >= length.map_or(0, Result::unwrap) {
            return Some(Asked {
                line: head.lines().next().unwrap_or_default().to_owned(),
                head: head.to_lowercase(),
                body: body.to_owned(),
            });
        }
    }
}

// Whoever asked may be gone already: then there is nobody to answer.
async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, say: Say) {
    match say {
        Say::Json(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                write!(head, "{name}: {value}\r\n").unwrap();
            }
            let _ = stream
                .write_all(format!("{head}\r\n{body}").as_bytes())
                .await;
        }
        Say::Truncated => {
            let half = "HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{\"volume\":";
            let _ = stream.write_all(half.as_bytes()).await;
        }
        Say::Silence => tokio::time::sleep(Duration::from_secs(3600)).await,
        Say::Huge(bytes) => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n{\"volume\":\"")
                .await;
            let block = vec![b'x'; 1 << 20];
            let mut left = bytes;
            while left > 0 && stream.write_all(&block[..left.min(1 << 20)]).await.is_ok() {
                left = left.saturating_sub(1 << 20);
            }
        }
    }
    let _ = stream.shutdown().await;
}
