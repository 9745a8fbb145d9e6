//! Git as a command: how it is found, what it sees of this machine, and how its failures are named.
//!
//! Each call runs without a shell, in an environment of its own, under a time limit, and with its
//! output bounded. What could make the same call answer differently elsewhere is pinned here: the
//! configuration of the machine and the user, replaced objects, attributes.

mod call;
mod process;

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore};

use crate::error::Error;
use crate::limits;

pub(crate) use call::Call;
pub(crate) use process::{Process, within};

/// The oldest git that merges without a work tree.
pub(crate) const OLDEST: &str = "2.38";

/// Where programs are if nobody says.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Who writes the log of refs, and commits where nothing else is said.
const OWN_NAME: &str = "Pointsman";
const OWN_EMAIL: &str = "pointsman@localhost";

/// The git of this machine.
#[derive(Debug)]
pub(crate) struct Git {
    program: PathBuf,
    slots: Semaphore,
    checked: OnceCell<()>,
}

impl Git {
    pub(crate) fn new(program: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            program: found(program),
            slots: Semaphore::new(limits::PROCESSES),
            checked: OnceCell::new(),
        })
    }

    /// Makes sure, once, that there is a git and that it is new enough.
    pub(crate) async fn ready(self: &Arc<Self>) -> Result<(), Error> {
        self.checked
            .get_or_try_init(async || {
                let output = self.call(None, "version").output(&[0]).await?;
                let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                match parse_version(&text) {
                    None => Err(Error::Garbled {
                        command: "version",
                        what: "a version",
                    }),
                    Some(found) if found < (2, 38) => Err(Error::GitTooOld {
                        found: format!("{}.{}", found.0, found.1),
                    }),
                    Some(_) => Ok(()),
                }
            })
            .await
            .copied()
    }

    /// A call to come: `git SUBCOMMAND`, in a repository or outside any.
    pub(crate) fn call(
        self: &Arc<Self>,
        repository: Option<&Path>,
        subcommand: &'static str,
    ) -> Call {
        Call::new(Arc::clone(self), repository, subcommand)
    }

    /// The variables that every git sees, and no others.
    fn environment() -> Vec<(&'static str, OsString)> {
        let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let mut vars = vec![("PATH", path)];
        vars.extend(
            [
                ("HOME", "/nonexistent"),
                ("LC_ALL", "C"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_ATTR_NOSYSTEM", "1"),
                ("GIT_TERMINAL_PROMPT", "0"),
                ("GIT_OPTIONAL_LOCKS", "0"),
                // What is tested must be what the commit says, not what a pushed replacement says.
                ("GIT_NO_REPLACE_OBJECTS", "1"),
                // No call here talks to another machine; an empty list allows no way of doing so.
                ("GIT_ALLOW_PROTOCOL", ""),
                ("GIT_AUTHOR_NAME", OWN_NAME),
                ("GIT_AUTHOR_EMAIL", OWN_EMAIL),
                ("GIT_COMMITTER_NAME", OWN_NAME),
                ("GIT_COMMITTER_EMAIL", OWN_EMAIL),
            ]
            .map(|(name, value)| (name, value.into())),
        );
        vars
    }

    /// Settings that hold for our own calls, whatever the repository's configuration says. They come
    /// before the subcommand.
    fn settings() -> Vec<String> {
        let timeout = limits::REF_LOCK_MS;
        [
            "safe.directory=*".to_owned(),
            "gc.auto=0".to_owned(),
            "maintenance.auto=false".to_owned(),
            "core.attributesFile=/dev/null".to_owned(),
            // Hooks are for those who push: what one of them put there is not ours to run.
            "core.hooksPath=/dev/null".to_owned(),
            // What was answered survives a power failure.
            "core.fsync=committed".to_owned(),
            "core.fsyncMethod=batch".to_owned(),
            format!("core.filesRefLockTimeout={timeout}"),
            format!("core.packedRefsTimeout={timeout}"),
            // The same merge everywhere.
            "merge.renames=true".to_owned(),
            "merge.renameLimit=7000".to_owned(),
            "merge.directoryRenames=conflict".to_owned(),
            "merge.renormalize=false".to_owned(),
            "merge.default=text".to_owned(),
            "i18n.commitEncoding=UTF-8".to_owned(),
        ]
        .into_iter()
        .flat_map(|setting| ["-c".to_owned(), setting])
        .collect()
    }
}

/// Where a program without a folder is. Left to be looked for at each call, it would cost a copy of this process's
/// memory tables each time: only a program that is named whole is started without.
fn found(program: PathBuf) -> PathBuf {
    if program.components().count() != 1 {
        return program;
    }
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let is_program = |file: &PathBuf| {
        file.is_absolute()
            && file.metadata().is_ok_and(|metadata| {
                metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
            })
    };
    env::split_paths(&path)
        .map(|folder| folder.join(&program))
        .find(is_program)
        .unwrap_or(program)
}

/// The first two numbers of `git version 2.39.5 (Apple Git-154)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?;
    let digits = minor
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(minor.len());
    Some((major, minor[..digits].parse().ok()?))
}

/// What git says of damage, in the C locale.
const DAMAGE: [&str; 16] = [
    "is corrupt",
    "corrupt loose object",
    "unable to unpack",
    "inflate: ",
    "bad object ",
    "bad tree object",
    "missing blob object",
    "missing tree object",
    "unable to read ",
    "could not read ",
    "not a git repository",
    "broken ref",
    "does not point to a valid object",
    "bad config ",
    "cannot be accessed",
    "missing object ",
];

/// Whether git complains about a damaged repository.
pub(crate) fn tells_damage(stderr: &str) -> bool {
    stderr
        .lines()
        .any(|line| DAMAGE.iter().any(|sign| contains_ignoring_case(line, sign)))
}

fn contains_ignoring_case(line: &str, sign: &str) -> bool {
    line.to_ascii_lowercase().contains(sign)
}

/// Whether a ref could not be locked because its lock file is there.
fn tells_lock(stderr: &str) -> bool {
    stderr.contains(".lock': File exists")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_however_they_are_dressed() {
        assert_eq!(parse_version("git version 2.39.5"), Some((2, 39)));
        assert_eq!(
            parse_version("git version 2.39.5 (Apple Git-154)"),
            Some((2, 39))
        );
        assert_eq!(parse_version("git version 2.50-rc1"), Some((2, 50)));
        assert_eq!(parse_version("git version 2.49.0.windows.1"), Some((2, 49)));
        assert_eq!(parse_version("hub version 1"), None);
    }
}
