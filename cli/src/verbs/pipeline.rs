//! `pointsman pipeline`.

mod shadow;

use std::collections::BTreeMap;
use std::path::Path;

use pointsman_api::generation::Because;
use pointsman_api::lane::{Tip, Under, UnderJob};
use pointsman_api::pipeline::{Limits, Pipeline as Row, PutBinding, UpdatePipeline};
use pointsman_api::pull::{Merging, NewPipeline};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::policy::{Bind, Limit, Pipeline, Place};
use crate::client::Client;
use crate::client::address::Address;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::rows::pipeline_state;
use crate::output::table::Table;
use crate::output::text::{short, time};
use crate::verbs::{input, list, plugin, tell};

pub(super) fn run(context: &Context, verb: Pipeline) -> Result<Exit, Error> {
    let client = context.client()?;
    match verb {
        Pipeline::List => {
            list::print_whole::<Row>(context, &client.at(&["pipelines"]), "no pipelines")
        }
        Pipeline::Create {
            pipeline,
            repo,
            target,
            slots,
            prefix,
            why,
        } => {
            let body = NewPipeline {
                comment: why.comment,
                name: pipeline,
                repository: repo,
                target,
                slots,
                prefix,
            };
            tell(
                context,
                &client.send(&Method::POST, &client.at(&["pipelines"]), &body)?,
            )
        }
        Pipeline::Freeze {
            pipeline,
            reason,
            why,
        } => {
            if reason.trim().is_empty() {
                return Err(Error::usage(
                    "the reason is empty",
                    "say why, for whoever waits",
                ));
            }
            let body = UpdatePipeline {
                comment: why.comment,
                frozen: Some(reason),
                ..UpdatePipeline::default()
            };
            update(context, &client, &pipeline, &body)
        }
        Pipeline::Thaw { pipeline, why } => {
            let body = UpdatePipeline {
                comment: why.comment,
                frozen: Some(String::new()),
                ..UpdatePipeline::default()
            };
            update(context, &client, &pipeline, &body)
        }
        Pipeline::Slots {
            pipeline,
            slots,
            why,
        } => {
            let body = UpdatePipeline {
                comment: why.comment,
                slots: Some(slots),
                ..UpdatePipeline::default()
            };
            update(context, &client, &pipeline, &body)
        }
        Pipeline::Tips { pipeline, paging } => {
            let address = client.at(&["pipelines", &pipeline, "tips"]);
            list::print::<Tip>(
                context,
                &address,
                &paging,
                "the branch has not been looked at yet",
            )
        }
        Pipeline::Status { pipeline } => status(context, &client, &pipeline),
        Pipeline::Ready { pipeline } => {
            let address = client.at(&["pipelines", &pipeline, "ready-for-merge"]);
            numbers(context, &client, &address, "none is ready to land")
        }
        Pipeline::Approved { pipeline } => {
            let address = client.at(&["pipelines", &pipeline, "review-status"]);
            numbers(context, &client, &address, "none is approved")
        }
        Pipeline::Passing { pipeline } => {
            let address = client.at(&["pipelines", &pipeline, "passing"]);
            numbers(context, &client, &address, "none passes on the present tip")
        }
        Pipeline::Show { pipeline } => show(context, &client, &pipeline),
        Pipeline::Bind(args) => bind(context, &client, args),
        Pipeline::Unbind(args) => {
            let address = binding(&client, &args).maybe("comment", args.why.comment.as_deref());
            tell(context, &client.delete(&address)?)
        }
        Pipeline::Rollback(args) => {
            let position = args.position.to_string();
            let address = client.at(&[
                "pipelines",
                &args.pipeline,
                "bindings",
                &args.hook,
                &position,
                "rollback",
            ]);
            tell(
                context,
                &client.send(&Method::POST, &address, &Because::from(args.why))?,
            )
        }
        Pipeline::Shadow(args) => shadow::run(context, &client, args),
        Pipeline::Unshadow(place) => shadow::unshadow(context, &client, place),
        Pipeline::Promote(place) => shadow::promote(context, &client, place),
        Pipeline::Pause {
            pipeline,
            reason,
            why,
        } => {
            if reason.trim().is_empty() {
                return Err(Error::usage(
                    "the reason is empty",
                    "say why, for whoever wonders",
                ));
            }
            let body = UpdatePipeline {
                comment: why.comment,
                paused: Some(reason),
                ..UpdatePipeline::default()
            };
            update(context, &client, &pipeline, &body)
        }
        Pipeline::Resume { pipeline, why } => {
            let body = UpdatePipeline {
                comment: why.comment,
                paused: Some(String::new()),
                ..UpdatePipeline::default()
            };
            update(context, &client, &pipeline, &body)
        }
    }
}

fn update(
    context: &Context,
    client: &Client,
    pipeline: &str,
    body: &UpdatePipeline,
) -> Result<Exit, Error> {
    tell(
        context,
        &client.send(&Method::PATCH, &client.at(&["pipelines", pipeline]), body)?,
    )
}

fn binding(client: &Client, place: &Place) -> Address {
    client.at(&[
        "pipelines",
        &place.pipeline,
        "bindings",
        &place.hook,
        &place.position.to_string(),
    ])
}

/// What is being executed now, one line a pull request.
fn status(context: &Context, client: &Client, name: &str) -> Result<Exit, Error> {
    let address = client.at(&["pipelines", name, "status"]);
    list::show(
        context,
        client,
        &address,
        |running: BTreeMap<i32, Under>| {
            if running.is_empty() {
                context.out.note("nothing is being executed");
            }
            let mut table = Table::new(&["NUMBER#", "LANE#", "STATE", "JOBS", "HEAD"]);
            for (number, under) in running {
                let jobs: Vec<String> = under.jobs.iter().map(job).collect();
                table.add(vec![
                    number.to_string(),
                    under.lane.to_string(),
                    under.state,
                    jobs.join(", "),
                    short(&under.head).to_owned(),
                ]);
            }
            context.out.table(&table)
        },
    )
}

/// A job and how far it is: `test running`, `test waiting (attempt 2)`.
fn job(job: &UnderJob) -> String {
    match job.attempt {
        1 => format!("{} {}", job.name, job.state),
        attempt => format!("{} {} (attempt {attempt})", job.name, job.state),
    }
}

/// Pull requests by their numbers, one a line.
fn numbers(
    context: &Context,
    client: &Client,
    address: &Address,
    nothing: &str,
) -> Result<Exit, Error> {
    list::show(context, client, address, |numbers: Vec<i32>| {
        if numbers.is_empty() {
            context.out.note(nothing);
        }
        for number in numbers {
            context.out.line(format!("#{number}"))?;
        }
        Ok(())
    })
}

fn show(context: &Context, client: &Client, name: &str) -> Result<Exit, Error> {
    list::show(
        context,
        client,
        &client.at(&["pipelines", name]),
        |pipeline: Row| {
            let held = pipeline.held.as_ref();
            let merging = |fact: fn(&Merging) -> String| {
                pipeline.merging.as_ref().map(fact).unwrap_or_default()
            };
            let running = pipeline.running.as_ref();
            let slots = pipeline
                .merging
                .as_ref()
                .map(|m| m.slots)
                .or(running.map(|r| r.slots));
            let runs = running.into_iter().flat_map(|r| &r.runs);
            let runs: Vec<String> = runs.map(|id| format!("run {id}")).collect();
            context.out.table(&Table::facts(vec![
                ("pipeline", format!("{} ({})", pipeline.name, pipeline.kind)),
                ("state", pipeline_state(&pipeline)),
                (
                    "since",
                    held.map(|hold| time(hold.since)).unwrap_or_default(),
                ),
                (
                    "decision",
                    held.and_then(|hold| hold.decision)
                        .map(|id| id.to_string())
                        .unwrap_or_default(),
                ),
                (
                    "lands on",
                    merging(|m| format!("{}/{}", m.repository, m.target)),
                ),
                ("tip", merging(|m| m.tip.clone().unwrap_or_default())),
                ("slots", slots.map(|n| n.to_string()).unwrap_or_default()),
                ("running", runs.join(", ")),
                (
                    "closed by",
                    merging(|m| m.frozen_by.clone().unwrap_or_default()),
                ),
                ("pending", pipeline.pending.to_string()),
                ("turns", pipeline.turns.to_string()),
                ("generation", pipeline.generation.to_string()),
            ]))?;
            if pipeline.bindings.is_empty() {
                context
                    .out
                    .note("no plugin is bound: `pointsman pipeline bind` binds one");
                return Ok(());
            }
            context.out.line("")?;
            context.out.table(&Table::of(&pipeline.bindings))
        },
    )
}

fn bind(context: &Context, client: &Client, args: Bind) -> Result<Exit, Error> {
    let plugin = plugin::find(client, &args.plugin)?;
    let pipeline: Row = client.get(&client.at(&["pipelines", &args.pipeline]))?;
    let before = pipeline.bindings.iter().find(|bound| {
        bound.hook == args.hook
            && bound.position == i32::from(args.position)
            && bound.plugin == plugin.name
    });
    let settings = match &args.settings {
        Some(text) => settings(text)?,
        None => before.map_or_else(|| json!({}), |bound| bound.settings.clone()),
    };
    let before = before.map(|bound| bound.limits).unwrap_or_default();
    let limits = Limits {
        fuel: Limit::over(args.limits.fuel, before.fuel),
        memory_mib: Limit::over(args.limits.memory, before.memory_mib),
        answer_mib: Limit::over(args.limits.answer, before.answer_mib),
        deadline_ms: Limit::over(args.limits.deadline, before.deadline_ms),
    };
    let address = client.at(&[
        "pipelines",
        &args.pipeline,
        "bindings",
        &args.hook,
        &args.position.to_string(),
    ]);
    let body = PutBinding {
        comment: args.why.comment,
        digest: plugin.digest.clone(),
        settings,
        limits,
    };
    let written = client.send(&Method::PUT, &address, &body)?;
    context.out.note(format!(
        "{} {}: {}@{}",
        args.pipeline,
        args.hook,
        plugin.name,
        short(&plugin.digest)
    ));
    tell(context, &written)
}

/// Settings: JSON as it is, or the file of that name, as a path never begins with a brace.
pub(super) fn settings(text: &str) -> Result<Value, Error> {
    let (text, from) = if text.trim_start().starts_with('{') {
        (text.to_owned(), "--settings".to_owned())
    } else {
        (input::text(Path::new(text))?, input::name(Path::new(text)))
    };
    serde_json::from_str(&text).map_err(|error| {
        Error::hinted(
            format!("{from} is no JSON: {error}"),
            r#"write settings like '{"max-runs": 2}'; `pointsman plugin show` prints their schema"#,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_text_or_a_file() {
        assert_eq!(settings(r#" {"a": 1}"#).unwrap(), json!({"a": 1}));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        std::fs::write(&path, "{\"b\": 2}\n").unwrap();
        assert_eq!(settings(path.to_str().unwrap()).unwrap(), json!({"b": 2}));
        assert!(settings("{\"a\": }").is_err());
        assert!(settings("no-such-file.json").is_err());
    }
}
