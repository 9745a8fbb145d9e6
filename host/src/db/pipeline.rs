//! Pipelines and their bindings.

use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use pointsman_api::pipeline::{Binding, Hold, Limits, Pipeline, Running};
use pointsman_api::pull::Merging;

use super::runs::DEFAULT_SLOTS;
use super::turn::{KERNEL_CHANGES, PASSED_BY};
use super::{Batch, Db};
use crate::error::{Kind, Refusal, Result};

/// Where a binding is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// The hook.
    pub hook: &'a str,
    /// The place in its chain.
    pub position: i32,
}

/// What is to be bound.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// The plugin version.
    pub digest: &'a str,
    /// What it is given.
    pub settings: &'a serde_json::Value,
    /// What one call may use; none: as it is there now.
    pub limits: Option<Limits>,
}

impl Db {
    /// All pipelines, by name, with their bindings and what holds them.
    pub async fn pipelines(&self, name: Option<&str>) -> Result<Page<Pipeline>> {
        let rows = sqlx::query!(
            r#"select p.id, p.name, p.kind, p.paused, p.generation,
                 r.held_hook as "held_hook?", r.held_code as "held_code?", r.held_text as "held_text?",
                 r.held_since as "held_since?", r.held_decision_id as "held_decision_id?",
                 coalesce(r.turns, 0) as "turns!",
                 (select count(*) from sweep s where s.pipeline_id = p.id) as "sweeps!",
                 m.target as "target?", m.slots as "slots?", m.frozen, m.frozen_by, m.prefix as "prefix?",
                 g.name as "repository?",
                 (select f.seen_at from repository_folder f where f.repository_id = g.id
                    and f.seen_at < now() - interval '1 minute') as folder_missing_since,
                 coalesce(s.slots, $2) as "run_slots!",
                 array(select r.id from kernel_living r where r.pipeline_id = p.id order by r.id) as "runs!: Vec<i64>",
                 (select t.commit from tip t where t.pipeline_id = p.id order by t.id desc limit 1) as tip,
                 case p.kind when 'merge' then not exists (select from cause c where c.pipeline_id = p.id)
                   and not exists (select from effect e where e.pipeline_id = p.id and e.done_at is null)
                 else not exists (select from sweep s where s.pipeline_id = p.id)
                   and not exists (select from cause c where c.pipeline_id = p.id)
                   and not exists (select from effect e where e.pipeline_id = p.id and e.done_at is null)
                   and not exists (
                   -- What is none of its own it passes by, some at a time; more than those it has yet to look at.
                   select from (
                     select e.kind, row_number() over (order by e.epoch, e.tx, e.id) as n from (
                       select epoch, tx, id, kind from event
                       where (epoch, tx, id) > (coalesce(r.epoch, 0), coalesce(r.tx, '0'), coalesce(r.event_id, 0))
                       order by epoch, tx, id limit $4) e) behind
                   where kind = any($3::text[]) or n = $4
                 ) end as "idle!"
               from pipeline p left join pipeline_progress r on r.pipeline_id = p.id
               left join kernel_pipeline s on s.id = p.id
               left join merge_pipeline m on m.id = p.id left join repository g on g.id = m.repository_id
               where p.deleted_at is null and ($1::text is null or p.name = $1)
               order by p.name"#,
            name,
            DEFAULT_SLOTS,
            &KERNEL_CHANGES.map(str::to_owned),
            PASSED_BY as i64,
        )
        .fetch_all(&self.read)
        .await?;
        let bindings = sqlx::query!(
            r#"select b.pipeline_id, b.hook, b.position, g.name as plugin, g.digest, b.settings,
                 b.limits as "limits: sqlx::types::Json<Limits>", before.digest as "previous?", b.generation
               from binding b join plugin g on g.id = b.plugin_id
               left join plugin before on before.id = b.previous_plugin_id
               where b.deleted_at is null order by b.hook, b.position"#
        )
        .fetch_all(&self.read)
        .await?;
        let items = rows
            .into_iter()
            .map(|p| Pipeline {
                bindings: bindings
                    .iter()
                    .filter(|b| b.pipeline_id == p.id)
                    .map(|b| Binding {
                        hook: b.hook.clone(),
                        position: b.position,
                        plugin: b.plugin.clone(),
                        digest: b.digest.clone(),
                        settings: b.settings.clone(),
                        limits: b.limits.0,
                        previous: b.previous.clone(),
                        generation: b.generation,
                    })
                    .collect(),
                held: match (p.held_hook, p.held_code, p.held_text, p.held_since) {
                    (Some(hook), Some(code), Some(text), Some(since)) => Some(Hold {
                        hook,
                        code,
                        text,
                        since,
                        decision: p.held_decision_id,
                    }),
                    _ => None,
                },
                name: p.name,
                merging: match (p.repository, p.target, p.slots, p.prefix) {
                    (Some(repository), Some(target), Some(slots), Some(prefix)) => Some(Merging {
                        repository,
                        target,
                        tip: p.tip,
                        slots,
                        frozen: p.frozen,
                        frozen_by: p.frozen_by,
                        prefix,
                        folder_missing_since: p.folder_missing_since,
                    }),
                    _ => None,
                },
                running: (p.kind == "kernel").then_some(Running {
                    slots: p.run_slots,
                    runs: p.runs,
                }),
                kind: p.kind,
                idle: p.idle,
                paused: p.paused,
                pending: p.sweeps,
                turns: p.turns,
                generation: p.generation,
            })
            .collect();
        Ok(Page { items, next: None })
    }

    /// One pipeline.
    pub async fn pipeline(&self, name: &str) -> Result<Pipeline> {
        self.pipelines(Some(name))
            .await?
            .items
            .pop()
            .ok_or_else(|| unknown(name))
    }

    /// Pauses a pipeline with a reason, or resumes it with an empty one.
    pub async fn pause_pipeline(
        &self,
        batch: &mut Batch,
        name: &str,
        paused: &str,
    ) -> Result<Written> {
        let id = lock(batch, name).await?;
        let paused = Some(paused.trim()).filter(|p| !p.is_empty());
        let updated = sqlx::query!("update pipeline set paused = $2 where id = $1", id, paused)
            .execute(batch.conn())
            .await?
            .rows_affected();
        Ok(Written {
            updated,
            unchanged: 1 - updated,
            ..super::batch::nothing()
        })
    }

    /// Binds a plugin version to a hook. `expected` is the generation that the binding must still have.
    pub async fn put_binding(
        &self,
        batch: &mut Batch,
        Place {
            pipeline,
            hook,
            position,
        }: Place<'_>,
        bind: &Bind<'_>,
        expected: Option<i64>,
    ) -> Result<Written> {
        let id = lock(batch, pipeline).await?;
        if let Some(expected) = expected {
            let actual = sqlx::query_scalar!(
                "select generation from binding where pipeline_id = $1 and hook = $2 and position = $3",
                id,
                hook,
                position,
            )
            .fetch_optional(batch.conn())
            .await?;
            super::kernel_write::expect(expected, actual.unwrap_or(0))?;
        }
        let created = sqlx::query_scalar!(
            r#"insert into binding as b (pipeline_id, hook, position, plugin_id, settings, limits)
                 select $1, $2, $3, g.id, $5, coalesce($6::jsonb, '{}') from plugin g where g.digest = $4
               on conflict (pipeline_id, hook, position) do update set
                 plugin_id = excluded.plugin_id, settings = excluded.settings,
                 limits = coalesce($6::jsonb, case when b.deleted_at is null then b.limits else '{}' end),
                 deleted_at = null
               returning (xmax = 0) as "created!""#,
            id,
            hook,
            position,
            bind.digest,
            bind.settings,
            bind.limits.map(sqlx::types::Json) as _,
        )
        .fetch_optional(batch.conn())
        .await?;
        Ok(match created {
            Some(true) => Written {
                created: 1,
                ..super::batch::nothing()
            },
            Some(false) => Written {
                updated: 1,
                ..super::batch::nothing()
            },
            None => Written {
                unchanged: 1,
                ..super::batch::nothing()
            },
        })
    }

    /// What a roll back of a binding would bring back: digest, settings and limits.
    pub async fn previous_binding(
        &self,
        pipeline: &str,
        hook: &str,
        position: i32,
    ) -> Result<(String, serde_json::Value, Limits)> {
        let row = sqlx::query!(
            r#"select g.digest as "digest?", b.previous_settings,
                 b.previous_limits as "previous_limits: sqlx::types::Json<Limits>"
               from binding b join pipeline p on p.id = b.pipeline_id
               left join plugin g on g.id = b.previous_plugin_id
               where p.name = $1 and p.deleted_at is null and b.hook = $2 and b.position = $3
                 and b.deleted_at is null"#,
            pipeline,
            hook,
            position,
        )
        .fetch_optional(&self.read)
        .await?
        .ok_or_else(|| unbound(pipeline, hook, position))?;
        match (row.digest, row.previous_settings) {
            (Some(digest), Some(settings)) => {
                let limits = row.previous_limits.map(|limits| limits.0);
                Ok((digest, settings, limits.unwrap_or_default()))
            }
            _ => Err(Refusal::new(
                Kind::Conflict,
                "nothing_before",
                format!("{pipeline}/{hook}/{position} has had one version only: there is none to go back to"),
            )
            .hint("`pointsman plugin list` shows the versions that could be bound instead.")
            .into()),
        }
    }

    /// Takes a binding away.
    pub async fn delete_binding(
        &self,
        batch: &mut Batch,
        pipeline: &str,
        hook: &str,
        position: i32,
    ) -> Result<Written> {
        let id = lock(batch, pipeline).await?;
        let updated = sqlx::query!(
            "update binding set deleted_at = now()
             where pipeline_id = $1 and hook = $2 and position = $3 and deleted_at is null",
            id,
            hook,
            position,
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        if updated == 0 {
            return Err(unbound(pipeline, hook, position));
        }
        Ok(Written {
            updated,
            ..super::batch::nothing()
        })
    }
}

/// Locks the pipeline's row: bindings of one pipeline change one batch after the other.
pub(super) async fn lock(batch: &mut Batch, name: &str) -> Result<i32> {
    sqlx::query_scalar!(
        "select id from pipeline where name = $1 and deleted_at is null for update",
        name
    )
    .fetch_optional(batch.conn())
    .await?
    .ok_or_else(|| unknown(name))
}

pub(super) fn unknown(name: &str) -> crate::error::Error {
    Refusal::new(
        Kind::NotFound,
        "pipeline_unknown",
        format!("there is no pipeline `{}`", super::names::shown(name)),
    )
    .hint("`pointsman pipeline list` shows those there are.")
    .into()
}

fn unbound(pipeline: &str, hook: &str, position: i32) -> crate::error::Error {
    Refusal::new(
        Kind::NotFound,
        "binding_unknown",
        format!(
            "nothing is bound to {}/{}/{position}",
            super::names::shown(pipeline),
            super::names::shown(hook)
        ),
    )
    .hint("`pointsman pipeline show` lists the bindings.")
    .into()
}
