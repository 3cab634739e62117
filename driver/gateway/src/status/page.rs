//! A page of volumes that Cinder could not have made: of all that it gave, those that fit, in order, from the marker on. Pure.

use super::{
    fields::Told,
    query::{Direction, Query},
    splice::Spot,
};
use hyper::{
    HeaderMap,
    header::{HOST, HeaderName},
    http::request::Parts,
};
use std::cmp::Ordering;

/// One volume of those that were collected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Collected<'a> {
    /// Which of Cinder's bodies it stands in.
    pub(crate) body: usize,
    pub(crate) spot: &'a Spot<'a>,
    pub(crate) told: Told<'a>,
}

/// What is given of them.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) volumes: Vec<Collected<'a>>,
    /// There is more after it.
    pub(crate) more: bool,
    /// How many fit, on all pages together.
    pub(crate) count: usize,
}

/// The marker is no volume of these.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoMarker;

impl<'a> Page<'a> {
    /// Cuts it out. Where the order says nothing, Cinder's stays.
    pub(crate) fn of(mut all: Vec<Collected<'a>>, query: &Query) -> Result<Self, NoMarker> {
        all.sort_by(|a, b| order(a, b, query));
        // The marker may have stopped to fit since the page that it ends was given: what comes after it is the same all the same.
        let from = match &query.marker {
            None => 0,
            Some(marker) => {
                let found = all.iter().position(|c| c.spot.id == *marker);
                found.ok_or(NoMarker)? + 1
            }
        };
        let fits = |c: &Collected<'_>| query.filters.iter().all(|f| f.fits(c.told));
        let count = all.iter().filter(|c| fits(c)).count();
        let mut left = all.into_iter().skip(from).filter(fits).skip(query.offset);
        let volumes: Vec<_> = left.by_ref().take(query.limit).collect();
        let more = !volumes.is_empty() && left.next().is_some();
        Ok(Self {
            volumes,
            more,
            count,
        })
    }
}

fn order(a: &Collected<'_>, b: &Collected<'_>, query: &Query) -> Ordering {
    let mut fields = query.order.iter().map(|(field, direction)| {
        let rising = a.told.order(b.told, *field);
        match direction {
            Direction::Rising => rising,
            Direction::Falling => rising.reverse(),
        }
    });
    fields
        .find(|o| *o != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

/// The link to the page after that volume, as Cinder would make it: where the client came in.
pub(crate) fn next_link(head: &Parts, query: &Query, last: &str) -> String {
    // Of several proxies the nearest one's word is the last, and that is what Cinder goes by.
    let said = |name: &'static str| last_of(&head.headers, HeaderName::from_static(name));
    let proto = said("x-forwarded-proto").unwrap_or("http");
    let host = said("x-forwarded-host").or_else(|| last_of(&head.headers, HOST));
    let prefix = said("x-forwarded-prefix").unwrap_or_default();
    let and = if query.whole.is_empty() { "" } else { "&" };
    format!(
        "{proto}://{}{prefix}{}?{}{and}marker={last}",
        host.unwrap_or_default(),
        head.uri.path(),
        query.whole,
    )
}

fn last_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let last = value.rsplit(',').next().map(str::trim);
    last.filter(|l| !l.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{
        fields::{Row, tests::report},
        query,
    };
    use hyper::Request;

    const STATUSES: [Option<&str>; 6] = [
        Some("active - primary"),
        None,
        Some("active - secondary"),
        Some("active - primary"),
        Some("error - unknown"),
        Some("active - primary"),
    ];

    /// The ids that a query gives of six volumes, whether there is more, and how many fit.
    fn page(text: &str) -> Result<(String, bool, usize), NoMarker> {
        let rows: Vec<Option<Row>> = STATUSES
            .iter()
            .map(|s| s.map(|s| Row::of(&report("p/volume-1", |r| r["status"] = s.into()), None)))
            .collect();
        let spots: Vec<Spot<'_>> = (0..STATUSES.len())
            .map(|n| Spot {
                at: 0..0,
                id: n.to_string().into(),
                host: None,
                cluster: None,
                name_id: None,
                replication: None,
            })
            .collect();
        let all = spots.iter().zip(&rows).map(|(spot, row)| Collected {
            body: 0,
            spot,
            told: row.as_ref().map_or(Told::Plain, Told::Row),
        });
        let query = query::read(text).unwrap().unwrap();
        let page = Page::of(all.collect(), &query)?;
        let ids = page.volumes.iter().map(|c| &*c.spot.id).collect();
        Ok((ids, page.more, page.count))
    }

    #[test]
    fn what_fits_comes_in_cinders_order_and_pages_join() {
        let p = "rekindle:status=active+-+primary";
        assert_eq!(page(p), Ok(("035".to_owned(), false, 3)));
        let limited = format!("{p}&limit=2");
        assert_eq!(page(&limited), Ok(("03".to_owned(), true, 3)));
        assert_eq!(
            page(&format!("{limited}&marker=3")),
            Ok(("5".to_owned(), false, 3))
        );
        assert_eq!(
            page(&format!("{limited}&offset=1")),
            Ok(("35".to_owned(), false, 3))
        );
        // A marker that does not fit any more still has its place.
        assert_eq!(
            page(&format!("{limited}&marker=4")),
            Ok(("5".to_owned(), false, 3))
        );
        assert_eq!(page(&format!("{p}&marker=9")), Err(NoMarker));
        assert_eq!(page(&format!("{p}&limit=0")), Ok((String::new(), false, 3)));
        assert_eq!(page("rekindle:status=none"), Ok(("1".to_owned(), false, 1)));
    }

    #[test]
    fn an_order_is_stable_and_goes_both_ways() {
        assert_eq!(
            page("sort=rekindle:status:asc"),
            Ok(("103524".to_owned(), false, 6))
        );
        assert_eq!(
            page("sort=rekindle:status"),
            Ok(("420351".to_owned(), false, 6))
        );
        assert_eq!(
            page("sort=rekindle:status:asc&limit=2&marker=3"),
            Ok(("52".to_owned(), true, 6))
        );
    }

    #[test]
    fn the_next_page_is_where_the_client_came_in() {
        let request = Request::builder()
            .uri("/v3/p/volumes/detail?limit=1&marker=a&rekindle:mode=once")
            .header("host", "cinder:8776")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "outer.example, volumes.example")
            .header("x-forwarded-prefix", "/volume")
            .body(())
            .unwrap();
        let (head, ()) = request.into_parts();
        let query = query::read(head.uri.query().unwrap()).unwrap().unwrap();
        assert_eq!(
            next_link(&head, &query, "b"),
            "https://volumes.example/volume/v3/p/volumes/detail?limit=1&rekindle:mode=once&marker=b"
        );
    }
}
