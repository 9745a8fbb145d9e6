//! Taking in another record, line by line: all or nothing, in one generation.
//!
//! What exists stays as it is, so an import can be repeated. The other record's history is kept under
//! epochs below zero, before everything that happened here, with its own times and order; an epoch keeps
//! its tag, so that history that is here already, or is our own, is not taken in twice.
//!
//! Names are looked up by outer joins: a name that the record does not have gives a null where none may
//! be, and the line is refused instead of left out.

use pointsman_api::generation::Written;
use serde_json::Value;

use super::Batch;
use super::merge::transfer;
use crate::error::{Error, Kind, Refusal, Result};

/// Lines of one statement.
const LINES: usize = 2_000;
/// Bytes of one statement: plugins are large.
const BYTES: usize = 8 << 20;

/// How each type of line is taken in. `$1` is an array of such lines.
const TYPES: &[(&str, &str)] = &[
    ("state", "insert into kernel_state (name, rank, moved_by)
       select name, rank, moved_by from jsonb_to_recordset($1) x (name text, rank int, moved_by text)
       -- A record without versions has the stock ranks, which nobody has chosen.
       on conflict (name) do update set rank = excluded.rank, moved_by = excluded.moved_by
         where not exists (select from kernel_version)"),
    ("distro", "insert into distro (name, variant, supported, deleted_at)
       select name, variant, supported, deleted_at
       from jsonb_to_recordset($1) x (name text, variant text, supported bool, deleted_at timestamptz)
       on conflict (name) do nothing"),
    ("kernel", "insert into kernel_version (distro_id, version, state_id, state_since, state_by_person,
         judged_at, first_seen, missing, packages, deleted_at)
       select d.id, x.version, s.id, x.state_since, x.state_by_person, x.judged_at, x.first_seen, x.missing,
         x.packages, x.deleted_at
       from jsonb_to_recordset($1) x (distro text, version text, state text, state_since timestamptz,
         state_by_person bool, judged_at timestamptz, first_seen timestamptz, missing text[], packages jsonb,
         deleted_at timestamptz)
       left join distro d on d.name = x.distro left join kernel_state s on s.name = x.state
       order by d.id, x.version collate \"C\"
       on conflict (distro_id, version) do nothing"),
    ("ignore", "insert into kernel_ignore (distro_id, kind, pattern, reason, expires, deleted_at)
       -- A distro that is not here must not turn into every distro: there is none with the id 0.
       select case when x.distro is not null then coalesce(d.id, 0) end, x.kind, x.pattern, x.reason,
         x.expires, x.deleted_at
       from jsonb_to_recordset($1) x (distro text, kind text, pattern text, reason text, expires timestamptz,
         deleted_at timestamptz)
       left join distro d on d.name = x.distro
       on conflict (distro_id, kind, pattern) do nothing"),
    ("run", "insert into run (kernel_version_id, purpose, release, verdict, comment, link, key, reported_by,
         at, ended_at, deleted_at, called_off)
       select k.id, x.purpose, x.release, x.verdict, x.comment, x.link, x.key, x.reported_by, x.at, x.ended_at,
         x.deleted_at, coalesce(x.called_off, false)
       from jsonb_to_recordset($1) x (distro text, version text, purpose text, release text, verdict text,
         comment text, link text, key text, reported_by text, at timestamptz, ended_at timestamptz,
         deleted_at timestamptz, called_off bool)
       left join distro d on d.name = x.distro
       left join lateral (
         select k.id from kernel_version k where k.distro_id = d.id and k.version = x.version offset 0) k on true
       -- Runs without a key are known by all that they say.
       where not exists (select from run r where r.kernel_version_id = k.id and r.purpose = x.purpose
         and r.release = x.release and r.at = x.at
         and (r.verdict, r.comment, r.link, r.key) is not distinct from (x.verdict, x.comment, x.link, x.key))
       on conflict (kernel_version_id, purpose, release, key) do nothing"),
    // After the runs, which would serve them: one that is open here is still to be served.
    ("run_request", "insert into kernel_request (kernel_version_id, release, purpose, requested_by, at, ended_at)
       select k.id, x.release, x.purpose, x.requested_by, x.at, x.ended_at
       from jsonb_to_recordset($1) x (distro text, version text, release text, purpose text, requested_by text,
         at timestamptz, ended_at timestamptz)
       left join distro d on d.name = x.distro
       left join lateral (
         select k.id from kernel_version k where k.distro_id = d.id and k.version = x.version offset 0) k on true
       where not exists (select from kernel_request r where r.kernel_version_id = k.id and r.release = x.release
         and r.purpose = x.purpose and r.at = x.at)
       -- One that is open here stays.
       on conflict (kernel_version_id, release) where ended_at is null do nothing"),
    ("cluster_type", "insert into cluster_type (name)
       select name from jsonb_to_recordset($1) x (name text) on conflict (name) do nothing"),
    ("cluster", "insert into cluster (name, type_id, deleted_at)
       select x.name, t.id, x.deleted_at
       from jsonb_to_recordset($1) x (name text, cluster_type text, deleted_at timestamptz)
       left join cluster_type t on t.name = x.cluster_type
       on conflict (name) do nothing"),
    ("host_kernel", "insert into host_kernel (cluster_id, host, kernel_version_id, current, deleted_at)
       select c.id, x.host, k.id, x.current and not exists (
           select from host_kernel o where o.cluster_id = c.id and o.host = x.host and o.current
             and o.deleted_at is null), x.deleted_at
       from jsonb_to_recordset($1) x (cluster text, host text, distro text, version text, current bool,
         deleted_at timestamptz)
       left join cluster c on c.name = x.cluster left join distro d on d.name = x.distro
       left join lateral (
         select k.id from kernel_version k where k.distro_id = d.id and k.version = x.version offset 0) k on true
       on conflict (cluster_id, host, kernel_version_id) do nothing"),
    ("plugin", "insert into plugin (digest, name, hooks, settings_schema, wasm, uploaded_at, uploaded_by)
       select encode(sha256(decode(x.wasm, 'base64')), 'hex'), x.name, x.hooks, x.settings_schema,
         decode(x.wasm, 'base64'), x.uploaded_at, x.uploaded_by
       from jsonb_to_recordset($1) x (name text, hooks text[], settings_schema jsonb, wasm text,
         uploaded_at timestamptz, uploaded_by text)
       on conflict (digest) do nothing"),
    ("pipeline", "insert into pipeline (name, kind, paused, deleted_at)
       select name, kind, paused, deleted_at
       from jsonb_to_recordset($1) x (name text, kind text, paused text, deleted_at timestamptz)
       on conflict do nothing"),
    ("kernel_pipeline", "insert into kernel_pipeline (id, slots)
       select p.id, x.slots from jsonb_to_recordset($1) x (pipeline text, slots int)
       left join pipeline p on p.name = x.pipeline
       on conflict (id) do nothing"),
    ("binding", "insert into binding (pipeline_id, hook, position, plugin_id, settings, limits, deleted_at)
       select p.id, x.hook, x.position, g.id, x.settings, coalesce(x.limits, '{}'), x.deleted_at
       from jsonb_to_recordset($1) x (pipeline text, hook text, position int, digest text, settings jsonb,
         limits jsonb, deleted_at timestamptz)
       left join pipeline p on p.name = x.pipeline left join plugin g on g.digest = x.digest
       on conflict (pipeline_id, hook, position) do nothing"),
    // The decision behind a note stays behind: here it is what a person brought.
    ("note", "insert into note (pipeline_id, hook, position, kernel_version_id, key, value, deleted_at)
       -- A version that is not here must not turn into the pipeline: there is none with the id 0.
       select p.id, x.hook, x.position,
         case when x.distro is not null or x.version is not null then coalesce(k.id, 0) end, x.key, x.value,
         x.deleted_at
       from jsonb_to_recordset($1) x (pipeline text, hook text, position int, distro text, version text,
         key text, value text, deleted_at timestamptz)
       left join pipeline p on p.name = x.pipeline left join distro d on d.name = x.distro
       left join lateral (
         select k.id from kernel_version k where k.distro_id = d.id and k.version = x.version offset 0) k on true
       on conflict do nothing"),
    // Its figures are of decisions that stay behind: it begins anew.
    ("shadow", "with added as (
         insert into shadow (pipeline_id, hook, position, plugin_id, settings, deleted_at)
         select p.id, x.hook, x.position, g.id, x.settings, x.deleted_at
         from jsonb_to_recordset($1) x (pipeline text, hook text, position int, digest text, settings jsonb,
           deleted_at timestamptz)
         left join pipeline p on p.name = x.pipeline left join plugin g on g.digest = x.digest
         on conflict (pipeline_id, hook, position) do nothing
         returning id, plugin_id, settings)
       insert into shadow_progress (shadow_id, plugin_id, settings, after_id)
         select id, plugin_id, settings, coalesce((select max(id) from decision), 0) from added"),
    // History: the epochs of the other record become epochs below zero, in their order.
    ("epoch", "with source as (select * from jsonb_to_recordset($1) x (epoch int, tag text)),
       made as (
         insert into epoch (id, tag, identity) overriding system value
         select (select least(min(id), 0) from epoch) - row_number() over (order by s.epoch desc), s.tag,
           'imported'
         from source s where not exists (select from epoch e where e.tag = s.tag)
         returning id, tag)
       insert into import_epoch (source, epoch)
         select s.epoch, coalesce(e.id, m.id)
         from source s left join epoch e on e.tag = s.tag left join made m on m.tag = s.tag"),
    ("generation", "with source as (
         -- An epoch that no line named has no number, and the reference to it is refused.
         select s.id, s.comment, s.username, s.address, s.at, coalesce(k.epoch, -2147483648) as epoch,
           s.tx::xid8 as tx
         from jsonb_to_recordset($1) s (id bigint, comment text, username text, address text,
           at timestamptz, epoch int, tx text)
         left join import_epoch k on k.source = s.epoch
         -- Above zero it is our own.
         where coalesce(k.epoch, -1) < 0),
       added as (
         insert into generation (comment, username, address, at, epoch, tx)
         select comment, username, address::inet, at, epoch, tx from source order by epoch, tx
         on conflict (epoch, tx) do nothing
         returning id, epoch, tx)
       insert into import_generation (source, id)
         select s.id, a.id from source s join added a using (epoch, tx)"),
    ("event", "insert into event (epoch, tx, generation, at, kind, operation, name, changes)
       select k.epoch, x.tx::xid8, g.id, x.at, x.kind, x.operation, x.name, x.changes
       from jsonb_to_recordset($1) x (epoch int, tx text, id bigint, generation bigint, at timestamptz,
         kind text, operation text, name text, changes jsonb)
       join import_epoch k on k.source = x.epoch join import_generation g on g.source = x.generation
       order by x.epoch, x.tx::xid8, x.id"),
];

/// How a type of line is taken in.
fn statement(kind: &str) -> Option<&'static str> {
    let mut types = TYPES.iter().chain(transfer::TYPES);
    let (_, sql) = types.find(|(name, _)| *name == kind)?;
    Some(sql)
}

/// An import in progress.
pub struct Import<'a> {
    batch: &'a mut Batch,
    kind: String,
    lines: Vec<Value>,
    bytes: usize,
    /// The first of `lines`, counted from 1.
    first: u64,
    number: u64,
    ended: bool,
    written: Written,
}

impl<'a> Import<'a> {
    /// Begins an import in this batch.
    pub async fn begin(batch: &'a mut Batch) -> Result<Self> {
        let conn = batch.conn();
        sqlx::query("set local statement_timeout = 0")
            .execute(&mut *conn)
            .await?;
        sqlx::query("create temporary table import_epoch (source int primary key, epoch int not null) on commit drop")
            .execute(&mut *conn)
            .await?;
        sqlx::query("create temporary table import_generation (source bigint primary key, id bigint not null) on commit drop")
            .execute(&mut *conn)
            .await?;
        Ok(Self {
            batch,
            kind: String::new(),
            lines: vec![],
            bytes: 0,
            first: 0,
            number: 0,
            ended: false,
            written: super::batch::nothing(),
        })
    }

    /// Takes in one line.
    pub async fn line(&mut self, line: &[u8]) -> Result<()> {
        self.number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let value: Value = serde_json::from_slice(line)
            .map_err(|e| self.refuse(&format!("it is not JSON: {e}")))?;
        let Some(kind) = value.get("type").and_then(Value::as_str).map(str::to_owned) else {
            return Err(self.refuse("it has no `type`"));
        };
        if self.ended {
            return Err(self.refuse("it stands behind the end"));
        }
        match kind.as_str() {
            "record" => {
                return match value.get("format").and_then(Value::as_i64) {
                    Some(1) => Ok(()),
                    _ => Err(self.refuse("this host reads format 1 of a record")),
                };
            }
            "end" => {
                self.ended = true;
                return self.flush().await;
            }
            known if statement(known).is_some() => {}
            _ => {
                return Err(self.refuse(&format!(
                    "this host knows no `{}`",
                    super::names::shown(&kind)
                )));
            }
        }
        if kind != self.kind || self.lines.len() >= LINES || self.bytes >= BYTES {
            self.flush().await?;
            self.kind = kind;
        }
        if self.lines.is_empty() {
            self.first = self.number;
        }
        self.bytes += line.len();
        self.lines.push(value);
        Ok(())
    }

    /// Ends the import; a file that was cut is refused.
    pub async fn end(mut self) -> Result<Written> {
        self.flush().await?;
        if !self.ended {
            return Err(Refusal::new(
                Kind::Invalid,
                "import_cut",
                format!(
                    "the file ends after line {} without its end: it was cut",
                    self.number
                ),
            )
            .hint("Export again; nothing was written.")
            .into());
        }
        // What people said long ago is not said again: no policy reacts to what was brought along.
        sqlx::query("delete from reaction where xmin = pg_current_xact_id()::xid")
            .execute(self.batch.conn())
            .await?;
        Ok(self.written)
    }

    async fn flush(&mut self) -> Result<()> {
        let lines = std::mem::take(&mut self.lines);
        self.bytes = 0;
        let Some(sql) = statement(&self.kind) else {
            return Ok(());
        };
        if lines.is_empty() {
            return Ok(());
        }
        let history = matches!(self.kind.as_str(), "epoch" | "generation" | "event");
        importing(self.batch, history).await?;
        let count = lines.len() as u64;
        let done = sqlx::query(sql)
            .bind(Value::Array(lines))
            .execute(self.batch.conn())
            .await
            .map_err(|error| self.refuse_lines(error, count))?;
        importing(self.batch, false).await?;
        let created = done.rows_affected();
        if !history {
            self.written.created += created;
            self.written.unchanged += count.saturating_sub(created);
        }
        Ok(())
    }

    fn refuse(&self, why: &str) -> Error {
        Refusal::new(
            Kind::Invalid,
            "import_invalid",
            format!("line {}: {why}", self.number),
        )
        .field(format!("/{}", self.number))
        .hint("Nothing was written.")
        .into()
    }

    /// What the database says of data that it cannot take (SQLSTATE classes 22 and 23), with the lines
    /// that it was given.
    fn refuse_lines(&self, error: sqlx::Error, count: u64) -> Error {
        let data = error.as_database_error().filter(|e| {
            e.code()
                .is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
        });
        let Some(data) = data else {
            return error.into();
        };
        let first = self.first;
        let which = match count {
            1 => format!("line {first}"),
            _ => format!("one of lines {first} to {}", first + count - 1),
        };
        let kind = &self.kind;
        Refusal::new(
            Kind::Invalid,
            "import_invalid",
            format!("{which} ({kind}) cannot be taken in: {}", data.message()),
        )
        .field(format!("/{first}"))
        .hint("Nothing was written.")
        .into()
    }
}

/// Lets history keep its own times and order, or no longer.
async fn importing(batch: &mut Batch, yes: bool) -> Result<()> {
    sqlx::query("select set_config('pointsman.importing', case when $1 then pg_current_xact_id()::text else '' end, true)")
        .bind(yes)
        .execute(batch.conn())
        .await?;
    Ok(())
}
