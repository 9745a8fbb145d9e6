//! What the policies of a merge pipeline, and those that see to jobs of a kernel pipeline, remember, for the questions
//! of a turn.

use super::super::Db;
use super::super::turn::{NoteRow, Remembered};
use crate::error::Result;
use crate::policy::Hook;

impl Db {
    /// What the places of a pipeline remember of the pipeline itself.
    pub async fn hook_notes_of(&self, pipeline: i32) -> Result<Vec<NoteRow>> {
        let rows = sqlx::query!(
            "select id, hook, position, key, value from note
             -- By hook, so that the notes of pull requests are not read to be left out.
             where pipeline_id = $1 and hook in ('review', 'gate', 'select', 'run', 'triage', 'react')
               and kernel_version_id is null and pull_request_id is null and deleted_at is null",
            pipeline,
        )
        .fetch_all(&self.read)
        .await?;
        let notes = rows.into_iter().filter_map(|row| {
            let hook: Hook = row.hook.parse().ok()?;
            Some(NoteRow {
                id: row.id,
                about: Remembered::pipeline(hook.name(), row.position),
                key: row.key,
                value: row.value,
            })
        });
        Ok(notes.collect())
    }

    /// What the places of a pipeline remember of these pull requests.
    pub async fn notes_of_pulls(&self, pipeline: i32, pulls: &[i64]) -> Result<Vec<NoteRow>> {
        let rows = sqlx::query!(
            r#"select id, hook, position, pull_request_id as "pull!", key, value from note
               where pull_request_id = any($2) and pipeline_id = $1 and deleted_at is null"#,
            pipeline,
            pulls,
        )
        .fetch_all(&self.read)
        .await?;
        let notes = rows.into_iter().filter_map(|row| {
            let hook: Hook = row.hook.parse().ok()?;
            Some(NoteRow {
                id: row.id,
                about: Remembered::pull(hook.name(), row.position, row.pull),
                key: row.key,
                value: row.value,
            })
        });
        Ok(notes.collect())
    }
}
