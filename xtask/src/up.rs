//! `cargo xtask up`: from a clean clone to a running server.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::packages::{self, C_COMPILER, GIT, POSTGRES};
use crate::{process, stock_plugins};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Exit after the summary instead of serving until Ctrl-C
    #[arg(long)]
    once: bool,
    /// More arguments for `pointsman up`, such as `--listen 127.0.0.1:9000`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<()> {
    let own_database = std::env::var_os("DATABASE_URL").is_none_or(|url| url.is_empty());
    packages::ensure(if own_database {
        &[C_COMPILER, GIT, POSTGRES]
    } else {
        &[C_COMPILER, GIT]
    })?;
    let plugins = stock_plugins(root)?;
    eprintln!("up: building pointsman (minutes the first time, seconds after that)");
    process::run(process::cargo(root).args(["build", "--package", "pointsman"]))?;

    let mut pointsman = Command::new(process::built("pointsman")?);
    pointsman.arg("up").arg("--plugins").arg(plugins);
    if args.once {
        pointsman.arg("--once");
    }
    pointsman.args(&args.rest);
    // From here on this process is the server: Ctrl-C and signals from outside reach it, and its exit
    // code is ours.
    let shown = process::show(&pointsman);
    let error = pointsman.exec();
    Err(error).with_context(|| format!("cannot start `{shown}`"))
}
