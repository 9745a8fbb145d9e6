//! Collection of what nothing refers to any more.

use crate::error::Error;
use crate::limits::COMPACT;
use crate::repository::Repository;

/// What [`Repository::compact`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compacted {
    /// Everything is packed.
    Done,
    /// Somebody else is at it.
    Busy,
}

impl Repository {
    /// Packs objects and refs, and drops what nothing has referred to for two weeks: long after a
    /// lane that was built was kept, or failed to be. Pushes, builds and landings go on meanwhile. It
    /// never happens on its own; once a day is right for a busy repository.
    ///
    /// # Errors
    /// Git fails.
    pub async fn compact(&self) -> Result<Compacted, Error> {
        let output = self
            .git("gc")
            .args(["--quiet", "--prune=2.weeks.ago"])
            .limit(COMPACT)
            .output(&[0, 128])
            .await?;
        if output.code == 0 {
            return Ok(Compacted::Done);
        }
        if output.stderr.contains("already running") {
            return Ok(Compacted::Busy);
        }
        let detail = output.stderr.trim().replace('\n', "; ");
        Err(if crate::git::tells_damage(&output.stderr) {
            self.corrupt(detail)
        } else {
            Error::Failed {
                command: "gc",
                status: format!("exit status: {}", output.code),
                detail,
            }
        })
    }
}
