//! Asking the hooks about what a turn looks at, and gathering what follows.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::answer::refuse;
use super::call::Call;
use super::facts::Record;
use super::notes::Notes;
use super::question::{self, Distro};
use super::{Causes, Stopped, Worker};
use crate::db::turn::{NewHold, NewSweep, Remembered, TurnEnd, TurnStart};
use crate::plan::{self, Kernel, Refused, Wish};
use crate::policy::wit::advance::Step;
use crate::policy::wit::types::{Attrs, Basis};

/// Versions in one `ignore` question, as the contract says.
const IGNORE_CHUNK: usize = 10_000;
/// Versions in one `advance` question, as the contract says.
const ADVANCE_CHUNK: usize = 1_000;
/// Names of settled versions in a question: enough to count "the newest of a series".
const SETTLED: i64 = 10_000;

/// What a turn asks with, whatever it asks about.
#[derive(Clone, Copy)]
struct Asking<'a> {
    start: &'a TurnStart,
    at: DateTime<Utc>,
}

impl Worker {
    /// Asks both hooks and fills in what follows.
    pub(super) async fn ask_all(
        &mut self,
        start: &TurnStart,
        ids: &Causes,
        at: DateTime<Utc>,
        end: &mut TurnEnd,
    ) -> Result<(), Stopped> {
        self.caller.load(&start.bindings).await?;
        let asking = Asking { start, at };
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
                    self.ask_ignore(asking, &distro, chunk, &mut notes, end)
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
        self.ask_advance(asking, &advance, &scopes, &mut distros, &mut notes, end)
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
        Asking { start, at }: Asking<'_>,
        distro: &Distro,
        versions: &[plan::Version],
        notes: &mut Notes,
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
                items: versions.len(),
                notes: notes.of(Remembered::pipeline("ignore", bound.position)),
                attrs: vec![],
                at,
                prepared: None,
                known: None,
            };
            let mut facts = Record::new(&self.db, versions[0].distro);
            if let Some(answer) = self
                .caller
                .call(&call, &question, &mut facts, &mut end.decisions)
                .await?
            {
                let decision = end.decisions.len() - 1;
                let about = Remembered::pipeline("ignore", bound.position);
                if notes
                    .take(about, &answer.basis.notes, decision)
                    .map_err(|refused| hold("ignore", &refused, end))?
                {
                    end.mover = bound.version();
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
        Asking { start, at }: Asking<'_>,
        ids: &BTreeSet<i64>,
        scopes: &HashMap<i64, Option<String>>,
        distros: &mut HashMap<i32, std::sync::Arc<Distro>>,
        notes: &mut Notes,
        end: &mut TurnEnd,
    ) -> Result<(), Stopped> {
        if ids.is_empty() {
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
        if !start.bindings.iter().any(|b| b.hook == "advance") {
            // By hand only: what a policy wished for that is gone nobody wishes for.
            end.wanted.extend(unwished(&kernels));
            return Ok(());
        }
        // Settled versions are not asked about, unless a run is still wanted for one, or asked for.
        kernels.retain(|k| {
            let rank = stages.iter().find(|s| s.id == k.state).map(|s| s.rank);
            rank < last || k.wanted.is_some() || k.requested.is_some()
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
                // The first binding that does not abstain answers.
                let mut answered = false;
                for bound in start.bindings.iter().filter(|b| b.hook == "advance") {
                    let about = Remembered::pipeline("advance", bound.position);
                    let question = notes.fill(&shared, bound.position, chunk);
                    let call = Call {
                        id: start.pipeline,
                        pipeline: &start.name,
                        bound,
                        subject: &distro.name,
                        items: chunk.len(),
                        notes: notes.of(about),
                        attrs: vec![],
                        at,
                        prepared: None,
                        known: None,
                    };
                    let mut facts = Record::new(&self.db, group[0].distro);
                    let Some(answer) = self
                        .caller
                        .call(&call, &*question, &mut facts, &mut end.decisions)
                        .await?
                    else {
                        continue;
                    };
                    let decision = end.decisions.len() - 1;
                    let plan = plan::advance(&distro.name, &stages, chunk, decision, &answer)
                        .map_err(|refused| hold("advance", &refused, end))?;
                    let kernel = |step: &Step| chunk[step.index as usize].id;
                    let wishes = std::iter::once((about, &answer.basis)).chain(
                        answer.steps.iter().map(|step| {
                            (
                                Remembered::kernel(bound.position, kernel(step)),
                                &step.basis,
                            )
                        }),
                    );
                    let mut noted = false;
                    for (about, basis) in wishes {
                        noted |= notes
                            .take(about, &basis.notes, decision)
                            .map_err(|refused| hold("advance", &refused, end))?;
                    }
                    if noted || !plan.moves.is_empty() {
                        end.mover = bound.version();
                    }
                    end.moves.extend(plan.moves);
                    end.wanted.extend(plan.wanted);
                    wake(end, &answer.basis, at);
                    for step in &answer.steps {
                        wake(end, &step.basis, at);
                    }
                    answered = true;
                    break;
                }
                if !answered {
                    end.wanted.extend(unwished(chunk));
                }
            }
        }
        Ok(())
    }
}

/// Wishes that nobody stands for any more.
fn unwished(kernels: &[Kernel]) -> impl Iterator<Item = Wish> {
    let wished = kernels.iter().filter(|kernel| kernel.wanted.is_some());
    wished.map(|kernel| Wish {
        id: kernel.id,
        run: None,
        reason_code: "advance.none".to_owned(),
        reason_text: "no policy says what is next".to_owned(),
        decision: 0,
    })
}

/// A distro's tags: those of this turn, else those that the record keeps.
fn tags<'a>(start: &'a TurnStart, end: &'a TurnEnd, distro: i32) -> &'a Attrs {
    static NONE: Attrs = Vec::new();
    let kept = || start.tags.get(&distro);
    end.tags.get(&distro).or_else(kept).unwrap_or(&NONE)
}

fn hold(hook: &'static str, refused: &Refused, end: &mut TurnEnd) -> Stopped {
    let decision = refuse(&mut end.decisions, refused);
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
