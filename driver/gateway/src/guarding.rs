//! Where a request meets the guards: on its way to Cinder, with its body still to be sent.

mod on_group;

use crate::{
    body::RequestBody,
    exchange::Exchange,
    fault::Fault,
    guards::{
        BODY, GROUP, Guarded, Guards, Illegible, Operation, Place, Target, Unclear, ends_it,
        renames_its_method, unknown,
    },
    proxy::{Proxy, body_fault},
    showing::{Ahead, ahead},
    status::{Kind, Members, Read, read},
};
use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_LENGTH, HeaderName, HeaderValue},
    http::{request::Parts, response},
};
use rekindle_net::in_request;
use serde_json::Value;

/// What Cinder says of a page of a group's volumes is no larger, nor what it says of a snapshot.
const VOLUMES: usize = 4 * 1024 * 1024;
/// Which of Cinder's versions is asked for.
const VERSION: HeaderName = HeaderName::from_static("openstack-api-version");
/// An older one may leave the group out of a list's filters, and give all volumes; this one says that it cannot filter.
const LISTS_GROUPS: HeaderValue = HeaderValue::from_static("volume 3.31");

/// Why a request goes no further.
pub(crate) enum Stopped {
    /// What Cinder said to a look of its user's. It is the request's answer too: whom Cinder does not let look, it may let delete all the same,
    /// for the access rules of an application credential go by method and path.
    ByCinder(Box<Response<Bytes>>),
    /// It would break a pair, or that is not known.
    ByUs(Fault),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::ByUs(fault)
    }
}

impl Stopped {
    fn by(mut head: response::Parts, body: Option<Bytes>) -> Self {
        head.headers.remove(CONTENT_LENGTH);
        let answer = Response::from_parts(head, body.unwrap_or_default());
        Self::ByCinder(Box::new(answer))
    }
}

/// The volumes that something would be done to.
#[derive(Default)]
struct Volumes {
    ids: Vec<String>,
    /// Those that the user does not see, and that Cinder would do it to all the same.
    unseen: Vec<String>,
    /// Cinder's word to the user that there is no such one. It is the answer where a guard refuses the request: who does not see a volume learns
    /// nothing else of it. Where none does the request goes on, for Cinder may have more to say against it.
    none: Option<Box<Response<Bytes>>>,
}

impl From<Vec<String>> for Volumes {
    fn from(ids: Vec<String>) -> Self {
        Self {
            ids,
            ..Self::default()
        }
    }
}

fn texts(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

/// Those of them that are not among these.
fn without(all: Vec<rekindle_openstack::Volume>, ids: &[String]) -> Vec<String> {
    let all = all.into_iter().map(|volume| volume.id);
    all.filter(|id| !ids.contains(id)).collect()
}

/// A group is not deleted at once with so many.
fn too_many() -> Fault {
    let why = format!(
        "the group has {GROUP} volumes or more, which are not looked at at once: delete some of them by themselves first"
    );
    Fault::new(StatusCode::CONFLICT, "guard_group", why)
}

/// Whether that tells a user that there is no such thing for them, or that their request has a form that Cinder does not take (its version, say).
fn is_told(status: StatusCode) -> bool {
    [
        StatusCode::BAD_REQUEST,
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::NOT_ACCEPTABLE,
    ]
    .contains(&status)
}

impl Proxy {
    /// Stops what would break a replicated pair. What a guard refuses goes nowhere, whoever asks.
    pub(crate) async fn guard(
        &self,
        head: &Parts,
        body: &mut RequestBody,
        exchange: &mut Exchange,
    ) -> Result<(), Stopped> {
        let Some(guards) = &self.guards else {
            return Ok(());
        };
        // Cinder's routes go by that method; who reads the request's line, by the other.
        if renames_its_method(head.uri.query().unwrap_or_default()) {
            let why = "the query names a method (_method), which Cinder would take for the request's own: send the request with that method";
            let fault = Fault::new(StatusCode::BAD_REQUEST, "method_twice", why);
            return Err(fault.closing().into());
        }
        let place = Place::of(&head.method, self.path_of(head)).map_err(|Unclear| {
            let why = "the path can be read in more ways than one, and the request would change something: write it without '..', and with ids as they are";
            Fault::new(StatusCode::BAD_REQUEST, "guard_path", why).closing()
        })?;
        let Some(place) = place else {
            return Ok(());
        };
        let read = if place.is_told_by_body() {
            // Cinder takes none that is larger, unless it was told to.
            let read = body.ahead(BODY).await.map_err(body_fault)?;
            read.ok_or_else(|| {
                let why =
                    format!("what may do something to a volume has a body of {BODY} bytes at most");
                Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "guard_body", why).closing()
            })?
        } else {
            Bytes::new()
        };
        let asked = place.asked(&read).map_err(|Illegible| {
            let why = "the body is no JSON (RFC 8259), and Cinder might read it all the same: write it without NaN and Infinity, numbers that no float holds, halves of surrogate pairs, and nesting over 100 levels";
            Fault::new(StatusCode::BAD_REQUEST, "guard_json", why)
        })?;
        for asked in asked {
            let volumes = self.volumes(guards, head, &place, &asked, exchange).await?;
            let (seen, unseen) = (texts(&volumes.ids), texts(&volumes.unseen));
            let allowed = guards.allow(&asked, &seen, &unseen);
            let allowed = in_request(exchange.ids(), allowed).await;
            match (allowed, volumes.none) {
                (Ok(()), _) => {}
                (Err(_), Some(no)) => return Err(Stopped::ByCinder(no)),
                (Err(fault), None) => return Err(fault.into()),
            }
        }
        Ok(())
    }

    /// The volumes that something would be done to, as the user sees them: nobody else is asked about a volume before Cinder has taken the
    /// user's token for it, or who has none could have the gateway's own account ask without end. None, where Cinder has no such snapshot or attachment for its user: then it says so to the
    /// request itself. Where Cinder does not say, what would end them waits, and for all else the driver guards each.
    async fn volumes(
        &self,
        guards: &Guards,
        head: &Parts,
        place: &Place,
        asked: &Guarded,
        exchange: &mut Exchange,
    ) -> Result<Volumes, Stopped> {
        if let (Operation::Replication(what), Target::Group(id)) = (asked.operation, &asked.target)
        {
            return self
                .on_group(what, guards, (head, place, asked), id, exchange)
                .await;
        }
        let base = &place.base;
        let (path, thing, key) = match &asked.target {
            Target::Volume(id) => {
                let path = format!("{base}/volumes/{id}");
                let none = self.sees(head, &path, "volume", asked, exchange).await?;
                let ids = vec![id.clone()];
                return Ok(Volumes { none, ..ids.into() });
            }
            Target::Group(id) if ends_it(asked.operation) => {
                return self.members(guards, head, place, asked, id, exchange).await;
            }
            Target::Group(id) => {
                let ids = self.volumes_of(head, place, asked, id, exchange).await?;
                return Ok(ids.into());
            }
            Target::Attachment(id) => (
                format!("{base}/attachments/{id}"),
                "attachment",
                "volume_id",
            ),
            Target::Snapshot(id) => (format!("{base}/snapshots/{id}"), "snapshot", "volume_id"),
            Target::GroupSnapshot(id) => (
                format!("{base}/group_snapshots/{id}"),
                "group_snapshot",
                "group_id",
            ),
            Target::ConsistencySnapshot(id) => (
                format!("{base}/cgsnapshots/{id}"),
                "cgsnapshot",
                "consistencygroup_id",
            ),
        };
        let (answer, body) = self.shown_to_them(head, &path, exchange).await?;
        let status = answer.status;
        if status == StatusCode::NOT_FOUND {
            return Ok(Vec::new().into());
        }
        if is_told(status) {
            return Err(Stopped::by(answer, body));
        }
        let body = body.filter(|_| status == StatusCode::OK);
        let body: Option<Value> = body.and_then(|body| serde_json::from_slice(&body).ok());
        let id = body.and_then(|body| body[thing][key].as_str().map(str::to_owned));
        let Some(id) = id.filter(|id| uuid::Uuid::try_parse(id).is_ok()) else {
            if ends_it(asked.operation) {
                let why = format!(
                    "Cinder does not say what the {thing} is of: nothing is done before that is known"
                );
                return Err(unknown(&why).into());
            }
            tracing::warn!(
                thing,
                status = status.as_u16(),
                operation = asked.operation.done(),
                "not guarded: Cinder does not say what it is of"
            );
            return Ok(Vec::new().into());
        };
        match &asked.target {
            Target::GroupSnapshot(_) | Target::ConsistencySnapshot(_) => {
                let ids = self.volumes_of(head, place, asked, &id, exchange).await?;
                Ok(ids.into())
            }
            Target::Volume(_) | Target::Group(_) | Target::Attachment(_) | Target::Snapshot(_) => {
                Ok(vec![id].into())
            }
        }
    }

    /// What Cinder answers a user's look with; no body, where that is larger than it may be.
    async fn shown_to_them(
        &self,
        head: &Parts,
        path: &str,
        exchange: &mut Exchange,
    ) -> Result<(response::Parts, Option<Bytes>), Fault> {
        let answer = self.look(head, path, exchange).await?;
        let (answer, mut body) = answer.into_parts();
        match ahead(&mut body, VOLUMES, self.upstream.idle()).await? {
            Ahead::Whole(body) => Ok((answer, Some(body))),
            Ahead::Part(_) => Ok((answer, None)),
        }
    }

    /// Whether the user sees the volume or the group: else Cinder's word that there is none for them. Who may not look is told what Cinder told them. What
    /// Cinder fails to answer tells neither: its next answer, to the request itself, may be another one.
    async fn sees(
        &self,
        head: &Parts,
        path: &str,
        thing: &str,
        asked: &Guarded,
        exchange: &mut Exchange,
    ) -> Result<Option<Box<Response<Bytes>>>, Stopped> {
        match self.unseen(head, path, exchange).await? {
            None => Ok(None),
            Some(no) if no.status() == StatusCode::NOT_FOUND => Ok(Some(Box::new(no))),
            Some(no) if is_told(no.status()) => Err(Stopped::ByCinder(Box::new(no))),
            Some(_) => {
                let why = format!(
                    "Cinder does not say now whether there is such a {thing} for this token: it is not {} before that is known",
                    asked.operation.done()
                );
                Err(unknown(&why).into())
            }
        }
    }

    /// The volumes that end with one of Cinder's groups: all that it has, also those of other projects, which the gateway's own account is
    /// told. The user is asked first whether they see the group: else Cinder says so to the request itself, and nobody else is asked.
    async fn members(
        &self,
        guards: &Guards,
        head: &Parts,
        place: &Place,
        asked: &Guarded,
        group: &str,
        exchange: &mut Exchange,
    ) -> Result<Volumes, Stopped> {
        if !self.sees_group(head, place, asked, group, exchange).await? {
            return Ok(Volumes::default());
        }
        let ids = self.volumes_of(head, place, asked, group, exchange).await?;
        let all = in_request(exchange.ids(), guards.members(group)).await;
        let unseen = match all {
            Members::Are(all) => without(all, &ids),
            Members::TooMany => return Err(too_many().into()),
            Members::Unknown => {
                let why = "it is not known now which volumes of other projects the group has: they are not deleted before that is known";
                return Err(unknown(why).into());
            }
        };
        Ok(Volumes {
            ids,
            unseen,
            none: None,
        })
    }

    /// Whether there is such a group for the holder of the request's token, by Cinder's word.
    async fn sees_group(
        &self,
        head: &Parts,
        place: &Place,
        asked: &Guarded,
        group: &str,
        exchange: &mut Exchange,
    ) -> Result<bool, Stopped> {
        if group.is_empty() {
            return Ok(false);
        }
        let mut look = head.clone();
        look.headers.insert(VERSION, LISTS_GROUPS);
        let path = place.path_of_group(group);
        let none = self.sees(&look, &path, "group", asked, exchange).await?;
        Ok(none.is_none())
    }

    /// The volumes of one of Cinder's groups, as far as the user sees them: an administrator, those of all projects. Where Cinder does not
    /// say, what would end them waits, and for all else the driver guards each.
    async fn volumes_of(
        &self,
        head: &Parts,
        place: &Place,
        asked: &Guarded,
        group: &str,
        exchange: &mut Exchange,
    ) -> Result<Vec<String>, Stopped> {
        // `groups/action` has no group that something could be done to.
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let ends = ends_it(asked.operation);
        let mut head = head.clone();
        head.headers.insert(VERSION, LISTS_GROUPS);
        let list = format!(
            "{}/volumes?group_id={group}&all_tenants=1&limit={GROUP}",
            place.base
        );
        let mut ids: Vec<String> = Vec::new();
        let mut path = list.clone();
        loop {
            let (answer, body) = self.shown_to_them(&head, &path, exchange).await?;
            if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status) {
                return Err(Stopped::by(answer, body));
            }
            let body = body.filter(|_| answer.status == StatusCode::OK);
            let page = body
                .as_deref()
                .and_then(|body| read(body, Kind::Page))
                .map(Read::into_owned);
            let Some(page) = page else {
                if ends {
                    let why = "Cinder does not say which volumes the group has: they are not deleted before that is known";
                    return Err(unknown(why).into());
                }
                return Ok(ids);
            };
            let before = ids.len();
            ids.extend(page.spots.into_iter().map(|spot| spot.id.into_owned()));
            if !page.more || ids.len() == before {
                return Ok(ids);
            }
            if ids.len() >= GROUP {
                if ends {
                    return Err(too_many().into());
                }
                return Ok(ids);
            }
            let last = ids.last().map(String::as_str).unwrap_or_default();
            path = format!("{list}&marker={}", crate::percent::encoded(last));
        }
    }
}
