//! The merge pipeline, on real git and with real jobs: each rule of the first design's sketch.

#[path = "landing/branches.rs"]
mod branches;

use pointsman_tests::forge::Site;
use pointsman_tests::{TestHost, text, wait_for};
use serde_json::json;

#[tokio::test]
async fn an_approved_pull_request_lands_as_the_commit_that_was_tested() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("grep -q good change").await;
    let head = site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    assert_eq!(number, 1);
    site.approve(number).await;
    let pull = site.until(number, "landed").await;
    assert_eq!(pull["head"], head.as_str());
    let lane = site.lane_until(number, "landed").await;
    assert_eq!(site.clone.tip("main"), text(&lane["commit"]));
    let job = &lane["jobs"][0];
    assert_eq!(job["name"], "test");
    assert_eq!(job["attempts"][0]["ended"], "exited");
    assert_eq!(job["attempts"][0]["exit_code"], 0);
    // A real merge commit of the old tip and the head.
    let parents = site
        .clone
        .git(&["log", "-1", "--format=%P", text(&lane["commit"])]);
    assert_eq!(parents, format!("{} {head}", text(&lane["base"])));
    site.proof().await;
    site.idle().await;
    host.stop().await;
}

#[tokio::test]
async fn what_fails_does_not_land_and_its_log_says_why() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("cat change; grep -q good change").await;
    site.clone.branch("bad", "change", "rotten\n");
    let number = site.open("bad").await;
    site.approve(number).await;
    let lane = site.lane_until(number, "failed").await;
    let attempt = &lane["jobs"][0]["attempts"][0];
    assert_eq!(attempt["exit_code"], 1);
    let log = host
        .request(
            reqwest::Method::GET,
            &format!("/v1/attempts/{}/log", text(&attempt["key"])),
        )
        .send()
        .await
        .expect("an answer");
    assert!(log.text().await.expect("text").contains("rotten"));
    site.idle().await;
    assert_eq!(site.pull(number).await["state"], "open");
    // The same is not tested again on the same tip.
    assert_eq!(site.lanes().await.len(), 1);
    let why = host
        .get(&format!("/v1/repositories/lib/pulls/{number}/why"))
        .await;
    let unmet = why["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .find(|c| c["met"] == false);
    assert_eq!(unmet.expect("one is unmet")["name"], "passed");
    // A mended head is another question.
    site.clone.write("change", "good\n");
    site.clone.commit("Mend");
    site.clone.push("bad");
    wait_for("the new head is seen", async || {
        let pull = site.pull(number).await;
        (pull["standing"]["approval"] == "pending").then_some(())
    })
    .await;
    site.approve(number).await;
    site.until(number, "landed").await;
    site.proof().await;
    // The old result stays readable.
    assert_eq!(site.lane_until(number, "failed").await["id"], lane["id"]);
    host.stop().await;
}

#[tokio::test]
async fn a_new_head_ends_the_jobs_of_the_old_one() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("test -e done || sleep 600").await;
    site.clone.branch("fix", "change", "one\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    site.lane_until(number, "running").await;
    site.clone.write("done", "");
    let head = site.clone.commit("Done");
    site.clone.push("fix");
    let old = site.lane_until(number, "cancelled").await;
    assert_eq!(old["reason_code"], "lane.head-moved");
    wait_for("the head is seen", async || {
        (site.pull(number).await["standing"]["approval"] == "pending").then_some(())
    })
    .await;
    site.approve(number).await;
    let pull = site.until(number, "landed").await;
    assert_eq!(pull["head"], head.as_str());
    site.proof().await;
    host.stop().await;
}

#[tokio::test]
async fn a_closed_tree_lands_nothing_until_it_is_opened() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    let patch = |frozen: &str| {
        host.send(
            reqwest::Method::PATCH,
            "/v1/pipelines/main",
            json!({"frozen": frozen}),
        )
    };
    patch("the release is cut").await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    site.approve(number).await;
    let lane = site.lane_until(number, "passed").await;
    site.idle().await;
    assert_eq!(site.pull(number).await["state"], "open");
    let unmet = async |number: i64| -> Vec<String> {
        let path = format!("/v1/repositories/lib/pulls/{number}/why");
        let why = host.get(&path).await;
        let conditions = why["conditions"].as_array().expect("conditions");
        let unmet = conditions.iter().filter(|c| c["met"] == false);
        unmet.map(|c| text(&c["name"]).to_owned()).collect()
    };
    assert_eq!(unmet(number).await, ["tree-open", "landing"]);
    // One that has no lane is told, too.
    site.bind("select", "select-oldest", json!({"test-unapproved": false}))
        .await;
    site.clone.branch("other", "other", "good\n");
    let waits = site.open("other").await;
    wait_for("it is told that the tree is closed", async || {
        let unmet = unmet(waits).await;
        let unmet: Vec<&str> = unmet.iter().map(String::as_str).collect();
        (unmet == ["approved", "lane", "tree-open"]).then_some(())
    })
    .await;
    patch("").await;
    site.until(number, "landed").await;
    // The very lane that was tested while it was closed.
    assert_eq!(site.lane_until(number, "landed").await["id"], lane["id"]);
    host.stop().await;
}

#[tokio::test]
async fn what_conflicts_gets_no_job_and_says_so() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    site.clone.branch("one", "change", "one\n");
    site.clone.git(&["checkout", "-q", "main"]);
    site.clone
        .git(&["checkout", "-q", "-B", "two", "origin/main"]);
    site.clone.write("change", "two\n");
    site.clone.commit("two");
    site.clone.push("two");
    let (first, second) = (site.open("one").await, site.open("two").await);
    site.approve(first).await;
    site.until(first, "landed").await;
    site.approve(second).await;
    let lane = site.lane_until(second, "conflict").await;
    assert!(text(&lane["reason"]).contains("change"), "{lane}");
    assert_eq!(lane["jobs"], json!([]));
    site.idle().await;
    assert_eq!(site.pull(second).await["state"], "open");
    host.stop().await;
}

#[tokio::test]
async fn the_same_tree_is_not_tested_twice_unless_asked() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let runs = host.dir().join("runs");
    site.stock(&format!("echo x >> {}", runs.display())).await;
    let count = || std::fs::read_to_string(&runs).map_or(0, |text| text.lines().count());
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    // Not approved: tested all the same, for a slot is free; then approved, and landed without another run.
    let preview = site.lane_until(number, "passed").await;
    site.idle().await;
    assert_eq!(count(), 1);
    // Asked for: it runs again.
    host.post(
        &format!("/v1/repositories/lib/pulls/{number}/retest"),
        json!({}),
    )
    .await;
    wait_for("it ran again", async || (count() == 2).then_some(())).await;
    wait_for("another lane has passed", async || {
        let lane = site.lane_until(number, "passed").await;
        (lane["id"] != preview["id"]).then_some(())
    })
    .await;
    site.approve(number).await;
    site.until(number, "landed").await;
    assert_eq!(count(), 2);
    // The same content again, elsewhere: the tree is the same as one that passed.
    site.clone.branch("undo", "change", "other\n");
    let undo = site.open("undo").await;
    site.approve(undo).await;
    site.until(undo, "landed").await;
    assert_eq!(count(), 3);
    site.clone.branch("redo", "change", "good\n");
    let redo = site.open("redo").await;
    site.approve(redo).await;
    site.until(redo, "landed").await;
    let lane = site.lane_until(redo, "landed").await;
    assert_eq!(lane["jobs"][0]["state"], "reused", "{lane}");
    assert_eq!(count(), 3);
    site.proof().await;
    host.stop().await;
}

#[tokio::test]
async fn commands_in_comments_are_obeyed_and_answered() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    site.bind("react", "status-comment", json!({})).await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    let say = async |body: &str, name: &str, permission: &str| {
        let body = json!({"body": body, "by": {"name": name, "permission": permission}});
        host.post(
            &format!("/v1/repositories/lib/pulls/{number}/comments"),
            body,
        )
        .await;
    };
    // Whoever may not approve is answered, and approves nothing.
    say("@pointsman r+", "eve", "read").await;
    site.lane_until(number, "passed").await;
    site.idle().await;
    assert_eq!(site.pull(number).await["state"], "open");
    say("Fine!\n@pointsman r+", "bo", "write").await;
    let pull = site.until(number, "landed").await;
    assert_eq!(pull["standing"]["approval"], "approved");
    let comments = wait_for("it is told that it landed", async || {
        let page = host
            .get(&format!("/v1/repositories/lib/pulls/{number}/comments"))
            .await;
        let comments = page["items"].as_array().expect("comments").clone();
        let told = |text: &str| {
            comments.iter().any(|c| {
                c["by"] == "pointsman" && c["body"].as_str().is_some_and(|b| b.contains(text))
            })
        };
        (told("landed") || told("Landed")).then_some(comments)
    })
    .await;
    assert!(comments.len() >= 3, "{comments:?}");
    let pull = site.pull(number).await;
    assert_eq!(pull["statuses"][0]["state"], "success", "{pull}");
    host.stop().await;
}

#[tokio::test]
async fn an_outsiders_head_runs_only_once_somebody_allowed_it() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    host.post("/v1/repositories", json!({"name": "fork"})).await;
    let place = site.clone.place.with_file_name("fork.git");
    site.clone.git(&["checkout", "-q", "-b", "topic"]);
    site.clone.write("change", "from outside\n");
    let head = site.clone.commit("From outside");
    site.clone
        .git(&["push", "-q", &place.display().to_string(), "topic"]);
    let body = json!({"title": "From outside", "branch": "topic", "head_repository": "fork",
        "author": {"name": "eve", "permission": "none"}});
    let number = host.post("/v1/repositories/lib/pulls", body).await["number"]
        .as_i64()
        .expect("a number");
    let pull = wait_for("the gate holds it", async || {
        let pull = site.pull(number).await;
        (pull["standing"]["need"] == "hold").then_some(pull)
    })
    .await;
    assert_eq!(pull["standing"]["gate"]["code"], "gate.unauthorised");
    site.approve(number).await;
    site.idle().await;
    assert_eq!(site.lanes().await.len(), 0);
    let authorise = format!("/v1/repositories/lib/pulls/{number}/authorise");
    let other = host
        .refused(
            reqwest::Method::POST,
            &authorise,
            Some(json!({"head": "0".repeat(40)})),
        )
        .await;
    assert_eq!(other["code"], "head_moved");
    host.post(&authorise, json!({"head": head})).await;
    site.until(number, "landed").await;
    site.proof().await;
    host.stop().await;
}

#[tokio::test]
async fn a_batch_that_fails_is_bisected_and_the_good_ones_land() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("! grep -rqs rotten parts").await;
    site.bind("select", "select-batch", json!({"max": 8})).await;
    let mut numbers = vec![];
    for n in 1..=5 {
        let content = if n == 3 { "rotten\n" } else { "good\n" };
        site.clone
            .branch(&format!("part-{n}"), &format!("parts/{n}"), content);
        numbers.push(site.open(&format!("part-{n}")).await);
    }
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"paused": "until all are approved"}),
    )
    .await;
    for number in &numbers {
        site.approve(*number).await;
    }
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"paused": ""}),
    )
    .await;
    for number in [1, 2, 4, 5] {
        site.until(number, "landed").await;
    }
    site.idle().await;
    assert_eq!(site.pull(3).await["state"], "open");
    site.proof().await;
    // No set of members was tested twice on the same base.
    let mut seen = std::collections::HashSet::new();
    for lane in site.lanes().await {
        let verdict = matches!(text(&lane["state"]), "failed" | "landed");
        assert!(
            !verdict || seen.insert((lane["base"].to_string(), lane["members"].to_string())),
            "tested twice: {lane}"
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn a_member_that_another_one_contains_lands_with_it() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    site.bind("select", "select-batch", json!({})).await;
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"paused": "until both are approved"}),
    )
    .await;
    site.clone.branch("below", "below", "good\n");
    let below = site.open("below").await;
    site.clone.git(&["checkout", "-q", "-B", "above", "below"]);
    site.clone.write("above", "good\n");
    site.clone.commit("above");
    site.clone.push("above");
    let above = site.open("above").await;
    // The order of approvals is that of merges: the second has nothing to add.
    site.approve(above).await;
    site.approve(below).await;
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"paused": ""}),
    )
    .await;
    site.until(above, "landed").await;
    site.until(below, "landed").await;
    site.idle().await;
    site.proof().await;
    let lanes = site.lanes().await;
    assert!(
        lanes
            .iter()
            .all(|lane| lane["reason_code"] != "lane.unbuildable"),
        "{lanes:#?}"
    );
    host.stop().await;
}

#[tokio::test]
async fn what_the_seed_asks_over_http_is_answered() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let gate = host.dir().join("gate");
    site.stock(&format!(
        "while [ ! -e {} ]; do sleep 0.02; done",
        gate.display()
    ))
    .await;
    for name in ["one", "two"] {
        site.clone.branch(name, name, "good\n");
        site.open(name).await;
    }
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"frozen": "wait"}),
    )
    .await;
    site.approve(1).await;
    let lane = site.lane_until(1, "running").await;
    let status = host.get("/v1/pipelines/main/status").await;
    assert_eq!(status["1"]["lane"], lane["id"]);
    assert_eq!(
        host.get("/v1/pipelines/main/review-status").await,
        json!([1])
    );
    assert_eq!(
        host.get("/v1/pipelines/main/ready-for-merge").await,
        json!([])
    );
    std::fs::write(&gate, "").expect("a file");
    site.lane_until(1, "passed").await;
    site.lane_until(2, "passed").await;
    assert_eq!(host.get("/v1/pipelines/main/passing").await, json!([1, 2]));
    assert_eq!(
        host.get("/v1/pipelines/main/ready-for-merge").await,
        json!([1])
    );
    host.post("/v1/pipelines/main/try-merge/1", json!({})).await;
    host.send(
        reqwest::Method::PATCH,
        "/v1/pipelines/main",
        json!({"frozen": ""}),
    )
    .await;
    site.until(1, "landed").await;
    // What passed on the old tip does not pass on the new one until it was tested there.
    site.lane_until(2, "passed").await;
    let again = wait_for("it passes on the new tip", async || {
        let passing = host.get("/v1/pipelines/main/passing").await;
        (passing == json!([2])).then_some(())
    });
    again.await;
    host.stop().await;
}

#[tokio::test]
async fn bad_requests_are_refused_with_what_to_do() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let refused = async |path: &str, body: serde_json::Value| {
        text(&host.refused(reqwest::Method::POST, path, Some(body)).await["code"]).to_owned()
    };
    assert_eq!(
        refused("/v1/repositories", json!({"name": "../etc"})).await,
        "name_invalid"
    );
    assert_eq!(
        refused("/v1/repositories", json!({"name": ""})).await,
        "name_invalid"
    );
    let pulls = "/v1/repositories/lib/pulls";
    let open = |branch: &str, title: &str| json!({"branch": branch, "title": title});
    assert_eq!(
        refused(pulls, open("nowhere", "A title")).await,
        "branch_unknown"
    );
    assert_eq!(
        refused(pulls, open("--upload-pack=x", "A title")).await,
        "branch_invalid"
    );
    assert_eq!(refused(pulls, open("main", "")).await, "title_invalid");
    assert_eq!(
        refused("/v1/repositories/none/pulls", open("main", "A title")).await,
        "repository_unknown"
    );
    let pipeline =
        |name: &str, target: &str| json!({"name": name, "repository": "lib", "target": target});
    assert_eq!(
        refused("/v1/pipelines", pipeline("main", "other")).await,
        "pipeline_exists"
    );
    assert_eq!(
        refused("/v1/pipelines", pipeline("second", "main")).await,
        "branch_taken"
    );
    assert_eq!(
        refused("/v1/pipelines", pipeline("Bad Name", "other")).await,
        "name_invalid"
    );
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    let at = |what: &str| format!("{pulls}/{number}/{what}");
    assert_eq!(
        refused(&at("reviews"), json!({"state": "lgtm"})).await,
        "review_invalid"
    );
    assert_eq!(
        refused(&at("reviews"), json!({"state": "approved", "head": "HEAD"})).await,
        "head_invalid"
    );
    assert_eq!(
        refused(&at("comments"), json!({"body": " "})).await,
        "body_invalid"
    );
    assert_eq!(
        refused(&format!("{pulls}/99/reviews"), json!({"state": "approved"})).await,
        "pull_unknown"
    );
    // Only an admin speaks for others.
    let token = host
        .post("/v1/tokens", json!({"name": "ci", "role": "writer"}))
        .await;
    let answer = host
        .request_as(
            text(&token["secret"]),
            reqwest::Method::POST,
            &at("reviews"),
        )
        .json(&json!({"state": "approved", "by": {"name": "bo"}}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        pointsman_tests::problem(answer).await["code"],
        "not_your_name"
    );
    // A hook of kernels is refused for pull requests, and the other way round.
    let digest = host.upload("kernel-ladder").await;
    let body = json!({"digest": digest, "settings": {}});
    let problem = host
        .refused(
            reqwest::Method::PUT,
            "/v1/pipelines/main/bindings/advance/0",
            Some(body),
        )
        .await;
    assert_eq!(problem["code"], "hook_not_asked", "{problem}");
    host.stop().await;
}

#[tokio::test]
async fn a_policy_that_cannot_answer_holds_one_pull_request_and_no_other() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    let digest = host
        .upload_bytes("tripping", pointsman_tests::guest::trips())
        .await;
    site.bind_digest("gate", &digest, json!({})).await;
    site.clone.branch("one", "one", "good\n");
    site.clone.branch("two", "two", "good\n");
    let one = json!({"title": "TRIP the plugin", "branch": "one", "author": {"name": "ann"}});
    host.post("/v1/repositories/lib/pulls", one).await;
    site.open("two").await;
    site.approve(1).await;
    site.approve(2).await;
    site.until(2, "landed").await;
    let pull = site.pull(1).await;
    assert_eq!(pull["state"], "open");
    assert_eq!(pull["standing"]["held"]["code"], "trapped");
    assert!(pull["standing"]["gate"]["decision"].is_i64());
    assert!(host.get("/v1/pipelines/main").await["held"].is_null());
    host.stop().await;
}

#[tokio::test]
async fn two_hosts_share_the_work_and_one_takes_over_from_the_other() {
    let (db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let runs = host.dir().join("runs");
    site.stock(&format!("echo $POINTSMAN_ATTEMPT >> {}", runs.display()))
        .await;
    let other = host.beside(&db.url).await;
    for n in 1..=4 {
        site.clone
            .branch(&format!("part-{n}"), &format!("parts/{n}"), "good\n");
        let number = site.open(&format!("part-{n}")).await;
        site.approve(number).await;
    }
    site.until(1, "landed").await;
    site.until(2, "landed").await;
    // One goes; what it had begun and what is left is the other's.
    other.stop().await;
    site.until(3, "landed").await;
    site.until(4, "landed").await;
    site.proof().await;
    // No attempt was started twice.
    let started = std::fs::read_to_string(&runs).expect("runs");
    let mut keys: Vec<&str> = started.lines().collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "{started}");
    host.stop().await;
}

#[tokio::test]
async fn a_policy_that_wishes_for_a_thousand_lanes_is_refused_and_says_so() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    site.clone.branch("fix", "change", "good\n");
    let number = site.open("fix").await;
    let held = async |lanes: u32, code: &str| {
        let wasm = pointsman_tests::guest::plans(lanes);
        let digest = host.upload_bytes(&format!("plans-{lanes}"), wasm).await;
        site.bind_digest("select", &digest, json!({})).await;
        wait_for(&format!("the pipeline holds: {code}"), async || {
            let pipeline = host.get("/v1/pipelines/main").await;
            (pipeline["held"]["code"] == code).then_some(pipeline["held"].clone())
        })
        .await
    };
    site.lane_until(number, "passed").await;
    site.idle().await;
    let before = site.lanes().await;
    let refusal = held(1_000, "too-many-lanes").await;
    assert!(text(&refusal["text"]).contains("1000"), "{refusal}");
    let decision = host
        .get(&format!("/v1/decisions/{}", refusal["decision"]))
        .await;
    assert_eq!(decision["outcome"], "refused", "{decision}");
    // As many as there may be are no plan either, where they are one and the same.
    held(200, "named-twice").await;
    // Not one of them was begun, and what was there is as it was.
    assert_eq!(site.lanes().await, before);
    site.bind("select", "select-oldest", json!({})).await;
    site.approve(number).await;
    site.until(number, "landed").await;
    site.proof().await;
    host.stop().await;
}
