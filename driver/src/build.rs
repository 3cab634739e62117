//! From a configuration to a sidecar on real parts.

use crate::{
    actions::Parts,
    backend::{
        Backend,
        rbd::{RbdBackend, RbdOptions},
    },
    clock::Clock,
    config::Config,
    leases::{Leases, NoLeases},
    sidecar::Sidecar,
};
use rekindle_net::{ListenConfig, SocketOptions};
use std::sync::Arc;

/// What of the machine could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// librbd cannot be loaded.
    #[error("librbd cannot be used")]
    Library(#[from] rbd_rs::Error),
    /// A listener cannot be bound.
    #[error("cannot listen")]
    Listen(#[from] rekindle_net::ServeError),
    /// A field that [`Config::check`] would have refused.
    #[error("{0} cannot be used")]
    Unchecked(&'static str),
}

/// A sidecar with its listeners bound, not yet serving. Its cluster is contacted with the first call.
///
/// # Errors
/// [`BuildError`].
pub async fn sidecar(config: &Config) -> Result<Sidecar, BuildError> {
    let backend = RbdBackend::new(RbdOptions {
        conf: config.ceph.conf.clone(),
        client: config.ceph.client.clone(),
        keyring: config.ceph.keyring.clone(),
        pools: config.ceph.pools.clone(),
        threads: config.ceph.threads,
        connect_timeout: config.ceph.connect_timeout.get(),
    })?;
    let leases: Arc<dyn Leases> = Arc::new(NoLeases);
    let parts = Parts {
        zone: config.zone.clone(),
        backend: Backend::Rbd(backend),
        state_pool: config.state_pool().to_owned(),
        leases,
        clock: Clock::System,
        limits: config.limits,
    };
    let mut sidecar = Sidecar::new(parts, config.http.get());
    listen(config, &mut sidecar).await?;
    Ok(sidecar)
}

async fn listen(config: &Config, sidecar: &mut Sidecar) -> Result<(), BuildError> {
    if let Some(path) = &config.listen.unix {
        let mode = config
            .socket_mode()
            .ok_or(BuildError::Unchecked("listen.unix_mode"))?;
        let at = ListenConfig::Unix {
            path: path.clone(),
            options: SocketOptions {
                mode,
                group: config.listen.unix_group,
            },
        };
        sidecar.listen(&at).await?;
    }
    if let (Some(address), Some(files)) = (config.listen.tcp, &config.listen.tls) {
        let at = ListenConfig::Tls {
            address,
            files: files.clone(),
        };
        let bound = sidecar.listen(&at).await?;
        tracing::info!(address = ?bound.address(), "listening");
    }
    if let Some(address) = config.listen.metrics {
        sidecar
            .listen_probes(&ListenConfig::Loopback { address })
            .await?;
    }
    Ok(())
}
