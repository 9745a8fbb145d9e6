//! What policies remember: read for a turn's questions, written with what the turn decided.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::Db;
use crate::error::Result;
use crate::policy::wit::types::Attrs;

/// Whose memory, and of what: one subject of one place of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remembered {
    /// The hook.
    pub hook: &'static str,
    /// The place in its chain.
    pub position: i32,
    /// The kernel version; none: the pipeline itself, or a pull request.
    pub kernel: Option<i64>,
    /// The pull request; none: the pipeline itself, or a kernel version.
    pub pull: Option<i64>,
}

impl Remembered {
    /// What a place remembers of its pipeline.
    pub fn pipeline(hook: &'static str, position: i32) -> Self {
        Self {
            hook,
            position,
            kernel: None,
            pull: None,
        }
    }

    /// What a place remembers of a pull request.
    pub fn pull(hook: &'static str, position: i32, pull: i64) -> Self {
        Self {
            hook,
            position,
            kernel: None,
            pull: Some(pull),
        }
    }

    /// What a place of `advance` remembers of a kernel version.
    pub fn kernel(position: i32, kernel: i64) -> Self {
        Self {
            hook: "advance",
            position,
            kernel: Some(kernel),
            pull: None,
        }
    }
}

/// A note as the record has it.
#[derive(Debug, Clone)]
pub struct NoteRow {
    /// The row.
    pub id: i64,
    /// Whose, and of what.
    pub about: Remembered,
    /// Its key.
    pub key: String,
    /// What it says.
    pub value: String,
}

/// A note to write.
#[derive(Debug, Clone)]
pub struct NoteChange {
    /// Whose, and of what.
    pub about: Remembered,
    /// Its key.
    pub key: String,
    /// The row and the value that the policy saw; none: there was no such note.
    pub found: Option<(i64, String)>,
    /// What it is to say; none: it goes.
    pub value: Option<String>,
    /// The decision that asks for it, by index.
    pub decision: usize,
}

impl NoteChange {
    /// A later word on the same note.
    pub fn set(&mut self, value: Option<String>, decision: usize) {
        self.value = value;
        self.decision = decision;
    }
}

impl Db {
    /// What the kernel hooks remember of the pipeline itself.
    pub async fn notes_of(&self, pipeline: i32) -> Result<Vec<NoteRow>> {
        let rows = sqlx::query!(
            "select id, hook, position, key, value from note
             where pipeline_id = $1 and hook in ('ignore', 'advance') and kernel_version_id is null
               and deleted_at is null",
            pipeline,
        )
        .fetch_all(&self.read)
        .await?;
        Ok(rows
            .into_iter()
            .map(|r| NoteRow {
                id: r.id,
                about: match r.hook.as_str() {
                    "ignore" => Remembered::pipeline("ignore", r.position),
                    _ => Remembered::pipeline("advance", r.position),
                },
                key: r.key,
                value: r.value,
            })
            .collect())
    }

    /// What `advance` remembers of these kernel versions.
    pub async fn notes_of_kernels(&self, pipeline: i32, kernels: &[i64]) -> Result<Vec<NoteRow>> {
        let rows = sqlx::query!(
            r#"select id, position, kernel_version_id as "kernel!", key, value from note
               where pipeline_id = $1 and hook = 'advance' and kernel_version_id = any($2)
                 and deleted_at is null"#,
            pipeline,
            kernels,
        )
        .fetch_all(&self.read)
        .await?;
        Ok(rows
            .into_iter()
            .map(|r| NoteRow {
                id: r.id,
                about: Remembered::kernel(r.position, r.kernel),
                key: r.key,
                value: r.value,
            })
            .collect())
    }
}

/// Writes notes that are still what the policy saw, and says how many that were: a person who changed
/// one meanwhile is right, and that change is looked at by itself.
pub(in crate::db) async fn write_notes(
    conn: &mut PgConnection,
    pipeline: i32,
    changes: &[NoteChange],
    ids: &[i64],
) -> Result<u64> {
    if changes.is_empty() {
        return Ok(0);
    }
    // People's batches lock the pipeline first, too. Whoever only refers to it need not wait.
    sqlx::query!(
        "select id from pipeline where id = $1 for no key update",
        pipeline
    )
    .fetch_optional(&mut *conn)
    .await?;
    let decision = |change: &NoteChange| ids.get(change.decision).copied().unwrap_or_default();
    let mut written = 0;
    let known: Vec<(&NoteChange, &(i64, String))> = changes
        .iter()
        .filter_map(|change| Some((change, change.found.as_ref()?)))
        .collect();
    if !known.is_empty() {
        let rows: Vec<i64> = known.iter().map(|(_, found)| found.0).collect();
        let seen: Vec<String> = known.iter().map(|(_, found)| found.1.clone()).collect();
        let values: Vec<Option<String>> = known.iter().map(|(c, _)| c.value.clone()).collect();
        let decisions: Vec<i64> = known.iter().map(|(change, _)| decision(change)).collect();
        written += sqlx::query!(
            "update note n set value = coalesce(u.value, n.value), decision_id = u.decision,
               deleted_at = case when u.value is null then now() end
             from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) u (id, seen, value, decision)
             where n.id = u.id and n.deleted_at is null and n.value = u.seen",
            &rows,
            &seen,
            &values as &[Option<String>],
            &decisions,
        )
        .execute(&mut *conn)
        .await?
        .rows_affected();
    }
    let new: Vec<(&NoteChange, &String)> = changes
        .iter()
        .filter(|change| change.found.is_none())
        .filter_map(|change| Some((change, change.value.as_ref()?)))
        .collect();
    if !new.is_empty() {
        let text =
            |f: fn(&(&NoteChange, &String)) -> String| new.iter().map(f).collect::<Vec<String>>();
        let positions: Vec<i32> = new
            .iter()
            .map(|(change, _)| change.about.position)
            .collect();
        let kernels: Vec<Option<i64>> = new.iter().map(|(change, _)| change.about.kernel).collect();
        let pulls: Vec<Option<i64>> = new.iter().map(|(change, _)| change.about.pull).collect();
        let decisions: Vec<i64> = new.iter().map(|(change, _)| decision(change)).collect();
        written += sqlx::query!(
            "insert into note (pipeline_id, hook, position, kernel_version_id, pull_request_id, key, value,
               decision_id)
             select $1, * from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::text[], $7::text[],
               $8::bigint[])
             on conflict (pipeline_id, hook, kernel_version_id, pull_request_id, position, key) do update set
               value = excluded.value, decision_id = excluded.decision_id, deleted_at = null
               where note.deleted_at is not null",
            pipeline,
            &text(|n| n.0.about.hook.to_owned()),
            &positions,
            &kernels as &[Option<i64>],
            &pulls as &[Option<i64>],
            &text(|n| n.0.key.clone()),
            &text(|n| n.1.clone()),
            &decisions,
        )
        .execute(&mut *conn)
        .await?
        .rows_affected();
    }
    Ok(written)
}

/// Keeps the tags that `ignore` gave distros, for the turns that ask `advance` alone.
pub(super) async fn write_tags(
    conn: &mut PgConnection,
    pipeline: i32,
    tags: &HashMap<i32, Attrs>,
) -> Result<()> {
    for (distro, tags) in tags {
        if tags.is_empty() {
            sqlx::query!(
                "delete from distro_tags where pipeline_id = $1 and distro_id = $2",
                pipeline,
                distro,
            )
            .execute(&mut *conn)
            .await?;
            continue;
        }
        let object: serde_json::Map<String, serde_json::Value> = tags
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        sqlx::query!(
            "insert into distro_tags (pipeline_id, distro_id, tags) values ($1, $2, $3)
             on conflict (pipeline_id, distro_id) do update set tags = excluded.tags",
            pipeline,
            distro,
            serde_json::Value::Object(object),
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
