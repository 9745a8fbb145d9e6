//! Writing kernel versions, in batches.

use std::collections::{BTreeMap, HashMap};

use pointsman_api::generation::Written;
use pointsman_api::kernel::{NewKernel, SetKernel};

use super::{Batch, Db, kernel};
use crate::error::{Kind, Refusal, Result, invalid};

/// Packages of one version: image, headers, modules and their shared parts.
const MAX_PACKAGES: usize = 16;
/// Names of deleted rows in a reply.
const MAX_NAMED: usize = 100;

/// Columns of the rows to insert, in the order of their keys, so that two batches over the same rows
/// lock them in the same order and never deadlock.
#[derive(Default)]
struct Columns {
    distro: Vec<i32>,
    version: Vec<String>,
    state: Vec<i32>,
    missing: Vec<String>,
    packages: Vec<serde_json::Value>,
}

impl Db {
    async fn columns(&self, kernels: Vec<NewKernel>) -> Result<Columns> {
        let mut distros: HashMap<String, i32> = HashMap::new();
        let mut states: HashMap<String, i32> = HashMap::new();
        let first_state = match self.names.states().await?.first() {
            Some(state) => state.id,
            None => {
                return Err(invalid(
                    "state_unknown",
                    "state",
                    "the record has no states",
                ));
            }
        };
        let mut rows = Vec::with_capacity(kernels.len());
        for (n, kernel) in kernels.into_iter().enumerate() {
            let distro = match distros.get(&kernel.distro) {
                Some(id) => *id,
                None => {
                    let field = format!("/kernels/{n}/distro");
                    let id = self.names.distro_id(&kernel.distro, &field).await?;
                    *distros.entry(kernel.distro.clone()).or_insert(id)
                }
            };
            let state = match &kernel.state {
                None => first_state,
                Some(name) => match states.get(name) {
                    Some(id) => *id,
                    None => {
                        let id = self
                            .names
                            .state_id(name, &format!("/kernels/{n}/state"))
                            .await?;
                        *states.entry(name.clone()).or_insert(id)
                    }
                },
            };
            check(n, &kernel)?;
            rows.push((distro, state, kernel));
        }
        rows.sort_by(|a, b| (a.0, &a.2.version).cmp(&(b.0, &b.2.version)));
        // The same version twice in one batch is one version; the last word counts.
        rows.reverse();
        rows.dedup_by(|a, b| a.0 == b.0 && a.2.version == b.2.version);
        rows.reverse();
        let mut columns = Columns::default();
        for (distro, state, mut kernel) in rows {
            kernel.missing.sort();
            kernel
                .packages
                .sort_by(|a, b| (&b.role, &a.name).cmp(&(&a.role, &b.name)));
            columns.distro.push(distro);
            columns.version.push(kernel.version);
            columns.state.push(state);
            columns.missing.push(kernel.missing.join(","));
            columns.packages.push(match kernel.packages.is_empty() {
                true => serde_json::Value::Array(vec![]),
                false => serde_json::to_value(kernel.packages).map_err(anyhow::Error::from)?,
            });
        }
        Ok(columns)
    }

    /// Creates the versions that are not there; those that are stay as they are.
    pub async fn create_kernels(
        &self,
        batch: &mut Batch,
        kernels: Vec<NewKernel>,
    ) -> Result<Written> {
        let given = kernels.len() as u64;
        let rows = self.columns(kernels).await?;
        let created = if rows
            .packages
            .iter()
            .all(|p| p.as_array().is_some_and(Vec::is_empty))
            && rows.missing.iter().all(String::is_empty)
        {
            // By far the most frequent batch: names alone, with nothing to parse per row.
            sqlx::query!(
                "insert into kernel_version (distro_id, version, state_id)
                 select * from unnest($1::int[], $2::text[], $3::int[])
                 on conflict (distro_id, version) do nothing",
                &rows.distro,
                &rows.version,
                &rows.state,
            )
            .execute(batch.conn())
            .await?
            .rows_affected()
        } else {
            sqlx::query!(
                "insert into kernel_version (distro_id, version, state_id, missing, packages)
                 select d, v, s, string_to_array(m, ','), p
                 from unnest($1::int[], $2::text[], $3::int[], $4::text[], $5::jsonb[]) u (d, v, s, m, p)
                 on conflict (distro_id, version) do nothing",
                &rows.distro,
                &rows.version,
                &rows.state,
                &rows.missing,
                &rows.packages,
            )
            .execute(batch.conn())
            .await?
            .rows_affected()
        };
        let deleted = if created < given {
            deleted(batch, &rows).await?
        } else {
            vec![]
        };
        Ok(Written {
            generation: None,
            created,
            updated: 0,
            unchanged: given - created,
            deleted,
        })
    }

    /// As [`Db::create_kernels`], and brings packages up to date where the version exists.
    ///
    /// Packages of a role that this detection did not find are kept, so that an index that lacks
    /// them, for a day or for good, never makes a complete version incomplete.
    pub async fn detect_kernels(
        &self,
        batch: &mut Batch,
        kernels: Vec<NewKernel>,
    ) -> Result<Written> {
        let given = kernels.len() as u64;
        let rows = self.columns(kernels).await?;
        let created: Vec<bool> = sqlx::query_scalar!(
            r#"insert into kernel_version as k (distro_id, version, state_id, missing, packages)
               select d, v, s, string_to_array(m, ','), p
               from unnest($1::int[], $2::text[], $3::int[], $4::text[], $5::jsonb[]) u (d, v, s, m, p)
               on conflict (distro_id, version) do update set
                 packages = (
                   select coalesce(jsonb_agg(p order by p->>'role' collate "C" desc, p->>'name' collate "C"), '[]')
                   from (
                     select p from jsonb_array_elements(excluded.packages) p
                     union all
                     select p from jsonb_array_elements(k.packages) p
                     where p->>'role' not in
                       (select e->>'role' from jsonb_array_elements(excluded.packages) e)
                   ) merged),
                 missing = array(
                   select m from unnest(excluded.missing) m
                   where m not in (select e->>'role' from jsonb_array_elements(k.packages) e))
               where k.deleted_at is null
               returning (xmax = 0) as "created!""#,
            &rows.distro,
            &rows.version,
            &rows.state,
            &rows.missing,
            &rows.packages,
        )
        .fetch_all(batch.conn())
        .await?;
        let written = created.len() as u64;
        let created = created.into_iter().filter(|c| *c).count() as u64;
        let deleted = if written < given {
            deleted(batch, &rows).await?
        } else {
            vec![]
        };
        Ok(Written {
            generation: None,
            created,
            updated: written - created,
            unchanged: given - written,
            deleted,
        })
    }

    /// Moves versions to states: all or none. `expected` is the generation that one version must
    /// still have.
    pub async fn set_kernels(
        &self,
        batch: &mut Batch,
        kernels: &[SetKernel],
        expected: Option<i64>,
    ) -> Result<Written> {
        let mut wanted: BTreeMap<(i32, &str), i32> = BTreeMap::new();
        for (n, kernel) in kernels.iter().enumerate() {
            let distro = self
                .names
                .distro_id(&kernel.distro, &format!("/kernels/{n}/distro"))
                .await?;
            let state = self
                .names
                .state_id(&kernel.state, &format!("/kernels/{n}/state"))
                .await?;
            wanted.insert((distro, &kernel.version), state);
        }
        let distros: Vec<i32> = wanted.keys().map(|k| k.0).collect();
        let versions: Vec<String> = wanted.keys().map(|k| k.1.to_owned()).collect();
        let states: Vec<i32> = wanted.values().copied().collect();
        let found = sqlx::query!(
            r#"select k.id, k.distro_id, k.version, k.generation
               from unnest($1::int[], $2::text[]) u (d, v)
               join lateral (select k.id from kernel_version k
                              where k.distro_id = u.d and k.version = u.v offset 0) found on true
               join kernel_version k using (id)
               where k.deleted_at is null
               order by k.distro_id, k.version for no key update of k"#,
            &distros,
            &versions,
        )
        .fetch_all(batch.conn())
        .await?;
        if found.len() < wanted.len() {
            let known: std::collections::HashSet<(i32, &str)> = found
                .iter()
                .map(|r| (r.distro_id, r.version.as_str()))
                .collect();
            if let Some(missing) = kernels.iter().find(|k| {
                !wanted
                    .keys()
                    .any(|w| w.1 == k.version && known.contains(&(w.0, w.1)))
            }) {
                return Err(kernel::unknown(&missing.distro, &missing.version));
            }
            let missing = wanted.keys().find(|w| !known.contains(&(w.0, w.1)));
            if let Some((distro, version)) = missing {
                return Err(kernel::unknown(&self.names.distro(*distro).await?, version));
            }
        }
        if let (Some(expected), Some(row)) = (expected, found.first()) {
            expect(expected, row.generation)?;
        }
        let updated = sqlx::query!(
            "update kernel_version k set state_id = u.s
             from unnest($1::int[], $2::text[], $3::int[]) u (d, v, s)
             join lateral (select k.id from kernel_version k
                            where k.distro_id = u.d and k.version = u.v offset 0) found on true
             where k.id = found.id and k.deleted_at is null and k.state_id <> u.s",
            &distros,
            &versions,
            &states,
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        Ok(Written {
            generation: None,
            created: 0,
            updated,
            unchanged: wanted.len() as u64 - updated,
            deleted: vec![],
        })
    }

    /// Marks a version as deleted, or takes the mark away.
    pub async fn mark_kernel(
        &self,
        batch: &mut Batch,
        distro: &str,
        version: &str,
        mark: super::distro::Mark,
        expected: Option<i64>,
    ) -> Result<Written> {
        let distro_id = self.names.distro_id(distro, "distro").await?;
        let row = sqlx::query!(
            "select id, generation from kernel_version where distro_id = $1 and version = $2 for no key update",
            distro_id,
            version,
        )
        .fetch_optional(batch.conn())
        .await?
        .ok_or_else(|| kernel::unknown(distro, version))?;
        if let Some(expected) = expected {
            expect(expected, row.generation)?;
        }
        let updated = sqlx::query!(
            "update kernel_version set deleted_at = case when $2 then now() end
             where id = $1 and (deleted_at is not null) <> $2",
            row.id,
            mark.deleted(),
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        Ok(Written {
            generation: None,
            created: 0,
            updated,
            unchanged: 1 - updated,
            deleted: vec![],
        })
    }
}

/// Refuses a change of what has changed since the caller saw it.
pub(super) fn expect(expected: i64, actual: i64) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(Refusal::new(
        Kind::Precondition,
        "generation_mismatch",
        format!("it was last changed by generation {actual}, not {expected}"),
    )
    .hint("Read it again, and decide again.")
    .into())
}

fn check(n: usize, kernel: &NewKernel) -> Result<()> {
    let version = kernel.version.as_bytes();
    let sound = matches!(version.first(), Some(c) if c.is_ascii_alphanumeric())
        && version.len() <= 128
        && version
            .iter()
            .all(|c| (b'!'..=b'~').contains(c) && *c != b'/');
    if !sound {
        return Err(Refusal::new(
            Kind::Invalid,
            "version_malformed",
            format!("`{}` is not a kernel version", super::names::shown(&kernel.version)),
        )
        .field(format!("/kernels/{n}/version"))
        .hint("A version begins with a letter or digit and has at most 128 printable ASCII characters, none of them a space or a slash.")
        .into());
    }
    if kernel.packages.len() > MAX_PACKAGES {
        return Err(invalid(
            "packages_too_many",
            format!("/kernels/{n}/packages"),
            format!(
                "{} packages, at most {MAX_PACKAGES} are kept",
                kernel.packages.len()
            ),
        ));
    }
    for package in &kernel.packages {
        let long = [
            &package.name,
            &package.version,
            &package.arch,
            &package.archive,
            &package.filename,
            &package.sha256,
            &package.role,
        ]
        .iter()
        .any(|text| text.len() > 512 || text.contains('\0'));
        if long {
            return Err(invalid(
                "package_invalid",
                format!("/kernels/{n}/packages"),
                "a package's field is longer than 512 bytes or holds a NUL byte",
            ));
        }
    }
    if let Some(what) = kernel
        .missing
        .iter()
        .find(|m| !matches!(m.as_str(), "image" | "headers"))
    {
        return Err(invalid(
            "missing_unknown",
            format!("/kernels/{n}/missing"),
            format!(
                "`{}` cannot be missing: it is `image` or `headers`",
                super::names::shown(what)
            ),
        ));
    }
    Ok(())
}

async fn deleted(batch: &mut Batch, rows: &Columns) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"select d.name || '/' || k.version as "name!"
           from unnest($1::int[], $2::text[]) u (d, v)
           join lateral (
             select k.version from kernel_version k
             where k.distro_id = u.d and k.version = u.v and k.deleted_at is not null offset 0) k on true
           join distro d on d.id = u.d
           order by u.d, k.version limit $3"#,
        &rows.distro,
        &rows.version,
        MAX_NAMED as i64,
    )
    .fetch_all(batch.conn())
    .await?)
}
