//! Following the attempts that this host runs: each ends once, with what its shim says.

use std::collections::HashMap;
use std::time::Duration;

use chrono::Utc;
use pointsman_jobs::{AttemptId, State};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::Engine;
use crate::db::listen::POLL;
use crate::db::merge::Ended;
use crate::failpoint::failpoint;

/// How long this host vouches for an attempt at a time. A host that dies lets go of it after that.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// How often it vouches anew.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// How long after a lapsed lease an attempt counts as lost: its shim has ended it by then.
const LAPSE_GRACE: Duration = Duration::from_secs(45);
/// How often old effects are looked for.
const RETIRE_EVERY: Duration = Duration::from_secs(600);
/// Effects that are deleted at once.
const RETIRE_PAGE: i64 = 1_000;
/// Attempts whose ends are written down at once.
const ENDING_AT_ONCE: usize = 8;
/// How long an end that could not be written down waits at first; each time twice as long, up to a minute.
const FIRST_AGAIN: Duration = Duration::from_secs(1);
/// How often what an attempt left is offered to the store. How it ended is worth more: after some twenty
/// minutes that is written down without.
const KEEP_TRIES: u32 = 24;

/// What is known of attempts whose end is being written down.
#[derive(Default)]
struct Ending {
    tasks: JoinSet<anyhow::Result<()>>,
    /// Those of `tasks`: attempts by task.
    under_way: HashMap<Id, i64>,
    /// Those that could not be: how often, and when to try again.
    failed: HashMap<i64, (u32, Instant)>,
}

impl Ending {
    /// Waits for the end of one, and takes it over; for ever where there is none.
    async fn settle(&mut self) {
        let Some(done) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (task, done) = match done {
            Ok((task, done)) => (task, done),
            Err(panic) => (panic.id(), Err(panic.into())),
        };
        let Some(id) = self.under_way.remove(&task) else {
            return;
        };
        match done {
            Ok(()) => {
                self.failed.remove(&id);
            }
            Err(error) => self.later(id, &error),
        }
    }

    /// Lets one wait, longer each time.
    fn later(&mut self, id: i64, error: &anyhow::Error) {
        let (tries, again) = self.failed.entry(id).or_insert((0, Instant::now()));
        let pause = FIRST_AGAIN * 2_u32.pow((*tries).min(6));
        *tries += 1;
        *again = Instant::now() + pause;
        tracing::warn!(
            attempt = id,
            seconds = pause.as_secs(),
            cause = format!("{error:#}"),
            "the end of an attempt cannot be written down; it is tried again"
        );
    }

    /// Whether this one is to be looked at now.
    fn is_due(&self, id: i64) -> bool {
        self.under_way.len() < ENDING_AT_ONCE
            && self.under_way.values().all(|other| *other != id)
            && self
                .failed
                .get(&id)
                .is_none_or(|(_, again)| *again <= Instant::now())
    }
}

impl Engine {
    /// Vouches for the attempts of this host until told to stop: a task of its own, since an end that takes
    /// long to write down must not cost others their lease.
    pub(super) async fn vouch(self) {
        while !self.stop.is_cancelled() {
            if let Err(error) = self.renew().await {
                tracing::warn!(cause = format!("{error:#}"), "leases cannot be renewed");
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
        }
    }

    async fn renew(&self) -> anyhow::Result<()> {
        // Before the statement, however long that takes: a shim's lease ends no later than the record's.
        let until = (Utc::now() + LEASE).timestamp_millis();
        self.db.renew_leases(&self.host, LEASE).await?;
        let until = u64::try_from(until).unwrap_or(0);
        for (id, key) in self.db.attempts_of(&self.host).await? {
            let key = AttemptId::new(&*key)?;
            match self.backend.local.renew(&key, until).await {
                // It is to be begun, or it is being forgotten.
                Ok(()) | Err(pointsman_jobs::Error::Unknown(_)) => {}
                Err(error) => {
                    tracing::warn!(attempt = id, %error, "an attempt cannot be vouched for");
                }
            }
        }
        Ok(())
    }

    /// Follows attempts until told to stop.
    pub(super) async fn attempts(self, days: u16) {
        let bell = match self.backend.local.bell() {
            Ok(bell) => Some(bell),
            Err(error) => {
                tracing::warn!(%error, "ends of jobs cannot ring; they are looked for each second");
                None
            }
        };
        let mut ending = Ending::default();
        let mut retired: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            let done = async {
                self.follow(&mut ending).await?;
                if retired.is_none_or(|last| last.elapsed() >= RETIRE_EVERY) {
                    self.db.retire_effects(i32::from(days), RETIRE_PAGE).await?;
                    self.sweep().await?;
                    retired = Some(Instant::now());
                }
                anyhow::Ok(())
            };
            // What has ended meanwhile is taken over all the same, or there would be room for no other.
            if let Err(error) = done.await {
                tracing::warn!(cause = format!("{error:#}"), "jobs cannot be followed");
            }
            let rung = async {
                match &bell {
                    Some(bell) => {
                        let _ = bell.next().await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = rung => {}
                // Then there is room for the next one.
                () = ending.settle() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Removes the folder of an attempt whose end is on record.
    async fn forget(&self, id: &AttemptId) -> Result<(), pointsman_jobs::Error> {
        let detached = {
            let _alone = self.begins.write().await;
            self.backend.local.detach(id).await?
        };
        // However much it left: others begin meanwhile.
        detached.remove().await
    }

    /// Removes what a host that died left: folders of attempts whose end is on record, and halves of folders.
    async fn sweep(&self) -> anyhow::Result<()> {
        for id in self.backend.local.list().await? {
            if self.db.attempt_by_key(id.as_str()).await? == Some(true) {
                match self.forget(&id).await {
                    // Its host gave it up while it ran; it ends by itself.
                    Err(pointsman_jobs::Error::NotEnded(_)) => {}
                    forgotten => forgotten?,
                }
            }
        }
        self.backend.local.sweep().await?;
        Ok(())
    }

    /// Looks which attempts have ended, and begins to write down how.
    async fn follow(&self, ending: &mut Ending) -> anyhow::Result<()> {
        for (id, key) in self.db.attempts_of(&self.host).await? {
            if !ending.is_due(id) {
                continue;
            }
            let key = AttemptId::new(&*key)?;
            let state = match self.backend.local.state(&key).await {
                Ok(state) => state,
                // It keeps no other from being looked at.
                Err(error) => {
                    let text = format!("where it is cannot be read: {error}");
                    ending.later(id, &error.into());
                    self.db.attempt_says(id, Some(&text)).await?;
                    continue;
                }
            };
            let over = match state {
                State::Ended(_) | State::Lost => true,
                State::Unknown => !self.db.is_to_start(id).await?,
                State::Starting | State::Running { .. } => false,
            };
            if over {
                let (engine, tries) = (self.clone(), ending.failed.get(&id).map_or(0, |f| f.0));
                let task = async move { engine.conclude(id, &key, tries).await };
                let task = ending.tasks.spawn(task).id();
                ending.under_way.insert(task, id);
            }
        }
        for id in self.db.lapsed(&self.host, LAPSE_GRACE).await? {
            let text = "its host has not vouched for it any more";
            self.db
                .attempt_ended(id, &Ended::without_report("lost", text))
                .await?;
        }
        Ok(())
    }

    /// Writes down how an attempt ended, once all that it left is kept.
    async fn conclude(&self, id: i64, key: &AttemptId, tries: u32) -> anyhow::Result<()> {
        let ended = match self.backend.ended(key, tries >= KEEP_TRIES).await {
            Ok(ended) => ended,
            Err(error) => {
                let text = format!("it has ended, and what it left cannot be kept yet: {error:#}");
                self.db.attempt_says(id, Some(&text)).await?;
                return Err(error);
            }
        };
        failpoint("collected");
        self.db.attempt_ended(id, &ended).await?;
        failpoint("ended");
        self.forget(key).await?;
        Ok(())
    }
}
