//! The pull requests of a turn: `review`, then `gate`, asked about those that changed.

use std::borrow::Cow;
use std::collections::HashMap;

use super::ask::{About, Asked, refused, said};
use super::facts::Subject;
use super::question;
use super::turn::Turn;
use crate::db::merge::{MergeEnd, PullFacts, Standing, StandingChange};
use crate::db::turn::Known;
use crate::error::Result;
use crate::plan::merge::{self as plan, Approval, Attrs, Candidate, Need, Said, Why};
use crate::policy::wit::{gate, review, types};
use crate::policy::{Asks, Hook};
use crate::turn::call::Prepared;

/// Pull requests that one turn asks about: bounds the time until its commit.
const PULLS_PER_TURN: usize = 200;

/// What a policy that could not answer held up: hook, code, text.
type Held = Option<(&'static str, String, String)>;

/// The questions of one hook, with what answered them before: the shared one of each pull request, and those
/// of places that remember something of it.
struct LookedUp<Q> {
    shared: Vec<(Q, Prepared)>,
    /// By position and index.
    own: HashMap<(i32, usize), (Q, Prepared)>,
    known: Known,
}

impl<Q> LookedUp<Q> {
    fn of(&self, position: i32, index: usize) -> (&Q, (&Prepared, &Known)) {
        let own = self.own.get(&(position, index));
        let (question, prepared) = own.unwrap_or_else(|| &self.shared[index]);
        (question, (prepared, &self.known))
    }
}

impl Turn<'_> {
    /// Asks about the pull requests that changed; gives where they stand now.
    pub(super) async fn look_at_pulls(
        &self,
        end: &mut MergeEnd,
    ) -> Result<Vec<(Standing, PullFacts)>> {
        let start = self.start();
        let mut ids: Vec<i64> = start.causes.iter().filter_map(|c| c.pull).collect();
        if start.causes.iter().any(|c| c.kind == "all") {
            ids.extend(self.engine.db.open_pulls(start).await?);
        }
        ids.sort_unstable();
        ids.dedup();
        end.later = ids.split_off(ids.len().min(PULLS_PER_TURN));
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let mut pulls = self.facts(&ids).await?;
        // What git says of a head is a cause of its own.
        pulls
            .retain(|pull| pull.state == "open" && (!pull.merge_base.is_empty() || pull.head_gone));

        let requests: Vec<types::PullRequest> = pulls
            .iter()
            .map(|pull| question::pull_request(start, pull))
            .collect();
        let reviews: Vec<review::Question> = pulls
            .iter()
            .zip(&requests)
            .map(|(pull, request)| question::review(pull, request.clone()))
            .collect();
        let looked_up = self.look_up(reviews).await?;
        let mut approvals = vec![];
        for (index, pull) in pulls.iter().enumerate() {
            approvals.push(self.review(pull, index, &looked_up, end).await?);
        }

        let gates: Vec<gate::Question> = pulls
            .iter()
            .zip(requests)
            .zip(&approvals)
            .map(|((pull, request), (said, _))| {
                let tags: Attrs = said.iter().flat_map(|s| s.tags.clone()).collect();
                question::head(
                    start,
                    pull,
                    request,
                    tags.into_iter().collect(),
                    &self.place,
                )
            })
            .collect();
        let looked_up = self.look_up(gates).await?;
        let mut standings = vec![];
        for (index, (pull, (reviews, held))) in pulls.into_iter().zip(approvals).enumerate() {
            let (gates, gate_held) = self.gate(&pull, index, &looked_up, end).await?;
            let standing = self.standing(&pull, reviews, &gates, held.or(gate_held));
            if pull
                .standing
                .as_ref()
                .is_none_or(|old| !same(old, &standing))
            {
                end.standings.push(StandingChange {
                    standing: standing.clone(),
                    name: format!("{}#{}", start.repository, pull.number),
                });
            }
            standings.push((standing, pull));
        }
        Ok(standings)
    }

    /// Makes the questions as they are kept, and looks up what answered them before: one query for all.
    async fn look_up<Q>(&self, questions: Vec<Q>) -> Result<LookedUp<Q>>
    where
        Q: Asks + Subject + Clone + serde::Serialize,
    {
        let mut own = HashMap::new();
        for bound in self.asking.bindings(Q::HOOK.name()) {
            let memory = self.asking.memory.borrow();
            for (index, shared) in questions.iter().enumerate() {
                if let Cow::Owned(filled) = memory.fill(Q::HOOK, bound.position, shared) {
                    let prepared = Prepared::of(&filled)?;
                    own.insert((bound.position, index), (filled, prepared));
                }
            }
        }
        let shared: Vec<(Q, Prepared)> = questions
            .into_iter()
            .map(|question| {
                let prepared = Prepared::of(&question)?;
                Ok((question, prepared))
            })
            .collect::<Result<_>>()?;
        let all = shared.iter().chain(own.values());
        let digests: Vec<Vec<u8>> = all.map(|(_, p)| p.digest.clone()).collect();
        let pipeline = self.start().pipeline;
        let known = self
            .engine
            .db
            .answered_before_any(pipeline, &digests)
            .await?;
        Ok(LookedUp { shared, own, known })
    }

    async fn review(
        &self,
        pull: &PullFacts,
        index: usize,
        looked_up: &LookedUp<review::Question>,
        end: &mut MergeEnd,
    ) -> Result<(Vec<Said<Approval>>, Held)> {
        let about = About {
            subject: &format!("#{}", pull.number),
            items: 1,
            pull: Some(pull.id),
        };
        let (mut all, mut held) = (vec![], None);
        for bound in self.asking.bindings("review") {
            let (asked, looked_up) = looked_up.of(bound.position, index);
            let answered = self
                .asking
                .one_of_many(bound, about, asked, Some(looked_up), end);
            let answered = match answered.await? {
                Asked::Answered(place, answer) => match plan::check_wanted(&answer, place) {
                    Ok(()) => Asked::Answered(place, answer),
                    Err(refusal) => refused(&refusal, end),
                },
                other => other,
            };
            match answered {
                Asked::Answered(place, answer) => {
                    self.asking.wake(Some(pull.id), &answer.basis, end);
                    self.asking
                        .remember(Hook::Review, bound, about, place, &answer.basis);
                    let approval = Approval::from(answer.approval);
                    all.push(said(approval, answer.wanted, place, &answer.basis));
                }
                Asked::Abstained => {}
                Asked::Held(code, text, place) => {
                    self.asking.again(Some(pull.id), place, end);
                    all.push(without_answer(Approval::Pending, &code, &text, place));
                    held.get_or_insert(("review", code, text));
                }
            }
        }
        Ok((all, held))
    }

    async fn gate(
        &self,
        pull: &PullFacts,
        index: usize,
        looked_up: &LookedUp<gate::Question>,
        end: &mut MergeEnd,
    ) -> Result<(Vec<Said<Need>>, Held)> {
        let about = About {
            subject: &format!("#{}", pull.number),
            items: 1,
            pull: Some(pull.id),
        };
        let (mut all, mut held) = (vec![], None);
        for bound in self.asking.bindings("gate") {
            let (asked, looked_up) = looked_up.of(bound.position, index);
            let answered = self
                .asking
                .one_of_many(bound, about, asked, Some(looked_up), end);
            match answered.await? {
                Asked::Answered(place, answer) => {
                    self.asking.wake(Some(pull.id), &answer.basis, end);
                    self.asking
                        .remember(Hook::Gate, bound, about, place, &answer.basis);
                    all.push(said(Need::from(answer.need), vec![], place, &answer.basis));
                }
                Asked::Abstained => {}
                Asked::Held(code, text, place) => {
                    self.asking.again(Some(pull.id), place, end);
                    all.push(without_answer(Need::Hold, &code, &text, place));
                    held.get_or_insert(("gate", code, text));
                }
            }
        }
        Ok((all, held))
    }

    fn standing(
        &self,
        pull: &PullFacts,
        reviews: Vec<Said<Approval>>,
        gates: &[Said<Need>],
        held: Held,
    ) -> Standing {
        let (approval, review) = plan::approval(&reviews);
        let (need, gate) = plan::need(gates);
        let mut tags: Attrs = reviews.iter().flat_map(|s| s.tags.clone()).collect();
        tags.extend(gates.iter().flat_map(|s| s.tags.clone()));
        let since = pull
            .standing
            .as_ref()
            .filter(|s| s.approval == Approval::Approved);
        Standing {
            id: pull.id,
            head: pull.head.clone(),
            approval,
            approved_at: (approval == Approval::Approved)
                .then(|| since.and_then(|s| s.approved_at).unwrap_or(self.asking.at)),
            review,
            wanted: reviews.into_iter().flat_map(|s| s.wanted).collect(),
            need: held.as_ref().is_none_or(|h| h.0 != "gate").then_some(need),
            gate,
            held,
            tags,
        }
    }
}

/// What counts where a policy could not answer.
fn without_answer<T>(answer: T, code: &str, text: &str, place: Option<usize>) -> Said<T> {
    Said {
        answer,
        why: Why {
            code: code.to_owned(),
            text: text.to_owned(),
            decision: place,
        },
        tags: Attrs::new(),
        wanted: vec![],
    }
}

/// A candidate, as it stands since this turn asked.
pub(super) fn overlay(candidate: &mut Candidate, standing: &Standing) {
    candidate.approval = standing.approval;
    candidate.approved_at = standing.approved_at;
    candidate.need = standing.need;
    candidate.tags.clone_from(&standing.tags);
}

/// Whether both say the same, whatever decision is behind it.
fn same(old: &Standing, new: &Standing) -> bool {
    let plain = |s: &Standing| {
        let mut s = s.clone();
        s.review.decision = None;
        s.gate.decision = None;
        s
    };
    plain(old) == plain(new)
}
