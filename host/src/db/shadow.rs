//! Candidates in shadow: which there are, what they are asked next, and what came of it.

use chrono::{DateTime, Utc};
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use pointsman_api::pipeline::{DecisionRecord, Limits, Shadow, ShadowDifference};
use serde_json::Value;

use super::distro::cut;
use super::pipeline::{Place, lock};
use super::turn::unpack_text;
use super::{Batch, Db, cursor};
use crate::error::{Kind, Refusal, Result};

/// A candidate with work to do.
#[derive(Debug, Clone)]
pub struct Following {
    /// Its id.
    pub id: i32,
    /// The plugin's id: an answer counts only if it is still that one.
    pub plugin: i32,
    /// The plugin's digest.
    pub digest: String,
    /// Its settings.
    pub settings: Value,
    /// Decisions up to this one are done.
    pub after: i64,
    /// The pipeline.
    pub pipeline: i32,
    /// The hook.
    pub hook: String,
    /// The place in its chain.
    pub position: i32,
}

/// What a candidate made of some decisions.
#[derive(Debug, Clone, Default)]
pub struct Followed {
    /// Decisions up to this one are done.
    pub after: i64,
    /// Made in the same way.
    pub agreed: i64,
    /// Not to be made again.
    pub skipped: i64,
    /// Made otherwise.
    pub differences: Vec<NewDifference>,
}

/// A decision made otherwise.
#[derive(Debug, Clone)]
pub struct NewDifference {
    /// The decision.
    pub decision: i64,
    /// How the candidate's ended.
    pub outcome: String,
    /// Why, for programs.
    pub code: String,
    /// Why.
    pub text: String,
    /// Where they differ first.
    pub place: String,
    /// What is on record there.
    pub before: String,
    /// What the candidate has there.
    pub after: String,
    /// Fuel used.
    pub fuel: i64,
}

impl Db {
    /// The candidates of a pipeline, by hook and position.
    pub async fn shadows(&self, pipeline: &str) -> Result<Page<Shadow>> {
        let items = sqlx::query_as!(
            Shadow,
            r#"select s.hook, s.position, g.name as plugin, g.digest, s.settings, r.since, r.agreed,
                 r.differed, r.skipped, r.failing, s.generation,
                 -- The newest alone: to look for one that is behind could read them all.
                 coalesce((select max(x.id) from decision x where x.pipeline_id = s.pipeline_id
                   and x.hook = s.hook and x.position = s.position), 0) <= r.after_id as "idle!"
               from shadow s join pipeline p on p.id = s.pipeline_id join plugin g on g.id = s.plugin_id
                 join shadow_progress r on r.shadow_id = s.id
               where p.name = $1 and p.deleted_at is null and s.deleted_at is null
               order by s.hook, s.position"#,
            pipeline,
        )
        .fetch_all(&self.read)
        .await?;
        Ok(Page { items, next: None })
    }

    /// Lets a candidate follow the decisions of a place, from now on or from those made since `since`.
    pub async fn put_shadow(
        &self,
        batch: &mut Batch,
        place: Place<'_>,
        digest: &str,
        settings: &Value,
        since: Option<DateTime<Utc>>,
    ) -> Result<Written> {
        let pipeline = lock(batch, place.pipeline).await?;
        let Some(row) = sqlx::query!(
            r#"insert into shadow (pipeline_id, hook, position, plugin_id, settings)
                 select $1, $2, $3, g.id, $5 from plugin g where g.digest = $4
               on conflict (pipeline_id, hook, position) do update set
                 plugin_id = excluded.plugin_id, settings = excluded.settings, deleted_at = null
               returning id, plugin_id, (xmax = 0) as "created!""#,
            pipeline,
            place.hook,
            place.position,
            digest,
            settings,
        )
        .fetch_optional(batch.conn())
        .await?
        else {
            // What is so already stays as it is, its figures included.
            return Ok(Written {
                unchanged: 1,
                ..super::batch::nothing()
            });
        };
        sqlx::query!("delete from shadow_difference where shadow_id = $1", row.id)
            .execute(batch.conn())
            .await?;
        sqlx::query!(
            "insert into shadow_progress (shadow_id, plugin_id, settings, after_id)
             select $1, $2, $3, coalesce((select max(id) from decision
               where pipeline_id = $4 and ($5::timestamptz is null or at < $5)), 0)
             on conflict (shadow_id) do update set plugin_id = excluded.plugin_id,
               settings = excluded.settings, after_id = excluded.after_id, since = now(),
               agreed = 0, differed = 0, skipped = 0, failing = null",
            row.id,
            row.plugin_id,
            settings,
            pipeline,
            since,
        )
        .execute(batch.conn())
        .await?;
        let (created, updated) = (u64::from(row.created), u64::from(!row.created));
        Ok(Written {
            created,
            updated,
            ..super::batch::nothing()
        })
    }

    /// Takes a candidate away; gives its digest and settings.
    pub async fn delete_shadow(
        &self,
        batch: &mut Batch,
        place: Place<'_>,
    ) -> Result<(String, Value)> {
        let pipeline = lock(batch, place.pipeline).await?;
        let row = sqlx::query!(
            "update shadow s set deleted_at = now() from plugin g
             where g.id = s.plugin_id and s.pipeline_id = $1 and s.hook = $2 and s.position = $3
               and s.deleted_at is null
             returning g.digest, s.settings",
            pipeline,
            place.hook,
            place.position,
        )
        .fetch_optional(batch.conn())
        .await?
        .ok_or_else(|| no_shadow(place))?;
        Ok((row.digest, row.settings))
    }

    /// The candidate of a place: digest and settings.
    pub async fn shadow(&self, place: Place<'_>) -> Result<(String, Value)> {
        let row = sqlx::query!(
            "select g.digest, s.settings
             from shadow s join pipeline p on p.id = s.pipeline_id join plugin g on g.id = s.plugin_id
             where p.name = $1 and p.deleted_at is null and s.hook = $2 and s.position = $3
               and s.deleted_at is null",
            place.pipeline,
            place.hook,
            place.position,
        )
        .fetch_optional(&self.read)
        .await?
        .ok_or_else(|| no_shadow(place))?;
        Ok((row.digest, row.settings))
    }

    /// One page of the decisions that a candidate would have made otherwise, newest first.
    pub async fn shadow_differences(
        &self,
        place: Place<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<ShadowDifference>> {
        self.shadow(place).await?;
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        let mut items = sqlx::query_as!(
            ShadowDifference,
            r#"select x.id as decision, x.subject, x.at, x.outcome, x.reason_code, x.reason_text as reason,
                 d.outcome as candidate_outcome, d.reason_code as candidate_reason_code,
                 d.reason_text as candidate_reason, d.place, d.before, d.after, d.fuel
               from shadow s join pipeline p on p.id = s.pipeline_id
                 join shadow_difference d on d.shadow_id = s.id join decision x on x.id = d.decision_id
               where p.name = $1 and p.deleted_at is null and s.hook = $2 and s.position = $3
                 and s.deleted_at is null and ($4::bigint is null or x.id < $4)
               order by d.decision_id desc limit $5"#,
            place.pipeline,
            place.hook,
            place.position,
            after,
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut items, limit, |item| cursor::encode(&item.decision));
        Ok(Page { items, next })
    }

    /// The candidates that have not been asked about every decision yet.
    pub async fn following(&self) -> Result<Vec<Following>> {
        Ok(sqlx::query_as!(
            Following,
            "select s.id, s.plugin_id as plugin, g.digest, s.settings, r.after_id as after,
               s.pipeline_id as pipeline, s.hook, s.position
             from shadow s join shadow_progress r on r.shadow_id = s.id join plugin g on g.id = s.plugin_id
               join pipeline p on p.id = s.pipeline_id
             where s.deleted_at is null and p.deleted_at is null
               and (select max(x.id) from decision x where x.pipeline_id = s.pipeline_id
                 and x.hook = s.hook and x.position = s.position) > r.after_id
             order by s.id"
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// The next decisions for a candidate, oldest first.
    pub async fn to_follow(
        &self,
        following: &Following,
        limit: i64,
    ) -> Result<Vec<DecisionRecord>> {
        let rows = sqlx::query!(
            r#"select x.id, p.name as pipeline, x.hook, x.subject, x.at, g.digest, x.seed, x.engine,
                 x.outcome, x.reason_code, x.fuel, x.context,
                 x.limits as "limits: sqlx::types::Json<Limits>", i.bytes as input, o.bytes as "output?",
                 array(select b.bytes from blob_part r join blob b on b.digest = r.part
                   where r.whole = x.input order by r.position) as "parts!: Vec<Vec<u8>>"
               from decision x join pipeline p on p.id = x.pipeline_id join plugin g on g.id = x.plugin_id
                 join blob i on i.digest = x.input left join blob o on o.digest = x.output
               where x.id > $1 and x.pipeline_id = $2 and x.hook = $3 and x.position = $4
               order by x.id limit $5"#,
            following.after,
            following.pipeline,
            following.hook,
            following.position,
            limit,
        )
        .fetch_all(&self.read)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(DecisionRecord {
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
                    settings: following.settings.clone(),
                    limits: row.limits.map(|limits| limits.0),
                    context: row.context,
                    input: unpack_text(&row.input, &row.parts)?,
                    output: row
                        .output
                        .as_deref()
                        .map(|o| unpack_text(o, &[]))
                        .transpose()?,
                })
            })
            .collect()
    }

    /// Says why a candidate cannot be asked, until it could.
    pub async fn shadow_fails(&self, following: &Following, why: &str) -> Result<()> {
        let why = why.replace('\0', "\u{fffd}");
        let why = &why[..why.floor_char_boundary(1_024)];
        sqlx::query!(
            "update shadow_progress set failing = $2
             where shadow_id = $1 and plugin_id = $3 and after_id = $4 and settings = $5
               and failing is distinct from $2",
            following.id,
            why,
            following.plugin,
            following.after,
            following.settings,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Writes what a candidate made of some decisions, unless another host was faster or the candidate
    /// is another one by now. Says whether it was written.
    pub async fn followed(&self, following: &Following, followed: &Followed) -> Result<bool> {
        let mut tx = self.write.begin().await?;
        let taken = sqlx::query!(
            "update shadow_progress set after_id = $4, agreed = agreed + $5, differed = differed + $6,
               skipped = skipped + $7, failing = null
             where shadow_id = $1 and plugin_id = $2 and after_id = $3 and settings = $8",
            following.id,
            following.plugin,
            following.after,
            followed.after,
            followed.agreed,
            i64::try_from(followed.differences.len()).unwrap_or(i64::MAX),
            followed.skipped,
            following.settings,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if taken == 0 {
            return Ok(false);
        }
        for difference in &followed.differences {
            sqlx::query!(
                // A decision may have been deleted meanwhile, with its retention.
                "insert into shadow_difference (shadow_id, decision_id, outcome, reason_code, reason_text,
                   place, before, after, fuel)
                 select $1, id, $3, $4, $5, $6, $7, $8, $9 from decision where id = $2
                 on conflict do nothing",
                following.id,
                difference.decision,
                difference.outcome,
                difference.code,
                difference.text,
                difference.place,
                difference.before,
                difference.after,
                difference.fuel,
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

fn no_shadow(place: Place<'_>) -> crate::error::Error {
    Refusal::new(
        Kind::NotFound,
        "shadow_unknown",
        format!(
            "no candidate follows {}/{}/{} in shadow",
            super::names::shown(place.pipeline),
            super::names::shown(place.hook),
            place.position
        ),
    )
    .hint("`pointsman pipeline shadow PIPELINE` lists those there are.")
    .into()
}
