//! One throwaway server for all test processes of one user.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use super::error::PostgresError;
use super::layout::set_mode;
use super::{DATABASE, Embedded, EmbeddedConfig, start};

/// Where the server's data directory is written down, in the folder that the tests name.
const LOCATION_FILE: &str = "location";

/// Locks that say "this process uses the server", held until the process ends.
static IN_USE: Mutex<Vec<(PathBuf, File)>> = Mutex::new(Vec::new());

/// The address of a throwaway server for tests, shared by all processes that name the same `dir`. The
/// first one starts it, the others adopt it, also one that a killed run left behind; when nobody else
/// uses it, the databases that earlier runs left are dropped. Make a database of your own on it.
///
/// It is left running, since no process knows to be the last. The data is in `dir`, or, when that is
/// closed to the account that PostgreSQL runs as, in the temporary folder; the file `location` in
/// `dir` says where.
///
/// # Errors
///
/// As [`start`].
pub async fn shared_test_cluster(dir: &Path) -> Result<String, PostgresError> {
    std::fs::create_dir_all(dir).map_err(PostgresError::io("make the folder", dir))?;
    let dir = dir
        .canonicalize()
        .map_err(PostgresError::io("find the absolute path of", dir))?;
    // One process at a time from here on: who comes second finds a server that is ready.
    let starting = lock_file(&dir.join("starting.lock"))?;
    let starting = wait_for_lock(starting, &dir).await?;
    let alone = enter(&dir)?;
    let embedded = match start_quietly(&dir).await {
        Err(PostgresError::Unreachable { .. }) => start_quietly(&elsewhere(&dir)?).await,
        done => done,
    }?;
    let location = dir.join(LOCATION_FILE);
    std::fs::write(
        &location,
        embedded.layout.data_dir.as_os_str().as_encoded_bytes(),
    )
    .map_err(PostgresError::io("write", &location))?;
    if alone {
        drop_old_databases(&embedded).await?;
    }
    let url = embedded.url();
    embedded.detach();
    drop(starting);
    Ok(url)
}

async fn start_quietly(data_dir: &Path) -> Result<Embedded, PostgresError> {
    let progress = |line: &str| tracing::info!("{line}");
    start(EmbeddedConfig::throwaway(data_dir), progress).await
}

/// Notes that this process uses the server of `dir`, and says whether it is the only one.
fn enter(dir: &Path) -> Result<bool, PostgresError> {
    let mut in_use = IN_USE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if in_use.iter().any(|(known, _)| known == dir) {
        return Ok(false);
    }
    let path = dir.join("users.lock");
    let file = lock_file(&path)?;
    let alone = file.try_lock().is_ok();
    if alone {
        file.unlock().map_err(PostgresError::io("unlock", &path))?;
    }
    // Nobody can be in between: they would need the lock for starting.
    file.lock_shared()
        .map_err(PostgresError::io("lock", &path))?;
    in_use.push((dir.to_owned(), file));
    Ok(alone)
}

fn lock_file(path: &Path) -> Result<File, PostgresError> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(PostgresError::io("open", path))
}

/// Waits for the lock without holding up the other tests on this thread.
async fn wait_for_lock(file: File, dir: &Path) -> Result<File, PostgresError> {
    tokio::task::spawn_blocking(move || file.lock().map(|()| file))
        .await
        .unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)))
        .map_err(PostgresError::io("lock", dir))
}

/// A data directory that every account can reach, always the same for one `dir`.
fn elsewhere(dir: &Path) -> Result<PathBuf, PostgresError> {
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let name = format!("pointsman-test-{}", hex::encode(&digest[..6]));
    let path = std::env::temp_dir().join(name);
    let host = super::account::current().map_err(PostgresError::NoName)?;
    match std::fs::symlink_metadata(&path) {
        Ok(meta) => {
            if !meta.is_dir() || meta.uid() != host.uid {
                return Err(PostgresError::NotOwner {
                    dir: path,
                    owner: meta.uid(),
                });
            }
        }
        Err(_) => {
            std::fs::create_dir(&path).map_err(PostgresError::io("make the folder", &path))?;
        }
    }
    set_mode(&path, 0o711)?;
    Ok(path)
}

async fn drop_old_databases(embedded: &Embedded) -> Result<(), PostgresError> {
    let options = PgConnectOptions::from_str(&embedded.url_of("postgres"))?;
    let mut connection = PgConnection::connect_with(&options).await?;
    let old: Vec<String> = sqlx::query_scalar(
        "SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
         WHERE NOT datistemplate AND datname NOT IN ('postgres', $1)",
    )
    .bind(DATABASE)
    .fetch_all(&mut connection)
    .await?;
    for statement in old {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}
