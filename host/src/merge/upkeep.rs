//! Upkeep: what was kept for long enough goes, and repositories are packed. One host at a time does a piece of it, and
//! what fails is logged and done another time: nothing waits for any of this.

use std::collections::BTreeSet;
use std::time::Duration;

use pointsman_forge::{Compacted, Error as GitError};

use super::Engine;
use crate::db::upkeep::Retired;

/// How often to ask whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often logs and files are removed that were kept for long enough.
const STORE_EVERY: Duration = Duration::from_secs(600);
/// How often rows are deleted that nobody needs any more.
const ROWS_EVERY: Duration = Duration::from_secs(3_600);
/// How often a repository is packed: git itself is never left to begin that in the middle of a push.
const GIT_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// How long a host has a piece of upkeep to itself: longer than git may take to pack a repository.
const LEASE: Duration = Duration::from_secs(5 * 3_600);
const _: () = assert!(LEASE.as_secs() > pointsman_forge::limits::COMPACT.as_secs());
/// Attempts that are read at once.
const STORE_PAGE: i64 = 100;
/// Attempts that cannot be removed, after which the others are left for the next time.
const STORE_GIVES_UP: u64 = 100;
/// Rows of each table that are deleted at once.
const ROWS_PAGE: i64 = 1_000;

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Days {
    /// What decisions were made of, and what can be derived again.
    pub decisions: u16,
    /// What attempts left: commits of lanes, logs, files.
    pub artifacts: u16,
}

impl Engine {
    /// Does what is due until told to stop.
    pub(super) async fn upkeep(self, days: Days) {
        while !self.stop.is_cancelled() {
            let (store, rows) = (days.artifacts, days.decisions);
            self.due("store", STORE_EVERY, self.clear_store(store))
                .await;
            self.due("rows", ROWS_EVERY, self.clear_rows(rows)).await;
            let repositories = match self.db.local_repositories().await {
                Ok(repositories) => repositories,
                Err(error) => {
                    crate::turn::log(&error);
                    vec![]
                }
            };
            for repository in repositories {
                if self.stop.is_cancelled() {
                    return;
                }
                // One that another host has is that one's to look after.
                if self.has(&repository) {
                    let name = format!("git/{repository}");
                    let work = self.tidy(&repository, days.artifacts);
                    self.due(&name, GIT_EVERY, work).await;
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Does a piece of upkeep if it is due and no other host is at it. What failed is due again when it would have
    /// been: trying at once would fail at once.
    async fn due(
        &self,
        name: &str,
        every: Duration,
        work: impl Future<Output = anyhow::Result<()>>,
    ) {
        let done = async {
            if !self.db.claim_upkeep(name, &self.host, every, LEASE).await? {
                return Ok(());
            }
            let done = tokio::select! {
                () = self.stop.cancelled() => Ok(()),
                done = work => done,
            };
            if self.stop.is_cancelled() {
                // It goes on where it was after the next start.
                return Ok(self.db.release_upkeep(&self.host).await?);
            }
            self.db.upkeep_done(name, &self.host).await?;
            done
        };
        if let Err(error) = done.await {
            tracing::warn!(
                upkeep = name,
                cause = format!("{error:#}"),
                "upkeep failed and is done another time"
            );
        }
    }

    /// Removes logs and files of attempts. They go first and are marked then: whatever happens in between is done
    /// again, and nothing is left that nobody knows of.
    async fn clear_store(&self, days: u16) -> anyhow::Result<()> {
        let mut after = None;
        let (mut attempts, mut failures) = (0_u64, 0_u64);
        let mut first = None;
        loop {
            let due = self
                .db
                .store_due(i32::from(days), after, STORE_PAGE)
                .await?;
            let Some(last) = due.last() else { break };
            if failures >= STORE_GIVES_UP {
                // It is the store that fails, and not these.
                break;
            }
            after = Some((last.ended_at, last.id));
            for attempt in &due {
                match self.backend.remove(&attempt.key).await {
                    Ok(()) => {
                        self.db.store_removed(attempt.id).await?;
                        attempts += 1;
                    }
                    Err(error) => {
                        failures += 1;
                        first.get_or_insert(error);
                    }
                }
            }
        }
        if attempts > 0 {
            tracing::info!(attempts, "removed logs and files past their retention");
        }
        match first {
            Some(error) => Err(error.context(format!("{failures} attempts cannot be removed"))),
            None => Ok(()),
        }
    }

    async fn clear_rows(&self, days: u16) -> anyhow::Result<()> {
        loop {
            let gone = self.db.retire_pull_rows(i32::from(days), ROWS_PAGE).await?;
            if gone == Retired::default() {
                return Ok(());
            }
            tracing::info!(
                heads = gone.heads,
                conflicts = gone.conflicts,
                reactions = gone.reactions,
                wakes = gone.wakes,
                "deleted rows past their retention"
            );
        }
    }

    /// Lets go of the commits of lanes that ended long ago, and packs a repository. What landed is on its branch,
    /// and stays.
    async fn tidy(&self, repository: &str, days: u16) -> anyhow::Result<()> {
        let opened = self.forge.open(repository).await?;
        // The refs first: a lane is on record before its commit is built, so what is kept here and not wanted there
        // is not wanted.
        let kept = opened.kept().await?;
        let wanted = self.db.lanes_to_keep(repository, i32::from(days)).await?;
        let wanted: BTreeSet<u64> = wanted.into_iter().map(i64::cast_unsigned).collect();
        let mut lanes = 0_u64;
        for lane in kept.into_keys().filter(|lane| !wanted.contains(lane)) {
            opened.let_go(lane).await?;
            lanes += 1;
        }
        if lanes > 0 {
            tracing::info!(repository, lanes, "let go of the commits of ended lanes");
        }
        match opened.compact().await {
            Ok(Compacted::Done | Compacted::Busy) => Ok(()),
            Err(error @ GitError::Corrupt { .. }) => {
                Err(anyhow::Error::from(error).context("the repository is damaged"))
            }
            Err(error) => Err(error.into()),
        }
    }
}
