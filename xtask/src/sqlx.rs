//! `cargo xtask sqlx`: writes or checks `.sqlx/`, what the compiler knows of the host's queries.
//!
//! It does what `cargo sqlx prepare` does, without `sqlx-cli`, which a fresh machine does not have: a
//! fresh database gets the migrations, and `cargo check` compiles the queries against it and leaves
//! one file for each. The migrations go in through `psql`, since the host that could apply them may
//! not compile before `.sqlx/` is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, bail};

use crate::cluster::{self, Cluster};
use crate::packages::{self, C_COMPILER, POSTGRES};
use crate::process;

/// Names a server to use in place of a throwaway one. Its database must be empty.
const DATABASE_URL_VARIABLE: &str = "POINTSMAN_SQLX_DATABASE_URL";

/// The only package with queries that are checked at compile time.
const PACKAGE: &str = "pointsman-host";

/// Recompiling this file's crate runs the query macros again.
const CRATE_ROOT: &str = "host/src/lib.rs";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing, and fail when `.sqlx/` is not what the queries and migrations say
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<()> {
    let (cluster, url) = match std::env::var(DATABASE_URL_VARIABLE) {
        Ok(url) if !url.is_empty() => (None, url),
        _ => {
            packages::ensure(&[C_COMPILER, POSTGRES])?;
            let cluster = Cluster::start()?;
            eprintln!("sqlx: throwaway PostgreSQL {}", cluster.version());
            let url = cluster.url();
            (Some(cluster), url)
        }
    };
    let migrations = apply_migrations(root, &url)?;
    eprintln!("sqlx: {migrations} migrations applied, compiling the queries");
    let fresh = tempfile::tempdir().context("cannot make a temporary folder")?;
    let compiled = compile_queries(root, &url, fresh.path());
    drop(cluster);

    let saved_dir = root.join(".sqlx");
    let fresh = read_queries(fresh.path())?;
    let saved = read_queries(&saved_dir)?;
    if let Err(error) = compiled {
        if !args.check {
            // What did compile is kept, so that an ordinary `cargo check` shows the other errors.
            write_queries(&saved_dir, &fresh)?;
        }
        return Err(error);
    }
    if args.check {
        return compare(&saved, &fresh);
    }
    write_queries(&saved_dir, &fresh)?;
    for name in saved.keys().filter(|name| !fresh.contains_key(*name)) {
        fs::remove_file(saved_dir.join(name))?;
    }
    println!("sqlx: {} queries in .sqlx/", fresh.len());
    Ok(())
}

/// Applies the migrations in the order of their names, each in a transaction like the host does, and
/// returns how many there are.
fn apply_migrations(root: &Path, url: &str) -> anyhow::Result<usize> {
    let dir = root.join("migrations");
    let mut files: Vec<PathBuf> = fs::read_dir(&dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    for file in &files {
        let sql = fs::read_to_string(file)?;
        let mut psql = Command::new(cluster::psql());
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]);
        // `sqlx` reads the same mark.
        if !sql.starts_with("-- no-transaction") {
            psql.arg("--single-transaction");
        }
        psql.arg("-f").arg(file).args(["-d", url]);
        process::output(&mut psql)?;
    }
    Ok(files.len())
}

/// Compiles the host against the database; the query macros leave their files in `into`.
fn compile_queries(root: &Path, url: &str, into: &Path) -> anyhow::Result<()> {
    let crate_root = root.join(CRATE_ROOT);
    let modified = fs::metadata(&crate_root)?.modified()?;
    set_modified(&crate_root, SystemTime::now())?;
    let compiled = process::run(
        process::cargo(root)
            .args(["check", "--quiet", "--lib", "--package", PACKAGE])
            .env("DATABASE_URL", url)
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", into),
    );
    // Other builds of the same source, those of the tests above all, are not made stale by this one.
    set_modified(&crate_root, modified)?;
    compiled.context("not every query compiles")
}

fn set_modified(path: &Path, time: SystemTime) -> anyhow::Result<()> {
    fs::File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(time))
        .with_context(|| format!("cannot touch {}", path.display()))
}

/// The query files of a folder by name, parsed; none when there is no such folder.
fn read_queries(dir: &Path) -> anyhow::Result<BTreeMap<String, serde_json::Value>> {
    let mut queries = BTreeMap::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(queries),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", dir.display())),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("query-") && name.ends_with(".json") {
            let text = fs::read(entry.path())?;
            let json = serde_json::from_slice(&text)
                .with_context(|| format!("{} is not JSON", entry.path().display()))?;
            queries.insert(name, json);
        }
    }
    Ok(queries)
}

fn write_queries(dir: &Path, queries: &BTreeMap<String, serde_json::Value>) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (name, query) in queries {
        // Whether the keys of an object keep their order depends on what else is built.
        let mut query = query.clone();
        query.sort_all_objects();
        let mut text = serde_json::to_string_pretty(&query)?;
        text.push('\n');
        let path = dir.join(name);
        // A file that says the same already keeps its time, and spares a compilation.
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn compare(
    saved: &BTreeMap<String, serde_json::Value>,
    fresh: &BTreeMap<String, serde_json::Value>,
) -> anyhow::Result<()> {
    let names: BTreeSet<&String> = saved.keys().chain(fresh.keys()).collect();
    let mut wrong = Vec::new();
    for name in names {
        let (what, query) = match (saved.get(name), fresh.get(name)) {
            (Some(old), Some(new)) if old == new => continue,
            (Some(_), Some(new)) => ("is outdated", new),
            (None, Some(new)) => ("is missing", new),
            (Some(old), None) => ("is used no more", old),
            (None, None) => continue,
        };
        let sql = query["query"].as_str().unwrap_or_default();
        let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let sql: String = sql.chars().take(100).collect();
        wrong.push(format!("  .sqlx/{name} {what}: {sql}"));
    }
    if wrong.is_empty() {
        println!("sqlx: .sqlx/ is right, {} queries", fresh.len());
        return Ok(());
    }
    bail!(
        "{} of the queries in .sqlx/ are not what the source says:\n{}\nrun `cargo xtask sqlx` and \
         commit .sqlx/",
        wrong.len(),
        wrong.join("\n")
    );
}
