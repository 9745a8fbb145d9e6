//! A throwaway PostgreSQL for what runs before the host is built: `cargo xtask sqlx`.
//!
//! The host has its own, better one (`host/src/postgres.rs`): it lasts, it is adopted, it is safe. The
//! two files that find the programs and the account are shared with it.

#[path = "../../host/src/postgres/account.rs"]
#[allow(
    dead_code,
    reason = "the host uses all of it, this program what it needs"
)]
mod account;
#[path = "../../host/src/postgres/binaries.rs"]
mod binaries;

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use self::account::Account;
use self::binaries::{Binaries, OLDEST_MAJOR};
use crate::process;

/// How long a fresh server may take to answer; it takes well under a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait between looks at whether the server is there.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running server whose files go away with it.
pub(crate) struct Cluster {
    binaries: Binaries,
    user: String,
    server: Child,
    dir: TempDir,
}

/// Whether a server that is new enough is installed.
pub(crate) fn is_installed() -> bool {
    newest().is_some()
}

/// What `cargo xtask` says when there is no server.
pub(crate) fn missing() -> String {
    format!(
        "PostgreSQL {OLDEST_MAJOR} or newer is not installed: install the server programs \
         (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server \
         postgresql-contrib)"
    )
}

/// The path of `psql`: beside the newest server, or wherever `PATH` has it.
pub(crate) fn psql() -> PathBuf {
    newest()
        .map(|binaries| binaries.program("psql"))
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("psql"))
}

fn newest() -> Option<Binaries> {
    binaries::installed(None)
        .into_iter()
        .find(|binaries| binaries.major >= OLDEST_MAJOR)
}

impl Cluster {
    /// Makes a cluster in a temporary folder and starts it. It listens on a socket in a folder that only
    /// its own account and root can enter, and its superuser has the name of whoever runs this, which
    /// the kernel vouches for (`peer`).
    ///
    /// # Errors
    ///
    /// When PostgreSQL is missing, or does not start; the error quotes its log.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let binaries = newest().with_context(missing)?;
        let me = account::current()?;
        let owner = if me.uid == 0 {
            account::unprivileged().context(
                "PostgreSQL does not run as root, and there is no account to run it as: \
                 create one with `useradd --system pointsman`",
            )?
        } else {
            me.clone()
        };
        let dir = tempfile::Builder::new()
            .prefix("pointsman-xtask-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711))?;
        for name in ["data", "run"] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
            if owner != me {
                chown(&path, Some(owner.uid), Some(owner.gid))?;
            }
        }
        init(&binaries, &owner, &me.name, dir.path())?;
        let mut cluster = Self {
            server: spawn(&binaries, &owner, dir.path())?,
            binaries,
            user: me.name,
            dir,
        };
        cluster.wait_until_ready()?;
        cluster.psql("postgres", &["-c", "CREATE DATABASE pointsman"])?;
        Ok(cluster)
    }

    /// The address of its one database.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres:///pointsman?host={}&user={}&sslmode=disable",
            self.socket_dir().display(),
            self.user
        )
    }

    /// The version of the server, such as `15.18`.
    pub(crate) fn version(&self) -> &str {
        &self.binaries.version
    }

    fn socket_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn psql(&self, database: &str, args: &[&str]) -> anyhow::Result<String> {
        let host = self.socket_dir();
        let mut psql = Command::new(psql());
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", &self.user, "-h"])
            .arg(host)
            .args(["-d", database])
            .args(args);
        process::output(&mut psql)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.psql("postgres", &["-c", "SELECT"]).is_err() {
            let log = || log(self.dir.path());
            if let Some(status) = self.server.try_wait()? {
                bail!("PostgreSQL did not start ({status}):\n{}", log());
            }
            ensure!(
                started.elapsed() < START_TIMEOUT,
                "PostgreSQL did not answer within {} s:\n{}",
                START_TIMEOUT.as_secs(),
                log()
            );
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing in it is worth an orderly end: SIGQUIT is PostgreSQL's "immediate" shutdown.
        if let Some(pid) = rustix::process::Pid::from_raw(self.server.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        let _ = self.server.wait();
    }
}

fn init(binaries: &Binaries, owner: &Account, superuser: &str, dir: &Path) -> anyhow::Result<()> {
    let mut initdb = account::command(&binaries.program("initdb"), owner, dir);
    initdb
        .args(["--no-sync", "--no-instructions", "--auth=peer"])
        .args(["--encoding=UTF8", "--locale=C", "--username", superuser])
        .arg(dir.join("data"));
    process::output(&mut initdb).context("cannot make a PostgreSQL cluster")?;
    Ok(())
}

fn spawn(binaries: &Binaries, owner: &Account, dir: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::create(dir.join("log"))?;
    let mut postgres = account::command(&binaries.program("postgres"), owner, dir);
    postgres
        .arg("-D")
        .arg(dir.join("data"))
        .arg("-k")
        .arg(dir.join("run"));
    for setting in ["listen_addresses=", "fsync=off", "synchronous_commit=off"] {
        postgres.args(["-c", setting]);
    }
    postgres
        .stdout(Stdio::null())
        .stderr(log)
        // Unlike the host's, this one should end with whoever started it: Ctrl-C reaches it too.
        .process_group(rustix::process::getpgrp().as_raw_nonzero().get())
        .spawn()
        .context("cannot start PostgreSQL")
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}
