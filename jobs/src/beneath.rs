//! Opening what a job left, without ever leaving its folder. Each part of a path is opened from the
//! directory before it, and none may be a link; what is opened must be a plain file, and the job's own:
//! a hard link to somebody else's file is a plain file too.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

/// Why a file was not opened.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is something else than a plain file of the job's.
    Not(&'static str),
    /// The system's reason.
    Io(io::Error),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Not(why) => f.write_str(why),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(error: rustix::io::Errno) -> Self {
        if error == rustix::io::Errno::LOOP {
            Self::Not("it is a link, or behind one")
        } else {
            Self::Io(error.into())
        }
    }
}

/// Opens the root of a walk, which is the host's to name.
pub(crate) fn root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens a directory by its name in another; never a link.
pub(crate) fn directory(parent: impl AsFd, name: &str) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// Opens a plain file by its name in a directory; `owner` is whose it has to be.
pub(crate) fn file(parent: impl AsFd, name: &str, owner: Option<u32>) -> Result<File, Refusal> {
    let parent = parent.as_fd();
    // First without opening: to open a device can do something, to open a FIFO can wait.
    let before = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(before.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(Refusal::Not("it is a link, or behind one")),
        _ => return Err(Refusal::Not("it is not a plain file")),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?);
    let metadata = file.metadata().map_err(Refusal::Io)?;
    if !metadata.is_file() {
        return Err(Refusal::Not("it is not a plain file"));
    }
    if owner.is_some_and(|uid| uid != metadata.uid()) {
        return Err(Refusal::Not("it belongs to another user than the job's"));
    }
    Ok(file)
}

/// Opens a plain file by a path relative to a directory, one part after the other.
pub(crate) fn file_by_path(root: OwnedFd, path: &str, owner: Option<u32>) -> Result<File, Refusal> {
    let mut at = root;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if matches!(part, "" | "." | "..") || part.contains('\0') {
            return Err(Refusal::Not("it is not a path inside the folder"));
        }
        if parts.peek().is_none() {
            return file(&at, part, owner);
        }
        at = directory(&at, part)?;
    }
    Err(Refusal::Not("it is not a path inside the folder"))
}
