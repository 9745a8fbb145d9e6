//! The runs that a kernel pipeline makes itself: fetch, build and test jobs for what `advance` wishes.
//!
//! `advance` says what should run (`kernel_wanted`), a turn here starts it: the highest priority first, as many at
//! once as the pipeline has slots. `run` says which jobs that are, the outbox starts them like those of a lane, and
//! as they end `triage` says how the run ended. That goes into the run's row, whose event makes the pipeline's own
//! turn ask `advance` again, which moves the version and wishes for what is next.
//!
//! What is to be started is read off the record, not off causes: a wish that nobody is at, of a version of which
//! `advance` has seen every run that ended. Without that last condition a run that just ended, which has not been
//! looked at, would be started once more. Only the end of an attempt is a cause.
//!
//! A wish that nobody says the jobs of is left to whoever makes runs outside; it is asked about again when `run` is
//! bound anew, when the wish changes, and after a while. Whoever holds the lock of a pipeline's runs takes these
//! turns. Should two hosts ever take the same one, the second finds its causes gone, or the wish taken, and writes
//! nothing of it.

mod ask;
mod question;
mod turn;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::db::Db;
use crate::db::listen::POLL;
use crate::db::merge::TurnLocks;
use crate::db::turn::Bound;
use crate::error::Result;
use crate::policy::{CallLimits, Runtime};
use crate::turn::call::Caller;

/// How long to wait after the database failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Looks after the runs of kernel pipelines until it is told to stop.
pub struct Runs {
    db: Db,
    caller: Caller,
    commits: watch::Receiver<u64>,
    stop: CancellationToken,
    /// Pipelines with a plugin that this host cannot load, and when to try again.
    held: HashMap<i32, (Vec<Bound>, tokio::time::Instant)>,
}

impl Runs {
    /// One on this database and this runtime.
    pub fn new(db: Db, runtime: Runtime, stop: CancellationToken, ceilings: CallLimits) -> Self {
        let commits = db.commits();
        Self {
            caller: Caller::new(db.clone(), runtime, ceilings),
            db,
            commits,
            stop,
            held: HashMap::new(),
        }
    }

    /// Works until told to stop, on a thread of its own, as turns do. What is still on its way `drain` after the end
    /// was asked for is let go.
    pub fn start(self, drain: Duration) -> JoinHandle<()> {
        crate::turn::on_a_thread(self.stop.clone(), drain, || self.run())
    }

    /// Works until told to stop. A failure costs time and nothing else.
    async fn run(mut self) {
        let mut locks: Option<TurnLocks> = None;
        while !self.stop.is_cancelled() {
            // Read first: a commit that comes while we work then wakes us again.
            self.commits.mark_unchanged();
            let stop = self.stop.clone();
            match self.round(&mut locks).await {
                Ok(true) => {}
                Ok(false) => tokio::select! {
                    () = stop.cancelled() => {}
                    _ = self.commits.changed() => {}
                    () = tokio::time::sleep(POLL) => {}
                },
                Err(error) => {
                    locks = None;
                    crate::turn::log(&error);
                    let _ = tokio::time::timeout(FAILURE_PAUSE, stop.cancelled()).await;
                }
            }
        }
    }

    /// A turn of each pipeline that has something to do; says whether there may be more.
    async fn round(&mut self, locks: &mut Option<TurnLocks>) -> Result<bool> {
        self.db.wishes_due().await?;
        let mut more = false;
        for pipeline in self.db.runs_work().await? {
            let connection = match locks {
                Some(locks) => locks,
                None => locks.insert(self.db.run_locks().await?),
            };
            if !connection.take(pipeline).await? {
                continue;
            }
            let taken = self.turn(pipeline).await;
            connection.let_go(pipeline).await?;
            more |= taken?;
        }
        Ok(more)
    }
}
