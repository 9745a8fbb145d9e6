//! Databases full of versions and events, made by SQL in seconds: triggers off, indexes made afterwards,
//! and yet what the triggers would have left: each event in the transaction of its generation.

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::report::progress;

/// Changes in one generation.
const PER_GENERATION: u64 = 1_000;
/// Versions of one series (`5.4.3-33-generic` to `5.4.3-81-cloud-amd64`): 25 ABI numbers, 4 flavours.
const PER_SERIES: u64 = 100;
/// Places, in each distro, of the versions that `%+raspi%` matches: as many however large the record.
const RARE: [u64; 2] = [37, 338];

/// What is in a filled database.
#[derive(Clone, Debug)]
pub(crate) struct Filled {
    pub(crate) url: String,
    pub(crate) distros: u32,
    pub(crate) versions: u64,
    pub(crate) events: u64,
    /// What event cursors begin with.
    pub(crate) tag: String,
    pub(crate) epoch: i32,
    first_tx: u64,
    first_event: u64,
}

impl Filled {
    /// Versions in each distro.
    pub(crate) fn per_distro(&self) -> u64 {
        self.versions / u64::from(self.distros)
    }

    /// The cursor of the n-th event.
    pub(crate) fn event_cursor(&self, n: u64) -> String {
        let tx = self.first_tx + n / PER_GENERATION;
        format!("{}.{}.{tx}.{}", self.tag, self.epoch, self.first_event + n)
    }
}

/// The name of the n-th distro, from 0.
pub(crate) fn distro_name(n: u64) -> String {
    format!("distro-{n:02}")
}

/// The n-th version of a distro, as [`NAME_SQL`] makes it.
pub(crate) fn version_name(n: u64) -> String {
    let (series, in_series) = (n / PER_SERIES, n % PER_SERIES);
    let flavour = ["generic", "lowlatency", "amd64", "cloud-amd64"][(in_series % 4) as usize];
    let abi = 33 + 2 * (in_series / 4);
    let rare = if RARE.contains(&n) { "+raspi" } else { "" };
    format!("5.{}.{}-{abi}-{flavour}{rare}", series / 10, series % 10)
}

/// [`version_name`] over `n`.
const NAME_SQL: &str =
    "'5.' || n / 1000 || '.' || (n / 100) % 10 || '-' || 33 + 2 * ((n % 100) / 4) || '-' ||
    (array['generic', 'lowlatency', 'amd64', 'cloud-amd64'])[n % 4 + 1] ||
    case when n in (37, 338) then '+raspi' else '' end";

/// Fills a fresh database with `versions` and `events` (at least as many).
pub(crate) async fn fill(
    url: &str,
    distros: u32,
    versions: u64,
    events: u64,
) -> anyhow::Result<Filled> {
    let mut connection = PgConnection::connect(url).await?;
    let c = &mut connection;
    run(c, "set synchronous_commit = off; set maintenance_work_mem = '1GB'; set max_parallel_maintenance_workers = 2")
        .await?;
    run(
        c,
        &format!(
            "begin; select generation_start('Distros', 'bench');
             insert into distro (name, variant)
               select 'distro-' || to_char(n, 'FM00'), 'DISTRO' || n from generate_series(0, {distros} - 1) n order by n;
             commit"
        ),
    )
    .await?;

    let generations = events.div_ceil(PER_GENERATION);
    let before: String = sqlx::query_scalar("select pg_current_xact_id()::text")
        .fetch_one(&mut *c)
        .await?;
    let first_tx: u64 = before.parse::<u64>()? + 1;
    run(
        c,
        &format!("do $$ begin for i in 1..{generations} loop perform pg_current_xact_id(); commit; end loop; end $$"),
    )
    .await?;
    run(c, "set session_replication_role = replica").await?;
    run(
        c,
        &format!(
            "insert into generation (comment, username, at, epoch, tx)
             select 'Fill', 'bench', now() - make_interval(secs => {generations} - n),
               (select max(id) from epoch), ({first_tx} + n)::text::xid8
             from generate_series(0, {generations} - 1) n order by n"
        ),
    )
    .await?;
    let (epoch, tag, first_generation): (i32, String, i64) = sqlx::query_as(AssertSqlSafe(format!(
        "select e.id, e.tag, g.id from generation g join epoch e on e.id = g.epoch where g.tx = '{first_tx}'::xid8"
    )))
    .fetch_one(&mut *c)
    .await
    .context("the first generation")?;

    progress(format!("filling in {versions} versions"));
    let indexes = drop_indexes(c, "kernel_version").await?;
    run(
        c,
        &format!(
            "insert into kernel_version (distro_id, version, state_id, state_since, first_seen, packages, generation)
             select d.id, v.version, s.id, now() - make_interval(mins => (i % 500000)::int),
               now() - make_interval(mins => (i % 500000)::int),
               jsonb_build_array(
                 jsonb_build_object('name', 'linux-image-' || v.version, 'version', '5.15.0-57.63', 'arch', 'amd64',
                   'filename', 'pool/main/l/linux/linux-image-' || v.version || '_5.15.0-57.63_amd64.deb',
                   'sha256', md5(i::text) || md5(v.version), 'size', 11000000 + i, 'role', 'image'),
                 jsonb_build_object('name', 'linux-headers-' || v.version, 'version', '5.15.0-57.63', 'arch', 'amd64',
                   'filename', 'pool/main/l/linux/linux-headers-' || v.version || '_5.15.0-57.63_amd64.deb',
                   'sha256', md5(v.version) || md5(i::text), 'size', 2000000 + i, 'role', 'headers')),
               {first_generation} + i / {PER_GENERATION}
             from generate_series(0, {versions} - 1) i
             cross join lateral (select i / {distros} as n) a
             cross join lateral (select {NAME_SQL} as version) v
             cross join lateral (select (n * 7919) % 100 as p) h
             join (select id, row_number() over (order by id) - 1 as place from distro) d on d.place = i % {distros}
             join kernel_state s on s.rank = case when p < 10 then 10 when p < 20 then 20 when p < 30 then 30
               when p < 60 then 40 when p < 80 then 50 else 60 end"
        ),
    )
    .await?;
    create_indexes(c, indexes).await?;

    progress(format!("filling in {events} events"));
    let first_event: i64 = sqlx::query_scalar("select coalesce(max(id), 0) + 1 from event")
        .fetch_one(&mut *c)
        .await?;
    // The record survives a crash; a throwaway copy that only is read need not.
    run(c, "alter table event set unlogged").await?;
    let indexes = drop_indexes(c, "event").await?;
    let half = events / 2;
    let mut other = PgConnection::connect(url).await?;
    run(
        &mut other,
        "set synchronous_commit = off; set session_replication_role = replica",
    )
    .await?;
    let part = |from: u64, to: u64| {
        format!(
            "insert into event (epoch, tx, id, generation, at, kind, operation, name, changes)
             overriding system value
             select {epoch}, ({first_tx} + e / {PER_GENERATION})::text::xid8, {first_event} + e,
               {first_generation} + e / {PER_GENERATION}, now(),
               case when created then 'kernel_version' when e % 20 = 7 then 'run' else 'kernel_version' end,
               case when created then 'create' else 'update' end,
               'distro-' || to_char(i % {distros}, 'FM00') || '/' || {NAME_SQL},
               case when created then '{{\"state\": \"seen\"}}'::jsonb
                 else '{{\"state\": [\"fetched\", \"built\"]}}'::jsonb end
             from generate_series({from}, {to} - 1) e
             cross join lateral (select e % {versions} as i, e < {versions} as created) a
             cross join lateral (select i / {distros} as n) b"
        )
    };
    let (first, second) = (part(0, half), part(half, events));
    tokio::try_join!(run(&mut *c, &first), run(&mut other, &second))?;
    other.close().await?;
    progress("indexing the events");
    create_indexes(c, indexes).await?;
    run(
        c,
        "select setval(pg_get_serial_sequence('event', 'id'), (select max(id) from event))",
    )
    .await?;

    // A pipeline that has read it all: what is measured is not the reading of history.
    run(
        c,
        &format!(
            "insert into pipeline_progress (pipeline_id, epoch, tx, event_id)
             select id, {epoch}, pg_current_xact_id(), 0 from pipeline
             on conflict (pipeline_id) do update set epoch = excluded.epoch, tx = excluded.tx, event_id = 0"
        ),
    )
    .await?;
    for table in [
        "kernel_version",
        "event",
        "generation",
        "distro",
        "kernel_state",
    ] {
        run(c, &format!("vacuum (analyze, freeze) {table}")).await?;
    }
    connection.close().await?;
    Ok(Filled {
        url: url.to_owned(),
        distros,
        versions,
        events,
        tag,
        epoch,
        first_tx,
        first_event: u64::try_from(first_event)?,
    })
}

/// Runs statements without parameters.
pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .with_context(|| format!("in: {}", sql.get(..200).unwrap_or(sql)))?;
    Ok(())
}

/// Drops a table's indexes and unique constraints, those apart that others refer to; gives the SQL that
/// makes them again.
async fn drop_indexes(connection: &mut PgConnection, table: &str) -> anyhow::Result<Vec<String>> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "select format('alter table %I drop constraint %I', $1, c.conname),
           format('alter table %I add constraint %I %s', $1, c.conname, pg_get_constraintdef(c.oid))
         from pg_constraint c where c.conrelid = $1::regclass and c.contype in ('p', 'u')
           and not exists (select from pg_constraint f where f.contype = 'f' and f.conindid = c.conindid)
         union all
         select format('drop index %I', i.relname), pg_get_indexdef(i.oid)
         from pg_index x join pg_class i on i.oid = x.indexrelid
         where x.indrelid = $1::regclass and not exists (select from pg_constraint c where c.conindid = i.oid)",
    )
    .bind(table)
    .fetch_all(&mut *connection)
    .await?;
    let mut again = Vec::with_capacity(found.len());
    for (drop, create) in found {
        run(connection, &drop).await?;
        again.push(create);
    }
    Ok(again)
}

async fn create_indexes(connection: &mut PgConnection, indexes: Vec<String>) -> anyhow::Result<()> {
    for sql in indexes {
        run(connection, &sql).await?;
    }
    Ok(())
}
