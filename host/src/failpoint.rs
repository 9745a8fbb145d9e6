//! Moments at which a test lets the host die as if it were killed: between something that was done outside
//! the database and the record of it, and around the moment in which a record counts.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `NAME:N` in the environment: the host kills itself when it comes to NAME for the Nth time.
const VARIABLE: &str = "POINTSMAN_FAILPOINT";

/// Dies here, if a test says so. Nothing is written, closed or said, as with `kill -9`.
pub(crate) fn failpoint(name: &str) {
    static WANTED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let wanted = std::env::var(VARIABLE).ok()?;
        let (name, count) = wanted.split_once(':')?;
        Some((name.to_owned(), AtomicU64::new(count.parse().ok()?)))
    });
    let Some((wanted, left)) = wanted else { return };
    if wanted == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        let this = rustix::process::getpid();
        let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
    }
}
