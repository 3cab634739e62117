//! One call to one member: our types to etcd's and back.

use super::members::{Clients, Failure};
use crate::{Compare, KeyValue, LeaseId, Listing, Op, Renewal, Revision, Txn, TxnOutcome};
use etcd_client as etcd;

pub(super) fn key_value(kv: &etcd::KeyValue) -> Result<KeyValue, Failure> {
    let key = std::str::from_utf8(kv.key())
        .map_err(|_| Failure::Refused("a key is no UTF-8".to_owned()))?;
    Ok(KeyValue {
        key: key.to_owned(),
        value: kv.value().to_vec(),
        create_revision: Revision(kv.create_revision()),
        mod_revision: Revision(kv.mod_revision()),
        lease: (kv.lease() != 0).then(|| LeaseId(kv.lease())),
    })
}

pub(super) fn revision(header: Option<&etcd::ResponseHeader>) -> Result<Revision, Failure> {
    header
        .map(|h| Revision(h.revision()))
        .ok_or_else(|| Failure::Refused("the answer has no header".to_owned()))
}

fn compare(c: &Compare) -> etcd::Compare {
    match c {
        Compare::Absent(key) => {
            etcd::Compare::create_revision(key.as_str(), etcd::CompareOp::Equal, 0)
        }
        Compare::CreateRevision(key, r) => {
            etcd::Compare::create_revision(key.as_str(), etcd::CompareOp::Equal, r.0)
        }
        Compare::ModRevision(key, r) => {
            etcd::Compare::mod_revision(key.as_str(), etcd::CompareOp::Equal, r.0)
        }
    }
}

fn op(op: &Op) -> etcd::TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|l| etcd::PutOptions::new().with_lease(l.0));
            etcd::TxnOp::put(key.as_str(), value.clone(), options)
        }
        Op::Delete { key } => etcd::TxnOp::delete(key.as_str(), None),
        Op::DeletePrefix { prefix } => etcd::TxnOp::delete(
            prefix.as_str(),
            Some(etcd::DeleteOptions::new().with_prefix()),
        ),
    }
}

/// The end of the range of all keys that start with `prefix`: the prefix with its last byte one up.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 has no byte 0xff, so there is nothing to carry; an empty prefix means all keys.
    match end.last_mut() {
        Some(last) => *last = last.saturating_add(1),
        None => end.push(0),
    }
    end
}

pub(super) fn count_only() -> etcd::GetOptions {
    etcd::GetOptions::new().with_count_only()
}

/// A linearizable read of next to nothing: it is answered only where a majority stands behind the member.
pub(super) async fn quorum(mut c: Clients) -> Result<(), Failure> {
    c.kv.get(rekindle_common::keys::LEADER, Some(count_only()))
        .await?;
    Ok(())
}

/// etcd's word for a revision whose past is gone already.
const COMPACTED: &str = "has been compacted";

pub(super) async fn compact(mut c: Clients, before: Revision) -> Result<(), Failure> {
    match c.kv.compact(before.0, None).await {
        Ok(_) => Ok(()),
        Err(etcd::Error::GRpcStatus(s)) if s.message().contains(COMPACTED) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

pub(super) async fn get(mut c: Clients, key: &str) -> Result<Option<KeyValue>, Failure> {
    let answer = c.kv.get(key, None).await?;
    answer.kvs().first().map(key_value).transpose()
}

pub(super) async fn list(
    mut c: Clients,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Listing, Failure> {
    let mut start = match after {
        Some(after) if after >= prefix => format!("{after}\0").into_bytes(),
        _ => prefix.as_bytes().to_vec(),
    };
    if start.is_empty() {
        start.push(0);
    }
    // For etcd a limit of nought means none.
    let options = etcd::GetOptions::new()
        .with_range(prefix_end(prefix))
        .with_limit(i64::from(limit).max(1));
    let answer = c.kv.get(start, Some(options)).await?;
    let mut items = Vec::with_capacity(answer.kvs().len());
    for kv in answer.kvs() {
        items.push(key_value(kv)?);
    }
    let read = items.len();
    items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Listing {
        more: answer.more() || items.len() < read,
        revision: revision(answer.header())?,
        items,
    })
}

pub(super) async fn txn(mut c: Clients, txn: &Txn) -> Result<TxnOutcome, Failure> {
    let mut compared = Vec::with_capacity(txn.compares.len());
    let mut when = Vec::with_capacity(txn.compares.len());
    for one in &txn.compares {
        when.push(compare(one));
        if !compared.contains(&one.key()) {
            compared.push(one.key());
        }
    }
    let mut then = Vec::with_capacity(txn.ops.len());
    for one in &txn.ops {
        then.push(op(one));
    }
    let mut look = Vec::with_capacity(compared.len());
    for key in compared {
        look.push(etcd::TxnOp::get(key, None));
    }
    let request = etcd::Txn::new().when(when).and_then(then).or_else(look);
    let answer = c.kv.txn(request).await?;
    if answer.succeeded() {
        return Ok(TxnOutcome::Applied {
            revision: revision(answer.header())?,
        });
    }
    let mut found = Vec::new();
    for response in answer.op_responses() {
        if let etcd::TxnOpResponse::Get(get) = response {
            for kv in get.kvs() {
                found.push(key_value(kv)?);
            }
        }
    }
    Ok(TxnOutcome::Refused { found })
}

pub(super) async fn grant(mut c: Clients, ttl: u32) -> Result<LeaseId, Failure> {
    let answer = c.lease.grant(i64::from(ttl), None).await?;
    Ok(LeaseId(answer.id()))
}

pub(super) async fn renew(mut c: Clients, lease: LeaseId) -> Result<Renewal, Failure> {
    let (mut keeper, mut answers) = match c.lease.keep_alive(lease.0).await {
        Ok(both) => both,
        // etcd-client's word for a time to live of nought.
        Err(etcd::Error::LeaseKeepAliveError(why)) if why == "lease not found" => {
            return Ok(Renewal::Gone);
        }
        Err(e) => return Err(e.into()),
    };
    // etcd-client keeps the first answer, and with it the time to live, to itself: ask once more on the same stream.
    keeper.keep_alive().await?;
    let ttl = match answers.message().await? {
        Some(answer) => answer.ttl(),
        None => return Err(Failure::Lost("the renewal's stream ended".to_owned())),
    };
    let Some(ttl) = u32::try_from(ttl).ok().filter(|ttl| *ttl > 0) else {
        return Ok(Renewal::Gone);
    };
    // A leader that was cut off from the majority goes on renewing until it notices. This read does notice.
    quorum(c).await?;
    Ok(Renewal::Renewed { ttl })
}

pub(super) async fn remaining(mut c: Clients, lease: LeaseId) -> Result<Renewal, Failure> {
    let answer = c.lease.time_to_live(lease.0, None).await?;
    // Whole seconds, cut off: less than the truth, which is the safe side. Of a lease that is gone it says -1.
    let left = u32::try_from(answer.ttl()).ok().filter(|ttl| *ttl > 0);
    quorum(c).await?;
    Ok(match left {
        Some(ttl) => Renewal::Renewed { ttl },
        None => Renewal::Gone,
    })
}

pub(super) async fn revoke(mut c: Clients, lease: LeaseId) -> Result<(), Failure> {
    c.lease.revoke(lease.0).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn a_prefix_ends_where_its_last_byte_is_one_up() {
        assert_eq!(prefix_end("/a/"), b"/a0");
        assert_eq!(prefix_end(""), b"\0");
    }
}
