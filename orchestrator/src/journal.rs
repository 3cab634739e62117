//! A plan's journal in etcd: what was intended, and what came of it.
//!
//! Record `n` is put in a transaction that compares the leader's key and that record `n` is absent, so two executors can never
//! both go on from the same place. An answer that was lost is settled by reading the record back.

mod stored;

pub use stored::{TooLarge, Unwritable, put as put_plan};

use crate::{
    coordination::{Lead, LeadError},
    wire::Problem,
    world,
};
use backon::{BackoffBuilder, ExponentialBuilder};
use rekindle_common::{ErrorCode, PlanId, keys};
use rekindle_core::{
    plan::Plan,
    saga::{Record, Saga},
};
use rekindle_store::{Compare, Op, Store, StoreError, Txn};
use std::time::Duration;
use tokio::time::sleep;

/// More records than this are no plan of ours: a plan has some dozens, and two more for each retry.
const MAX_RECORDS: usize = 10_000;

/// The most plans that are walked over.
const MAX_PLANS: usize = 5000;

/// Why a journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// This orchestrator leads no more: stop at once.
    #[error("this orchestrator leads no more")]
    Lost,
    /// The plan or its journal is not what it should be. Nothing is done on it.
    #[error("{about}: {message}")]
    Corrupted {
        /// The key or the plan.
        about: String,
        /// What is wrong.
        message: String,
    },
    /// There is no such plan.
    #[error("there is no plan {0}")]
    Unknown(PlanId),
    /// Another has written this record: the journal has to be read anew.
    #[error("record {seq} was written by another")]
    Overtaken {
        /// Its number.
        seq: usize,
    },
    /// etcd did not do it for a reason that waiting does not mend.
    #[error("the journal was not written")]
    Store(#[source] StoreError),
}

impl JournalError {
    /// For the status.
    #[must_use]
    pub fn problem(&self, plan: &PlanId) -> Problem {
        let (code, about, message) = match self {
            Self::Lost => (ErrorCode::NotLeader, plan.to_string(), self.to_string()),
            Self::Corrupted { about, message } => {
                (ErrorCode::CorruptRecord, about.clone(), message.clone())
            }
            Self::Unknown(_) => (ErrorCode::UnknownPlan, plan.to_string(), self.to_string()),
            Self::Overtaken { .. } => (ErrorCode::Internal, plan.to_string(), self.to_string()),
            Self::Store(e) => return world::problem(&keys::plan_journal(plan), e),
        };
        Problem {
            code,
            about,
            message,
        }
    }
}

/// All plans' ids, oldest first. One small read a plan: a journal's first record sorts before its plan.
///
/// # Errors
/// [`StoreError`].
pub async fn ids(store: &Store) -> Result<Vec<PlanId>, StoreError> {
    let mut ids = Vec::new();
    let mut after: Option<String> = None;
    while ids.len() < MAX_PLANS {
        let page = store.list_after(keys::PLANS, after.as_deref(), 1).await?;
        let Some(kv) = page.items.into_iter().next() else {
            break;
        };
        let rest = kv.key.strip_prefix(keys::PLANS).unwrap_or_default();
        let name = rest.split('/').next().unwrap_or_default();
        // Behind the last key that a plan can have: the next one is another plan's.
        after = Some(format!("{}{name}/~", keys::PLANS));
        if let Ok(id) = PlanId::new(name) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Forgets the oldest plans beyond the newest `keep`, a few at a time, so that the history does not fill etcd. A plan at work,
/// one that waits for a person, and one that cannot be read are kept whatever their age, and keep no other.
///
/// # Errors
/// [`JournalError`].
pub async fn prune(lead: &Lead, keep: usize) -> Result<Vec<PlanId>, JournalError> {
    const AT_ONCE: usize = 20;
    // Each is read whole, and the leader waits for it.
    const LOOKED_AT: usize = 500;
    let store = lead.store();
    let ids = ids(store).await.map_err(JournalError::Store)?;
    let beyond = ids.len().saturating_sub(keep).min(LOOKED_AT);
    let mut gone = Vec::new();
    for id in ids.into_iter().take(beyond) {
        if gone.len() == AT_ONCE {
            break;
        }
        // What cannot be read is for a person to look at, not to be forgotten.
        let (Ok(plan), Ok(records)) = (read_plan(store, &id).await, read_records(store, &id).await)
        else {
            continue;
        };
        let ended = replay(&plan, &records)
            .is_ok_and(|saga| matches!(saga.state(), rekindle_core::saga::State::Ended { .. }));
        if !ended {
            continue;
        }
        let prefix = format!("{}{id}/", keys::PLANS);
        let txn = Txn::new().then(Op::DeletePrefix { prefix });
        match lead.txn(txn).await {
            Ok(_) => gone.push(id),
            Err(LeadError::Lost) => return Err(JournalError::Lost),
            Err(LeadError::Refused { .. }) => {}
            Err(LeadError::Store(e)) => return Err(JournalError::Store(e)),
        }
    }
    Ok(gone)
}

/// Reads a plan.
///
/// # Errors
/// [`JournalError`]; `Unknown` where there is none.
pub async fn read_plan(store: &Store, id: &PlanId) -> Result<Plan, JournalError> {
    let key = keys::plan(id);
    let kv = store
        .get(&key)
        .await
        .map_err(JournalError::Store)?
        .ok_or_else(|| JournalError::Unknown(id.clone()))?;
    let plan = stored::read(&kv).map_err(|e| corrupted(&key, &e))?;
    if plan.id != *id {
        return Err(JournalError::Corrupted {
            about: key,
            message: format!("it is the plan {}", plan.id),
        });
    }
    Ok(plan)
}

/// Reads a plan's records, in order and without a gap.
///
/// # Errors
/// [`JournalError`].
pub async fn read_records(store: &Store, id: &PlanId) -> Result<Vec<Record>, JournalError> {
    let listed = world::list(store, &keys::plan_journal(id))
        .await
        .map_err(JournalError::Store)?;
    if listed.len() > MAX_RECORDS {
        return Err(JournalError::Corrupted {
            about: keys::plan_journal(id),
            message: format!("it has more than {MAX_RECORDS} records"),
        });
    }
    let mut records = Vec::with_capacity(listed.len());
    for kv in listed {
        let expected = record_key(id, records.len())?;
        if kv.key != expected {
            return Err(JournalError::Corrupted {
                about: expected,
                message: format!("the record is missing; the next one is {}", kv.key),
            });
        }
        records.push(kv.json().map_err(|e| corrupted(&kv.key, &e))?);
    }
    Ok(records)
}

/// Replays a journal.
///
/// # Errors
/// [`JournalError::Corrupted`] names the record.
pub fn replay<'a>(plan: &'a Plan, records: &[Record]) -> Result<Saga<'a>, JournalError> {
    Saga::replay(plan, records).map_err(|e| JournalError::Corrupted {
        about: keys::plan_journal(&plan.id),
        message: e.to_string(),
    })
}

/// Writes record `seq`, with further changes in the same transaction.
///
/// Waits while etcd is away, for as long as this orchestrator leads.
///
/// # Errors
/// [`JournalError`].
pub async fn append(
    lead: &Lead,
    plan: &PlanId,
    seq: usize,
    record: &Record,
    with: Vec<Op>,
) -> Result<(), JournalError> {
    let key = record_key(plan, seq)?;
    let put = Op::put_json(&key, record, None).map_err(JournalError::Store)?;
    let mut txn = Txn::new().when(Compare::Absent(key.clone())).then(put);
    txn.ops.extend(with);
    let mut pauses = pauses();
    loop {
        match lead.txn(txn.clone()).await {
            Ok(_) => return Ok(()),
            Err(LeadError::Lost) => return Err(JournalError::Lost),
            // Ours from an attempt whose answer was lost, or another's.
            Err(LeadError::Refused { found }) => {
                let ours = found
                    .iter()
                    .any(|kv| kv.key == key && kv.json::<Record>().is_ok_and(|r| r == *record));
                return if ours {
                    Ok(())
                } else {
                    Err(JournalError::Overtaken { seq })
                };
            }
            // Sent again with the same comparison, so that it is made once whatever became of the first.
            Err(LeadError::Store(e)) if e.retryable() || e.outcome_unknown() => {
                tracing::debug!(plan.id = %plan, seq, error = %e, "the journal was not written; once more");
            }
            Err(LeadError::Store(e)) => return Err(JournalError::Store(e)),
        }
        sleep(pauses.next().unwrap_or(Duration::from_secs(2))).await;
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .build()
}

fn record_key(plan: &PlanId, seq: usize) -> Result<String, JournalError> {
    match u32::try_from(seq) {
        Ok(seq) => Ok(keys::plan_journal_record(plan, seq)),
        Err(_) => Err(JournalError::Corrupted {
            about: keys::plan_journal(plan),
            message: "it is too long".to_owned(),
        }),
    }
}

fn corrupted(key: &str, e: &StoreError) -> JournalError {
    let p = world::problem(key, e);
    if p.code == ErrorCode::CorruptRecord {
        JournalError::Corrupted {
            about: p.about,
            message: p.message,
        }
    } else {
        JournalError::Corrupted {
            about: key.to_owned(),
            message: e.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
