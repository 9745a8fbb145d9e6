//! Asking the hooks about what a turn looks at, and recording what they say.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::facts::Record;
use super::notes::Notes;
use super::question::{self, Distro};
use super::{Causes, Stopped, Worker};
use crate::db::turn::{Bound, Made, NewDecision, NewHold, NewSweep, Remembered, Same, TurnEnd, TurnStart};
use crate::error::Error;
use crate::plan::{self, Refused, Wish};
use crate::policy::wit::advance::Step;
use crate::policy::wit::types::{Attrs, Basis, Context, Stop};
use crate::policy::{Asks, CallLimits, Decided, Outcome, Plugin};

/// Versions in one `ignore` question, as the contract says.
const IGNORE_CHUNK: usize = 10_000;
/// Versions in one `advance` question, as the contract says.
const ADVANCE_CHUNK: usize = 1_000;
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
        let mut notes = Notes::default();
        if start.notes {
            notes.add(self.db.notes_of(start.pipeline).await?);
        }
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
                for chunk in group.chunks(IGNORE_CHUNK) {
                    self.ask_ignore(start, &distro, chunk, at, &mut notes, end)
                        .await?;
                }
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
        self.ask_advance(start, &advance, &scopes, &mut distros, at, &mut notes, end)
            .await?;
        end.notes = notes.into_changes();
        Ok(())
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
        notes: &mut Notes,
        end: &mut TurnEnd,
    ) -> Result<(), Stopped> {
        let rules = self.db.rules(versions[0].distro, at).await?;
        let question = std::sync::Arc::new(question::ignore(distro, &rules, versions));
        let mut answers = vec![];
        for bound in start.bindings.iter().filter(|b| b.hook == "ignore") {
            let call = Call {
                id: start.pipeline,
                pipeline: &start.name,
                bound,
                subject: &distro.name,
                distro: versions[0].distro,
                items: versions.len(),
                notes: notes.of(Remembered::pipeline("ignore", bound.position)),
                at,
            };
            if let Some(answer) = self.call(&call, "ignore", &question, end).await? {
                let decision = end.decisions.len() - 1;
                let about = Remembered::pipeline("ignore", bound.position);
                if notes
                    .take(about, &answer.basis.notes, decision)
                    .map_err(|refused| hold("ignore", &refused, end))?
                {
                    end.mover = called(bound);
                }
                answers.push((decision, answer));
            }
        }
        let plan = plan::ignore(versions, &rules, &answers)
            .map_err(|refused| hold("ignore", &refused, end))?;
        end.ignored.extend(plan.ignored);
        end.kept.extend(plan.kept);
        let id = versions[0].distro;
        if plan.tags != *tags(start, end, id) {
            end.tags.insert(id, plan.tags);
            let sweep = NewSweep {
                hook: "advance",
                distro: Some(id),
                ignore: None,
            };
            if !end.sweeps.contains(&sweep) {
                end.sweeps.push(sweep);
            }
        }
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
        notes: &mut Notes,
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
        if start.notes {
            let ids: Vec<i64> = kernels.iter().map(|k| k.id).collect();
            notes.add(self.db.notes_of_kernels(start.pipeline, &ids).await?);
        }
        for group in kernels.chunk_by(|a, b| a.distro == b.distro) {
            let distro = self.distro(distros, group[0].distro).await?;
            let settled = self.db.settled(group[0].distro, SETTLED).await?;
            for chunk in group.chunks(ADVANCE_CHUNK) {
                let tags = tags(start, end, group[0].distro);
                let shared = question::advance(&distro, tags, &stages, chunk, &settled);
                let shared = std::sync::Arc::new(shared);
                // The first binding that does not abstain answers.
                for bound in start.bindings.iter().filter(|b| b.hook == "advance") {
                    let about = Remembered::pipeline("advance", bound.position);
                    let question = notes.fill(&shared, bound.position, chunk);
                    let call = Call {
                        id: start.pipeline,
                        pipeline: &start.name,
                        bound,
                        subject: &distro.name,
                        distro: group[0].distro,
                        items: chunk.len(),
                        notes: notes.of(about),
                        at,
                    };
                    let Some(answer) = self.call(&call, "advance", &question, end).await? else {
                        continue;
                    };
                    let decision = end.decisions.len() - 1;
                    let plan = plan::advance(&distro.name, &stages, chunk, decision, &answer)
                        .map_err(|refused| hold("advance", &refused, end))?;
                    let kernel = |step: &Step| chunk[step.index as usize].id;
                    let wishes = std::iter::once((about, &answer.basis)).chain(
                        answer.steps.iter().map(|step| {
                            (Remembered::kernel(bound.position, kernel(step)), &step.basis)
                        }),
                    );
                    let mut noted = false;
                    for (about, basis) in wishes {
                        noted |= notes
                            .take(about, &basis.notes, decision)
                            .map_err(|refused| hold("advance", &refused, end))?;
                    }
                    if noted || !plan.moves.is_empty() {
                        end.mover = called(bound);
                    }
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
        question: &std::sync::Arc<Q>,
        end: &mut TurnEnd,
    ) -> Result<Option<Q::Answer>, Stopped>
    where
        Q: Asks + Serialize + Send + Sync + 'static,
        Q::Answer: Serialize + DeserializeOwned + HasBasis + Send + 'static,
    {
        let Some(plugin) = self.loaded.get(&call.bound.digest).cloned() else {
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
            notes: call.notes.clone(),
            facts: vec![],
            attrs: vec![],
        };
        let mut given = serde_json::Map::new();
        if !call.notes.is_empty() {
            given.insert("notes".to_owned(), serde_json::json!(call.notes));
        }
        let notes = some(given.clone());
        let seed = context.seed.cast_signed();
        let input = json(&**question)?;
        let digest = Sha256::digest(&input).to_vec();
        let same = Same {
            pipeline: call.id,
            hook,
            plugin: call.bound.plugin,
            settings: &call.bound.settings,
            context: notes.as_ref(),
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
        let asked = std::sync::Arc::clone(question);
        let facts = Record::new(&self.db, call.distro);
        let (Decided { called, facts }, failed) =
            tokio::task::spawn_blocking(move || ask(&plugin, &context, &*asked, facts))
                .await
                .map_err(|e| Error::Internal(e.into()))?;
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
        if !facts.is_empty() {
            given.insert("facts".to_owned(), serde_json::json!(facts));
        }
        end.decisions.push(Made::New(Box::new(NewDecision {
            hook,
            position: call.bound.position,
            subject: call.subject.to_owned(),
            at: call.at,
            plugin: call.bound.plugin,
            settings: call.bound.settings.clone(),
            context: some(given),
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
    /// What this place remembers of the pipeline.
    notes: Attrs,
    at: DateTime<Utc>,
}

/// What was given beside the question; none where there was nothing.
fn some(given: serde_json::Map<String, serde_json::Value>) -> Option<serde_json::Value> {
    (!given.is_empty()).then(|| given.into())
}

/// How a plugin version is called in the record.
fn called(bound: &Bound) -> String {
    format!("{}@{}", bound.name, &bound.digest[..12])
}

/// A distro's tags: those of this turn, else those that the record keeps.
fn tags<'a>(start: &'a TurnStart, end: &'a TurnEnd, distro: i32) -> &'a Attrs {
    static NONE: Attrs = Vec::new();
    let kept = || start.tags.get(&distro);
    end.tags.get(&distro).or_else(kept).unwrap_or(&NONE)
}

/// Asks, and answers what the policy asks back; and why that could not be answered, if so.
fn ask<Q: Asks>(
    plugin: &Plugin,
    context: &Context,
    question: &Q,
    mut facts: Record,
) -> (Decided<Q::Answer>, Option<Error>) {
    let decided = plugin.decide(&CallLimits::of(Q::HOOK), context, question, &mut facts);
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
    let newest = end.decisions.len().checked_sub(1);
    let decision = refused.decision.or(newest);
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
