//! Whatever dies, and whenever: an id runs at most once, and what has ended has no process left.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

mod common;

use std::process::{Command, Stdio};

use common::{Bench, SHIM, argv, id, other_user, processes_of, sh};
use pointsman_jobs::{Flood, Local, Outcome, Started, State};

const NOBODY: [i32; 0] = [];

#[tokio::test]
async fn a_flood_is_cut_and_its_beginning_and_end_are_kept() {
    let bench = Bench::new();
    let mut spec = sh("echo first; yes 0123456789abcdef | head -c 1000000000; echo; echo last");
    spec.output_bytes = 100_000;
    let (id, exit) = bench.run("flood", &spec).await;
    assert_eq!(exit.outcome, Outcome::Exited { code: 0 });
    assert_eq!(exit.output_bytes, 1_000_000_012);
    assert_eq!(exit.cut_bytes, exit.output_bytes - 100_000);
    let said = bench.log(&id).await;
    assert!(said.starts_with("first\n0123456789abcdef\n") && said.ends_with("\nlast\n"));
    assert!(said.contains("\n[pointsman: 999900012 bytes of output were cut here]\n"));
    let folder = bench.attempt(&id);
    let on_disk = |name| std::fs::metadata(folder.join(name)).unwrap().len();
    assert_eq!((on_disk("log"), on_disk("log.tail")), (50_000, 50_024));
    let mut whole = String::new();
    let (mut file, _) = bench.local.open_log(&id).await.unwrap();
    std::io::Read::read_to_string(&mut file, &mut whole).unwrap();
    assert_eq!(whole, said);
}

#[tokio::test]
async fn a_flood_ends_the_job_where_the_spec_says_so() {
    let bench = Bench::new();
    let mut spec = argv(&["yes"]);
    spec.output_bytes = 10_000;
    spec.flood = Flood::Kill;
    let (_, exit) = bench.run("flood", &spec).await;
    assert_eq!(exit.outcome, Outcome::OutputLimit);
}

#[tokio::test]
async fn output_can_be_followed_while_it_runs() {
    let bench = Bench::new();
    let mut spec = sh(
        "mkfifo go; echo one; read line < go; yes two | head -c 100000; echo three; read line < go; echo four",
    );
    spec.output_bytes = 2_000;
    let id = bench.start("follow", &spec).await;
    let go = bench.attempt(&id).join("work/go");
    let go_on = async |path: std::path::PathBuf| {
        tokio::task::spawn_blocking(move || std::fs::write(path, "go\n").unwrap())
            .await
            .unwrap();
    };
    let mut from = 0;
    let mut said = String::new();
    let mut follow = async |until: &str| {
        while !said.contains(until) {
            let part = bench.local.read_log(&id, from, 300).await.unwrap();
            assert!(!part.ended);
            said.push_str(std::str::from_utf8(&part.bytes).unwrap());
            from = part.next;
            tokio::task::yield_now().await;
        }
        said.clone()
    };
    follow("one\n").await;
    go_on(go.clone()).await;
    let so_far = follow("three\n").await;
    assert!(so_far.starts_with("one\ntwo\ntwo\n"), "{so_far}");
    go_on(go).await;
    assert_eq!(bench.exit(&id).await.outcome, Outcome::Exited { code: 0 });
    let last = bench.local.read_log(&id, from, 300).await.unwrap();
    assert_eq!((last.bytes.as_slice(), last.ended), (&b"four\n"[..], true));
}

#[tokio::test]
async fn a_tree_that_forks_twice_and_leaves_the_session_is_killed() {
    let bench = Bench::new();
    // Each of the three is a session of its own, and no longer a child of the command.
    let script = "for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM; sleep 600 & sleep 601' > /dev/null 2>&1 &); done; \
                  env -i setsid sh -c 'sleep 602' & echo on";
    let mut spec = sh(script);
    spec.user = other_user(4);
    let (id, exit) = bench.run("leaves", &spec).await;
    assert_eq!(exit.outcome, Outcome::Exited { code: 0 });
    assert!(exit.leftovers >= 4, "{exit:?}");
    assert_eq!(processes_of(&bench.attempt(&id)), NOBODY);

    let mut spec = sh(&format!("{script}; sleep 600"));
    spec.kill_grace_ms = 50;
    spec.user = other_user(4);
    let id = bench.start("cancelled", &spec).await;
    bench.until_said(&id, "on").await;
    bench.local.cancel(&id, "enough").await.unwrap();
    let exit = bench.exit(&id).await;
    assert!(matches!(exit.outcome, Outcome::Cancelled { .. }));
    assert_eq!(processes_of(&bench.attempt(&id)), NOBODY);
}

#[tokio::test]
async fn a_fork_bomb_is_ended() {
    let bench = Bench::new();
    let mut spec = argv(&["perl", "-e", "$SIG{TERM} = 'IGNORE'; while (1) { fork }"]);
    spec.user = other_user(5);
    spec.processes = Some(300);
    if spec.user.is_none() {
        // Only another user's processes have a limit.
        return;
    }
    spec.timeout_ms = 500;
    spec.kill_grace_ms = 0;
    let (id, exit) = bench.run("bomb", &spec).await;
    assert_eq!(exit.outcome, Outcome::TimedOut);
    assert!(exit.leftovers > 0);
    assert_eq!(processes_of(&bench.attempt(&id)), NOBODY);
}

#[tokio::test]
async fn started_by_many_at_once_it_runs_once() {
    let bench = Bench::new();
    for round in 0..5 {
        let id = id(&format!("many-{round}"));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (local, id) = (bench.local.clone(), id.clone());
                let spec = sh("echo ran >> $HOME/runs");
                tokio::spawn(async move { local.start(&id, &spec).await.unwrap() })
            })
            .collect();
        let mut new = 0;
        for task in tasks {
            new += usize::from(task.await.unwrap() == Started::New);
        }
        assert_eq!(new, 1);
        assert_eq!(bench.exit(&id).await.outcome, Outcome::Exited { code: 0 });
        // Late shims find the work done.
        let attempt = bench.attempt(&id);
        assert!(
            Command::new(SHIM)
                .arg("__shim")
                .arg(&attempt)
                .status()
                .unwrap()
                .success()
        );
        let runs = std::fs::read_to_string(attempt.join("home/runs")).unwrap();
        assert_eq!(runs, "ran\n");
    }
}

#[tokio::test]
async fn a_host_that_died_between_folder_and_shim_is_helped() {
    let bench = Bench::new();
    // An executable that is not there stands for the host's end.
    let dying = Local::new(bench.path("jobs"), "/no/such/program").unwrap();
    let id = id("half");
    assert_eq!(
        dying.start(&id, &sh("exit 6")).await.unwrap_err().code(),
        "io"
    );
    assert_eq!(bench.local.state(&id).await.unwrap(), State::Starting);
    let again = bench.local.start(&id, &sh("exit 7")).await.unwrap();
    assert_eq!(again, Started::AlreadyThere);
    assert_eq!(bench.exit(&id).await.outcome, Outcome::Exited { code: 6 });
}

#[tokio::test]
async fn a_shim_that_never_comes_makes_the_attempt_lost_for_good() {
    let bench = Bench::new();
    let dying = Local::new(bench.path("jobs"), "/no/such/program").unwrap();
    let id = id("never");
    dying.start(&id, &sh("touch $HOME/ran")).await.unwrap_err();
    // As if it had been made a minute ago.
    let spec = std::fs::File::open(bench.attempt(&id).join("spec.json")).unwrap();
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    spec.set_modified(then).unwrap();
    assert_eq!(bench.local.state(&id).await.unwrap(), State::Lost);
    bench
        .local
        .start(&id, &sh("touch $HOME/ran"))
        .await
        .unwrap();
    let attempt = bench.attempt(&id);
    assert!(
        Command::new(SHIM)
            .arg("__shim")
            .arg(&attempt)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(bench.local.state(&id).await.unwrap(), State::Lost);
    assert!(!attempt.join("home/ran").exists());
}

#[tokio::test]
async fn cancelled_before_it_starts_it_never_runs() {
    let bench = Bench::new();
    let id = id("early");
    bench.local.cancel(&id, "the head has moved").await.unwrap();
    let again = bench
        .local
        .start(&id, &sh("touch $HOME/ran"))
        .await
        .unwrap();
    assert_eq!(again, Started::AlreadyThere);
    let why = "the head has moved".to_owned();
    assert_eq!(bench.exit(&id).await.outcome, Outcome::Cancelled { why });
    assert!(!bench.attempt(&id).join("home").exists());
    assert_eq!(bench.log(&id).await, "");
    assert_eq!(
        bench.local.collect(&id).await.unwrap(),
        pointsman_jobs::Report::default()
    );
    bench.local.forget(&id).await.unwrap();
}

#[tokio::test]
async fn cancel_and_start_at_once_leave_an_end() {
    let bench = Bench::new();
    for round in 0..20 {
        let id = id(&format!("race-{round}"));
        let spec = sh("sleep 600");
        let (started, cancelled) = tokio::join!(
            bench.local.start(&id, &spec),
            bench.local.cancel(&id, "at once"),
        );
        started.unwrap();
        cancelled.unwrap();
        let why = "at once".to_owned();
        assert_eq!(bench.exit(&id).await.outcome, Outcome::Cancelled { why });
    }
}

#[tokio::test]
async fn a_job_outlives_the_host_that_started_it() {
    let bench = Bench::new();
    let spec = sh("mkfifo $HOME/go; echo on; read line < $HOME/go; exit 7");
    let spec_path = bench.path("spec.json");
    std::fs::write(&spec_path, serde_json::to_vec(&spec).unwrap()).unwrap();
    // A host of its own: this test again, in another process, which starts the job and then hangs.
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_of_its_own", "--nocapture"])
        .env("HOST_ROOT", bench.path("jobs"))
        .env("HOST_SPEC", &spec_path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let id = id("outlives");
    while !matches!(bench.local.state(&id).await.unwrap(), State::Running { .. }) {
        bench.bell.next().await.unwrap();
    }
    bench.until_said(&id, "on").await;
    host.kill().unwrap();
    host.wait().unwrap();

    let successor = Local::new(bench.path("jobs"), SHIM).unwrap();
    assert!(matches!(
        successor.state(&id).await.unwrap(),
        State::Running { .. }
    ));
    assert_eq!(
        successor.start(&id, &spec).await.unwrap(),
        Started::AlreadyThere
    );
    let go = bench.attempt(&id).join("home/go");
    tokio::task::spawn_blocking(move || std::fs::write(go, "go\n").unwrap())
        .await
        .unwrap();
    assert_eq!(bench.exit(&id).await.outcome, Outcome::Exited { code: 7 });
}

/// Not a test of its own: the host of the one above.
#[tokio::test]
async fn host_of_its_own() {
    let (Some(root), Some(spec)) = (std::env::var_os("HOST_ROOT"), std::env::var_os("HOST_SPEC"))
    else {
        return;
    };
    let local = Local::new(root, SHIM).unwrap();
    let spec = serde_json::from_slice(&std::fs::read(spec).unwrap()).unwrap();
    local.start(&id("outlives"), &spec).await.unwrap();
    // Until it is killed.
    let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0]);
}

#[tokio::test]
async fn a_killed_shim_makes_the_attempt_lost_and_leaves_nobody() {
    let bench = Bench::new();
    let script = "(setsid sh -c 'trap \"\" TERM HUP; sleep 600 & env -i sleep 601' > /dev/null 2>&1 &); \
                  cd / ; (sleep 602 &) ; echo on; sleep 603";
    for user in [None, other_user(6)] {
        let id = id(if user.is_some() { "other" } else { "same" });
        let mut spec = sh(script);
        spec.user = user;
        bench.local.start(&id, &spec).await.unwrap();
        bench.until_said(&id, "on").await;
        let attempt = bench.attempt(&id);
        let begun = std::fs::read(attempt.join("begun")).unwrap();
        let begun: serde_json::Value = serde_json::from_slice(&begun).unwrap();
        let shim = begun["shim"].as_i64().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-9", &shim])
                .status()
                .unwrap()
                .success()
        );
        // Nobody rings for a shim that was killed.
        while bench.local.state(&id).await.unwrap() != State::Lost {
            tokio::task::yield_now().await;
        }
        assert_eq!(processes_of(&attempt), NOBODY);
        assert!(!attempt.join("secrets").exists());
        assert_eq!(
            bench.local.start(&id, &spec).await.unwrap(),
            Started::AlreadyThere
        );
        assert_eq!(bench.local.state(&id).await.unwrap(), State::Lost);
        bench.local.forget(&id).await.unwrap();
    }
}

#[tokio::test]
async fn a_shim_that_is_told_to_end_says_so() {
    let bench = Bench::new();
    let id = bench.start("down", &sh("echo on; sleep 600")).await;
    bench.until_said(&id, "on").await;
    let begun = std::fs::read(bench.attempt(&id).join("begun")).unwrap();
    let begun: serde_json::Value = serde_json::from_slice(&begun).unwrap();
    let shim = begun["shim"].as_i64().unwrap().to_string();
    // A session of its own: no terminal of the host's can end it.
    let pid = rustix::process::Pid::from_raw(shim.parse().unwrap());
    assert_eq!(rustix::process::getsid(pid).ok(), pid);
    assert!(Command::new("kill").arg(&shim).status().unwrap().success());
    assert_eq!(
        bench.exit(&id).await.outcome,
        Outcome::Interrupted { signal: 15 }
    );
}
