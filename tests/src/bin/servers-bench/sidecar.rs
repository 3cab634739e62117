//! A zone's sidecar as a plan of servers alone asks it: it has no volumes, so nobody's disk is a copy.

use futures::{
    FutureExt,
    future::{BoxFuture, ready},
    stream::BoxStream,
};
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, ImageSpec,
    action::{BatchLine, BatchRequest},
    volume::VolumeReport,
    zone::{GroupReport, ZoneReport},
};
use rekindle_net::{GrantRequest, Granted, VolumeList};
use rekindle_orchestrator::zone::Sidecar;

#[derive(Debug)]
pub(crate) struct NoVolumes;

fn never<T: Send + 'static>(code: ErrorCode) -> BoxFuture<'static, Result<T, ApiError>> {
    ready(Err(ApiError::new(code, "nothing is measured of it"))).boxed()
}

impl Sidecar for NoVolumes {
    fn report(&self) -> BoxFuture<'_, Result<ZoneReport, ApiError>> {
        never(ErrorCode::Unavailable)
    }
    fn volumes<'a>(
        &'a self,
        _: &'a GroupName,
    ) -> BoxFuture<'a, Result<Vec<VolumeReport>, ApiError>> {
        ready(Ok(Vec::new())).boxed()
    }
    fn all(&self, _: usize) -> BoxFuture<'_, Result<VolumeList, ApiError>> {
        let none = VolumeList {
            volumes: Vec::new(),
            more: false,
        };
        ready(Ok(none)).boxed()
    }
    fn volume<'a>(&'a self, _: &'a ImageSpec) -> BoxFuture<'a, Result<VolumeReport, ApiError>> {
        never(ErrorCode::UnknownVolume)
    }
    fn batch(
        &self,
        _: BatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<BatchLine, ApiError>>, ApiError>> {
        never(ErrorCode::Unavailable)
    }
    fn grant_standby<'a>(
        &'a self,
        _: &'a ImageSpec,
        _: GrantRequest,
    ) -> BoxFuture<'a, Result<Granted, ApiError>> {
        never(ErrorCode::Unavailable)
    }
    fn take_lease<'a>(
        &'a self,
        _: &'a GroupName,
        _: Generation,
    ) -> BoxFuture<'a, Result<GroupReport, ApiError>> {
        never(ErrorCode::Unavailable)
    }
    fn release_lease<'a>(
        &'a self,
        _: &'a GroupName,
        _: Generation,
    ) -> BoxFuture<'a, Result<GroupReport, ApiError>> {
        never(ErrorCode::Unavailable)
    }
}
