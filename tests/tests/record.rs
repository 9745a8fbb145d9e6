//! The record: batches, generations, events, and what they promise, also to somebody in `psql`.

use pointsman_tests::{TestDatabase, TestHost, success, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

/// What Postgres answered to a statement that it must refuse: SQLSTATE, message and hint.
async fn refused(connection: &mut PgConnection, sql: &str) -> (String, String, String) {
    let error = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut *connection)
        .await
        .expect_err(sql);
    let database = error.as_database_error().expect("an error of the database");
    let hint = database
        .downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .hint()
        .unwrap_or_default()
        .to_owned();
    let found = (
        database.code().unwrap_or_default().into_owned(),
        database.message().to_owned(),
        hint,
    );
    sqlx::raw_sql("rollback")
        .execute(connection)
        .await
        .expect("a rollback");
    found
}

async fn run(connection: &mut PgConnection, sql: &str) {
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
    {
        panic!("{error}: {sql}");
    }
}

async fn count(connection: &mut PgConnection, table: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
        .fetch_one(connection)
        .await
        .expect("a count")
}

#[tokio::test]
async fn a_batch_is_one_generation_and_its_repetition_none() {
    let (_db, host) = TestHost::start().await;
    host.distro("ubuntu-22.04").await;
    host.distro("ubuntu-20.04").await;
    let first = host
        .kernels("ubuntu-22.04", &["5.15.0-57-generic", "6.5.0-1-generic"])
        .await;
    assert_eq!(
        (&first["created"], &first["unchanged"]),
        (&json!(2), &json!(0))
    );
    assert!(first["generation"].is_number());
    let again = host
        .kernels("ubuntu-22.04", &["5.15.0-57-generic", "6.5.0-1-generic"])
        .await;
    assert_eq!(
        (&again["created"], &again["unchanged"], &again["generation"]),
        (&json!(0), &json!(2), &json!(null))
    );

    // The same string in two distros is two versions.
    host.kernels("ubuntu-20.04", &["5.15.0-57-generic"]).await;
    assert_eq!(
        host.kernel_names("like=5.15.0-57-generic").await,
        [
            "ubuntu-22.04/5.15.0-57-generic",
            "ubuntu-20.04/5.15.0-57-generic"
        ]
    );

    let set = json!({"state": "built", "comment": "Jenkins build 13343"});
    let path = "/v1/kernels/ubuntu-22.04/5.15.0-57-generic";
    let written = host.send(Method::PATCH, path, set.clone()).await;
    assert_eq!(written["updated"], 1);
    let noop = host.send(Method::PATCH, path, set).await;
    assert_eq!(
        (&noop["updated"], &noop["generation"]),
        (&json!(0), &json!(null))
    );

    let events = host.events("name=ubuntu-22.04/5.15.0-57-generic", 2).await;
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(events[0]["operation"], "create");
    assert_eq!(events[0]["changes"], json!({"state": "seen"}));
    assert_eq!(events[1]["operation"], "update");
    assert_eq!(events[1]["changes"], json!({"state": ["seen", "built"]}));
    assert_eq!(events[1]["comment"], "Jenkins build 13343");
    assert_eq!(events[1]["user"], "admin");
    // The namesake in the other distro is untouched.
    assert_eq!(
        host.get("/v1/kernels/ubuntu-20.04/5.15.0-57-generic").await["state"],
        "seen"
    );

    let generation = host
        .get(&format!("/v1/generations/{}", written["generation"]))
        .await;
    assert_eq!(
        (
            &generation["comment"],
            &generation["user"],
            &generation["address"],
            &generation["events"]
        ),
        (
            &json!("Jenkins build 13343"),
            &json!("admin"),
            &json!("127.0.0.1"),
            &json!(1)
        )
    );
    assert!(generation["at"].is_string());
}

#[tokio::test]
async fn a_batch_counts_a_repeated_row_once() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    let written = host.kernels("d", &["1", "2", "1"]).await;
    assert_eq!(
        (&written["created"], &written["unchanged"]),
        (&json!(2), &json!(1))
    );
    // Names that differ from one another in case or a trailing dot alone are different versions.
    host.kernels("d", &["1.", "A", "a"]).await;
    assert_eq!(
        host.kernel_names("").await,
        ["d/1", "d/1.", "d/2", "d/A", "d/a"]
    );
}

#[tokio::test]
async fn psql_is_held_to_the_same_rules() {
    let db = TestDatabase::new().await;
    let mut psql = db.connect().await;

    let add = "insert into distro (name, variant) values ('debian-12', 'DEBIAN12')";
    let (code, message, hint) = refused(&mut psql, add).await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("PM001", "a change to the record needs a generation")
    );
    assert!(hint.contains("generation_start("), "{hint}");
    for sql in [
        "update kernel_state set rank = 11 where name = 'seen'",
        "delete from kernel_state",
    ] {
        assert_eq!(refused(&mut psql, sql).await.0, "PM001", "{sql}");
    }

    // A change typed with a generation is journalled as one that came through the API.
    run(
        &mut psql,
        &format!("begin; select generation_start('a person at night'); {add}; commit"),
    )
    .await;
    run(
        &mut psql,
        "begin; select generation_start('two at once');
         insert into kernel_version (distro_id, version, state_id)
           select d.id, v, s.id from distro d, kernel_state s, unnest(array['6.1.0-1', '6.1.0-2']) v
           where d.name = 'debian-12' and s.name = 'seen';
         update kernel_version set state_id = (select id from kernel_state where name = 'fetched')
           where version = '6.1.0-1';
         delete from kernel_version where version = '6.1.0-2';
         commit",
    )
    .await;
    let events: Vec<(String, String, String, Value, String, String)> = sqlx::query_as(
        "select e.kind, e.operation, e.name, e.changes, g.comment, g.username
         from event e join generation g on g.id = e.generation
         where g.comment <> 'Stock states and the kernel pipeline' order by e.epoch, e.tx, e.id",
    )
    .fetch_all(&mut psql)
    .await
    .unwrap();
    let shown: Vec<(&str, &str, &str, &Value, &str)> = events
        .iter()
        .map(|e| (e.0.as_str(), e.1.as_str(), e.2.as_str(), &e.3, e.4.as_str()))
        .collect();
    let seen = json!({"state": "seen"});
    assert_eq!(
        shown,
        [
            (
                "distro",
                "create",
                "debian-12",
                &json!({"variant": "DEBIAN12", "supported": true}),
                "a person at night"
            ),
            (
                "kernel_version",
                "create",
                "debian-12/6.1.0-1",
                &seen,
                "two at once"
            ),
            (
                "kernel_version",
                "create",
                "debian-12/6.1.0-2",
                &seen,
                "two at once"
            ),
            (
                "kernel_version",
                "update",
                "debian-12/6.1.0-1",
                &json!({"state": ["seen", "fetched"]}),
                "two at once"
            ),
            (
                "kernel_version",
                "delete",
                "debian-12/6.1.0-2",
                &seen,
                "two at once"
            ),
        ]
    );
    let me: String = sqlx::query_scalar("select session_user::text")
        .fetch_one(&mut psql)
        .await
        .unwrap();
    assert!(events.iter().all(|e| e.5 == me), "{events:?}");

    for table in [
        "kernel_version",
        "event",
        "generation",
        "distro",
        "token",
        "binding",
        "run, kernel_ignored",
    ] {
        let (code, message, _) = refused(&mut psql, &format!("truncate {table} cascade")).await;
        assert_eq!(code, "PM004", "{table}: {message}");
    }
}

#[tokio::test]
async fn a_generation_cannot_be_forged() {
    let db = TestDatabase::new().await;
    let mut psql = db.connect().await;
    run(&mut psql, "begin; select generation_start('real'); insert into distro (name, variant) values ('a', 'A'); commit").await;
    let forged = "insert into distro (name, variant) values ('b', 'B')";
    for prelude in [
        // The setting is a cache, never the truth.
        "set pointsman.generation = '1'".to_owned(),
        "begin; set local pointsman.generation = '1'".to_owned(),
        "begin; select set_config('pointsman.generation', (select max(id)::text from generation), true)".to_owned(),
    ] {
        run(&mut psql, &prelude).await;
        let (code, ..) = refused(&mut psql, forged).await;
        assert_eq!(code, "PM001", "{prelude}");
    }
    let begin = "begin; select generation_start('mine');";
    for (sql, expected) in [
        ("insert into distro (name, variant, generation) values ('b', 'B', 1)", "PM005"),
        // The cache is poisoned while the statement runs.
        (
            "insert into distro (name, variant) select 'b', set_config('pointsman.generation', '1', true)",
            "PM005",
        ),
        ("update distro set variant = (select 'X' || set_config('pointsman.generation', '1', true))", "PM005"),
        ("update generation set comment = 'nicer'", "PM003"),
        ("update generation set username = 'somebody else' where comment = 'real'", "PM003"),
        ("delete from generation where comment = 'real'", "PM003"),
        ("delete from event", "PM003"),
        ("update event set name = 'x'", "PM003"),
        (
            "insert into event (epoch, tx, generation, kind, operation, name, changes)
             values (1, pg_current_xact_id(), generation_id(), 'distro', 'create', 'ghost', '{}')",
            "PM003",
        ),
        // Pretending to import history: it may only lie before everything that happened here.
        (
            "select set_config('pointsman.importing', pg_current_xact_id()::text, true);
             insert into event (epoch, tx, generation, kind, operation, name, changes)
             values (1, pg_current_xact_id(), generation_id(), 'distro', 'create', 'ghost', '{}')",
            "PM003",
        ),
        (
            "select set_config('pointsman.importing', pg_current_xact_id()::text, true);
             insert into generation (comment, username, epoch, tx) values ('forged', 'boss', 1, '7')",
            // Its own transaction and epoch are put in, which has a generation already.
            "23505",
        ),
        ("select generation_start('a second one')", "PM002"),
    ] {
        let (code, message, _) = refused(&mut psql, &format!("{begin} {sql}")).await;
        assert_eq!(code, expected, "{sql}: {message}");
    }
    // An update that names another generation is stamped with its own.
    run(
        &mut psql,
        &format!(
            "{begin} update distro set variant = 'AA', generation = 1 where name = 'a'; commit"
        ),
    )
    .await;
    let (own, there): (i64, i64) = sqlx::query_as(
        "select d.generation, g.id from distro d, generation g where d.name = 'a' and g.comment = 'mine'",
    )
    .fetch_one(&mut psql)
    .await
    .unwrap();
    assert_eq!(own, there);
}

#[tokio::test]
async fn what_changes_nothing_leaves_no_event_and_no_generation() {
    let db = TestDatabase::new().await;
    let mut psql = db.connect().await;
    let before = (
        count(&mut psql, "generation").await,
        count(&mut psql, "event").await,
    );
    for sql in [
        "",
        "update kernel_state set rank = rank",
        "update kernel_state set rank = 10 where name = 'seen'",
        "insert into kernel_state (name, rank) values ('seen', 99) on conflict (name) do nothing",
        "update cluster_type set name = 'own' where name = 'own'",
        "insert into cluster_type (name) select 'x' where false",
    ] {
        run(
            &mut psql,
            &format!("begin; select generation_start('nothing'); {sql}; commit"),
        )
        .await;
        assert_eq!(
            (
                count(&mut psql, "generation").await,
                count(&mut psql, "event").await
            ),
            before,
            "{sql}"
        );
    }
    let (code, ..) = refused(&mut psql, "begin; select generation_start('')").await;
    assert_eq!(code, "23514");
    assert_eq!(
        (
            count(&mut psql, "generation").await,
            count(&mut psql, "event").await
        ),
        before
    );

    let host = db.serve().await;
    let before = host.get("/v1/generations").await["items"]
        .as_array()
        .unwrap()
        .len();
    let distro = json!({"distros": [{"name": "a", "variant": "A"}]});
    assert_eq!(host.post("/v1/distros", distro.clone()).await["created"], 1);
    assert_eq!(
        host.post("/v1/distros", distro).await["generation"],
        json!(null)
    );
    let change = json!({"variant": "A", "supported": true});
    assert_eq!(
        host.send(Method::PATCH, "/v1/distros/a", change).await["unchanged"],
        1
    );
    host.kernels("a", &["1"]).await;
    let set = json!({"kernels": [{"distro": "a", "version": "1", "state": "seen"}]});
    assert_eq!(
        host.send(Method::PATCH, "/v1/kernels", set).await["unchanged"],
        1
    );
    assert_eq!(
        host.post("/v1/kernels/a/1/restore", json!({})).await["unchanged"],
        1
    );
    let after = host.get("/v1/generations").await["items"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(after - before, 2, "one for the distro, one for the version");
}

#[tokio::test]
async fn deleting_is_a_mark_that_is_journalled_and_reversible() {
    let (_db, host) = TestHost::start().await;
    host.distro("a").await;
    host.kernels("a", &["1", "2"]).await;
    for path in ["/v1/kernels/a/1", "/v1/distros/a"] {
        let deleted = host
            .send(Method::DELETE, &format!("{path}?comment=gone"), json!({}))
            .await;
        assert_eq!(deleted["updated"], 1, "{path}");
        let again = host.send(Method::DELETE, path, json!({})).await;
        assert_eq!(
            (&again["updated"], &again["generation"]),
            (&json!(0), &json!(null)),
            "{path}"
        );
        assert_eq!(host.get(path).await["deleted"], true, "{path}");
    }
    assert_eq!(host.kernel_names("").await, ["a/2"]);
    assert_eq!(host.kernel_names("deleted=true").await, ["a/1"]);
    assert_eq!(host.get("/v1/distros").await["items"], json!([]));
    assert_eq!(
        host.get("/v1/distros?deleted=true").await["items"][0]["name"],
        "a"
    );
    // A creation does not undelete, and says so.
    assert_eq!(
        host.kernels("a", &["1", "3"]).await["deleted"],
        json!(["a/1"])
    );
    let gone = host
        .refused(
            Method::PATCH,
            "/v1/kernels/a/1",
            Some(json!({"state": "built"})),
        )
        .await;
    assert_eq!(
        (&gone["status"], &gone["code"]),
        (&json!(404), &json!("kernel_unknown"))
    );

    for path in ["/v1/kernels/a/1", "/v1/distros/a"] {
        assert_eq!(
            host.post(&format!("{path}/restore"), json!({"comment": "back"}))
                .await["updated"],
            1
        );
        assert_eq!(host.get(path).await["deleted"], json!(null));
    }
    assert_eq!(host.kernel_names("").await, ["a/1", "a/2", "a/3"]);
    for (name, comments) in [("a/1", ["gone", "back"]), ("a", ["gone", "back"])] {
        let events = host.events(&format!("name={name}"), 3).await;
        let what: Vec<&str> = events.iter().map(|e| text(&e["operation"])).collect();
        assert_eq!(what, ["create", "delete", "update"], "{name}");
        assert_eq!(
            [&events[1]["comment"], &events[2]["comment"]],
            comments,
            "{name}"
        );
        let time = &events[1]["changes"]["deleted"][1];
        assert!(time.is_string(), "{events:#?}");
        assert_eq!(
            events[2]["changes"],
            json!({"deleted": [time, null]}),
            "{name}"
        );
    }
}

/// Sends a write until there is room for it: on a busy machine a host turns some away, unwritten. A
/// deadlock would be a conflict, and is no reason to try again.
async fn insist(host: &TestHost, method: &Method, path: &str, body: &Value) -> Value {
    wait_for("the host takes the write", async || {
        let answer = host
            .request(method.clone(), path)
            .json(body)
            .send()
            .await
            .expect("an answer");
        match answer.status().as_u16() {
            503 => None,
            _ => Some(success(answer).await),
        }
    })
    .await
}

#[tokio::test]
async fn many_writers_at_once_lose_nothing_and_do_not_deadlock() {
    let (db, host) = TestHost::start().await;
    host.distro("a").await;
    host.distro("b").await;
    host.post(
        "/v1/clusters",
        json!({"clusters": [{"name": "c", "type": "own"}, {"name": "e", "type": "own"}]}),
    )
    .await;
    // Each writer takes an overlapping piece of the same rows, every other one backwards.
    let writers = 12;
    let piece = |n: usize| {
        let mut rows: Vec<(&str, String)> = (0..120)
            .map(|i| {
                (
                    if i % 2 == 0 { "a" } else { "b" },
                    format!("6.{}", (n * 40 + i) % 300),
                )
            })
            .collect();
        if n % 2 == 1 {
            rows.reverse();
        }
        rows
    };
    let body = |n: usize, state: Option<&str>| {
        let kernels: Vec<Value> = piece(n)
            .iter()
            .map(|(distro, version)| match state {
                Some(state) => json!({"distro": distro, "version": version, "state": state}),
                None => json!({"distro": distro, "version": version}),
            })
            .collect();
        json!({"comment": format!("writer {n}"), "kernels": kernels})
    };
    let bodies: Vec<Value> = (0..writers).map(|n| body(n, None)).collect();
    let creations = bodies
        .iter()
        .map(|body| insist(&host, &Method::POST, "/v1/kernels", body));
    let created = futures::future::join_all(creations).await;
    let total: u64 = created.iter().map(|w| w["created"].as_u64().unwrap()).sum();
    let wanted: std::collections::BTreeSet<_> = (0..writers).flat_map(piece).collect();
    assert_eq!(total as usize, wanted.len());
    for written in &created {
        assert_eq!(
            written["created"].as_u64().unwrap() + written["unchanged"].as_u64().unwrap(),
            120
        );
    }

    // Now every kind of write at once over the same rows: states, hosts that have them, runs of them,
    // patterns, packages.
    let states = ["fetched", "built", "tested", "seen"];
    let mut writes: Vec<(Method, &str, Value)> = vec![];
    for n in 0..writers {
        writes.push((
            Method::PATCH,
            "/v1/kernels",
            body(n, Some(states[n % states.len()])),
        ));
        let installed: Vec<Value> = piece(n)
            .iter()
            .take(60)
            .map(|(d, v)| json!({"distro": d, "version": v, "current": false}))
            .collect();
        let mut hosts: Vec<Value> = ["c", "e"]
            .iter()
            .map(|c| json!({"cluster": c, "host": format!("h{}", n % 3), "kernels": installed}))
            .collect();
        let mut patterns: Vec<Value> = (0..8)
            .map(|i| json!({"kind": "like", "pattern": format!("x{i}%"), "reason": format!("writer {n}")}))
            .collect();
        if n % 2 == 1 {
            hosts.reverse();
            patterns.reverse();
        }
        writes.push((Method::POST, "/v1/hosts", json!({"hosts": hosts})));
        writes.push((Method::POST, "/v1/ignores", json!({"ignores": patterns})));
        let runs: Vec<Value> = piece(n)
            .iter()
            .map(|(d, v)| json!({"distro": d, "version": v, "purpose": "build", "verdict": "pass", "key": "k"}))
            .collect();
        writes.push((Method::POST, "/v1/runs", json!({"runs": runs})));
        let found: Vec<Value> = piece(n)
            .iter()
            .map(|(d, v)| json!({"distro": d, "version": v, "packages": [{"name": format!("linux-{n}"), "version": "1", "role": "image"}]}))
            .collect();
        writes.push((Method::POST, "/v1/detections", json!({"kernels": found})));
    }
    let writes = writes
        .iter()
        .map(|(method, path, body)| insist(&host, method, path, body));
    let written = futures::future::join_all(writes).await;

    // One generation for each batch that changed something, and each of its events in it alone.
    let mut psql = db.connect().await;
    let generations: std::collections::BTreeSet<i64> = created
        .iter()
        .chain(&written)
        .filter_map(|w| w["generation"].as_i64())
        .collect();
    let answered = created
        .iter()
        .chain(&written)
        .filter(|w| !w["generation"].is_null())
        .count();
    assert_eq!(generations.len(), answered);
    for generation in &created {
        let Some(id) = generation["generation"].as_i64() else {
            continue;
        };
        let events: i64 = sqlx::query_scalar("select count(*) from event where generation = $1")
            .bind(id)
            .fetch_one(&mut psql)
            .await
            .unwrap();
        assert_eq!(events, generation["created"].as_i64().unwrap());
    }
    let lost: i64 = sqlx::query_scalar(
        "select count(*) from kernel_version k join distro d on d.id = k.distro_id
         where not exists (select from event e where e.name = d.name || '/' || k.version and e.operation = 'create')",
    )
    .fetch_one(&mut psql)
    .await
    .unwrap();
    assert_eq!(
        (lost, count(&mut psql, "kernel_version").await),
        (0, wanted.len() as i64)
    );
    // No two transactions share a generation, and no events stand under another's.
    let foreign: i64 = sqlx::query_scalar(
        "select count(*) from event e left join generation g on g.id = e.generation and g.tx = e.tx and g.epoch = e.epoch
         where g.id is null",
    )
    .fetch_one(&mut psql)
    .await
    .unwrap();
    assert_eq!(foreign, 0);
    // The history of each version ends in the state that it has: no update was lost or written twice.
    let torn: i64 = sqlx::query_scalar(
        "with last as (
           select distinct on (name) name, changes->'state'->>1 as state from event
           where kind = 'kernel_version' and operation = 'update' and changes ? 'state'
           order by name, epoch desc, tx desc, id desc)
         select count(*) from last join (
           select d.name || '/' || k.version as name, s.name as state, k.generation
           from kernel_version k join distro d on d.id = k.distro_id join kernel_state s on s.id = k.state_id) now
         using (name)
         where now.state not in (
           select e.changes->'state'->>1 from event e where e.name = now.name and e.changes ? 'state')",
    )
    .fetch_one(&mut psql)
    .await
    .unwrap();
    assert_eq!(torn, 0);
    let broken: i64 = sqlx::query_scalar(
        "select count(*) from (
           select name, at, id, changes->'state'->>0 as old,
             lag(case when operation = 'create' then changes->>'state' else changes->'state'->>1 end)
               over (partition by name order by id) as before
           from event where kind = 'kernel_version' and changes ? 'state') chain
         where before is not null and old <> before",
    )
    .fetch_one(&mut psql)
    .await
    .unwrap();
    assert_eq!(
        broken, 0,
        "each change starts from what the one before left"
    );
}

/// PostgreSQL plans a statement of a trigger for as many rows as there were when a connection ran it first.
#[tokio::test]
async fn thousands_are_changed_by_connections_that_have_changed_one() {
    const VERSIONS: i64 = 15_000;
    /// More than the host has connections for writing.
    const FIRST: i64 = 16;
    let (_db, host) = TestHost::start().await;
    host.distro("debian-12").await;
    let every = |of: &dyn Fn(i64) -> Value| (0..VERSIONS).map(of).collect::<Vec<_>>();
    let kernels = every(&|n| json!({"distro": "debian-12", "version": format!("6.1.{n}")}));
    host.post("/v1/kernels", json!({"kernels": kernels})).await;
    let single = (0..FIRST).map(async |n| {
        let path = format!("/v1/kernels/debian-12/6.1.{n}");
        host.send(Method::PATCH, &path, json!({"state": "built"}))
            .await
    });
    futures::future::join_all(single).await;
    let states = every(
        &|n| json!({"distro": "debian-12", "version": format!("6.1.{n}"), "state": "tested"}),
    );
    let body = json!({"comment": "all of them", "kernels": states});
    let written = host.send(Method::PATCH, "/v1/kernels", body).await;
    assert_eq!(written["updated"], VERSIONS);
    let generation = &written["generation"];
    let shown = host.get(&format!("/v1/generations/{generation}")).await;
    assert_eq!(shown["events"], VERSIONS, "each with its event");
}
