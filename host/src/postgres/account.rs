//! The operating system account that PostgreSQL runs as.
//!
//! PostgreSQL refuses to run as root, and rightly so: a superuser of the database can run programs.
//! A host that is root therefore starts it as somebody else. This file uses `std` and `rustix` alone,
//! since `xtask` includes it too.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The accounts that root looks for, in this order: the one that the PostgreSQL packages make, then
/// the one that this program makes.
const NAMES: [&str; 2] = ["postgres", OWN_NAME];

/// The account that is made when there is none.
const OWN_NAME: &str = "pointsman";

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// The login name.
    pub(super) name: String,
    /// The user id.
    pub(super) uid: u32,
    /// The id of the user's own group.
    pub(super) gid: u32,
}

/// The account of this process.
///
/// # Errors
///
/// When the user id has no name, as in a container started with an arbitrary one: `initdb` and peer
/// authentication both need the name.
pub(super) fn current() -> io::Result<Account> {
    let uid = rustix::process::geteuid().as_raw();
    lookup(&uid.to_string()).ok_or_else(|| {
        io::Error::other(format!(
            "user id {uid} has no name on this machine (no entry in /etc/passwd)"
        ))
    })
}

/// The account for a server that is started by root: the first of [`NAMES`], or a new one.
///
/// # Errors
///
/// When there is none and `useradd` is missing or fails.
pub(super) fn unprivileged() -> io::Result<Account> {
    if let Some(account) = NAMES.into_iter().find_map(lookup) {
        return Ok(account);
    }
    let output = Command::new("useradd")
        .args(["--system", "--user-group", "--no-create-home"])
        .args(["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"])
        .arg(OWN_NAME)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("useradd: {error}")))?;
    lookup(OWN_NAME).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        io::Error::other(format!("useradd made no user {OWN_NAME}: {said}"))
    })
}

/// Finds a user by name or by number. `getent` also knows users that are not in `/etc/passwd`; where
/// there is no `getent`, the file has to do.
pub(super) fn lookup(name_or_uid: &str) -> Option<Account> {
    let getent = Command::new("getent")
        .args(["passwd", name_or_uid])
        .stdin(Stdio::null())
        .output();
    match getent {
        Ok(output) => parse(&String::from_utf8_lossy(&output.stdout), name_or_uid),
        Err(_) => parse(&std::fs::read_to_string("/etc/passwd").ok()?, name_or_uid),
    }
}

/// Reads `name:x:uid:gid:comment:home:shell` lines.
fn parse(passwd: &str, name_or_uid: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?;
        let gid = fields.next()?;
        if name_or_uid != name && name_or_uid != uid {
            return None;
        }
        Some(Account {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    })
}

/// A command that runs as `account` in `dir`, with a clean environment and in a process group of its
/// own. So no `PG*` variable changes what it does, and a Ctrl-C in the terminal reaches this process
/// alone, which then stops PostgreSQL when nobody needs it any more.
pub(super) fn command(program: &Path, account: &Account, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        // Messages in English and sorting by code point, whatever the user's language is.
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir(dir)
        .stdin(Stdio::null())
        .process_group(0);
    if rustix::process::geteuid().as_raw() != account.uid {
        // Setting the user id as root also drops root's supplementary groups.
        command.gid(account.gid).uid(account.uid);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:Postgres,,,:/var:/bin/sh\n";
        let postgres = Account {
            name: "postgres".to_owned(),
            uid: 101,
            gid: 104,
        };
        assert_eq!(parse(passwd, "postgres"), Some(postgres.clone()));
        assert_eq!(parse(passwd, "101"), Some(postgres));
        assert_eq!(parse(passwd, "104"), None);
        assert_eq!(parse("broken\n::\n", "broken"), None);
    }

    #[test]
    fn this_process_has_an_account() {
        let account = current().unwrap();
        assert_eq!(account.uid, rustix::process::geteuid().as_raw());
    }
}
