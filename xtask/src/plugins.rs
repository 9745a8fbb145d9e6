//! Builds the stock plugins, each crate in `plugins/`, to WebAssembly components in `target/plugins/`; and
//! the guests of the benchmarks in the same way.
//!
//! The same source and compiler give the same bytes wherever the checkout lies, so that a plugin keeps
//! its digest and the server has nothing to swap. Function names are kept, for the backtrace of a trap.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use pointsman_plugin_build::{
    GUEST_FEATURES, TARGET, WasmToolchain, encode, exports, run_with_progress,
};
use serde_json::Value;

use crate::process;

/// `[profile.plugin]` in `Cargo.toml`.
const PROFILE: &str = "plugin";

/// Apart from the host's own, so that the two builds do not wait for each other's lock.
const BUILD_DIR: &str = "target/plugins-build";

/// Crates that become components.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crates {
    /// The folder that they are in.
    folder: &'static str,
    /// Where the components go.
    out: &'static str,
    /// Whether each is a plugin that a host would take.
    are_plugins: bool,
}

/// The stock plugins.
pub(crate) const STOCK: Crates = Crates {
    folder: "plugins",
    out: "target/plugins",
    are_plugins: true,
};

/// What the benchmarks call, apart from the stock plugins: `pointsman up` takes all that is there.
pub(crate) const BENCH_GUESTS: Crates = Crates {
    folder: "bench/guests",
    out: "target/bench-guests",
    are_plugins: false,
};

/// A plugin that is ready to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltPlugin {
    /// The crate's name: `ignore-patterns`.
    pub(crate) name: String,
    /// The component.
    pub(crate) path: PathBuf,
    /// What it exports of the contract, sorted: `ignore`, `settings`.
    pub(crate) exports: Vec<String>,
    /// Its size.
    pub(crate) bytes: u64,
}

/// Builds every plugin that is not up to date; `progress` is told what is going on, one short line at a
/// time.
///
/// # Errors
///
/// When there is no compiler for WebAssembly and none can be installed, with what to install; when a
/// plugin does not compile, with what the compiler said; when it is no component that the host would
/// take.
pub(crate) fn build_all(
    root: &Path,
    crates: Crates,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<BuiltPlugin>> {
    let toolchain = WasmToolchain::find(progress)?;
    let workspace = Workspace::read(root, crates, &toolchain)?;
    progress(&format!(
        "building {} plugins with {}",
        workspace.plugins.len(),
        toolchain.name
    ));
    compile(root, &toolchain, &workspace, progress)?;
    let out_dir = root.join(crates.out);
    std::fs::create_dir_all(&out_dir)
        .with_context(|| format!("cannot make {}", out_dir.display()))?;
    workspace
        .plugins
        .iter()
        .map(|name| componentise(root, &out_dir, name, crates.are_plugins))
        .collect()
}

/// What cargo knows of the workspace.
struct Workspace {
    /// Names of the packages in the folder, sorted.
    plugins: Vec<String>,
    /// Folders that hold the sources of registries, with the hash of the registry's address as name.
    registries: BTreeSet<PathBuf>,
}

impl Workspace {
    fn read(root: &Path, crates: Crates, toolchain: &WasmToolchain) -> anyhow::Result<Self> {
        let args = [
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            TARGET,
        ];
        let said = process::output(toolchain.cargo(root).args(args))?;
        let metadata: Value =
            serde_json::from_str(&said).context("`cargo metadata` did not write JSON")?;
        let mut workspace = Workspace {
            plugins: Vec::new(),
            registries: BTreeSet::new(),
        };
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
            // `<folder>/<package>/Cargo.toml`
            let Some(folder) = manifest.parent().and_then(Path::parent) else {
                continue;
            };
            if folder == root.join(crates.folder) {
                workspace
                    .plugins
                    .push(package["name"].as_str().unwrap_or_default().to_owned());
            } else if package["source"]
                .as_str()
                .is_some_and(|source| source.starts_with("registry+"))
            {
                workspace.registries.insert(folder.to_owned());
            }
        }
        if workspace.plugins.is_empty() {
            bail!(
                "there are no crates in {}",
                root.join(crates.folder).display()
            );
        }
        workspace.plugins.sort_unstable();
        Ok(workspace)
    }
}

fn compile(
    root: &Path,
    toolchain: &WasmToolchain,
    workspace: &Workspace,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    let mut command = toolchain.cargo(root);
    command.args([
        "build",
        "--locked",
        "--lib",
        "--target",
        TARGET,
        "--profile",
        PROFILE,
    ]);
    command
        .args(["--target-dir", BUILD_DIR])
        .args(toolchain.build_args());
    command.args(
        workspace
            .plugins
            .iter()
            .flat_map(|name| ["--package", name.as_str()]),
    );
    command.env("CARGO_ENCODED_RUSTFLAGS", rustflags(root, workspace));
    run_with_progress(&mut command, progress).map(drop)
}

/// Flags for what runs in the guest; cargo gives them to nothing else, as a target is named.
fn rustflags(root: &Path, workspace: &Workspace) -> OsString {
    let mut flags: Vec<OsString> = vec![GUEST_FEATURES.into()];
    let mut remap = |from: &Path, to: &str| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    };
    remap(root, "/pointsman");
    for registry in &workspace.registries {
        remap(registry, "/registry");
    }
    flags.join("\u{1f}".as_ref())
}

/// Makes a component of what the compiler made. That takes milliseconds, so it is always done, and
/// written only if it is new: who watches the file sees a change only when there is one.
fn componentise(
    root: &Path,
    out_dir: &Path,
    name: &str,
    is_plugin: bool,
) -> anyhow::Result<BuiltPlugin> {
    let module = root
        .join(BUILD_DIR)
        .join(TARGET)
        .join(PROFILE)
        .join(format!("{}.wasm", name.replace('-', "_")));
    let module =
        std::fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let component =
        encode(&module).with_context(|| format!("plugin {name} cannot become a component"))?;
    let exports = match is_plugin {
        true => exports(&component)
            .with_context(|| format!("plugin {name} would be refused by the host"))?,
        false => Vec::new(),
    };
    let path = out_dir.join(format!("{name}.wasm"));
    if std::fs::read(&path).ok().as_ref() != Some(&component) {
        // Beside it and renamed, so that nobody reads half of it.
        let new = tempfile::NamedTempFile::new_in(out_dir).context("cannot write a component")?;
        std::fs::write(&new, &component)
            .with_context(|| format!("cannot write {}", new.path().display()))?;
        make_readable(&new)?;
        new.persist(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(BuiltPlugin {
        name: name.to_owned(),
        path,
        exports,
        bytes: component.len() as u64,
    })
}

/// Temporary files are their owner's alone; the host may run as another user.
fn make_readable(file: &tempfile::NamedTempFile) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = std::fs::Permissions::from_mode(0o644);
    file.as_file()
        .set_permissions(permissions)
        .context("cannot make a component readable")
}
