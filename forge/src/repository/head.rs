//! What the record keeps of a pull request's head.

use super::diff::{Changed, Depth};
use super::merge::{Merged, Objects};
use crate::error::Error;
use crate::limits::CHANGED_PATHS;
use crate::oid::Oid;
use crate::repository::Repository;

/// A head, as seen from the branch that it is to go into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFacts {
    /// The common ancestor that the change is counted from. None: the histories have nothing in
    /// common, and the whole content counts as changed.
    pub merge_base: Option<Oid>,
    /// The paths that the head changes, at most 10,000.
    pub changed: Changed,
    /// The id of the change, as [`Repository::patch_id`] gives it.
    pub patch_id: Option<String>,
    /// Whether it can be merged now.
    pub mergeable: Mergeable,
}

/// Whether a head can be merged into a branch as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mergeable {
    /// Yes.
    Clean,
    /// The branch contains it already.
    AlreadyMerged,
    /// Not without a person.
    Conflict {
        /// The paths in conflict, sorted, at most 1,000.
        paths: Vec<String>,
    },
    /// The histories have nothing in common, so it is not tried.
    Unrelated,
}

impl Repository {
    /// The facts of a head, by two or three processes: where it left the branch, what it changes,
    /// and whether it merges. Leaves no objects behind.
    ///
    /// # Errors
    /// [`Error::NoCommit`].
    pub async fn describe_head(&self, target_tip: &Oid, head: &Oid) -> Result<HeadFacts, Error> {
        let merge_base = self.merge_base(target_tip, head).await?;
        let (diff, mergeable) = tokio::try_join!(
            self.diff(merge_base, *head, CHANGED_PATHS, Depth::Patch),
            self.merges_from(merge_base, *target_tip, *head),
        )?;
        let (changed, patch_id) = diff;
        Ok(HeadFacts {
            merge_base,
            changed,
            patch_id,
            mergeable,
        })
    }

    /// Whether a head merges into a branch that moved: what of the facts such a move alters, as long
    /// as the merge base stays.
    ///
    /// # Errors
    /// [`Error::NoCommit`].
    pub async fn mergeable(&self, target_tip: &Oid, head: &Oid) -> Result<Mergeable, Error> {
        let merge_base = self.merge_base(target_tip, head).await?;
        self.merges_from(merge_base, *target_tip, *head).await
    }

    async fn merges_from(
        &self,
        merge_base: Option<Oid>,
        target_tip: Oid,
        head: Oid,
    ) -> Result<Mergeable, Error> {
        match merge_base {
            None => return Ok(Mergeable::Unrelated),
            Some(base) if base == head => return Ok(Mergeable::AlreadyMerged),
            Some(base) if base == target_tip => return Ok(Mergeable::Clean),
            Some(_) => {}
        }
        Ok(
            match self.merge(target_tip, head, Objects::Dropped).await? {
                Merged::Clean { .. } => Mergeable::Clean,
                Merged::Conflict { paths, .. } => Mergeable::Conflict { paths },
                Merged::Unrelated => Mergeable::Unrelated,
            },
        )
    }
}
