//! Makes components of Rust plugins, for `cargo xtask plugins` and `pointsman plugin build`.

mod component;
mod heap;
mod toolchain;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

pub use component::{encode, exports};
pub use toolchain::{TARGET, WasmToolchain, install_debian_packages};

/// What runs in a guest may use.
pub const GUEST_FEATURES: &str = "-Ctarget-feature=+simd128";

/// Lines of cargo's output that an error quotes.
const QUOTED_LINES: usize = 60;

/// Builds the plugin whose crate is in `dir`, in release, and gives the component. `progress` is told what
/// is going on, one short line at a time.
///
/// # Errors
///
/// There is no compiler for WebAssembly and none can be installed; the plugin does not compile; it is no
/// component that a host would take.
pub fn build_crate(dir: &Path, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Vec<u8>> {
    let toolchain = WasmToolchain::find(progress)?;
    progress(&format!("building with {}", toolchain.name));
    let mut command = toolchain.cargo(dir);
    command
        .args(["build", "--release", "--lib", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .args(toolchain.build_args())
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(dir)?);
    let said = run_with_progress(&mut command, progress)?;
    let module = module(&said).context(
        "cargo made no WebAssembly module: does `Cargo.toml` say `crate-type = [\"cdylib\", \"rlib\"]`?",
    )?;
    let bytes =
        std::fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = encode(&bytes).context("it cannot become a component")?;
    exports(&component).context("a host would refuse it")?;
    Ok(component)
}

/// Flags for what runs in the guest. Panics name the files of their crates: with the author's own folders in
/// them a component would tell where it was built, and be another one elsewhere.
fn rustflags(dir: &Path) -> anyhow::Result<OsString> {
    let dir =
        std::fs::canonicalize(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cargo = set("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cargo")));
    let remaps = [(Some(dir), "/plugin"), (cargo, "/cargo")];
    let remaps = remaps.into_iter().filter_map(|(from, to)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from?);
        flag.push("=");
        flag.push(to);
        Some(flag)
    });
    let flags: Vec<OsString> = [GUEST_FEATURES.into()].into_iter().chain(remaps).collect();
    Ok(flags.join("\u{1f}".as_ref()))
}

/// The last module that cargo's messages name.
fn module(messages: &str) -> Option<PathBuf> {
    messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let files = message.get("filenames")?.as_array()?;
        let file = files
            .iter()
            .filter_map(Value::as_str)
            .find(|file| file.ends_with(".wasm"))?;
        Some(PathBuf::from(file))
    })
}

/// Runs cargo, tells each line of its stderr as it comes, and gives its stdout.
///
/// # Errors
///
/// When it cannot be started or fails, with the last of what it said.
pub fn run_with_progress(
    command: &mut Command,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<String> {
    let shown = show(command);
    command
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_TERM_PROGRESS_WHEN", "never")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    // A thread of its own, so that a child that says much on one pipe does not wait for the other.
    let stdout = child.stdout.take();
    let messages = std::thread::spawn(move || {
        let mut messages = String::new();
        if let Some(mut stdout) = stdout {
            // What was read until an error is as much as there is.
            let _ = std::io::Read::read_to_string(&mut stdout, &mut messages);
        }
        messages
    });
    let mut quoted = VecDeque::with_capacity(QUOTED_LINES);
    for line in child
        .stderr
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufReader::lines)
    {
        let line = line.with_context(|| format!("cannot read what `{shown}` says"))?;
        if !line.trim().is_empty() {
            progress(line.trim());
        }
        if quoted.len() == QUOTED_LINES {
            quoted.pop_front();
        }
        quoted.push_back(line);
    }
    let status = child.wait()?;
    if !status.success() {
        let quoted: Vec<String> = quoted.into();
        bail!("`{shown}` failed ({status}):\n{}", quoted.join("\n"));
    }
    Ok(messages.join().unwrap_or_default())
}

/// A command as one would type it, without its environment.
fn show(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
