//! The only SQL of the host: one file per resource.
//!
//! Reads run on a pool with a short statement timeout, writes in a [`Batch`]: one transaction, one
//! generation. Lists are built by `QueryBuilder` because their filters vary (every value is a bind
//! parameter, never text); everything else is checked at compile time.

pub mod batch;
pub mod browse;
pub mod cluster;
pub mod cursor;
pub mod decision;
pub mod distro;
pub mod event;
pub mod export;
pub mod generation;
pub mod ignore;
pub mod import;
pub mod kernel;
pub mod kernel_write;
pub mod lane;
pub mod listen;
pub mod merge;
pub mod names;
pub mod note;
pub mod pipeline;
pub mod plugin;
pub mod pull;
pub mod run;
pub mod runs;
pub mod shadow;
pub mod token;
pub mod turn;
pub mod upkeep;
pub mod wanted;
mod writing;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _, PgPool};
use tokio::sync::watch;
use tracing::log::LevelFilter;

use crate::error::{Error, Result};
use names::Names;

pub use batch::{Actor, Batch};

/// Connections, for each core of the host, for reads that walk an index for one row or one page. Each is
/// a process of PostgreSQL's: more of them than the cores can run only push one another out of the
/// caches (measured on two cores: 60 us of a core for one version with 4, 80 with 16 and with 32); fewer
/// leave them idle while the host works.
const QUICK_CONNECTIONS_PER_CORE: u32 = 4;
/// Connections for all other reads, which may take as long as the limit allows and must not keep the
/// quick ones waiting; few enough that a burst queues here and not in Postgres.
const READ_CONNECTIONS: u32 = 8;
/// Connections for writes.
const WRITE_CONNECTIONS: u32 = 6;
/// Connections for what turns and effects write. A connection has to plan each statement and each trigger once before
/// it is fast, and they are used in turns: few of them are warm soon.
const ENGINE_WRITES: u32 = 4;
/// Connections for what they read: one turn reads up to seven things at once.
const ENGINE_READS: u32 = 8;
/// How long a request waits for a free connection, or for a database that is down.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one read may take: a pattern without a trigram scans, and must end.
pub const READ_TIMEOUT_MS: u32 = 2_000;
/// How long one statement of a write may take, or of the engine: the largest batch needs a few seconds.
const WRITE_TIMEOUT_MS: u32 = 60_000;
/// What PostgreSQL is told about each connection: a machine that is gone without a word is noticed after 25 seconds, and
/// its locks go with its connections. By itself it would notice after two hours. Over a socket within the machine this
/// means nothing.
const KEEPALIVE: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    // In milliseconds: for what was sent to it and is not acknowledged.
    ("tcp_user_timeout", "25000"),
];

/// The record.
#[derive(Clone)]
pub struct Db {
    quick: PgPool,
    read: PgPool,
    write: PgPool,
    engine: Engine,
    names: Names,
    /// Shared, since a request's handler has a clone of all this.
    options: Arc<PgConnectOptions>,
    commits: Arc<OnceLock<watch::Receiver<u64>>>,
}

/// What the engine reads and writes by.
#[derive(Clone)]
struct Engine {
    read: PgPool,
    write: PgPool,
}

impl Db {
    /// Pools on the database at `url`. Connects lazily: a database that is down is an error of each
    /// request, and heals by itself.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        let options: PgConnectOptions = url
            .parse::<PgConnectOptions>()?
            .application_name("pointsman")
            .options(KEEPALIVE)
            .log_statements(LevelFilter::Off)
            .log_slow_statements(LevelFilter::Warn, Duration::from_secs(1));
        let pool = |connections, timeout_ms: u32, plans: &str| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                // A dead connection shows when it is used; a ping per request would cost as much as
                // the request.
                .test_before_acquire(false)
                .connect_lazy_with(options.clone().options([
                    ("statement_timeout", timeout_ms.to_string()),
                    ("idle_in_transaction_session_timeout", "60000".to_owned()),
                    ("plan_cache_mode", plans.to_owned()),
                ]))
        };
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get() as u32);
        let quick = pool(cores * QUICK_CONNECTIONS_PER_CORE, READ_TIMEOUT_MS, "auto");
        let read = pool(READ_CONNECTIONS, READ_TIMEOUT_MS, "auto");
        let write = pool(WRITE_CONNECTIONS, WRITE_TIMEOUT_MS, "auto");
        // The engine's statements have one good plan each. Otherwise PostgreSQL makes a plan for the values of each
        // of the first five times, on each connection, and in each trigger: some ten milliseconds in a turn.
        let generic = "force_generic_plan";
        let engine = Engine {
            // A request that takes long had better fail; a turn that is given up is taken again, for ever where each
            // take is as slow as the last.
            read: pool(ENGINE_READS, WRITE_TIMEOUT_MS, generic),
            write: pool(ENGINE_WRITES, WRITE_TIMEOUT_MS, generic),
        };
        Ok(Self {
            names: Names::new(quick.clone()),
            quick,
            read,
            write,
            engine,
            options: Arc::new(options),
            commits: Arc::default(),
        })
    }

    /// The same record, on connections of the engine's own: what requests do keeps no turn waiting.
    pub fn for_engine(&self) -> Self {
        Self {
            read: self.engine.read.clone(),
            write: self.engine.write.clone(),
            ..self.clone()
        }
    }

    /// Connects once, and says what is wrong where that fails: a pool would only say that it waited.
    pub async fn reach(&self) -> anyhow::Result<()> {
        let port = self.options.get_port();
        let place = match self.options.get_socket() {
            Some(socket) => format!("{}, port {port}", socket.display()),
            None => format!("{}:{port}", self.options.get_host()),
        };
        let what = || {
            format!(
                "cannot reach the database at {place}; is PostgreSQL running there, and is DATABASE_URL right?"
            )
        };
        let connection = tokio::time::timeout(ACQUIRE_TIMEOUT, self.options.connect());
        let connection = connection.await.with_context(what)?.with_context(what)?;
        Ok(connection.close().await?)
    }

    /// Applies the migrations that are missing.
    pub async fn migrate(&self) -> anyhow::Result<Vec<String>> {
        let before = applied(&self.write).await;
        // On a connection of its own, without the time limits of the others: an index on what was recorded in years
        // takes as long as it takes, and so does another host that is at it.
        let mut connection = self.options.connect().await?;
        MIGRATOR.run(&mut connection).await?;
        connection.close().await?;
        sqlx::query!("select epoch_ensure()")
            .fetch_one(&self.write)
            .await?;
        Ok(MIGRATOR
            .iter()
            .filter(|m| !before.contains(&m.version))
            .map(|m| m.description.to_string())
            .collect())
    }

    /// Whether the database answers and has the schema of this host.
    pub async fn ready(&self) -> Result<()> {
        let applied = applied(&self.read).await;
        if MIGRATOR.iter().all(|m| applied.contains(&m.version)) {
            return Ok(());
        }
        sqlx::query!("select 1 as one")
            .fetch_one(&self.read)
            .await?;
        Err(Error::Unavailable(anyhow::anyhow!(
            "migrations are missing: run `pointsman migrate`"
        )))
    }

    /// The names of distros and states, which never change once given.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Closes the pools; requests in flight finish first.
    pub async fn close(&self) {
        for pool in [
            &self.quick,
            &self.read,
            &self.write,
            &self.engine.read,
            &self.engine.write,
        ] {
            pool.close().await;
        }
    }
}

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

async fn applied(pool: &PgPool) -> Vec<i64> {
    // The table is absent before the first migration: then nothing is applied.
    sqlx::query_scalar("select version from _sqlx_migrations where success")
        .fetch_all(pool)
        .await
        .unwrap_or_default()
}
