//! `pointsman demo merge`: the proof that what lands is what was tested, also while the server is killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use pointsman_tests::{TestDatabase, plugin, pointsman, text, wait_for};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The plugins that a demonstration takes.
const PLUGINS: [&str; 7] = [
    "reviews",
    "gate-basics",
    "select-oldest",
    "select-batch",
    "job-template",
    "exit-code",
    "status-comment",
];

/// A folder with the plugins, and room for a demonstration.
fn stage() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).expect("a folder");
    for name in PLUGINS {
        std::fs::write(plugins.join(format!("{name}.wasm")), plugin(name)).expect("a plugin");
    }
    dir
}

fn demo(stage: &Path, database: &TestDatabase, args: &[&str]) -> Child {
    Command::from(pointsman())
        .args(["demo", "merge", "--json", "--plugins"])
        .arg(stage.join("plugins"))
        .arg("--dir")
        .arg(stage.join("demo"))
        .args(args)
        .env("DATABASE_URL", &database.url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("`pointsman` was built")
}

/// Its story, and the summary at the end.
async fn to_the_end(demo: Child) -> (Vec<Value>, Value) {
    let output = demo.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON on each line"))
        .collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{stderr}");
    let summary = lines.pop().expect("a summary");
    assert_eq!(summary["what"], "summary", "{summary}");
    (lines, summary)
}

fn told<'s>(story: &'s [Value], what: &str) -> Vec<&'s Value> {
    story.iter().filter(|line| line["what"] == what).collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[tokio::test]
async fn what_lands_is_what_was_tested() {
    let (stage, database) = (stage(), TestDatabase::new().await);
    let (story, summary) = to_the_end(demo(stage.path(), &database, &[])).await;
    assert_eq!(
        (&summary["ok"], &summary["problems"]),
        (&json!(true), &json!([]))
    );
    let pulls = items(&summary["pulls"]);
    let count = |expected: &str| {
        let all = pulls.iter().filter(|pull| pull["expected"] == expected);
        all.count()
    };
    assert_eq!(
        ["lands", "fails", "conflicts", "waits"].map(count),
        [8, 3, 1, 3]
    );
    assert!(pulls.iter().all(|pull| pull["ok"] == true), "{summary}");
    // The first one was pushed; each of the others landed, and a job passed on its very tree.
    let tips = items(&summary["tips"]);
    assert_eq!(tips[0]["how"], "watched");
    for tip in &tips[1..] {
        assert_eq!(
            (&tip["how"], &tip["tested"]),
            (&json!("landed"), &json!(true))
        );
        assert!(tip["passes"].as_u64() >= Some(1), "{tip}");
    }
    // The policy was swapped while a job ran, and batches landed after that.
    let swapped = told(&story, "swapped");
    assert_eq!(swapped.len(), 1);
    let landed = told(&story, "landed");
    let members = |line: &&Value| items(&line["pulls"]).len();
    assert_eq!(landed.iter().map(members).sum::<usize>(), 8);
    let at = |line: &Value| line["at_ms"].as_u64().expect("a time");
    let batches = landed
        .iter()
        .filter(|line| members(line) > 1 && at(line) > at(swapped[0]));
    assert!(batches.count() > 0, "{landed:?}");
    assert_eq!(told(&story, "killed").len(), 0);
    // Nothing is left.
    assert!(!stage.path().join("demo").exists());
}

#[tokio::test]
async fn fifty_kills_lose_nothing_and_do_nothing_twice() {
    let (stage, database) = (stage(), TestDatabase::new().await);
    let (story, summary) = to_the_end(demo(
        stage.path(),
        &database,
        &["--kill", "50", "--seed", "11"],
    ))
    .await;
    assert_eq!(
        (&summary["ok"], &summary["problems"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(summary["kills"]["all"], 50);
    let failpoints = summary["kills"]["failpoints"].as_object().expect("names");
    assert_eq!(failpoints.len(), 7);
    assert!(
        failpoints.values().all(|times| times.as_u64() >= Some(1)),
        "{failpoints:?}"
    );
    // Each pull request landed once at most, whatever was killed.
    let mut seen = BTreeSet::new();
    for line in told(&story, "landed") {
        for pull in items(&line["pulls"]) {
            assert!(seen.insert(pull.to_string()), "landed twice: {line}");
        }
    }
    assert!(!stage.path().join("demo").exists());
}

#[tokio::test]
async fn ctrl_c_ends_it_and_leaves_nothing() {
    let (stage, database) = (stage(), TestDatabase::new().await);
    let mut demo = demo(stage.path(), &database, &[]);
    let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
    // In the middle of it: jobs run.
    let mut found = false;
    while let Some(line) = lines.next_line().await.expect("a line") {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        if text(&line["what"]) == "tests" {
            found = true;
            break;
        }
    }
    assert!(found, "no lane was tested");
    let url = std::fs::read_to_string(stage.path().join("demo/data/url")).expect("an address");
    let pid = demo.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(sent.expect("kill").success());
    let status = demo.wait().await.expect("it ends");
    assert_eq!(status.code(), Some(1));
    let mut stderr = String::new();
    let mut pipe = demo.stderr.take().expect("a pipe");
    pipe.read_to_string(&mut stderr).await.expect("text");
    assert!(stderr.contains("called off"), "{stderr}");
    assert!(!stage.path().join("demo").exists());
    // Its server has stopped.
    wait_for("nobody answers any more", async || {
        let answer = pointsman_tests::http().get(url.trim()).send().await;
        answer.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_made() {
    let stage = stage();
    let run = async |args: &[&str]| {
        let output = Command::from(pointsman())
            .args(["demo", "merge"])
            .args(args)
            .output()
            .await
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("hint: "), "{stderr}");
        output.status.code()
    };
    let plugins = stage.path().join("plugins");
    let (plugins, nowhere) = (plugins.to_str().expect("text"), "/nowhere");
    assert_eq!(run(&["--plugins", nowhere]).await, Some(2));
    // A directory with something in it.
    assert_eq!(
        run(&["--plugins", plugins, "--dir", plugins]).await,
        Some(2)
    );
}
