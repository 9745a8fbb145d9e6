//! What is left of an attempt whose shim was killed. Its processes have gone to init, so descent tells
//! nothing; they are known by `POINTSMAN_WORK` in the environment they were started with, by standing in
//! the attempt's folder, or by being a child of one that is known. (An id alone would not do: another
//! server on this machine may have the same.)
//!
//! The command itself has died with the shim. A process that has changed its environment, its directory
//! and its parent is not found; it takes a job that does all three and somebody else who kills the
//! shim, which a job under a user of its own cannot.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::Error;
use crate::folder::Folder;
use crate::shim::tree::{is_alive, stat};

/// Passes over `/proc`. A pass that finds nobody is the last; this bounds the search for somebody who
/// forks for ever, and the attempt is then looked at again the next time.
const MAX_PASSES: usize = 1_000;
/// Bytes of an environment that are read: the most that the kernel takes for it by default.
const MAX_ENVIRON_BYTES: u64 = 2 * 1024 * 1024;

/// Kills all that can be found, until none can. An error means that some were still there.
pub(super) fn kill(folder: &Folder) -> Result<(), Error> {
    for _ in 0..MAX_PASSES {
        let found = find(folder);
        if found.is_empty() {
            return Ok(());
        }
        for pinned in &found {
            let _ = pidfd_send_signal(pinned, Signal::KILL);
        }
        for pinned in &found {
            wait(pinned);
        }
    }
    let why = std::io::Error::other("its processes do not end");
    Err(Error::io("cleared", &folder.0)(why))
}

/// Waits for a killed process to be dead, though not for ever: it may be in the kernel's hands.
fn wait(pinned: &OwnedFd) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(pinned, PollFlags::IN)];
    let patience = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    let _ = poll(&mut fds, Some(&patience));
}

/// Pidfds of the survivors. A process is pinned before it is looked at and must be alive after, so that
/// what was read is its own.
fn find(folder: &Folder) -> Vec<OwnedFd> {
    let marker = format!("POINTSMAN_WORK={}", folder.path("work").display());
    let mut parents = BTreeMap::new();
    let mut known = BTreeMap::new();
    for pid in processes() {
        let Ok(pinned) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        let Some((state, parent)) = stat(pid) else {
            continue;
        };
        if matches!(state, b'Z' | b'X') {
            continue;
        }
        let number = pid.as_raw_nonzero().get();
        if is_marked(number, &marker, folder) && is_alive(&pinned) {
            known.insert(number, pinned);
        } else {
            parents.insert(number, parent);
        }
    }
    // Children of the known, to any depth. One pass may miss some; the next one, after these are dead,
    // does not see them as children any more, so as many rounds as it takes.
    loop {
        let more: Vec<i32> = parents
            .iter()
            .filter(|(_, parent)| known.contains_key(parent))
            .map(|(number, _)| *number)
            .collect();
        if more.is_empty() {
            return known.into_values().collect();
        }
        for number in more {
            parents.remove(&number);
            let Some(pid) = Pid::from_raw(number) else {
                continue;
            };
            let Ok(pinned) = pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            let is_child =
                stat(pid).is_some_and(|(_, parent)| known.get(&parent).is_some_and(is_alive));
            if is_child {
                known.insert(number, pinned);
            }
        }
    }
}

fn processes() -> Vec<Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .collect()
}

fn is_marked(pid: i32, marker: &str, folder: &Folder) -> bool {
    let stands_within = fs::read_link(format!("/proc/{pid}/cwd"))
        .is_ok_and(|directory| directory.starts_with(folder.path("work")));
    if stands_within {
        return true;
    }
    let path = std::path::PathBuf::from(format!("/proc/{pid}/environ"));
    crate::folder::read_bounded(&path, MAX_ENVIRON_BYTES).is_ok_and(|environ| {
        environ
            .split(|byte| *byte == 0)
            .any(|variable| variable == marker.as_bytes())
    })
}
