//! The ignore policy: 100,000 versions against 100 patterns through the plugin, against the same Rust
//! code run natively.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use ignore_patterns::{IgnorePatterns, Settings};
use pointsman_host::policy::wit::{ignore as wit, types};
use pointsman_host::policy::{CallLimits, Compiler, Hook, Outcome, Runtime, RuntimeConfig};
use pointsman_sdk::{Context, Ignore as _, ignore};

use crate::fill::version_name;
use crate::report::{Target, list, median, ms, note, progress, ratio};
use crate::scale::Scale;

/// Versions in a question: the contract's most.
const VERSIONS: u64 = 10_000;
/// The time that both see.
const AT: u64 = 1_790_000_000_000;

pub(crate) async fn run(scale: &Scale) -> anyhow::Result<()> {
    progress("compiling the ignore plugin");
    let wasm = wasm("ignore-patterns")?;
    let runtime = Runtime::new(RuntimeConfig {
        compiler: Compiler::InProcess,
        cache_dir: None,
        calls_at_once: 2,
    })?;
    let plugin = runtime
        .load(wasm.into())
        .await
        .map_err(|rejection| anyhow::anyhow!("{rejection}"))?;
    let patterns = patterns();
    let questions: Vec<(ignore::Question, wit::Question)> = (0..scale.questions as u64)
        .map(|n| question(n * VERSIONS, &patterns))
        .collect();
    let limits = CallLimits::of(Hook::Ignore);
    let context = types::Context {
        pipeline: "kernels".to_owned(),
        at: AT,
        seed: 7,
        settings: "{}".to_owned(),
        notes: vec![],
        facts: vec![],
        attrs: vec![],
    };
    let mut native_context = Context::new(Settings::default());
    native_context.at = AT;

    let (mut floors, mut ours, mut ignored) = (vec![], vec![], 0);
    for round in 0..=2 * scale.rounds {
        progress(format!("ignore: round {round} of {}", 2 * scale.rounds));
        let (mut native_ms, mut plugin_ms) = (0.0, 0.0);
        ignored = 0;
        for (native, guest) in &questions {
            // What the host gives away to the guest it keeps; the native code is given a copy.
            let copy = native.clone();
            let began = Instant::now();
            let answer = IgnorePatterns::ignore(&native_context, copy);
            native_ms += ms(began.elapsed());
            let began = Instant::now();
            let called = plugin.ignore(&limits, &context, guest);
            plugin_ms += ms(began.elapsed());
            let (Ok(native), Outcome::Answered(guest)) = (answer, called.outcome) else {
                bail!("no answer");
            };
            let same = native.ignored.len() == guest.ignored.len()
                && native
                    .ignored
                    .iter()
                    .zip(&guest.ignored)
                    .all(|(a, b)| a.version == b.version && a.ground == b.ground);
            ensure!(same, "plugin and native code differ");
            ignored += guest.ignored.len();
        }
        // The first round warms up.
        if round > 0 {
            floors.push(native_ms);
            ours.push(plugin_ms);
        }
    }
    let ratios: Vec<f64> = ours
        .iter()
        .zip(&floors)
        .map(|(ours, floor)| ours / floor)
        .collect();
    note(format!(
        "ignore: {} versions against {} patterns in questions of {VERSIONS}, {ignored} ignored; medians of {} rounds: plugin {:.1} ms, native {:.1} ms; ratios {}",
        VERSIONS * scale.questions as u64,
        patterns.len(),
        ratios.len(),
        median(ours),
        median(floors),
        list(&ratios)
    ));
    ratio("ignore-plugin", median(ratios), Target::AtMost(2.0));
    Ok(())
}

/// A built plugin, from where `cargo xtask` puts them.
pub(crate) fn wasm(name: &str) -> anyhow::Result<Vec<u8>> {
    let dir = std::env::var_os("POINTSMAN_PLUGIN_DIR")
        .map_or_else(|| PathBuf::from("target/plugins"), PathBuf::from);
    let file = dir.join(format!("{name}.wasm"));
    std::fs::read(&file).with_context(|| {
        format!(
            "cannot read {}; `cargo xtask plugins` builds it",
            file.display()
        )
    })
}

/// A hundred patterns as people write them: series, flavours, single builds, some anchored and some not;
/// most match nothing of a given distro.
pub(crate) fn patterns() -> Vec<(&'static str, String)> {
    let mut patterns = vec![];
    for n in 0..20 {
        patterns.push(("like", format!("6.{n}.%")));
        patterns.push(("like", format!("%-{}-lowlatency", 2 * n + 34)));
        patterns.push(("like", format!("5.{n}.3-_{n}-%+debug%")));
        patterns.push(("regex", format!("^4\\.{n}\\.")));
        patterns.push(("regex", format!("^5\\.{n}\\.7-5[0-9]-(generic|amd64)$")));
    }
    patterns
}

fn question(first: u64, patterns: &[(&'static str, String)]) -> (ignore::Question, wit::Question) {
    let names: Vec<String> = (first..first + VERSIONS).map(version_name).collect();
    let mut native = ignore::Question::of_names("ubuntu-22.04", &names);
    for (id, (kind, pattern)) in (1..).zip(patterns) {
        native.rules.push(ignore::Rule {
            id,
            kind: (*kind).to_owned(),
            pattern: pattern.clone(),
            reason: "It is not for us.".to_owned(),
            expires: None,
            attrs: vec![],
        });
    }
    let guest = wit::Question {
        distro: native.distro.clone(),
        distro_attrs: native.distro_attrs.clone(),
        rules: native
            .rules
            .iter()
            .map(|rule| wit::Rule {
                id: rule.id,
                kind: rule.kind.clone(),
                pattern: rule.pattern.clone(),
                reason: rule.reason.clone(),
                expires: rule.expires,
                attrs: rule.attrs.clone(),
            })
            .collect(),
        names: native.names.clone(),
        versions: native
            .versions
            .iter()
            .map(|version| wit::Version {
                first_seen: version.first_seen,
                hosts: version.hosts,
            })
            .collect(),
        version_attrs: vec![],
    };
    (native, guest)
}
