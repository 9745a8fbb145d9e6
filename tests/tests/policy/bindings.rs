//! Binding, swapping, rolling back.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use pointsman_host::db::Db;
use pointsman_host::db::turn::{NewSweep, TurnEnd};
use pointsman_tests::{TestDatabase, TestHost, guest, plugin, problem, success, text};
use reqwest::Method;
use serde_json::json;

use crate::{bound, ignore, ignored, roll_back};

const BINDING: &str = "/v1/pipelines/kernels/bindings/ignore/0";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_swap_under_load_fails_no_request() {
    const WRITERS: usize = 4;
    const BATCHES: usize = 25;
    let (_db, host) = TestHost::start().await;
    host.distro("debian-12").await;
    ignore(&host, "like", "6.5.%").await;
    let stock = host.upload("ignore-patterns").await;
    let newer = host
        .upload_bytes(
            "ignore-patterns",
            guest::another_build(plugin("ignore-patterns"), "2"),
        )
        .await;
    let careless = guest::ignores(
        &[],
        &guest::Ground {
            scope: "all",
            rule: None,
        },
        &guest::Basis::default(),
    );
    let careless = host.upload_bytes("careless", careless).await;
    host.bind("ignore", &stock, json!({})).await;

    let writing = AtomicUsize::new(WRITERS);
    let requests = AtomicUsize::new(0);
    let swaps = AtomicUsize::new(0);
    let count = || requests.fetch_add(1, Ordering::Relaxed);
    let write = async |writer: usize| {
        for batch in 0..BATCHES {
            let names: Vec<String> = ["6.5", "6.1"]
                .iter()
                .map(|series| format!("{series}.{writer}-{batch}"))
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(host.kernels("debian-12", &names).await["created"], 2);
            count();
        }
        writing.fetch_sub(1, Ordering::Relaxed);
    };
    let read = async |path: &str| {
        while writing.load(Ordering::Relaxed) > 0 {
            host.get(path).await;
            count();
        }
    };
    let swap = async {
        while writing.load(Ordering::Relaxed) > 0 {
            for digest in [&newer, &careless, &stock] {
                host.bind("ignore", digest, json!({})).await;
                count();
            }
            roll_back(&host, "ignore").await;
            swaps.fetch_add(4, Ordering::Relaxed);
            count();
        }
    };
    let reads = [
        "/v1/kernels?ignored=true",
        "/v1/kernels/debian-12/6.1.0",
        "/v1/pipelines/kernels",
        "/v1/decisions",
    ];
    // The version that is read is there before anybody asks.
    host.kernels("debian-12", &["6.1.0"]).await;
    futures::join!(
        join_all((0..WRITERS).map(write)),
        join_all(reads.map(read)),
        swap
    );
    assert!(requests.load(Ordering::Relaxed) > 300, "{requests:?}");
    assert!(swaps.load(Ordering::Relaxed) >= 4, "{swaps:?}");

    // Whoever was bound last decides about every version in the end.
    host.bind("ignore", &newer, json!({})).await;
    let mut expected: Vec<String> = (0..WRITERS)
        .flat_map(|writer| (0..BATCHES).map(move |batch| format!("debian-12/6.5.{writer}-{batch}")))
        .collect();
    expected.sort();
    assert_eq!(ignored(&host).await, expected);
    host.bind("ignore", &careless, json!({})).await;
    assert_eq!(ignored(&host).await, [""; 0]);
    roll_back(&host, "ignore").await;
    assert_eq!(ignored(&host).await, expected);
}

#[tokio::test]
async fn a_roll_back_goes_to_the_version_before_and_again() {
    let (_db, host) = TestHost::start().await;
    host.distro("debian-12").await;
    host.kernels("debian-12", &["6.5.0-1", "6.1.0-1"]).await;
    ignore(&host, "like", "6.5.%").await;
    let old = host.upload("ignore-patterns").await;
    let refused = host
        .refused(
            Method::POST,
            &format!("{BINDING}/rollback"),
            Some(json!({})),
        )
        .await;
    assert_eq!(refused["code"], "binding_unknown");
    host.bind("ignore", &old, json!({})).await;
    let refused = host
        .refused(
            Method::POST,
            &format!("{BINDING}/rollback"),
            Some(json!({})),
        )
        .await;
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&json!(409), &json!("nothing_before"))
    );

    let ground = guest::Ground {
        scope: "all",
        rule: None,
    };
    let new = host
        .upload_bytes(
            "first-alone",
            guest::ignores(&[0], &ground, &guest::Basis::default()),
        )
        .await;
    host.idle().await;
    host.bind("ignore", &new, json!({})).await;
    for _ in 0..2 {
        // The first of the question: by when the record first had it, then by name.
        assert_eq!(ignored(&host).await, ["debian-12/6.1.0-1"]);
        assert_eq!(bound(&host, "ignore").await["digest"], new);
        roll_back(&host, "ignore").await;
        assert_eq!(ignored(&host).await, ["debian-12/6.5.0-1"]);
        let now = bound(&host, "ignore").await;
        assert_eq!(
            (&now["digest"], &now["previous"]),
            (&json!(old), &json!(new))
        );
        roll_back(&host, "ignore").await;
    }
    // Settings are a part of the version that was bound.
    host.bind("ignore", &old, json!({"scope": "all"})).await;
    host.bind("ignore", &old, json!({})).await;
    roll_back(&host, "ignore").await;
    assert_eq!(
        bound(&host, "ignore").await["settings"],
        json!({"scope": "all"})
    );
    // With nothing bound nothing is ignored.
    success(host.request(Method::DELETE, BINDING).send().await.unwrap()).await;
    assert_eq!(ignored(&host).await, [""; 0]);
}

#[tokio::test]
async fn what_cannot_serve_is_not_bound() {
    let (_db, host) = TestHost::start().await;
    let patterns = host.upload("ignore-patterns").await;
    let ladder = host.upload("kernel-ladder").await;
    let ground = guest::Ground {
        scope: "all",
        rule: None,
    };
    let plain = host
        .upload_bytes(
            "plain",
            guest::ignores(&[], &ground, &guest::Basis::default()),
        )
        .await;
    host.bind("ignore", &patterns, json!({"scope": "all"}))
        .await;
    let before = bound(&host, "ignore").await;
    let unknown = "0".repeat(64);
    for (path, digest, settings, status, code, says) in [
        (
            BINDING,
            unknown.as_str(),
            json!({}),
            404,
            "plugin_unknown",
            "",
        ),
        (
            BINDING,
            &patterns[..12],
            json!({}),
            422,
            "digest_partial",
            "whole",
        ),
        (
            BINDING,
            "ignore-patterns",
            json!({}),
            422,
            "digest_partial",
            "whole",
        ),
        (BINDING, "é", json!({}), 404, "plugin_unknown", ""),
        (BINDING, &ladder, json!({}), 422, "hook_missing", "`ignore`"),
        (
            BINDING,
            &patterns,
            json!([]),
            422,
            "settings_invalid",
            "object",
        ),
        (
            BINDING,
            &patterns,
            json!({"scope": "some"}),
            422,
            "settings_invalid",
            "some",
        ),
        (
            BINDING,
            &patterns,
            json!({"scop": "all"}),
            422,
            "settings_invalid",
            "scop",
        ),
        (
            BINDING,
            &plain,
            json!({"a": 1}),
            422,
            "settings_unused",
            "no settings",
        ),
        (
            "/v1/pipelines/nowhere/bindings/ignore/0",
            &patterns,
            json!({}),
            404,
            "pipeline_unknown",
            "",
        ),
        (
            "/v1/pipelines/kernels/bindings/ignore/16",
            &patterns,
            json!({}),
            422,
            "position_invalid",
            "",
        ),
        (
            "/v1/pipelines/kernels/bindings/nonsense/0",
            &patterns,
            json!({}),
            422,
            "hook_not_asked",
            "",
        ),
        (
            "/v1/pipelines/kernels/bindings/review/0",
            &patterns,
            json!({}),
            422,
            "hook_not_asked",
            "",
        ),
    ] {
        let body = json!({"digest": digest, "settings": settings});
        let refused = host.refused(Method::PUT, path, Some(body.clone())).await;
        assert_eq!(
            (&refused["status"], &refused["code"]),
            (&json!(status), &json!(code)),
            "{body}: {refused}"
        );
        assert!(text(&refused["detail"]).contains(says), "{body}: {refused}");
    }
    // The field at fault is named, by the plugin's own check and by its schema.
    let stage = json!({"ladder": [{"purpose": "build", "stage": ""}]});
    for (settings, field) in [
        (stage, "/settings/ladder/0/stage"),
        (json!({"max-runs": 0}), "/settings/max-runs"),
    ] {
        let refused = host
            .refused(
                Method::PUT,
                "/v1/pipelines/kernels/bindings/advance/0",
                Some(json!({"digest": ladder, "settings": settings})),
            )
            .await;
        assert_eq!(refused["field"], field, "{refused}");
    }
    assert_eq!(bound(&host, "ignore").await, before, "the old one stays");
    assert_eq!(bound(&host, "advance").await, json!(null));
}

#[tokio::test]
async fn a_binding_that_changed_meanwhile_is_not_overwritten() {
    let (_db, host) = TestHost::start().await;
    let patterns = host.upload("ignore-patterns").await;
    host.bind("ignore", &patterns, json!({})).await;
    let seen = bound(&host, "ignore").await["generation"].as_i64().unwrap();
    let put = async |generation: i64, settings: serde_json::Value| {
        let body = json!({"digest": patterns, "settings": settings});
        let request = host
            .request(Method::PUT, BINDING)
            .header("if-match", format!("\"{generation}\""));
        request.json(&body).send().await.unwrap()
    };
    assert_eq!(
        success(put(seen, json!({"scope": "all"})).await).await["updated"],
        1
    );
    let late = problem(put(seen, json!({"scope": "automatic"})).await).await;
    assert_eq!(
        (&late["status"], &late["code"]),
        (&json!(412), &json!("generation_mismatch"))
    );
    let now = bound(&host, "ignore").await;
    assert_eq!(now["settings"], json!({"scope": "all"}));
    // What is there already is no change.
    let same =
        success(put(now["generation"].as_i64().unwrap(), json!({"scope": "all"})).await).await;
    assert_eq!(
        (&same["unchanged"], same.get("generation")),
        (&json!(1), None)
    );
    let broken = host
        .request(Method::PUT, BINDING)
        .header("if-match", "yesterday");
    let body = json!({"digest": patterns, "settings": {}});
    let refused = problem(broken.json(&body).send().await.unwrap()).await;
    assert!(refused["status"].as_u64().unwrap() < 500, "{refused}");
}

/// A binding can change between the moment at which a turn reads what is bound and the one at which it reads
/// what changed: then it ends a sweep and begins the next like it at once.
#[tokio::test]
async fn a_sweep_that_is_asked_for_while_one_like_it_ends_is_not_lost() {
    let database = TestDatabase::new().await;
    let db = Db::open(&database.url).unwrap();
    let pipeline = db.kernel_pipeline().await.unwrap().unwrap();
    let lock = db.lock_pipeline(pipeline).await.unwrap().unwrap();
    let sweep = || NewSweep {
        hook: "ignore",
        distro: None,
        ignore: None,
    };
    let asked = TurnEnd {
        sweeps: vec![sweep()],
        ..TurnEnd::default()
    };
    db.turn_end(&lock, asked).await.unwrap();
    let first = db.next_sweep(pipeline).await.unwrap().unwrap();
    let both = TurnEnd {
        sweeps: vec![sweep()],
        swept: Some((first.id, None)),
        ..TurnEnd::default()
    };
    db.turn_end(&lock, both).await.unwrap();
    let next = db.next_sweep(pipeline).await.unwrap().unwrap();
    assert_ne!(next.id, first.id);
    // Asked for once more it is still one.
    let again = TurnEnd {
        sweeps: vec![sweep()],
        ..TurnEnd::default()
    };
    db.turn_end(&lock, again).await.unwrap();
    let swept = TurnEnd {
        swept: Some((next.id, None)),
        ..TurnEnd::default()
    };
    db.turn_end(&lock, swept).await.unwrap();
    assert!(db.next_sweep(pipeline).await.unwrap().is_none());
    db.close().await;
}
