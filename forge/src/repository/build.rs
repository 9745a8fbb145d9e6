//! The commits of a lane: its members merged one after the other onto its base.

use super::commits::Ancestry;
use super::merge::{Merged, Objects};
use crate::error::Error;
use crate::limits::{IDENTITY_BYTES, MEMBERS, MESSAGE_BYTES};
use crate::oid::Oid;
use crate::repository::Repository;

/// What to build. The same plan gives the same commits, whoever builds it and whenever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePlan {
    /// What the lane stands on.
    pub base: Oid,
    /// In the order in which they are merged. None: the lane is its base.
    pub members: Vec<Member>,
    /// Author and committer of every commit.
    pub identity: Identity,
    /// The date of every commit, in seconds since 1970.
    pub at: u64,
}

/// One head to merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its newest commit.
    pub head: Oid,
    /// The message of the commit that is made for it; at most 64 KiB.
    pub message: String,
    /// How it is merged.
    pub method: Method,
}

/// How a head becomes part of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By a commit with two parents, even where the branch could simply move on.
    Merge,
    /// By one commit that holds the whole change and does not name the head as its parent.
    Squash,
}

/// Who makes a commit. Neither part may have line breaks or angle brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// The lane's commits. Nothing refers to them yet: [`Repository::keep`] the lane.
    Lane {
        /// The last commit, which is to be tested.
        commit: Oid,
        /// Its tree.
        tree: Oid,
        /// One for each member, in their order.
        commits: Vec<Oid>,
    },
    /// A member cannot be merged.
    Conflict {
        /// Its place among the members, from 0.
        member: usize,
        /// The paths in conflict, sorted, at most 1,000; none if the histories have nothing in
        /// common.
        paths: Vec<String>,
        /// What git says, for people.
        text: String,
    },
    /// A member adds nothing: what it is merged onto contains it already.
    AlreadyMerged {
        /// Its place among the members, from 0.
        member: usize,
    },
    /// The base or a head is not in the repository (any more).
    Gone {
        /// Which.
        oid: Oid,
    },
}

impl Repository {
    /// Builds a plan, without a work tree; two processes per member.
    ///
    /// # Errors
    /// [`Error::BadPlan`] if no commit can have such a message or identity.
    pub async fn build(&self, plan: &MergePlan) -> Result<Built, Error> {
        check(plan)?;
        let oids: Vec<Oid> = [plan.base]
            .into_iter()
            .chain(plan.members.iter().map(|member| member.head))
            .collect();
        let found = self.commits(&oids).await?;
        if let Some((_, oid)) = found.iter().zip(&oids).find(|(commit, _)| commit.is_none()) {
            return Ok(Built::Gone { oid: *oid });
        }
        let Some(Some(base)) = found.first() else {
            return Ok(Built::Gone { oid: plan.base });
        };
        let (mut commit, mut tree) = (base.oid, base.tree);
        let mut commits = Vec::with_capacity(plan.members.len());
        for (index, member) in plan.members.iter().enumerate() {
            let merged = match self.merge(commit, member.head, Objects::Kept).await? {
                Merged::Clean { tree } => tree,
                Merged::Conflict { paths, text } => {
                    return Ok(Built::Conflict {
                        member: index,
                        paths,
                        text,
                    });
                }
                Merged::Unrelated => {
                    return Ok(Built::Conflict {
                        member: index,
                        paths: Vec::new(),
                        text: format!("{} has no history in common with {commit}", member.head),
                    });
                }
            };
            // What is contained changes nothing, so that only then it has to be looked at.
            if merged == tree && self.adds_nothing(member, commit).await? {
                return Ok(Built::AlreadyMerged { member: index });
            }
            commit = self.commit_tree(plan, member, merged, commit).await?;
            tree = merged;
            commits.push(commit);
        }
        Ok(Built::Lane {
            commit,
            tree,
            commits,
        })
    }

    /// Whether a member that leaves the tree as it is needs no commit: a squash is its change and
    /// nothing else, a merge also says that the head is in.
    async fn adds_nothing(&self, member: &Member, onto: Oid) -> Result<bool, Error> {
        Ok(match member.method {
            Method::Squash => true,
            Method::Merge => self.is_ancestor(&member.head, &onto).await? == Ancestry::Ancestor,
        })
    }

    async fn commit_tree(
        &self,
        plan: &MergePlan,
        member: &Member,
        tree: Oid,
        onto: Oid,
    ) -> Result<Oid, Error> {
        let date = format!("@{} +0000", plan.at);
        let mut call = self
            .git("commit-tree")
            .args(["-p", onto.as_str()])
            .var("GIT_AUTHOR_NAME", &plan.identity.name)
            .var("GIT_AUTHOR_EMAIL", &plan.identity.email)
            .var("GIT_AUTHOR_DATE", &date)
            .var("GIT_COMMITTER_NAME", &plan.identity.name)
            .var("GIT_COMMITTER_EMAIL", &plan.identity.email)
            .var("GIT_COMMITTER_DATE", &date)
            .input(member.message.as_str());
        if member.method == Method::Merge {
            call = call.args(["-p", member.head.as_str()]);
        }
        let output = call
            .args(["--no-gpg-sign", "-F", "-", tree.as_str()])
            .output(&[0])
            .await?;
        match std::str::from_utf8(output.stdout.trim_ascii_end()).map(str::parse) {
            Ok(Ok(oid)) => Ok(oid),
            _ => Err(Error::Garbled {
                command: "commit-tree",
                what: "a commit",
            }),
        }
    }
}

/// Refuses what git would refuse halfway, or would silently write otherwise.
fn check(plan: &MergePlan) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::BadPlan { why });
    if plan.members.len() > MEMBERS {
        return refuse(format!(
            "it has {} members; at most {MEMBERS} are built",
            plan.members.len()
        ));
    }
    for (what, text) in [
        ("name", &plan.identity.name),
        ("address", &plan.identity.email),
    ] {
        let text = text.as_str();
        // Git strips these from the ends, and refuses a name of which nothing is left.
        let stripped = |c: char| c <= ' ' || ".,:;<>\"\\'".contains(c);
        if text.is_empty() || text.starts_with(stripped) || text.ends_with(stripped) {
            return refuse(format!(
                "the {what} of its identity is empty, or begins or ends with a space or a punctuation mark"
            ));
        }
        if text.len() > IDENTITY_BYTES
            || text.contains(|c: char| c.is_control() || "<>".contains(c))
        {
            return refuse(format!(
                "the {what} of its identity has a control character or an angle bracket, or more than {IDENTITY_BYTES} bytes"
            ));
        }
    }
    for (index, member) in plan.members.iter().enumerate() {
        if member.message.trim().is_empty() || member.message.contains('\0') {
            return refuse(format!(
                "the message of member {index} is empty or has a NUL"
            ));
        }
        if member.message.len() > MESSAGE_BYTES {
            return refuse(format!(
                "the message of member {index} has more than {MESSAGE_BYTES} bytes"
            ));
        }
    }
    Ok(())
}
