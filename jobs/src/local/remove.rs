//! Removing a tree that a hostile job made: directories nested a hundred thousand deep, of which no path
//! can be told; directories without permissions. Every directory is moved up to the top before it is
//! emptied, so that the depth never grows, neither on the stack nor in open files, and no link is followed.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// Removes a directory and everything in it. What is not there is removed.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let top = match open(rustix::fs::CWD, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let prefix = crate::folder::temporary_beside(Path::new(".moved"));
    let mut moved = Moved {
        prefix: format!("{}-", prefix.display()),
        count: 0,
    };
    empty(&top, &top, &mut moved)?;
    // What the top had at first is gone; from now on it has only what was moved there, by number. Those
    // that were moved later come from the ones before, so this ends with the last.
    let mut next = 0;
    while next < moved.count {
        let name = moved.name(next);
        let directory = open(&top, Path::new(&name))?;
        empty(&directory, &top, &mut moved)?;
        rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        next += 1;
    }
    fs::remove_dir(path)
}

/// The directories that were moved to the top, under names that nobody can have foreseen.
struct Moved {
    prefix: String,
    count: u64,
}

impl Moved {
    fn name(&self, number: u64) -> String {
        format!("{}{number}", self.prefix)
    }
}

/// Unlinks what is in a directory, and moves the directories in it to the top.
fn empty(directory: &OwnedFd, top: &OwnedFd, moved: &mut Moved) -> io::Result<()> {
    for entry in entries(directory)? {
        let (name, kind) = entry;
        let is_directory = match kind {
            FileType::Directory => true,
            FileType::Unknown => {
                let stat = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            _ => false,
        };
        if is_directory {
            // An empty one is done at once, which spares the move.
            if rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR).is_ok() {
                continue;
            }
            permit(directory, Path::new(OsStr::from_bytes(name.to_bytes())));
            rustix::fs::renameat(directory, &name, top, moved.name(moved.count))?;
            moved.count += 1;
        } else {
            rustix::fs::unlinkat(directory, &name, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// All entries first: a directory that changes while it is read may show some twice, or not at all.
fn entries(directory: &OwnedFd) -> io::Result<Vec<(std::ffi::CString, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

fn open(parent: impl std::os::fd::AsFd, name: &Path) -> io::Result<OwnedFd> {
    let parent = parent.as_fd();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    match open() {
        Err(rustix::io::Errno::ACCESS) => {
            permit(parent, name);
            Ok(open()?)
        }
        other => Ok(other?),
    }
}

/// Lets the owner in. Root needs none of it, and must not: by name this could follow a link that was put
/// there just now. For any other host the job's user is its own, so there is nobody to guard against.
fn permit(parent: impl std::os::fd::AsFd, name: &Path) {
    if !rustix::process::geteuid().is_root() {
        let _ = rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty());
    }
}
