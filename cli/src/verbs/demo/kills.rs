//! When the server is killed: at random, and at the moments between a deed and its record.

use std::collections::VecDeque;
use std::time::Duration;

/// The moments at which the server can be told to die: after the deed outside the database, before it is
/// written down.
pub(super) const FAILPOINTS: [&str; 7] = [
    "built",
    "landed",
    "claimed",
    "started",
    "cancelled",
    "collected",
    "ended",
];

/// Milliseconds at most that a server lives which is killed at random: long enough that work gets done,
/// short enough that it is hit in the middle of it.
const LONGEST_LIFE_MS: u64 = 900;
/// Milliseconds at most after which one is killed that has not begun to serve: a start takes a few hundred.
const LONGEST_START_MS: u64 = 300;
/// One in so many of those at random falls into the start.
const STARTS_ONE_IN: u64 = 5;

/// One kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kill {
    /// So long after it was started, whether it serves by then or not.
    Starting(Duration),
    /// So long after it began to serve.
    Serving(Duration),
    /// When it comes to this failpoint for the nth time.
    Failpoint { name: &'static str, nth: u32 },
}

/// So many kills, one for each life of the server. The first finds a server that runs already; every other
/// one is a failpoint, and each of those comes up before any comes again.
pub(super) fn plan(count: u16, seed: u64) -> VecDeque<Kill> {
    let mut chance = Chance(seed);
    let mut names: Vec<&'static str> = vec![];
    (0..count)
        .map(|place| {
            if place % 2 == 1 {
                if names.is_empty() {
                    names = chance.shuffled(&FAILPOINTS);
                }
                return Kill::Failpoint {
                    name: names.pop().unwrap_or(FAILPOINTS[0]),
                    nth: 1 + u32::from(chance.below(4) == 0),
                };
            }
            if place > 0 && chance.below(STARTS_ONE_IN) == 0 {
                return Kill::Starting(Duration::from_millis(chance.below(LONGEST_START_MS)));
            }
            Kill::Serving(Duration::from_millis(chance.below(LONGEST_LIFE_MS)))
        })
        .collect()
}

/// SplitMix64: the same moments for the same seed, on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, and without, `limit`. That small numbers are likelier by a billionth does not matter.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn shuffled<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let mut all = all.to_vec();
        for place in (1..all.len()).rev() {
            let other = usize::try_from(self.below(place as u64 + 1)).unwrap_or(0);
            all.swap(place, other);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failpoints(kills: &VecDeque<Kill>) -> Vec<&'static str> {
        let names = kills.iter().filter_map(|kill| match kill {
            Kill::Failpoint { name, .. } => Some(*name),
            _ => None,
        });
        names.collect()
    }

    #[test]
    fn fourteen_kills_have_each_failpoint() {
        for seed in 0..50 {
            let mut names = failpoints(&plan(14, seed));
            names.sort_unstable();
            let mut all = FAILPOINTS.to_vec();
            all.sort_unstable();
            assert_eq!(names, all, "seed {seed}");
        }
        assert!(plan(0, 1).is_empty());
    }

    #[test]
    fn the_seed_says_when() {
        assert_eq!(plan(50, 3), plan(50, 3));
        assert_ne!(plan(50, 3), plan(50, 4));
        assert!(matches!(plan(1, 9)[0], Kill::Serving(_)));
    }
}
