//! Cinder, under one token's scope.
//!
//! ```text
//!   lists      whole or an error: never cut          volumes, snapshots: of all projects
//!   reads      retried within their deadline
//!   writes     once; `manage`, `unmanage` and `extend` only begin what Cinder does behind them: look at the status afterwards
//! ```

mod limits;
mod snapshots;
mod types;
mod volumes;

use crate::{
    cloud::{Cloud, Scope, To},
    error::CloudError,
    service::Client,
};
pub use crate::{service::Made, version::Microversion};
pub use limits::{BackendPool, Quota, QuotaSet, Service};
pub use snapshots::{ManageSnapshot, Snapshot};
pub use types::{TypeEncryption, VolumeType};
pub use volumes::{Attachment, ManageVolume, Volume};

/// What a record is called. `None` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Texts {
    /// Its name; Cinder cuts blanks at both ends off.
    pub name: Option<String>,
    /// Its description; the same.
    pub description: Option<String>,
}

/// Cinder, under one token's scope. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cinder {
    at: Client,
}

impl Cinder {
    pub(crate) fn new(cloud: Cloud, scope: Scope) -> Self {
        let to = To::Cinder;
        Self {
            at: Client { cloud, scope, to },
        }
    }

    /// Whose.
    #[must_use]
    pub fn cloud(&self) -> &Cloud {
        &self.at.cloud
    }

    /// Under which token.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.at.scope
    }

    /// The microversion that is spoken.
    ///
    /// # Errors
    /// See [`CloudError`]; `Config` where Cinder is older than we support.
    pub async fn microversion(&self) -> Result<Microversion, CloudError> {
        self.at.cloud.version_for(&self.at.scope, To::Cinder).await
    }
}
