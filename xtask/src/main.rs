//! Everything there is to run in this repository: `cargo xtask help`.
//!
//! It depends on little, and never on the host, so that it is there after seconds on a fresh machine
//! and can show what takes the minutes that follow.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people: what it found goes to stdout, what it does to stderr"
)]

mod bench;
mod cluster;
mod packages;
mod plugins;
mod process;
mod sqlx;
mod test;
mod tidy;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything there is to run in this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// From a clean clone to a running server: installs, builds, starts, loads real data
    Up(up::Args),
    /// Installs what the tests need and runs them all
    Test(test::Args),
    /// Builds the stock plugins into target/plugins
    Plugins,
    /// Runs a benchmark in release
    Bench(bench::Args),
    /// Checks what the compiler does not: edges, home of SQL, links, leftovers
    Tidy,
    /// Writes `.sqlx/`, what the compiler knows of the queries, from a fresh database
    Sqlx(sqlx::Args),
}

fn main() -> ExitCode {
    let root = repository();
    let done = match Args::parse().verb {
        Verb::Up(args) => up::run(&root, &args),
        Verb::Test(args) => test::run(&root, &args),
        Verb::Plugins => list_plugins(&root),
        Verb::Bench(args) => bench::run(&root, &args),
        Verb::Tidy => tidy::run(&root),
        Verb::Sqlx(args) => sqlx::run(&root, &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace. Cargo sets the variable when it runs this program; the path at compile
/// time is for those who run the binary itself.
fn repository() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), Path::to_owned)
}

fn list_plugins(root: &Path) -> anyhow::Result<()> {
    for plugin in build_plugins(root)? {
        println!(
            "{} ({} KiB, exports {})",
            plugin.path.display(),
            plugin.bytes.div_ceil(1024),
            plugin.exports.join(", ")
        );
    }
    Ok(())
}

/// Builds the stock plugins and returns the folder they are in.
fn stock_plugins(root: &Path) -> anyhow::Result<PathBuf> {
    build_plugins(root)?;
    Ok(root.join("target/plugins"))
}

fn build_plugins(root: &Path) -> anyhow::Result<Vec<plugins::BuiltPlugin>> {
    plugins::build_all(root, plugins::STOCK, &mut |line| {
        eprintln!("plugins: {line}");
    })
}
