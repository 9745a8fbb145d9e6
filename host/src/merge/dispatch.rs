//! Who takes the next turn: one task looks which pipelines have something to do, and hands each to a thread that is
//! free. A commit costs one look, however many threads there are.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::Engine;
use crate::error::Result;

/// How long a pipeline waits after a turn of it failed; each time twice as long, up to a minute.
const FIRST_AGAIN: Duration = Duration::from_secs(1);

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// There may be more to do.
    Something,
    /// There is nothing to do.
    Nothing,
    /// It failed, and waits before the next.
    Failed,
}

/// What the threads and the looking task know of the pipelines.
#[derive(Clone, Default)]
struct Shared {
    pipelines: Arc<Mutex<Pipelines>>,
    /// One was let go of that may have more to do.
    again: Arc<Notify>,
}

#[derive(Default)]
struct Pipelines {
    /// Somebody here is at them, or is about to be.
    taken: HashSet<i32>,
    /// Their turn failed: how often, and when to try again.
    failed: HashMap<i32, (u32, Instant)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pipelines> {
        self.pipelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks one that has something to do as taken, unless it is, or has to wait.
    fn take(&self, pipeline: i32) -> bool {
        let mut pipelines = self.lock();
        let waits = pipelines
            .failed
            .get(&pipeline)
            .is_some_and(|(_, until)| Instant::now() < *until);
        !waits && pipelines.taken.insert(pipeline)
    }
}

/// Where the looking task puts what it finds.
pub(super) struct Due {
    sender: mpsc::UnboundedSender<i32>,
    shared: Shared,
}

/// Where the threads take it from.
#[derive(Clone)]
pub(super) struct Work {
    receiver: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<i32>>>,
    shared: Shared,
}

/// Both ends. Each pipeline is in it once at most, so that it stays small.
pub(super) fn channel() -> (Due, Work) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Shared::default();
    let work = Work {
        receiver: Arc::new(tokio::sync::Mutex::new(receiver)),
        shared: shared.clone(),
    };
    (Due { sender, shared }, work)
}

/// A pipeline that a thread is at. Dropped without [`Taken::done`], as by a panic, it counts as failed: it must not stay
/// taken for ever.
pub(super) struct Taken {
    pub(super) pipeline: i32,
    shared: Shared,
    took: Took,
}

impl Taken {
    /// Lets go of the pipeline.
    pub(super) fn done(mut self, took: Took) {
        self.took = took;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut pipelines = self.shared.lock();
        pipelines.taken.remove(&self.pipeline);
        match self.took {
            Took::Failed => {
                let (tries, until) = pipelines
                    .failed
                    .entry(self.pipeline)
                    .or_insert((0, Instant::now()));
                *until = Instant::now() + FIRST_AGAIN * 2_u32.pow((*tries).min(6));
                *tries += 1;
            }
            Took::Something | Took::Nothing => {
                pipelines.failed.remove(&self.pipeline);
            }
        }
        drop(pipelines);
        if self.took == Took::Something {
            self.shared.again.notify_one();
        }
    }
}

impl Work {
    /// The next pipeline; none: nobody looks any more.
    pub(super) async fn next(&self) -> Option<Taken> {
        let pipeline = self.receiver.lock().await.recv().await?;
        Some(Taken {
            pipeline,
            shared: self.shared.clone(),
            took: Took::Failed,
        })
    }
}

impl Engine {
    /// Looks until told to stop. A failure costs time and nothing else.
    pub(super) async fn find_work(mut self, due: Due) {
        let again = Arc::clone(&due.shared.again);
        while !self.stop.is_cancelled() {
            // Read first: a commit that comes while we look then wakes us again.
            self.commits.mark_unchanged();
            match self.hand_out(&due).await {
                Ok(()) => tokio::select! {
                    () = again.notified() => {}
                    () = self.wait() => {}
                },
                Err(error) => {
                    crate::turn::log(&error);
                    self.pause().await;
                }
            }
        }
    }

    async fn hand_out(&self, due: &Due) -> Result<()> {
        let (mut pipelines, wakes) = self.db.merge_work().await?;
        if wakes && self.db.wakes_due().await? > 0 {
            (pipelines, _) = self.db.merge_work().await?;
        }
        let elsewhere = self.elsewhere.pipelines();
        for pipeline in pipelines {
            if !elsewhere.contains(&pipeline) && due.shared.take(pipeline) {
                // The threads end no sooner than this task.
                let _ = due.sender.send(pipeline);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pipeline_whose_turn_panics_waits_and_is_let_go() {
        let (due, work) = channel();
        assert!(due.shared.take(7));
        assert!(!due.shared.take(7), "somebody is at it");
        due.sender.send(7).unwrap();
        let taken = work.next().await.unwrap();
        let panicked = tokio::spawn(async move {
            let _taken = taken;
            panic!("as a fault of ours would");
        });
        assert!(panicked.await.is_err());
        assert!(!due.shared.take(7), "it waits a while");
        assert!(!due.shared.lock().taken.contains(&7));

        assert!(due.shared.take(8));
        due.sender.send(8).unwrap();
        work.next().await.unwrap().done(Took::Something);
        due.shared.again.notified().await;
        assert!(due.shared.take(8));
    }
}
