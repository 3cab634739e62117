//! The store in etcd: one connection for each member, tried one after the other.
//!
//! etcd-client's own balancer would spread calls over all members and hang on one that is stopped. Here each call goes to the
//! first member in the configured order that answered lately (so the local one comes first), has a time limit for each
//! member, and moves on where that is safe: always for reads and renewals, and for a transaction only while it is certain
//! that nothing was sent.

mod config;
mod members;
mod watch;

use crate::{
    Compare, KeyValue, LeaseId, Listing, Op, Renewal, Revision, StoreError, Txn, TxnOutcome,
};
pub use config::{EtcdConfig, TlsFiles};
use etcd_client as etcd;
use members::{Failure, Members};
use std::{fmt, sync::Arc};
pub use watch::EtcdWatch;

/// A handle on an etcd cluster.
#[derive(Clone)]
pub struct EtcdStore {
    members: Arc<Members>,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").finish_non_exhaustive()
    }
}

fn key_value(kv: &etcd::KeyValue) -> Result<KeyValue, Failure> {
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

fn revision(header: Option<&etcd::ResponseHeader>) -> Result<Revision, Failure> {
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

impl EtcdStore {
    /// Reads the certificates and makes a connection for each member; none is contacted yet.
    ///
    /// # Errors
    /// [`StoreError::Config`].
    pub async fn connect(config: &EtcdConfig) -> Result<Self, StoreError> {
        Ok(Self {
            members: Arc::new(Members::new(config).await?),
        })
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.members
            .ask("get", async |mut c| {
                let answer = c.kv.get(key, None).await?;
                answer.kvs().first().map(key_value).transpose()
            })
            .await
    }

    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listing, StoreError> {
        let mut start = match after {
            Some(after) if after >= prefix => format!("{after}\0").into_bytes(),
            _ => prefix.as_bytes().to_vec(),
        };
        if start.is_empty() {
            start.push(0);
        }
        self.members
            .ask("list", async |mut c| {
                let options = etcd::GetOptions::new()
                    .with_range(prefix_end(prefix))
                    .with_limit(i64::from(limit).max(1));
                let answer = c.kv.get(start.clone(), Some(options)).await?;
                let mut items = answer
                    .kvs()
                    .iter()
                    .map(key_value)
                    .collect::<Result<Vec<_>, _>>()?;
                // For etcd a limit of 0 means none.
                items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                Ok(Listing {
                    more: answer.more() || (limit == 0 && !answer.kvs().is_empty()),
                    revision: revision(answer.header())?,
                    items,
                })
            })
            .await
    }

    pub(crate) async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.members
            .change("txn", async |mut c| {
                let mut compared: Vec<&str> = txn.compares.iter().map(Compare::key).collect();
                compared.sort_unstable();
                compared.dedup();
                let request = etcd::Txn::new()
                    .when(txn.compares.iter().map(compare).collect::<Vec<_>>())
                    .and_then(txn.ops.iter().map(op).collect::<Vec<_>>())
                    .or_else(
                        compared
                            .into_iter()
                            .map(|key| etcd::TxnOp::get(key, None))
                            .collect::<Vec<_>>(),
                    );
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
            })
            .await
    }

    pub(crate) async fn grant(&self, ttl: u32) -> Result<LeaseId, StoreError> {
        // A second grant after a lost answer is harmless: a lease without keys ends by itself.
        self.members
            .ask("grant", async |mut c| {
                let answer = c.lease.grant(i64::from(ttl), None).await?;
                Ok(LeaseId(answer.id()))
            })
            .await
    }

    pub(crate) async fn renew(&self, lease: LeaseId) -> Result<Renewal, StoreError> {
        self.members
            .ask("renew", async |mut c| {
                let (mut keeper, mut answers) = match c.lease.keep_alive(lease.0).await {
                    Ok(both) => both,
                    // etcd-client's word for a time to live of nought, its only use of this error before a first answer.
                    Err(etcd::Error::LeaseKeepAliveError(why)) if why == "lease not found" => {
                        return Ok(Renewal::Gone);
                    }
                    Err(e) => return Err(e.into()),
                };
                // The first answer, which carries the time to live, is not given out: ask once more on the same stream.
                keeper.keep_alive().await?;
                let ttl = match answers.message().await? {
                    Some(answer) => answer.ttl(),
                    None => return Err(Failure::Lost("the renewal's stream ended".to_owned())),
                };
                let Some(ttl) = u32::try_from(ttl).ok().filter(|ttl| *ttl > 0) else {
                    return Ok(Renewal::Gone);
                };
                // A leader that was cut off from the majority goes on renewing until it notices. This read does notice.
                c.kv.get(rekindle_common::keys::LEADER, Some(count_only()))
                    .await?;
                Ok(Renewal::Renewed { ttl })
            })
            .await
    }

    pub(crate) async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let revoked = self
            .members
            .ask("revoke", async |mut c| {
                c.lease.revoke(lease.0).await?;
                Ok(())
            })
            .await;
        match revoked {
            Err(StoreError::LeaseGone { .. }) => Ok(()),
            other => other,
        }
    }

    pub(crate) async fn healthy(&self) -> Result<(), StoreError> {
        self.members
            .ask("healthy", async |mut c| {
                c.kv.get(rekindle_common::keys::LEADER, Some(count_only()))
                    .await?;
                Ok(())
            })
            .await
    }

    pub(crate) fn watch(&self, prefix: &str, from: Revision) -> EtcdWatch {
        EtcdWatch::start(Arc::clone(&self.members), prefix.to_owned(), from)
    }
}

fn count_only() -> etcd::GetOptions {
    etcd::GetOptions::new().with_count_only()
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
