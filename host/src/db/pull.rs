//! Repositories and pull requests: what people say of them, and where they stand.

mod say;

pub use say::SetLabel;

use chrono::{DateTime, Utc};
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use pointsman_api::pull::{
    Comment, NewPipeline, NewPull, Pull, Repository, Review, Said, Standing, Status, UpdatePull,
};
use sqlx::{FromRow, QueryBuilder};

use super::distro::cut;
use super::{Batch, Db, batch::nothing, cursor};
use crate::error::{Error, Kind, Refusal, Result, invalid};

/// Labels of one pull request.
const MAX_LABELS: i64 = 100;

/// Who speaks, and what that one may do in the repository.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// The name.
    pub name: String,
    /// none, read, triage, write, maintain, admin.
    pub permission: String,
}

/// What a list of pull requests is filtered by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// open, landed, closed.
    pub state: Option<String>,
    /// Of this target branch.
    pub target: Option<String>,
    /// By this author.
    pub author: Option<String>,
    /// With this approval.
    pub approval: Option<String>,
    /// Of this number alone.
    pub number: Option<i32>,
    /// Whose last verdict, on the target's present tip, is a pass.
    pub passing: bool,
}

#[derive(FromRow)]
struct Row {
    repository: String,
    number: i32,
    title: String,
    body: String,
    author: String,
    target: String,
    head_repository: Option<String>,
    head_branch: String,
    head: String,
    head_gone: bool,
    draft: bool,
    state: String,
    authorised_by: Option<String>,
    opened_at: DateTime<Utc>,
    generation: i64,
    labels: Vec<String>,
    approval: Option<String>,
    review_code: Option<String>,
    review_text: Option<String>,
    review_decision: Option<i64>,
    wanted: Option<Vec<String>>,
    need: Option<String>,
    gate_code: Option<String>,
    gate_text: Option<String>,
    gate_decision: Option<i64>,
    held_code: Option<String>,
    held_text: Option<String>,
    verdict: Option<String>,
    verdict_base: Option<String>,
}

const COLUMNS: &str = "select g.name as repository, q.number, q.title, q.body, q.author, q.target, q.head_repository, \
    q.head_branch, q.head, q.head_gone, q.draft, q.state, q.opened_at, q.generation, \
    case when q.authorised_head = q.head then q.authorised_by end as authorised_by, \
    array(select l.name from label l where l.pull_request_id = q.id and l.deleted_at is null order by 1) as labels, \
    s.approval, s.review_code, s.review_text, s.review_decision, s.wanted, s.need, s.gate_code, s.gate_text, \
    s.gate_decision, s.held_code, s.held_text, s.verdict, s.verdict_base \
    from pull_request q join repository g on g.id = q.repository_id \
    left join standing s on s.id = q.id and s.head = q.head where g.name = ";

impl Row {
    fn pull(self, whole: bool) -> Pull {
        let said = |code: Option<String>, text: Option<String>, decision| Said {
            code: code.unwrap_or_default(),
            text: text.unwrap_or_default(),
            decision,
        };
        Pull {
            repository: self.repository,
            number: self.number,
            title: self.title,
            body: whole.then_some(self.body),
            author: self.author,
            target: self.target,
            head_repository: self.head_repository,
            branch: self.head_branch,
            head: self.head,
            head_gone: self.head_gone,
            draft: self.draft,
            state: self.state,
            labels: self.labels,
            authorised_by: self.authorised_by,
            standing: self.approval.map(|approval| Standing {
                approval,
                review: said(self.review_code, self.review_text, self.review_decision),
                wanted: self.wanted.unwrap_or_default(),
                need: self.need,
                gate: said(self.gate_code, self.gate_text, self.gate_decision),
                held: self
                    .held_code
                    .map(|code| said(Some(code), self.held_text, None)),
                verdict: self.verdict,
                verdict_base: self.verdict_base,
            }),
            statuses: None,
            opened_at: self.opened_at,
            generation: self.generation,
        }
    }
}

impl Db {
    /// All repositories, by name: name, forge, generation.
    pub async fn repositories(&self) -> Result<Vec<Repository>> {
        Ok(sqlx::query_as!(
            Repository,
            r#"select g.name, g.forge, '' as "place!", false as "here!", f.seen_at as "seen_at?", g.generation
               from repository g left join repository_folder f on f.repository_id = g.id
               where g.deleted_at is null order by g.name"#
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Adds a repository to the record; one that is there already stays.
    pub async fn create_repository(&self, batch: &mut Batch, name: &str) -> Result<Written> {
        let good =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'-');
        let first = name.bytes().next();
        if name.len() > 63
            || !name.bytes().all(good)
            || !first.is_some_and(|c| c.is_ascii_alphanumeric())
        {
            return Err(invalid(
                "name_invalid",
                "/name",
                "a repository's name has lower-case letters, digits, dots, dashes and underscores, at most 63",
            ));
        }
        let created = sqlx::query!(
            "insert into repository (name) values ($1) on conflict (name) do nothing",
            name
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        Ok(Written {
            created,
            unchanged: 1 - created,
            ..nothing()
        })
    }

    /// Makes a merge pipeline.
    pub async fn create_pipeline(&self, batch: &mut Batch, new: &NewPipeline) -> Result<Written> {
        let repository = self.repository_id(&new.repository, "/repository").await?;
        let taken = sqlx::query_scalar!(
            r#"select exists (select from pipeline where name = $1) as "taken!""#,
            new.name
        )
        .fetch_one(batch.conn())
        .await?;
        if taken {
            let text = format!(
                "there is a pipeline `{}` already",
                super::names::shown(&new.name)
            );
            return Err(Refusal::new(Kind::Conflict, "pipeline_exists", text)
                .field("/name")
                .into());
        }
        let id = sqlx::query_scalar!(
            "insert into pipeline (name, kind) values ($1, 'merge') returning id",
            new.name
        )
        .fetch_one(batch.conn())
        .await
        .map_err(|error| bad_name(error, "/name"))?;
        let made = sqlx::query!(
            "insert into merge_pipeline (id, repository_id, target, slots, prefix) values ($1, $2, $3, $4, $5)
             on conflict on constraint merge_pipeline_branch do nothing",
            id,
            repository,
            new.target,
            new.slots,
            new.prefix,
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        if made == 0 {
            let text = format!(
                "another pipeline lands on {}/{}: a branch has one owner",
                new.repository, new.target
            );
            return Err(Refusal::new(Kind::Conflict, "branch_taken", text)
                .field("/target")
                .hint("`pointsman pipeline list` shows which.")
                .into());
        }
        Ok(Written {
            created: 1,
            ..nothing()
        })
    }

    /// The id of a repository by its name; `field` is where the caller gave it.
    pub async fn repository_id(&self, name: &str, field: &str) -> Result<i32> {
        sqlx::query_scalar!(
            "select id from repository where name = $1 and deleted_at is null",
            name
        )
        .fetch_optional(&self.read)
        .await?
        .ok_or_else(|| {
            let text = format!("there is no repository `{}`", super::names::shown(name));
            Refusal::new(Kind::NotFound, "repository_unknown", text)
                .field(field)
                .hint("`pointsman repo list` shows those there are.")
                .into()
        })
    }

    /// One page of pull requests, the newest first.
    pub async fn pulls(
        &self,
        repository: &str,
        filter: &Filter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Pull>> {
        self.repository_id(repository, "repository").await?;
        let unknown_word = [
            ("state", &filter.state, &["open", "landed", "closed"][..]),
            (
                "approval",
                &filter.approval,
                &["approved", "pending", "rejected"][..],
            ),
        ];
        for (field, word, known) in unknown_word {
            if let Some(word) = word
                && !known.contains(&word.as_str())
            {
                let text = format!("`{field}` is one of {}", known.join(", "));
                return Err(invalid("filter_invalid", field, text));
            }
        }
        let after: Option<i32> = after.map(cursor::decode).transpose()?;
        let mut sql = QueryBuilder::new(COLUMNS);
        sql.push_bind(repository);
        if let Some(state) = &filter.state {
            sql.push(" and q.state = ").push_bind(state);
        }
        if let Some(target) = &filter.target {
            sql.push(" and q.target = ").push_bind(target);
        }
        if let Some(author) = &filter.author {
            sql.push(" and q.author = ").push_bind(author);
        }
        if let Some(approval) = &filter.approval {
            sql.push(" and coalesce(s.approval, 'pending') = ")
                .push_bind(approval);
        }
        if filter.passing {
            sql.push(
                " and s.verdict = 'pass' and s.verdict_base = (select t.commit from tip t join merge_pipeline m \
                 on m.id = t.pipeline_id where m.repository_id = q.repository_id and m.target = q.target \
                 order by t.id desc limit 1)",
            );
        }
        if let Some(number) = filter.number {
            sql.push(" and q.number = ").push_bind(number);
        }
        if let Some(after) = after {
            sql.push(" and q.number < ").push_bind(after);
        }
        sql.push(" order by q.number desc limit ")
            .push_bind(i64::from(limit) + 1);
        let mut rows: Vec<Row> = sql.build_query_as().fetch_all(&self.read).await?;
        let next = cut(&mut rows, limit, |row| cursor::encode(&row.number));
        let whole = filter.number.is_some();
        Ok(Page {
            items: rows.into_iter().map(|row| row.pull(whole)).collect(),
            next,
        })
    }

    /// One pull request.
    pub async fn pull(&self, repository: &str, number: i32) -> Result<Pull> {
        let filter = Filter {
            number: Some(number),
            ..Filter::default()
        };
        let page = self.pulls(repository, &filter, None, 1).await?;
        let mut pull = page
            .items
            .into_iter()
            .next()
            .ok_or_else(|| unknown(repository, number))?;
        let statuses = sqlx::query_as!(
            Status,
            "select s.context, s.state, s.text, s.link, s.at from status s
             join pull_request q on q.id = s.pull_request_id and q.head = s.head
             join repository g on g.id = q.repository_id
             where g.name = $1 and q.number = $2 order by s.context",
            repository,
            number,
        )
        .fetch_all(&self.read)
        .await?;
        pull.statuses = Some(statuses);
        Ok(pull)
    }

    /// One page of reviews, the oldest first.
    pub async fn reviews(
        &self,
        repository: &str,
        number: i32,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Review>> {
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        self.pull(repository, number).await?;
        let mut items = sqlx::query_as!(
            Review,
            "select r.id, r.by, r.state, r.head, r.at from review r join pull_request q on q.id = r.pull_request_id
             join repository g on g.id = q.repository_id
             where g.name = $1 and q.number = $2 and r.id > $3 order by r.id limit $4",
            repository,
            number,
            after.unwrap_or(0),
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut items, limit, |review| cursor::encode(&review.id));
        Ok(Page { items, next })
    }

    /// One page of comments, the oldest first.
    pub async fn comments(
        &self,
        repository: &str,
        number: i32,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Comment>> {
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        self.pull(repository, number).await?;
        let mut items = sqlx::query_as!(
            Comment,
            "select c.id, c.by, c.body, c.head, c.at from comment c join pull_request q on q.id = c.pull_request_id
             join repository g on g.id = q.repository_id
             where g.name = $1 and q.number = $2 and c.id > $3 order by c.id limit $4",
            repository,
            number,
            after.unwrap_or(0),
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut items, limit, |comment| cursor::encode(&comment.id));
        Ok(Page { items, next })
    }

    /// Opens a pull request; gives its number.
    pub async fn create_pull(
        &self,
        batch: &mut Batch,
        repository: &str,
        new: &NewPull,
        head: &str,
        author: &Speaker,
    ) -> Result<i32> {
        let id = self.repository_id(repository, "repository").await?;
        check_labels(&new.labels)?;
        check_texts(Some(&new.title), Some(&new.body))?;
        let title = new.title.trim();
        let number = sqlx::query_scalar!(
            r#"update repository set next_number = next_number + 1 where id = $1 returning next_number - 1 as "n!""#,
            id
        )
        .fetch_one(batch.conn())
        .await?;
        let pull = sqlx::query_scalar!(
            "insert into pull_request (repository_id, number, title, body, author, author_permission, target,
               head_repository, head_branch, head, draft)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning id",
            id,
            number,
            title,
            new.body,
            author.name,
            author.permission,
            new.target,
            new.head_repository.as_deref().filter(|fork| *fork != repository),
            new.branch,
            head,
            new.draft,
        )
        .fetch_one(batch.conn())
        .await?;
        sqlx::query!(
            "insert into label (pull_request_id, name, by, head)
             select $1, name, $3, $4 from unnest($2::text[]) u (name) on conflict do nothing",
            pull,
            &new.labels,
            author.name,
            head,
        )
        .execute(batch.conn())
        .await?;
        Ok(number)
    }

    /// Changes the fields that are given.
    pub async fn update_pull(
        &self,
        batch: &mut Batch,
        repository: &str,
        number: i32,
        update: &UpdatePull,
    ) -> Result<Written> {
        check_texts(update.title.as_deref(), update.body.as_deref())?;
        let id = self.pull_id(batch, repository, number).await?;
        if let Some(state) = &update.state
            && !matches!(state.as_str(), "open" | "closed")
        {
            return Err(invalid(
                "state_invalid",
                "/state",
                "a person sets `open` or `closed`; it is landed by landing it",
            ));
        }
        let landed = sqlx::query_scalar!(
            r#"select state = 'landed' as "landed!" from pull_request where id = $1"#,
            id
        )
        .fetch_one(batch.conn())
        .await?;
        if landed {
            let text = "the pull request has landed, and stays as it is";
            return Err(Refusal::new(Kind::Conflict, "pull_over", text).into());
        }
        let updated = sqlx::query!(
            "update pull_request set title = coalesce($2, title), body = coalesce($3, body),
               draft = coalesce($4, draft), state = coalesce($5, state),
               ended_at = case coalesce($5, state) when 'open' then null else coalesce(ended_at, now()) end
             where id = $1 and state <> 'landed'",
            id,
            update.title.as_deref().map(str::trim),
            update.body,
            update.draft,
            update.state,
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        Ok(Written {
            updated,
            unchanged: 1 - updated,
            ..nothing()
        })
    }

    /// The row of a pull request, locked.
    pub(super) async fn pull_id(
        &self,
        batch: &mut Batch,
        repository: &str,
        number: i32,
    ) -> Result<i64> {
        sqlx::query_scalar!(
            "select q.id from pull_request q join repository g on g.id = q.repository_id
             where g.name = $1 and q.number = $2 for no key update of q",
            repository,
            number,
        )
        .fetch_optional(batch.conn())
        .await?
        .ok_or_else(|| unknown(repository, number))
    }
}

/// A title is one line: it stands in the message of the commit that lands.
fn check_texts(title: Option<&str>, body: Option<&str>) -> Result<()> {
    let bad_title = |title: &str| {
        let title = title.trim();
        title.is_empty() || title.len() > 1_024 || title.chars().any(char::is_control)
    };
    if title.is_some_and(bad_title) {
        let text = "a title is one line of 1 to 1,024 bytes";
        return Err(invalid("title_invalid", "/title", text));
    }
    if body.is_some_and(|body| body.len() > 65_536 || body.contains('\0')) {
        let text = "a description has at most 65,536 bytes, and no NUL";
        return Err(invalid("body_invalid", "/body", text));
    }
    Ok(())
}

pub(super) fn check_labels(labels: &[String]) -> Result<()> {
    let bad = |l: &String| l.is_empty() || l.len() > 128 || l.chars().any(char::is_control);
    if labels.len() as i64 > MAX_LABELS || labels.iter().any(bad) {
        return Err(invalid(
            "label_invalid",
            "/labels",
            format!(
                "at most {MAX_LABELS} labels, each of 1 to 128 bytes without control characters"
            ),
        ));
    }
    Ok(())
}

pub(super) fn unknown(repository: &str, number: i32) -> Error {
    let text = format!(
        "there is no pull request {}#{number}",
        super::names::shown(repository)
    );
    Refusal::new(Kind::NotFound, "pull_unknown", text)
        .hint("`pointsman pr list` shows those there are.")
        .into()
}

fn bad_name(error: sqlx::Error, field: &'static str) -> Error {
    let form = error.as_database_error().and_then(|e| e.constraint()) == Some("pipeline_name_form");
    match form {
        true => invalid(
            "name_invalid",
            field,
            "a pipeline's name has lower-case letters, digits and dashes, at most 63",
        ),
        false => error.into(),
    }
}
