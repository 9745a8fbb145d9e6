//! The folder of one attempt: the whole protocol between host and shim. Both sides use this file, and
//! neither keeps anything elsewhere, so either can die at any point.
//!
//! | name | who writes | what |
//! |---|---|---|
//! | `spec.json` | host, before the folder has its name | what to run |
//! | `lock` | shim | a POSIX record lock, held for all of its life |
//! | `begun` | whoever is first | made once: by the shim before it runs anything, or by a host that gives the attempt up. Only one of them can, which is what makes "runs at most once" true |
//! | `lease` | host, by rename | Unix milliseconds until which the host vouches for it |
//! | `cancel` | host, once | why the attempt shall end |
//! | `wake` | host | a FIFO: a byte makes the shim look at `cancel` at once |
//! | `log`, `log.tail` | shim | the beginning and the end of the output (`log.rs`) |
//! | `exit.json` | shim, by rename; host for one that never ran or was lost | how it ended |
//! | `work`, `home`, `tmp`, `outputs`, `secrets` | job | everything else belongs to the host |
//!
//! The lock is a record lock, not `flock`, since the kernel can say who holds one (`F_GETLK`) without
//! taking it: a host that merely looks can never keep a shim from starting.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use rustix::process::{Flock, FlockType};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_SPEC_BYTES;
use crate::{Error, Exit, Spec};

/// The folder of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Folder(pub(crate) PathBuf);

/// Who made `begun`, and when.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// Unix milliseconds.
    pub(crate) at_ms: u64,
    /// The shim's process id; 0 if a host gave the attempt up.
    pub(crate) shim: i32,
}

/// Whether `begun` was made by this caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It was: what happens to this attempt is the caller's to say.
    Won,
    /// Somebody else was first.
    Taken,
}

impl Folder {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// What to run.
    pub(crate) fn spec(&self) -> Result<Spec, Error> {
        let path = self.path("spec.json");
        let text = read_bounded(&path, MAX_SPEC_BYTES).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&text)
            .map_err(io::Error::from)
            .map_err(Error::io("read", &path))
    }

    /// How it ended. A file that cannot be parsed was cut by a crash of the machine, and counts as none.
    pub(crate) fn exit(&self) -> Result<Option<Exit>, Error> {
        let path = self.path("exit.json");
        match read_bounded(&path, MAX_SPEC_BYTES) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    pub(crate) fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        write_by_rename(&self.path("exit.json"), &serde_json::to_vec(exit)?)
    }

    pub(crate) fn begun(&self) -> Result<Option<Begun>, Error> {
        let path = self.path("begun");
        match read_bounded(&path, 4096) {
            // Made and not yet written: it has begun just now.
            Ok(text) => Ok(Some(serde_json::from_slice(&text).unwrap_or(Begun {
                at_ms: now_ms(),
                shim: 0,
            }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    /// Tries to be the one who says what happens to this attempt. `shim` is 0 for a host.
    pub(crate) fn claim(&self, shim: i32) -> io::Result<Claim> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path("begun"));
        match made {
            Ok(mut file) => {
                let at_ms = now_ms();
                file.write_all(&serde_json::to_vec(&Begun { at_ms, shim })?)?;
                Ok(Claim::Won)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Claim::Taken),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock for as long as the file is open; None if somebody has it.
    pub(crate) fn lock(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path("lock"))?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a shim lives, without disturbing it.
    pub(crate) fn is_locked(&self) -> Result<bool, Error> {
        let path = self.path("lock");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("opened", path)(error)),
        };
        rustix::process::fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))
            .map(|holder| holder.is_some())
            .map_err(|error| Error::io("checked", path)(error.into()))
    }

    /// Until when the host vouches for the attempt, if it ever renewed.
    pub(crate) fn lease(&self) -> Option<u64> {
        let text = read_bounded(&self.path("lease"), 64).ok()?;
        std::str::from_utf8(&text).ok()?.trim().parse().ok()
    }

    /// Why the attempt shall end, if it shall.
    pub(crate) fn cancelled(&self) -> Option<String> {
        let text = read_bounded(&self.path("cancel"), 64 * 1024).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Makes the shim look, if there is one. Nobody reads: nobody has to be woken.
    pub(crate) fn wake(&self) {
        let open = OpenOptions::new()
            .write(true)
            .custom_flags(libc_nonblock())
            .open(self.path("wake"));
        if let Ok(mut fifo) = open {
            // A full FIFO wakes as well as one byte more.
            let _ = fifo.write(b"!");
        }
    }
}

/// `O_NONBLOCK` for [`OpenOptionsExt::custom_flags`].
fn libc_nonblock() -> i32 {
    rustix::fs::OFlags::NONBLOCK.bits().cast_signed()
}

/// Writes a file that is either whole or not there. It is not synced: what the machine's own end cuts
/// short is an attempt that ended with it, and is found to be lost.
pub(crate) fn write_by_rename(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file
        .write_all(content)
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// As [`write_by_rename`], but the first one stays.
pub(crate) fn write_once(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let written = fs::write(&temporary, content).and_then(|()| fs::hard_link(&temporary, path));
    let _ = fs::remove_file(&temporary);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// A name that no other process, and no other call, has.
pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    let mut random = [0; 8];
    // Without chance the clock has to do; a clash is an error, never a mix.
    if getrandom::fill(&mut random).is_err() {
        random = now_ms().to_ne_bytes();
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}", hex::encode(random)));
    path.with_file_name(name)
}

/// Reads a small file, and no more of it than is sane.
pub(crate) fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(max_bytes)
        .read_to_end(&mut content)?;
    Ok(content)
}

/// Unix time in milliseconds; a clock before 1970 counts as 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
