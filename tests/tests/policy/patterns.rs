//! What patterns ignore: exactly what they say.

use pointsman_tests::{TestHost, text, wait_for};
use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::{ignore, ignored, remove, save};

const RPM: [&str; 4] = [
    "4.18.0-553.el8_10.x86_64",
    "4.18.0-553.el8x10.x86_64",
    "4.18.0-553.el8_10.x86x64",
    "5.14.0-1.el9.x86_64+debug",
];
const DEB: [&str; 4] = [
    "6.5.0-1-amd64",
    "16.5.0-1-amd64",
    "6.1.0-9+debug-amd64",
    "6x5x0-generic",
];

fn named(distro: &str, versions: &[&str]) -> Vec<String> {
    versions
        .iter()
        .map(|version| format!("{distro}/{version}"))
        .collect()
}

#[tokio::test]
async fn each_pattern_ignores_exactly_what_it_says() {
    let (_db, host) = TestHost::start().await;
    host.stock_policy().await;
    host.distro("debian-12").await;
    host.distro("rocky8").await;
    host.kernels("debian-12", &DEB).await;
    host.kernels("rocky8", &RPM).await;
    let deb = |n: &[usize]| named("debian-12", &n.iter().map(|n| DEB[*n]).collect::<Vec<_>>());
    let rpm = |n: &[usize]| named("rocky8", &n.iter().map(|n| RPM[*n]).collect::<Vec<_>>());
    assert_eq!(ignored(&host).await, [""; 0]);

    for (distro, kind, pattern, expected) in [
        // The seed's own.
        (None, "like", "6.5.%", deb(&[0])),
        (None, "like", "%+debug%", [deb(&[2]), rpm(&[3])].concat()),
        (None, "regex", r"^6\.5\.", deb(&[0])),
        (None, "regex", "[+]debug", [deb(&[2]), rpm(&[3])].concat()),
        // A dot is a dot in LIKE, any character in a regular expression.
        (None, "regex", "^6.5", deb(&[0, 3])),
        // `_` is any one character, escaped itself.
        (None, "like", "4.18.0-553.el8_10.x86_64", rpm(&[0, 1, 2])),
        (None, "like", r"4.18.0-553.el8\_10.x86\_64", rpm(&[0])),
        (None, "like", r"%el8\_10%", rpm(&[0, 2])),
        // The whole name, and its case, count in LIKE.
        (None, "like", "6.5", vec![]),
        (None, "like", "%AMD64", vec![]),
        (None, "regex", "(?i)AMD64$", deb(&[0, 1, 2])),
        // For one distro alone.
        (Some("rocky8"), "like", "%+debug%", rpm(&[3])),
        (Some("debian-12"), "regex", "debug", deb(&[2])),
        (Some("rocky8"), "regex", ".", rpm(&[0, 1, 2, 3])),
    ] {
        let pattern =
            json!({"distro": distro, "kind": kind, "pattern": pattern, "reason": "nobody runs it"});
        let id = save(&host, pattern.clone()).await;
        let mut found = ignored(&host).await;
        let mut expected = expected;
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{pattern}");
        remove(&host, id).await;
        assert_eq!(ignored(&host).await, [""; 0], "{pattern} is gone");
    }
}

#[tokio::test]
async fn new_versions_are_decided_and_the_decision_can_be_read() {
    let (_db, host) = TestHost::start().await;
    host.stock_policy().await;
    host.distro("debian-12").await;
    host.distro("ubuntu-22.04").await;
    let rule = ignore(&host, "like", "6.5.%").await;
    host.idle().await;
    for distro in ["debian-12", "ubuntu-22.04"] {
        host.kernels(distro, &["6.5.0-1", "6.1.0-1"]).await;
    }
    assert_eq!(
        ignored(&host).await,
        ["debian-12/6.5.0-1", "ubuntu-22.04/6.5.0-1"]
    );
    assert_eq!(
        host.kernel_names("ignored=false").await,
        ["debian-12/6.1.0-1", "ubuntu-22.04/6.1.0-1"]
    );

    let kernel = host.get("/v1/kernels/debian-12/6.5.0-1").await;
    let why = &kernel["ignored"];
    assert_eq!(
        (&why["scope"], &why["ignore"]),
        (&json!("automatic"), &json!(rule))
    );
    assert_eq!(
        text(&why["reason"]),
        "It matches the LIKE pattern `6.5.%`: nobody runs it"
    );
    let page = host.get("/v1/kernels?distro=debian-12&ignored=true").await;
    assert_eq!(&page["items"][0]["ignored"], why, "the list says it too");
    assert_eq!(host.get("/v1/ignores").await["items"][0]["versions"], 2);

    let decision = host
        .get(&format!("/v1/decisions/{}", why["decision"]))
        .await;
    assert_eq!(
        [
            &decision["hook"],
            &decision["subject"],
            &decision["plugin"],
            &decision["outcome"]
        ],
        ["ignore", "debian-12", "ignore-patterns", "answered"]
    );
    assert_eq!(
        text(&decision["reason"]),
        "1 of 2 versions match one of 1 rules."
    );
    assert_eq!(decision["items"], 2);
    assert!(
        decision["fuel"].as_i64().unwrap() > 0 && decision["duration_us"].as_i64().unwrap() > 0
    );
    assert!(
        decision["input"].to_string().contains("6.5.0-1"),
        "{decision}"
    );
    assert!(
        decision["input"].to_string().contains("6.5.%"),
        "{decision}"
    );
    assert_eq!(
        decision["output"]["ignored"].as_array().map(Vec::len),
        Some(1),
        "{decision}"
    );
    // One call for each distro, and none for what did not change.
    let calls = host
        .get("/v1/decisions?hook=ignore&subject=debian-12")
        .await;
    assert_eq!(calls["items"].as_array().map(Vec::len), Some(1), "{calls}");
    assert!(calls["items"][0].get("input").is_none(), "a list is short");
}

#[tokio::test]
async fn a_bad_pattern_is_refused_with_its_place() {
    let (_db, host) = TestHost::start().await;
    host.distro("debian-12").await;
    let long = "x".repeat(257);
    for (kind, pattern, position) in [
        ("like", r"6.5.\", Some(4)),
        ("like", "é\0", Some(1)),
        ("regex", "6.5(", Some(3)),
        ("regex", "ab[c", Some(2)),
        ("regex", "a**[", Some(3)),
        ("regex", r"(\w{99}){99}", None),
        ("like", "", None),
        ("like", long.as_str(), None),
    ] {
        let good = json!({"kind": "like", "pattern": "good%", "reason": "x"});
        let bad = json!({"kind": kind, "pattern": pattern, "reason": "x"});
        let refused = host
            .refused(
                Method::POST,
                "/v1/ignores",
                Some(json!({"ignores": [good, bad]})),
            )
            .await;
        assert_eq!(
            (&refused["status"], &refused["code"]),
            (&json!(422), &json!("pattern_invalid")),
            "{refused}"
        );
        assert_eq!(refused["field"], "/ignores/1/pattern");
        assert!(refused["position"].is_u64(), "{refused}");
        if let Some(position) = position {
            assert_eq!(refused["position"], position, "{pattern}: {refused}");
        }
    }
    for (body, code) in [
        (
            json!({"kind": "like", "pattern": "x", "reason": " "}),
            "reason_missing",
        ),
        (
            json!({"kind": "like", "pattern": "x", "reason": "x", "distro": "nowhere"}),
            "distro_unknown",
        ),
    ] {
        let refused = host
            .refused(
                Method::POST,
                "/v1/ignores",
                Some(json!({"ignores": [body]})),
            )
            .await;
        assert_eq!(refused["code"], code, "{refused}");
    }
    assert_eq!(
        host.get("/v1/ignores").await["items"],
        json!([]),
        "nothing half-written"
    );
}

#[tokio::test]
async fn a_removed_pattern_unignores_what_it_alone_ignored() {
    let (_db, host) = TestHost::start().await;
    host.stock_policy().await;
    host.distro("debian-12").await;
    host.kernels(
        "debian-12",
        &["6.5.0-1", "6.5.0-1+debug", "6.1.0-1+debug", "6.1.0-1"],
    )
    .await;
    let series = ignore(&host, "like", "6.5.%").await;
    let debug = ignore(&host, "regex", "[+]debug").await;
    let all = [
        "debian-12/6.1.0-1+debug",
        "debian-12/6.5.0-1",
        "debian-12/6.5.0-1+debug",
    ];
    assert_eq!(ignored(&host).await, all);

    remove(&host, series).await;
    assert_eq!(ignored(&host).await, [all[0], all[2]]);
    let both = host.get("/v1/kernels/debian-12/6.5.0-1+debug").await;
    assert_eq!(
        both["ignored"]["ignore"], debug,
        "the other one is the reason now"
    );
    // Saved again it is the same pattern, and counts again.
    assert_eq!(ignore(&host, "like", "6.5.%").await, series);
    assert_eq!(ignored(&host).await, all);
    remove(&host, debug).await;
    assert_eq!(ignored(&host).await, [all[1], all[2]]);
    // A new reason is told to whoever asks.
    save(
        &host,
        json!({"kind": "like", "pattern": "6.5.%", "reason": "it loses data"}),
    )
    .await;
    host.idle().await;
    let kernel = host.get("/v1/kernels/debian-12/6.5.0-1").await;
    assert!(
        text(&kernel["ignored"]["reason"]).ends_with(": it loses data"),
        "{kernel}"
    );
    remove(&host, series).await;
    assert_eq!(ignored(&host).await, [""; 0]);
}

#[tokio::test]
async fn a_pattern_expires_by_itself() {
    let (db, host) = TestHost::start().await;
    host.stock_policy().await;
    host.distro("debian-12").await;
    host.kernels("debian-12", &["6.5.0-1", "6.5.0-2"]).await;
    // The database's own clock: what expires is compared with it.
    let soon: String = sqlx::query_scalar("select to_json(now() + interval '2 s')::text")
        .fetch_one(&mut db.connect().await)
        .await
        .unwrap();
    let soon: serde_json::Value = serde_json::from_str(&soon).unwrap();
    save(
        &host,
        json!({"kind": "like", "pattern": "6.5.%", "reason": "for now", "expires": soon}),
    )
    .await;
    ignore(&host, "like", "%-2").await;
    let all = ["debian-12/6.5.0-1", "debian-12/6.5.0-2"];
    wait_for("both are ignored", async || {
        (host.kernel_names("ignored=true").await == all).then_some(())
    })
    .await;
    wait_for("one is not any more", async || {
        (host.kernel_names("ignored=true").await == all[1..]).then_some(())
    })
    .await;
    assert_eq!(
        ignored(&host).await,
        all[1..],
        "the pattern that did not expire still counts"
    );
}

#[tokio::test]
async fn a_rule_typed_in_psql_works_as_well() {
    let (db, host) = TestHost::start().await;
    host.stock_policy().await;
    host.distro("debian-12").await;
    host.kernels("debian-12", &["6.5.0-1", "6.1.0-1"]).await;
    host.idle().await;
    let mut psql = db.connect().await;
    let mut type_in = async |sql: &str| {
        let mut tx = psql.begin().await.unwrap();
        tx.execute("select generation_start('Typed by hand')")
            .await
            .unwrap();
        tx.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        tx.commit().await.unwrap();
    };
    type_in(
        "insert into kernel_ignore (kind, pattern, reason) values ('like', '6.5.%', 'by hand')",
    )
    .await;
    assert_eq!(ignored(&host).await, ["debian-12/6.5.0-1"]);

    // What the API would have refused holds the pipeline, and says which rule it is.
    type_in(
        "insert into kernel_ignore (kind, pattern, reason) values ('regex', '6.1(', 'by hand')",
    )
    .await;
    let held = wait_for("it holds", async || {
        let held = host.get("/v1/pipelines/kernels").await["held"].clone();
        held.is_object().then_some(held)
    })
    .await;
    assert_eq!(
        (&held["hook"], &held["code"]),
        (&json!("ignore"), &json!("rule.unreadable")),
        "{held}"
    );
    assert!(text(&held["text"]).contains("6.1("), "{held}");
    host.kernels("debian-12", &["6.5.0-2"]).await;
    type_in("update kernel_ignore set deleted_at = now() where pattern = '6.1('").await;
    assert_eq!(
        ignored(&host).await,
        ["debian-12/6.5.0-1", "debian-12/6.5.0-2"]
    );
}
