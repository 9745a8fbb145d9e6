//! The `pointsman` command as people and scripts run it: arguments in, two streams and a code out.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::TestHost;

/// The command, with the server and the token of somebody.
pub struct Cli {
    url: String,
    dir: tempfile::TempDir,
    secret: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it printed for programs.
    pub stdout: String,
    /// What it said to people.
    pub stderr: String,
}

impl Cli {
    /// For a host, as its admin.
    pub fn new(host: &TestHost) -> Self {
        Self::with(&host.url, &host.token)
    }

    /// For any address and any token, which is in a file as a script would have it.
    pub fn with(url: &str, secret: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("token"), format!("{secret}\n")).expect("a token file");
        Self {
            url: url.to_owned(),
            dir,
            secret: secret.to_owned(),
        }
    }

    /// The command with these arguments, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::from(crate::pointsman());
        command
            .args(args)
            .env("POINTSMAN_URL", &self.url)
            .env("POINTSMAN_TOKEN_FILE", self.dir.path().join("token"))
            .env("POINTSMAN_DATA_DIR", self.dir.path().join("data"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs it.
    pub async fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, "").await
    }

    /// Runs it with this on its standard input.
    pub async fn run_with(&self, args: &[&str], stdin: &str) -> Ended {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .spawn()
            .expect("`pointsman` was built");
        let mut pipe = child.stdin.take().expect("a pipe");
        let feed = async move {
            // A command that does not read its input ends before all of it is written.
            let _ = pipe.write_all(stdin.as_bytes()).await;
        };
        let ((), output) = futures::join!(feed, child.wait_with_output());
        let output = output.expect("it ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let ended = Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(
            !ended.stdout.contains(&self.secret) && !ended.stderr.contains(&self.secret),
            "{args:?}: {ended:?}"
        );
        ended
    }

    /// Runs it; expects success, and gives what it printed.
    pub async fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args).await;
        assert_eq!(ended.code, 0, "{args:?}: {ended:?}");
        ended.stdout
    }

    /// Runs it with `--json`; expects success and one document.
    pub async fn json(&self, args: &[&str]) -> serde_json::Value {
        let text = self.ok(&[args, &["--json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// Runs it with `--json`; expects success and a document on each line.
    pub async fn lines(&self, args: &[&str]) -> Vec<serde_json::Value> {
        let text = self.ok(&[args, &["--json"]].concat()).await;
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON on each line"))
            .collect()
    }
}
