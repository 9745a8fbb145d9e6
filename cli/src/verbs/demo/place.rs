//! The directory that a demonstration works in, and that it takes away again.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::error::Error;

/// How often a directory is tried to be taken away: a job that was just ended may still write into it.
const REMOVALS: u32 = 20;
/// How long to wait between two tries.
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Place {
    root: PathBuf,
    /// It was there, empty, before the demonstration.
    was_there: bool,
}

impl Place {
    /// An empty directory: the one that was named, or a temporary one.
    pub(super) fn make(named: Option<&Path>) -> Result<Place, Error> {
        let Some(named) = named else {
            let made = tempfile::Builder::new()
                .prefix("pointsman-demo-")
                .tempdir()
                .map_err(|error| Error::failed(format!("no temporary directory: {error}")))?;
            return Place::open(made.keep(), false);
        };
        let cannot = |error: std::io::Error| {
            Error::usage(
                format!("cannot use {}: {error}", named.display()),
                "name a directory to make with --dir, or leave --dir out for a temporary one",
            )
        };
        let was_there = match fs::read_dir(named).map(Iterator::count) {
            Ok(0) => true,
            Ok(_) => {
                return Err(Error::usage(
                    format!("{} is not empty", named.display()),
                    "a demonstration begins in an empty directory: name another one with --dir",
                ));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(named).map_err(cannot)?;
                false
            }
            Err(error) => return Err(cannot(error)),
        };
        Place::open(fs::canonicalize(named).map_err(cannot)?, was_there)
    }

    fn open(root: PathBuf, was_there: bool) -> Result<Place, Error> {
        let place = Place { root, was_there };
        // PostgreSQL does not run as root, and its account has to get through; to list it, it need not.
        fs::set_permissions(place.root(), fs::Permissions::from_mode(0o711))
            .map_err(|error| place.cannot("open", &error))?;
        place
            .make_runs()
            .map_err(|error| place.cannot("write to", &error))?;
        Ok(place)
    }

    /// What root runs, runs its jobs as somebody else, who has to write there.
    fn make_runs(&self) -> std::io::Result<()> {
        let locks = self.runs().join("locks");
        fs::create_dir_all(&locks)?;
        if fs::metadata(&self.root)?.uid() == 0 {
            for dir in [self.runs(), locks] {
                fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
            }
            // Each of them as somebody else.
            let lines = self.runs().join("lines");
            fs::File::create(&lines)?;
            fs::set_permissions(lines, fs::Permissions::from_mode(0o666))?;
        }
        Ok(())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The server's.
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where somebody works: a clone.
    pub(super) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// What the jobs write down.
    pub(super) fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The server's log, of all its lives.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }

    fn cannot(&self, what: &str, error: &std::io::Error) -> Error {
        Error::hinted(
            format!("cannot {what} {}: {error}", self.root.display()),
            "name another directory with --dir",
        )
    }

    /// Takes it away.
    pub(super) fn remove(self) -> Result<(), Error> {
        let mut last = None;
        for _ in 0..REMOVALS {
            match self.try_remove() {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
            thread::sleep(REMOVAL_PAUSE);
        }
        match last {
            Some(error) => Err(Error::hinted(
                format!("cannot remove {}: {error}", self.root.display()),
                "everything has stopped: remove it by hand",
            )),
            None => Ok(()),
        }
    }

    fn try_remove(&self) -> std::io::Result<()> {
        if !self.was_there {
            return match fs::remove_dir_all(&self.root) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
        }
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn only_an_empty_directory_is_taken_and_it_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::make(Some(dir.path())).unwrap();
        fs::write(place.log(), "").unwrap();
        let refused = Place::make(Some(dir.path())).err().unwrap();
        assert_eq!(refused.exit(), Exit::Usage);
        place.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let inner = dir.path().join("new/place");
        Place::make(Some(&inner)).unwrap().remove().unwrap();
        assert!(!inner.exists());
    }
}
