//! What one call may use: set at a binding, below the operator's ceilings.

use pointsman_tests::command::Cli;
use pointsman_tests::guest::{self, Hook};
use pointsman_tests::{TestHost, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

const BINDING: &str = "/v1/pipelines/kernels/bindings/ignore/0";

/// The newest decision, once it is about a call with this limit of fuel.
async fn out_of_fuel(host: &TestHost, fuel: &str) -> Value {
    let id = wait_for("a call runs out of this much fuel", async || {
        let page = host.get("/v1/decisions?outcome=out-of-fuel&limit=1").await;
        let decision = &page["items"][0];
        let reason = decision["reason"].as_str()?;
        reason
            .contains(&format!("its {fuel} units of fuel"))
            .then(|| decision["id"].clone())
    })
    .await;
    host.get(&format!("/v1/decisions/{id}")).await
}

#[tokio::test]
async fn a_binding_sets_what_a_call_may_use() {
    let (_db, host) = TestHost::start().await;
    host.distro("debian-12").await;
    host.kernels("debian-12", &["6.1.0-1"]).await;
    let endless = host
        .upload_bytes("endless", guest::loops(Hook::Ignore))
        .await;
    let bind = async |limits: Value| {
        let body = json!({"digest": endless, "limits": limits});
        host.send(Method::PUT, BINDING, body).await
    };
    bind(json!({"fuel": 1_000_000, "deadline_ms": 20_000})).await;
    let decision = out_of_fuel(&host, "1000000").await;
    assert_eq!(decision["fuel"], 1_000_000);
    assert_eq!(
        decision["limits"],
        json!({"fuel": 1_000_000, "deadline_ms": 20_000})
    );

    // More of it is a change of the binding: journalled, and tried at once.
    let written = bind(json!({"fuel": 2_000_000})).await;
    assert_eq!(written["updated"], 1);
    out_of_fuel(&host, "2000000").await;
    let events = host.events("kind=binding", 2).await;
    assert!(
        events
            .iter()
            .any(|event| event["changes"].to_string().contains("2000000")),
        "{events:?}"
    );

    // A roll back brings the limits back too.
    let path = format!("{BINDING}/rollback");
    host.send(Method::POST, &path, json!({})).await;
    let pipeline = host.get("/v1/pipelines/kernels").await;
    assert_eq!(
        pipeline["bindings"][0]["limits"],
        json!({"fuel": 1_000_000, "deadline_ms": 20_000})
    );

    // What it cannot even start within never replaces it.
    let hungry = host
        .upload_bytes("hungry", pointsman_tests::plugin("ignore-patterns"))
        .await;
    let refused = host.request(Method::PUT, BINDING);
    let refused = refused.json(&json!({"digest": hungry, "limits": {"memory_mib": 1}}));
    let refused = pointsman_tests::problem(refused.send().await.unwrap()).await;
    assert_eq!(refused["code"], "limits_too_low", "{refused}");
    assert_eq!(refused["field"], "/limits");
    let pipeline = host.get("/v1/pipelines/kernels").await;
    assert_eq!(pipeline["bindings"][0]["digest"], json!(endless));

    // A replay has the limits of then.
    let again = Cli::new(&host)
        .json(&["decision", "replay", "--hook", "ignore"])
        .await;
    assert_eq!(again["differ"], 0, "{again}");
    assert!(again["same"].as_u64() >= Some(2), "{again}");
}

#[tokio::test]
async fn what_is_above_the_ceilings_is_refused_with_the_ceiling() {
    let (_db, host) = TestHost::start().await;
    let endless = host
        .upload_bytes("endless", guest::loops(Hook::Ignore))
        .await;
    for (limits, code, field, says) in [
        (
            json!({"fuel": 100_000_000_001_u64}),
            "limit_above_ceiling",
            "/limits/fuel",
            "allows 100000000000",
        ),
        (
            json!({"memory_mib": 257}),
            "limit_above_ceiling",
            "/limits/memory_mib",
            "allows 256",
        ),
        (
            json!({"deadline_ms": 60_001}),
            "limit_above_ceiling",
            "/limits/deadline_ms",
            "allows 60000",
        ),
        (
            json!({"answer_mib": 0}),
            "limit_zero",
            "/limits/answer_mib",
            "lets no call end",
        ),
    ] {
        let body = json!({"digest": endless, "limits": limits});
        let refused = host.refused(Method::PUT, BINDING, Some(body)).await;
        assert_eq!(refused["code"], code, "{refused}");
        assert_eq!(refused["field"], field, "{refused}");
        assert!(text(&refused["detail"]).contains(says), "{refused}");
    }
    let body = json!({"digest": endless, "limits": {"petrol": 1}});
    let refused = host.refused(Method::PUT, BINDING, Some(body)).await;
    assert!(text(&refused["detail"]).contains("petrol"), "{refused}");
    let bindings = host.get("/v1/pipelines/kernels").await["bindings"].clone();
    assert_eq!(bindings, json!([]));
}
