//! Asking the hooks about what a turn looks at, and recording what they say.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::facts::Record;
use super::question::{self, Distro};
use super::{Causes, Stopped, Worker};
use crate::db::turn::{Bound, Made, NewDecision, NewHold, Same, TurnEnd, TurnStart};
use crate::error::Error;
use crate::plan::{self, Refused, Wish};
use crate::policy::wit::types::{Basis, Context, Stop};
use crate::policy::{Asks, CallLimits, Decided, Outcome, Plugin};

/// Versions in one `advance` question.
const ADVANCE_CHUNK: usize = 2_000;
/// Names of settled versions in a question: enough to count "the newest of a series".
const SETTLED: i64 = 10_000;

impl Worker {
    /// Asks both hooks and fills in what follows.
    pub(super) async fn ask_all(
        &mut self,
        start: &TurnStart,
        ids: &Causes,
        at: DateTime<Utc>,
        end: &mut TurnEnd,
    ) -> Result<(), Stopped> {
        self.load(start).await?;
        let mut distros = HashMap::new();
        let mut advance = ids.advance.clone();
        let mut scopes: HashMap<i64, Option<String>> = HashMap::new();
        if !ids.ignore.is_empty() {
            let wanted: Vec<i64> = ids.ignore.iter().copied().collect();
            let (gone, versions): (Vec<_>, Vec<_>) = self
                .db
                .ignore_subjects(&wanted)
                .await?
                .into_iter()
                .partition(|v| v.deleted);
            // Of what is marked as deleted nothing derived is kept.
            end.kept
                .extend(gone.iter().filter(|v| v.scope.is_some()).map(|v| v.id));
            end.wanted.extend(gone.iter().map(|v| Wish {
                id: v.id,
                run: None,
                reason_code: "deleted".to_owned(),
                reason_text: String::new(),
                decision: 0,
            }));
            for group in versions.chunk_by(|a, b| a.distro == b.distro) {
                let distro = self.distro(&mut distros, group[0].distro).await?;
                self.ask_ignore(start, &distro, group, at, end).await?;
            }
            for ignored in &end.ignored {
                scopes.insert(ignored.id, Some(ignored.scope.clone()));
            }
            for kept in &end.kept {
                scopes.insert(*kept, None);
            }
            // Whoever is ignored, or no longer, has something to hear from `advance`.
            advance.extend(scopes.keys());
        }
        self.ask_advance(start, &advance, &scopes, &mut distros, at, end)
            .await
    }

    async fn distro(
        &self,
        distros: &mut HashMap<i32, std::sync::Arc<Distro>>,
        id: i32,
    ) -> Result<std::sync::Arc<Distro>, Stopped> {
        if let Some(distro) = distros.get(&id) {
            return Ok(std::sync::Arc::clone(distro));
        }
        let (name, variant, supported) = self.db.distro_attrs(id).await?;
        let distro = std::sync::Arc::new(Distro {
            name,
            variant,
            supported,
        });
        distros.insert(id, std::sync::Arc::clone(&distro));
        Ok(distro)
    }

    async fn ask_ignore(
        &self,
        start: &TurnStart,
        distro: &Distro,
        versions: &[plan::Version],
        at: DateTime<Utc>,
        end: &mut TurnEnd,
    ) -> Result<(), Stopped> {
        let rules = self.db.rules(versions[0].distro, at).await?;
        let question = question::ignore(distro, &rules, versions);
        let mut answers = vec![];
        for bound in start.bindings.iter().filter(|b| b.hook == "ignore") {
            let call = Call {
                id: start.pipeline,
                pipeline: &start.name,
                bound,
                subject: &distro.name,
                distro: versions[0].distro,
                items: versions.len(),
                at,
            };
            if let Some(answer) = self.call(&call, "ignore", &question, end).await? {
                answers.push((end.decisions.len() - 1, answer));
            }
        }
        let plan = plan::ignore(versions, &rules, &answers)
            .map_err(|refused| hold("ignore", &refused, end))?;
        end.ignored.extend(plan.ignored);
        end.kept.extend(plan.kept);
        let all = answers.iter().any(|(_, answer)| {
            answer
                .basis
                .attrs
                .iter()
                .any(|(key, value)| key == plan::RULES_SCOPE && value == "all")
        });
        end.rules_scope_all = Some(end.rules_scope_all.unwrap_or(false) || all);
        for (_, answer) in &answers {
            // The end of a rule is the host's own business: it looks again at what that rule ignored,
            // and need not ask about everything.
            let own = rules
                .iter()
                .any(|r| r.expires.map(question::instant) == answer.basis.wake_at);
            if !own {
                wake(end, &answer.basis, at);
            }
        }
        Ok(())
    }

    async fn ask_advance(
        &self,
        start: &TurnStart,
        ids: &BTreeSet<i64>,
        scopes: &HashMap<i64, Option<String>>,
        distros: &mut HashMap<i32, std::sync::Arc<Distro>>,
        at: DateTime<Utc>,
        end: &mut TurnEnd,
    ) -> Result<(), Stopped> {
        if ids.is_empty() || !start.bindings.iter().any(|b| b.hook == "advance") {
            return Ok(());
        }
        let stages = self.db.stages().await?;
        let last = stages
            .iter()
            .filter(|s| s.moved_by == "policy")
            .map(|s| s.rank)
            .max();
        let wanted: Vec<i64> = ids.iter().copied().collect();
        let mut kernels = self.db.advance_subjects(&wanted).await?;
        // Settled versions are not asked about, unless a run is still wanted for one.
        kernels.retain(|k| {
            let rank = stages.iter().find(|s| s.id == k.state).map(|s| s.rank);
            rank < last || k.wanted.is_some()
        });
        for kernel in &mut kernels {
            if let Some(scope) = scopes.get(&kernel.id) {
                kernel.ignored.clone_from(scope);
            }
        }
        for group in kernels.chunk_by(|a, b| a.distro == b.distro) {
            let distro = self.distro(distros, group[0].distro).await?;
            let settled = self.db.settled(group[0].distro, SETTLED).await?;
            for chunk in group.chunks(ADVANCE_CHUNK) {
                let question = question::advance(&distro, &stages, chunk, &settled);
                // The first binding that does not abstain answers.
                for bound in start.bindings.iter().filter(|b| b.hook == "advance") {
                    let call = Call {
                        id: start.pipeline,
                        pipeline: &start.name,
                        bound,
                        subject: &distro.name,
                        distro: group[0].distro,
                        items: chunk.len(),
                        at,
                    };
                    let Some(answer) = self.call(&call, "advance", &question, end).await? else {
                        continue;
                    };
                    let decision = end.decisions.len() - 1;
                    let plan = plan::advance(&distro.name, &stages, chunk, decision, &answer)
                        .map_err(|refused| hold("advance", &refused, end))?;
                    end.mover = format!("{}@{}", bound.name, &bound.digest[..12]);
                    end.moves.extend(plan.moves);
                    end.wanted.extend(plan.wanted);
                    wake(end, &answer.basis, at);
                    for step in &answer.steps {
                        wake(end, &step.basis, at);
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// Calls one binding and records the decision. None: it abstains.
    async fn call<Q>(
        &self,
        call: &Call<'_>,
        hook: &'static str,
        question: &Q,
        end: &mut TurnEnd,
    ) -> Result<Option<Q::Answer>, Stopped>
    where
        Q: Asks + Serialize,
        Q::Answer: Serialize + DeserializeOwned + HasBasis,
    {
        let Some(plugin) = self.loaded.get(&call.bound.digest) else {
            return Err(Error::Internal(anyhow::anyhow!(
                "plugin {} is not loaded",
                call.bound.digest
            ))
            .into());
        };
        let context = Context {
            pipeline: call.pipeline.to_owned(),
            at: question::instant(call.at),
            seed: seed(call.pipeline, hook, call.subject),
            settings: call.bound.settings.to_string(),
            notes: vec![],
            facts: vec![],
            attrs: vec![],
        };
        let seed = context.seed.cast_signed();
        let input = json(question)?;
        let digest = Sha256::digest(&input).to_vec();
        let same = Same {
            pipeline: call.id,
            hook,
            plugin: call.bound.plugin,
            settings: &call.bound.settings,
            digest: &digest,
            at: call.at,
        };
        if let Some((id, output)) = self.db.answered_before(&same).await? {
            metrics::counter!("pointsman_decisions_reused_total", "hook" => hook).increment(1);
            end.decisions.push(Made::Before(id));
            // An abstention has no answer.
            return match output {
                Some(output) => Ok(Some(
                    serde_json::from_value(output).map_err(|e| Error::Internal(e.into()))?,
                )),
                None => Ok(None),
            };
        }
        let limits = CallLimits::of(Q::HOOK).set(&call.bound.limits, &self.ceilings);
        let facts = Record::new(&self.db, call.distro);
        // On the turn's own thread: to hand a small call over to another takes longer than the call.
        let asked = AssertUnwindSafe(|| ask(plugin, &limits, &context, question, facts));
        // A fault of the host's within a call is an error of this turn, and not the end of all turns.
        let (Decided { called, facts }, failed) =
            tokio::task::block_in_place(|| catch_unwind(asked))
                .map_err(|_| Error::Internal(anyhow::anyhow!("the call of a plugin panicked")))?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        metrics::counter!("pointsman_decisions_total", "hook" => hook, "outcome" => called.outcome.code())
            .increment(1);
        metrics::histogram!("pointsman_decision_seconds", "hook" => hook)
            .record(called.duration.as_secs_f64());
        let ending = called.outcome.ending(|answer| {
            let reason = &answer.basis().reason;
            (&reason.code, &reason.text)
        });
        let output = match &called.outcome {
            Outcome::Answered(answer) => Some(json(answer)?),
            Outcome::Stopped(stop) => Some(json(stop)?),
            _ => None,
        };
        let wake_at = match &called.outcome {
            Outcome::Answered(answer) => plan::earliest(answer.bases(), call.at),
            _ => None,
        };
        end.decisions.push(Made::New(Box::new(NewDecision {
            hook,
            position: call.bound.position,
            subject: call.subject.to_owned(),
            at: call.at,
            plugin: call.bound.plugin,
            settings: call.bound.settings.clone(),
            context: match facts.is_empty() {
                true => None,
                false => Some(serde_json::json!({"facts": facts})),
            },
            seed,
            engine: self.runtime.engine_fingerprint().to_owned(),
            items: i32::try_from(call.items).unwrap_or(i32::MAX),
            digest,
            input,
            output,
            outcome: ending.outcome.to_owned(),
            reason_code: ending.code.clone(),
            reason_text: ending.text.clone(),
            fuel: i64::try_from(called.fuel).unwrap_or(i64::MAX),
            duration_us: i64::try_from(called.duration.as_micros()).unwrap_or(i64::MAX),
            wake_at,
            limits: Some(limits.beside(Q::HOOK)).filter(|limits| !limits.is_default()),
            log: Some(called.log.clone()).filter(|log| !log.is_empty()),
        })));
        match called.outcome {
            Outcome::Answered(answer) => Ok(Some(answer)),
            Outcome::Stopped(Stop::Abstain(_)) => Ok(None),
            _ => Err(Stopped::Held(NewHold {
                hook,
                code: ending.code,
                text: format!(
                    "{}@{}: {}",
                    call.bound.name,
                    &call.bound.digest[..12],
                    ending.text
                ),
                decision: Some(end.decisions.len() - 1),
            })),
        }
    }
}

/// What a call is about, beside its question.
struct Call<'a> {
    id: i32,
    pipeline: &'a str,
    bound: &'a Bound,
    subject: &'a str,
    distro: i32,
    items: usize,
    at: DateTime<Utc>,
}

/// Asks, and answers what the policy asks back; and why that could not be answered, if so.
fn ask<Q: Asks>(
    plugin: &Plugin,
    limits: &CallLimits,
    context: &Context,
    question: &Q,
    mut facts: Record,
) -> (Decided<Q::Answer>, Option<Error>) {
    let decided = plugin.decide(limits, context, question, &mut facts);
    (decided, facts.failed)
}

/// An answer, which always has a basis.
pub(super) trait HasBasis {
    fn basis(&self) -> &Basis;

    /// All that it has, its parts' included.
    fn bases(&self) -> Vec<&Basis> {
        vec![self.basis()]
    }
}

impl HasBasis for crate::policy::wit::ignore::Answer {
    fn basis(&self) -> &Basis {
        &self.basis
    }
}

impl HasBasis for crate::policy::wit::advance::Answer {
    fn basis(&self) -> &Basis {
        &self.basis
    }

    fn bases(&self) -> Vec<&Basis> {
        let steps = self.steps.iter().map(|step| &step.basis);
        std::iter::once(&self.basis).chain(steps).collect()
    }
}

fn hold(hook: &'static str, refused: &Refused, end: &mut TurnEnd) -> Stopped {
    let decision = end.decisions.len().checked_sub(1);
    if let Some(Made::New(last)) = decision.and_then(|n| end.decisions.get_mut(n)) {
        last.outcome = "refused".to_owned();
        last.reason_code = refused.code.to_owned();
        last.reason_text.clone_from(&refused.text);
    }
    Stopped::Held(NewHold {
        hook,
        code: refused.code.to_owned(),
        text: refused.text.clone(),
        decision,
    })
}

fn wake(end: &mut TurnEnd, basis: &Basis, at: DateTime<Utc>) {
    if let Some(wake) = plan::earliest([basis], at) {
        end.wake_at = Some(end.wake_at.map_or(wake, |before| before.min(wake)));
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Stopped> {
    serde_json::to_vec(value).map_err(|e| Error::Internal(e.into()).into())
}

/// The same for one subject, so that a random choice stays put.
fn seed(pipeline: &str, hook: &str, subject: &str) -> u64 {
    let digest = Sha256::digest(format!("{pipeline}\0{hook}\0{subject}"));
    digest
        .iter()
        .take(8)
        .fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}
