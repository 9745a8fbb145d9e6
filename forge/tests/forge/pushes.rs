use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use pointsman_forge::{Bell, ring};
use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, branch};

/// Set for the process that the hook starts: where to ring, and for what.
const RING: &str = "POINTSMAN_TEST_RING";

#[tokio::test]
async fn refs_of_ours_are_seen_and_never_pushed_to() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let head = work.change("topic", "main", "a", "a\n");
    let main = work.oid("main");
    repository
        .fetch_head(&repository, &branch("topic"), 1)
        .await
        .unwrap();
    repository.keep(5, &head).await.unwrap();
    for refspec in [
        format!("+{main}:refs/pull/1/head"),
        format!("{main}:refs/pull/2/head"),
        format!("+{main}:refs/pointsman/lanes/5"),
        ":refs/pull/1/head".to_owned(),
        ":refs/pointsman/lanes/5".to_owned(),
        format!("{main}:refs/replace/{head}"),
    ] {
        let pushed = work.try_git(["push", "origin", refspec.as_str()]);
        assert!(!pushed.status.success(), "{refspec}");
    }
    let seen = work.git(["ls-remote", "origin", "refs/pull/*", "refs/pointsman/*"]);
    let wanted = format!("{head}\trefs/pointsman/lanes/5\n{head}\trefs/pull/1/head");
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn a_job_fetches_exactly_its_commit() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let head = work.change("topic", "main", "a", "a\n");
    work.change("topic", "topic", "b", "b\n");
    let job = place.clone_of(&repository, "job");
    job.git(["fetch", "--quiet", "--depth=1", "origin", head.as_str()]);
    job.git(["checkout", "--quiet", "--detach", head.as_str()]);
    assert!(job.file("a").exists() && !job.file("b").exists());
}

#[tokio::test]
async fn branches_may_be_forced_and_deleted() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let old = work.change("topic", "main", "a", "a\n");
    work.git(["checkout", "--quiet", "-B", "topic", "main"]);
    let new = work.commit("anew");
    work.git(["push", "--quiet", "--force", "origin", "topic"]);
    assert_eq!(
        repository.branch(&branch("topic")).await.unwrap(),
        Some(new)
    );
    // What a force push took off is in the log of the branch.
    let log = fs::read_to_string(repository.path().join("logs/refs/heads/topic")).unwrap();
    assert!(log.contains(old.as_str()));
    work.git(["push", "--quiet", "origin", ":topic"]);
    assert_eq!(repository.branches().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_object_is_not_taken_in() {
    let place = Place::new();
    let (_, work) = place.begun().await;
    let tree = work.oid("HEAD^{tree}");
    let text = format!("tree {tree}\nauthor no address 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n");
    work.write("../commit", &text);
    let oid = work.git([
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--literally",
        "../commit",
    ]);
    let refspec = format!("{oid}:refs/heads/odd");
    let pushed = work.try_git(["push", "origin", refspec.as_str()]);
    assert!(!pushed.status.success());
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Not a test of its own: what the hook's command does in the next one.
#[test]
fn as_the_hook() {
    if let Some(bell) = std::env::var_os(RING) {
        ring(bell.as_ref(), "core");
    }
}

#[tokio::test]
async fn a_push_rings_the_bell() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let bell = Bell::bind(place.folder.path().join("it's a bell")).unwrap();
    let exe = place.folder.path().join("a $(command)");
    let test = std::env::current_exe().unwrap();
    script(
        &exe,
        &format!(
            "test \"$1 $3 $#\" = '__pushed core 3' || exit 1\n{RING}=\"$2\" exec '{}' --exact pushes::as_the_hook",
            test.display()
        ),
    );
    repository.install_hook(&exe, bell.path()).await.unwrap();
    repository.install_hook(&exe, bell.path()).await.unwrap();
    work.change("topic", "main", "a", "a\n");
    assert_eq!(bell.next().await.as_str(), "core");
}

#[tokio::test]
async fn a_command_that_hangs_or_is_not_there_holds_up_no_push() {
    let place = Place::new();
    let (repository, work) = place.begun().await;
    let bell = place.folder.path().join("bell");
    let missing = place.folder.path().join("missing");
    repository.install_hook(&missing, &bell).await.unwrap();
    work.change("one", "main", "a", "a\n");

    let pipe = place.folder.path().join("pipe");
    work.git(["--version"]);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let hanging = place.folder.path().join("hanging");
    script(
        &hanging,
        &format!("echo $$ > '{}'\nexec tail -f /dev/null", pipe.display()),
    );
    repository.install_hook(&hanging, &bell).await.unwrap();
    // The push ends though the command only begins when somebody reads its number.
    work.change("two", "main", "a", "a\n");
    let mut number = String::new();
    File::open(&pipe)
        .unwrap()
        .read_to_string(&mut number)
        .unwrap();
    let pid = Pid::from_raw(number.trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

#[tokio::test]
async fn a_bell_replaces_a_dead_one_and_takes_names_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bell");
    ring(&path, "nobody-listens");
    drop(Bell::bind(&path).unwrap());
    let bell = Bell::bind(&path).unwrap();
    assert_eq!(Bell::bind(&path).unwrap_err().code(), "bell-taken");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    for noise in [
        "",
        "../core",
        "a\nb",
        &"x".repeat(101),
        &"x".repeat(100_000),
    ] {
        ring(&path, noise);
    }
    ring(&path, "core");
    assert_eq!(bell.next().await.as_str(), "core");

    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert_eq!(Bell::bind(&file).unwrap_err().code(), "forge-io");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let long = folder.path().join("x".repeat(120));
    assert_eq!(Bell::bind(&long).unwrap_err().code(), "forge-io");
}
