//! What the questions about one pull request are made of.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures::TryFutureExt as _;
use sqlx::types::Json;

use super::super::Db;
use super::{MergeStart, PastRun, Standing};
use crate::error::{Error, Result};
use crate::plan::merge::{Attrs, Depend, Why};

/// Reviews in one question, as the contract says: the newest.
const MAX_REVIEWS: i64 = 1_000;
/// Comments that are looked through for commands: the newest.
const MAX_COMMENTS: i64 = 1_000;
/// Earlier lanes in one question, as the contract says.
const MAX_RUNS: i64 = 4;
/// Pull requests of one branch on which those that go to it stand: as a rule there is one.
const MAX_BELOW: i32 = 4;

/// A pull request with everything that is said about it.
#[derive(Debug, Clone)]
pub struct PullFacts {
    /// Its row.
    pub id: i64,
    /// Its number.
    pub number: i32,
    /// Its title.
    pub title: String,
    /// Its description.
    pub body: String,
    /// Who opened it.
    pub author: String,
    /// What the author may do.
    pub author_permission: String,
    /// The head's repository, if another one.
    pub head_repository: Option<String>,
    /// The head's branch.
    pub head_branch: String,
    /// The newest commit.
    pub head: String,
    /// It is a draft.
    pub draft: bool,
    /// Its branch is gone.
    pub head_gone: bool,
    /// open, landed, closed.
    pub state: String,
    /// Who allowed this head to run.
    pub authorised_by: Option<String>,
    /// How often another run was asked for.
    pub retests: i32,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// What `changed` is counted from.
    pub merge_base: String,
    /// Equal for the same change.
    pub patch_id: String,
    /// Paths that it changes, one a line.
    pub changed: String,
    /// How many there are.
    pub changed_total: i32,
    /// It does not merge with the tip.
    pub conflict: bool,
    /// Labels: name, by, head, at.
    pub labels: Vec<(String, String, String, DateTime<Utc>)>,
    /// Comments, oldest first: by, body, head, permission, at.
    pub comments: Vec<(String, String, String, String, DateTime<Utc>)>,
    /// Reviews, oldest first.
    pub reviews: Vec<ReviewRow>,
    /// What it needs before it.
    pub depends: Vec<Depend>,
    /// Lanes that it was in, the newest first.
    pub runs: Vec<PastRun>,
    /// Where it stands, as the record has it; none: nobody has looked at this head.
    pub standing: Option<Standing>,
}

/// A submitted review.
#[derive(Debug, Clone)]
pub struct ReviewRow {
    /// Who.
    pub by: String,
    /// What.
    pub state: String,
    /// For which head.
    pub head: String,
    /// The patch id that the pull request had at that head.
    pub patch_id: String,
    /// What the reviewer may do.
    pub permission: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl Db {
    /// The pull request of a repository that has this number: its row, and its target branch.
    pub async fn pull_numbered(
        &self,
        repository: i32,
        number: i32,
    ) -> Result<Option<(i64, String)>> {
        let row = sqlx::query!(
            "select id, target from pull_request where repository_id = $1 and number = $2",
            repository,
            number,
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(row.map(|row| (row.id, row.target)))
    }

    /// A pipeline's newest lanes with this pull request in them, the newest first.
    pub async fn lanes_of_pull(
        &self,
        pipeline: i32,
        pull: i64,
        limit: i64,
    ) -> Result<Vec<PastRun>> {
        Ok(sqlx::query_as!(
            PastRun,
            r#"select purpose, coalesce(commit, '') as "commit!", coalesce(base, '') as "base!",
                 coalesce(ended_at, created_at) as "at!", state
               -- By its members first: along the ids it would read all lanes that ever were.
               from (select * from lane where members @> array[$2::bigint] offset 0) l
               where pipeline_id = $1 order by id desc limit $3"#,
            pipeline,
            pull,
            limit,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Everything about these pull requests, as far as they are the pipeline's, ascending by number.
    pub async fn pull_facts(
        &self,
        start: &MergeStart,
        tip: &str,
        ids: &[i64],
    ) -> Result<Vec<PullFacts>> {
        let rows = sqlx::query!(
            r#"select q.id, q.number, q.title, q.body, q.author, q.author_permission, q.head_repository, q.head_branch,
                 q.head, q.draft, q.head_gone, q.state, q.retests, q.opened_at,
                 case when q.authorised_head = q.head then q.authorised_by end as authorised_by,
                 coalesce(h.merge_base, '') as "merge_base!", coalesce(h.patch_id, '') as "patch_id!",
                 coalesce(h.changed, '') as "changed!", coalesce(h.changed_total, 0) as "changed_total!",
                 exists (select from conflict c where c.pull_request_id = q.id and c.head = q.head and c.base = $4)
                   as "conflict!", s.approval as "approval?", s.approved_at as "approved_at?",
                 s.review_code as "review_code?", s.review_text as "review_text?", s.wanted as "wanted?", s.need,
                 s.gate_code as "gate_code?", s.gate_text as "gate_text?", s.held_hook, s.held_code, s.held_text,
                 s.tags as "tags?: Json<Attrs>"
               from pull_request q left join head h on h.pull_request_id = q.id and h.commit = q.head
               left join standing s on s.id = q.id and s.head = q.head
               where q.id = any($1) and q.repository_id = $2 and q.target = $3 order by q.number"#,
            ids,
            start.repository_id,
            start.target,
            tip,
        )
        .fetch_all(&self.read);
        let labels = sqlx::query!(
            "select pull_request_id, name, by, head, at from label
             where pull_request_id = any($1) and deleted_at is null order by pull_request_id, name",
            ids,
        )
        .fetch_all(&self.read);
        let comments = sqlx::query!(
            r#"select pull_request_id as "pull!", by as "by!", body as "body!", head as "head!",
                 permission as "permission!", at as "at!"
               from unnest($1::bigint[]) u (id) cross join lateral (
                 select * from comment where pull_request_id = u.id and key is null order by id desc limit $3) c
               where position($2 in body) > 0 order by pull_request_id, c.id"#,
            ids,
            start.prefix,
            MAX_COMMENTS,
        )
        .fetch_all(&self.read);
        let reviews = sqlx::query!(
            r#"select r.pull_request_id as "pull!", r.by as "by!", r.state as "state!", r.head as "head!",
                 r.permission as "permission!", r.at as "at!", coalesce(h.patch_id, '') as "patch_id!"
               from unnest($1::bigint[]) u (id) cross join lateral (
                 select * from review where pull_request_id = u.id order by id desc limit $2) r
               left join head h on h.pull_request_id = r.pull_request_id and h.commit = r.head
               order by r.pull_request_id, r.id"#,
            ids,
            MAX_REVIEWS,
        )
        .fetch_all(&self.read);
        let runs = sqlx::query!(
            r#"select u.id as "pull!", l.purpose, coalesce(l.commit, '') as "commit!", coalesce(l.base, '') as "base!",
                 coalesce(l.ended_at, l.created_at) as "at!", l.state
               from unnest($1::bigint[]) u (id)
               cross join lateral (
                 select * from (select * from lane where members @> array[u.id] offset 0) its
                 where pipeline_id = $3 order by id desc limit $2) l
               order by u.id, l.id desc"#,
            ids,
            MAX_RUNS,
            start.pipeline,
        )
        .fetch_all(&self.read);
        let depends = self.depends(start, ids);
        // All at once: what a turn waits for is the slowest of them.
        let (rows, labels, comments, reviews, runs, mut depends) = tokio::try_join!(
            rows.map_err(Error::from),
            labels.map_err(Error::from),
            comments.map_err(Error::from),
            reviews.map_err(Error::from),
            runs.map_err(Error::from),
            depends
        )?;
        Ok(rows
            .into_iter()
            .map(|q| (q.head.clone(), q))
            .map(|(head, q)| PullFacts {
                labels: labels
                    .iter()
                    .filter(|l| l.pull_request_id == q.id)
                    .map(|l| (l.name.clone(), l.by.clone(), l.head.clone(), l.at))
                    .collect(),
                comments: comments
                    .iter()
                    .filter(|c| c.pull == q.id)
                    .map(|c| {
                        let (by, body) = (c.by.clone(), c.body.clone());
                        (by, body, c.head.clone(), c.permission.clone(), c.at)
                    })
                    .collect(),
                reviews: reviews
                    .iter()
                    .filter(|r| r.pull == q.id)
                    .map(|r| ReviewRow {
                        by: r.by.clone(),
                        state: r.state.clone(),
                        head: r.head.clone(),
                        patch_id: r.patch_id.clone(),
                        permission: r.permission.clone(),
                        at: r.at,
                    })
                    .collect(),
                depends: depends.remove(&q.id).unwrap_or_default(),
                runs: runs
                    .iter()
                    .filter(|l| l.pull == q.id)
                    .map(|l| PastRun {
                        purpose: l.purpose.clone(),
                        commit: l.commit.clone(),
                        base: l.base.clone(),
                        at: l.at,
                        state: l.state.clone(),
                    })
                    .collect(),
                id: q.id,
                number: q.number,
                title: q.title,
                body: q.body,
                author: q.author,
                author_permission: q.author_permission,
                head_repository: q.head_repository,
                head_branch: q.head_branch,
                head: q.head,
                draft: q.draft,
                head_gone: q.head_gone,
                state: q.state,
                authorised_by: q.authorised_by,
                retests: q.retests,
                opened_at: q.opened_at,
                merge_base: q.merge_base,
                patch_id: q.patch_id,
                changed: q.changed,
                changed_total: q.changed_total,
                conflict: q.conflict,
                standing: q.approval.map(|approval| Standing {
                    id: q.id,
                    head: head.clone(),
                    approval: super::approval_of(&approval),
                    approved_at: q.approved_at,
                    review: Why::host(
                        q.review_code.as_deref().unwrap_or_default(),
                        q.review_text.unwrap_or_default(),
                    ),
                    wanted: q.wanted.unwrap_or_default(),
                    need: q.need.as_deref().and_then(super::need_of),
                    gate: Why::host(
                        q.gate_code.as_deref().unwrap_or_default(),
                        q.gate_text.unwrap_or_default(),
                    ),
                    held: match (q.held_hook.as_deref(), q.held_code, q.held_text) {
                        (Some("review"), Some(code), Some(text)) => Some(("review", code, text)),
                        (Some(_), Some(code), Some(text)) => Some(("gate", code, text)),
                        _ => None,
                    },
                    tags: q.tags.map(|tags| tags.0).unwrap_or_default(),
                }),
            })
            .collect())
    }

    /// What these pull requests need before them: what their descriptions name, and those of the branch that they go
    /// to.
    pub(super) async fn depends(
        &self,
        start: &MergeStart,
        ids: &[i64],
    ) -> Result<HashMap<i64, Vec<Depend>>> {
        let rows = sqlx::query!(
            r#"select d.pull_request_id as "pull!", d.number as "number!", o.state as "state?", false as "below!",
                 case when d.repository <> $2 then d.repository end as repository
               from dependency d
               left join repository g on g.name = d.repository and g.deleted_at is null
               left join pull_request o on o.repository_id = g.id and o.number = d.number
               where d.pull_request_id = any($1)
               union all
               (select q.id, o.number, o.state, true, null
                from pull_request o cross join unnest($1::bigint[]) q (id)
                where o.repository_id = $3 and o.head_branch = $4 and o.state = 'open' and o.head_repository is null
                  and o.id <> q.id and not exists (
                    select from dependency d where d.pull_request_id = q.id and d.repository = $2 and d.number = o.number)
                order by o.number limit $5 * cardinality($1::bigint[]))"#,
            ids,
            start.repository,
            start.repository_id,
            start.target,
            MAX_BELOW,
        )
        .fetch_all(&self.read)
        .await?;
        let mut depends: HashMap<i64, Vec<Depend>> = HashMap::new();
        for row in rows {
            depends.entry(row.pull).or_default().push(Depend {
                subject: match row.repository {
                    Some(repository) => format!("{repository}#{}", row.number),
                    None => row.number.to_string(),
                },
                state: row.state.unwrap_or_else(|| "unknown".to_owned()),
                how: if row.below { "stack" } else { "line" },
            });
        }
        Ok(depends)
    }
}
