//! A thousand versions with nothing to say: turns that find nothing changed call no plugin and write no
//! row; and where a turn is made to look at all of them again, no plugin is called either.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sqlx::PgConnection;

use super::Amount;
use super::site::Site;
use crate::fill;
use crate::http::Client;
use crate::lab::{Host, Lab};
use crate::report::{Target, note, progress, ratio};

/// Turns that are forced.
const TURNS: i64 = 100;
/// Distros that the versions are of.
const DISTROS: u64 = 10;
/// How long a forced turn may be waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long PostgreSQL may take to tell of what its connections did: an idle one reports after ten seconds.
const TOLD_LATE: Duration = Duration::from_secs(12);

pub(super) async fn run(lab: &Lab, amount: &Amount) -> anyhow::Result<()> {
    let mut site = Site::new(lab, "quiet", DISTROS, amount.quiet as u64 / DISTROS, 100).await?;
    site.bind_stock().await?;
    let mut connection = site.database().await?;
    let ignored: i64 = sqlx::query_scalar("select count(*) from kernel_ignored")
        .fetch_one(&mut connection)
        .await?;
    ensure!(ignored > 0, "nothing is ignored");

    // Whoever takes turns is woken as by a commit, and finds nothing.
    progress("quiet: waking the pipeline");
    let before = Seen::now(&mut connection, &site.host).await?;
    let looks = looks(&mut connection).await?;
    let began = Instant::now();
    loop {
        fill::run(&mut connection, "notify pointsman_generation").await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self::looks(&mut connection).await? >= looks + TURNS {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "the pipeline does not wake");
    }
    let after = Seen::now(&mut connection, &site.host).await?;
    let turned = self::looks(&mut connection).await? - looks;
    note(format!(
        "quiet: {} versions, {ignored} ignored; {turned} turns with nothing changed: {}",
        amount.quiet,
        after.since(&before)
    ));
    ratio(
        "quiet-calls",
        after.calls - before.calls,
        Target::AtMost(0.0),
    );
    ratio(
        "quiet-rows",
        (after.rows_but(&[]) - before.rows_but(&[])) as f64,
        Target::AtMost(0.0),
    );

    // A sweep: all questions are made again, and each was answered before.
    progress("quiet: looking at everything again");
    let before = after;
    fill::run(
        &mut connection,
        "insert into sweep (pipeline_id, hook) select p.id, h from pipeline p, unnest(array['ignore', 'advance']) h;
         notify pointsman_generation",
    )
    .await?;
    site.client = site.host.client().await?;
    site.until_idle().await?;
    let after = Seen::now(&mut connection, &site.host).await?;
    let bookkeeping = ["sweep", "pipeline_progress"];
    note(format!(
        "quiet: a sweep over all of them: {}; `sweep` and `pipeline_progress` say that it was asked for and done",
        after.since(&before)
    ));
    ratio(
        "quiet-sweep-calls",
        after.calls - before.calls,
        Target::AtMost(0.0),
    );
    ratio(
        "quiet-sweep-rows",
        (after.rows_but(&bookkeeping) - before.rows_but(&bookkeeping)) as f64,
        Target::AtMost(0.0),
    );
    site.host.stop().await
}

/// How often a turn has looked at its bindings: it reads them first.
async fn looks(connection: &mut PgConnection) -> anyhow::Result<i64> {
    fill::run(connection, "select pg_stat_clear_snapshot()").await?;
    Ok(sqlx::query_scalar(
        "select (seq_scan + coalesce(idx_scan, 0))::bigint from pg_stat_user_tables where relname = 'binding'",
    )
    .fetch_one(connection)
    .await?)
}

/// What was written and called up to a moment.
struct Seen {
    /// Rows inserted, updated and deleted, by table.
    rows: Vec<(String, i64)>,
    calls: f64,
}

impl Seen {
    async fn now(connection: &mut PgConnection, host: &Host) -> anyhow::Result<Self> {
        tokio::time::sleep(TOLD_LATE).await;
        fill::run(connection, "select pg_stat_clear_snapshot()").await?;
        let rows = sqlx::query_as(
            "select relname::text, (n_tup_ins + n_tup_upd + n_tup_del)::bigint from pg_stat_user_tables order by relname",
        )
        .fetch_all(connection)
        .await?;
        Ok(Self {
            rows,
            // A connection that was idle for so long may have been closed.
            calls: calls(&mut host.client().await?).await?,
        })
    }

    fn rows_but(&self, tables: &[&str]) -> i64 {
        let counted = self
            .rows
            .iter()
            .filter(|(table, _)| !tables.contains(&table.as_str()));
        counted.map(|(_, rows)| rows).sum()
    }

    fn since(&self, before: &Self) -> String {
        let mut said = format!("{} plugin calls", self.calls - before.calls);
        let mut rows = 0;
        for ((table, after), (_, before)) in self.rows.iter().zip(&before.rows) {
            if after > before {
                said.push_str(&format!(", {} rows of {table}", after - before));
                rows += after - before;
            }
        }
        if rows == 0 {
            said.push_str(", no row of any table");
        }
        said
    }
}

/// Plugin calls, as the host counts them.
async fn calls(client: &mut Client) -> anyhow::Result<f64> {
    let request = client.request("GET", "/metrics", "", b"");
    let reply = client.send(&request).await?;
    let text = std::str::from_utf8(reply.body)?;
    let mut sum = 0.0;
    for line in text.lines() {
        if line.starts_with("pointsman_decisions_total") {
            let value = line.rsplit(' ').next().context("a value")?;
            sum += value.parse::<f64>()?;
        }
    }
    ensure!(sum > 0.0, "the host counts no calls");
    Ok(sum)
}
