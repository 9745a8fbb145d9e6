//! The pull requests of a turn: `review`, then `gate`, asked about those that changed.

use super::ask::{Asked, said};
use super::question;
use super::turn::Turn;
use crate::db::merge::{MergeEnd, PullFacts, Standing, StandingChange};
use crate::db::turn::Known;
use crate::error::Result;
use crate::plan::merge::{self as plan, Approval, Attrs, Candidate, Need, Said, Why};
use crate::policy::wit::{gate, review, types};
use crate::turn::call::Prepared;

/// Pull requests that one turn asks about: bounds the time until its commit.
const PULLS_PER_TURN: usize = 200;

/// What a policy that could not answer held up: hook, code, text.
type Held = Option<(&'static str, String, String)>;

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
        let mut pulls = self.engine.db.pull_facts(start, self.tip, &ids).await?;
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
        let (prepared, known) = self.look_up(&reviews).await?;
        let mut approvals = vec![];
        for ((pull, asked), prepared) in pulls.iter().zip(&reviews).zip(&prepared) {
            approvals.push(self.review(pull, asked, (prepared, &known), end).await?);
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
        let (prepared, known) = self.look_up(&gates).await?;
        let mut standings = vec![];
        for (((pull, (reviews, held)), asked), prepared) in
            pulls.into_iter().zip(approvals).zip(&gates).zip(&prepared)
        {
            let (gates, gate_held) = self.gate(&pull, asked, (prepared, &known), end).await?;
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
    async fn look_up<Q: serde::Serialize>(
        &self,
        questions: &[Q],
    ) -> Result<(Vec<Prepared>, Known)> {
        let prepared: Vec<Prepared> = questions.iter().map(Prepared::of).collect::<Result<_>>()?;
        let digests: Vec<Vec<u8>> = prepared.iter().map(|p| p.digest.clone()).collect();
        let pipeline = self.start().pipeline;
        let known = self
            .engine
            .db
            .answered_before_any(pipeline, &digests)
            .await?;
        Ok((prepared, known))
    }

    async fn review(
        &self,
        pull: &PullFacts,
        asked: &review::Question,
        looked_up: (&Prepared, &Known),
        end: &mut MergeEnd,
    ) -> Result<(Vec<Said<Approval>>, Held)> {
        let subject = format!("#{}", pull.number);
        let (mut all, mut held) = (vec![], None);
        for bound in self.asking.bindings("review") {
            let answered = self
                .asking
                .one_of_many(bound, &subject, 1, asked, Some(looked_up), end);
            match answered.await? {
                Asked::Answered(place, answer) => {
                    self.asking.wake(Some(pull.id), &answer.basis, end);
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
        asked: &gate::Question,
        looked_up: (&Prepared, &Known),
        end: &mut MergeEnd,
    ) -> Result<(Vec<Said<Need>>, Held)> {
        let subject = format!("#{}", pull.number);
        let (mut all, mut held) = (vec![], None);
        for bound in self.asking.bindings("gate") {
            let answered = self
                .asking
                .one_of_many(bound, &subject, 1, asked, Some(looked_up), end);
            match answered.await? {
                Asked::Answered(place, answer) => {
                    self.asking.wake(Some(pull.id), &answer.basis, end);
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
