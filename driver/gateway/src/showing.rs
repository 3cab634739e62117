//! Cinder's answers with the status in them: what of a body is read ahead, and what is left as it is.
//!
//! | the answer | what becomes of it |
//! |---|---|
//! | 200, JSON, within the bound | the fields are put in |
//! | another status | untouched |
//! | larger, packed, or no volumes that can be read in one way | untouched, and counted |

use crate::{
    exchange::Exchange,
    fault::Fault,
    metrics::BodyEnd,
    proxy::{Answer, Proxy},
    status::{Collected, Kind, PAGE, Page, Query, Read, Spot, Statuses, Told, next_link, read},
    upstream::CinderBody,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Response, StatusCode,
    body::Body,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED},
    http::{request::Parts, response},
};
use std::time::Duration;

/// What is said of a body's bytes, and is not true of one with more in it; nor is the time of a change, for the status changes by itself.
const OF_THE_BYTES: [HeaderName; 7] = [
    CONTENT_LENGTH,
    ETAG,
    LAST_MODIFIED,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];
/// A status takes about so many bytes.
const ADDED: usize = 192;
/// Between two volumes of a page, as Cinder writes it.
const BETWEEN: &[u8] = b", ";

/// What was read of a body.
pub(crate) enum Ahead {
    Whole(Bytes),
    /// It is larger; the rest is to come.
    Part(Bytes),
}

/// Reads a body up to a bound. Cinder may be silent for so long between two pieces.
pub(crate) async fn ahead(
    body: &mut CinderBody,
    most: usize,
    idle: Duration,
) -> Result<Ahead, Fault> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(most);
    let mut read = BytesMut::with_capacity(expected.min(most));
    loop {
        let frame = match tokio::time::timeout(idle, body.frame()).await {
            Ok(None) => return Ok(Ahead::Whole(read.freeze())),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) | Err(_) => {
                let why = "Cinder's answer broke off";
                return Err(Fault::new(StatusCode::BAD_GATEWAY, "upstream_answer", why));
            }
        };
        if let Some(data) = frame.data_ref() {
            read.extend_from_slice(data);
        }
        if read.len() > most {
            return Ok(Ahead::Part(read.freeze()));
        }
    }
}

/// Why an answer stays as it is, where its head says so already.
fn passes(head: &response::Parts, length: u64, most: usize) -> Option<BodyEnd> {
    let packed = head.headers.get(CONTENT_ENCODING);
    if packed.is_some_and(|p| !p.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Some(BodyEnd::Packed);
    }
    let kind = head.headers.get(CONTENT_TYPE).map(|k| k.as_bytes());
    if !kind.is_some_and(|k| k.to_ascii_lowercase().starts_with(b"application/json")) {
        return Some(BodyEnd::NoVolumes);
    }
    (length > most as u64).then_some(BodyEnd::TooLarge)
}

fn untie(headers: &mut HeaderMap) {
    for name in &OF_THE_BYTES {
        headers.remove(name);
    }
}

impl Proxy {
    /// Cinder's answer to a look at volumes, with the fields where they can be put in.
    pub(crate) async fn shown(
        &self,
        statuses: &Statuses,
        answer: Response<CinderBody>,
        kind: Kind,
        exchange: &mut Exchange,
    ) -> Result<Answer, Fault> {
        if answer.status() != StatusCode::OK {
            return Ok(Answer::Cinders(answer, None));
        }
        let most = statuses.settings.body;
        let (mut head, mut body) = answer.into_parts();
        let hint = body.size_hint();
        let left = |end: BodyEnd, first: Option<Bytes>, head, body| {
            statuses.metrics.body(end);
            Ok(Answer::Cinders(Response::from_parts(head, body), first))
        };
        if let Some(end) = passes(&head, hint.lower(), most) {
            return left(end, None, head, body);
        }
        let length = hint.exact().and_then(|l| usize::try_from(l).ok());
        let Some(place) = statuses.place(length.unwrap_or(most)).await else {
            return left(BodyEnd::NoPlace, None, head, body);
        };
        exchange.holds(place);
        let read_ahead = ahead(&mut body, most, self.upstream.idle()).await?;
        let bytes = match read_ahead {
            Ahead::Whole(bytes) => bytes,
            Ahead::Part(first) => return left(BodyEnd::TooLarge, Some(first), head, body),
        };
        let Some(found) = read(&bytes, kind) else {
            return left(BodyEnd::NoVolumes, Some(bytes), head, body);
        };
        let known = statuses.known(&found.spots).await;
        let told: Vec<Told<'_>> = known.told().collect();
        let mut out = Vec::with_capacity(bytes.len() + ADDED * found.spots.len());
        let volumes = found.spots.iter().zip(told.iter().copied());
        statuses.filled(&bytes, 0..bytes.len(), volumes, &mut out);
        let unknown = |t: &&Told<'_>| matches!(t, Told::Unknown | Told::Gone);
        let unknown = told.iter().filter(unknown).count();
        statuses.metrics.body(BodyEnd::Filled);
        statuses.metrics.unknown(unknown);
        untie(&mut head.headers);
        Ok(Answer::Own(Response::from_parts(head, out.into())))
    }

    /// A page by the fields: Cinder's pages are collected as its user sees them, and one is made of what fits.
    pub(crate) async fn page(
        &self,
        statuses: &Statuses,
        head: &Parts,
        query: Result<Query, String>,
        exchange: &mut Exchange,
    ) -> Result<Answer, Fault> {
        let query =
            query.map_err(|why| Fault::new(StatusCode::BAD_REQUEST, "status_query", why))?;
        let Some(place) = statuses.place(statuses.settings.body).await else {
            let why = "too many lists are ordered or filtered by status at once";
            let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, "status_places", why);
            return Err(fault.retry_after(1));
        };
        exchange.holds(place);
        let (mut answer, bodies) = match self.collected(statuses, head, &query, exchange).await? {
            Pages::All(answer, bodies) => (answer, bodies),
            Pages::Cinders(answer) => return Ok(Answer::Own(answer)),
        };
        let spots = bodies.iter().flat_map(|(_, read)| &read.spots);
        let spots: Vec<Spot<'_>> = spots.cloned().collect();
        let known = statuses.known(&spots).await;
        let bodies_of = bodies.iter().enumerate();
        let of = bodies_of.flat_map(|(n, (_, read))| std::iter::repeat_n(n, read.spots.len()));
        let all = of.zip(&spots).zip(known.told());
        let all = all.map(|((body, spot), told)| Collected { body, spot, told });
        // What Cinder deleted meanwhile is in no list of its own either.
        let all: Vec<_> = all.filter(|c| c.told != Told::Gone).collect();
        if all.iter().any(|c| c.told == Told::Unknown) {
            let why = "the status of the volumes is unknown: they can be listed, and not ordered or filtered by it now";
            let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, "status_unknown", why);
            return Err(fault.retry_after(5));
        }
        let page = Page::of(all, &query).map_err(|_| {
            let marker = query.marker.as_deref().unwrap_or_default();
            let short: String = marker.chars().take(64).collect();
            let why = format!("Volume {short} could not be found.");
            Fault::new(StatusCode::NOT_FOUND, "no_marker", why)
        })?;
        let last = page.volumes.last().filter(|_| page.more);
        let link = last.map(|c| next_link(head, &query, &c.spot.id));
        let out = written(statuses, &bodies, &page, link);
        statuses.metrics.body(BodyEnd::Filled);
        untie(&mut answer.headers);
        Ok(Answer::Own(Response::from_parts(answer, out.into())))
    }

    async fn collected(
        &self,
        statuses: &Statuses,
        head: &Parts,
        query: &Query,
        exchange: &mut Exchange,
    ) -> Result<Pages, Fault> {
        let settings = statuses.settings;
        let mut bodies: Vec<(Bytes, Read<'static>)> = Vec::new();
        let mut first: Option<response::Parts> = None;
        let mut marker: Option<String> = None;
        loop {
            let held: usize = bodies.iter().map(|(body, _)| body.len()).sum();
            let path = page_path(self.path_of(head), &query.rest, marker.as_deref());
            let answer = self.look(head, &path, exchange).await?;
            let (answer_head, mut body) = answer.into_parts();
            let most = settings.body.saturating_sub(held);
            let Ahead::Whole(body) = ahead(&mut body, most, self.upstream.idle()).await? else {
                return Err(too_many(&format!("{} bytes of volumes", settings.body)));
            };
            if answer_head.status != StatusCode::OK {
                let mut answer = Response::from_parts(answer_head, body);
                answer.headers_mut().remove(CONTENT_LENGTH);
                return Ok(Pages::Cinders(answer));
            }
            let read = read(&body, Kind::Page).ok_or_else(|| no_list("cannot be read"))?;
            let read = read.into_owned();
            let last = read.spots.last().map(|s| s.id.clone().into_owned());
            let last = last.filter(|_| read.more);
            bodies.push((body, read));
            let volumes: usize = bodies.iter().map(|(_, read)| read.spots.len()).sum();
            if volumes > settings.collected {
                return Err(too_many(&format!("{} volumes", settings.collected)));
            }
            let head = first.take().unwrap_or(answer_head);
            let Some(last) = last else {
                return Ok(Pages::All(head, bodies));
            };
            // Each page has to bring something new, and its end has a place in a query.
            if marker.as_ref() == Some(&last) || uuid::Uuid::try_parse(&last).is_err() {
                return Err(no_list("does not come to an end"));
            }
            first = Some(head);
            marker = Some(last);
        }
    }
}

/// All that Cinder gave, or what it said instead.
enum Pages {
    All(response::Parts, Vec<(Bytes, Read<'static>)>),
    Cinders(Response<Bytes>),
}

fn page_path(path: &str, rest: &str, marker: Option<&str>) -> String {
    let mut path = format!("{path}?limit={PAGE}");
    if !rest.is_empty() {
        path.push('&');
        path.push_str(rest);
    }
    if let Some(marker) = marker {
        path.push_str("&marker=");
        path.push_str(marker);
    }
    path
}

fn no_list(why: &str) -> Fault {
    let why = format!("Cinder's list {why}");
    Fault::new(StatusCode::BAD_GATEWAY, "upstream_answer", why)
}

fn too_many(most: &str) -> Fault {
    let why = format!(
        "more than {most} cannot be ordered or filtered by status: let another filter (name, status, project_id) take some off first"
    );
    Fault::new(StatusCode::BAD_REQUEST, "status_bound", why)
}

/// The page's body, in Cinder's form.
fn written(
    statuses: &Statuses,
    bodies: &[(Bytes, Read<'_>)],
    page: &Page<'_>,
    link: Option<String>,
) -> Vec<u8> {
    let mut out = b"{\"volumes\": [".to_vec();
    for (n, volume) in page.volumes.iter().enumerate() {
        if n > 0 {
            out.extend_from_slice(BETWEEN);
        }
        if let Some((body, _)) = bodies.get(volume.body) {
            let (spot, told) = (volume.spot, volume.told);
            statuses.filled(body, spot.at.clone(), [(spot, told)], &mut out);
        }
    }
    out.push(b']');
    if let Some(link) = link {
        let link = serde_json::Value::String(link);
        let links = format!(", \"volumes_links\": [{{\"rel\": \"next\", \"href\": {link}}}]");
        out.extend_from_slice(links.as_bytes());
    }
    if bodies.first().is_some_and(|(_, read)| read.count) {
        out.extend_from_slice(format!(", \"count\": {}", page.count).as_bytes());
    }
    out.push(b'}');
    // Its client may be slow, and its part is counted by what it is long.
    out.shrink_to_fit();
    out
}
