//! The heads of pull requests, which are kept here even where they come from a fork.
//!
//! The objects are not fetched by git's protocol but piped from one git to another, so that exactly
//! the commit that was read is copied, and no third process runs.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::error::Error;
use crate::git::{Process, within};
use crate::limits::{TRANSFER, UNPACK_OBJECTS};
use crate::name::Branch;
use crate::oid::Oid;
use crate::repository::Repository;

/// Where heads are kept: `refs/pull/N/head`, as on GitHub.
const PULLS: &str = "refs/pull/";

/// Bytes before the objects of a pack: `PACK`, the version, how many there are.
const PACK_HEADER_BYTES: usize = 12;

/// What became of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// The head, which is now here.
    Head(Oid),
    /// There is no such branch. What `refs/pull/N/head` pointed at stays.
    Gone,
}

impl Repository {
    /// The heads that are kept here by number, by one process. With [`Repository::branches`] it tells
    /// which of many pull requests have to be fetched.
    ///
    /// # Errors
    /// As [`Repository::branches`].
    pub async fn heads(&self) -> Result<BTreeMap<u64, Oid>, Error> {
        let refs = self.refs(&[PULLS]).await?;
        Ok(refs
            .into_iter()
            .filter_map(|(name, oid)| {
                let number = name.strip_prefix(PULLS)?.strip_suffix("/head")?;
                Some((number.parse().ok()?, oid))
            })
            .collect())
    }

    /// Brings the head of a pull request here, from a fork or from a branch of this repository, and
    /// keeps it as `refs/pull/N/head`. Repeatable; where nothing moved it only reads.
    ///
    /// # Errors
    /// Either repository is damaged, or the objects break git's rules.
    pub async fn fetch_head(
        &self,
        from: &Self,
        branch: &Branch,
        number: u64,
    ) -> Result<Fetched, Error> {
        let Some(head) = from.branch(branch).await? else {
            return Ok(Fetched::Gone);
        };
        let name = format!("{PULLS}{number}/head");
        if from.path() == self.path() {
            if self.tip_of(&name).await? != Some(head) {
                self.set_ref(&name, head).await?;
            }
            return Ok(Fetched::Head(head));
        }
        let refs = self.refs(&["refs/heads/", PULLS]).await?;
        if !refs
            .iter()
            .any(|(found, oid)| *found == name && *oid == head)
        {
            if !refs.iter().any(|(_, oid)| *oid == head) {
                self.copy(from, head, refs.iter().map(|(_, oid)| *oid))
                    .await?;
            }
            self.set_ref(&name, head).await?;
        }
        Ok(Fetched::Head(head))
    }

    /// Copies a commit and what it needs, except what these commits here have already.
    async fn copy(
        &self,
        from: &Self,
        head: Oid,
        present: impl Iterator<Item = Oid>,
    ) -> Result<(), Error> {
        let mut wanted = format!("{head}\n");
        for oid in present {
            wanted.push_str(&format!("^{oid}\n"));
        }
        // Run here with the other's objects beside ours: only so it knows what we have.
        let pack = self
            .git("pack-objects")
            .args([
                "--revs",
                "--thin",
                "--stdout",
                "--quiet",
                "--delta-base-offset",
            ])
            .var("GIT_ALTERNATE_OBJECT_DIRECTORIES", from.as_alternate());
        let few = self.git("unpack-objects").args(["-q", "--strict"]);
        let many = self
            .git("index-pack")
            .args(["--stdin", "--fix-thin", "--strict"]);

        let _slots = pack.slots(2).await?;
        let mut packing = [pack.spawn()?];
        let result = within(TRANSFER, "pack-objects", &mut packing, async |packing| {
            let [packing] = packing else { return Ok(()) };
            let (mut stdin, mut stdout, stderr) = pipes(packing)?;
            let feed = async {
                // If it fails early, its status tells why.
                let _ = stdin.write_all(wanted.as_bytes()).await;
                drop(stdin);
                Ok(())
            };
            let (few, many) = (&few, &many);
            // It owns the output of the first, which thus gets SIGPIPE when the second ends early.
            let take = async move {
                let mut header = [0; PACK_HEADER_BYTES];
                if stdout.read_exact(&mut header).await.is_err() {
                    return Err(Error::Garbled {
                        command: "pack-objects",
                        what: "a pack",
                    });
                }
                let count = header
                    .last_chunk()
                    .map_or(0, |count| u32::from_be_bytes(*count));
                let store = if count < UNPACK_OBJECTS { few } else { many };
                let mut storing = [store.spawn()?];
                within(TRANSFER, "index-pack", &mut storing, async |storing| {
                    let [storing] = storing else { return Ok(()) };
                    let (mut into, said, stderr) = pipes(storing)?;
                    let copy = async {
                        // If it ends early, its status tells why.
                        if into.write_all(&header).await.is_ok() {
                            let _ = tokio::io::copy(&mut stdout, &mut into).await;
                        }
                        drop(into);
                        Ok(())
                    };
                    let ((), (), complaint) = tokio::try_join!(
                        copy,
                        store.drain(said, |_| Ok(())),
                        store.complaint(stderr)
                    )?;
                    let status = storing.wait().await.map_err(Error::io("wait for", "git"))?;
                    if status.success() {
                        Ok(())
                    } else {
                        Err(store.failure(status, &complaint))
                    }
                })
                .await
            };
            let ((), stored, complaint) =
                tokio::try_join!(feed, async { Ok(take.await) }, pack.complaint(stderr))?;
            let status = packing.wait().await.map_err(Error::io("wait for", "git"))?;
            // Of two failures that of the first caused the other, unless the first was ended by
            // SIGPIPE.
            match (status.code(), stored) {
                (Some(0), stored) => stored,
                (None, Err(error)) => Err(error),
                _ => Err(pack.failure(status, &complaint)),
            }
        })
        .await;
        match result {
            Ok(()) => Ok(()),
            // The failing git sees both repositories, and cannot tell whose damage it met.
            Err(error @ Error::Corrupt { .. }) => match from.commit(&head).await {
                Err(theirs) => Err(theirs),
                Ok(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}

type Pipes = (
    tokio::process::ChildStdin,
    tokio::process::ChildStdout,
    tokio::process::ChildStderr,
);

fn pipes(process: &mut Process) -> Result<Pipes, Error> {
    let child = &mut process.child;
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok((stdin, stdout, stderr)),
        _ => Err(Error::io("read from", "git")(
            std::io::ErrorKind::BrokenPipe.into(),
        )),
    }
}
