//! Export and import: nobody is locked in, and nothing is half-written.

use pointsman_tests::transfer::{export, import, newcomer, normal};
use pointsman_tests::{TestHost, problem, success, text};
use reqwest::Method;
use serde_json::{Value, json};

/// A record with something of everything.
async fn furnish(host: &TestHost) {
    host.distro("d").await;
    host.distro("gone").await;
    let package = json!({"name": "linux-image-1", "version": "1", "role": "image", "size": 7, "sha256": "ab"});
    host.post(
        "/v1/detections",
        json!({"comment": "found", "kernels": [
            {"distro": "d", "version": "1", "packages": [package]},
            {"distro": "d", "version": "2", "missing": ["headers"]},
            {"distro": "d", "version": "3"}, {"distro": "gone", "version": "3"}]}),
    )
    .await;
    // States of one's own, among and instead of the stock ranks.
    let states = json!({"states": [{"name": "smoke", "rank": 40}, {"name": "tested", "rank": 45}]});
    host.send(Method::PUT, "/v1/states", states).await;
    host.send(
        Method::PATCH,
        "/v1/kernels/d/1",
        json!({"state": "smoke", "comment": "it smokes"}),
    )
    .await;
    host.send(Method::DELETE, "/v1/kernels/d/3", json!({}))
        .await;
    host.send(Method::DELETE, "/v1/distros/gone", json!({}))
        .await;
    let run = |rest: Value| {
        let mut run = json!({"distro": "d", "version": "1", "purpose": "test"});
        run.as_object_mut()
            .expect("an object")
            .extend(rest.as_object().expect("an object").clone());
        run
    };
    let runs = [
        run(json!({"key": "k", "verdict": "pass", "link": "https://x.example/1"})),
        run(json!({"verdict": "fail", "comment": "one"})),
        run(json!({"verdict": "fail", "comment": "another"})),
        run(json!({"verdict": "fail", "comment": "another"})),
        run(json!({"key": "long"})),
    ];
    // Two that people asked for: the first is there with the runs, the other is still to come.
    for (version, purpose) in [("1", "test"), ("2", "build")] {
        let path = format!("/v1/kernels/d/{version}/request");
        host.post(&path, json!({"purpose": purpose})).await;
    }
    host.send(Method::PATCH, "/v1/pipelines/kernels", json!({"slots": 3}))
        .await;
    host.post("/v1/runs", json!({"runs": runs})).await;
    // One that was reported while it ran: when it ended is part of the record.
    let ended = run(json!({"key": "long", "verdict": "pass"}));
    host.post("/v1/runs", json!({"runs": [ended]})).await;
    host.post(
        "/v1/ignores",
        json!({"ignores": [
            {"kind": "like", "pattern": "6.5.%", "reason": "old", "expires": "2999-01-01T00:00:00Z"},
            {"kind": "regex", "pattern": "[+]debug", "reason": "umlaut \u{fc}, quote \"", "distro": "d"}]}),
    )
    .await;
    host.post(
        "/v1/clusters",
        json!({"clusters": [{"name": "c", "type": "demo"}, {"name": "e", "type": "own"}]}),
    )
    .await;
    let kernels =
        json!([{"distro": "d", "version": "1", "current": true}, {"distro": "d", "version": "2"}]);
    host.post(
        "/v1/hosts",
        json!({"hosts": [{"cluster": "c", "host": "h", "kernels": kernels}]}),
    )
    .await;
    host.send(Method::DELETE, "/v1/clusters/e", json!({})).await;
    let notes = json!([
        {"hook": "advance", "distro": "d", "version": "1", "key": "tries", "value": "2"},
        {"hook": "advance", "position": 3, "key": "frozen", "value": "since \"Monday\"\n"},
        {"hook": "ignore", "key": "gone", "value": ""}]);
    host.post("/v1/pipelines/kernels/notes", json!({"notes": notes}))
        .await;
    let gone = json!({"remove": [{"hook": "ignore", "key": "gone"}]});
    host.post("/v1/pipelines/kernels/notes", gone).await;
}

async fn history(host: &TestHost) -> Vec<(String, Value, String, String)> {
    let mut all = vec![];
    let mut cursor = String::new();
    loop {
        let page = host.get(&format!("/v1/events?limit=1000{cursor}")).await;
        for event in page["items"].as_array().expect("items") {
            let field = |name: &str| text(&event[name]).to_owned();
            all.push((
                field("name"),
                event["changes"].clone(),
                field("comment"),
                field("at"),
            ));
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn an_import_of_an_export_is_the_same_record_with_its_history() {
    let (_db, source) = TestHost::start().await;
    furnish(&source).await;
    source.events("kind=cluster&operation=delete", 1).await;
    let exported = export(&source).await;
    assert_eq!(exported.lines().last(), Some(r#"{"type":"end"}"#));
    assert!(!exported.contains(&source.token), "tokens stay behind");
    assert!(!exported.contains(r#""type": "token""#) && !exported.contains(r#""type":"token""#));

    let (_other, target) = newcomer().await;
    let written = success(import(&target, exported.clone()).await).await;
    assert!(
        written["generation"].is_number() && written["created"].as_u64().unwrap() > 10,
        "{written}"
    );
    let moved = export(&target).await;
    assert_eq!(normal(&moved), normal(&exported));
    let requests = normal(&moved)["run_request"].clone();
    let open: Vec<bool> = requests.iter().map(|r| r["ended_at"].is_null()).collect();
    assert_eq!((open.len(), open.iter().filter(|o| **o).count()), (2, 1));
    assert_eq!(normal(&moved)["kernel_pipeline"][0]["slots"], 3);
    assert_eq!(
        source.get("/v1/kernels/d/1").await["packages"],
        target.get("/v1/kernels/d/1").await["packages"]
    );
    assert_eq!(
        source.get("/v1/kernels").await["items"][0]["state_since"],
        target.get("/v1/kernels").await["items"][0]["state_since"]
    );

    // History comes before everything that happened here, with its own times, comments and order.
    let generation = &written["generation"];
    target.events(&format!("generation={generation}"), 1).await;
    let theirs = history(&source).await;
    let ours = history(&target).await;
    assert_eq!(ours[..theirs.len()], theirs);
    assert!(ours[theirs.len()..].iter().any(|e| e.2 == "moving house"));
    let of_one = target.events("name=d/1", 3).await;
    assert_eq!(of_one[1]["comment"], "it smokes");
    let comments = target.get("/v1/generations?limit=1000").await;
    assert!(
        comments["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|g| g["comment"] == "it smokes" && g["events"] == 1)
    );

    // Once more changes nothing: neither record nor history.
    let again = success(import(&target, exported.clone()).await).await;
    assert_eq!(
        (&again["generation"], &again["created"]),
        (&json!(null), &json!(0)),
        "{again}"
    );
    assert_eq!(history(&target).await, ours);
    // Nor does a record that takes in its own.
    for (host, export) in [(&source, &exported), (&target, &moved)] {
        let own = success(import(host, export.clone()).await).await;
        assert_eq!(
            (&own["generation"], &own["created"]),
            (&json!(null), &json!(0)),
            "{own}"
        );
    }
    assert_eq!(history(&target).await, ours);
    assert_eq!(history(&source).await, theirs);

    // What happened at the source since then comes with the next import, and is all that does.
    source
        .send(
            Method::PATCH,
            "/v1/kernels/d/2",
            json!({"state": "built", "comment": "later"}),
        )
        .await;
    source.kernels("d", &["4"]).await;
    source.events("name=d/4", 1).await;
    let later = success(import(&target, export(&source).await).await).await;
    assert_eq!(later["created"], 1);
    assert_eq!(target.kernel_names("like=4").await, ["d/4"]);
    let events = target.events("name=d/2", 2).await;
    assert_eq!(events.iter().filter(|e| e["comment"] == "later").count(), 1);

    // The target goes on as a record of its own, also through a third.
    target.kernels("d", &["5"]).await;
    target.events("name=d/5", 1).await;
    let (_third, third) = newcomer().await;
    success(import(&third, export(&target).await).await).await;
    assert_eq!(
        normal(&export(&third).await),
        normal(&export(&target).await)
    );
    success(import(&third, export(&source).await).await).await;
    assert_eq!(
        third
            .events("name=d/1", 1)
            .await
            .iter()
            .filter(|e| e["comment"] == "it smokes")
            .count(),
        1
    );
}

#[tokio::test]
async fn an_import_that_cannot_be_whole_writes_nothing() {
    let (_db, source) = TestHost::start().await;
    furnish(&source).await;
    let exported = export(&source).await;
    let lines: Vec<&str> = exported.lines().collect();
    let (_other, target) = TestHost::start().await;
    target.distro("own").await;
    // What other tests hold open can hold the newest events back: by then all are to be seen.
    target.idle().await;
    let before = (normal(&export(&target).await), history(&target).await.len());

    // Cut between lines, in the middle of one, and before anything.
    for cut in [
        lines[..lines.len() - 1].join("\n"),
        lines[..9].join("\n"),
        String::new(),
        "\n\n".to_owned(),
    ] {
        let refusal = problem(import(&target, cut).await).await;
        assert_eq!(
            (&refusal["status"], &refusal["code"]),
            (&json!(422), &json!("import_cut")),
            "{refusal}"
        );
    }
    let middle = exported[..exported.len() / 2].to_owned();
    let refusal = problem(import(&target, middle).await).await;
    assert!(
        ["import_cut", "import_invalid"].contains(&text(&refusal["code"])),
        "{refusal}"
    );

    let with = |n: usize, line: &str| {
        let mut lines = lines.clone();
        lines.insert(n, line);
        lines.join("\n")
    };
    let kernel = |rest: &str| {
        format!(
            r#"{{"type":"kernel","distro":"d","version":"x","state":"seen","state_since":"2024-01-01T00:00:00Z","state_by_person":false,"first_seen":"2024-01-01T00:00:00Z","missing":[],"packages":[]{rest}}}"#
        )
    };
    let at = lines
        .iter()
        .position(|l| l.contains(r#""type": "kernel""#))
        .unwrap();
    let ignore = r#"{"type":"ignore","distro":"nowhere","kind":"like","pattern":"%","reason":"r"}"#;
    let ignore_at = lines
        .iter()
        .position(|l| l.contains(r#""type": "ignore""#))
        .unwrap();
    let note = r#"{"type":"note","pipeline":"kernels","hook":"advance","position":0,"distro":"d","version":"nowhere","key":"k","value":"v"}"#;
    let orphan = r#"{"type":"generation","id":1,"comment":"c","username":"u","at":"2024-01-01T00:00:00Z","epoch":77,"tx":"9"}"#;
    let orphan_at = lines
        .iter()
        .position(|l| l.contains(r#""type": "generation""#))
        .unwrap();
    for (n, line, told) in [
        (4, "{garbage".to_owned(), "line 5:"),
        (4, "7".to_owned(), "line 5: it has no `type`"),
        (4, "\u{fffd}\u{0}".to_owned(), "line 5:"),
        (
            4,
            r#"{"type":"secret"}"#.to_owned(),
            "line 5: this host knows no `secret`",
        ),
        (
            lines.len(),
            r#"{"type":"distro"}"#.to_owned(),
            "stands behind the end",
        ),
        (1, r#"{"type":"record","format":9}"#.to_owned(), "format 1"),
        (
            at,
            kernel(r#","distro":"nowhere""#),
            "(kernel) cannot be taken in",
        ),
        (
            at,
            kernel(r#","state":"perfect""#),
            "(kernel) cannot be taken in",
        ),
        (
            at,
            kernel(r#","version":"a b""#),
            "(kernel) cannot be taken in",
        ),
        (
            at,
            kernel(r#","version":"a\u0000b""#),
            "(kernel) cannot be taken in",
        ),
        (
            at,
            kernel(r#","state_since":"once""#),
            "(kernel) cannot be taken in",
        ),
        // A pattern of a distro that is not here must not become one for every distro.
        (ignore_at, ignore.to_owned(), "(ignore) cannot be taken in"),
        (orphan_at, note.to_owned(), "(note) cannot be taken in"),
        (
            orphan_at,
            orphan.to_owned(),
            "(generation) cannot be taken in",
        ),
    ] {
        let refusal = problem(import(&target, with(n, &line)).await).await;
        assert_eq!(
            (&refusal["status"], &refusal["code"]),
            (&json!(422), &json!("import_invalid")),
            "{line}: {refusal}"
        );
        assert!(text(&refusal["detail"]).contains(told), "{line}: {refusal}");
    }
    let mut broken = exported.clone().into_bytes();
    broken.splice(200..201, [0xff, 0xfe]);
    assert_eq!(
        problem(import(&target, broken).await).await["code"],
        "import_invalid"
    );

    assert_eq!(
        (normal(&export(&target).await), history(&target).await.len()),
        before,
        "nothing was written"
    );
    // The whole file still goes in, also where rows exist: those stay as they are.
    target.distro("d").await;
    target
        .send(Method::PATCH, "/v1/distros/d", json!({"variant": "MINE"}))
        .await;
    success(import(&target, exported).await).await;
    assert_eq!(target.get("/v1/distros/d").await["variant"], "MINE");
    assert_eq!(target.kernel_names("like=1").await, ["d/1"]);
}

#[tokio::test]
async fn an_import_that_breaks_off_writes_nothing() {
    let (_db, source) = TestHost::start().await;
    furnish(&source).await;
    let exported = export(&source).await;
    let (_other, target) = TestHost::start().await;
    // The sender dies in the middle.
    let half = exported[..exported.len() * 2 / 3].to_owned();
    let pieces = futures::stream::iter([Ok(half), Err(std::io::Error::other("the cable is out"))]);
    let request = target
        .request(Method::POST, "/v1/import")
        .body(reqwest::Body::wrap_stream(pieces));
    assert!(request.send().await.is_err());
    assert_eq!(target.get("/v1/distros").await["items"], json!([]));
    // It holds nothing that would keep the next from coming in.
    success(import(&target, exported).await).await;
    assert_eq!(target.kernel_names("").await, ["d/1", "d/2", "gone/3"]);
}
