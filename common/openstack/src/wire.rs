//! OpenStack's JSON has its own ideas of what is nothing, of flags, and of time.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error};
use std::collections::BTreeMap;

/// `null` and `""` are both no text.
pub(crate) fn text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(d)?.filter(|t| !t.is_empty()))
}

/// `null` is an empty map, and a `null` value an empty text.
pub(crate) fn map<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    let given = Option::<BTreeMap<String, Option<String>>>::deserialize(d)?.unwrap_or_default();
    Ok(given
        .into_iter()
        .map(|(k, v)| (k, v.unwrap_or_default()))
        .collect())
}

/// `null` is an empty list.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    d: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(d)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Text(String),
}

/// `true`, `"true"`; `null` is no.
pub(crate) fn flag<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    match Option::<Flag>::deserialize(d)? {
        None => Ok(false),
        Some(Flag::Bool(b)) => Ok(b),
        Some(Flag::Text(t)) if t.eq_ignore_ascii_case("true") => Ok(true),
        Some(Flag::Text(t)) if t.eq_ignore_ascii_case("false") || t.is_empty() => Ok(false),
        Some(Flag::Text(t)) => Err(D::Error::custom(format!("{t:?} is neither true nor false"))),
    }
}

/// `2026-11-25T22:00:00.000000`, which is UTC and does not say so.
pub(crate) fn moment<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(given) = text(d)? else {
        return Ok(None);
    };
    if let Ok(at) = given.parse::<Timestamp>() {
        return Ok(Some(at));
    }
    let utc = format!("{given}Z").parse();
    utc.map(Some)
        .map_err(|e| D::Error::custom(format!("{given:?} is no time: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn nothing_comes_in_two_forms() {
        for nothing in [Value::Null, json!("")] {
            assert_eq!(text(&nothing).unwrap(), None);
            assert!(!flag(&nothing).unwrap());
            assert_eq!(moment(&nothing).unwrap(), None);
        }
        assert_eq!(map(&Value::Null).unwrap(), BTreeMap::new());
        assert_eq!(map(&json!({ "k": null })).unwrap()["k"], "");
        assert_eq!(list::<_, u8>(&Value::Null).unwrap(), Vec::<u8>::new());
    }

    #[test]
    fn flags_are_words_too() {
        assert!(flag(&json!("True")).unwrap() && flag(&json!(true)).unwrap());
        assert!(flag(&json!("yes")).is_err());
    }

    #[test]
    fn times_are_utc() {
        let at: Timestamp = "2026-11-25T22:00:00.5Z".parse().unwrap();
        for form in ["2026-11-25T22:00:00.500000", "2026-11-25T22:00:00.5+00:00"] {
            assert_eq!(moment(&json!(form)).unwrap(), Some(at), "{form}");
        }
        assert!(moment(&json!("noon")).is_err());
    }
}
