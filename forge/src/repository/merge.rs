//! The merge of two commits, as git makes it, without a work tree.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::error::Error;
use crate::escape;
use crate::git::tells_damage;
use crate::limits::{CONFLICT_PATHS, CONFLICT_TEXT_BYTES, MERGE};
use crate::oid::Oid;
use crate::repository::Repository;

/// How a merge ended.
pub(super) enum Merged {
    Clean {
        tree: Oid,
    },
    Conflict {
        paths: Vec<String>,
        text: String,
    },
    /// The histories have nothing in common.
    Unrelated,
}

/// Where the objects that a merge makes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Objects {
    /// Into the repository.
    Kept,
    /// Into a folder that is removed: the merge is only to be tried.
    Dropped,
}

impl Repository {
    /// Merges `theirs` into `ours`. Attributes are not looked at, in no version of git: a driver that
    /// `.gitattributes` names does not count, as on GitHub.
    pub(super) async fn merge(
        &self,
        ours: Oid,
        theirs: Oid,
        objects: Objects,
    ) -> Result<Merged, Error> {
        let mut call = self
            .git("merge-tree")
            .args(["--write-tree", "-z", "--name-only", "--messages"])
            .args([ours.as_str(), theirs.as_str()])
            .var("GIT_ATTR_SOURCE", ours.empty_tree())
            .limit(MERGE);
        let aside = match objects {
            Objects::Kept => None,
            Objects::Dropped => Some(self.objects_aside()?),
        };
        if let Some(aside) = &aside {
            call = call
                .var("GIT_OBJECT_DIRECTORY", aside.path())
                .var("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.as_alternate());
        }
        let result = call.output(&[0, 1, 128]).await;
        let output = match result {
            Ok(output) => output,
            Err(error) => return Err(self.missing_or(error, &[ours, theirs]).await),
        };
        if output.stderr.contains("unrelated histories") {
            return Ok(Merged::Unrelated);
        }
        // Before 2.44 git takes a tree that it cannot read for an empty one, and is content.
        if tells_damage(&output.stderr) {
            let error = self.corrupt(output.stderr.trim().replace('\n', "; "));
            return Err(self.missing_or(error, &[ours, theirs]).await);
        }
        // Git tells of a conflict and of a commit that is not there by the same status.
        let mut fields = output.stdout.split(|byte| *byte == 0);
        let tree = fields
            .next()
            .and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
        match (output.code, tree) {
            (0, Some(tree)) => Ok(Merged::Clean { tree }),
            (1, Some(_)) => Ok(conflict(fields)),
            (0, None) => Err(Error::Garbled {
                command: "merge-tree",
                what: "a tree",
            }),
            (code, _) => {
                let error = Error::Failed {
                    command: "merge-tree",
                    status: format!("exit status: {code}"),
                    detail: output.stderr.trim().replace('\n', "; "),
                };
                Err(self.missing_or(error, &[ours, theirs]).await)
            }
        }
    }

    /// A folder for objects of the moment. It lies among the objects and is named like git's own
    /// folders of this kind, so that what a crash leaves is pruned.
    fn objects_aside(&self) -> Result<tempfile::TempDir, Error> {
        let objects = self.path().join("objects");
        tempfile::Builder::new()
            .prefix("tmp_objdir-pointsman-")
            .tempdir_in(&objects)
            .map_err(Error::io("write to", objects))
    }

    /// This repository's objects, for another's `GIT_ALTERNATE_OBJECT_DIRECTORIES`.
    pub(super) fn as_alternate(&self) -> OsString {
        quoted(&self.path().join("objects"))
    }
}

/// A path in quotes: the variable is a list with colons between.
fn quoted(path: &Path) -> OsString {
    let mut text = vec![b'"'];
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.push(b'"');
    OsString::from_vec(text)
}

/// Reads paths up to an empty field, then messages: a number of paths, these, a kind, a text.
fn conflict<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Merged {
    let mut paths: Vec<String> = fields
        .by_ref()
        .take_while(|field| !field.is_empty())
        .map(escape::path)
        .collect();
    paths.sort();
    paths.truncate(CONFLICT_PATHS);
    let mut text = Vec::new();
    while let Some(number) = fields
        .next()
        .and_then(|field| std::str::from_utf8(field).ok()?.parse::<usize>().ok())
    {
        let mut parts = fields.by_ref().skip(number);
        let (Some(kind), Some(message)) = (parts.next(), parts.next()) else {
            break;
        };
        // The rest (`Auto-merging f`) went well.
        if kind.starts_with(b"CONFLICT") && text.len() < CONFLICT_TEXT_BYTES {
            text.extend_from_slice(message);
        }
    }
    Merged::Conflict {
        paths,
        text: escape::cut(text.trim_ascii_end(), CONFLICT_TEXT_BYTES),
    }
}
