//! `pointsman serve`, `pointsman migrate`, and what `up` shares with them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use pointsman_api::token::{CreatedToken, NewToken};
use pointsman_host::error::{Error as HostError, Kind};
use pointsman_host::postgres::PostgresError;
use pointsman_host::{Config, Database, JobUser, Server};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::server::{Decisions, Jobs, Links, LogFormat, Logs, Serve};
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::progress::Progress;

/// This very program, even after its file was replaced by a newer one.
const THIS_PROGRAM: &str = "/proc/self/exe";

pub(super) fn run(context: &Context, args: &Serve) -> Result<Exit, Error> {
    log(context, &args.logs, "info");
    let database = match database() {
        Some(database) => database,
        None if args.embedded => Database::Embedded,
        None => {
            return Err(Error::usage(
                "no database is named",
                "set DATABASE_URL, or add --embedded to run one in the data directory",
            ));
        }
    };
    let mut config = config(context.data_dir()?, args.listen, database, &args.decisions);
    jobs(&mut config, &args.jobs);
    links(&mut config, &args.links);
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let started = start(config, |step: &str| tracing::info!("{step}"), &mut signals).await?;
        let mut server = match started {
            Started::Runs(server) => server,
            Started::Interrupted(server) => {
                return stop(server, &mut signals).await.map(|()| Exit::Ok);
            }
        };
        tracing::info!(url = server.url(), "serving");
        let ended = tokio::select! {
            ended = until_stopped(&mut server, &mut signals) => ended,
            () = stdin_ended(args.stop_with_stdin) => Ok(Exit::Ok),
        };
        tracing::info!("stopping");
        stop(server, &mut signals).await?;
        ended
    })
}

/// Waits until whoever holds the other end of standard input is gone, where that is what was asked for.
async fn stdin_ended(wanted: bool) {
    let (ended, waits) = tokio::sync::oneshot::channel::<()>();
    if wanted {
        // A thread of its own: a read that blocks would keep the runtime from ending.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = ended.send(());
        });
        let _ = waits.await;
    } else {
        std::future::pending::<()>().await;
    }
}

pub(super) fn migrate(context: &Context) -> Result<Exit, Error> {
    let url = database_url()?;
    let applied = runtime()?
        .block_on(pointsman_host::migrate(&url))
        .map_err(|error| from_host(&error))?;
    if context.out.is_json() {
        context
            .out
            .document(&serde_json::json!({"applied": applied}))?;
        return Ok(Exit::Ok);
    }
    for name in &applied {
        context.out.line(name)?;
    }
    if applied.is_empty() {
        context.out.note("the database is up to date");
    }
    Ok(Exit::Ok)
}

/// Makes a token with no server: how the first one comes about on a database of one's own.
pub(super) fn create_token(new: NewToken) -> Result<CreatedToken, Error> {
    let url = database_url()?;
    runtime()?
        .block_on(pointsman_host::create_token_in(&url, new))
        .map_err(|error| from_host(&error))
}

/// The database that the environment names. Never an argument: it can hold a password.
pub(super) fn database() -> Option<Database> {
    let url = std::env::var("DATABASE_URL")
        .ok()
        .filter(|url| !url.trim().is_empty());
    url.map(Database::Url)
}

fn database_url() -> Result<String, Error> {
    match database() {
        Some(Database::Url(url)) => Ok(url),
        _ => Err(Error::usage(
            "DATABASE_URL is not set",
            "set it to an address like postgres://user@host/database",
        )),
    }
}

/// Where jobs run, and as whom.
fn jobs(config: &mut Config, jobs: &Jobs) {
    if let Some(forge) = &jobs.forge {
        config.forge_dir.clone_from(forge);
    }
    if let Some(dir) = &jobs.jobs {
        config.jobs_dir.clone_from(dir);
    }
    if let Some(artifacts) = &jobs.artifacts {
        config.artifacts.clone_from(artifacts);
    }
    if let Some(secrets) = &jobs.secrets {
        config.secrets_dir.clone_from(secrets);
    }
    if let Some(user) = jobs.job_user {
        config.job_user = JobUser::One {
            uid: user.uid,
            gid: user.gid,
        };
    }
}

/// What is kept of jobs, and who may look at it.
fn links(config: &mut Config, links: &Links) {
    config.artifact_days = links.artifact_days;
    config.link_days = links.link_days;
    config.link_secret.clone_from(&links.link_secret);
    config.public_url.clone_from(&links.public_url);
}

const MIB: usize = 1024 * 1024;

pub(super) fn config(
    data_dir: PathBuf,
    listen: SocketAddr,
    database: Database,
    decisions: &Decisions,
) -> Config {
    let mut config = Config::new(data_dir);
    config.listen = listen;
    config.database = database;
    config.decision_days = decisions.decision_days;
    let ceilings = &mut config.ceilings;
    if let Some(fuel) = decisions.max_fuel {
        ceilings.fuel = fuel;
    }
    if let Some(mib) = decisions.max_memory {
        ceilings.memory_bytes = mib as usize * MIB;
    }
    if let Some(mib) = decisions.max_answer {
        ceilings.answer_bytes = mib as usize * MIB;
    }
    if let Some(seconds) = decisions.max_deadline {
        ceilings.deadline = Duration::from_secs(seconds.into());
    }
    if rustix::process::geteuid().is_root() {
        // Nobody's jobs are root's: where there is no such user the usual numbers do.
        let nobody = "nobody".parse::<crate::args::server::JobUser>().ok();
        let (uid, gid) = nobody.map_or((65_534, 65_534), |user| (user.uid, user.gid));
        config.job_user = JobUser::Apart { uid, gid };
    }
    config.compile_command = Some(vec![
        OsString::from(THIS_PROGRAM),
        OsString::from("__compile-plugin"),
    ]);
    config
}

pub(super) fn runtime() -> Result<Runtime, Error> {
    Runtime::new().map_err(|error| Error::failed(format!("cannot start threads: {error}")))
}

/// Starts logging to stderr. `-v` shows one level more than usual; RUST_LOG overrules both.
pub(super) fn log(context: &Context, logs: &Logs, usual: &str) {
    let level = match (context.out.is_verbose(), usual) {
        (true, "warn") => "info",
        (true, _) => "debug",
        (false, usual) => usual,
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // The second of two subscribers is refused; there is only this one.
    let _ = match logs.log_format {
        LogFormat::Text => subscriber.with_ansi(context.out.is_coloured()).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
}

/// Ctrl-C and SIGTERM, which both mean: stop in order.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Signals, Error> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Error::failed(format!("cannot listen to signals: {error}")))
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A server that was started.
pub(super) enum Started {
    Runs(Server),
    /// A signal came meanwhile: it is to be stopped again.
    Interrupted(Server),
}

/// Starts a server. A signal waits until that is through, so that nothing is left running half; a second
/// one does not wait.
pub(super) async fn start(
    config: Config,
    progress: impl Fn(&str) + Send + Sync + 'static,
    signals: &mut Signals,
) -> Result<Started, Error> {
    let mut start = pin!(pointsman_host::start(config, progress));
    tokio::select! {
        server = &mut start => server.map(Started::Runs).map_err(|error| from_host(&error)),
        () = signals.next() => tokio::select! {
            server = start => server.map(Started::Interrupted).map_err(|error| from_host(&error)),
            () = signals.next() => Err(impatient()),
        },
    }
}

/// Waits for the end: by a signal, or because the server died.
pub(super) async fn until_stopped(
    server: &mut Server,
    signals: &mut Signals,
) -> Result<Exit, Error> {
    tokio::select! {
        () = signals.next() => Ok(Exit::Ok),
        error = server.failed() => Err(from_host(&error)),
    }
}

/// Stops everything in order; a second signal does not wait for that.
pub(super) async fn stop(server: Server, signals: &mut Signals) -> Result<(), Error> {
    tokio::select! {
        stopped = server.shutdown() => stopped.map_err(|error| from_host(&error)),
        () = signals.next() => Err(impatient()),
    }
}

fn impatient() -> Error {
    Error::hinted(
        "stopped without waiting for what was still going on",
        "the next start puts it in order",
    )
}

/// What the host says, with its hint where it has one.
pub(super) fn from_host(error: &anyhow::Error) -> Error {
    let refusal = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(HostError::Refused(refusal)) => Some(refusal),
        _ => None,
    });
    if let Some(refusal) = refusal {
        return Error::Refused {
            message: format!("{error:#}"),
            hint: refusal.hint.clone(),
            exit: match refusal.kind {
                Kind::NotFound | Kind::Gone => Exit::NotFound,
                Kind::Unauthenticated | Kind::Forbidden => Exit::Refused,
                Kind::Conflict | Kind::Precondition => Exit::Conflict,
                Kind::Overloaded | Kind::TimedOut => Exit::Unreachable,
                Kind::Invalid | Kind::TooLarge => Exit::Failure,
            },
        };
    }
    let postgres = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<PostgresError>());
    Error::Failed {
        message: format!("{error:#}"),
        hint: postgres.and_then(PostgresError::hint),
    }
}

/// A progress that the host may call from any thread.
pub(super) fn host_progress(progress: &Progress) -> impl Fn(&str) + Send + Sync + 'static + use<> {
    let progress = progress.clone();
    move |step: &str| progress.step(step)
}
