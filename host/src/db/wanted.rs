//! What the policy wants to be run next.

use chrono::{DateTime, Utc};
use pointsman_api::kernel::Wanted;
use pointsman_api::page::Page;

use super::{Db, cursor, distro::cut, lane::held};
use crate::error::Result;

impl Db {
    /// One page of wanted runs: highest priority first, then the oldest.
    pub async fn wanted(
        &self,
        purpose: Option<&str>,
        distro: Option<i32>,
        version: Option<&str>,
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
                 w.priority, w.reason_text as reason, w.since, w.decision_id as decision, w.held_code, w.held_text,
                 (select r.id from kernel_living r where r.kernel_version_id = w.kernel_version_id
                  and r.purpose = w.purpose and r.release = w.release order by r.id limit 1) as run
               from kernel_wanted w
               join kernel_version k on k.id = w.kernel_version_id
               join distro d on d.id = k.distro_id
               where ($1::text is null or w.purpose = $1) and ($2::int is null or k.distro_id = $2)
                 and ($7::text is null or k.version = $7)
                 and ($3::int is null or w.priority <= $3
                   and (w.priority < $3 or (w.since, w.kernel_version_id) > ($4, $5)))
               order by w.priority desc, w.since, w.kernel_version_id limit $6"#,
            purpose,
            distro,
            priority,
            since,
            id,
            i64::from(limit) + 1,
            version,
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
                held: held(r.held_code, r.held_text),
                run: r.run,
            })
            .collect();
        Ok(Page { items, next })
    }

    /// The purpose of the run of a version that a person asked for, if one did and none has ended.
    pub async fn requested(&self, distro: i32, version: &str) -> Result<Option<String>> {
        Ok(sqlx::query_scalar!(
            "select q.purpose from kernel_request q join kernel_version k on k.id = q.kernel_version_id
             where k.distro_id = $1 and k.version = $2 and q.ended_at is null order by q.id limit 1",
            distro,
            version,
        )
        .fetch_optional(&self.read)
        .await?)
    }
}
