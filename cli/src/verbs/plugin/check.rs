//! `pointsman plugin check`: would the server take it?

use std::path::Path;

use pointsman_host::plugins::schema;
use pointsman_host::policy::{CallLimits, MAX_COMPONENT_BYTES, Outcome, Plugin, Rejection};
use serde::Serialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::local::{self, Local};
use crate::output::table::Table;
use crate::output::text::bytes;

/// What `check` found.
#[derive(Serialize)]
struct Finding {
    /// The hook, `settings`, or `component`.
    about: String,
    level: &'static str,
    expected: String,
    found: String,
    remedy: String,
}

pub(super) fn run(context: &Context, file: &Path, settings: Option<&str>) -> Result<Exit, Error> {
    let local = Local::new()?;
    let wasm = local::read(file)?;
    let size = wasm.len();
    let mut findings = vec![];
    let plugin = match local.load(wasm) {
        Ok(plugin) => Some(plugin),
        Err(rejection) => {
            findings.push(rejected(&rejection));
            None
        }
    };
    if size > MAX_COMPONENT_BYTES / 2 && size <= MAX_COMPONENT_BYTES {
        findings.push(Finding {
            about: "component".to_owned(),
            level: "warning",
            expected: format!("well below {}", bytes(MAX_COMPONENT_BYTES as u64)),
            found: bytes(size as u64),
            remedy: "strip debug information before it grows further".to_owned(),
        });
    }
    if let Some(plugin) = &plugin {
        settings_findings(plugin, settings, &mut findings)?;
    }
    if context.out.is_json() {
        context.out.document(&json!({
            "file": file,
            "bytes": size,
            "digest": plugin.as_ref().map(Plugin::digest),
            "hooks": plugin.as_ref().map(|plugin| {
                plugin.hooks().iter().map(|hook| hook.name()).collect::<Vec<_>>()
            }),
            "findings": findings,
        }))?;
    } else {
        if let Some(plugin) = &plugin {
            let mut rows = vec![
                ("digest", plugin.digest().to_owned()),
                (
                    "size",
                    format!(
                        "{} of {}",
                        bytes(size as u64),
                        bytes(MAX_COMPONENT_BYTES as u64)
                    ),
                ),
            ];
            for hook in plugin.hooks() {
                let fuel = CallLimits::of(*hook).fuel;
                rows.push((
                    "answers",
                    format!(
                        "{hook}: {} (fuel {} million a call)",
                        hook.asked(),
                        fuel / 1_000_000
                    ),
                ));
            }
            rows.push((
                "settings",
                if plugin.has_settings() {
                    "checked by the plugin"
                } else {
                    "none"
                }
                .to_owned(),
            ));
            context.out.table(&Table::facts(rows))?;
        }
        for finding in &findings {
            context.out.line(format!(
                "{}: {}: expected {}, found {}\n  hint: {}",
                finding.level, finding.about, finding.expected, finding.found, finding.remedy
            ))?;
        }
        if findings.is_empty() {
            context.out.line("the server would take it")?;
        }
    }
    match findings
        .into_iter()
        .find(|finding| finding.level == "error")
    {
        Some(finding) => Err(Error::hinted(
            format!("the server would refuse it: {}", finding.found),
            finding.remedy,
        )),
        None => Ok(Exit::Ok),
    }
}

fn rejected(rejection: &Rejection) -> Finding {
    let expected = match rejection {
        Rejection::TooLarge { limit, .. } => format!("at most {}", bytes(*limit as u64)),
        Rejection::NotWasm { .. } | Rejection::CoreModule => "a WebAssembly component".to_owned(),
        Rejection::Import { .. } => "no import but types of the contract".to_owned(),
        Rejection::ContractVersion { supported, .. } => {
            format!("version {supported} of the contract")
        }
        Rejection::NoHook { .. } => "at least one hook".to_owned(),
        Rejection::WrongTypes { .. } => "the types of the contract".to_owned(),
        _ => "a component that compiles and starts".to_owned(),
    };
    Finding {
        about: "component".to_owned(),
        level: "error",
        expected,
        found: rejection.to_string(),
        remedy: rejection.hint(),
    }
}

fn settings_findings(
    plugin: &Plugin,
    settings: Option<&str>,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let limits = CallLimits::of_settings();
    let error = |expected: &str, found: String, remedy: &str| Finding {
        about: "settings".to_owned(),
        level: "error",
        expected: expected.to_owned(),
        found,
        remedy: remedy.to_owned(),
    };
    if !plugin.has_settings() {
        if settings.is_some() {
            findings.push(error(
                "an export `settings`",
                "none".to_owned(),
                "export it: `pointsman_sdk::export!(MyPolicy: gate, settings)`",
            ));
        }
        return Ok(());
    }
    let schema = match plugin.settings_schema(&limits).outcome {
        Outcome::Answered(schema) => {
            let read = serde_json::from_str::<Value>(&schema).map_err(|error| error.to_string());
            match read.and_then(|schema| schema::check(&schema).map(|()| schema)) {
                Ok(schema) => Some(schema),
                Err(problem) => {
                    findings.push(error(
                        "a JSON Schema",
                        problem,
                        "derive it from the type of the settings",
                    ));
                    None
                }
            }
        }
        other => {
            findings.push(error(
                "a JSON Schema",
                other.detail().unwrap_or_default(),
                "look at `settings.schema`",
            ));
            None
        }
    };
    let given = match settings {
        Some(settings) => crate::verbs::pipeline::settings(settings)?,
        None => json!({}),
    };
    let misfits = schema.map(|schema| schema::problems(&schema, &given).unwrap_or_default());
    if let Some(misfits) = misfits.filter(|misfits| !misfits.is_empty()) {
        for (field, text) in misfits {
            let mut finding = error(
                "settings that fit its schema",
                match field.is_empty() {
                    true => text,
                    false => format!("{field}: {text}"),
                },
                "give others with --settings",
            );
            // Without settings of one's own this only says that there must be some.
            if settings.is_none() {
                finding.level = "note";
            }
            findings.push(finding);
        }
        return Ok(());
    }
    let given = given.to_string();
    match plugin.settings_check(&limits, &given).outcome {
        Outcome::Answered(Ok(())) => {}
        Outcome::Answered(Err(problems)) => {
            for problem in problems {
                let found = match problem.field.is_empty() {
                    true => problem.text,
                    false => format!("{}: {}", problem.field, problem.text),
                };
                let mut finding = error(
                    "settings that pass its check",
                    found,
                    "give settings that fit the schema with --settings",
                );
                if settings.is_none() {
                    finding.level = "note";
                }
                findings.push(finding);
            }
        }
        other => findings.push(error(
            "an answer of `settings.check`",
            other.detail().unwrap_or_default(),
            "a settings check must end within its fuel and must not trap",
        )),
    }
    Ok(())
}
