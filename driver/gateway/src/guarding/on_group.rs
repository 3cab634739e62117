//! Where an action on the replication of one of Cinder's groups meets the rules, before its volumes meet the guards.

use super::{Stopped, Volumes, without};
use crate::{
    actions::{Allowed, OnGroup},
    exchange::Exchange,
    fault::Fault,
    guards::{GROUP, Guarded, Guards, Place, unknown},
    proxy::{Proxy, TOKEN},
    status::Members,
};
use hyper::{StatusCode, http::request::Parts};
use rekindle_net::in_request;

impl Proxy {
    /// The volumes of a group whose replication would be changed, where the holder of the request's token may ask for that. Who does not see
    /// the group is told so by Cinder, to the request itself. Whom the rules allow it whatever is in the group, as an administrator by
    /// default, waits for nobody to tell which volumes those are: to fail over is for when much is away.
    pub(super) async fn on_group(
        &self,
        what: OnGroup,
        guards: &Guards,
        (head, place, asked): (&Parts, &Place, &Guarded),
        group: &str,
        exchange: &mut Exchange,
    ) -> Result<Volumes, Stopped> {
        // Guards come with actions.
        let Some(actions) = &self.actions else {
            return Ok(Volumes::default());
        };
        if !self.sees_group(head, place, asked, group, exchange).await? {
            return Ok(Volumes::default());
        }
        let Some(token) = head.headers.get(TOKEN) else {
            let why = "there is no token";
            return Err(Fault::new(StatusCode::UNAUTHORIZED, "token", why).into());
        };
        let holder = actions.holder(token).await?;
        let is_free = actions.on_group(what, &holder)? == Allowed::Yes;
        let ids = self.volumes_of(head, place, asked, group, exchange).await?;
        if is_free {
            return Ok(ids.into());
        }
        let all = match in_request(exchange.ids(), guards.members(group)).await {
            Members::Are(all) => all,
            Members::TooMany => {
                let why = format!(
                    "the group has {GROUP} volumes or more, which are not looked at at once: let somebody ask for it who may change protection groups"
                );
                return Err(Fault::new(StatusCode::CONFLICT, "guard_group", why).into());
            }
            Members::Unknown => {
                let why = "it is not known now which volumes the group has, and whose they are: nothing is done before that is known";
                return Err(unknown(why).into());
            }
        };
        in_request(exchange.ids(), actions.on_each(what, &all, &holder)).await?;
        let unseen = without(all, &ids);
        Ok(Volumes {
            ids,
            unseen,
            none: None,
        })
    }
}
