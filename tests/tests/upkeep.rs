//! Upkeep: what is kept for some days goes after them, and nothing else does. The clock is moved by moving what is on
//! record into the past; what is due is done when a host starts.

use std::path::Path;
use std::time::Duration;

use pointsman_host::db::Db;
use pointsman_host::db::merge::Renewed;
use pointsman_tests::forge::Site;
use pointsman_tests::{TestDatabase, TestHost, pointsman, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};
use tempfile::TempDir;

/// Days that these hosts keep what attempts left.
const DAYS: u16 = 7;

async fn start(database: &TestDatabase, dir: TempDir) -> TestHost {
    TestHost::with(&database.url, dir, |config| config.artifact_days = DAYS).await
}

async fn first() -> (TestDatabase, TestHost) {
    let database = TestDatabase::new().await;
    let host = start(&database, tempfile::tempdir().expect("a directory")).await;
    (database, host)
}

/// As somebody who types SQL would, in one generation.
async fn sql(database: &TestDatabase, statements: &str) {
    let text = format!("begin; select generation_start('A test'); {statements}; commit");
    let mut connection = database.connect().await;
    let done = connection.execute(AssertSqlSafe(text)).await;
    done.expect("statements");
}

async fn number(database: &TestDatabase, query: &str) -> i64 {
    let mut connection = database.connect().await;
    let found = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
    found.fetch_one(&mut connection).await.expect("a number")
}

/// Stops the host, lets `days` pass since the statements' rows were written, and starts it again.
async fn days_later(database: &TestDatabase, host: TestHost, statements: &str) -> TestHost {
    let dir = host.halt().await;
    sql(database, statements).await;
    sql(
        database,
        "update upkeep set done_at = done_at - interval '30 days'",
    )
    .await;
    start(database, dir).await
}

/// A site whose jobs fail and leave a file.
async fn site(host: &TestHost) -> Site<'_> {
    let site = Site::new(host).await;
    for (hook, plugin, settings) in [
        ("review", "reviews", json!({})),
        ("gate", "gate-basics", json!({})),
        ("select", "select-oldest", json!({})),
        ("triage", "exit-code", json!({})),
    ] {
        site.bind(hook, plugin, settings).await;
    }
    let job = json!({"name": "test", "script": "echo rotten | tee left.txt; false", "artifacts": ["left.txt"]});
    site.bind("run", "job-template", json!({"jobs": [job]}))
        .await;
    site
}

async fn failed(site: &Site<'_>, branch: &str) -> Value {
    site.clone.branch(branch, branch, "good\n");
    let number = site.open(branch).await;
    site.approve(number).await;
    site.lane_until(number, "failed").await
}

fn attempt(lane: &Value) -> &Value {
    &lane["jobs"][0]["attempts"][0]
}

async fn removed(host: &TestHost, lane: &Value) -> Value {
    let path = format!("/v1/lanes/{}", lane["id"]);
    wait_for("its log is removed", async || {
        let lane = host.get(&path).await;
        attempt(&lane)["removed_at"].is_string().then_some(lane)
    })
    .await
}

#[tokio::test]
async fn logs_and_files_go_after_their_days_and_the_record_says_so() {
    let (database, host) = first().await;
    let site = site(&host).await;
    let lane = failed(&site, "old").await;
    let young = failed(&site, "young").await;
    let key = text(&attempt(&lane)["key"]).to_owned();
    assert!(attempt(&lane)["kept_until"].is_string(), "{lane}");
    let link = text(&attempt(&lane)["link"]).to_owned();
    assert_eq!(host.open(&format!("{link}/log")).await.status(), 200);
    let kept = host.dir().join("artifacts").join(&key);
    assert!(kept.join("log").is_file());

    let old = format!(
        "update attempt_store set ended_at = ended_at - interval '8 days'
         where attempt_id = (select id from attempt where key = '{key}')"
    );
    let host = days_later(&database, host, &old).await;
    let lane = removed(&host, &lane).await;
    assert!(attempt(&lane)["kept_until"].is_null(), "{lane}");
    assert!(!kept.join("log").exists() && !kept.join("files/left.txt").exists());
    for path in ["log", "files/left.txt"] {
        let refused = host
            .refused(Method::GET, &format!("/v1/attempts/{key}/{path}"), None)
            .await;
        assert_eq!(refused["code"], "attempt_removed", "{refused}");
        assert_eq!(refused["status"], 410);
        assert_eq!(host.open(&format!("{link}/{path}")).await.status(), 410);
    }
    // How it ended stays, and its page says what is missing.
    assert_eq!(attempt(&lane)["exit_code"], 1);
    let page = host.open(&link).await;
    assert_eq!(page.status(), 200);
    let page = page.text().await.expect("text");
    assert!(
        page.contains("exited 1") && page.contains("were removed on"),
        "{page}"
    );
    // What is younger stays.
    let path = format!("/v1/lanes/{}", young["id"]);
    let young = host.get(&path).await;
    assert!(attempt(&young)["removed_at"].is_null(), "{young}");
    let log = format!("{}/log", text(&attempt(&young)["link"]));
    assert_eq!(host.open(&log).await.status(), 200);
    host.stop().await;
}

#[tokio::test]
async fn a_pass_that_counts_for_a_lane_is_kept_with_that_lane() {
    let (database, host) = first().await;
    let site = site(&host).await;
    let one = failed(&site, "one").await;
    let other = failed(&site, "other").await;
    // The first one's job counts for a lane of today.
    let passes = format!(
        "with l as (insert into lane (pipeline_id, members, numbers, heads, purpose, landing, state, reason_code,
             reason_text, ended_at)
           select pipeline_id, members, numbers, heads, purpose, landing, 'passed', 'test', 'test', now()
           from lane where id = {id} returning id)
         insert into job (lane_id, name, spec, spec_digest, weight, state, reused_from)
           select l.id, j.name, j.spec, j.spec_digest, j.weight, 'reused', j.id from l, job j where j.lane_id = {id};
         update attempt_store set ended_at = ended_at - interval '8 days'",
        id = one["id"],
    );
    let host = days_later(&database, host, &passes).await;
    removed(&host, &other).await;
    let one = host.get(&format!("/v1/lanes/{}", one["id"])).await;
    assert!(attempt(&one)["removed_at"].is_null(), "{one}");
    let log = format!("{}/log", text(&attempt(&one)["link"]));
    assert_eq!(host.open(&log).await.status(), 200);
    // Once that lane is old as well, both go.
    let old = "update lane set ended_at = ended_at - interval '8 days' where state = 'passed'";
    let host = days_later(&database, host, old).await;
    removed(&host, &one).await;
    host.stop().await;
}

#[tokio::test]
async fn commits_of_lanes_that_ended_long_ago_are_let_go_and_no_others() {
    let (database, host) = first().await;
    let site = site(&host).await;
    let old = failed(&site, "old").await;
    let young = failed(&site, "young").await;
    let place = site.clone.place.clone();
    let refs = |place: &Path| {
        let output = std::process::Command::new("git")
            .args([
                "for-each-ref",
                "--format=%(refname:lstrip=3)",
                "refs/pointsman/lanes",
            ])
            .current_dir(place)
            .output()
            .expect("git");
        String::from_utf8(output.stdout).expect("text")
    };
    let both = refs(&place);
    assert!(both.lines().count() >= 2, "{both}");
    let (old, young) = (old["id"].to_string(), young["id"].to_string());
    let ended = format!("update lane set ended_at = ended_at - interval '8 days' where id = {old}");
    let host = days_later(&database, host, &ended).await;
    wait_for("the old lane's commit is let go", async || {
        let left = refs(&place);
        (!left.lines().any(|lane| lane == old)).then_some(())
    })
    .await;
    assert!(refs(&place).lines().any(|lane| lane == young));
    // It was packed, and is not due again today.
    wait_for("the repository is packed", async || {
        let done = "select count(*) from upkeep where name = 'git/lib' and done_at > now() - interval '1 hour'";
        (number(&database, done).await == 1).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn what_git_said_of_pull_requests_that_closed_long_ago_goes() {
    let (database, host) = first().await;
    let site = Site::new(&host).await;
    for branch in ["closed", "open"] {
        site.clone.branch(branch, branch, "good\n");
        site.open(branch).await;
    }
    wait_for("git was asked about both", async || {
        (number(&database, "select count(*) from head").await == 2).then_some(())
    })
    .await;
    let past = "update pull_request set state = 'closed', ended_at = now() - interval '500 days' where number = 1;
        update head set seen_at = now() - interval '500 days';
        insert into conflict (pull_request_id, head, base, paths, at)
          select id, head, b, 'x', now() - interval '500 days' + (b || ' days')::interval
          from pull_request, unnest(array['1', '2']) b;
        insert into wake (pipeline_id, pull_request_id, at)
          select m.id, q.id, now() + interval '1 year' from merge_pipeline m, pull_request q";
    let host = days_later(&database, host, past).await;
    wait_for("the closed one's are gone", async || {
        (number(&database, "select count(*) from head").await == 1).then_some(())
    })
    .await;
    wait_for("and the rest that it left", async || {
        let left = number(&database, "select count(*) from wake").await;
        (left == 1).then_some(())
    })
    .await;
    // Of the open one the last word stays.
    let left = number(&database, "select count(*) from conflict").await;
    assert_eq!(left, 1);
    let open = "select count(*) from head h join pull_request q on q.id = h.pull_request_id where q.number = 2";
    assert_eq!(number(&database, open).await, 1);
    host.stop().await;
}

#[tokio::test]
async fn an_effect_that_takes_longer_than_its_lease_is_one_workers_at_a_time() {
    let (database, host) = first().await;
    let site = site(&host).await;
    let lane = failed(&site, "fix").await;
    host.stop().await;
    let insert = format!(
        "insert into effect (pipeline_id, kind, lane_id) select pipeline_id, 'build', id from lane where id = {}",
        lane["id"]
    );
    sql(&database, &insert).await;
    let db = Db::open(&database.url).expect("an address");
    let lease = Duration::from_secs(600);
    let first = db
        .lease_effect("first", lease, &[])
        .await
        .expect("an answer");
    let first = first.expect("an effect");
    assert_eq!(
        db.renew_effect(&first, lease).await.ok(),
        Some(Renewed::Ours)
    );
    // Nobody else gets it while it is renewed.
    assert!(
        db.lease_effect("second", lease, &[])
            .await
            .expect("an answer")
            .is_none()
    );
    sql(
        &database,
        "update effect set leased_until = now() - interval '1 second' where done_at is null",
    )
    .await;
    let second = db
        .lease_effect("second", lease, &[])
        .await
        .expect("an answer");
    let second = second.expect("an effect");
    assert_eq!(
        db.renew_effect(&first, lease).await.ok(),
        Some(Renewed::Lost)
    );
    // Nor does it let go of what is another one's now.
    db.effect_failed(&first, "too late")
        .await
        .expect("an answer");
    assert_eq!(
        db.renew_effect(&second, lease).await.ok(),
        Some(Renewed::Ours)
    );
    db.close().await;
}

#[tokio::test]
async fn a_server_with_repositories_and_no_git_says_so_and_does_not_start() {
    let (database, host) = first().await;
    host.post("/v1/repositories", json!({"name": "lib"})).await;
    let dir = host.halt().await;
    let output = pointsman()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .env("DATABASE_URL", &database.url)
        .env("PATH", "/nonexistent")
        .output()
        .expect("the command");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("the record has repositories"), "{told}");
    // A server that has none needs no git.
    let database = TestDatabase::new().await;
    let dir = tempfile::tempdir().expect("a directory");
    let child = pointsman()
        .args(["serve", "--listen", "127.0.0.1:0", "--stop-with-stdin"])
        .arg("--data-dir")
        .arg(dir.path())
        .env("DATABASE_URL", &database.url)
        .env("PATH", "/nonexistent")
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the command");
    wait_for("it serves", async || {
        dir.path().join("url").is_file().then_some(())
    })
    .await;
    // Its standard input ends.
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("there is no git to work with"), "{told}");
}
