//! What a new pattern makes the host decide again, on the large record.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::http::{Client, query};
use crate::ignore;
use crate::report::{Target, ms, note, progress, ratio};

/// How long the pipeline may take over everything.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Patterns as they are saved, one after the other.
const NEW: [(&str, &str); 3] = [
    ("like", "5.0.3-57-%"),
    ("regex", r"^5\.0\.4-(57|59)-(generic|amd64)$"),
    ("regex", "[+]raspi"),
];

pub(crate) async fn run(client: &mut Client, url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let request = client.request(
        "POST",
        "/v1/plugins?name=ignore-patterns",
        "application/wasm",
        &ignore::wasm("ignore-patterns")?,
    );
    let uploaded = client.json(&request, "/v1/plugins").await?;
    let digest = uploaded["plugin"]["digest"]
        .as_str()
        .context("a digest")?
        .to_owned();
    progress("sweep: a new plugin decides about everything");
    let began = Instant::now();
    let binding = json!({"digest": digest, "settings": {}});
    client
        .post("PUT", "/v1/pipelines/kernels/bindings/ignore/0", &binding)
        .await?;
    until_idle(client).await?;
    let (_, all) = asked(&mut connection, 0).await?;
    note(format!(
        "sweep: a newly bound plugin was asked about {all} versions in {:.1} s",
        began.elapsed().as_secs_f64()
    ));

    let (mut asked_all, mut matching_all) = (0, 0);
    for (kind, pattern) in NEW {
        let (before, _) = asked(&mut connection, 0).await?;
        let began = Instant::now();
        let body = json!({"comment": "bench", "ignores": [{"kind": kind, "pattern": pattern, "reason": "Bench."}]});
        client.post("POST", "/v1/ignores", &body).await?;
        until_idle(client).await?;
        let took = began.elapsed();
        let (_, asked) = asked(&mut connection, before).await?;
        let operator = if kind == "like" { "like" } else { "~" };
        let matching: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "select count(*) from kernel_version where version {operator} $1"
        )))
        .bind(pattern)
        .fetch_one(&mut connection)
        .await?;
        let ignored: i64 = sqlx::query_scalar(
            "select count(*) from kernel_ignored i join kernel_ignore r on r.id = i.ignore_id where r.pattern = $1",
        )
        .bind(pattern)
        .fetch_one(&mut connection)
        .await?;
        ensure!(
            ignored == matching,
            "`{pattern}` matches {matching} versions and ignored {ignored}"
        );
        note(format!(
            "sweep: {kind} `{pattern}` matches {matching} of {all}: asked about {asked}, all decided {:.0} ms after it was sent",
            ms(took)
        ));
        let page = client
            .get(&format!(
                "/v1/kernels?ignored=true&{kind}={}&limit=1",
                query(pattern)
            ))
            .await?;
        ensure!(
            page["items"]
                .as_array()
                .is_some_and(|items| items.len() == 1),
            "nothing is ignored: {page}"
        );
        asked_all += asked;
        matching_all += matching;
    }
    ratio(
        "redecided-per-match",
        asked_all as f64 / matching_all as f64,
        Target::AtMost(1.3),
    );
    Ok(())
}

/// The newest decision, and how many versions were asked about after `after`.
async fn asked(connection: &mut PgConnection, after: i64) -> anyhow::Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "select coalesce(max(id), 0), coalesce(sum(items) filter (where hook = 'ignore'), 0)::bigint
         from decision where id > $1",
    )
    .bind(after)
    .fetch_one(connection)
    .await?)
}

/// Waits until the kernel pipeline has decided about everything that is committed.
pub(crate) async fn until_idle(client: &mut Client) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let pipeline = client.get("/v1/pipelines/kernels").await?;
        ensure!(pipeline["held"].is_null(), "the pipeline holds: {pipeline}");
        if pipeline["idle"] == true {
            return Ok(());
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "the pipeline is not done: {pipeline}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
