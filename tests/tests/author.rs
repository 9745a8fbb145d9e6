//! From nothing to a bound plugin, as its author goes: `plugin new`, `build`, `check`, `test`, `upload`.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

use pointsman_tests::TestHost;
use pointsman_tests::command::Cli;
use serde_json::json;

#[expect(unreachable_pub, reason = "each is the whole of a crate elsewhere")]
#[path = "author/beginnings.rs"]
mod beginnings;

#[tokio::test]
async fn a_new_plugin_works_the_first_time() {
    let (_db, host) = TestHost::start().await;
    let cli = Cli::new(&host);
    let dir = tempfile::tempdir().unwrap();
    let run = async |args: &[&str]| {
        let output = cli.command(args).current_dir(dir.path()).output().await;
        let output = output.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = (text(&output.stdout), text(&output.stderr));
        (output.status.code(), said.0, said.1)
    };
    let ok = async |args: &[&str]| {
        let ended = run(args).await;
        assert_eq!(ended.0, Some(0), "{args:?}: {ended:?}");
        ended.1
    };
    let made = ok(&["plugin", "new", "--hook", "ignore", "rare"]).await;
    assert!(made.contains("pointsman plugin build"), "{made}");
    let again = run(&["plugin", "new", "--hook", "ignore", "rare"]).await;
    assert!(
        again.0 == Some(1) && again.2.contains("hint:"),
        "it overwrites nothing: {again:?}"
    );
    for bad in [
        ["plugin", "new", "--hook", "ignores", "other"],
        ["plugin", "new", "--hook", "gate", "../other"],
    ] {
        let refused = run(&bad).await;
        assert!(
            refused.0 == Some(2) && refused.2.contains("hint:"),
            "{refused:?}"
        );
    }
    ok(&["plugin", "build", "rare"]).await;
    ok(&["plugin", "check", "rare/rare.wasm"]).await;
    // It does not tell where it was built, and is the same wherever that is.
    let built = std::fs::read(dir.path().join("rare/rare.wasm")).unwrap();
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME"));
    for path in [dir.path().display().to_string(), home.unwrap() + "/"] {
        let holds = built
            .windows(path.len())
            .any(|found| found == path.as_bytes());
        assert!(!holds, "{path} is in the component");
    }
    let tested = ok(&["plugin", "test", "rare/rare.wasm", "rare/cases"]).await;
    assert!(
        tested.contains("a version on no host is ignored"),
        "{tested}"
    );

    // And on a server.
    host.distro("debian-12").await;
    host.kernels("debian-12", &["6.1.0-1"]).await;
    ok(&["plugin", "upload", "rare/rare.wasm"]).await;
    ok(&["pipeline", "bind", "kernels", "ignore", "rare"]).await;
    host.idle().await;
    assert_eq!(
        host.kernel_names("ignored=true").await,
        ["debian-12/6.1.0-1"]
    );
    let bad = run(&[
        "pipeline",
        "bind",
        "kernels",
        "ignore",
        "rare",
        "--settings",
        r#"{"host": 1}"#,
    ])
    .await;
    assert!(
        bad.0 == Some(1) && bad.2.contains("'host' was unexpected"),
        "{bad:?}"
    );
    let bound = host.get("/v1/pipelines/kernels").await;
    assert_eq!(bound["bindings"][0]["settings"], json!({}));

    // What does not compile is said with the compiler's words.
    std::fs::write(dir.path().join("rare/src/lib.rs"), "fn broken(").unwrap();
    let broken = run(&["plugin", "build", "rare"]).await;
    assert!(
        broken.0 == Some(1) && broken.2.contains("unclosed delimiter"),
        "{broken:?}"
    );
}
