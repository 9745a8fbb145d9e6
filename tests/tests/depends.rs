//! Pull requests that need others before them: `Depends-On:` in a description, and stacks.

use pointsman_tests::forge::Site;
use pointsman_tests::{TestHost, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

async fn open(host: &TestHost, repository: &str, branch: &str, target: &str, body: &str) -> i64 {
    let path = format!("/v1/repositories/{repository}/pulls");
    let body = json!({"title": format!("Land {branch}"), "branch": branch, "target": target, "body": body,
        "author": {"name": "ann", "permission": "write"}});
    host.post(&path, body).await["number"]
        .as_i64()
        .expect("a number")
}

/// Waits until `pr why` has this in what is unmet.
async fn why_says(host: &TestHost, number: i64, says: &str) -> Value {
    let path = format!("/v1/repositories/lib/pulls/{number}/why");
    wait_for(&format!("#{number} waits: {says}"), async || {
        let why = host.get(&path).await;
        let conditions = why["conditions"].as_array().expect("conditions");
        let mut unmet = conditions.iter().filter(|c| c["met"] == false);
        unmet
            .any(|c| text(&c["text"]).contains(says))
            .then_some(why)
    })
    .await
}

#[tokio::test]
async fn what_depends_on_another_lands_after_it_and_by_itself() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    // The tests of the one that depends do not pass without the other.
    site.stock("test ! -e second || test -e first").await;
    site.clone.branch("second", "second", "needs the first\n");
    let body = "More.\r\n\r\n  depends-on: #2, org/other#9 #x\r\nDepends-On: #1\r\n";
    let needs = open(&host, "lib", "second", "main", body).await;
    site.approve(needs).await;
    // Nobody knows it yet.
    why_says(&host, needs, "It depends on #2, which nobody knows here").await;
    site.clone.branch("first", "first", "is needed\n");
    let needed = open(&host, "lib", "first", "main", "").await;
    assert_eq!((needs, needed), (1, 2));
    why_says(&host, needs, "It depends on #2, which has to land first").await;
    site.idle().await;
    let of = |number: i64| format!("/v1/pipelines/main/lanes?number={number}");
    assert_eq!(host.get(&of(needs)).await["items"], json!([]));
    site.approve(needed).await;
    site.until(needed, "landed").await;
    site.until(needs, "landed").await;
    let (first, second) = (
        site.lane_until(needed, "landed").await,
        site.lane_until(needs, "landed").await,
    );
    assert_eq!(second["base"], first["commit"]);
    assert_eq!(second["members"].as_array().map(Vec::len), Some(1));
    site.proof().await;
    host.stop().await;
}

#[tokio::test]
async fn what_another_repository_has_to_land_first_is_looked_at_when_that_is_closed() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    host.post("/v1/repositories", json!({"name": "driver"}))
        .await;
    let place = site.clone.place.with_file_name("driver.git");
    let place = place.display().to_string();
    site.clone
        .git(&["push", "-q", &place, "main:main", "main:topic"]);
    let elsewhere = open(&host, "driver", "topic", "main", "").await;
    site.clone.branch("fix", "change", "good\n");
    let number = open(&host, "lib", "fix", "main", "Depends-On: driver#1").await;
    site.approve(number).await;
    why_says(&host, number, "driver#1, which has to land first").await;
    let set = async |repository: &str, number: i64, change: Value| {
        let path = format!("/v1/repositories/{repository}/pulls/{number}");
        host.send(Method::PATCH, &path, change).await;
    };
    set("driver", elsewhere, json!({"state": "closed"})).await;
    why_says(&host, number, "driver#1, which was closed").await;
    assert_eq!(site.pull(number).await["state"], "open");
    // No policy but `select` holds it, and a corrected description lets it go.
    set("lib", number, json!({"body": "Depends-On: nothing"})).await;
    site.until(number, "landed").await;
    host.stop().await;
}

#[tokio::test]
async fn a_stack_is_told_to_the_policies_and_blocks_no_queue() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    site.clone.git(&["push", "-q", "origin", "main:release"]);
    // `main` itself is proposed for a release: what goes to `main` need not wait for that.
    site.clone.git(&["checkout", "-q", "main"]);
    site.clone.write("more", "more\n");
    site.clone.commit("More");
    site.clone.push("main");
    let release = open(&host, "lib", "main", "release", "").await;
    site.clone.branch("fix", "change", "good\n");
    let number = open(&host, "lib", "fix", "main", "").await;
    site.approve(number).await;
    site.until(number, "landed").await;
    let path = format!("/v1/decisions?pipeline=main&hook=gate&subject=%23{number}");
    let newest = host.get(&path).await["items"][0]["id"].clone();
    let decision = host.get(&format!("/v1/decisions/{newest}")).await;
    let depends = &decision["input"]["members"][0]["depends"];
    assert_eq!(depends[0]["subject"], release.to_string(), "{decision:#}");
    assert_eq!(depends[0]["attrs"]["how"], "stack", "{decision:#}");
    host.stop().await;
}

/// Opens another pull request, and names it in the description of this one.
async fn comes_to_need(host: &TestHost, site: &Site<'_>, needs: i64) -> i64 {
    site.clone.branch("first", "first", "is needed\n");
    let needed = open(host, "lib", "first", "main", "").await;
    let path = format!("/v1/repositories/lib/pulls/{needs}");
    let body = json!({"body": format!("Depends-On: #{needed}")});
    host.send(Method::PATCH, &path, body).await;
    needed
}

/// Approves what is needed: that lands, and then what needs it.
async fn lands_behind(site: &Site<'_>, needed: i64, needs: i64) {
    site.approve(needed).await;
    site.until(needed, "landed").await;
    site.until(needs, "landed").await;
    let (first, second) = (
        site.lane_until(needed, "landed").await,
        site.lane_until(needs, "landed").await,
    );
    assert_eq!(second["base"], first["commit"]);
    site.proof().await;
}

#[tokio::test]
async fn a_dependency_that_is_named_while_the_lane_runs_stops_it() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    // Without the other one it would run for ever.
    site.stock("test -e first || sleep 3600").await;
    site.clone.branch("second", "second", "needs the first\n");
    let needs = open(&host, "lib", "second", "main", "").await;
    site.approve(needs).await;
    site.lane_until(needs, "running").await;
    let needed = comes_to_need(&host, &site, needs).await;
    site.lane_until(needs, "cancelled").await;
    why_says(&host, needs, "It depends on #2, which has to land first").await;
    lands_behind(&site, needed, needs).await;
    host.stop().await;
}

#[tokio::test]
async fn a_dependency_that_is_named_when_the_lane_has_passed_keeps_it_from_landing() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    site.clone.branch("second", "second", "needs the first\n");
    let needs = open(&host, "lib", "second", "main", "").await;
    // Nobody approved it yet.
    site.lane_until(needs, "passed").await;
    let needed = comes_to_need(&host, &site, needs).await;
    site.approve(needs).await;
    why_says(&host, needs, "It depends on #2, which has to land first").await;
    lands_behind(&site, needed, needs).await;
    host.stop().await;
}
