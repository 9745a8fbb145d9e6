//! The configuration of the embedded PostgreSQL, written anew at every start.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::error::PostgresError;
use super::layout::{Layout, set_mode};

/// The database role of the host: the superuser of its private cluster.
pub(super) const ROLE: &str = "pointsman";

/// The setting that carries the digest of all others, so that a later host sees whether a running
/// server was started with what it would start it with.
pub(super) const DIGEST_SETTING: &str = "pointsman.settings";

/// An operator's own settings, read last. Kept beside the data, never written by the host.
const CUSTOM_FILE: &str = "custom.conf";

/// Connections for the pools of one host, its workers, and a person with `psql`.
const CONNECTIONS: u32 = 100;

/// Connections where many tests share one server, each with hosts and pools of its own.
const TEST_CONNECTIONS: u32 = 400;

/// Memory to assume where it cannot be read.
const ASSUMED_MEMORY_MIB: u64 = 2048;

/// How much a crash may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What was committed survives a crash of the machine.
    Safe,
    /// Fast, and lost when the machine crashes: for tests.
    Throwaway,
}

/// Writes the configuration and returns its digest (16 hex digits).
pub(super) fn write(layout: &Layout, durability: Durability) -> Result<String, PostgresError> {
    let dir = layout.conf();
    let (dir_mode, file_mode) = if layout.owner == layout.host {
        (0o700, 0o600)
    } else {
        // No secrets in there, and PostgreSQL has to read it.
        (0o755, 0o644)
    };
    std::fs::create_dir_all(&dir).map_err(PostgresError::io("make the folder", &dir))?;
    set_mode(&dir, dir_mode)?;

    let mut main = server_settings(layout, durability, memory_mib())?;
    let (access, names) = access_rules(&layout.host.name);
    let custom = std::fs::read(dir.join(CUSTOM_FILE)).unwrap_or_default();
    let mut digest = Sha256::new();
    for part in [
        main.as_bytes(),
        access.as_bytes(),
        names.as_bytes(),
        &custom,
    ] {
        digest.update(part);
    }
    let digest = hex::encode(&digest.finalize()[..8]);
    let _ = writeln!(main, "{DIGEST_SETTING} = '{digest}'");

    for (name, text) in [
        ("postgresql.conf", &main),
        ("pg_hba.conf", &access),
        ("pg_ident.conf", &names),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(PostgresError::io("write", &path))?;
        set_mode(&path, file_mode)?;
    }
    Ok(digest)
}

/// Who may connect: the user that the host runs as, on the socket, as the kernel vouches for them
/// (`peer`). No password exists that could leak; not even the account of PostgreSQL itself gets in.
fn access_rules(host_user: &str) -> (String, String) {
    let access = format!(
        "local all {ROLE} peer map=host\n\
         local replication {ROLE} peer map=host\n"
    );
    let names = format!("host \"{}\" {ROLE}\n", host_user.replace('"', "\"\""));
    (access, names)
}

fn server_settings(
    layout: &Layout,
    durability: Durability,
    memory_mib: u64,
) -> Result<String, PostgresError> {
    let conf = layout.conf();
    let mut text = format!(
        "# Written by pointsman at every start. Put your own settings into {CUSTOM_FILE} beside this \
         file.\n"
    );
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(text, "{name} = {}", quote(value));
    };
    set("data_directory", path(&layout.cluster())?);
    set("hba_file", path(&conf.join("pg_hba.conf"))?);
    set("ident_file", path(&conf.join("pg_ident.conf"))?);
    set("listen_addresses", "");
    set("unix_socket_directories", path(&layout.run)?);
    set("unix_socket_permissions", "0700");
    // Only the name of the socket; said here so that no environment decides it.
    set("port", "5432");

    set("logging_collector", "on");
    set("log_directory", path(&layout.log())?);
    set("log_filename", "postgres-%u.log");
    set("log_file_mode", "0600");
    set("log_rotation_age", "1d");
    set("log_rotation_size", "0");
    set("log_truncate_on_rotation", "on");
    // Starts, stops and crashes. The errors of statements go to the host, which logs them itself, and
    // would let a caller fill the disk here.
    set("log_min_messages", "log");
    set("log_checkpoints", "off");
    set("log_timezone", "UTC");
    set("timezone", "UTC");
    set("lc_messages", "C");

    // Statements here take milliseconds, and compiling one takes longer.
    set("jit", "off");
    // Solid state disks, and a page cache that holds most of it.
    set("random_page_cost", "1.1");
    set("autovacuum", "on");
    match durability {
        Durability::Safe => {
            let mib = |part: u64, least: u64, most: u64| {
                format!("{}MB", (memory_mib / part).clamp(least, most) / 16 * 16)
            };
            set("max_connections", &CONNECTIONS.to_string());
            set("shared_buffers", &mib(8, 64, 1024));
            set("effective_cache_size", &mib(2, 256, 65536));
            set("maintenance_work_mem", &mib(32, 64, 512));
            set("work_mem", "8MB");
            set("synchronous_commit", "on");
            // Enough for a physical backup with `pg_basebackup`.
            set("wal_level", "replica");
            set("wal_compression", "on");
            set("checkpoint_timeout", "15min");
            set("max_wal_size", "2GB");
        }
        Durability::Throwaway => {
            set("max_connections", &TEST_CONNECTIONS.to_string());
            set("shared_buffers", "128MB");
            set("fsync", "off");
            set("full_page_writes", "off");
            set("synchronous_commit", "off");
            set("wal_level", "minimal");
            set("max_wal_senders", "0");
        }
    }
    // Not `include_if_exists`, which says at every start that there is none.
    let custom = conf.join(CUSTOM_FILE);
    if custom.exists() {
        set("include", path(&custom)?);
    }
    Ok(text)
}

/// A value as PostgreSQL's configuration files quote it.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

fn path(path: &Path) -> Result<&str, PostgresError> {
    path.to_str()
        .filter(|text| !text.contains('\n'))
        .ok_or_else(|| {
            let reason = "the path is not UTF-8, or has a line break in it";
            PostgresError::io("use", path)(std::io::Error::other(reason))
        })
}

/// The memory of the machine, or of the container where that has less, in MiB.
fn memory_mib() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| total_of(&text));
    let container = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .into_iter()
    // `max` is no number: then only the machine counts.
    .find_map(|path| Some(read(path)?.trim().parse::<u64>().ok()? / (1024 * 1024)));
    let known = [machine, container];
    known
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(ASSUMED_MEMORY_MIB)
}

/// Reads `MemTotal:  16384 kB`.
fn total_of(meminfo: &str) -> Option<u64> {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_the_server_reads_them() {
        assert_eq!(quote("plain"), "'plain'");
        assert_eq!(quote(r"it's a \ path"), r"'it''s a \\ path'");
    }

    #[test]
    fn only_the_user_of_the_host_is_let_in() {
        let (access, names) = access_rules("od\"d");
        assert_eq!(names, "host \"od\"\"d\" pointsman\n");
        for line in access.lines() {
            assert!(
                line.starts_with("local ") && line.ends_with("peer map=host"),
                "{line}"
            );
        }
    }

    #[test]
    fn the_memory_is_read_in_kib() {
        assert_eq!(
            total_of("MemTotal:       24684032 kB\nMemFree: 1 kB\n"),
            Some(24105)
        );
        assert_eq!(total_of("nothing"), None);
    }
}
