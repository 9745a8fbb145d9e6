//! Every list walks an index: the plans of the very statements that the host sends.
//!
//! `auto_explain` sends each plan as a notice to the client that ran the statement. The client is the
//! host, in this process, and its driver logs notices, so a subscriber here sees them all. One test in a
//! file of its own, since a process has one such subscriber.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use pointsman_tests::TestDatabase;
use sqlx::AssertSqlSafe;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// The tables that grow.
const GROWING: [&str; 10] = [
    "kernel_version",
    "event",
    "generation",
    "run",
    "host_kernel",
    "decision",
    "kernel_ignored",
    "kernel_wanted",
    "blob",
    "shadow_difference",
];

/// The plans of the statements since it was last asked.
#[derive(Clone, Default)]
struct Plans(Arc<Mutex<Vec<String>>>);

impl Plans {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Plans {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            let mut message = Message(String::new());
            event.record(&mut message);
            if message.0.contains("Query Text:") {
                self.0
                    .lock()
                    .expect("no panic")
                    .push(message.0.replace("\\n", "\n"));
            }
        }
    }
}

/// Rows enough for the planner to care: 20,000 versions, and their events.
const FILL: &str = "
    begin;
    select generation_start('distros');
    insert into distro (name, variant) select 'd' || n, 'D' from generate_series(1, 20) n;
    insert into cluster (name, type_id) select 'c' || n, (select id from cluster_type where name = 'own') from generate_series(1, 50) n;
    insert into cluster (name, type_id) values ('customer', (select id from cluster_type where name = 'customer'));
    commit;
    begin;
    select generation_start('versions');
    insert into kernel_version (distro_id, version, state_id, state_since)
      select d.id, (n % 7) || '.' || n || '.0-' || md5(n::text),
        (select id from kernel_state order by rank offset (case when n % 100 < 90 then 5 else n % 5 end) limit 1),
        now() - make_interval(mins => n)
      from generate_series(1, 1000) n, distro d;
    commit;
    begin;
    select generation_start('runs');
    insert into run (kernel_version_id, purpose, verdict, reported_by)
      select id, 'build', 'pass', 'x' from kernel_version;
    commit;
    begin;
    select generation_start('hosts');
    insert into host_kernel (cluster_id, host, kernel_version_id, current)
      select (select id from cluster where name = 'c' || (1 + k.id % 50)), 'h' || k.id / 2, k.id, k.id % 2 = 0 from kernel_version k;
    commit;
";

/// Many small batches.
const CHANGES: &str = "
    do $$ begin
      for n in 1..2000 loop
        perform generation_start('change ' || n, 'user' || n % 100);
        update kernel_version set missing = array['headers'] where id = n;
        commit;
      end loop;
    end $$";

/// What only the turn writes: once it has nothing left to do.
const DERIVE: &str = "
    insert into kernel_ignored (kernel_version_id, distro_id, version, scope, reason_code, reason_text, decision_id)
      select id, distro_id, version, 'all', 'c', 't', 1 from kernel_version where id % 3 = 0;
    insert into kernel_wanted (kernel_version_id, purpose, priority, reason_code, reason_text, decision_id)
      select id, case when id % 2 = 0 then 'build' else 'test' end, id % 5, 'c', 't', 1 from kernel_version where id % 3 = 1;
    -- `{}`, compressed.
    insert into blob (digest, bytes) values (sha256('x'), '\\x28b52ffd00581100007b7d');
    insert into blob (digest, bytes) select sha256(n::text::bytea), '' from generate_series(1, 5000) n;
    begin;
    select generation_start('plugin');
    insert into plugin (digest, name, hooks, wasm, uploaded_by) values (encode(sha256('x'), 'hex'), 'p', '{ignore}', 'x', 'x');
    commit;
    begin;
    select generation_start('shadow');
    insert into shadow (pipeline_id, hook, plugin_id) select p.id, 'ignore', g.id from pipeline p, plugin g;
    commit;
    insert into decision (pipeline_id, hook, position, subject, at, plugin_id, settings, seed, engine, items, input, outcome,
        reason_code, reason_text, fuel, duration_us, generation)
      select p.id, case when n % 2 = 0 then 'ignore' else 'advance' end, 0, 'd' || n % 20, now(), g.id, '{}', n, 'e', 1,
        sha256('x'), case when n % 1000 = 0 then 'trapped' else 'answered' end, 'c', 't', 1, 1, n
      from pipeline p, plugin g, generate_series(1, 20000) n;
    insert into shadow_progress (shadow_id, plugin_id, settings, after_id)
      select id, plugin_id, '{}', (select max(id) from decision) from shadow;
    insert into shadow_difference (shadow_id, decision_id, outcome, reason_code, reason_text, place, before, after, fuel)
      select s.id, d.id, 'answered', 'c', 't', '/a', 'b', 'c', 1 from shadow s, decision d where d.hook = 'ignore';
    analyze;
";

#[tokio::test]
async fn no_list_reads_a_whole_table() {
    let plans = Plans::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(plans.clone()))
        .unwrap();
    let db = TestDatabase::new().await;
    let mut psql = db.connect().await;
    for sql in [FILL, CHANGES] {
        sqlx::raw_sql(sql).execute(&mut psql).await.unwrap();
    }
    let host = db.serve().await;
    host.idle().await;
    sqlx::raw_sql(DERIVE).execute(&mut psql).await.unwrap();
    host.stop().await;
    // From the next connection on, each statement's plan comes with it.
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&mut psql)
        .await
        .unwrap();
    for (setting, value) in [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_level", "notice"),
    ] {
        let sql = format!("alter database {name} set {setting} = '{value}'");
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut psql)
            .await
            .unwrap();
    }
    let host = pointsman_tests::TestHost::on(&db.url, tempfile::tempdir().unwrap()).await;
    host.idle().await;

    let some = host.get("/v1/kernels?distro=d7&limit=1").await;
    let version = some["items"][0]["version"].as_str().unwrap().to_owned();
    let page = host.get("/v1/kernels?limit=500").await;
    let cursor = page["next"].as_str().unwrap().to_owned();
    let event = host.get("/v1/events?limit=1000").await;
    let after = event["next"].as_str().unwrap().to_owned();
    let generation = some["items"][0]["generation"].to_string();
    let decision = host.get("/v1/decisions?limit=1").await["items"][0]["id"].to_string();
    plans.take();

    let paths = [
        "/v1/kernels".to_owned(),
        format!("/v1/kernels?cursor={cursor}"),
        "/v1/kernels?distro=d7".to_owned(),
        format!("/v1/kernels?distro=d7&cursor={cursor}"),
        // The questions of people: built but not tested, seen but not fetched.
        "/v1/kernels?distro=d7&state=built".to_owned(),
        "/v1/kernels?distro=d7&state=seen".to_owned(),
        "/v1/kernels?state=seen,fetched".to_owned(),
        "/v1/kernels?without_state=ready-customers".to_owned(),
        "/v1/kernels?like=%25.777.0-%25".to_owned(),
        "/v1/kernels?like=3.99.%25".to_owned(),
        "/v1/kernels?distro=d7&like=%25c4ca4238a0%25".to_owned(),
        "/v1/kernels?regex=c4ca4238a0".to_owned(),
        "/v1/kernels?regex=%5E3%5C.73%5C.0-".to_owned(),
        "/v1/kernels?deleted=true".to_owned(),
        "/v1/kernels?ignored=true".to_owned(),
        "/v1/kernels?ignored=true&distro=d7".to_owned(),
        "/v1/kernels?ignored=false&state=seen".to_owned(),
        "/v1/kernels?installed=true&distro=d7".to_owned(),
        format!("/v1/kernels/d7/{version}"),
        "/v1/stale".to_owned(),
        "/v1/stale?distro=d7&state=seen".to_owned(),
        "/v1/wanted".to_owned(),
        "/v1/wanted?purpose=build".to_owned(),
        "/v1/runs".to_owned(),
        format!("/v1/runs?distro=d7&version={version}"),
        "/v1/runs?purpose=build&verdict=pass".to_owned(),
        "/v1/hosts".to_owned(),
        format!("/v1/hosts?distro=d7&version={version}"),
        "/v1/hosts?cluster=c7".to_owned(),
        "/v1/hosts?cluster_type=customer&current=true&below_state=ready-customers".to_owned(),
        "/v1/hosts?cluster_type=own&current=true&below_state=ready-customers".to_owned(),
        "/v1/generations".to_owned(),
        "/v1/generations?user=user7".to_owned(),
        "/v1/generations?since=2020-01-01T00:00:00Z".to_owned(),
        format!("/v1/generations/{generation}"),
        "/v1/events".to_owned(),
        "/v1/events?newest=true".to_owned(),
        format!("/v1/events?after={after}"),
        format!("/v1/events?name=d7/{version}"),
        format!("/v1/events?name_prefix=d7/{version}%20"),
        "/v1/events?kind=token".to_owned(),
        "/v1/events?kind=kernel_version&newest=true".to_owned(),
        format!("/v1/events?kind=kernel_version&after={after}"),
        format!("/v1/events?generation={generation}"),
        "/v1/events?since=2020-01-01T00:00:00Z".to_owned(),
        "/v1/decisions".to_owned(),
        "/v1/decisions?subject=d7&outcome=trapped".to_owned(),
        "/v1/decisions?pipeline=kernels&hook=ignore".to_owned(),
        format!("/v1/decisions?generation={generation}"),
        "/v1/distros".to_owned(),
        "/v1/clusters?limit=10".to_owned(),
        "/v1/ignores".to_owned(),
        "/v1/pipelines".to_owned(),
        "/v1/pipelines/kernels/shadows".to_owned(),
        "/v1/pipelines/kernels/shadows/ignore/0/differences".to_owned(),
        format!("/v1/decision-records?id={decision}"),
        "/v1/decision-records?since=2999-01-01T00:00:00Z".to_owned(),
        "/v1/decision-records?hook=ignore&until=2020-01-01T00:00:00Z".to_owned(),
    ];
    let mut bad = vec![];
    for path in &paths {
        // A prepared statement is planned for its parameters five times, and then perhaps for all.
        for _ in 0..7 {
            let answer = host.request(reqwest::Method::GET, path).send().await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status(), 200, "{path}");
            // To its end: some answers are made while they are read.
            answer.text().await.expect("a body");
        }
        let plans = plans.take();
        assert!(plans.len() >= 7, "{path}: {} plans came", plans.len());
        let scans: BTreeSet<&String> = plans
            .iter()
            .filter(|plan| GROWING.iter().any(|table| reads_whole(plan, table)))
            .collect();
        bad.extend(scans.iter().take(1).map(|plan| format!("{path}\n{plan}")));
    }
    assert!(
        bad.is_empty(),
        "{} lists read a whole table:\n\n{}",
        bad.len(),
        bad.join("\n\n")
    );

    // So do writes, and what follows from them.
    let set = serde_json::json!({"state": "built"});
    host.send(
        reqwest::Method::PATCH,
        &format!("/v1/kernels/d7/{version}"),
        set,
    )
    .await;
    host.kernels("d7", &["new-1", "new-2"]).await;
    let run = serde_json::json!({"runs": [{"distro": "d7", "version": version, "purpose": "build", "key": "k"}]});
    host.post("/v1/runs", run).await;
    host.idle().await;
    for plan in plans.take() {
        let whole = GROWING.iter().find(|table| reads_whole(&plan, table));
        // The pipeline's page shows how much a sweep has left to do, from a count that is exact.
        assert!(
            whole.is_none(),
            "a write reads all of {}:\n{plan}",
            whole.unwrap()
        );
    }
}

/// Whether a plan reads a table from one end to the other without an index.
fn reads_whole(plan: &str, table: &str) -> bool {
    let scan = format!("Seq Scan on {table} ");
    plan.lines().any(|line| format!("{line} ").contains(&scan))
}
