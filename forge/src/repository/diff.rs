//! What changes between two commits: the paths, and the id of the patch.

use super::patch_id::PatchHash;
use crate::error::Error;
use crate::escape;
use crate::limits::{MERGE, PATH_BYTES};
use crate::oid::Oid;
use crate::repository::Repository;

/// The paths that differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changed {
    /// Sorted; both names of a rename. Bytes that are not UTF-8 and control characters are written
    /// `\xNN`, and a backslash is doubled, so that no two paths become one.
    pub paths: Vec<String>,
    /// How many there are. More than `paths` has: the list is not complete, because of the limit or
    /// because a path is longer than 4,096 bytes.
    pub total: u64,
}

/// What [`Repository::diff`] is to find out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Paths,
    Patch,
}

impl Repository {
    /// The paths that differ between two commits, the first `limit` of them. To count from the merge
    /// base, as a pull request is counted, give that as `from`.
    ///
    /// # Errors
    /// [`Error::NoCommit`].
    pub async fn changed(&self, from: &Oid, to: &Oid, limit: usize) -> Result<Changed, Error> {
        let (changed, _) = self.diff(Some(*from), *to, limit, Depth::Paths).await?;
        Ok(changed)
    }

    /// The id of the change between two commits: equal for two changes that are the same but for
    /// where they stand, as after a clean rebase. 64 lower-case hex digits; none if nothing changes.
    /// It is not that of `git patch-id`, which takes changes of white space for none.
    ///
    /// # Errors
    /// [`Error::NoCommit`].
    pub async fn patch_id(&self, from: &Oid, to: &Oid) -> Result<Option<String>, Error> {
        let (_, patch_id) = self.diff(Some(*from), *to, 0, Depth::Patch).await?;
        Ok(patch_id)
    }

    /// Both by one process. Without `from` everything counts as new.
    pub(super) async fn diff(
        &self,
        from: Option<Oid>,
        to: Oid,
        limit: usize,
        depth: Depth,
    ) -> Result<(Changed, Option<String>), Error> {
        let mut reader = DiffReader::new(limit, depth);
        let mut call = self
            .git("diff-tree")
            // A rename is a path that goes and one that comes: both names, and nothing to guess.
            .args([
                "-r",
                "--raw",
                "-z",
                "--no-renames",
                "--ignore-submodules=none",
            ])
            // Attributes in the tree would make text of binary files, and the other way round.
            .var("GIT_ATTR_SOURCE", to.empty_tree())
            .limit(MERGE);
        if depth == Depth::Patch {
            call = call.args([
                "--patch",
                "--unified=3",
                "--full-index",
                "--no-color",
                "--no-ext-diff",
                "--no-textconv",
                "--diff-algorithm=myers",
                "--indent-heuristic",
                "--submodule=short",
            ]);
        }
        let result = call
            .args([
                from.as_ref().map_or(to.empty_tree(), Oid::as_str),
                to.as_str(),
                "--",
            ])
            .stream(&[0], |bytes| reader.feed(bytes))
            .await;
        if let Err(error) = result {
            let oids: Vec<Oid> = from.into_iter().chain([to]).collect();
            return Err(self.missing_or(error, &oids).await);
        }
        Ok(reader.finish())
    }
}

/// Reads `:MODE MODE OID OID STATUS NUL PATH NUL ...`, and behind an empty field the patch.
struct DiffReader {
    limit: usize,
    expected: Expected,
    /// The beginning of the present field.
    field: Vec<u8>,
    /// Whether more of it came than is kept.
    length: usize,
    changed: Changed,
    hash: Option<PatchHash>,
}

enum Expected {
    Meta,
    Path,
    Patch,
}

impl DiffReader {
    fn new(limit: usize, depth: Depth) -> Self {
        Self {
            limit,
            expected: Expected::Meta,
            field: Vec::new(),
            length: 0,
            changed: Changed::default(),
            hash: (depth == Depth::Patch).then(PatchHash::new),
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if matches!(self.expected, Expected::Patch) {
                if let Some(hash) = &mut self.hash {
                    hash.patch(bytes);
                }
                return Ok(());
            }
            let (part, rest, ended) = match bytes.iter().position(|byte| *byte == 0) {
                Some(end) => (&bytes[..end], &bytes[end + 1..], true),
                None => (bytes, &[][..], false),
            };
            if matches!(self.expected, Expected::Path)
                && let Some(hash) = &mut self.hash
            {
                hash.raw(part);
            }
            let room = PATH_BYTES.saturating_sub(self.field.len());
            self.field.extend_from_slice(&part[..part.len().min(room)]);
            self.length += part.len();
            if ended {
                self.end_field()?;
            }
            bytes = rest;
        }
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), Error> {
        let field = std::mem::take(&mut self.field);
        let length = std::mem::take(&mut self.length);
        match self.expected {
            Expected::Meta if field.is_empty() => self.expected = Expected::Patch,
            Expected::Meta => {
                let words: Vec<&[u8]> = field.split(|byte| *byte == b' ').collect();
                let [old, new, _, _, status] = words[..] else {
                    return Err(Error::Garbled {
                        command: "diff-tree",
                        what: "modes, ids and a status",
                    });
                };
                if let Some(hash) = &mut self.hash {
                    for word in [old, b" ", new, b" ", status, b"\0"] {
                        hash.raw(word);
                    }
                }
                self.expected = Expected::Path;
            }
            Expected::Path => {
                if let Some(hash) = &mut self.hash {
                    hash.raw(b"\0");
                }
                self.changed.total += 1;
                if length <= PATH_BYTES && self.changed.paths.len() < self.limit {
                    self.changed.paths.push(escape::path(&field));
                }
                self.expected = Expected::Meta;
            }
            Expected::Patch => {}
        }
        Ok(())
    }

    fn finish(mut self) -> (Changed, Option<String>) {
        // Escapes, and a folder in the place of a file, sort otherwise than git's order.
        self.changed.paths.sort();
        let patch_id = self
            .hash
            .filter(|_| self.changed.total > 0)
            .map(PatchHash::finish);
        (self.changed, patch_id)
    }
}
