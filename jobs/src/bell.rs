//! The bell: a shim sends its attempt's id as one datagram when the job has begun and when it has
//! ended, so that the host hears of it at once. It is a courtesy. A datagram may be lost (the host was
//! away, its queue was full), and one may come for an attempt that was forgotten; what happened is
//! always in the attempt's folder, and a host that only polled would miss nothing.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::net::UnixDatagram;

use crate::{AttemptId, Error};

/// How long a shim waits for room in the host's queue before it leaves it at that.
const RING_TIMEOUT: Duration = Duration::from_millis(200);
/// Bytes of a path that a Unix socket can have; the kernel's bound is 108 with its end.
const MAX_SOCKET_PATH_BYTES: usize = 100;

/// The receiving side. One listens at a time: the last to be made hears, the others fall back to polling.
#[derive(Debug)]
pub struct Bell {
    socket: UnixDatagram,
}

impl Bell {
    pub(crate) fn bind(root: &Path) -> Result<Self, Error> {
        let path = root.join("bell");
        let temporary = crate::folder::temporary_beside(&path);
        let bind = || {
            let (reachable, _guard) = reachable(&temporary)?;
            let socket = StdDatagram::bind(&reachable)?;
            socket.set_nonblocking(true)?;
            // Who may not write to a socket cannot ring. Nobody knows it by its name of now.
            std::fs::set_permissions(&temporary, Permissions::from_mode(0o600))?;
            // A rename leaves no moment in which there is none.
            std::fs::rename(&temporary, &path)?;
            UnixDatagram::from_std(socket)
        };
        bind()
            .map(|socket| Self { socket })
            .map_err(Error::io("made", &path))
    }

    /// The next attempt that something happened to. Safe to drop while it waits.
    ///
    /// # Errors
    /// The socket's; whoever gets one should make a new bell.
    pub async fn next(&self) -> io::Result<AttemptId> {
        // One byte more than an id has, so that a longer message is not taken for one.
        let mut buffer = [0; crate::limits::MAX_ID_CHARS + 1];
        loop {
            let count = self.socket.recv(&mut buffer).await?;
            let text = String::from_utf8_lossy(&buffer[..count]);
            if let Ok(id) = AttemptId::new(text) {
                return Ok(id);
            }
        }
    }
}

/// Rings, or does not: see the module.
pub(crate) fn ring(root: &Path, id: &str) {
    let send = || -> io::Result<()> {
        let (path, _guard) = reachable(&root.join("bell"))?;
        let socket = StdDatagram::unbound()?;
        socket.set_write_timeout(Some(RING_TIMEOUT))?;
        socket.send_to(id.as_bytes(), path).map(|_| ())
    };
    let _ = send();
}

/// The same place by a path short enough for a socket: through the directory's descriptor.
fn reachable(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().len() <= MAX_SOCKET_PATH_BYTES {
        return Ok((path.to_owned(), None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let fd = rustix::fs::open(
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let file = File::from(fd);
    let short = Path::new("/proc/self/fd")
        .join(file.as_raw_fd().to_string())
        .join(name);
    Ok((short, Some(file.into())))
}
