//! `cargo xtask test`: everything the tests need, and all of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::packages::{self, C_COMPILER, GIT, POSTGRES};
use crate::{process, stock_plugins};

/// Where the tests keep the PostgreSQL that they share, below the target folder. A run that is killed
/// leaves it running, and the next one adopts it.
const CLUSTER_DIR: &str = "test-postgres";

/// How long the shared server may take to end; it has nothing to save.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only this package's tests; may be given more than once
    #[arg(short, long)]
    package: Vec<String>,
    /// Run only tests whose names contain one of these
    filters: Vec<String>,
    /// More arguments for the test programs, after `--`
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<()> {
    packages::ensure(&[C_COMPILER, GIT, POSTGRES])?;
    let plugins = stock_plugins(root)?;
    let cluster = process::target_dir()?.join(CLUSTER_DIR);

    // One command for the programs and the tests, so that both are built with the same features.
    eprintln!("test: building");
    let mut build = process::cargo(root);
    let mut tests = process::cargo(root);
    tests.args(["test", "--no-fail-fast"]);
    if args.package.is_empty() {
        // This program's own tests run after these: with them in one build, its dependencies would be
        // built with other features than `cargo xtask` has, and each would undo the other's work.
        build.args([
            "build",
            "--workspace",
            "--exclude=xtask",
            "--bins",
            "--tests",
        ]);
        tests.args(["--workspace", "--exclude=xtask"]);
    } else {
        build.args(["build", "--package=pointsman"]);
    }
    process::run(&mut build)?;
    for package in &args.package {
        tests.args(["--package", package]);
    }
    tests.arg("--").args(&args.filters).args(&args.rest);
    tests
        .env("POINTSMAN_PLUGIN_DIR", plugins)
        .env("POINTSMAN_BIN", process::built("pointsman")?);
    let tested = process::run(&mut tests);
    stop_cluster(&cluster);
    if !args.package.is_empty() {
        return tested;
    }
    let mut own = process::cargo(root);
    own.args(["test", "--quiet", "--package=xtask", "--"])
        .args(&args.filters)
        .args(&args.rest);
    tested.and(process::run(&mut own))
}

/// Ends the server that the tests shared and removes its data, unless other tests are using it.
fn stop_cluster(dir: &Path) {
    let Ok(location) = fs::read_to_string(dir.join("location")) else {
        return;
    };
    // Every test process holds a shared lock on it as long as it lives.
    let in_use = File::open(dir.join("users.lock")).is_ok_and(|file| file.try_lock().is_err());
    if in_use {
        eprintln!("test: the PostgreSQL of the tests is in use by others, and stays");
        return;
    }
    let data_dir = PathBuf::from(location);
    let cluster = data_dir.join("postgres/cluster");
    if let Some(pid) = server_of(&cluster) {
        let _ = kill_process(pid, Signal::QUIT);
        let begun = Instant::now();
        while test_kill_process(pid).is_ok() && begun.elapsed() < STOP_TIMEOUT {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
    // What cannot be removed is thrown away by the next run's server.
    let _ = fs::remove_dir_all(&data_dir);
    let _ = fs::remove_dir_all(dir);
}

/// The process in `postmaster.pid`, if it is a server of this cluster and not a later process that
/// happens to have its number.
fn server_of(cluster: &Path) -> Option<Pid> {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    let cmdline = fs::read(format!("/proc/{number}/cmdline")).ok()?;
    let cluster = cluster.as_os_str().as_encoded_bytes();
    let is_its = cmdline.split(|byte| *byte == 0).any(|arg| arg == cluster);
    Pid::from_raw(number).filter(|_| is_its && number > 1)
}
