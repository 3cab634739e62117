//! What is kept of a server, as it stands in etcd: any site can answer, for whoever has to build it by hand when no site leads.

use super::Site;
use axum::{Json, extract::State};
use rekindle_common::{
    ApiError, ErrorCode, GroupName, ServerKey, keys, policy::GroupSpec, servers::KeptServer,
};
use rekindle_net::{ApiPath, ApiResult};
use rekindle_store::{KeyValue, Store, StoreError};

pub(super) async fn show(
    State(s): Site,
    ApiPath((group, server)): ApiPath<(GroupName, ServerKey)>,
) -> ApiResult<Json<KeptServer>> {
    let store = &s.means.assembler.store;
    Ok(Json(kept(store, &group, &server).await?))
}

/// What is kept stands for itself: neither a group whose definition is damaged nor a runbook without the server keeps it from whoever needs it.
async fn kept(
    store: &Store,
    group: &GroupName,
    server: &ServerKey,
) -> Result<KeptServer, ApiError> {
    let (spec_key, kept_key) = (keys::group_spec(group), keys::kept_server(group, server));
    let (spec, kept) = tokio::try_join!(store.get(&spec_key), store.get(&kept_key))?;
    let Some(spec) = spec else {
        let why = format!("there is no group {group}");
        return Err(ApiError::new(ErrorCode::UnknownGroup, why).at("group"));
    };
    match kept {
        Some(kv) => kv.json().map_err(|e| unreadable(server, e)),
        None => Err(nothing_kept(&spec, group, server)),
    }
}

/// Where it is damaged, but not the words there: they may be user data.
fn unreadable(server: &ServerKey, e: StoreError) -> ApiError {
    let StoreError::Corrupt { key, source } = e else {
        return e.into();
    };
    let why = format!(
        "what is kept of {server} cannot be read: the record at {key} is damaged at line {}, column {}",
        source.line(),
        source.column()
    );
    ApiError::new(ErrorCode::CorruptRecord, why).at("record")
}

fn nothing_kept(spec: &KeyValue, group: &GroupName, server: &ServerKey) -> ApiError {
    let unknown = |field: &str, why| ApiError::new(ErrorCode::UnknownServer, why).at(field);
    match spec.json::<GroupSpec>() {
        Err(e) => e.into(),
        Ok(spec) if spec.runbook.servers().any(|s| s.key == *server) => {
            unknown("record", format!("no record of {server} is kept"))
        }
        Ok(_) => unknown(
            "server",
            format!("group {group} has no server {server} in its runbook"),
        ),
    }
}
