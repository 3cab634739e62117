//! A server's record that a person brings, kept as the group's own: for one that was never built, which no Nova can show, and for one whose zone is
//! gone before it was ever looked at. Where Nova can be asked, the keeper's next round has the last word.

use super::{Term, groups::lead_error};
use crate::{
    wire::{RecordEffect, RecordPut},
    world::GroupRecords,
};
use rekindle_common::{
    ApiError, ErrorCode, GroupName, ServerKey, ZoneName, keys,
    runbook::RunbookServer,
    servers::{KeptServer, ServerRecord, diff::diff},
};
use rekindle_store::{Compare, KeyValue, Op, Txn};

type Result<T> = std::result::Result<T, ApiError>;

fn held(why: String) -> ApiError {
    ApiError::new(ErrorCode::Held, why)
}

fn bad(field: &str, why: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidField, why).at(field)
}

impl Term {
    /// Keeps a record of one of the group's servers.
    ///
    /// # Errors
    /// [`ApiError`]; `held` where a newer one is kept, or another server's; `plan_active`.
    pub async fn put_record(
        &self,
        group: &GroupName,
        key: &ServerKey,
        record: ServerRecord,
    ) -> Result<RecordPut> {
        let world = self.look().await?;
        let records = self.group_of(&world, group)?;
        if let Some(plan) = &records.active_plan {
            let why = format!("plan {plan} is at work on it");
            return Err(ApiError::new(ErrorCode::PlanActive, why));
        }
        let Some(server) = records.spec.runbook.servers().find(|s| s.key == *key) else {
            let why =
                format!("group {group} has no server {key} in its runbook: put it there first");
            return Err(bad("server", why));
        };
        let Some(primary) = &records.primary else {
            return Err(held(format!("group {group} has no primary yet: ask again")));
        };
        let zone = &primary.value.zone;
        if record.zone != *zone {
            let why = format!(
                "the record has the names of {}, and the group serves in {zone}: only a record from there is kept",
                record.zone
            );
            return Err(bad("zone", why));
        }
        let at = keys::kept_server(group, key);
        let found = self.lead.store().get(&at).await?;
        let old: Option<KeptServer> = found.as_ref().map(KeyValue::json).transpose()?;
        fits(records, server, old.as_ref(), &record)?;
        let (new, put) = beside(key, old, record)?;
        if put.effect == RecordEffect::Unchanged {
            return Ok(put);
        }
        let is_as_read = match &found {
            Some(kv) => Compare::ModRevision(at.clone(), kv.mod_revision),
            None => Compare::Absent(at.clone()),
        };
        let txn = Txn::new()
            .when(is_as_read)
            .when(Compare::ModRevision(
                keys::group_spec(group),
                records.spec_revision,
            ))
            .when(Compare::ModRevision(
                keys::group_primary(group),
                primary.revision,
            ))
            .when(Compare::Absent(keys::group_active_plan(group)))
            .then(Op::put_json(&at, &new, None)?);
        self.lead.txn(txn).await.map_err(lead_error)?;
        tracing::info!(%group, server = %key, effect = ?put.effect, "a server's record was imported");
        Ok(put)
    }
}

/// Whether the record is that server's, by what is known of it in the zone where the group serves.
fn fits(
    group: &GroupRecords,
    server: &RunbookServer,
    kept: Option<&KeptServer>,
    record: &ServerRecord,
) -> Result<()> {
    let key = &server.key;
    let zone: &ZoneName = &record.zone;
    let by_runbook = server.server.as_ref().filter(|_| *zone == group.spec.home);
    let instance = kept.and_then(|k| k.instances.get(zone)).map(|i| &i.id);
    match (instance.or(by_runbook), &record.id) {
        (None, None) => Ok(()),
        (Some(is), Some(id)) if is == id => Ok(()),
        (Some(is), Some(id)) => Err(held(format!(
            "{key} is {is} in {zone}, and this is the record of {id}"
        ))),
        (Some(is), None) => Err(held(format!(
            "{key} is {is} in {zone}, and this record names no server: its record is taken from Nova, or write \"id\": \"{is}\" into it"
        ))),
        (None, Some(id)) => Err(held(format!(
            "this is the record of a server that was built, {id}: name it in the runbook (server = \"{id}\"), and its record is taken from Nova"
        ))),
    }
}

/// The record beside what is kept. An import does not go back in time.
fn beside(
    key: &ServerKey,
    old: Option<KeptServer>,
    record: ServerRecord,
) -> Result<(KeptServer, RecordPut)> {
    let Some(old) = old else {
        let new = KeptServer {
            key: key.clone(),
            record,
            instances: Default::default(),
            trouble: None,
        };
        let put = RecordPut {
            effect: RecordEffect::New,
            changes: Vec::new(),
        };
        return Ok((new, put));
    };
    if old.record.taken_at > record.taken_at {
        return Err(held(format!(
            "what is kept of {key} is as of {}, later than this ({})",
            old.record.taken_at, record.taken_at
        )));
    }
    let changes: Vec<String> = diff(&old.record, &record)
        .iter()
        .map(ToString::to_string)
        .collect();
    // One in another zone's names is never the same.
    let same = changes.is_empty() && old.record.zone == record.zone;
    let effect = if same {
        RecordEffect::Unchanged
    } else {
        RecordEffect::Changed
    };
    Ok((KeptServer { record, ..old }, RecordPut { effect, changes }))
}
