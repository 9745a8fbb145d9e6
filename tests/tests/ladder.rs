//! The kernel ladder: reported runs lift a version as far as a policy may, and people do the rest.

use pointsman_tests::{TestHost, text};
use reqwest::Method;
use serde_json::{Value, json};

const DISTRO: &str = "debian-12";
const VERSION: &str = "6.1.0-1-amd64";

async fn with_ladder() -> (pointsman_tests::TestDatabase, TestHost) {
    let (db, host) = TestHost::start().await;
    host.stock_policy().await;
    host.distro(DISTRO).await;
    (db, host)
}

/// Reports a run of the version, and waits until it is decided what follows.
async fn report(host: &TestHost, purpose: &str, verdict: Option<&str>, key: Option<&str>) {
    let run = json!({"distro": DISTRO, "version": VERSION, "purpose": purpose, "verdict": verdict,
        "release": "21.0", "key": key, "comment": "Jenkins build 13343"});
    host.post("/v1/runs", json!({"runs": [run]})).await;
    host.idle().await;
}

async fn set(host: &TestHost, state: &str) {
    let path = format!("/v1/kernels/{DISTRO}/{VERSION}");
    host.send(
        Method::PATCH,
        &path,
        json!({"state": state, "comment": "a person's word"}),
    )
    .await;
    host.idle().await;
}

async fn state(host: &TestHost) -> String {
    let kernel = host.get(&format!("/v1/kernels/{DISTRO}/{VERSION}")).await;
    text(&kernel["state"]).to_owned()
}

/// What is wanted: `version purpose`.
async fn wanted(host: &TestHost) -> Vec<String> {
    host.idle().await;
    let page = host.get("/v1/wanted").await;
    let items = page["items"].as_array().expect("items").iter();
    items
        .map(|wanted| format!("{} {}", text(&wanted["version"]), text(&wanted["purpose"])))
        .collect()
}

/// What the ladder last said of a version.
async fn said(host: &TestHost, version: &str) -> Value {
    host.idle().await;
    let page = host.get("/v1/decisions?hook=advance").await;
    for decision in page["items"].as_array().expect("items") {
        let decision = host.get(&format!("/v1/decisions/{}", decision["id"])).await;
        let asked = decision["input"]["kernels"].as_array().expect("kernels");
        if let Some(index) = asked.iter().position(|kernel| kernel["version"] == version) {
            let mut steps = decision["output"]["steps"]
                .as_array()
                .expect("steps")
                .iter();
            let step = steps.find(|step| step["index"] == index).expect("a step");
            return step["basis"]["reason"].clone();
        }
    }
    panic!("nobody asked about {version}");
}

#[tokio::test]
async fn runs_lift_a_version_and_people_make_it_ready() {
    let (_db, host) = with_ladder().await;
    host.kernels(DISTRO, &[VERSION]).await;
    for (purpose, reached) in [("fetch", "fetched"), ("build", "built"), ("test", "tested")] {
        assert_eq!(wanted(&host).await, [format!("{VERSION} {purpose}")]);
        report(&host, purpose, Some("pass"), None).await;
        assert_eq!(state(&host).await, reached);
    }
    assert_eq!(
        wanted(&host).await,
        [""; 0],
        "what is tested waits for a person"
    );
    report(&host, "test", Some("pass"), None).await;
    report(&host, "ready-own", Some("pass"), None).await;
    assert_eq!(state(&host).await, "tested", "no run makes it ready");
    for ready in ["ready-own", "ready-customers"] {
        set(&host, ready).await;
        assert_eq!(state(&host).await, ready);
    }
    report(&host, "test", Some("fail"), None).await;
    assert_eq!(
        state(&host).await,
        "ready-customers",
        "and none takes it back"
    );

    // Who moved it, why, and which decision it was.
    let path = format!("/v1/events?kind=kernel_version&operation=update&name={DISTRO}/{VERSION}");
    let events = host.get(&path).await;
    let events = events["items"].as_array().unwrap();
    let moves: Vec<_> = events
        .iter()
        .map(|event| event["changes"]["state"][1].as_str().unwrap())
        .collect();
    assert_eq!(
        moves,
        ["fetched", "built", "tested", "ready-own", "ready-customers"]
    );
    let digest = host.get("/v1/plugins/kernel-ladder").await["digest"].clone();
    for event in &events[..3] {
        assert_eq!(
            text(&event["user"]),
            format!("policy:kernel-ladder@{}", &text(&digest)[..12])
        );
        let generation = &event["generation"];
        let behind = host
            .get(&format!("/v1/decisions?generation={generation}"))
            .await;
        let behind = behind["items"].as_array().unwrap();
        assert_eq!(
            (behind.len(), &behind[0]["hook"]),
            (1, &json!("advance")),
            "{behind:?}"
        );
        assert!(text(&event["comment"]).contains("passed"), "{event}");
    }
    assert!(
        events[3..]
            .iter()
            .all(|event| event["user"] == "admin" && event["comment"] == "a person's word")
    );
}

#[tokio::test]
async fn a_run_that_does_not_pass_leaves_the_version_where_it_is() {
    let (_db, host) = with_ladder().await;
    host.kernels(DISTRO, &[VERSION]).await;
    report(&host, "fetch", None, Some("jenkins-1")).await;
    assert_eq!(
        (state(&host).await.as_str(), wanted(&host).await),
        ("seen", vec![format!("{VERSION} fetch")])
    );
    report(&host, "fetch", Some("fail"), Some("jenkins-1")).await;
    assert_eq!(
        (state(&host).await.as_str(), wanted(&host).await),
        ("seen", vec![])
    );
    assert_eq!(said(&host, VERSION).await["code"], "run.failed");
    // Another try by hand is as good as any.
    report(&host, "fetch", Some("pass"), Some("jenkins-2")).await;
    report(&host, "build", Some("inconclusive"), None).await;
    assert_eq!(
        state(&host).await,
        "fetched",
        "a run in which nothing was tested is no pass"
    );
    report(&host, "build", Some("pass"), None).await;
    assert_eq!(
        (state(&host).await.as_str(), wanted(&host).await),
        ("built", vec![format!("{VERSION} test")])
    );

    // A policy that allows more tries asks for another.
    let ladder = host.get("/v1/plugins/kernel-ladder").await;
    report(&host, "test", Some("fail"), None).await;
    assert_eq!(wanted(&host).await, [""; 0]);
    host.bind("advance", text(&ladder["digest"]), json!({"max-runs": 2}))
        .await;
    assert_eq!(wanted(&host).await, [format!("{VERSION} test")]);
    host.bind(
        "advance",
        text(&ladder["digest"]),
        json!({"start-runs": false}),
    )
    .await;
    assert_eq!(wanted(&host).await, [""; 0]);
}

#[tokio::test]
async fn a_person_who_moves_a_version_back_is_respected() {
    let (_db, host) = with_ladder().await;
    host.kernels(DISTRO, &[VERSION]).await;
    for purpose in ["fetch", "build", "test"] {
        report(&host, purpose, Some("pass"), None).await;
    }
    assert_eq!(state(&host).await, "tested");
    report(&host, "test", None, Some("before")).await;
    set(&host, "fetched").await;
    assert_eq!(
        state(&host).await,
        "fetched",
        "old runs do not push it up again"
    );
    // Not even when everything is looked at anew.
    let ladder = host.get("/v1/plugins/kernel-ladder").await;
    host.bind("advance", text(&ladder["digest"]), json!({"max-runs": 3}))
        .await;
    host.idle().await;
    host.send(
        Method::PATCH,
        &format!("/v1/distros/{DISTRO}"),
        json!({"variant": "OTHER"}),
    )
    .await;
    host.idle().await;
    assert_eq!(state(&host).await, "fetched");
    // A run that ends after that word counts, though it began before.
    report(&host, "test", Some("pass"), Some("before")).await;
    assert_eq!(state(&host).await, "tested");
    set(&host, "seen").await;
    assert_eq!(state(&host).await, "seen");
    report(&host, "build", Some("pass"), None).await;
    assert_eq!(state(&host).await, "built", "a new run counts");
}

#[tokio::test]
async fn what_cannot_or_need_not_run_is_not_wanted() {
    let (_db, host) = with_ladder().await;
    host.post(
        "/v1/distros",
        json!({"distros": [{"name": "centos7", "variant": "CENTOS7", "supported": false}]}),
    )
    .await;
    host.kernels("centos7", &["3.10.0-1160.el7"]).await;
    let kernels = json!([
        {"distro": DISTRO, "version": VERSION},
        {"distro": DISTRO, "version": "6.1.0-2-amd64", "missing": ["headers"]},
        {"distro": DISTRO, "version": "6.5.0-1-amd64"},
    ]);
    host.post(
        "/v1/ignores",
        json!({"ignores": [{"kind": "like", "pattern": "6.5.%", "reason": "nobody runs it"}]}),
    )
    .await;
    host.post("/v1/kernels", json!({"kernels": kernels})).await;
    assert_eq!(wanted(&host).await, [format!("{VERSION} fetch")]);
    for (version, code) in [
        ("6.1.0-2-amd64", "headers.missing"),
        ("6.5.0-1-amd64", "version.ignored"),
        ("3.10.0-1160.el7", "distro.unsupported"),
    ] {
        let reason = said(&host, version).await;
        assert_eq!(reason["code"], code, "{reason}");
    }
    let page = host.get("/v1/wanted?purpose=fetch&distro=debian-12").await;
    assert_eq!(page["items"][0]["reason"], "Its fetch is due.");
    let decision = host
        .get(&format!("/v1/decisions/{}", page["items"][0]["decision"]))
        .await;
    assert_eq!(
        (&decision["hook"], &decision["subject"]),
        (&json!("advance"), &json!(DISTRO))
    );

    // Each changes with its cause.
    host.send(
        Method::PATCH,
        "/v1/distros/centos7",
        json!({"supported": true}),
    )
    .await;
    assert_eq!(wanted(&host).await.len(), 2);
    host.post(
        "/v1/detections",
        json!({"kernels": [{"distro": DISTRO, "version": "6.1.0-2-amd64"}]}),
    )
    .await;
    assert_eq!(wanted(&host).await.len(), 3);
    let rules = host.get("/v1/ignores").await;
    let path = format!("/v1/ignores/{}", rules["items"][0]["id"]);
    host.request(Method::DELETE, &path)
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    assert_eq!(wanted(&host).await.len(), 4);
    // A deleted version is no work for anybody.
    host.request(Method::DELETE, &format!("/v1/kernels/{DISTRO}/{VERSION}"))
        .send()
        .await
        .unwrap();
    assert_eq!(wanted(&host).await.len(), 3);
    assert!(!wanted(&host).await.contains(&format!("{VERSION} fetch")));
    host.post(
        &format!("/v1/kernels/{DISTRO}/{VERSION}/restore"),
        json!({}),
    )
    .await;
    assert_eq!(wanted(&host).await.len(), 4);
}

#[tokio::test]
async fn what_most_hosts_wait_for_goes_first() {
    let (_db, host) = with_ladder().await;
    host.kernels(DISTRO, &["6.1.0-1", "6.1.0-2", "6.1.0-3"])
        .await;
    host.post(
        "/v1/clusters",
        json!({"clusters": [{"name": "acme", "type": "customer"}]}),
    )
    .await;
    let on = |host: &str, version: &str| {
        json!({"cluster": "acme", "host": host,
            "kernels": [{"distro": DISTRO, "version": version, "current": true}]})
    };
    let hosts = [on("a", "6.1.0-3"), on("b", "6.1.0-3"), on("c", "6.1.0-2")];
    host.post("/v1/hosts", json!({"hosts": hosts})).await;
    assert_eq!(
        wanted(&host).await,
        ["6.1.0-3 fetch", "6.1.0-2 fetch", "6.1.0-1 fetch"]
    );
}
