//! Records kept as a group's own, through the leader.

use super::{ImportPage, Refused};
use crate::{
    commands::record::files::{Place, Stored, StoredRecord},
    error::CliError,
};
use rekindle_common::{ErrorCode, GroupName, ServerKey, servers::ServerRecord};
use rekindle_orchestrator::{
    client::OrchestratorClient,
    wire::{RecordEffect, RecordPut},
};

/// Has each kept. What the leader refuses of one server keeps no other from being kept.
///
/// # Errors
/// [`CliError`] where no leader was reached, or one name is given to several records.
pub(super) async fn put(
    client: &OrchestratorClient,
    group: &GroupName,
    key: Option<&ServerKey>,
    records: Vec<(String, ServerRecord)>,
    mut page: ImportPage,
) -> Result<ImportPage, CliError> {
    if key.is_some() && records.len() > 1 {
        let message = format!(
            "--as names one server, and there are {} records",
            records.len()
        );
        return Err(CliError::usage(message).advise("--server NAME takes one of them"));
    }
    for (address, record) in records {
        let named = match key {
            Some(key) => Ok(key.clone()),
            None => ServerKey::new(&record.name).map_err(|_| {
                format!(
                    "its name is none that a runbook may have: --server {:?} --as NAME says which server of the group it is",
                    record.name
                )
            }),
        };
        let put = match named {
            Ok(key) => match client.put_record(group, &key, &record).await {
                Ok(put) => Ok(stored(group, key, &record, put)),
                Err(e) if is_about_one(e.code) => Err(e.message),
                Err(e) => return Err(CliError::Api(e)),
            },
            Err(why) => Err(why),
        };
        match put {
            Ok(stored) => page.records.push(stored),
            Err(why) => page.refused.push(Refused {
                address,
                name: Some(record.name),
                why,
            }),
        }
    }
    Ok(page)
}

/// Whether another record may fare better.
fn is_about_one(code: ErrorCode) -> bool {
    [
        ErrorCode::Held,
        ErrorCode::InvalidField,
        ErrorCode::CorruptRecord,
    ]
    .contains(&code)
}

fn stored(
    group: &GroupName,
    server: ServerKey,
    record: &ServerRecord,
    put: RecordPut,
) -> StoredRecord {
    StoredRecord {
        name: record.name.clone(),
        id: record.id.clone(),
        at: Place::Group {
            group: group.clone(),
            server,
        },
        stored: match put.effect {
            RecordEffect::New => Stored::New,
            RecordEffect::Changed => Stored::Changed,
            RecordEffect::Unchanged => Stored::Unchanged,
        },
        changes: put.changes,
    }
}
