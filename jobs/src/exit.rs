//! How an attempt ended, and what it cost.

use serde::{Deserialize, Serialize};

/// The content of `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub outcome: Outcome,
    /// Unix time in milliseconds at which the shim began; that of the end where it never did.
    pub began_ms: u64,
    /// Unix time in milliseconds at which the last process was gone.
    pub ended_ms: u64,
    /// CPU time in user mode of the whole tree, in milliseconds.
    pub user_ms: u64,
    /// CPU time in the kernel of the whole tree, in milliseconds.
    pub system_ms: u64,
    /// Resident memory of the largest process, in bytes. The start of the job counts: some MiB.
    pub max_rss_bytes: u64,
    /// Bytes that the job wrote to its output.
    pub output_bytes: u64,
    /// Bytes of these that were not kept.
    pub cut_bytes: u64,
    /// Processes that were still there when the command had ended, and were killed.
    pub leftovers: u32,
    /// What went wrong beside the job, such as a full disk under its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// The command ended by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal that was not the shim's ended the command.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// The wall clock ran out.
    TimedOut,
    /// The host asked for the end.
    Cancelled {
        /// What it said.
        why: String,
    },
    /// The host did not renew the lease.
    LeaseLapsed,
    /// The job wrote more than it may, and the spec said to end it then.
    OutputLimit,
    /// Somebody told the shim to end: the machine is going down.
    Interrupted {
        /// The signal by which it was told.
        signal: i32,
    },
    /// The command was never run.
    CouldNotStart {
        /// What the system says.
        why: String,
    },
    /// The shim was killed; what it guarded was ended, and nobody knows how the command did.
    Lost,
}

impl Outcome {
    /// The word for it, as in `exit.json`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Exited { .. } => "exited",
            Self::Signalled { .. } => "signalled",
            Self::TimedOut => "timed-out",
            Self::Cancelled { .. } => "cancelled",
            Self::LeaseLapsed => "lease-lapsed",
            Self::OutputLimit => "output-limit",
            Self::Interrupted { .. } => "interrupted",
            Self::CouldNotStart { .. } => "could-not-start",
            Self::Lost => "lost",
        }
    }

    /// Where the command ended by itself, its code; a signal is 128 more than its number.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited { code } => Some(*code),
            Self::Signalled { signal } => Some(128 + signal),
            _ => None,
        }
    }
}

impl Exit {
    /// One of an attempt that never ran, or of which nothing is known.
    pub(crate) fn bare(outcome: Outcome, began_ms: Option<u64>) -> Self {
        let ended_ms = crate::folder::now_ms();
        Self {
            outcome,
            began_ms: began_ms.unwrap_or(ended_ms),
            ended_ms,
            user_ms: 0,
            system_ms: 0,
            max_rss_bytes: 0,
            output_bytes: 0,
            cut_bytes: 0,
            leftovers: 0,
            problem: None,
        }
    }
}
