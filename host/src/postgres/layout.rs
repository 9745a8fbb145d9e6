//! The folders of the embedded PostgreSQL, who owns them and who may enter.
//!
//! ```text
//! DATA/postgres/        the host's: 0700, or 0711 when PostgreSQL runs as another user
//!   conf/               the host's, read by PostgreSQL, which therefore cannot open its own door
//!   cluster/            PostgreSQL's, 0700: the data
//!   run/                PostgreSQL's, 0700: the socket
//!   log/                PostgreSQL's, 0700: a file per day of the week, each overwritten after a week
//!   start.log           what the server said before it opened its own log
//!   lock                held by the one host that runs on this data directory; holds its process id
//! ```

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest as _, Sha256};

use super::account::{self, Account};
use super::error::PostgresError;

/// The longest path a socket can have. Linux takes 107 bytes; the BSDs and macOS take 103.
const MAX_SOCKET_PATH_BYTES: usize = 103;

/// The name that PostgreSQL gives its socket; the number is the port it would listen on.
pub(super) const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// How much of a log is quoted in an error: enough for the reason, short enough for a terminal.
const QUOTED_LINES: usize = 15;

/// Where everything of one embedded PostgreSQL is, and whose.
#[derive(Debug)]
pub(super) struct Layout {
    /// The data directory of the host, absolute.
    pub(super) data_dir: PathBuf,
    /// The folder of everything here.
    pub(super) base: PathBuf,
    /// The folder of the socket.
    pub(super) run: PathBuf,
    /// The account of this process.
    pub(super) host: Account,
    /// The account that PostgreSQL runs as.
    pub(super) owner: Account,
}

impl Layout {
    /// Makes the folders that are the host's own, finds the account, and checks that it gets there.
    pub(super) fn prepare(data_dir: &Path) -> Result<Self, PostgresError> {
        let data_dir = std::path::absolute(data_dir)
            .map_err(PostgresError::io("find the absolute path of", data_dir))?;
        let host = account::current().map_err(PostgresError::NoName)?;
        let base = data_dir.join("postgres");
        let owner = owner(&base.join("cluster"), &host)?;
        // Others pass through, and read nothing, only where PostgreSQL is one of the others.
        let mode = if owner == host { 0o700 } else { 0o711 };
        for dir in [&data_dir, &base] {
            if !dir.exists() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(mode)
                    .create(dir)
                    .map_err(PostgresError::io("make the folder", dir))?;
                set_mode(dir, mode)?;
            }
        }
        let layout = Self {
            run: base.join("run"),
            data_dir,
            base,
            host,
            owner,
        };
        layout.check_reachable()?;
        Ok(layout)
    }

    /// The data of PostgreSQL.
    pub(super) fn cluster(&self) -> PathBuf {
        self.base.join("cluster")
    }

    /// The configuration files.
    pub(super) fn conf(&self) -> PathBuf {
        self.base.join("conf")
    }

    /// The log files.
    pub(super) fn log(&self) -> PathBuf {
        self.base.join("log")
    }

    /// What the server says before it opens its log.
    pub(super) fn start_log(&self) -> PathBuf {
        self.base.join("start.log")
    }

    /// Makes the folders of PostgreSQL. The socket's is elsewhere when its path would be too long, or
    /// would need quoting where PostgreSQL expects a list.
    pub(super) fn make_server_dirs(&mut self) -> Result<(), PostgresError> {
        make_private(&self.log(), &self.host, &self.owner)?;
        self.run = self.base.join("run");
        if !is_good_socket_dir(&self.run) {
            self.run = short_run_dir(&self.base, &self.host);
        }
        make_private(&self.run, &self.host, &self.owner)
    }

    /// Takes the lock of this data directory. It goes when the file is closed, however the process
    /// ends; PostgreSQL does not inherit it.
    pub(super) fn lock(&self) -> Result<File, PostgresError> {
        let path = self.base.join("lock");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(PostgresError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder may not have written its number yet: then the error goes without.
                let _ = file.read_to_string(&mut holder);
                return Err(PostgresError::InUse {
                    dir: self.data_dir.clone(),
                    pid: holder.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(PostgresError::io("lock", &path)(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(PostgresError::io("write", &path))?;
        Ok(file)
    }

    /// The last lines that the server wrote, for an error.
    pub(super) fn last_words(&self) -> String {
        let newest = std::fs::read_dir(self.log())
            .into_iter()
            .flatten()
            .flatten()
            .max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok());
        let mut text = std::fs::read_to_string(self.start_log()).unwrap_or_default();
        if let Some(entry) = newest {
            let log = std::fs::read(entry.path()).unwrap_or_default();
            text.push_str(&String::from_utf8_lossy(&log));
        }
        last_lines(&text)
    }

    /// Asks the account itself whether it gets to the folder, since modes are not all there is: access
    /// lists and mounts count too.
    fn check_reachable(&self) -> Result<(), PostgresError> {
        if self.owner == self.host || self.can_enter(&self.base)? {
            return Ok(());
        }
        let mut ancestors: Vec<&Path> = self.base.ancestors().collect();
        ancestors.reverse();
        for dir in ancestors {
            if !self.can_enter(dir)? {
                return Err(PostgresError::Unreachable {
                    dir: self.data_dir.clone(),
                    blocked_by: dir.to_owned(),
                    account: self.owner.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn can_enter(&self, dir: &Path) -> Result<bool, PostgresError> {
        let shell = Path::new("/bin/sh");
        account::command(shell, &self.owner, Path::new("/"))
            .args(["-c", "cd -- \"$1\"", "sh"])
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map(|status| status.success())
            .map_err(PostgresError::io("run", shell))
    }
}

/// The last lines of a text, for an error.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
}

/// The account for PostgreSQL: whoever owns the cluster that is there, else by who we are.
fn owner(cluster: &Path, host: &Account) -> Result<Account, PostgresError> {
    let is_root = host.uid == 0;
    match std::fs::metadata(cluster) {
        Ok(meta) if meta.uid() == host.uid && !is_root => Ok(host.clone()),
        Ok(meta) if is_root && meta.uid() != 0 => account::lookup(&meta.uid().to_string())
            .ok_or_else(|| PostgresError::NotOwner {
                dir: cluster.to_owned(),
                owner: meta.uid(),
            }),
        Ok(meta) => Err(PostgresError::NotOwner {
            dir: cluster.to_owned(),
            owner: meta.uid(),
        }),
        // No cluster yet, or one that cannot be seen: what follows finds out which.
        Err(_) if is_root => account::unprivileged().map_err(PostgresError::NoAccount),
        Err(_) => Ok(host.clone()),
    }
}

/// Makes a folder that only `owner` may enter. One that is there already has to be theirs: in a
/// folder that anybody can write to, it may be a trap.
pub(super) fn make_private(
    dir: &Path,
    host: &Account,
    owner: &Account,
) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) if owner != host => chown(dir, Some(owner.uid), Some(owner.gid))
            .map_err(PostgresError::io("change the owner of", dir)),
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta = std::fs::symlink_metadata(dir).map_err(PostgresError::io("look at", dir))?;
            if meta.is_dir() && meta.uid() == host.uid && owner != host {
                // A host that was killed between the two calls above.
                return chown(dir, Some(owner.uid), Some(owner.gid))
                    .map_err(PostgresError::io("change the owner of", dir));
            }
            if !meta.is_dir() || meta.uid() != owner.uid || meta.mode() & 0o077 != 0 {
                return Err(PostgresError::NotOwner {
                    dir: dir.to_owned(),
                    owner: meta.uid(),
                });
            }
            Ok(())
        }
        Err(error) => Err(PostgresError::io("make the folder", dir)(error)),
    }
}

/// Sets a mode whatever the umask is.
pub(super) fn set_mode(path: &Path, mode: u32) -> Result<(), PostgresError> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(PostgresError::io("set the mode of", path))
}

fn is_good_socket_dir(dir: &Path) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte);
    let bytes = dir.as_os_str().as_encoded_bytes();
    bytes.len() + 1 + SOCKET_NAME.len() <= MAX_SOCKET_PATH_BYTES && bytes.iter().all(|b| plain(*b))
}

/// A short folder for the socket, always the same for one data directory.
fn short_run_dir(base: &Path, host: &Account) -> PathBuf {
    let digest = Sha256::digest(base.as_os_str().as_encoded_bytes());
    let name = format!("pointsman-{}-{}", host.uid, hex::encode(&digest[..6]));
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let parents = match host.uid {
        0 => vec![PathBuf::from("/run")],
        _ => session.into_iter().collect(),
    };
    parents
        .into_iter()
        .filter(|parent| parent.is_dir())
        .map(|parent| parent.join(&name))
        .find(|dir| is_good_socket_dir(dir))
        .unwrap_or_else(|| Path::new("/tmp").join(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_odd_path_gets_a_short_socket_folder() {
        let host = account::current().unwrap();
        assert!(is_good_socket_dir(Path::new(
            "/var/lib/pointsman/postgres/run"
        )));
        for odd in ["/a,b/run", "/with space/run", "/qu\"ote/run"] {
            assert!(!is_good_socket_dir(Path::new(odd)), "{odd}");
        }
        let long = PathBuf::from(format!("/{}", "x".repeat(120)));
        assert!(!is_good_socket_dir(&long));
        let short = short_run_dir(&long, &host);
        assert!(is_good_socket_dir(&short), "{}", short.display());
        assert_eq!(short, short_run_dir(&long, &host));
        assert_ne!(short, short_run_dir(Path::new("/other"), &host));
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let me = account::current().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        make_private(&run, &me, &me).unwrap();
        make_private(&run, &me, &me).unwrap();
        set_mode(&run, 0o755).unwrap();
        let error = make_private(&run, &me, &me).unwrap_err();
        assert!(matches!(error, PostgresError::NotOwner { .. }), "{error}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&run, &link).unwrap();
        assert!(make_private(&link, &me, &me).is_err());
    }

    #[test]
    fn only_the_last_lines_are_quoted() {
        let text: String = (0..100).map(|n| format!("{n}\n")).collect();
        assert!(last_lines(&text).ends_with("98\n99"));
        assert_eq!(last_lines(&text).lines().count(), QUOTED_LINES);
        assert_eq!(last_lines(""), "");
    }
}
