//! The host's side: makes attempts, looks at them, ends them, and removes them. Holds no state but
//! paths, so any number of these, in any number of processes, can look at the same folder.

mod prepare;
mod remove;
mod state;
mod survivors;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::bell::Bell;
use crate::folder::{Claim, Folder, now_ms, write_by_rename, write_once};
use crate::limits::ABANDONED_MS;
use crate::log::LogPart;
use crate::{AttemptId, Error, Exit, Outcome, Report, Spec, beneath, collect, log};

/// The local job backend: a folder, and the executable that has the shim in it.
#[derive(Debug, Clone)]
pub struct Local {
    root: PathBuf,
    exe: PathBuf,
}

/// What [`Local::start`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// Nothing was known of the id: this call made the attempt.
    New,
    /// It was known: running, ended, cancelled beforehand, or made and not yet begun, and then it begins now.
    AlreadyThere,
}

/// Where an attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Never heard of, or forgotten.
    Unknown,
    /// Made, and its shim has not begun. [`Local::start`] helps one whose host died in between; after
    /// [`crate::limits::START_PATIENCE_MS`] it is given up, and is `Lost`.
    Starting,
    /// A shim holds it.
    Running {
        /// Unix time in milliseconds at which it began.
        since_ms: u64,
    },
    /// It has ended, and no process of it is left.
    Ended(Exit),
    /// The shim was killed, or never came. No process of it is left that could be found.
    Lost,
}

impl Local {
    /// Makes the folder, if need be. `exe` is run as `exe __shim PATH` and must call [`crate::shim`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(root: impl AsRef<Path>, exe: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.as_ref();
        fs::create_dir_all(root.join("attempts")).map_err(Error::io("made", root))?;
        let root = fs::canonicalize(root).map_err(Error::io("found", root))?;
        for directory in [root.clone(), root.join("attempts")] {
            // Jobs of other users pass through and cannot list: each attempt has its own guard.
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o711))
                .map_err(Error::io("opened to jobs", &directory))?;
        }
        // The shim starts elsewhere, so a relative path would be another's.
        let exe = exe.into();
        let exe = std::path::absolute(&exe).map_err(Error::io("found", exe))?;
        Ok(Self { root, exe })
    }

    /// Starts an attempt, at most once for its id, whatever happened before: calling it again after a
    /// crash at any point is right. A spec for an id that is known is not looked at.
    ///
    /// # Errors
    /// [`Error::BadSpec`], [`Error::NotRoot`], [`Error::NotReachable`], [`Error::Secret`],
    /// [`Error::Io`]; nothing has been run then.
    pub async fn start(&self, id: &AttemptId, spec: &Spec) -> Result<Started, Error> {
        let (this, folder, spec) = (self.clone(), self.folder(id), spec.clone());
        blocking(move || {
            let mut started = Started::AlreadyThere;
            if !folder.exists() {
                spec.check()?;
                started = prepare::prepare(&this.root, &folder, &spec)?;
            }
            if folder.begun()?.is_none() && !folder.is_locked()? {
                this.spawn_shim(&folder)?;
            }
            Ok(started)
        })
        .await
    }

    /// Runs the shim, detached. It takes no word and no signal from this process, and says nothing to it.
    fn spawn_shim(&self, folder: &Folder) -> Result<(), Error> {
        let spawned = tokio::process::Command::new(&self.exe)
            .arg("__shim")
            .arg(&folder.0)
            // Its environment can be read by jobs of the same user, and the host's has secrets in it.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(false)
            .spawn();
        // Dropped: tokio reaps it when it ends, if this process still lives.
        spawned.map(drop).map_err(Error::io("run", &self.exe))
    }

    /// Where it is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn state(&self, id: &AttemptId) -> Result<State, Error> {
        let folder = self.folder(id);
        blocking(move || state::state(&folder)).await
    }

    /// Vouches for the attempt until `until_ms` (Unix time). One that has ended does not mind.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Io`].
    pub async fn renew(&self, id: &AttemptId, until_ms: u64) -> Result<(), Error> {
        let (folder, id) = (self.folder(id), id.clone());
        blocking(move || {
            if !folder.exists() {
                return Err(Error::Unknown(id));
            }
            let path = folder.path("lease");
            write_by_rename(&path, until_ms.to_string().as_bytes())
                .map_err(Error::io("written", path))
        })
        .await
    }

    /// Asks for the end. The first reason stays. An attempt that has not begun never will, and an id that
    /// is not known is kept as cancelled, so that a start that comes late finds it so.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn cancel(&self, id: &AttemptId, why: &str) -> Result<(), Error> {
        let (folder, why) = (self.folder(id), why.to_owned());
        blocking(move || {
            let exit = |why| Exit::bare(Outcome::Cancelled { why }, None);
            if !folder.exists() && prepare::tombstone(&folder, &exit(why.clone()))? == Started::New
            {
                return Ok(());
            }
            let path = folder.path("cancel");
            write_once(&path, why.as_bytes()).map_err(Error::io("written", path))?;
            if folder.claim(0).map_err(Error::io("claimed", &folder.0))? == Claim::Won {
                return folder
                    .write_exit(&exit(why))
                    .map_err(Error::io("written", folder.path("exit.json")));
            }
            folder.wake();
            Ok(())
        })
        .await
    }

    /// What an ended attempt left: outputs, tests, and the list of its artifacts.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::NotEnded`], [`Error::Io`]. What is wrong with the job's own files is
    /// in [`Report::problems`].
    pub async fn collect(&self, id: &AttemptId) -> Result<Report, Error> {
        let (folder, id) = (self.folder(id), id.clone());
        blocking(move || {
            state::ended(&folder, &id)?;
            if !folder.path("spec.json").exists() {
                return Ok(Report::default());
            }
            collect::collect(&folder, &folder.spec()?)
        })
        .await
    }

    /// Opens an artifact that [`Local::collect`] listed, to be stored. Its path is checked again.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Refused`], [`Error::Io`].
    pub async fn open_artifact(&self, id: &AttemptId, path: &str) -> Result<fs::File, Error> {
        let (folder, id, path) = (self.folder(id), id.clone(), path.to_owned());
        blocking(move || {
            if !folder.exists() {
                return Err(Error::Unknown(id));
            }
            let owner = collect::owner(&folder.spec()?);
            let work = folder.path("work");
            let root = beneath::root(&work).map_err(Error::io("opened", &work))?;
            beneath::file_by_path(root, &path, owner).map_err(|refusal| Error::Refused {
                path,
                why: refusal.to_string(),
            })
        })
        .await
    }

    /// A part of the output, also while it runs. `from` is an offset in the whole output.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Io`].
    pub async fn read_log(&self, id: &AttemptId, from: u64, max: usize) -> Result<LogPart, Error> {
        let (folder, id) = (self.folder(id), id.clone());
        blocking(move || {
            if !folder.exists() {
                return Err(Error::Unknown(id));
            }
            // Before the reading: what was written in between is then not missed.
            let is_final = folder.exit()?.is_some();
            let mut part =
                log::read(&folder, from, max).map_err(Error::io("read", folder.path("log")))?;
            part.ended &= is_final;
            Ok(part)
        })
        .await
    }

    /// The kept output of an ended attempt as one file, to be stored; where some of it is missing, with a file that says
    /// what ([`crate::Cut`]).
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::NotEnded`], [`Error::Io`].
    pub async fn open_log(&self, id: &AttemptId) -> Result<(fs::File, Option<fs::File>), Error> {
        let (folder, id) = (self.folder(id), id.clone());
        blocking(move || {
            state::ended(&folder, &id)?;
            log::whole(&folder).map_err(Error::io("read", folder.path("log")))
        })
        .await
    }

    /// All attempts that have a folder here, sorted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn list(&self) -> Result<Vec<AttemptId>, Error> {
        let attempts = self.root.join("attempts");
        blocking(move || {
            let mut found = Vec::new();
            for entry in fs::read_dir(&attempts).map_err(Error::io("listed", &attempts))? {
                let entry = entry.map_err(Error::io("listed", &attempts))?;
                // What begins with a dot is being made or removed.
                found.extend(
                    entry
                        .file_name()
                        .to_str()
                        .and_then(|name| name.parse().ok()),
                );
            }
            found.sort();
            Ok(found)
        })
        .await
    }

    /// Removes an ended attempt with all that it left. Unknown is as good as removed.
    ///
    /// # Errors
    /// [`Error::NotEnded`], [`Error::Io`]; what could not be removed is taken up by [`Local::sweep`].
    pub async fn forget(&self, id: &AttemptId) -> Result<(), Error> {
        self.detach(id).await?.remove().await
    }

    /// Makes an ended attempt unknown, at once however much it left; that is to be removed afterwards.
    ///
    /// # Errors
    /// [`Error::NotEnded`], [`Error::Io`].
    pub async fn detach(&self, id: &AttemptId) -> Result<Detached, Error> {
        let (folder, id) = (self.folder(id), id.clone());
        blocking(move || {
            if !folder.exists() {
                return Ok(Detached(None));
            }
            state::ended(&folder, &id)?;
            let gone = aside(&folder.0, ".gone-");
            match fs::rename(&folder.0, &gone) {
                // Somebody else forgets it just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Detached(None)),
                other => other
                    .map_err(Error::io("removed", &folder.0))
                    .map(|()| Detached(Some(gone))),
            }
        })
        .await
    }

    /// Removes what hosts that died left half made or half removed. Says how many folders.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn sweep(&self) -> Result<usize, Error> {
        let attempts = self.root.join("attempts");
        blocking(move || {
            let mut swept = 0;
            for entry in fs::read_dir(&attempts).map_err(Error::io("listed", &attempts))? {
                let entry = entry.map_err(Error::io("listed", &attempts))?;
                let path = entry.path();
                let name = entry.file_name();
                let is_hidden = name.as_encoded_bytes().starts_with(b".");
                if is_hidden && state::age_ms(&path).is_some_and(|age| age > ABANDONED_MS) {
                    remove::remove_tree(&path).map_err(Error::io("removed", path))?;
                    swept += 1;
                }
            }
            Ok(swept)
        })
        .await
    }

    /// Hears of beginnings and ends at once. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bell(&self) -> Result<Bell, Error> {
        Bell::bind(&self.root)
    }

    fn folder(&self, id: &AttemptId) -> Folder {
        Folder(self.root.join("attempts").join(id.as_str()))
    }
}

/// What an attempt left that is known no more. Dropped, it stays until [`Local::sweep`] finds it.
#[derive(Debug)]
pub struct Detached(Option<PathBuf>);

impl Detached {
    /// Removes it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn remove(self) -> Result<(), Error> {
        let Some(gone) = self.0 else { return Ok(()) };
        blocking(move || remove::remove_tree(&gone).map_err(Error::io("removed", gone))).await
    }
}

/// A name beside the folder that no id can have.
fn aside(folder: &Path, prefix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(prefix);
    name.push(folder.file_name().unwrap_or_default());
    crate::folder::temporary_beside(&folder.with_file_name(name))
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Unix time in milliseconds, as leases and exits count it.
#[must_use]
pub fn unix_ms() -> u64 {
    now_ms()
}
