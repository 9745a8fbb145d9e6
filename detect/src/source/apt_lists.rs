//! The directory in which apt keeps what it downloaded. Its files are named after their address,
//! with `_` for `/`, and apt has checked each against the signed `Release` file beside it. apt
//! stores them without any checksum (lz4 on many images), so the size in `Release` is what tells a
//! list that was cut later from a whole one, and an empty suite from a lost file.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{Index, ReleaseSize};
use crate::error::ErrorKind;
use crate::limits::{MAX_APT_INDICES, MAX_RELEASE_BYTES};

/// The endings that apt gives to an index; what a file really is, its first bytes tell.
const ENDINGS: [&str; 8] = [
    "",
    ".gz",
    ".xz",
    ".lz4",
    ".bz2",
    ".lzma",
    ".zst",
    ".uncompressed",
];

/// The indices in a directory, by name.
pub(super) fn list(dir: &Path) -> Result<Vec<Index>, ErrorKind> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(ErrorKind::Io)? {
        let entry = entry.map_err(ErrorKind::Io)?;
        // apt writes no other names than ASCII ones.
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    let is_index = |name: &&String| {
        name.rsplit_once("_Packages")
            .is_some_and(|(_, ending)| ENDINGS.contains(&ending))
    };
    let indices: Vec<_> = names.iter().filter(is_index).collect();
    if indices.is_empty() {
        return Err(ErrorKind::NoIndices);
    }
    if indices.len() > MAX_APT_INDICES {
        return Err(ErrorKind::TooLarge {
            what: "indices in one directory",
            max: MAX_APT_INDICES as u64,
            line: 0,
        });
    }
    Ok(indices
        .into_iter()
        .map(|name| Index {
            archive: name
                .split_once("_dists_")
                .map(|(host, _)| decode(host) + "/"),
            of_this_machine: true,
            release: release_size(dir, &names, name),
            ..Index::file(&dir.join(name))
        })
        .collect())
}

/// What the `Release` file of an index says of its size; `None` if there is no such file or it
/// does not say. A `Release` file that cannot be read is no reason to refuse the index.
fn release_size(dir: &Path, names: &[String], index: &str) -> Option<ReleaseSize> {
    let (file, path) = names.iter().find_map(|name| {
        let suite = name
            .strip_suffix("InRelease")
            .or_else(|| name.strip_suffix("Release"))?;
        // With its `_`, so that `bookworm_` is not taken for the suite of `bookworm-updates`.
        Some((
            name,
            index.strip_prefix(suite).filter(|_| suite.ends_with('_'))?,
        ))
    })?;
    let end = path.rfind("Packages")? + "Packages".len();
    let path = decode(&path[..end]);
    let release = File::open(dir.join(file)).ok()?.take(MAX_RELEASE_BYTES);
    // Lines ` CHECKSUM SIZE PATH`, the same size under every kind of checksum.
    let bytes = BufReader::new(release)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            let mut words = line.strip_prefix(' ')?.split_ascii_whitespace();
            let (_, size, name) = (words.next()?, words.next()?, words.next()?);
            (name == path && words.next().is_none()).then(|| size.parse().ok())?
        })?;
    Some(ReleaseSize {
        file: file.clone(),
        bytes,
    })
}

/// From a file name to the address it stands for.
fn decode(name: &str) -> String {
    name.replace('_', "/").replace("%5f", "_")
}
