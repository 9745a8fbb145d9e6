//! What the policy wants to be run next.

use chrono::{DateTime, Utc};
use pointsman_api::kernel::Wanted;
use pointsman_api::page::Page;

use super::{Db, cursor, distro::cut};
use crate::error::Result;

impl Db {
    /// One page of wanted runs: highest priority first, then the oldest.
    pub async fn wanted(
        &self,
        purpose: Option<&str>,
        distro: Option<i32>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Wanted>> {
        let after: Option<(i32, DateTime<Utc>, i64)> = after.map(cursor::decode).transpose()?;
        let (priority, since, id) = match after {
            Some((priority, since, id)) => (Some(priority), Some(since), Some(id)),
            None => (None, None, None),
        };
        let mut rows = sqlx::query!(
            r#"select w.kernel_version_id, d.name as distro, d.variant, k.version, w.purpose, w.release,
                 w.priority, w.reason_text as reason, w.since, w.decision_id as decision
               from kernel_wanted w
               join kernel_version k on k.id = w.kernel_version_id
               join distro d on d.id = k.distro_id
               where ($1::text is null or w.purpose = $1) and ($2::int is null or k.distro_id = $2)
                 and ($3::int is null or w.priority <= $3
                   and (w.priority < $3 or (w.since, w.kernel_version_id) > ($4, $5)))
               order by w.priority desc, w.since, w.kernel_version_id limit $6"#,
            purpose,
            distro,
            priority,
            since,
            id,
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut rows, limit, |r| {
            cursor::encode(&(r.priority, r.since, r.kernel_version_id))
        });
        let items = rows
            .into_iter()
            .map(|r| Wanted {
                distro: r.distro,
                variant: r.variant,
                version: r.version,
                purpose: r.purpose,
                release: r.release,
                priority: r.priority,
                reason: r.reason,
                since: r.since,
                decision: r.decision,
            })
            .collect();
        Ok(Page { items, next })
    }
}
