//! What can go wrong with the embedded PostgreSQL, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::binaries::OLDEST_MAJOR;

/// Why the embedded PostgreSQL could not be started, used or stopped. [`PostgresError::hint`] says
/// what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// No server programs on this machine, or only ones that are too old.
    #[error("PostgreSQL {OLDEST_MAJOR} or newer is not installed{}", found(.too_old))]
    NotFound {
        /// Versions that are installed and too old.
        too_old: Vec<String>,
    },
    /// The folder that was named with `bin_dir` holds no usable server programs.
    #[error("no PostgreSQL {OLDEST_MAJOR} or newer in {}{}", .dir.display(), found(.too_old))]
    NotInFolder {
        /// The folder that was searched.
        dir: PathBuf,
        /// The version found in it that is too old.
        too_old: Vec<String>,
    },
    /// The cluster was made by another major version than those installed.
    #[error(
        "the data in {} is of PostgreSQL {major}, which is not installed{}",
        .cluster.display(), found(.installed)
    )]
    OtherMajor {
        /// The folder of the cluster.
        cluster: PathBuf,
        /// The major version that made it.
        major: u32,
        /// Versions that are installed.
        installed: Vec<String>,
    },
    /// Running as root, and there is no account to run PostgreSQL as.
    #[error("PostgreSQL does not run as root, and there is no account to run it as")]
    NoAccount(#[source] io::Error),
    /// The user id of this process has no name, which PostgreSQL needs.
    #[error("this process has no user name")]
    NoName(#[source] io::Error),
    /// No place for the data was given, and none follows from the environment.
    #[error("no data directory: neither XDG_DATA_HOME nor HOME is set")]
    NoHome,
    /// The account that PostgreSQL runs as cannot enter the data directory.
    #[error(
        "PostgreSQL runs as user `{account}`, who cannot enter {}: {} is closed to them",
        .dir.display(), .blocked_by.display()
    )]
    Unreachable {
        /// The folder that the account has to enter.
        dir: PathBuf,
        /// The first folder on the way that it may not pass.
        blocked_by: PathBuf,
        /// The name of the account.
        account: String,
    },
    /// The cluster belongs to another user, and this process is not root.
    #[error("{} belongs to another user (id {owner})", .dir.display())]
    NotOwner {
        /// The folder that belongs to somebody else.
        dir: PathBuf,
        /// The id of the user whose it is.
        owner: u32,
    },
    /// Another host runs on this data directory.
    #[error("{} is in use by {}", .dir.display(), holder(*.pid))]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The process id of the other host, when it could be read.
        pid: Option<u32>,
    },
    /// `initdb` failed.
    #[error("PostgreSQL could not make a cluster in {}:\n{log}", .dir.display())]
    Init {
        /// The folder of the new cluster.
        dir: PathBuf,
        /// The last lines that it wrote.
        log: String,
    },
    /// The server ended before it was ready, or was not ready in time.
    #[error("PostgreSQL did not start ({reason}); its last words:\n{log}")]
    Start {
        /// How it ended.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
    /// The server would not end, even when killed.
    #[error("PostgreSQL (process {pid}) does not end")]
    Stop {
        /// The process id of the postmaster.
        pid: u32,
    },
    /// The name cannot be that of a database.
    #[error("`{name}` cannot be the name of a database: it needs 1 to 63 bytes and no NUL")]
    BadName {
        /// The name that was refused.
        name: String,
    },
    /// The server answered a question with an error, or not at all.
    #[error("PostgreSQL does not answer as it should")]
    Query(#[from] sqlx::Error),
    /// Something on disk.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl PostgresError {
    /// What a person can do about it; `None` where the message says all there is to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some(format!(
                "install the server programs: {}; or set DATABASE_URL to use a PostgreSQL that \
                 already runs",
                install_command("postgresql")
            )),
            Self::NotInFolder { .. } => Some(
                "name the folder that holds `postgres` and `initdb`, or none to have it found"
                    .to_owned(),
            ),
            Self::OtherMajor { major, .. } => Some(format!(
                "install that version: {}; or start on a new data directory with the record \
                 exported from the old one",
                install_command(&format!("postgresql-{major}"))
            )),
            Self::NoAccount(_) => Some(
                "create one with `useradd --system pointsman`, or run pointsman as an ordinary user"
                    .to_owned(),
            ),
            Self::NoName(_) => Some(
                "add the user to /etc/passwd, or set DATABASE_URL to use a PostgreSQL that already \
                 runs"
                    .to_owned(),
            ),
            Self::NoHome => Some("name a data directory, or set HOME".to_owned()),
            Self::Unreachable { blocked_by, .. } => Some(format!(
                "use a data directory that every user can reach, such as /var/lib/pointsman, or \
                 open that folder with `chmod o+x {}`",
                blocked_by.display()
            )),
            Self::NotOwner { .. } => Some(
                "run pointsman as the user who made it, or as root, or name another data directory"
                    .to_owned(),
            ),
            Self::InUse { .. } => {
                Some("stop that one first, or name another data directory".to_owned())
            }
            Self::Stop { pid } => Some(format!(
                "look at what it waits for (a dead disk?) before you try `kill -9 {pid}`"
            )),
            Self::Init { .. } | Self::Start { .. } => Some(
                "is the disk full, or are the data of another PostgreSQL in the way?".to_owned(),
            ),
            Self::BadName { .. } | Self::Query(_) | Self::Io { .. } => None,
        }
    }

    /// Turns an I/O error into one that says what was tried, and with which file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

fn found(versions: &[String]) -> String {
    match versions {
        [] => String::new(),
        versions => format!(" (found: {})", versions.join(", ")),
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another pointsman".to_owned(),
        |pid| format!("another pointsman (process {pid})"),
    )
}

/// The command that installs `package` (Debian's name) here, or the ones for the usual
/// distributions where this one is not known.
fn install_command(package: &str) -> String {
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    install_command_for(&os_release, package)
}

fn install_command_for(os_release: &str, package: &str) -> String {
    let debian = format!("apt-get install {package}");
    // The server and the extensions are separate packages there.
    let fedora = "dnf install postgresql-server postgresql-contrib".to_owned();
    let suse = "zypper install postgresql-server postgresql-contrib".to_owned();
    let arch = "pacman -S postgresql".to_owned();
    let alpine = "apk add postgresql postgresql-contrib".to_owned();
    let families = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace());
    for family in families {
        return match family {
            "debian" | "ubuntu" => debian,
            "fedora" | "rhel" | "centos" => fedora,
            "suse" | "opensuse" | "sles" => suse,
            "arch" => arch,
            "alpine" => alpine,
            _ => continue,
        };
    }
    format!("`{debian}` (Debian, Ubuntu), `{fedora}` (Fedora, RHEL) or `{arch}` (Arch)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_command_of_this_distribution() {
        let command = |os_release| install_command_for(os_release, "postgresql-16");
        assert_eq!(command("ID=debian\n"), "apt-get install postgresql-16");
        assert_eq!(
            command("NAME=Mint\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"),
            "apt-get install postgresql-16"
        );
        assert_eq!(
            command("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"),
            "dnf install postgresql-server postgresql-contrib"
        );
        let unknown = command("ID=plan9\n");
        assert!(
            unknown.contains("apt-get") && unknown.contains("dnf"),
            "{unknown}"
        );
    }

    #[test]
    fn the_error_names_what_was_found() {
        let error = PostgresError::NotFound {
            too_old: vec!["13.2".to_owned()],
        };
        assert_eq!(
            error.to_string(),
            "PostgreSQL 15 or newer is not installed (found: 13.2)"
        );
    }
}
