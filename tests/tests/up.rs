//! `pointsman up`: everything on this machine, with a PostgreSQL of its own.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Output, Stdio};

use pointsman_tests::{plugin, pointsman, wait_for};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A data directory that any user reaches, and that leaves no database behind.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // PostgreSQL refuses to run as root, so it may be another user who goes in there.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let plugins = dir.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        for name in ["ignore-patterns", "kernel-ladder"] {
            std::fs::write(plugins.join(format!("{name}.wasm")), plugin(name)).unwrap();
        }
        Self { dir }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::from(pointsman());
        command
            .args(args)
            .env("POINTSMAN_DATA_DIR", self.data())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn up(&self, args: &[&str]) -> Command {
        let mut command = self.command(&["up", "--listen", "127.0.0.1:0"]);
        command
            .arg("--plugins")
            .arg(self.dir.path().join("plugins"))
            .args(args);
        command
    }

    /// `up --once --json`, to its end.
    async fn once(&self) -> Value {
        let output = self.up(&["--once", "--json"]).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
    }

    /// The process id of PostgreSQL, while there is one.
    fn postgres(&self) -> Option<u32> {
        let file = self.data().join("postgres/cluster/postmaster.pid");
        let pid = std::fs::read_to_string(file)
            .ok()?
            .lines()
            .next()?
            .trim()
            .parse()
            .ok()?;
        runs(pid).then_some(pid)
    }

    /// Whether the server that wrote its address there is of use.
    async fn answers(&self) -> bool {
        let output = self
            .command(&["kernel", "list", "--limit", "1", "--json"])
            .output()
            .await
            .unwrap();
        output.status.success()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = self.postgres() {
            signal("QUIT", pid);
        }
    }
}

/// Whether a process runs: one that has ended may stay in the table until somebody asks for it.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn signal(name: &str, pid: u32) {
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .unwrap();
    assert!(sent.success(), "{name} to {pid}");
}

fn pid(child: &Child) -> u32 {
    child.id().expect("it runs")
}

#[tokio::test]
async fn up_begins_goes_on_survives_and_stops() {
    let place = Place::new();
    let first = place.once().await;
    assert_eq!(first["continued"], false, "{first}");
    assert!(
        first["detected"]["written"]["created"].as_u64().unwrap() > 0,
        "{first}"
    );
    assert_eq!(
        (&first["pipeline"]["idle"], &first["troubles"]),
        (&Value::Bool(true), &Value::Array(vec![]))
    );
    let bound: Vec<&str> = first["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["what"].as_str().unwrap())
        .collect();
    assert_eq!(bound, ["bound", "bound"]);
    let token = PathBuf::from(first["token_file"].as_str().unwrap());
    assert_eq!(token, place.data().join("admin.token"));
    assert_eq!(
        token.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        first["url"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    assert_eq!(place.postgres(), None, "nothing is left running");

    // In words, and on the same data.
    let output = place.up(&["--once"]).output().await.unwrap();
    let words = said(&output);
    assert_eq!(output.status.code(), Some(0), "{words}");
    for part in [
        "goes on with the data in",
        "no change, so no generation",
        "as before",
        "url:",
        "token:",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(
        words.contains(&format!("generation:  {}\n", first["generation"])),
        "{words}"
    );
    assert!(
        !words.contains(std::fs::read_to_string(&token).unwrap().trim()),
        "the secret is not shown"
    );

    // It stays up; a kill leaves the database behind, and the next start takes it over.
    let mut up = place.up(&[]).spawn().unwrap();
    wait_for("it serves", async || place.answers().await.then_some(())).await;
    let postgres = place.postgres().expect("a database");
    up.kill().await.unwrap();
    let mut up = place.up(&[]).spawn().unwrap();
    wait_for("it serves again", async || {
        place.answers().await.then_some(())
    })
    .await;
    let now = place.postgres().expect("a database");
    assert!(now == postgres || !runs(postgres), "one database, not two");

    // A second one on the same data is told so, and harms nothing.
    let second = place.up(&["--once"]).output().await.unwrap();
    assert!(!second.status.success(), "{}", said(&second));
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("hint: "),
        "{}",
        said(&second)
    );
    assert!(place.answers().await);

    // A database that is killed under it is started again, and the host goes on. (Were its set-up not
    // done, that would fail and say so.)
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("token:") {
            break;
        }
    }
    signal("KILL", now);
    let now = wait_for("another database", async || {
        place.postgres().filter(|pid| *pid != now)
    })
    .await;
    wait_for("it serves once more", async || {
        place.answers().await.then_some(())
    })
    .await;

    signal("INT", pid(&up));
    let status = up.wait().await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.postgres(), None, "Ctrl-C stops all of it");
    // Where PostgreSQL runs as another user, that user has to get through.
    let data = place.data().metadata().unwrap();
    let mode = if data.uid() == 0 { 0o711 } else { 0o700 };
    assert_eq!(data.permissions().mode() & 0o777, mode);
    assert!(!runs(now));
}

#[tokio::test]
async fn a_first_start_that_is_killed_is_finished_by_the_next() {
    let place = Place::new();
    // As soon as there is a database process: in the middle of everything.
    let mut up = place.up(&[]).spawn().unwrap();
    wait_for("a database process", async || place.postgres()).await;
    up.kill().await.unwrap();
    // And once more when it has begun to serve, before it is done with its set-up.
    let mut up = place.up(&[]).spawn().unwrap();
    wait_for("an address", async || {
        place.data().join("url").exists().then_some(())
    })
    .await;
    up.kill().await.unwrap();
    let summary = place.once().await;
    assert_eq!(summary["troubles"], Value::Array(vec![]), "{summary}");
    assert_eq!(summary["pipeline"]["idle"], true);
    assert!(summary["detected"]["versions"].as_u64().unwrap() > 0);
    assert_eq!(place.postgres(), None);
}

#[tokio::test]
async fn a_start_that_cannot_be_is_told_with_what_to_do() {
    let place = Place::new();
    let nowhere = place
        .command(&["up", "--once", "--plugins", "/nowhere"])
        .output()
        .await
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(said(&nowhere).contains("hint: "), "{}", said(&nowhere));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let busy = place
        .command(&["up", "--once", "--listen", &address])
        .output()
        .await
        .unwrap();
    assert!(
        !busy.status.success() && said(&busy).contains(&address),
        "{}",
        said(&busy)
    );
    let mut down = place.up(&["--once"]);
    down.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    let down = down.output().await.unwrap();
    assert!(
        !down.status.success() && said(&down).contains("error: "),
        "{}",
        said(&down)
    );
    assert!(place.postgres().is_none());
}
