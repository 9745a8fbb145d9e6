//! Ignore patterns: validated when they are saved, so that no plugin ever meets a broken one.

use pointsman_api::generation::Written;
use pointsman_api::ignore::{Ignore, NewIgnore, PatternKind};
use pointsman_api::page::Page;
use pointsman_patterns::{Kind as Reading, Pattern};

use super::{Batch, Db, cursor, distro::cut};
use crate::error::{Error, Kind, Refusal, Result, not_found};

impl Db {
    /// One page of patterns, by id. `distro` takes those of that distro and those for all.
    pub async fn ignores(
        &self,
        distro: Option<i32>,
        deleted: bool,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Ignore>> {
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        let mut rows = sqlx::query!(
            r#"select r.id, d.name as "distro?", r.kind, r.pattern, r.reason, r.expires,
                 (select count(*) from kernel_ignored i where i.ignore_id = r.id) as "versions!",
                 r.deleted_at is not null as "deleted!", r.generation
               from kernel_ignore r left join distro d on d.id = r.distro_id
               where (r.deleted_at is not null) = $1
                 and ($2::int is null or r.distro_id = $2 or r.distro_id is null)
                 and r.id > $3
               order by r.id limit $4"#,
            deleted,
            distro,
            after.unwrap_or(0),
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut rows, limit, |r| cursor::encode(&r.id));
        let items = rows
            .into_iter()
            .map(|r| Ignore {
                id: r.id,
                distro: r.distro,
                kind: if r.kind == "like" {
                    PatternKind::Like
                } else {
                    PatternKind::Regex
                },
                pattern: r.pattern,
                reason: r.reason,
                expires: r.expires,
                versions: r.versions,
                deleted: r.deleted,
                generation: r.generation,
            })
            .collect();
        Ok(Page { items, next })
    }

    /// Saves patterns: all or none. Gives their ids in the order of the request.
    pub async fn put_ignores(
        &self,
        batch: &mut Batch,
        ignores: &[NewIgnore],
    ) -> Result<(Written, Vec<i64>)> {
        let mut written = super::batch::nothing();
        let mut rows = Vec::with_capacity(ignores.len());
        for (n, ignore) in ignores.iter().enumerate() {
            let kind = check(n, ignore)?;
            let distro = match &ignore.distro {
                Some(name) => Some(
                    self.names
                        .distro_id(name, &format!("/ignores/{n}/distro"))
                        .await?,
                ),
                None => None,
            };
            rows.push((distro, kind.as_str(), n, ignore));
        }
        // In the order of their keys, so that two batches over the same patterns never deadlock.
        rows.sort_by_key(|(distro, kind, n, ignore)| (*distro, *kind, ignore.pattern.as_str(), *n));
        let mut ids = vec![0; ignores.len()];
        for (distro, kind, n, ignore) in rows {
            let row = sqlx::query!(
                r#"insert into kernel_ignore as r (distro_id, kind, pattern, reason, expires)
                   values ($1, $2, $3, $4, $5)
                   on conflict (distro_id, kind, pattern) do update set
                     reason = excluded.reason, expires = excluded.expires, deleted_at = null
                   returning id, (xmax = 0) as "created!""#,
                distro,
                kind,
                ignore.pattern,
                ignore.reason,
                ignore.expires,
            )
            .fetch_optional(batch.conn())
            .await?;
            ids[n] = match row {
                Some(row) => {
                    match row.created {
                        true => written.created += 1,
                        false => written.updated += 1,
                    }
                    row.id
                }
                // The row trigger dropped an update that changes nothing.
                None => {
                    written.unchanged += 1;
                    sqlx::query_scalar!(
                        "select id from kernel_ignore
                         where distro_id is not distinct from $1 and kind = $2 and pattern = $3",
                        distro,
                        kind,
                        ignore.pattern,
                    )
                    .fetch_one(batch.conn())
                    .await?
                }
            };
        }
        Ok((written, ids))
    }

    /// Marks a pattern as deleted.
    pub async fn delete_ignore(&self, batch: &mut Batch, id: i64) -> Result<Written> {
        let row = sqlx::query!(
            "select deleted_at from kernel_ignore where id = $1 for update",
            id
        )
        .fetch_optional(batch.conn())
        .await?
        .ok_or_else(|| not_found("ignore_unknown", format!("there is no ignore pattern {id}")))?;
        if row.deleted_at.is_some() {
            return Ok(Written {
                generation: None,
                created: 0,
                updated: 0,
                unchanged: 1,
                deleted: vec![],
            });
        }
        sqlx::query!(
            "update kernel_ignore set deleted_at = now() where id = $1",
            id
        )
        .execute(batch.conn())
        .await?;
        Ok(Written {
            generation: None,
            created: 0,
            updated: 1,
            unchanged: 0,
            deleted: vec![],
        })
    }
}

fn check(n: usize, ignore: &NewIgnore) -> Result<Reading> {
    let kind = match ignore.kind {
        PatternKind::Like => Reading::Like,
        PatternKind::Regex => Reading::Regex,
    };
    if let Err(error) = Pattern::parse(kind, &ignore.pattern) {
        return Err(pattern_invalid(&error, format!("/ignores/{n}/pattern")));
    }
    if ignore.reason.trim().is_empty() || ignore.reason.contains('\0') {
        return Err(
            Refusal::new(Kind::Invalid, "reason_missing", "a pattern needs a reason")
                .field(format!("/ignores/{n}/reason"))
                .hint("Say why these versions need no runs: it is what people will read next year.")
                .into(),
        );
    }
    Ok(kind)
}

/// The refusal for a pattern that cannot be read, with the place where reading stopped.
pub fn pattern_invalid(error: &pointsman_patterns::PatternError, field: String) -> Error {
    Refusal::new(Kind::Invalid, "pattern_invalid", error.message.clone())
        .field(field)
        .position(error.position as u64)
        .into()
}
