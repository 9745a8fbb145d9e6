//! The refs that keep a lane's commits from being collected.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::oid::Oid;
use crate::repository::Repository;

const LANES: &str = "refs/pointsman/lanes/";

fn name(lane: u64) -> String {
    format!("{LANES}{lane}")
}

impl Repository {
    /// Keeps a lane's commit, and with it all that it is made of, until the lane is let go.
    /// Repeatable.
    ///
    /// # Errors
    /// [`Error::NoCommit`].
    pub async fn keep(&self, lane: u64, commit: &Oid) -> Result<(), Error> {
        self.set_ref(&name(lane), *commit).await
    }

    /// Lets a lane go; one that was never kept too.
    ///
    /// # Errors
    /// Git fails.
    pub async fn let_go(&self, lane: u64) -> Result<(), Error> {
        self.git("update-ref")
            .args(["-d", name(lane).as_str()])
            .output(&[0])
            .await?;
        Ok(())
    }

    /// All lanes that are kept, by one process: what a crash left is found by it.
    ///
    /// # Errors
    /// As [`Repository::branches`].
    pub async fn kept(&self) -> Result<BTreeMap<u64, Oid>, Error> {
        let refs = self.refs(&[LANES]).await?;
        Ok(refs
            .into_iter()
            .filter_map(|(name, oid)| Some((name.strip_prefix(LANES)?.parse().ok()?, oid)))
            .collect())
    }
}
