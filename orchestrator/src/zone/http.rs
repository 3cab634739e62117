//! A sidecar over the network.

use super::Sidecar;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use rekindle_common::{
    ApiError, Generation, GroupName, ImageSpec,
    action::{BatchLine, BatchRequest},
    volume::VolumeReport,
    zone::{GroupReport, ZoneReport},
};
use rekindle_net::{GrantRequest, Granted, SidecarClient, VolumeList};

/// The most volumes of a group: far more than a plan holds, so that a group is never looked at in part, and no bug here fills the memory.
/// Orders go in as many batches as it takes, and are no bound to this.
const MOST_OF_A_GROUP: usize = 50_000;

impl Sidecar for SidecarClient {
    fn report(&self) -> BoxFuture<'_, Result<ZoneReport, ApiError>> {
        self.zone().boxed()
    }
    fn volumes<'a>(
        &'a self,
        group: &'a GroupName,
    ) -> BoxFuture<'a, Result<Vec<VolumeReport>, ApiError>> {
        self.all_volumes(Some(group), MOST_OF_A_GROUP).boxed()
    }
    fn all(&self, most: usize) -> BoxFuture<'_, Result<VolumeList, ApiError>> {
        self.first_volumes(None, most).boxed()
    }
    fn volume<'a>(&'a self, image: &'a ImageSpec) -> BoxFuture<'a, Result<VolumeReport, ApiError>> {
        Self::volume(self, image).boxed()
    }
    fn batch(
        &self,
        request: BatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<BatchLine, ApiError>>, ApiError>> {
        async move {
            let lines = Self::batch(self, &request).await?;
            // After an error there is nothing more: the stream ends with it.
            let lines = stream::unfold(Some(lines), |lines| async move {
                let mut lines = lines?;
                match lines.next().await {
                    Ok(Some(line)) => Some((Ok(line), Some(lines))),
                    Ok(None) => None,
                    Err(e) => Some((Err(e), None)),
                }
            });
            Ok(lines.boxed())
        }
        .boxed()
    }
    fn grant_standby<'a>(
        &'a self,
        image: &'a ImageSpec,
        request: GrantRequest,
    ) -> BoxFuture<'a, Result<Granted, ApiError>> {
        async move { Self::grant_standby(self, image, &request).await }.boxed()
    }
    fn take_lease<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<GroupReport, ApiError>> {
        Self::take_lease(self, group, generation).boxed()
    }
    fn release_lease<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<GroupReport, ApiError>> {
        Self::release_lease(self, group, generation).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, extract::Query, routing::get};
    use rekindle_common::{ErrorCode, action::MAX_BATCH};
    use rekindle_net::{
        Client, ClientLimits, Limits, ListenConfig, Server, SocketOptions, VolumePage,
        with_fallbacks,
    };
    use std::collections::BTreeMap;
    use tokio_util::sync::CancellationToken;

    fn image(n: usize) -> ImageSpec {
        ImageSpec::new("volumes", format!("volume-{n:06}")).unwrap()
    }

    fn report(n: usize) -> VolumeReport {
        let report = serde_json::json!({
            "volume": image(n), "zone": "zone-a", "status": "active - primary", "role": "primary", "lag": {"kind": "none"},
            "complete_copy": "yes", "peer_primary": "no", "concerns": [],
        });
        serde_json::from_value(report).unwrap()
    }

    /// A sidecar that has so many volumes.
    fn sidecar(volumes: usize) -> Router {
        let page = move |query: Query<BTreeMap<String, String>>| async move {
            let limit: usize = query["limit"].parse().unwrap();
            let after = query.get("after").map(|a| a.parse::<ImageSpec>().unwrap());
            let begin = after.map_or(0, |a| (0..volumes).find(|n| image(*n) == a).unwrap() + 1);
            let end = volumes.min(begin + limit);
            Json(VolumePage {
                volumes: (begin..end).map(report).collect(),
                next: (end < volumes).then(|| image(end - 1)),
            })
        };
        with_fallbacks(Router::new().route("/v1/volumes", get(page)))
    }

    #[tokio::test]
    async fn a_group_of_more_volumes_than_a_batch_takes_is_seen_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let mut server = Server::new(Limits::default());
        let unix = ListenConfig::Unix {
            path: path.clone(),
            options: SocketOptions::default(),
        };
        let many = MAX_BATCH + 1;
        server.listen(&unix, sidecar(many)).await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        let client = SidecarClient::from(Client::unix(&path, ClientLimits::default()));

        let group = GroupName::new("db").unwrap();
        let all = Sidecar::volumes(&client, &group).await.unwrap();
        assert_eq!(all.len(), many);
        // What has its bound in the middle of a page, and at the end of all.
        for (most, more) in [(many - 1, true), (many, false)] {
            let list = Sidecar::all(&client, most).await.unwrap();
            assert_eq!((list.volumes.len(), list.more), (most, more));
        }
        let e = client.all_volumes(None, many - 1).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::TooLarge);
        assert!(e.message.contains("more than 2000 volumes"), "{e}");
        assert_eq!(client.all_volumes(None, many).await.unwrap().len(), many);
        stop.cancel();
        running.await.unwrap();
    }
}
