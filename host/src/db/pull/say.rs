//! What people say about a pull request: reviews, comments, labels, and their word that it may run.

use pointsman_api::generation::Written;
use sqlx::PgConnection;

use super::super::batch::nothing;
use super::super::{Batch, Db};
use super::{MAX_LABELS, Speaker, check_labels};
use crate::error::{Kind, Refusal, Result, invalid};

impl Db {
    /// Adds a review, for the present head unless another is named.
    pub async fn add_review(
        &self,
        batch: &mut Batch,
        repository: &str,
        number: i32,
        state: &str,
        head: Option<&str>,
        by: &Speaker,
    ) -> Result<Written> {
        let id = self.pull_id(batch, repository, number).await?;
        if !matches!(
            state,
            "approved" | "changes-requested" | "commented" | "dismissed"
        ) {
            return Err(invalid(
                "review_invalid",
                "/state",
                "a review is `approved`, `changes-requested`, `commented` or `dismissed`",
            ));
        }
        let present = open_head(batch.conn(), id).await?;
        if head.is_some_and(|head| !is_commit(head)) {
            return Err(invalid(
                "head_invalid",
                "/head",
                "a head is 40 or 64 lower-case hex digits",
            ));
        }
        sqlx::query!(
            "insert into review (pull_request_id, by, state, head, permission) values ($1, $2, $3, $4, $5)",
            id,
            by.name,
            state,
            head.unwrap_or(&present),
            by.permission,
        )
        .execute(batch.conn())
        .await?;
        Ok(created())
    }

    /// Adds a comment.
    pub async fn add_comment(
        &self,
        batch: &mut Batch,
        repository: &str,
        number: i32,
        body: &str,
        by: &Speaker,
    ) -> Result<Written> {
        let id = self.pull_id(batch, repository, number).await?;
        if body.trim().is_empty() || body.len() > 65_536 || body.contains('\0') {
            return Err(invalid(
                "body_invalid",
                "/body",
                "a comment has 1 to 65,536 bytes, and no NUL",
            ));
        }
        sqlx::query!(
            "insert into comment (pull_request_id, by, body, head, permission)
             select $1, $2, $3, head, $4 from pull_request where id = $1",
            id,
            by.name,
            body,
            by.permission,
        )
        .execute(batch.conn())
        .await?;
        Ok(created())
    }

    /// Puts a label on, or takes it off.
    pub async fn set_label(
        &self,
        batch: &mut Batch,
        repository: &str,
        number: i32,
        label: &str,
        set: SetLabel,
        by: &Speaker,
    ) -> Result<Written> {
        let id = self.pull_id(batch, repository, number).await?;
        check_labels(&[label.to_owned()])?;
        let changed = match set {
            SetLabel::On => {
                let others = sqlx::query_scalar!(
                    r#"select count(*) as "others!" from label
                       where pull_request_id = $1 and deleted_at is null and name <> $2"#,
                    id,
                    label,
                )
                .fetch_one(batch.conn())
                .await?;
                if others >= MAX_LABELS {
                    let text = format!("the pull request has {others} labels, and {MAX_LABELS} may be");
                    return Err(Refusal::new(Kind::Conflict, "labels_full", text)
                        .hint("Take one off first.")
                        .into());
                }
                sqlx::query!(
                    "insert into label as l (pull_request_id, name, by, head)
                     select $1, $2, $3, head from pull_request where id = $1
                     on conflict on constraint label_once do update set deleted_at = null, by = excluded.by,
                       head = excluded.head, at = now() where l.deleted_at is not null",
                    id,
                    label,
                    by.name,
                )
                .execute(batch.conn())
                .await?
            }
            SetLabel::Off => {
                sqlx::query!(
                    "update label set deleted_at = now()
                     where pull_request_id = $1 and name = $2 and deleted_at is null",
                    id,
                    label,
                )
                .execute(batch.conn())
                .await?
            }
        }
        .rows_affected();
        Ok(Written {
            updated: changed,
            unchanged: 1 - changed,
            ..nothing()
        })
    }

    /// A person lets the present head run.
    pub async fn authorise_pull(
        &self,
        batch: &mut Batch,
        repository: &str,
        number: i32,
        head: Option<&str>,
        by: &Speaker,
    ) -> Result<Written> {
        let id = self.pull_id(batch, repository, number).await?;
        same_head(&open_head(batch.conn(), id).await?, head)?;
        sqlx::query!(
            "update pull_request set authorised_head = head, authorised_by = $2 where id = $1",
            id,
            by.name,
        )
        .execute(batch.conn())
        .await?;
        Ok(updated())
    }

    /// A person wants another run of the present head, though one has been.
    pub async fn retest_pull(
        &self,
        batch: &mut Batch,
        repository: &str,
        number: i32,
        head: Option<&str>,
    ) -> Result<Written> {
        let id = self.pull_id(batch, repository, number).await?;
        same_head(&open_head(batch.conn(), id).await?, head)?;
        sqlx::query!(
            "update pull_request set retests = retests + 1 where id = $1",
            id
        )
        .execute(batch.conn())
        .await?;
        // What was found before is not what counts now.
        sqlx::query!(
            "update standing set verdict = null, verdict_base = null, earlier = null where id = $1",
            id
        )
        .execute(batch.conn())
        .await?;
        Ok(updated())
    }

    /// A person wants the policies to look at it again.
    pub async fn look_again(
        &self,
        repository: &str,
        number: i32,
        head: Option<&str>,
    ) -> Result<()> {
        let present = sqlx::query_scalar!(
            "select q.head from pull_request q join repository g on g.id = q.repository_id
             where g.name = $1 and q.number = $2",
            repository,
            number,
        )
        .fetch_one(&self.read)
        .await?;
        same_head(&present, head)?;
        sqlx::query!(
            "insert into cause (pipeline_id, kind, pull_request_id)
             select m.id, 'pull', q.id from pull_request q join repository g on g.id = q.repository_id
             join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target
             where g.name = $1 and q.number = $2",
            repository,
            number,
        )
        .execute(&self.write)
        .await?;
        sqlx::query!("select pg_notify('pointsman_generation', '')")
            .fetch_one(&self.write)
            .await?;
        Ok(())
    }
}

/// Whether a label is put on or taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetLabel {
    /// Put on.
    On,
    /// Taken off.
    Off,
}

async fn open_head(conn: &mut PgConnection, id: i64) -> Result<String> {
    let row = sqlx::query!("select head, state from pull_request where id = $1", id)
        .fetch_one(conn)
        .await?;
    match row.state.as_str() {
        "open" => Ok(row.head),
        state => {
            let text =
                format!("the pull request is {state}, and there is nothing more to say about it");
            Err(Refusal::new(Kind::Conflict, "pull_over", text).into())
        }
    }
}

fn same_head(present: &str, meant: Option<&str>) -> Result<()> {
    match meant {
        Some(meant) if meant != present => {
            let text = format!("the head is {present} by now, and {meant} was meant");
            Err(Refusal::new(Kind::Conflict, "head_moved", text)
                .field("/head")
                .hint("Look at what was pushed, then say so for the new head.")
                .into())
        }
        _ => Ok(()),
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn created() -> Written {
    Written {
        created: 1,
        ..nothing()
    }
}

fn updated() -> Written {
    Written {
        updated: 1,
        ..nothing()
    }
}
