//! Lanes on lanes, through the policy that makes them, and what people are told when a branch moves.

use pointsman_tests::forge::Site;
use pointsman_tests::{TestHost, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

/// A site whose pull requests are tested on top of each other.
async fn line<'h>(host: &'h TestHost, test: &str) -> Site<'h> {
    let site = Site::new(host).await;
    site.stock(test).await;
    site.bind("select", "select-window", json!({"max": 3}))
        .await;
    host.send(
        Method::PATCH,
        "/v1/pipelines/main",
        json!({"slots": 3, "frozen": "until all are in line"}),
    )
    .await;
    site
}

async fn three_in_line(site: &Site<'_>) -> Vec<i64> {
    let mut numbers = vec![];
    for name in ["one", "two", "three"] {
        site.clone
            .branch(name, &format!("parts/{name}"), &format!("{name}\n"));
        let number = site.open(name).await;
        site.approve(number).await;
        numbers.push(number);
    }
    numbers
}

async fn open_the_tree(host: &TestHost) {
    host.send(Method::PATCH, "/v1/pipelines/main", json!({"frozen": ""}))
        .await;
}

fn members(lane: &Value) -> Vec<i64> {
    let members = lane["members"].as_array().expect("members");
    let number = |m: &Value| m["number"].as_i64().expect("a number");
    members.iter().map(number).collect()
}

#[tokio::test]
async fn what_passed_on_others_lands_after_them_without_another_run() {
    let (_db, host) = TestHost::start().await;
    let runs = host.dir().join("runs");
    let site = line(&host, &format!("echo run >> {}", runs.display())).await;
    let numbers = three_in_line(&site).await;
    // The last is tested with both before it, while none has landed.
    site.lane_until(numbers[2], "passed").await;
    site.lane_until(numbers[1], "passed").await;
    site.lane_until(numbers[0], "passed").await;
    open_the_tree(&host).await;
    for number in &numbers {
        site.until(*number, "landed").await;
    }
    site.proof().await;
    let landed: Vec<Value> = site
        .lanes()
        .await
        .into_iter()
        .filter(|lane| lane["state"] == "landed")
        .collect();
    assert_eq!(landed.len(), 3, "{landed:#?}");
    // Each stood on the one before, so that what landed last was tested with all.
    let mut in_order: Vec<&Value> = landed.iter().collect();
    in_order.sort_by_key(|lane| members(lane));
    for pair in in_order.windows(2) {
        assert_eq!(pair[1]["base"], pair[0]["commit"], "{pair:#?}");
    }
    let ran = std::fs::read_to_string(&runs).expect("runs");
    assert_eq!(ran.lines().count(), 3, "a tree was tested twice");
    host.stop().await;
}

#[tokio::test]
async fn what_fails_leaves_the_line_and_those_behind_it_are_tested_without_it() {
    let (_db, host) = TestHost::start().await;
    let site = line(&host, "test ! -e parts/two").await;
    let numbers = three_in_line(&site).await;
    site.lane_until(numbers[1], "failed").await;
    site.lane_until(numbers[2], "passed").await;
    open_the_tree(&host).await;
    site.until(numbers[0], "landed").await;
    site.until(numbers[2], "landed").await;
    site.proof().await;
    site.idle().await;
    assert_eq!(site.pull(numbers[1]).await["state"], "open");
    let why = host
        .get(&format!("/v1/repositories/lib/pulls/{}/why", numbers[1]))
        .await;
    let unmet = why["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .find(|c| c["met"] == false)
        .expect("an unmet one")
        .clone();
    assert!(
        ["lane", "passed"].contains(&text(&unmet["name"])),
        "{unmet}"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_status_is_pending_once_the_branch_has_moved() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    site.bind("react", "status-comment", json!({})).await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    let status = async |wanted: &str| {
        wait_for(&format!("the status is {wanted}"), async || {
            let pull = site.pull(number).await;
            (pull["statuses"][0]["state"] == wanted).then_some(pull)
        })
        .await
    };
    status("success").await;
    // Nothing tests it anew while the pipeline is paused, and the branch is moved by hand.
    host.send(
        Method::PATCH,
        "/v1/pipelines/main",
        json!({"slots": 1, "frozen": "closed"}),
    )
    .await;
    site.bind("select", "select-oldest", json!({"test-unapproved": false}))
        .await;
    site.clone
        .git(&["checkout", "-q", "-B", "hand", "origin/main"]);
    site.clone.write("other", "by hand\n");
    site.clone.commit("By hand");
    site.clone.git(&["push", "-q", "origin", "hand:main"]);
    status("pending").await;
    assert_eq!(host.get("/v1/pipelines/main/passing").await, json!([]));
    host.stop().await;
}
