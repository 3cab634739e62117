//! A sidecar over the network.

use super::Sidecar;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use rekindle_common::{
    ApiError, Generation, GroupName, ImageSpec,
    action::{BatchLine, BatchRequest, MAX_BATCH},
    volume::VolumeReport,
    zone::{GroupReport, ZoneReport},
};
use rekindle_net::{GrantRequest, Granted, SidecarClient};

impl Sidecar for SidecarClient {
    fn report(&self) -> BoxFuture<'_, Result<ZoneReport, ApiError>> {
        self.zone().boxed()
    }
    fn volumes<'a>(
        &'a self,
        group: &'a GroupName,
    ) -> BoxFuture<'a, Result<Vec<VolumeReport>, ApiError>> {
        self.all_volumes(Some(group), MAX_BATCH).boxed()
    }
    fn all(&self, most: usize) -> BoxFuture<'_, Result<Vec<VolumeReport>, ApiError>> {
        self.all_volumes(None, most).boxed()
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
