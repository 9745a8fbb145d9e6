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
        "echo begun; test $POINTSMAN_ATTEMPT_NUMBER -gt 1 || while ! test -e {}; do sleep 0.05; done",
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
async fn an_attempt_that_cannot_be_read_keeps_no_other_from_its_end() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let slots = json!({"slots": 2});
    host.send(reqwest::Method::PATCH, "/v1/pipelines/main", slots)
        .await;
    let go_on = host.dir().join("go-on");
    site.stock(&format!(
        "echo begun; test -e second || while ! test -e {}; do sleep 0.05; done",
        go_on.display()
    ))
    .await;
    site.clone.branch("first", "first", "good\n");
    let first = site.open("first").await;
    let runs = |attempt: &Value| attempt["state"] == "running";
    let attempt = attempt_until(&site, first, "its attempt runs", runs).await;
    // In the place of what its shim writes at its end there is something that cannot be read.
    let folder = host.dir().join("jobs/attempts");
    let exit = folder.join(text(&attempt["key"])).join("exit.json");
    wait_for("its folder is there", async || {
        std::fs::create_dir(&exit).ok()
    })
    .await;
    let says = |attempt: &Value| attempt["detail"].is_string();
    let attempt = attempt_until(&site, first, "it says so", says).await;
    assert!(
        text(&attempt["detail"]).contains("cannot be read"),
        "{attempt}"
    );
    site.clone.branch("second", "second", "good\n");
    let second = site.open("second").await;
    site.approve(second).await;
    site.until(second, "landed").await;

    std::fs::remove_dir(&exit).expect("removed");
    std::fs::write(&go_on, "").expect("a file");
    site.approve(first).await;
    site.until(first, "landed").await;
    host.stop().await;
}

#[tokio::test]
async fn a_folder_that_somebody_removed_is_a_lost_attempt() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let go_on = host.dir().join("go-on");
    let number = first_attempt_runs(&site, &go_on).await;
    let folders = host.dir().join("jobs/attempts");
    wait_for("its command runs in its folder", async || {
        let entry = std::fs::read_dir(&folders).ok()?.flatten().next()?;
        let log = std::fs::metadata(entry.path().join("log")).ok()?;
        if log.len() == 0 {
            return None;
        }
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

#[tokio::test]
async fn many_attempts_that_end_at_once_are_all_written_down() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let dir = host.dir().display().to_string();
    site.stock("true").await;
    // More than are written down at once: each waits until all of them have begun.
    let script = format!(
        "echo x >> {dir}/begun; while ! test -e {dir}/all; do sleep 0.02; done; echo \"$NUMBER\" > out"
    );
    let variants: Vec<Value> = (0..12)
        .map(|n| json!({"name": format!("v{n}"), "env": {"NUMBER": n.to_string()}}))
        .collect();
    let job = json!({"name": "part", "script": script, "variants": variants, "artifacts": ["out"]});
    site.bind("run", "job-template", json!({"jobs": [job]}))
        .await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    wait_for("all have begun", async || {
        let begun = std::fs::read_to_string(host.dir().join("begun")).unwrap_or_default();
        (begun.lines().count() == 12).then_some(())
    })
    .await;
    std::fs::write(host.dir().join("all"), "").expect("a file");
    site.until(number, "landed").await;
    let lane = site.lane_until(number, "landed").await;
    let jobs = lane["jobs"].as_array().expect("jobs");
    assert_eq!(jobs.len(), 12);
    for job in jobs {
        let attempts = job["attempts"].as_array().expect("attempts");
        assert_eq!(attempts.len(), 1, "{job:#}");
        assert_eq!(attempts[0]["exit_code"], 0, "{job:#}");
        assert_eq!(attempts[0]["artifacts"][0]["path"], "out", "{job:#}");
    }
    site.proof().await;
    host.stop().await;
}

#[tokio::test]
async fn whoever_follows_a_log_whose_middle_is_cut_reads_it_to_its_end() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let go_on = host.dir().join("go-on");
    // More than is kept, and then some: the offsets of a reader are those of all that was written.
    site.stock(&format!(
        "head -c 20000000 /dev/zero | tr '\\0' x; echo; echo so far; \
         while ! test -e {}; do sleep 0.02; done; echo the very end",
        go_on.display()
    ))
    .await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    let key = wait_for("its attempt runs", async || {
        let attempt = attempts(&site, number).await.first()?.clone();
        (attempt["state"] == "running").then(|| text(&attempt["key"]).to_owned())
    });
    let lane = wait_for("there is a lane", async || {
        site.lanes().await.first().cloned()
    });
    lane.await;
    let key = key.await;
    let part = async |from: u64| {
        let path = format!("/v1/attempts/{key}/log?from={from}");
        let answer = host.request(reqwest::Method::GET, &path).send().await;
        let answer = answer.expect("an answer");
        let next = answer.headers()["pointsman-next"].to_str().expect("ASCII");
        let next: u64 = next.parse().expect("a number");
        (answer.text().await.expect("text"), next)
    };
    let all = 20_000_000 + "\nso far\n".len() as u64;
    let next = wait_for("it has said so far", async || {
        let (said, next) = part(all - 8).await;
        said.ends_with("\nso far\n").then_some(next)
    })
    .await;
    assert_eq!(next, all);
    std::fs::write(&go_on, "").expect("a file");
    site.until(number, "landed").await;
    wait_for("its folder is gone", async || {
        let mut left = std::fs::read_dir(host.dir().join("jobs/attempts")).ok()?;
        left.next().is_none().then_some(())
    })
    .await;
    let (said, end) = part(next).await;
    assert_eq!(said, "the very end\n");
    assert_eq!(end, all + "the very end\n".len() as u64);
    assert_eq!(part(end).await, (String::new(), end));
    // From the beginning there is a beginning, what was cut, and the end.
    let (mut from, mut whole) = (0, String::new());
    loop {
        let (said, next) = part(from).await;
        if said.is_empty() {
            break;
        }
        whole.push_str(&said);
        from = next;
    }
    assert_eq!(from, end);
    assert!(whole.contains("bytes of output were cut here"));
    assert!(whole.ends_with("so far\nthe very end\n"));
    host.stop().await;
}
