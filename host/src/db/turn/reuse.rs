//! Finding the decision that answered the same question before.

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

impl Db {
    /// The newest decision that answered this very question, if its answer holds still, with the
    /// answer; none for an abstention. It was given the same notes, and no facts: those may have
    /// changed.
    pub async fn answered_before(&self, same: &Same<'_>) -> Result<Option<(i64, Option<Value>)>> {
        let row = sqlx::query!(
            r#"select x.id, x.outcome, o.bytes as output
               from decision x join blob o on o.digest = x.output
               where x.input = $1 and x.pipeline_id = $2 and x.hook = $3 and x.plugin_id = $4
                 and x.settings = $5 and x.context is not distinct from $7
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
}
