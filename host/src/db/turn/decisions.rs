//! Writing a turn's decisions: what was asked and answered, each text once, and a row each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::write::{Made, NewDecision};
use crate::error::{Error, Result};

/// zstd's own default: three times smaller for a tenth of the time of an insert.
const ZSTD_LEVEL: i32 = 3;

/// What new decisions point to.
#[derive(Default)]
pub(super) struct Blobs {
    /// Compressed JSON by its SHA-256: in the order of the keys, so that two turns which say the same
    /// lock them in the same order.
    bytes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The answer of each new decision.
    outputs: Vec<Option<Vec<u8>>>,
}

/// Compresses what is new, before anything is locked.
pub(super) fn pack(decisions: &[Made]) -> Result<Blobs> {
    let failed = |error: std::io::Error| Error::Internal(error.into());
    let mut blobs = Blobs::default();
    // One for all: to set it up takes as long as to compress a small question.
    let mut zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(failed)?;
    let mut keep = |digest: Vec<u8>, json: &[u8]| -> Result<Vec<u8>> {
        if let Entry::Vacant(entry) = blobs.bytes.entry(digest.clone()) {
            entry.insert(zstd.compress(json).map_err(failed)?);
        }
        Ok(digest)
    };
    for decision in new(decisions) {
        keep(decision.digest.clone(), &decision.input)?;
        let output = decision.output.as_deref();
        let output = output.map(|json| keep(Sha256::digest(json).to_vec(), json));
        blobs.outputs.push(output.transpose()?);
    }
    Ok(blobs)
}

fn new(decisions: &[Made]) -> impl Iterator<Item = &NewDecision> {
    decisions.iter().filter_map(|made| match made {
        Made::New(decision) => Some(&**decision),
        Made::Before(_) => None,
    })
}

/// Writes what is new in three statements, however much it is; gives the ids of all, in their order.
pub(super) async fn write(
    conn: &mut PgConnection,
    pipeline: i32,
    decisions: &[Made],
    blobs: Blobs,
) -> Result<Vec<i64>> {
    let count = new(decisions).count();
    let mut drawn = vec![];
    if count > 0 {
        drawn = write_new(conn, pipeline, decisions, count, blobs).await?;
    }
    let mut drawn = drawn.into_iter();
    Ok(decisions
        .iter()
        .filter_map(|made| match made {
            Made::New(_) => drawn.next(),
            Made::Before(id) => Some(*id),
        })
        .collect())
}

async fn write_new(
    conn: &mut PgConnection,
    pipeline: i32,
    decisions: &[Made],
    count: usize,
    blobs: Blobs,
) -> Result<Vec<i64>> {
    // Drawn beforehand: nothing says in which order an insert gives back what it inserted.
    let mut ids = sqlx::query_scalar!(
        r#"select nextval(pg_get_serial_sequence('decision', 'id')) as "id!" from generate_series(1, $1::bigint)"#,
        i64::try_from(count).unwrap_or(i64::MAX),
    )
    .fetch_all(&mut *conn)
    .await?;
    ids.sort_unstable();
    let (digests, bytes): (Vec<Vec<u8>>, Vec<Vec<u8>>) = blobs.bytes.into_iter().unzip();
    sqlx::query!(
        "insert into blob (digest, bytes) select * from unnest($1::bytea[], $2::bytea[]) on conflict do nothing",
        &digests,
        &bytes,
    )
    .execute(&mut *conn)
    .await?;
    macro_rules! column {
        (|$decision:ident| $value:expr) => {
            new(decisions).map(|$decision| $value).collect::<Vec<_>>()
        };
    }
    sqlx::query!(
        "insert into decision (id, pipeline_id, hook, position, subject, at, plugin_id, settings, seed, engine,
           items, input, output, outcome, reason_code, reason_text, fuel, duration_us, context, wake_at)
         overriding system value
         select u.id, $2, u.hook, u.position, u.subject, u.at, u.plugin, u.settings, u.seed, u.engine,
           u.items, u.input, u.output, u.outcome, u.code, u.text, u.fuel, u.duration, u.context, u.wake_at
         from unnest($1::bigint[], $3::text[], $4::int[], $5::text[], $6::timestamptz[], $7::int[], $8::jsonb[],
           $9::bigint[], $10::text[], $11::int[], $12::bytea[], $13::bytea[], $14::text[], $15::text[],
           $16::text[], $17::bigint[], $18::bigint[], $19::jsonb[], $20::timestamptz[])
           u (id, hook, position, subject, at, plugin, settings, seed, engine, items, input, output, outcome,
             code, text, fuel, duration, context, wake_at)",
        &ids,
        pipeline,
        &column!(|d| d.hook.to_owned()),
        &column!(|d| d.position),
        &column!(|d| d.subject.clone()),
        &column!(|d| d.at),
        &column!(|d| d.plugin),
        &column!(|d| d.settings.clone()),
        &column!(|d| d.seed),
        &column!(|d| d.engine.clone()),
        &column!(|d| d.items),
        &column!(|d| d.digest.clone()),
        &blobs.outputs as &[Option<Vec<u8>>],
        &column!(|d| d.outcome.clone()),
        &column!(|d| d.reason_code.clone()),
        &column!(|d| d.reason_text.clone()),
        &column!(|d| d.fuel),
        &column!(|d| d.duration_us),
        &column!(|d| d.context.clone()) as &[Option<serde_json::Value>],
        &column!(|d| d.wake_at) as &[Option<DateTime<Utc>>],
    )
    .execute(conn)
    .await?;
    Ok(ids)
}
