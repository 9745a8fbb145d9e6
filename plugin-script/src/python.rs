//! Python, with `componentize-py` from PyPI.

mod sdk;
mod tool;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use pointsman_plugin_build::run_with_progress;

use crate::contract::{self, Contract, Manifest, SETTINGS, WORLD, pascal, snake};

pub use sdk::sdk;

/// What makes a folder a Python plugin, and says what it exports.
pub const MANIFEST: &str = "pyproject.toml";

/// The author's code, beside it.
const POLICY: &str = "policy.py";

/// The module that stands between the host and the policy.
const ENTRY: &str = "pointsman_entry";

const GLUE: &str = include_str!("python/glue.py");

/// Builds the plugin in `dir`, and gives the component. `progress` is told what is going on.
///
/// # Errors
///
/// The manifest does not say what it exports; `componentize-py` cannot be installed; the code does not
/// load, with the interpreter's message.
pub fn build(
    contract: &Contract,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<u8>> {
    let exports = contract::named_exports(&Manifest {
        path: &dir.join(MANIFEST),
        parse: |text| toml::from_str(text).context("it is no TOML"),
        pointer: "/tool/pointsman/exports",
        remedy: r#"add `[tool.pointsman]` with `exports = ["gate"]`"#,
    })?;
    contract.check_exports(&exports, MANIFEST)?;
    let policy = dir.join(POLICY);
    if !policy.is_file() {
        bail!("there is no {}: the functions are there", policy.display());
    }
    let tool = tool::find(progress)?;
    progress("starting the policy in Python, and keeping it as it then is");
    let stage = tempfile::tempdir().context("cannot make a folder to build in")?;
    let wit = stage.path().join("wit");
    contract.write_world(&wit, &exports)?;
    let code = stage.path().join("code");
    fs::create_dir(&code).context("cannot make a folder to build in")?;
    fs::write(code.join(format!("{ENTRY}.py")), entry(contract, &exports))
        .context("cannot write to the folder to build in")?;
    let component = stage.path().join("plugin.wasm");
    let mut command = Command::new(tool);
    command
        .arg("--wit-path")
        .arg(&wit)
        .args(["--world", WORLD, "componentize"])
        .arg("--python-path")
        .arg(&code)
        .arg("--python-path")
        .arg(dir)
        .arg("--output")
        .arg(&component)
        .arg(ENTRY)
        .env("VIRTUAL_ENV", packages(stage.path())?);
    run_with_progress(&mut command, progress)
        .with_context(|| format!("{} does not load", policy.display()))?;
    fs::read(&component).context("componentize-py made no component")
}

/// Where the tool looks for packages that the policy imports: in the virtual environment that is active,
/// if one is. Otherwise nowhere, so that what happens to be installed on a machine does not count.
fn packages(stage: &Path) -> anyhow::Result<OsString> {
    if let Some(active) = std::env::var_os("VIRTUAL_ENV").filter(|active| !active.is_empty()) {
        return Ok(active);
    }
    let none = stage.join("none");
    fs::create_dir_all(none.join("lib/site-packages"))
        .context("cannot make a folder to build in")?;
    Ok(none.into())
}

/// The glue, with what it is about.
fn entry(contract: &Contract, exports: &[String]) -> String {
    let shapes = contract.shapes(exports, snake).to_string();
    // A string of JSON in a string of JSON is a string of Python, too.
    let shapes = serde_json::Value::String(shapes);
    let mut entry = format!("{GLUE}\n\nSHAPES = json.loads({shapes})\n");
    for name in exports {
        let class = pascal(name);
        let line = if name == SETTINGS {
            format!("{class} = settings_of(SHAPES[\"{name}\"][\"problems\"])\n")
        } else {
            format!("{class} = hook(\"{name}\", SHAPES[\"{name}\"])\n")
        };
        entry.push_str(&line);
    }
    entry
}
