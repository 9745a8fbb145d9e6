//! What can go wrong with a source. A source that fails adds nothing to a report: it is named in
//! `failures`, so that nobody reads it as "everything was removed".

use std::io;

use serde::Serialize;
use serde::ser::SerializeStruct;

use crate::unpack::Compression;

/// One source that could not be read to its end, and why.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}: {kind}")]
pub struct Error {
    /// The path or address, without user name, password or query.
    pub source_name: String,
    /// What went wrong.
    pub kind: ErrorKind,
}

/// What went wrong with a source. Lines count from 1; `byte` counts from 0 in the unpacked text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The argument names no source.
    #[error("not a source: {why}")]
    BadSource {
        /// What is wrong with the argument.
        why: String,
    },
    /// The file or directory could not be opened or read.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// A directory was given where an index is meant.
    #[error("is a directory, not a package index")]
    IsDirectory,
    /// A directory of apt lists that holds no package index.
    #[error("holds no package index (no file named *_Packages)")]
    NoIndices,
    /// The server answered with something other than success.
    #[error("the server answered with status {0}")]
    HttpStatus(u16),
    /// The download failed below HTTP: name, connection, TLS.
    #[error("cannot be downloaded: {0}")]
    Network(String),
    /// The download took too long, or stalled.
    #[error("the download timed out: {0}")]
    TimedOut(String),
    /// A compression that this reader does not know.
    #[error("is compressed with {0}, which is not supported")]
    UnsupportedCompression(&'static str),
    /// The file is something else: a web page, a `Release` file, nothing at all.
    #[error("is not a Packages index: {why} (line {line})")]
    NotAnIndex {
        /// The line that shows it.
        line: u64,
        /// What was found.
        why: String,
    },
    /// The data ends before the index does.
    #[error("is truncated: {what} (line {line}, byte {byte})")]
    Truncated {
        /// The last line that was read.
        line: u64,
        /// Where that line begins.
        byte: u64,
        /// What was still to come.
        what: String,
    },
    /// The compressed data is damaged.
    #[error("has corrupt {format} data near line {line}: {why}")]
    Corrupt {
        /// The compression.
        format: Compression,
        /// The last line that was read.
        line: u64,
        /// What the decoder says.
        why: String,
    },
    /// A line or a field that no index has.
    #[error("is malformed at line {line} (byte {byte}): {why}")]
    Malformed {
        /// The line.
        line: u64,
        /// Where it begins.
        byte: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A line that is not UTF-8.
    #[error("is not UTF-8 at line {line}, byte {byte}")]
    NotUtf8 {
        /// The line.
        line: u64,
        /// The first bad byte.
        byte: u64,
    },
    /// A NUL byte, which no text has.
    #[error("has a NUL byte at line {line}, byte {byte}")]
    NulByte {
        /// The line.
        line: u64,
        /// The byte.
        byte: u64,
    },
    /// A bound of [`crate::Limits`] was reached.
    #[error("exceeds a limit: {what}, at most {max} (line {line})")]
    TooLarge {
        /// What there is too much of, with its unit.
        what: &'static str,
        /// The bound.
        max: u64,
        /// Where it was noticed; 0 when the bound is not about the text.
        line: u64,
    },
    /// The `Release` file next to an apt list says another size than the list has.
    #[error("has {found} bytes where {release} says {expected}")]
    SizeMismatch {
        /// Bytes of the unpacked index.
        found: u64,
        /// Bytes according to the `Release` file.
        expected: u64,
        /// The name of the `Release` file.
        release: String,
    },
    /// Kernels of several architectures, and nobody said which are meant.
    #[error("holds kernels of several architectures: {}", found.join(", "))]
    SeveralArchitectures {
        /// The architectures found, sorted.
        found: Vec<String>,
    },
}

impl ErrorKind {
    /// Names the source that this happened to.
    #[must_use]
    pub fn of(self, source_name: impl Into<String>) -> Error {
        Error {
            source_name: source_name.into(),
            kind: self,
        }
    }
}

impl Error {
    /// A stable code for programs, in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match &self.kind {
            ErrorKind::BadSource { .. } => "bad-source",
            ErrorKind::Io(_) => "io",
            ErrorKind::IsDirectory => "is-directory",
            ErrorKind::NoIndices => "no-indices",
            ErrorKind::HttpStatus(_) => "http-status",
            ErrorKind::Network(_) => "network",
            ErrorKind::TimedOut(_) => "timed-out",
            ErrorKind::UnsupportedCompression(_) => "unsupported-compression",
            ErrorKind::NotAnIndex { .. } => "not-an-index",
            ErrorKind::Truncated { .. } => "truncated",
            ErrorKind::Corrupt { .. } => "corrupt",
            ErrorKind::Malformed { .. } => "malformed",
            ErrorKind::NotUtf8 { .. } => "not-utf8",
            ErrorKind::NulByte { .. } => "nul-byte",
            ErrorKind::TooLarge { .. } => "too-large",
            ErrorKind::SizeMismatch { .. } => "size-mismatch",
            ErrorKind::SeveralArchitectures { .. } => "several-architectures",
        }
    }

    /// What to do about it, as one sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match &self.kind {
            ErrorKind::BadSource { .. } => {
                "give `apt`, `apt:DIRECTORY`, the path of a Packages file, or an http, https or file address"
            }
            ErrorKind::Io(error) => match error.kind() {
                io::ErrorKind::NotFound => {
                    "check the path; on Debian and Ubuntu `apt-get update` fills /var/lib/apt/lists"
                }
                io::ErrorKind::PermissionDenied => {
                    "run as a user who may read it, or copy it to where you may"
                }
                _ => "check the disk and the file, then try again",
            },
            ErrorKind::IsDirectory => {
                "for a directory of apt lists write `apt:DIRECTORY`, else name the Packages file in it"
            }
            ErrorKind::NoIndices => {
                "run `apt-get update` first, or give a Packages file or its address"
            }
            ErrorKind::HttpStatus(401 | 403) => {
                "the server asks for permission: download the index yourself and give its path"
            }
            ErrorKind::HttpStatus(404 | 410) => {
                "check the address: it usually ends in dists/SUITE/COMPONENT/binary-ARCH/Packages.xz (or .gz)"
            }
            ErrorKind::HttpStatus(_) => "try again later, or another mirror",
            ErrorKind::Network(_) => {
                "check the address, the network and the proxy settings, then try again"
            }
            ErrorKind::TimedOut(_) => {
                "try again, or another mirror; the rest of the report stands without it"
            }
            ErrorKind::UnsupportedCompression(_) => {
                "unpack it first: plain text, gzip, xz and lz4 frames are read"
            }
            ErrorKind::NotAnIndex { .. } => {
                "give the Packages file itself (plain, .gz, .xz or .lz4), not the page or directory around it"
            }
            ErrorKind::Truncated { .. } => {
                "download it again (or `apt-get update`): part of it is missing"
            }
            ErrorKind::Corrupt { .. } => {
                "download it again (or `apt-get update`): it was damaged on its way or on disk"
            }
            ErrorKind::Malformed { .. } | ErrorKind::NotUtf8 { .. } | ErrorKind::NulByte { .. } => {
                "download it again; if it stays so, tell whoever runs the archive, naming the line"
            }
            ErrorKind::TooLarge { .. } => {
                "make sure it is a package index; a real one stays far below these limits"
            }
            ErrorKind::SizeMismatch { .. } => {
                "run `apt-get update`: the list and its Release file do not belong together"
            }
            ErrorKind::SeveralArchitectures { found } => {
                return format!("say which one is meant, for example `--arch {}`", found[0]);
            }
        };
        text.to_owned()
    }
}

/// As `{source, code, message, hint}`: what a program or a page shows.
impl Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Error", 4)?;
        out.serialize_field("source", &self.source_name)?;
        out.serialize_field("code", self.code())?;
        out.serialize_field("message", &self.kind.to_string())?;
        out.serialize_field("hint", &self.hint())?;
        out.end()
    }
}
