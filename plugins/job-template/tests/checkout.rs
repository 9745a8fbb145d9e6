//! The checkout with a real git and a real shell.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Output};

use job_template::{Settings, decide};
use pointsman_sdk::Work;

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository in which the commit to test is not the tip of any branch.
fn repository(folder: &Path) -> (String, String) {
    git(folder, &["init", "--quiet", "--initial-branch=main", "."]);
    std::fs::write(folder.join("what"), "tested").unwrap();
    git(folder, &["add", "."]);
    git(folder, &["commit", "--quiet", "-m", "one"]);
    let commit = git(folder, &["rev-parse", "HEAD"]);
    let tree = git(folder, &["rev-parse", "HEAD^{tree}"]);
    std::fs::write(folder.join("what"), "newer").unwrap();
    git(folder, &["commit", "--quiet", "-am", "two"]);
    (commit, tree)
}

fn run(repo: &str, commit: &str, tree: &str, script: &str) -> Output {
    let mut work = Work::of("lane", "merge");
    work.commit = commit.to_owned();
    work.tree = tree.to_owned();
    work.attrs = vec![("source.repo".to_owned(), repo.to_owned())];
    let settings = Settings {
        test: script.to_owned(),
        ..Settings::default()
    };
    let job = decide(&settings, &work).unwrap().jobs.remove(0);
    let folder = tempfile::tempdir().unwrap();
    Command::new(&job.argv[0])
        .args(&job.argv[1..])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder.path())
        .envs(job.env)
        .current_dir(folder.path())
        .output()
        .unwrap()
}

#[test]
fn what_runs_is_exactly_the_commit() {
    // A name that a shell would take apart.
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("a b;$(false)'\"");
    std::fs::create_dir(&repo).unwrap();
    let (commit, tree) = repository(&repo);
    let script = "cat what; echo; git rev-parse HEAD; git log --oneline | wc -l; git status --porcelain; exit 7";
    let output = run(repo.to_str().unwrap(), &commit, &tree, script);
    let said = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(
        words,
        ["tested", commit.as_str(), "1"],
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    assert_eq!(
        output.status.code(),
        Some(7),
        "the exit code is the test's own"
    );
}

#[test]
fn another_tree_is_not_tested() {
    let repo = tempfile::tempdir().unwrap();
    let (commit, _) = repository(repo.path());
    let output = run(
        repo.path().to_str().unwrap(),
        &commit,
        &"a".repeat(40),
        "echo ran",
    );
    assert_eq!(output.status.code(), Some(70));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("to be tested was aaaa"), "{said}");
}

#[test]
fn a_commit_that_cannot_be_had_is_not_the_tests_fault() {
    let repo = tempfile::tempdir().unwrap();
    let (_, tree) = repository(repo.path());
    for from in [repo.path().to_str().unwrap(), "/nowhere"] {
        let output = run(from, &"a".repeat(40), &tree, "echo ran");
        assert_eq!(output.status.code(), Some(75));
        assert_eq!(output.stdout, b"");
    }
}
