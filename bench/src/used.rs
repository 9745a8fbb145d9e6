//! What processes have used of the processors, from `/proc`.
//!
//! Where other work shares the machine, requests a second say as much about that work as about us;
//! processor time for each request does not.

use std::fs;

/// Ticks in a second: what Linux tells its users everywhere.
const TICKS: f64 = 100.0;

/// What stands in `/proc/PID/stat` behind the name, which may hold blanks.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    // The first field is a letter, others can be negative: none of those matters here.
    Some(
        fields
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect(),
    )
}

/// The process that started this one.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    u32::try_from(*stat(pid)?.get(1)?).ok()
}

/// Of a process alone.
pub(crate) fn own_seconds(pid: u32) -> f64 {
    sum(pid, 11..13)
}

/// Of a process, its children that ended, and those that still run.
pub(crate) fn family_seconds(pid: u32) -> f64 {
    let running = fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = running
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|child| parent(*child) == Some(pid));
    sum(pid, 11..15) + children.map(own_seconds).sum::<f64>()
}

fn sum(pid: u32, fields: std::ops::Range<usize>) -> f64 {
    let ticks: u64 = stat(pid)
        .and_then(|stat| Some(stat.get(fields)?.iter().sum()))
        .unwrap_or(0);
    ticks as f64 / TICKS
}
