//! The OpenAPI description: made from the code, served, committed, and true.

use std::path::Path;

use pointsman_tests::TestHost;
use reqwest::{Client, Method};
use serde_json::Value;

#[test]
fn the_committed_description_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let now = pointsman_host::openapi_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "docs/openapi.json is not what the code says: \
         `UPDATE_OPENAPI=1 cargo test -p pointsman-tests --test api description` writes it"
    );
}

#[tokio::test]
async fn it_is_served_and_every_address_in_it_exists() {
    let (_db, host) = TestHost::start().await;
    let served = Client::new()
        .get(format!("{}/v1/openapi.json", host.url))
        .send()
        .await
        .unwrap();
    assert_eq!(served.headers()["content-type"], "application/json");
    let served = served.text().await.unwrap();
    assert_eq!(served, pointsman_host::openapi_json());

    let description: Value = serde_json::from_str(&served).unwrap();
    let mut operations = std::collections::BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().expect(path);
            assert!(operations.insert(id.to_owned()), "{id} is there twice");
            assert!(
                operation["summary"].as_str().is_some_and(|s| !s.is_empty()),
                "{id} has no summary"
            );
            let ours = method
                .parse::<Method>()
                .map(|_| method.to_uppercase().parse::<Method>().unwrap())
                .unwrap();
            let answer = host
                .request(ours, &path.replace(['{', '}'], ""))
                .send()
                .await
                .unwrap();
            let status = answer.status();
            assert_ne!(status, 405, "{method} {path}");
            if status == 404 {
                let body = answer.text().await.unwrap();
                assert!(!body.contains("route_unknown"), "{method} {path}: {body}");
            }
            assert!(!status.is_server_error(), "{method} {path}: {status}");
        }
    }
    for known in [
        "list_kernels",
        "create_kernels",
        "report_runs",
        "list_events",
        "follow_events",
        "export",
        "import",
    ] {
        assert!(operations.contains(known), "{known} is not described");
    }
}

#[tokio::test]
async fn the_host_says_how_it_does() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    let get = async |path: &str| {
        let answer = Client::new()
            .get(format!("{}{path}", host.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    };
    assert_eq!(get("/healthz").await, "ok\n");
    assert_eq!(get("/readyz").await, "ready\n");
    let metrics = get("/metrics").await;
    assert!(
        metrics.contains("pointsman_http_requests_total{"),
        "{metrics}"
    );
    assert!(metrics.contains(r#"route="/v1/distros""#), "{metrics}");
    // Labels are routes, never addresses that a caller makes up.
    host.refused(Method::GET, "/v1/distros/made-up-by-a-caller", None)
        .await;
    host.refused(Method::GET, "/made/up/by/a/caller", None)
        .await;
    assert!(
        !get("/metrics").await.contains("made"),
        "an address became a label"
    );
}
