//! Export and import of pull requests: what people said moves house, and nobody reacts to it twice.

use pointsman_tests::forge::Site;
use pointsman_tests::transfer::{export, import, newcomer, normal};
use pointsman_tests::{TestHost, success, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

const OURS: [&str; 9] = [
    "repository",
    "merge_pipeline",
    "pull",
    "pull_note",
    "review",
    "comment",
    "label",
    "status",
    "tip",
];

/// Pull requests with something of everything: one that landed, one that is discussed, one that is closed.
async fn furnish(host: &TestHost) {
    let site = Site::new(host).await;
    site.stock("true").await;
    site.bind("react", "status-comment", json!({})).await;
    site.clone.branch("landed", "landed", "good\n");
    let landed = site.open("landed").await;
    site.approve(landed).await;
    site.until(landed, "landed").await;
    wait_for("the policy has posted its status", async || {
        let pull = site.pull(landed).await;
        (pull["statuses"][0]["state"] == "success").then_some(())
    })
    .await;
    for branch in ["open", "closed"] {
        site.clone.branch(branch, branch, "good\n");
        let number = site.open(branch).await;
        site.review(number, "changes-requested").await;
        let path = format!("/v1/repositories/lib/pulls/{number}");
        let body =
            json!({"body": "What about \"this\"?", "by": {"name": "cy", "permission": "read"}});
        host.post(&format!("{path}/comments"), body).await;
        host.send(Method::PUT, &format!("{path}/labels/later"), json!({}))
            .await;
    }
    let note = |number: i64| json!({"hook": "gate", "repository": "lib", "number": number, "key": "tries", "value": "2"});
    let notes = json!({"notes": [note(landed), note(2)]});
    host.post("/v1/pipelines/main/notes", notes).await;
    let closed = json!({"state": "closed"});
    host.send(Method::PATCH, "/v1/repositories/lib/pulls/3", closed)
        .await;
    host.send(
        Method::PATCH,
        "/v1/pipelines/main",
        json!({"frozen": "moving house"}),
    )
    .await;
    site.idle().await;
}

fn ours(export: &str) -> Vec<(String, Vec<Value>)> {
    let sections = normal(export).into_iter();
    sections
        .filter(|(kind, _)| OURS.contains(&kind.as_str()))
        .collect()
}

#[tokio::test]
async fn pull_requests_move_house_with_what_people_said() {
    let (_db, source) = TestHost::start().await;
    furnish(&source).await;
    let exported = export(&source).await;
    let lines = ours(&exported);
    assert_eq!(lines.len(), OURS.len(), "{lines:#?}");

    let (database, target) = newcomer().await;
    success(import(&target, exported.clone()).await).await;
    assert_eq!(ours(&export(&target).await), lines);
    // No policy comments again on what was said long ago.
    let mut connection = database.connect().await;
    let reactions: i64 = sqlx::query_scalar("select count(*) from reaction")
        .fetch_one(&mut connection)
        .await
        .expect("a number");
    assert_eq!(reactions, 0);
    for number in 1..=3 {
        let path = format!("/v1/repositories/lib/pulls/{number}");
        let (theirs, moved) = (source.get(&path).await, target.get(&path).await);
        for field in ["title", "state", "head", "labels", "statuses", "opened_at"] {
            assert_eq!(moved[field], theirs[field], "{field}");
        }
    }
    let notes = target
        .get("/v1/pipelines/main/notes?repository=lib&number=2")
        .await;
    assert_eq!(notes["items"][0]["value"], "2", "{notes}");
    let frozen = target.get("/v1/pipelines/main").await;
    assert!(frozen.to_string().contains("moving house"), "{frozen}");

    // A second time nothing is new.
    let again = success(import(&target, exported).await).await;
    assert_eq!(again["created"], 0, "{again}");
    assert_eq!(ours(&export(&target).await), lines);
    source.stop().await;
    target.stop().await;
}

#[tokio::test]
async fn another_pull_request_with_the_same_number_is_left_as_it_is() {
    let (_db, source) = TestHost::start().await;
    furnish(&source).await;
    let (_other, target) = newcomer().await;
    let site = Site::new(&target).await;
    site.clone.branch("mine", "mine", "good\n");
    let mine = site.open("mine").await;
    assert_eq!(mine, 1);
    success(import(&target, export(&source).await).await).await;
    let pull = site.pull(mine).await;
    assert_eq!(text(&pull["title"]), "Land mine");
    assert_eq!(pull["statuses"].as_array().map_or(0, Vec::len), 0, "{pull}");
    let notes = target
        .get("/v1/pipelines/main/notes?repository=lib&number=1")
        .await;
    assert_eq!(notes["items"], json!([]), "those of the other one");
    // The others came, and the next one has a number of its own.
    assert_eq!(site.pull(3).await["state"], "closed");
    site.clone.branch("next", "next", "good\n");
    assert_eq!(site.open("next").await, 4);
    source.stop().await;
    target.stop().await;
}
