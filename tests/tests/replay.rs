//! Decisions made again, and the tools of a plugin's author.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

use pointsman_tests::command::Cli;
use pointsman_tests::{TestDatabase, TestHost, guest, plugin, wait_for};
use serde_json::{Value, json};

/// A host that has decided about some versions by the stock policies.
async fn decided() -> (TestDatabase, TestHost, Cli) {
    let (db, host) = TestHost::start().await;
    let cli = Cli::new(&host);
    host.distro("debian-12").await;
    host.stock_policy().await;
    let ignores = json!({"ignores": [{"kind": "like", "pattern": "6.5.%", "reason": "broken"}]});
    host.post("/v1/ignores", ignores).await;
    host.kernels("debian-12", &["6.1.0-1", "6.5.0-1", "6.5.0-2"])
        .await;
    host.idle().await;
    (db, host, cli)
}

async fn decisions(host: &TestHost, query: &str) -> Vec<Value> {
    let page = host.get(&format!("/v1/decisions?limit=1000{query}")).await;
    page["items"].as_array().unwrap().clone()
}

fn file(host: &TestHost, name: &str, bytes: &[u8]) -> String {
    let path = host.dir().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Ignores nothing, whatever it is asked.
fn careless() -> Vec<u8> {
    let ground = guest::Ground {
        scope: "all",
        rule: None,
    };
    guest::ignores(&[], &ground, &guest::Basis::default())
}

#[tokio::test]
async fn every_decision_comes_out_the_same_and_another_plugin_differs() {
    let (_db, host, cli) = decided().await;
    let made = decisions(&host, "").await.len();
    let replayed = cli.json(&["decision", "replay"]).await;
    assert_eq!(
        (&replayed["same"], &replayed["differ"]),
        (&json!(made), &json!(0)),
        "{replayed}"
    );

    let candidate = file(&host, "careless.wasm", &careless());
    let ended = cli
        .run(&["decision", "replay", "--plugin", &candidate, "--json"])
        .await;
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    let replayed: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        replayed["same"].as_u64().unwrap() + replayed["differ"].as_u64().unwrap(),
        decisions(&host, "&hook=ignore").await.len() as u64,
        "only the hook that it answers: {replayed}"
    );
    assert!(replayed["differ"].as_u64().unwrap() > 0, "{replayed}");
    let people = cli
        .run(&["decision", "replay", "--plugin", &candidate])
        .await;
    assert!(
        people.stdout.contains("/basis/reason/code"),
        "{}",
        people.stdout
    );

    // The record has not changed by it, and a time without decisions is no difference.
    assert_eq!(decisions(&host, "").await.len(), made);
    let none = cli
        .json(&["decision", "replay", "--until", "2020-01-01"])
        .await;
    assert_eq!((&none["same"], &none["differ"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn a_failed_decision_is_repeated_from_a_file_alone() {
    let (_db, host, cli) = decided().await;
    let trap = guest::traps(guest::Hook::Advance);
    let digest = host.upload_bytes("trap", trap).await;
    host.bind("advance", &digest, json!({})).await;
    host.kernels("debian-12", &["6.1.0-9"]).await;
    let failed = pointsman_tests::wait_for("it has trapped", async || {
        decisions(&host, "&outcome=trapped").await.pop()
    })
    .await;
    let id = failed["id"].to_string();
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("decision.json");
    let bundle = bundle.to_str().unwrap();
    cli.ok(&["decision", "export", &id, "-o", bundle]).await;
    host.stop().await;

    // The server is gone: the file has it all.
    let alone = Cli::with("http://127.0.0.1:9", "no-token-at-all");
    let again = alone.json(&["plugin", "replay", bundle]).await;
    assert_eq!(
        (&again["outcome"], &again["same"]),
        (&json!("trapped"), &json!(true)),
        "{again}"
    );
    let mended = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&mended, plugin("kernel-ladder")).unwrap();
    let ended = alone
        .run(&[
            "plugin",
            "replay",
            bundle,
            "--plugin",
            mended.path().to_str().unwrap(),
        ])
        .await;
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("trapped then, answered"),
        "{}",
        ended.stdout
    );
}

#[tokio::test]
async fn a_candidate_that_never_ends_or_asks_for_more_is_not_said_to_agree() {
    let (_db, host, cli) = decided().await;
    let made = decisions(&host, "&hook=ignore").await.len();
    let endless = file(&host, "endless.wasm", &guest::recurses(guest::Hook::Ignore));
    let ended = cli
        .run(&["decision", "replay", "--plugin", &endless, "--json"])
        .await;
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    let replayed: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(replayed["differ"], json!(made), "{replayed}");
    assert_eq!(replayed["differences"][0]["after"], "stack-overflow");

    // What nobody asked for then is not on record, and what is made up instead says nothing.
    let curious = guest::asks("versions", &[("count", "3")]);
    let curious = file(&host, "curious.wasm", &curious);
    let ended = cli.run(&["decision", "replay", "--plugin", &curious]).await;
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    for (says, what) in [
        (&ended.stdout, "0 the same, 0 differ"),
        (&ended.stderr, "facts that are not on record"),
        (&ended.stderr, "no decision could be compared"),
    ] {
        assert!(says.contains(what), "{what}: {says}");
    }
}

#[tokio::test]
async fn a_decision_that_failed_through_the_machine_is_asked_again_and_not_compared() {
    let (_db, host, cli) = decided().await;
    let endless = guest::loops(guest::Hook::Ignore);
    let digest = host.upload_bytes("endless", endless).await;
    let limits = json!({"fuel": 100_000_000_000_i64, "deadline_ms": 100});
    let body = json!({"digest": digest, "limits": limits});
    let place = "/v1/pipelines/kernels/bindings/ignore/0";
    host.send(reqwest::Method::PUT, place, body).await;
    let failed = wait_for("it took too long", async || {
        decisions(&host, "&outcome=deadline").await.pop()
    })
    .await;
    let bundle = file(&host, "decision.json", b"");
    cli.ok(&[
        "decision",
        "export",
        &failed["id"].to_string(),
        "-o",
        &bundle,
    ])
    .await;
    let mended = file(&host, "careless.wasm", &careless());
    let again = cli
        .json(&["plugin", "replay", &bundle, "--plugin", &mended])
        .await;
    assert_eq!(again["outcome"], "answered", "{again}");
    let why = again["not_comparable"].as_str().unwrap();
    assert!(why.contains("`deadline`"), "{again}");
}

#[tokio::test]
async fn a_thousand_repetitions_give_the_same_bytes() {
    let (_db, host, cli) = decided().await;
    for hook in ["ignore", "advance"] {
        let made = decisions(&host, &format!("&hook={hook}&outcome=answered")).await;
        let id = made[0]["id"].to_string();
        let bundle = file(&host, &format!("{hook}.json"), b"");
        cli.ok(&["decision", "export", &id, "-o", &bundle]).await;
        let repeated = cli
            .json(&["plugin", "replay", &bundle, "--repeat", "1000"])
            .await;
        assert_eq!(
            (
                &repeated["repeats"],
                &repeated["different"],
                &repeated["same"]
            ),
            (&json!(1_000), &json!(0), &json!(true)),
            "{repeated}"
        );
        let other = file(&host, "careless.wasm", &careless());
        if hook == "ignore" {
            let args = [
                "plugin", "replay", &bundle, "--plugin", &other, "--repeat", "3",
            ];
            let ended = cli.run(&args).await;
            assert_eq!(ended.code, 7, "{}", ended.stderr);
            assert!(
                ended.stdout.contains("3 times, 3 with other bytes"),
                "{}",
                ended.stdout
            );
        }
    }
}

#[tokio::test]
async fn an_unchanged_question_is_not_asked_again() {
    let (_db, host, _cli) = decided().await;
    let stock = decisions(&host, "&hook=ignore").await;
    let digest = stock[0]["digest"].as_str().unwrap().to_owned();
    let other = host
        .upload_bytes(
            "ignore-patterns",
            guest::another_build(plugin("ignore-patterns"), "2"),
        )
        .await;
    host.bind("ignore", &other, json!({})).await;
    host.idle().await;
    let swapped = decisions(&host, "&hook=ignore").await.len();
    assert!(swapped > stock.len(), "a swap asks about everything");
    let ignored = host.kernel_names("ignored=true").await;

    // Both have been asked this, so going to and fro decides nothing anew.
    for digest in [&digest, &other, &digest] {
        host.bind("ignore", digest, json!({})).await;
        host.idle().await;
    }
    let after = decisions(&host, "&hook=ignore").await;
    // The first of them was asked about fewer versions at a time, so the whole is one more question.
    assert!(
        after.len() <= swapped + 1,
        "{} then {}",
        swapped,
        after.len()
    );
    assert_eq!(host.kernel_names("ignored=true").await, ignored);

    // Other settings are another question.
    host.bind("ignore", &digest, json!({"scope": "all"})).await;
    host.idle().await;
    assert!(decisions(&host, "&hook=ignore").await.len() > after.len());
}

#[tokio::test]
async fn what_questions_share_is_kept_once_and_goes_with_the_last_of_them() {
    let (db, host, cli) = decided().await;
    let reason = "a long story, which is told with each of the many patterns";
    let ignores: Vec<Value> = (0..20)
        .map(|n| json!({"kind": "like", "pattern": format!("4.{n}.%"), "reason": reason}))
        .collect();
    host.post("/v1/ignores", json!({"ignores": ignores})).await;
    for batch in [["4.1.0-1", "6.2.0-1"], ["4.2.0-1", "6.3.0-1"]] {
        host.idle().await;
        host.kernels("debian-12", &batch).await;
    }
    host.idle().await;
    let mut psql = db.connect().await;
    let mut count = async |sql: &'static str| -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut psql).await.unwrap()
    };
    let shared = "select count(*) from
        (select from blob_part group by part having count(distinct whole) > 1) s";
    assert_eq!(count(shared).await, 1, "the rules, of two questions");
    let newest = decisions(&host, "&hook=ignore").await[0]["id"].clone();
    let newest = host.get(&format!("/v1/decisions/{newest}")).await;
    assert_eq!(newest["input"]["rules"].as_array().unwrap().len(), 21);
    let replayed = cli.json(&["decision", "replay"]).await;
    assert_eq!(replayed["differ"], 0, "{replayed}");

    // What other settings said is referred to no more once the first ones are back.
    let digest = host.upload("ignore-patterns").await;
    for settings in [json!({"scope": "all"}), json!({})] {
        host.bind("ignore", &digest, settings).await;
        host.idle().await;
    }
    // Past their days decisions go, but for those that something still refers to.
    let referred = "select count(*) from decision x
        where exists (select from kernel_ignored where decision_id = x.id)
           or exists (select from kernel_wanted where decision_id = x.id)";
    let kept = usize::try_from(count(referred).await).unwrap();
    assert!(kept > 0 && kept < decisions(&host, "").await.len());
    for older in [
        "with moved as (update decision set at = at - interval '401 days' returning 1)
         select count(*) from moved",
        "with moved as (update blob set created_at = created_at - interval '401 days' returning 1)
         select count(*) from moved",
    ] {
        assert!(count(older).await > 0);
    }
    host.stop().await;
    let host = db.serve().await;
    wait_for("old decisions are gone", async || {
        (decisions(&host, "").await.len() == kept).then_some(())
    })
    .await;
    for decision in decisions(&host, "&hook=ignore").await {
        let decision = host.get(&format!("/v1/decisions/{}", decision["id"])).await;
        assert!(
            decision["input"]["rules"]
                .as_array()
                .is_some_and(|rules| !rules.is_empty())
        );
    }
    let left = "select count(*) from blob b
        where not exists (select from decision where b.digest in (input, output))
          and not exists (select from blob_part where part = b.digest)";
    assert_eq!(count(left).await, 0);
}

#[tokio::test]
async fn facts_are_given_while_deciding_and_kept_for_a_replay() {
    let (_db, host, cli) = decided().await;
    let run =
        json!({"distro": "debian-12", "version": "6.1.0-1", "purpose": "build", "verdict": "pass"});
    host.post("/v1/runs", json!({"runs": [run]})).await;
    host.idle().await;
    let told = async |kind: &str, args: &[(&str, &str)]| {
        let digest = host.upload_bytes("asks", guest::asks(kind, args)).await;
        host.bind("ignore", &digest, json!({})).await;
        host.idle().await;
        let newest = decisions(&host, "&hook=ignore").await[0].clone();
        assert_eq!(
            (&newest["digest"], &newest["outcome"]),
            (&json!(digest), &json!("answered"))
        );
        host.get(&format!("/v1/decisions/{}", newest["id"])).await
    };
    let decision = told("runs", &[("version", "6.1.0-1")]).await;
    let runs: Value = serde_json::from_str(decision["reason"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&runs[0]["purpose"], &runs[0]["verdict"]),
        (&json!("build"), &json!("pass"))
    );
    let fact = &decision["context"]["facts"][0];
    assert_eq!(
        fact["query"],
        json!({"kind": "runs", "args": {"version": "6.1.0-1"}}),
        "{decision}"
    );
    assert_eq!(fact["found"]["value"], decision["reason"]);

    let seen = told("versions", &[("state", "seen")]).await;
    // The third was built.
    assert_eq!(seen["reason"], r#"["6.5.0-1","6.5.0-2"]"#);
    for (kind, args, code) in [
        ("weather", &[][..], "query.unknown"),
        ("runs", &[][..], "query.argument"),
    ] {
        assert_eq!(told(kind, args).await["reason"], code);
    }
    let none = told("runs", &[("version", "9.9")]).await;
    assert_eq!(none["context"]["facts"][0]["found"], "absent", "{none}");

    // What was given then is given again, though the record has moved on.
    let run =
        json!({"distro": "debian-12", "version": "6.1.0-1", "purpose": "test", "verdict": "fail"});
    host.post("/v1/runs", json!({"runs": [run]})).await;
    host.idle().await;
    let replayed = cli.json(&["decision", "replay"]).await;
    assert_eq!(replayed["differ"], 0, "{replayed}");
    assert_eq!(
        replayed["same"].as_u64().unwrap(),
        decisions(&host, "").await.len() as u64
    );
}

#[tokio::test]
async fn cases_test_a_plugin_without_a_server() {
    let cli = Cli::with("http://127.0.0.1:9", "no-token-at-all");
    let dir = tempfile::tempdir().unwrap();
    let wasm = dir.path().join("ignore.wasm");
    std::fs::write(&wasm, plugin("ignore-patterns")).unwrap();
    let wasm = wasm.to_str().unwrap();
    let rule = |kind: &str| json!([{"id": 7, "kind": kind, "pattern": "6.5.%"}]);
    let case = |rules: Value, expect: Value| {
        json!({"hook": "ignore", "expect": expect, "settings": {"scope": "all"},
            "context": {"at": "2026-11-22T08:00:00Z"},
            "question": {"distro": "d", "rules": rules, "names": ["6.5.0-1", "6.1.0-1"], "versions": [{}, {}]}})
    };
    let good = json!([
        case(
            rule("like"),
            json!({"code": "rules.applied", "answer": {
            "ignored": [{"version": 0, "ground": 0}], "grounds": [{"scope": "all", "rule": 7}]}})
        ),
        case(
            rule("glob"),
            json!({"stop": {"failed": {"code": "rule.unreadable"}}})
        ),
    ]);
    let cases = dir.path().join("good.json");
    std::fs::write(&cases, good.to_string()).unwrap();
    let cases = cases.to_str().unwrap();
    let results = cli.lines(&["plugin", "test", wasm, cases]).await;
    assert!(
        results
            .iter()
            .all(|r| r["passed"] == true && r["fuel"].as_u64() > Some(0)),
        "{results:?}"
    );
    cli.ok(&["plugin", "bench", wasm, cases, "--seconds", "0.05"])
        .await;

    let bad = dir.path().join("bad.json");
    std::fs::write(
        &bad,
        case(rule("like"), json!({"answer": {"ignored": []}})).to_string(),
    )
    .unwrap();
    let ended = cli
        .run(&["plugin", "test", wasm, bad.to_str().unwrap()])
        .await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.stdout.contains("/ignored: expected []"),
        "{}",
        ended.stdout
    );
    std::fs::write(
        &bad,
        json!({"hook": "ignore", "question": {"distros": "d"}}).to_string(),
    )
    .unwrap();
    let ended = cli
        .run(&["plugin", "test", wasm, bad.to_str().unwrap()])
        .await;
    assert!(
        ended
            .stderr
            .contains("question/distros: there is no such field; there are distro,"),
        "{}",
        ended.stderr
    );

    let checked = cli
        .json(&["plugin", "check", wasm, "--settings", r#"{"scope": "all"}"#])
        .await;
    assert_eq!(
        (&checked["hooks"], &checked["findings"]),
        (&json!(["ignore"]), &json!([]))
    );
    let ended = cli
        .run(&[
            "plugin",
            "check",
            wasm,
            "--settings",
            r#"{"scope": "none"}"#,
        ])
        .await;
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("/scope"), "{}", ended.stdout);
    let ended = cli.run(&["plugin", "check", cases]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.stdout.contains("expected a WebAssembly component") && ended.stdout.contains("hint:"),
        "{}",
        ended.stdout
    );
}

#[tokio::test]
async fn a_candidate_in_shadow_is_compared_and_never_heard() {
    let (_db, host, cli) = decided().await;
    let decisions_before = decisions(&host, "&hook=ignore").await.len() as u64;
    let careless = host.upload_bytes("careless", careless()).await;
    cli.ok(&[
        "pipeline",
        "shadow",
        "kernels",
        "ignore",
        "careless",
        "--settings",
        "{}",
        "--since",
        "1d",
    ])
    .await;
    let shadow = async || {
        let shadows = host.get("/v1/pipelines/kernels/shadows").await;
        let shadow = shadows["items"][0].clone();
        (shadow["idle"] == true).then_some(shadow)
    };
    let counts = |shadow: &Value| {
        ["agreed", "differed", "skipped"].map(|name| shadow[name].as_u64().unwrap())
    };
    let first = pointsman_tests::wait_for("it has caught up", shadow).await;
    let [agreed, differed, skipped] = counts(&first);
    assert_eq!(agreed + differed + skipped, decisions_before, "{first}");
    assert!(differed > 0, "{first}");

    // Nothing acts on what it says: the active binding ignores on, and no decision is the candidate's.
    host.kernels("debian-12", &["6.5.0-9"]).await;
    host.idle().await;
    assert!(
        host.kernel_names("ignored=true")
            .await
            .contains(&"debian-12/6.5.0-9".to_owned())
    );
    assert!(
        decisions(&host, "")
            .await
            .iter()
            .all(|decision| decision["digest"] != careless.as_str())
    );
    let then = pointsman_tests::wait_for("it has followed", async || {
        shadow()
            .await
            .filter(|now| now["differed"] != first["differed"])
    })
    .await;
    let differences = cli
        .lines(&["pipeline", "shadow", "kernels", "ignore"])
        .await;
    assert_eq!(differences.len() as u64, counts(&then)[1]);
    assert_eq!(differences[0]["place"], "/basis/reason/code");
    assert!(differences[0]["decision"].as_i64() > differences[1]["decision"].as_i64());

    // A trap of a candidate holds nobody up, and is one of its differences.
    let trap = host
        .upload_bytes("trap", guest::traps(guest::Hook::Ignore))
        .await;
    let body = json!({"digest": trap, "settings": {}, "since": "2020-01-01T00:00:00Z"});
    host.send(
        reqwest::Method::PUT,
        "/v1/pipelines/kernels/shadows/ignore/0",
        body,
    )
    .await;
    let trapped = pointsman_tests::wait_for("it has trapped throughout", shadow).await;
    assert_eq!(counts(&trapped)[0], 0, "figures begin anew: {trapped}");
    assert!(host.get("/v1/pipelines/kernels").await["held"].is_null());

    // Promoted, it is the active one, in one generation; then it follows no more.
    cli.ok(&["pipeline", "shadow", "kernels", "ignore", "careless"])
        .await;
    cli.ok(&[
        "pipeline",
        "promote",
        "kernels",
        "ignore",
        "-m",
        "it will do",
    ])
    .await;
    host.idle().await;
    assert_eq!(
        host.kernel_names("ignored=true").await,
        Vec::<String>::new()
    );
    assert_eq!(cli.lines(&["pipeline", "shadow", "kernels"]).await.len(), 0);
    let binding = host.events("kind=binding&operation=update", 1).await;
    assert_eq!(binding.last().unwrap()["comment"], "it will do");
    let ended = cli.run(&["pipeline", "promote", "kernels", "ignore"]).await;
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    let refused = host
        .refused(
            reqwest::Method::PUT,
            "/v1/pipelines/kernels/shadows/review/0",
            Some(json!({"digest": careless})),
        )
        .await;
    assert_eq!(refused["code"], "hook_not_asked", "{refused}");
}
