//! What a job is given, how it ends, and what is known of it afterwards.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

mod common;

use common::{Bench, LONG_MS, argv, id, other_user, sh};
use pointsman_jobs::{Outcome, Started, State};

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    let bench = Bench::new();
    let (outcome, said) = bench.sh("good", "echo hello; echo there >&2").await;
    assert_eq!(outcome, Outcome::Exited { code: 0 });
    assert_eq!(said, "hello\nthere\n");
    let (outcome, _) = bench.sh("bad", "exit 3").await;
    assert_eq!(outcome, Outcome::Exited { code: 3 });
    let (outcome, _) = bench.sh("hit", "kill -SEGV $$").await;
    assert_eq!(outcome, Outcome::Signalled { signal: 11 });
    assert_eq!(outcome.exit_code(), Some(139));
}

#[tokio::test]
async fn a_command_that_is_not_there_is_said_so() {
    let bench = Bench::new();
    let (_, exit) = bench.run("gone", &argv(&["no-such-program"])).await;
    let Outcome::CouldNotStart { why } = exit.outcome else {
        panic!("{:?}", exit.outcome);
    };
    assert!(why.contains("no-such-program"), "{why}");
    assert!(why.contains("No such file"), "{why}");
}

#[tokio::test]
async fn what_it_cost_is_known() {
    let bench = Bench::new();
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done";
    let (_, exit) = bench.run("busy", &sh(script)).await;
    assert_eq!(exit.outcome, Outcome::Exited { code: 0 });
    assert!(exit.user_ms > 0 && exit.max_rss_bytes > 0, "{exit:?}");
    assert!(exit.ended_ms >= exit.began_ms);
    assert_eq!(
        (exit.output_bytes, exit.cut_bytes, exit.leftovers),
        (5, 0, 0)
    );
}

#[tokio::test]
async fn the_environment_is_what_the_spec_says_and_nothing_else() {
    let bench = Bench::new();
    let mut spec = argv(&["env"]);
    spec.env
        .insert("GREETING".to_owned(), "hi there".to_owned());
    let (id, exit) = bench.run("clean", &spec).await;
    assert_eq!(exit.outcome, Outcome::Exited { code: 0 });
    let folder = bench.attempt(&id);
    let said = bench
        .log(&id)
        .await
        .replace(folder.to_str().unwrap(), "FOLDER");
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    // The host, which is this test, has CARGO_MANIFEST_DIR and much more.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert_eq!(
        lines,
        [
            "CI=true",
            "GREETING=hi there",
            "HOME=FOLDER/home",
            "LC_ALL=C.UTF-8",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "POINTSMAN_ATTEMPT=clean",
            "POINTSMAN_OUTPUTS=FOLDER/outputs",
            "POINTSMAN_WORK=FOLDER/work",
            "TMPDIR=FOLDER/tmp",
        ]
    );
}

#[tokio::test]
async fn it_starts_in_an_empty_folder_with_plain_signals_and_no_input() {
    let bench = Bench::new();
    let script = "pwd; ls -A; cat; umask; grep -E '^Sig(Blk|Ign)' /proc/$$/status; ls /proc/$$/fd; \
                  touch $HOME/a $TMPDIR/b here";
    let (outcome, said) = bench.sh("plain", script).await;
    assert_eq!(outcome, Outcome::Exited { code: 0 });
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[0],
        bench.attempt(&id("plain")).join("work").to_str().unwrap()
    );
    assert_eq!(lines[1], "0022");
    assert_eq!(lines[2], "SigBlk:\t0000000000000000");
    // Nothing of the shim's is open in it.
    assert_eq!(lines[4..], ["0", "1", "2"], "{said}");
}

#[tokio::test]
async fn the_job_runs_as_its_user_and_has_no_other_group() {
    let bench = Bench::new();
    let Some(user) = other_user(1) else { return };
    let mut spec = sh(
        "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status; grep CapEff /proc/self/status; \
         touch work-file $HOME/x $TMPDIR/y && echo a=b > $POINTSMAN_OUTPUTS && echo written",
    );
    spec.user = Some(user);
    let (id, exit) = bench.run("user", &spec).await;
    assert_eq!(exit.outcome, Outcome::Exited { code: 0 });
    assert_eq!(
        bench.log(&id).await,
        "61001\n61001\n61001\nNoNewPrivs:\t1\nCapEff:\t0000000000000000\nwritten\n"
    );
    assert_eq!(bench.local.collect(&id).await.unwrap().outputs["a"], "b");
}

#[tokio::test]
async fn another_user_is_refused_where_the_host_may_not_become_it() {
    if other_user(1).is_some() {
        return;
    }
    let bench = Bench::new();
    let mut spec = sh("true");
    let uid = rustix::process::geteuid().as_raw() + 1;
    spec.user = Some(pointsman_jobs::User { uid, gid: uid });
    let error = bench.local.start(&id("no"), &spec).await.unwrap_err();
    assert_eq!(error.code(), "not-root");
    assert_eq!(bench.local.state(&id("no")).await.unwrap(), State::Unknown);
}

#[tokio::test]
async fn a_folder_that_the_user_cannot_reach_is_refused_at_once() {
    let Some(user) = other_user(1) else { return };
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        closed.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let local = pointsman_jobs::Local::new(closed.path().join("jobs"), common::SHIM).unwrap();
    let mut spec = sh("true");
    spec.user = Some(user);
    let error = local.start(&id("a"), &spec).await.unwrap_err();
    assert_eq!(error.code(), "not-reachable");
    assert!(error.hint().contains("chmod o+x"), "{}", error.hint());
}

#[tokio::test]
async fn secrets_come_as_files_and_go_with_the_attempt() {
    let bench = Bench::new();
    let source = bench.path("token.txt");
    std::fs::write(&source, "s3cret").unwrap();
    std::fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut spec = sh("env | grep -c s3cret; cat $TOKEN_FILE; stat -c ' %a %u' $TOKEN_FILE");
    spec.secrets.insert("TOKEN".to_owned(), source);
    spec.user = other_user(1);
    let (id, _) = bench.run("secret", &spec).await;
    let uid = spec
        .user
        .map_or(rustix::process::geteuid().as_raw(), |user| user.uid);
    assert_eq!(bench.log(&id).await, format!("0\ns3cret 600 {uid}\n"));
    assert!(!bench.attempt(&id).join("secrets").exists());

    spec.secrets.insert("OTHER".to_owned(), bench.path("none"));
    let error = bench
        .local
        .start(&common::id("b"), &spec)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "secret");
}

#[tokio::test]
async fn a_job_of_another_user_cannot_read_what_is_not_its_own() {
    let (Some(first), Some(second)) = (other_user(1), other_user(2)) else {
        return;
    };
    let bench = Bench::new();
    let mut spec = sh("echo mine > work-file; umask 000; echo open > open-file");
    spec.user = Some(first);
    let (victim, _) = bench.run("victim", &spec).await;
    let folder = bench.attempt(&victim);
    let mut spec = sh(&format!(
        "for f in spec.json log exit.json outputs work/work-file work/open-file; do cat {0}/$f; done; \
         ls {0} {0}/.. {0}/../..; cat $POINTSMAN_WORK/../spec.json $POINTSMAN_WORK/../log; \
         echo x > $POINTSMAN_WORK/../cancel; cat /proc/$PPID/environ; kill -9 $PPID; echo end",
        folder.display()
    ));
    spec.user = Some(second);
    let (id, exit) = bench.run("thief", &spec).await;
    assert_eq!(exit.outcome, Outcome::Exited { code: 0 });
    let said = bench.log(&id).await;
    assert!(said.ends_with("end\n"), "{said}");
    let denied = said.matches("denied").count() + said.matches("not permitted").count();
    assert_eq!(denied, 14, "{said}");
    assert!(
        !said.contains("mine") && !said.contains("command"),
        "{said}"
    );
}

#[tokio::test]
async fn limits_of_memory_files_and_processes_hold() {
    let bench = Bench::new();
    let mut spec = argv(&["python3", "-c", "x = bytearray(600 << 20)"]);
    spec.env
        .insert("PATH".to_owned(), std::env::var("PATH").unwrap());
    spec.memory_bytes = Some(400 << 20);
    let (id, exit) = bench.run("memory", &spec).await;
    assert_eq!(exit.outcome, Outcome::Exited { code: 1 });
    assert!(bench.log(&id).await.contains("MemoryError"));
    spec.memory_bytes = Some(4 << 30);
    let (_, exit) = bench.run("memory-enough", &spec).await;
    assert_eq!(exit.outcome, Outcome::Exited { code: 0 });

    let mut spec =
        sh("ulimit -c; ulimit -n; trap '' XFSZ; head -c 2000000 /dev/zero > big; stat -c %s big");
    spec.file_bytes = Some(1 << 20);
    spec.open_files = Some(77);
    let (id, _) = bench.run("file", &spec).await;
    let said = bench.log(&id).await;
    assert!(
        said.starts_with("0\n77\n") && said.ends_with("1048576\n"),
        "{said}"
    );

    let mut spec = sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 600 & done; echo never");
    spec.processes = Some(5);
    spec.user = other_user(3);
    if spec.user.is_some() {
        let (id, exit) = bench.run("processes", &spec).await;
        assert_eq!(exit.outcome, Outcome::Exited { code: 2 });
        assert!(bench.log(&id).await.contains("annot fork"));
        assert_eq!(exit.leftovers, 4);
    }
}

#[tokio::test]
async fn the_wall_clock_ends_it() {
    let bench = Bench::new();
    let mut spec = sh("trap 'echo asked; exit 0' TERM; echo on; sleep 600 & wait");
    spec.timeout_ms = 300;
    let (id, exit) = bench.run("slow", &spec).await;
    assert_eq!(exit.outcome, Outcome::TimedOut);
    assert!(bench.log(&id).await.contains("asked"));
}

#[tokio::test]
async fn a_job_that_ignores_sigterm_is_killed_after_its_grace() {
    let bench = Bench::new();
    let mut spec = sh("trap '' TERM; echo on; while :; do sleep 600; done");
    spec.kill_grace_ms = 100;
    let id = bench.start("deaf", &spec).await;
    bench.until_said(&id, "on").await;
    bench.local.cancel(&id, "a new head").await.unwrap();
    bench.local.cancel(&id, "another reason").await.unwrap();
    let exit = bench.exit(&id).await;
    let why = "a new head".to_owned();
    assert_eq!(exit.outcome, Outcome::Cancelled { why });
}

#[tokio::test]
async fn a_job_whose_lease_lapses_is_ended() {
    let bench = Bench::new();
    let mut spec = sh("sleep 600");
    spec.lease_until_ms = pointsman_jobs::unix_ms() + 300;
    let (_, exit) = bench.run("lapses", &spec).await;
    assert_eq!(exit.outcome, Outcome::LeaseLapsed);

    // One that is vouched for goes on; it ends when the lease is taken back.
    let mut spec = sh("echo on; sleep 600");
    spec.lease_until_ms = pointsman_jobs::unix_ms() + 2_000;
    let id = bench.start("renewed", &spec).await;
    let until = pointsman_jobs::unix_ms() + LONG_MS;
    bench.local.renew(&id, until).await.unwrap();
    bench.until_said(&id, "on").await;
    bench.local.renew(&id, 1).await.unwrap();
    assert_eq!(bench.exit(&id).await.outcome, Outcome::LeaseLapsed);

    // One that comes too late never runs.
    let mut spec = sh("touch $HOME/ran");
    spec.lease_until_ms = pointsman_jobs::unix_ms();
    let (id, exit) = bench.run("late", &spec).await;
    assert_eq!(exit.outcome, Outcome::LeaseLapsed);
    assert!(!bench.attempt(&id).join("home/ran").exists());
}

#[tokio::test]
async fn a_spec_that_cannot_be_run_is_refused_with_its_field() {
    let bench = Bench::new();
    let refused = async |change: fn(&mut pointsman_jobs::Spec)| {
        let mut spec = sh("true");
        change(&mut spec);
        let error = bench.local.start(&id("x"), &spec).await.unwrap_err();
        assert_eq!(error.code(), "bad-spec");
        error.to_string()
    };
    assert!(
        refused(|spec| spec.command.clear())
            .await
            .contains("command")
    );
    assert!(
        refused(|spec| spec.command.push("\0".to_owned()))
            .await
            .contains("NUL")
    );
    assert!(
        refused(|spec| spec.command.push("x".repeat(70_000)))
            .await
            .contains("65536")
    );
    let env = |spec: &mut pointsman_jobs::Spec| {
        spec.env
            .insert("POINTSMAN_ATTEMPT".to_owned(), "other".to_owned());
    };
    assert!(refused(env).await.contains("POINTSMAN_ATTEMPT"));
    assert!(
        refused(|spec| spec.artifacts.push("../../x".to_owned()))
            .await
            .contains("artifacts")
    );
    assert_eq!(bench.local.state(&id("x")).await.unwrap(), State::Unknown);
    for bad in ["", "A", "a/b", "..", &"x".repeat(65)] {
        assert!(pointsman_jobs::AttemptId::new(bad).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn forgetting_is_for_what_has_ended() {
    let bench = Bench::new();
    let running = bench.start("running", &sh("echo on; sleep 600")).await;
    bench.until_said(&running, "on").await;
    assert_eq!(
        bench.local.forget(&running).await.unwrap_err().code(),
        "not-ended"
    );
    assert!(matches!(
        bench.local.state(&running).await.unwrap(),
        State::Running { .. }
    ));
    assert_eq!(
        bench.local.list().await.unwrap(),
        std::slice::from_ref(&running)
    );
    bench.local.cancel(&running, "enough").await.unwrap();
    bench.end(&running).await;
    bench.local.forget(&running).await.unwrap();
    bench.local.forget(&running).await.unwrap();
    assert_eq!(bench.local.state(&running).await.unwrap(), State::Unknown);
    assert_eq!(bench.local.list().await.unwrap(), []);
    assert_eq!(
        std::fs::read_dir(bench.path("jobs/attempts"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn an_id_is_started_once_for_all() {
    let bench = Bench::new();
    let id = id("once");
    assert_eq!(
        bench.local.start(&id, &sh("exit 4")).await.unwrap(),
        Started::New
    );
    assert_eq!(bench.exit(&id).await.outcome, Outcome::Exited { code: 4 });
    let again = bench.local.start(&id, &sh("exit 5")).await.unwrap();
    assert_eq!(again, Started::AlreadyThere);
    assert_eq!(bench.exit(&id).await.outcome, Outcome::Exited { code: 4 });
}
