//! A watch that outlives connections, members and compactions.
//!
//! ```text
//!   connect ──> follow ──┬── stream broken or silent: another member, from the last revision seen: nothing is missed
//!      ^                 └── compacted: read the revision now, say Restarted, go on from there
//!      └──────── pause ──────┘
//! ```

use super::{
    calls::{count_only, key_value, revision},
    members::{Clients, Failure, Members},
};
use crate::{Revision, WatchEvent};
use etcd_client as etcd;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{sleep, timeout},
};

/// Events that may wait for their reader; beyond it etcd waits.
const QUEUE: usize = 256;
/// Between attempts to connect.
const PAUSE: Duration = Duration::from_millis(300);

/// A watch in etcd; ends when dropped.
#[derive(Debug)]
pub struct EtcdWatch {
    events: mpsc::Receiver<WatchEvent>,
    task: AbortHandle,
}

impl Drop for EtcdWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl EtcdWatch {
    pub(super) fn start(members: Arc<Members>, prefix: String, from: Revision) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let task = tokio::spawn(run(members, prefix, from, sender)).abort_handle();
        Self { events, task }
    }

    pub(crate) async fn next(&mut self) -> WatchEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only with its runtime: there is nothing more to say, and nobody to say it to.
            None => std::future::pending().await,
        }
    }
}

async fn run(
    members: Arc<Members>,
    prefix: String,
    mut from: Revision,
    events: mpsc::Sender<WatchEvent>,
) {
    while !events.is_closed() {
        if let Some((clients, failed)) = members.for_watch() {
            let wait = members.member_deadline();
            match follow(clients, &prefix, &mut from, wait, &events).await {
                Ended::ReaderGone => return,
                Ended::Broken(why) => {
                    tracing::debug!(watch.prefix = %prefix, why, "a watch goes to another member");
                    failed();
                }
            }
        }
        sleep(PAUSE).await;
    }
}

enum Ended {
    ReaderGone,
    Broken(String),
}

impl From<Failure> for Ended {
    fn from(f: Failure) -> Self {
        Self::Broken(match f {
            Failure::NotDone(why) | Failure::Lost(why) | Failure::Refused(why) => why,
            Failure::Full => "full".to_owned(),
            Failure::LeaseGone => "lease gone".to_owned(),
        })
    }
}

async fn follow(
    clients: Clients,
    prefix: &str,
    from: &mut Revision,
    wait: Duration,
    events: &mpsc::Sender<WatchEvent>,
) -> Ended {
    match try_follow(clients, prefix, from, wait, events).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

async fn try_follow(
    mut clients: Clients,
    prefix: &str,
    from: &mut Revision,
    wait: Duration,
    events: &mpsc::Sender<WatchEvent>,
) -> Result<std::convert::Infallible, Ended> {
    let late = |_| Ended::Broken(format!("no answer within {wait:?}"));
    let options = etcd::WatchOptions::new()
        .with_prefix()
        .with_start_revision(from.0);
    let opening = clients.watch.watch(prefix, Some(options));
    let mut stream = timeout(wait, opening)
        .await
        .map_err(late)?
        .map_err(Failure::from)?;
    let mut created = false;
    loop {
        // Once it is open, silence is normal: HTTP/2 pings find a dead member, and `require_leader` one without a majority.
        let message = if created {
            stream.message().await
        } else {
            timeout(wait, stream.message()).await.map_err(late)?
        };
        let Some(answer) = message.map_err(Failure::from)? else {
            return Err(Ended::Broken("the stream ended".to_owned()));
        };
        if answer.created() {
            created = true;
            if *from == Revision(0) {
                // From now on; a reconnection must not skip what happens meanwhile.
                *from = revision(answer.header())?.next();
            }
        }
        if answer.compact_revision() > 0 {
            let now = timeout(wait, clients.kv.get(prefix, Some(count_only())))
                .await
                .map_err(late)?
                .map_err(Failure::from)?;
            let revision = revision(now.header())?;
            *from = revision.next();
            send(events, WatchEvent::Restarted { revision }).await?;
            return Err(Ended::Broken("compacted".to_owned()));
        }
        if answer.canceled() {
            return Err(Ended::Broken(answer.cancel_reason().to_owned()));
        }
        for event in answer.events() {
            let Some(kv) = event.kv() else { continue };
            let kv = key_value(kv)?;
            let at = kv.mod_revision;
            let event = match event.event_type() {
                etcd::EventType::Put => WatchEvent::Put(kv),
                etcd::EventType::Delete => WatchEvent::Deleted {
                    key: kv.key,
                    revision: at,
                },
            };
            send(events, event).await?;
        }
        // All events of one revision come in one answer (fragments are not asked for), so all of it has been seen.
        if let Some(last) = answer.events().last().and_then(|e| e.kv()) {
            *from = (*from).max(Revision(last.mod_revision()).next());
        }
    }
}

async fn send(events: &mpsc::Sender<WatchEvent>, event: WatchEvent) -> Result<(), Ended> {
    events.send(event).await.map_err(|_| Ended::ReaderGone)
}
