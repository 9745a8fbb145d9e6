//! What policies remember, what they hand on, and when they are asked again: notes, tags, chains, wakes.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

use chrono::{DateTime, Duration, Utc};
use pointsman_tests::command::Cli;
use pointsman_tests::guest::{self, Basis, Ground, Hook};
use pointsman_tests::{TestDatabase, TestHost, plugin, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

const NOTES: &str = "/v1/pipelines/kernels/notes";
const ALL: Ground<'_> = Ground {
    scope: "all",
    rule: None,
};

/// A host with a distro, and a plugin bound to a hook.
async fn with(hook: Hook, wasm: Vec<u8>) -> (TestDatabase, TestHost) {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    let digest = host.upload_bytes("tested", wasm).await;
    let hook = match hook {
        Hook::Ignore => "ignore",
        Hook::Advance => "advance",
        Hook::Gate => "gate",
        Hook::Run => "run",
        Hook::Triage => "triage",
        Hook::Select => "select",
    };
    host.bind(hook, &digest, json!({})).await;
    host.idle().await;
    (db, host)
}

async fn bind_at(host: &TestHost, hook: &str, position: u8, wasm: Vec<u8>) -> String {
    let digest = host.upload_bytes("chained", wasm).await;
    let path = format!("/v1/pipelines/kernels/bindings/{hook}/{position}");
    host.send(Method::PUT, &path, json!({"digest": digest}))
        .await;
    digest
}

async fn decisions(host: &TestHost, hook: &str) -> Vec<Value> {
    host.idle().await;
    let page = host
        .get(&format!("/v1/decisions?limit=1000&hook={hook}"))
        .await;
    page["items"].as_array().unwrap().clone()
}

/// The newest decision of a hook, whole.
async fn newest(host: &TestHost, hook: &str) -> Value {
    let id = decisions(host, hook).await[0]["id"].clone();
    host.get(&format!("/v1/decisions/{id}")).await
}

/// What the note `asked` says, once everything is decided.
async fn asked(host: &TestHost) -> String {
    host.idle().await;
    let notes = host.get(NOTES).await;
    let notes = notes["items"].as_array().unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    text(&notes[0]["value"]).to_owned()
}

async fn sql(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

#[tokio::test]
async fn a_note_of_a_kernel_is_kept_and_a_persons_word_is_heard() {
    let (db, host) = with(Hook::Advance, guest::counts(Hook::Advance)).await;
    let cli = Cli::new(&host);
    host.kernels("d", &["1"]).await;
    assert_eq!(asked(&host).await, "1", "its own note wakes no policy");
    let note = host.get(NOTES).await["items"][0].clone();
    let first = newest(&host, "advance").await;
    assert_eq!(
        (
            &note["hook"],
            &note["position"],
            &note["distro"],
            &note["version"]
        ),
        (&json!("advance"), &json!(0), &json!("d"), &json!("1")),
    );
    assert_eq!(
        (&note["decision"], &note["generation"]),
        (&first["id"], &first["generation"])
    );
    let events = host.events("kind=note", 1).await;
    assert_eq!(events[0]["name"], "kernels/advance/0/d/1/asked");
    assert!(text(&events[0]["user"]).starts_with("policy:tested@"));
    assert_eq!(text(&events[0]["comment"]), "Note `asked`");

    let run = json!({"distro": "d", "version": "1", "purpose": "build"});
    host.post("/v1/runs", json!({"runs": [run]})).await;
    assert_eq!(asked(&host).await, "2");
    assert_eq!(
        newest(&host, "advance").await["input"]["kernels"][0]["notes"],
        json!({"asked": "1"})
    );

    // Over HTTP, on the command line, in psql: each is heard, once.
    let named = json!({"hook": "advance", "distro": "d", "version": "1", "key": "asked"});
    let mut new = named.clone();
    new["value"] = json!("7");
    let body = json!({"comment": "the lab was down", "notes": [new]});
    let written = host.post(NOTES, body.clone()).await;
    assert_eq!(written["updated"], 1, "{written}");
    assert_eq!(asked(&host).await, "8");
    let set = [
        "note", "set", "kernels", "advance", "asked", "4", "--kernel", "d/1",
    ];
    cli.ok(&set).await;
    assert_eq!(asked(&host).await, "5");
    let mut psql = db.connect().await;
    sql(
        &mut psql,
        "begin; select generation_start('by hand'); update note set value = '2'; commit;",
    )
    .await;
    assert_eq!(asked(&host).await, "3");
    host.post(NOTES, json!({"remove": [named]})).await;
    assert_eq!(asked(&host).await, "1");
    assert_eq!(decisions(&host, "advance").await.len(), 6);

    // What is so already is no change, and nobody is asked.
    let listed = cli
        .lines(&["note", "list", "kernels", "--kernel", "d/1"])
        .await;
    assert_eq!(listed.len(), 1);
    cli.ok(&[
        "note", "set", "kernels", "advance", "asked", "1", "--kernel", "d/1",
    ])
    .await;
    assert_eq!(decisions(&host, "advance").await.len(), 6);
    let table = cli.ok(&["note", "list", "kernels"]).await;
    assert!(
        table.contains("advance/0") && table.contains("d/1") && table.contains("decision"),
        "{table}"
    );

    let replayed = cli.json(&["decision", "replay"]).await;
    assert_eq!(
        (&replayed["same"], &replayed["differ"]),
        (&json!(6), &json!(0)),
        "{replayed}"
    );
}

#[tokio::test]
async fn a_note_of_the_pipeline_outlives_a_swap_and_goes_from_call_to_call() {
    let counts = guest::counts(Hook::Ignore);
    let (_db, host) = with(Hook::Ignore, counts.clone()).await;
    host.distro("e").await;
    host.kernels("d", &["1"]).await;
    assert_eq!(asked(&host).await, "1");
    assert!(host.events("kind=note", 1).await[0]["name"] == "kernels/ignore/0/asked");

    // One turn that asks about two distros: the second call sees what the first wrote down.
    let pause = async |paused: &str| {
        let body = json!({"paused": paused});
        host.send(Method::PATCH, "/v1/pipelines/kernels", body)
            .await;
    };
    pause("two at once").await;
    let kernels = json!([{"distro": "d", "version": "2"}, {"distro": "e", "version": "2"}]);
    host.post("/v1/kernels", json!({"kernels": kernels})).await;
    pause("").await;
    assert_eq!(asked(&host).await, "3");
    let seen = |decision: Value| decision["context"]["notes"].clone();
    assert_eq!(seen(newest(&host, "ignore").await), json!({"asked": "2"}));
    assert_eq!(
        host.events("kind=note", 2).await.len(),
        2,
        "one change a turn"
    );

    // A person's word: both distros are looked at again.
    let note = json!({"hook": "ignore", "key": "asked", "value": "5"});
    host.post(NOTES, json!({"notes": [note]})).await;
    assert_eq!(asked(&host).await, "7");

    let other = guest::another_build(counts, "2");
    let digest = host.upload_bytes("tested", other).await;
    host.bind("ignore", &digest, json!({})).await;
    assert_eq!(asked(&host).await, "9", "another version remembers on");
    let cli = Cli::new(&host);
    let replayed = cli.json(&["decision", "replay"]).await;
    assert_eq!(replayed["differ"], 0, "{replayed}");
}

#[tokio::test]
async fn the_same_question_with_other_notes_is_another_question() {
    let careless = guest::ignores(&[], &ALL, &Basis::default());
    let (_db, host) = with(Hook::Ignore, careless).await;
    host.kernels("d", &["1"]).await;
    assert_eq!(decisions(&host, "ignore").await.len(), 1);
    let note = json!({"hook": "ignore", "key": "frozen", "value": "yes"});
    host.post(NOTES, json!({"notes": [note]})).await;
    assert_eq!(decisions(&host, "ignore").await.len(), 2);
    // Both have been answered.
    let gone = json!({"hook": "ignore", "key": "frozen"});
    host.post(NOTES, json!({"remove": [gone]})).await;
    host.post(NOTES, json!({"notes": [note]})).await;
    assert_eq!(decisions(&host, "ignore").await.len(), 2);
}

#[tokio::test]
async fn a_person_who_changes_a_note_meanwhile_is_right() {
    let (db, host) = with(Hook::Advance, guest::counts(Hook::Advance)).await;
    host.kernels("d", &["1"]).await;
    assert_eq!(asked(&host).await, "1");
    let mut person = db.connect().await;
    let pause = async |paused: &str| {
        let body = json!({"paused": paused});
        host.send(Method::PATCH, "/v1/pipelines/kernels", body)
            .await;
    };
    pause("until somebody holds the note").await;
    let run = json!({"distro": "d", "version": "1", "purpose": "test"});
    host.post("/v1/runs", json!({"runs": [run]})).await;
    host.events("kind=run", 1).await;
    // Somebody holds the note; the policy is asked, and what it decided cannot be written yet.
    let mut held = person.begin().await.unwrap();
    sql(&mut held, "select from note for update").await;
    pause("").await;
    wait_for("the turn waits for the note", async || {
        let mut other = db.connect().await;
        let waits: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity where datname = current_database()
               and wait_event_type = 'Lock' and query like 'update note%')",
        )
        .fetch_one(&mut other)
        .await
        .unwrap();
        waits.then_some(())
    })
    .await;
    sql(
        &mut held,
        "select generation_start('my word'); update note set value = '6'",
    )
    .await;
    held.commit().await.unwrap();
    assert_eq!(
        asked(&host).await,
        "7",
        "and it is asked again, about that word"
    );
    let events = host.events("kind=note", 3).await;
    let values: Vec<&Value> = events.iter().map(|e| &e["changes"]["value"]).collect();
    assert_eq!(json!(values), json!(["1", ["1", "6"], ["6", "7"]]));
}

#[tokio::test]
async fn a_full_memory_holds_until_a_person_makes_room() {
    let basis = Basis {
        notes: &[("own", Some("1"))],
        ..Basis::default()
    };
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["1"]).await;
    let note = |n: usize| json!({"hook": "ignore", "key": format!("k{n}"), "value": "v"});
    let notes: Vec<Value> = (0..64).map(note).collect();
    host.post(NOTES, json!({"notes": notes})).await;
    let more = json!({"notes": [note(64)]});
    let refused = host.refused(Method::POST, NOTES, Some(more)).await;
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&json!(422), &json!("notes_too_many")),
        "{refused}"
    );
    let digest = host
        .upload_bytes("writes", guest::ignores(&[], &ALL, &basis))
        .await;
    host.bind("ignore", &digest, json!({})).await;
    let held = wait_for("it holds", async || {
        let held = host.get("/v1/pipelines/kernels").await["held"].clone();
        held.is_object().then_some(held)
    })
    .await;
    assert_eq!(held["code"], "notes-too-many", "{held}");
    assert_eq!(
        host.get(&format!("{NOTES}?limit=1000")).await["items"]
            .as_array()
            .unwrap()
            .len(),
        64
    );
    // Room is made and something is written, in one.
    let body = json!({"remove": [{"hook": "ignore", "key": "k0"}, {"hook": "ignore", "key": "k1"}],
        "notes": [note(70)]});
    host.post(NOTES, body).await;
    host.idle().await;
    let own = host.get(&format!("{NOTES}?hook=ignore&limit=1000")).await;
    let keys: Vec<&Value> = own["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| &n["key"])
        .collect();
    assert!(
        keys.len() == 64 && keys.contains(&&json!("own")),
        "{keys:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_a_note_is_refused() {
    let (db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["1"]).await;
    let note = |rest: Value| {
        let mut note = json!({"hook": "advance", "key": "k", "value": "v"});
        let note_fields = note.as_object_mut().unwrap();
        note_fields.extend(rest.as_object().unwrap().clone());
        json!({"notes": [{"hook": "advance", "key": "good", "value": "v"}, note]})
    };
    for (rest, status, code, field) in [
        (json!({"key": ""}), 422, "note_key", "/notes/1/key"),
        (json!({"key": "a/b"}), 422, "note_key", "/notes/1/key"),
        (json!({"key": "a\nb"}), 422, "note_key", "/notes/1/key"),
        (json!({"key": "a\u{0}b"}), 422, "note_key", "/notes/1/key"),
        (
            json!({"value": "a\u{0}b"}),
            422,
            "text_invalid",
            "/notes/1/value",
        ),
        (
            json!({"value": "x".repeat(1_024)}),
            422,
            "note_too_long",
            "/notes/1/value",
        ),
        (json!({"key": "good"}), 422, "note_twice", "/notes/1/key"),
        (json!({"distro": "d"}), 422, "note_subject", "/notes/1"),
        (
            json!({"hook": "ignore", "distro": "d", "version": "1"}),
            422,
            "note_subject",
            "/notes/1/hook",
        ),
        (json!({"hook": "review"}), 422, "hook_not_asked", "hook"),
        (json!({"position": 16}), 422, "position_invalid", "position"),
    ] {
        let refused = host
            .refused(Method::POST, NOTES, Some(note(rest.clone())))
            .await;
        assert_eq!(
            (&refused["status"], &refused["code"], &refused["field"]),
            (&json!(status), &json!(code), &json!(field)),
            "{rest}: {refused}"
        );
    }
    for (body, code) in [
        (
            note(json!({"distro": "d", "version": "9"})),
            "kernel_unknown",
        ),
        (
            note(json!({"distro": "x", "version": "1"})),
            "distro_unknown",
        ),
        (
            json!({"remove": [{"hook": "advance", "key": "none"}]}),
            "note_unknown",
        ),
        (json!({}), "batch_empty"),
    ] {
        let refused = host.refused(Method::POST, NOTES, Some(body)).await;
        assert_eq!(refused["code"], code, "{refused}");
    }
    for (query, code) in [
        ("position=0", "filter_incomplete"),
        ("distro=d", "filter_incomplete"),
        ("version=1", "filter_incomplete"),
        ("hook=advance&position=99", "position_invalid"),
    ] {
        let refused = host
            .refused(Method::GET, &format!("{NOTES}?{query}"), None)
            .await;
        assert_eq!(refused["code"], code, "{refused}");
    }
    let unknown = host
        .refused(Method::GET, "/v1/pipelines/x/notes", None)
        .await;
    assert_eq!(unknown["code"], "pipeline_unknown");
    assert_eq!(
        host.get(NOTES).await["items"],
        json!([]),
        "nothing was written"
    );

    // In psql, too.
    let mut psql = db.connect().await;
    for (statement, constraint) in [
        (
            "insert into note (pipeline_id, hook, key, value) select id, 'ignore', 'a/b', '' from pipeline",
            "note_key_form",
        ),
        (
            "insert into note (pipeline_id, hook, key, value) select id, 'ignore', 'a', repeat('x', 1024) from pipeline",
            "note_length",
        ),
        (
            "insert into note (pipeline_id, hook, key, value) select p.id, 'ignore', 'a' || n, '' from pipeline p, generate_series(1, 65) n",
            "64 notes",
        ),
        (
            "insert into note (pipeline_id, hook, kernel_version_id, key, value) select p.id, 'ignore', k.id, 'a', '' from pipeline p, kernel_version k",
            "note_subject",
        ),
        (
            "insert into note (pipeline_id, hook, kernel_version_id, key, value) select p.id, 'advance', k.id, 'a' || n, '' from pipeline p, kernel_version k, generate_series(1, 65) n",
            "64 notes",
        ),
    ] {
        let mut tx = psql.begin().await.unwrap();
        sql(&mut tx, "select generation_start('by hand')").await;
        let error = sqlx::query(statement).execute(&mut *tx).await.unwrap_err();
        assert!(
            error.to_string().contains(constraint),
            "{statement}: {error}"
        );
    }
}

#[tokio::test]
async fn tags_of_ignore_reach_advance_also_in_a_turn_without_it() {
    let tagged = |tags| {
        guest::ignores(
            &[],
            &ALL,
            &Basis {
                tags,
                ..Basis::default()
            },
        )
    };
    let (_db, host) = with(
        Hook::Ignore,
        tagged(&[("risk", "low"), ("areas.net", "yes")]),
    )
    .await;
    let ladder = host.upload_bytes("ladder", plugin("kernel-ladder")).await;
    host.bind("advance", &ladder, json!({})).await;
    host.kernels("d", &["1", "2"]).await;
    let attrs = async || newest(&host, "advance").await["input"]["distro-attrs"].clone();
    let low =
        json!({"supported": "true", "tag.areas.net": "yes", "tag.risk": "low", "variant": "D"});
    assert_eq!(attrs().await, low);

    // `ignore` has nothing to say about a run.
    let asked = decisions(&host, "ignore").await.len();
    let run = json!({"distro": "d", "version": "1", "purpose": "fetch", "verdict": "pass"});
    host.post("/v1/runs", json!({"runs": [run]})).await;
    assert_eq!(attrs().await, low);
    assert_eq!(decisions(&host, "ignore").await.len(), asked);

    // Other tags: `advance` is asked again about all that is open. A later binding's word counts.
    bind_at(&host, "ignore", 1, tagged(&[("risk", "high")])).await;
    let high =
        json!({"supported": "true", "tag.areas.net": "yes", "tag.risk": "high", "variant": "D"});
    assert_eq!(attrs().await, high);
    let asked = newest(&host, "advance").await["input"]["kernels"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(asked, 2);
    for position in [0, 1] {
        let path = format!("/v1/pipelines/kernels/bindings/ignore/{position}");
        host.send(Method::DELETE, &path, json!({})).await;
        host.idle().await;
    }
    assert_eq!(attrs().await, json!({"supported": "true", "variant": "D"}));
    // A pass that was reported still counts: tags do not get in the way of the ladder.
    assert_eq!(host.get("/v1/kernels/d/1").await["state"], "fetched");
}

#[tokio::test]
async fn in_a_chain_all_of_ignore_count_and_the_first_of_advance_that_answers() {
    let automatic = Ground {
        scope: "automatic",
        rule: None,
    };
    let first = guest::ignores(&[0, 1], &automatic, &Basis::default());
    let (_db, host) = with(Hook::Ignore, first).await;
    bind_at(
        &host,
        "ignore",
        1,
        guest::ignores(&[1, 2], &ALL, &Basis::default()),
    )
    .await;
    bind_at(&host, "ignore", 2, guest::abstains(Hook::Ignore)).await;
    let quiet = host
        .upload_bytes("quiet", guest::abstains(Hook::Advance))
        .await;
    host.bind("advance", &quiet, json!({})).await;
    let step = guest::Step {
        stage: Some("fetched"),
        ..guest::Step::default()
    };
    let moves = guest::advances(&[step], &Basis::default());
    let second = bind_at(&host, "advance", 1, moves).await;
    let trap = bind_at(&host, "advance", 2, guest::traps(Hook::Advance)).await;
    host.idle().await;
    host.kernels("d", &["0", "1", "2", "3"]).await;
    host.idle().await;
    let kernels = host.get("/v1/kernels?distro=d").await;
    let scopes: Vec<&Value> = kernels["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| &k["ignored"]["scope"])
        .collect();
    assert_eq!(json!(scopes), json!(["automatic", "all", "all", null]));
    assert_eq!(host.get("/v1/kernels/d/0").await["state"], "fetched");
    let made = decisions(&host, "advance").await;
    assert!(made.iter().all(|d| d["digest"] != trap), "{made:?}");
    let outcome = |digest: &str| {
        made.iter()
            .find(|d| d["digest"] == digest)
            .map(|d| d["outcome"].clone())
    };
    assert_eq!(
        (outcome(&quiet), outcome(&second)),
        (Some(json!("abstained")), Some(json!("answered")))
    );

    // A bad answer in a chain is the fault of who gave it, not of who was asked last.
    let bad = guest::ignores(&[77], &ALL, &Basis::default());
    let bad = host.upload_bytes("bad", bad).await;
    host.bind("ignore", &bad, json!({})).await;
    let held = wait_for("it holds", async || {
        let held = host.get("/v1/pipelines/kernels").await["held"].clone();
        held.is_object().then_some(held)
    })
    .await;
    let decision = host
        .get(&format!("/v1/decisions/{}", held["decision"]))
        .await;
    assert_eq!(
        (&decision["digest"], &decision["outcome"]),
        (&json!(bad), &json!("refused")),
        "{held}"
    );
}

#[tokio::test]
async fn a_policy_that_says_when_is_asked_again_then_though_nothing_changes() {
    let (_db, host) = TestHost::start().await;
    host.distro("d").await;
    host.kernels("d", &["1"]).await;
    host.idle().await;
    // An instant of the test's own: the guest says the same in each answer.
    let wake = Utc::now() + Duration::milliseconds(1_500);
    let basis = Basis {
        wake_at: u64::try_from(wake.timestamp_millis()).ok(),
        ..Basis::default()
    };
    let digest = host
        .upload_bytes("wakes", guest::advances(&[], &basis))
        .await;
    let bound = host.bind("advance", &digest, json!({})).await;
    let asked = wait_for("it was asked three times", async || {
        let page = host.get("/v1/decisions?limit=1000&hook=advance").await;
        let decisions = page["items"].as_array()?;
        let at = decisions.iter().rev().map(|decision| text(&decision["at"]));
        let asked: Vec<DateTime<Utc>> = at.map(|at| at.parse().unwrap()).collect();
        (asked.len() >= 3).then_some(asked)
    })
    .await;
    for pair in asked.windows(2) {
        // What is less than a second ahead, or past, is a second ahead: no policy keeps a host busy.
        let ahead = (wake.timestamp_millis() - pair[0].timestamp_millis()).max(1_000);
        assert!(
            pair[1] >= pair[0] + Duration::milliseconds(ahead),
            "asked at {} and {}, and to be woken at {wake}",
            pair[0],
            pair[1]
        );
    }
    let newest = host.get("/v1/generations?limit=1").await["items"][0]["id"].clone();
    assert_eq!(newest, bound["generation"], "nothing has changed");
    host.stop().await;
}
