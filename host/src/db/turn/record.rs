//! Recording decisions: a turn's go in with one statement for the blobs, one for their parts and one for
//! the rows.
//!
//! What questions have in common is kept once: the large pieces of a question are blobs of their own,
//! named by their digest, under a manifest (see `migrations/0007_parts.sql`). Small pieces stay where
//! they are, since a row costs more than they do.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use pointsman_api::raw::Raw;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use zstd::bulk::Compressor;

use super::{Made, NewDecision};
use crate::error::{Error, Result};

/// Bytes of JSON from which a piece of a question is a blob of its own: below it, a row costs more than
/// keeping the piece twice.
const PART_BYTES: usize = 1_024;

/// zstd's own default: three times smaller for a tenth of the time of an insert.
const ZSTD_LEVEL: i32 = 3;

/// Bytes of one blob, unpacked: the largest question is some megabytes of names.
const MAX_BLOB: usize = 64 << 20;

/// The key that stands where a part was. No question has it: its keys are fields of the contract.
const PART_KEY: &str = "$part";

type Digest = [u8; 32];

/// A piece of a question, and its JSON.
type Part = (Digest, Vec<u8>);

/// The decisions of a turn, ready to be written. Making it takes the time of compression, so it is made
/// before there is a transaction.
pub(in crate::db) struct Recorded<'a> {
    decisions: &'a [Made],
    rows: Vec<Row<'a>>,
    /// By digest, so that each is written once, and in an order that is everybody's: two turns that
    /// write the same blobs wait for each other in line.
    blobs: BTreeMap<Cow<'a, [u8]>, Vec<u8>>,
    /// Wholes and their parts.
    parts: HashMap<&'a [u8], Vec<Digest>>,
}

struct Row<'a> {
    decision: &'a NewDecision,
    output: Option<Digest>,
}

impl<'a> Recorded<'a> {
    pub(in crate::db) fn new(decisions: &'a [Made]) -> Result<Self> {
        if !decisions.iter().any(|made| matches!(made, Made::New(_))) {
            return Ok(Recorded {
                decisions,
                rows: vec![],
                blobs: BTreeMap::new(),
                parts: HashMap::new(),
            });
        }
        // Set up once: that takes longer than the packing of most blobs.
        let mut compressor = Compressor::new(ZSTD_LEVEL).map_err(|e| Error::Internal(e.into()))?;
        let mut compress = |json: &[u8]| {
            compressor
                .compress(json)
                .map_err(|e| Error::Internal(e.into()))
        };
        let mut recorded = Recorded {
            decisions,
            rows: vec![],
            blobs: BTreeMap::new(),
            parts: HashMap::new(),
        };
        for made in decisions {
            let Made::New(decision) = made else { continue };
            let whole: &[u8] = &decision.digest;
            if !recorded.blobs.contains_key(whole) {
                let (manifest, parts) = split(&decision.input)?;
                recorded
                    .blobs
                    .insert(Cow::Borrowed(whole), compress(&manifest)?);
                for (digest, json) in &parts {
                    recorded.add(*digest, json, &mut compress)?;
                }
                if !parts.is_empty() {
                    let digests = parts.iter().map(|(digest, _)| *digest).collect();
                    recorded.parts.insert(whole, digests);
                }
            }
            let output = decision.output.as_deref();
            let output = output.map(|json| (Digest::from(Sha256::digest(json)), json));
            if let Some((digest, json)) = output {
                recorded.add(digest, json, &mut compress)?;
            }
            recorded.rows.push(Row {
                decision,
                output: output.map(|(digest, _)| digest),
            });
        }
        Ok(recorded)
    }

    fn add(
        &mut self,
        digest: Digest,
        json: &[u8],
        mut compress: impl FnMut(&[u8]) -> Result<Vec<u8>>,
    ) -> Result<()> {
        if !self.blobs.contains_key(&digest[..]) {
            let bytes = compress(json)?;
            self.blobs.insert(Cow::Owned(digest.to_vec()), bytes);
        }
        Ok(())
    }

    /// Writes what is new of it and returns the ids of all decisions, in order.
    pub(in crate::db) async fn write(
        self,
        conn: &mut PgConnection,
        pipeline: i32,
    ) -> Result<Vec<i64>> {
        let decisions = self.decisions;
        let mut new = self.write_new(conn, pipeline).await?.into_iter();
        let id = |made: &Made| match made {
            Made::New(_) => new.next(),
            Made::Before(id) => Some(*id),
        };
        Ok(decisions.iter().filter_map(id).collect())
    }

    async fn write_new(self, conn: &mut PgConnection, pipeline: i32) -> Result<Vec<i64>> {
        if self.rows.is_empty() {
            return Ok(vec![]);
        }
        let (digests, bytes): (Vec<Vec<u8>>, Vec<Vec<u8>>) = self
            .blobs
            .into_iter()
            .map(|(digest, bytes)| (digest.into_owned(), bytes))
            .unzip();
        sqlx::query!(
            "insert into blob (digest, bytes) select * from unnest($1::bytea[], $2::bytea[])
             on conflict do nothing",
            &digests,
            &bytes,
        )
        .execute(&mut *conn)
        .await?;
        write_parts(conn, &self.parts).await?;
        write_rows(conn, pipeline, &self.rows).await
    }
}

async fn write_parts(conn: &mut PgConnection, parts: &HashMap<&[u8], Vec<Digest>>) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let (mut wholes, mut positions, mut digests) = (vec![], vec![], vec![]);
    for (whole, parts) in parts {
        for (position, part) in (0_i32..).zip(parts) {
            wholes.push(whole.to_vec());
            positions.push(position);
            digests.push(part.to_vec());
        }
    }
    sqlx::query!(
        "insert into blob_part (whole, position, part)
         select * from unnest($1::bytea[], $2::int[], $3::bytea[]) on conflict do nothing",
        &wholes,
        &positions,
        &digests,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_rows(conn: &mut PgConnection, pipeline: i32, rows: &[Row<'_>]) -> Result<Vec<i64>> {
    fn column<'a, T>(rows: &[Row<'a>], f: fn(&'a NewDecision) -> T) -> Vec<T> {
        rows.iter().map(|row| f(row.decision)).collect()
    }
    let outputs: Vec<Option<Vec<u8>>> = rows
        .iter()
        .map(|row| row.output.map(|digest| digest.to_vec()))
        .collect();
    let mut ids = sqlx::query_scalar!(
        "insert into decision (pipeline_id, hook, position, subject, at, plugin_id, settings, seed, engine,
           items, input, output, outcome, reason_code, reason_text, fuel, duration_us, context, wake_at, log, limits)
         select $1, hook, position, subject, at, plugin, settings, seed, engine, items, input, output, outcome,
           code, text, fuel, duration, context, wake_at, log, limits
         from unnest($2::text[], $3::int[], $4::text[], $5::timestamptz[], $6::int[], $7::jsonb[], $8::bigint[],
           $9::text[], $10::int[], $11::bytea[], $12::bytea[], $13::text[], $14::text[], $15::text[],
           $16::bigint[], $17::bigint[], $18::jsonb[], $19::timestamptz[], $20::text[], $21::jsonb[])
           with ordinality
           u (hook, position, subject, at, plugin, settings, seed, engine, items, input, output, outcome,
             code, text, fuel, duration, context, wake_at, log, limits, place)
         order by place returning id",
        pipeline,
        &column(rows, |d| d.hook.to_owned()),
        &column(rows, |d| d.position),
        &column(rows, |d| d.subject.clone()),
        &column(rows, |d| d.at),
        &column(rows, |d| d.plugin),
        &column(rows, |d| d.settings.clone()),
        &column(rows, |d| d.seed),
        &column(rows, |d| d.engine.clone()),
        &column(rows, |d| d.items),
        &column(rows, |d| d.digest.clone()),
        &outputs as &[Option<Vec<u8>>],
        &column(rows, |d| d.outcome.clone()),
        &column(rows, |d| d.reason_code.clone()),
        &column(rows, |d| d.reason_text.clone()),
        &column(rows, |d| d.fuel),
        &column(rows, |d| d.duration_us),
        &column(rows, |d| d.context.clone()) as &[Option<Value>],
        &column(rows, |d| d.wake_at) as &[Option<chrono::DateTime<chrono::Utc>>],
        &column(rows, |d| d.log.clone()) as &[Option<String>],
        &column(rows, |d| d.limits.and_then(|l| serde_json::to_value(l).ok())) as &[Option<Value>],
    )
    .fetch_all(conn)
    .await?;
    // Given out in the order of the rows, but nothing says that they come back in it.
    ids.sort_unstable();
    Ok(ids)
}

/// Takes the large pieces out of a question: large fields, and large elements of lists.
fn split(json: &[u8]) -> Result<(Cow<'_, [u8]>, Vec<Part>)> {
    let unreadable = |e: serde_json::Error| Error::Internal(e.into());
    if json.len() < 2 * PART_BYTES || json.first() != Some(&b'{') {
        return Ok((Cow::Borrowed(json), vec![]));
    }
    let fields: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_slice(json).map_err(unreadable)?;
    let mut parts = vec![];
    let mut manifest = serde_json::Map::new();
    for (name, field) in fields {
        let text = field.get();
        if text.len() < PART_BYTES {
            let value = serde_json::from_str(text).map_err(unreadable)?;
            manifest.insert(name.into_owned(), value);
            continue;
        }
        let elements: Vec<&RawValue> = match text.starts_with('[') {
            true => serde_json::from_str(text).map_err(unreadable)?,
            false => vec![],
        };
        let value = match elements.iter().any(|e| e.get().len() >= PART_BYTES) {
            false => take(text, &mut parts),
            true => {
                let pieces = elements.iter().map(|element| match element.get() {
                    large if large.len() >= PART_BYTES => Ok(take(large, &mut parts)),
                    small => serde_json::from_str(small).map_err(unreadable),
                });
                Value::Array(pieces.collect::<Result<_>>()?)
            }
        };
        manifest.insert(name.into_owned(), value);
    }
    let manifest = serde_json::to_vec(&manifest).map_err(unreadable)?;
    Ok((Cow::Owned(manifest), parts))
}

fn take(json: &str, parts: &mut Vec<Part>) -> Value {
    let digest = Digest::from(Sha256::digest(json));
    let place = parts.iter().position(|(known, _)| *known == digest);
    let place = place.unwrap_or_else(|| {
        parts.push((digest, json.as_bytes().to_vec()));
        parts.len() - 1
    });
    serde_json::json!({ PART_KEY: place })
}

/// What was kept as `bytes`, with its parts put back.
pub(in crate::db) fn unpack(bytes: &[u8], parts: &[Vec<u8>]) -> Result<Value> {
    let mut value = unpack_one(bytes)?;
    if parts.is_empty() {
        return Ok(value);
    }
    let parts = parts
        .iter()
        .map(|part| unpack_one(part))
        .collect::<Result<Vec<_>>>()?;
    if let Value::Object(fields) = &mut value {
        for field in fields.values_mut() {
            put_back(field, &parts);
            if let Value::Array(elements) = field {
                elements
                    .iter_mut()
                    .for_each(|element| put_back(element, &parts));
            }
        }
    }
    Ok(value)
}

/// The same, as text: what was kept whole is not made a tree.
pub(in crate::db) fn unpack_text(bytes: &[u8], parts: &[Vec<u8>]) -> Result<Raw> {
    let raw = match parts.is_empty() {
        true => String::from_utf8(decompress(bytes)?)
            .map_err(|e| Error::Internal(e.into()))
            .map(Raw::new)?,
        false => Raw::of(&unpack(bytes, parts)?),
    };
    raw.map_err(|e| Error::Internal(e.into()))
}

fn put_back(value: &mut Value, parts: &[Value]) {
    let Value::Object(fields) = value else { return };
    let place = match fields.len() {
        1 => fields.get(PART_KEY).and_then(Value::as_u64),
        _ => None,
    };
    let part = place.and_then(|place| parts.get(usize::try_from(place).ok()?));
    if let Some(part) = part {
        *value = part.clone();
    }
}

fn unpack_one(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(&decompress(bytes)?).map_err(|e| Error::Internal(e.into()))
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>> {
    zstd::bulk::decompress(bytes, MAX_BLOB).map_err(|e| Error::Internal(e.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pack(json: &[u8]) -> Vec<u8> {
        Compressor::new(ZSTD_LEVEL).unwrap().compress(json).unwrap()
    }

    fn there_and_back(question: &Value) -> (usize, Value) {
        let json = serde_json::to_vec(question).unwrap();
        let (manifest, parts) = split(&json).unwrap();
        let packed: Vec<Vec<u8>> = parts.iter().map(|(_, p)| pack(p)).collect();
        let back = unpack(&pack(&manifest), &packed).unwrap();
        (parts.len(), back)
    }

    #[test]
    fn large_pieces_are_parts_and_equal_ones_are_one() {
        let large = "x".repeat(PART_BYTES);
        let question = json!({
            "distro": "debian-12",
            "settled": large,
            "names": large,
            "candidates": [{"number": 1, "title": large}, {"number": 2}, {"number": 3, "title": "y".repeat(2_000)}],
        });
        let (parts, back) = there_and_back(&question);
        assert_eq!(back, question);
        assert_eq!(parts, 3);
    }

    #[test]
    fn a_small_question_stays_whole() {
        let question = json!({"distro": "debian-12", "names": "5.10\u{0}"});
        assert_eq!(there_and_back(&question), (0, question));
    }

    fn piece() -> impl Strategy<Value = Value> {
        prop_oneof![
            "[a-z]{0,40}".prop_map(Value::from),
            (0_usize..3_000).prop_map(|n| Value::from("z".repeat(n))),
            any::<u64>().prop_map(Value::from),
            prop::collection::vec(
                (0_usize..2_000).prop_map(|n| json!({"t": "w".repeat(n)})),
                0..6
            )
            .prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn what_is_split_is_put_together_again(
            fields in prop::collection::btree_map("[a-z]{1,8}", piece(), 0..8),
        ) {
            let question = Value::Object(fields.into_iter().collect());
            let (_, back) = there_and_back(&question);
            prop_assert_eq!(back, question);
        }
    }
}
