//! How a plan stands in etcd. A value there has a bound, and a plan names a group's volumes again in each step and in each list that puts things back.
//!
//! Where that is too much, each list stands once, and what names it has its number:
//!
//! ```text
//!   {…, "volume_lists": [["volumes/volume-1", …]], "steps": [
//!       {"step": "demote",  …, "volumes": 0},
//!       {"step": "promote", …, "volumes": {"list": 0, "said": [{"promotion": "plain"}], "of_each": [0, …]}}, …]}
//! ```
//!
//! What fits is written in full, so that people, and older orchestrators, can read it.

use rekindle_common::{ApiError, ErrorCode, keys};
use rekindle_core::plan::Plan;
use rekindle_store::{KeyValue, MAX_VALUE_BYTES, Op, StoreError};
use serde::de::Error as _;
use serde_json::Value;

const LISTS: &str = "volume_lists";
const VOLUMES: &str = "volumes";
/// More than so many different things are said of a step's volumes in no plan of ours, and each is looked for among them.
const MOST_SAID: usize = 64;

/// A plan that no value of etcd holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "its plan would have {bytes} bytes, and etcd takes {MAX_VALUE_BYTES} in one value: split the group into several, each of fewer volumes or servers"
)]
pub struct TooLarge {
    /// How large it would be.
    pub bytes: usize,
}

impl From<TooLarge> for ApiError {
    fn from(e: TooLarge) -> Self {
        Self::new(ErrorCode::TooLarge, e.to_string())
    }
}

/// Why a plan cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritable {
    /// There is too much of it.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// It is no JSON.
    #[error("the plan cannot be written as JSON")]
    NoJson(#[source] serde_json::Error),
}

impl From<Unwritable> for ApiError {
    fn from(e: Unwritable) -> Self {
        match e {
            Unwritable::TooLarge(e) => e.into(),
            Unwritable::NoJson(source) => Self::new(
                ErrorCode::Internal,
                format!("the plan cannot be written as JSON: {source}"),
            ),
        }
    }
}

/// What writes it.
///
/// # Errors
/// [`Unwritable`]: it could never be begun.
pub fn put(plan: &Plan) -> Result<Op, Unwritable> {
    Ok(Op::Put {
        key: keys::plan(&plan.id),
        value: bytes(plan, MAX_VALUE_BYTES)?,
        lease: None,
    })
}

/// Reads it, in whichever form it stands.
///
/// # Errors
/// [`StoreError::Corrupt`] names the key.
pub(super) fn read(kv: &KeyValue) -> Result<Plan, StoreError> {
    let corrupt = |source| StoreError::Corrupt {
        key: kv.key.clone(),
        source,
    };
    let mut plan: Value = kv.json()?;
    spell_out(&mut plan).map_err(corrupt)?;
    serde_json::from_value(plan).map_err(corrupt)
}

fn bytes(plan: &Plan, most: usize) -> Result<Vec<u8>, Unwritable> {
    let whole = serde_json::to_vec(plan).map_err(Unwritable::NoJson)?;
    if whole.len() <= most {
        return Ok(whole);
    }
    let mut plan = serde_json::to_value(plan).map_err(Unwritable::NoJson)?;
    shorten(&mut plan);
    let short = serde_json::to_vec(&plan).map_err(Unwritable::NoJson)?;
    if short.len() <= most {
        return Ok(short);
    }
    Err(TooLarge { bytes: short.len() }.into())
}

fn shorten(plan: &mut Value) {
    let mut lists = Vec::new();
    for volumes in named(plan) {
        shorten_one(volumes, &mut lists);
    }
    if let Value::Object(plan) = plan {
        plan.insert(LISTS.to_owned(), Value::Array(lists));
    }
}

/// A list of volumes, or of volumes of which something is said: for most of them the same.
fn shorten_one(volumes: &mut Value, lists: &mut Vec<Value>) {
    let Value::Array(all) = volumes else { return };
    if all.iter().all(Value::is_string) {
        *volumes = number(std::mem::take(all), lists);
        return;
    }
    let (mut names, mut said, mut of) = (Vec::new(), Vec::new(), Vec::new());
    for one in all.iter() {
        let Value::Object(one) = one else { return };
        let mut one = one.clone();
        let Some(name) = one.remove("volume") else {
            return;
        };
        names.push(name);
        let one = Value::Object(one);
        let at = said.iter().position(|s| *s == one).unwrap_or(said.len());
        if at == MOST_SAID {
            return;
        }
        if at == said.len() {
            said.push(one);
        }
        of.push(Value::from(at));
    }
    let short = [
        ("list", number(names, lists)),
        ("said", Value::Array(said)),
        ("of_each", Value::Array(of)),
    ];
    let short = short.map(|(field, value)| (field.to_owned(), value));
    *volumes = Value::Object(short.into_iter().collect());
}

fn number(list: Vec<Value>, lists: &mut Vec<Value>) -> Value {
    let list = Value::Array(list);
    let at = lists.iter().position(|l| *l == list);
    let at = at.unwrap_or_else(|| {
        lists.push(list);
        lists.len() - 1
    });
    Value::from(at)
}

fn spell_out(plan: &mut Value) -> Result<(), serde_json::Error> {
    let lists = match plan.as_object_mut().and_then(|p| p.remove(LISTS)) {
        None => return Ok(()),
        Some(Value::Array(lists)) => lists,
        Some(_) => return Err(broken(LISTS)),
    };
    for volumes in named(plan) {
        spell_out_one(volumes, &lists)?;
    }
    Ok(())
}

fn spell_out_one(volumes: &mut Value, lists: &[Value]) -> Result<(), serde_json::Error> {
    match volumes {
        Value::Number(_) => *volumes = Value::Array(list(volumes, lists)?.clone()),
        Value::Object(short) => {
            let names = list(short.get("list").unwrap_or(&Value::Null), lists)?;
            let said = short.get("said").and_then(Value::as_array);
            let of_each = short.get("of_each").and_then(Value::as_array);
            let (said, of_each) = (said.into_iter().flatten(), of_each.into_iter().flatten());
            let said: Vec<&Value> = said.collect();
            let mut whole = Vec::with_capacity(names.len());
            for (name, at) in names.iter().zip(of_each) {
                let at = at.as_u64().and_then(|n| usize::try_from(n).ok());
                let one = at.and_then(|n| said.get(n)).and_then(|s| s.as_object());
                let mut one = one
                    .cloned()
                    .ok_or_else(|| broken("what is said of a volume"))?;
                one.insert("volume".to_owned(), name.clone());
                whole.push(Value::Object(one));
            }
            if whole.len() != names.len() {
                return Err(broken("what is said of a volume"));
            }
            *volumes = Value::Array(whole);
        }
        // In full: too many different things are said.
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
    Ok(())
}

fn list<'a>(at: &Value, lists: &'a [Value]) -> Result<&'a Vec<Value>, serde_json::Error> {
    let n = at.as_u64().and_then(|n| usize::try_from(n).ok());
    let list = n.and_then(|n| lists.get(n)).and_then(Value::as_array);
    list.ok_or_else(|| broken("a list of volumes"))
}

fn broken(what: &str) -> serde_json::Error {
    serde_json::Error::custom(format!("{what} is missing"))
}

/// What its steps, and those that put things back, name as their volumes.
fn named(plan: &mut Value) -> Vec<&mut Value> {
    let mut all = Vec::new();
    let steps = plan.get_mut("steps").and_then(Value::as_array_mut);
    for step in steps.into_iter().flatten() {
        for (field, value) in step.as_object_mut().into_iter().flatten() {
            if field == VOLUMES {
                all.push(value);
            } else if field == "unwind" {
                let back = value.as_array_mut().into_iter().flatten();
                all.extend(back.filter_map(|s| s.get_mut(VOLUMES)));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
