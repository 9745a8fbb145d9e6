//! Events: each exactly once, by cursor and live, however late its transaction commits.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use pointsman_tests::{PATIENCE, TestDatabase, TestHost, problem, text, wait_for};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A reader who follows by cursor, as `curl` in a loop would.
struct Reader<'a> {
    host: &'a TestHost,
    filter: &'a str,
    cursor: Option<String>,
    names: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(host: &'a TestHost, filter: &'a str) -> Self {
        Self {
            host,
            filter,
            cursor: None,
            names: vec![],
        }
    }

    /// Reads what there is now.
    async fn read(&mut self) {
        loop {
            let after = self
                .cursor
                .as_ref()
                .map(|c| format!("&after={c}"))
                .unwrap_or_default();
            let page = self
                .host
                .get(&format!("/v1/events?limit=7&{}{after}", self.filter))
                .await;
            let items = page["items"].as_array().expect("items");
            for event in items {
                self.names.push(text(&event["name"]).to_owned());
                self.cursor = Some(text(&event["cursor"]).to_owned());
            }
            assert_eq!(page["next"].is_string(), items.len() == 7);
            if items.len() < 7 {
                return;
            }
        }
    }
}

async fn sql(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .expect("a statement");
}

const ADD: &str = "insert into kernel_version (distro_id, version, state_id)
    select d.id, v, s.id from distro d, kernel_state s, unnest($V) v where d.name = 'd' and s.name = 'seen'";

fn add(versions: &[&str]) -> String {
    ADD.replace("$V", &format!("array['{}']", versions.join("','")))
}

#[tokio::test]
async fn a_reader_by_cursor_waits_for_an_older_transaction_and_one_by_id_misses_it() {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    let mut reader = Reader::new(&host, "kind=kernel_version");

    // The older transaction writes first, so its events have the lower ids, and stays open.
    let mut older = db.connect().await;
    sql(
        &mut older,
        "begin; select generation_start('begun early, committed late')",
    )
    .await;
    sql(&mut older, &add(&["early-1", "early-2"])).await;
    // A younger one comes through the API and commits.
    host.kernels("d", &["late-1", "late-2"]).await;

    // Somebody who reads by id sees the younger one, and goes on from there.
    let mut psql = db.connect().await;
    let by_id = "select name, id from event where kind = 'kernel_version' and id > $1 order by id";
    let naive: Vec<(String, i64)> = sqlx::query_as(by_id)
        .bind(0_i64)
        .fetch_all(&mut psql)
        .await
        .unwrap();
    let names: Vec<&str> = naive.iter().map(|e| e.0.as_str()).collect();
    assert_eq!(names, ["d/late-1", "d/late-2"]);
    let last = naive.last().unwrap().1;

    reader.read().await;
    assert_eq!(
        reader.names, [""; 0],
        "the younger events wait for the older transaction"
    );
    let stream = Stream::open(
        &host,
        "kind=kernel_version&since=2000-01-01T00:00:00Z",
        None,
    )
    .await;

    sql(&mut older, "commit").await;
    let missed: Vec<(String, i64)> = sqlx::query_as(by_id)
        .bind(last)
        .fetch_all(&mut psql)
        .await
        .unwrap();
    assert_eq!(missed, [], "by id alone, the late commit is never seen");

    wait_for("all four are shown", async || {
        let page = host.get("/v1/events?kind=kernel_version").await;
        (page["items"].as_array().unwrap().len() == 4).then_some(())
    })
    .await;
    reader.read().await;
    let all = ["d/early-1", "d/early-2", "d/late-1", "d/late-2"];
    assert_eq!(reader.names, all);
    assert_eq!(stream.names(4).await, all);
    reader.read().await;
    assert_eq!(reader.names, all, "and none twice");
}

#[tokio::test]
async fn a_transaction_that_rolls_back_holds_nobody_up() {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    let mut older = db.connect().await;
    sql(&mut older, "begin; select generation_start('regretted')").await;
    sql(&mut older, &add(&["never"])).await;
    host.kernels("d", &["1"]).await;
    let stream = Stream::open(
        &host,
        "kind=kernel_version&since=2000-01-01T00:00:00Z",
        None,
    )
    .await;
    sql(&mut older, "rollback").await;
    assert_eq!(stream.names(1).await, ["d/1"]);
}

#[tokio::test]
async fn readers_by_cursor_and_live_see_each_event_once_under_concurrent_writers() {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    let stream = Stream::open(&host, "kind=kernel_version", None).await;
    let writers = 8;
    let batches = 5;
    let done = std::cell::Cell::new(0);
    let write = async |writer: usize| {
        let mut own = db.connect().await;
        for batch in 0..batches {
            let versions: Vec<String> = (0..3).map(|n| format!("{writer}.{batch}.{n}")).collect();
            let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
            if writer.is_multiple_of(2) {
                host.kernels("d", &versions).await;
            } else {
                // Half of them linger between their statements, so that commits overtake each other.
                sql(&mut own, "begin; select generation_start('slow')").await;
                sql(&mut own, &add(&versions[..1])).await;
                sql(&mut own, &add(&versions[1..])).await;
                sql(&mut own, "commit").await;
            }
        }
        done.set(done.get() + 1);
    };
    let mut reader = Reader::new(&host, "kind=kernel_version");
    let read = async {
        while done.get() < writers {
            reader.read().await;
        }
    };
    let expected = writers * batches * 3;
    tokio::join!(futures::future::join_all((0..writers).map(write)), read);
    let settled = host
        .events("kind=kernel_version&limit=1000", expected)
        .await;
    reader.read().await;
    let order: Vec<&str> = settled.iter().map(|e| text(&e["name"])).collect();
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), expected);
    assert_eq!(reader.names, order);
    assert_eq!(stream.names(expected).await, order);
}

#[tokio::test]
async fn a_stream_resumes_where_the_reader_was() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["before"]).await;
    host.events("kind=kernel_version", 1).await;

    // Without a place to resume from it begins now.
    let live = Stream::open(&host, "kind=kernel_version", None).await;
    host.kernels("d", &["1", "2", "3"]).await;
    let frames = live.take(2).await;
    assert_eq!(
        [text(&frames[0].1["name"]), text(&frames[1].1["name"])],
        ["d/1", "d/2"]
    );
    assert_eq!(frames[0].0, text(&frames[0].1["cursor"]));

    // The connection broke; more happened; `Last-Event-ID` says what was seen, and wins over `after`.
    host.kernels("d", &["4"]).await;
    let query = format!("kind=kernel_version&after={}", frames[0].0);
    let resumed = Stream::open(&host, &query, Some(&frames[1].0)).await;
    assert_eq!(resumed.names(2).await, ["d/3", "d/4"]);
    let after = Stream::open(&host, &query, None).await;
    assert_eq!(after.names(3).await, ["d/2", "d/3", "d/4"]);

    let refused = host
        .request(Method::GET, "/v1/events/stream")
        .header("Last-Event-ID", "rubbish")
        .send()
        .await;
    assert_eq!(problem(refused.unwrap()).await["code"], "cursor_invalid");
    let backwards = host
        .refused(Method::GET, "/v1/events/stream?newest=true", None)
        .await;
    assert_eq!(backwards["code"], "newest_invalid");

    // A host that shuts down ends its streams, and does not wait for their readers.
    let idle = Stream::open(&host, "kind=token", None).await;
    host.stop().await;
    assert!(idle.end().await);
}

#[tokio::test]
async fn events_are_filtered_and_paged() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.distro("d2").await;
    let first = host.kernels("d", &["1", "10", "2"]).await;
    host.kernels("d2", &["1"]).await;
    host.send(Method::PATCH, "/v1/kernels/d/1", json!({"state": "built"}))
        .await;
    host.send(Method::DELETE, "/v1/kernels/d/2", json!({}))
        .await;
    host.post(
        "/v1/runs",
        json!({"runs": [{"distro": "d", "version": "1", "purpose": "test", "verdict": "pass", "key": "j"}]}),
    )
    .await;
    let run = host.events("kind=run", 1).await;
    let run_name = text(&run[0]["name"]).to_owned();
    assert!(run_name.starts_with("d/1 test #"), "{run_name}");
    let names = async |query: &str| -> Vec<String> {
        let page = host.get(&format!("/v1/events?{query}")).await;
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| text(&e["name"]).to_owned())
            .collect()
    };
    assert_eq!(
        names("kind=kernel_version&operation=create").await,
        ["d/1", "d/10", "d/2", "d2/1"]
    );
    assert_eq!(names("kind=kernel_version&operation=update").await, ["d/1"]);
    assert_eq!(names("operation=delete").await, ["d/2"]);
    assert_eq!(names("name=d/1").await, ["d/1", "d/1"]);
    // The runs of a version are behind its name and a blank.
    assert_eq!(names("name_prefix=d/1%20").await, [run_name.as_str()]);
    assert_eq!(names("name_prefix=d/").await.len(), 6);
    assert_eq!(
        names(&format!("generation={}", first["generation"])).await,
        ["d/1", "d/10", "d/2"]
    );
    assert_eq!(names("generation=999999").await, [""; 0]);
    assert_eq!(names("since=2999-01-01T00:00:00Z").await, [""; 0]);
    assert_eq!(
        names("kind=kernel_version&since=2000-01-01T00:00:00Z")
            .await
            .len(),
        6
    );
    assert_eq!(names("kind=nothing").await, [""; 0]);

    // Newest first is the same, backwards, also over pages.
    let forward = names("limit=1000").await;
    let mut backward = vec![];
    let mut cursor = String::new();
    loop {
        let page = host
            .get(&format!("/v1/events?newest=true&limit=4{cursor}"))
            .await;
        backward.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| text(&e["name"]).to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    backward.reverse();
    assert_eq!(backward, forward);
    // Stock events come first and are history like any other.
    assert_eq!(forward[0], "seen");

    for bad in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "since=yesterday",
        "operation=undo",
        "frobnicate=1",
        "generation=x",
    ] {
        let refusal = host
            .refused(Method::GET, &format!("/v1/events?{bad}"), None)
            .await;
        assert_eq!(refusal["status"], 422, "{bad}: {refusal}");
    }
}

#[tokio::test]
async fn a_reader_that_began_behind_an_event_turns_the_pages_from_there() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    for version in ["1", "2", "3"] {
        host.kernels("d", &[version]).await;
    }
    let events = host.events("kind=kernel_version", 3).await;
    let first = format!(
        "/v1/events?kind=kernel_version&limit=1&after={}",
        text(&events[0]["cursor"])
    );
    let page = host.get(&first).await;
    assert_eq!(page["items"][0]["name"], "d/2");
    let next = host
        .get(&format!("{first}&cursor={}", text(&page["next"])))
        .await;
    assert_eq!(next["items"][0]["name"], "d/3", "{next}");
}

#[tokio::test]
async fn a_cursor_of_another_database_is_refused() {
    let db = TestDatabase::new().await;
    let host = db.serve().await;
    host.distro("d").await;
    host.kernels("d", &["1"]).await;
    let events = host.events("kind=kernel_version", 1).await;
    let cursor = text(&events[0]["cursor"]).to_owned();
    host.stop().await;

    // A restore: the same rows, tables and cursors, in another database.
    let url = copy(&db).await;
    let restored = TestHost::on(&url, tempfile::tempdir().unwrap()).await;
    let path = format!("/v1/events?after={cursor}");
    let refusal = restored.refused(Method::GET, &path, None).await;
    assert_eq!(
        (&refusal["status"], &refusal["code"]),
        (&json!(410), &json!("cursor_foreign"))
    );
    assert!(
        text(&refusal["hint"]).contains("leave `after` out"),
        "{refusal}"
    );
    let stream = restored
        .request(Method::GET, "/v1/events/stream")
        .header("Last-Event-ID", &cursor);
    assert_eq!(
        problem(stream.send().await.unwrap()).await["code"],
        "cursor_foreign"
    );
    // What came before is still there, and what is written now has cursors of its own, behind it.
    restored.kernels("d", &["2"]).await;
    let events = restored.events("kind=kernel_version", 2).await;
    assert_eq!([&events[0]["name"], &events[1]["name"]], ["d/1", "d/2"]);
    let after = format!("kind=kernel_version&after={}", text(&events[0]["cursor"]));
    assert_eq!(restored.events(&after, 1).await[0]["name"], "d/2");

    // The original did not change: its cursor is good where it was issued.
    let original = TestHost::on(&db.url, tempfile::tempdir().unwrap()).await;
    assert_eq!(
        original.get(&path).await["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["kind"] != "token")
            .count(),
        0
    );
    let foreign = text(&events[1]["cursor"]).to_owned();
    let refusal = original
        .refused(Method::GET, &format!("/v1/events?after={foreign}"), None)
        .await;
    assert_eq!(refusal["code"], "cursor_foreign");

    for bad in [
        "x",
        "a.b.c.d",
        "....",
        "%00",
        &cursor[..cursor.len() - 2].replace('.', "_"),
        &"9".repeat(4_000),
    ] {
        let refusal = original
            .refused(Method::GET, &format!("/v1/events?after={bad}"), None)
            .await;
        assert!(
            ["cursor_invalid", "cursor_foreign"].contains(&text(&refusal["code"])),
            "{bad}: {refusal}"
        );
    }
    let own = cursor.split('.').next().unwrap();
    for bad in [
        format!("{own}.1"),
        format!("{own}.x.1.1"),
        format!("{own}.1.-5.1"),
        format!("{own}.1.99999999999999999999999.1"),
    ] {
        let refusal = original
            .refused(Method::GET, &format!("/v1/events?after={bad}"), None)
            .await;
        assert_eq!(refusal["code"], "cursor_invalid", "{bad}: {refusal}");
    }
}

/// A copy of a database: what a restore gives. The host on it has stopped.
async fn copy(db: &TestDatabase) -> String {
    let mut url = url::Url::parse(&db.url).expect("an address");
    let name = url.path().trim_start_matches('/').to_owned();
    let copy = format!("{name}_copy");
    url.set_path("postgres");
    let mut admin = PgConnection::connect(url.as_str()).await.expect("connect");
    sql(
        &mut admin,
        &format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
    )
    .await;
    sql(
        &mut admin,
        &format!("create database {copy} template {name}"),
    )
    .await;
    url.set_path(&copy);
    url.to_string()
}

/// A stream of server-sent events.
struct Stream(Response);

impl Stream {
    async fn open(host: &TestHost, query: &str, last_seen: Option<&str>) -> Self {
        let mut request = host.request(Method::GET, &format!("/v1/events/stream?{query}"));
        if let Some(id) = last_seen {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response)
    }

    /// The next frames: id and data.
    async fn take(self, count: usize) -> Vec<(String, Value)> {
        let mut frames = vec![];
        let mut text = String::new();
        let mut bytes = self.0.bytes_stream();
        while frames.len() < count {
            let piece = tokio::time::timeout(PATIENCE, bytes.next()).await;
            let piece = piece
                .unwrap_or_else(|_| panic!("waited too long; {} of {count} came", frames.len()));
            text.push_str(
                std::str::from_utf8(&piece.expect("more").expect("a piece")).expect("UTF-8"),
            );
            while let Some(end) = text.find("\n\n") {
                let frame: String = text.drain(..end + 2).collect();
                let field = |name: &str| {
                    frame
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::trim)
                };
                // A comment is a heartbeat.
                let Some(data) = field("data:") else { continue };
                assert_eq!(field("event:"), Some("event"), "{frame}");
                frames.push((
                    field("id:").expect("an id").to_owned(),
                    serde_json::from_str(data).expect("JSON"),
                ));
            }
        }
        frames
    }

    async fn names(self, count: usize) -> Vec<String> {
        self.take(count)
            .await
            .iter()
            .map(|(_, event)| text(&event["name"]).to_owned())
            .collect()
    }

    /// Whether it ends by itself.
    async fn end(self) -> bool {
        tokio::time::timeout(PATIENCE, self.0.bytes()).await.is_ok()
    }
}
