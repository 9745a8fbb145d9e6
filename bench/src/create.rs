//! A batch of new versions with their events over HTTP, against one multi-row SQL statement on the same
//! tables with the fastest triggers that journal the same.
//!
//! The floor's database has the same tables, indexes, keys and checks. Its journal is one statement
//! trigger with a transition table that knows its generation beforehand: no refusal without one, no check
//! of forged ones, no stamp, no guard of events, no generation row. Both clients have their rows ready, in
//! the order of the keys.

use std::time::Instant;

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::fill::{self, distro_name, run as sql};
use crate::lab::Lab;
use crate::report::{Target, list, median, ms, note, progress, ratio};
use crate::scale::Scale;
use crate::sweep;

/// Rounds before those that count.
const WARM_UP: usize = 2;

pub(crate) async fn run(lab: &Lab, scale: &Scale) -> anyhow::Result<()> {
    let url = lab.database("batches").await?;
    fill::fill(&url, scale.distros, scale.versions, scale.versions).await?;
    let floor_url = lab.database("batches_floor").await?;
    fill::fill(&floor_url, scale.distros, scale.versions, scale.versions).await?;
    let mut floor = PgConnection::connect(&floor_url).await?;
    for url in [&url, &floor_url] {
        // As it is in a real record.
        sql(
            &mut PgConnection::connect(url).await?,
            "alter table event set logged",
        )
        .await?;
    }
    lean_journal(&mut floor).await?;
    let distros: Vec<i32> = sqlx::query_scalar("select id from distro order by id")
        .fetch_all(&mut floor)
        .await?;
    let state: i32 = sqlx::query_scalar("select id from kernel_state order by rank limit 1")
        .fetch_one(&mut floor)
        .await?;

    let host = lab.host("batches", &url).await?;
    let mut client = host.client().await?;
    let (mut floors, mut ours) = (vec![], vec![]);
    // More rounds than elsewhere: they are short, and a checkpoint or a vacuum hits some.
    let rounds = 2 * scale.rounds + 1;
    for round in 0..WARM_UP + rounds {
        progress(format!(
            "create: round {} of {}",
            round + 1,
            WARM_UP + rounds
        ));
        let mut rows: Vec<(usize, String)> = (0..scale.batch)
            .map(|n| {
                (
                    n % distros.len(),
                    format!("6.{round}.{}-{}-generic", n / 2_000, n / distros.len()),
                )
            })
            .collect();
        rows.sort();
        let kernels: Vec<Value> = rows
            .iter()
            .map(|(distro, version)| json!({"distro": distro_name(*distro as u64), "version": version}))
            .collect();
        let body = json!({"comment": "bench", "kernels": kernels}).to_string();
        let request = client.request("POST", "/v1/kernels", "application/json", body.as_bytes());
        let ids: Vec<i32> = rows.iter().map(|row| distros[row.0]).collect();
        let versions: Vec<String> = rows.into_iter().map(|row| row.1).collect();
        let states = vec![state; scale.batch];

        let began = Instant::now();
        let inserted = sqlx::query(
            "insert into kernel_version (distro_id, version, state_id, generation)
             select d, v, s, 1 from unnest($1::int[], $2::text[], $3::int[]) u (d, v, s)",
        )
        .bind(&ids)
        .bind(&versions)
        .bind(&states)
        .execute(&mut floor)
        .await?;
        let floor_ms = ms(began.elapsed());
        anyhow::ensure!(
            inserted.rows_affected() == scale.batch as u64,
            "the floor created fewer"
        );

        let reply = client.send(&request).await?;
        let (took, status, written) = (
            ms(reply.took),
            reply.status,
            serde_json::from_slice::<Value>(reply.body)?,
        );
        anyhow::ensure!(
            status == 200 && written["created"] == scale.batch,
            "{status}: {written}"
        );
        // The turn reads the batch's events meanwhile; the next floor shall not pay for it.
        sweep::until_idle(&mut client).await?;
        if round >= WARM_UP {
            floors.push(floor_ms);
            ours.push(took);
        }
    }
    let events: (i64, i64) = (events_of(&url).await?, events_of(&floor_url).await?);
    anyhow::ensure!(events.0 == events.1, "the two journals differ: {events:?}");
    let ratios: Vec<f64> = ours
        .iter()
        .zip(&floors)
        .map(|(ours, floor)| floor / ours)
        .collect();
    note(format!(
        "create: {} versions with their events in one batch, after {} are there; medians of {rounds} rounds: HTTP {:.0} ms, one statement {:.0} ms; ratios {}",
        scale.batch,
        scale.versions,
        median(ours),
        median(floors),
        list(&ratios)
    ));
    ratio("create-batch", median(ratios), Target::AtLeast(0.8));
    host.stop().await
}

/// Events of versions that a batch created, and what they say.
async fn events_of(url: &str) -> anyhow::Result<i64> {
    let mut connection = PgConnection::connect(url).await?;
    Ok(sqlx::query_scalar(
        "select count(*) from event where kind = 'kernel_version' and operation = 'create'
           and name like 'distro-%/6.%' and changes = '{\"state\": \"seen\"}'",
    )
    .fetch_one(&mut connection)
    .await?)
}

async fn lean_journal(connection: &mut PgConnection) -> anyhow::Result<()> {
    sql(
        connection,
        "do $$ declare t record; begin
           for t in select tgname, tgrelid::regclass as target from pg_trigger
             where not tgisinternal and tgrelid in ('kernel_version'::regclass, 'event'::regclass)
           loop execute format('drop trigger %I on %s', t.tgname, t.target); end loop;
         end $$;
         create function lean_insert() returns trigger language plpgsql as $$ begin
           insert into event (epoch, tx, generation, kind, operation, name, changes)
             select 1, pg_current_xact_id(), 1, 'kernel_version', 'create', d.name || '/' || r.version,
               jsonb_build_object('state', s.name)
             from new_rows r join distro d on d.id = r.distro_id join kernel_state s on s.id = r.state_id;
           return null;
         end $$;
         create trigger lean_insert after insert on kernel_version referencing new table as new_rows
           for each statement execute function lean_insert()",
    )
    .await
}
