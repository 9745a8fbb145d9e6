//! Several hosts on one database of which not every one has the repositories.

use std::process::Command;

use pointsman_tests::forge::Site;
use pointsman_tests::{TestHost, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

fn unmet(why: &Value) -> Vec<&str> {
    let conditions = why["conditions"].as_array().expect("conditions");
    let unmet = conditions.iter().filter(|c| c["met"] == false);
    unmet.map(|c| text(&c["name"])).collect()
}

#[tokio::test]
async fn a_host_without_the_repository_leaves_its_work_to_the_one_that_has_it() {
    let (db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let runs = host.dir().join("runs");
    site.stock(&format!("echo $POINTSMAN_ATTEMPT >> {}", runs.display()))
        .await;
    // Its forge is another folder: one has nothing in it, the other a repository of the same name.
    let without = db.serve().await;
    let other = tempfile::tempdir().expect("a directory");
    let foreign = other.path().join("forge/lib.git");
    let made = Command::new("git")
        .args(["init", "-q", "--bare"])
        .arg(&foreign)
        .status();
    assert!(made.expect("git").success());
    let misled = TestHost::on(&db.url, other).await;
    for (host, here) in [(&host, true), (&without, false), (&misled, false)] {
        let repository = host.get("/v1/repositories").await["items"][0].clone();
        assert_eq!(repository["here"], here, "{repository}");
    }
    for n in 1..=4 {
        site.clone
            .branch(&format!("part-{n}"), &format!("parts/{n}"), "good\n");
        let number = site.open(&format!("part-{n}")).await;
        // It need not be the host with the repository that hears of it.
        let review = json!({"state": "approved", "by": {"name": "bo", "permission": "write"}});
        let path = format!("/v1/repositories/lib/pulls/{number}/reviews");
        without.post(&path, review).await;
    }
    for number in 1..=4 {
        site.until(number, "landed").await;
    }
    site.proof().await;
    // Each was tested once, and nothing went wrong on the way.
    for lane in site.lanes().await {
        let lane = host.get(&format!("/v1/lanes/{}", lane["id"])).await;
        let attempts = lane["jobs"][0]["attempts"].as_array().map_or(0, Vec::len);
        assert!(attempts <= 1, "{lane:#}");
        assert_ne!(lane["reason_code"], "job.failed", "{lane:#}");
    }
    let tips = host.get("/v1/pipelines/main/tips").await;
    let tips = tips["items"].as_array().expect("tips");
    assert!(tips.iter().all(|tip| tip["how"] != "pushed"), "{tips:#?}");
    // What needs the repository at once is refused there, with what to do.
    let body = json!({"title": "A title", "branch": "part-1"});
    for host in [&without, &misled] {
        let refused = host
            .refused(
                Method::POST,
                "/v1/repositories/lib/pulls",
                Some(body.clone()),
            )
            .await;
        assert_eq!(refused["code"], "repository_elsewhere", "{refused}");
    }
    misled.stop().await;
    without.stop().await;
    host.stop().await;
}

#[tokio::test]
async fn where_no_host_has_the_repository_people_are_told_so() {
    let (db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.lane_until(number, "passed").await;
    let without = db.serve().await;
    let clone = site.clone;
    let dir = host.stop_and_keep().await;
    let mut connection = db.connect().await;
    sqlx::query("update repository_folder set seen_at = now() - interval '1 hour'")
        .execute(&mut connection)
        .await
        .expect("an hour passes");
    let site = Site::of(&without, clone);
    site.approve(number).await;
    let path = format!("/v1/repositories/lib/pulls/{number}/why");
    let why = without.get(&path).await;
    assert_eq!(unmet(&why)[0], "repository", "{why:#}");
    let merging = without.get("/v1/pipelines/main").await["merging"].clone();
    assert!(merging["folder_missing_since"].is_string(), "{merging}");
    // It comes back with its host, and all goes on.
    let clone = site.clone;
    let back = TestHost::on(&db.url, dir).await;
    let site = Site::of(&back, clone);
    site.until(number, "landed").await;
    let merging = wait_for("the folder is seen", async || {
        let merging = back.get("/v1/pipelines/main").await["merging"].clone();
        merging["folder_missing_since"].is_null().then_some(merging)
    })
    .await;
    assert_eq!(merging["repository"], "lib");
    without.stop().await;
    back.stop().await;
}
