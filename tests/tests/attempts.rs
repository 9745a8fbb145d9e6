//! Attempts of jobs whose host, store or machine fails them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use pointsman_tests::forge::Site;
use pointsman_tests::{TestHost, text, wait_for};
use serde_json::{Value, json};
use sqlx::Executor as _;

async fn attempts(site: &Site<'_>, number: i64) -> Vec<Value> {
    let lanes = site.lanes().await;
    let lane = lanes
        .iter()
        .find(|lane| lane["members"][0]["number"] == number)
        .expect("a lane");
    let lane = site.host().get(&format!("/v1/lanes/{}", lane["id"])).await;
    lane["jobs"][0]["attempts"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// Waits until the newest lane of a pull request has an attempt that is as it should be; gives it.
async fn attempt_until(
    site: &Site<'_>,
    number: i64,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    wait_for(what, async || {
        if site.lanes().await.is_empty() {
            return None;
        }
        let attempt = attempts(site, number).await.first()?.clone();
        is_so(&attempt).then_some(attempt)
    })
    .await
}

/// A pull request whose first attempt does not end before `go_on` is there, and which passes in the second.
async fn first_attempt_runs(site: &Site<'_>, go_on: &Path) -> i64 {
    site.stock(&format!(
        "test $POINTSMAN_ATTEMPT_NUMBER -gt 1 || while ! test -e {}; do sleep 0.05; done",
        go_on.display()
    ))
    .await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    let runs = |attempt: &Value| attempt["state"] == "running";
    attempt_until(site, number, "its first attempt runs", runs).await;
    number
}

#[tokio::test]
async fn an_artifact_store_that_takes_nothing_costs_time_and_no_result() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("echo said so").await;
    // In the place of the store there is something that nothing can be put into.
    let (store, aside) = (host.dir().join("artifacts"), host.dir().join("aside"));
    std::fs::rename(&store, &aside).expect("moved");
    std::fs::write(&store, "full").expect("a file");
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    let waits = |attempt: &Value| attempt["detail"].is_string();
    let attempt = attempt_until(&site, number, "the attempt says why it waits", waits).await;
    assert_eq!(attempt["state"], "running", "{attempt}");
    assert!(
        text(&attempt["detail"]).contains("cannot be kept yet"),
        "{attempt}"
    );
    std::fs::remove_file(&store).expect("removed");
    std::fs::rename(&aside, &store).expect("moved back");
    site.until(number, "landed").await;
    let ended = attempts(&site, number).await;
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(ended[0]["detail"], Value::Null, "{ended:?}");
    assert!(ended[0]["log_bytes"].as_i64() > Some(0), "{ended:?}");
    let mode = std::fs::metadata(&store).expect("the store").permissions();
    assert_eq!(mode.mode() & 0o777, 0o700, "others can read what jobs left");
    host.stop().await;
}

#[tokio::test]
async fn what_a_dead_host_ran_is_lost_after_its_lease_and_tried_again_by_another() {
    let (db, first) = TestHost::start().await;
    let site = Site::new(&first).await;
    let go_on = first.dir().join("go-on");
    let number = first_attempt_runs(&site, &go_on).await;
    let second = first.beside(&db.url).await;
    let clone = site.clone;
    let dir = first.stop_and_keep().await;
    // Nobody vouches for it any more, for longer than its shim lets it live.
    let mut connection = db.connect().await;
    connection
        .execute("update lease set until = now() - interval '1 hour'")
        .await
        .expect("lapsed");
    let site = Site::of(&second, clone);
    site.until(number, "landed").await;
    let ended = attempts(&site, number).await;
    let how: Vec<&str> = ended.iter().map(|a| text(&a["ended"])).collect();
    assert_eq!(how, ["lost", "exited"], "{ended:?}");
    std::fs::write(&go_on, "").expect("a file");
    site.proof().await;
    second.stop().await;
    drop(dir);
}

#[tokio::test]
async fn a_folder_that_somebody_removed_is_a_lost_attempt() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let go_on = host.dir().join("go-on");
    let number = first_attempt_runs(&site, &go_on).await;
    let folders = host.dir().join("jobs/attempts");
    wait_for("its folder is there", async || {
        let entry = std::fs::read_dir(&folders).ok()?.flatten().next()?;
        let moved = std::fs::rename(entry.path(), host.dir().join("elsewhere"));
        moved.ok()
    })
    .await;
    site.until(number, "landed").await;
    let how: Vec<Value> = attempts(&site, number)
        .await
        .iter()
        .map(|a| a["ended"].clone())
        .collect();
    assert_eq!(how, ["lost", "exited"]);
    std::fs::write(&go_on, "").expect("a file");
    host.stop().await;
}

#[tokio::test]
async fn a_baseline_runs_once_for_each_tip() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    site.bind("select", "select-oldest", json!({"baseline": true}))
        .await;
    let baselines = async || -> Vec<Value> {
        let lanes = site.lanes().await;
        lanes
            .into_iter()
            .filter(|lane| lane["members"].as_array().is_some_and(Vec::is_empty))
            .collect()
    };
    wait_for("the first tip was tested", async || {
        let found = baselines().await;
        (!found.first()?["ended_at"].is_null()).then_some(())
    })
    .await;
    let first = baselines().await[0].clone();
    assert_eq!(first["state"], "passed", "{first:#}");
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    site.until(number, "landed").await;
    site.idle().await;
    wait_for("the second tip was tested", async || {
        let found = baselines().await;
        (found.len() == 2 && found[0]["state"] == "passed").then_some(())
    })
    .await;
    site.idle().await;
    let found = baselines().await;
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_ne!(found[0]["base"], found[1]["base"]);
    host.stop().await;
}
