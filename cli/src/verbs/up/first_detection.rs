//! What `up` detects: the kernels of this machine's own package index, else the bundled sample.

use std::path::Path;

use pointsman_api::generation::Written;
use pointsman_detect::{APT_LISTS_DIR, Options, Report, SAMPLE_DISTRO, Source};

use crate::client::Client;
use crate::error::Error;
use crate::progress::Progress;
use crate::verbs::detect;
use crate::verbs::up::distros;

/// What to read, and what it is of.
#[derive(Debug, PartialEq)]
pub(super) struct Choice {
    source: Source,
    distro: String,
    /// What the summary calls it.
    name: String,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) distro: String,
    pub(super) name: String,
    pub(super) report: Report,
    /// None if there was nothing to record.
    pub(super) written: Option<Written>,
}

/// This machine's lists if it has any and the distro is known, else the sample.
pub(super) fn choose(named: Option<&str>) -> Choice {
    let distro = named.map(str::to_owned).or_else(detect::machine_distro);
    choice(distro, has_lists(Path::new(APT_LISTS_DIR)))
}

fn choice(distro: Option<String>, has_lists: bool) -> Choice {
    match distro {
        Some(distro) if has_lists => Choice {
            source: Source::apt(),
            distro,
            name: "this machine's apt lists".to_owned(),
        },
        _ => Choice {
            source: Source::Sample,
            distro: SAMPLE_DISTRO.to_owned(),
            name: "the bundled sample, as this machine has no package index".to_owned(),
        },
    }
}

/// Whether apt has downloaded any index. A container image often has the directory and no lists.
fn has_lists(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // As apt stores it: plain, or with the ending of its compression.
        name.split_once("_Packages")
            .is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('.'))
    })
}

pub(super) fn run(client: &Client, progress: &Progress, choice: Choice) -> Result<Found, Error> {
    let report = detect::read(progress, &[choice.source], &Options::default());
    let written = if report.versions.is_empty() {
        None
    } else {
        distros::ensure(client, &choice.distro)?;
        let comment = format!(
            "Detection of {} kernels in {}",
            choice.distro,
            short(&choice.name)
        );
        Some(detect::post(
            client,
            &choice.distro,
            &report,
            Some(comment),
        )?)
    };
    Ok(Found {
        distro: choice.distro,
        name: choice.name,
        report,
        written,
    })
}

/// The name without what explains it.
fn short(name: &str) -> &str {
    name.split_once(',').map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_preferred_where_the_distro_is_known() {
        let debian = Some("debian-13".to_owned());
        assert_eq!(choice(debian.clone(), true).source, Source::apt());
        assert_eq!(choice(debian.clone(), true).distro, "debian-13");
        for (distro, lists) in [(debian, false), (None, true), (None, false)] {
            assert_eq!(choice(distro, lists).distro, SAMPLE_DISTRO);
        }
    }

    #[test]
    fn lists_are_told_from_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_lists(&dir.path().join("none")));
        for name in ["lock", "partial", "x_InRelease"] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        assert!(!has_lists(dir.path()));
        std::fs::write(dir.path().join("x_main_binary-amd64_Packages.lz4"), b"").unwrap();
        assert!(has_lists(dir.path()));
    }
}
