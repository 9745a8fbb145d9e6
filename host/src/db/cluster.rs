//! Clusters, and the kernels on their hosts.

use std::collections::{BTreeMap, BTreeSet};

use pointsman_api::cluster::{Cluster, HostKernel, PutCluster, PutHost};
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use sqlx::{FromRow, QueryBuilder};

use super::distro::{Mark, cut};
use super::{Batch, Db, cursor};
use crate::error::{Kind, Refusal, Result, invalid, not_found};

/// Kernels of one host: more than any package manager keeps.
const MAX_KERNELS: usize = 100;

/// A kernel of a host: distro, version, and whether it runs.
type Installed = (i32, String, bool);

/// What a list of host kernels is filtered by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this cluster.
    pub cluster: Option<String>,
    /// Of clusters of this type.
    pub cluster_type: Option<String>,
    /// Of this host.
    pub host: Option<String>,
    /// Kernels of this distro.
    pub distro: Option<i32>,
    /// Of this version.
    pub version: Option<String>,
    /// In one of these states.
    pub states: Option<Vec<i32>>,
    /// The one it runs, or the others.
    pub current: Option<bool>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    cluster: String,
    cluster_type: String,
    host: String,
    distro_id: i32,
    version: String,
    state_id: i32,
    current: bool,
    generation: i64,
}

impl Db {
    /// One page of clusters, by name.
    pub async fn clusters(
        &self,
        deleted: bool,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Cluster>> {
        let after: Option<String> = after.map(cursor::decode).transpose()?;
        let mut items = sqlx::query_as!(
            Cluster,
            r#"select c.name, t.name as kind,
                 (select count(distinct h.host) from host_kernel h
                  where h.cluster_id = c.id and h.deleted_at is null) as "hosts!",
                 c.deleted_at is not null as "deleted!", c.generation
               from cluster c join cluster_type t on t.id = c.type_id
               where (c.deleted_at is not null) = $1 and ($2::text is null or c.name > $2)
               order by c.name limit $3"#,
            deleted,
            after,
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut items, limit, |c: &Cluster| cursor::encode(&c.name));
        Ok(Page { items, next })
    }

    /// Creates clusters, gives them other types, restores those that were deleted.
    pub async fn put_clusters(
        &self,
        batch: &mut Batch,
        clusters: &[PutCluster],
    ) -> Result<Written> {
        let mut written = super::batch::nothing();
        let sorted: BTreeMap<&str, &PutCluster> =
            clusters.iter().map(|c| (c.name.as_str(), c)).collect();
        for cluster in sorted.into_values() {
            sqlx::query!(
                "insert into cluster_type (name) values ($1) on conflict do nothing",
                cluster.kind
            )
            .execute(batch.conn())
            .await?;
            let created = sqlx::query_scalar!(
                r#"insert into cluster (name, type_id)
                     select $1, t.id from cluster_type t where t.name = $2
                   on conflict (name) do update set type_id = excluded.type_id, deleted_at = null
                   returning (xmax = 0) as "created!""#,
                cluster.name,
                cluster.kind,
            )
            .fetch_optional(batch.conn())
            .await?;
            match created {
                Some(true) => written.created += 1,
                Some(false) => written.updated += 1,
                None => written.unchanged += 1,
            }
        }
        Ok(written)
    }

    /// Marks a cluster as deleted, and what its hosts have with it.
    pub async fn mark_cluster(&self, batch: &mut Batch, name: &str, mark: Mark) -> Result<Written> {
        let id = sqlx::query_scalar!("select id from cluster where name = $1 for update", name)
            .fetch_optional(batch.conn())
            .await?
            .ok_or_else(|| {
                not_found(
                    "cluster_unknown",
                    format!("there is no cluster `{}`", super::names::shown(name)),
                )
            })?;
        let updated = sqlx::query!(
            "update cluster set deleted_at = case when $2 then now() end
             where id = $1 and (deleted_at is not null) <> $2",
            id,
            mark.deleted(),
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        if mark == Mark::Deleted {
            sqlx::query!(
                "update host_kernel set deleted_at = now(), current = false
                 where cluster_id = $1 and deleted_at is null",
                id
            )
            .execute(batch.conn())
            .await?;
        }
        Ok(Written {
            generation: None,
            created: 0,
            updated,
            unchanged: 1 - updated,
            deleted: vec![],
        })
    }

    /// One page of kernels on hosts, in the order in which they were first reported.
    pub async fn host_kernels(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<HostKernel>> {
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        let mut sql = QueryBuilder::new(
            "select h.id, c.name as cluster, t.name as cluster_type, h.host, k.distro_id, k.version, \
             k.state_id, h.current, h.generation from host_kernel h \
             join cluster c on c.id = h.cluster_id join cluster_type t on t.id = c.type_id \
             join kernel_version k on k.id = h.kernel_version_id where h.deleted_at is null",
        );
        if let Some(cluster) = &filter.cluster {
            sql.push(" and c.name = ").push_bind(cluster.clone());
        }
        if let Some(kind) = &filter.cluster_type {
            sql.push(" and t.name = ").push_bind(kind.clone());
        }
        if let Some(host) = &filter.host {
            sql.push(" and h.host = ").push_bind(host.clone());
        }
        if let Some(distro) = filter.distro {
            sql.push(" and k.distro_id = ").push_bind(distro);
        }
        if let Some(version) = &filter.version {
            sql.push(" and k.version = ").push_bind(version.clone());
        }
        if let Some(states) = &filter.states {
            sql.push(" and k.state_id = any(")
                .push_bind(states.clone())
                .push(")");
        }
        if let Some(current) = filter.current {
            sql.push(" and h.current = ").push_bind(current);
        }
        if let Some(after) = after {
            sql.push(" and h.id > ").push_bind(after);
        }
        sql.push(" order by h.id limit ")
            .push_bind(i64::from(limit) + 1);
        let mut rows: Vec<Row> = sql.build_query_as().fetch_all(&self.read).await?;
        let next = cut(&mut rows, limit, |r| cursor::encode(&r.id));
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            items.push(HostKernel {
                cluster: row.cluster,
                cluster_type: row.cluster_type,
                host: row.host,
                distro: self.names.distro(row.distro_id).await?.to_string(),
                version: row.version,
                state: self.names.state(row.state_id).await?.to_string(),
                current: row.current,
                generation: row.generation,
            });
        }
        Ok(Page { items, next })
    }

    /// Records what hosts have: all or none. Kernels not named are taken off the host; versions that
    /// the record does not have are created, as seen.
    pub async fn put_hosts(&self, batch: &mut Batch, hosts: &[PutHost]) -> Result<Written> {
        let mut written = super::batch::nothing();
        let mut versions: BTreeSet<(i32, String)> = BTreeSet::new();
        let mut sorted: BTreeMap<(&str, &str), Vec<Installed>> = BTreeMap::new();
        for (n, host) in hosts.iter().enumerate() {
            if host.kernels.len() > MAX_KERNELS {
                return Err(invalid(
                    "kernels_too_many",
                    format!("/hosts/{n}/kernels"),
                    format!(
                        "{} kernels on one host, at most {MAX_KERNELS} are kept",
                        host.kernels.len()
                    ),
                ));
            }
            if host.kernels.iter().filter(|k| k.current).count() > 1 {
                return Err(invalid(
                    "current_twice",
                    format!("/hosts/{n}/kernels"),
                    "a host runs one kernel at a time: only one can be current",
                ));
            }
            let mut kernels = BTreeMap::new();
            for kernel in &host.kernels {
                let distro = self
                    .names
                    .distro_id(&kernel.distro, &format!("/hosts/{n}/kernels/distro"))
                    .await?;
                versions.insert((distro, kernel.version.clone()));
                // Named twice, it is installed once.
                *kernels
                    .entry((distro, kernel.version.clone()))
                    .or_insert(false) |= kernel.current;
            }
            let kernels = kernels
                .into_iter()
                .map(|((distro, version), current)| (distro, version, current));
            sorted.insert((&host.cluster, &host.host), kernels.collect());
        }
        let (distros, names): (Vec<i32>, Vec<String>) = versions.into_iter().unzip();
        sqlx::query!(
            "insert into kernel_version (distro_id, version, state_id)
             select d, v, (select id from kernel_state order by rank limit 1)
             from unnest($1::int[], $2::text[]) u (d, v)
             on conflict (distro_id, version) do nothing",
            &distros,
            &names,
        )
        .execute(batch.conn())
        .await?;
        for ((cluster, host), kernels) in sorted {
            let cluster_id = sqlx::query_scalar!(
                "select id from cluster where name = $1 and deleted_at is null for update",
                cluster
            )
            .fetch_optional(batch.conn())
            .await?
            .ok_or_else(|| {
                Refusal::new(
                    Kind::NotFound,
                    "cluster_unknown",
                    format!("there is no cluster `{}`", super::names::shown(cluster)),
                )
                .hint("`pointsman cluster add` adds one.")
            })?;
            let distros: Vec<i32> = kernels.iter().map(|k| k.0).collect();
            let versions: Vec<String> = kernels.iter().map(|k| k.1.clone()).collect();
            let current: Vec<bool> = kernels.iter().map(|k| k.2).collect();
            // Taken off first, and no longer current first: a host runs one kernel at any moment.
            let gone = sqlx::query!(
                "update host_kernel h set deleted_at = now(), current = false
                 where h.cluster_id = $1 and h.host = $2 and h.deleted_at is null and not exists (
                   select from unnest($3::int[], $4::text[]) u (d, v)
                   join lateral (select k.id from kernel_version k
                                  where k.distro_id = u.d and k.version = u.v offset 0) k on true
                   where k.id = h.kernel_version_id)",
                cluster_id,
                host,
                &distros,
                &versions,
            )
            .execute(batch.conn())
            .await?
            .rows_affected();
            let was_current = sqlx::query!(
                "update host_kernel h set current = false
                 where h.cluster_id = $1 and h.host = $2 and h.current and not exists (
                   select from unnest($3::int[], $4::text[], $5::bool[]) u (d, v, c)
                   join lateral (select k.id from kernel_version k
                                  where k.distro_id = u.d and k.version = u.v offset 0) k on true
                   where k.id = h.kernel_version_id and u.c)",
                cluster_id,
                host,
                &distros,
                &versions,
                &current,
            )
            .execute(batch.conn())
            .await?
            .rows_affected();
            let created: Vec<bool> = sqlx::query_scalar!(
                r#"insert into host_kernel as h (cluster_id, host, kernel_version_id, current)
                   select $1, $2, k.id, u.c
                   from unnest($3::int[], $4::text[], $5::bool[]) u (d, v, c)
                   join lateral (select k.id from kernel_version k
                                  where k.distro_id = u.d and k.version = u.v offset 0) k on true
                   on conflict (cluster_id, host, kernel_version_id) do update set
                     current = excluded.current, deleted_at = null
                   returning (xmax = 0) as "created!""#,
                cluster_id,
                host,
                &distros,
                &versions,
                &current,
            )
            .fetch_all(batch.conn())
            .await?;
            let new = created.iter().filter(|c| **c).count() as u64;
            written.created += new;
            written.updated += gone + created.len() as u64 - new;
            written.unchanged += (kernels.len() as u64)
                .saturating_sub(created.len() as u64)
                .saturating_sub(was_current);
            written.updated += was_current;
        }
        Ok(written)
    }
}
