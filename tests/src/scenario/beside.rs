//! The same requests to Cinder itself and through the gateway, and what of the answers differs that may not.
//!
//! What a request makes is made twice, once by each side, and goes by the same name in both from then on. So what follows it is asked
//! of two things alike, and a list that shows both is the same list.

use super::{
    gateway::without_fields,
    http::{Answer, exchange},
    wait::{Look, until},
};
use crate::recorded::{Recorded, Until, filled};
use anyhow::{Context, anyhow};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

/// For what Cinder does behind a call.
const SOON: Duration = Duration::from_secs(120);
/// What is another one in each answer, or of its connection alone.
const EACH_ITS_OWN: [&str; 7] = [
    "date",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "x-openstack-request-id",
    "x-compute-request-id",
];
/// Those of them that both sides have, or none.
const IDS: [&str; 2] = ["x-openstack-request-id", "x-compute-request-id"];
/// A look is repeated so often before its answers differ.
const LOOKS: usize = 4;
/// Of so many differences there is no need for more.
const ENOUGH: usize = 40;

type Names = BTreeMap<String, String>;

/// Who answers, and what each request finds there.
#[derive(Debug)]
pub struct Beside {
    /// Cinder's, and the gateway's.
    addresses: [SocketAddr; 2],
    /// What both sides know by one name.
    shared: Names,
    /// What each has made, or is to use, for itself.
    own: [Names; 2],
    /// What was found.
    pub seen: Seen,
}

/// The count.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests.
    pub asked: usize,
    /// Answers by status.
    pub by_status: BTreeMap<u16, usize>,
    /// What may not be.
    pub differences: Vec<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, by status {:?}", self.asked, self.by_status)?;
        self.differences.iter().try_for_each(|d| write!(f, "\n{d}"))
    }
}

impl Beside {
    /// Cinder and the gateway in front of it, and what both are to know by one name.
    #[must_use]
    pub fn new(addresses: [SocketAddr; 2], shared: &[(&str, &str)]) -> Self {
        let side = |name: &str| Names::from([("side".to_owned(), name.to_owned())]);
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Self {
            addresses,
            shared: shared.iter().map(owned).collect(),
            own: [side("on-this-side"), side("on-that-side")],
            seen: Seen::default(),
        }
    }

    /// Sends them one after the other. `file` is where they stand.
    ///
    /// # Errors
    /// There is no answer, or a request needs what an earlier one should have made.
    pub async fn compare(&mut self, file: &str, requests: &[Recorded]) -> anyhow::Result<()> {
        for request in requests {
            let Recorded {
                line,
                method,
                target,
                ..
            } = request;
            let here = || format!("{file}:{line}: {method} {target}");
            let (answers, found) = self.settled(request).await.with_context(here)?;
            let found = found.iter().map(|f| format!("{}: {f}", here()));
            self.seen.differences.extend(found);
            self.seen.asked += 1;
            *self.seen.by_status.entry(answers[0].status).or_default() += 1;
            if self.seen.differences.len() >= ENOUGH {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The answers, and what of them differs. What Cinder does by itself between two looks is no difference: looks that differ are
    /// looked at again.
    async fn settled(&mut self, request: &Recorded) -> anyhow::Result<([Answer; 2], Vec<String>)> {
        let mut left = if is_look(request) { LOOKS } else { 1 };
        loop {
            let answers = self.sent(request).await?;
            let mut found = self.keep(request, &answers);
            found.extend(self.differences(request, &answers));
            left -= 1;
            if found.is_empty() || left == 0 {
                return Ok((answers, found));
            }
        }
    }

    /// Keeps for each side what later requests are to use, and says what was not there.
    fn keep(&mut self, request: &Recorded, answers: &[Answer; 2]) -> Vec<String> {
        let mut lacks = Vec::new();
        for (name, at) in &request.keeps {
            for (own, answer) in self.own.iter_mut().zip(answers) {
                let value = said(answer, at).unwrap_or_else(|| {
                    lacks.push(format!("no {at} in {answer:?}"));
                    format!("no-{name}-was-made")
                });
                own.insert(name.clone(), value);
            }
        }
        lacks
    }

    async fn sent(&self, request: &Recorded) -> anyhow::Result<[Answer; 2]> {
        // Looks change nothing: they need not wait for each other.
        if is_look(request) {
            let (direct, through) = tokio::join!(self.by(0, request), self.by(1, request));
            return Ok([direct?, through?]);
        }
        Ok([self.by(0, request).await?, self.by(1, request).await?])
    }

    /// By one side.
    async fn by(&self, side: usize, request: &Recorded) -> anyhow::Result<Answer> {
        let text = self.text(side, request)?;
        let address = self.addresses[side];
        let Some(wanted) = &request.until else {
            return exchange(address, &text).await;
        };
        let what = format!("{} to be answered {wanted:?}", request.target);
        until(&what, SOON, async || -> Look<Answer> {
            let answer = exchange(address, &text)
                .await
                .map_err(|e| format!("{e:#}"))?;
            let met = answer.status == request.status
                && match wanted {
                    Until::Status => true,
                    Until::Says { at, word } => said(&answer, at).as_ref() == Some(word),
                };
            if met { Ok(answer) } else { Err(answer.body) }
        })
        .await
    }

    fn names(&self, side: usize) -> Names {
        let mut all = self.shared.clone();
        all.extend(self.own[side].clone());
        all
    }

    /// The bytes of a request.
    fn text(&self, side: usize, request: &Recorded) -> anyhow::Result<String> {
        let names = self.names(side);
        let fill = |text: &str| filled(text, &names).map_err(|e| anyhow!(e));
        let host = self.addresses[side];
        let target = fill(&request.target)?;
        let mut text = format!("{} {target} HTTP/1.1\r\nHost: {host}\r\n", request.method);
        for (name, value) in &request.fields {
            text.push_str(&format!("{name}: {}\r\n", fill(value)?));
        }
        text.push_str("Connection: close\r\n");
        let body = request.body.as_deref().map(fill).transpose()?;
        if let Some(body) = &body {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        Ok(text + "\r\n" + &body.unwrap_or_default())
    }

    /// What of two answers differs.
    fn differences(&self, request: &Recorded, [direct, through]: &[Answer; 2]) -> Vec<String> {
        let mut found = Vec::new();
        if direct.status != request.status {
            let body: String = direct.body.chars().take(200).collect();
            found.push(format!("Cinder says {}: {body}", direct.status));
        }
        if through.status != direct.status {
            found.push(format!("{} by {through:?}", direct.status));
        }
        let fields = [direct, through].map(|a| self.fields(a));
        if fields[0] != fields[1] {
            found.push(format!("{:?} are {:?}", fields[0], fields[1]));
        }
        let ids = [direct, through].map(|a| IDS.map(|name| a.field(name).is_some()));
        if ids[0] != ids[1] {
            found.push(format!("{IDS:?}: {ids:?}"));
        }
        // Only looks at volumes have more in them.
        let looks = request.method == "GET" && direct.status == 200 && !request.untouched;
        let bodies = [direct, through].map(|a| self.plain(request, &a.body));
        match without_fields(&bodies[1]).filter(|_| looks) {
            Some((_, false)) => found.push(format!("not all fields in {}", through.body)),
            Some((through, true)) => {
                let direct: Option<Value> = serde_json::from_str(&bodies[0]).ok();
                let same = direct.as_ref() == Some(&through);
                found.extend((!same).then(|| format!("{} is {through}", bodies[0])));
            }
            None if bodies[0] != bodies[1] => {
                found.push(format!("{} is {}", bodies[0], bodies[1]));
            }
            None => {}
        }
        found
    }

    /// A body in which both sides' own things go by the same names.
    fn plain(&self, request: &Recorded, body: &str) -> String {
        let mut text = self.named(body);
        let names_own = self.own[0].keys().any(|name| {
            let name = format!("{{{name}}}");
            request.target.contains(&name)
                || request.body.as_ref().is_some_and(|b| b.contains(&name))
        });
        // What two requests did, one behind the other, has two times.
        if names_own || request.of_its_moment || request.method != "GET" {
            text = without_times(&text);
        }
        if request.of_its_moment {
            text = without_numbers(&text);
        }
        text
    }

    fn named(&self, text: &str) -> String {
        let [cinder, gateway] = self.addresses.map(|a| format!("http://{a}"));
        let mut text = text.replace(&gateway, &cinder);
        for (name, value) in self.own.iter().flatten() {
            text = text.replace(value, &format!("{{{name}}}"));
        }
        text
    }

    fn fields(&self, answer: &Answer) -> Vec<(String, String)> {
        let kept = answer
            .fields()
            .filter(|(name, _)| !EACH_ITS_OWN.contains(&name.as_str()));
        let mut all: Vec<_> = kept.map(|(n, v)| (n, self.named(v))).collect();
        all.sort();
        all
    }
}

fn is_look(request: &Recorded) -> bool {
    ["GET", "HEAD", "OPTIONS"].contains(&request.method.as_str())
}

/// The text at that place of an answer.
fn said(answer: &Answer, at: &str) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    let found = at.split('.').try_fold(&body, |value, key| {
        key.parse::<usize>()
            .map_or_else(|_| value.get(key), |n| value.get(n))
    })?;
    Some(
        found
            .as_str()
            .map_or_else(|| found.to_string(), str::to_owned),
    )
}

/// `2026-01-02T03:04:05.678` is `TIME`.
fn without_times(text: &str) -> String {
    const LIKE: &[u8] = b"0000-00-00T00:00:00";
    let is_time = |part: &[u8]| {
        part.len() == LIKE.len()
            && part.iter().zip(LIKE).all(|(b, l)| match l {
                b'0' => b.is_ascii_digit(),
                _ => b == l,
            })
    };
    let mut made = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.as_bytes().get(..LIKE.len()).is_some_and(is_time) {
            made.push_str("TIME");
            rest = &rest[LIKE.len()..];
            if let Some(part) = rest.strip_prefix('.') {
                rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            }
        } else {
            made.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    made
}

/// Each number is `0`.
fn without_numbers(text: &str) -> String {
    let mut made = String::new();
    for c in text.chars() {
        if !(c.is_ascii_digit() || c == '.') {
            made.push(c);
        } else if !made.ends_with('0') {
            made.push('0');
        }
    }
    made
}

#[cfg(test)]
mod tests;
