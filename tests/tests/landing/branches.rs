//! What people do to branches by hand: the target that moves, is reset, or has a pull request in it already, and branches
//! that vanish.

use pointsman_tests::forge::Site;
use pointsman_tests::{TestHost, text, wait_for};
use serde_json::json;

#[tokio::test]
async fn a_push_to_the_target_makes_lanes_stale_and_is_never_lost() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    // Runs until the gate file is there, so that the push comes in mid-test.
    let gate = host.dir().join("gate");
    site.stock(&format!(
        "while [ ! -e {} ]; do sleep 0.02; done",
        gate.display()
    ))
    .await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    let first = site.lane_until(number, "running").await;
    site.clone.git(&["checkout", "-q", "main"]);
    site.clone.write("other", "by hand\n");
    let pushed = site.clone.commit("By hand");
    site.clone.push("main");
    let stale = site.lane_until(number, "cancelled").await;
    assert_eq!(stale["id"], first["id"]);
    assert_eq!(stale["reason_code"], "lane.stale");
    // Its job was ended, and says so.
    let old = wait_for("the old job has ended", async || {
        let lane = host.get(&format!("/v1/lanes/{}", first["id"])).await;
        (lane["jobs"][0]["attempts"][0]["state"] == "ended").then_some(lane)
    })
    .await;
    assert_eq!(old["jobs"][0]["attempts"][0]["ended"], "cancelled");
    std::fs::write(&gate, "").expect("a file");
    site.until(number, "landed").await;
    assert_eq!(
        site.clone.git(&["merge-base", "origin/main", &pushed]),
        pushed
    );
    let tips = host.get("/v1/pipelines/main/tips").await;
    let how: Vec<&str> = tips["items"]
        .as_array()
        .expect("tips")
        .iter()
        .map(|t| text(&t["how"]))
        .collect();
    assert_eq!(how, ["landed", "pushed", "watched"]);
    site.proof().await;
    host.stop().await;
}

#[tokio::test]
async fn what_somebody_merged_by_hand_has_landed() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"paused": "wait"}),
    )
    .await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    site.clone.git(&["push", "-q", "origin", "fix:main"]);
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"paused": ""}),
    )
    .await;
    site.until(number, "landed").await;
    site.idle().await;
    let tips = host.get("/v1/pipelines/main/tips").await;
    assert_eq!(tips["items"][0]["how"], "pushed");
    site.proof().await;
    host.stop().await;
}

#[tokio::test]
async fn branches_that_vanish_hold_what_needs_them_and_nothing_spins() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"frozen": "wait", "slots": 2}),
    )
    .await;
    site.clone.branch("fix", "change", "good\n");
    site.clone.branch("gone", "other", "good\n");
    let (fix, gone) = (site.open("fix").await, site.open("gone").await);
    site.approve(fix).await;
    site.approve(gone).await;
    site.lane_until(fix, "passed").await;
    site.clone.git(&["push", "-q", "origin", ":gone"]);
    wait_for("the head is gone", async || {
        (site.pull(gone).await["head_gone"] == true).then_some(())
    })
    .await;
    // The target goes, too: nothing can land there, and nobody tries again and again.
    let place = site.clone.place.display().to_string();
    site.clone.git(&["fetch", "-q", "origin"]);
    site.clone
        .git(&["-C", &place, "update-ref", "-d", "refs/heads/main"]);
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"frozen": ""}),
    )
    .await;
    let lane = site.lane_until(fix, "cancelled").await;
    assert_eq!(lane["reason_code"], "lane.target-gone", "{lane}");
    site.idle().await;
    assert!(site.lanes().await.len() < 8, "{:?}", site.lanes().await);
    // Both come back, and all goes on.
    site.clone.git(&[
        "push",
        "-q",
        "origin",
        "origin/main:refs/heads/main",
        "gone",
    ]);
    host.post(
        &format!("/v1/repositories/lib/pulls/{fix}/retest"),
        json!({}),
    )
    .await;
    site.until(fix, "landed").await;
    site.until(gone, "landed").await;
    site.proof().await;
    host.stop().await;
}

#[tokio::test]
async fn a_target_that_is_reset_to_an_ancestor_lands_nothing_untested() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let (runs, gate) = (host.dir().join("runs"), host.dir().join("gate"));
    site.stock(&format!(
        "echo x >> {}; test ! -e slow || while [ ! -e {} ]; do sleep 0.02; done",
        runs.display(),
        gate.display()
    ))
    .await;
    let count = || std::fs::read_to_string(&runs).map_or(0, |text| text.lines().count());
    let first = site.clone.tip("main");
    site.clone.branch("one", "one", "good\n");
    let one = site.open("one").await;
    site.approve(one).await;
    site.until(one, "landed").await;
    let landed = site.lane_until(one, "landed").await;
    // A lane runs on the new tip when somebody takes that tip away.
    site.clone.branch("slow", "slow", "good\n");
    let slow = site.open("slow").await;
    site.approve(slow).await;
    let running = site.lane_until(slow, "running").await;
    assert_eq!(running["base"], landed["commit"]);
    site.clone
        .git(&["push", "-q", "-f", "origin", &format!("{first}:main")]);
    let stale = site.lane_until(slow, "cancelled").await;
    assert_eq!(stale["id"], running["id"]);
    assert_eq!(stale["reason_code"], "lane.stale");
    let tips = host.get("/v1/pipelines/main/tips").await;
    let tips = tips["items"].as_array().expect("tips").clone();
    let how: Vec<(&str, &str)> = tips
        .iter()
        .map(|tip| (text(&tip["how"]), text(&tip["commit"])))
        .collect();
    let lane = text(&landed["commit"]);
    assert_eq!(
        how,
        [
            ("pushed", first.as_str()),
            ("landed", lane),
            ("watched", first.as_str())
        ]
    );
    // What landed has landed, as far as the record goes. The same change again makes the same tree, and that has passed.
    assert_eq!(site.pull(one).await["state"], "landed");
    let before = count();
    site.clone.git(&["fetch", "-q", "origin"]);
    site.clone.git(&["checkout", "-q", "-B", "again", &first]);
    site.clone.write("one", "good\n");
    site.clone.commit("Again");
    site.clone.push("again");
    // The gate is shut: a lane of the slow one would hold the slot.
    host.post(
        &format!("/v1/repositories/lib/pulls/{slow}/comments"),
        json!({"body": "@pointsman hold", "by": {"name": "bo", "permission": "write"}}),
    )
    .await;
    let again = site.open("again").await;
    site.approve(again).await;
    site.until(again, "landed").await;
    let lane = site.lane_until(again, "landed").await;
    assert_eq!(lane["jobs"][0]["state"], "reused", "{lane}");
    assert_eq!(lane["base"], first.as_str());
    assert_eq!(lane["tree"], landed["tree"]);
    assert!(
        count() <= before + 1,
        "the slow one may have begun once more"
    );
    // The slow one is tested anew on what is there now, its own content beside it.
    std::fs::write(&gate, "").expect("a file");
    host.post(
        &format!("/v1/repositories/lib/pulls/{slow}/comments"),
        json!({"body": "@pointsman unhold", "by": {"name": "bo", "permission": "write"}}),
    )
    .await;
    site.until(slow, "landed").await;
    assert_eq!(
        site.lane_until(slow, "landed").await["base"],
        lane["commit"]
    );
    site.proof().await;
    host.stop().await;
}
