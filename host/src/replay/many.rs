//! Many decisions made again, on several threads.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;

use pointsman_api::pipeline::DecisionRecord;

use super::{Again, Asked, NotReplayable, again};
use crate::policy::Plugin;

/// Records that wait for a thread: each may have megabytes.
const AHEAD: usize = 16;

/// The threads that make decisions are gone: one of them broke.
#[derive(Debug, thiserror::Error)]
#[error("the replay's threads ended")]
pub struct Gone;

/// Makes decisions again, by as many threads as there are processors and at most `calls_at_once`, which is what the
/// plugins' runtime makes at once: it refuses one more. Meanwhile `read` reads the next: it is given what takes a
/// record and the plugin that is to be asked, and waits where too many are ahead. `done` is told how each came out, in
/// no order. `engine` is the fingerprint of the engine here.
///
/// # Errors
/// What `read` says.
pub fn many<E>(
    engine: &str,
    calls_at_once: u32,
    asked: Asked,
    read: impl FnOnce(&mut dyn FnMut(Plugin, DecisionRecord) -> Result<(), Gone>) -> Result<(), E>,
    done: impl Fn(&DecisionRecord, Result<Again, NotReplayable>) + Sync,
) -> Result<(), E> {
    let most = usize::try_from(calls_at_once).unwrap_or(usize::MAX);
    let threads = thread::available_parallelism()
        .map_or(2, usize::from)
        .min(most);
    let (send, receive) = sync_channel::<(Plugin, DecisionRecord)>(AHEAD);
    // The threads have it alone: once none is left, whoever sends is told, and does not wait for ever.
    let receive = Arc::new(Mutex::new(receive));
    thread::scope(|scope| {
        for _ in 0..threads {
            let (receive, done) = (Arc::clone(&receive), &done);
            scope.spawn(move || {
                loop {
                    let next = receive.lock().map(|receive| receive.recv());
                    let Ok(Ok((plugin, record))) = next else {
                        return;
                    };
                    done(&record, again(&plugin, asked, &record, engine));
                }
            });
        }
        drop(receive);
        let result = read(&mut |plugin, record| send.send((plugin, record)).map_err(|_| Gone));
        drop(send);
        result
    })
}
