//! Commits, and how they descend from each other.

use crate::error::Error;
use crate::escape;
use crate::git::tells_damage;
use crate::limits::{COMMIT_BYTES, SUBJECT_BYTES};
use crate::oid::Oid;
use crate::repository::Repository;

/// What there is to know of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub oid: Oid,
    /// Its tree: two commits with the same tree have the same content.
    pub tree: Oid,
    /// Its parents, in their order.
    pub parents: Vec<Oid>,
    /// The first paragraph of its message on one line; cut at 1,000 bytes.
    pub subject: String,
    /// The author's name; cut at 1,000 bytes.
    pub author: String,
    /// When it was committed, in seconds since 1970, as the committer says.
    pub committed_at: i64,
}

/// Whether one commit contains another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ancestry {
    /// The first is the second, or one of its ancestors.
    Ancestor,
    /// It is not.
    NotAncestor,
}

impl Repository {
    /// One commit; none if the repository has no such commit.
    ///
    /// # Errors
    /// A damaged commit is [`Error::Corrupt`].
    pub async fn commit(&self, oid: &Oid) -> Result<Option<Commit>, Error> {
        Ok(self.commits(&[*oid]).await?.pop().flatten())
    }

    /// Many commits by one process, in the order of their ids; none for what is not there or is no
    /// commit.
    ///
    /// # Errors
    /// A damaged commit is [`Error::Corrupt`].
    pub async fn commits(&self, oids: &[Oid]) -> Result<Vec<Option<Commit>>, Error> {
        if oids.is_empty() {
            return Ok(Vec::new());
        }
        let input: String = oids.iter().map(|oid| format!("{oid}\n")).collect();
        let mut batch = Batch::default();
        let (_, stderr) = self
            .git("cat-file")
            .args(["--batch"])
            .input(input)
            .stream(&[0], |bytes| batch.feed(bytes))
            .await?;
        // Git calls a damaged object missing, and complains beside.
        if tells_damage(&stderr) {
            return Err(self.corrupt(stderr.trim().replace('\n', "; ")));
        }
        if batch.found.len() != oids.len() {
            return Err(GARBLED);
        }
        Ok(batch.found)
    }

    /// The best common ancestor, as git chooses it; none if the histories have nothing in common.
    ///
    /// # Errors
    /// [`Error::NoCommit`].
    pub async fn merge_base(&self, a: &Oid, b: &Oid) -> Result<Option<Oid>, Error> {
        let result = self
            .git("merge-base")
            .args([a.as_str(), b.as_str()])
            .output(&[0, 1])
            .await;
        let output = match result {
            Ok(output) => output,
            Err(error) => return Err(self.missing_or(error, &[*a, *b]).await),
        };
        if output.code == 1 {
            return Ok(None);
        }
        let line = output.stdout.trim_ascii_end();
        match std::str::from_utf8(line).map(str::parse) {
            Ok(Ok(oid)) => Ok(Some(oid)),
            _ => Err(Error::Garbled {
                command: "merge-base",
                what: "one commit",
            }),
        }
    }

    /// Whether `b` contains `a`.
    ///
    /// # Errors
    /// [`Error::NoCommit`].
    pub async fn is_ancestor(&self, a: &Oid, b: &Oid) -> Result<Ancestry, Error> {
        let result = self
            .git("merge-base")
            .args(["--is-ancestor", a.as_str(), b.as_str()])
            .output(&[0, 1])
            .await;
        match result {
            Ok(output) if output.code == 0 => Ok(Ancestry::Ancestor),
            Ok(_) => Ok(Ancestry::NotAncestor),
            Err(error) => Err(self.missing_or(error, &[*a, *b]).await),
        }
    }
}

const GARBLED: Error = Error::Garbled {
    command: "cat-file",
    what: "objects with their sizes",
};

/// Bytes of the line before an object.
const HEAD_LINE_BYTES: usize = 256;

/// Reads what `git cat-file --batch` writes, and keeps only the beginning of each object.
#[derive(Default)]
struct Batch {
    found: Vec<Option<Commit>>,
    /// The line before the object, then the object.
    kept: Vec<u8>,
    /// What is read now. None: the line before an object.
    object: Option<Object>,
}

struct Object {
    /// None: something else than a commit.
    oid: Option<Oid>,
    /// Bytes still to come, the line break behind it among them.
    left: u64,
}

impl Batch {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let Some(object) = &mut self.object else {
                bytes = self.head_line(bytes)?;
                continue;
            };
            let here =
                usize::try_from(object.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (part, rest) = bytes.split_at(here);
            if object.oid.is_some() {
                let room = COMMIT_BYTES.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&part[..part.len().min(room)]);
            }
            object.left -= here as u64;
            if object.left == 0 {
                let commit = match object.oid {
                    None => None,
                    Some(oid) => Some(parse(oid, &self.kept).ok_or(GARBLED)?),
                };
                self.found.push(commit);
                self.kept.clear();
                self.object = None;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// `OID commit SIZE` or `OID missing`.
    fn head_line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.kept.extend_from_slice(bytes);
            return if self.kept.len() > HEAD_LINE_BYTES {
                Err(GARBLED)
            } else {
                Ok(&[])
            };
        };
        self.kept.extend_from_slice(&bytes[..end]);
        let line = std::str::from_utf8(&self.kept).map_err(|_| GARBLED)?;
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some(_), Some("missing"), None) => self.found.push(None),
            (Some(oid), Some(kind), Some(size)) => {
                let oid = oid.parse().map_err(|_| GARBLED)?;
                let size: u64 = size.parse().map_err(|_| GARBLED)?;
                self.object = Some(Object {
                    oid: (kind == "commit").then_some(oid),
                    left: size.saturating_add(1),
                });
            }
            _ => return Err(GARBLED),
        }
        self.kept.clear();
        Ok(&bytes[end + 1..])
    }
}

/// Reads the text of a commit, or the beginning of it.
fn parse(oid: Oid, text: &[u8]) -> Option<Commit> {
    let mut tree = None;
    let mut parents = Vec::new();
    let mut author = String::new();
    let mut committed_at = 0;
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix(b"tree ") {
            tree = std::str::from_utf8(value).ok()?.parse().ok();
        } else if let Some(value) = line.strip_prefix(b"parent ") {
            parents.push(std::str::from_utf8(value).ok()?.parse().ok()?);
        } else if let Some(value) = line.strip_prefix(b"author ") {
            let end = value
                .iter()
                .position(|byte| *byte == b'<')
                .unwrap_or(value.len());
            author = escape::cut(value[..end].trim_ascii(), SUBJECT_BYTES);
        } else if let Some(value) = line.strip_prefix(b"committer ") {
            committed_at = seconds(value).unwrap_or(0);
        }
    }
    let mut subject = Vec::new();
    let lines = rest.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    for line in lines
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty())
    {
        if subject.len() > SUBJECT_BYTES {
            break;
        }
        if !subject.is_empty() {
            subject.push(b' ');
        }
        subject.extend_from_slice(line);
    }
    Some(Commit {
        oid,
        tree: tree?,
        parents,
        subject: escape::cut(&subject, SUBJECT_BYTES),
        author,
        committed_at,
    })
}

/// The time of `NAME <EMAIL> SECONDS ZONE`.
fn seconds(person: &[u8]) -> Option<i64> {
    let end = person.iter().rposition(|byte| *byte == b'>')?;
    let text = std::str::from_utf8(&person[end + 1..]).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
