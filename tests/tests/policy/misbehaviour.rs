//! Plugins that trap, loop or talk nonsense: the pipeline holds, everything else goes on, and nothing
//! is lost.

use pointsman_tests::guest::{self, Basis, Ground, Hook, Step};
use pointsman_tests::{TestHost, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{bound, ignore, ignored, roll_back};

/// Waits until the pipeline holds; gives why.
async fn held(host: &TestHost) -> Value {
    wait_for("the pipeline holds", async || {
        let held = host.get("/v1/pipelines/kernels").await["held"].clone();
        held.is_object().then_some(held)
    })
    .await
}

/// A host where 6.5 is ignored, a pass of `fetch` lifts, and one version of each is there.
async fn running() -> (pointsman_tests::TestDatabase, TestHost) {
    let (db, host) = TestHost::start().await;
    host.stock_policy().await;
    host.distro("debian-12").await;
    ignore(&host, "like", "6.5.%").await;
    host.kernels("debian-12", &["6.5.0-1", "6.1.0-1"]).await;
    assert_eq!(ignored(&host).await, ["debian-12/6.5.0-1"]);
    (db, host)
}

/// Binds a bad plugin, sees the hold, goes back, and sees that nothing was lost.
async fn holds_and_recovers(
    host: &TestHost,
    hook: &str,
    n: usize,
    wasm: Vec<u8>,
    code: &str,
    says: &str,
) {
    let name = format!("bad-{n}");
    let digest = host.upload_bytes(&name, wasm).await;
    host.bind(hook, &digest, json!({})).await;
    let why = held(host).await;
    assert_eq!(
        (&why["hook"], &why["code"]),
        (&json!(hook), &json!(code)),
        "{why}"
    );
    assert!(text(&why["text"]).contains(says), "{why}");
    let decision = host
        .get(&format!("/v1/decisions/{}", why["decision"]))
        .await;
    assert_eq!(
        (&decision["digest"], &decision["hook"]),
        (&json!(digest), &json!(hook)),
        "{decision}"
    );
    assert_ne!(decision["outcome"], "answered", "{decision}");
    assert!(
        decision["input"].is_object() && !text(&decision["reason"]).is_empty(),
        "{decision}"
    );

    // Reads and writes go on, and the last good answers stand.
    let before = host.get("/v1/kernels/debian-12/6.1.0-1").await["state"].clone();
    let (new, other) = (format!("6.5.0-{n}-new"), format!("6.1.0-{n}-new"));
    host.kernels("debian-12", &[&new, &other]).await;
    host.post(
        "/v1/runs",
        json!({"runs": [{"distro": "debian-12", "version": other, "purpose": "fetch", "verdict": "pass"}]}),
    )
    .await;
    let old = host.get("/v1/kernels/debian-12/6.5.0-1").await;
    assert!(old["ignored"].is_object(), "{old}");
    assert_eq!(
        host.get("/v1/kernels/debian-12/6.1.0-1").await["state"],
        before
    );
    for path in [
        "/v1/events?limit=1",
        "/v1/decisions?limit=1",
        "/v1/wanted",
        "/readyz",
    ] {
        let answer = host.request(Method::GET, path).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
    let pipeline = host.get("/v1/pipelines/kernels").await;
    assert!(
        pipeline["held"].is_object() && pipeline["idle"] == false,
        "{pipeline}"
    );

    roll_back(host, hook).await;
    assert!(ignored(host).await.contains(&format!("debian-12/{new}")));
    let lifted = host.get(&format!("/v1/kernels/debian-12/{other}")).await;
    assert_eq!(lifted["state"], "fetched", "{lifted}");
    assert_ne!(bound(host, hook).await["digest"], digest);
}

#[tokio::test]
async fn a_guest_that_fails_holds_its_pipeline_alone() {
    let (_db, host) = running().await;
    let garbage = guest::runs(
        Hook::Ignore,
        "(i32.store8 (i32.const 1024) (i32.const 77)) (i32.const 1024)",
    );
    for (n, (hook, wasm, code, says)) in [
        ("ignore", guest::traps(Hook::Ignore), "trapped", "bad-0@"),
        ("advance", guest::traps(Hook::Advance), "trapped", "bad-1@"),
        (
            "advance",
            guest::loops(Hook::Advance),
            "out-of-fuel",
            "fuel",
        ),
        ("ignore", garbage, "bad-answer", "read"),
    ]
    .into_iter()
    .enumerate()
    {
        holds_and_recovers(&host, hook, n, wasm, code, says).await;
    }
}

#[tokio::test]
async fn nonsense_about_ignoring_is_refused() {
    let (_db, host) = running().await;
    let basis = Basis::default();
    let all = Ground {
        scope: "all",
        rule: None,
    };
    for (n, (wasm, code, says)) in [
        (
            guest::ignores(&[4_000_000], &all, &basis),
            "index-unknown",
            "4000000",
        ),
        (
            guest::ignores(&[0, 0], &all, &basis),
            "index-twice",
            "twice",
        ),
        (
            guest::ignores(
                &[0],
                &Ground {
                    scope: "a bit",
                    rule: None,
                },
                &basis,
            ),
            "scope-unknown",
            "a bit",
        ),
        (
            guest::ignores(
                &[0],
                &Ground {
                    scope: "all",
                    rule: Some(77),
                },
                &basis,
            ),
            "rule-unknown",
            "77",
        ),
        (
            guest::ignores(
                &[],
                &all,
                &Basis {
                    attr: Some("wish"),
                    ..basis
                },
            ),
            "unknown-attr",
            "wish",
        ),
        (
            guest::ignores(
                &[],
                &all,
                &Basis {
                    code: "no code!",
                    ..basis
                },
            ),
            "reason-code",
            "no code!",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        holds_and_recovers(&host, "ignore", n, wasm, code, says).await;
    }
}

#[tokio::test]
async fn nonsense_about_notes_and_tags_is_refused() {
    let (_db, host) = running().await;
    let all = Ground {
        scope: "all",
        rule: None,
    };
    let notes = |notes| Basis {
        notes,
        ..Basis::default()
    };
    let tags = |tags| Basis {
        tags,
        ..Basis::default()
    };
    let long = "x".repeat(1_020);
    let long_note = [("tries", Some(long.as_str()))];
    let long_tag = [("risk", long.as_str())];
    let many: Vec<String> = (0..65).map(|n| format!("n{n}")).collect();
    let many_notes: Vec<_> = many.iter().map(|key| (key.as_str(), Some("v"))).collect();
    let many_tags: Vec<_> = many[..33].iter().map(|key| (key.as_str(), "v")).collect();
    for (n, (basis, code, says)) in [
        (notes(&[("a/b", Some("v"))]), "note-key", "a/b"),
        (notes(&[("", None)]), "note-key", "empty"),
        (notes(&long_note), "note-too-long", "1025"),
        (notes(&[("a", Some("\0"))]), "nul", "NUL"),
        (notes(&[("a", Some("1")), ("a", None)]), "note-twice", "a"),
        (notes(&many_notes), "notes-too-many", "65"),
        (tags(&[("Risk", "high")]), "bad-tag", "Risk"),
        (tags(&long_tag), "bad-tag", "1020"),
        (tags(&[("a", "1"), ("a", "2")]), "bad-tag", "a"),
        (tags(&many_tags), "too-many-tags", "33"),
    ]
    .into_iter()
    .enumerate()
    {
        let wasm = guest::ignores(&[], &all, &basis);
        holds_and_recovers(&host, "ignore", n, wasm, code, says).await;
    }
    // A step may say as little as an answer.
    let step = Step {
        basis: notes(&[("a/b", Some("v"))]),
        ..Step::default()
    };
    let wasm = guest::advances(&[step], &Basis::default());
    holds_and_recovers(&host, "advance", 10, wasm, "note-key", "a/b").await;
    assert_eq!(
        host.get("/v1/pipelines/kernels/notes").await["items"],
        json!([]),
        "nothing of a refused answer is kept"
    );
}

#[tokio::test]
async fn nonsense_about_moving_is_refused() {
    let (_db, host) = running().await;
    let basis = Basis::default();
    let to = |stage| Step {
        index: 0,
        stage: Some(stage),
        ..Step::default()
    };
    // The first of the question is above `fetched`, so that there is a stage below it.
    for version in ["6.5.0-1", "6.1.0-1"] {
        let path = format!("/v1/kernels/debian-12/{version}");
        host.send(Method::PATCH, &path, json!({"state": "built"}))
            .await;
    }
    host.idle().await;
    for (n, (steps, basis, code, says)) in [
        (vec![to("nowhere")], basis, "stage-unknown", "nowhere"),
        (
            vec![to("ready-own")],
            basis,
            "stage-by-person",
            "only a person",
        ),
        (vec![to("seen")], basis, "stage-below", "only a person"),
        (
            vec![Step {
                index: 4_000_000,
                ..Step::default()
            }],
            basis,
            "index-unknown",
            "4000000",
        ),
        (vec![Step::default(); 2], basis, "index-twice", "two steps"),
        (
            vec![Step {
                purpose: Some("rm -rf"),
                ..Step::default()
            }],
            basis,
            "purpose-malformed",
            "rm -rf",
        ),
        (vec![], Basis { code: "", ..basis }, "reason-code", ""),
    ]
    .into_iter()
    .enumerate()
    {
        holds_and_recovers(
            &host,
            "advance",
            n,
            guest::advances(&steps, &basis),
            code,
            says,
        )
        .await;
        assert_eq!(
            host.get("/v1/kernels/debian-12/6.5.0-1").await["state"],
            "built"
        );
    }
}

#[tokio::test]
async fn a_paused_pipeline_misses_nothing() {
    let (_db, host) = running().await;
    host.send(
        Method::PATCH,
        "/v1/pipelines/kernels",
        json!({"paused": "the lab is moving"}),
    )
    .await;
    host.kernels("debian-12", &["6.5.0-2", "6.1.0-2"]).await;
    let pipeline = host.get("/v1/pipelines/kernels").await;
    assert_eq!(
        (&pipeline["paused"], &pipeline["idle"]),
        (&json!("the lab is moving"), &json!(false))
    );
    host.send(
        Method::PATCH,
        "/v1/pipelines/kernels",
        json!({"paused": ""}),
    )
    .await;
    assert_eq!(
        ignored(&host).await,
        ["debian-12/6.5.0-1", "debian-12/6.5.0-2"]
    );
}
