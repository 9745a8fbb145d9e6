//! Making an attempt's folder: beside its place, and then by one rename, so that it is there whole or
//! not at all, and of many who try at once one wins.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};

use super::{Started, aside, remove};
use crate::folder::{Folder, read_bounded};
use crate::limits::MAX_SECRET_BYTES;
use crate::{Error, Exit, Spec, User};

/// Makes the folder of an attempt that is to run.
pub(super) fn prepare(root: &Path, folder: &Folder, spec: &Spec) -> Result<Started, Error> {
    let user = other_user(spec)?;
    if let Some(user) = user {
        reachable(root, user)?;
    }
    place(folder, |making| {
        let spec_path = making.path("spec.json");
        let text = serde_json::to_vec(spec).map_err(io::Error::from);
        text.and_then(|text| write_private(&spec_path, &text))
            .map_err(Error::io("written", spec_path))?;
        let wake = making.path("wake");
        rustix::fs::mknodat(CWD, &wake, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .map_err(|error| Error::io("made", &wake)(error.into()))?;
        for name in ["work", "home", "tmp"] {
            let path = making.path(name);
            make_directory(&path, 0o700)
                .and_then(|()| give(&path, user))
                .map_err(Error::io("made", path))?;
        }
        let outputs = making.path("outputs");
        write_private(&outputs, b"")
            .and_then(|()| give(&outputs, user))
            .map_err(Error::io("made", outputs))?;
        secrets(making, spec, user)?;
        guard(&making.0, user).map_err(Error::io("guarded", &making.0))
    })
}

/// Keeps an id that nobody ever started as ended.
pub(super) fn tombstone(folder: &Folder, exit: &Exit) -> Result<Started, Error> {
    place(folder, |making| {
        making
            .claim(0)
            .and_then(|_| making.write_exit(exit))
            .map_err(Error::io("written", &making.0))
    })
}

/// Makes a folder aside, lets it be filled, and moves it to its place if that is free.
fn place(
    folder: &Folder,
    fill: impl FnOnce(&Folder) -> Result<(), Error>,
) -> Result<Started, Error> {
    let making = Folder(aside(&folder.0, ".new-"));
    make_directory(&making.0, 0o700).map_err(Error::io("made", &making.0))?;
    let placed = fill(&making).and_then(|()| match fs::rename(&making.0, &folder.0) {
        Ok(()) => Ok(Started::New),
        // It is never empty, so a rename never replaces it.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(Started::AlreadyThere)
        }
        Err(error) => Err(Error::io("made", &folder.0)(error)),
    });
    if !matches!(placed, Ok(Started::New)) {
        let _ = remove::remove_tree(&making.0);
    }
    placed
}

/// The user to give files to: none if it is the host's own.
fn other_user(spec: &Spec) -> Result<Option<User>, Error> {
    let own = rustix::process::geteuid();
    match spec.user {
        Some(user) if user.uid == own.as_raw() && !own.is_root() => Ok(None),
        Some(user) if !own.is_root() => Err(Error::NotRoot {
            uid: user.uid,
            own: own.as_raw(),
        }),
        other => Ok(other),
    }
}

/// The job's user has to get to its own folder by path.
fn reachable(root: &Path, user: User) -> Result<(), Error> {
    for directory in root.ancestors() {
        let metadata = fs::metadata(directory).map_err(Error::io("checked", directory))?;
        let bit = if metadata.uid() == user.uid {
            0o100
        } else if metadata.gid() == user.gid {
            0o010
        } else {
            0o001
        };
        if metadata.mode() & bit == 0 && user.uid != 0 {
            return Err(Error::NotReachable {
                uid: user.uid,
                path: directory.to_owned(),
            });
        }
    }
    Ok(())
}

/// Copies of the secrets, which only the job's user can read. Their directory stays the host's, so that
/// what is removed at the end is what was put there.
fn secrets(making: &Folder, spec: &Spec, user: Option<User>) -> Result<(), Error> {
    let directory = making.path("secrets");
    make_directory(&directory, 0o700)
        .and_then(|()| guard(&directory, user))
        .map_err(Error::io("made", &directory))?;
    for (name, path) in &spec.secrets {
        let secret = |why: String| Error::Secret {
            name: name.clone(),
            path: path.clone(),
            why,
        };
        let content =
            read_bounded(path, MAX_SECRET_BYTES + 1).map_err(|error| secret(error.to_string()))?;
        if content.len() as u64 > MAX_SECRET_BYTES {
            return Err(secret(format!("it has more than {MAX_SECRET_BYTES} bytes")));
        }
        let copy = directory.join(name);
        write_private(&copy, &content)
            .and_then(|()| give(&copy, user))
            .map_err(Error::io("written", copy))?;
    }
    Ok(())
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)
}

fn give(path: &Path, user: Option<User>) -> io::Result<()> {
    match user {
        Some(user) => chown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// Lets the job's group pass through a directory of the host's, and nobody else.
fn guard(path: &Path, user: Option<User>) -> io::Result<()> {
    let Some(user) = user else {
        return Ok(());
    };
    chown(path, None, Some(user.gid))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o710))
}
