//! What the hooks are told: versions, runs, hosts, patterns, distros.

use chrono::{DateTime, Utc};

use super::super::Db;
use crate::error::Result;
use crate::plan;

impl Db {
    /// What the `ignore` hook is told about versions, by distro and id.
    pub async fn ignore_subjects(&self, ids: &[i64]) -> Result<Vec<plan::Version>> {
        Ok(sqlx::query_as!(
            plan::Version,
            r#"select k.id, k.distro_id as distro, k.version as name, k.first_seen,
                 (select count(distinct (h.cluster_id, h.host)) from host_kernel h
                  where h.kernel_version_id = k.id and h.deleted_at is null) as "hosts!",
                 k.deleted_at is not null as "deleted!",
                 i.scope as "scope?", i.ignore_id as "ignore?", i.reason_text as "reason?"
               from unnest($1::bigint[]) u (id) join kernel_version k using (id)
               left join kernel_ignored i on i.kernel_version_id = k.id
               order by k.distro_id, k.id"#,
            ids,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// What the `advance` hook is told about versions, by distro and id.
    pub async fn advance_subjects(&self, ids: &[i64]) -> Result<Vec<plan::Kernel>> {
        let rows = sqlx::query!(
            r#"select k.id, k.distro_id as distro, k.version, s.name as stage, k.state_id, k.state_since,
                 k.state_by_person, k.missing, i.scope as "scope?",
                 w.purpose as "wanted?", w.priority as "priority?", q.purpose as "requested?"
               from unnest($1::bigint[]) u (id) join kernel_version k using (id)
               join kernel_state s on s.id = k.state_id
               left join kernel_ignored i on i.kernel_version_id = k.id
               left join kernel_wanted w on w.kernel_version_id = k.id and w.release = ''
               left join kernel_request q on q.kernel_version_id = k.id and q.release = '' and q.ended_at is null
               where k.deleted_at is null
               order by k.distro_id, k.id"#,
            ids,
        )
        .fetch_all(&self.read)
        .await?;
        let runs = sqlx::query!(
            r#"select u.id as "id!", r.purpose, r.release, r.verdict, r.at as "at!", r.n as "n!"
               from unnest($1::bigint[]) u (id) cross join lateral (
                 select distinct on (purpose) purpose, release, verdict, coalesce(ended_at, at) as at,
                   count(*) over (partition by purpose) as n
                 from run where kernel_version_id = u.id and deleted_at is null
                   -- What the host called off says nothing, unless somebody gave it another verdict.
                   and not (called_off and verdict = 'inconclusive')
                   and (verdict is null or coalesce(ended_at, at) >= coalesce(
                     (select judged_at from kernel_version where id = u.id), '-infinity'))
                 order by purpose, run.id desc) r"#,
            ids,
        )
        .fetch_all(&self.read)
        .await?;
        let hosts = sqlx::query!(
            r#"select h.kernel_version_id as id, t.name as kind, count(distinct (h.cluster_id, h.host)) as "hosts!"
               from host_kernel h join cluster c on c.id = h.cluster_id join cluster_type t on t.id = c.type_id
               where h.kernel_version_id = any($1) and h.deleted_at is null
               group by 1, 2 order by 1, 2"#,
            ids,
        )
        .fetch_all(&self.read)
        .await?;
        let mut kernels: Vec<plan::Kernel> = rows
            .into_iter()
            .map(|r| plan::Kernel {
                id: r.id,
                distro: r.distro,
                version: r.version,
                stage: r.stage,
                state: r.state_id,
                since: r.state_since,
                by_person: r.state_by_person,
                missing: r.missing,
                ignored: r.scope,
                requested: r.requested,
                wanted: r.wanted.zip(r.priority),
                tried: vec![],
                hosts: vec![],
            })
            .collect();
        let by_id: std::collections::HashMap<i64, usize> =
            kernels.iter().enumerate().map(|(n, k)| (k.id, n)).collect();
        for run in runs {
            if let Some(n) = by_id.get(&run.id) {
                kernels[*n].tried.push(plan::Tried {
                    purpose: run.purpose,
                    release: run.release,
                    verdict: run.verdict,
                    at: run.at,
                    runs: run.n,
                });
            }
        }
        for host in hosts {
            if let Some(n) = by_id.get(&host.id) {
                kernels[*n].hosts.push((host.kind, host.hosts));
            }
        }
        Ok(kernels)
    }

    /// Patterns in force at `at`, by id. `distro` takes those of that distro and those for all.
    pub async fn rules(&self, distro: i32, at: DateTime<Utc>) -> Result<Vec<plan::Rule>> {
        Ok(sqlx::query_as!(
            plan::Rule,
            "select id, kind, pattern, reason, expires from kernel_ignore
             where deleted_at is null and (distro_id is null or distro_id = $1)
               and (expires is null or expires > $2)
             order by id",
            distro,
            at,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Patterns that have expired and still ignore something, and when the next one expires.
    pub async fn expired_rules(&self) -> Result<(Vec<i64>, Option<DateTime<Utc>>)> {
        let expired = sqlx::query_scalar!(
            "select id from kernel_ignore r
             where expires <= now() and exists (select from kernel_ignored i where i.ignore_id = r.id)
               and not exists (select from sweep s where s.ignore_id = r.id)"
        )
        .fetch_all(&self.read)
        .await?;
        let next = sqlx::query_scalar!(
            "select min(expires) from kernel_ignore where deleted_at is null and expires > now()"
        )
        .fetch_one(&self.read)
        .await?;
        Ok((expired, next))
    }

    /// One pattern by its event's name (`all like 6.5.%`), or by id.
    pub async fn rule_by_name(&self, name: &str) -> Result<Option<(i64, Option<i32>)>> {
        let mut parts = name.splitn(3, ' ');
        let (Some(distro), Some(kind), Some(pattern)) = (parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let row = sqlx::query!(
            "select r.id, r.distro_id from kernel_ignore r left join distro d on d.id = r.distro_id
             where coalesce(d.name, 'all') = $1 and r.kind = $2 and r.pattern = $3",
            distro,
            kind,
            pattern,
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(row.map(|r| (r.id, r.distro_id)))
    }

    /// Kind, pattern and distro of a rule, whether it is in force or not.
    pub async fn rule(&self, id: i64) -> Result<Option<(String, String, Option<i32>)>> {
        let row = sqlx::query!(
            "select kind, pattern, distro_id from kernel_ignore where id = $1",
            id
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(row.map(|r| (r.kind, r.pattern, r.distro_id)))
    }

    /// What the hooks are told about a distro.
    pub async fn distro_attrs(&self, id: i32) -> Result<(String, String, bool)> {
        let row = sqlx::query!(
            r#"select name, variant, supported and deleted_at is null as "supported!" from distro where id = $1"#,
            id
        )
        .fetch_one(&self.read)
        .await?;
        Ok((row.name, row.variant, row.supported))
    }

    /// The stages of a kernel version, by rank.
    pub async fn stages(&self) -> Result<Vec<plan::Stage>> {
        Ok(sqlx::query_as!(
            plan::Stage,
            "select id, name, rank, moved_by from kernel_state order by rank"
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Names of a distro's versions that nothing is open about, at most `limit`, newest first.
    pub async fn settled(&self, distro: i32, limit: i64) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            "select k.version from kernel_version k
             where k.distro_id = $1 and k.deleted_at is null and k.state_id in (
               select id from kernel_state
               where rank >= (select max(rank) from kernel_state where moved_by = 'policy'))
             order by k.version desc limit $2",
            distro,
            limit,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// The newest runs of a version, newest first; none where there is no such version.
    pub async fn runs_of(
        &self,
        distro: i32,
        version: &str,
        limit: i64,
    ) -> Result<Option<Vec<serde_json::Value>>> {
        let Some(id) = sqlx::query_scalar!(
            "select id from kernel_version
             where distro_id = $1 and version = $2 and deleted_at is null",
            distro,
            version,
        )
        .fetch_optional(&self.read)
        .await?
        else {
            return Ok(None);
        };
        let runs = sqlx::query_scalar!(
            r#"select jsonb_build_object('purpose', purpose, 'track', release, 'verdict', verdict,
                 'at', to_char(coalesce(ended_at, at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                 'comment', comment, 'link', link) as "run!"
               from run where kernel_version_id = $1 and deleted_at is null order by id desc limit $2"#,
            id,
            limit,
        )
        .fetch_all(&self.read)
        .await?;
        Ok(Some(runs))
    }

    /// Names of a distro's versions in a state, in the order of their names; none where there is no
    /// such state.
    pub async fn versions_in(
        &self,
        distro: i32,
        state: &str,
        limit: i64,
    ) -> Result<Option<Vec<String>>> {
        let Some(state) = sqlx::query_scalar!("select id from kernel_state where name = $1", state)
            .fetch_optional(&self.read)
            .await?
        else {
            return Ok(None);
        };
        let names = sqlx::query_scalar!(
            "select version from kernel_version
             where state_id = $1 and distro_id = $2 and deleted_at is null order by version limit $3",
            state,
            distro,
            limit,
        )
        .fetch_all(&self.read)
        .await?;
        Ok(Some(names))
    }
}
