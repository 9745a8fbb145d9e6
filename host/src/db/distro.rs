//! Distros and states.

use pointsman_api::distro::{Distro, KernelState, NewDistro, PutState, UpdateDistro};
use pointsman_api::generation::Written;
use pointsman_api::page::Page;

use super::{Batch, Db, cursor, kernel_write};
use crate::error::{Result, not_found};

/// Marked as deleted, or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Marked as deleted.
    Deleted,
    /// The mark is taken away.
    Restored,
}

impl Mark {
    pub(super) fn deleted(self) -> bool {
        self == Self::Deleted
    }
}

impl Db {
    /// One page of distros, by name.
    pub async fn distros(
        &self,
        deleted: bool,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Distro>> {
        let after: Option<String> = after.map(cursor::decode).transpose()?;
        let mut items: Vec<Distro> = sqlx::query_as!(
            Distro,
            r#"select name, variant, supported, deleted_at is not null as "deleted!", generation
               from distro
               where (deleted_at is not null) = $1 and ($2::text is null or name > $2)
               order by name limit $3"#,
            deleted,
            after,
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut items, limit, |d| cursor::encode(&d.name));
        Ok(Page { items, next })
    }

    /// One distro.
    pub async fn distro(&self, name: &str) -> Result<Distro> {
        self.names.distro_id(name, "distro").await?;
        sqlx::query_as!(
            Distro,
            r#"select name, variant, supported, deleted_at is not null as "deleted!", generation
               from distro where name = $1"#,
            name,
        )
        .fetch_optional(&self.read)
        .await?
        .ok_or_else(|| not_found("distro_unknown", "no such distro"))
    }

    /// Creates distros; those that exist stay as they are.
    pub async fn create_distros(
        &self,
        batch: &mut Batch,
        mut distros: Vec<NewDistro>,
    ) -> Result<Written> {
        distros.sort_by(|a, b| a.name.cmp(&b.name));
        let given = distros.len() as u64;
        let names: Vec<String> = distros.iter().map(|d| d.name.clone()).collect();
        let variants: Vec<String> = distros.iter().map(|d| d.variant.clone()).collect();
        let supported: Vec<bool> = distros.iter().map(|d| d.supported).collect();
        let created = sqlx::query!(
            "insert into distro (name, variant, supported)
             select * from unnest($1::text[], $2::text[], $3::bool[]) on conflict (name) do nothing",
            &names,
            &variants,
            &supported,
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        let deleted = sqlx::query_scalar!(
            "select name from distro where name = any($1) and deleted_at is not null order by name",
            &names
        )
        .fetch_all(batch.conn())
        .await?;
        Ok(Written {
            generation: None,
            created,
            updated: 0,
            unchanged: given - created,
            deleted,
        })
    }

    /// Changes fields of a distro.
    pub async fn update_distro(
        &self,
        batch: &mut Batch,
        name: &str,
        change: &UpdateDistro,
        expected: Option<i64>,
    ) -> Result<Written> {
        let row = sqlx::query!(
            "select id, generation from distro where name = $1 for no key update",
            name
        )
        .fetch_optional(batch.conn())
        .await?
        .ok_or_else(|| {
            not_found(
                "distro_unknown",
                format!("there is no distro `{}`", super::names::shown(name)),
            )
        })?;
        if let Some(expected) = expected {
            kernel_write::expect(expected, row.generation)?;
        }
        let updated = sqlx::query!(
            "update distro set variant = coalesce($2, variant), supported = coalesce($3, supported)
             where id = $1",
            row.id,
            change.variant,
            change.supported,
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

    /// Marks a distro as deleted, or takes the mark away. Its kernel versions stay.
    pub async fn mark_distro(&self, batch: &mut Batch, name: &str, mark: Mark) -> Result<Written> {
        self.names.distro_id(name, "distro").await?;
        let updated = sqlx::query!(
            "update distro set deleted_at = case when $2 then now() end
             where name = $1 and (deleted_at is not null) <> $2",
            name,
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

    /// The states, by rank; `counts` adds how many kernel versions are in each.
    pub async fn kernel_states(&self, counts: bool) -> Result<Page<KernelState>> {
        let items = sqlx::query_as!(
            KernelState,
            r#"select name, rank, moved_by,
                 case when $1 then (select count(*) from kernel_version k
                   where k.state_id = s.id and k.deleted_at is null) end as kernels
               from kernel_state s order by rank"#,
            counts,
        )
        .fetch_all(&self.read)
        .await?;
        Ok(Page { items, next: None })
    }

    /// Creates states, or gives them other ranks.
    pub async fn put_states(&self, batch: &mut Batch, states: &[PutState]) -> Result<Written> {
        let mut written = super::batch::nothing();
        for state in states {
            let created = sqlx::query_scalar!(
                r#"insert into kernel_state (name, rank, moved_by) values ($1, $2, $3)
                   on conflict (name) do update set rank = excluded.rank, moved_by = excluded.moved_by
                   returning (xmax = 0) as "created!""#,
                state.name,
                state.rank,
                state.moved_by,
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
}

/// Cuts a page that was fetched with one row too many; gives the cursor of the next.
pub(super) fn cut<T>(
    items: &mut Vec<T>,
    limit: u32,
    cursor_of: impl Fn(&T) -> String,
) -> Option<String> {
    let limit = limit as usize;
    if items.len() <= limit {
        return None;
    }
    items.truncate(limit);
    items.last().map(cursor_of)
}
