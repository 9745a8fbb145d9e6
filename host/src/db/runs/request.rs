//! What people ask of a kernel pipeline's runs: one more of them, and how many at once.

use pointsman_api::generation::Written;

use super::super::batch::nothing;
use super::super::pipeline;
use super::super::{Actor, Batch, Db, kernel};
use crate::error::{Result, invalid};

impl Db {
    /// Asks for a run of a version: `advance` sees it as `requested`, until one of that purpose has ended. Asked
    /// again, it is the same request; another purpose takes its place.
    pub async fn request_run(
        &self,
        batch: &mut Batch,
        actor: &Actor,
        distro: &str,
        version: &str,
        purpose: &str,
    ) -> Result<Written> {
        let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let sound = matches!(purpose.len(), 1..=32)
            && purpose.bytes().all(word)
            && !purpose.starts_with('-');
        if !sound {
            return Err(invalid(
                "purpose_invalid",
                "/purpose",
                "a purpose is like `fetch`, `build`, `test`: [a-z0-9-], at most 32 characters",
            ));
        }
        let id = self.names.distro_id(distro, "distro").await?;
        let found = sqlx::query_scalar!(
            "select id from kernel_version where distro_id = $1 and version = $2 and deleted_at is null for key share",
            id,
            version,
        )
        .fetch_optional(batch.conn())
        .await?;
        let Some(kernel) = found else {
            return Err(kernel::unknown(distro, version));
        };
        let created = sqlx::query_scalar!(
            r#"insert into kernel_request as q (kernel_version_id, purpose, requested_by) values ($1, $2, $3)
               on conflict (kernel_version_id, release) where ended_at is null do update set
                 purpose = excluded.purpose,
                 requested_by = case when q.purpose = excluded.purpose then q.requested_by
                   else excluded.requested_by end
               returning (xmax = 0) as "created!""#,
            kernel,
            purpose,
            actor.user,
        )
        .fetch_optional(batch.conn())
        .await?;
        Ok(match created {
            Some(true) => Written {
                created: 1,
                ..nothing()
            },
            Some(false) => Written {
                updated: 1,
                ..nothing()
            },
            None => Written {
                unchanged: 1,
                ..nothing()
            },
        })
    }

    /// How many runs a kernel pipeline makes at once.
    pub async fn set_run_slots(
        &self,
        batch: &mut Batch,
        name: &str,
        slots: i32,
    ) -> Result<Written> {
        if !(1..=64).contains(&slots) {
            return Err(invalid(
                "slots_invalid",
                "/slots",
                "1 to 64 runs may go on at once",
            ));
        }
        let id = pipeline::lock(batch, name).await?;
        let written = sqlx::query!(
            "insert into kernel_pipeline (id, slots) values ($1, $2)
             on conflict (id) do update set slots = excluded.slots",
            id,
            slots,
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        Ok(Written {
            updated: written,
            unchanged: 1 - written,
            ..nothing()
        })
    }
}
