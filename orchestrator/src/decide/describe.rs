//! A decision in words, and when two of them are the same but for their figures.

use rekindle_core::decision::{Ask, Decision, Hold};
use std::mem::{Discriminant, discriminant};

/// In words, for the status and the log.
#[must_use]
pub fn text(decision: &Decision) -> String {
    match decision {
        Decision::Hold { why } => why.to_string(),
        Decision::AskOperator { why } => format!("a person must decide: {why}"),
        Decision::MarkProtection { unprotected: None } => "the copies are in step again".to_owned(),
        Decision::MarkProtection {
            unprotected: Some(why),
        } => format!("UNPROTECTED: {why}"),
        Decision::Begin { plan } => format!("{} to {}: {}", plan.kind, plan.to, plan.why),
    }
}

/// What kind of decision it is: a margin that runs down second by second is one decision, not many.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Hold(Discriminant<Hold>),
    Ask(Discriminant<Ask>),
    Mark(bool),
    Begin,
}

pub(super) fn sort(decision: &Decision) -> Sort {
    match decision {
        Decision::Hold { why } => Sort::Hold(discriminant(why)),
        Decision::AskOperator { why } => Sort::Ask(discriminant(why)),
        Decision::MarkProtection { unprotected } => Sort::Mark(unprotected.is_some()),
        Decision::Begin { .. } => Sort::Begin,
    }
}
