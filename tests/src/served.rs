//! A server in a process of its own, which can be killed.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use reqwest::Method;
use tokio::process::{Child, Command};

use crate::{PATIENCE, TestDatabase, TestHost, wait_for};

/// The number of SIGKILL.
const KILL: i32 = 9;

/// See the module.
pub struct Served {
    child: Child,
    /// An admin's client of it.
    pub host: TestHost,
}

impl Served {
    /// One on this database, with its data in this folder.
    pub async fn start(db: &TestDatabase, data: &Path) -> Self {
        Self::until(db, data, None).await
    }

    /// One that kills itself when it comes to a failpoint, `NAME:N`, for the Nth time.
    pub async fn until(db: &TestDatabase, data: &Path, failpoint: Option<&str>) -> Self {
        Self::spawn(db, data, |command| {
            if let Some(failpoint) = failpoint {
                command.env("POINTSMAN_FAILPOINT", failpoint);
            }
        })
        .await
    }

    /// Another one on the same database, which sees the repositories and the artifacts of the one with its data in
    /// `first`.
    pub async fn beside(db: &TestDatabase, data: &Path, first: &Path) -> Self {
        // The database has an admin, so this one makes none.
        std::fs::copy(first.join("admin.token"), data.join("admin.token")).expect("a token");
        Self::spawn(db, data, |command| {
            command.arg("--forge").arg(first.join("forge"));
            command.arg("--artifacts").arg(first.join("artifacts"));
        })
        .await
    }

    async fn spawn(db: &TestDatabase, data: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let _ = std::fs::remove_file(data.join("url"));
        let meta = std::fs::metadata(data).expect("a folder");
        let mut command = Command::from(crate::pointsman());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--job-user"])
            .arg(format!("{}:{}", meta.uid(), meta.gid()))
            .env("DATABASE_URL", &db.url)
            .env("POINTSMAN_DATA_DIR", data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        change(&mut command);
        let child = command.spawn().expect("`pointsman` was built");
        let read = |name: &str| std::fs::read_to_string(data.join(name)).ok();
        let (url, token) = wait_for("the server serves", async || {
            Some((read("url")?, read("admin.token")?)).filter(|(url, _)| url.ends_with('\n'))
        })
        .await;
        let host = TestHost::of(url.trim(), token.trim());
        wait_for("it answers", async || {
            let answer = host.request(Method::GET, "/v1/whoami").send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        Self { child, host }
    }

    /// Kills it.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("SIGKILL");
    }

    /// Kills it, and does not wait until it is gone.
    pub fn begin_kill(&mut self) {
        self.child.start_kill().expect("SIGKILL");
    }

    /// Makes it stand still, with all that it holds; gives when no thread of it runs.
    pub async fn stand_still(&self) {
        self.signal("-STOP").await;
        let threads = format!("/proc/{}/task", self.pid());
        wait_for("no thread of it runs", async || {
            let mut threads = std::fs::read_dir(&threads).ok()?.flatten();
            let stands = threads.all(|thread| {
                let Ok(status) = std::fs::read_to_string(thread.path().join("status")) else {
                    // It has ended.
                    return true;
                };
                status.contains("\nState:\tT")
            });
            stands.then_some(())
        })
        .await;
    }

    /// Lets it go on.
    pub async fn go_on(&self) {
        self.signal("-CONT").await;
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    async fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().await;
        assert!(sent.expect("kill").success());
    }

    /// Waits until it is gone, killed by somebody or by itself.
    pub async fn killed(mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("it is killed").expect("it ends");
        assert_eq!(status.signal(), Some(KILL), "{status}");
    }
}
