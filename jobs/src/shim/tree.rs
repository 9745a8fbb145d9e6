//! Finding and signalling the job's processes, all of them and no other.
//!
//! The shim is a *subreaper*: whatever a job forks, double-forks or moves to another session comes back
//! to the shim when its parent dies. So there is one reliable sign that nothing is left: `wait` says
//! that there is no child (a process is adopted before its dead parent can be reaped). Everything here
//! only has to hurry towards that.
//!
//! *Process ids are used again*, and a signal to a stale one would hit a stranger. A direct child is
//! safe: its id is taken until the shim itself, which has one thread, has reaped it. Any other is first
//! pinned by a pidfd; then its parent is read; if that is the shim, or a process that is itself pinned
//! and still alive, the pinned process is the job's, and the signal goes through the pidfd.
//!
//! A job that forks as fast as it can is caught by walking down: a process is signalled, then its
//! children, and reading a list of children takes less time than a fork. What slips through is found by
//! the next pass, as a child of the shim.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

/// Whether the kernel lists children in `/proc`, which all distros' do.
pub(super) fn is_listable() -> io::Result<()> {
    fs::read("/proc/thread-self/children").map(|_| ())
}

/// Sends a signal to every process below this one that is not already dead, from the top down. Adds
/// their ids to `seen`.
pub(super) fn signal(signal: Signal, seen: &mut BTreeSet<i32>) {
    let own = getpid();
    let mut queue: VecDeque<(Pid, Option<OwnedFd>)> = VecDeque::from([(own, None)]);
    while let Some((parent, pinned)) = queue.pop_front() {
        for child in children(parent, pinned.is_none()) {
            let Ok(fd) = pidfd_open(child, PidfdFlags::empty()) else {
                continue;
            };
            let Some((state, its_parent)) = stat(child) else {
                continue;
            };
            let is_ours = its_parent == own.as_raw_nonzero().get()
                || (its_parent == parent.as_raw_nonzero().get()
                    && pinned.as_ref().is_some_and(is_alive));
            if is_ours && state != b'Z' && state != b'X' {
                seen.insert(child.as_raw_nonzero().get());
                queue.push_back((child, Some(fd)));
            }
        }
        // After its children were read: once it is dead they are the shim's, and no longer listed here.
        if let Some(fd) = &pinned {
            let _ = pidfd_send_signal(fd, signal);
            if signal == Signal::TERM {
                // A stopped process would sleep through it.
                let _ = pidfd_send_signal(fd, Signal::CONT);
            }
        }
    }
}

/// The children of all threads of a process.
fn children(pid: Pid, is_self: bool) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut add = |text: io::Result<String>| {
        for word in text.unwrap_or_default().split_ascii_whitespace() {
            found.extend(word.parse().ok().and_then(Pid::from_raw));
        }
    };
    if is_self {
        add(fs::read_to_string("/proc/thread-self/children"));
    } else if let Ok(threads) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) {
        for thread in threads.flatten() {
            add(fs::read_to_string(thread.path().join("children")));
        }
    }
    found
}

/// State and parent of a process.
pub(crate) fn stat(pid: Pid) -> Option<(u8, i32)> {
    let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in parentheses may have any byte in it, a parenthesis too.
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
    let mut words = text[after_name..]
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    let state = *words.next()?.first()?;
    let parent = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    Some((state, parent))
}

/// A pidfd can be read once its process is dead.
pub(crate) fn is_alive(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0))
}
