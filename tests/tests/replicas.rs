//! Two hosts on one database, each a process of its own, of which one dies between what it did and the record of it.

use pointsman_tests::forge::Site;
use pointsman_tests::served::Served;
use pointsman_tests::{TestDatabase, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;

/// Whether no host has a transaction open, and none holds the lock of a merge pipeline.
async fn nothing_is_held(db: &TestDatabase) -> bool {
    sqlx::query_scalar(
        "select not exists (
             select from pg_stat_activity where datname = current_database()
               and application_name = 'pointsman' and xact_start is not null)
           and not exists (
             select from pg_locks l join pg_database d on d.oid = l.database
             join pipeline p on p.id::bigint = l.objid::bigint
             where l.locktype = 'advisory' and l.granted and d.datname = current_database()
               and l.classid::bigint = x'706d'::bigint and p.kind = 'merge')",
    )
    .fetch_one(&mut db.connect().await)
    .await
    .expect("an answer")
}

/// How many effects are some host's own, and not done.
async fn leased(db: &TestDatabase) -> i64 {
    sqlx::query_scalar(
        "select count(*) from effect where done_at is null and leased_by is not null",
    )
    .fetch_one(&mut db.connect().await)
    .await
    .expect("an answer")
}

/// The first host dies at this failpoint, and the second lands the pull request, after attempts that ended so.
///
/// Whoever of the two is quicker takes what there is to do. So that the first is, the second stands still meanwhile,
/// stopped by `kill -STOP` at a moment at which it holds nothing. It is a replica all the time: it ran before there was
/// work, it sees the repository, and its connections stay open. When it goes on, it finds what the first left as that left
/// it, with an effect whose lease has yet to end.
async fn the_second_takes_over(failpoint: &str, attempts: &[&str]) {
    let db = TestDatabase::new().await;
    let one = tempfile::tempdir().expect("a folder");
    let other = tempfile::tempdir().expect("a folder");
    let first = Served::until(&db, one.path(), Some(&format!("{failpoint}:1"))).await;
    let second = Served::beside(&db, other.path(), one.path()).await;
    let site = Site::new(&first.host).await;
    site.stock("grep -q good change").await;
    // Nothing is begun before the approval.
    site.bind("select", "select-oldest", json!({"test-unapproved": false}))
        .await;
    site.idle().await;
    let repository = second.host.get("/v1/repositories").await["items"][0].clone();
    assert_eq!(repository["here"], true, "{repository}");
    wait_for("the second stands still, and holds nothing", async || {
        second.stand_still().await;
        if nothing_is_held(&db).await {
            return Some(());
        }
        second.go_on().await;
        None
    })
    .await;

    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    let clone = site.clone;
    let path = format!("/v1/repositories/lib/pulls/{number}/reviews");
    let review = json!({"state": "approved", "by": {"name": "bo", "permission": "write"}});
    let request = first.host.request(Method::POST, &path).json(&review);
    // It may be dead before it answers. That it comes to the failpoint says that it has heard.
    let _ = request.send().await;
    first.killed().await;
    assert_eq!(leased(&db).await, 1, "{failpoint} is not on record");
    // A job that it ran is lost once nobody has vouched for it for longer than its shim lets it live.
    let mut connection = db.connect().await;
    connection
        .execute("update lease set until = now() - interval '1 hour'")
        .await
        .expect("lapsed");

    second.go_on().await;
    let site = Site::of(&second.host, clone);
    site.until(number, "landed").await;
    site.idle().await;
    assert_eq!(leased(&db).await, 0);
    let lanes = site.lanes().await;
    let landed: Vec<&Value> = lanes
        .iter()
        .filter(|lane| lane["state"] == "landed")
        .collect();
    assert_eq!(landed.len(), 1, "{failpoint}: {lanes:#?}");
    let tips = second.host.get("/v1/pipelines/main/tips?limit=1000").await;
    let tip = &tips["items"][0];
    assert_eq!(
        (&tip["how"], &tip["tested"], &tip["lane"]),
        (&json!("landed"), &json!(true), &landed[0]["id"]),
        "{tips:#}"
    );
    // What it was when the pipeline began, and what landed.
    assert_eq!(tips["items"].as_array().map(Vec::len), Some(2), "{tips:#}");
    site.proof().await;
    let lane = site.lane_until(number, "landed").await;
    let ended = lane["jobs"][0]["attempts"].as_array().expect("attempts");
    let ended: Vec<&str> = ended
        .iter()
        .map(|attempt| text(&attempt["ended"]))
        .collect();
    assert_eq!(ended, attempts, "{lane:#}");
    second.kill().await;
}

/// Side by side: most of the time each waits for a lease to end.
#[tokio::test]
async fn what_a_dead_host_was_at_is_taken_over() {
    futures::join!(
        the_second_takes_over("built", &["exited"]),
        the_second_takes_over("started", &["lost", "exited"]),
        the_second_takes_over("landed", &["exited"]),
    );
}
