//! Reading decisions.

use chrono::{DateTime, Utc};
use pointsman_api::page::Page;
use pointsman_api::pipeline::Decision;
use sqlx::{FromRow, QueryBuilder};

use super::{Db, cursor, distro::cut};
use crate::error::{Error, Result, not_found};

/// What decisions are filtered by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// Of this hook.
    pub hook: Option<String>,
    /// About this subject.
    pub subject: Option<String>,
    /// That ended so.
    pub outcome: Option<String>,
    /// Carried out by this generation.
    pub generation: Option<i64>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    pipeline: String,
    hook: String,
    position: i32,
    subject: String,
    at: DateTime<Utc>,
    plugin: String,
    digest: String,
    seed: i64,
    engine: String,
    items: i32,
    outcome: String,
    reason_text: String,
    reason_code: String,
    fuel: i64,
    duration_us: i64,
    generation: Option<i64>,
}

const COLUMNS: &str = "select x.id, p.name as pipeline, x.hook, x.position, x.subject, x.at, g.name as plugin, \
    g.digest, x.seed, x.engine, x.items, x.outcome, x.reason_text, x.reason_code, x.fuel, x.duration_us, \
    x.generation from decision x join pipeline p on p.id = x.pipeline_id join plugin g on g.id = x.plugin_id \
    where true";

impl Db {
    /// One page of decisions, newest first, without inputs and outputs.
    pub async fn decisions(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Decision>> {
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        let mut sql = QueryBuilder::new(COLUMNS);
        for (column, value) in [
            (" and p.name = ", &filter.pipeline),
            (" and x.hook = ", &filter.hook),
            (" and x.subject = ", &filter.subject),
            (" and x.outcome = ", &filter.outcome),
        ] {
            if let Some(value) = value {
                sql.push(column).push_bind(value.clone());
            }
        }
        if let Some(generation) = filter.generation {
            sql.push(" and x.generation = ").push_bind(generation);
        }
        if let Some(after) = after {
            sql.push(" and x.id < ").push_bind(after);
        }
        sql.push(" order by x.id desc limit ")
            .push_bind(i64::from(limit) + 1);
        let mut rows: Vec<Row> = sql.build_query_as().fetch_all(&self.read).await?;
        let next = cut(&mut rows, limit, |r| cursor::encode(&r.id));
        Ok(Page {
            items: rows.into_iter().map(shape).collect(),
            next,
        })
    }

    /// One decision, with what was asked and answered.
    pub async fn decision(&self, id: i64) -> Result<Decision> {
        let mut sql = QueryBuilder::new(COLUMNS);
        sql.push(" and x.id = ").push_bind(id);
        let row: Row = sql
            .build_query_as()
            .fetch_optional(&self.read)
            .await?
            .ok_or_else(|| not_found("decision_unknown", format!("there is no decision {id}")))?;
        let kept = sqlx::query!(
            r#"select x.settings, i.bytes as input, o.bytes as "output?"
               from decision x join blob i on i.digest = x.input left join blob o on o.digest = x.output
               where x.id = $1"#,
            id,
        )
        .fetch_one(&self.read)
        .await?;
        let mut decision = shape(row);
        decision.settings = Some(kept.settings);
        decision.input = Some(unpack(&kept.input)?);
        decision.output = kept.output.as_deref().map(unpack).transpose()?;
        Ok(decision)
    }
}

fn shape(row: Row) -> Decision {
    Decision {
        id: row.id,
        pipeline: row.pipeline,
        hook: row.hook,
        position: row.position,
        subject: row.subject,
        at: row.at,
        plugin: row.plugin,
        digest: row.digest,
        seed: row.seed,
        engine: row.engine,
        items: row.items,
        outcome: row.outcome,
        reason: row.reason_text,
        reason_code: row.reason_code,
        fuel: row.fuel,
        duration_us: row.duration_us,
        generation: row.generation,
        settings: None,
        input: None,
        output: None,
    }
}

/// Bytes of one input or output, unpacked: the largest question is some megabytes of names.
const MAX_BLOB: usize = 64 << 20;

fn unpack(bytes: &[u8]) -> Result<serde_json::Value> {
    let json = zstd::bulk::decompress(bytes, MAX_BLOB).map_err(|e| Error::Internal(e.into()))?;
    serde_json::from_slice(&json).map_err(|e| Error::Internal(e.into()))
}
