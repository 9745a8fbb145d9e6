//! Reading decisions.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use pointsman_api::page::Page;
use pointsman_api::pipeline::{Decision, DecisionRecord, Limits};
use sqlx::{FromRow, QueryBuilder};
use tokio::sync::mpsc;

use super::turn::{unpack, unpack_text};
use super::{Db, cursor, distro::cut};
use crate::contract::{self, Part};
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
            r#"select x.settings, x.context, x.log, x.limits as "limits: sqlx::types::Json<Limits>", i.bytes as input, o.bytes as "output?",
                 array(select b.bytes from blob_part p join blob b on b.digest = p.part
                   where p.whole = x.input order by p.position) as "parts!: Vec<Vec<u8>>"
               from decision x join blob i on i.digest = x.input left join blob o on o.digest = x.output
               where x.id = $1"#,
            id,
        )
        .fetch_one(&self.read)
        .await?;
        let mut decision = shape(row);
        let hook = decision.hook.as_str();
        let output = match decision.outcome.as_str() {
            "answered" | "refused" => Part::Answer,
            _ => Part::Stop,
        };
        decision.settings = Some(kept.settings);
        decision.log = kept.log;
        decision.limits = kept.limits.map(|limits| limits.0);
        decision.context = kept
            .context
            .map(|context| contract::show(hook, Part::Context, &context));
        decision.input = Some(contract::show(
            hook,
            Part::Question,
            &unpack(&kept.input, &kept.parts)?,
        ));
        decision.output = kept
            .output
            .as_deref()
            .map(|bytes| Ok::<_, Error>(contract::show(hook, output, &unpack(bytes, &[])?)))
            .transpose()?;
        Ok(decision)
    }

    /// Sends every decision that fits, oldest first, with all that a replay needs: lines of JSON.
    /// Ends early if nobody takes them.
    pub async fn decision_records(
        &self,
        filter: &Filter,
        id: Option<i64>,
        since: Option<DateTime<Utc>>,
        until: Option<DateTime<Utc>>,
        lines: mpsc::Sender<Result<Bytes>>,
    ) -> Result<()> {
        let mut after = (since.unwrap_or(DateTime::<Utc>::UNIX_EPOCH), 0_i64);
        loop {
            // In pages, so that no statement takes longer than the limit, however slowly they are taken.
            let rows = sqlx::query!(
                r#"select x.id, p.name as pipeline, x.hook, x.subject, x.at, g.digest, x.seed, x.engine,
                     x.outcome, x.reason_code, x.fuel, x.settings, x.context,
                     x.limits as "limits: sqlx::types::Json<Limits>", i.bytes as input,
                     o.bytes as "output?",
                     array(select b.bytes from blob_part r join blob b on b.digest = r.part
                       where r.whole = x.input order by r.position) as "parts!: Vec<Vec<u8>>"
                   from decision x join pipeline p on p.id = x.pipeline_id join plugin g on g.id = x.plugin_id
                     join blob i on i.digest = x.input left join blob o on o.digest = x.output
                   where (x.at, x.id) > ($1, $6) and ($2::text is null or p.name = $2) and ($3::text is null or x.hook = $3)
                     and ($4::text is null or x.subject = $4) and ($5::text is null or x.outcome = $5)
                     and ($7::timestamptz is null or x.at < $7)
                   and ($9::bigint is null or x.id = $9)
                   order by x.at, x.id limit $8"#,
                after.0,
                filter.pipeline,
                filter.hook,
                filter.subject,
                filter.outcome,
                after.1,
                until,
                RECORDS_PAGE,
                id,
            )
            .fetch_all(&self.read)
            .await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = (last.at, last.id);
            for row in rows {
                let record = DecisionRecord {
                    id: row.id,
                    pipeline: row.pipeline,
                    hook: row.hook,
                    subject: row.subject,
                    at: row.at,
                    digest: row.digest,
                    seed: row.seed,
                    engine: row.engine,
                    outcome: row.outcome,
                    reason_code: row.reason_code,
                    fuel: row.fuel,
                    settings: row.settings,
                    limits: row.limits.map(|limits| limits.0),
                    context: row.context,
                    input: unpack_text(&row.input, &row.parts)?,
                    output: row
                        .output
                        .as_deref()
                        .map(|o| unpack_text(o, &[]))
                        .transpose()?,
                };
                let mut line =
                    serde_json::to_vec(&record).map_err(|e| Error::Internal(e.into()))?;
                line.push(b'\n');
                if lines.send(Ok(line.into())).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Decisions that are read at once: the largest have some megabytes each.
const RECORDS_PAGE: i64 = 50;

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
        context: None,
        limits: None,
        log: None,
        input: None,
        output: None,
    }
}
