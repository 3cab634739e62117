//! What of a record is shown to people: all but its user data, and metadata that is a secret by its name.

use super::record::ServerRecord;
use serde_json::Value;

/// What stands where a value is kept back.
pub const NOT_SHOWN: &str = "(not shown)";

/// Parts of names that say that what they name is a secret.
const SECRET_NAMES: &[&str] = &[
    "adminpass",
    "admin_pass",
    "apikey",
    "api_key",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "private",
    "secret",
    "token",
];

/// Whether metadata of this name is shown to nobody.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// A value of metadata as it is shown.
#[must_use]
pub fn metadata_value<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret_name(name) {
        NOT_SHOWN
    } else {
        value
    }
}

impl ServerRecord {
    /// The record's JSON as it may be shown: `user_data` gives way to `user_data_bytes`.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(map) = &mut value {
            map.remove("user_data");
            if let Some(data) = &self.user_data {
                map.insert("user_data_bytes".to_owned(), data.bytes().into());
            }
            if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
                for (name, value) in metadata {
                    if is_secret_name(name) {
                        *value = NOT_SHOWN.into();
                    }
                }
            }
        }
        value
    }
}
