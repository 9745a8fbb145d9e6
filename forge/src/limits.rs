//! Every bound of this crate, with its unit and its reason.

use std::time::Duration;

/// Git processes that one [`crate::Forge`] runs at once. Each takes some tens of megabytes, and more
/// of them than this make nothing faster on the machines that run a forge.
pub const PROCESSES: usize = 16;

/// For what reads or writes some refs or a commit. It is disk latency and nothing else; a minute
/// means that the disk hangs.
pub const QUICK: Duration = Duration::from_secs(60);

/// For a merge or a diff, whose cost follows the size of the trees and files.
pub const MERGE: Duration = Duration::from_secs(300);

/// For objects that are copied from one repository to another.
pub const TRANSFER: Duration = Duration::from_secs(1800);

/// For repacking a repository.
pub const COMPACT: Duration = Duration::from_secs(4 * 3600);

/// What a git process is given to tidy up (its lock files) between SIGTERM and SIGKILL.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// Milliseconds that git waits for another process's lock on a ref. A lock is held for the time of
/// one small write, so a queue of pushes is through long before.
pub const REF_LOCK_MS: u32 = 5_000;

/// Bytes that one process may write where its whole output is kept: enough for the list of 100,000
/// branches.
pub const OUTPUT_BYTES: usize = 64 << 20;

/// Bytes kept of what a process says on its standard error; the rest is read and dropped.
pub const STDERR_BYTES: usize = 16 << 10;

/// Bytes of a branch name.
pub const BRANCH_BYTES: usize = 255;

/// Bytes of one part of a branch name between slashes: a file name of 255 with `.lock` behind it.
pub const BRANCH_PART_BYTES: usize = 250;

/// Bytes of a repository's name: it is a file name, and part of longer ones.
pub const REPO_NAME_BYTES: usize = 100;

/// Bytes of a path that is told; a longer one is counted only. Linux opens no longer path either.
pub const PATH_BYTES: usize = 4096;

/// Paths that [`crate::Repository::describe_head`] tells; the rest is counted. The contract sends
/// plugins no more.
pub const CHANGED_PATHS: usize = 10_000;

/// Bytes of a commit that are looked at: its headers and the beginning of its message. Whoever
/// pushes decides how long a commit is.
pub const COMMIT_BYTES: usize = 64 << 10;

/// Bytes of a subject or a name that are kept.
pub const SUBJECT_BYTES: usize = 1000;

/// Bytes of a file whose text is read: a pin, a list of owners, a lock file, and not a store of data.
/// What is read is kept with the decision that asked for it.
pub const TEXT_BYTES: u64 = 64 << 10;

/// Members of one merge plan: there are at most as many candidates.
pub const MEMBERS: usize = 1000;

/// Bytes of the message of a commit that is built.
pub const MESSAGE_BYTES: usize = 64 << 10;

/// Bytes of a name or an address in an identity.
pub const IDENTITY_BYTES: usize = 256;

/// Paths that are told of a conflict.
pub const CONFLICT_PATHS: usize = 1000;

/// Bytes of text that are told of a conflict.
pub const CONFLICT_TEXT_BYTES: usize = 16 << 10;

/// Times that a landing is tried while the branch stands where it should and git fails all the same.
pub const LAND_TRIES: usize = 3;

/// A pack of fewer objects is stored as loose ones, as git itself does after a push: a repository
/// with thousands of packs is slow.
pub const UNPACK_OBJECTS: u32 = 100;
