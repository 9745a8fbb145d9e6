//! Finds, or installs, a way to compile Rust to `wasm32-unknown-unknown`.
//!
//! In this order: the Rust toolchain in use, if it has the target; Debian's, if it is installed; the
//! target added by rustup; Debian's, installed now. Debian's compiler comes without a standard library
//! for the target, so it builds one from source, and it has no linker for it, so it borrows the one that
//! every Rust toolchain ships. That is slower, once, and no worse.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// What Rust plugins are compiled for: nothing but WebAssembly itself.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The oldest compiler that reads this workspace: `rust-version` in `Cargo.toml`.
const OLDEST_RUSTC: (u32, u32) = (1, 95);

/// What has to be installed from Debian, or a system made from it.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Where those packages put what is used of them.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/Cargo.lock";

/// For rustup to fetch some 20 MB. It retries for minutes where its server cannot be reached, and there
/// is another way.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// For apt-get to fetch some 150 MB and unpack them.
const APT_LIMIT: Duration = Duration::from_secs(900);

/// `rustup` or `debian`: takes that way and no other, to try one on a machine that has both.
const FORCED_BY: &str = "POINTSMAN_WASM_TOOLCHAIN";

/// How to run cargo for the target.
pub struct WasmToolchain {
    /// For people: which way was taken.
    pub name: &'static str,
    cargo: PathBuf,
    env: Vec<(&'static str, OsString)>,
    args: &'static [&'static str],
}

impl WasmToolchain {
    /// Finds one, or installs it; `progress` is told of what takes long.
    ///
    /// # Errors
    ///
    /// When there is no way, with what to install.
    pub fn find(progress: &mut dyn FnMut(&str)) -> anyhow::Result<Self> {
        let forced = std::env::var(FORCED_BY).ok();
        let (may_rustup, may_debian) = match forced.as_deref() {
            None | Some("") => (true, true),
            Some("rustup") => (true, false),
            Some("debian") => (false, true),
            Some(other) => bail!("{FORCED_BY} is `{other}`: it is `rustup`, `debian` or not set"),
        };
        let sysroot = sysroot()?;
        let has_target = || {
            sysroot
                .join("lib/rustlib")
                .join(TARGET)
                .join("lib")
                .is_dir()
        };
        if may_rustup && has_target() {
            return Ok(Self::own());
        }
        if may_debian && debian_is_installed() {
            return Self::debian(&sysroot);
        }
        let mut tried = Vec::new();
        if may_rustup {
            progress("adding the wasm32-unknown-unknown target with rustup");
            match add_target() {
                Ok(()) if has_target() => return Ok(Self::own()),
                Ok(()) => tried
                    .push("rustup added the target, but not to the toolchain in use".to_owned()),
                Err(error) => tried.push(format!("{error:#}")),
            }
        }
        if may_debian {
            progress("installing rustc-web, cargo-web and rust-web-src with apt-get");
            match install_debian_packages(&DEBIAN_PACKAGES) {
                Ok(()) => return Self::debian(&sysroot),
                Err(error) => tried.push(format!("{error:#}")),
            }
        }
        bail!(
            "there is no compiler for {TARGET}, and none could be installed:\n- {}\n\
             Install it in one of these ways and try again:\n\
             - rustup target add {TARGET}\n\
             - on Debian, as root: apt-get update && apt-get install {}",
            tried.join("\n- "),
            DEBIAN_PACKAGES.join(" ")
        )
    }

    /// Cargo for the target, with nothing in its environment that an outer cargo or rustup put there.
    pub fn cargo(&self, root: &Path) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(root);
        for (key, _) in std::env::vars_os() {
            if key.to_str().is_some_and(is_of_outer_cargo) {
                command.env_remove(key);
            }
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    /// What `cargo build` is given in addition.
    pub fn build_args(&self) -> &'static [&'static str] {
        self.args
    }

    /// The toolchain that runs this program.
    fn own() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut env = Vec::new();
        // Two toolchains may be installed, and this one has the target.
        if let Some(toolchain) = std::env::var_os("RUSTUP_TOOLCHAIN") {
            env.push(("RUSTUP_TOOLCHAIN", toolchain));
        }
        WasmToolchain {
            name: "the Rust toolchain in use",
            cargo: cargo.into(),
            env,
            args: &[],
        }
    }

    fn debian(sysroot: &Path) -> anyhow::Result<Self> {
        let version = version_of(DEBIAN_RUSTC)?;
        if version < OLDEST_RUSTC {
            bail!(
                "{DEBIAN_RUSTC} is {}.{}, and {}.{} is needed: run `apt-get update`, then \
                 `apt-get install {}`; where Debian's security updates are off, turn them on",
                version.0,
                version.1,
                OLDEST_RUSTC.0,
                OLDEST_RUSTC.1,
                DEBIAN_PACKAGES.join(" ")
            );
        }
        let linker = linker(sysroot)?;
        Ok(WasmToolchain {
            name: "Debian's rustc-web",
            cargo: DEBIAN_CARGO.into(),
            env: vec![
                ("RUSTC", DEBIAN_RUSTC.into()),
                // `build-std` is unstable; what it builds is the released library all the same.
                ("RUSTC_BOOTSTRAP", "1".into()),
                ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.into()),
            ],
            args: &["-Zbuild-std=std,panic_abort"],
        })
    }
}

/// What cargo and rustup set for the programs that they run, which would make another cargo build for
/// this one: all but where things are kept and how they are fetched.
fn is_of_outer_cargo(key: &str) -> bool {
    let kept = [
        "CARGO_HOME",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
    ];
    let kept = kept.iter().any(|start| key.starts_with(start));
    (key.starts_with("CARGO") && !kept)
        || key.starts_with("RUSTC")
        || [
            "RUSTFLAGS",
            "RUSTDOC",
            "RUSTDOCFLAGS",
            "RUSTUP_TOOLCHAIN",
            "LD_LIBRARY_PATH",
        ]
        .contains(&key)
}

fn sysroot() -> anyhow::Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc).args(["--print", "sysroot"]).output();
    let output = output.with_context(|| format!("cannot start {}", rustc.display()))?;
    if !output.status.success() {
        bail!(
            "`rustc --print sysroot` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8(output.stdout)
        .context("the path of the Rust toolchain is not UTF-8")?
        .trim_end()
        .into())
}

fn add_target() -> anyhow::Result<()> {
    // The toolchain in use is the one that the outer rustup named in the environment.
    run_within(
        RUSTUP_LIMIT,
        Command::new("rustup").args(["target", "add", TARGET]),
    )
}

fn debian_is_installed() -> bool {
    let all_there = [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_STD]
        .iter()
        .all(|path| Path::new(path).exists());
    all_there && version_of(DEBIAN_RUSTC).is_ok_and(|version| version >= OLDEST_RUSTC)
}

/// Installs packages of Debian, or of a system made from it, without asking anything.
///
/// # Errors
///
/// There is no `apt-get`, no way to be root without a password, no such package, or no network; or
/// another package would have to go.
pub fn install_debian_packages(packages: &[&str]) -> anyhow::Result<()> {
    // The list of packages may be old, or missing as in a container; one that cannot be fetched may
    // still do.
    let update = run_within(APT_LIMIT, &mut apt(&["update"]));
    // A distribution's own cargo is what others depend on: refuse rather than replace it.
    let mut install = apt(&["install", "--yes", "--no-install-recommends", "--no-remove"]);
    run_within(APT_LIMIT, install.args(packages)).or_else(|error| {
        update?;
        Err(error)
    })
}

fn apt(args: &[&str]) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        // Without a password or not at all: nobody may be there to type one. It drops the environment.
        sudo.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// (1, 96) of `rustc 1.96.0 (...)`.
fn version_of(rustc: &str) -> anyhow::Result<(u32, u32)> {
    let output = Command::new(rustc)
        .arg("--version")
        .env_remove("LD_LIBRARY_PATH")
        .output();
    let output = output.with_context(|| format!("cannot start {rustc}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.split(' ').nth(1).and_then(|version| {
        let mut parts = version.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    });
    version.with_context(|| format!("`{rustc} --version` said `{}`", said.trim_end()))
}

/// The linker that ships inside a Rust toolchain, or LLVM's own.
fn linker(sysroot: &Path) -> anyhow::Result<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib"))
        .into_iter()
        .flatten()
        .flatten();
    let inside = hosts.map(|host| host.path().join("bin/rust-lld"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = std::env::split_paths(&path).map(|dir| dir.join("wasm-ld"));
    let mut found = inside.chain(beside).filter(|linker| linker.is_file());
    found.next().context(
        "there is no linker for WebAssembly (`rust-lld` or `wasm-ld`): install the package `lld`",
    )
}

/// Runs a command silently, and kills it when its time is up.
fn run_within(limit: Duration, command: &mut Command) -> anyhow::Result<()> {
    let shown = crate::show(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    // A thread of its own, so that a child that says much does not wait for a reader.
    let stderr = child.stderr.take();
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            // What was read until an error is as much as there is.
            let _ = stderr.read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).trim_end().to_owned()
    });
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("`{shown}` did not end within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        let said = said.join().unwrap_or_default();
        bail!("`{shown}` failed ({status}): {said}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_outer_cargo_sets_is_left_behind() {
        for key in [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(is_of_outer_cargo(key), "{key}");
        }
        for key in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_HTTP_PROXY",
            "RUSTUP_HOME",
            "PATH",
            "RUST_BACKTRACE",
        ] {
            assert!(!is_of_outer_cargo(key), "{key}");
        }
    }

    #[test]
    fn a_command_that_fails_or_hangs_is_an_error_that_says_so() {
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let limit = Duration::from_secs(60);
        assert!(run_within(limit, &mut sh("exit 0")).is_ok());
        let error = run_within(limit, &mut sh("echo no route >&2; exit 3"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no route"), "{error}");
        let error = run_within(Duration::ZERO, &mut sh("exec tail -f /dev/null"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("did not end"), "{error}");
    }
}
