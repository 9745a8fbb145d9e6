//! What this repository needs from the machine, found or installed.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::{cluster, process};

/// Something that has to be on the machine.
pub(crate) struct Need {
    /// What a person calls it.
    what: &'static str,
    /// The package of Debian and Ubuntu.
    package: &'static str,
    /// How the package is got elsewhere.
    elsewhere: &'static str,
    is_there: fn() -> bool,
}

/// The server programs of PostgreSQL, with its usual extensions.
pub(crate) const POSTGRES: Need = Need {
    what: "PostgreSQL 15 or newer (the server programs)",
    package: "postgresql",
    elsewhere: "Fedora: dnf install postgresql-server postgresql-contrib",
    is_there: cluster::is_installed,
};

/// Some dependencies are written in C, and Rust links with it too.
pub(crate) const C_COMPILER: Need = Need {
    what: "a C compiler",
    package: "build-essential",
    elsewhere: "Fedora: dnf install gcc",
    is_there: || is_program("cc"),
};

/// Pull requests live in repositories.
pub(crate) const GIT: Need = Need {
    what: "git 2.38 or newer",
    package: "git",
    elsewhere: "Fedora: dnf install git",
    is_there: || is_program("git"),
};

/// Read by Debian's packages when they would make and start a server of their own, which nobody here
/// asked for. It is there only while the packages are installed.
const NO_SERVER_FILE: &str = "/etc/postgresql-common/createcluster.d/pointsman-setup.conf";

/// Finds what is needed, and installs what is missing where that can be done without a question.
///
/// # Errors
///
/// When something is missing and cannot be installed from here; the error says what to install.
pub(crate) fn ensure(needs: &[Need]) -> anyhow::Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut sudo = match privilege() {
        Some(privilege) if is_program("apt-get") => privilege,
        _ => bail!(by_hand(&missing)),
    };
    for need in &missing {
        eprintln!(
            "setup: {} is missing, installing {}",
            need.what, need.package
        );
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let no_server = NoServer::new(&mut sudo)?;
    apt(&sudo, &["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    apt(&sudo, &[&install[..], &packages[..]].concat())?;
    drop(no_server);
    if let Some(need) = missing.iter().find(|need| !(need.is_there)()) {
        bail!(
            "{} is still missing after `apt-get install {}`: this distribution may be too old for \
             it; see https://www.postgresql.org/download/ for newer packages",
            need.what,
            need.package
        );
    }
    Ok(())
}

/// How commands are run as root.
#[derive(Clone, Copy)]
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    fn command(self, program: &str) -> Command {
        let mut command = match self {
            Self::Root => Command::new(program),
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args([
                    "--non-interactive",
                    "env",
                    "DEBIAN_FRONTEND=noninteractive",
                    program,
                ]);
                sudo
            }
        };
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    }
}

/// Root, or `sudo` that asks nothing; a password prompt in the middle of a build helps nobody.
fn privilege() -> Option<Privilege> {
    if rustix::process::geteuid().is_root() {
        return Some(Privilege::Root);
    }
    let asked = Command::new("sudo")
        .args(["--non-interactive", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    matches!(asked, Ok(status) if status.success()).then_some(Privilege::Sudo)
}

fn apt(privilege: &Privilege, args: &[&str]) -> anyhow::Result<()> {
    // Its progress is for people: stdout is kept for what this command itself has to say.
    process::run(
        privilege
            .command("apt-get")
            .arg("--quiet")
            .args(args)
            .stdout(Stdio::from(io::stderr())),
    )
    .with_context(|| {
        "the package manager failed; look at its messages above and install by hand".to_owned()
    })
}

/// While this lives, installing PostgreSQL does not start a server.
struct NoServer(Privilege);

impl NoServer {
    fn new(privilege: &mut Privilege) -> anyhow::Result<Self> {
        let script = format!(
            "mkdir -p $(dirname {NO_SERVER_FILE}) && \
             echo 'create_main_cluster = false' > {NO_SERVER_FILE}"
        );
        process::run(privilege.command("sh").args(["-c", &script]))?;
        Ok(Self(*privilege))
    }
}

impl Drop for NoServer {
    fn drop(&mut self) {
        let _ = self.0.command("rm").args(["-f", NO_SERVER_FILE]).status();
    }
}

fn by_hand(missing: &[&Need]) -> String {
    let mut text = String::from("these are missing, and cannot be installed from here:");
    for need in missing {
        text += &format!(
            "\n  {}\n    Debian, Ubuntu: apt-get install {}\n    {}",
            need.what, need.package, need.elsewhere
        );
    }
    text + "\ninstall them, or run this as root or with a `sudo` that asks for no password"
}

/// Whether `PATH` has a program.
pub(crate) fn is_program(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| is_executable(&dir.join(name))))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_installed_is_named_with_its_package() {
        let text = by_hand(&[&POSTGRES, &C_COMPILER]);
        for part in [
            "apt-get install postgresql\n",
            "apt-get install build-essential",
            "dnf",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn programs_are_found_in_the_path() {
        assert!(is_program("sh"));
        assert!(!is_program("no-such-program"));
    }

    #[test]
    fn nothing_is_installed_when_nothing_is_missing() {
        let there = Need {
            what: "the shell",
            package: "no-such-package",
            elsewhere: "",
            is_there: || is_program("sh"),
        };
        ensure(&[there]).unwrap();
    }
}
