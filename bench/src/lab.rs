//! Where it is measured: an embedded PostgreSQL of its own, with the settings of a real one, and hosts
//! as processes of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use pointsman_host::postgres::{self, Embedded, EmbeddedConfig};
use pointsman_host::{Config, Database};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};

use crate::http::Client;
use crate::report::progress;
use crate::used;

/// How long a host may take to start.
const START: Duration = Duration::from_secs(60);
/// How often it is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The cluster.
pub(crate) struct Lab {
    dir: TempDir,
    postgres: Embedded,
    postmaster: u32,
}

impl Lab {
    pub(crate) async fn start(dir: Option<&Path>) -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("pointsman-bench-");
        let dir = match dir {
            Some(dir) => builder.tempdir_in(dir),
            None => builder.tempdir(),
        }
        .context("a folder for the databases")?;
        // PostgreSQL runs as somebody else where we are root.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let postgres =
            postgres::start(EmbeddedConfig::new(dir.path()), |step| progress(step)).await?;
        let mut connection = PgConnection::connect(&postgres.url()).await?;
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut connection)
            .await?;
        let postmaster = used::parent(u32::try_from(backend)?).context("the server's process")?;
        let lab = Self {
            dir,
            postgres,
            postmaster,
        };
        let settings: String = sqlx::query_scalar(
            "select 'PostgreSQL ' || current_setting('server_version') || ', ' ||
               string_agg(name || '=' || current_setting(name), ', ' order by name)
             from pg_settings where name in ('fsync', 'synchronous_commit', 'shared_buffers', 'wal_level')",
        )
        .fetch_one(&mut connection)
        .await?;
        crate::report::note(settings);
        Ok(lab)
    }

    /// A database with the tables of the record.
    pub(crate) async fn database(&self, name: &str) -> anyhow::Result<String> {
        let url = self.postgres.create_database(name).await?;
        pointsman_host::migrate(&url).await?;
        Ok(url)
    }

    /// A host on a database.
    pub(crate) async fn host(&self, name: &str, database_url: &str) -> anyhow::Result<Host> {
        Host::start(self.dir.path().join(format!("host-{name}")), database_url).await
    }

    /// Processor seconds that the database, a host, and this process with its children have used.
    pub(crate) fn processor_seconds(&self, host: &Host) -> [f64; 3] {
        [
            used::family_seconds(self.postmaster),
            host.child.id().map_or(0.0, used::own_seconds),
            used::family_seconds(std::process::id())
                - host.child.id().map_or(0.0, used::own_seconds),
        ]
    }

    /// A folder for what a measurement needs.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.postgres.stop().await?;
        Ok(())
    }
}

/// A host in a process of its own. Dropped, it is killed.
pub(crate) struct Host {
    url: String,
    token: String,
    child: Child,
    /// Held open: a host ends when its starter does.
    stdin: Option<ChildStdin>,
}

impl Host {
    async fn start(data_dir: PathBuf, database_url: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("__serve")
            .arg(&data_dir)
            .arg(database_url)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        let began = Instant::now();
        let url = loop {
            if let Ok(url) = std::fs::read_to_string(data_dir.join("url"))
                && url.ends_with('\n')
            {
                break url.trim().to_owned();
            }
            ensure!(
                child.try_wait()?.is_none(),
                "the host ended before it served"
            );
            ensure!(began.elapsed() < START, "the host does not start");
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let token = std::fs::read_to_string(data_dir.join("admin.token"))
            .context("the database has an admin already")?
            .trim()
            .to_owned();
        let host = Self {
            url,
            token,
            child,
            stdin,
        };
        let mut client = host.client().await?;
        // A token is known as soon as the host has seen that it was made.
        while client.get("/v1/whoami").await.is_err() {
            ensure!(began.elapsed() < START, "the host does not know its token");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(host)
    }

    /// A connection to it.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(&self.url, &self.token).await
    }

    /// Ends it in an orderly way.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = stdin.shutdown().await;
        }
        self.child.wait().await?;
        Ok(())
    }
}

/// The process of a host: as `pointsman serve`, until its stdin closes.
pub(crate) fn serve(data_dir: PathBuf, database_url: String) -> anyhow::Result<()> {
    let mut config = Config::new(data_dir);
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.database = Database::Url(database_url);
    tokio::runtime::Runtime::new()?.block_on(async {
        let server = pointsman_host::start(config, |_| {}).await?;
        let closed = tokio::task::spawn_blocking(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        });
        closed.await?;
        server.shutdown().await
    })
}

/// A program of PostgreSQL: beside the newest server, or wherever the shell finds it.
pub(crate) fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter_map(|entry| {
            let major: u32 = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path().join("bin").join(name);
            path.is_file().then_some((major, path))
        })
        .max();
    newest.map_or_else(|| PathBuf::from(name), |(_, path)| path)
}
