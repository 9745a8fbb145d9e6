//! Starting a host, and stopping it.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use pointsman_api::token::{CreatedToken, NewToken, Role};
use pointsman_jobs::User;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Database, JobUser};
use crate::db::batch::nothing;
use crate::db::token::Tokens;
use crate::db::{Actor, Db};
use crate::links::Links;
use crate::merge::{Backend, Days, Engine, LocalForge, Who};
use crate::plugins::Plugins;
use crate::policy::{COMPILE_DEADLINE, Compiler, DEFAULT_CALLS_AT_ONCE, Runtime, RuntimeConfig};
use crate::postgres::{self, Embedded, EmbeddedConfig};
use crate::runs::Runs;
use crate::server::{self, App};
use crate::shadow::Shadows;
use crate::turn::Worker;

/// How long requests in flight may take to finish once the host is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How often within [`REVIVAL_PERIOD`] an embedded PostgreSQL is started again after it ended by itself:
/// one that keeps ending has a fault that a person has to look at.
const MAX_REVIVALS: u32 = 5;
/// See [`MAX_REVIVALS`].
const REVIVAL_PERIOD: Duration = Duration::from_secs(600);
/// The name of the token that the host makes for itself at its first start.
const FIRST_TOKEN: &str = "admin";

/// A running host. Dropped without [`Server::shutdown`], its tasks end, and an embedded database is
/// left running for the next start to adopt.
pub struct Server {
    url: String,
    data_dir: PathBuf,
    token_file: PathBuf,
    stop: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
    tasks: Vec<JoinHandle<()>>,
    db: Db,
    embedded: Option<Embedded>,
    /// Held as long as the host runs.
    _lock: fs::File,
}

/// Starts a host: the database where it is embedded, migrations, the turn, the HTTP API. `progress` is
/// told of each slow step.
pub async fn start(
    config: Config,
    progress: impl Fn(&str) + Send + Sync + 'static,
) -> anyhow::Result<Server> {
    if !matches!(config.database, Database::Embedded) {
        private_dir(&config.data_dir)?;
    }
    // The port first: a second host on it is told so before anything else is started.
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!(
            "cannot listen on {}; is another server running there?",
            config.listen
        )
    })?;
    let address = listener.local_addr()?;
    let (url, embedded) = match &config.database {
        Database::Url(url) => (url.clone(), None),
        Database::Embedded => {
            let embedded =
                postgres::start(EmbeddedConfig::new(&config.data_dir), &progress).await?;
            let url = embedded.create_database("pointsman").await?;
            (url, Some(embedded))
        }
    };
    let db = Db::open(&url).context("DATABASE_URL is not an address of PostgreSQL")?;
    db.reach().await?;
    let applied = db.migrate().await.context("cannot migrate the database")?;
    for name in &applied {
        progress(&format!("migrated: {name}"));
    }
    let token_file = config.data_dir.join("admin.token");
    first_token(&db, &token_file).await?;
    let tokens = Tokens::default();
    tokens.refresh(&db).await?;

    let runtime = Runtime::new(RuntimeConfig {
        compiler: match config.compile_command.clone() {
            Some(command) => Compiler::Child {
                command,
                deadline: COMPILE_DEADLINE,
            },
            None => Compiler::InProcess,
        },
        cache_dir: Some(config.plugin_cache.clone()),
        calls_at_once: DEFAULT_CALLS_AT_ONCE,
    })?;
    let stop = CancellationToken::new();
    let commits = db.commits();
    let own = db.for_engine();
    let worker = Worker::new(
        own.clone(),
        runtime.clone(),
        stop.clone(),
        config.decision_days,
        config.ceilings,
    );
    let lock = lock(&config.data_dir)?;
    let links = Links::open(
        config.link_secret.as_deref(),
        &config.data_dir,
        config.link_days,
        config.artifact_days,
        config.public_url.clone(),
    )?;
    let engine = engine(&config, &own, links.clone(), stop.clone())?;
    engine.check_git().await?;
    engine.recover().await?;
    let days = Days {
        decisions: config.decision_days,
        artifacts: config.artifact_days,
    };
    let mut tasks = engine.start(&runtime, config.ceilings, days, DRAIN);
    let shadows = Shadows::new(own.clone(), runtime.clone(), stop.clone());
    let runs = Runs::new(own.clone(), runtime.clone(), stop.clone(), config.ceilings);
    tasks.extend([
        worker.start(DRAIN),
        runs.start(DRAIN),
        tokio::spawn(shadows.run()),
    ]);
    // Not by the connections of requests: a token that is revoked is out of force however many those are.
    tasks.push(tokio::spawn(refresh_tokens(
        tokens.clone(),
        own,
        commits.clone(),
        stop.clone(),
    )));
    let app = App {
        db: db.clone(),
        tokens,
        plugins: Plugins::new(db.clone(), runtime, config.ceilings),
        engine,
        links,
        artifact_days: config.artifact_days,
        commits,
        stop: stop.clone(),
        metrics: recorder(),
    };
    let serving = tokio::spawn(serve(listener, app, stop.clone()));
    let url = format!("http://{}", reachable(address));
    fs::write(config.data_dir.join("url"), format!("{url}\n"))?;
    Ok(Server {
        url,
        data_dir: config.data_dir,
        token_file,
        stop,
        serving,
        tasks,
        db,
        embedded,
        _lock: lock,
    })
}

impl Server {
    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its own directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where the token is that it made at its first start; for its own user alone.
    pub fn admin_token_file(&self) -> &Path {
        &self.token_file
    }

    /// Resolves if the server ends by itself, with the reason. An embedded PostgreSQL that was killed
    /// or crashed is started again meanwhile; requests until then are answered that the database cannot
    /// be reached.
    pub async fn failed(&mut self) -> anyhow::Error {
        let mut revivals = 0;
        let mut since = Instant::now();
        loop {
            let gone = async {
                match &mut self.embedded {
                    Some(embedded) => embedded.gone().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                served = &mut self.serving => return match served {
                    Ok(Ok(())) => anyhow::anyhow!("the server ended"),
                    Ok(Err(error)) => error,
                    Err(error) => error.into(),
                },
                () = gone => {}
            }
            if since.elapsed() > REVIVAL_PERIOD {
                (revivals, since) = (0, Instant::now());
            }
            revivals += 1;
            if revivals > MAX_REVIVALS {
                return anyhow::anyhow!(
                    "the embedded PostgreSQL ended {revivals} times within {} s; its log is in the data directory",
                    REVIVAL_PERIOD.as_secs()
                );
            }
            tracing::error!("the embedded PostgreSQL ended by itself and is started again");
            if let Some(embedded) = &mut self.embedded
                && let Err(error) = embedded.revive(|step| tracing::info!("{step}")).await
            {
                return anyhow::Error::from(error)
                    .context("the embedded PostgreSQL ended by itself");
            }
        }
    }

    /// Stops: requests in flight finish, the turn ends at its next pause, an embedded database shuts
    /// down.
    pub async fn shutdown(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        if !self.serving.is_finished() {
            let _ = tokio::time::timeout(DRAIN, &mut self.serving).await;
        }
        self.serving.abort();
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(DRAIN, &mut task).await.is_err() {
                task.abort();
            }
        }
        let _ = tokio::time::timeout(DRAIN, self.db.close()).await;
        let _ = fs::remove_file(self.data_dir.join("url"));
        match self.embedded.take() {
            Some(embedded) => Ok(embedded.stop().await?),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(embedded) = self.embedded.take() {
            embedded.detach();
        }
    }
}

/// Takes the data directory for this host alone: what jobs run there are its own to end and to forget. The
/// lock goes with the process, however that ends.
fn lock(data_dir: &Path) -> anyhow::Result<fs::File> {
    let path = data_dir.join("host.lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => anyhow::bail!(
            "another host runs on {}: give each host a data directory of its own (--data-dir)",
            data_dir.display()
        ),
        Err(fs::TryLockError::Error(error)) => {
            Err(anyhow::Error::from(error).context(format!("cannot lock {}", path.display())))
        }
    }
}

/// What merge pipelines work with: git, jobs, and a name of this host's own.
fn engine(
    config: &Config,
    db: &Db,
    links: Links,
    stop: CancellationToken,
) -> anyhow::Result<Engine> {
    let who = match config.job_user {
        JobUser::Host => Who::Host,
        JobUser::One { uid, gid } => Who::One(User { uid, gid }),
        JobUser::Apart { uid, gid } => Who::apart_or(User { uid, gid }),
    };
    for (dir, mode) in [
        (&config.forge_dir, 0o750),
        (&config.jobs_dir, 0o711),
        (&config.secrets_dir, 0o700),
    ] {
        // A folder that is there has the rights that somebody gave it.
        if dir.exists() {
            continue;
        }
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(dir);
        made.with_context(|| format!("cannot make {}", dir.display()))?;
        if let Some(group) = who.group()
            && *dir == config.forge_dir
        {
            // Jobs fetch from the forge, as a group that is theirs alone.
            std::os::unix::fs::chown(dir, None, Some(group))
                .with_context(|| format!("cannot give {} to jobs", dir.display()))?;
        }
    }
    if who != Who::Host {
        // Jobs pass through to their folders, and to the forge.
        for dir in [&config.data_dir, &config.jobs_dir] {
            let mode = fs::metadata(dir)?.permissions().mode();
            fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o011))
                .with_context(|| format!("cannot let jobs through {}", dir.display()))?;
        }
    }
    let forge = LocalForge::new(&config.forge_dir, config.program.clone());
    let backend = Backend::new(
        &config.jobs_dir,
        config.program.clone(),
        &config.artifacts,
        &config.secrets_dir,
        who,
    )?;
    let host = host_id(&config.data_dir.join("host-id"))?;
    Ok(Engine::new(db.clone(), host, forge, backend, links, stop))
}

/// Who this host is, the same after each start: the attempts that it runs are found again by it.
fn host_id(file: &Path) -> anyhow::Result<Arc<str>> {
    if let Ok(id) = fs::read_to_string(file) {
        let id = id.trim();
        if !id.is_empty() {
            return Ok(id.into());
        }
    }
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let id = hex::encode(random);
    fs::write(file, format!("{id}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(id.into())
}

/// Applies the migrations that are missing; gives their names.
pub async fn migrate(database_url: &str) -> anyhow::Result<Vec<String>> {
    let db = Db::open(database_url)?;
    db.reach().await?;
    let applied = db.migrate().await?;
    db.close().await;
    Ok(applied)
}

/// Whether nobody has used this database yet.
pub async fn is_unused(database_url: &str) -> anyhow::Result<bool> {
    let db = Db::open(database_url)?;
    db.reach().await?;
    let unused = db.is_unused().await?;
    db.close().await;
    Ok(unused)
}

/// Makes a token in a database, with no server: how the first one comes about on a shared database.
pub async fn create_token_in(database_url: &str, new: NewToken) -> anyhow::Result<CreatedToken> {
    let db = Db::open(database_url)?;
    db.reach().await?;
    let created = make_token(&db, "database", &new).await?;
    db.close().await;
    Ok(created)
}

async fn make_token(db: &Db, user: &str, new: &NewToken) -> crate::error::Result<CreatedToken> {
    let actor = Actor {
        user: user.to_owned(),
        address: None,
    };
    let mut batch = db
        .begin(&actor, new.comment.as_deref(), || {
            format!("Create token {}", new.name)
        })
        .await?;
    let created = db.create_token(&mut batch, new).await?;
    batch.commit(nothing()).await?;
    Ok(created)
}

/// Makes the first token where there is no admin's yet, into a file for this user alone.
async fn first_token(db: &Db, file: &Path) -> anyhow::Result<()> {
    if db.has_admin().await? {
        return Ok(());
    }
    let mut name = FIRST_TOKEN.to_owned();
    for attempt in 2.. {
        let new = NewToken {
            comment: Some("The first token of this host".to_owned()),
            name: name.clone(),
            role: Role::Admin,
            expires: None,
        };
        match make_token(db, "pointsman", &new).await {
            Ok(created) => {
                let _ = fs::remove_file(file);
                let mut out = fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(file)?;
                writeln!(out, "{}", created.secret)?;
                return Ok(());
            }
            // The name is taken by a token that was revoked.
            Err(crate::error::Error::Refused(refusal))
                if refusal.code == "token_exists" && attempt < 100 =>
            {
                name = format!("{FIRST_TOKEN}-{attempt}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How long what another host revokes may still be taken for good here.
const TOKENS_EVERY: Duration = Duration::from_millis(100);

/// Keeps the tokens in memory up to date with what others create and revoke.
async fn refresh_tokens(
    tokens: Tokens,
    db: Db,
    mut commits: tokio::sync::watch::Receiver<u64>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = commits.changed() => if changed.is_err() { return },
        }
        if let Err(error) = tokens.refresh(&db).await {
            tracing::debug!(%error, "tokens could not be refreshed; those in memory stay in force");
        }
        // Commits come in bursts, and hardly one is of a token.
        tokio::time::sleep(TOKENS_EVERY).await;
    }
}

async fn serve(listener: TcpListener, app: App, stop: CancellationToken) -> anyhow::Result<()> {
    let router = server::router(app);
    server::connections::serve(listener, router, stop).await;
    Ok(())
}

/// The process's recorder of metrics; a process with several hosts (tests) shares one.
fn recorder() -> Option<Arc<PrometheusHandle>> {
    static RECORDER: OnceLock<Option<Arc<PrometheusHandle>>> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            PrometheusBuilder::new()
                .install_recorder()
                .ok()
                .map(Arc::new)
        })
        .clone()
}

/// Makes the data directory for this user alone. Where PostgreSQL lives in it, that has to get through
/// as another user when this one is root, and the directory is made with the rest of its folders.
fn private_dir(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the data directory {}", dir.display()))
}

/// An address that a client can use: a host that listens everywhere is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true if address.is_ipv6() => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
        true => (std::net::Ipv4Addr::LOCALHOST, address.port()).into(),
        false => address,
    }
}
