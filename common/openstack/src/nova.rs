//! Nova, under one token's scope.
//!
//! ```text
//!   lists      whole or an error: never cut, also not by a cell that does not answer
//!   reads      retried within their deadline
//!   orders     once; Nova has only begun when it answers: look
//!   ensure_…   look, order what is due, look again, until it is so or the time is up; orders may be given again, for each is given to what was seen
//!   create     is never given again before a look: two of the same server would be two writers
//! ```
//!
//! What we built is known by the property [`STANDBY_OF`] on a server that has the root volume, and by nothing else. No volume is ever deleted
//! with a server.
//!
//! Reading order: `states.rs` (Nova's words), `server.rs`, `wish.rs` (what comes next: pure), `servers.rs` (one call each), `ensure.rs`
//! (the loop), `standby.rs`, `refusal.rs` (why Nova says no).

mod ensure;
mod error;
mod looks;
mod mark;
mod refusal;
mod request;
mod server;
mod servers;
mod standby;
mod states;
mod volumes;
mod wish;

pub(crate) use self::refusal::too_small;
pub use self::{
    ensure::{LOCKED_BY_US, Patience},
    error::{Because, Over, Refusal, ServerError},
    looks::{
        AvailabilityZone, ComputeService, Flavor, Hypervisor, Keypair, ServerGroup, ServiceState,
        ServiceStatus, ZoneState,
    },
    mark::{GROUP, Mark, STANDBY_OF},
    request::{Disk, Network, Nic, ServerRequest},
    server::{Address, AttachedVolume, Fault, Named, Seen, Server, ServerFlavor, UserData},
    servers::{Action, Found, Whose},
    standby::{How, Rest, Standby},
    states::{PowerState, Status, TaskState, VmState},
    volumes::{Attach, VolumeAttachment},
    wish::{Next, Verb, Wish, next},
};
use crate::{
    cloud::{Cloud, Scope, To},
    error::CloudError,
    service::Client,
    version::Microversion,
};
use rekindle_common::ZoneName;

/// Nova, under one token's scope. Cheap to clone. What is built under it belongs to the scope's project.
#[derive(Debug, Clone)]
pub struct Nova {
    at: Client,
}

impl Nova {
    pub(crate) fn new(cloud: Cloud, scope: Scope) -> Self {
        let to = To::Nova;
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
    /// See [`CloudError`]; `Config` where Nova is older than we support.
    pub async fn microversion(&self) -> Result<Microversion, CloudError> {
        self.at.cloud.version_for(&self.at.scope, To::Nova).await
    }

    /// Refuses a call that this Nova is too old for.
    async fn need(&self, needs: Microversion, call: &'static str) -> Result<(), ServerError> {
        let has = self.microversion().await?;
        if has >= needs {
            return Ok(());
        }
        Err(ServerError::TooOld {
            zone: self.zone(),
            call,
            has,
            needs,
        })
    }

    fn zone(&self) -> ZoneName {
        self.at.cloud.zone().clone()
    }
}
