//! Landing: the one place that moves a branch.
//!
//! The race is with pushes and with other landings. Git compares and sets the ref under its lock, so
//! one of two wins and the other is told; whatever was read before decides nothing but the answer.

use super::commits::Ancestry;
use crate::error::Error;
use crate::limits::LAND_TRIES;
use crate::name::Branch;
use crate::oid::Oid;
use crate::repository::Repository;

/// What became of a landing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landed {
    /// The branch pointed at `from` and now points at `to`.
    Moved,
    /// The branch contains `to` already: this landing was done before, or somebody pushed it.
    AlreadyThere,
    /// The branch points elsewhere, and nothing was done.
    Stale {
        /// Where it points; none if it was deleted.
        tip: Option<Oid>,
    },
}

impl Repository {
    /// Moves a branch from one commit to a descendant of it, if it still points at the first.
    /// Repeatable.
    ///
    /// # Errors
    /// [`Error::NotADescendant`], [`Error::NoCommit`]; [`Error::Locked`] if a crash left a lock.
    pub async fn land(&self, branch: &Branch, from: &Oid, to: &Oid) -> Result<Landed, Error> {
        let name = branch.to_ref();
        if from == to {
            return self.where_it_is(self.tip_of(&name).await?, *to).await;
        }
        match self.is_ancestor(from, to).await {
            Ok(Ancestry::Ancestor) => {}
            Ok(Ancestry::NotAncestor) => {
                let error = Error::NotADescendant {
                    from: Box::new(*from),
                    to: Box::new(*to),
                };
                return self.elsewhere_or(&name, (*from, *to), error).await;
            }
            Err(error) => return self.elsewhere_or(&name, (*from, *to), error).await,
        }
        let mut tries = 0;
        loop {
            // At once, and without a look before: where the branch was a moment ago decides nothing.
            let result = self
                .git("update-ref")
                .args(["-m", "pointsman: land", name.as_str()])
                .args([to.as_str(), from.as_str()])
                .output(&[0])
                .await;
            tries += 1;
            match result {
                Ok(_) => return Ok(Landed::Moved),
                // Git refuses when somebody was faster; where the branch is then tells.
                Err(error @ Error::Failed { .. }) => {
                    let tip = self.tip_of(&name).await?;
                    if tip != Some(*from) {
                        return self.where_it_is(tip, *to).await;
                    }
                    if tries >= LAND_TRIES {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What is wrong with the commits counts only where the branch is what it was thought to be.
    async fn elsewhere_or(
        &self,
        name: &str,
        (from, to): (Oid, Oid),
        error: Error,
    ) -> Result<Landed, Error> {
        match self.tip_of(name).await? {
            Some(tip) if tip == from => Err(error),
            tip => self.where_it_is(tip, to).await,
        }
    }

    /// The answer about a branch that is not where it was thought to be.
    async fn where_it_is(&self, tip: Option<Oid>, to: Oid) -> Result<Landed, Error> {
        let Some(present) = tip else {
            return Ok(Landed::Stale { tip });
        };
        let contained = present == to
            || match self.is_ancestor(&to, &present).await {
                Ok(ancestry) => ancestry == Ancestry::Ancestor,
                // What was pruned since is in no branch.
                Err(Error::NoCommit { oid }) if oid == to => false,
                Err(error) => return Err(error),
            };
        Ok(if contained {
            Landed::AlreadyThere
        } else {
            Landed::Stale { tip }
        })
    }
}
