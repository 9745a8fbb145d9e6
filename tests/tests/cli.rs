//! The command line: what people read, what scripts branch on.

use std::process::Stdio;

use pointsman_tests::command::{Cli, Ended};
use pointsman_tests::{TestHost, wait_for};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

/// Times and ages, which differ each time.
macro_rules! snapshot {
    ($text:expr, @$expected:literal) => {{
        let text = $text;
        insta::with_settings!({filters => vec![
            (r"\d{4}-\d\d-\d\d \d\d:\d\dZ", "[time]"),
            (r"\d{4}-\d\d-\d\dT[0-9:.]+(\+00:00|Z)", "[instant]"),
            (r" +\d+[sm]\b", " [age]"),
            (r"127\.0\.0\.1:\d+", "[address]"),
            (r"[0-9a-f]{12,64}", "[digest]"),
            (r"(turns:  +)\d+", "${1}[n]"),
            (r"\d+\.\d MiB", "[size]"),
            (r"  +\n", "\n"),
        ]}, { insta::assert_snapshot!(text, @$expected) });
    }};
}

/// Code and messages.
fn told(ended: &Ended) -> String {
    format!("exit {}\n{}", ended.code, ended.stderr)
}

async fn started() -> (pointsman_tests::TestDatabase, TestHost, Cli) {
    let (db, host) = TestHost::start().await;
    let cli = Cli::new(&host);
    (db, host, cli)
}

#[tokio::test]
async fn tables_for_people_and_json_for_programs() {
    let (_db, host, cli) = started().await;
    snapshot!(cli.ok(&["distro", "add", "debian-12", "DEBIAN12"]).await, @"generation 3: 1 created");
    cli.ok(&["distro", "add", "centos7", "CENTOS7", "--unsupported"])
        .await;
    let added = cli
        .run_with(
            &["kernel", "add", "-", "-m", "Found by hand"],
            "debian-12/6.1.0-1-amd64\n\ndebian-12/6.5.0-1-amd64\n",
        )
        .await;
    snapshot!(added.stdout, @"generation 5: 2 created");
    snapshot!(cli.ok(&["kernel", "add", "debian-12/6.1.0-1-amd64"]).await, @"no change: 1 already as asked");
    cli.ok(&[
        "kernel",
        "set",
        "debian-12/6.1.0-1-amd64",
        "--state",
        "built",
        "-m",
        "Jenkins build 13343",
    ])
    .await;
    let report = [
        "kernel",
        "report",
        "debian-12/6.1.0-1-amd64",
        "--purpose",
        "test",
        "--verdict",
        "fail",
        "--release",
        "21.0",
        "--link",
        "https://ci.example/13343",
        "--key",
        "jenkins-13343",
        "-m",
        "Jenkins build 13343",
    ];
    snapshot!(cli.ok(&report).await, @"generation 8: 1 created");
    snapshot!(cli.ok(&report).await, @"no change: 1 already as asked");
    snapshot!(cli.ok(&["distro", "list"]).await, @"
    DISTRO     VARIANT   SUPPORTED  GENERATION
    centos7    CENTOS7   no                  4
    debian-12  DEBIAN12  yes                 3
    ");
    snapshot!(cli.ok(&["kernel", "list"]).await, @"
    KERNEL                   STATE  SINCE              FOR  MISSING  IGNORED
    debian-12/6.1.0-1-amd64  built  [time] [age]
    debian-12/6.5.0-1-amd64  seen   [time] [age]
    ");
    snapshot!(cli.ok(&["run", "list"]).await, @"
    ID  KERNEL                   PURPOSE  RELEASE  VERDICT  AT                 BY     COMMENT              LINK
     1  debian-12/6.1.0-1-amd64  test     21.0     fail     [time]  admin  Jenkins build 13343  https://ci.example/13343
    ");
    snapshot!(cli.ok(&["kernel", "history", "debian-12/6.1.0-1-amd64"]).await, @"
    AT                 GENERATION  WHO    WHAT                      CHANGES                                                                                                              WHY
    [time]           5  admin  created                   state: seen                                                                                                          Found by hand
    [time]           7  admin  changed                   state: seen -> built                                                                                                 Jenkins build 13343
    [time]           8  admin  run test 21.0 #1 created  comment: Jenkins build 13343, key: jenkins-13343, link: https://ci.example/13343, reported-by: admin, verdict: fail  Jenkins build 13343
    ");
    snapshot!(cli.ok(&["kernel", "list", "--csv", "--state", "built"]).await, @"
    distro,version,state,state_since,first_seen,missing,ignored,reason,generation
    debian-12,6.1.0-1-amd64,built,[instant],[instant],,,,7
    ");
    cli.ok(&[
        "ignore",
        "add",
        "--like",
        "6.5.%",
        "--regex",
        "[+]debug",
        "--reason",
        "Nobody runs it",
    ])
    .await;
    snapshot!(cli.ok(&["ignore", "list"]).await, @"
    ID  DISTRO  KIND   PATTERN   VERSIONS  EXPIRES  REASON
     1  all     like   6.5.%            0  never    Nobody runs it
     2  all     regex  [+]debug         0  never    Nobody runs it
    ");
    snapshot!(cli.ok(&["state", "list"]).await, @"
    STATE            RANK  MOVED BY  KERNELS
    seen               10  policy          1
    fetched            20  policy          0
    built              30  policy          1
    tested             40  policy          0
    ready-own          50  person          0
    ready-customers    60  person          0
    ");
    host.idle().await;
    let pipelines = cli.ok(&["pipeline", "list"]).await;
    assert!(
        pipelines.contains("kernels   kernel") && pipelines.contains("idle"),
        "{pipelines}"
    );

    let kernels = cli
        .lines(&["kernel", "list", "--state", "seen,built"])
        .await;
    assert_eq!(kernels.len(), 2);
    assert_eq!(
        (&kernels[0]["version"], &kernels[0]["state"]),
        (&json!("6.1.0-1-amd64"), &json!("built"))
    );
    let shown = cli
        .json(&["kernel", "show", "debian-12/6.1.0-1-amd64"])
        .await;
    assert_eq!(shown["state"], "built");
    let written = cli.json(&["kernel", "add", "debian-12/6.6"]).await;
    assert_eq!(
        (&written["created"], written["generation"].is_i64()),
        (&json!(1), true)
    );
    assert_eq!(
        cli.json(&["whoami"]).await,
        json!({"name": "admin", "role": "admin"})
    );
    for built_not_tested in [
        &[
            "kernel",
            "list",
            "--distro",
            "debian-12",
            "--state",
            "built",
        ][..],
        &["kernel", "list", "--like", "6.1.%", "--not-ignored"],
        &["kernel", "list", "--regex", "^6[.]1"],
    ] {
        assert_eq!(
            cli.lines(built_not_tested).await.len(),
            1,
            "{built_not_tested:?}"
        );
    }
}

#[tokio::test]
async fn exit_codes_tell_a_script_what_went_wrong() {
    let (_db, host, cli) = started().await;
    cli.ok(&["distro", "add", "debian-12", "DEBIAN12"]).await;
    cli.ok(&["kernel", "add", "debian-12/6.1"]).await;
    cli.ok(&[
        "token",
        "create",
        "dashboard",
        "--role",
        "reader",
        "--out",
        host.dir().join("reader").to_str().unwrap(),
    ])
    .await;
    let reader = std::fs::read_to_string(host.dir().join("reader")).unwrap();
    let reader = Cli::with(&host.url, reader.trim());

    snapshot!(told(&cli.run(&["kernel", "lst"]).await), @"
    exit 2
    error: unrecognized subcommand 'lst'

      tip: a similar subcommand exists: 'list'

    Usage: pointsman kernel [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    snapshot!(told(&cli.run(&["kernel", "show", "6.1"]).await), @"
    exit 2
    error: invalid value '6.1' for '<KERNEL>': write a kernel as distro/version, like debian-12/6.1.0-49-amd64

    For more information, try '--help'.
    ");
    snapshot!(told(&cli.run(&["kernel", "show", "debian-12/6.2"]).await), @"
    exit 3
    error: there is no kernel version `debian-12/6.2`
    hint: `pointsman kernel list` shows those there are; `pointsman kernel add` adds one.
    ");
    snapshot!(told(&cli.run(&["kernel", "add", "nowhere/6.2"]).await), @"
    exit 3
    error: there is no distro `nowhere` (in /kernels/0/distro)
    hint: `pointsman distro list` shows those there are; `pointsman distro add` adds one.
    ");
    snapshot!(told(&cli.run(&["ignore", "add", "--regex", "6.5(", "--reason", "x"]).await), @"
    exit 1
    error: unclosed group (in /ignores/0/pattern, at character 3)
    ");
    snapshot!(told(&reader.run(&["kernel", "add", "debian-12/6.2"]).await), @"
    exit 4
    error: the token `dashboard` is a reader's; this needs writer
    hint: Ask an admin for a token with that role.
    ");
    snapshot!(told(&Cli::with(&host.url, "pm_wrong").run(&["kernel", "list"]).await), @"
    exit 4
    error: this token is unknown, revoked or expired
    hint: name the file of a token with --token-file or POINTSMAN_TOKEN_FILE; an admin makes one with `pointsman token create`
    ");
    let set = [
        "kernel",
        "set",
        "debian-12/6.1",
        "--state",
        "built",
        "--if-generation",
        "1",
    ];
    snapshot!(told(&cli.run(&set).await), @"
    exit 5
    error: it was last changed by generation 4, not 1
    hint: Read it again, and decide again.
    ");
    snapshot!(told(&cli.run(&["token", "create", "dashboard", "--role", "reader"]).await), @"
    exit 5
    error: there is a token `dashboard` already (in name)
    hint: A token's name is unique for ever, since generations name it: choose another.
    ");
    // A port that was free a moment ago: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = Cli::with(&format!("http://{free}"), "pm_x");
    snapshot!(told(&nobody.run(&["kernel", "list"]).await), @"
    exit 6
    error: cannot reach http://[address]: Connection refused (os error 111)
    hint: start a server with `pointsman up`, or say where one is with --url or POINTSMAN_URL
    ");
    // Programs get nothing on stdout that is no data.
    for args in [
        &["kernel", "show", "debian-12/6.2", "--json"][..],
        &["kernel", "lst", "--json"],
    ] {
        assert_eq!(cli.run(args).await.stdout, "", "{args:?}");
    }
}

#[tokio::test]
async fn what_sits_for_too_long_is_listed() {
    let (db, host, cli) = started().await;
    host.distro("debian-12").await;
    host.kernels("debian-12", &["6.1.0-1", "6.1.0-2", "6.1.0-3"])
        .await;
    let mut psql = db.connect().await;
    for (version, days) in [("6.1.0-1", 8), ("6.1.0-2", 30), ("6.1.0-3", 6)] {
        let mut tx = sqlx::Connection::begin(&mut psql).await.unwrap();
        sqlx::query("select generation_start('a test')")
            .execute(&mut *tx)
            .await
            .unwrap();
        sqlx::query("update kernel_version set state_since = now() - make_interval(days => $2) where version = $1")
            .bind(version)
            .bind(days)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let stale = async |args: &[&str]| -> Vec<String> {
        let rows = cli.lines(&[&["kernel", "stale"], args].concat()).await;
        rows.iter()
            .map(|row| row["version"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        stale(&["--over", "7d"]).await,
        ["6.1.0-2", "6.1.0-1"],
        "oldest first"
    );
    assert_eq!(
        stale(&[]).await,
        ["6.1.0-2", "6.1.0-1"],
        "a week unless told otherwise"
    );
    assert_eq!(stale(&["--over", "2w"]).await, ["6.1.0-2"]);
    assert_eq!(stale(&["--over", "5d", "--state", "built"]).await, [""; 0]);
    snapshot!(cli.ok(&["kernel", "stale", "--over", "7d"]).await, @"
    KERNEL             STATE  SINCE              FOR  MISSING  IGNORED
    debian-12/6.1.0-2  seen   [time]  30d
    debian-12/6.1.0-1  seen   [time]   8d
    ");
    let none = cli.run(&["kernel", "stale", "--over", "60d"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert_eq!(none.stderr, "nothing sits in one state that long\n");
}

#[tokio::test]
async fn events_can_be_followed() {
    let (_db, host, cli) = started().await;
    host.distro("debian-12").await;
    let mut child = cli
        .command(&[
            "event",
            "list",
            "--follow",
            "--kind",
            "kernel_version",
            "--json",
        ])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // It follows from now on, so something must happen once it is there: until a line comes.
    let next = tokio::spawn(async move { (lines.next_line().await, lines) });
    let n = std::cell::Cell::new(0);
    wait_for("a line comes", async || {
        n.set(n.get() + 1);
        host.kernels("debian-12", &[&format!("6.1.{}", n.get())])
            .await;
        next.is_finished().then_some(())
    })
    .await;
    let (first, mut lines) = next.await.unwrap();
    let first: serde_json::Value = serde_json::from_str(&first.unwrap().unwrap()).unwrap();
    assert_eq!(
        (&first["kind"], &first["operation"]),
        (&json!("kernel_version"), &json!("create"))
    );
    host.kernels("debian-12", &["7.0"]).await;
    // In order, and each once.
    let mut names = vec![first["name"].as_str().unwrap().to_owned()];
    while names.last().unwrap() != "debian-12/7.0" {
        let line = lines.next_line().await.unwrap().expect("it goes on");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        names.push(event["name"].as_str().unwrap().to_owned());
    }
    let unique: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
    child.kill().await.unwrap();
    // Where it left off, another goes on.
    let after = first["cursor"].as_str().unwrap();
    let rest = cli
        .lines(&[
            "event",
            "list",
            "--kind",
            "kernel_version",
            "--after",
            after,
        ])
        .await;
    assert_eq!(rest.len(), names.len() - 1);
}

#[tokio::test]
async fn a_record_moves_to_another_server() {
    let (_db, host, cli) = started().await;
    host.distro("debian-12").await;
    host.distro("ubuntu-22.04").await;
    host.kernels("debian-12", &["6.1.0-1", "6.5.0-1"]).await;
    host.kernels("ubuntu-22.04", &["6.1.0-1"]).await;
    cli.ok(&["kernel", "set", "debian-12/6.1.0-1", "--state", "ready-own"])
        .await;
    cli.ok(&[
        "kernel",
        "report",
        "debian-12/6.1.0-1",
        "--purpose",
        "build",
        "--verdict",
        "pass",
        "--key",
        "k",
    ])
    .await;
    cli.ok(&["ignore", "add", "--like", "6.5.%", "--reason", "x"])
        .await;
    cli.ok(&["cluster", "add", "lab-1"]).await;
    cli.ok(&[
        "host",
        "set",
        "lab-1/web-1",
        "--running",
        "debian-12/6.1.0-1",
    ])
    .await;
    let export = cli.ok(&["export"]).await;
    let file = host.dir().join("record.ndjson");
    cli.ok(&["export", "-o", file.to_str().unwrap()]).await;
    // When it was made is in the first line, and nowhere else.
    let file = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        file.split_once('\n').unwrap().1,
        export.split_once('\n').unwrap().1,
        "the file is what the pipe is"
    );

    let (_other_db, _other, there) = started().await;
    let imported = there
        .run_with(&["import", "-", "-m", "Moved"], &export)
        .await;
    assert_eq!(imported.code, 0, "{imported:?}");
    let again = there.run_with(&["import", "-"], &export).await;
    assert!(
        again.code == 0 && again.stdout.starts_with("no change"),
        "{again:?}"
    );
    let list = ["kernel", "list", "--all"];
    let strip = |rows: Vec<serde_json::Value>| -> Vec<_> {
        rows.into_iter()
            .map(|row| {
                (
                    row["distro"].clone(),
                    row["version"].clone(),
                    row["state"].clone(),
                )
            })
            .collect()
    };
    assert_eq!(
        strip(there.lines(&list).await),
        strip(cli.lines(&list).await)
    );
    for list in [
        &["run", "list"][..],
        &["ignore", "list"],
        &["cluster", "list"],
        &["host", "list"],
        &["distro", "list"],
    ] {
        assert_eq!(
            there.lines(list).await.len(),
            cli.lines(list).await.len(),
            "{list:?}"
        );
    }
    let broken = there
        .run_with(&["import", "-"], &export[..export.len() / 2])
        .await;
    assert_eq!(broken.code, 1, "{broken:?}");
    let nonsense = there
        .run_with(&["import", "-"], "{\"kind\": \"nonsense\"}\n")
        .await;
    assert!(
        nonsense.code == 1 && nonsense.stderr.contains("error:"),
        "{nonsense:?}"
    );
}

#[tokio::test]
async fn policies_are_managed_from_the_command_line() {
    let (_db, host, cli) = started().await;
    host.distro("debian-12").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ignore-patterns.wasm");
    std::fs::write(&file, pointsman_tests::plugin("ignore-patterns")).unwrap();
    cli.ok(&["plugin", "upload", file.to_str().unwrap()]).await;
    cli.ok(&["pipeline", "bind", "kernels", "ignore", "ignore-patterns"])
        .await;
    cli.ok(&[
        "pipeline",
        "bind",
        "kernels",
        "ignore",
        "ignore-patterns",
        "--settings",
        r#"{"scope": "all"}"#,
    ])
    .await;
    let bad = cli
        .run(&[
            "pipeline",
            "bind",
            "kernels",
            "ignore",
            "ignore-patterns",
            "--settings",
            r#"{"scope": 1}"#,
        ])
        .await;
    assert!(bad.code == 1 && bad.stderr.contains("hint:"), "{bad:?}");
    cli.ok(&["pipeline", "rollback", "kernels", "ignore"]).await;
    cli.ok(&[
        "ignore",
        "add",
        "--like",
        "6.5.%",
        "--reason",
        "Nobody runs it",
    ])
    .await;
    cli.ok(&["kernel", "add", "debian-12/6.5.0-1", "debian-12/6.1.0-1"])
        .await;
    host.idle().await;
    snapshot!(cli.ok(&["plugin", "list"]).await, @"
    PLUGIN           DIGEST        HOOKS      SIZE  UPLOADED           BY
    ignore-patterns  [digest]  ignore  [size]  [time]  admin
    ");
    snapshot!(cli.ok(&["pipeline", "show", "kernels"]).await, @"
    pipeline:    kernels (kernel)
    state:       idle
    slots:       2
    pending:     0
    turns:       [n]
    generation:  1

    HOOK    POSITION  PLUGIN           DIGEST        PREVIOUS      LIMITS  SETTINGS
    ignore         0  ignore-patterns  [digest]  [digest]          {}
    ");
    snapshot!(cli.ok(&["kernel", "list", "--ignored"]).await, @"
    KERNEL             STATE  SINCE              FOR  MISSING  IGNORED
    debian-12/6.5.0-1  seen   [time] [age]           It matches the LIKE pattern `6.5.%`: Nobody runs it
    ");
    let decisions = cli.lines(&["decision", "list", "--hook", "ignore"]).await;
    let newest = decisions[0]["id"].to_string();
    let decision = cli.json(&["decision", "show", &newest]).await;
    assert_eq!(
        decision["output"]["ignored"].as_array().map(Vec::len),
        Some(1),
        "{decision}"
    );
    cli.ok(&[
        "pipeline",
        "pause",
        "kernels",
        "--reason",
        "The lab is moving",
    ])
    .await;
    assert_eq!(
        cli.json(&["pipeline", "show", "kernels"]).await["paused"],
        "The lab is moving"
    );
    cli.ok(&["pipeline", "resume", "kernels"]).await;
    cli.ok(&["pipeline", "unbind", "kernels", "ignore"]).await;
    host.idle().await;
    assert_eq!(cli.lines(&["kernel", "list", "--ignored"]).await.len(), 0);
    let text = dir.path().join("text.wasm");
    std::fs::write(&text, "no wasm").unwrap();
    let refused = cli.run(&["plugin", "upload", text.to_str().unwrap()]).await;
    assert!(
        refused.code == 1 && refused.stderr.contains("hint:"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let (_db, host, cli) = started().await;
    host.distro("debian-12").await;
    let versions: Vec<String> = (0..3_000)
        .map(|n| format!("6.1.0-{n}-a-version-with-a-rather-long-name"))
        .collect();
    host.kernels(
        "debian-12",
        &versions.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    for format in [&[][..], &["--json"], &["--csv"]] {
        let args = [&["kernel", "list", "--all"], format].concat();
        let mut child = cli.command(&args).stdin(Stdio::null()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut few = [0; 64];
        stdout.read_exact(&mut few).await.unwrap();
        drop(stdout);
        let ended = child.wait_with_output().await.unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(stderr, "", "{format:?}");
        // Quiet, and no panic: a shell sees success, or the signal that it knows.
        assert!(ended.status.code() != Some(101), "{:?}", ended.status);
    }
}

#[tokio::test]
async fn secrets_stay_out_of_sight() {
    let (_db, host, cli) = started().await;
    // `Cli` looks at all output for the secret itself.
    let help = cli.run(&["--help"]).await;
    assert_eq!(help.code, 0);
    for args in [
        &["kernel", "--help"][..],
        &["token", "create", "--help"],
        &["up", "--help"],
        &["whoami", "-v"],
    ] {
        assert_eq!(cli.run(args).await.code, 0, "{args:?}");
    }
    let argument = cli.run(&["whoami", "--token", "x"]).await;
    assert_eq!(argument.code, 2, "{argument:?}");
    let out = host.dir().join("jenkins.token");
    let path = out.to_str().unwrap();
    let made = cli
        .run(&[
            "token", "create", "jenkins", "--role", "writer", "--out", path,
        ])
        .await;
    let secret = std::fs::read_to_string(&out).unwrap();
    assert!(
        made.code == 0
            && !made.stdout.contains(secret.trim())
            && !made.stderr.contains(secret.trim())
    );
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&out).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        Cli::with(&host.url, secret.trim()).json(&["whoami"]).await["role"],
        "writer"
    );
    let list = cli.ok(&["token", "list"]).await;
    assert!(
        list.contains("jenkins") && !list.contains(secret.trim()),
        "{list}"
    );
    cli.ok(&["token", "revoke", "jenkins"]).await;
    assert_eq!(
        Cli::with(&host.url, secret.trim())
            .run(&["whoami"])
            .await
            .code,
        4
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = cli.ok(&["completions", shell]).await;
        assert!(
            script.contains("pointsman") && script.contains("stale"),
            "{shell}"
        );
    }
    let openapi: serde_json::Value = serde_json::from_str(&cli.ok(&["openapi"]).await).unwrap();
    assert!(openapi["paths"]["/v1/kernels"].is_object());
}
