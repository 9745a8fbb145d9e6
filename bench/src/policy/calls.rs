//! One call as a turn makes it, against a bare loop, and against the way of Kubewarden.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use pointsman_host::policy::wit::review::{Answer, Question};
use pointsman_host::policy::wit::types::{Approval, Context, Found, Query};
use pointsman_host::policy::{
    CallLimits, Compiler, Facts, Hook, Outcome, Plugin, Runtime, RuntimeConfig, unknown,
};
use tokio::runtime::Handle;
use tokio::task::{block_in_place, spawn_blocking};

use super::Amount;
use super::bare::Review;
use super::json::Json;
use super::pull;
use super::site::guest;
use crate::report::{Target, list, median, note, progress, ratio};

/// Calls of Kubewarden's way for each of ours: they take that much longer.
const FEWER: usize = 10;
/// Questions that the calls go through in turns.
const QUESTIONS: u64 = 64;

/// The guests, as each side has them.
pub(super) struct Guests {
    /// The typed one, loaded as the host does.
    pub(super) plugin: Plugin,
    /// The same component, for bare loops.
    pub(super) wasm: Vec<u8>,
    /// The one that speaks JSON.
    json: Vec<u8>,
    pub(super) questions: Arc<Vec<Question>>,
}

impl Guests {
    pub(super) async fn load() -> anyhow::Result<Self> {
        progress("calls: compiling the guests");
        let wasm = guest("bench-review")?;
        let runtime = Runtime::new(RuntimeConfig {
            compiler: Compiler::InProcess,
            cache_dir: None,
            calls_at_once: pointsman_host::policy::DEFAULT_CALLS_AT_ONCE,
        })?;
        let plugin = runtime
            .load(wasm.clone().into())
            .await
            .map_err(|rejection| anyhow::anyhow!("{rejection}"))?;
        let questions: Vec<Question> = (0..QUESTIONS).map(pull::question).collect();
        let first = questions.first().context("a question")?;
        note(format!(
            "calls: a pull request with its reviews, {} bytes of text and numbers, {} bytes as JSON; guest {} KiB",
            pull::text_bytes(first),
            serde_json::to_vec(first)?.len(),
            wasm.len() / 1024
        ));
        Ok(Self {
            plugin,
            wasm,
            json: guest("bench-json")?,
            questions: Arc::new(questions),
        })
    }
}

/// A record that knows nothing: the policy asks for nothing.
struct NoFacts;

impl Facts for NoFacts {
    fn find(&mut self, query: &Query) -> Found {
        unknown(query)
    }
}

/// One decision as a turn makes it.
pub(super) fn decide(
    plugin: &Plugin,
    context: &Context,
    question: &Question,
) -> anyhow::Result<Answer> {
    let limits = CallLimits::of(Hook::Review);
    let decided = plugin.decide(&limits, context, question, &mut NoFacts);
    match decided.called.outcome {
        Outcome::Answered(answer) => Ok(answer),
        other => bail!("no answer: {other:?}"),
    }
}

/// Microseconds a call on either side, and the ratio of each round.
#[derive(Default)]
struct Sides {
    bare: Vec<f64>,
    turn: Vec<f64>,
    blocking: Vec<f64>,
    json: Vec<f64>,
}

pub(super) fn run(guests: &Guests, amount: &Amount) -> anyhow::Result<()> {
    // A runtime as the server's; what asks is one of its threads for blocking work, as a turn is.
    let sides = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(measure(guests, amount))
        });
        measuring
            .join()
            .map_err(|_| anyhow::anyhow!("measuring panicked"))?
    })?;
    let of = |ours: &[f64], floor: &[f64]| -> Vec<f64> {
        ours.iter()
            .zip(floor)
            .map(|(ours, floor)| ours / floor)
            .collect()
    };
    let to_bare = of(&sides.turn, &sides.bare);
    note(format!(
        "isolated-call: medians of {} rounds of {} calls: bare loop {:.2} us, as the turn calls {:.2} us; ratios {}",
        to_bare.len(),
        amount.calls,
        median(sides.bare.clone()),
        median(sides.turn.clone()),
        list(&to_bare)
    ));
    note(format!(
        "isolated-call: with a hand-over to another thread for each call (`spawn_blocking`) {:.2} us, x{:.2}",
        median(sides.blocking.clone()),
        median(of(&sides.blocking, &sides.bare)),
    ));
    ratio("isolated-call", median(to_bare), Target::AtMost(1.3));
    let to_json = of(&sides.json, &sides.turn);
    note(format!(
        "kubewarden-way: medians of {} rounds: JSON, on-demand instances, `spawn_blocking` behind a semaphore {:.2} us; ratios {}",
        to_json.len(),
        median(sides.json.clone()),
        list(&to_json)
    ));
    ratio("kubewarden-way", median(to_json), Target::AtLeast(5.0));
    Ok(())
}

async fn measure(guests: &Guests, amount: &Amount) -> anyhow::Result<Sides> {
    let bare = Review::new(&guests.wasm)?;
    let json = Json::new(&guests.json, std::thread::available_parallelism()?.get())?;
    let (plugin, questions) = (guests.plugin.clone(), Arc::clone(&guests.questions));
    let shared: Vec<Arc<Question>> = questions.iter().cloned().map(Arc::new).collect();
    let (rounds, calls) = (amount.rounds, amount.calls);
    let runtime = Handle::current();
    let asking = spawn_blocking(move || {
        runtime.block_on(async move {
            let context = pull::context();
            same(&bare, &plugin, &json, &questions).await?;
            let mut sides = Sides::default();
            for round in 0..=rounds {
                progress(format!("calls: round {round} of {rounds}"));
                let began = Instant::now();
                for question in questions.iter().cycle().take(calls) {
                    ensure!(bare.call(&context, question)?.is_ok(), "no answer");
                }
                let bare_us = each(began, calls);
                let began = Instant::now();
                for question in questions.iter().cycle().take(calls) {
                    block_in_place(|| decide(&plugin, &context, question))?;
                }
                let turn_us = each(began, calls);
                let fewer = calls / FEWER;
                let began = Instant::now();
                for question in shared.iter().cycle().take(fewer) {
                    let (plugin, context, question) =
                        (plugin.clone(), context.clone(), Arc::clone(question));
                    spawn_blocking(move || decide(&plugin, &context, &question)).await??;
                }
                let blocking_us = each(began, fewer);
                let began = Instant::now();
                for question in shared.iter().cycle().take(fewer) {
                    json.validate(Arc::clone(question)).await?;
                }
                let json_us = each(began, fewer);
                // The first round warms up.
                if round > 0 {
                    sides.bare.push(bare_us);
                    sides.turn.push(turn_us);
                    sides.blocking.push(blocking_us);
                    sides.json.push(json_us);
                }
            }
            Ok(sides)
        })
    });
    asking.await?
}

/// Makes sure that all of them say the same.
async fn same(
    bare: &Review,
    plugin: &Plugin,
    json: &Json,
    questions: &[Question],
) -> anyhow::Result<()> {
    let context = pull::context();
    for question in questions {
        let Ok(first) = bare.call(&context, question)? else {
            bail!("no answer");
        };
        let second = block_in_place(|| decide(plugin, &context, question))?;
        let third = json.validate(Arc::new(question.clone())).await?;
        ensure!(
            first == second
                && first.approval == Approval::Approved
                && third.approval == "Approved"
                && third.text == first.basis.reason.text,
            "the sides answer differently"
        );
    }
    Ok(())
}

/// Microseconds of each.
fn each(began: Instant, calls: usize) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / calls as f64
}
