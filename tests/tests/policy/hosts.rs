//! Several hosts on one database, and hosts that come after each other.

use pointsman_tests::guest::{self, Hook};
use pointsman_tests::{TestDatabase, TestHost, wait_for};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{ignore, ignored, roll_back, token};

/// How many sessions hold the lock of a pipeline of this database.
async fn holders(db: &TestDatabase) -> i64 {
    sqlx::query_scalar(
        "select count(*) from pg_locks l join pg_database d on d.oid = l.database
         where l.locktype = 'advisory' and l.granted and d.datname = current_database() and l.classid::bigint = x'706d'::bigint",
    )
    .fetch_one(&mut db.connect().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn two_hosts_serve_and_one_decides() {
    let (db, first) = TestHost::start().await;
    let second = db.serve().await;
    first.stock_policy().await;
    first.distro("debian-12").await;
    ignore(&second, "like", "6.5.%").await;
    first.kernels("debian-12", &["6.5.0-1"]).await;
    second.kernels("debian-12", &["6.5.0-2"]).await;
    for host in [&first, &second] {
        assert_eq!(
            ignored(host).await,
            ["debian-12/6.5.0-1", "debian-12/6.5.0-2"]
        );
    }
    assert_eq!(holders(&db).await, 1, "one holder");

    // A token that one host revokes is refused by the other, and one that it makes is known there.
    let secret = token(&first, "jenkins", "reader").await;
    let status = async || {
        second
            .request_as(&secret, Method::GET, "/v1/whoami")
            .send()
            .await
            .unwrap()
            .status()
    };
    wait_for("the token is known", async || {
        (status().await == StatusCode::OK).then_some(())
    })
    .await;
    let revoked = first
        .request(Method::DELETE, "/v1/tokens/jenkins")
        .send()
        .await
        .unwrap();
    assert!(revoked.status().is_success());
    wait_for("the token is refused", async || {
        (status().await == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;

    // Whoever held the pipeline stops; the other goes on.
    first.stop().await;
    second.kernels("debian-12", &["6.5.0-3", "6.1.0-1"]).await;
    assert_eq!(
        ignored(&second).await,
        [
            "debian-12/6.5.0-1",
            "debian-12/6.5.0-2",
            "debian-12/6.5.0-3"
        ]
    );
    wait_for("one holder again", async || {
        (holders(&db).await == 1).then_some(())
    })
    .await;
    let third = db.serve().await;
    second.stop().await;
    third.kernels("debian-12", &["6.5.0-4"]).await;
    assert_eq!(ignored(&third).await.len(), 4);
}

#[tokio::test]
async fn a_host_that_comes_after_another_goes_on_where_it_was() {
    const VERSIONS: i64 = 12_000;
    let (db, host) = TestHost::start().await;
    host.stock_policy().await;
    host.distro("debian-12").await;
    let kernels: Vec<_> = (0..VERSIONS)
        .map(|n| json!({"distro": "debian-12", "version": format!("6.5.{n}")}))
        .collect();
    host.post("/v1/kernels", json!({"kernels": kernels})).await;
    // More than one page of a sweep, and the host is gone before it can have been done.
    ignore(&host, "like", "6.5.%").await;
    host.stop().await;

    let host = db.serve().await;
    host.kernels("debian-12", &["6.5.x", "6.1.0"]).await;
    host.idle().await;
    let rules = host.get("/v1/ignores").await;
    assert_eq!(rules["items"][0]["versions"], VERSIONS + 1);
    assert_eq!(
        host.kernel_names("ignored=false").await,
        ["debian-12/6.1.0"]
    );
}

/// A database plans by what it last counted. After a first import it has counted nothing for a minute or so, and what
/// was imported must be decided about all the same.
#[tokio::test]
async fn what_is_new_to_the_database_is_found_without_reading_all_of_it_each_time() {
    const VERSIONS: i64 = 6_000;
    /// A few looks at each version, and not one at each for each.
    const READ_AT_MOST: i64 = VERSIONS * 60;
    let (db, host) = TestHost::start().await;
    let mut sql = db.connect().await;
    sqlx::query("alter table kernel_version set (autovacuum_enabled = off)")
        .execute(&mut sql)
        .await
        .unwrap();
    host.stock_policy().await;
    host.distro("debian-12").await;
    let every = |of: &dyn Fn(i64) -> Value| (0..VERSIONS).map(of).collect::<Vec<_>>();
    let kernels = every(&|n| json!({"distro": "debian-12", "version": format!("6.5.{n}")}));
    host.post("/v1/kernels", json!({"kernels": kernels})).await;
    host.idle().await;
    let runs = every(&|n| {
        let version = format!("6.5.{n}");
        json!({"distro": "debian-12", "version": version, "purpose": "compile", "verdict": "pass"})
    });
    host.post("/v1/runs", json!({"runs": runs})).await;
    host.idle().await;
    // What a connection has counted is on record once it is gone.
    host.stop().await;
    let read = async || {
        sqlx::query_scalar::<_, i64>(
            "select (seq_tup_read + coalesce(i.read, 0))::bigint from pg_stat_user_tables t,
               (select sum(idx_tup_read) as read from pg_stat_user_indexes
                 where relname = 'kernel_version') i
             where t.relname = 'kernel_version'",
        )
        .fetch_one(&mut db.connect().await)
        .await
        .unwrap()
    };
    let open = async || {
        sqlx::query_scalar::<_, i64>(
            "select count(*) from pg_stat_activity
             where datname = current_database() and application_name = 'pointsman'",
        )
        .fetch_one(&mut db.connect().await)
        .await
        .unwrap()
    };
    wait_for("the host's connections are gone", async || {
        (open().await == 0).then_some(())
    })
    .await;
    let read = read().await;
    assert!(
        (VERSIONS..READ_AT_MOST).contains(&read),
        "{read} rows read for {VERSIONS}"
    );
}

/// A host on which nothing can be compiled holds the pipeline, and lets go of it for one that can.
#[tokio::test]
async fn a_host_that_cannot_load_a_plugin_leaves_the_pipeline_to_another() {
    let (db, able) = TestHost::start().await;
    able.stock_policy().await;
    able.distro("debian-12").await;
    ignore(&able, "like", "6.5.%").await;
    able.idle().await;
    able.stop().await;

    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("plugins");
    let unable = TestHost::with(&db.url, dir, |config| {
        config.compile_command = Some(vec!["/bin/false".into()]);
        config.plugin_cache = cache;
    })
    .await;
    unable.kernels("debian-12", &["6.5.0-1"]).await;
    wait_for("it holds", async || {
        let pipeline = unable.get("/v1/pipelines/kernels").await;
        (pipeline["held"]["code"] == "plugin.host-failed").then_some(())
    })
    .await;

    let able = db.serve().await;
    able.idle().await;
    assert_eq!(ignored(&able).await, ["debian-12/6.5.0-1"]);
}

#[tokio::test]
async fn a_hold_outlives_the_host() {
    let (db, host) = TestHost::start().await;
    host.stock_policy().await;
    host.distro("debian-12").await;
    ignore(&host, "like", "6.5.%").await;
    host.idle().await;
    let bad = host.upload_bytes("bad", guest::traps(Hook::Ignore)).await;
    host.bind("ignore", &bad, json!({})).await;
    host.kernels("debian-12", &["6.5.0-1"]).await;
    let is_held = async |host: &TestHost| {
        host.get("/v1/pipelines/kernels").await["held"]["code"] == "trapped"
    };
    wait_for("it holds", async || is_held(&host).await.then_some(())).await;
    host.stop().await;

    let host = db.serve().await;
    assert!(is_held(&host).await, "a new host does not forget");
    host.kernels("debian-12", &["6.5.0-2"]).await;
    roll_back(&host, "ignore").await;
    assert_eq!(
        ignored(&host).await,
        ["debian-12/6.5.0-1", "debian-12/6.5.0-2"]
    );
}
