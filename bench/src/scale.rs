//! How much of everything a run measures.

use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) name: &'static str,
    /// Distros that the versions are spread over.
    pub(crate) distros: u32,
    /// Versions in the database of the reads and of the batches.
    pub(crate) versions: u64,
    /// Connections of the reads.
    pub(crate) connections: usize,
    /// How long one side of a round of reads is loaded.
    pub(crate) slice: Duration,
    /// Rounds of each comparison; the median counts.
    pub(crate) rounds: usize,
    /// Versions in one batch.
    pub(crate) batch: usize,
    /// Versions and events of the small and of the large database of the latencies.
    pub(crate) few: (u64, u64),
    pub(crate) many: (u64, u64),
    /// Requests of each kind, in each of the two.
    pub(crate) requests: usize,
    /// Questions of 10,000 versions each that the plugin is asked.
    pub(crate) questions: usize,
}

impl Scale {
    /// The sizes of the targets.
    pub(crate) fn full() -> Self {
        Self {
            name: "full",
            distros: 20,
            versions: 100_000,
            connections: 32,
            slice: Duration::from_secs(4),
            rounds: 7,
            batch: 10_000,
            few: (10_000, 100_000),
            many: (1_000_000, 10_000_000),
            requests: 200,
            questions: 10,
        }
    }

    /// Enough to see that it runs.
    pub(crate) fn small() -> Self {
        Self {
            name: "small",
            distros: 20,
            versions: 10_000,
            connections: 8,
            slice: Duration::from_millis(500),
            rounds: 3,
            batch: 1_000,
            few: (10_000, 10_000),
            many: (20_000, 40_000),
            requests: 20,
            questions: 2,
        }
    }
}
