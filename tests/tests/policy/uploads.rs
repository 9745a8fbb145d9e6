//! What is refused at the door, and that the server lives on.

use pointsman_tests::{TestHost, guest, plugin, problem, success, text};
use reqwest::Method;
use serde_json::json;

use crate::token;

#[tokio::test]
async fn what_is_no_plugin_is_refused_and_leaves_nothing() {
    let (_db, host) = TestHost::start().await;
    let good = plugin("kernel-ladder");
    let too_large = vec![0; 33 << 20];
    let newest = host.get("/v1/generations?limit=1").await;
    for (what, wasm, status, code, says) in [
        ("nothing", vec![], 422, "plugin_not_wasm", ""),
        (
            "a text",
            b"#!/bin/sh\n".to_vec(),
            422,
            "plugin_not_wasm",
            "",
        ),
        (
            "a core module",
            b"\0asm\x01\0\0\0".to_vec(),
            422,
            "plugin_core_module",
            "component",
        ),
        (
            "half a component",
            good[..good.len() / 2].to_vec(),
            422,
            "plugin_malformed",
            "byte",
        ),
        ("a header", good[..8].to_vec(), 422, "plugin_no_hook", ""),
        ("no hook", guest::without_hook(), 422, "plugin_no_hook", ""),
        (
            "an import",
            guest::with_import(),
            422,
            "plugin_import",
            "test:guest/clock",
        ),
        ("much", too_large, 413, "", ""),
    ] {
        let request = host
            .request(Method::POST, "/v1/plugins?name=bad")
            .body(wasm);
        let refused = problem(
            request
                .header("content-type", "application/wasm")
                .send()
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(refused["status"], status, "{what}: {refused}");
        assert!(
            code.is_empty() || refused["code"] == code,
            "{what}: {refused}"
        );
        assert!(text(&refused["detail"]).contains(says), "{what}: {refused}");
        assert!(refused["hint"].is_string(), "{what}: {refused}");
    }
    for name in ["", "Bad", "-bad", "a_b", "a%20b", "%2e%2e", &"x".repeat(64)] {
        let request = host
            .request(Method::POST, &format!("/v1/plugins?name={name}"))
            .body(good.clone());
        let refused = problem(
            request
                .header("content-type", "application/wasm")
                .send()
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(
            (&refused["code"], &refused["field"]),
            (&json!("plugin_name_invalid"), &json!("name")),
            "{name}"
        );
    }
    assert_eq!(
        host.get("/v1/plugins").await["items"],
        json!([]),
        "nothing is stored"
    );
    assert_eq!(
        host.get("/v1/generations?limit=1").await,
        newest,
        "and no generation"
    );

    // The same bytes are stored once.
    let upload = async || {
        let request = host
            .request(Method::POST, "/v1/plugins?name=ladder&comment=first")
            .body(good.clone());
        success(
            request
                .header("content-type", "application/wasm")
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    let first = upload().await;
    assert_eq!(first["plugin"]["hooks"], json!(["advance"]));
    assert!(
        first["plugin"]["settings_schema"]["properties"]["ladder"].is_object(),
        "{first}"
    );
    assert!(first["generation"].is_number());
    let again = upload().await;
    assert_eq!(
        (&again["plugin"], again.get("generation")),
        (&first["plugin"], None)
    );
    let digest = text(&first["plugin"]["digest"]);
    for known in [digest, &digest[..8], "ladder"] {
        assert_eq!(
            host.get(&format!("/v1/plugins/{known}")).await,
            first["plugin"],
            "{known}"
        );
    }
    let wasm = host
        .request(Method::GET, &format!("/v1/plugins/{digest}/wasm"))
        .send()
        .await
        .unwrap();
    assert!(
        wasm.bytes().await.unwrap() == good,
        "what went in comes out"
    );
}

#[tokio::test]
async fn only_admins_touch_policy() {
    let (_db, host) = TestHost::start().await;
    let digest = host.upload("ignore-patterns").await;
    let writer = token(&host, "jenkins", "writer").await;
    let reader = token(&host, "dashboard", "reader").await;
    let binding = "/v1/pipelines/kernels/bindings/ignore/0";
    let as_who = async |secret: &str, method: Method, path: &str| {
        let body = json!({"digest": digest, "settings": {}});
        let answer = host
            .request_as(secret, method, path)
            .json(&body)
            .send()
            .await
            .unwrap();
        problem(answer).await
    };
    for secret in [&writer, &reader] {
        for (method, path) in [
            (Method::POST, "/v1/plugins?name=x"),
            (Method::PUT, binding),
            (Method::DELETE, binding),
            (
                Method::POST,
                "/v1/pipelines/kernels/bindings/ignore/0/rollback",
            ),
            (Method::PATCH, "/v1/pipelines/kernels"),
        ] {
            let refused = as_who(secret, method, path).await;
            assert_eq!(
                (&refused["status"], &refused["code"]),
                (&json!(403), &json!("role_too_weak")),
                "{path}"
            );
        }
    }
    let unknown = as_who("pm_wrong", Method::PUT, binding).await;
    assert_eq!(
        (&unknown["status"], &unknown["code"]),
        (&json!(401), &json!("token_wrong"))
    );
    assert_eq!(
        host.get("/v1/pipelines/kernels").await["bindings"],
        json!([])
    );
    // Reading is for everyone who has a token.
    for path in [
        "/v1/plugins",
        "/v1/pipelines",
        "/v1/decisions",
        "/v1/wanted",
    ] {
        success(
            host.request_as(&reader, Method::GET, path)
                .send()
                .await
                .unwrap(),
        )
        .await;
    }
}
