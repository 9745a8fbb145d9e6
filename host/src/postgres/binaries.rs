//! Finds the PostgreSQL server programs that are installed on this machine.
//!
//! Distributions put them in different places, Debian even out of `PATH` on purpose. This file uses
//! `std` alone, since `xtask` includes it too: it has to know what is missing before the host is built.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest major version that the record's SQL is written for and tested on.
pub(super) const OLDEST_MAJOR: u32 = 15;

/// Where packages put the server programs, as folders whose last but one part may be a pattern.
/// Debian and Ubuntu, the PostgreSQL project's RPMs, Alpine, Arch, a build from source, Homebrew.
const PACKAGE_DIRS: [&str; 7] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/lib/postgresql*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
];

/// One installed PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    /// The folder that holds `postgres`, `initdb` and the rest.
    pub(super) dir: PathBuf,
    /// `15` of `15.18`.
    pub(super) major: u32,
    /// The version as the server prints it, such as `15.18`.
    pub(super) version: String,
}

impl Binaries {
    /// The path of one program, such as `initdb`.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// All servers found, the newest first; those older than [`OLDEST_MAJOR`] are listed too, so that an
/// error can say that what is there is too old. `only` limits the search to one folder.
pub(super) fn installed(only: Option<&Path>) -> Vec<Binaries> {
    let dirs = match only {
        Some(dir) => vec![dir.to_owned()],
        None => candidates(),
    };
    let mut found: Vec<Binaries> = Vec::new();
    for dir in dirs {
        // `/usr/local/bin/postgres` may be a link into the real folder: the programs look for their
        // shared files beside the target, and so do we for the rest of the programs.
        let Ok(postgres) = dir.join("postgres").canonicalize() else {
            continue;
        };
        let Some(dir) = postgres.parent() else {
            continue;
        };
        if !dir.join("initdb").exists() || found.iter().any(|known| known.dir == dir) {
            continue;
        }
        if let Some((major, version)) = version_of(&postgres) {
            found.push(Binaries {
                dir: dir.to_owned(),
                major,
                version,
            });
        }
    }
    // A stable sort: of equal versions the one that comes first in PATH wins.
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    found
}

/// Folders to look at, the ones that the user's environment names first.
fn candidates() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    let pg_config = Command::new("pg_config")
        .arg("--bindir")
        .stdin(Stdio::null())
        .output();
    if let Ok(output) = pg_config
        && output.status.success()
    {
        dirs.push(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ));
    }
    for pattern in PACKAGE_DIRS {
        dirs.extend(expand(pattern));
    }
    dirs
}

/// The folders that match a pattern with at most one `*`, inside one part of the path.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| name_starts_with(&entry.file_name(), prefix))
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .collect()
}

fn name_starts_with(name: &OsStr, prefix: &str) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(prefix))
}

/// Asks a server program for its version. It answers this one question even to root.
fn version_of(postgres: &Path) -> Option<(u32, String)> {
    let output = Command::new(postgres)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, and `17beta1` and `18devel` too.
fn parse_version(line: &str) -> Option<(u32, String)> {
    let version = line
        .split_once("(PostgreSQL)")?
        .1
        .split_whitespace()
        .next()?;
    let digits = version.find(|c: char| !c.is_ascii_digit());
    let major = version[..digits.unwrap_or(version.len())].parse().ok()?;
    Some((major, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_distributions_print_them() {
        let cases = [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                Some((15, "15.18")),
            ),
            ("postgres (PostgreSQL) 17.2\n", Some((17, "17.2"))),
            ("postgres (PostgreSQL) 18beta1\n", Some((18, "18beta1"))),
            ("postgres (PostgreSQL) 19devel", Some((19, "19devel"))),
            ("postgres (PostgreSQL) ", None),
            ("postgres (PostgreSQL) x", None),
            ("mysqld 8", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(major, version)| (major, version.to_owned()));
            assert_eq!(parse_version(line), expected, "{line}");
        }
    }

    #[test]
    fn a_pattern_expands_to_the_folders_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["15", "16", "other"] {
            std::fs::create_dir_all(dir.path().join("pg").join(name)).unwrap();
        }
        let root = dir.path().display();
        let mut found = expand(&format!("{root}/pg/1*/bin"));
        found.sort();
        assert_eq!(
            found,
            [dir.path().join("pg/15/bin"), dir.path().join("pg/16/bin")]
        );
        assert!(expand(&format!("{root}/absent/*/bin")).is_empty());
    }

    #[test]
    fn an_empty_folder_holds_no_server() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(installed(Some(dir.path())), []);
    }
}
