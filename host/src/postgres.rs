//! The embedded PostgreSQL: a private native cluster in the data directory, made and run by the host.
//!
//! It is the machine's own PostgreSQL (15 or newer) on a cluster that nobody else uses. It listens on
//! a Unix socket only, in a folder that others cannot enter, and lets in one user: the one that the
//! host runs as, for whom the kernel vouches (`peer`). No password exists that could leak. When the
//! host is root, PostgreSQL runs as `postgres`, or as the system user `pointsman` where there is no
//! `postgres`.
//!
//! The cluster is the record, so its life is not the host's. A host that is killed leaves the server
//! running, and the next one adopts it, or replaces it if it does not answer or was started with other
//! settings. A lock keeps two hosts off one data directory.
//!
//! Rejected: the crate `postgresql_embedded` (0.22). It downloads the server from the network at run
//! time, or at compile time with `bundled`, where distributions keep theirs patched; it has no way to
//! run the server as another user, which root needs; it takes the mere presence of `postmaster.pid`
//! for a running server, so it neither adopts one nor sees that it is dead; it starts every server with
//! `-F`, which is `fsync=off`; and it leaves TCP on beside the socket, with a password.

mod account;
mod binaries;
mod cluster;
mod error;
mod layout;
mod postmaster;
mod settings;
mod shared;

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use self::layout::Layout;
use self::postmaster::{Ending, POLL_INTERVAL, Postmaster, Status};
use self::settings::{DIGEST_SETTING, ROLE};

pub use self::error::PostgresError;
pub use self::settings::Durability;
pub use self::shared::shared_test_cluster;

/// The database that [`Embedded::url`] names; it is made at the first start.
const DATABASE: &str = "pointsman";

/// How long a running server may take to answer a trivial question before it counts as dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long dropping an [`Embedded`] may hold up the program for an orderly end of the server.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest name of a database, in bytes; PostgreSQL would cut a longer one off silently.
const MAX_NAME_BYTES: usize = 63;

/// Where lines about what takes long go.
type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// What an embedded PostgreSQL needs to know.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The data directory of the host; everything of PostgreSQL goes into `postgres/` below it.
    pub data_dir: PathBuf,
    /// The folder of `postgres` and `initdb`; `None` to find the newest that fits.
    pub bin_dir: Option<PathBuf>,
    /// How much a crash of the machine may cost.
    pub durability: Durability,
}

impl EmbeddedConfig {
    /// A safe cluster in this data directory, run by the programs that are found.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            bin_dir: None,
            durability: Durability::Safe,
        }
    }

    /// The same for a test: fast, and not safe from a crash of the machine.
    #[must_use]
    pub fn throwaway(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            durability: Durability::Throwaway,
            ..Self::new(data_dir)
        }
    }
}

/// Where a host keeps its data when nobody says: `/var/lib/pointsman` for root, whose home others
/// cannot enter, else `pointsman` in the user's data folder (`XDG_DATA_HOME`, `~/.local/share`).
///
/// # Errors
///
/// When neither `XDG_DATA_HOME` nor `HOME` says where that is.
pub fn default_data_dir() -> Result<PathBuf, PostgresError> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/pointsman"));
    }
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/share")))
        .map(|dir| dir.join("pointsman"))
        .ok_or(PostgresError::NoHome)
}

/// Starts the embedded PostgreSQL: finds the programs, makes a cluster where there is none, adopts or
/// replaces a server that was left behind, and waits until it answers. `progress` gets a line for each
/// step that takes a while.
///
/// # Errors
///
/// When PostgreSQL is missing, does not fit the data, cannot be run here, or another host runs on the
/// same data directory. [`PostgresError::hint`] says what to do.
pub async fn start(
    config: EmbeddedConfig,
    progress: impl Fn(&str) + Send + Sync,
) -> Result<Embedded, PostgresError> {
    let mut layout = Layout::prepare(&config.data_dir)?;
    let lock = layout.lock()?;
    layout.make_server_dirs()?;
    let server = run_server(&layout, &config, &progress).await?;
    let embedded = Embedded {
        config,
        layout,
        server: Some(server),
        _lock: lock,
    };
    embedded.create_database(DATABASE).await?;
    Ok(embedded)
}

/// Adopts the server that runs, or starts one, on a cluster that is made first where there is none.
async fn run_server(
    layout: &Layout,
    config: &EmbeddedConfig,
    progress: Progress<'_>,
) -> Result<Postmaster, PostgresError> {
    let digest = settings::write(layout, config.durability)?;
    if let Some(server) = adopt(layout, &digest, progress).await? {
        return Ok(server);
    }
    let major = cluster::major(layout)?;
    let fitting = major.map(|major| (major, layout));
    let binaries = cluster::binaries(config.bin_dir.as_deref(), fitting)?;
    if major.is_none() {
        cluster::make(layout, &binaries, config.durability, progress).await?;
    }
    progress(&format!("starting PostgreSQL {}", binaries.version));
    Postmaster::start(layout, &binaries, progress).await
}

/// Takes over a server that was left behind: `None` when there is none, or none that is of use, in
/// which case it is gone afterwards.
async fn adopt(
    layout: &Layout,
    digest: &str,
    progress: Progress<'_>,
) -> Result<Option<Postmaster>, PostgresError> {
    let Some(mut server) = Postmaster::left_behind(layout) else {
        return Ok(None);
    };
    let pid = server.pid();
    if server.status(layout) == Some(Status::Starting) {
        server = match server.wait_until_ready(layout, progress).await {
            Ok(server) => server,
            Err(error) => {
                tracing::warn!(%error, "the PostgreSQL that was left behind is of no use");
                return Ok(None);
            }
        };
    }
    let running = digest_of_running(layout, &mut server).await;
    if running.as_deref() == Some(digest) {
        progress(&format!(
            "adopting the PostgreSQL that runs already (process {pid})"
        ));
        return Ok(Some(server));
    }
    let (what, ending) = if server.status(layout) == Some(Status::Stopping) {
        (
            "waiting for the PostgreSQL that is stopping",
            Ending::Orderly,
        )
    } else if running.is_some() {
        (
            "restarting the PostgreSQL that runs with other settings",
            Ending::Orderly,
        )
    } else {
        (
            "replacing the PostgreSQL that was left behind and does not answer",
            Ending::Immediate,
        )
    };
    progress(&format!("{what} (process {pid})"));
    server.end(layout, ending).await?;
    Ok(None)
}

/// Asks a running server for the digest of its settings; `None` when it does not answer, is ending, or
/// is not ours.
async fn digest_of_running(layout: &Layout, server: &mut Postmaster) -> Option<String> {
    let options = PgConnectOptions::from_str(&url(layout, "postgres")).ok()?;
    let ask = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        let answer: (String, Option<String>) =
            sqlx::query_as("SELECT current_setting('data_directory'), current_setting($1, true)")
                .bind(DIGEST_SETTING)
                .fetch_one(&mut connection)
                .await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(answer)
    };
    let begun = Instant::now();
    tokio::pin!(ask);
    loop {
        tokio::select! {
            answer = &mut ask => {
                let (directory, digest) = answer.ok()?;
                return digest.filter(|_| Path::new(&directory) == layout.cluster());
            }
            () = tokio::time::sleep(POLL_INTERVAL) => {
                let ending = server.status(layout) == Some(Status::Stopping);
                if ending || server.is_gone(layout) || begun.elapsed() > ANSWER_TIMEOUT {
                    return None;
                }
            }
        }
    }
}

fn url(layout: &Layout, database: &str) -> String {
    // All that the environment could otherwise decide (PGPORT, PGUSER, PGSSLMODE) is said.
    format!(
        "postgres:///{}?host={}&port=5432&user={ROLE}&sslmode=disable",
        percent_encode(database.as_bytes()),
        percent_encode(layout.run.as_os_str().as_encoded_bytes()).replace("%2F", "/"),
    )
}

/// Encodes for any place in an address. `libpq` takes a `+` for a plus, so a blank has to be `%20`.
fn percent_encode(bytes: &[u8]) -> String {
    let mut encoded = String::new();
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(*byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// A running embedded PostgreSQL, and the lock on its data directory.
///
/// Dropping it ends the server too, but holds up the thread meanwhile and cannot report a failure:
/// call [`Embedded::stop`].
#[derive(Debug)]
pub struct Embedded {
    config: EmbeddedConfig,
    layout: Layout,
    /// `None` once it was stopped or let go.
    server: Option<Postmaster>,
    _lock: File,
}

impl Embedded {
    /// The address of the host's database, for `sqlx`, `psql` and everything made with `libpq`, when run
    /// by the same user as the host. It holds no secret.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The address of another database in the cluster.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        url(&self.layout, database)
    }

    /// The process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Postmaster::pid)
    }

    /// Makes a database, unless it is there already, and returns its address.
    ///
    /// # Errors
    ///
    /// When the name is not one, or the server refuses.
    pub async fn create_database(&self, name: &str) -> Result<String, PostgresError> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains('\0') {
            return Err(PostgresError::BadName {
                name: name.to_owned(),
            });
        }
        let options = PgConnectOptions::from_str(&self.url_of("postgres"))?;
        let mut connection = PgConnection::connect_with(&options).await?;
        let known: bool =
            sqlx::query_scalar("SELECT count(*) > 0 FROM pg_database WHERE datname = $1")
                .bind(name)
                .fetch_one(&mut connection)
                .await?;
        if !known {
            let quoted = name.replace('"', "\"\"");
            sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE \"{quoted}\"")))
                .execute(&mut connection)
                .await?;
        }
        connection.close().await?;
        Ok(self.url_of(name))
    }

    /// Waits until the server is gone though nobody stopped it: it was killed, or ran out of memory.
    pub async fn gone(&mut self) {
        while let Some(server) = &mut self.server {
            if server.is_gone(&self.layout) {
                return;
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }

    /// Starts the server again after it was [`gone`](Self::gone), on the same address. Pools connect
    /// anew by themselves.
    ///
    /// # Errors
    ///
    /// As [`start`]; it can be tried again.
    pub async fn revive(
        &mut self,
        progress: impl Fn(&str) + Send + Sync,
    ) -> Result<(), PostgresError> {
        if let Some(server) = &mut self.server
            && server.is_gone(&self.layout)
        {
            *server = run_server(&self.layout, &self.config, &progress).await?;
        }
        Ok(())
    }

    /// Ends the server in an orderly way and gives the data directory free.
    ///
    /// # Errors
    ///
    /// When it cannot even be killed.
    pub async fn stop(mut self) -> Result<(), PostgresError> {
        match self.server.take() {
            Some(mut server) => server.end(&self.layout, Ending::Orderly).await,
            None => Ok(()),
        }
    }

    /// Lets go of the server and leaves it running, as a host does that is killed: the next
    /// [`start`] on the same data directory adopts it.
    pub fn detach(mut self) {
        self.server = None;
    }
}

/// How often [`Embedded::gone`] looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.end_blocking(&self.layout, DROP_TIMEOUT);
        }
    }
}
