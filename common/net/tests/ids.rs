//! A request's ids on their way: through a server, a task that it begins, and on to the next server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use axum::{Json, Router, http::HeaderMap, routing::get};
use rekindle_net::{
    Client, ClientLimits, Limits, ListenConfig, RequestId, RequestIds, Server, SocketOptions,
    carried, in_request,
};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Own and global, as a server was told.
type Told = (String, Option<String>);

async fn serve(at: &Path, router: Router) {
    let mut server = Server::new(Limits::default());
    let at = ListenConfig::Unix {
        path: at.to_owned(),
        options: SocketOptions::default(),
    };
    server.listen(&at, router).await.unwrap();
    tokio::spawn(server.run(CancellationToken::new()));
}

fn told(headers: &HeaderMap) -> Told {
    let id = |name: &str| headers.get(name).map(|id| id.to_str().unwrap().to_owned());
    (id("x-request-id").unwrap(), id("x-openstack-request-id"))
}

#[tokio::test]
async fn a_handler_calls_on_in_its_requests_name() {
    let dir = tempfile::tempdir().unwrap();
    let (near, far) = (dir.path().join("near.sock"), dir.path().join("far.sock"));
    let last = get(|headers: HeaderMap| async move { Json(told(&headers)) });
    serve(&far, Router::new().route("/told", last)).await;
    let on = Client::unix(&far, ClientLimits::default());
    let both = get(move || async move {
        let (own, task) = (on.clone(), on.clone());
        let direct: Told = own.get("/told").await.unwrap();
        let task = async move { task.get("/told").await.unwrap() };
        let by_a_task: Told = tokio::spawn(carried(task)).await.unwrap();
        Json((direct, by_a_task))
    });
    serve(&near, Router::new().route("/on", both)).await;

    let client = Client::unix(&near, ClientLimits::default());
    let id = |text: &str| RequestId::checked(text).unwrap();
    for global in [None, Some("req-first")] {
        let ids = RequestIds {
            own: id("req-1"),
            global: global.map(id),
        };
        let seen: (Told, Told) = in_request(ids, client.get("/on")).await.unwrap();
        let told = ("req-1".to_owned(), global.map(str::to_owned));
        assert_eq!(seen, (told.clone(), told));
    }
    // On nobody's behalf, each call has a name of its own.
    let ask = async || client.get::<(Told, Told)>("/on").await.unwrap();
    let (one, two) = (ask().await, ask().await);
    assert_eq!(one.0, one.1);
    assert_ne!(one.0, two.0);
    assert_eq!(one.0.1, None);
}
