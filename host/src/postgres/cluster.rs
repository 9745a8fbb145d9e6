//! Making a cluster, and finding the programs that fit it.

use std::path::Path;
use std::process::Stdio;

use super::binaries::{self, Binaries, OLDEST_MAJOR};
use super::error::PostgresError;
use super::layout::{Layout, last_lines, make_private};
use super::settings::{Durability, ROLE};
use super::{Progress, account};

/// The major version that made the cluster; `None` when there is no cluster yet.
pub(super) fn major(layout: &Layout) -> Result<Option<u32>, PostgresError> {
    let path = layout.cluster().join("PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            let reason = "it holds no version number";
            PostgresError::io("read", &path)(std::io::Error::other(reason))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PostgresError::io("read", &path)(error)),
    }
}

/// The programs for a cluster of version `major`, or the newest for a new one.
pub(super) fn binaries(
    bin_dir: Option<&Path>,
    major: Option<(u32, &Layout)>,
) -> Result<Binaries, PostgresError> {
    let installed = binaries::installed(bin_dir);
    let versions = installed
        .iter()
        .map(|found| found.version.clone())
        .collect();
    let fits = |found: &Binaries| match major {
        Some((major, _)) => found.major == major,
        None => found.major >= OLDEST_MAJOR,
    };
    let newest_is_old = installed
        .first()
        .is_none_or(|newest| newest.major < OLDEST_MAJOR);
    match installed.into_iter().find(fits) {
        Some(found) => Ok(found),
        None => Err(match (major, bin_dir) {
            (Some((major, layout)), _) if !newest_is_old => PostgresError::OtherMajor {
                cluster: layout.cluster(),
                major,
                installed: versions,
            },
            (_, Some(dir)) => PostgresError::NotInFolder {
                dir: dir.to_owned(),
                too_old: versions,
            },
            (_, None) => PostgresError::NotFound { too_old: versions },
        }),
    }
}

/// Makes a cluster whose superuser is [`ROLE`]. It appears under its name when it is complete: a host
/// that is killed halfway leaves a folder that the next one throws away.
pub(super) async fn make(
    layout: &Layout,
    binaries: &Binaries,
    durability: Durability,
    progress: Progress<'_>,
) -> Result<(), PostgresError> {
    let target = layout.cluster();
    progress(&format!(
        "making a PostgreSQL {} cluster in {}",
        binaries.version,
        target.display()
    ));
    remove_unfinished(layout);
    // Not one fixed name: an `initdb` that outlived its host may still be writing to it.
    let unfinished = layout
        .base
        .join(format!("{UNFINISHED}{}", std::process::id()));
    make_private(&unfinished, &layout.host, &layout.owner)?;
    let mut initdb = account::command(&binaries.program("initdb"), &layout.owner, &layout.base);
    // Sorting by code point is the same on every machine and survives an upgrade of the C library,
    // and LIKE with a fixed beginning can use any index.
    initdb
        .args(["--encoding=UTF8", "--locale=C", "--auth=reject"])
        .args(["--no-instructions", "--username", ROLE]);
    match durability {
        Durability::Safe => initdb.arg("--data-checksums"),
        Durability::Throwaway => initdb.arg("--no-sync"),
    };
    initdb
        .arg("--pgdata")
        .arg(&unfinished)
        .stdout(Stdio::null());
    let output = tokio::process::Command::from(initdb)
        .output()
        .await
        .map_err(PostgresError::io("run", &binaries.program("initdb")))?;
    if !output.status.success() {
        let _ = std::fs::remove_dir_all(&unfinished);
        return Err(PostgresError::Init {
            dir: target,
            log: last_lines(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    std::fs::rename(&unfinished, &target).map_err(PostgresError::io("make the folder", &target))
}

/// The beginning of the name of a cluster in the making; the process id of its host follows.
const UNFINISHED: &str = "cluster.new-";

fn remove_unfinished(layout: &Layout) {
    for entry in std::fs::read_dir(&layout.base)
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            // Best effort: what cannot go now goes at the next start, and is in nobody's way.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
