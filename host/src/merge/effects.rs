//! Doing what is in the outbox. Each effect can safely be done again: a commit that is built twice has the
//! same id, an attempt starts once for its key, and a branch is moved by compare-and-set.

use std::time::Duration;

use anyhow::Context as _;
use pointsman_forge::{
    Ancestry, Built as GitBuilt, Error as GitError, Identity, Landed as GitLanded, Member,
    MergePlan, Method, Oid, Repository,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Engine;
use crate::db::ACQUIRE_TIMEOUT;
use crate::db::merge::{
    Built, Claim, Effect, EffectKind, Ended, Landed, LanePlan, PlanMember, Renewed,
};
use crate::failpoint::failpoint;

/// How long a worker has an effect to itself at a time; a host that dies lets go of it after that, so that is how long
/// others wait for what it was at.
const LEASE: Duration = Duration::from_secs(24);
/// How often it says that it is still at it, however long git takes.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long before its lease ends a worker that could not renew it gives up: git is stopped, and has stopped before
/// another worker begins.
const GIVE_UP: Duration = Duration::from_secs(12);
// What takes longer than a lease is done by one worker at a time all the same: there is time to try twice to renew it,
// and to stop git.
const _: () = assert!(
    2 * (RENEW_EVERY.as_secs() + ACQUIRE_TIMEOUT.as_secs()) + GIVE_UP.as_secs() < LEASE.as_secs()
);
const _: () = assert!(GIVE_UP.as_secs() > 2 * pointsman_forge::limits::STOP_GRACE.as_secs());

/// Paths of a lane that are kept, as the contract says.
const MAX_CHANGED: usize = 10_000;

/// Who merges.
const IDENTITY: (&str, &str) = ("Pointsman", "pointsman@localhost");

impl Engine {
    /// Does what is in the outbox until told to stop, so many effects at once.
    pub(super) async fn effects(mut self, at_once: usize) {
        let mut working = JoinSet::new();
        while !self.stop.is_cancelled() {
            if working.len() >= at_once {
                working.join_next().await;
                continue;
            }
            self.commits.mark_unchanged();
            // Before the database counts, so that ours is over first.
            let asked = Instant::now();
            match self.take_effect(LEASE).await {
                Ok(Some(effect)) => {
                    let engine = self.clone();
                    working.spawn(async move { engine.act(&effect, asked + LEASE).await });
                }
                Ok(None) => {
                    self.wait().await;
                    while working.try_join_next().is_some() {}
                }
                Err(error) => {
                    crate::turn::log(&error);
                    self.pause().await;
                }
            }
        }
        while working.join_next().await.is_some() {}
    }

    async fn act(&self, effect: &Effect, until: Instant) {
        let work = async {
            match effect.kind {
                EffectKind::Build(lane) => self.build(effect, lane).await,
                EffectKind::Land(lane) => self.land(effect, lane).await,
                EffectKind::Start(attempt) => self.start_attempt(effect, attempt).await,
                EffectKind::Cancel(attempt) => self.cancel_attempt(effect, attempt).await,
            }
        };
        let Err(error) = self.kept(effect, until, work).await else {
            return;
        };
        let why = format!("{error:#}");
        tracing::warn!(effect = effect.id, kind = ?effect.kind, tries = effect.tries, cause = why, "an effect failed and is tried again");
        let told = match effect.kind {
            EffectKind::Land(lane) | EffectKind::Build(lane) => {
                self.db.lane_waits(effect, lane, &why).await
            }
            EffectKind::Start(attempt) | EffectKind::Cancel(attempt) => {
                self.db.attempt_says(attempt, Some(&why)).await
            }
        };
        if let Err(error) = told {
            crate::turn::log(&error);
        }
        if let Err(error) = self.db.effect_failed(effect, &why).await {
            // Its lease ends by itself.
            crate::turn::log(&error);
        }
    }

    /// Works at an effect for as long as nobody else may: its lease is renewed meanwhile, and where that cannot be
    /// done in time, the work is given up.
    async fn kept(
        &self,
        effect: &Effect,
        mut until: Instant,
        work: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let renewed = async {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                let asked = Instant::now();
                let renewal = self.db.renew_effect(effect, LEASE);
                match tokio::time::timeout_at(until - GIVE_UP, renewal).await {
                    Ok(Ok(Renewed::Ours)) => until = asked + LEASE,
                    Ok(Ok(Renewed::Lost)) => return "another worker has it",
                    Ok(Err(error)) if asked < until - GIVE_UP => crate::turn::log(&error),
                    Ok(Err(_)) | Err(_) => return "the database did not answer in time",
                }
            }
        };
        tokio::select! {
            done = work => done,
            why = renewed => Err(anyhow::anyhow!("it took longer than its lease, and {why}")),
        }
    }

    async fn build(&self, effect: &Effect, lane: i64) -> anyhow::Result<()> {
        let plan = self.db.lane_plan(lane).await?;
        if plan.state != "building" {
            return Ok(self
                .db
                .effect_done(effect, "the lane is not wanted any more")
                .await?);
        }
        let base: Oid = plan
            .base
            .as_deref()
            .context("a lane without a base")?
            .parse()?;
        let repository = self.forge.open(&plan.repository).await?;
        let unmerged = plan.attrs.get("base").is_some_and(|base| base == "head");
        let built = match plan.members.as_slice() {
            [] => GitBuilt::Lane {
                commit: base,
                tree: repository
                    .commit(&base)
                    .await?
                    .context("the base is gone")?
                    .tree,
                commits: vec![],
            },
            // Tested as it is: a preview, which never lands.
            [(_, head, _, _)] if unmerged => {
                let commit: Oid = head.parse()?;
                match repository.commit(&commit).await? {
                    Some(found) => GitBuilt::Lane {
                        commit,
                        tree: found.tree,
                        commits: vec![],
                    },
                    None => GitBuilt::Gone { oid: commit },
                }
            }
            members => {
                let plan = (&plan, members, lane);
                match Self::merge(&repository, base, plan).await {
                    Err(error) => match error.downcast_ref::<GitError>() {
                        // Tried again, it would be refused again.
                        Some(refused @ (GitError::BadPlan { .. } | GitError::NoCommit { .. })) => {
                            let built = Built::Impossible {
                                code: "lane.unbuildable",
                                merged: None,
                                text: refused.to_string(),
                            };
                            return Ok(self.db.lane_built(effect, lane, &built).await?);
                        }
                        _ => return Err(error),
                    },
                    Ok(built) => built,
                }
            }
        };
        // The target has the head only if the lane stands on the target, and the head lies in that.
        let mut merged = None;
        if let GitBuilt::AlreadyMerged { member } = built
            && !plan.on_lane
            && let Some((_, head, _, _)) = plan.members.get(member)
            && repository.is_ancestor(&head.parse()?, &base).await? == Ancestry::Ancestor
        {
            merged = Some(member);
        }
        let number = |place: usize| plan.members.get(place).map_or(0, |m| m.0);
        let built = match built {
            GitBuilt::Lane { commit, tree, .. } => {
                let changed = async {
                    match unmerged {
                        true => Ok(None),
                        false => repository
                            .changed(&base, &commit, MAX_CHANGED)
                            .await
                            .map(Some),
                    }
                };
                let (changed, ()) =
                    tokio::try_join!(changed, repository.keep(lane.cast_unsigned(), &commit))?;
                Built::Lane {
                    commit: commit.to_string(),
                    tree: tree.to_string(),
                    changed: changed.map(|changed| {
                        let lines = changed.paths.iter().map(|path| format!("{path}\n"));
                        let total = i32::try_from(changed.total).unwrap_or(i32::MAX);
                        (lines.collect(), total)
                    }),
                }
            }
            GitBuilt::Conflict { member, paths, .. } => Built::Conflict {
                member,
                paths: paths.join("\n"),
            },
            GitBuilt::AlreadyMerged { member } if merged.is_some() => Built::Impossible {
                code: "lane.merged",
                merged,
                text: format!(
                    "{} has the head of #{} already",
                    plan.target,
                    number(member)
                ),
            },
            GitBuilt::AlreadyMerged { member } => Built::Impossible {
                code: "lane.contained",
                merged: None,
                text: format!("#{} changes nothing on what it stands on", number(member)),
            },
            GitBuilt::Gone { oid } => Built::Impossible {
                code: "lane.gone",
                merged: None,
                text: format!("the commit {oid} is not there any more"),
            },
        };
        failpoint("built");
        Ok(self.db.lane_built(effect, lane, &built).await?)
    }

    /// Merges the members one onto the other. A member that those before it have in them adds nothing, and is
    /// left out: it lands with them. Where nothing is left, the first of all is said to be there already.
    async fn merge(
        repository: &Repository,
        base: Oid,
        (plan, members, lane): (&LanePlan, &[PlanMember], i64),
    ) -> anyhow::Result<GitBuilt> {
        let method = match plan.attrs.get("merge.method").map(String::as_str) {
            Some("squash") => Method::Squash,
            _ => Method::Merge,
        };
        let own = plan
            .attrs
            .get("merge.message")
            .filter(|_| members.len() == 1);
        let member = |(number, head, title, author): &PlanMember| {
            let message = format!(
                "Merge #{number}: {title}\n\nProposed by {author}, tested as lane {lane}.\n"
            );
            anyhow::Ok(Member {
                head: head.parse()?,
                message: own.cloned().unwrap_or(message),
                method,
            })
        };
        let mut merge = MergePlan {
            base,
            members: members.iter().map(member).collect::<anyhow::Result<_>>()?,
            identity: Identity {
                name: IDENTITY.0.to_owned(),
                email: IDENTITY.1.to_owned(),
            },
            at: u64::try_from(plan.created_at.timestamp()).unwrap_or(0),
        };
        // Places in the lane of those that are left.
        let mut places: Vec<usize> = (0..members.len()).collect();
        loop {
            let built = repository.build(&merge).await?;
            let place = |left: usize| places.get(left).copied().unwrap_or(left);
            let left = match built {
                GitBuilt::AlreadyMerged { member } => member,
                GitBuilt::Conflict {
                    member,
                    paths,
                    text,
                } => {
                    let member = place(member);
                    return Ok(GitBuilt::Conflict {
                        member,
                        paths,
                        text,
                    });
                }
                built => return Ok(built),
            };
            let head = merge.members[left].head;
            let in_base = repository.is_ancestor(&head, &base).await? == Ancestry::Ancestor;
            if in_base || places.len() == 1 {
                return Ok(GitBuilt::AlreadyMerged {
                    member: place(left),
                });
            }
            merge.members.remove(left);
            places.remove(left);
        }
    }

    async fn land(&self, effect: &Effect, lane: i64) -> anyhow::Result<()> {
        // It could not be done before, and people may have said otherwise meanwhile.
        if effect.tries > 1 && self.call_off(effect, lane).await? {
            return Ok(());
        }
        let plan = self.db.lane_plan(lane).await?;
        if plan.state != "landing" {
            return Ok(self
                .db
                .effect_done(effect, "the lane does not land")
                .await?);
        }
        let from: Oid = plan
            .base
            .as_deref()
            .context("a lane without a base")?
            .parse()?;
        let to: Oid = plan
            .commit
            .as_deref()
            .context("a lane without a commit")?
            .parse()?;
        let repository = self.forge.open(&plan.repository).await?;
        let landed = match repository.land(&plan.target.parse()?, &from, &to).await {
            // Said so too if we did it before, and died before we could write it down.
            Ok(GitLanded::Moved | GitLanded::AlreadyThere) => Landed::Moved,
            Ok(GitLanded::Stale { tip }) => Landed::Stale {
                tip: tip.map(|tip| tip.to_string()),
            },
            // Tried again, it would be refused again, and nothing else would land meanwhile.
            Err(refused @ (GitError::NotADescendant { .. } | GitError::NoCommit { .. })) => {
                Landed::Impossible {
                    text: refused.to_string(),
                }
            }
            Err(error) => return Err(error.into()),
        };
        failpoint("landed");
        Ok(self.db.lane_landed(effect, lane, &landed).await?)
    }

    /// Takes a landing back that has not happened and may not happen any more.
    async fn call_off(&self, effect: &Effect, lane: i64) -> anyhow::Result<bool> {
        let plan = self.db.lane_plan(lane).await?;
        let repository = self.forge.open(&plan.repository).await?;
        let tip = repository.branch(&plan.target.parse()?).await?;
        let is_untouched = tip.map(|tip| tip.to_string()) == plan.base;
        Ok(is_untouched && self.db.call_off(effect, lane).await?)
    }

    async fn start_attempt(&self, effect: &Effect, id: i64) -> anyhow::Result<()> {
        let _begins = self.begins.read().await;
        let Some(attempt) = self.db.attempt(id).await? else {
            return Ok(self.db.effect_done(effect, "unknown").await?);
        };
        if attempt.state == "waiting" && (attempt.over || attempt.cancel.is_some()) {
            let why = attempt
                .cancel
                .clone()
                .unwrap_or_else(|| "what it is for is over".to_owned());
            self.db
                .attempt_ended(id, &Ended::without_report("cancelled", why))
                .await?;
            return Ok(self
                .db
                .effect_done(effect, "cancelled before it began")
                .await?);
        }
        let (lease, now) = (super::attempts::LEASE, chrono::Utc::now());
        if self
            .db
            .claim_attempt(effect, &attempt, &self.host, lease)
            .await?
            == Claim::NotOurs
        {
            // It has ended, or another host runs it: then that one's lease lapses if it does not.
            return Ok(self.db.effect_done(effect, "it is not this host's").await?);
        }
        failpoint("claimed");
        match self.backend.start(&attempt, now).await {
            Ok(()) => {}
            Err(super::backend::NotStarted::Never(why)) => {
                self.db
                    .attempt_ended(id, &Ended::without_report("setup-failed", why))
                    .await?;
            }
            Err(super::backend::NotStarted::Now(error)) => return Err(error),
        }
        failpoint("started");
        if effect.tries > 1 {
            self.db.attempt_says(id, None).await?;
        }
        Ok(self.db.effect_done(effect, "started").await?)
    }

    async fn cancel_attempt(&self, effect: &Effect, id: i64) -> anyhow::Result<()> {
        let _begins = self.begins.read().await;
        let Some(attempt) = self.db.attempt(id).await? else {
            return Ok(self.db.effect_done(effect, "unknown").await?);
        };
        let why = attempt.cancel.clone().unwrap_or_default();
        if attempt.state != "ended" {
            if attempt.host.is_none() {
                self.db
                    .attempt_ended(id, &Ended::without_report("cancelled", why.clone()))
                    .await?;
            }
            self.backend.cancel(&attempt.key, &why).await?;
            failpoint("cancelled");
        }
        Ok(self.db.effect_done(effect, "asked to end").await?)
    }
}
