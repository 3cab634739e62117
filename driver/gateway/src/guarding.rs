//! Where a request meets the guards: on its way to Cinder, with its body still to be sent.

use crate::{
    body::RequestBody,
    exchange::Exchange,
    fault::Fault,
    guards::{BODY, GROUP, Guarded, Place, Target},
    proxy::{Proxy, body_fault},
    showing::{Ahead, ahead},
    status::{Kind, Read, read},
};
use hyper::{StatusCode, http::request::Parts};

/// What Cinder says of a group's volumes is no larger.
const VOLUMES: usize = 4 * 1024 * 1024;

impl Proxy {
    /// Refuses what would break a replicated pair.
    pub(crate) async fn guard(
        &self,
        head: &Parts,
        body: &mut RequestBody,
        exchange: &mut Exchange,
    ) -> Result<(), Fault> {
        let place = Place::of(&head.method, head.uri.path());
        let (Some(guards), Some(place)) = (&self.guards, place) else {
            return Ok(());
        };
        // A larger body is none that Cinder takes.
        let Some(read) = body.ahead(BODY).await.map_err(body_fault)? else {
            return Ok(());
        };
        for asked in place.asked(&read) {
            let volumes = match &asked.target {
                Target::Volume(id) => vec![id.clone()],
                Target::Group(id) => self.volumes_of(head, &place, id, exchange).await?,
            };
            let ids: Vec<&str> = volumes.iter().map(String::as_str).collect();
            if let Err(no) = guards.allow(&asked, &ids).await
                && self.is_theirs(head, &place, &asked, exchange).await?
            {
                return Err(no);
            }
        }
        Ok(())
    }

    /// Whether the user sees the volume. Who does not is told by Cinder that there is none.
    async fn is_theirs(
        &self,
        head: &Parts,
        place: &Place,
        asked: &Guarded,
        exchange: &mut Exchange,
    ) -> Result<bool, Fault> {
        match &asked.target {
            Target::Volume(id) => {
                let path = format!("{}/volumes/{id}", place.base);
                Ok(self.unseen(head, &path, exchange).await?.is_none())
            }
            // Its volumes were found with the user's own token.
            Target::Group(_) => Ok(true),
        }
    }

    /// The volumes of one of Cinder's groups, as far as the user sees them. None, where Cinder does not say: then it says so to the
    /// request itself, and the driver guards each.
    async fn volumes_of(
        &self,
        head: &Parts,
        place: &Place,
        group: &str,
        exchange: &mut Exchange,
    ) -> Result<Vec<String>, Fault> {
        let path = format!("{}/volumes?group_id={group}&limit={GROUP}", place.base);
        let answer = self.look(head, &path, exchange).await?;
        let is_well = answer.status() == StatusCode::OK;
        let mut body = answer.into_body();
        let read = match ahead(&mut body, VOLUMES, self.upstream.idle()).await? {
            Ahead::Whole(body) if is_well => read(&body, Kind::Page).map(Read::into_owned),
            Ahead::Whole(_) | Ahead::Part(_) => None,
        };
        let spots = read.map(|read| read.spots).unwrap_or_default();
        Ok(spots.into_iter().map(|spot| spot.id.into_owned()).collect())
    }
}
