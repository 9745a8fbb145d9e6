//! The bell: how a hook tells the server that somebody pushed. A datagram is a hint that may be
//! lost; whoever listens polls too.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram as Sender;
use std::path::{Path, PathBuf};
use std::{fs, future};

use tokio::net::UnixDatagram;

use crate::error::Error;
use crate::limits::REPO_NAME_BYTES;
use crate::name::RepoName;

/// Everybody may ring: who pushes may be another user than the server. All that a false ring does is
/// that a repository is looked at; who may ring at all is said by the folder that holds the socket.
const MODE: u32 = 0o666;

/// Tells the server at this bell that the repository was pushed to. Never waits and never fails.
pub fn ring(bell: &Path, name: &str) {
    let Ok(socket) = Sender::unbound() else {
        return;
    };
    // A full queue rings already.
    if socket.set_nonblocking(true).is_ok() {
        let _ = socket.send_to(name.as_bytes(), bell);
    }
}

/// The listening end.
#[derive(Debug)]
pub struct Bell {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Bell {
    /// Listens at this path. A socket that nobody listens at any more is replaced. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::BellTaken`] if another process listens there; [`Error::Io`] if something else than a
    /// socket is there, or the path is longer than sockets' may be (107 bytes on Linux).
    pub fn bind(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        clear(&path)?;
        let socket = UnixDatagram::bind(&path).map_err(Error::io("listen at", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE))
            .map_err(Error::io("open to others", &path))?;
        Ok(Self { socket, path })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next repository that somebody says was pushed to. It need not exist. Anything that is no
    /// name is dropped. May be given up and called again without loss.
    pub async fn next(&self) -> RepoName {
        // One byte more than a name has tells what was cut.
        let mut message = [0; REPO_NAME_BYTES + 1];
        loop {
            match self.socket.recv(&mut message).await {
                Ok(length) => {
                    let name = std::str::from_utf8(&message[..length]).map(str::parse);
                    if let Ok(Ok(name)) = name {
                        return name;
                    }
                }
                // A socket that fails would fail at once again and again; polling goes on.
                Err(_) => future::pending().await,
            }
        }
    }
}

/// Makes room for a new socket.
fn clear(path: &Path) -> Result<(), Error> {
    let kind = match fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("look at", path)(error)),
    };
    if !kind.is_socket() {
        let error = io::Error::new(io::ErrorKind::AlreadyExists, "something else is there");
        return Err(Error::io("listen at", path)(error));
    }
    let probe = Sender::unbound().and_then(|socket| socket.connect(path));
    match probe {
        Ok(()) => Err(Error::BellTaken {
            path: path.to_owned(),
        }),
        Err(_) => fs::remove_file(path).map_err(Error::io("remove", path)),
    }
}
