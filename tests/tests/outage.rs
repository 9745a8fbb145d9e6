//! The database is down, or goes away: clear errors, nothing half-written, and the host heals by itself.

use std::path::Path;

use pointsman_host::postgres::{Embedded, EmbeddedConfig};
use pointsman_host::{Config, Database};
use pointsman_tests::{TestHost, problem, text, wait_for};
use reqwest::Method;
use serde_json::json;

/// A cluster of its own, in a folder that the account of PostgreSQL can enter.
async fn cluster(dir: &Path) -> Embedded {
    pointsman_host::postgres::start(EmbeddedConfig::throwaway(dir), |_| {})
        .await
        .expect("PostgreSQL")
}

fn open_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))
        .expect("permissions");
    dir
}

async fn start_on(url: &str) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = Config::new(dir.path().to_owned());
    config.listen = ([127, 0, 0, 1], 0).into();
    config.database = Database::Url(url.to_owned());
    match pointsman_host::start(config, |_| {}).await {
        Ok(_) => panic!("it started on {url}"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test]
async fn a_database_that_is_down_at_start_is_named() {
    // A port that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = start_on(&format!("postgres://me:hunter2@127.0.0.1:{free}/record")).await;
    assert!(
        error.contains(&format!("127.0.0.1:{free}"))
            && error.contains("is PostgreSQL running there"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
    let error = start_on("postgres:///record?host=/nowhere/at/all").await;
    assert!(error.contains("/nowhere/at/all"), "{error}");
    let error = start_on("mysql://localhost/record").await;
    assert!(error.contains("DATABASE_URL"), "{error}");
    let error = start_on("postgres://localhost:notaport/record").await;
    assert!(error.contains("DATABASE_URL"), "{error}");
    // One that is there, without the database.
    let db = pointsman_tests::TestDatabase::new().await;
    let mut url = url::Url::parse(&db.url).unwrap();
    url.set_path("/not_there");
    let error = start_on(url.as_str()).await;
    assert!(error.contains("\"not_there\" does not exist"), "{error}");
}

#[tokio::test]
async fn connections_that_are_cut_cost_a_request_each_and_no_more() {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    let name = url::Url::parse(&db.url)
        .unwrap()
        .path()
        .trim_start_matches('/')
        .to_owned();
    let mut admin = {
        let mut url = url::Url::parse(&db.url).unwrap();
        url.set_path("postgres");
        <sqlx::PgConnection as sqlx::Connection>::connect(url.as_str())
            .await
            .unwrap()
    };
    for round in 0..3 {
        let versions: Vec<String> = (0..200).map(|n| format!("{round}.{n}")).collect();
        let kernels: Vec<_> = versions
            .iter()
            .map(|v| json!({"distro": "d", "version": v}))
            .collect();
        let write = async || {
            let body = json!({"comment": format!("round {round}"), "kernels": kernels});
            host.request(Method::POST, "/v1/kernels")
                .json(&body)
                .send()
                .await
                .unwrap()
        };
        let cut = sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
        )
        .bind(&name)
        .execute(&mut admin);
        let (answers, cut) = tokio::join!(futures::future::join_all((0..8).map(|_| write())), cut);
        cut.unwrap();
        for answer in answers {
            if !answer.status().is_success() {
                let refusal = problem(answer).await;
                assert_eq!(
                    (&refusal["status"], &refusal["code"]),
                    (&json!(503), &json!("database_unavailable")),
                    "{refusal}"
                );
                assert!(refusal["hint"].is_string());
            }
        }
        // All of a batch is there, or nothing of it.
        let there = wait_for("it answers again", async || {
            let page = host
                .request(
                    Method::GET,
                    &format!("/v1/kernels?like={round}.%25&limit=1000"),
                )
                .send()
                .await
                .unwrap();
            if page.status().is_success() {
                Some(
                    pointsman_tests::success(page).await["items"]
                        .as_array()
                        .unwrap()
                        .len(),
                )
            } else {
                None
            }
        })
        .await;
        assert!(there == 0 || there == 200, "{there} of 200");
        wait_for("it writes again", async || {
            write().await.status().is_success().then_some(())
        })
        .await;
        wait_for("it reads again", async || {
            let page = host
                .request(
                    Method::GET,
                    &format!("/v1/kernels?like={round}.%25&limit=1000"),
                )
                .send()
                .await
                .unwrap();
            page.status().is_success().then_some(())
        })
        .await;
    }
    wait_for("the turn goes on", async || {
        let pipeline = host
            .request(Method::GET, "/v1/pipelines/kernels")
            .send()
            .await
            .unwrap();
        (pipeline.status() == 200 && pointsman_tests::success(pipeline).await["idle"] == true)
            .then_some(())
    })
    .await;
}

/// The record cannot be read while a policy decides: that is no decision, and the turn is taken again.
#[tokio::test]
async fn a_fact_that_cannot_be_read_makes_no_decision() {
    use pointsman_tests::guest;
    use sqlx::Connection as _;
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    let asks = guest::asks("runs", &[("version", "1")]);
    let digest = host.upload_bytes("asks", asks).await;
    host.bind("ignore", &digest, json!({})).await;
    host.idle().await;
    let pause = async |paused: &str| {
        let body = json!({"paused": paused});
        host.send(Method::PATCH, "/v1/pipelines/kernels", body)
            .await;
    };
    pause("until the runs cannot be read").await;
    host.kernels("d", &["1"]).await;
    host.events("name=d/1", 1).await;
    // Who asks for runs waits, until the time limit of a read ends that.
    let mut somebody = db.connect().await;
    let mut locked = somebody.begin().await.unwrap();
    sqlx::query("lock table run in access exclusive mode")
        .execute(&mut *locked)
        .await
        .unwrap();
    // By hand: what the server says of a pipeline has its runs in it, and would wait, too.
    let mut hand = db.connect().await;
    let mut by_hand = hand.begin().await.unwrap();
    for statement in [
        "select generation_start('Go on', 'hand')",
        "update pipeline set paused = null where name = 'kernels'",
    ] {
        sqlx::query(statement).execute(&mut *by_hand).await.unwrap();
    }
    by_hand.commit().await.unwrap();
    // The second time means that a turn has failed.
    let tries = std::sync::Mutex::new(std::collections::BTreeSet::new());
    wait_for("the turn is taken again", async || {
        let waiting: Vec<String> = sqlx::query_scalar(
            "select query_start::text from pg_stat_activity where datname = current_database()
               and wait_event_type = 'Lock' and query like '%from run %'",
        )
        .fetch_all(&mut db.connect().await)
        .await
        .unwrap();
        let mut tries = tries.lock().unwrap();
        tries.extend(waiting);
        (tries.len() >= 2).then_some(())
    })
    .await;
    let made = host.get("/v1/decisions").await;
    assert_eq!(
        made["items"],
        json!([]),
        "what it made of that is no decision"
    );
    let held: Option<String> = sqlx::query_scalar("select max(held_code) from pipeline_progress")
        .fetch_one(&mut hand)
        .await
        .unwrap();
    assert_eq!(held, None, "nor is it the policy's fault");
    let seen: bool =
        sqlx::query_scalar("select kernel_turn_has_seen((select max(id) from generation))")
            .fetch_one(&mut hand)
            .await
            .unwrap();
    assert!(
        !seen,
        "what it did not decide about is still to be looked at"
    );
    locked.rollback().await.unwrap();
    host.idle().await;
    let made = host.get("/v1/decisions").await;
    let made = made["items"].as_array().unwrap();
    assert_eq!((made.len(), &made[0]["outcome"]), (1, &json!("answered")));
    let decision = host.get(&format!("/v1/decisions/{}", made[0]["id"])).await;
    assert_eq!(decision["context"]["facts"][0]["found"]["value"], "[]");
}

#[tokio::test]
async fn a_database_that_goes_away_comes_back_and_the_host_with_it() {
    let dir = open_folder();
    let postgres = cluster(dir.path()).await;
    let host = TestHost::on(&postgres.url(), tempfile::tempdir().unwrap()).await;
    host.distro("d").await;
    host.kernels("d", &["1"]).await;
    let stream = host
        .request(Method::GET, "/v1/events/stream")
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);

    postgres.stop().await.unwrap();
    // A token is known without the database, and a wrong one is refused without it.
    let wrong = host
        .request_as("wrong", Method::GET, "/v1/kernels")
        .send()
        .await
        .unwrap();
    assert_eq!(problem(wrong).await["status"], 401);
    for (method, path, body) in [
        (Method::GET, "/v1/kernels", None),
        (Method::GET, "/v1/events", None),
        (Method::GET, "/v1/kernels/d/1", None),
        (
            Method::POST,
            "/v1/kernels",
            Some(json!({"kernels": [{"distro": "d", "version": "2"}]})),
        ),
        (
            Method::PATCH,
            "/v1/kernels/d/1",
            Some(json!({"state": "built"})),
        ),
    ] {
        let refusal = host.refused(method.clone(), path, body).await;
        assert_eq!(
            (&refusal["status"], &refusal["code"]),
            (&json!(503), &json!("database_unavailable")),
            "{method} {path}"
        );
        assert!(
            text(&refusal["detail"]).contains("nothing was written"),
            "{refusal}"
        );
    }
    let http = pointsman_tests::http();
    let ready = http
        .get(format!("{}/readyz", host.url))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(ready).await["code"], "not_ready");
    assert_eq!(
        http.get(format!("{}/healthz", host.url))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(
        http.get(format!("{}/metrics", host.url))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    // A stream ends, so that its reader connects anew and resumes.
    tokio::time::timeout(pointsman_tests::PATIENCE, stream.bytes())
        .await
        .expect("the stream ends")
        .expect("an orderly end");

    let postgres = cluster(dir.path()).await;
    wait_for("the host is ready again", async || {
        let ready = http
            .get(format!("{}/readyz", host.url))
            .send()
            .await
            .unwrap();
        (ready.status() == 200).then_some(())
    })
    .await;
    wait_for("it writes again", async || {
        let body = json!({"kernels": [{"distro": "d", "version": "2"}]});
        let answer = host
            .request(Method::POST, "/v1/kernels")
            .json(&body)
            .send()
            .await
            .unwrap();
        answer.status().is_success().then_some(())
    })
    .await;
    assert_eq!(host.kernel_names("").await, ["d/1", "d/2"]);
    assert_eq!(
        host.get("/v1/kernels/d/1").await["state"],
        "seen",
        "nothing was half-written"
    );
    host.idle().await;
    let names: Vec<String> = host
        .events("kind=kernel_version", 2)
        .await
        .iter()
        .map(|e| text(&e["name"]).to_owned())
        .collect();
    assert_eq!(names, ["d/1", "d/2"]);
    host.stop().await;
    postgres.stop().await.unwrap();
}
