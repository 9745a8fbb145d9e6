//! Where an attempt is: read off its folder, in an order that cannot be fooled by a shim that moves on
//! meanwhile.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::{State, survivors};
use crate::folder::{Claim, Folder};
use crate::limits::START_PATIENCE_MS;
use crate::{AttemptId, Error, Exit, Outcome};

/// How long ago it was changed.
pub(super) fn age_ms(path: &Path) -> Option<u64> {
    let changed = fs::symlink_metadata(path).ok()?.modified().ok()?;
    let age = SystemTime::now().duration_since(changed).ok()?;
    u64::try_from(age.as_millis()).ok()
}

/// That it has ended, or the error that it has not.
pub(super) fn ended(folder: &Folder, id: &AttemptId) -> Result<(), Error> {
    match state(folder)? {
        State::Ended(_) | State::Lost => Ok(()),
        State::Unknown => Err(Error::Unknown(id.clone())),
        State::Starting | State::Running { .. } => Err(Error::NotEnded(id.clone())),
    }
}

/// Where it is, from nothing but its folder.
pub(super) fn state(folder: &Folder) -> Result<State, Error> {
    if !folder.exists() {
        return Ok(State::Unknown);
    }
    if let Some(exit) = folder.exit()? {
        return Ok(of_exit(exit));
    }
    // The order matters. A shim takes the lock, then makes `begun`, and writes `exit.json` before it lets
    // the lock go; so whoever sees `begun`, then no lock, then no exit, sees a shim that is dead.
    let begun = folder.begun()?;
    let is_locked = folder.is_locked()?;
    match begun {
        Some(begun) if is_locked => Ok(State::Running {
            since_ms: begun.at_ms,
        }),
        Some(begun) => {
            if let Some(exit) = folder.exit()? {
                return Ok(of_exit(exit));
            }
            survivors::kill(folder)?;
            lost(folder, Some(begun.at_ms))
        }
        None if is_locked => Ok(State::Starting),
        None => {
            let age = age_ms(&folder.path("spec.json")).unwrap_or(0);
            if age <= START_PATIENCE_MS {
                return Ok(State::Starting);
            }
            // From here on no shim can begin it; if one just did, it is running.
            match folder.claim(0).map_err(Error::io("claimed", &folder.0))? {
                Claim::Won => lost(folder, None),
                Claim::Taken => Ok(State::Starting),
            }
        }
    }
}

fn of_exit(exit: Exit) -> State {
    match exit.outcome {
        Outcome::Lost => State::Lost,
        _ => State::Ended(exit),
    }
}

/// Writes down that it is lost, so that nobody has to search for survivors again.
fn lost(folder: &Folder, began_ms: Option<u64>) -> Result<State, Error> {
    folder
        .write_exit(&Exit::bare(Outcome::Lost, began_ms))
        .map_err(Error::io("written", folder.path("exit.json")))?;
    let _ = fs::remove_dir_all(folder.path("secrets"));
    Ok(State::Lost)
}
