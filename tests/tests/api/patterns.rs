//! LIKE and regex filters: what they mean, and how they are refused.

use pointsman_tests::TestHost;
use reqwest::Method;
use serde_json::json;

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test]
async fn the_patterns_of_the_seed_do_what_it_says() {
    let (_db, host) = TestHost::start().await;
    host.distro("debian-12").await;
    host.distro("alma-9").await;
    host.kernels(
        "debian-12",
        &[
            "6.5.0-1-generic",
            "6.50.0-1-generic",
            "16.5.0-1",
            "6.1.0-9+debug-amd64",
            "6.1.0-9-debug",
            "5.15.0-57-generic",
        ],
    )
    .await;
    host.kernels(
        "alma-9",
        &[
            "5.14.0-70.el9_2.x86_64",
            "5.14.0-70.el9x2.x86_64",
            "5.14.0-70.el9_2.x86_64+debug",
        ],
    )
    .await;
    for (kind, pattern, expected) in [
        ("like", "6.5.%", &["debian-12/6.5.0-1-generic"][..]),
        (
            "like",
            "%+debug%",
            &[
                "debian-12/6.1.0-9+debug-amd64",
                "alma-9/5.14.0-70.el9_2.x86_64+debug",
            ],
        ),
        ("regex", r"^6\.5\.", &["debian-12/6.5.0-1-generic"]),
        (
            "regex",
            "[+]debug",
            &[
                "debian-12/6.1.0-9+debug-amd64",
                "alma-9/5.14.0-70.el9_2.x86_64+debug",
            ],
        ),
        // A dot is any character in a regex, and itself in LIKE; an underscore is the other way about.
        (
            "regex",
            "^6.5.",
            &["debian-12/6.5.0-1-generic", "debian-12/6.50.0-1-generic"],
        ),
        (
            "regex",
            "6.5.",
            &[
                "debian-12/16.5.0-1",
                "debian-12/6.5.0-1-generic",
                "debian-12/6.50.0-1-generic",
            ],
        ),
        (
            "like",
            "%el9_2%",
            &[
                "alma-9/5.14.0-70.el9_2.x86_64",
                "alma-9/5.14.0-70.el9_2.x86_64+debug",
                "alma-9/5.14.0-70.el9x2.x86_64",
            ],
        ),
        (
            "like",
            r"%el9\_2%",
            &[
                "alma-9/5.14.0-70.el9_2.x86_64",
                "alma-9/5.14.0-70.el9_2.x86_64+debug",
            ],
        ),
        (
            "like",
            "5.15.0-57-generic",
            &["debian-12/5.15.0-57-generic"],
        ),
        ("like", "5.15.0-57", &[]),
        ("like", "%GENERIC", &[]),
    ] {
        let found = host
            .kernel_names(&format!("{kind}={}", encoded(pattern)))
            .await;
        assert_eq!(found, expected, "{kind} {pattern}");
    }
    let both = format!(
        "like={}&regex={}&distro=alma-9",
        encoded("5.14.%"),
        encoded(r"x86_64$")
    );
    assert_eq!(host.kernel_names(&both).await.len(), 2);
}

/// A filter means what the `ignore` policy's patterns mean, whoever evaluates it, or is refused.
#[tokio::test]
async fn a_regex_never_silently_means_something_else() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    let versions = [
        "6.5.0-1-generic",
        "6.1.0-9+debug-amd64",
        "5.15.0-57_x",
        "A6.b",
        "aaa",
        "a&&b",
        "abc",
        "u0036",
        "6 5".trim(),
        "el9_2.x86_64",
        "B",
        "xbx",
        "1d",
        "0x36",
        "a{2}",
        "\\b",
        "a-b--c",
        "p{L}",
        "[a]",
        "Ab]",
        "aa~~b",
        "7m",
    ];
    let versions: Vec<&str> = versions
        .into_iter()
        .filter(|v| v.chars().next().is_some_and(|c| c.is_ascii_alphanumeric()) && !v.contains(' '))
        .collect();
    host.kernels("d", &versions).await;
    let mut refused = vec![];
    for pattern in [
        r"\bdebug\b",
        r"\Bb",
        r"(?i)GENERIC",
        r"(?i:A)bc",
        r"(?-i)a",
        r"\d+\.\d+",
        r"[[:alpha:]]{3}",
        r"a{2}",
        r"a{2,}",
        r"(?:aa|bb)",
        r"\w\W\w",
        r"[^0-9.]+$",
        r"[a-z&&[^b]]b",
        r"[a-c--b]",
        r"[a~~b]",
        r"\x36",
        r"\x{36}",
        r"\u0036",
        r"(?P<n>6)",
        r"(?<n>6)",
        r"(?x) 6 \. 5 # five",
        r"\A6",
        r"64\z",
        r"\pL",
        r"\p{Lu}",
        r".*?-",
        r"^$",
        r"(?s).",
        r"(?m)^6",
        r"(?U)a+",
        r"a|",
        r"()",
        r"[]a]",
        r"\-",
        r"\/",
        r"\&",
        r"x\b{start}y",
        r"\<a",
        r"a\>",
        r"[\d]",
        r"[\w&&\d]d",
        r"(a)(b)",
        r"^*",
        r"a**",
        r"\t",
        r"[\b]",
        r"(?R)6$",
        r"\Q",
        r"a{0}",
        r"a{,2}",
        r"\.{2}",
        r"[[.a.]]",
        r"[[=a=]]",
        r"b{1,300}",
        r"(?:a{20}){20}",
    ] {
        let path = format!("/v1/kernels?regex={}&limit=1000", encoded(pattern));
        let answer = host.request(Method::GET, &path).send().await.unwrap();
        if answer.status() == 422 {
            refused.push(pattern);
            continue;
        }
        let page = pointsman_tests::success(answer).await;
        let mut found: Vec<&str> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|k| pointsman_tests::text(&k["version"]))
            .collect();
        found.sort_unstable();
        let regex =
            regex::Regex::new(pattern).unwrap_or_else(|e| panic!("{pattern} was taken: {e}"));
        let mut expected: Vec<&str> = versions
            .iter()
            .copied()
            .filter(|v| regex.is_match(v))
            .collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{pattern}");
    }
    // What people write is taken.
    for common in [
        r"\d+\.\d+",
        r"[[:alpha:]]{3}",
        r"a{2,}",
        r"(?:aa|bb)",
        r"[^0-9.]+$",
        ".*?-",
        r"(?i)GENERIC",
        r"\-",
    ] {
        assert!(!refused.contains(&common), "{common} was refused");
    }
}

#[tokio::test]
async fn a_bad_pattern_is_refused_with_its_position() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    for (kind, pattern, position) in [
        ("regex", r"^6\.(5", 4),
        ("regex", "a[", 1),
        ("regex", "é(", 1),
        ("regex", "*a", 0),
        ("regex", r"(a)\1", 3),
        ("like", "ends in a lone \\", 15),
    ] {
        let query = host
            .refused(
                Method::GET,
                &format!("/v1/kernels?{kind}={}", encoded(pattern)),
                None,
            )
            .await;
        assert_eq!(
            (&query["status"], &query["code"], &query["field"]),
            (&json!(422), &json!("pattern_invalid"), &json!(kind))
        );
        assert_eq!(query["position"], position, "{pattern}: {query}");
        let body = json!({"ignores": [
            {"kind": "like", "pattern": "fine%", "reason": "r"},
            {"kind": kind, "pattern": pattern, "reason": "r"},
        ]});
        let saved = host.refused(Method::POST, "/v1/ignores", Some(body)).await;
        assert_eq!(
            (&saved["code"], &saved["field"]),
            (&json!("pattern_invalid"), &json!("/ignores/1/pattern"))
        );
        assert_eq!(saved["position"], position, "{pattern}: {saved}");
    }
    let long = "a".repeat(257);
    for kind in ["like", "regex"] {
        let query = host
            .refused(Method::GET, &format!("/v1/kernels?{kind}={long}"), None)
            .await;
        assert_eq!(query["code"], "pattern_invalid");
        let body = json!({"ignores": [{"kind": kind, "pattern": long, "reason": "r"}]});
        assert_eq!(
            host.refused(Method::POST, "/v1/ignores", Some(body)).await["code"],
            "pattern_invalid"
        );
    }
    for (body, code) in [
        (
            json!({"kind": "like", "pattern": "a%", "reason": " "}),
            "reason_missing",
        ),
        (
            json!({"kind": "glob", "pattern": "a%", "reason": "r"}),
            "body_invalid",
        ),
        (
            json!({"kind": "like", "pattern": "a%", "reason": "r", "distro": "nowhere"}),
            "distro_unknown",
        ),
        (
            json!({"kind": "like", "pattern": "a%", "reason": "x".repeat(1_025)}),
            "value_invalid",
        ),
        (
            json!({"kind": "like", "pattern": "a%\u{0}", "reason": "r"}),
            "text_invalid",
        ),
    ] {
        let refusal = host
            .refused(
                Method::POST,
                "/v1/ignores",
                Some(json!({"ignores": [body]})),
            )
            .await;
        assert_eq!(refusal["code"], code, "{refusal}");
    }
    assert_eq!(
        host.get("/v1/ignores").await["items"],
        json!([]),
        "all or nothing"
    );
}

#[tokio::test]
async fn patterns_are_saved_once_and_removed() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    let body = json!({"ignores": [
        {"kind": "like", "pattern": "%z", "reason": "for all"},
        {"kind": "like", "pattern": "%a", "reason": "here", "distro": "d", "expires": "2999-01-01T00:00:00Z"},
        {"kind": "regex", "pattern": "%z", "reason": "another kind"},
    ]});
    let saved = host.post("/v1/ignores", body.clone()).await;
    assert_eq!(
        (&saved["created"], saved["ids"].as_array().unwrap().len()),
        (&json!(3), 3)
    );
    let again = host.post("/v1/ignores", body).await;
    assert_eq!(
        (&again["unchanged"], &again["generation"], &again["ids"]),
        (&json!(3), &json!(null), &saved["ids"])
    );
    // The ids are in the order of the request.
    let listed = host.get("/v1/ignores?distro=d").await;
    let pattern_of = |id: &serde_json::Value| {
        listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|i| i["id"] == *id)
            .unwrap()["reason"]
            .clone()
    };
    let reasons: Vec<_> = saved["ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(pattern_of)
        .collect();
    assert_eq!(reasons, ["for all", "here", "another kind"]);
    let path = format!("/v1/ignores/{}", saved["ids"][1]);
    assert_eq!(
        host.send(Method::DELETE, &path, json!({})).await["updated"],
        1
    );
    assert_eq!(
        host.send(Method::DELETE, &path, json!({})).await["unchanged"],
        1
    );
    assert_eq!(
        host.get("/v1/ignores").await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        host.get("/v1/ignores?deleted=true").await["items"][0]["reason"],
        "here"
    );
    let back =
        json!({"ignores": [{"kind": "like", "pattern": "%a", "reason": "again", "distro": "d"}]});
    assert_eq!(
        host.post("/v1/ignores", back).await["ids"][0],
        saved["ids"][1]
    );
    assert_eq!(
        host.refused(Method::DELETE, "/v1/ignores/999999", None)
            .await["code"],
        "ignore_unknown"
    );
    let events = host.events("kind=kernel_ignore", 5).await;
    assert_eq!(events.last().unwrap()["name"], "d like %a");
}
