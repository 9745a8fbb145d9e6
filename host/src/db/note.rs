//! Notes as people see and edit them; what a turn does with them is in `turn/notes.rs`.

use pointsman_api::generation::Written;
use pointsman_api::note::{Note, PutNotes};
use pointsman_api::page::Page;
use sqlx::{FromRow, QueryBuilder};

use super::{Batch, Db, cursor, distro::cut, kernel, pipeline, pull};
use crate::error::{Kind, Refusal, Result, invalid};
use crate::plan;

/// What notes are filtered by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this hook's bindings.
    pub hook: Option<String>,
    /// Of the binding at this place.
    pub position: Option<i32>,
    /// About this kernel version: the distro's id, and the version.
    pub kernel: Option<(i32, String)>,
    /// About this pull request: the repository, and the number.
    pub pull: Option<(String, i32)>,
    /// About the pipeline itself.
    pub pipeline_only: bool,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    hook: String,
    position: i32,
    distro: Option<String>,
    version: Option<String>,
    repository: Option<String>,
    number: Option<i32>,
    key: String,
    value: String,
    decision_id: Option<i64>,
    generation: i64,
}

/// What a note is about; nothing: the pipeline itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
struct Subject {
    kernel: Option<i64>,
    pull: Option<i64>,
}

/// How a caller names that.
struct Named<'a> {
    kernel: (Option<&'a str>, Option<&'a str>),
    pull: (Option<&'a str>, Option<i32>),
}

/// A change to one note, with what it names looked up.
struct Change<'a> {
    field: String,
    hook: &'a str,
    position: i32,
    about: Subject,
    key: &'a str,
    value: Option<&'a str>,
}

impl Db {
    /// One page of a pipeline's notes, by hook, place and age.
    pub async fn notes(
        &self,
        pipeline: &str,
        filter: &Filter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Note>> {
        let after: Option<(String, i32, i64)> = after.map(cursor::decode).transpose()?;
        let id = sqlx::query_scalar!(
            "select id from pipeline where name = $1 and deleted_at is null",
            pipeline
        )
        .fetch_optional(&self.read)
        .await?
        .ok_or_else(|| pipeline::unknown(pipeline))?;
        let mut sql = QueryBuilder::new(
            "select n.id, n.hook, n.position, d.name as distro, k.version, g.name as repository, q.number, \
               n.key, n.value, n.decision_id, n.generation \
             from note n left join kernel_version k on k.id = n.kernel_version_id \
             left join distro d on d.id = k.distro_id \
             left join pull_request q on q.id = n.pull_request_id \
             left join repository g on g.id = q.repository_id where n.deleted_at is null and n.pipeline_id = ",
        );
        sql.push_bind(id);
        if let Some(hook) = &filter.hook {
            sql.push(" and n.hook = ").push_bind(hook.clone());
        }
        if let Some(position) = filter.position {
            sql.push(" and n.position = ").push_bind(position);
        }
        if let Some((distro, version)) = &filter.kernel {
            // Of the hooks only `advance` has notes of kernel versions, and that is how the index begins.
            sql.push(" and n.hook = 'advance' and n.kernel_version_id = (select id from kernel_version where distro_id = ")
                .push_bind(*distro)
                .push(" and version = ")
                .push_bind(version.clone())
                .push(")");
        }
        if let Some((repository, number)) = &filter.pull {
            sql.push(" and n.pull_request_id = (select q.id from pull_request q join repository g on g.id = q.repository_id where g.name = ")
                .push_bind(repository.clone())
                .push(" and q.number = ")
                .push_bind(*number)
                .push(")");
        }
        if filter.pipeline_only {
            sql.push(" and n.kernel_version_id is null and n.pull_request_id is null");
        }
        if let Some((hook, position, id)) = after {
            sql.push(" and (n.hook, n.position, n.id) > (")
                .push_bind(hook)
                .push(", ")
                .push_bind(position)
                .push(", ")
                .push_bind(id)
                .push(")");
        }
        sql.push(" order by n.hook, n.position, n.id limit ")
            .push_bind(i64::from(limit) + 1);
        let mut rows: Vec<Row> = sql.build_query_as().fetch_all(&self.read).await?;
        let next = cut(&mut rows, limit, |r| {
            cursor::encode(&(&r.hook, r.position, r.id))
        });
        let items = rows
            .into_iter()
            .map(|r| Note {
                hook: r.hook,
                position: r.position,
                distro: r.distro,
                version: r.version,
                repository: r.repository,
                number: r.number,
                key: r.key,
                value: r.value,
                decision: r.decision_id,
                generation: r.generation,
            })
            .collect();
        Ok(Page { items, next })
    }

    /// Writes and removes notes: all or none.
    pub async fn put_notes(
        &self,
        batch: &mut Batch,
        pipeline: &str,
        body: &PutNotes,
    ) -> Result<Written> {
        let id = pipeline::lock(batch, pipeline).await?;
        let wanted = body.notes.iter().enumerate().map(|(n, note)| {
            let named = Named {
                kernel: (note.distro.as_deref(), note.version.as_deref()),
                pull: (note.repository.as_deref(), note.number),
            };
            (
                format!("/notes/{n}"),
                &note.hook,
                note.position,
                named,
                &note.key,
                Some(&*note.value),
            )
        });
        let unwanted = body.remove.iter().enumerate().map(|(n, note)| {
            let named = Named {
                kernel: (note.distro.as_deref(), note.version.as_deref()),
                pull: (note.repository.as_deref(), note.number),
            };
            (
                format!("/remove/{n}"),
                &note.hook,
                note.position,
                named,
                &note.key,
                None,
            )
        });
        let mut changes = vec![];
        for (field, hook, position, named, key, value) in wanted.chain(unwanted) {
            let about = self.subject(batch, &field, &named).await?;
            changes.push(Change {
                field,
                hook,
                position,
                about,
                key,
                value,
            });
        }
        check(&changes)?;
        let mut written = super::batch::nothing();
        // What goes first makes room for what comes.
        changes.sort_by_key(|c| (c.value.is_some(), c.hook, c.position, c.about, c.key));
        for change in &changes {
            match change.value {
                Some(value) => set(batch, id, change, value, &mut written).await?,
                None => remove(batch, id, change, &mut written).await?,
            }
        }
        Ok(written)
    }

    /// What a note is about.
    async fn subject(&self, batch: &mut Batch, field: &str, named: &Named<'_>) -> Result<Subject> {
        match (named.kernel, named.pull) {
            ((None, None), (None, None)) => Ok(Subject::default()),
            ((Some(distro), Some(version)), (None, None)) => {
                let kernel = self.kernel_of(batch, field, distro, version).await?;
                Ok(Subject {
                    kernel: Some(kernel),
                    ..Subject::default()
                })
            }
            ((None, None), (Some(repository), Some(number))) => {
                let pull = sqlx::query_scalar!(
                    "select q.id from pull_request q join repository g on g.id = q.repository_id
                     where g.name = $1 and q.number = $2",
                    repository,
                    number,
                )
                .fetch_optional(batch.conn())
                .await?
                .ok_or_else(|| pull::unknown(repository, number))?;
                Ok(Subject {
                    pull: Some(pull),
                    ..Subject::default()
                })
            }
            _ => Err(invalid(
                "note_subject",
                field,
                "a kernel version is named by `distro` and `version`, a pull request by `repository` and \
                 `number`, the pipeline by none of these",
            )),
        }
    }

    async fn kernel_of(
        &self,
        batch: &mut Batch,
        field: &str,
        distro: &str,
        version: &str,
    ) -> Result<i64> {
        let distro_id = self
            .names
            .distro_id(distro, &format!("{field}/distro"))
            .await?;
        sqlx::query_scalar!(
            "select id from kernel_version
             where distro_id = $1 and version = $2 and deleted_at is null",
            distro_id,
            version,
        )
        .fetch_optional(batch.conn())
        .await?
        .ok_or_else(|| kernel::unknown(distro, version))
    }
}

/// What would be refused of a policy is refused of people, too.
fn check(changes: &[Change<'_>]) -> Result<()> {
    let mut named = std::collections::HashSet::with_capacity(changes.len());
    for change in changes {
        let field = |name: &str| format!("{}/{name}", change.field);
        if let Err(refused) = plan::sound(change.key, change.value) {
            let (code, name) = match refused.code {
                "note-key" => ("note_key", "key"),
                "note-too-long" => ("note_too_long", "value"),
                _ => ("text_invalid", "value"),
            };
            return Err(invalid(code, field(name), refused.text));
        }
        let subjects = match change.hook {
            "advance" if change.about.pull.is_none() => None,
            "advance" => Some("kernel versions and of the pipeline"),
            "ignore" | "select" => {
                Some("the pipeline alone").filter(|_| change.about != Subject::default())
            }
            _ if change.about.kernel.is_none() => None,
            _ => Some("pull requests and of the pipeline"),
        };
        if let Some(subjects) = subjects {
            let text = format!("`{}` is given notes of {subjects}", change.hook);
            return Err(invalid("note_subject", field("hook"), text));
        }
        if !named.insert((change.hook, change.position, change.about, change.key)) {
            return Err(invalid(
                "note_twice",
                field("key"),
                format!(
                    "the note `{}` is in the batch twice",
                    super::names::shown(change.key)
                ),
            ));
        }
    }
    Ok(())
}

async fn set(
    batch: &mut Batch,
    pipeline: i32,
    change: &Change<'_>,
    value: &str,
    written: &mut Written,
) -> Result<()> {
    let row = sqlx::query_scalar!(
        r#"insert into note (pipeline_id, hook, position, kernel_version_id, key, value, pull_request_id)
           values ($1, $2, $3, $4, $5, $6, $7)
           on conflict (pipeline_id, hook, kernel_version_id, pull_request_id, position, key) do update set
             value = excluded.value, decision_id = null, deleted_at = null
             where (note.value, note.deleted_at) is distinct from (excluded.value, null)
           returning (xmax = 0) as "created!""#,
        pipeline,
        change.hook,
        change.position,
        change.about.kernel,
        change.key,
        value,
        change.about.pull,
    )
    .fetch_optional(batch.conn())
    .await?;
    match row {
        Some(true) => written.created += 1,
        Some(false) => written.updated += 1,
        None => written.unchanged += 1,
    }
    Ok(())
}

async fn remove(
    batch: &mut Batch,
    pipeline: i32,
    change: &Change<'_>,
    written: &mut Written,
) -> Result<()> {
    let there = sqlx::query!(
        "select id, deleted_at from note
         where pipeline_id = $1 and hook = $2 and position = $3 and key = $5
           and (kernel_version_id = $4 or (kernel_version_id is null and $4::bigint is null))
           and (pull_request_id = $6 or (pull_request_id is null and $6::bigint is null))",
        pipeline,
        change.hook,
        change.position,
        change.about.kernel,
        change.key,
        change.about.pull,
    )
    .fetch_optional(batch.conn())
    .await?
    .ok_or_else(|| {
        Refusal::new(
            Kind::NotFound,
            "note_unknown",
            format!(
                "there is no note `{}` there",
                super::names::shown(change.key)
            ),
        )
        .field(format!("{}/key", change.field))
        .hint("`pointsman note list` shows those there are.")
    })?;
    if there.deleted_at.is_some() {
        written.unchanged += 1;
        return Ok(());
    }
    sqlx::query!(
        "update note set deleted_at = now(), decision_id = null where id = $1",
        there.id
    )
    .execute(batch.conn())
    .await?;
    written.updated += 1;
    Ok(())
}
