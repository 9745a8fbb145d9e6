//! `pointsman plugin test`, `bench` and `replay`: on this machine, without a server.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pointsman_api::pipeline::DecisionRecord;
use pointsman_host::policy::{CallLimits, Outcome};
use pointsman_host::replay::{self, Asked, NotReplayable};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cases;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::local::{self, Local};
use crate::output::table::Table;
use crate::output::text::short;

pub(super) fn test(context: &Context, file: &Path, paths: &[PathBuf]) -> Result<Exit, Error> {
    let cases = cases::read(paths)?;
    let local = Local::new()?;
    let plugin = local.load_file(file)?;
    let mut failed = 0;
    let mut table = Table::new(&["CASE", "HOOK", "RESULT", "FUEL#", "OF LIMIT#", "WHY"]);
    for case in &cases {
        let limits = CallLimits::of(case.hook);
        let decided = case.ask(&plugin, &limits)?;
        let failure = case.failure(&decided);
        let ending = decided.called.outcome.ending_of_json();
        failed += usize::from(failure.is_some());
        if context.out.is_json() {
            context.out.record(&json!({
                "case": case.name,
                "hook": case.hook.name(),
                "passed": failure.is_none(),
                "failure": failure,
                "outcome": ending.outcome,
                "code": ending.code,
                "fuel": decided.called.fuel,
                "fuel_limit": limits.fuel,
                "output": shown(case, &decided.called.outcome),
            }))?;
            continue;
        }
        let why = match (&failure, &case.expect) {
            (Some(failure), _) => failure.clone(),
            (None, Some(_)) => ending.code.clone(),
            (None, None) => format!("{}: {}", ending.outcome, ending.text),
        };
        table.add(vec![
            case.name.clone(),
            case.hook.name().to_owned(),
            match (&failure, &case.expect) {
                (Some(_), _) => "FAILED",
                (None, Some(_)) => "ok",
                (None, None) => "ran",
            }
            .to_owned(),
            decided.called.fuel.to_string(),
            share(decided.called.fuel, limits.fuel),
            why,
        ]);
    }
    if !context.out.is_json() {
        context.out.table(&table)?;
        context
            .out
            .note(format!("{} passed, {failed} failed", cases.len() - failed));
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failure })
}

fn shown(case: &cases::Ready, outcome: &Outcome<Value>) -> Option<Value> {
    let part = match outcome {
        Outcome::Answered(_) => pointsman_host::contract::Part::Answer,
        _ => pointsman_host::contract::Part::Stop,
    };
    let output = outcome.output()?;
    Some(pointsman_host::contract::show(
        case.hook.name(),
        part,
        &output,
    ))
}

/// `0.4%`.
fn share(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let share = part as f64 * 100.0 / whole.max(1) as f64;
    format!("{share:.1}%")
}

pub(super) fn bench(
    context: &Context,
    file: &Path,
    paths: &[PathBuf],
    seconds: f64,
) -> Result<Exit, Error> {
    let cases = cases::read(paths)?;
    let local = Local::new()?;
    let plugin = local.load_file(file)?;
    let each = Duration::try_from_secs_f64(seconds / cases.len() as f64)
        .map_err(|_| Error::usage("--seconds is no length of time", "give a number like 3"))?;
    let mut table = Table::new(&[
        "CASE",
        "CALLS#",
        "MEDIAN#",
        "99 OF 100#",
        "CALLS/S#",
        "FUEL#",
        "OF LIMIT#",
    ]);
    for case in &cases {
        let limits = CallLimits::of(case.hook);
        // The first calls pay for pages that are touched for the first time.
        for _ in 0..3 {
            case.ask(&plugin, &limits)?;
        }
        let begun = Instant::now();
        let mut times = vec![];
        let mut fuel = 0;
        while begun.elapsed() < each || times.is_empty() {
            let called = case.ask(&plugin, &limits)?.called;
            times.push(called.duration);
            fuel = called.fuel;
        }
        times.sort_unstable();
        let median = times[times.len() / 2];
        let slow = times[times.len() * 99 / 100];
        let rate = times.len() as f64 / times.iter().sum::<Duration>().as_secs_f64();
        if context.out.is_json() {
            context.out.record(&json!({
                "case": case.name, "calls": times.len(),
                "median_us": median.as_secs_f64() * 1e6, "p99_us": slow.as_secs_f64() * 1e6,
                "calls_per_second": rate, "fuel": fuel, "fuel_limit": limits.fuel,
            }))?;
            continue;
        }
        table.add(vec![
            case.name.clone(),
            times.len().to_string(),
            format!("{median:.1?}"),
            format!("{slow:.1?}"),
            format!("{rate:.0}"),
            fuel.to_string(),
            share(fuel, limits.fuel),
        ]);
    }
    context.out.table(&table)?;
    Ok(Exit::Ok)
}

/// A decision on its way to another machine: `pointsman decision export`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bundle {
    /// The version of this form.
    pub(crate) format: u32,
    /// The decision.
    pub(crate) decision: DecisionRecord,
    /// The plugin's name.
    pub(crate) plugin: String,
    /// The component, as base64; absent if it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wasm: Option<String>,
}

/// The only form of a bundle that there is.
pub(crate) const BUNDLE_FORMAT: u32 = 1;

pub(super) fn replay(
    context: &Context,
    bundle: &Path,
    file: Option<&Path>,
    repeat: u32,
) -> Result<Exit, Error> {
    let text = local::read(bundle)?;
    let bundle: Bundle = serde_json::from_slice(&text).map_err(|error| {
        Error::hinted(
            format!("{} is no exported decision: {error}", bundle.display()),
            "`pointsman decision export ID -o FILE` makes one",
        )
    })?;
    if bundle.format != BUNDLE_FORMAT {
        return Err(Error::failed(format!(
            "this command reads format {BUNDLE_FORMAT} of an exported decision, not {}",
            bundle.format
        )));
    }
    let local = Local::new()?;
    let plugin = match (file, &bundle.wasm) {
        (Some(file), _) => local.load_file(file)?,
        (None, Some(wasm)) => {
            use base64::Engine as _;
            let wasm = base64::engine::general_purpose::STANDARD
                .decode(wasm)
                .map_err(|error| {
                    Error::failed(format!("the component in it is damaged: {error}"))
                })?;
            local
                .load(wasm)
                .map_err(|rejection| Error::hinted(rejection.to_string(), rejection.hint()))?
        }
        (None, None) => {
            return Err(Error::usage(
                "the decision was exported without its plugin",
                "name a component with --plugin",
            ));
        }
    };
    let record = &bundle.decision;
    let asked = match plugin.digest() == record.digest {
        true => Asked::Same,
        false => Asked::Candidate,
    };
    let make = || {
        replay::anew(&plugin, asked, record, local.engine())
            .map_err(|error| Error::failed(error.to_string()))
    };
    let again = make()?;
    let difference = replay::compare(record, &again);
    // What ended through the machine then, or does now, can be looked at and not be compared.
    let other = |again: &replay::Again| {
        again.aside.is_none()
            && (replay::compare(record, again).is_some() || again.output != record.output)
    };
    let mut different = u32::from(other(&again));
    for _ in 1..repeat {
        let next = make()?;
        // One that could not be compared where the first could has not come out the same.
        different += u32::from(next.aside != again.aside || other(&next));
    }
    let part = match again.ending.outcome {
        "answered" => pointsman_host::contract::Part::Answer,
        _ => pointsman_host::contract::Part::Stop,
    };
    let output = again
        .output
        .as_ref()
        .map(|output| pointsman_host::contract::show(&record.hook, part, &output.value()));
    if context.out.is_json() {
        context.out.document(&json!({
            "decision": record.id, "plugin": plugin.digest(), "outcome": again.ending.outcome,
            "code": again.ending.code, "text": again.ending.text, "fuel": again.fuel, "output": output,
            "same": different == 0 && again.aside.is_none(), "repeats": repeat, "different": different,
            "not_comparable": again.aside.as_ref().map(ToString::to_string),
        }))?;
    } else {
        context.out.table(&Table::facts(vec![
            (
                "decision",
                format!("{} of {} about {}", record.id, record.hook, record.subject),
            ),
            (
                "plugin",
                format!("{}@{}", bundle.plugin, short(plugin.digest())),
            ),
            ("outcome", again.ending.outcome.to_owned()),
            (
                "why",
                format!("{} ({})", again.ending.text, again.ending.code),
            ),
            ("fuel", again.fuel.to_string()),
            (
                "recorded",
                match (&again.aside, &difference) {
                    (Some(why), _) => format!("not comparable: {why}"),
                    (None, None) => "the same".to_owned(),
                    (None, Some(difference)) => format!(
                        "{}: {} then, {} now",
                        if difference.at.is_empty() {
                            "outcome"
                        } else {
                            &difference.at
                        },
                        difference.before,
                        difference.after
                    ),
                },
            ),
            (
                "repeated",
                match repeat {
                    1 => String::new(),
                    _ => format!("{repeat} times, {different} with other bytes"),
                },
            ),
        ]))?;
        if let Some(output) = output {
            context.out.line("\noutput:")?;
            context.out.document(&output)?;
        }
    }
    match &again.aside {
        // What ended through the machine then is here to be looked at. Whether a candidate agrees is another question.
        Some(why @ (NotReplayable::Facts(_) | NotReplayable::Here(_))) => Err(Error::failed(
            format!("decision {} cannot be compared: {why}", record.id),
        )),
        _ if different > 0 => Ok(Exit::Differs),
        _ => Ok(Exit::Ok),
    }
}
