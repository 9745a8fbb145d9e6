//! Safe updates: `If-Match` on the generation.

use pointsman_tests::{TestHost, problem, success, text};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn an_update_of_what_has_changed_since_is_refused() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["1"]).await;
    for (path, changes) in [
        (
            "/v1/kernels/d/1",
            [json!({"state": "built"}), json!({"state": "tested"})],
        ),
        (
            "/v1/distros/d",
            [json!({"supported": false}), json!({"supported": true})],
        ),
    ] {
        let answer = host.request(Method::GET, path).send().await.unwrap();
        let etag = answer
            .headers()
            .get("etag")
            .map(|e| e.to_str().unwrap().to_owned());
        let seen = success(answer).await["generation"].clone();
        let quoted = format!("\"{seen}\"");
        if let Some(etag) = etag {
            assert_eq!(etag, quoted, "{path}");
        }
        let patch = async |tag: &str, body: &serde_json::Value| {
            host.request(Method::PATCH, path)
                .header("If-Match", tag)
                .json(body)
                .send()
                .await
                .unwrap()
        };
        let first = success(patch(&quoted, &changes[0]).await).await;
        assert_eq!(first["updated"], 1, "{path}");
        let stale = problem(patch(&quoted, &changes[1]).await).await;
        assert_eq!(
            (&stale["status"], &stale["code"]),
            (&json!(412), &json!("generation_mismatch")),
            "{path}"
        );
        assert!(
            text(&stale["detail"]).contains(&first["generation"].to_string()),
            "{stale}"
        );
        // Without quotes, and without a precondition, it works too.
        success(patch(&first["generation"].to_string(), &changes[1]).await).await;
        success(patch("*", &changes[0]).await).await;
        for bad in ["", "\"x\"", "W/\"1\"", "1, 2"] {
            let refusal = problem(patch(bad, &changes[0]).await).await;
            assert_eq!(
                (&refusal["status"], &refusal["code"]),
                (&json!(422), &json!("if_match_invalid")),
                "{bad}"
            );
        }
    }
    let stale = host
        .request(Method::DELETE, "/v1/kernels/d/1")
        .header("If-Match", "\"1\"")
        .send()
        .await
        .unwrap();
    assert_eq!(problem(stale).await["code"], "generation_mismatch");
    assert_eq!(host.get("/v1/kernels/d/1").await["deleted"], json!(null));
}

#[tokio::test]
async fn of_updates_at_once_with_one_if_match_exactly_one_wins() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["1"]).await;
    for round in 0..5 {
        let generation = host.get("/v1/kernels/d/1").await["generation"].clone();
        let states = [
            "fetched",
            "built",
            "tested",
            "ready-own",
            "ready-customers",
            "seen",
        ];
        let now = host.get("/v1/kernels/d/1").await["state"].clone();
        let others: Vec<&str> = states.into_iter().filter(|s| now != *s).collect();
        let answers = futures::future::join_all(others.iter().map(|state| {
            let request = host
                .request(Method::PATCH, "/v1/kernels/d/1")
                .header("If-Match", generation.to_string());
            request
                .json(&json!({"state": state, "comment": format!("{round}")}))
                .send()
        }))
        .await;
        let won: Vec<&str> = answers
            .iter()
            .zip(&others)
            .filter(|(answer, _)| answer.as_ref().unwrap().status() == 200)
            .map(|(_, state)| *state)
            .collect();
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(host.get("/v1/kernels/d/1").await["state"], won[0]);
        for answer in answers {
            let status = answer.unwrap().status();
            assert!(status == 200 || status == 412, "{status}");
        }
    }
    host.events("name=d/1&operation=update", 5).await;
}
