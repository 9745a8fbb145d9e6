//! The text of one file in a commit.

use crate::error::Error;
use crate::limits::{PATH_BYTES, TEXT_BYTES};
use crate::name::BadName;
use crate::oid::Oid;
use crate::repository::Repository;

/// What a commit has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextFile {
    /// A file, and all of its text.
    Text(String),
    /// Nothing.
    Absent,
    /// A file of more than [`TEXT_BYTES`] bytes, of which nothing was read.
    TooLarge {
        /// How many it has.
        bytes: u64,
    },
    /// A file that is no text: not UTF-8, or with a NUL in it.
    Binary,
    /// Something that is no file: a folder, a symbolic link, a submodule.
    NotAFile,
}

impl Repository {
    /// The text of the file at `path`, relative to the root of the commit's tree. A symbolic link is not
    /// followed: what it points at is another file, which has a path of its own.
    ///
    /// # Errors
    /// [`Error::BadName`] for a path that no file can have (see [`check_path`]), [`Error::NoCommit`].
    pub async fn text(&self, commit: &Oid, path: &str) -> Result<TextFile, Error> {
        check_path(path)?;
        let listed = self
            .git("ls-tree")
            // The path is a path, whatever `*` or `:(glob)` is in it.
            .var("GIT_LITERAL_PATHSPECS", "1")
            .args(["-z", "-l", "--full-tree", commit.as_str(), "--", path])
            .output(&[0])
            .await;
        let listed = match listed {
            Ok(output) => output.stdout,
            Err(error) => return Err(self.missing_or(error, &[*commit]).await),
        };
        let Some(entry) = listed.split(|byte| *byte == 0).find(|e| !e.is_empty()) else {
            return Ok(TextFile::Absent);
        };
        let (mode, blob, bytes) = parse(entry).ok_or(GARBLED)?;
        if !mode.starts_with("100") {
            return Ok(TextFile::NotAFile);
        }
        let bytes: u64 = bytes.parse().map_err(|_| GARBLED)?;
        if bytes > TEXT_BYTES {
            return Ok(TextFile::TooLarge { bytes });
        }
        let blob: Oid = blob.parse().map_err(|_| GARBLED)?;
        let content = self
            .git("cat-file")
            .args(["blob", blob.as_str()])
            .output(&[0])
            .await?
            .stdout;
        Ok(match String::from_utf8(content) {
            Ok(text) if !text.contains('\0') => TextFile::Text(text),
            _ => TextFile::Binary,
        })
    }
}

const GARBLED: Error = Error::Garbled {
    command: "ls-tree",
    what: "a mode, a type, an id and a size",
};

/// Mode, id and size of `MODE TYPE OID SIZE<tab>PATH`; of what is no file the size is a dash.
fn parse(entry: &[u8]) -> Option<(&str, &str, &str)> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(&entry[..tab]).ok()?.split_whitespace();
    let (mode, _, oid, bytes) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some((mode, oid, bytes))
}

/// Whether a file of a commit can have this path: relative, its parts parted by single slashes, none of
/// them `.` or `..`, at most 4,096 bytes.
///
/// # Errors
/// The rule that it breaks.
pub fn check_path(path: &str) -> Result<(), BadName> {
    let why = if path.is_empty() {
        "it is empty"
    } else if path.len() > PATH_BYTES {
        "it is longer than 4,096 bytes"
    } else if path.contains('\0') {
        "it contains a NUL"
    } else if path.starts_with('/') {
        "it begins with a slash, and paths are relative to the root of the repository"
    } else if path.split('/').any(str::is_empty) {
        "a slash stands at its end or next to another one"
    } else if path.split('/').any(|part| part == "." || part == "..") {
        "a part of it is `.` or `..`"
    } else {
        return Ok(());
    };
    Err(BadName::new("path", path, why))
}
