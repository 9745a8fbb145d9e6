//! Runs: reported from outside or made by our own jobs (`runs`), one row per run.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use pointsman_api::run::{ReportRun, Run, Verdict};
use sqlx::{FromRow, QueryBuilder};

use super::{Actor, Batch, Db, cursor, distro::cut, kernel, lane::held};
use crate::error::{Error, Result, invalid, not_found};

/// What a list of runs is filtered by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this distro.
    pub distro: Option<i32>,
    /// Of this version.
    pub version: Option<String>,
    /// For this purpose.
    pub purpose: Option<String>,
    /// Of this product release.
    pub release: Option<String>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    distro_id: i32,
    version: String,
    purpose: String,
    release: String,
    verdict: Option<String>,
    comment: String,
    link: Option<String>,
    key: Option<String>,
    reported_by: String,
    at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    pipeline: Option<String>,
    decision_id: Option<i64>,
    held_code: Option<String>,
    held_text: Option<String>,
    generation: i64,
}

const COLUMNS: &str = "select r.id, k.distro_id, k.version, r.purpose, r.release, r.verdict, r.comment, \
    r.link, r.key, r.reported_by, r.at, r.ended_at, p.name as pipeline, r.decision_id, r.held_code, r.held_text, \
    r.generation from run r join kernel_version k on k.id = r.kernel_version_id \
    left join pipeline p on p.id = r.pipeline_id where r.deleted_at is null";

impl Db {
    /// One page of runs, newest first.
    pub async fn runs(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Run>> {
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        let mut sql = QueryBuilder::new(COLUMNS);
        if let Some(distro) = filter.distro {
            sql.push(" and k.distro_id = ").push_bind(distro);
        }
        if let Some(version) = &filter.version {
            sql.push(" and k.version = ").push_bind(version.clone());
        }
        if let Some(purpose) = &filter.purpose {
            sql.push(" and r.purpose = ").push_bind(purpose.clone());
        }
        if let Some(release) = &filter.release {
            sql.push(" and r.release = ").push_bind(release.clone());
        }
        if let Some(verdict) = filter.verdict {
            sql.push(" and r.verdict = ")
                .push_bind(verdict_name(verdict));
        }
        if let Some(after) = after {
            sql.push(" and r.id < ").push_bind(after);
        }
        sql.push(" order by r.id desc limit ")
            .push_bind(i64::from(limit) + 1);
        let mut rows: Vec<Row> = sql.build_query_as().fetch_all(&self.read).await?;
        let next = cut(&mut rows, limit, |r| cursor::encode(&r.id));
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            items.push(self.run_shape(row).await?);
        }
        Ok(Page { items, next })
    }

    /// One run, with the jobs of one of our own.
    pub async fn run(&self, id: i64) -> Result<Run> {
        let mut sql = QueryBuilder::new(COLUMNS);
        sql.push(" and r.id = ").push_bind(id);
        let row: Row = sql
            .build_query_as()
            .fetch_optional(&self.read)
            .await?
            .ok_or_else(|| not_found("run_unknown", format!("there is no run {id}")))?;
        let mut run = self.run_shape(row).await?;
        if run.pipeline.is_some() {
            run.jobs = Some(self.shown_jobs(None, Some(id)).await?);
        }
        Ok(run)
    }

    async fn run_shape(&self, row: Row) -> Result<Run> {
        Ok(Run {
            id: row.id,
            distro: self.names.distro(row.distro_id).await?.to_string(),
            version: row.version,
            purpose: row.purpose,
            release: row.release,
            verdict: row.verdict.as_deref().map(verdict_of).transpose()?,
            comment: row.comment,
            link: row.link,
            key: row.key,
            reported_by: row.reported_by,
            at: row.at,
            ended_at: row.ended_at,
            pipeline: row.pipeline,
            decision: row.decision_id,
            held: held(row.held_code, row.held_text),
            jobs: None,
            generation: row.generation,
        })
    }

    /// Reports runs: all or none. A run with a key that is there is updated, and a verdict once given
    /// is not taken back by a late "it has begun".
    pub async fn report_runs(
        &self,
        batch: &mut Batch,
        actor: &Actor,
        runs: Vec<ReportRun>,
    ) -> Result<Written> {
        let given = runs.len() as u64;
        let mut distros: HashMap<String, i32> = HashMap::new();
        // One row per key, the last word counts; runs without a key are all new.
        let mut keyed: HashMap<(i32, String, String, String, String), ReportRun> = HashMap::new();
        let mut rows = Vec::new();
        for (n, run) in runs.into_iter().enumerate() {
            check(n, &run)?;
            let distro = match distros.get(&run.distro) {
                Some(id) => *id,
                None => {
                    let id = self
                        .names
                        .distro_id(&run.distro, &format!("/runs/{n}/distro"))
                        .await?;
                    *distros.entry(run.distro.clone()).or_insert(id)
                }
            };
            match run.key.clone() {
                Some(key) => {
                    keyed.insert(
                        (
                            distro,
                            run.version.clone(),
                            run.purpose.clone(),
                            run.release.clone(),
                            key,
                        ),
                        run,
                    );
                }
                None => rows.push((distro, run)),
            }
        }
        rows.extend(keyed.into_iter().map(|(key, run)| (key.0, run)));
        rows.sort_by(|a, b| {
            (a.0, &a.1.version, &a.1.purpose, &a.1.release, &a.1.key).cmp(&(
                b.0,
                &b.1.version,
                &b.1.purpose,
                &b.1.release,
                &b.1.key,
            ))
        });
        let distro_ids: Vec<i32> = rows.iter().map(|r| r.0).collect();
        let versions: Vec<String> = rows.iter().map(|r| r.1.version.clone()).collect();
        let found = sqlx::query!(
            r#"select u.n as "n!", k.id as "id?"
               from unnest($1::int[], $2::text[]) with ordinality u (d, v, n)
               left join lateral (
                 select k.id from kernel_version k
                 where k.distro_id = u.d and k.version = u.v and k.deleted_at is null offset 0) k on true
               order by u.n"#,
            &distro_ids,
            &versions,
        )
        .fetch_all(batch.conn())
        .await?;
        let mut kernels = Vec::with_capacity(rows.len());
        for (row, (_, run)) in found.iter().zip(&rows) {
            kernels.push(
                row.id
                    .ok_or_else(|| kernel::unknown(&run.distro, &run.version))?,
            );
        }
        let column =
            |f: fn(&ReportRun) -> String| rows.iter().map(|r| f(&r.1)).collect::<Vec<String>>();
        let verdicts: Vec<Option<String>> = rows
            .iter()
            .map(|r| r.1.verdict.map(|v| verdict_name(v).to_owned()))
            .collect();
        let links: Vec<Option<String>> = rows.iter().map(|r| r.1.link.clone()).collect();
        let keys: Vec<Option<String>> = rows.iter().map(|r| r.1.key.clone()).collect();
        let created: Vec<bool> = sqlx::query_scalar!(
            r#"insert into run as r (kernel_version_id, purpose, release, verdict, comment, link, key, reported_by)
               select k, p, rel, v, c, l, key, $8
               from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
                 u (k, p, rel, v, c, l, key)
               on conflict (kernel_version_id, purpose, release, key) do update set
                 verdict = coalesce(excluded.verdict, r.verdict),
                 comment = case when excluded.comment = '' then r.comment else excluded.comment end,
                 link = coalesce(excluded.link, r.link)
               returning (xmax = 0) as "created!""#,
            &kernels,
            &column(|r| r.purpose.clone()),
            &column(|r| r.release.clone()),
            &verdicts as &[Option<String>],
            &column(|r| r.comment.clone()),
            &links as &[Option<String>],
            &keys as &[Option<String>],
            actor.user,
        )
        .fetch_all(batch.conn())
        .await?;
        let written = created.len() as u64;
        let created = created.into_iter().filter(|c| *c).count() as u64;
        Ok(Written {
            generation: None,
            created,
            updated: written - created,
            unchanged: given - written,
            deleted: vec![],
        })
    }
}

fn check(n: usize, run: &ReportRun) -> Result<()> {
    if let Some(link) = &run.link {
        let sound = url::Url::parse(link).is_ok_and(|u| matches!(u.scheme(), "http" | "https"));
        if !sound {
            return Err(invalid(
                "link_invalid",
                format!("/runs/{n}/link"),
                "a link is a whole http or https address",
            ));
        }
    }
    if run.comment.contains('\0') {
        return Err(invalid(
            "text_invalid",
            format!("/runs/{n}/comment"),
            "the comment holds a NUL byte",
        ));
    }
    Ok(())
}

pub(super) fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "inconclusive",
    }
}

pub(super) fn verdict_of(name: &str) -> Result<Verdict> {
    match name {
        "pass" => Ok(Verdict::Pass),
        "fail" => Ok(Verdict::Fail),
        "inconclusive" => Ok(Verdict::Inconclusive),
        other => Err(Error::Internal(anyhow::anyhow!(
            "verdict `{other}` in the database"
        ))),
    }
}
