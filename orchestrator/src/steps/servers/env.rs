//! What one pass knows of its servers, and the right to give an order.

use super::{LOOK, Result, StepError};
use crate::{
    coordination::LeadError,
    servers::{
        built::BuiltStandbys,
        control::{Seen, Servers, Wanted, counterpart},
        translate::root_in,
    },
    steps::{Context, lease::spec},
};
use rekindle_common::{
    Generation, ZoneName,
    duration::Span,
    keys,
    lease::PrimaryRecord,
    policy::GroupSpec,
    runbook::{RunbookServer, StandbyPolicy},
    servers::{Build, Instance, KeptServer},
};
use rekindle_core::{saga::Left, servers::Built};
use rekindle_store::{Compare, Op, Revision, Txn};

/// Where the group has to be primary for the step's orders to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    /// In the step's zone.
    Here,
    /// Not there.
    Elsewhere,
}

pub(super) struct Env<'a> {
    pub(super) ctx: &'a Context<'a>,
    pub(super) zone: &'a ZoneName,
    pub(super) generation: Generation,
    pub(super) nova: &'a dyn Servers,
    serves: Serves,
    spec: GroupSpec,
}

/// What is kept of a server, with the revision that it was read at.
pub(super) struct Kept {
    pub(super) value: KeptServer,
    revision: Revision,
}

/// What stands in etcd of a server.
pub(super) enum Known {
    /// Nothing.
    Nothing,
    /// This.
    Kept(Box<Kept>),
    /// Something that cannot be read.
    Unreadable(String),
}

impl Known {
    pub(super) fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Kept(k) => Some(k),
            Self::Nothing | Self::Unreadable(_) => None,
        }
    }
}

impl<'a> Env<'a> {
    pub(super) async fn new(
        ctx: &'a Context<'a>,
        zone: &'a ZoneName,
        generation: Generation,
        serves: Serves,
        nova: &'a dyn Servers,
    ) -> Result<Self> {
        let spec = spec(ctx).await?;
        let env = Self {
            ctx,
            zone,
            generation,
            nova,
            serves,
            spec,
        };
        env.may_order().await?;
        Ok(env)
    }

    /// Asked right before each order: the primary record is still that of this step, and this orchestrator leads.
    pub(super) async fn may_order(&self) -> Result<()> {
        let key = keys::group_primary(&self.ctx.plan.group);
        let Some(kv) = self.ctx.lead.store().get(&key).await? else {
            return Err(StepError::refused(format!("{key} is not there")));
        };
        let now: PrimaryRecord = kv.json()?;
        let right = match self.serves {
            Serves::Here => now.zone == *self.zone,
            Serves::Elsewhere => now.zone != *self.zone,
        };
        if now.generation != self.generation || !right {
            return Err(StepError::Failed {
                why: format!(
                    "{} is primary under generation {}; servers in {} are ordered under {}",
                    now.zone, now.generation, self.zone, self.generation
                ),
                left: Left::MaybeSomething,
            });
        }
        self.ctx.lead.check()?;
        Ok(())
    }

    pub(super) async fn known(&self, s: &RunbookServer) -> Result<Known> {
        let key = keys::kept_server(&self.ctx.plan.group, &s.key);
        let Some(kv) = self.ctx.lead.store().get(&key).await? else {
            return Ok(Known::Nothing);
        };
        Ok(match kv.json::<KeptServer>() {
            Ok(value) => Known::Kept(Box::new(Kept {
                value,
                revision: kv.mod_revision,
            })),
            Err(e) => Known::Unreadable(format!("{key}: {e}")),
        })
    }

    /// Which server is meant in this zone.
    pub(super) fn wanted(&self, s: &RunbookServer, kept: Option<&Kept>) -> Wanted {
        let group = &self.ctx.plan.group;
        let other = self.spec.other(self.zone);
        let other = other.map(|z| counterpart(z, self.id_in(z, s, kept).as_deref(), group, &s.key));
        Wanted {
            group: group.clone(),
            key: s.key.clone(),
            id: self.id_in(self.zone, s, kept),
            counterpart: other,
            root: kept.and_then(|k| {
                let volumes = self.ctx.tools.volumes.last();
                root_in(&k.value.record, self.zone, volumes.as_deref())
            }),
        }
    }

    fn id_in(&self, zone: &ZoneName, s: &RunbookServer, kept: Option<&Kept>) -> Option<String> {
        match kept.and_then(|k| k.value.instances.get(zone)) {
            Some(instance) => Some(instance.id.clone()),
            // As the runbook has it, for as long as nothing is kept of it.
            None if *zone == self.spec.home => s.server.clone(),
            None => None,
        }
    }

    /// Whether the zone's server is one that its users built: it is never built by us.
    pub(super) fn is_theirs(&self, s: &RunbookServer, kept: Option<&Kept>) -> bool {
        match kept.and_then(|k| k.value.instances.get(self.zone)) {
            Some(instance) => match instance.build {
                Build::Users => true,
                Build::Standby { .. } => false,
            },
            None => *self.zone == self.spec.home && s.server.is_some(),
        }
    }

    /// Keeps which server it is in this zone, where that is new or it was unsettled, and by which mark it was found or built. Somebody else who changed
    /// the record meanwhile is no error: what bears the mark is found again.
    pub(super) async fn remember(
        &self,
        s: &RunbookServer,
        kept: Option<&Kept>,
        wanted: &Wanted,
        seen: &Seen,
    ) -> Result<()> {
        let Some(kept) = kept else { return Ok(()) };
        let same = kept.value.instances.get(self.zone);
        let same = same.filter(|i| i.id == seen.id);
        if same.is_some_and(|i| !i.unsettled) {
            return Ok(());
        }
        let mut value = kept.value.clone();
        // The one that the runbook names is its users' own, also where that is not kept yet: of one of ours we may say "delete it".
        let named = *self.zone == self.spec.home && s.server.as_ref() == Some(&seen.id);
        let build = match same {
            Some(i) => i.build,
            None if named => Build::Users,
            None => Build::Standby {
                policy: self.ctx.plan.runbook.standby_of(s),
            },
        };
        let instance = Instance {
            id: seen.id.clone(),
            build,
            seen_at: self.ctx.tools.clock.now(),
            unsettled: false,
        };
        value.instances.insert(self.zone.clone(), instance);
        let key = keys::kept_server(&self.ctx.plan.group, &s.key);
        let mut txn = Txn::new()
            .when(Compare::ModRevision(key.clone(), kept.revision))
            .then(Op::put_json(&key, &value, None)?);
        txn.ops.extend(self.built(kept, wanted, seen).await);
        match self.ctx.lead.txn(txn).await {
            Ok(_) | Err(LeadError::Refused { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Keeps whether it is unsettled in this zone ([`Instance::unsettled`]), for whoever starts it there, another leader too. Whether that is kept now: what
    /// is not found by an id is not, and a start takes none of ours that is not written down for one that was at rest.
    pub(super) async fn settle(
        &self,
        s: &RunbookServer,
        kept: Option<&Kept>,
        unsettled: bool,
    ) -> Result<bool> {
        let Some(kept) = kept else { return Ok(true) };
        let mut value = kept.value.clone();
        match value.instances.get_mut(self.zone) {
            Some(i) if i.unsettled == unsettled => return Ok(true),
            Some(i) => i.unsettled = unsettled,
            None => match &s.server {
                Some(id) if unsettled && *self.zone == self.spec.home => {
                    let theirs = Instance {
                        id: id.clone(),
                        build: Build::Users,
                        seen_at: self.ctx.tools.clock.now(),
                        unsettled,
                    };
                    value.instances.insert(self.zone.clone(), theirs);
                }
                Some(_) | None => return Ok(true),
            },
        }
        let key = keys::kept_server(&self.ctx.plan.group, &s.key);
        let txn = Txn::new()
            .when(Compare::ModRevision(key.clone(), kept.revision))
            .then(Op::put_json(&key, &value, None)?);
        match self.ctx.lead.txn(txn).await {
            Ok(_) => Ok(true),
            // By the next pass: it reads what another wrote.
            Err(LeadError::Refused { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// What it was built from, for its mark: that names who serves in the other zone now, and another may once this one stands by. The plan needs it
    /// for nothing, so that what is in its way is no failure.
    async fn built(&self, kept: &Kept, wanted: &Wanted, seen: &Seen) -> Vec<Op> {
        // Of one that was found by its id the mark is not known.
        let Some(counterpart) = &wanted.counterpart else {
            return Vec::new();
        };
        if wanted.id.as_ref() == Some(&seen.id) {
            return Vec::new();
        }
        let store = self.ctx.lead.store();
        let words = BuiltStandbys::read(store, &wanted.group, &wanted.key).await;
        let record = match words.as_ref().ok().and_then(|w| w.begun(self.zone)) {
            // It may be what came of that build, and then it has what it was begun with.
            Some(begun) if begun.counterpart == *counterpart => Ok(begun.record.clone()),
            Some(_) | None => self.nova.translate(&kept.value, Span(LOOK)).await,
        };
        let (Ok(words), Ok(record)) = (words, record) else {
            tracing::info!(group = %wanted.group, server = %wanted.key, zone = %self.zone, "what it was built from is not written down");
            return Vec::new();
        };
        if words.of(self.zone).is_some_and(|b| b.id == seen.id) {
            return Vec::new();
        }
        let built = Built {
            zone: self.zone.clone(),
            id: seen.id.clone(),
            counterpart: counterpart.clone(),
            // To serve: how it rests is for later.
            policy: StandbyPolicy::Record,
            record,
            at: self.ctx.tools.clock.now(),
        };
        words.put(&built).unwrap_or_default()
    }
}
