//! Every hook of the contract, with every field of every answer, and what was asked told back: built once, at
//! the release, and kept.

use pointsman_sdk::{
    Advance, Approval, Basis, Context, Found, Gate, Ignore, Need, Policy, Problem, React, Reason, Review, Run, Select,
    Stop, Triage, Verdict, Work, advance, attr, gate, ignore, react, review, run, select, triage,
};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What every reason says.
    pub say: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            say: "hello".to_owned(),
        }
    }
}

pub struct Everything;

type Asked = Context<Settings>;

impl Policy for Everything {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        if settings.say.is_empty() {
            return vec![Problem::new("/say", "settings.empty", "It says something.")];
        }
        vec![]
    }
}

fn seen(context: &Asked, question: &impl std::fmt::Debug) -> String {
    format!("{context:?} {question:?}")
}

fn because(context: &Asked, hook: &str, seen: String) -> Basis {
    let mut basis = Basis::because(format!("everything.{hook}"), context.settings.say.clone())
        .wake_at(Some(context.at + 86_400_000))
        .tag(&format!("seen.{hook}"), "yes")
        .attr("x-seen", seen);
    basis.reason.details = vec![("k".to_owned(), "v".to_owned())];
    basis
}

fn noted(basis: Basis) -> Basis {
    basis.note("asked", "yes").forget("gone")
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

impl Ignore for Everything {
    fn ignore(context: &Asked, question: ignore::Question) -> Result<ignore::Answer, Stop> {
        let basis = noted(because(context, "ignore", seen(context, &question))).attr("rules.scope", "all");
        let mut answer = ignore::Answer::new(basis);
        let rare = answer.ground("all", None, Reason::new("name.rare", "It is rare."));
        let rule = question.rules.first().map(|rule| rule.id);
        let dull = answer.ground("automatic", rule, Reason::new("name.dull", "It is dull."));
        for (index, name, _) in question.iter() {
            if name.contains("rare") {
                answer.ignore(index, rare);
            } else if name.contains("dull") {
                answer.ignore(index, dull);
            }
        }
        Ok(answer)
    }
}

impl Advance for Everything {
    fn advance(context: &Asked, question: advance::Question) -> Result<advance::Answer, Stop> {
        let basis = noted(because(context, "advance", seen(context, &question)));
        let mut steps = vec![];
        for (index, kernel) in (0..).zip(&question.kernels) {
            let fetched = kernel.tried("fetch").map(|tried| tried.verdict);
            let rank = question.stage(&kernel.stage).map_or(0, |stage| stage.rank);
            let next = question
                .stages
                .iter()
                .find(|stage| stage.rank > rank && stage.moved_by == advance::Mover::Policy);
            let (stage, purpose) = match fetched {
                Some(Some(Verdict::Pass)) => (next.map(|stage| stage.name.clone()), None),
                Some(Some(_)) => (None, None),
                Some(None) | None => (None, Some("fetch".to_owned())),
            };
            steps.push(advance::Step {
                index,
                stage,
                purpose,
                priority: -7,
                basis: noted(Basis::because("everything.step", context.settings.say.clone())),
            });
        }
        Ok(advance::Answer { steps, basis })
    }
}

impl Review for Everything {
    fn review(context: &Asked, question: review::Question) -> Result<review::Answer, Stop> {
        let basis = noted(because(context, "review", seen(context, &question)));
        let head = &question.pull_request.head;
        let approved = question.reviews.iter().any(|r| r.state == "approved" && r.head == *head);
        let rejected = question.reviews.iter().any(|r| r.state == "changes-requested");
        let (approval, wanted) = match (rejected, approved) {
            (true, _) => (Approval::Rejected, vec![]),
            (_, true) => (Approval::Approved, vec![]),
            _ => (Approval::Pending, vec!["bo".to_owned(), "@org/team".to_owned()]),
        };
        Ok(review::Answer {
            approval,
            wanted,
            basis,
        })
    }
}

impl Gate for Everything {
    fn gate(context: &Asked, work: Work) -> Result<gate::Answer, Stop> {
        let basis = noted(because(context, "gate", seen(context, &work)));
        let title = work.members.first().map_or("", |member| member.title.as_str());
        let need = match title.split(' ').next() {
            Some("Pass") => Need::Pass,
            Some("Fail") => Need::Fail,
            Some("Hold") => Need::Hold,
            _ => Need::Run,
        };
        Ok(gate::Answer { need, basis })
    }
}

impl Select for Everything {
    fn select(context: &Asked, question: select::Question) -> Result<select::Answer, Stop> {
        let mut answer = select::Answer::new(noted(because(context, "select", seen(context, &question))));
        for candidate in &question.candidates {
            let landing = match (candidate.approval, candidate.need) {
                (Approval::Approved, Some(Need::Run | Need::Pass)) => select::Landing::WhenPassed,
                (Approval::Approved, _) => select::Landing::Hold,
                (Approval::Rejected, _) => select::Landing::Never,
                (Approval::Pending, _) => {
                    answer.waiting.push(select::Waiting {
                        numbers: vec![candidate.number],
                        reason: Reason::new("everything.waiting", context.settings.say.clone()),
                    });
                    continue;
                }
            };
            let on = answer.lanes.len().checked_sub(1);
            answer.lanes.push(select::Lane {
                members: vec![candidate.number],
                on: on.map(|on| on as u32),
                purpose: "merge".to_owned(),
                landing,
                priority: 3,
                reason: Reason::new("everything.lane", context.settings.say.clone()),
                attrs: vec![pair("merge.message", "Land it"), pair("x-lane", "yes")],
            });
        }
        Ok(answer)
    }
}

impl Run for Everything {
    fn run(context: &Asked, work: Work) -> Result<run::Answer, Stop> {
        let mut basis = because(context, "run", seen(context, &work));
        if work.kind != "kernel" {
            basis = noted(basis);
        }
        let skip = (work.purpose != "try").then(|| Reason::new("everything.skip", context.settings.say.clone()));
        let first = run::Job {
            name: "unit/+all".to_owned(),
            after: vec![],
            skip: skip.clone(),
            weight: run::Weight::Required,
            backend: "local".to_owned(),
            argv: vec!["./ci".to_owned(), "--all".to_owned()],
            env: vec![pair("A", "1")],
            image: String::new(),
            secrets: vec!["TOKEN".to_owned()],
            capabilities: vec!["kvm".to_owned()],
            inputs: vec!["src/".to_owned()],
            artifacts: vec!["out/*.xml".to_owned()],
            timeout_ms: 4_294_967_296,
            attrs: vec![pair("reuse", "never"), pair("x-j", "y")],
        };
        let mut second = run::Job::new("report", ["true"]);
        second.after = vec![first.name.clone()];
        second.weight = run::Weight::Informative;
        second.skip = skip;
        Ok(run::Answer::new(vec![first, second], basis))
    }
}

impl Triage for Everything {
    fn triage(context: &Asked, question: triage::Question) -> Result<triage::Answer, Stop> {
        let mut basis = because(context, "triage", seen(context, &question));
        if question.work.kind != "kernel" {
            basis = noted(basis);
        }
        let mut answer = triage::Answer::new(None, basis);
        let ended = |job: &triage::JobState| job.last().and_then(|attempt| attempt.ended.clone());
        let finding = |job: &triage::JobState, test: &str, class: &str| triage::Finding {
            job: job.name.clone(),
            test: test.to_owned(),
            class: class.to_owned(),
            text: context.settings.say.clone(),
            attrs: vec![pair("k", "v")],
        };
        if question.jobs.iter().all(|job| job.skipped.is_some()) {
            answer.verdict = Some(Verdict::Pass);
            answer.findings = question.jobs.iter().map(|job| finding(job, "", "skipped")).collect();
            return Ok(answer);
        }
        for job in &question.jobs {
            let last = job.last();
            match ended(job).as_deref() {
                Some("lost") => answer.retry.push(triage::Retry {
                    job: job.name.clone(),
                    not_before: context.at + 60_000,
                    attrs: vec![pair("memory", "1073741824")],
                }),
                Some("exited") if last.and_then(|attempt| attempt.exit_code) == Some(-1) => {
                    answer.verdict = Some(Verdict::Inconclusive);
                }
                Some("exited") if last.and_then(|attempt| attempt.exit_code) != Some(0) => {
                    answer.verdict = Some(Verdict::Fail);
                    answer.blame = question.work.members.iter().map(|member| member.number).collect();
                    let tests = last.into_iter().flat_map(|attempt| &attempt.tests);
                    answer.findings.extend(tests.map(|test| finding(job, &test.name, "new")));
                }
                None if job.last().is_some() => answer.cancel.push(job.name.clone()),
                _ => {}
            }
        }
        Ok(answer)
    }
}

impl React for Everything {
    fn react(context: &Asked, question: react::Question) -> Result<react::Answer, Stop> {
        let basis = noted(because(context, "react", seen(context, &question)));
        let say = context.settings.say.as_str();
        let act = |kind: &str, args: &[(&str, &str)]| {
            react::Act::new(kind, args.iter().map(|(name, value)| (*name, *value)))
        };
        let acts = match question.event.as_str() {
            "abstains" => return Err(Stop::abstain("everything.abstain", say)),
            "fails" => return Err(Stop::failed("everything.failed", say)),
            "bad-settings" => {
                return Err(Stop::BadSettings(vec![Problem::new("/say", "settings.odd", say)]));
            }
            "asks" => {
                if context.facts.is_empty() {
                    let args = [("path".to_owned(), "a/b".to_owned())];
                    return Err(Stop::ask("file", args));
                }
                let found = match &context.facts[0].found {
                    Found::Value(value) => value.clone(),
                    Found::Absent => "absent".to_owned(),
                    Found::Refused(why) => why.code.clone(),
                };
                vec![act("comment", &[("body", &found)])]
            }
            "breaks" => panic!("it breaks"),
            "verdict" => {
                let verdict = attr(&question.attrs, "verdict").unwrap_or("none");
                let state = if verdict == "pass" { "success" } else { "failure" };
                vec![
                    act("comment", &[("body", verdict), ("key", "verdict")]),
                    act("status", &[("context", "everything"), ("link", ""), ("state", state), ("text", say)]),
                    act("label", &[("name", verdict)]),
                    act("unlabel", &[("name", "none")]),
                ]
            }
            _ => vec![],
        };
        Ok(react::Answer::new(acts, basis))
    }
}

pointsman_sdk::export!(Everything: ignore, advance, review, gate, select, run, triage, react, settings);
