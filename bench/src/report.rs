//! Figures on stdout.

use std::time::Duration;

use crate::scale::Scale;

/// What a figure shall be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At least this: a throughput as a part of the floor's.
    AtLeast(f64),
    /// At most this: a time as a multiple of the floor's.
    AtMost(f64),
}

/// One figure.
pub(crate) fn ratio(name: &str, value: f64, target: Target) {
    let (sign, bound, met) = match target {
        Target::AtLeast(bound) => (">=", bound, value >= bound),
        Target::AtMost(bound) => ("<=", bound, value <= bound),
    };
    println!("ratio {name} {value:.2} target {sign}{bound}");
    eprintln!(
        "  {name} {value:.2} (target {sign}{bound}): {}",
        if met { "met" } else { "MISSED" }
    );
}

/// A raw number.
pub(crate) fn note(text: impl AsRef<str>) {
    println!("# {}", text.as_ref());
}

/// What takes its time.
pub(crate) fn progress(text: impl AsRef<str>) {
    eprintln!("bench: {}", text.as_ref());
}

/// What it all was measured on.
pub(crate) fn machine(scale: &Scale) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?;
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
    let memory = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let kib: u64 = text
                .lines()
                .next()?
                .split_whitespace()
                .nth(1)?
                .parse()
                .ok()?;
            Some(kib / (1024 * 1024))
        });
    note(format!(
        "scale {}; {cores} cores ({}), {} GiB; load before: {}",
        scale.name,
        model.as_deref().unwrap_or("unknown"),
        memory.unwrap_or_default(),
        std::fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .trim(),
    ));
    Ok(())
}

/// The middle value; none of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Numbers with two decimals, separated by blanks.
pub(crate) fn list(values: &[f64]) -> String {
    values
        .iter()
        .map(|v| format!("{v:.2}"))
        .collect::<Vec<_>>()
        .join(" ")
}
