//! The outbox: leasing what is to be done, and writing what came of it.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use sqlx::types::Json;

use super::super::batch::nothing;
use super::super::{Actor, Batch, Db};
use crate::error::{Error, Result};
use crate::plan::merge::Attrs;

/// Seconds to wait after the first failure of an effect; doubled with each more.
const FIRST_PAUSE_S: f64 = 0.5;
/// Seconds to wait at most.
const LONGEST_PAUSE_S: f64 = 60.0;

/// A thing to do.
#[derive(Debug, Clone)]
pub struct Effect {
    /// Its row.
    pub id: i64,
    /// The pipeline.
    pub pipeline: i32,
    /// What it is.
    pub kind: EffectKind,
    /// How often it was begun.
    pub tries: i32,
    /// The repository that it needs, and what marks its folder; none: it needs none.
    pub repository: Option<(String, Option<String>)>,
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectKind {
    /// Make a lane's commit.
    Build(i64),
    /// Start an attempt.
    Start(i64),
    /// End an attempt.
    Cancel(i64),
    /// Move the branch to a lane's commit.
    Land(i64),
}

/// What came of keeping an effect for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// Nobody else begins it.
    Ours,
    /// It lapsed.
    Lost,
}

/// A member of a lane: number, head, title, author.
pub type PlanMember = (i32, String, String, String);

/// What a lane's commit is made of.
#[derive(Debug, Clone)]
pub struct LanePlan {
    /// Where it is.
    pub state: String,
    /// The repository.
    pub repository: String,
    /// The target branch.
    pub target: String,
    /// What it stands on.
    pub base: Option<String>,
    /// That is another lane's commit, and not the target's.
    pub on_lane: bool,
    /// The merge commit.
    pub commit: Option<String>,
    /// Members in the order in which they are merged.
    pub members: Vec<PlanMember>,
    /// Of `select`.
    pub attrs: Attrs,
    /// When it was planned: the time of its commits.
    pub created_at: chrono::DateTime<chrono::Utc>,
}

/// What came of making a lane's commit.
#[derive(Debug, Clone)]
pub enum Built {
    /// It is there.
    Lane {
        /// The commit.
        commit: String,
        /// Its tree.
        tree: String,
        /// Paths that it changes on its base, one a line, and how many there are.
        changed: Option<(String, i32)>,
    },
    /// A member does not merge.
    Conflict {
        /// Which, by its place.
        member: usize,
        /// Paths that are in the way, one a line.
        paths: String,
    },
    /// It cannot be made, now or ever: a head that vanished, a branch that has it already.
    Impossible {
        /// Stable.
        code: &'static str,
        /// For people.
        text: String,
        /// The member that the branch has already, by its place.
        merged: Option<usize>,
    },
}

/// What came of moving the branch.
#[derive(Debug, Clone)]
pub enum Landed {
    /// It points at the lane's commit, or did.
    Moved,
    /// It points elsewhere.
    Stale {
        /// Where.
        tip: Option<String>,
    },
    /// It never can be moved there.
    Impossible {
        /// Why, for people.
        text: String,
    },
}

impl Db {
    /// What a lane's commit is made of.
    pub async fn lane_plan(&self, lane: i64) -> Result<LanePlan> {
        let row = sqlx::query!(
            r#"select l.state, g.name as repository, m.target, l.base, l.commit, l.members,
                 l.on_lane is not null as "on_lane!", l.numbers, l.heads,
                 l.attrs as "attrs: Json<Attrs>", l.created_at
               from lane l join merge_pipeline m on m.id = l.pipeline_id join repository g on g.id = m.repository_id
               where l.id = $1"#,
            lane,
        )
        .fetch_one(&self.read)
        .await?;
        let pulls = sqlx::query!(
            "select id, title, author from pull_request where id = any($1)",
            &row.members,
        )
        .fetch_all(&self.read)
        .await?;
        let member = |((id, number), head): ((&i64, &i32), &String)| {
            let pull = pulls.iter().find(|p| p.id == *id);
            let (title, author) = pull.map_or(("", ""), |p| (&p.title, &p.author));
            (*number, head.clone(), title.to_owned(), author.to_owned())
        };
        let members = row
            .members
            .iter()
            .zip(&row.numbers)
            .zip(&row.heads)
            .map(member);
        Ok(LanePlan {
            members: members.collect(),
            state: row.state,
            repository: row.repository,
            target: row.target,
            base: row.base,
            on_lane: row.on_lane,
            commit: row.commit,
            attrs: row.attrs.0,
            created_at: row.created_at,
        })
    }

    /// The next thing to do, for this host alone until the lease ends. What is to be done for the pipelines `elsewhere`
    /// is left to others.
    pub async fn lease_effect(
        &self,
        host: &str,
        lease: Duration,
        elsewhere: &[i32],
    ) -> Result<Option<Effect>> {
        let lease = PgInterval::try_from(lease).map_err(|e| Error::Internal(anyhow::anyhow!(e)))?;
        let row = sqlx::query!(
            // Not waited for until it is on the disk: should the database die with it, somebody else leases the effect,
            // which can safely be done again. What is journalled is always waited for.
            r#"update effect set leased_by = $1, leased_until = now() + $2, tries = tries + 1
             from (select set_config('synchronous_commit', 'off', true)) soon
             where id = (
               select e.id from effect e left join attempt a on a.id = e.attempt_id
               where e.done_at is null and e.not_before <= now()
                 and (e.leased_until is null or e.leased_until < now())
                 -- Only the host that runs an attempt can end it.
                 and (e.kind <> 'cancel' or a.host is null or a.host = $1 or a.state = 'ended')
                 and (e.kind = 'cancel' or e.pipeline_id <> all($3))
               order by e.not_before, e.id limit 1 for update of e skip locked)
             returning id, pipeline_id, kind, lane_id, attempt_id, tries,
               (select g.name from merge_pipeline m join repository g on g.id = m.repository_id
                where m.id = pipeline_id and kind <> 'cancel') as repository,
               (select f.mark from merge_pipeline m join repository_folder f on f.repository_id = m.repository_id
                where m.id = pipeline_id) as mark"#,
            host,
            lease,
            elsewhere,
        )
        .fetch_optional(&self.write)
        .await?;
        row.map(|row| {
            let kind = match (row.kind.as_str(), row.lane_id, row.attempt_id) {
                ("build", Some(lane), _) => EffectKind::Build(lane),
                ("land", Some(lane), _) => EffectKind::Land(lane),
                ("start", _, Some(attempt)) => EffectKind::Start(attempt),
                ("cancel", _, Some(attempt)) => EffectKind::Cancel(attempt),
                _ => {
                    let text = format!("effect {} has no subject", row.id);
                    return Err(Error::Internal(anyhow::anyhow!(text)));
                }
            };
            Ok(Effect {
                id: row.id,
                pipeline: row.pipeline_id,
                kind,
                tries: row.tries,
                repository: row.repository.map(|name| (name, row.mark)),
            })
        })
        .transpose()
    }

    /// Lets go of what this host had begun when it died: it alone would do that again, and only once the
    /// lease ends.
    pub async fn release_effects(&self, host: &str) -> Result<()> {
        sqlx::query!(
            "update effect set leased_by = null, leased_until = null where leased_by = $1 and done_at is null",
            host,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Whoever works at an effect keeps it for longer.
    pub async fn renew_effect(&self, effect: &Effect, lease: Duration) -> Result<Renewed> {
        let lease = PgInterval::try_from(lease).map_err(|e| Error::Internal(anyhow::anyhow!(e)))?;
        let renewed = sqlx::query!(
            // Each lease counts a try, so that no two are alike.
            "update effect set leased_until = now() + $3
             where id = $1 and tries = $2 and leased_until > now()",
            effect.id,
            effect.tries,
            lease,
        )
        .execute(&self.write)
        .await?
        .rows_affected();
        Ok(if renewed > 0 {
            Renewed::Ours
        } else {
            Renewed::Lost
        })
    }

    /// It could not be done: it is tried again later, with what went wrong on record. Whoever has it by now keeps
    /// it.
    pub async fn effect_failed(&self, effect: &Effect, why: &str) -> Result<()> {
        let pause =
            (FIRST_PAUSE_S * f64::from(effect.tries.min(16)).exp2() / 2.0).min(LONGEST_PAUSE_S);
        sqlx::query!(
            "update effect set leased_by = null, leased_until = null, outcome = left($2, 1000),
               not_before = now() + make_interval(secs => $3)
             where id = $1 and tries = $4 and done_at is null",
            effect.id,
            why,
            pause,
            effect.tries,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// It cannot be done here: another host does it.
    pub async fn give_back(&self, effect: &Effect) -> Result<()> {
        sqlx::query!(
            "update effect set leased_by = null, leased_until = null, tries = tries - 1
             where id = $1 and tries = $2 and done_at is null",
            effect.id,
            effect.tries,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// It is done, with nothing of the record to change.
    pub async fn effect_done(&self, effect: &Effect, outcome: &str) -> Result<()> {
        sqlx::query!(
            // As with a lease: done once more, it changes nothing.
            "update effect set done_at = now(), outcome = $2
             from (select set_config('synchronous_commit', 'off', true)) soon where id = $1 and done_at is null",
            effect.id,
            outcome,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Writes what came of making a lane's commit. A lane that is not waited for any more stays as it is.
    pub async fn lane_built(&self, effect: &Effect, lane: i64, built: &Built) -> Result<()> {
        let text = match built {
            Built::Lane { commit, .. } => format!("Lane {lane} is {commit:.12}"),
            Built::Conflict { .. } => format!("Lane {lane} does not merge"),
            Built::Impossible { text, .. } => format!("Lane {lane} cannot be built: {text}"),
        };
        let mut batch = self.begin_effect(effect, || text).await?;
        let conn = batch.conn();
        match built {
            Built::Lane {
                commit,
                tree,
                changed,
            } => {
                sqlx::query!(
                    "update lane set state = 'built', commit = $2, tree = $3, changed = $4, changed_total = $5,
                       since = now(), held_code = null, held_text = null
                     where id = $1 and state = 'building'",
                    lane,
                    commit,
                    tree,
                    changed.as_ref().map(|c| c.0.as_str()),
                    changed.as_ref().map(|c| c.1),
                )
                .execute(&mut *conn)
                .await?;
                // Lanes that stand on this one know their base now.
                sqlx::query!(
                    "update lane set base = $2 where on_lane = $1 and base is null and ended_at is null",
                    lane,
                    commit,
                )
                .execute(&mut *conn)
                .await?;
            }
            Built::Conflict { member, paths } => {
                let place = i32::try_from(*member).unwrap_or(0) + 1;
                sqlx::query!(
                    "update lane set state = 'conflict', ended_at = now(), since = now(), reason_code = 'lane.conflict',
                       reason_text = left('#' || numbers[$2] || ' does not merge: ' || replace($3, e'\\n', ', '), 1024),
                       blame = array[numbers[$2]]
                     where id = $1 and state = 'building'",
                    lane,
                    place,
                    paths,
                )
                .execute(&mut *conn)
                .await?;
                // Alone it conflicts with its base; behind others it may be they.
                sqlx::query!(
                    "insert into conflict (pull_request_id, head, base, paths)
                     select members[1], heads[1], base, $2 from lane where id = $1 and $3 = 1 and base is not null
                     on conflict do nothing",
                    lane,
                    paths,
                    place,
                )
                .execute(&mut *conn)
                .await?;
            }
            Built::Impossible { code, text, merged } => {
                if let Some(place) = merged {
                    // Somebody pushed it: it has landed, if not by us.
                    sqlx::query!(
                        "update pull_request set state = 'landed', ended_at = now() where state = 'open'
                           and (id, head) in (select members[$2], heads[$2] from lane
                             where id = $1 and state = 'building')",
                        lane,
                        i32::try_from(*place).unwrap_or(0) + 1,
                    )
                    .execute(&mut *conn)
                    .await?;
                }
                sqlx::query!(
                    "update lane set state = 'cancelled', ended_at = now(), since = now(), reason_code = $2,
                       reason_text = left($3, 1024)
                     where id = $1 and state = 'building'",
                    lane,
                    code,
                    text,
                )
                .execute(&mut *conn)
                .await?;
            }
        }
        cause(conn, effect.pipeline, Some(lane), None).await?;
        done(conn, effect, "built").await?;
        batch.commit(nothing()).await?;
        Ok(())
    }

    /// Writes what came of moving the branch.
    pub async fn lane_landed(&self, effect: &Effect, lane: i64, landed: &Landed) -> Result<()> {
        let mut batch = self
            .begin_effect(effect, || match landed {
                Landed::Moved => format!("Lane {lane} landed"),
                Landed::Stale { .. } => format!("Lane {lane} is stale: the branch moved"),
                Landed::Impossible { text } => format!("Lane {lane} cannot land: {text}"),
            })
            .await?;
        let conn = batch.conn();
        match landed {
            Landed::Moved => {
                let row = sqlx::query!(
                    "update lane set state = 'landed', ended_at = now(), since = now(), held_code = null, held_text = null
                     where id = $1 and state = 'landing' returning members, heads",
                    lane,
                )
                .fetch_optional(&mut *conn)
                .await?;
                if let Some(row) = row {
                    // One with a newer head has not landed as it is now. One that was closed meanwhile has.
                    sqlx::query!(
                        "update pull_request q set state = 'landed', ended_at = now()
                         from unnest($1::bigint[], $2::text[]) u (id, head)
                         where q.id = u.id and q.head = u.head and q.state in ('open', 'closed')",
                        &row.members,
                        &row.heads,
                    )
                    .execute(&mut *conn)
                    .await?;
                    sqlx::query!(
                        "insert into tip (pipeline_id, commit, tree, how, lane_id)
                         select pipeline_id, commit, tree, 'landed', id from lane where id = $1",
                        lane,
                    )
                    .execute(&mut *conn)
                    .await?;
                }
            }
            Landed::Stale { tip: Some(tip) } => {
                let text = format!("the branch points at {tip:.12}, which somebody else put there");
                give_up(conn, lane, "lane.stale", &text).await?;
            }
            Landed::Stale { tip: None } => {
                give_up(conn, lane, "lane.target-gone", "the branch is gone").await?;
            }
            Landed::Impossible { text } => {
                give_up(conn, lane, "lane.unlandable", text).await?;
            }
        }
        cause(conn, effect.pipeline, Some(lane), None).await?;
        done(conn, effect, "landed").await?;
        batch.commit(nothing()).await?;
        Ok(())
    }

    /// Says on a lane why what is to be done for it is not done yet.
    pub async fn lane_waits(&self, effect: &Effect, lane: i64, why: &str) -> Result<()> {
        let mut batch = self
            .begin_effect(effect, || format!("Lane {lane} waits: it is tried again"))
            .await?;
        sqlx::query!(
            "update lane set held_code = 'lane.failing', held_text = left($2, 1024)
             where id = $1 and state in ('building', 'landing')
               and (held_code, held_text) is distinct from ('lane.failing', left($2, 1024))",
            lane,
            why.replace('\0', "\u{fffd}"),
        )
        .execute(batch.conn())
        .await?;
        batch.commit(nothing()).await?;
        Ok(())
    }

    /// Takes a landing back if a rule forbids it now; the next turn looks at everything anew.
    pub async fn call_off(&self, effect: &Effect, lane: i64) -> Result<bool> {
        let mut batch = self
            .begin_effect(effect, || format!("Lane {lane} does not land for now"))
            .await?;
        let conn = batch.conn();
        let called_off = sqlx::query!(
            "update lane l set state = 'passed', since = now(), held_code = null, held_text = null
             where l.id = $1 and l.state = 'landing' and (
               exists (select from merge_pipeline m join pipeline p on p.id = m.id where m.id = l.pipeline_id
                         and (m.frozen is not null or p.paused is not null or p.deleted_at is not null))
               or exists (select from unnest(l.members, l.heads) u (id, head) join pull_request q on q.id = u.id
                          left join standing s on s.id = q.id and s.head = q.head
                          where q.state <> 'open' or q.draft or q.head <> u.head
                            or s.approval is distinct from 'approved'
                            or coalesce(s.need, '') not in ('run', 'pass')))",
            lane,
        )
        .execute(&mut *conn)
        .await?
        .rows_affected()
            > 0;
        if !called_off {
            return Ok(false);
        }
        cause(conn, effect.pipeline, Some(lane), None).await?;
        done(conn, effect, "called off").await?;
        batch.commit(nothing()).await?;
        Ok(true)
    }

    pub(super) async fn begin_effect(
        &self,
        effect: &Effect,
        comment: impl FnOnce() -> String,
    ) -> Result<Batch> {
        let name = sqlx::query_scalar!("select name from pipeline where id = $1", effect.pipeline)
            .fetch_one(&self.read)
            .await?;
        let actor = Actor {
            user: format!("pipeline:{name}"),
            address: None,
        };
        self.begin(&actor, None, comment).await
    }

    /// Deletes effects that were done long ago.
    pub async fn retire_effects(&self, days: i32, limit: i64) -> Result<u64> {
        Ok(sqlx::query!(
            "delete from effect where id in (
               select id from effect where done_at < now() - make_interval(days => $1) limit $2)",
            days,
            limit,
        )
        .execute(&self.write)
        .await?
        .rows_affected())
    }
}

/// A lane that was to land does not.
async fn give_up(conn: &mut PgConnection, lane: i64, code: &str, text: &str) -> Result<()> {
    sqlx::query!(
        "update lane set state = 'cancelled', ended_at = now(), since = now(), reason_code = $2,
           reason_text = left($3, 1024)
         where id = $1 and state = 'landing'",
        lane,
        code,
        text,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The pipeline looks at this lane, or at this run, again.
pub(super) async fn cause(
    conn: &mut PgConnection,
    pipeline: i32,
    lane: Option<i64>,
    run: Option<i64>,
) -> Result<()> {
    sqlx::query!(
        "insert into cause (pipeline_id, kind, lane_id, run_id)
         values ($1, case when $3::bigint is null then 'lane' else 'run' end, $2, $3)",
        pipeline,
        lane,
        run,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn done(conn: &mut PgConnection, effect: &Effect, outcome: &str) -> Result<()> {
    sqlx::query!(
        "update effect set done_at = now(), outcome = $2 where id = $1 and done_at is null",
        effect.id,
        outcome,
    )
    .execute(conn)
    .await?;
    Ok(())
}
