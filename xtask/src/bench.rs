//! `cargo xtask bench NAME`: the benchmarks, in release.

use std::path::Path;

use anyhow::ensure;

use crate::packages::{self, C_COMPILER, GIT, POSTGRES};
use crate::plugins::{self, BENCH_GUESTS};
use crate::{process, stock_plugins};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which benchmark, such as `record`
    name: String,
    /// Its own arguments, such as `--scale small`; `--help` behind the name lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<()> {
    ensure!(
        root.join("bench/Cargo.toml").exists(),
        "this checkout has no benchmarks: the crate `bench/` (pointsman-bench) is not there"
    );
    packages::ensure(&[C_COMPILER, GIT, POSTGRES])?;
    let plugins = stock_plugins(root)?;
    plugins::build_all(root, BENCH_GUESTS, &mut |line| eprintln!("bench: {line}"))?;
    eprintln!("bench: building in release");
    process::run(
        process::cargo(root)
            .args(["run", "--release", "--package", "pointsman-bench", "--"])
            .arg(&args.name)
            .args(&args.rest)
            .env("POINTSMAN_PLUGIN_DIR", plugins)
            .env("POINTSMAN_BENCH_GUESTS", root.join("target/bench-guests")),
    )
}
