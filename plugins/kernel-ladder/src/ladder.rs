//! Where each version stands on the ladder, and what is next for it.

use pointsman_sdk::advance::{Answer, Kernel, Mover, Question, Stage, Step, Tried};
use pointsman_sdk::{Basis, Problem, Stop, Verdict, attr};

use crate::{Rung, Settings};

/// What is next for each version of a question.
///
/// # Errors
/// [`Stop::BadSettings`] if a rung leads to a stage that the record does not have.
pub fn decide(settings: &Settings, question: &Question) -> Result<Answer, Stop> {
    let ladder = Ladder::of(settings, question)?;
    let steps: Vec<Step> = (0..)
        .zip(&question.kernels)
        .map(|(index, kernel)| ladder.step(index, kernel))
        .collect();
    let moved = steps.iter().filter(|step| step.stage.is_some()).count();
    let running = steps.iter().filter(|step| step.purpose.is_some()).count();
    let text = format!(
        "Of {} versions {moved} move and {running} have a run.",
        steps.len()
    );
    Ok(Answer {
        steps,
        basis: Basis::because("ladder.climbed", text),
    })
}

/// The rungs with their stages, in ascending order of rank.
struct Ladder<'a> {
    settings: &'a Settings,
    question: &'a Question,
    rungs: Vec<(&'a Rung, &'a Stage)>,
}

/// What should run, and why that or nothing.
struct Next {
    purpose: Option<String>,
    code: &'static str,
    text: String,
}

impl Next {
    fn run(purpose: &str, code: &'static str, text: impl Into<String>) -> Self {
        Next {
            purpose: Some(purpose.to_owned()),
            code,
            text: text.into(),
        }
    }

    fn nothing(code: &'static str, text: impl Into<String>) -> Self {
        Next {
            purpose: None,
            code,
            text: text.into(),
        }
    }
}

impl<'a> Ladder<'a> {
    fn of(settings: &'a Settings, question: &'a Question) -> Result<Self, Stop> {
        let mut problems = settings.problems();
        let mut rungs = Vec::new();
        for (index, rung) in settings.ladder.iter().enumerate() {
            match question.stage(&rung.stage) {
                Some(stage) => rungs.push((rung, stage)),
                None => problems.push(Problem::new(
                    format!("/ladder/{index}/stage"),
                    "stage.unknown",
                    format!(
                        "There is no stage `{}`: add it to the record, or leave this rung out.",
                        rung.stage
                    ),
                )),
            }
        }
        if !problems.is_empty() {
            return Err(Stop::BadSettings(problems));
        }
        rungs.sort_by_key(|(_, stage)| stage.rank);
        Ok(Ladder {
            settings,
            question,
            rungs,
        })
    }

    fn step(&self, index: u32, kernel: &Kernel) -> Step {
        let running = kernel.tried.iter().find(|tried| tried.verdict.is_none());
        let Some(present) = self.question.stage(&kernel.stage) else {
            let text = format!(
                "Its stage `{}` is no longer one: a person must say where it stands.",
                kernel.stage
            );
            let purpose = running.map(|tried| tried.purpose.clone());
            return Step {
                purpose,
                ..Step::stay(index, Basis::because("stage.unknown", text))
            };
        };
        let reached = self.reached(present, kernel);
        let rank = reached.map_or(present.rank, |(_, stage)| stage.rank);
        let next = self.next(rank, kernel, running);
        let (code, text) = match reached {
            Some((rung, stage)) => {
                let text = format!(
                    "Its {} passed, so it is {}. {}",
                    rung.purpose, stage.name, next.text
                );
                ("run.passed", text)
            }
            None => (next.code, next.text),
        };
        Step {
            stage: reached.map(|(_, stage)| stage.name.clone()),
            purpose: next.purpose,
            // What most hosts wait for goes first.
            priority: kernel
                .hosts
                .iter()
                .map(|(_, hosts)| i64::from(*hosts))
                .sum::<i64>()
                .try_into()
                .unwrap_or(i32::MAX),
            ..Step::stay(index, Basis::because(code, text))
        }
    }

    /// The highest rung above its stage that it passed and that a policy may give.
    fn reached(&self, present: &Stage, kernel: &Kernel) -> Option<(&'a Rung, &'a Stage)> {
        let passed = |rung: &Rung| {
            fresh(kernel, &rung.purpose).is_some_and(|tried| tried.verdict == Some(Verdict::Pass))
        };
        self.rungs.iter().rev().copied().find(|(rung, stage)| {
            stage.rank > present.rank && stage.moved_by == Mover::Policy && passed(rung)
        })
    }

    fn next(&self, rank: u32, kernel: &Kernel, running: Option<&Tried>) -> Next {
        if let Some(tried) = running {
            return Next::run(
                &tried.purpose,
                "run.running",
                format!("A {} is running.", tried.purpose),
            );
        }
        let above = self
            .rungs
            .iter()
            .copied()
            .find(|(_, stage)| stage.rank > rank);
        let requested = attr(&kernel.attrs, "requested");
        let Some(purpose) = requested.or(above.map(|(rung, _)| rung.purpose.as_str())) else {
            return Next::nothing("ladder.done", "Nothing is left to run.");
        };
        let rung = self.rungs.iter().find(|(rung, _)| rung.purpose == purpose);
        if rung.is_some_and(|(rung, _)| rung.needs_headers)
            && attr(&kernel.attrs, "headers") == Some("missing")
        {
            let text =
                format!("No {purpose} is possible: the package index has no headers for it.");
            return Next::nothing("headers.missing", text);
        }
        if requested.is_some() {
            return Next::run(
                purpose,
                "run.requested",
                format!("A person asked for a {purpose}."),
            );
        }
        if let Some(scope) = attr(&kernel.attrs, "ignored") {
            return Next::nothing(
                "version.ignored",
                format!("It is ignored ({scope}): no {purpose} starts by itself."),
            );
        }
        if attr(&self.question.distro_attrs, "supported") == Some("false") {
            let text = format!(
                "{} is not supported: no {purpose} starts by itself.",
                self.question.distro
            );
            return Next::nothing("distro.unsupported", text);
        }
        if !self.settings.start_runs {
            return Next::nothing(
                "runs.off",
                format!("It waits for a {purpose} that somebody else makes."),
            );
        }
        let Some(tried) = fresh(kernel, purpose) else {
            return Next::run(purpose, "run.due", format!("Its {purpose} is due."));
        };
        self.again(tried)
    }

    /// After a run of the next rung that did not lift it.
    fn again(&self, tried: &Tried) -> Next {
        let (purpose, runs, most) = (tried.purpose.as_str(), tried.runs, self.settings.max_runs);
        let (code, ended) = match tried.verdict {
            Some(Verdict::Pass) => {
                return Next::nothing(
                    "person.awaited",
                    format!("Its {purpose} passed: a person must say what follows."),
                );
            }
            Some(Verdict::Fail) => ("run.failed", "failed"),
            Some(Verdict::Inconclusive) | None => ("run.inconclusive", "was inconclusive"),
        };
        if runs < most {
            let text = format!(
                "Its {purpose} {ended} ({runs} of at most {most} runs): it is tried again."
            );
            return Next::run(purpose, "run.retried", text);
        }
        Next::nothing(
            code,
            format!("Its {purpose} {ended} ({runs} of at most {most} runs): a person must look."),
        )
    }
}

/// The newest run of a purpose. What ended before a person put the version where it is, that person has
/// already judged: to move it back means to do it again.
fn fresh<'k>(kernel: &'k Kernel, purpose: &str) -> Option<&'k Tried> {
    let judged = attr(&kernel.attrs, "stage.by") == Some("person");
    kernel
        .tried(purpose)
        .filter(|tried| !judged || tried.at >= kernel.since)
}

#[cfg(test)]
mod tests;
