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
        let _ = std::fs::remove_file(data.join("url"));
        let meta = std::fs::metadata(data).expect("a folder");
        let mut command = Command::from(crate::pointsman());
        if let Some(failpoint) = failpoint {
            command.env("POINTSMAN_FAILPOINT", failpoint);
        }
        let child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--job-user"])
            .arg(format!("{}:{}", meta.uid(), meta.gid()))
            .env("DATABASE_URL", &db.url)
            .env("POINTSMAN_DATA_DIR", data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("`pointsman` was built");
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

    /// Waits until it is gone, killed by somebody or by itself.
    pub async fn killed(mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("it is killed").expect("it ends");
        assert_eq!(status.signal(), Some(KILL), "{status}");
    }
}
