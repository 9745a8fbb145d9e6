//! The server process: finding one that was left behind, starting, waiting, ending.
//!
//! A host that was killed leaves its server running. Whether the process in `postmaster.pid` is that
//! server is never taken on trust: after a restart of the machine the number may be anybody's. The
//! process has to be a PostgreSQL that was started on this very folder, by the right user.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::binaries::Binaries;
use super::error::PostgresError;
use super::layout::{Layout, SOCKET_NAME};
use super::{Progress, account};

/// How often a process or its status file is looked at while something is waited for.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A start takes a fraction of a second, but after a crash the log is replayed first, which for the
/// largest log allowed (`max_wal_size`) takes minutes on a slow disk.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// How long processes of a server that was killed may hold on to its shared memory.
const ORPHANS_TIMEOUT: Duration = Duration::from_secs(30);

/// A long wait says that it is still going on this often.
const REMIND_INTERVAL: Duration = Duration::from_secs(5);

/// What PostgreSQL says while processes of a killed server still run.
const ORPHANS_MESSAGE: &str = "is still in use";

/// How a server is asked to end, the gentlest way first, and how long each may take: roll back and
/// write out everything; drop everything, to be recovered at the next start, for which PostgreSQL gives
/// its own processes 5 s; be killed.
const WAYS_TO_END: [(Signal, Duration); 3] = [
    (Signal::INT, Duration::from_secs(60)),
    (Signal::QUIT, Duration::from_secs(8)),
    (Signal::KILL, Duration::from_secs(5)),
];

/// With which of [`WAYS_TO_END`] to begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// The server works: let it write out everything.
    Orderly = 0,
    /// It does not answer, and would not write out anything either.
    Immediate = 1,
}

/// What `postmaster.pid` says the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It recovers, or has only just begun.
    Starting,
    /// It takes connections.
    Ready,
    /// It is on its way out.
    Stopping,
}

/// A running server of one cluster.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: Pid,
    /// Our own child, which has to be reaped; `None` when a former host started it.
    child: Option<Child>,
}

impl Postmaster {
    /// The server that a former host left running on this cluster, if there is one.
    pub(super) fn left_behind(layout: &Layout) -> Option<Self> {
        let (pid, _) = read_status(layout)?;
        is_server(pid, layout).then_some(Self { pid, child: None })
    }

    /// Starts the server and waits until it takes connections.
    pub(super) async fn start(
        layout: &Layout,
        binaries: &Binaries,
        progress: Progress<'_>,
    ) -> Result<Self, PostgresError> {
        forget_stale_pids(layout)?;
        let begun = Instant::now();
        loop {
            let server = Self::spawn(layout, binaries)?;
            match server.wait_until_ready(layout, progress).await {
                // The last of a killed server's processes end by themselves within moments.
                Err(PostgresError::Start { log, .. })
                    if log.contains(ORPHANS_MESSAGE) && begun.elapsed() < ORPHANS_TIMEOUT =>
                {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                done => return done,
            }
        }
    }

    fn spawn(layout: &Layout, binaries: &Binaries) -> Result<Self, PostgresError> {
        let start_log = layout.start_log();
        let log = File::create(&start_log).map_err(PostgresError::io("write", &start_log))?;
        let postgres = binaries.program("postgres");
        let mut config = OsString::from("config_file=");
        config.push(layout.conf().join("postgresql.conf"));
        let child = account::command(&postgres, &layout.owner, &layout.base)
            .arg("-D")
            .arg(layout.cluster())
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(PostgresError::io("run", &postgres))?;
        Ok(Self {
            pid: Pid::from_child(&child),
            child: Some(child),
        })
    }

    /// Waits until the server takes connections.
    pub(super) async fn wait_until_ready(
        mut self,
        layout: &Layout,
        progress: Progress<'_>,
    ) -> Result<Self, PostgresError> {
        let begun = Instant::now();
        let mut reminded = begun;
        loop {
            if read_status(layout) == Some((self.pid, Status::Ready)) {
                return Ok(self);
            }
            let failed = |reason: String| PostgresError::Start {
                reason,
                log: layout.last_words(),
            };
            if self.is_gone(layout) {
                return Err(failed(self.how_it_ended()));
            }
            if begun.elapsed() > START_TIMEOUT {
                self.end(layout, Ending::Immediate).await?;
                return Err(failed(format!(
                    "not ready within {} s",
                    START_TIMEOUT.as_secs()
                )));
            }
            if reminded.elapsed() > REMIND_INTERVAL {
                reminded = Instant::now();
                progress(&format!(
                    "PostgreSQL is still starting, it may be recovering from a crash ({} s)",
                    begun.elapsed().as_secs()
                ));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Ends the server: gently, then less so.
    pub(super) async fn end(
        &mut self,
        layout: &Layout,
        ending: Ending,
    ) -> Result<(), PostgresError> {
        for &(signal, patience) in &WAYS_TO_END[ending as usize..] {
            self.signal(signal);
            let begun = Instant::now();
            while begun.elapsed() < patience {
                if self.is_gone(layout) {
                    return Ok(());
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            tracing::warn!(pid = self.pid(), ?signal, "PostgreSQL did not end in time");
        }
        Err(PostgresError::Stop { pid: self.pid() })
    }

    /// Ends the server from where nothing can be awaited: a fast shutdown, and a short wait for it.
    pub(super) fn end_blocking(&mut self, layout: &Layout, patience: Duration) {
        self.signal(Signal::INT);
        let begun = Instant::now();
        while begun.elapsed() < patience && !self.is_gone(layout) {
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// What the server says of itself; `None` when it has just begun or is gone.
    pub(super) fn status(&self, layout: &Layout) -> Option<Status> {
        read_status(layout)
            .filter(|(pid, _)| *pid == self.pid)
            .map(|(_, status)| status)
    }

    /// Whether the process has ended.
    pub(super) fn is_gone(&mut self, layout: &Layout) -> bool {
        match &mut self.child {
            // Asking reaps it.
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => !is_server(self.pid, layout) && !is_ending(self.pid, layout),
        }
    }

    /// The process id of the server.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    fn how_it_ended(&mut self) -> String {
        let status = self.child.as_mut().and_then(|child| child.try_wait().ok()?);
        status.map_or_else(|| "it ended".to_owned(), |status| status.to_string())
    }

    fn signal(&self, signal: Signal) {
        // An error means that it is gone, which whoever waits for it sees for themselves.
        let _ = kill_process(self.pid, signal);
    }
}

/// Removes lock files whose process id now belongs to another program, or to a server that was killed
/// and not reaped yet. PostgreSQL does so itself when nobody has the number, but not when another
/// process of the same user has.
fn forget_stale_pids(layout: &Layout) -> Result<(), PostgresError> {
    let socket_lock = layout.run.join(format!("{SOCKET_NAME}.lock"));
    for path in [layout.cluster().join("postmaster.pid"), socket_lock] {
        match read_pid_file(&path) {
            // Safe even if this were wrong: PostgreSQL also finds a second server by its shared memory.
            Some((pid, _)) if is_alive(pid) && !is_server(pid, layout) => {
                std::fs::remove_file(&path).map_err(PostgresError::io("remove", &path))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_status(layout: &Layout) -> Option<(Pid, Status)> {
    read_pid_file(&layout.cluster().join("postmaster.pid"))
}

fn read_pid_file(path: &Path) -> Option<(Pid, Status)> {
    parse_pid_file(&std::fs::read_to_string(path).ok()?)
}

/// Reads the process id (first line) and the status (eighth line, padded with blanks).
fn parse_pid_file(text: &str) -> Option<(Pid, Status)> {
    let mut lines = text.lines();
    let pid = Pid::from_raw(lines.next()?.trim().parse().ok().filter(|pid| *pid > 1)?)?;
    let status = match lines.nth(6).map(str::trim) {
        Some("ready") => Status::Ready,
        Some("stopping") => Status::Stopping,
        _ => Status::Starting,
    };
    Some((pid, status))
}

fn is_alive(pid: Pid) -> bool {
    // "Not permitted" is an answer about somebody else's process, which is alive.
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// Whether a process is a PostgreSQL server that was started on this cluster by the right user. A
/// process that has ended and waits to be reaped is none: its command line is empty.
fn is_server(pid: Pid, layout: &Layout) -> bool {
    let proc = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    match std::fs::read(proc.join("cmdline")) {
        Ok(cmdline) => {
            let status = std::fs::read_to_string(proc.join("status")).unwrap_or_default();
            is_server_of(&cmdline, &layout.cluster()) && user_of(&status) == Some(layout.owner.uid)
        }
        // Systems without /proc: the number is all there is to go by.
        Err(_) if !Path::new("/proc/self").exists() => is_alive(pid),
        Err(_) => false,
    }
}

/// Whether a process of the server's user has given up its memory, and with it its command line, but has
/// not ended yet: until then it may still hold files and locks.
fn is_ending(pid: Pid, layout: &Layout) -> bool {
    let proc = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    let read = |name: &str| std::fs::read(proc.join(name)).ok();
    let (Some(cmdline), Some(status)) = (read("cmdline"), read("status")) else {
        return false;
    };
    let status = String::from_utf8_lossy(&status);
    cmdline.is_empty() && user_of(&status) == Some(layout.owner.uid) && !has_ended(&status)
}

/// Reads the state out of `/proc/PID/status`: one that is dead or waits to be reaped.
fn has_ended(status: &str) -> bool {
    let state = status
        .lines()
        .find_map(|line| line.strip_prefix("State:"))
        .and_then(|state| state.trim_start().chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

fn is_server_of(cmdline: &[u8], cluster: &Path) -> bool {
    let mut args = cmdline.split(|byte| *byte == 0);
    let program = args.next().unwrap_or_default();
    let name = program
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    (name == b"postgres" || name == b"postmaster")
        && args.any(|arg| arg == cluster.as_os_str().as_bytes())
}

/// Reads the effective user id out of `/proc/PID/status`: `Uid: real effective saved filesystem`.
fn user_of(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_read_at_every_stage() {
        let pid = |n| Pid::from_raw(n).unwrap();
        let ready = "4711\n/data\n1700000000\n5432\n/run\n\n  1234   5\nready   \n";
        assert_eq!(parse_pid_file(ready), Some((pid(4711), Status::Ready)));
        let stopping = ready.replace("ready   ", "stopping");
        assert_eq!(
            parse_pid_file(&stopping),
            Some((pid(4711), Status::Stopping))
        );
        assert_eq!(
            parse_pid_file("4711\n/data\n"),
            Some((pid(4711), Status::Starting))
        );
        // A negative number is a process group to `kill`, and 1 would be the machine.
        for bad in ["", "\n", "x\n", "-4711\n", "0\n", "1\n", "99999999999999\n"] {
            assert_eq!(parse_pid_file(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_a_server_of_this_cluster_counts() {
        let cluster = Path::new("/data/cluster");
        assert!(is_server_of(
            b"/usr/bin/postgres\0-D\0/data/cluster\0",
            cluster
        ));
        assert!(!is_server_of(
            b"/usr/bin/postgres\0-D\0/data/cluster2\0",
            cluster
        ));
        assert!(!is_server_of(b"/usr/bin/vi\0/data/cluster\0", cluster));
        assert!(!is_server_of(b"", cluster));
    }

    #[test]
    fn a_process_ends_when_it_waits_to_be_reaped_and_not_before() {
        assert!(!has_ended("Name:\tpostgres\nState:\tR (running)\n"));
        assert!(!has_ended("Name:\tpostgres\nState:\tS (sleeping)\n"));
        assert!(has_ended("Name:\tpostgres\nState:\tZ (zombie)\n"));
        assert!(has_ended("Name:\tpostgres\nState:\tX (dead)\n"));
        assert!(has_ended(""));
    }

    #[test]
    fn the_effective_user_is_read() {
        assert_eq!(
            user_of("Name:\tpostgres\nUid:\t0\t101\t101\t101\n"),
            Some(101)
        );
        assert_eq!(user_of("Name:\tpostgres\n"), None);
    }
}
