//! Finds `componentize-py`, or installs it into a virtual environment of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use pointsman_plugin_build::{install_debian_packages, run_with_progress};

/// The version that this was tried with: what it writes differs between versions.
const VERSION: &str = "0.25.1";

/// Where tools are kept that a build installs, instead of the user's cache folder.
const TOOLS_DIR: &str = "POINTSMAN_TOOLS_DIR";

/// What Debian's Python lacks for a virtual environment.
const DEBIAN_PACKAGES: [&str; 2] = ["python3", "python3-venv"];

/// The program: one of that version on the path, or ours, installed now if need be.
pub(super) fn find(progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    let on_path = PathBuf::from("componentize-py");
    if is_right(&on_path) {
        return Ok(on_path);
    }
    let tools = tools_dir()?;
    let venv = tools.join(format!("componentize-py-{VERSION}"));
    let program = venv.join("bin/componentize-py");
    // Written last: an environment without it was cut short.
    let complete = venv.join("complete");
    if complete.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    // One of several builds at once installs, and the others wait for it. The kernel lets the lock go
    // with the process.
    let path = tools.join(format!("componentize-py-{VERSION}.lock"));
    let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    if !complete.is_file() {
        install(&venv, progress)?;
        if !is_right(&program) {
            bail!(
                "{} does not run: try it by hand, then remove {} and build again",
                program.display(),
                venv.display()
            );
        }
        fs::write(&complete, VERSION)
            .with_context(|| format!("cannot write {}", complete.display()))?;
    }
    Ok(program)
}

fn is_right(program: &Path) -> bool {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        let said = String::from_utf8_lossy(&output.stdout);
        output.status.success() && said.split_whitespace().last() == Some(VERSION)
    })
}

fn tools_dir() -> anyhow::Result<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = var(TOOLS_DIR) {
        // A virtual environment holds its own path, so it must not depend on where we are.
        return std::path::absolute(dir).with_context(|| format!("cannot find ${TOOLS_DIR}"));
    }
    let cache = var("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || var("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.filter(|cache| cache.is_absolute()).or_else(home);
    let cache = cache.with_context(|| {
        format!("there is nowhere to keep componentize-py: set ${TOOLS_DIR} to a folder, or $HOME")
    })?;
    Ok(cache.join("pointsman/tools"))
}

fn install(venv: &Path, progress: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    if venv.exists() {
        fs::remove_dir_all(venv).with_context(|| format!("cannot clear {}", venv.display()))?;
    }
    progress("making a virtual environment of Python");
    if let Err(error) = make_venv(venv, progress) {
        progress("installing python3 and python3-venv with apt-get");
        install_debian_packages(&DEBIAN_PACKAGES).with_context(|| {
            format!(
                "there is no Python that can make a virtual environment ({error:#}), and none could be \
                 installed: install Python 3.10 or later with `venv` and `pip`; on Debian, as root: \
                 apt-get install {}",
                DEBIAN_PACKAGES.join(" ")
            )
        })?;
        make_venv(venv, progress)?;
    }
    progress(&format!(
        "installing componentize-py {VERSION} with pip, some 30 MB"
    ));
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
    ])
    .args(["--only-binary", ":all:"])
    .arg(format!("componentize-py=={VERSION}"));
    run_with_progress(&mut pip, progress).with_context(|| {
        format!(
            "componentize-py {VERSION} cannot be installed: is there a network, and a package index that \
             pip can reach? Where there is none, put that version on the path"
        )
    })?;
    Ok(())
}

fn make_venv(venv: &Path, progress: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let mut python = Command::new("python3");
    python.args(["-m", "venv", "--clear"]).arg(venv);
    run_with_progress(&mut python, progress).map(drop)
}
