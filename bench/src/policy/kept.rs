//! Deciding with the full record kept: the call, its question as JSON with its digest, and what a turn
//! writes; against one multi-row insert of the very same rows, ready beforehand.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use pointsman_host::db::Db;
use pointsman_host::db::turn::{Made, NewDecision, PipelineLock, TurnEnd};
use pointsman_host::policy::{Compiler, Plugin, Runtime, RuntimeConfig};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};

use super::Amount;
use super::calls::decide;
use super::pull;
use super::site::{Site, guest};
use crate::lab::Lab;
use crate::report::{Target, list, median, ms, note, progress, ratio};

/// Rounds before those that count.
const WARM_UP: usize = 2;

pub(super) async fn run(lab: &Lab, amount: &Amount) -> anyhow::Result<()> {
    let wasm = guest("bench-review")?;
    let mut sites = vec![];
    for name in ["decisions", "decisions_floor"] {
        let mut site = Site::new(lab, name, 1, 1, 0).await?;
        site.upload("bench-review", &wasm).await?;
        // What is measured has the turns of its pipeline to itself.
        site.host.stop().await?;
        sites.push(site.url);
    }
    let [url, floor_url] = &sites[..] else {
        anyhow::bail!("two databases");
    };
    let db = Db::open(url)?;
    let pipeline = db.kernel_pipeline().await?.context("a pipeline")?;
    let lock = db.lock_pipeline(pipeline).await?.context("its lock")?;
    let runtime = Runtime::new(RuntimeConfig {
        compiler: Compiler::InProcess,
        cache_dir: None,
        calls_at_once: pointsman_host::policy::DEFAULT_CALLS_AT_ONCE,
    })?;
    let plugin = runtime
        .load(wasm.into())
        .await
        .map_err(|rejection| anyhow::anyhow!("{rejection}"))?;
    let mut floor = PgConnection::connect(floor_url).await?;
    let plugin_id: i32 = sqlx::query_scalar("select max(id) from plugin")
        .fetch_one(&mut floor)
        .await?;
    let engine = runtime.engine_fingerprint();

    let (mut ratios, mut alone) = (vec![], vec![]);
    let (mut floors, mut asked, mut written) = (vec![], vec![], vec![]);
    for round in 0..WARM_UP + amount.rounds {
        progress(format!(
            "full-record: round {} of {}",
            round + 1,
            WARM_UP + amount.rounds
        ));
        let first = (round * amount.decisions) as u64;
        let questions: Vec<_> = (0..amount.decisions as u64)
            .map(|n| pull::question(first + n))
            .collect();
        // The floor's rows, each ready to be sent.
        let mut rows = vec![];
        for question in &questions {
            rows.push(made(&plugin, question, plugin_id, engine)?);
        }
        let packed = Packed::of(&rows)?;
        let began = Instant::now();
        insert(&mut floor, pipeline, &packed).await?;
        let floor_ms = ms(began.elapsed());

        let began = Instant::now();
        let mut decisions = Vec::with_capacity(questions.len());
        for question in &questions {
            decisions.push(made(&plugin, question, plugin_id, engine)?);
        }
        let asked_for = began.elapsed();
        keep(&db, &lock, decisions).await?;
        let took = began.elapsed();
        if round >= WARM_UP {
            ratios.push(floor_ms / ms(took));
            alone.push(floor_ms / ms(took.saturating_sub(asked_for)));
            floors.push(floor_ms);
            asked.push(ms(asked_for));
            written.push(ms(took.saturating_sub(asked_for)));
        }
    }
    let count = "select (select count(*) from decision), (select count(*) from blob)";
    let ours: (i64, i64) = sqlx::query_as(count)
        .fetch_one(&mut PgConnection::connect(url).await?)
        .await?;
    let theirs: (i64, i64) = sqlx::query_as(count).fetch_one(&mut floor).await?;
    ensure!(ours == theirs, "the rows differ: {ours:?} and {theirs:?}");
    note(format!(
        "full-record: {} decisions in one turn, each with question and answer; medians of {} rounds: calls, JSON and digests {:.1} ms, written by the turn in {:.1} ms; multi-row insert {:.1} ms; ratios {}",
        amount.decisions,
        ratios.len(),
        median(asked),
        median(written),
        median(floors),
        list(&ratios)
    ));
    note(format!(
        "full-record: of the writing alone {:.2}",
        median(alone)
    ));
    ratio("full-record", median(ratios), Target::AtLeast(0.5));
    drop(lock);
    db.close().await;
    Ok(())
}

async fn keep(db: &Db, lock: &PipelineLock, decisions: Vec<NewDecision>) -> anyhow::Result<()> {
    let end = TurnEnd {
        decisions: decisions
            .into_iter()
            .map(|decision| Made::New(Box::new(decision)))
            .collect(),
        ..TurnEnd::default()
    };
    db.turn_end(lock, end).await?;
    Ok(())
}

/// Asks, and gives what a turn records of it.
fn made(
    plugin: &Plugin,
    question: &pointsman_host::policy::wit::review::Question,
    plugin_id: i32,
    engine: &str,
) -> anyhow::Result<NewDecision> {
    let input = serde_json::to_vec(question)?;
    let digest = Sha256::digest(&input).to_vec();
    let context = pull::context();
    let began = Instant::now();
    let answer = decide(plugin, &context, question)?;
    let took = began.elapsed();
    Ok(NewDecision {
        hook: "review",
        position: 0,
        subject: format!("#{}", question.pull_request.number),
        at: at(context.at),
        plugin: plugin_id,
        settings: json!({}),
        context: None,
        seed: context.seed.cast_signed(),
        engine: engine.to_owned(),
        items: 1,
        digest,
        input,
        output: Some(serde_json::to_vec(&answer)?),
        outcome: "answered".to_owned(),
        reason_code: answer.basis.reason.code,
        reason_text: answer.basis.reason.text,
        fuel: 40_000,
        duration_us: micros(took),
        wake_at: None,
        limits: None,
        log: None,
    })
}

fn at(ms: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms.cast_signed()).unwrap_or_default()
}

fn micros(took: Duration) -> i64 {
    i64::try_from(took.as_micros()).unwrap_or(i64::MAX)
}

/// Rows as columns, compressed as the record has them.
#[derive(Default)]
struct Packed {
    digests: Vec<Vec<u8>>,
    bytes: Vec<Vec<u8>>,
    subjects: Vec<String>,
    ats: Vec<DateTime<Utc>>,
    engines: Vec<String>,
    plugins: Vec<i32>,
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    codes: Vec<String>,
    texts: Vec<String>,
    fuels: Vec<i64>,
    durations: Vec<i64>,
    seeds: Vec<i64>,
}

impl Packed {
    fn of(rows: &[NewDecision]) -> anyhow::Result<Self> {
        let mut packed = Self::default();
        for row in rows {
            let output = row.output.as_deref().context("an answer")?;
            let output_digest = Sha256::digest(output).to_vec();
            packed.digests.push(row.digest.clone());
            packed.bytes.push(zstd::bulk::compress(&row.input, 3)?);
            packed.digests.push(output_digest.clone());
            packed.bytes.push(zstd::bulk::compress(output, 3)?);
            packed.subjects.push(row.subject.clone());
            packed.ats.push(row.at);
            packed.engines.push(row.engine.clone());
            packed.plugins.push(row.plugin);
            packed.inputs.push(row.digest.clone());
            packed.outputs.push(output_digest);
            packed.codes.push(row.reason_code.clone());
            packed.texts.push(row.reason_text.clone());
            packed.fuels.push(row.fuel);
            packed.durations.push(row.duration_us);
            packed.seeds.push(row.seed);
        }
        Ok(packed)
    }
}

/// The floor: two statements in one transaction.
async fn insert(floor: &mut PgConnection, pipeline: i32, packed: &Packed) -> anyhow::Result<()> {
    let mut transaction = floor.begin().await?;
    sqlx::query(
        "insert into blob (digest, bytes) select * from unnest($1::bytea[], $2::bytea[])
         on conflict do nothing",
    )
    .bind(&packed.digests)
    .bind(&packed.bytes)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "insert into decision (pipeline_id, hook, position, subject, at, plugin_id, settings, seed, engine,
           items, input, output, outcome, reason_code, reason_text, fuel, duration_us)
         select $1, 'review', 0, s, a, p, '{}', e, g, 1, i, o, 'answered', c, t, f, d
         from unnest($2::text[], $3::timestamptz[], $4::int[], $5::bigint[], $6::text[], $7::bytea[],
           $8::bytea[], $9::text[], $10::text[], $11::bigint[], $12::bigint[])
           u (s, a, p, e, g, i, o, c, t, f, d)",
    )
    .bind(pipeline)
    .bind(&packed.subjects)
    .bind(&packed.ats)
    .bind(&packed.plugins)
    .bind(&packed.seeds)
    .bind(&packed.engines)
    .bind(&packed.inputs)
    .bind(&packed.outputs)
    .bind(&packed.codes)
    .bind(&packed.texts)
    .bind(&packed.fuels)
    .bind(&packed.durations)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}
