//! What the policies of a merge pipeline ask back, and what they remember: files, lanes, pull requests, notes.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

use pointsman_tests::command::Cli;
use pointsman_tests::forge::Site;
use pointsman_tests::guest::{self, Basis, Memo, Query};
use pointsman_tests::{TestHost, text, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

const NOTES: &str = "/v1/pipelines/main/notes";
const PIN: Query<'_> = ("file", &[("path", "KERNEL_REV")]);

/// Decisions of `gate` about a subject, the newest first.
async fn decisions(host: &TestHost, subject: &str) -> Vec<Value> {
    let subject = subject.replace('#', "%23").replace(' ', "%20");
    let path = format!("/v1/decisions?limit=1000&pipeline=main&hook=gate&subject={subject}");
    host.get(&path).await["items"].as_array().unwrap().clone()
}

/// The newest of them, whole, once there are so many and the pipeline has nothing more to do.
async fn decided(site: &Site<'_>, subject: &str, count: usize) -> Value {
    wait_for(&format!("{count} decisions about {subject}"), async || {
        (decisions(site.host(), subject).await.len() >= count).then_some(())
    })
    .await;
    site.idle().await;
    let all = decisions(site.host(), subject).await;
    assert_eq!(all.len(), count, "{all:#?}");
    site.host()
        .get(&format!("/v1/decisions/{}", all[0]["id"]))
        .await
}

/// The facts of a decision, as it was given them.
fn found(decision: &Value) -> Vec<Value> {
    let facts = decision["context"]["facts"].as_array().unwrap();
    facts.iter().map(|fact| fact["found"].clone()).collect()
}

/// A pull request that is decided about with nothing bound to `gate`, and waits.
async fn waiting(site: &Site<'_>, path: &str, content: &str) -> i64 {
    site.clone.branch("fix", path, content);
    let number = site.open("fix").await;
    wait_for("its head is looked at", async || {
        site.pull(number).await["standing"]
            .is_object()
            .then_some(())
    })
    .await;
    site.idle().await;
    number
}

async fn bind(site: &Site<'_>, position: u8, wasm: Vec<u8>) {
    let digest = site.host().upload_bytes("tested", wasm).await;
    let path = format!("/v1/pipelines/main/bindings/gate/{position}");
    site.host()
        .send(Method::PUT, &path, json!({"digest": digest}))
        .await;
}

async fn comment(site: &Site<'_>, number: i64) {
    let body = json!({"body": "Nothing but a word.", "by": {"name": "bo", "permission": "write"}});
    site.host()
        .post(
            &format!("/v1/repositories/lib/pulls/{number}/comments"),
            body,
        )
        .await;
}

/// What the note `asked` about #1 says, once it says this.
async fn asked(site: &Site<'_>, value: &str) -> Value {
    let note = wait_for(&format!("it was asked {value} times"), async || {
        let notes = site.host().get(NOTES).await;
        let notes = notes["items"].as_array().unwrap();
        assert!(notes.len() <= 1, "{notes:?}");
        let note = notes.first()?.clone();
        (note["value"] == value).then_some(note)
    })
    .await;
    site.idle().await;
    let notes = site.host().get(NOTES).await;
    assert_eq!(
        notes["items"],
        json!([note]),
        "its own note wakes no policy"
    );
    note
}

#[tokio::test]
async fn a_policy_reads_a_file_and_remembers_and_a_persons_word_is_heard() {
    let (db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let cli = Cli::new(&host);
    let number = waiting(&site, "KERNEL_REV", "0123abcd").await;
    bind(&site, 0, guest::looks_up(&[PIN], Memo::Counts)).await;
    let note = asked(&site, "1").await;
    let first = decided(&site, "#1", 1).await;
    assert_eq!(text(&first["reason"]), "0123abcd");
    assert_eq!(found(&first), [json!({"value": "0123abcd"})]);
    assert_eq!(first["input"]["members"][0]["notes"], json!({}));
    let standing = site.pull(number).await["standing"].clone();
    assert_eq!(text(&standing["gate"]["text"]), "0123abcd", "{standing}");

    assert_eq!(
        (
            &note["hook"],
            &note["position"],
            &note["repository"],
            &note["number"],
            &note["key"],
            &note["decision"],
            &note["generation"],
        ),
        (
            &json!("gate"),
            &json!(0),
            &json!("lib"),
            &json!(1),
            &json!("asked"),
            &first["id"],
            &first["generation"],
        )
    );
    let events = host.events("kind=note", 1).await;
    assert_eq!(events[0]["name"], "main/gate/0/lib#1/asked");
    assert_eq!(events[0]["user"], "pipeline:main");

    // It sees what it wrote down.
    comment(&site, number).await;
    asked(&site, "2").await;
    let second = decided(&site, "#1", 2).await;
    let seen = |decision: &Value| decision["input"]["members"][0]["notes"].clone();
    assert_eq!(seen(&second), json!({"asked": "1"}));

    // On the command line, in psql, over HTTP: each is heard, once.
    let set = [
        "note", "set", "main", "gate", "asked", "7", "--pull", "lib#1",
    ];
    cli.ok(&set).await;
    asked(&site, "8").await;
    let mut psql = db.connect().await;
    let by_hand = "begin; select generation_start('by hand'); update note set value = '4'; commit;";
    sqlx::raw_sql(by_hand).execute(&mut psql).await.unwrap();
    asked(&site, "5").await;
    let newest = decided(&site, "#1", 4).await;
    assert_eq!(seen(&newest), json!({"asked": "4"}));
    let named = json!({"hook": "gate", "repository": "lib", "number": 1, "key": "asked"});
    host.post(NOTES, json!({"remove": [named]})).await;
    // The question is that of the beginning, and a file of a commit does not change: so is the answer.
    asked(&site, "1").await;
    decided(&site, "#1", 4).await;

    let listed = cli
        .lines(&["note", "list", "main", "--pull", "lib#1"])
        .await;
    assert_eq!(listed.len(), 1);
    let none = cli
        .lines(&["note", "list", "main", "--pipeline-only"])
        .await;
    assert_eq!(none.len(), 0);
    let table = cli.ok(&["note", "list", "main"]).await;
    assert!(
        table.contains("gate/0") && table.contains("lib#1"),
        "{table}"
    );

    // Without a look into the repository: what it said is on record.
    let replayed = cli.json(&["decision", "replay"]).await;
    assert_eq!(
        (&replayed["same"], &replayed["differ"]),
        (&json!(4), &json!(0)),
        "{replayed}"
    );
    host.stop().await;
}

#[tokio::test]
async fn facts_are_of_the_commit_that_is_decided_about() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    site.stock("true").await;
    bind(&site, 0, guest::looks_up(&[PIN], Memo::Counts)).await;
    site.clone.branch("pin", "KERNEL_REV", "one");
    let first = site.open("pin").await;
    site.approve(first).await;
    site.until(first, "landed").await;
    let lane = site.lane_until(first, "landed").await;
    let subject = format!("lane {}", lane["id"]);
    site.idle().await;
    let about = decisions(&host, &subject).await;
    let decision = host.get(&format!("/v1/decisions/{}", about[0]["id"])).await;
    assert_eq!(decision["input"]["commit"], lane["commit"]);
    assert_eq!(found(&decision), [json!({"value": "one"})]);
    // What it remembers of a lane is of the pipeline.
    let notes = host.get(&format!("{NOTES}?pipeline_only=true")).await;
    assert_eq!(notes["items"][0]["hook"], "gate", "{notes}");
    let notes = host
        .get(&format!("{NOTES}?repository=lib&number={first}"))
        .await;
    assert_eq!(notes["items"][0]["number"], first, "{notes}");

    // Of a head, with all that may be asked.
    bind(&site, 0, guest::gates(&Basis::default())).await;
    let base = site.clone.tip("main");
    let second = waiting(&site, "KERNEL_REV", "two").await;
    let elsewhere = "1".repeat(40);
    let queries: &[Query<'_>] = &[
        PIN,
        ("file", &[("path", "KERNEL_REV"), ("commit", &base)]),
        ("file", &[("path", "none")]),
        ("file", &[("path", "../KERNEL_REV")]),
        ("file", &[("path", "KERNEL_REV"), ("commit", &elsewhere)]),
        ("file", &[]),
        ("runs", &[("number", "1"), ("limit", "1")]),
        ("runs", &[("number", "1"), ("limit", "101")]),
        ("runs", &[("number", "99")]),
        ("pull-request", &[("number", "1")]),
        ("pull-request", &[("number", "99")]),
        ("pull-request", &[("number", "one")]),
        ("weather", &[]),
    ];
    bind(&site, 1, guest::looks_up(queries, Memo::Forgets)).await;
    let at_one = async || {
        let all = decisions(&host, &format!("#{second}")).await;
        let of = |d: &&Value| d["position"] == 1;
        all.iter().filter(of).cloned().collect::<Vec<_>>()
    };
    wait_for("the second binding is asked", async || {
        (!at_one().await.is_empty()).then_some(())
    })
    .await;
    site.idle().await;
    let count = at_one().await.len();
    let id = at_one().await[0]["id"].clone();
    let facts = found(&host.get(&format!("/v1/decisions/{id}")).await);
    assert_eq!(facts[0], json!({"value": "two"}));
    assert_eq!(facts[1], json!({"value": "one"}));
    assert_eq!(facts[2], "absent");
    for refused in [3, 4, 5, 7, 11] {
        assert_eq!(
            facts[refused]["refused"]["code"], "query.argument",
            "{refused}: {facts:?}"
        );
    }
    let runs: Value = serde_json::from_str(text(&facts[6]["value"])).unwrap();
    assert_eq!(
        (runs.as_array().unwrap().len(), &runs[0]["verdict"]),
        (1, &json!("pass")),
        "{runs}"
    );
    assert_eq!(runs[0]["commit"], lane["commit"]);
    assert_eq!(
        (&facts[8], &facts[10]),
        (&json!("absent"), &json!("absent"))
    );
    let pull: Value = serde_json::from_str(text(&facts[9]["value"])).unwrap();
    assert_eq!(
        (&pull["number"], &pull["state"], &pull["author"]),
        (&json!(1), &json!("landed"), &json!("ann")),
        "{pull}"
    );
    assert_eq!(pull["changed"], json!(["KERNEL_REV"]));
    assert_eq!(facts[12]["refused"]["code"], "query.unknown");

    // Lanes and pull requests change, so it is asked anew whenever something happens.
    comment(&site, second).await;
    wait_for("it is asked anew", async || {
        (at_one().await.len() > count).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn a_file_that_is_no_text_or_too_large_is_refused_and_an_unchanged_one_not_read_again() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let large = "x".repeat((64 << 10) + 1);
    let number = waiting(&site, "folder/large", &large).await;
    let queries: &[Query<'_>] = &[
        ("file", &[("path", "folder/large")]),
        ("file", &[("path", "folder")]),
    ];
    bind(&site, 0, guest::looks_up(queries, Memo::Forgets)).await;
    let decision = decided(&site, "#1", 1).await;
    assert_eq!(text(&decision["reason"]), "file.too-large");
    assert_eq!(
        found(&decision)[1]["refused"]["code"],
        "file.not-a-file",
        "{decision}"
    );
    // Only what was found is sure to be found again.
    bind(
        &site,
        0,
        guest::looks_up(&[("file", &[("path", "README")])], Memo::Forgets),
    )
    .await;
    decided(&site, "#1", 2).await;
    comment(&site, number).await;
    site.idle().await;
    decided(&site, "#1", 2).await;
    host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_note_of_a_pull_request_is_refused() {
    let (_db, host) = TestHost::start().await;
    let site = Site::new(&host).await;
    let number = waiting(&site, "change", "good").await;
    let basis = Basis {
        notes: &[("a/b", Some("1"))],
        ..Basis::default()
    };
    bind(&site, 0, guest::gates(&basis)).await;
    let held = wait_for("it is held", async || {
        let held = site.pull(number).await["standing"]["held"].clone();
        held.is_object().then_some(held)
    })
    .await;
    assert_eq!(held["code"], "note-key", "{held}");
    assert_eq!(host.get(NOTES).await["items"], json!([]));

    let note = |rest: Value| {
        let mut note = json!({"hook": "gate", "key": "k", "value": "v"});
        let fields = note.as_object_mut().unwrap();
        fields.extend(rest.as_object().unwrap().clone());
        json!({"notes": [note]})
    };
    for (rest, code) in [
        (json!({"repository": "lib"}), "note_subject"),
        (json!({"number": 1}), "note_subject"),
        (
            json!({"hook": "select", "repository": "lib", "number": 1}),
            "note_subject",
        ),
        (json!({"repository": "lib", "number": 99}), "pull_unknown"),
        (json!({"hook": "advance"}), "hook_not_asked"),
    ] {
        let refused = host
            .refused(Method::POST, NOTES, Some(note(rest.clone())))
            .await;
        assert_eq!(refused["code"], code, "{rest}: {refused}");
    }
    let refused = host
        .refused(Method::GET, &format!("{NOTES}?number=1"), None)
        .await;
    assert_eq!(refused["code"], "filter_incomplete");
    for hook in ["review", "gate", "run", "triage", "react"] {
        let rest = json!({"hook": hook, "repository": "lib", "number": 1});
        let written = host.post(NOTES, note(rest)).await;
        assert_eq!(written["created"], 1, "{hook}: {written}");
    }
    // The answer is the same: still held.
    site.idle().await;
    assert_eq!(
        site.pull(number).await["standing"]["held"]["code"],
        "note-key"
    );
    // Nor can what it asks for be kept, where that holds a NUL.
    let asks: Query<'_> = ("file", &[("path", "a\0b")]);
    bind(&site, 0, guest::looks_up(&[asks], Memo::Forgets)).await;
    wait_for("it is held for what it asks", async || {
        let held = site.pull(number).await["standing"]["held"].clone();
        (held["code"] == "bad-answer").then_some(())
    })
    .await;
    host.stop().await;
}
