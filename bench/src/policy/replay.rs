//! Decisions made again from their records, against bare calls of the same plugin on the same inputs.
//!
//! The records are a server's: the stock plugins' decisions about 1,000 versions each. A replay reads the
//! record's line of JSON, asks, and compares with what is on record, as `pointsman decision replay` does;
//! the floor has its questions ready and only calls, with the limits and the fuel that a decision has. A
//! loop of wasmtime without those is told beside it. The replay is measured twice: on one thread, as the floor is,
//! and as the command does it, which reads on one thread and asks on all processors.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use pointsman_api::pipeline::DecisionRecord;
use pointsman_host::db::Db;
use pointsman_host::db::decision::Filter;
use pointsman_host::policy::wit::{advance, ignore, types};
use pointsman_host::policy::{CallLimits, Compiler, Hook, Outcome, Plugin, Runtime, RuntimeConfig};
use pointsman_host::replay::{Asked, again, compare, many};
use tokio::sync::mpsc;

use super::Amount;
use super::bare::{Advance, Ignore};
use super::site::Site;
use crate::ignore::wasm;
use crate::lab::Lab;
use crate::report::{Target, list, median, ms, note, progress, ratio};

/// Calls that the runtime makes at once.
const CALLS_AT_ONCE: u32 = 4;
/// Distros, each a question of its own.
const DISTROS: u64 = 10;
/// Ignore patterns, as people write them.
const PATTERNS: usize = 100;
/// Decisions of a hook that each side makes in a round.
const REPEATS: usize = 4;

pub(super) async fn run(lab: &Lab, amount: &Amount) -> anyhow::Result<()> {
    let mut site = Site::new(lab, "replay", DISTROS, amount.versions as u64, PATTERNS).await?;
    site.bind_stock().await?;
    site.host.stop().await?;
    let db = Db::open(&site.url)?;
    let runtime = Runtime::new(RuntimeConfig {
        compiler: Compiler::InProcess,
        cache_dir: None,
        calls_at_once: CALLS_AT_ONCE,
    })?;
    let engine = runtime.engine_fingerprint().to_owned();
    let mut all = vec![];
    for (hook, name) in [
        (Hook::Ignore, "ignore-patterns"),
        (Hook::Advance, "kernel-ladder"),
    ] {
        let lines = lines(&db, hook).await?;
        let first: DecisionRecord = serde_json::from_slice(lines.first().context("no decision")?)?;
        let plugin = runtime
            .load(wasm(name)?.into())
            .await
            .map_err(|rejection| anyhow::anyhow!("{rejection}"))?;
        ensure!(plugin.digest() == first.digest, "another build of {name}");
        let floor = Floor::new(hook, &lines)?;
        let (mut ours, mut bare, mut typed, mut by_all) = (vec![], vec![], vec![], vec![]);
        for round in 0..=amount.rounds {
            progress(format!(
                "replay: {hook}, round {round} of {}",
                amount.rounds
            ));
            let began = Instant::now();
            for _ in 0..REPEATS {
                floor.bare()?;
            }
            let bare_ms = ms(began.elapsed());
            let began = Instant::now();
            for _ in 0..REPEATS {
                for line in &lines {
                    let record: DecisionRecord = serde_json::from_slice(line)?;
                    let made = again(&plugin, Asked::Same, &record, &engine)?;
                    ensure!(compare(&record, &made).is_none(), "it decides differently");
                }
            }
            let ours_ms = ms(began.elapsed());
            let began = Instant::now();
            for _ in 0..REPEATS {
                floor.typed(&plugin)?;
            }
            let typed_ms = ms(began.elapsed());
            let began = Instant::now();
            let other = AtomicBool::new(false);
            let read = |make: &mut dyn FnMut(Plugin, DecisionRecord) -> Result<(), _>| {
                for line in lines.iter().cycle().take(REPEATS * lines.len()) {
                    make(plugin.clone(), serde_json::from_slice(line)?)?;
                }
                anyhow::Ok(())
            };
            many(&engine, CALLS_AT_ONCE, Asked::Same, read, |record, made| {
                let same = made.is_ok_and(|made| compare(record, &made).is_none());
                if !same {
                    other.store(true, Ordering::Relaxed);
                }
            })?;
            ensure!(!other.into_inner(), "it decides differently");
            let by_all_ms = ms(began.elapsed());
            // The first round warms up.
            if round > 0 {
                ours.push(ours_ms);
                bare.push(bare_ms);
                typed.push(typed_ms);
                by_all.push(by_all_ms);
            }
        }
        let over = |floor: &[f64], ours: &[f64]| -> Vec<f64> {
            ours.iter()
                .zip(floor)
                .map(|(ours, floor)| floor / ours)
                .collect()
        };
        let (to_bare, ratios) = (over(&bare, &ours), over(&typed, &ours));
        let (all_to_bare, all_ratios) = (over(&bare, &by_all), over(&typed, &by_all));
        let input = first.input.value();
        let each = |took: &[f64]| median(took.to_vec()) / (REPEATS * lines.len()) as f64;
        note(format!(
            "replay: {hook}, {} decisions of {} versions each, {} bytes a record; medians of {} rounds, a decision: replay {:.3} ms, bare call {:.3} ms, the host's call with the question ready {:.3} ms; ratios to the host's call {}; to the bare call {:.2}; as the command does it {:.3} ms, {:.2} and {:.2}",
            lines.len(),
            input["versions"]
                .as_array()
                .or(input["kernels"].as_array())
                .map_or(0, Vec::len),
            lines.iter().map(Vec::len).sum::<usize>() / lines.len(),
            ratios.len(),
            each(&ours),
            each(&bare),
            each(&typed),
            list(&ratios),
            median(to_bare),
            each(&by_all),
            median(all_ratios.clone()),
            median(all_to_bare),
        ));
        all.push((hook, median(ratios), median(all_ratios)));
    }
    db.close().await;
    for (hook, value, by_all) in all {
        let name = match hook {
            Hook::Ignore => "replay".to_owned(),
            other => format!("replay-{other}"),
        };
        ratio(&name, value, Target::AtLeast(0.7));
        ratio(&format!("{name}-command"), by_all, Target::AtLeast(0.7));
    }
    Ok(())
}

/// The records of a hook's decisions, each a line of JSON.
async fn lines(db: &Db, hook: Hook) -> anyhow::Result<Vec<Vec<u8>>> {
    let (sender, mut receiver) = mpsc::channel(16);
    let filter = Filter {
        hook: Some(hook.name().to_owned()),
        ..Filter::default()
    };
    let sending = db.decision_records(&filter, None, None, None, sender);
    let receiving = async {
        let mut text = vec![];
        while let Some(bytes) = receiver.recv().await {
            text.extend_from_slice(&bytes?);
        }
        anyhow::Ok(text)
    };
    let (sent, text) = tokio::join!(sending, receiving);
    sent?;
    Ok(text?
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

/// Questions that are ready, and who is asked.
enum Floor {
    Ignore(Ignore, Vec<(types::Context, ignore::Question)>),
    Advance(Advance, Vec<(types::Context, advance::Question)>),
}

impl Floor {
    fn new(hook: Hook, lines: &[Vec<u8>]) -> anyhow::Result<Self> {
        Ok(match hook {
            Hook::Ignore => {
                Floor::Ignore(Ignore::new(&wasm("ignore-patterns")?)?, questions(lines)?)
            }
            _ => Floor::Advance(Advance::new(&wasm("kernel-ladder")?)?, questions(lines)?),
        })
    }

    fn bare(&self) -> anyhow::Result<()> {
        match self {
            Floor::Ignore(bare, questions) => {
                for (context, question) in questions {
                    ensure!(bare.call(context, question)?.is_ok(), "no answer");
                }
            }
            Floor::Advance(bare, questions) => {
                for (context, question) in questions {
                    ensure!(bare.call(context, question)?.is_ok(), "no answer");
                }
            }
        }
        Ok(())
    }

    fn typed(&self, plugin: &Plugin) -> anyhow::Result<()> {
        match self {
            Floor::Ignore(_, questions) => ask(plugin, questions),
            Floor::Advance(_, questions) => ask(plugin, questions),
        }
    }
}

fn ask<Q: pointsman_host::policy::Asks>(
    plugin: &Plugin,
    questions: &[(types::Context, Q)],
) -> anyhow::Result<()> {
    for (context, question) in questions {
        let called = plugin.ask(&CallLimits::of(Q::HOOK), context, question);
        let Outcome::Answered(_) = called.outcome else {
            bail!("no answer");
        };
    }
    Ok(())
}

fn questions<Q: serde::de::DeserializeOwned>(
    lines: &[Vec<u8>],
) -> anyhow::Result<Vec<(types::Context, Q)>> {
    let mut questions = vec![];
    for line in lines {
        let record: DecisionRecord = serde_json::from_slice(line)?;
        let context = types::Context {
            pipeline: record.pipeline,
            at: u64::try_from(record.at.timestamp_millis())?,
            seed: record.seed.cast_unsigned(),
            settings: record.settings.to_string(),
            notes: vec![],
            facts: vec![],
            attrs: vec![],
        };
        questions.push((context, serde_json::from_str(record.input.get())?));
    }
    Ok(questions)
}
