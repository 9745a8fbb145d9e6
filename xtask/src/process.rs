//! Running other programs, and saying what is run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The cargo that runs this program, in the workspace.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Runs a command with its output on the terminal.
///
/// # Errors
///
/// When it cannot be started or does not succeed; the error shows the command.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = show(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command silently and returns what it wrote to stdout; the error quotes its stderr.
///
/// # Errors
///
/// When it cannot be started or does not succeed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = show(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}):\n{}", output.status, said.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it, without its environment.
pub(crate) fn show(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The folder that cargo builds into: this program was built there itself.
///
/// # Errors
///
/// When this program cannot tell where it is.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    profile_dir()?
        .parent()
        .map(Path::to_owned)
        .context("this program is not in cargo's target folder: run it with `cargo xtask`")
}

/// The path of another program that is built with the same profile.
///
/// # Errors
///
/// As [`target_dir`].
pub(crate) fn built(program: &str) -> anyhow::Result<PathBuf> {
    Ok(profile_dir()?.join(program))
}

fn profile_dir() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own path")?;
    own.parent()
        .map(Path::to_owned)
        .context("this program has no folder")
}
