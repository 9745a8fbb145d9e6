//! Where indices come from: a file, the apt lists of this machine, an address, the bundled sample.

mod apt_lists;
mod fetch;

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use crate::error::{Error, ErrorKind};
use crate::limits::Limits;
use crate::sample;
use crate::unpack::Unpacked;

pub(crate) use fetch::network_fault;

/// Where apt keeps the indices it downloaded.
pub const APT_LISTS_DIR: &str = "/var/lib/apt/lists";

/// One place to look for package indices. Parsed from an argument: `apt`, `apt:DIRECTORY`,
/// `sample`, an http, https or file address, or the path of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One `Packages` file, compressed or not.
    File(PathBuf),
    /// All `Packages` files in a directory that apt fills, usually [`APT_LISTS_DIR`].
    AptLists(PathBuf),
    /// An index to download. Only http and https.
    Url(Url),
    /// The sample that comes with the program: real indices of Debian 12, cut down.
    Sample,
}

impl Source {
    /// The apt lists of this machine.
    #[must_use]
    pub fn apt() -> Self {
        Self::AptLists(PathBuf::from(APT_LISTS_DIR))
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: String| ErrorKind::BadSource { why }.of(text.escape_debug().to_string());
        match text {
            "" => return Err(bad("it is empty".to_owned())),
            "apt" => return Ok(Self::apt()),
            "sample" => return Ok(Self::Sample),
            _ if text.contains('\0') => return Err(bad("it has a NUL byte".to_owned())),
            _ => {}
        }
        if let Some(dir) = text.strip_prefix("apt:") {
            return match dir {
                "" => Err(bad("no directory after `apt:`".to_owned())),
                dir => Ok(Self::AptLists(PathBuf::from(dir))),
            };
        }
        if !text.contains("://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
        match url.scheme() {
            "http" | "https" => Ok(Self::Url(url)),
            "file" => url
                .to_file_path()
                .map(Self::File)
                .map_err(|()| bad("a file address names no other machine".to_owned())),
            other => Err(bad(format!("`{other}` is not http, https or file"))),
        }
    }
}

/// One index to read: a source is one of them, or as many as a directory holds.
pub(crate) struct Index {
    /// For reports and errors: no user name, password or query.
    pub(crate) name: String,
    pub(crate) archive: Option<String>,
    /// Whether it belongs to this machine, whose own architecture is then meant.
    pub(crate) of_this_machine: bool,
    /// What the signed `Release` file says of its size.
    pub(crate) release: Option<ReleaseSize>,
    place: Place,
}

/// The size of an unpacked index according to the `Release` file that came with it.
pub(crate) struct ReleaseSize {
    pub(crate) file: String,
    pub(crate) bytes: u64,
}

enum Place {
    File(PathBuf),
    Url(Url),
    Bytes(&'static [u8]),
}

impl Index {
    fn file(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            archive: None,
            of_this_machine: false,
            release: None,
            place: Place::File(path.to_owned()),
        }
    }

    /// Opens it; with the number of bytes to come, if known.
    pub(crate) fn open(&self, limits: &Limits) -> Result<(Unpacked, Option<u64>), ErrorKind> {
        let (raw, total): (Box<dyn Read>, _) = match &self.place {
            Place::File(path) => {
                let file = File::open(path).map_err(ErrorKind::Io)?;
                let meta = file.metadata().map_err(ErrorKind::Io)?;
                if meta.is_dir() {
                    return Err(ErrorKind::IsDirectory);
                }
                let total = meta.is_file().then_some(meta.len());
                (Box::new(file), total)
            }
            Place::Url(url) => fetch::open(url, limits)?,
            Place::Bytes(bytes) => (Box::new(Cursor::new(*bytes)), Some(bytes.len() as u64)),
        };
        Ok((Unpacked::new(raw, limits)?, total))
    }
}

/// The indices of a source, in a fixed order.
pub(crate) fn expand(source: &Source) -> Result<Vec<Index>, Error> {
    match source {
        Source::File(path) => Ok(vec![Index::file(path)]),
        Source::AptLists(dir) => {
            apt_lists::list(dir).map_err(|kind| kind.of(dir.display().to_string()))
        }
        Source::Url(url) => Ok(vec![Index {
            name: fetch::display(url),
            archive: fetch::archive(url),
            of_this_machine: false,
            release: None,
            place: Place::Url(url.clone()),
        }]),
        Source::Sample => Ok(sample::INDICES
            .iter()
            .map(|index| Index {
                name: format!("sample:{}", index.name),
                archive: Some(index.archive.to_owned()),
                of_this_machine: false,
                release: None,
                place: Place::Bytes(index.bytes),
            })
            .collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arguments() {
        let file = |path: &str| Source::File(PathBuf::from(path));
        let cases = [
            ("apt", Some(Source::apt())),
            (
                "apt:/tmp/lists",
                Some(Source::AptLists(PathBuf::from("/tmp/lists"))),
            ),
            ("sample", Some(Source::Sample)),
            ("Packages.xz", Some(file("Packages.xz"))),
            ("./apt", Some(file("./apt"))),
            (
                "file:///srv/a%20b/Packages",
                Some(file("/srv/a b/Packages")),
            ),
            (
                "http://h/x",
                Some(Source::Url(Url::parse("http://h/x").unwrap())),
            ),
            ("", None),
            ("apt:", None),
            ("ftp://h/x", None),
            ("http://", None),
            ("file://other/x", None),
            ("a\0b", None),
        ];
        for (text, want) in cases {
            let got = text.parse::<Source>();
            if let Err(error) = &got {
                assert_eq!(error.code(), "bad-source", "{text:?}");
                assert!(!error.hint().is_empty());
            }
            assert_eq!(got.ok(), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(apt:|https?://|file://)?.{0,20}") {
            let _ = text.parse::<Source>();
        }
    }
}
