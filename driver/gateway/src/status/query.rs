//! Filters and orders by the fields, in a list's query. Pure.
//!
//! Cinder does not know them: as a filter it would refuse them or find nothing, as an order refuse. So they are taken out of the query
//! that Cinder sees.

use super::{
    fields::{Field, PREFIX},
    filter::Filter,
};
use crate::percent::{self, encoded};

/// What Cinder gives without a limit, and at most.
pub(crate) const PAGE: usize = 1000;
/// Orders that are looked at.
const ORDERS: usize = 5;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Rising,
    Falling,
}

/// A list's query that has fields of ours in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) filters: Vec<Filter>,
    /// The first counts most.
    pub(crate) order: Vec<(Field, Direction)>,
    /// What Cinder is asked: all else, but for the page.
    pub(crate) rest: String,
    pub(crate) limit: usize,
    pub(crate) offset: usize,
    pub(crate) marker: Option<String>,
    /// The whole of it without the marker, for the next page.
    pub(crate) whole: String,
}

/// Reads a query; `None` where nothing of it is ours. In words, what of ours is wrong.
pub(crate) fn read(query: &str) -> Option<Result<Query, String>> {
    let pairs: Vec<Pair<'_>> = query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(Pair::of)
        .collect();
    pairs.iter().any(Pair::is_ours).then(|| taken(&pairs))
}

struct Pair<'a> {
    raw: &'a str,
    key: String,
    value: String,
}

impl<'a> Pair<'a> {
    fn of(raw: &'a str) -> Self {
        let (key, value) = raw.split_once('=').unwrap_or((raw, ""));
        Self {
            raw,
            key: percent::of_form(key),
            value: percent::of_form(value),
        }
    }

    fn is_ours(&self) -> bool {
        match self.key.as_str() {
            "sort" => self.value.split(',').any(|s| s.trim().starts_with(PREFIX)),
            "sort_key" => self.value.trim().starts_with(PREFIX),
            key => key.starts_with(PREFIX),
        }
    }
}

fn taken(pairs: &[Pair<'_>]) -> Result<Query, String> {
    let mut query = Query {
        filters: Vec::new(),
        order: Vec::new(),
        rest: String::new(),
        limit: PAGE,
        offset: 0,
        marker: None,
        whole: String::new(),
    };
    let has = |key: &str| pairs.iter().any(|p| p.key == key);
    if has("sort") && (has("sort_key") || has("sort_dir")) {
        return Err("sort does not go with sort_key and sort_dir".to_owned());
    }
    let sorts = pairs.iter().any(|p| p.key == "sort_key" && p.is_ours());
    let mut seen: Vec<&str> = Vec::new();
    for pair in pairs {
        // Of what is ours or the page's, two are two readings.
        let single = pair.is_ours()
            || ["limit", "offset", "marker", "sort", "sort_dir"].contains(&&*pair.key);
        if single && seen.contains(&&*pair.key) {
            return Err(format!("{} is given twice", pair.key));
        }
        seen.push(&pair.key);
        let number = || {
            let number = pair.value.trim().parse::<usize>();
            number.map_err(|_| format!("{} is a number", pair.key))
        };
        match pair.key.as_str() {
            "limit" => query.limit = number()?.min(PAGE),
            "offset" => query.offset = number()?,
            "marker" => {
                query.marker = Some(pair.value.clone());
                continue;
            }
            "sort" => sort(&pair.value, &mut query)?,
            "sort_key" if pair.is_ours() => {
                let dir = pairs.iter().find(|p| p.key == "sort_dir");
                let dir = direction(dir.map(|d| d.value.trim()))?;
                query.order.push((field(pair.value.trim())?, dir));
            }
            // It belongs to the key above.
            "sort_dir" if sorts => {}
            key if key.starts_with(PREFIX) => {
                let filter = Filter::read(field(key)?, &pair.value)?;
                query.filters.push(filter);
            }
            _ => add(&mut query.rest, pair.raw),
        }
        add(&mut query.whole, pair.raw);
    }
    Ok(query)
}

fn add(to: &mut String, pair: &str) {
    if !to.is_empty() {
        to.push('&');
    }
    to.push_str(pair);
}

/// `rekindle:status:asc,name`: ours, then Cinder's.
fn sort(value: &str, query: &mut Query) -> Result<(), String> {
    let mut cinders: Vec<&str> = Vec::new();
    for one in value.split(',').map(str::trim) {
        let Some(ours) = one.strip_prefix(PREFIX) else {
            cinders.push(one);
            continue;
        };
        if !cinders.is_empty() {
            return Err(format!("sort: {one} goes before Cinder's own fields"));
        }
        let (name, dir) = match ours.split_once(':') {
            Some((name, dir)) => (name, Some(dir.trim())),
            None => (ours, None),
        };
        let field = field(&format!("{PREFIX}{}", name.trim()))?;
        query.order.push((field, direction(dir)?));
        if query.order.len() > ORDERS {
            return Err(format!("sort: no more than {ORDERS} fields of {PREFIX}"));
        }
    }
    if !cinders.is_empty() {
        add(
            &mut query.rest,
            &format!("sort={}", encoded(&cinders.join(","))),
        );
    }
    Ok(())
}

fn field(key: &str) -> Result<Field, String> {
    let found = Field::ALL.into_iter().find(|f| f.key() == key);
    found.ok_or_else(|| {
        let all = Field::ALL.map(Field::key).join(", ");
        format!("there is no field {key}: there are {all}")
    })
}

/// Falling where it is not said, as with Cinder.
fn direction(given: Option<&str>) -> Result<Direction, String> {
    match given {
        Some("asc") => Ok(Direction::Rising),
        Some("desc" | "") | None => Ok(Direction::Falling),
        Some(other) => Err(format!("sort: {other:?} is neither asc nor desc")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ours(query: &str) -> Query {
        read(query).unwrap().unwrap()
    }

    #[test]
    fn a_query_without_our_fields_is_cinders() {
        for query in [
            "",
            "limit=2&marker=x",
            "sort=name:asc,status",
            "metadata=%7B%27rekindle:status%27:+%27x%27%7D",
            "name=rekindle:status",
            "sort_key=name&sort_dir=asc",
        ] {
            assert_eq!(read(query), None, "{query}");
        }
    }

    #[test]
    fn ours_are_taken_out_and_the_rest_is_cinders_as_it_was() {
        let query = ours(
            "all_tenants=1&rekindle:status=active+-+primary&limit=10&name=a%2Fb&marker=m&offset=2&with_count=1",
        );
        assert_eq!(
            query.filters,
            [Filter::Shows(
                Field::Status,
                Some("active - primary".to_owned())
            )]
        );
        assert_eq!(query.rest, "all_tenants=1&name=a%2Fb&with_count=1");
        assert_eq!((query.limit, query.offset), (10, 2));
        assert_eq!(query.marker.as_deref(), Some("m"));
        assert_eq!(
            query.whole,
            "all_tenants=1&rekindle:status=active+-+primary&limit=10&name=a%2Fb&offset=2&with_count=1"
        );
        let query = ours("rekindle%3Amode=once&rekindle:peer=none&limit=5000");
        assert_eq!(
            query.filters,
            [
                Filter::Shows(Field::Mode, Some("once".to_owned())),
                Filter::Shows(Field::Peer, None)
            ]
        );
        assert_eq!((query.limit, query.rest.as_str()), (PAGE, ""));
    }

    #[test]
    fn an_order_is_ours_first_and_then_cinders() {
        use Direction::{Falling, Rising};
        let query = ours("sort=rekindle:status:asc,rekindle:lag,created_at:desc,id");
        assert_eq!(
            query.order,
            [(Field::Status, Rising), (Field::Lag, Falling)]
        );
        assert_eq!(query.rest, "sort=created_at%3Adesc,id");
        let query = ours("sort_key=rekindle:last_sync&sort_dir=asc&name=x");
        assert_eq!(query.order, [(Field::LastSync, Rising)]);
        assert_eq!(query.rest, "name=x");
        let query = ours("rekindle:mode=once&sort_key=name&sort_dir=asc");
        assert_eq!(query.rest, "sort_key=name&sort_dir=asc");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (query, word) in [
            ("rekindle:status=active", "no status"),
            ("rekindle:status=", "no status"),
            ("rekindle:mode=often", "instant"),
            ("rekindle:peer=a%20b", "zone"),
            ("rekindle:lag=1", "rekindle:lag: \"1\""),
            ("rekindle:last_sync=gt:noon", "rekindle:last_sync: \"noon\""),
            ("rekindle:speed=1", "there are"),
            ("rekindle:mode=once&rekindle:mode=instant", "twice"),
            ("rekindle:mode=once&limit=1&limit=2", "twice"),
            ("rekindle:mode=once&limit=-1", "number"),
            ("rekindle:mode=once&offset=x", "number"),
            ("sort=name,rekindle:status", "before"),
            ("sort=rekindle:status:up", "asc"),
            ("sort=rekindle:status&sort_dir=asc", "sort_key"),
        ] {
            let why = read(query).unwrap().unwrap_err();
            assert!(why.contains(word), "{query}: {why}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read(query in ".{0,80}", near in "(rekindle:|sort=rekindle:|%)[a-z%&=:,0-9]{0,40}") {
            let _ = read(&query);
            let _ = read(&near);
        }
    }
}
