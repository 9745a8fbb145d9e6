//! Policy in plugins, through the front door: what patterns ignore, how plugins come in and are bound
//! and swapped, what happens when one misbehaves, and that hosts take over from each other.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

#[path = "policy/bindings.rs"]
mod bindings;
#[path = "policy/hosts.rs"]
mod hosts;
#[path = "policy/kills.rs"]
mod kills;
#[path = "policy/limits.rs"]
mod limits;
#[path = "policy/misbehaviour.rs"]
mod misbehaviour;
#[path = "policy/patterns.rs"]
mod patterns;
#[path = "policy/uploads.rs"]
mod uploads;

use pointsman_tests::{TestHost, text};
use reqwest::Method;
use serde_json::{Value, json};

/// Saves a pattern for all distros; gives its id.
async fn ignore(host: &TestHost, kind: &str, pattern: &str) -> i64 {
    save(
        host,
        json!({"kind": kind, "pattern": pattern, "reason": "nobody runs it"}),
    )
    .await
}

/// Saves a pattern; gives its id.
async fn save(host: &TestHost, pattern: Value) -> i64 {
    let saved = host
        .post("/v1/ignores", json!({"ignores": [pattern]}))
        .await;
    saved["ids"][0].as_i64().expect("an id")
}

/// Removes a pattern.
async fn remove(host: &TestHost, id: i64) {
    let path = format!("/v1/ignores/{id}?comment=test");
    let removed = host
        .request(Method::DELETE, &path)
        .send()
        .await
        .expect("an answer");
    assert_eq!(pointsman_tests::success(removed).await["updated"], 1);
}

/// Waits until everything is decided; gives the names of the ignored versions.
async fn ignored(host: &TestHost) -> Vec<String> {
    host.idle().await;
    host.kernel_names("ignored=true&limit=1000").await
}

/// Goes back to the version of a binding that was there before.
async fn roll_back(host: &TestHost, hook: &str) {
    host.post(
        &format!("/v1/pipelines/kernels/bindings/{hook}/0/rollback"),
        json!({}),
    )
    .await;
}

/// What is bound to a hook.
async fn bound(host: &TestHost, hook: &str) -> Value {
    let pipeline = host.get("/v1/pipelines/kernels").await;
    let bindings = pipeline["bindings"].as_array().expect("bindings");
    bindings
        .iter()
        .find(|binding| binding["hook"] == hook)
        .cloned()
        .unwrap_or_default()
}

/// Makes a token with this role.
async fn token(host: &TestHost, name: &str, role: &str) -> String {
    let created = host
        .post("/v1/tokens", json!({"name": name, "role": role}))
        .await;
    text(&created["secret"]).to_owned()
}
