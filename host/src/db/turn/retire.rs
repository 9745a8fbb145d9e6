//! Deleting decisions past their retention.

use super::super::Db;
use crate::error::Result;

impl Db {
    /// Deletes decisions older than `days`, and the blobs that nothing refers to any more; a page at a
    /// time. Returns how many decisions went.
    pub async fn retire_decisions(&self, days: i32, limit: i64) -> Result<u64> {
        let gone = sqlx::query!(
            "delete from decision where id in (
               select id from decision x where at < now() - make_interval(days => $1)
                 and not exists (select from kernel_ignored i where i.decision_id = x.id)
                 and not exists (select from kernel_wanted w where w.decision_id = x.id)
                 and not exists (select from run r where r.decision_id = x.id and r.verdict is null)
                 and not exists (select from standing s where s.review_decision = x.id)
                 and not exists (select from standing s where s.gate_decision = x.id)
                 and not exists (select from lane l where l.decision_id = x.id and l.ended_at is null)
                 and not exists (select from pipeline_progress r where r.held_decision_id = x.id)
               order by at limit $2)",
            days,
            limit,
        )
        .execute(&self.write)
        .await?
        .rows_affected();
        if gone > 0 {
            // By themselves: what they cannot finish is no reason to keep decisions. A whole that goes lets go of its
            // parts: what nobody else is made of goes in the next round.
            while sqlx::query!(
                "delete from blob where digest in (
                   select digest from blob b where created_at < now() - make_interval(days => $1)
                     and not exists (select from decision where input = b.digest)
                     and not exists (select from decision where output = b.digest)
                     and not exists (select from blob_part where part = b.digest)
                   limit $2)",
                days,
                limit,
            )
            .execute(&self.write)
            .await?
            .rows_affected()
                > 0
            {}
        }
        Ok(gone)
    }
}
