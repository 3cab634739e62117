//! Wait for a person's yes to exactly this plan and this level. It stands in etcd, so it does not matter who leads when it comes.

use super::{Context, Pass, Result};
use jiff::Timestamp;
use rekindle_common::keys;
use serde::{Deserialize, Serialize};

/// A person's yes. JSON at [`keys::plan_approval`]; it goes with its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseApproval {
    /// The level that may start, from 0.
    pub level: usize,
    /// Who says so, in their own words.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

pub(super) async fn run(ctx: &Context<'_>, level: usize, text: &str) -> Result<Pass> {
    let key = keys::plan_approval(&ctx.plan.id, level);
    match ctx.lead.store().get(&key).await? {
        Some(kv) => {
            let approval: PauseApproval = kv.json()?;
            Ok(Pass::Done {
                note: format!("approved by {}", approval.by),
            })
        }
        None => Ok(Pass::NotYet {
            note: format!("waits for `rekindle approve {}`: {text}", ctx.plan.group),
        }),
    }
}
