//! Filtered reads over HTTP, against `pgbench` on the very SQL that the host sends.
//!
//! Both load the same two cores from the same machine; rounds alternate, so that what else happens there
//! hits both, and the median of the rounds' ratios counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;

use crate::fill::{self, Filled, distro_name, version_name};
use crate::http::query;
use crate::lab::{Host, Lab, program};
use crate::load::{self, Chance};
use crate::report::{Target, list, median, note, progress, ratio};
use crate::scale::Scale;

/// Threads of pgbench: one a core of the machine that the targets are for.
const PGBENCH_THREADS: usize = 2;
/// Versions that are asked for one by one: each is a script of its own for pgbench, which has no texts.
const KEYS: usize = 24;
/// Rows in a page.
const PAGE: u32 = 100;
/// How long pgbench's connections may take to be gone.
const SETTLE: Duration = Duration::from_millis(300);

pub(crate) async fn run(lab: &Lab, scale: &Scale) -> anyhow::Result<()> {
    let url = lab.database("reads").await?;
    let filled = fill::fill(&url, scale.distros, scale.versions, scale.versions).await?;
    let host = lab.host("reads", &url).await?;
    page(lab, scale, &filled, &host).await?;
    one(lab, scale, &filled, &host).await?;
    host.stop().await
}

/// A page of 100 rows, by distro and state.
async fn page(lab: &Lab, scale: &Scale, filled: &Filled, host: &Host) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(&filled.url).await?;
    let states: Vec<(i32, String)> =
        sqlx::query_as("select id, name from kernel_state order by id")
            .fetch_all(&mut connection)
            .await?;
    let (first, last): (i32, i32) = sqlx::query_as("select min(id), max(id) from distro")
        .fetch_one(&mut connection)
        .await?;
    let mut paths = vec![];
    for n in 0..scale.distros {
        for (_, state) in &states {
            paths.push(format!(
                "/v1/kernels?distro={}&state={state}&limit={PAGE}",
                distro_name(n.into())
            ));
        }
    }
    let sql = sent(&mut connection, host, &paths[0]).await?;
    ensure!(
        sql.contains("k.state_id = $1")
            && sql.contains("k.distro_id = $2")
            && sql.contains("limit $3"),
        "the host asks in another way than this benchmark knows: {sql}"
    );
    let states: Vec<i32> = states.iter().map(|s| s.0).collect();
    ensure!(
        states.windows(2).all(|w| w[1] == w[0] + 1),
        "states with gaps between their ids"
    );
    let script = format!(
        "\\set p1 random({}, {})\n\\set p2 random({first}, {last})\n\\set p3 {}\n{};\n",
        states[0],
        states[states.len() - 1],
        PAGE + 1,
        bound(&sql)
    );
    let floor = Floor {
        scripts: vec![script],
        variables: BTreeMap::new(),
    };
    compare(
        lab,
        scale,
        filled,
        host,
        "read-page",
        &floor,
        &paths,
        Target::AtLeast(0.6),
    )
    .await
}

/// One version, by name.
async fn one(lab: &Lab, scale: &Scale, filled: &Filled, host: &Host) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(&filled.url).await?;
    let mut chance = Chance::new(57);
    let mut paths = vec![];
    let mut floor = Floor {
        scripts: vec![],
        variables: BTreeMap::new(),
    };
    let mut sql = String::new();
    for key in 0..KEYS {
        let distro = distro_name(chance.below(scale.distros as usize) as u64);
        let version = version_name(chance.below(filled.per_distro() as usize) as u64);
        paths.push(format!("/v1/kernels/{distro}/{}", query(&version)));
        if key == 0 {
            sql = sent(&mut connection, host, &paths[0]).await?;
            ensure!(
                sql.contains("k.distro_id = $1") && sql.contains("k.version = $2"),
                "the host asks in another way than this benchmark knows: {sql}"
            );
        }
        let id: i32 = sqlx::query_scalar("select id from distro where name = $1")
            .bind(&distro)
            .fetch_one(&mut connection)
            .await?;
        floor.scripts.push(format!(
            "\\set p1 {id}\n{};\n",
            bound(&sql).replace(":p2", &format!(":v{key}"))
        ));
        floor.variables.insert(format!("v{key}"), version);
    }
    compare(
        lab,
        scale,
        filled,
        host,
        "read-one",
        &floor,
        &paths,
        Target::AtLeast(0.4),
    )
    .await
}

/// Scripts of pgbench, and the texts that they are about.
struct Floor {
    scripts: Vec<String>,
    variables: BTreeMap<String, String>,
}

#[expect(
    clippy::too_many_arguments,
    reason = "what is compared with what, and where"
)]
async fn compare(
    lab: &Lab,
    scale: &Scale,
    filled: &Filled,
    host: &Host,
    name: &str,
    floor: &Floor,
    paths: &[String],
    target: Target,
) -> anyhow::Result<()> {
    // Caches, prepared statements and their plans.
    load::run(host, scale.connections, scale.slice / 2, paths).await?;
    pgbench(lab.dir(), scale, filled, name, floor).await?;
    let (mut floors, mut ours) = (vec![], vec![]);
    let (mut floor_used, mut used) = ([0.0; 3], [0.0; 3]);
    let (mut floor_done, mut done) = (0.0, 0.0);
    for round in 0..scale.rounds {
        progress(format!("{name}: round {} of {}", round + 1, scale.rounds));
        let before = lab.processor_seconds(host);
        let floor = pgbench(lab.dir(), scale, filled, name, floor).await?;
        // The server learns of its backends' end, and of what they have used, a moment later.
        tokio::time::sleep(SETTLE).await;
        let between = lab.processor_seconds(host);
        let mine = load::run(host, scale.connections, scale.slice, paths).await?;
        let after = lab.processor_seconds(host);
        for part in 0..before.len() {
            floor_used[part] += between[part] - before[part];
            used[part] += after[part] - between[part];
        }
        let seconds = scale.slice.as_secs_f64();
        floor_done += floor * seconds.max(1.0);
        done += mine * seconds;
        floors.push(floor);
        ours.push(mine);
    }
    let rounds: Vec<f64> = ours
        .iter()
        .zip(&floors)
        .map(|(ours, floor)| ours / floor)
        .collect();
    note(format!(
        "{name}: {} versions, {} connections, medians of {} rounds of {} s: HTTP {:.0}/s, pgbench {:.0}/s; ratios {}",
        filled.versions,
        scale.connections,
        scale.rounds,
        scale.slice.as_secs_f64(),
        median(ours),
        median(floors),
        list(&rounds)
    ));
    let of = |used: [f64; 3], done: f64| used.map(|seconds| seconds * 1e6 / done);
    let ([floor_db, _, floor_client], [db, server, client]) =
        (of(floor_used, floor_done), of(used, done));
    note(format!(
        "{name}: processor time of one request: HTTP {:.0} us (PostgreSQL {db:.0}, host {server:.0}, client {client:.0}), \
         pgbench {:.0} us (PostgreSQL {floor_db:.0}, client {floor_client:.0}); ratio of the two {:.2}",
        db + server + client,
        floor_db + floor_client,
        (floor_db + floor_client) / (db + server + client)
    ));
    ratio(name, median(rounds), target);
    Ok(())
}

/// The SQL that the host sends for a request: the newest that one of its connections ran.
async fn sent(connection: &mut PgConnection, host: &Host, path: &str) -> anyhow::Result<String> {
    let mut client = host.client().await?;
    // Twice: names may have been looked up first.
    client.get(path).await?;
    client.get(path).await?;
    let sql: String = sqlx::query_scalar(
        "select query from pg_stat_activity where datname = current_database() and application_name = 'pointsman'
           and query like '%kernel_version%' order by query_start desc limit 1",
    )
    .fetch_optional(connection)
    .await?
    .context("the host has no connection that asked for kernel versions")?;
    Ok(sql.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// `$1` as pgbench writes it: `:p1`.
fn bound(sql: &str) -> String {
    sql.replace('$', ":p")
}

/// Transactions a second.
async fn pgbench(
    dir: &Path,
    scale: &Scale,
    filled: &Filled,
    name: &str,
    floor: &Floor,
) -> anyhow::Result<f64> {
    let mut command = Command::new(program("pgbench"));
    command.args(["--protocol=prepared", "--no-vacuum"]);
    command.arg(format!("--client={}", scale.connections));
    command.arg(format!("--jobs={}", PGBENCH_THREADS.min(scale.connections)));
    command.arg(format!("--time={}", scale.slice.as_secs().max(1)));
    for (variable, value) in &floor.variables {
        command.arg(format!("--define={variable}={value}"));
    }
    for (n, script) in floor.scripts.iter().enumerate() {
        let file = dir.join(format!("{name}-{n}.sql"));
        std::fs::write(&file, script)?;
        command.arg("--file").arg(file);
    }
    let output = command
        .arg(&filled.url)
        .output()
        .await
        .context("cannot run pgbench")?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tps = words
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.with_context(|| {
        let mut told = String::from("pgbench said nothing of its speed: ");
        let _ = write!(told, "{words}");
        told
    })
}
