//! A zone's sidecar in this process, as one site reaches it.

use super::network::{Network, unreachable};
use crate::zone::Sidecar;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use rekindle_common::{
    ApiError, Generation, GroupName, ImageSpec, SiteName, ZoneName,
    action::{BatchLine, BatchRequest},
    volume::VolumeReport,
    zone::{GroupReport, ZoneReport},
};
use rekindle_driver::actions::{VolumeQuery, Volumes};
use rekindle_net::{GrantRequest, Granted, VolumeList};
use std::sync::{Arc, Mutex, PoisonError};

/// The sidecar that runs now, if one does.
#[derive(Debug, Default)]
pub(super) struct Switch(Mutex<Option<Volumes>>);

impl Switch {
    pub(super) fn get(&self) -> Option<Volumes> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
    pub(super) fn set(&self, volumes: Option<Volumes>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = volumes;
    }
}

/// A sidecar across the network in this process.
#[derive(Debug)]
pub struct ReachedSidecar {
    from: SiteName,
    zone: ZoneName,
    switch: Arc<Switch>,
    network: Arc<Network>,
}

impl ReachedSidecar {
    pub(super) fn new(
        from: SiteName,
        zone: ZoneName,
        switch: Arc<Switch>,
        network: Arc<Network>,
    ) -> Self {
        Self {
            from,
            zone,
            switch,
            network,
        }
    }

    fn reach(&self) -> Result<Volumes, ApiError> {
        let there = SiteName::from(self.zone.clone());
        match self.switch.get() {
            Some(volumes) if self.network.reaches(&self.from, &there) => Ok(volumes),
            Some(_) | None => Err(unreachable(
                &self.from,
                &format!("the sidecar of {}", self.zone),
            )),
        }
    }

    async fn list(&self, group: Option<GroupName>, most: usize) -> Result<VolumeList, ApiError> {
        let (volumes, group) = (&self.reach()?, &group);
        let page = |after| async move {
            let query = VolumeQuery {
                group: group.clone(),
                after,
                ..VolumeQuery::default()
            };
            volumes.volumes(&query).await
        };
        VolumeList::read(most, page).await
    }
}

impl Sidecar for ReachedSidecar {
    fn report(&self) -> BoxFuture<'_, Result<ZoneReport, ApiError>> {
        async move { Ok(self.reach()?.zone().await) }.boxed()
    }
    fn volumes<'a>(
        &'a self,
        group: &'a GroupName,
    ) -> BoxFuture<'a, Result<Vec<VolumeReport>, ApiError>> {
        async move {
            let list = self.list(Some(group.clone()), usize::MAX).await?;
            list.whole()
        }
        .boxed()
    }
    fn all(&self, most: usize) -> BoxFuture<'_, Result<VolumeList, ApiError>> {
        self.list(None, most).boxed()
    }
    fn volume<'a>(&'a self, image: &'a ImageSpec) -> BoxFuture<'a, Result<VolumeReport, ApiError>> {
        async move { self.reach()?.volume(image).await }.boxed()
    }
    fn batch(
        &self,
        request: BatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<BatchLine, ApiError>>, ApiError>> {
        async move {
            let lines = self.reach()?.batch(request)?;
            let lines = stream::unfold(lines, |mut lines| async move {
                let line = lines.recv().await?;
                Some((Ok(line), lines))
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
        async move { self.reach()?.grant_standby(image, &request).await }.boxed()
    }
    fn take_lease<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<GroupReport, ApiError>> {
        async move { self.reach()?.take_lease(group, generation).await }.boxed()
    }
    fn release_lease<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<GroupReport, ApiError>> {
        async move { self.reach()?.give_up_lease(group, generation).await }.boxed()
    }
}
