//! What git says: where branches point, and what a head changes.

use super::super::batch::nothing;
use super::super::{Actor, Db};
use crate::error::Result;

/// A target branch that a pipeline watches, with the heads of its open pull requests.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The pipeline.
    pub pipeline: i32,
    /// The repository.
    pub repository: String,
    /// The target branch.
    pub target: String,
    /// Where it pointed when somebody last looked.
    pub tip: Option<String>,
    /// A lane is being landed: who moved the branch will be known soon.
    pub landing: bool,
}

/// The head of an open pull request, as the record has it.
#[derive(Debug, Clone)]
pub struct Head {
    /// The pull request.
    pub id: i64,
    /// Its number.
    pub number: i32,
    /// The repository that it is of.
    pub repository: String,
    /// The branch that it goes to.
    pub target: String,
    /// Where its branch lies.
    pub head_repository: String,
    /// Its branch.
    pub branch: String,
    /// The commit.
    pub head: String,
    /// Its branch is gone.
    pub gone: bool,
    /// What git says of the head is known.
    pub described: bool,
}

/// What git says of a head.
#[derive(Debug, Clone)]
pub struct NewHead {
    /// The commit.
    pub commit: String,
    /// What `changed` is counted from.
    pub merge_base: String,
    /// Equal for the same change.
    pub patch_id: String,
    /// Paths, one a line.
    pub changed: String,
    /// How many there are.
    pub changed_total: i32,
    /// The tip that it does not merge with, and the paths in the way.
    pub conflict: Option<(String, String)>,
}

impl Db {
    /// All target branches that are watched.
    pub async fn watched(&self) -> Result<Vec<Watched>> {
        Ok(sqlx::query_as!(
            Watched,
            r#"select m.id as pipeline, g.name as repository, m.target,
                 (select commit from tip where pipeline_id = m.id order by id desc limit 1) as tip,
                 exists (select from lane l where l.pipeline_id = m.id and l.ended_at is null and l.state = 'landing')
                   as "landing!"
               from merge_pipeline m join pipeline p on p.id = m.id join repository g on g.id = m.repository_id
               where p.deleted_at is null order by g.name, m.target"#
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// The heads of all open pull requests, by the repository that they lie in.
    pub async fn open_heads(&self) -> Result<Vec<Head>> {
        Ok(sqlx::query_as!(
            Head,
            r#"select q.id, q.number, g.name as repository, q.target,
                 coalesce(q.head_repository, g.name) as "head_repository!", q.head_branch as branch, q.head,
                 q.head_gone as gone, h.commit is not null as "described!"
               from pull_request q join repository g on g.id = q.repository_id
               left join head h on h.pull_request_id = q.id and h.commit = q.head
               where q.state = 'open' order by 5, q.id"#
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Whether there is a branch that nobody has looked at.
    pub async fn branches_unseen(&self) -> Result<bool> {
        Ok(sqlx::query_scalar!(
            r#"select exists (
                 select from pull_request q where q.state = 'open' and not q.head_gone and not exists (
                   select from head h where h.pull_request_id = q.id and h.commit = q.head))
               or exists (
                 select from merge_pipeline m where not exists (select from tip t where t.pipeline_id = m.id))
               as "unseen!""#
        )
        .fetch_one(&self.read)
        .await?)
    }

    /// The branch points at another commit: somebody else moved it, or it is seen for the first time.
    pub async fn tip_moved(&self, watched: &Watched, commit: &str, tree: &str) -> Result<()> {
        let how = match watched.tip {
            Some(_) => "pushed",
            None => "watched",
        };
        let mut batch = self
            .begin(&git(), None, || match how {
                "pushed" => format!("{} moved to {commit:.12}", watched.target),
                _ => format!("Watch {} at {commit:.12}", watched.target),
            })
            .await?;
        // Two hosts that see it at the same moment write it down once.
        sqlx::query!(
            "select id from pipeline where id = $1 for no key update",
            watched.pipeline
        )
        .fetch_optional(batch.conn())
        .await?;
        // A lane that is being landed says itself where the branch went.
        sqlx::query!(
            "insert into tip (pipeline_id, commit, tree, how)
             select $1, $2, $3, $4 where not exists (
               select from lane where pipeline_id = $1 and ended_at is null and state = 'landing')
               and (select commit from tip where pipeline_id = $1 order by id desc limit 1) is not distinct from $5",
            watched.pipeline,
            commit,
            tree,
            how,
            watched.tip,
        )
        .execute(batch.conn())
        .await?;
        batch.commit(nothing()).await?;
        Ok(())
    }

    /// A pull request's branch points at this commit.
    pub async fn head_moved(&self, head: &Head, new: &NewHead) -> Result<()> {
        let mut batch = self
            .begin(&git(), None, || {
                format!(
                    "{}#{} is at {:.12}",
                    head.repository, head.number, new.commit
                )
            })
            .await?;
        let conn = batch.conn();
        sqlx::query!(
            "insert into head (pull_request_id, commit, merge_base, patch_id, changed, changed_total)
             values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
            head.id,
            new.commit,
            new.merge_base,
            new.patch_id,
            new.changed,
            new.changed_total,
        )
        .execute(&mut *conn)
        .await?;
        if let Some((base, paths)) = &new.conflict {
            sqlx::query!(
                "insert into conflict (pull_request_id, head, base, paths) values ($1, $2, $3, $4)
                 on conflict do nothing",
                head.id,
                new.commit,
                base,
                paths,
            )
            .execute(&mut *conn)
            .await?;
        }
        let moved = sqlx::query!(
            "update pull_request set head = $2, head_gone = false,
               retests = case when head = $2 then retests else 0 end
             where id = $1 and state = 'open' and (head, head_gone) is distinct from ($2, false)",
            head.id,
            new.commit,
        )
        .execute(&mut *conn)
        .await?
        .rows_affected();
        if moved == 0 {
            sqlx::query!(
                "insert into cause (pipeline_id, kind, pull_request_id)
                 select m.id, 'pull', q.id from pull_request q
                 join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target where q.id = $1",
                head.id,
            )
            .execute(conn)
            .await?;
        }
        batch.commit(nothing()).await?;
        Ok(())
    }

    /// A pull request's branch is gone.
    pub async fn head_vanished(&self, head: &Head) -> Result<()> {
        let mut batch = self
            .begin(&git(), None, || {
                format!("The branch of {}#{} is gone", head.repository, head.number)
            })
            .await?;
        sqlx::query!(
            "update pull_request set head_gone = true where id = $1 and state = 'open' and not head_gone",
            head.id,
        )
        .execute(batch.conn())
        .await?;
        batch.commit(nothing()).await?;
        Ok(())
    }
}

/// Who pushes is not known: git does not say.
fn git() -> Actor {
    Actor {
        user: "git".to_owned(),
        address: None,
    }
}
