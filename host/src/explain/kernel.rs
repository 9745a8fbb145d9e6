//! "Why does this kernel version not go on?": what its next run waits for, in order.

use pointsman_api::kernel::{Kernel, KernelWhy, Wanted};
use pointsman_api::pipeline::Pipeline;
use pointsman_api::pull::Condition;
use pointsman_api::run::{Run, Verdict};

use super::{met, unmet};
use crate::db::Db;
use crate::db::run::Filter;
use crate::error::Result;

/// Runs that are looked through for one that goes on.
const RUNS: u32 = 20;

/// The conditions of one version's next run.
pub async fn kernel(db: &Db, distro: &str, version: &str) -> Result<KernelWhy> {
    let kernel = db.kernel(distro, version).await?;
    let pipelines = db.pipelines(None).await?.items;
    let pipeline = pipelines.into_iter().find(|p| p.kind == "kernel");
    let id = db.names().distro_id(distro, "distro").await?;
    let wishes = db.wanted(None, Some(id), Some(version), None, 1).await?;
    let wish = wishes.items.into_iter().next();
    let filter = Filter {
        distro: Some(id),
        version: Some(version.to_owned()),
        ..Filter::default()
    };
    let runs = db.runs(&filter, None, RUNS).await?.items;
    let requested = db.requested(id, version).await?;
    let conditions = match &pipeline {
        Some(pipeline) => {
            let is_full = db.slots_are_taken(&pipeline.name).await?;
            conditions(
                &kernel,
                (pipeline, is_full),
                wish.as_ref(),
                &runs,
                requested.as_deref(),
            )
        }
        None => vec![unmet(
            "pipeline",
            "there is no pipeline of kernel versions",
            "",
            vec![],
        )],
    };
    Ok(KernelWhy { kernel, conditions })
}

fn conditions(
    kernel: &Kernel,
    (pipeline, is_full): (&Pipeline, bool),
    wish: Option<&Wanted>,
    runs: &[Run],
    requested: Option<&str>,
) -> Vec<Condition> {
    let name = format!("{}/{}", kernel.distro, kernel.version);
    let mut all = vec![];
    if kernel.deleted {
        let remedy = format!("somebody restores it: `pointsman kernel restore {name}`");
        all.push(unmet(
            "recorded",
            "it is marked as deleted",
            &remedy,
            vec![],
        ));
        return all;
    }
    all.push(met("recorded", format!("it is {}", kernel.state), vec![]));
    all.push(match (&pipeline.paused, &pipeline.held) {
        (Some(why), _) => unmet(
            "pipeline",
            format!("the pipeline is paused: {why}"),
            "an admin resumes it: `pointsman pipeline resume`",
            vec![],
        ),
        (None, Some(held)) => unmet(
            "pipeline",
            format!("`{}` cannot answer: {}", held.hook, held.text),
            "whoever owns that policy mends it, or goes back: `pointsman pipeline rollback`",
            held.decision.into_iter().collect(),
        ),
        (None, None) => met("pipeline", "the pipeline goes on", vec![]),
    });
    if let Some(ignored) = &kernel.ignored {
        let text = format!("it is ignored ({}): {}", ignored.scope, ignored.reason);
        all.push(match requested {
            Some(purpose) => met(
                "heeded",
                format!("{text}; but somebody asked for a {purpose}"),
                vec![ignored.decision],
            ),
            None => {
                let remedy = format!(
                    "somebody asks for a run all the same: `pointsman run request {name} PURPOSE`"
                );
                unmet("heeded", text, &remedy, vec![ignored.decision])
            }
        });
    }
    let Some(wish) = wish else {
        all.push(not_wanted(&name, kernel, runs.first()));
        return all;
    };
    all.push(met(
        "wanted",
        format!("a {} is wanted: {}", wish.purpose, wish.reason),
        vec![wish.decision],
    ));
    all.push(started(&name, (pipeline, is_full), wish, runs));
    all
}

fn not_wanted(name: &str, kernel: &Kernel, newest: Option<&Run>) -> Condition {
    if !kernel.missing.is_empty() {
        let text = format!(
            "no run of it is wanted: it lacks {}",
            kernel.missing.join(", ")
        );
        let remedy = "an index that has them is read: `pointsman kernel detect`";
        return unmet("wanted", text, remedy, vec![]);
    }
    match newest {
        Some(run) if run.verdict != Some(Verdict::Pass) && run.verdict.is_some() => {
            let text = format!(
                "no run of it is wanted: run {}, its newest {}, did not pass: {}",
                run.id, run.purpose, run.comment
            );
            let remedy = format!(
                "somebody looks (`pointsman run show {}`) and asks again: `pointsman run request {name} {}`",
                run.id, run.purpose
            );
            unmet("wanted", text, &remedy, run.decision.into_iter().collect())
        }
        _ => unmet(
            "wanted",
            "the policy `advance` wants no run of it",
            "`pointsman decision list --hook advance` says why; readiness is for a person to say: `pointsman kernel set`",
            vec![],
        ),
    }
}

fn started(
    name: &str,
    (pipeline, is_full): (&Pipeline, bool),
    wish: &Wanted,
    runs: &[Run],
) -> Condition {
    let going = runs
        .iter()
        .find(|run| run.verdict.is_none() && run.purpose == wish.purpose);
    if let Some(run) = going {
        return match &run.held {
            Some(held) => unmet(
                "running",
                format!("run {} is held: {}", run.id, held.text),
                "whoever owns the policy bound to `triage` mends it; it is asked again by itself",
                run.decision.into_iter().collect(),
            ),
            None => met(
                "running",
                format!("run {} goes on, by {}", run.id, run.reported_by),
                run.decision.into_iter().collect(),
            ),
        };
    }
    let outside =
        format!("somebody outside makes it and says so: `pointsman kernel report {name}`");
    if !pipeline.bindings.iter().any(|bound| bound.hook == "run") {
        let text = "nobody is at it, and no policy is bound to `run`";
        return unmet("running", text, &outside, vec![]);
    }
    match (&wish.held, &pipeline.running) {
        (Some(held), _) => unmet("running", held.text.clone(), &outside, vec![]),
        (None, Some(running)) if is_full => {
            let text = format!("it waits for one of {} slots", running.slots);
            let remedy = format!("`pointsman pipeline slots {} N` gives more", pipeline.name);
            unmet("running", text, &remedy, vec![])
        }
        _ => unmet("running", "it is about to start", "", vec![]),
    }
}
