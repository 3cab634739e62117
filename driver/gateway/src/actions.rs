//! The volume actions that Cinder does not have: `os-replicate`, `os-unreplicate`, `os-promote`, `os-demote`, `os-resync`.
//!
//! ```text
//!   POST …/volumes/{id}/action ── one key, and ours ── Cinder: may this token see the volume? ── Keystone: which roles?
//!     └─ all else: goes on untouched                 ── rules ── Cinder, as ourselves: which image? ── the sidecar ── 202
//! ```
//!
//! The gateway asks Cinder with the user's own token whether there is such a volume for them, and adds its own rules to that: nobody
//! does anything by it to a volume that they could not see. Which image is under a volume Cinder tells administrators alone; for that,
//! and to have a token looked at, the gateway has an account of its own.

mod asked;
mod grouped;
mod on_group;
mod places;
mod policy;
mod policy_file;
mod rules;

use crate::{
    fault::Fault,
    metrics::{Counted, Metrics},
    status::{Names, Under},
};
pub(crate) use asked::{ActionPath, parse};
use asked::{Asked, Group};
use hyper::{StatusCode, header::HeaderValue};
pub(crate) use on_group::OnGroup;
use places::Place;
pub(crate) use places::Places;
use rekindle_common::{
    ApiError, ErrorCode, ImageSpec, ResyncToken,
    action::{ActionOutcome, Order, Promotion, SafetyCopy, VolumeAction},
    error::Advice,
};
use rekindle_net::{SidecarClient, carried};
use rekindle_openstack::{Cloud, CloudError, Holder, Scope, Volume};
pub use rules::RulesError;
pub(crate) use rules::{Allowed, Rules};

/// What carries out the actions.
#[derive(Debug)]
pub(crate) struct Actions {
    /// The gateway's own account.
    pub(crate) cloud: Cloud,
    pub(crate) names: Names,
    pub(crate) sidecar: SidecarClient,
    pub(crate) rules: Rules,
    pub(crate) places: Places,
    pub(crate) metrics: Metrics,
}

/// What an order that may be given holds until the sidecar has answered it.
#[derive(Debug)]
pub(crate) struct InFlight {
    _place: Place,
    _counted: Counted,
}

/// What an action is about.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) image: ImageSpec,
    /// The project that the volume is of.
    pub(crate) owner: String,
}

/// When one of a project's actions may have ended. An action takes a second or less, but for a resync.
const SOON: u64 = 2;
/// When a volume may have been moved.
const MOVED: u64 = 5;

impl Actions {
    /// The holder of a token, as Keystone knows them.
    pub(crate) async fn holder(&self, token: &HeaderValue) -> Result<Holder, Fault> {
        let holder = self.cloud.holder(token).await;
        let holder = holder.map_err(|e| away("keystone", "Keystone", &e))?;
        holder.ok_or_else(|| {
            // Of a good one with access rules Keystone says the same to whoever does not say that they heed them.
            let why = "the token is not valid, or of an application credential with access rules, which is not taken for volume actions";
            Fault::new(StatusCode::UNAUTHORIZED, "token", why)
        })
    }

    /// Whether the holder of a token may ask for that, by the rules.
    pub(crate) async fn allowed(
        &self,
        asked: &Asked,
        token: &HeaderValue,
    ) -> Result<Holder, Fault> {
        let holder = self.holder(token).await?;
        match self.rules.allow(asked, &holder, None) {
            // Whose the volume is, is looked at with its image.
            Allowed::Yes | Allowed::IfTheirs => Ok(holder),
            Allowed::No => Err(self.forbidden(Rules::name(asked), "this token is not")),
        }
    }

    fn forbidden(&self, rule: &str, who: &str) -> Fault {
        let needed = self.rules.needed(rule);
        let why = format!("{rule} is for those who are {needed}: {who}");
        Fault::new(StatusCode::FORBIDDEN, "rules", why)
    }

    /// A place among the actions of the holder's project. What Cinder says where there is too much of something, with when to come again: its
    /// clients wait and try again by themselves, where they are told to (`cinder --retries`).
    pub(crate) fn place(&self, holder: &Holder) -> Result<InFlight, Fault> {
        let Some(place) = self.places.take(holder.project_id.as_deref()) else {
            let why = format!(
                "the project has {} volume actions in flight, as many as it may: try again when one of them has ended",
                self.places.most()
            );
            let fault = Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "project_actions", why);
            return Err(fault.retry_after(SOON));
        };
        Ok(InFlight {
            _place: place,
            _counted: self.metrics.action(),
        })
    }

    /// The image under a volume, where its holder may ask for that by the rules, now that it is known whose the volume is.
    pub(crate) async fn image(
        &self,
        volume: &str,
        asked: &Asked,
        holder: &Holder,
    ) -> Result<Found, Fault> {
        let found = self.cloud.cinder(Scope::Home).volume(volume).await;
        let volume = match found {
            Ok(volume) => volume,
            // It was there for its user a moment ago.
            Err(CloudError::NotFound { .. }) => {
                self.names.forget(volume);
                let why = format!("Volume {volume} could not be found.");
                return Err(Fault::new(StatusCode::NOT_FOUND, "no_volume", why));
            }
            Err(e) => return Err(away("cinder_account", "Cinder", &e)),
        };
        // Asked anew, and not from what is kept: an order is given to what is under the volume now. Who decides by what is kept has it too.
        let under = self.names.learn(&volume);
        match self.rules.allow(asked, holder, Some(&volume.project_id)) {
            Allowed::Yes => {}
            Allowed::No | Allowed::IfTheirs => {
                let why = "the volume is another project's than this token's";
                return Err(self.forbidden(Rules::name(asked), why));
            }
        }
        // As the driver refuses a type that says both: of what several servers write, no copy is one that all of them could go on with.
        if volume.multiattach && matches!(asked, Asked::Replicate { .. }) {
            let why = "a volume that several servers may write to (multiattach) cannot be replicated: retype it to a type without multiattach first";
            return Err(Fault::new(StatusCode::CONFLICT, "multiattach", why));
        }
        if let Some(word) = moving(&volume)
            && matches!(asked, Asked::Replicate { .. })
        {
            let why = format!(
                "Cinder is at work on the volume ({word}), and may delete the image that it has now: try again when that has ended"
            );
            let fault = Fault::new(StatusCode::CONFLICT, "volume_moving", why);
            return Err(fault.retry_after(MOVED));
        }
        match under {
            Under::Image(image) => Ok(Found {
                image: std::sync::Arc::unwrap_or_clone(image),
                owner: volume.project_id,
            }),
            Under::Elsewhere | Under::Gone | Under::Unknown => {
                let why = "the volume is on a backend that is not replicated here";
                tracing::info!(
                    volume.id = volume.id,
                    host = volume.host,
                    "no pool of cloud.backends is this host's"
                );
                Err(Fault::new(StatusCode::BAD_REQUEST, "backend", why))
            }
        }
    }

    /// Gives the order. Once it is given, it is carried out whether its client waits or not.
    pub(crate) async fn order(
        &self,
        asked: Asked,
        image: &ImageSpec,
        holder: &Holder,
        in_flight: InFlight,
        id: &str,
    ) -> Result<(), Fault> {
        let name = asked.name();
        let order = order(asked, holder, id).map_err(|e| refusal(&e))?;
        tracing::info!(
            target: "audit",
            action = name,
            volume.image = %image,
            user.id = holder.user_id,
            project.id = holder.project_id,
            request.id = id,
            "ordered"
        );
        let (sidecar, image) = (self.sidecar.clone(), image.clone());
        let order = async move {
            // Not the client's to give back: it may leave, and the order goes on.
            let _in_flight = in_flight;
            sidecar.act(&image, &order).await
        };
        let done = tokio::spawn(carried(order)).await;
        let done: Result<ActionOutcome, ApiError> = done.unwrap_or_else(|e| {
            Err(ApiError::new(
                ErrorCode::Internal,
                format!("the order's own task ended: {e}"),
            ))
        });
        match done {
            Ok(outcome) => {
                tracing::info!(
                    target: "audit",
                    action = name,
                    request.id = id,
                    effect = ?outcome.effect,
                    volume.status = %outcome.report.status,
                    "carried out"
                );
                Ok(())
            }
            Err(error) => {
                tracing::warn!(target: "audit", action = name, request.id = id, %error, "not carried out");
                Err(refusal(&error))
            }
        }
    }
}

/// What Cinder does to a volume whose image may be another at its end, in its own word: the image from before is deleted then, and a copy with
/// it.
fn moving(volume: &Volume) -> Option<&str> {
    // As Cinder has it. `deleting` is what stays where a migration's source could not be deleted.
    let over = ["none", "success", "error", "deleting"];
    let migration = volume.migration_status.as_deref();
    let migration = migration.filter(|word| !over.contains(word));
    let status = Some(volume.status.as_str());
    let status = status.filter(|word| ["retyping", "maintenance", "deleting"].contains(word));
    migration.or(status)
}

fn order(asked: Asked, holder: &Holder, id: &str) -> Result<Order, ApiError> {
    let action = match asked {
        Asked::Replicate { mode, group } => VolumeAction::Replicate {
            mode,
            leave_group: group == Group::Leaves,
            anew: false,
            group: match group {
                Group::Joins(group) => Some(group),
                Group::Stays | Group::Leaves => None,
            },
            // What Cinder says of it is described by the leading orchestrator, as of every volume.
            cinder: None,
        },
        Asked::Unreplicate => VolumeAction::Unreplicate,
        Asked::Promote => VolumeAction::Promote {
            promotion: Promotion::Plain,
        },
        Asked::PromoteByForce => VolumeAction::Promote {
            promotion: Promotion::Forced {
                reason: format!("user {} asked for it ({id})", holder.user_id),
                accept_torn: false,
            },
        },
        Asked::Demote => VolumeAction::Demote { token: None },
        Asked::Resync => VolumeAction::Resync {
            // Each request is a resync of its own.
            token: ResyncToken::new(id.to_owned()).map_err(|e| {
                ApiError::new(ErrorCode::Internal, format!("{id:?} names no resync: {e}"))
            })?,
            safety: SafetyCopy::Keep,
        },
    };
    Ok(Order {
        action,
        generation: None,
    })
}

/// The sidecar's refusal in Cinder's form.
fn refusal(e: &ApiError) -> Fault {
    let own = [ErrorCode::Unauthenticated, ErrorCode::Forbidden];
    let (status, message) = if e.code == ErrorCode::GenerationRequired {
        // That it is one of its group is the volume's state, and no fault of the request's form.
        let why =
            "the volume belongs to a protection group, which moves as a whole, by its operators";
        (409, why.to_owned())
    } else if own.contains(&e.code) {
        // Between us and the sidecar, and nothing that the client could mend.
        (
            503,
            "the gateway is refused by the zone's sidecar".to_owned(),
        )
    } else {
        let status = match e.code.http_status() {
            // Words that Cinder's clients do not know, for a state that forbids it.
            421 | 423 => 409,
            status => status,
        };
        (status, format!("{} [{}]", e.message, e.code))
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fault = Fault::new(status, e.code.as_str(), message);
    match e.code.advice() {
        Advice::Retry => fault.retry_after(5),
        Advice::Mend | Advice::StateForbids | Advice::AskOperator => fault,
    }
}

/// Somebody else that an action needs.
fn away(name: &'static str, who: &str, e: &CloudError) -> Fault {
    tracing::warn!(error = e.in_full(), "an action cannot be decided on");
    let why = format!("{who} cannot be asked about this action: nothing was done");
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, name, why).retry_after(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sidecars_words_reach_the_client_in_cinders_form() {
        for (code, status, again) in [
            (ErrorCode::InvalidField, 400, false),
            (ErrorCode::UnknownVolume, 404, false),
            (ErrorCode::IsPrimary, 409, false),
            (ErrorCode::GenerationRequired, 409, false),
            (ErrorCode::Frozen, 409, false),
            (ErrorCode::PlanActive, 409, true),
            (ErrorCode::Forbidden, 503, false),
            (ErrorCode::SidecarUnreachable, 503, true),
        ] {
            let fault = refusal(&ApiError::new(code, "because"));
            assert_eq!(fault.status.as_u16(), status, "{code}");
            assert_eq!(fault.retry_after.is_some(), again, "{code}");
        }
    }
}
