//! The shim: one small process an attempt, which outlives the host, holds the attempt's lock, starts
//! the command, and sees to its end. It has one thread, which sleeps in `poll`.
//!
//! What could race, and why it does not:
//! - *Two shims for one attempt*: the lock lets one live; `begun`, made once, lets only the first run
//!   anything, also after that one was killed.
//! - *Cancel against start*: the shim opens `wake` before it first looks at `cancel`, so a cancel is
//!   either seen by that look or wakes the sleep after it. A lost wake costs [`CHECK_MS`].
//! - *Signals*: they are blocked from before the command starts and are read from a descriptor, so none
//!   falls between a look and the sleep. SIGCHLD merges, so each wake reaps all there is.
//! - *The command's end against a cancel, the clock, or the lease*: what the shim saw first is the
//!   outcome, and the order of looking is fixed: the command's own end comes first.
//! - *Process ids used again*: see `tree.rs`.
//! - *The host's end, at any point*: the host only writes files that are whole or absent.
//! - *The shim's own end*: the lock falls with it, the command gets SIGKILL from the kernel, and the host
//!   finds the rest (`local/survivors.rs`). A job under another user cannot signal its shim, and the
//!   kernel's out-of-memory killer does not choose it where the host is root. A job under the host's own
//!   user can do all that the host can: give jobs a user.
//!
//! A process in uninterruptible sleep does not die. The shim then waits, for as long as it takes, with the
//! lock held: the attempt *is* still running, and saying otherwise would let a second one begin beside it.
//!
//! Limits are the kernel's resource limits. Control groups would bound memory and processes of the tree
//! as a whole; they are left out since they need a delegated subtree, which few hosts have.

mod enter;
pub(crate) mod tree;
mod watch;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::getpid;

use crate::bell;
use crate::folder::{Claim, Folder, now_ms};

/// The body of the hidden subcommand `__shim PATH`. Given an attempt's folder it is that attempt's shim;
/// given the `spec.json` in it, it becomes the attempt's command. It must be called first thing in
/// `main`, with no other thread running.
#[must_use]
pub fn shim(path: &Path) -> ExitCode {
    close_inherited();
    if path.file_name().is_some_and(|name| name == "spec.json") {
        let folder = path.parent().unwrap_or(Path::new("/"));
        return enter::enter(&Folder(folder.to_owned()));
    }
    match guard(&Folder(path.to_owned())) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody listens any more; the host finds the attempt lost.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Closes whatever the host, or who started the host, left open: a socket that is held by a shim would
/// outlive its server, and one that reaches a job is the job's.
fn close_inherited() {
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // The directory that was just read is among them, and closed already.
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let _ = nix::unistd::close(number);
    }
}

/// Everything from the lock to the last ring.
fn guard(folder: &Folder) -> io::Result<()> {
    // A signal to the host's group or terminal is none of ours. It fails only for a group's leader.
    let _ = rustix::process::setsid();
    let Some(lock) = folder.lock()? else {
        return Ok(());
    };
    if folder.claim(getpid().as_raw_nonzero().get())? == Claim::Taken {
        return Ok(());
    }
    let began_ms = now_ms();
    let exit = watch::run(folder, began_ms)?;
    // The copies have served. Their directory is the host's, so there is nothing else in it.
    let _ = fs::remove_dir_all(folder.path("secrets"));
    folder.write_exit(&exit)?;
    ring(folder);
    // The host knows; now the disk may take its time.
    let _ = File::open(folder.path("exit.json")).and_then(|file| file.sync_all());
    drop(lock);
    Ok(())
}

fn ring(folder: &Folder) {
    let root = folder.0.parent().and_then(Path::parent);
    let id = folder.0.file_name().and_then(|name| name.to_str());
    if let (Some(root), Some(id)) = (root, id) {
        bell::ring(root, id);
    }
}
