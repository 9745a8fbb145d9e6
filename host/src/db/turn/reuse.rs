//! Finding the decision that answered the same question before.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::Db;
use super::unpack;
use crate::error::Result;

/// A question about to be asked.
#[derive(Debug, Clone, Copy)]
pub struct Same<'a> {
    /// The pipeline that asks.
    pub pipeline: i32,
    /// The hook.
    pub hook: &'a str,
    /// The plugin version.
    pub plugin: i32,
    /// Its settings.
    pub settings: &'a Value,
    /// What else it is given: notes; none where there are none.
    pub context: Option<&'a Value>,
    /// The SHA-256 of the question.
    pub digest: &'a [u8],
    /// The time of asking.
    pub at: DateTime<Utc>,
}

/// Earlier decisions about one question that are looked at: those of a chain of bindings, several times over.
const MAX_BEFORE: i64 = 64;

impl Db {
    /// The newest decision that answered this very question, if its answer holds still, with the
    /// answer; none for an abstention. It was given the same notes, and of facts at most files, since what a
    /// commit has at a path never changes: others may have.
    pub async fn answered_before(&self, same: &Same<'_>) -> Result<Option<(i64, Option<Value>)>> {
        let row = sqlx::query!(
            r#"select x.id, x.outcome, o.bytes as output
               from decision x join blob o on o.digest = x.output
               where x.input = $1 and x.pipeline_id = $2 and x.hook = $3 and x.plugin_id = $4
                 and x.settings = $5 and nullif(x.context - 'facts', '{}') is not distinct from $7
                 and not exists (
                   select from jsonb_array_elements(x.context -> 'facts') f
                   where f #>> '{query,kind}' <> 'file' or not f -> 'found' ?| array['Value', 'Absent'])
                 and x.outcome in ('answered', 'abstained') and (x.wake_at is null or x.wake_at > $6)
               order by x.id desc limit 1"#,
            same.digest,
            same.pipeline,
            same.hook,
            same.plugin,
            same.settings,
            same.at,
            same.context,
        )
        .fetch_optional(&self.read)
        .await?;
        row.map(|row| {
            let output = (row.outcome == "answered")
                .then(|| unpack(&row.output, &[]))
                .transpose()?;
            Ok((row.id, output))
        })
        .transpose()
    }

    /// The same for many questions at once: what answered any of these before, the newest first. The caller
    /// looks for what is the same in the rest ([`Known::find`]).
    pub async fn answered_before_any(&self, pipeline: i32, digests: &[Vec<u8>]) -> Result<Known> {
        if digests.is_empty() {
            return Ok(Known::default());
        }
        let rows = sqlx::query!(
            r#"select x.id, x.input, x.hook, x.plugin_id, x.settings,
                 nullif(x.context - 'facts', '{}') as context, x.outcome, x.wake_at, o.bytes as output
               from unnest($1::bytea[]) u (input)
               -- The newest of each: a policy that wants to be asked again each minute is asked the same for years.
               cross join lateral (
                 select * from decision d
                 where d.input = u.input and d.pipeline_id = $2 and d.outcome in ('answered', 'abstained')
                 order by d.id desc limit $3) x
               join blob o on o.digest = x.output
               where not exists (
                   select from jsonb_array_elements(x.context -> 'facts') f
                   where f #>> '{query,kind}' <> 'file' or not f -> 'found' ?| array['Value', 'Absent'])
               order by x.id desc"#,
            digests,
            pipeline,
            MAX_BEFORE,
        )
        .fetch_all(&self.read)
        .await?;
        let mut known = Known::default();
        for row in rows {
            known.by_digest.entry(row.input).or_default().push(Before {
                id: row.id,
                hook: row.hook,
                plugin: row.plugin_id,
                settings: row.settings,
                context: row.context,
                answered: row.outcome == "answered",
                wake_at: row.wake_at,
                output: row.output,
            });
        }
        Ok(known)
    }
}

/// Decisions of before, by their question.
#[derive(Debug, Default)]
pub struct Known {
    by_digest: HashMap<Vec<u8>, Vec<Before>>,
}

#[derive(Debug)]
struct Before {
    id: i64,
    hook: String,
    plugin: i32,
    settings: Value,
    context: Option<Value>,
    answered: bool,
    wake_at: Option<DateTime<Utc>>,
    output: Vec<u8>,
}

impl Known {
    /// As [`Db::answered_before`].
    pub fn find(&self, same: &Same<'_>) -> Result<Option<(i64, Option<Value>)>> {
        let Some(before) = self.by_digest.get(same.digest) else {
            return Ok(None);
        };
        let found = before.iter().find(|b| {
            b.hook == same.hook
                && b.plugin == same.plugin
                && b.settings == *same.settings
                && b.context.as_ref() == same.context
                && b.wake_at.is_none_or(|at| at > same.at)
        });
        found
            .map(|b| {
                let output = b.answered.then(|| unpack(&b.output, &[])).transpose()?;
                Ok((b.id, output))
            })
            .transpose()
    }
}
