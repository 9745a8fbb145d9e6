//! Swaps of the `ignore` binding between two compiled versions of a plugin, under load.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use tokio::task::{JoinSet, LocalSet};

use super::Amount;
use super::site::{Site, another_build};
use crate::fill::{distro_name, version_name};
use crate::http::Client;
use crate::ignore::wasm;
use crate::lab::Lab;
use crate::load::Chance;
use crate::report::{Target, median, ms, note, progress, ratio};

/// Distros: a turn after a swap decides about each.
const DISTROS: u64 = 20;
/// Versions of each, and patterns.
const VERSIONS: u64 = 50;
const PATTERNS: usize = 20;
/// Connections that read, and those that write.
const READERS: u64 = 6;
const WRITERS: u64 = 1;
/// A writer's pause between two new versions: some fifty turns a second are enough.
const WRITE_EVERY: Duration = Duration::from_millis(20);
/// How often the database is asked for the first decision of a version.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long a swap may take to be in force.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the load has done, shared by its connections, which all run on one thread.
#[derive(Default)]
struct Tally {
    calls: Cell<u64>,
    failed: Cell<u64>,
    stop: Cell<bool>,
}

impl Tally {
    fn count(&self, ok: bool) {
        self.calls.set(self.calls.get() + 1);
        self.failed.set(self.failed.get() + u64::from(!ok));
    }
}

pub(super) async fn run(lab: &Lab, amount: &Amount) -> anyhow::Result<()> {
    let mut site = Site::new(lab, "swaps", DISTROS, VERSIONS, PATTERNS).await?;
    let stock = wasm("ignore-patterns")?;
    let digests = [
        site.upload("ignore-patterns", &stock).await?,
        site.upload("ignore-patterns", &another_build(stock, 1))
            .await?,
    ];
    site.bind("ignore", 0, &digests[0]).await?;
    site.until_idle().await?;
    LocalSet::new()
        .run_until(swaps(site, &digests, amount))
        .await
}

async fn swaps(mut site: Site, digests: &[String; 2], amount: &Amount) -> anyhow::Result<()> {
    let tally = Rc::new(Tally::default());
    let mut load = JoinSet::new();
    for n in 0..READERS {
        let client = site.host.client().await?;
        load.spawn_local(read(client, Rc::clone(&tally), Chance::new(n + 1)));
    }
    for n in 0..WRITERS {
        let client = site.host.client().await?;
        load.spawn_local(write(client, Rc::clone(&tally), n));
    }
    let mut connection = site.database().await?;
    let plugins: Vec<i32> = sqlx::query_scalar(
        "select id from plugin where digest = any($1) order by array_position($1, digest)",
    )
    .bind(digests)
    .fetch_all(&mut connection)
    .await?;
    let began = Instant::now();
    let (mut bound, mut asks, mut commits) = (vec![], vec![], vec![]);
    let mut swapped = 0;
    // The calls are spread over the swaps, and the swaps over the calls.
    let calls_each = amount.api_calls / amount.swaps as u64;
    for n in 1..=amount.swaps {
        if n % 100 == 0 {
            progress(format!("swap: {n} of {}", amount.swaps));
        }
        let newest: i64 = sqlx::query_scalar("select coalesce(max(id), 0) from decision")
            .fetch_one(&mut connection)
            .await?;
        let (asked, asked_at) = (Instant::now(), Utc::now());
        let ok = site.bind("ignore", 0, &digests[n % 2]).await.is_ok();
        bound.push(ms(asked.elapsed()));
        tally.count(ok);
        swapped += usize::from(ok);
        let turn = in_force(&mut connection, newest, plugins[n % 2]).await?;
        commits.push(ms(asked.elapsed()));
        asks.push(ms((turn - asked_at).to_std().unwrap_or_default()));
        while tally.calls.get() < n as u64 * calls_each {
            tokio::time::sleep(LOOK_EVERY).await;
            ensure!(!load.is_empty(), "the load ended");
        }
    }
    let took = began.elapsed();
    tally.stop.set(true);
    while let Some(done) = load.join_next().await {
        done??;
    }
    let calls = tally.calls.get();
    site.until_idle().await?;
    let (turns, decisions, mixed): (i64, i64, i64) = sqlx::query_as(
        "select count(*), coalesce(sum(n), 0)::bigint, count(*) filter (where versions > 1)
         from (select count(*) as n, count(distinct plugin_id) as versions from decision
               where hook = 'ignore' group by at) turn",
    )
    .fetch_one(&mut connection)
    .await?;
    note(format!(
        "swap: {swapped} swaps among {calls} API calls by {} connections in {:.1} s ({:.0}/s); {decisions} decisions in {turns} turns",
        READERS + WRITERS,
        took.as_secs_f64(),
        calls as f64 / took.as_secs_f64(),
    ));
    note(format!(
        "swap: from the request to its reply {}; until a turn asks the new version {}; until its decisions about {DISTROS} distros are committed {}",
        spread(&bound),
        spread(&asks),
        spread(&commits)
    ));
    ratio(
        "swap-calls",
        calls as f64,
        Target::AtLeast(amount.api_calls as f64),
    );
    ratio(
        "swap-failed",
        tally.failed.get() as f64,
        Target::AtMost(0.0),
    );
    ratio("swap-two-versions", mixed as f64, Target::AtMost(0.0));
    ratio(
        "swap-in-force-ms",
        median(asks.clone()),
        Target::AtMost(50.0),
    );
    ratio("swap-in-force-p99-ms", nth(&asks, 99), Target::AtMost(50.0));
    site.host.stop().await
}

/// Waits for a decision of this version behind `newest`; gives the time at which its turn asked.
async fn in_force(
    connection: &mut PgConnection,
    newest: i64,
    plugin: i32,
) -> anyhow::Result<DateTime<Utc>> {
    let began = Instant::now();
    loop {
        let turn: Option<DateTime<Utc>> =
            sqlx::query_scalar("select min(at) from decision where id > $1 and plugin_id = $2")
                .bind(newest)
                .bind(plugin)
                .fetch_one(&mut *connection)
                .await?;
        if let Some(turn) = turn {
            return Ok(turn);
        }
        ensure!(began.elapsed() < PATIENCE, "a swap is not in force");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Reads as people and programs do.
async fn read(mut client: Client, tally: Rc<Tally>, mut chance: Chance) -> anyhow::Result<()> {
    let mut paths = vec![
        "/v1/pipelines/kernels".to_owned(),
        "/v1/decisions?limit=5".to_owned(),
        "/v1/events?limit=10".to_owned(),
    ];
    for distro in 0..DISTROS {
        paths.push(format!(
            "/v1/kernels?limit=20&distro={}",
            distro_name(distro)
        ));
        paths.push(format!(
            "/v1/kernels/{}/{}",
            distro_name(distro),
            version_name(distro)
        ));
    }
    let requests: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| client.request("GET", path, "", b""))
        .collect();
    while !tally.stop.get() {
        let reply = client.send(&requests[chance.below(requests.len())]).await?;
        tally.count(reply.status == 200);
    }
    Ok(())
}

/// New versions, each a cause of a turn.
async fn write(mut client: Client, tally: Rc<Tally>, writer: u64) -> anyhow::Result<()> {
    for n in 0.. {
        if tally.stop.get() {
            break;
        }
        let kernel = json!({
            "distro": distro_name(n % DISTROS),
            "version": format!("6.{writer}.{}-{}-generic", n / DISTROS, n % DISTROS)
        });
        let body = json!({"comment": "bench", "kernels": [kernel]}).to_string();
        let request = client.request("POST", "/v1/kernels", "application/json", body.as_bytes());
        let reply = client.send(&request).await.context("a write")?;
        tally.count(reply.status == 200);
        tokio::time::sleep(WRITE_EVERY).await;
    }
    Ok(())
}

/// The value that so many of a hundred are below.
fn nth(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}

fn spread(values: &[f64]) -> String {
    format!(
        "{:.1} ms (median), {:.1} (95 %), {:.1} (99 %), {:.1} (most)",
        median(values.to_vec()),
        nth(values, 95),
        nth(values, 99),
        nth(values, 100)
    )
}
