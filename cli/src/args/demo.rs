//! Demonstrations: what the server does, shown on a throwaway one.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Kills that may be asked for: each costs about a second.
const MAX_KILLS: i64 = 1000;

/// Show what the server does, on a throwaway one
#[derive(Subcommand, Debug)]
pub(crate) enum Demo {
    Merge(Merge),
}

/// Land pull requests, and prove that what landed is what was tested
///
/// Starts a server of its own, makes a repository, pushes pull requests that are good, that fail, that
/// conflict, that wait for somebody, and tells what becomes of them: real git, real jobs, the stock
/// policies. Half-way the policy of `select` is swapped while a job runs. At the end what the record says is
/// compared with git itself. Anything that is not as it must be ends it with exit code 8, and its
/// directory is kept.
///
/// With --kill the server is killed again and again, by SIGKILL, at random and at the very moments
/// between a deed and its record, and started again on the same data.
///
/// Uses an embedded PostgreSQL, or the empty database that DATABASE_URL names.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  pointsman demo merge
  pointsman demo merge --kill 50 --seed 7
  pointsman demo merge --json | jq -r 'select(.what == \"landed\") | .text'
  pointsman demo merge --dir ./demo --keep")]
pub(crate) struct Merge {
    /// An empty directory to work in [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Leave the directory, with the repository, the logs and the database, and say where it is
    #[arg(long)]
    pub(crate) keep: bool,
    /// How often to kill the server meanwhile
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=MAX_KILLS))]
    pub(crate) kill: u16,
    /// When to kill it: another number, other moments
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The directory of the stock plugins [default: `plugins` beside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,
}
