//! The embedded PostgreSQL on real clusters: start, stop, crash, adoption, refusal.
//!
//! These run as root and as an ordinary user alike; what only root can see is checked when root.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Mutex;

use pointsman_host::postgres::{
    self, Embedded, EmbeddedConfig, PostgresError, shared_test_cluster,
};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tempfile::TempDir;

/// A folder that the account of PostgreSQL can reach: a temporary one is closed to others by default.
fn data_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

async fn start(dir: &Path) -> Result<Embedded, PostgresError> {
    postgres::start(EmbeddedConfig::throwaway(dir), |_| {}).await
}

/// Starts, and returns the progress lines too.
async fn start_verbosely(dir: &Path) -> (Embedded, String) {
    let lines = Mutex::new(String::new());
    let progress = |line: &str| {
        let mut lines = lines.lock().unwrap();
        lines.push_str(line);
        lines.push('\n');
    };
    let embedded = postgres::start(EmbeddedConfig::throwaway(dir), progress)
        .await
        .unwrap();
    (embedded, lines.into_inner().unwrap())
}

async fn connect(url: &str) -> PgConnection {
    let options = PgConnectOptions::from_str(url).unwrap();
    PgConnection::connect_with(&options).await.unwrap()
}

fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn user_of_process(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uid = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    uid.split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_is_written_is_there_after_a_restart() {
    let dir = data_dir();
    let (embedded, said) = start_verbosely(dir.path()).await;
    assert!(said.contains("making a PostgreSQL"), "{said}");
    let mut connection = connect(&embedded.url()).await;
    sqlx::raw_sql("CREATE TABLE kept AS SELECT 42 AS n")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    embedded.stop().await.unwrap();

    let (embedded, said) = start_verbosely(dir.path()).await;
    assert!(
        !said.contains("making") && said.contains("starting"),
        "{said}"
    );
    let mut connection = connect(&embedded.url()).await;
    let n: i32 = sqlx::query_scalar("SELECT n FROM kept")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(n, 42);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn it_listens_on_a_private_socket_only_and_not_as_root() {
    let dir = data_dir();
    let embedded = start(dir.path()).await.unwrap();
    let mut connection = connect(&embedded.url()).await;
    let (addresses, sockets, fsync): (String, String, String) = sqlx::query_as(
        "SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories'),
                current_setting('fsync')",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(addresses, "");
    assert_eq!(fsync, "off");
    let meta = std::fs::metadata(&sockets).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o700, "{sockets}");
    let user = user_of_process(embedded.pid());
    assert_eq!(meta.uid(), user);
    assert_ne!(user, 0, "PostgreSQL must not run as root");
    if !rustix::process::geteuid().is_root() {
        assert_eq!(user, rustix::process::geteuid().as_raw());
    }
    embedded.stop().await.unwrap();
}

/// The account of PostgreSQL itself is no user of the record: others may share it.
#[tokio::test]
async fn another_user_is_refused() {
    let dir = data_dir();
    let embedded = start(dir.path()).await.unwrap();
    let user = user_of_process(embedded.pid());
    if rustix::process::geteuid().is_root() {
        use std::os::unix::process::CommandExt as _;
        let output = std::process::Command::new("psql")
            .args(["-X", "-c", "SELECT 1", &embedded.url()])
            .current_dir("/")
            .uid(user)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Peer authentication failed"), "{said}");
    }
    // And nobody at all gets in under another role.
    let url = embedded.url().replace("user=pointsman", "user=postgres");
    let options = PgConnectOptions::from_str(&url).unwrap();
    let error = PgConnection::connect_with(&options).await.unwrap_err();
    assert!(
        error.to_string().contains("no pg_hba.conf entry"),
        "{error}"
    );
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_host_is_refused_and_told_who_holds_it() {
    let dir = data_dir();
    let embedded = start(dir.path()).await.unwrap();
    let error = start(dir.path()).await.unwrap_err();
    assert!(
        matches!(error, PostgresError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    assert!(error.hint().is_some());
    // The first one is none the worse for it.
    connect(&embedded.url()).await;
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_left_behind_is_adopted() {
    let dir = data_dir();
    let embedded = start(dir.path()).await.unwrap();
    let pid = embedded.pid();
    embedded.detach();
    let (embedded, said) = start_verbosely(dir.path()).await;
    assert_eq!(embedded.pid(), pid);
    assert!(said.contains("adopting"), "{said}");
    connect(&embedded.url()).await;
    embedded.stop().await.unwrap();
    assert!(!is_running(pid));
}

/// It takes connections and never answers, as when the disk is gone: nothing gentle would end it.
#[tokio::test]
async fn a_server_that_does_not_answer_is_replaced() {
    let dir = data_dir();
    let embedded = start(dir.path()).await.unwrap();
    let pid = embedded.pid();
    embedded.detach();
    kill(pid, Signal::STOP);
    let (embedded, said) = start_verbosely(dir.path()).await;
    assert_ne!(embedded.pid(), pid);
    assert!(said.contains("does not answer"), "{said}");
    connect(&embedded.url()).await;
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_with_other_settings_is_replaced() {
    let dir = data_dir();
    let embedded = start(dir.path()).await.unwrap();
    let pid = embedded.pid();
    embedded.detach();
    let custom = dir.path().join("postgres/conf/custom.conf");
    std::fs::write(&custom, "work_mem = '5MB'\n").unwrap();
    std::fs::set_permissions(&custom, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (embedded, said) = start_verbosely(dir.path()).await;
    assert_ne!(embedded.pid(), pid);
    assert!(said.contains("other settings"), "{said}");
    let work_mem: String = sqlx::query_scalar("SHOW work_mem")
        .fetch_one(&mut connect(&embedded.url()).await)
        .await
        .unwrap();
    assert_eq!(work_mem, "5MB");
    embedded.stop().await.unwrap();
}

/// The hardest crash: the postmaster is killed while its other processes and a connection live on.
#[tokio::test]
async fn a_killed_server_is_recovered() {
    let dir = data_dir();
    // A throwaway server may lose the last moments before a crash.
    let config = EmbeddedConfig::new(dir.path());
    let mut embedded = postgres::start(config, |_| {}).await.unwrap();
    let mut connection = connect(&embedded.url()).await;
    sqlx::raw_sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        .execute(&mut connection)
        .await
        .unwrap();
    kill(embedded.pid(), Signal::KILL);
    embedded.gone().await;
    embedded.revive(|_| {}).await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM kept")
        .fetch_one(&mut connect(&embedded.url()).await)
        .await
        .unwrap();
    assert_eq!(count, 1000);
    embedded.stop().await.unwrap();
}

/// After a restart of the machine the number in `postmaster.pid` may be anybody's, here this test's
/// own: it must neither be taken for the server nor killed.
#[tokio::test]
async fn a_stale_process_id_is_nobody() {
    let dir = data_dir();
    let embedded = start(dir.path()).await.unwrap();
    let files = ["cluster/postmaster.pid", "run/.s.PGSQL.5432.lock"]
        .map(|file| dir.path().join("postgres").join(file))
        .map(|path| (std::fs::read_to_string(&path).unwrap(), path));
    embedded.stop().await.unwrap();
    for (text, path) in files {
        let (_, rest) = text.split_once('\n').unwrap();
        std::fs::write(&path, format!("{}\n{rest}", std::process::id())).unwrap();
    }
    let embedded = start(dir.path()).await.unwrap();
    connect(&embedded.url()).await;
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn dropping_it_ends_the_server() {
    let dir = data_dir();
    let embedded = start(dir.path()).await.unwrap();
    let pid = embedded.pid();
    drop(embedded);
    assert!(!is_running(pid));
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_works() {
    let dir = data_dir();
    let deep = dir.path().join("d".repeat(60)).join("e f,'g\"".repeat(8));
    std::fs::create_dir_all(&deep).unwrap();
    let embedded = start(&deep).await.unwrap();
    connect(&embedded.url()).await;
    let socket_dir = PathBuf::from(
        sqlx::query_scalar::<_, String>("SHOW unix_socket_directories")
            .fetch_one(&mut connect(&embedded.url()).await)
            .await
            .unwrap(),
    );
    assert!(!socket_dir.starts_with(dir.path()), "{socket_dir:?}");
    embedded.stop().await.unwrap();
    std::fs::remove_dir_all(socket_dir).unwrap();
}

#[tokio::test]
async fn databases_are_made_once_whatever_their_names() {
    let dir = data_dir();
    let embedded = start(dir.path()).await.unwrap();
    for name in ["plain", "/with \"quotes\" & a?b=c/d#e%20", "plain"] {
        let url = embedded.create_database(name).await.unwrap();
        let current: String = sqlx::query_scalar("SELECT current_database()::text")
            .fetch_one(&mut connect(&url).await)
            .await
            .unwrap();
        assert_eq!(current, name);
    }
    for bad in ["", "a\0b", &"x".repeat(64)] {
        let error = embedded.create_database(bad).await.unwrap_err();
        assert!(matches!(error, PostgresError::BadName { .. }), "{error}");
    }
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn missing_programs_are_said_to_be_missing() {
    let dir = data_dir();
    let empty = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig {
        bin_dir: Some(empty.path().to_owned()),
        ..EmbeddedConfig::throwaway(dir.path())
    };
    let error = postgres::start(config, |_| {}).await.unwrap_err();
    assert!(
        matches!(error, PostgresError::NotInFolder { .. }),
        "{error}"
    );
    // Nothing is in the way once they are there.
    start(dir.path()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn data_of_another_version_is_left_alone() {
    let dir = data_dir();
    start(dir.path()).await.unwrap().stop().await.unwrap();
    let version = dir.path().join("postgres/cluster/PG_VERSION");
    std::fs::write(&version, "9\n").unwrap();
    let error = start(dir.path()).await.unwrap_err();
    assert!(
        matches!(error, PostgresError::OtherMajor { major: 9, .. }),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("install"), "{error}");
}

#[tokio::test]
async fn a_server_that_cannot_start_is_quoted() {
    let dir = data_dir();
    start(dir.path()).await.unwrap().stop().await.unwrap();
    let custom = dir.path().join("postgres/conf/custom.conf");
    std::fs::write(&custom, "no_such_setting = 1\n").unwrap();
    std::fs::set_permissions(&custom, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = start(dir.path()).await.unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_closed_parent_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Closed to all but root, as a root's home is.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let error = start(&dir.path().join("data")).await.unwrap_err();
    let PostgresError::Unreachable { blocked_by, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(blocked_by, dir.path());
    assert!(error.hint().unwrap().contains("/var/lib/pointsman"));
}

#[tokio::test]
async fn tests_share_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = tokio::join!(
        shared_test_cluster(dir.path()),
        shared_test_cluster(dir.path())
    );
    let url = first.unwrap();
    assert_eq!(url, second.unwrap());
    connect(&url).await;
    let location = std::fs::read_to_string(dir.path().join("location")).unwrap();
    start(Path::new(&location))
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    if !Path::new(&location).starts_with(dir.path()) {
        std::fs::remove_dir_all(location).unwrap();
    }
}

fn is_running(pid: u32) -> bool {
    // A process that has ended and was not reaped yet has an empty command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|cmdline| !cmdline.is_empty())
}
