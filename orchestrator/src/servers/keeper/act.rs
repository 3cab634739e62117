//! What is to be done for one server, done: act by act, each on ground that is looked at again. What fails ends the round for this server, and
//! waits longer each time.

use super::{ServersKeeper, look::Looked};
use crate::{
    coordination::{Lead, LeadError},
    servers::control::{BuildOrder, Seen, ServersError},
};
use futures::StreamExt;
use rekindle_common::{
    ApiError, ErrorCode, ImageSpec, ZoneName,
    action::{BatchItem, BatchRequest, BatchResult, Order, VolumeAction},
    duration::Span,
    keys,
    runbook::StandbyPolicy,
    servers::{Build, Instance, KeptServer, ServerRecord},
};
use rekindle_core::servers::{
    Begun, Built,
    follow::{Act, follow},
};
use rekindle_net::GrantRequest;
use rekindle_store::{Compare, Op, Revision, Txn};
use tokio::time::timeout;

/// A grant is asked for longer than a build may take, within the sidecar's own bound.
const GRANT: Span = Span::secs(15 * 60);

/// Why an act was not done.
pub(super) enum NotDone {
    /// The term is over.
    Lead(LeadError),
    /// Somebody else works on the group now.
    Ground,
    /// It failed, in words.
    Failed(String),
}

impl From<LeadError> for NotDone {
    fn from(e: LeadError) -> Self {
        match e {
            LeadError::Lost => Self::Lead(LeadError::Lost),
            // The next round reads what another wrote.
            LeadError::Refused { .. } => Self::Ground,
            LeadError::Store(e) => Self::Failed(format!("etcd: {e}")),
        }
    }
}

impl From<ServersError> for NotDone {
    fn from(e: ServersError) -> Self {
        match e {
            ServersError::NotNow(why) | ServersError::Refused(why) => Self::Failed(why),
        }
    }
}

/// Decides and does. What is in the way, in words.
///
/// # Errors
/// [`LeadError::Lost`].
pub(super) async fn all(
    keeper: &ServersKeeper,
    lead: &Lead,
    looked: &Looked,
) -> Result<Option<String>, LeadError> {
    let (group, key) = (&looked.ground.group, &looked.server.key);
    let verdict = follow(&looked.sight());
    let failure = keeper.memory().failure(group, key);
    let waits = failure.as_ref().is_some_and(|(_, waits)| *waits);
    let mut hands = Hands {
        keeper,
        lead,
        looked,
        kept: looked.kept.clone(),
    };
    let mut skipped = false;
    for act in verdict.acts {
        if touches(&act) && waits {
            skipped = true;
            break;
        }
        let name = name(&act);
        let done = hands.one(act).await;
        // What was given up because somebody else is at work has not failed.
        match &done {
            Ok(()) => keeper.metrics.servers.act(name, true),
            Err(NotDone::Failed(_)) => keeper.metrics.servers.act(name, false),
            Err(NotDone::Lead(_) | NotDone::Ground) => {}
        }
        match done {
            Ok(()) => {}
            Err(NotDone::Lead(e)) => return Err(e),
            Err(NotDone::Ground) => {
                return Ok(Some("somebody else works on the group now".to_owned()));
            }
            Err(NotDone::Failed(words)) => {
                tracing::info!(%group, server = %key, error = words, "a server's stand-by is not as it should be");
                let mut memory = keeper.memory();
                memory.failed(group, key, words.clone(), &keeper.timing);
                return Ok(Some(words));
            }
        }
    }
    if !skipped {
        keeper.memory().good(group, key);
        return Ok(verdict.trouble);
    }
    let words =
        failure.map(|(words, _)| format!("{words}. It is tried again, less and less often"));
    Ok(verdict.trouble.or(words))
}

/// Whether it asks anything of the stand-by's cloud.
fn touches(act: &Act) -> bool {
    match act {
        Act::Keep(_) | Act::Describe { .. } => false,
        Act::Hold { .. }
        | Act::Check { .. }
        | Act::Remove { .. }
        | Act::Forget
        | Act::Build { .. } => true,
    }
}

fn name(act: &Act) -> &'static str {
    match act {
        Act::Keep(_) => "keep",
        Act::Describe { .. } => "describe",
        Act::Hold { .. } => "hold",
        Act::Check { .. } => "check",
        Act::Remove { .. } => "remove",
        Act::Forget => "forget",
        Act::Build { .. } => "build",
    }
}

struct Hands<'a> {
    keeper: &'a ServersKeeper,
    lead: &'a Lead,
    looked: &'a Looked,
    kept: Option<(KeptServer, Revision)>,
}

impl Hands<'_> {
    async fn one(&mut self, act: Act) -> Result<(), NotDone> {
        match act {
            Act::Keep(kept) => self.keep(*kept, Vec::new()).await,
            Act::Describe { volume: _, record } => self.describe(&record).await,
            Act::Hold { id } => {
                let other = &self.looked.ground.other;
                let servers = self.keeper.servers(other).map_err(NotDone::Failed)?;
                let wanted = self.looked.wanted(Some(id), &self.looked.counterpart);
                let reason = format!("stand-by of {}", self.looked.counterpart);
                let held = servers.hold(&wanted, &reason, self.keeper.timing.build);
                self.on_ground(held).await?;
                Ok(())
            }
            Act::Check { id, record, policy } => self.check(id, *record, policy).await,
            Act::Remove {
                id,
                counterpart,
                why,
            } => self.remove(id, &counterpart, &why).await,
            Act::Forget => {
                let ground = &self.looked.ground;
                let servers = self.keeper.servers(&ground.other);
                let servers = servers.map_err(NotDone::Failed)?;
                let wanted = self.looked.wanted(None, &self.looked.begun_as());
                self.on_ground(servers.clear(&wanted, self.keeper.timing.build))
                    .await?;
                let ended = self.looked.built.ended(&ground.other);
                self.lead.txn(ground.txn().then(ended)).await?;
                Ok(())
            }
            Act::Build { record, policy } => self.build(*record, policy).await,
        }
    }

    /// Does it while the group may be worked on. Whatever it was at is given up the moment that ends; Nova may still carry out its last order.
    async fn on_ground<T>(
        &self,
        act: impl Future<Output = Result<T, ServersError>>,
    ) -> Result<T, NotDone> {
        let ground = &self.looked.ground;
        if !ground.holds(self.lead).await? {
            return Err(NotDone::Ground);
        }
        tokio::select! {
            end = act => Ok(end?),
            lost = ground.lost(self.keeper, self.lead) => Err(lost.map_or(NotDone::Ground, NotDone::from)),
        }
    }

    /// Writes what is kept, and with it what the stand-by was built from.
    async fn keep(&mut self, kept: KeptServer, built: Vec<Op>) -> Result<(), NotDone> {
        let ground = &self.looked.ground;
        let key = keys::kept_server(&ground.group, &kept.key);
        let compare = match &self.kept {
            Some((_, revision)) => Compare::ModRevision(key.clone(), *revision),
            None => Compare::Absent(key.clone()),
        };
        let put = Op::put_json(key, &kept, None).map_err(LeadError::Store)?;
        let mut txn = ground.txn().when(compare).then(put);
        txn.ops.extend(built);
        let revision = self.lead.txn(txn).await?;
        self.kept = Some((kept, revision));
        Ok(())
    }

    async fn describe(&self, record: &ServerRecord) -> Result<(), NotDone> {
        let Looked {
            ground,
            server,
            root,
            ..
        } = self.looked;
        // The catalogue has not seen it yet: the next round.
        let Some(image) = root else {
            return Ok(());
        };
        let (group, key) = (&ground.group, &server.key);
        let there = self.keeper.memory().is_described(group, key, image, record);
        if there {
            return Ok(());
        }
        if !ground.holds(self.lead).await? {
            return Err(NotDone::Ground);
        }
        let action = VolumeAction::RecordServer {
            record: Some(Box::new(record.clone())),
        };
        let order = Order {
            action,
            generation: Some(ground.generation),
        };
        match order_to(self.keeper, &ground.primary, image, order).await {
            Ok(()) => {
                let mut memory = self.keeper.memory();
                memory.described(group, key, image.clone(), record.clone());
            }
            // It stands in etcd: this is for the day on which etcd is lost too, and keeps nothing else waiting.
            Err(e) => {
                tracing::info!(%group, server = %key, volume.id = %image, error = %e, "a server's record is not with its volume yet");
            }
        }
        Ok(())
    }

    async fn check(
        &self,
        id: String,
        record: ServerRecord,
        rest: StandbyPolicy,
    ) -> Result<(), NotDone> {
        let other = &self.looked.ground.other;
        let servers = self.keeper.servers(other).map_err(NotDone::Failed)?;
        let order = BuildOrder {
            wanted: self.looked.wanted(Some(id), &self.looked.counterpart),
            record,
            rest,
        };
        let checked = servers.check(&order, self.keeper.timing.build);
        match self.on_ground(checked).await {
            Err(NotDone::Failed(why)) => Err(NotDone::Failed(format!(
                "its stand-by is as it was built, for another could not be built now: {why}"
            ))),
            end @ (Ok(()) | Err(NotDone::Lead(_) | NotDone::Ground)) => end,
        }
    }

    async fn remove(&mut self, id: String, counterpart: &str, why: &str) -> Result<(), NotDone> {
        let Looked { ground, server, .. } = self.looked;
        let servers = self
            .keeper
            .servers(&ground.other)
            .map_err(NotDone::Failed)?;
        tracing::info!(group = %ground.group, server = %server.key, zone = %ground.other, server.id = %id, why, "a stand-by is removed");
        let wanted = self.looked.wanted(Some(id), counterpart);
        self.on_ground(servers.remove(&wanted, self.keeper.timing.build))
            .await?;
        let built = self.looked.built.forget(&ground.other);
        if let Some((mut kept, _)) = self.kept.clone() {
            kept.instances.remove(&ground.other);
            self.keep(kept, built).await?;
        }
        Ok(())
    }

    async fn build(&mut self, record: ServerRecord, policy: StandbyPolicy) -> Result<(), NotDone> {
        let Looked { ground, server, .. } = self.looked;
        let servers = self
            .keeper
            .servers(&ground.other)
            .map_err(NotDone::Failed)?;
        self.grant().await?;
        let known = self
            .kept
            .as_ref()
            .and_then(|(k, _)| k.instances.get(&ground.other));
        let order = BuildOrder {
            wanted: self
                .looked
                .wanted(known.map(|i| i.id.clone()), &self.looked.counterpart),
            record: record.clone(),
            rest: policy,
        };
        if known.is_none() {
            self.begin(&record).await?;
        }
        let seen: Seen = self
            .on_ground(servers.build(&order, self.keeper.timing.build))
            .await?;
        tracing::info!(group = %ground.group, server = %server.key, zone = %ground.other, server.id = %seen.id, "a stand-by is there");
        let now = self.keeper.clock.now();
        let built = Built {
            zone: ground.other.clone(),
            id: seen.id.clone(),
            counterpart: self.looked.counterpart.clone(),
            policy,
            record,
            at: now,
        };
        let put = self.looked.built.put(&built).map_err(LeadError::Store)?;
        let Some((mut kept, _)) = self.kept.clone() else {
            return Err(NotDone::Ground);
        };
        let instance = Instance {
            id: seen.id,
            build: Build::Standby { policy },
            seen_at: now,
            unsettled: false,
        };
        kept.instances.insert(ground.other.clone(), instance);
        self.keep(kept, put).await
    }

    /// Before Nova is asked: whatever becomes of the build, and of its server's place in the runbook, what comes of it is looked for until it is gone.
    async fn begin(&self, record: &ServerRecord) -> Result<(), NotDone> {
        let Looked { ground, built, .. } = self.looked;
        let begun = Begun {
            zone: ground.other.clone(),
            counterpart: self.looked.counterpart.clone(),
            record: record.clone(),
            at: self.keeper.clock.now(),
        };
        let put = built.begin(&begun).map_err(LeadError::Store)?;
        let txn = put.into_iter().fold(ground.txn(), Txn::then);
        self.lead.txn(txn).await?;
        Ok(())
    }

    /// Has Cinder attach the copies.
    async fn grant(&self) -> Result<(), NotDone> {
        let Looked { ground, images, .. } = self.looked;
        let Some(zone) = self.keeper.zone(&ground.other) else {
            return Err(NotDone::Failed(format!(
                "{} is not among the zones",
                ground.other
            )));
        };
        let within = GRANT;
        for image in images {
            self.lead.check()?;
            let request = GrantRequest {
                within,
                generation: Some(ground.generation),
            };
            let grant = zone.sidecar().grant_standby(image, request);
            match timeout(self.keeper.timing.deadline.get(), grant).await {
                Ok(Ok(_)) => {}
                Ok(Err(e)) => {
                    return Err(NotDone::Failed(format!(
                        "{image} may not be attached in {}: {e}",
                        ground.other
                    )));
                }
                Err(_) => {
                    return Err(NotDone::Failed(format!(
                        "{}'s sidecar did not answer",
                        ground.other
                    )));
                }
            }
        }
        Ok(())
    }
}

/// One order to one image.
pub(super) async fn order_to(
    keeper: &ServersKeeper,
    zone: &ZoneName,
    image: &ImageSpec,
    order: Order,
) -> Result<(), ApiError> {
    let silent = |text: String| ApiError::new(ErrorCode::SidecarUnreachable, text);
    let Some(zone) = keeper.zone(zone) else {
        return Err(silent(format!("{zone} is not among the zones")));
    };
    let request = BatchRequest {
        items: vec![BatchItem {
            volume: image.clone(),
            order,
        }],
    };
    let ordered = async {
        let mut lines = zone.sidecar().batch(request).await?;
        match lines.next().await {
            Some(line) => match line?.result {
                BatchResult::Ok { .. } => Ok(()),
                BatchResult::Failed { error } => Err(error),
            },
            None => Err(silent(
                "the sidecar did not say what became of it".to_owned(),
            )),
        }
    };
    match timeout(keeper.timing.deadline.get(), ordered).await {
        Ok(end) => end,
        Err(_) => Err(silent(format!("{}'s sidecar did not answer", zone.name()))),
    }
}
