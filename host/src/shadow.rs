//! Candidates in shadow: asked what the active binding was asked, and only compared.
//!
//! A candidate reads decisions that are on record already, so it can neither slow a turn nor fail one,
//! and nothing acts on what it says. Every host works on all candidates; who writes first counts.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::Db;
use crate::db::listen::POLL;
use crate::db::shadow::{Followed, Following, NewDifference};
use crate::error::{Error, Result};
use crate::policy::{Plugin, Runtime};
use crate::replay::{self, Asked, NotReplayable};

/// Decisions that one candidate is asked about before the next candidate has its turn.
const PAGE: i64 = 20;
/// How long to wait after something failed: nobody waits for a candidate.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);
/// How long until a candidate that could not be loaded is loaded again: it may have been the machine.
const LOAD_AGAIN: Duration = Duration::from_secs(60);

/// Follows decisions until it is told to stop.
pub struct Shadows {
    db: Db,
    runtime: Runtime,
    commits: watch::Receiver<u64>,
    stop: CancellationToken,
    /// The candidates, loaded.
    loaded: HashMap<String, Plugin>,
    /// Those that could not be loaded, and when to try again.
    failed: HashMap<String, Instant>,
}

impl Shadows {
    /// On this database and this runtime.
    pub fn new(db: Db, runtime: Runtime, stop: CancellationToken) -> Self {
        Self {
            commits: db.commits(),
            db,
            runtime,
            stop,
            loaded: HashMap::new(),
            failed: HashMap::new(),
        }
    }

    /// Works until told to stop.
    pub async fn run(mut self) {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            // Read first: a commit that comes while we work then wakes us again.
            self.commits.mark_unchanged();
            let pause = match self.round().await {
                Ok(true) => continue,
                Ok(false) => POLL,
                Err(error) => {
                    tracing::warn!(%error, "the candidates in shadow wait");
                    FAILURE_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                // With no candidate there is nothing to follow; a new one is found soon enough.
                _ = self.commits.changed(), if pause == POLL && !self.loaded.is_empty() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// A page for each candidate; whether there was anything to do.
    async fn round(&mut self) -> Result<bool> {
        let candidates = self.db.following().await?;
        self.loaded
            .retain(|digest, _| candidates.iter().any(|c| c.digest == *digest));
        let mut worked = false;
        for candidate in &candidates {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            worked |= self.follow(candidate).await?;
        }
        Ok(worked)
    }

    async fn follow(&mut self, candidate: &Following) -> Result<bool> {
        let plugin = match self.loaded.get(&candidate.digest) {
            Some(plugin) => plugin.clone(),
            None => {
                let now = Instant::now();
                if self
                    .failed
                    .get(&candidate.digest)
                    .is_some_and(|at| now < *at)
                {
                    return Ok(false);
                }
                let wasm = self.db.plugin_wasm(&candidate.digest).await?;
                let plugin = match self.runtime.load(wasm).await {
                    Ok(plugin) => plugin,
                    // It keeps no other candidate from being asked.
                    Err(rejection) => {
                        let digest = &candidate.digest;
                        tracing::warn!(%digest, %rejection, "a candidate in shadow waits");
                        let why = rejection.to_string();
                        self.db.shadow_fails(candidate, &why).await?;
                        self.failed.insert(digest.clone(), now + LOAD_AGAIN);
                        return Ok(false);
                    }
                };
                self.failed.remove(&candidate.digest);
                self.loaded.insert(candidate.digest.clone(), plugin.clone());
                plugin
            }
        };
        let records = self.db.to_follow(candidate, PAGE).await?;
        let engine = self.runtime.engine_fingerprint().to_owned();
        let followed = tokio::task::spawn_blocking(move || {
            let mut followed = Followed::default();
            for record in &records {
                let again = replay::again(&plugin, Asked::Candidate, record, &engine);
                // Another time, then.
                if again == Err(NotReplayable::Here("busy")) {
                    break;
                }
                followed.after = record.id;
                let Ok(again) = again else {
                    followed.skipped += 1;
                    continue;
                };
                match replay::compare(record, &again) {
                    None => followed.agreed += 1,
                    Some(difference) => followed.differences.push(NewDifference {
                        decision: record.id,
                        outcome: again.ending.outcome.to_owned(),
                        code: again.ending.code,
                        text: again.ending.text,
                        place: difference.at,
                        before: difference.before,
                        after: difference.after,
                        fuel: i64::try_from(again.fuel).unwrap_or(i64::MAX),
                    }),
                }
            }
            followed
        })
        .await
        .map_err(|error| Error::Internal(error.into()))?;
        if followed.after == 0 {
            return Ok(false);
        }
        self.db.followed(candidate, &followed).await?;
        Ok(true)
    }
}
