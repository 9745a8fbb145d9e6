//! One call of one binding, and the record of it: the same for every kind of pipeline.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use std::collections::HashMap;

use super::facts::{Failure, Source};
use super::{Stopped, question};
use crate::contract;
use crate::db::Db;
use crate::db::turn::{Bound, Known, Made, NewDecision, NewHold, Same};
use crate::error::Error;
use crate::plan;
use crate::policy::wit::types::{Attrs, Basis, Context, Stop};
use crate::policy::{Asks, CallLimits, Decided, Hook, Outcome, Plugin, Runtime};

/// Calls the plugins that are bound, each within its limits.
pub(crate) struct Caller {
    db: Db,
    runtime: Runtime,
    /// The most that one call may use, whatever its binding says.
    ceilings: CallLimits,
    /// The plugins that are bound, loaded.
    loaded: HashMap<String, Plugin>,
}

impl Caller {
    pub(crate) fn new(db: Db, runtime: Runtime, ceilings: CallLimits) -> Self {
        Self {
            db,
            runtime,
            ceilings,
            loaded: HashMap::new(),
        }
    }

    /// Loads what is bound, and lets go of what is bound no longer. What cannot be loaded holds.
    pub(crate) async fn load(&mut self, bindings: &[Bound]) -> Result<(), Stopped> {
        self.loaded
            .retain(|digest, _| bindings.iter().any(|b| b.digest == *digest));
        for bound in bindings {
            if self.loaded.contains_key(&bound.digest) {
                continue;
            }
            if let Some(plugin) = self.runtime.loaded(&bound.digest) {
                self.loaded.insert(bound.digest.clone(), plugin);
                continue;
            }
            let wasm = self.db.plugin_wasm(&bound.digest).await?;
            match self.runtime.load(wasm).await {
                Ok(plugin) => {
                    self.loaded.insert(bound.digest.clone(), plugin);
                }
                Err(rejection) => {
                    return Err(Stopped::Held(NewHold {
                        hook: bound.hook.parse::<Hook>().map_or("", Hook::name),
                        code: rejection.code().to_owned(),
                        text: format!("{} cannot be loaded: {rejection}", bound.version()),
                        decision: None,
                    }));
                }
            }
        }
        Ok(())
    }

    /// Calls one binding and records the decision. None: it abstains.
    pub(crate) async fn call<Q>(
        &self,
        call: &Call<'_>,
        question: &Q,
        source: &mut impl Source,
        decisions: &mut Vec<Made>,
    ) -> Result<Option<Q::Answer>, Stopped>
    where
        Q: Asks + Serialize,
        Q::Answer: Serialize + DeserializeOwned + HasBasis,
    {
        let hook = Q::HOOK.name();
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
            settings: contract::text(&call.bound.settings),
            notes: call.notes.clone(),
            facts: vec![],
            attrs: call.attrs.clone(),
        };
        let mut given = serde_json::Map::new();
        if !call.notes.is_empty() {
            given.insert("notes".to_owned(), serde_json::json!(call.notes));
        }
        if !call.attrs.is_empty() {
            given.insert("attrs".to_owned(), serde_json::json!(call.attrs));
        }
        let beside = some(given.clone());
        let seed = context.seed.cast_signed();
        let Prepared { input, digest } = match call.prepared {
            Some(prepared) => prepared.clone(),
            None => Prepared::of(question)?,
        };
        let same = Same {
            pipeline: call.id,
            hook,
            plugin: call.bound.plugin,
            settings: &call.bound.settings,
            context: beside.as_ref(),
            digest: &digest,
            at: call.at,
        };
        let before = match call.known {
            Some(known) => known.find(&same)?,
            None => self.db.answered_before(&same).await?,
        };
        if let Some((id, output)) = before {
            metrics::counter!("pointsman_decisions_reused_total", "hook" => hook).increment(1);
            decisions.push(Made::Before(id));
            // An abstention has no answer.
            return match output {
                Some(output) => Ok(Some(
                    serde_json::from_value(output).map_err(|e| Error::Internal(e.into()))?,
                )),
                None => Ok(None),
            };
        }
        let limits = CallLimits::of(Q::HOOK).set(&call.bound.limits, &self.ceilings);
        // On the turn's own thread: to hand a small call over to another takes longer than the call.
        let asked = AssertUnwindSafe(|| plugin.decide(&limits, &context, question, source));
        // A fault of the host's within a call is an error of this turn, and not the end of all turns.
        let Decided { mut called, facts } = tokio::task::block_in_place(|| catch_unwind(asked))
            .map_err(|_| Error::Internal(anyhow::anyhow!("the call of a plugin panicked")))?;
        match source.failed() {
            Some(Failure::Turn(error)) => return Err(error.into()),
            Some(Failure::Call(detail)) => called.outcome = Outcome::HostFailed { detail },
            None => {}
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
        decisions.push(Made::New(Box::new(NewDecision {
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
            limits: Some(limits.beside(Q::HOOK)).filter(|limits| !limits.is_default()),
            log: Some(called.log.clone()).filter(|log| !log.is_empty()),
        })));
        match called.outcome {
            Outcome::Answered(answer) => Ok(Some(answer)),
            Outcome::Stopped(Stop::Abstain(_)) => Ok(None),
            _ => Err(Stopped::Held(NewHold {
                hook,
                code: ending.code,
                text: format!("{}: {}", call.bound.version(), ending.text),
                decision: Some(decisions.len() - 1),
            })),
        }
    }
}

/// What a call is about, beside its question.
pub(crate) struct Call<'a> {
    pub(crate) id: i32,
    pub(crate) pipeline: &'a str,
    pub(crate) bound: &'a Bound,
    pub(crate) subject: &'a str,
    pub(crate) items: usize,
    /// What this place remembers of the pipeline.
    pub(crate) notes: Attrs,
    /// What people have set on the pipeline.
    pub(crate) attrs: Attrs,
    pub(crate) at: DateTime<Utc>,
    /// The question as it is kept, where it was made before; with what answered it before.
    pub(crate) prepared: Option<&'a Prepared>,
    pub(crate) known: Option<&'a Known>,
}

/// A question as it is kept.
#[derive(Clone)]
pub(crate) struct Prepared {
    input: Vec<u8>,
    /// Its SHA-256.
    pub(crate) digest: Vec<u8>,
}

impl Prepared {
    pub(crate) fn of(question: &impl Serialize) -> Result<Self, Error> {
        let input = serde_json::to_vec(question).map_err(|e| Error::Internal(e.into()))?;
        let digest = Sha256::digest(&input).to_vec();
        Ok(Self { input, digest })
    }
}

/// What was given beside the question; none where there was nothing.
fn some(given: serde_json::Map<String, serde_json::Value>) -> Option<serde_json::Value> {
    (!given.is_empty()).then(|| given.into())
}

/// An answer, which always has a basis.
pub(crate) trait HasBasis {
    fn basis(&self) -> &Basis;

    /// All that it has, its parts' included.
    fn bases(&self) -> Vec<&Basis> {
        vec![self.basis()]
    }
}

macro_rules! has_basis {
    ($($hook:ident)+) => {
        $(impl HasBasis for crate::policy::wit::$hook::Answer {
            fn basis(&self) -> &Basis {
                &self.basis
            }
        })+
    };
}
has_basis!(ignore review gate select run triage react);

impl HasBasis for crate::policy::wit::advance::Answer {
    fn basis(&self) -> &Basis {
        &self.basis
    }

    fn bases(&self) -> Vec<&Basis> {
        let steps = self.steps.iter().map(|step| &step.basis);
        std::iter::once(&self.basis).chain(steps).collect()
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Stopped> {
    serde_json::to_vec(value).map_err(|e| Error::Internal(e.into()).into())
}

/// Bits of a seed, as the contract says: what a number of JavaScript holds exactly. Nobody needs more to
/// draw lots, and a plugin then draws the same whatever language it is written in.
const SEED_BITS: u32 = 53;

/// The same for one subject, so that a random choice stays put.
fn seed(pipeline: &str, hook: &str, subject: &str) -> u64 {
    let digest = Sha256::digest(format!("{pipeline}\0{hook}\0{subject}"));
    digest
        .iter()
        .take(8)
        .fold(0, |seed, byte| seed << 8 | u64::from(*byte))
        >> (u64::BITS - SEED_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_of_its_subject_and_a_number_of_any_language() {
        let seeds: std::collections::HashSet<u64> = (0..1_000)
            .map(|n| seed("main", "select", &format!("#{n}")))
            .collect();
        assert_eq!(seeds.len(), 1_000);
        assert!(
            seeds
                .iter()
                .all(|seed| *seed as f64 as u64 == *seed && *seed < 1 << SEED_BITS)
        );
        assert!(seeds.iter().any(|seed| *seed > 1 << (SEED_BITS - 2)));
        assert_eq!(seed("main", "select", "#7"), seed("main", "select", "#7"));
        assert_ne!(seed("main", "select", "#7"), seed("main", "gate", "#7"));
    }
}
